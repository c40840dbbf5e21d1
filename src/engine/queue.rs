//! What waits, and why: the next so many, and the shape of the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};

use crate::edges::journal::{After, Among, DeliveryRow, Filter, JournalError, Shape, Walk};
use crate::engine::desk::Desk;
use crate::engine::standing;
use crate::rules::config::Config;
use crate::rules::hook::glob;
use crate::rules::waiting::Standing;
use crate::words::delivery::Why;
use crate::words::limits;

/// The bounds of the columns of a shape, as they are called and in seconds.
pub const AGES: [(&str, i64); 5] = [("1m", 60), ("10m", 600), ("1h", 3_600), ("6h", 21_600), ("1d", 86_400)];
/// What is older than the last of them.
pub const OLDER: &str = "older";

/// What waits and is meant, what is due first first, at most `filter.limit` of it. `why` is a word of `Why`.
///
/// # Errors
/// The journal could not be read.
pub async fn waiting(
    desk: &Desk,
    config: &Config,
    filter: &Filter,
    why: Option<&str>,
) -> Result<Vec<DeliveryRow>, JournalError> {
    let limit = filter.limit.unwrap_or(limits::LIST).min(limits::LIST);
    // By when it is tried next as the journal orders it: a walk through one lane may end where all others begin.
    let mut first: BTreeMap<(After, Arc<str>), DeliveryRow> = BTreeMap::new();
    for (lane, count) in desk.journal.lanes().await? {
        if count.waiting == 0 || filter.hook.as_ref().is_some_and(|hook| **hook != *lane) {
            continue;
        }
        let standing = standing::of_hook(desk, config, &lane);
        let mut after = After::default();
        loop {
            let rows = limits::WALK.min(limit.max(1));
            let walk = Walk { lane: lane.clone(), among: Among::Waiting, after, rows, events: false };
            let found = desk.journal.walk(walk).await?;
            let ended = found.len() < rows;
            let mut full = false;
            for mut found in found {
                after = found.place;
                full = first.len() >= limit && first.last_key_value().is_some_and(|((last, _), _)| *last <= after);
                if full {
                    break;
                }
                standing::tell(&standing, &mut found.row, desk.clock.steady());
                if !is_meant(&found.row, filter, why) {
                    continue;
                }
                first.insert((found.place, lane.clone()), found.row);
                if first.len() > limit {
                    first.pop_last();
                }
            }
            if ended || full || limit == 0 {
                break;
            }
        }
    }
    let mut rows: Vec<DeliveryRow> = first.into_values().collect();
    // What is being sent, or has no time because nothing is in its way, comes before what has one.
    rows.sort_by_key(|row| (rank(row), row.due, row.time));
    Ok(rows)
}

fn rank(row: &DeliveryRow) -> u8 {
    match (row.reason.as_deref(), row.due) {
        (Some("sending"), _) => 0,
        (Some("new" | "turn" | "replayed"), None) => 1,
        (_, Some(_)) => 2,
        _ => 3,
    }
}

fn is_meant(row: &DeliveryRow, filter: &Filter, why: Option<&str>) -> bool {
    why.is_none_or(|why| row.reason.as_deref() == Some(why))
        && filter.kind.as_ref().is_none_or(|pattern| glob(pattern, &row.kind))
        && filter.since.is_none_or(|since| row.time >= since)
        && filter.until.is_none_or(|until| row.time < until)
}

/// How much waits for how long, hook by hook, and for what reason.
///
/// # Errors
/// The journal could not be read.
pub async fn shape(desk: &Desk, config: &Config, only: Option<Arc<str>>) -> Result<Vec<Json>, JournalError> {
    let now = desk.clock.steady();
    let ages = AGES.map(|(_, seconds)| now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN));
    let mut rows = Vec::new();
    for (lane, count) in desk.journal.lanes().await? {
        if count.waiting == 0 || only.as_ref().is_some_and(|only| *only != lane) {
            continue;
        }
        let standing = standing::of_hook(desk, config, &lane);
        // What comes due before a pause or a breaker ends waits for that.
        let horizon = match &standing.gate {
            Some((_, until)) if standing.keeps_all() => now.max(*until),
            _ => now,
        };
        let shapes = desk.journal.shape(Some(lane), ages.to_vec(), horizon).await?;
        rows.extend(shapes.iter().map(|(hook, shape)| row(hook, shape, &standing)));
    }
    Ok(rows)
}

fn row(hook: &str, shape: &Shape, standing: &Standing) -> Json {
    let names = AGES.iter().map(|(name, _)| *name).chain([OLDER]);
    let ages: serde_json::Map<String, Json> =
        names.zip(&shape.ages).map(|(name, count)| (name.to_owned(), json!(count))).collect();
    let total: u64 = shape.ages.iter().sum();
    json!({"hook": hook, "waiting": total, "ages": ages, "reasons": reasons(standing, shape)})
}

/// How many wait for what: the reasons of `Standing::tell`, counted.
fn reasons(standing: &Standing, shape: &Shape) -> BTreeMap<String, u64> {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |word: &str, count: u64| {
        if count > 0 {
            *reasons.entry(word.to_owned()).or_default() += count;
        }
    };
    let flying = (standing.flying as u64).min(shape.due);
    add(Why::Sending.word(), flying);
    let due = shape.due - flying;
    let later: u64 = shape.later.values().sum();
    if let Some((why, _)) = &standing.shut {
        add(why.word(), due + later + shape.parked);
        return reasons;
    }
    add("order", shape.parked);
    shape.later.iter().for_each(|(word, count)| add(word, *count));
    match &standing.gate {
        Some((why, _)) => add(why.word(), due),
        None if flying > 0 => add(Why::Turn.word(), due),
        None => add(Why::New.word(), due),
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delivery_is_counted_for_one_reason() {
        let later = BTreeMap::from([("retry".to_owned(), 5)]);
        let shape = Shape { ages: vec![], due: 10, parked: 3, later };
        let free = Standing { slots: 2, flying: 2, ..Standing::default() };
        let paced = Standing { gate: Some((Why::Pace, Timestamp::MAX)), ..Standing::default() };
        let held = Standing { shut: Some((Why::Hold("h".into()), None)), ..free.clone() };
        for (standing, expected) in [
            (&free, vec![("order", 3), ("retry", 5), ("sending", 2), ("turn", 8)]),
            (&paced, vec![("order", 3), ("pace", 10), ("retry", 5)]),
            (&held, vec![("hold", 16), ("sending", 2)]),
        ] {
            let counted = reasons(standing, &shape);
            assert_eq!(counted.values().sum::<u64>(), 18);
            assert_eq!(counted.iter().map(|(word, count)| (word.as_str(), *count)).collect::<Vec<_>>(), expected);
        }
    }
}
