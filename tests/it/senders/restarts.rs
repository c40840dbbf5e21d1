//! The daemon is restarted again and again, its sockets stay open as they do under a service manager: nobody fails, and
//! nothing is stored twice.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value as Json;

use crate::supervised::{Manager, signal};
use crate::support::write_hook;

const ROUNDS: usize = 10;

/// What other threads wait for.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|end| end.store(true, Ordering::Relaxed));
    }
}

fn emit(manager: &Manager, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.current_dir(manager.path()).args(["--json", "--socket", ".postrider/emit.sock", "emit", "--no-spool"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The ids that were answered; every answer is a first one.
fn ids(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{:?}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let answers = text.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON"));
    answers
        .map(|answer| {
            assert_eq!(answer["duplicate"], false, "{answer}");
            answer["id"].as_str().expect("an id").to_owned()
        })
        .collect()
}

#[test]
fn every_emit_gets_through_restarts_and_is_stored_once() {
    let manager = Manager::new();
    write_hook(manager.path(), "nowhere", "events: [x]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:1/\"}\n");
    let (over, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (manager, over, ended) = (&manager, &over, &ended);
    let mut answered = Vec::new();
    std::thread::scope(|scope| {
        let _also_after_a_panic = Ends([over, ended]);
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                manager.hears_nothing();
            }
        });
        let singles: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let mut answered = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        answered.extend(ids(&emit(manager, &["x", "a=b"]).output().expect("it runs")));
                    }
                    answered
                })
            })
            .collect();
        let lines = scope.spawn(move || {
            let mut child = emit(manager, &["--ndjson", "-"]).spawn().expect("it runs");
            let mut input = child.stdin.take().expect("a pipe");
            let reading = scope.spawn(move || child.wait_with_output().expect("it ends"));
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    count += 1;
                    writeln!(input, "{{\"type\":\"x\",\"data\":{count}}}").expect("it is read");
                }
                // A pace, so that lines are on their way at any time.
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(input);
            (count, ids(&reading.join().expect("no panic")))
        });
        for round in 0..ROUNDS {
            let mut child = manager.start();
            // It takes some of what is handed in, and is interrupted in the middle.
            let one = emit(manager, &["x", "from=the manager"]).output().expect("it runs");
            answered.extend(ids(&one));
            signal(&child, if round % 3 == 2 { Signal::KILL } else { Signal::TERM });
            child.wait().expect("a child");
        }
        let mut last = manager.start();
        over.store(true, Ordering::Relaxed);
        for single in singles {
            answered.extend(single.join().expect("no panic"));
        }
        let (count, of_lines) = lines.join().expect("no panic");
        assert_eq!(of_lines.len(), count, "every line has its answer");
        assert!(count > 100, "only {count} lines");
        answered.extend(of_lines);

        let mut listing = Command::new(env!("CARGO_BIN_EXE_postrider"));
        listing.current_dir(manager.path()).args(["--json", "queue", "--hook", "nowhere", "-n", "1000000"]);
        let listed = listing.output().expect("it runs");
        let stored: Vec<String> = String::from_utf8_lossy(&listed.stdout)
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).expect("JSON")["event"].as_str().expect("an id").to_owned())
            .collect();
        let unique: BTreeSet<&String> = answered.iter().collect();
        assert_eq!(unique.len(), answered.len(), "each was answered once");
        assert_eq!(stored.iter().collect::<BTreeSet<_>>(), unique, "{}", manager.log());
        assert_eq!(stored.len(), unique.len(), "each is owed once");
        signal(&last, Signal::TERM);
        last.wait().expect("a child");
    });
    assert!(answered.len() > ROUNDS * 12, "only {} events", answered.len());
}
