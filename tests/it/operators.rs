//! What an operator asks and orders, with the real program and a real daemon: what waits and why, what became of an event,
//! and everything that can be done about it.

mod copies;
mod explaining;
mod flushing;
mod originals;
mod queues;
mod replaying;
mod throwing_away;

use std::path::Path;
use std::process::Output;

use postrider::edges::sink::SinkHandle;
use serde_json::{Value as Json, json};

use crate::commands::{exits, out, run};
use crate::support::Daemon;

/// What a command prints with `--json`, line by line.
pub(crate) async fn rows(folder: &Path, arguments: &[&str]) -> Vec<Json> {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    let printed = run(folder, &arguments).await;
    exits(&printed, 0);
    out(&printed).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs a command that must do what it is told.
pub(crate) async fn does(folder: &Path, arguments: &[&str]) -> Output {
    let done = run(folder, arguments).await;
    exits(&done, 0);
    done
}

/// Sends so many events of a type, numbered from 1.
pub(crate) async fn emit(daemon: &Daemon, kind: &str, count: usize) {
    for n in 1..=count {
        daemon.emit(&json!({"type": kind, "id": format!("{kind}-{n}"), "data": {"n": n}})).await;
    }
}

/// A URL that holds a secret.
pub(crate) fn secret_url(sink: &SinkHandle, name: &str) -> String {
    format!("{}/{{{{ secret('{name}') }}}}", sink.url("").trim_end_matches('/'))
}

/// A hook for events of a type.
pub(crate) fn hook(kind: &str, url: &str, more: &str) -> String {
    format!("events: [{kind}]\nplatform: webhook\noptions: {{url: \"{url}\"}}\n{more}")
}
