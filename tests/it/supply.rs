//! What we are built of: where it comes from, under which licence, and that there is one of each. `deny.toml` says what is
//! allowed; `cargo deny` reads the same file, and looks into the sources of the crates as well.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

use crate::support::test_file;

/// The quoted words in the lists and tables that begin with these words.
fn quoted(config: &str, begins: &str) -> BTreeSet<String> {
    let block = config.split_once(begins).unwrap_or_else(|| panic!("deny.toml lacks {begins}")).1;
    let block = block
        .split_once("\n]")
        .filter(|_| block.starts_with('\n'))
        .map_or_else(|| block.lines().next().unwrap(), |(block, _)| block);
    let lines = block.lines().flat_map(|line| line.split("reason").next());
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Whether a licence expression can be met with these.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = any(&words, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn any<'w>(words: &'w [&'w str], allowed: &BTreeSet<String>) -> (bool, &'w [&'w str]) {
    let (mut met, mut rest) = all(words, allowed);
    while let ["OR", more @ ..] = rest {
        let (other, behind) = all(more, allowed);
        (met, rest) = (met | other, behind);
    }
    (met, rest)
}

fn all<'w>(words: &'w [&'w str], allowed: &BTreeSet<String>) -> (bool, &'w [&'w str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let ["AND", more @ ..] = rest {
        let (other, behind) = one(more, allowed);
        (met, rest) = (met & other, behind);
    }
    (met, rest)
}

fn one<'w>(words: &'w [&'w str], allowed: &BTreeSet<String>) -> (bool, &'w [&'w str]) {
    match words {
        ["(", inner @ ..] => {
            let (met, rest) = any(inner, allowed);
            assert_eq!(rest.first(), Some(&")"));
            (met, &rest[1..])
        }
        // An exception gives more freedom, and is another name.
        [name, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{name} WITH {exception}")), rest),
        [name, rest @ ..] => (allowed.contains(name.trim_end_matches('+')), rest),
        [] => panic!("half an expression"),
    }
}

#[test]
fn every_crate_is_from_where_it_should_be_under_a_licence_that_fits() {
    let config = String::from_utf8(test_file("../deny.toml")).unwrap();
    let (allowed, registries) = (quoted(&config, "\nallow = ["), quoted(&config, "allow-registry = ["));
    let (skipped, banned) = (quoted(&config, "skip = ["), quoted(&config, "\ndeny = ["));
    let exceptions = quoted(&config, "exceptions = [");
    assert!(allowed.len() >= 5 && registries.len() == 1 && skipped.len() == 3 && banned.len() >= 4, "{config}");

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    // What only tests need is not passed on.
    let nodes: BTreeMap<String, &Json> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (text(&node["id"]), node)).collect();
    let (mut ours, mut left) = (BTreeSet::new(), vec![text(&metadata["resolve"]["root"])]);
    while let Some(id) = left.pop() {
        let needs = nodes[&id]["deps"].as_array().unwrap().iter();
        let kinds = |dep: &&Json| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"] != "dev");
        left.extend(needs.filter(kinds).map(|dep| text(&dep["pkg"])).filter(|id| !ours.contains(id)));
        ours.insert(id);
    }

    let (mut wrong, mut versions) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    let packages = metadata["packages"].as_array().unwrap().iter();
    for package in packages.filter(|package| ours.contains(&text(&package["id"]))) {
        let [name, version, licence] = ["name", "version", "license"].map(|key| text(&package[key]));
        let source = text(&package["source"]);
        if name != "postrider" && !registries.iter().any(|registry| source == format!("registry+{registry}")) {
            wrong.push(format!("{name} {version} comes from {source:?}"));
        }
        let excepted = exceptions.contains(&name);
        let allowed = if excepted { exceptions.clone() } else { allowed.clone() };
        if !is_met(&licence, &allowed) {
            wrong.push(format!("{name} {version} is under {licence:?}"));
        }
        if banned.contains(&name) {
            wrong.push(format!("{name} is not to be used: see deny.toml"));
        }
        versions.entry(name).or_default().push(version);
    }
    let is_skipped = |name: &str, version: &String| {
        skipped
            .iter()
            .any(|skip| skip.strip_prefix(name).is_some_and(|rest| version.starts_with(rest.trim_start_matches('@'))))
    };
    for (name, found) in &versions {
        if found.iter().filter(|version| !is_skipped(name, version)).count() > 1 {
            wrong.push(format!("there are several of {name}: {}", found.join(", ")));
        }
    }
    assert!(versions.len() > 100, "{versions:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("MIT/Apache-2.0", true),
        ("ISC+", true),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("Apache-2.0 WITH LLVM-exception", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
