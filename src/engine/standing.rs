//! What keeps a hook from sending right now, gathered from where it is known: its file, its secrets, a hold, the gate of
//! its receiver, the journal.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use crate::edges::journal::DeliveryRow;
use crate::engine::desk::Desk;
use crate::engine::robots;
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::rules::waiting::{Recorded, Standing};
use crate::words::delivery::Why;

/// What keeps a hook from sending.
pub fn of_hook(desk: &Desk, config: &Config, name: &str) -> Standing {
    let hook = config.hooks.get(name);
    Standing {
        shut: shut(desk, config, name),
        gate: hook.and_then(|hook| robots::shut(desk, config, hook).or_else(|| collecting(desk, hook))),
        flying: desk.pulse(&name.into()).flying.load(Ordering::Relaxed),
        slots: hook.map_or(0, |hook| hook.concurrency),
    }
}

/// Why nothing of it may be sent, and until when if that is known.
fn shut(desk: &Desk, config: &Config, name: &str) -> Option<(Why, Option<Timestamp>)> {
    if let Some(trouble) = desk.journal.trouble() {
        return Some((Why::Storage(trouble.to_string()), None));
    }
    let Some(hook) = config.hooks.get(name) else { return Some((Why::HookRemoved, None)) };
    if !hook.enabled {
        return Some((Why::HookDisabled, None));
    }
    if let Some(hold) = desk.held(name) {
        return Some((Why::Hold(hold.why), hold.until));
    }
    let missing = config.missing_secret(hook).map(Why::SecretMissing);
    missing.or_else(|| robots::all_out(desk, config, hook)).map(|why| (why, None))
}

/// Until when its digest waits for company.
fn collecting(desk: &Desk, hook: &Hook) -> Option<(Why, Timestamp)> {
    hook.digest.as_ref()?;
    let left = desk.pulse(&hook.name).collects_until()?.checked_sub(desk.clock.elapsed())?;
    Some((Why::Digest, backoff::later(desk.clock.steady(), left)))
}

/// Says in a row why it waits and until when, by what is true now.
pub fn tell(standing: &Standing, row: &mut DeliveryRow, now: Timestamp) {
    if row.outcome != "waiting" {
        return;
    }
    let recorded = Why::from_text(&row.why);
    let (why, until) = standing.tell(Recorded { why: &recorded, due: row.due, claimed: row.claimed }, now);
    row.why = why.to_string();
    row.reason = Some(why.word().to_owned());
    row.due = until;
}
