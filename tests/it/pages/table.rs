//! `docs/seeds.md` lists every feature of the five vendors with the tests that show it, and names no test that is not
//! there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::root;

/// How many features each vendor's document has; `X` stands across.
const FEATURES: [(&str, usize); 6] = [("PG", 13), ("AG", 7), ("AP", 8), ("PK", 10), ("PP", 6), ("X", 5)];

#[test]
fn every_feature_has_a_row_and_every_row_its_tests() {
    let text = fs::read_to_string(root().join("docs/seeds.md")).expect("docs/seeds.md");
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, tests] = cells[..] else { panic!("a row has three cells: {line}") };
        if id != "row" && !id.starts_with('-') {
            let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            assert!(rows.insert(id.to_owned(), tests).is_none(), "{id} is there twice");
        }
    }
    let known = known_tests();
    for (vendor, count) in FEATURES {
        for number in 1..=count {
            let id = format!("{vendor}{number}");
            let tests = rows.remove(&id).unwrap_or_else(|| panic!("docs/seeds.md has no row {id}"));
            assert!(!tests.is_empty(), "{id} names no test");
            for test in &tests {
                assert!(known.contains_key(test), "{id} names the test {test}, which does not exist");
            }
            let own = format!("{}_", id.to_lowercase());
            assert!(tests.iter().any(|test| test.starts_with(&own)), "{id} has no test of its own name");
        }
    }
    assert!(rows.is_empty(), "rows of no feature: {:?}", rows.keys());
    // What is named for a feature stands in the table.
    for (test, file) in known.iter().filter(|(test, _)| is_named_for_a_feature(test)) {
        assert!(text.contains(&format!("`{test}`")), "{test} in {file} is not in docs/seeds.md");
    }
}

fn is_named_for_a_feature(test: &str) -> bool {
    let id = test.split('_').next().unwrap_or_default().to_uppercase();
    FEATURES.iter().any(|(vendor, count)| {
        id.strip_prefix(vendor)
            .and_then(|number| number.parse().ok())
            .is_some_and(|number: usize| (1..=*count).contains(&number))
    })
}

/// Every function that stands under a `#[test]` in `tests/it`, with its file.
pub(super) fn known_tests() -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    collect(&root().join("tests/it"), &mut known);
    assert!(known.len() > 100, "only {} tests found", known.len());
    known
}

/// The text of every file in `tests/it`.
pub(super) fn sources() -> Vec<String> {
    let mut folders = vec![root().join("tests/it")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push(fs::read_to_string(&path).expect("a file"));
            }
        }
    }
    texts
}

fn collect(folder: &Path, known: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, known);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                let name = rest.split('(').next().unwrap_or_default().to_owned();
                known.insert(name, path.display().to_string());
                is_test = false;
            }
        }
    }
}
