//! `emit --wait`: until every hook that wants the event has an outcome.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, count};
use crate::words::limits;

/// Who is asked what became of an event.
pub(super) struct Watch {
    daemon: Daemon,
    patience: Duration,
}

impl Watch {
    pub(super) fn new(global: &Global, patience: Duration) -> Self {
        Self { daemon: Daemon::at(admin_socket(global)), patience }
    }

    /// Says before anything is queued that the answer could not be had. That no daemon is there is for others to say.
    pub(super) async fn may_ask(&self) -> Result<(), Exit> {
        match self.daemon.find("/healthz").await {
            Err(exit) if exit.code() == Code::Permission => Err(exit),
            _ => Ok(()),
        }
    }

    /// Waits until none of the event's deliveries waits.
    pub(super) async fn until_settled(&self, global: &Global, event: &str) -> Result<(), Exit> {
        let until = Instant::now() + self.patience;
        let mut pause = limits::EMIT_WAIT;
        let mut seen = Vec::new();
        let id: String = url::form_urlencoded::byte_serialize(event.as_bytes()).collect();
        let question = format!("/v1/deliveries?event={id}");
        loop {
            // A daemon that restarts answers again in a moment, and knows the event.
            match self.daemon.rows(&question).await {
                Ok(rows) if rows.iter().all(|row| row["outcome"] != "waiting") => return settled(global, &rows),
                Ok(rows) => seen = rows,
                Err(exit) if matches!(exit.code(), Code::NoDaemon | Code::Failed | Code::TryAgain) => {}
                Err(exit) => return Err(exit),
            }
            if Instant::now() >= until {
                return ran_out(global, &seen);
            }
            sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(limits::EMIT_WAIT_MAX);
        }
    }
}

fn settled(global: &Global, rows: &[Json]) -> Result<(), Exit> {
    print(global, rows)?;
    let lost: Vec<String> = rows.iter().filter(|row| row["outcome"] != "delivered").map(in_words).collect();
    if !lost.is_empty() {
        return Err(Exit::new(Code::Failed, lost.join("; ")));
    }
    if output::is_terminal() && !global.json && !global.quiet && !rows.is_empty() {
        output::say(format!("delivered to {}", count(rows.len() as u64, "hook")))?;
    }
    Ok(())
}

fn ran_out(global: &Global, rows: &[Json]) -> Result<(), Exit> {
    print(global, rows)?;
    let waiting: Vec<String> = rows.iter().filter(|row| row["outcome"] == "waiting").map(in_words).collect();
    let why = if waiting.is_empty() { "the daemon does not answer".to_owned() } else { waiting.join("; ") };
    Err(Exit::new(Code::TryAgain, why).help("the event is on disk, and its delivery goes on: `postrider queue` has it"))
}

fn print(global: &Global, rows: &[Json]) -> Result<(), Exit> {
    if global.json { rows.iter().try_for_each(output::json) } else { Ok(()) }
}

fn in_words(row: &Json) -> String {
    let line = |key: &str| output::clean_line(&output::text(row, key));
    let state = match line("outcome").as_str() {
        "waiting" => "still waits".to_owned(),
        outcome => format!("is {outcome}"),
    };
    format!("{} {state}: {}", line("hook"), line("why"))
}

/// The operators' socket of the same daemon.
fn admin_socket(global: &Global) -> PathBuf {
    match &global.socket {
        Some(emit) if *emit != global.paths().emit => emit.with_file_name("admin.sock"),
        _ => global.paths().admin,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_delivered_is_told() {
        let row = |outcome: &str| json!({"hook": "ops", "outcome": outcome, "why": "status 410"});
        assert_eq!(in_words(&row("dead")), "ops is dead: status 410");
        assert_eq!(in_words(&row("waiting")), "ops still waits: status 410");
    }
}
