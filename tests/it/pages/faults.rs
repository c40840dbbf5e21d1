//! `docs/faults.md` names no test that is not there, and has a row for every fault that is tested; `tests/long.sh` runs
//! what is there.

use std::collections::BTreeSet;
use std::fs;

use super::root;
use super::table::known_tests;

/// The faults, by their numbers.
const ROWS: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 25, 27];

#[test]
fn every_fault_has_a_row_with_tests_that_are_there() {
    let text = fs::read_to_string(root().join("docs/faults.md")).expect("docs/faults.md");
    let known = known_tests();
    let (mut rows, mut named) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, happens, tests, _] = cells[..] else { panic!("a row has five cells: {line}") };
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if number.starts_with(['r', '-']) && tests.is_empty() {
            continue;
        }
        assert!(!tests.is_empty() && !happens.is_empty(), "row {number} names no test");
        for test in tests {
            assert!(known.contains_key(test), "row {number} names the test {test}, which does not exist");
            named.insert(test.to_owned());
        }
        if let Ok(number) = number.parse::<u8>() {
            assert!(rows.insert(number), "row {number} is there twice");
        }
    }
    for number in ROWS {
        assert!(rows.contains(&number), "docs/faults.md has no row {number}");
    }
    // What is in the folder stands in the table.
    let folder = "tests/it/faults/";
    let apart = ["a_record_is_read", "what_was_synced_is_always_there_and_the_rest_may_be"];
    let missing: Vec<_> = known
        .iter()
        .filter(|(test, file)| file.contains(folder) && !named.contains(*test) && !apart.contains(&test.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/faults.md: {missing:?}");
}

#[test]
fn the_long_forms_are_of_tests_that_are_there() {
    let script = fs::read_to_string(root().join("tests/long.sh")).expect("tests/long.sh");
    let known = known_tests();
    let calls: Vec<&str> = script.lines().filter(|line| line.starts_with("long ")).collect();
    assert!(calls.len() >= 20, "only {} long forms", calls.len());
    for call in calls {
        let filter = call.split_whitespace().next_back().expect("a filter");
        let (folder, test) = filter.rsplit_once("::").unwrap_or((filter, ""));
        let path = folder.replace("::", "/");
        let is_there = |(name, file): (&String, &String)| {
            let is_module =
                file.contains(&format!("tests/it/{path}")) || file.contains(&format!("tests/it/{path}/{test}.rs"));
            is_module && (name.starts_with(test) || file.ends_with(&format!("/{test}.rs")))
        };
        assert!(known.iter().any(is_there), "{call}: there is no such test");
    }
    for variable in script.split_whitespace().filter_map(|word| word.trim_matches('"').split_once('=')) {
        let (name, _) = variable;
        if name.starts_with("POSTRIDER_") && !["POSTRIDER_DAEMON", "POSTRIDER_FAULTS"].contains(&name) {
            assert!(is_read(name), "nothing reads {name}");
        }
    }
}

fn is_read(variable: &str) -> bool {
    let quoted = format!("\"{variable}\"");
    super::table::sources().iter().any(|text| text.contains(&quoted))
}
