//! What is going on, whole: every hook, what waits, what is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::edges::journal::{JournalError, LaneCount};
use crate::engine::desk::Desk;
use crate::engine::{standing, tally};
use crate::rules::config::Config;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::hook::Hook;
use crate::words::delivery::Why;

/// What the daemon knows about itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The journal's file.
    pub journal: String,
    /// The emit socket.
    pub emit: String,
    /// The TCP address, if there is one.
    pub http: Option<String>,
    /// The address of `/metrics`, if there is one.
    pub metrics: Option<String>,
}

/// All of it.
///
/// # Errors
/// The journal could not be read.
pub async fn status(desk: &Desk, config: &Config, about: &About) -> Result<Json, JournalError> {
    let lanes = desk.journal.lanes().await?;
    let mut counts: BTreeMap<_, _> = lanes.into_iter().collect();
    let mut hooks = Vec::new();
    for hook in config.hooks.values() {
        let count = counts.remove(&hook.name).unwrap_or_default();
        hooks.push(of_hook(desk, config, &hook.name, Some(hook), &count));
    }
    for (name, count) in counts.iter().filter(|(_, count)| count.waiting + count.dead > 0) {
        hooks.push(of_hook(desk, config, name, None, count));
    }
    let sum = |key: &str| hooks.iter().filter_map(|hook| hook[key].as_u64()).sum::<u64>();
    let ignored: Vec<Json> = config.ignored.iter().map(|one| json!({"file": one.file, "why": one.why})).collect();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "since": desk.since,
        "accepted": desk.accepted.load(Ordering::Relaxed),
        "waiting": sum("waiting"),
        "dead": sum("dead"),
        "delivered": sum("delivered"),
        "hooks": hooks,
        "problems": problems(&config.problems),
        "ignored": ignored,
        "storage": storage(desk, about),
        "listen": {"emit": about.emit, "http": about.http, "metrics": about.metrics},
    }))
}

/// What is known of the journal's files.
fn storage(desk: &Desk, about: &About) -> Json {
    let why = |error: Option<JournalError>| error.map(|why| why.to_string());
    let mut storage = json!(desk.journal.usage());
    storage["path"] = json!(about.journal);
    storage["trouble"] = json!(why(desk.journal.trouble()));
    storage["refuses"] = json!(why(desk.journal.refuses()));
    storage
}

fn of_hook(desk: &Desk, config: &Config, name: &Arc<str>, hook: Option<&Arc<Hook>>, count: &LaneCount) -> Json {
    let pulse = desk.pulse(name);
    let in_flight = pulse.flying.load(Ordering::Relaxed);
    let lately = pulse.tally_so_far().map(|tally| tally.history.read(tally::part(desk.clock.elapsed())));
    let history = lately.unwrap_or_default().into_iter();
    // A receiver whose window is full keeps nobody waiting when nothing waits.
    let waits = count.waiting > in_flight as u64;
    let (state, until, why) = match hook {
        None => ("removed", None, "its file is gone from hooks.d".to_owned()),
        Some(hook) => state(desk, config, hook, waits),
    };
    json!({
        "hook": name.as_ref(),
        "file": hook.map(|hook| hook.source.name.to_string()),
        "platform": hook.map(|hook| hook.platform.name.clone()),
        "enabled": hook.is_some_and(|hook| hook.enabled),
        "state": state,
        "until": until,
        "why": why,
        "waiting": count.waiting,
        "dead": count.dead,
        "delivered": count.delivered,
        "in_flight": in_flight,
        "oldest": count.oldest,
        "history": history.map(|part| json!({"delivered": part.good, "failed": part.bad})).collect::<Vec<_>>(),
    })
}

/// What a hook does right now, until when if that is known, and why.
pub fn state(desk: &Desk, config: &Config, hook: &Hook, waits: bool) -> (&'static str, Option<Timestamp>, String) {
    let standing = standing::of_hook(desk, config, &hook.name);
    let gate = standing.gate.map(|(why, until)| (why, Some(until)));
    match standing.shut.or(gate) {
        None => ("ready", None, String::new()),
        // What is wrong with it is told once, and not by each hook.
        Some((Why::Storage(_), _)) => ("storage", None, String::new()),
        Some((Why::HookDisabled, _)) => ("disabled", None, "enabled: false".to_owned()),
        Some((Why::Hold(why), until)) => ("held", until, why),
        Some((Why::SecretMissing(why), _)) => ("secret missing", None, why),
        Some((Why::Breaker(why), until)) => ("failing", until, why),
        Some((Why::Pace, until)) if waits => ("paced", until, "its rate_limit is used up".to_owned()),
        Some((Why::Pace, _)) => ("ready", None, String::new()),
        Some((why, until)) => ("paused", until, why.detail().to_owned()),
    }
}

/// Findings as programs are told of them.
pub fn problems(found: &[Diagnostic]) -> Vec<Json> {
    found.iter().map(Diagnostic::to_json).collect()
}
