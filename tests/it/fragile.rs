//! What a value could break is a warning of `check` and of a daemon that loads a new hook; the hook runs all the same.

use std::path::Path;

use postrider::edges::config::{Keeper, Paths};
use postrider::edges::proof::Prover;
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Severity;
use postrider::words::limits;

use crate::commands::{err, exits, out, piped, run};
use crate::process::binary;
use crate::support::write_hook;

const FRAGILE: &str = "events: [a]
platform: webhook
options:
  url: https://ci.example.com/in
  text: '{\"title\": \"{{ data.title }}\"}'
";

#[tokio::test]
async fn check_warns_and_fails_only_when_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "one", FRAGILE);
    write_hook(
        folder.path(),
        "two",
        "events: [a]\nplatform: webhook\noptions: {url: \"https://h.example/{{ data.x }}\"}\n",
    );
    std::fs::create_dir_all(folder.path().join(".postrider")).expect("a folder");
    for path in ["hooks.d", "hooks.d/one.yaml"] {
        let checked = run(folder.path(), &["check", path]).await;
        exits(&checked, 0);
        let said = err(&checked);
        assert!(
            said.contains("warning[fragile-json]: a quote in `data.title` would break the JSON in `text`"),
            "{said}"
        );
        assert!(said.contains("hooks.d/one.yaml:5:21") && said.contains("`json:` as YAML"), "{said}");
        assert_eq!(said.matches("warning[").count(), 1, "{said}");
        assert!(out(&checked).contains("fine, 1 warning"), "{}", out(&checked));
        exits(&run(folder.path(), &["check", path, "--deny-warnings"]).await, 78);
    }
    let piped = piped(folder.path(), &["check", "-"], FRAGILE).await;
    assert!(err(&piped).contains("--> stdin.yaml:5:21"), "{}", err(&piped));
}

fn load(folder: &Path, prover: Prover) -> Config {
    let mut keeper = Keeper::new(Paths::here(folder), true).proving(prover);
    let config = keeper.load().expect("a configuration");
    // What did not change is warned of at each look.
    assert_eq!(keeper.load().expect("a configuration").problems, config.problems);
    config
}

fn warned(config: &Config) -> Vec<&str> {
    assert!(config.problems.iter().all(|problem| problem.severity == Severity::Warning), "{:?}", config.problems);
    config.problems.iter().map(|problem| problem.code).collect()
}

#[test]
fn a_daemon_warns_of_new_hooks_and_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let prover = || Prover::program(binary());
    write_hook(folder.path(), "one", FRAGILE);
    for start in 0..2 {
        let config = load(folder.path(), prover());
        assert_eq!((warned(&config), config.hooks.len()), (vec!["fragile-json"], 1), "start {start}");
    }
    write_hook(folder.path(), "one", &FRAGILE.replace("\"{{ data.title }}\"", "{{ data.title | tojson }}"));
    assert_eq!(warned(&load(folder.path(), prover())), [] as [&str; 0]);
}

#[test]
fn very_many_new_hooks_do_not_wait_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..=limits::FRAGILE_AT_ONCE {
        write_hook(folder.path(), &format!("h{number}"), &format!("{FRAGILE}# {number}\n"));
    }
    let config = load(folder.path(), Prover::program(binary()));
    assert_eq!((warned(&config).len(), config.hooks.len()), (0, limits::FRAGILE_AT_ONCE + 1));
    let fresh = tempfile::tempdir().expect("a folder");
    std::fs::rename(folder.path().join("hooks.d"), fresh.path().join("hooks.d")).expect("a move");
    let config = load(fresh.path(), Prover::program(binary()).thorough());
    assert_eq!(warned(&config).len(), limits::FRAGILE_AT_ONCE + 1);
}
