//! One event, and for every hook what became of it there, or why it was not wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::edges::journal::{DeliveryRow, Filter, JournalError};
use crate::engine::desk::Desk;
use crate::engine::standing;
use crate::rules::config::Config;
use crate::rules::diagnostic::Severity;
use crate::rules::hook::{Hook, NotWanted, name_of};
use crate::words::event::Event;

/// Explains an event that is on record, by its id or by that of one of its deliveries; `None`: no such event.
///
/// # Errors
/// The journal could not be read.
pub async fn known(desk: &Desk, config: &Config, id: &str) -> Result<Option<Json>, JournalError> {
    let shown = desk.journal.show(id).await?;
    let event = match shown {
        Some(shown) => Some(shown.event),
        None => desk.journal.event(id).await?,
    };
    let Some(event) = event else { return Ok(None) };
    let of_event = Filter { event: Some(event.id.clone()), ..Filter::default() };
    let mut owed: BTreeMap<String, Vec<DeliveryRow>> = BTreeMap::new();
    for mut row in desk.journal.list(of_event).await? {
        standing::tell(&standing::of_hook(desk, config, &row.hook), &mut row, desk.clock.now());
        owed.entry(row.hook.clone()).or_default().push(row);
    }
    Ok(Some(told(config, &event, true, &owed)))
}

/// Explains what would become of an event that nobody has sent.
pub fn unsent(config: &Config, event: &Event) -> Json {
    told(config, event, false, &BTreeMap::new())
}

fn told(config: &Config, event: &Event, known: bool, owed: &BTreeMap<String, Vec<DeliveryRow>>) -> Json {
    let mut hooks: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for (name, rows) in owed {
        let of_hook = rows.iter().map(|row| {
            let mut told = json!(row);
            told["wanted"] = json!(true);
            if !config.hooks.contains_key(name.as_str()) {
                told["note"] = json!("its file is gone from hooks.d");
            }
            told
        });
        hooks.insert(name.clone(), of_hook.collect());
    }
    for (name, hook) in config.hooks.iter().filter(|(name, _)| !owed.contains_key(&***name)) {
        hooks.insert(name.to_string(), vec![judged(config, hook, event, known)]);
    }
    for (name, file, what) in broken(config) {
        let last_good = config.hooks.contains_key(name.as_str());
        let rows = hooks.entry(name.clone()).or_default();
        if last_good {
            let note = format!("{file} is broken, its last good version counts: {what}");
            rows.iter_mut().for_each(|row| row["note"] = json!(note));
        } else if rows.is_empty() {
            rows.push(json!({
                "hook": name, "wanted": false, "reason": "broken", "why": format!("{file} is broken: {what}"),
                "by": "today's hooks",
            }));
        }
    }
    let hooks: Vec<Json> = hooks.into_values().flatten().collect();
    json!({
        "event": event.id, "type": event.kind, "source": event.source, "time": event.time, "known": known,
        "hooks": hooks,
    })
}

/// What a hook as it is today thinks of the event.
fn judged(config: &Config, hook: &Hook, event: &Event, known: bool) -> Json {
    let (reason, why) = match hook.wants(event) {
        Ok(()) if known => (
            "later",
            "it wants such events today; when this one came it did not, or its record is not kept any more".to_owned(),
        ),
        Ok(()) => ("wanted", String::new()),
        Err(NotWanted::Disabled) => ("disabled", "it is disabled (`enabled: false`)".to_owned()),
        Err(NotWanted::Type) => {
            ("type", format!("its events are {}: none of them matches {}", hook.events.join(", "), event.kind))
        }
        Err(NotWanted::When) => {
            ("when", format!("its when is false: {}", hook.when.as_ref().map(|when| when.text()).unwrap_or_default()))
        }
        Err(NotWanted::WhenFailed(why)) => ("when failed", format!("its when failed: {why}")),
    };
    let mut told = json!({
        "hook": hook.name.as_ref(), "wanted": reason == "wanted", "reason": reason,
        "why": config.secrets.redact(&why), "by": "today's hooks",
    });
    if let Some(when) = hook.when.as_ref().filter(|_| reason.starts_with("when")) {
        let values = when.values(event, &hook.name).into_iter().map(|(name, value)| {
            let value = value.map(|value| config.secrets.redact(&value));
            json!({"name": name, "value": value})
        });
        told["values"] = values.collect();
    }
    told
}

/// The hooks whose files are broken right now: name, file, and the first thing that is wrong.
fn broken(config: &Config) -> Vec<(String, String, String)> {
    let mut seen = BTreeSet::new();
    let errors = config.problems.iter().filter(|problem| problem.severity == Severity::Error);
    let of_hooks = errors.filter_map(|problem| {
        let file = &problem.place.as_ref()?.file;
        let is_hook = std::path::Path::new(file).parent().is_some_and(|folder| folder.ends_with("hooks.d"));
        let name = name_of(file).ok().filter(|_| is_hook)?.to_owned();
        seen.insert(name.clone()).then(|| (name, file.clone(), config.secrets.redact(&problem.what)))
    });
    of_hooks.collect()
}

/// The hook of this name, or the one that was probably meant: configured, or still owed something.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn hook_named(desk: &Desk, config: &Config, name: &str) -> Result<Arc<str>, (String, Option<String>)> {
    if let Some((name, _)) = config.hooks.get_key_value(name) {
        return Ok(name.clone());
    }
    let lanes = desk.journal.lanes().await.unwrap_or_default();
    if let Some((name, _)) = lanes.iter().find(|(lane, _)| **lane == *name) {
        return Ok(name.clone());
    }
    let known = config.hooks.keys().chain(lanes.iter().map(|(lane, _)| lane));
    let near = known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(3) / 3)
        .min();
    let help = near.map(|(_, near)| format!("did you mean {near}?"));
    Err((format!("there is no hook {name}"), help.or_else(|| Some("`postrider status` lists them".to_owned()))))
}
