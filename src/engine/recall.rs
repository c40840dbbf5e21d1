//! What the receivers still count when the daemon starts: their windows, their pauses and their failures outlive it.
//!
//! A robot that was used twenty times in the minute before a restart would be muted by the twenty-first.

use std::time::Duration;

use crate::edges::journal::{Filter, JournalError, LogRow};
use crate::engine::desk::Desk;
use crate::engine::robots;
use crate::rules::config::Config;
use crate::rules::hook::{Hook, pool};
use crate::words::limits;

/// Notes the latest attempts at the gates of receivers that are the same for every event.
///
/// # Errors
/// The journal could not be read.
pub async fn recall(desk: &Desk, config: &Config) -> Result<(), JournalError> {
    let windows = config.hooks.values().filter_map(|hook| hook.pace).map(|rate| rate.window + limits::PACE_MARGIN);
    let longest = windows.fold(limits::RECALL, Duration::max);
    let (now, elapsed) = (desk.clock.now(), desk.clock.elapsed());
    let since = now.checked_sub(longest).ok();
    let rows = desk.journal.log(Filter { since, ..Filter::default() }).await?;
    for row in rows.iter().filter(|row| !row.verdict.is_empty()) {
        let Some(hook) = config.hooks.get(row.hook.as_str()) else { continue };
        // A clock that was set back since: as far as anybody can tell it was just now.
        let age = Duration::try_from(now.duration_since(row.time)).unwrap_or_default();
        if !hook.robots().is_empty() {
            recall_robot(desk, config, hook, row, elapsed, age);
            continue;
        }
        let Some(gate) = desk.constant_gate(config, hook) else { continue };
        gate.recall(elapsed.saturating_sub(age), hook, &row.verdict, &row.why);
        if row.verdict == "pause"
            && let Some(left) = pause_left(desk, row).await?
        {
            gate.pause(elapsed + left, &row.why);
        }
    }
    Ok(())
}

/// An attempt by one of several robots. One of which nobody can say any more by whom it was counts for all of them.
fn recall_robot(desk: &Desk, config: &Config, hook: &Hook, row: &LogRow, elapsed: Duration, age: Duration) {
    let (number, rests) = pool::signed(&row.why).unwrap_or_default();
    let known = hook.robots().iter().any(|robot| robots::number(robot) == number);
    for (robot, gate) in robots::gates(desk, config, hook) {
        if known && robots::number(robot) != number {
            continue;
        }
        gate.recall(elapsed.saturating_sub(age), robot, &row.verdict, &row.why);
        // Its delivery did not wait for the end of the pause, so the attempt says how long that was.
        let left = rests.map(|seconds| Duration::from_secs(seconds).min(limits::RETRY_AFTER_MAX).saturating_sub(age));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            gate.pause(elapsed + left, &row.why);
        }
    }
}

/// How long the pause that this attempt was answered with goes on: its delivery is due at the end.
async fn pause_left(desk: &Desk, row: &LogRow) -> Result<Option<Duration>, JournalError> {
    let this = Filter { ids: vec![row.delivery.clone()], ..Filter::default() };
    let due =
        desk.journal.list(this).await?.first().filter(|found| found.outcome == "waiting").and_then(|found| found.due);
    let left = due.map(|due| due.duration_since(desk.clock.steady())).filter(|left| left.is_positive());
    Ok(left.map(|left| left.unsigned_abs().min(limits::RETRY_AFTER_MAX)))
}
