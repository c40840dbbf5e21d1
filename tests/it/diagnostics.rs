//! Every code of a diagnostic is explained, and what is explained is true: the wrong example earns the code, the right one
//! earns nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postrider::rules::diagnostic::{Diagnostic, Source};
use postrider::rules::explain::{self, Part};
use postrider::rules::fragile;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::{Defaults, Settings};
use postrider::rules::source::SourceScripts;
use postrider::words::secret::Secrets;

use crate::commands::{err, exits, out, run};

/// Codes that are handed on by name: `template`, where a text is compiled; `order-by` and `dedupe`, where a key is; and the
/// constant `TOO_MUCH`.
const HANDED_ON: [&str; 6] = ["template", "order-by", "dedupe", "too-much", "fragile-json", "fragile-xml"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The first literal among the arguments of a call that looks like a code: words in lower case, joined by dashes.
fn code_in(arguments: &str) -> Option<&str> {
    let mut depth = 0;
    let end = arguments.char_indices().find_map(|(at, c)| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return Some(at),
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        None
    })?;
    let literals = arguments[..end].split('"').skip(1).step_by(2);
    let is_code = |text: &&str| {
        text.len() > 1
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    literals.take(2).find(is_code)
}

/// What follows the first argument of a call.
fn behind_first(arguments: &str) -> &str {
    let mut depth = 0;
    for (at, c) in arguments.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => return &arguments[at + 1..],
            _ => {}
        }
    }
    ""
}

/// Every code that stands in the code.
fn used() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 100);
    let mut codes: BTreeSet<String> = HANDED_ON.map(str::to_owned).into();
    let mut all = String::new();
    for file in
        files.iter().filter(|file| !file.ends_with("tests.rs") && !file.parent().is_some_and(|f| f.ends_with("tests")))
    {
        let text = fs::read_to_string(file).expect("a file");
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a beginning");
        all.push_str(text);
        for call in ["Diagnostic::error(", "Diagnostic::warning(", "reader.error(", "self.error("] {
            let is_edge = file.components().any(|part| part.as_os_str() == "yaml") || call != "self.error(";
            for piece in text.split(call).skip(1).filter(|_| is_edge) {
                // Readers are told the place first.
                let piece = if call.starts_with("Diagnostic") { piece } else { behind_first(piece) };
                codes.extend(code_in(piece).map(str::to_owned));
            }
        }
    }
    for code in HANDED_ON {
        assert!(all.contains(&format!("\"{code}\"")), "{code} is handed on nowhere");
    }
    codes
}

#[test]
fn every_code_is_explained_and_no_other() {
    let used = used();
    assert!(used.len() > 60, "only {} codes were found", used.len());
    let explained: BTreeSet<String> = explain::codes().map(str::to_owned).collect();
    assert_eq!(explained.len(), explain::codes().count(), "a code is explained twice");
    let missing: Vec<_> = used.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/diagnostics.md does not explain {missing:?}");
    let left_over: Vec<_> = explained.difference(&used).collect();
    assert!(left_over.is_empty(), "docs/diagnostics.md explains what is never said: {left_over:?}");
}

#[test]
fn wrong_is_wrong_and_right_is_right() {
    let (mut wrong, mut right) = (0, 0);
    for code in explain::codes() {
        for part in explain::explain(code).expect("a section") {
            let Part::Example(kind, text) = part else { continue };
            let is_main = kind.ends_with(" main");
            let found = if is_main { main_file(text) } else { hook_file(code, kind, text) };
            let said: Vec<_> = found.iter().map(|found| found.render(false)).collect();
            if kind.starts_with("yaml wrong") {
                assert!(
                    found.iter().any(|found| found.code == code),
                    "{code} is not said of\n{text}\n{}",
                    said.join("\n")
                );
                wrong += 1;
            } else if kind.starts_with("yaml right") {
                assert!(found.is_empty(), "{code}: this is not right:\n{text}\n{}", said.join("\n"));
                right += 1;
            } else {
                assert_eq!(kind, "sh", "{code}");
            }
        }
    }
    assert!(wrong > 45 && right == wrong, "{wrong} wrong and {right} right examples");
}

fn main_file(text: &str) -> Vec<Diagnostic> {
    let source = Source::new("postrider.yaml", text);
    Settings::parse(&source, &SourceScripts::built_in()).map_or_else(|found| found, |(_, warnings)| warnings)
}

/// The example with what it leaves out.
fn hook_file(code: &str, kind: &str, text: &str) -> Vec<Diagnostic> {
    let has = |key: &str| text.lines().any(|line| line.starts_with(&format!("{key}:")));
    let mut whole = String::new();
    // What is missing in a wrong example may be the mistake.
    let bare = code == "empty-file" && kind == "yaml wrong";
    for (key, line) in [
        ("events", "events: [t]\n"),
        ("platform", "platform: webhook\n"),
        ("options", "options: {url: \"https://ci.example.com/hook\"}\n"),
    ] {
        let is_there = has(key) || (key == "events" && has("on"));
        if !is_there && !bare {
            whole.push_str(line);
        }
    }
    whole.push_str(text);
    whole.push('\n');
    let (hook, mut found) =
        Hook::parse(&Source::new("example.yaml", whole), &Platforms::built_in(), &Defaults::default());
    if let Some(hook) = hook {
        found.extend(hook.dry_run(&Secrets::default(), Timestamp::UNIX_EPOCH));
        found.extend(fragile::warnings(&hook));
    }
    found
}

#[tokio::test]
async fn help_explains_a_code_and_check_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let page = run(folder, &["help", "duration"]).await;
    exits(&page, 0);
    assert!(out(&page).contains("\nwrong\n  timeout: 15\n\nright\n  timeout: 15s\n"), "{}", out(&page));
    // A command and a code of the same name.
    let both = run(folder, &["help", "script"]).await;
    exits(&both, 0);
    assert!(out(&both).contains("Usage:") && out(&both).contains("error[script]"), "{}", out(&both));
    let code = run(folder, &["help", "error[script]"]).await;
    assert!(out(&code).contains("man postrider-rhai") && !out(&code).contains("Usage:"), "{}", out(&code));
    let unknown = run(folder, &["help", "unkown-key"]).await;
    exits(&unknown, 2);
    assert!(err(&unknown).contains("did you mean unknown-key?"), "{}", err(&unknown));

    fs::write(folder.join("bad.yaml"), "events: t\nplatfrom: webhook\n").expect("a file");
    let checked = run(folder, &["check", "bad.yaml"]).await;
    exits(&checked, 78);
    let said = err(&checked);
    assert_eq!(said.matches("postrider help ").count(), 1, "{said}");
    assert!(said.trim_end().ends_with("`postrider help CODE` explains: unknown-key"), "{said}");
}
