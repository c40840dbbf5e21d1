//! The README's outputs are what the commands really print.
//!
//! A block behind `<!-- output: NAME -->` is the output of a command below; one behind `<!-- file: PATH -->` is that
//! file. `BLESS=1 cargo test --test it readme` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use postrider::rules::diagnostic::Source;
use postrider::rules::settings::Settings;
use postrider::rules::source::SourceScripts;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command prints on both streams, run in the project's folder.
fn output(arguments: &[&str], folder: &Path) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_postrider")).args(arguments).current_dir(folder).output();
    let run = run.expect("the program runs");
    let mut text = String::from_utf8(run.stderr).expect("text");
    text.push_str(&String::from_utf8(run.stdout).expect("text"));
    text
}

fn wanted(marker: &str) -> String {
    match marker.split_once(": ").expect("kind: name") {
        ("file", path) => fs::read_to_string(root().join(path)).expect("a file that the README shows"),
        ("output", "demo") => output(&["demo"], root()),
        ("output", "check") => {
            let command = "$ postrider check tests/readme/release-to-ops.yaml\n";
            format!("{command}{}", output(&["check", "tests/readme/release-to-ops.yaml"], root()))
        }
        ("output", "verify") => {
            let arguments = [
                "verify",
                "--key-file",
                "tests/readme/key",
                "--body",
                "tests/readme/body",
                "-H",
                "X-Time: 1700000000",
                "-H",
                "X-Sig: v0=6485ab2fcaff3d8c8462c9226412fa5aebe1814059a9acfdfffe748701e53222",
            ];
            let quoted = arguments.map(|word| if word.contains(' ') { format!("'{word}'") } else { word.to_owned() });
            format!("$ postrider {}\n{}", quoted.join(" "), output(&arguments, root()))
        }
        ("output", "script") => {
            let arguments = ["script", "tests/scripts/pager.rhai", "--cases", "tests/scripts/pager.yaml"];
            format!("$ postrider {}\n{}", arguments.join(" "), output(&arguments, root()))
        }
        other => panic!("the README asks for {other:?}"),
    }
}

#[test]
fn the_readme_shows_what_really_comes_out() {
    let path: PathBuf = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("a README");
    let mut written = String::new();
    let mut rest = readme.as_str();
    let mut blocks = 0;
    while let Some(at) = rest.find("<!-- ") {
        let (before, marked) = rest.split_at(at);
        let (marker, after) = marked["<!-- ".len()..].split_once(" -->\n").expect("a closed marker");
        let (fence, body) = after.split_once('\n').expect("a block");
        assert!(fence.starts_with("```"), "no block behind {marker}");
        let (_, behind) = body.split_once("```\n").expect("a closed block");
        let text = wanted(marker);
        written.push_str(&format!("{before}<!-- {marker} -->\n{fence}\n{}\n```\n", text.trim_end()));
        rest = behind;
        blocks += 1;
    }
    written.push_str(rest);
    assert!(blocks >= 4, "only {blocks} blocks found");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &written).expect("a README");
    }
    similar(&readme, &written);
}

fn similar(found: &str, wanted: &str) {
    if std::env::var_os("BLESS").is_some() {
        return;
    }
    for (number, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "README.md:{} is not what comes out", number + 1);
    }
    assert_eq!(found.len(), wanted.len());
}

#[test]
fn the_sources_that_the_readme_shows_are_sound() {
    let source =
        Source::new("tests/readme/sources.yaml", fs::read_to_string(root().join("tests/readme/sources.yaml")).unwrap());
    let (settings, _) = Settings::parse(&source, &SourceScripts::built_in()).expect("a sound main file");
    assert_eq!(settings.sources.len(), 4);
}
