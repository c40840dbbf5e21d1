//! The folder is the layer: a file uses only its own folder and the folders below it, and no two files of one layer
//! use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: [&str; 5] = ["words", "rules", "edges", "engine", "cli"];

/// Calls that read the clock, the environment, files, the network or chance; neither words nor rules may.
const WORLD: [&str; 9] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env",
    "SystemTime::now",
    "Timestamp::now",
    "tokio::",
    "fastrand::",
    "std::process",
];

#[test]
fn each_file_uses_only_its_own_layer_and_those_below() {
    let mut uses = 0;
    for (path, text) in sources() {
        let Some(layer) = layer_of(&path) else { continue };
        for used in crate_uses(&text) {
            uses += 1;
            let Some(other) = LAYERS.iter().position(|name| *name == used[0]) else { continue };
            assert!(other <= layer, "{} uses {}, which stands above it", path.display(), used.join("::"));
        }
    }
    assert!(uses > 100, "only {uses} uses found: the test looks in the wrong place");
}

#[test]
fn words_and_rules_do_not_touch_the_world() {
    let mut looked = 0;
    for (path, text) in sources() {
        if layer_of(&path).is_none_or(|layer| layer >= 2) {
            continue;
        }
        looked += 1;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in WORLD {
            let found = code.lines().find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(found.is_none(), "{}: {}", path.display(), found.unwrap_or_default().trim());
        }
    }
    assert!(looked >= 12, "only {looked} files found");
}

#[test]
fn rooms_do_not_use_each_other_in_a_circle() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(room) = room_of(&path) else { continue };
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for used in crate_uses(code) {
            if let [layer, module, ..] = used.as_slice() {
                let other = format!("{layer}/{module}");
                if other != room {
                    graph.entry(room.clone()).or_default().insert(other);
                }
            }
        }
    }
    assert!(graph.len() > 20, "only {} rooms found", graph.len());
    for room in graph.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = graph[room].iter().collect();
        while let Some(other) = next.pop() {
            assert_ne!(other, room, "{room} is in a circle: {seen:?}");
            if seen.insert(other) {
                next.extend(graph.get(other).into_iter().flatten());
            }
        }
    }
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = sources()
        .into_iter()
        // Every bound is in one file, however many there are.
        .filter(|(path, text)| !path.ends_with("words/limits.rs") && text.lines().count() > 520)
        .map(|(path, text)| format!("{} ({})", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "is there a natural cut? {long:?}");
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                files.push((path, text));
            }
        }
    }
    files
}

fn inside_src(path: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside = path.strip_prefix(root).expect("a file of src");
    inside.iter().map(|part| part.to_string_lossy().into_owned()).collect()
}

fn layer_of(path: &Path) -> Option<usize> {
    LAYERS.iter().position(|name| inside_src(path)[0] == *name)
}

/// `rules/hook` for `rules/hook.rs` and for everything in `rules/hook/`; none for the lists of a layer's rooms.
fn room_of(path: &Path) -> Option<String> {
    let parts = inside_src(path);
    let room = parts.get(1)?.trim_end_matches(".rs");
    (LAYERS.contains(&parts[0].as_str()) && room != "mod").then(|| format!("{}/{room}", parts[0]))
}

fn crate_uses(text: &str) -> Vec<Vec<String>> {
    let mut uses = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(at) = rest.find("crate::") {
            rest = &rest[at + "crate::".len()..];
            let path: String = rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            uses.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
    }
    uses.retain(|path: &Vec<String>| !path.is_empty());
    uses
}
