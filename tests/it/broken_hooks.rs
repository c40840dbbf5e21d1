//! What a person reads who made a mistake: `tests/hooks/bad/NAME.yaml`, and in `NAME.expected` every word of it.
//! Files that begin with `main-` are main files, all others hook files; `platform-NAME.rhai` and `source-NAME.rhai` are scripts. `BLESS=1` writes the expected texts anew; they
//! are then read by a person before they are committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use postrider::rules::diagnostic::{Diagnostic, Source};

use postrider::rules::explain;
use postrider::rules::fragile;
use postrider::rules::hook::{Hook, over_scope};
use postrider::rules::platform::{Platform, Platforms};
use postrider::rules::settings::{Defaults, Settings};
use postrider::rules::source::{SourceScript, SourceScripts};
use postrider::words::limits;
use postrider::words::secret::Secrets;

/// Codes that no text earns by itself, each with the test that shows it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("broke-down", "src/engine/attempt.rs"),
    ("bug", "src/edges/config/mod.rs"),
    ("case", "src/cli/check.rs"),
    ("file", "src/rules/cases/source.rs"),
    ("from-url", "src/rules/apprise/mod.rs"),
    ("folder-unreadable", "src/edges/config/folders.rs"),
    ("spool-file", "src/engine/status.rs"),
    ("last-good", "src/edges/config/last_good.rs"),
    ("missing-secret", "src/cli/check.rs"),
    ("not-carried-over", "src/cli/new/from.rs"),
    ("readable-secret", "src/edges/config/mod.rs"),
    ("request", "src/rules/platform/mod.rs"),
    ("same-hook", "src/edges/config/folders.rs"),
    ("scope-full", "src/rules/hook/mod.rs"),
    ("secret", "src/edges/config/mod.rs"),
    ("secret-exposed", "src/edges/secrets.rs"),
    ("socket-path", "src/edges/config/paths.rs"),
    ("too-large", "src/rules/diagnostic.rs"),
    ("too-many-files", "src/edges/config/folders.rs"),
    ("unknown-scheme", "src/rules/apprise/mod.rs"),
    ("unproven", "src/edges/config/proofs.rs"),
    ("unreadable", "src/edges/config/folders.rs"),
    ("world-writable", "src/edges/config/folders.rs"),
    // The parser of YAML has said so of no text yet that anybody wrote.
    ("yaml", "src/rules/yaml/mistakes.rs"),
];

/// Words of the workshop, which mean nothing to the person who reads.
const FOREIGN: &[&str] = &[
    "rust",
    "Rust",
    "serde",
    "saphyr",
    "minijinja",
    "jinja",
    "rhai",
    "enum",
    "variant",
    "struct",
    "deserialize",
    "None",
    "Some",
    "Option",
    "Err",
    "panicked",
    "unwrap",
    "str",
    "string",
    "usize",
    "u64",
    "i64",
    "f64",
    "bool",
    "mapping",
    "sequence",
    "scalar",
];

#[test]
fn every_mistake_is_named_with_its_place_and_its_remedy() {
    let platforms = Platforms::built_in();
    let known = platforms.0.keys().cloned().collect::<Vec<_>>().join(", ");
    let bless = std::env::var_os("BLESS").is_some();
    let (mut codes, mut wrong) = (BTreeSet::new(), Vec::new());
    let (hooks, scripts) = (files_of("tests/hooks/bad", "yaml"), files_of("tests/hooks/bad", "rhai"));
    let files: Vec<_> = hooks.iter().chain(&scripts).cloned().collect();
    for path in &files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let found = diagnose(name, &std::fs::read(path).unwrap(), &platforms);
        let rendered: Vec<_> = found.iter().map(|found| found.render(false)).collect();
        // So that a new platform is not told here.
        let rendered = (rendered.join("\n\n") + "\n").replace(&known, "{platforms}");
        check_manners(name, &found, &rendered);
        codes.extend(found.iter().map(|found| found.code));
        let expected = path.with_extension("expected");
        if bless {
            std::fs::write(&expected, &rendered).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != rendered {
            wrong.push(format!("{name} now says:\n{rendered}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let texts = files_of("tests/hooks/bad", "expected");
    let left_over: Vec<_> = texts
        .iter()
        .filter(|text| ["yaml", "rhai"].iter().all(|extension| !files.contains(&text.with_extension(extension))))
        .collect();
    assert!(left_over.is_empty(), "these describe no file: {left_over:?}");
    assert!(hooks.len() >= 170 && scripts.len() >= 20, "only {} and {} files were found", hooks.len(), scripts.len());
    let elsewhere = |code: &&str| ELSEWHERE.iter().any(|(other, _)| other == code);
    let never: Vec<_> = explain::codes().filter(|code| !codes.contains(code) && !elsewhere(code)).collect();
    assert!(never.is_empty(), "no file earns {never:?}");
    for (code, file) in ELSEWHERE {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(&format!("\"{code}\"")) && !codes.contains(code), "{code} is not told in {file} alone");
    }
}

#[test]
fn the_fourth_hook_of_a_scope_is_refused_by_name() {
    let platforms = Platforms::built_in();
    let text = "events: [a]\nplatform: webhook\nscope: app-1\noptions: {url: https://ci.example.com/hook}\n";
    let mut hooks = BTreeMap::new();
    for (file, text) in [
        ("hooks.d/10-one.yaml", text.to_owned()),
        ("hooks.d/two.yaml", text.to_owned()),
        ("hooks.d/three.yaml", text.to_owned()),
        ("hooks.d/zz-four.yaml", text.to_owned()),
        ("hooks.d/other.yaml", text.replace("app-1", "app-2")),
        ("hooks.d/free.yaml", text.replace("scope: app-1\n", "")),
    ] {
        let (hook, found) = Hook::parse(&Source::new(file, text), &platforms, &Defaults::default());
        let hook = hook.unwrap_or_else(|| panic!("{found:?}"));
        hooks.insert(hook.name.clone(), Arc::new(hook));
    }
    assert_eq!(hooks.len(), 6);
    let (found, left_out) = over_scope(&hooks, 3);
    assert_eq!(left_out.iter().map(|name| &**name).collect::<Vec<_>>(), ["zz-four"]);
    assert_eq!(found.len(), 1);
    let text = found[0].render(false);
    for file in ["hooks.d/10-one.yaml", "hooks.d/two.yaml", "hooks.d/three.yaml", "hooks.d/zz-four.yaml:3:8"] {
        assert!(text.contains(file), "{file} is not named in\n{text}");
    }
    assert!(!text.contains("other.yaml") && !text.contains("free.yaml"), "{text}");
    assert_eq!(over_scope(&hooks, 4), (Vec::new(), BTreeSet::new()));
}

/// What `check` says about one file.
fn diagnose(name: &str, bytes: &[u8], platforms: &Platforms) -> Vec<Diagnostic> {
    let source = match Source::from_bytes(name, bytes, limits::HOOK_FILE) {
        Ok(source) => source,
        Err(error) => return vec![error],
    };
    if name.starts_with("platform-") && name.ends_with(".rhai") {
        return Platform::compile("pager", source, false).err().unwrap_or_default();
    }
    if name.starts_with("source-") && name.ends_with(".rhai") {
        return SourceScript::compile("shop", source, false).err().unwrap_or_default();
    }
    if name.starts_with("main-") {
        return Settings::parse(&source, &SourceScripts::built_in()).err().unwrap_or_default();
    }
    let (hook, mut found) = Hook::parse(&source, platforms, &Defaults::default());
    if let Some(hook) = hook {
        found.extend(hook.dry_run(&Secrets::default(), Timestamp::UNIX_EPOCH));
        found.extend(fragile::warnings(&hook));
    } else {
        assert!(found.iter().any(Diagnostic::is_error), "{name} is refused without an error");
    }
    found
}

fn check_manners(name: &str, found: &[Diagnostic], rendered: &str) {
    assert!(found.iter().any(Diagnostic::is_error) != name.starts_with("fragile-"), "{name} is not found to be broken");
    assert!(!found.is_empty(), "{name} is not found to be fragile");
    for found in found {
        let place = found.place.as_ref().unwrap_or_else(|| panic!("{name} [{}] has no place", found.code));
        assert!(place.file == name || place.file.ends_with(".rhai"), "{name} is told of {place}: {}", found.what);
        assert!(found.help.is_some(), "{name} [{}] has no help", found.code);
        assert!(found.what.starts_with(|c: char| !c.is_uppercase()) && !found.what.ends_with('.'), "{}", found.what);
        // What the user wrote is quoted, and may be any word.
        let said = format!("{} {} {}", found.what, found.notes.join(" "), found.help.as_deref().unwrap_or_default());
        let said: Vec<_> = said.split('`').step_by(2).collect();
        for word in said.join(" ").split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            assert!(!FOREIGN.contains(&word), "{name} speaks of {word:?}:\n{rendered}");
        }
    }
    for secret in ["SECdead", "hunter2"] {
        assert!(!rendered.contains(secret), "{name} shows a secret:\n{rendered}");
    }
}

fn files_of(path: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}
