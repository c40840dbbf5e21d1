//! The manual: every command, every key and every function has its place, and every page can be set without a complaint.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use postrider::rules::diagnostic::Source;
use postrider::rules::explain;
use postrider::rules::platform::Platform;
use postrider::rules::script::manual;
use postrider::words::keys::{self, Table};
use postrider::words::rows::COMMANDS;

/// The pages by the names of their files.
fn pages(folder: &Path) -> BTreeMap<String, String> {
    let run = Command::new(env!("CARGO_BIN_EXE_postrider")).arg("man").arg(folder).output().expect("the program runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let page = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("a page"))
    };
    entries.map(page).collect()
}

/// How a word stands in a page: its dashes are not those of prose.
fn bold(word: &str) -> String {
    format!("\\fB{}\\fR", word.replace('\\', "\\e").replace('-', "\\-"))
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = pages(folder.path());
    let help = Command::new(env!("CARGO_BIN_EXE_postrider")).arg("help").output().expect("the program runs");
    let help = String::from_utf8(help.stdout).expect("text");
    let commands: Vec<_> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(commands.len() > 18, "{help}");
    for command in commands {
        let page = pages.get(&format!("postrider-{command}.8")).unwrap_or_else(|| panic!("{command} has no page"));
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXAMPLES", ".SH \"SEE ALSO\""] {
            assert!(page.contains(part), "{command} lacks {part}\n{page}");
        }
    }
    for (command, rows) in COMMANDS {
        let page = &pages[&format!("postrider-{command}.8")];
        for field in rows.iter().flat_map(|row| row.fields) {
            assert!(page.contains(&bold(field.name)), "postrider-{command}.8 does not name {}", field.name);
        }
    }
}

#[test]
fn every_key_and_every_function_has_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = pages(folder.path());
    let hook: [&Table; 11] = [
        &keys::HOOK,
        &keys::RETRY,
        &keys::BREAKER,
        &keys::DEDUPE,
        &keys::RATE,
        &keys::RULE,
        &keys::TEST,
        &keys::TEST_EVENT,
        &keys::TEST_RESPONSE,
        &keys::EXPECT,
        &keys::SIGN,
    ];
    let main: [&Table; 10] = [
        &keys::MAIN,
        &keys::JOURNAL,
        &keys::LISTEN,
        &keys::DEFAULTS,
        &keys::RETRY,
        &keys::LIMITS,
        &keys::NETWORK,
        &keys::TRACES,
        &keys::SOURCE,
        &keys::SOURCE_OPTIONS,
    ];
    for (page, tables) in [("postrider-hook.5", &hook[..]), ("postrider.yaml.5", &main[..])] {
        for key in tables.iter().flat_map(|table| table.keys) {
            let entry = format!(".TP\n{} (", bold(key.name));
            assert!(pages[page].contains(&entry), "{page} has no entry {}", key.name);
        }
    }
    for function in manual::functions() {
        let usage = format!("\\fB{}", function.name);
        assert!(pages["postrider-rhai.7"].contains(&usage), "{} is not in the manual", function.name);
    }
    for code in explain::codes() {
        assert!(pages["postrider.8"].contains(&code.replace('-', "\\-")), "{code} is not in the manual");
    }
}

#[test]
fn the_scripts_of_the_manual_compile() {
    let page = include_str!("../../packaging/man/postrider-rhai.7").replace("\\-", "-");
    let scripts: Vec<_> = page.split(".nf\n").skip(1).filter_map(|rest| rest.split("\n.fi").next()).collect();
    let platform = scripts.iter().find(|text| text.contains("fn request(")).expect("a platform");
    let platform = Platform::compile("pager", Source::new("pager.rhai", *platform), false).expect("a sound script");
    assert_eq!(platform.manifest.options.len(), 2);
    let source = scripts.iter().find(|text| text.contains("fn events(")).expect("a source");
    let source = postrider::rules::source::SourceScript::compile("shop", Source::new("shop.rhai", *source), false);
    assert_eq!(source.expect("a sound script").manifest.options.len(), 1);
}

#[test]
fn every_page_is_set_without_a_complaint() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = pages(folder.path());
    assert!(pages.len() > 20, "{:?}", pages.keys());
    if Command::new("mandoc").arg("-V").output().is_err() && std::env::var_os("CI").is_none() {
        return; // Where the pages are checked, `.ci/run` installs it.
    }
    for name in pages.keys() {
        let run = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(folder.path().join(name)).output();
        let said = String::from_utf8_lossy(&run.expect("mandoc runs").stdout).into_owned();
        assert_eq!(said, "", "{name}");
    }
}
