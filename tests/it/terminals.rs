//! What is drawn for a person at a terminal, and not said in a pipe.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use postrider::edges::sink::{Fault, Step};
use serde_json::{Value as Json, json};

use crate::delivering::webhook;
use crate::process::binary;
use crate::support::{Daemon, PATIENCE, receiver, write_hook};

/// Runs it at a terminal of 140 columns; all that came out. Nothing where there is no `script`.
fn at_a_terminal(folder: &Path, arguments: &str) -> Option<String> {
    let command = format!("stty cols 140; exec {} {arguments}", binary().display());
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(folder).stdin(Stdio::null());
    script.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env_remove("NO_COLOR");
    match script.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "script (of util-linux) is missing: {error}");
            println!("passed over: script is missing");
            None
        }
    }
}

fn in_a_pipe(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).current_dir(folder).output().expect("the program")
}

#[tokio::test(flavor = "multi_thread")]
async fn status_draws_the_last_hour_of_each_hook() {
    let (good, bad) = (receiver().await, receiver().await);
    bad.script(Step::status(422)).expect("a step");
    let hooks = [
        ("good", webhook(&good.url(""), "")),
        ("bad", webhook(&bad.url(""), "")),
        ("idle", webhook(&good.url(""), "enabled: false\n")),
    ];
    let daemon = Daemon::start(&hooks.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("good", "delivered").await;
    daemon.until_all("bad", "dead").await;

    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    let of = |name: &str| {
        let hooks = status["hooks"].as_array().expect("hooks");
        hooks.iter().find(|hook| hook["hook"] == name).expect("a hook")["history"].as_array().expect("a list").clone()
    };
    let sum = |parts: &[Json], key: &str| parts.iter().filter_map(|part| part[key].as_u64()).sum::<u64>();
    assert_eq!((of("good").len(), sum(&of("good"), "delivered"), sum(&of("good"), "failed")), (20, 1, 0));
    assert_eq!((sum(&of("bad"), "delivered"), sum(&of("bad"), "failed")), (0, 1));
    assert_eq!(of("idle"), [] as [Json; 0]);

    let folder = daemon.folder.path();
    let piped = in_a_pipe(folder, &["status"]);
    let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(piped.contains("good") && !piped.contains("LAST HOUR") && !piped.contains('█'), "{piped}");
    if let Some(drawn) = at_a_terminal(folder, "status") {
        let line = |name: &str| drawn.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert!(drawn.contains("LAST HOUR"), "{drawn}");
        assert!(line("good ").contains('█') && line("bad ").contains('!'), "{drawn}");
        assert!(!line("idle").contains('█'), "{drawn}");
    }
    daemon.stop().await;
}

#[test]
fn a_check_of_many_says_how_far_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..1500 {
        write_hook(folder.path(), &format!("h{number}"), &webhook("http://127.0.0.1:9/", ""));
    }
    fs::create_dir_all(folder.path().join(".postrider")).expect("a folder");
    let piped = in_a_pipe(folder.path(), &["check", "hooks.d"]);
    assert_eq!(String::from_utf8_lossy(&piped.stderr), "");
    assert!(String::from_utf8_lossy(&piped.stdout).starts_with("1500 hooks fine"), "{piped:?}");
    if let Some(drawn) = at_a_terminal(folder.path(), "check hooks.d") {
        assert!(drawn.contains("files tried") || drawn.contains("of 1500 hooks"), "{drawn:?}");
        let end = drawn.rsplit('\r').find(|part| part.contains("hooks fine")).unwrap_or_default();
        assert!(!end.contains("tried"), "the line is gone in the end: {drawn:?}");
    }
}

#[tokio::test]
async fn a_replay_tells_how_far_it_is_and_then_what_was_done() {
    let sink = receiver().await;
    sink.script(Step::status(422).times(3)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    for _ in 0..3 {
        daemon.emit(&json!({"type": "thing"})).await;
    }
    daemon.until("hook", |rows| rows.len() == 3 && rows.iter().all(|row| row.outcome == "dead")).await;
    let (status, said) = daemon.admin("POST", "/v1/replay", Some(r#"{"dead": true, "progress": true}"#)).await;
    assert_eq!(status, 200, "{said}");
    let lines: Vec<Json> =
        said.as_str().expect("lines").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0], json!({"done": 3}));
    assert_eq!(lines[lines.len() - 1]["count"], 3);
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_daemon_says_what_it_waits_for() {
    let sink = receiver().await;
    sink.script(Step::fault(Fault::Stall)).expect("a step");
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    let at = folder.path().to_owned();
    let running = tokio::task::spawn_blocking(move || at_a_terminal(&at, "run --here --drain 2s"));
    let pid = tokio::time::timeout(PATIENCE, async {
        loop {
            let status = in_a_pipe(folder.path(), &["status", "--json"]);
            let status: Json = serde_json::from_slice(&status.stdout).unwrap_or_default();
            if let Some(pid) = status["pid"].as_i64() {
                break i32::try_from(pid).expect("a process");
            }
            if running.is_finished() {
                break 0;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let pid = pid.await.expect("a daemon that answers");
    if pid > 0 {
        assert!(in_a_pipe(folder.path(), &["emit", "thing"]).status.success());
        assert!(sink.wait_for(1, PATIENCE).await);
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a living daemon");
    }
    if let Some(said) = running.await.expect("no panic") {
        assert!(said.contains("1 on the way"), "{said}");
    }
}
