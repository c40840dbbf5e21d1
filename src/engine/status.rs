//! What is going on, whole: every hook, what waits, what is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::edges::intake::spool;
use crate::edges::journal::{JournalError, LaneCount};
use crate::engine::desk::Desk;
use crate::engine::{robots, standing, tally};
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
    /// The spool, if there is one.
    pub spool: Option<PathBuf>,
    /// The address of `/metrics`, if there is one.
    pub metrics: Option<String>,
}

/// All of it, in the order in which it is shown.
#[derive(Serialize)]
struct Whole<'a> {
    version: &'static str,
    pid: u32,
    since: Timestamp,
    accepted: u64,
    waiting: u64,
    dead: u64,
    delivered: u64,
    hooks: &'a RawValue,
    problems: Vec<Json>,
    ignored: Vec<Json>,
    storage: Json,
    listen: Json,
}

/// All of it, as JSON. Each hook is written as soon as it was looked at: the values of ten thousand together would be
/// more than all the rest of the daemon.
///
/// # Errors
/// The journal could not be read.
pub async fn status(desk: &Desk, config: &Config, about: &About) -> Result<String, JournalError> {
    let lanes = desk.journal.lanes().await?;
    let mut counts: BTreeMap<_, _> = lanes.into_iter().collect();
    let mut hooks = Hooks { rows: "[".to_owned(), ..Hooks::default() };
    for hook in config.hooks.values() {
        let count = counts.remove(&hook.name).unwrap_or_default();
        hooks.add(&of_hook(desk, config, &hook.name, Some(hook), &count), &count);
    }
    for (name, count) in counts.iter().filter(|(_, count)| count.waiting + count.dead > 0) {
        hooks.add(&of_hook(desk, config, name, None, count), count);
    }
    let written = |error: serde_json::Error| JournalError::Storage(format!("the status cannot be written: {error}"));
    hooks.rows.push(']');
    let rows = RawValue::from_string(hooks.rows).map_err(written)?;
    let mut problems = problems(&config.problems);
    problems.extend(left_aside(about).await.iter().map(Diagnostic::to_json));
    let whole = Whole {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        since: desk.since,
        accepted: desk.accepted.load(Ordering::Relaxed),
        waiting: hooks.waiting,
        dead: hooks.dead,
        delivered: hooks.delivered,
        hooks: &rows,
        problems,
        ignored: config.ignored.iter().map(|one| json!({"file": one.file, "why": one.why})).collect(),
        storage: storage(desk, about),
        listen: json!({"emit": about.emit, "http": about.http, "metrics": about.metrics, "spool": about.spool}),
    };
    serde_json::to_string(&whole).map_err(written)
}

/// The hooks that were looked at, and their sums.
#[derive(Default)]
struct Hooks {
    /// A list, not closed yet.
    rows: String,
    waiting: u64,
    dead: u64,
    delivered: u64,
}

impl Hooks {
    fn add(&mut self, row: &Json, count: &LaneCount) {
        if self.rows.len() > 1 {
            self.rows.push(',');
        }
        self.rows.push_str(&row.to_string());
        self.waiting += count.waiting;
        self.dead += count.dead;
        self.delivered += count.delivered;
    }
}

/// The files of the spool that are no events.
async fn left_aside(about: &About) -> Vec<Diagnostic> {
    let Some(folder) = about.spool.clone() else { return Vec::new() };
    let looked = tokio::task::spawn_blocking(move || spool::bad(&folder)).await;
    let (told, count) = looked.unwrap_or_default();
    let more = count - told.len();
    let mut found: Vec<Diagnostic> = told
        .into_iter()
        .map(|bad| {
            Diagnostic::error("spool-file", format!("{} was left in the spool and is not taken: {}", bad.file, bad.why))
                .help("mend it and move it back into the spool, or remove it; the reason stands beside it")
        })
        .collect();
    if let Some(last) = found.pop() {
        found.push(if more > 0 { last.note(format!("there are {more} more in the same folder")) } else { last });
    }
    found
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
    let mut told = json!({
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
    });
    if let Some(hook) = hook.filter(|hook| !hook.robots().is_empty()) {
        told["robots"] = robots::status(desk, config, hook).into();
    }
    told
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
