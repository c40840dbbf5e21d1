//! Walks through a lane and counts of it, each a short read on the operators' connection: a million rows are never in
//! memory, and never in one snapshot that keeps the log from being folded in.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::query::{self, DELIVERY, EVENT};
use crate::edges::journal::{After, Among, Found, PARKED, Shape, Walk, micros};
use crate::words::event::Event;
use crate::words::limits;

/// What waits from a place on, in two steps: SQLite does not use the index for all of `(due, seq) > (?, ?)`.
const WAITING: [&str; 2] = [
    "SELECT due, seq FROM deliveries INDEXED BY deliveries_waiting
     WHERE lane = ?1 AND outcome = 'waiting' AND due = ?2 AND seq > ?3 ORDER BY due, seq LIMIT ?4",
    "SELECT due, seq FROM deliveries INDEXED BY deliveries_waiting
     WHERE lane = ?1 AND outcome = 'waiting' AND due > ?2 AND ?3 IS NOT NULL ORDER BY due, seq LIMIT ?4",
];

const DEAD: [&str; 1] = ["SELECT ?2, seq FROM deliveries INDEXED BY deliveries_dead
     WHERE lane = ?1 AND outcome = 'dead' AND seq > ?3 ORDER BY seq LIMIT ?4"];

/// One step.
pub(super) fn walk(conn: &Connection, identity: &str, walk: &Walk) -> rusqlite::Result<Vec<Found>> {
    let snapshot = conn.unchecked_transaction()?;
    let Some(lane) = lane(&snapshot, &walk.lane)? else { return Ok(Vec::new()) };
    let steps: &[&str] = match walk.among {
        Among::Waiting => &WAITING,
        Among::Dead => &DEAD,
    };
    let event = if walk.events { format!(", {EVENT}") } else { String::new() };
    let mut fetch = snapshot.prepare(&format!(
        "SELECT {DELIVERY}{event} FROM deliveries d CROSS JOIN events e ON e.seq = d.event
         CROSS JOIN lanes l ON l.id = d.lane WHERE d.seq = ?1"
    ))?;
    let mut found = Vec::new();
    for step in steps {
        let left = i64::try_from(walk.rows - found.len()).unwrap_or(i64::MAX);
        let mut step = snapshot.prepare(step)?;
        let mut rows = step.query(params![lane, walk.after.0, walk.after.1, left])?;
        while let Some(row) = rows.next()? {
            let place = After(row.get(0)?, row.get(1)?);
            found.push(fetch.query_row([place.1], |row| {
                let event = if walk.events { Some(Arc::new(query::event(row, 11)?)) } else { None };
                Ok(Found { seq: place.1, place, row: query::delivery(row, identity)?, event })
            })?);
        }
    }
    Ok(found)
}

fn lane(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.query_row("SELECT id FROM lanes WHERE name = ?1", [name], |row| row.get(0)).optional()
}

/// Counts what waits in one lane.
pub(super) fn shape(conn: &Connection, lane: i64, ages: &[Timestamp], now: Timestamp) -> rusqlite::Result<Shape> {
    // An age says how long ago: the bounds go back in time. What is older than the last of them is the rest.
    let mut sums = Vec::new();
    for index in 0..=ages.len() {
        let younger = ages.get(index).map(|age| format!("created > {}", micros(*age)));
        let older = index.checked_sub(1).map(|before| format!("created <= {}", micros(ages[before])));
        let both: Vec<String> = older.into_iter().chain(younger).collect();
        sums.push(if both.is_empty() { "count(*)".to_owned() } else { format!("total({})", both.join(" AND ")) });
    }
    let sql = format!(
        "SELECT total(due <= ?2), total(due = {PARKED}), {} FROM deliveries INDEXED BY deliveries_waiting
         WHERE lane = ?1 AND outcome = 'waiting'",
        sums.join(", ")
    );
    let mut shape = conn.query_row(&sql, params![lane, micros(now)], |row| {
        let count = |index: usize| row.get::<_, f64>(index).map(|count| count as u64);
        let ages = (0..=ages.len()).map(|index| count(index + 2)).collect::<rusqlite::Result<_>>()?;
        Ok(Shape { ages, due: count(0)?, parked: count(1)?, later: BTreeMap::new() })
    })?;
    shape.later = later(conn, lane, now)?;
    Ok(shape)
}

/// Why those wait whose time has not come. The word stands in the rows and not in the index: they are looked up, in short
/// steps.
fn later(conn: &Connection, lane: i64, now: Timestamp) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut later: BTreeMap<String, u64> = BTreeMap::new();
    let mut after = After::due(now);
    let rows = i64::try_from(limits::WALK).unwrap_or(i64::MAX);
    let mut word = conn.prepare("SELECT why FROM deliveries WHERE seq = ?1")?;
    loop {
        let snapshot = conn.unchecked_transaction()?;
        let (mut seen, before) = (0, after);
        for step in WAITING {
            let mut step = snapshot.prepare(step)?;
            let mut found = step.query(params![lane, before.0, before.1, rows - seen])?;
            while let Some(row) = found.next()? {
                after = After(row.get(0)?, row.get(1)?);
                if after.0 == PARKED {
                    return Ok(later);
                }
                *later.entry(word.query_row([after.1], |row| row.get(0))?).or_default() += 1;
                seen += 1;
            }
        }
        if seen < rows {
            return Ok(later);
        }
    }
}

/// The lanes in which something waits, by name.
pub(super) fn waiting_lanes(conn: &Connection, only: Option<&str>) -> rusqlite::Result<Vec<(Arc<str>, i64)>> {
    let sql = "SELECT name, id FROM lanes WHERE waiting > 0 AND (?1 IS NULL OR name = ?1) ORDER BY name";
    let mut lanes = conn.prepare(sql)?;
    lanes.query_map([only], |row| Ok((row.get::<_, String>(0)?.into(), row.get(1)?)))?.collect()
}

/// The newest event with an id.
pub(super) fn event(conn: &Connection, id: &str) -> rusqlite::Result<Option<Arc<Event>>> {
    let sql = format!("SELECT {EVENT} FROM events e WHERE e.id = ? ORDER BY e.seq DESC LIMIT 1");
    let found = conn.query_row(&sql, params_from_iter([id]), |row| query::event(row, 0)).optional()?;
    Ok(found.map(Arc::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::journal::sqlite::schema;

    #[test]
    fn a_walk_follows_an_index_and_sorts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        schema::create_if_missing(&path).unwrap();
        let conn = schema::reader(&path).unwrap();
        let waiting = "SEARCH deliveries USING COVERING INDEX deliveries_waiting";
        let dead = "SEARCH deliveries USING COVERING INDEX deliveries_dead (lane=? AND rowid>?)";
        let expected = [
            format!("{waiting} (lane=? AND due=? AND seq>?)"),
            format!("{waiting} (lane=? AND due>?)"),
            dead.to_owned(),
        ];
        let statements: Vec<&str> = WAITING.into_iter().chain(DEAD).collect();
        assert_eq!(statements.len(), expected.len());
        for (sql, expected) in statements.iter().zip(expected) {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = explain.query_map([1, 2, 3, 4], |row| row.get::<_, String>(3)).unwrap();
            assert_eq!(plan.collect::<rusqlite::Result<Vec<_>>>().unwrap(), [expected]);
        }
    }
}
