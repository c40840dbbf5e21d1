//! `wrap` changes nothing of the command, and tells of its end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::commands::{err, exits, out, piped, run};
use crate::support::{Daemon, PATIENCE};

/// A folder whose daemon is down: what is told waits in the spool, where it can be read.
fn house() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join(".postrider/spool")).expect("a folder");
    folder
}

/// The events that were told, in their order.
fn told(folder: &Path) -> Vec<Json> {
    let spool = folder.join(".postrider/spool");
    let mut files: Vec<_> =
        fs::read_dir(spool).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |path| serde_json::from_slice(&fs::read(path).expect("a file")).expect("an event");
    files.iter().map(read).collect()
}

async fn wrap(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, &[&["wrap"], arguments].concat()).await
}

#[tokio::test]
async fn streams_and_code_pass_through_and_the_end_is_told() {
    let folder = house();
    let folder = folder.path();
    let script = "cat; echo problem >&2; printf 'no line end'; exit 7";
    let done = piped(folder, &["wrap", "job.done", "--", "sh", "-c", script], "from stdin\n\0\u{fffd}\n").await;
    exits(&done, 7);
    assert_eq!(out(&done), "from stdin\n\0\u{fffd}\nno line end");
    assert_eq!(err(&done), "problem\n");
    let event = &told(folder)[0];
    assert_eq!(event["type"], "job.done");
    let data = &event["data"];
    assert_eq!((&data["exit_code"], &data["signal"]), (&json!(7), &Json::Null));
    assert!(data["command"].as_str().expect("text").starts_with("sh -c 'cat; echo problem"), "{data}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    assert_eq!(data["host"], host.trim());
    assert_eq!(data["user"], postrider::edges::users::name_of(rustix::process::geteuid().as_raw()));
    assert!(data["duration_ms"].as_u64().expect("a number") < 60_000);
    let mut tail: Vec<&str> = data["output_tail"].as_str().expect("text").split('\n').collect();
    tail.sort_unstable();
    assert_eq!(tail, ["\0\u{fffd}", "from stdin", "no line end", "problem"]);
}

#[tokio::test]
async fn only_what_fails_is_told_if_so_wanted() {
    let folder = house();
    let folder = folder.path();
    exits(&wrap(folder, &["--only-failure", "job.failed", "--", "true"]).await, 0);
    assert_eq!(told(folder).len(), 0);
    exits(&wrap(folder, &["--only-failure", "job.failed", "--", "false"]).await, 1);
    let long = wrap(folder, &["--tail", "2", "job.done", "--", "sh", "-c", "seq 100000"]).await;
    exits(&long, 0);
    assert_eq!(out(&long).lines().count(), 100_000);
    exits(&wrap(folder, &["--tail", "0", "job.done", "--", "echo", "untouched"]).await, 0);
    let events = told(folder);
    let tails: Vec<_> = events.iter().map(|event| event["data"]["output_tail"].as_str().expect("text")).collect();
    assert_eq!(tails, ["", "99999\n100000", ""]);

    let gone = wrap(folder, &["job.failed", "--", "./no-such-command"]).await;
    exits(&gone, 127);
    assert!(err(&gone).contains("cannot run ./no-such-command"), "{}", err(&gone));
    fs::write(folder.join("text"), "no program").expect("a file");
    exits(&wrap(folder, &["job.failed", "--", "./text"]).await, 126);
    let last = told(folder).pop().expect("an event");
    assert_eq!(last["data"]["exit_code"], 126);
    assert!(last["data"]["output_tail"].as_str().expect("text").contains("cannot run"), "{last}");

    exits(&wrap(folder, &["", "--", "touch", "it-ran"]).await, 2);
    exits(&wrap(folder, &["job.done"]).await, 2);
    assert!(!folder.join("it-ran").exists());
}

#[tokio::test]
async fn the_commands_code_stands_whatever_becomes_of_the_event() {
    let daemon = Daemon::start(&[]).await;
    let folder = daemon.folder.path();
    exits(&wrap(folder, &["job.done", "--", "sh", "-c", "exit 3"]).await, 3);
    daemon.put_main("limits: {waiting: 1}\n").await;
    let hook = "events: [\"*\"]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:1/\"}\n";
    daemon.put_hook("nowhere", hook).await;
    exits(&wrap(folder, &["job.done", "--", "true"]).await, 0);
    let busy = wrap(folder, &["job.done", "--", "sh", "-c", "exit 4"]).await;
    exits(&busy, 4);
    assert!(err(&busy).contains("not queued") && err(&busy).contains("limits.waiting"), "{}", err(&busy));
    daemon.stop().await;
    let nowhere = tempfile::tempdir().expect("a folder");
    let alone = run(nowhere.path(), &["--socket", "none.sock", "wrap", "job.done", "--", "true"]).await;
    exits(&alone, 0);
    assert!(err(&alone).contains("not queued"), "{}", err(&alone));
}

fn started(folder: &Path, script: &str) -> Child {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.current_dir(folder).args(["wrap", "job.done", "--", "sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

#[test]
fn signals_are_handed_on_and_told() {
    for (signal, name, code) in [(Signal::TERM, "TERM", 143), (Signal::INT, "INT", 130), (Signal::HUP, "HUP", 129)] {
        let folder = house();
        // exec: the one that sleeps is the one that is signalled.
        let mut child = started(folder.path(), "echo ready; exec sleep 60");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("it runs");
        assert_eq!(child.wait().expect("an end").code(), Some(code), "{name}");
        let data = &told(folder.path())[0]["data"];
        assert_eq!((&data["signal"], &data["exit_code"]), (&json!(name), &Json::Null));
    }
}

#[test]
fn a_process_that_is_left_behind_does_not_hold_up_the_event() {
    let folder = house();
    let mut child = started(folder.path(), "(while [ ! -e go ]; do sleep 0.02; done; echo late) & exit 5");
    let begun = Instant::now();
    while told_so_far(folder.path()) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the event waits for the background process");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(folder.path().join("go"), "").expect("a file");
    let mut rest = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "late\n", "and yet what it writes passes through");
    assert_eq!(child.wait().expect("an end").code(), Some(5));
}

fn told_so_far(folder: &Path) -> usize {
    let files = fs::read_dir(folder.join(".postrider/spool")).expect("a folder");
    files.filter(|entry| !entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with('.')).count()
}
