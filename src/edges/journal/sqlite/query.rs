//! What is read: windows for the lanes, lists for people.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::lanes::{Key, Plan};
use super::sum::fits;
use crate::edges::journal::{
    Accepted, DeliveryRow, Due, Filter, Hold, LogRow, NOTHING_KEPT, PARKED, Shown, delivery_id, micros, timestamp,
};
use crate::words::delivery::{Attempt, Body, Delivery, Key as Order, Why};
use crate::words::event::{Event, Peer};
use crate::words::trace::TraceParent;

/// What waits in a lane from a key on, in order and from the index alone. In two steps: SQLite does not use the index
/// for all of `(due, seq) >= (?, ?)`, and a million reopened at once share one `due`.
const WALK: [&str; 2] = [
    "SELECT due, seq FROM deliveries INDEXED BY deliveries_waiting
     WHERE lane = ?1 AND outcome = 'waiting' AND due = ?2 AND seq >= ?3 ORDER BY due, seq",
    "SELECT due, seq FROM deliveries INDEXED BY deliveries_waiting
     WHERE lane = ?1 AND outcome = 'waiting' AND due > ?2 AND ?3 IS NOT NULL ORDER BY due, seq",
];

/// Reads a window: the deliveries to take, and the first one that is left. One short transaction.
pub(super) fn window(
    conn: &Connection,
    identity: &str,
    hook: &Arc<str>,
    plan: &Plan,
) -> rusqlite::Result<(Vec<Delivery>, Option<Key>)> {
    let snapshot = conn.unchecked_transaction()?;
    let mut fetch = snapshot.prepare_cached(&format!(
        "SELECT d.created, d.attempts, d.order_key, {ORIGINAL}, {EVENT} FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.seq = ?1"
    ))?;
    let (mut taken, mut weight) = (Vec::new(), 0);
    for walk in WALK {
        let mut walk = snapshot.prepare_cached(walk)?;
        let mut rows = walk.query(params![plan.lane, plan.from.0, plan.from.1])?;
        while let Some(row) = rows.next()? {
            let (due, seq): Key = (row.get(0)?, row.get(1)?);
            if plan.skip.contains(&seq) {
                continue;
            }
            let wanted = taken.len() < plan.must || (taken.len() < plan.rows && weight < plan.bytes);
            if due > plan.now || !wanted {
                return Ok((taken, Some((due, seq))));
            }
            let delivery = fetch.query_row([seq], |row| {
                Ok(Delivery {
                    seq,
                    id: delivery_id(identity, seq),
                    event: Arc::new(event(row, 5)?),
                    hook: hook.clone(),
                    created: timestamp(row.get(0)?),
                    due: timestamp(due),
                    attempts: row.get(1)?,
                    order: row.get::<_, Option<[u8; 16]>>(2)?.map(Order),
                    original: original(row, 3)?,
                })
            })?;
            weight += delivery.event.weight();
            taken.push(delivery);
        }
    }
    Ok((taken, None))
}

/// What is due of a lane and not in these hands.
pub(super) fn due(conn: &Connection, lane: i64, now: i64, hands: &HashSet<i64>, most: usize) -> rusqlite::Result<Due> {
    let mut query = conn.prepare_cached(
        "SELECT seq, created FROM deliveries INDEXED BY deliveries_waiting
         WHERE lane = ?1 AND outcome = 'waiting' AND due <= ?2 ORDER BY due, seq",
    )?;
    let mut rows = query.query(params![lane, now])?;
    let mut found = Due::default();
    while found.count < most
        && let Some(row) = rows.next()?
    {
        if !hands.contains(&row.get(0)?) {
            found.add(timestamp(row.get(1)?));
        }
    }
    Ok(found)
}

/// The columns that `original` reads: a body that nobody asked for is not read.
const ORIGINAL: &str = "d.kept_type, CASE WHEN d.original <> 0 THEN d.kept_body END";

fn original(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Arc<Body>>> {
    let Some(bytes) = row.get::<_, Option<Vec<u8>>>(at + 1)? else { return Ok(None) };
    let content_type = row.get::<_, Option<String>>(at)?.unwrap_or_default();
    Ok(Some(Arc::new(Body { content_type, bytes: bytes.into() })))
}

/// Why the last requests of some deliveries were not kept.
pub(super) fn not_kept(conn: &Connection, seqs: &[i64]) -> rusqlite::Result<Vec<(i64, String)>> {
    let numbers: Vec<String> = seqs.iter().map(i64::to_string).collect();
    let mut query = conn.prepare(&format!(
        "SELECT seq, coalesce(kept_not, ?1) FROM deliveries WHERE kept_body IS NULL AND seq IN ({})",
        numbers.join(",")
    ))?;
    query.query_map([NOTHING_KEPT], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// The columns that `event` reads.
pub(super) const EVENT: &str = "e.id, e.type, e.source, e.time, e.content_type, e.peer_uid, e.peer_gid, e.peer_pid, e.raw, e.data, e.sum, e.traceparent";

pub(super) fn event(row: &Row<'_>, at: usize) -> rusqlite::Result<Event> {
    let id = row.get(at)?;
    let raw = Bytes::copy_from_slice(row.get_ref(at + 8)?.as_blob()?);
    let mut event = Event::new(row.get::<_, String>(at + 1)?, Some(id), raw, timestamp(row.get(at + 3)?));
    event.source = row.get(at + 2)?;
    event.content_type = row.get(at + 4)?;
    event.give_data(row.get(at + 9)?);
    if let (Some(uid), Some(gid)) = (row.get(at + 5)?, row.get(at + 6)?) {
        event.peer = Some(Peer { uid, gid, pid: row.get(at + 7)? });
    }
    // What is no text there is damage, and as little a reason to stop as a text that is no trace.
    event.trace = row.get_ref(at + 11)?.as_str_or_null().ok().flatten().and_then(TraceParent::parse);
    event.damaged = row.get::<_, Option<i64>>(at + 10)?.is_some_and(|kept| !fits(kept, &event));
    Ok(event)
}

/// The oldest acceptance among what waits, by the lane's row.
pub(super) fn oldest(conn: &Connection) -> rusqlite::Result<HashMap<i64, Timestamp>> {
    let mut oldest = conn.prepare(
        "SELECT lane, min(created) FROM deliveries INDEXED BY deliveries_waiting WHERE outcome = 'waiting' GROUP BY lane",
    )?;
    oldest.query_map([], |row| Ok((row.get(0)?, timestamp(row.get(1)?))))?.collect()
}

/// The newest events, oldest first, as long as they are not older than this.
pub(super) fn accepted_since(conn: &Connection, since: Timestamp, most: usize) -> rusqlite::Result<Vec<Accepted>> {
    let mut events = conn.prepare("SELECT source, id, accepted FROM events ORDER BY seq DESC LIMIT ?1")?;
    let mut rows = events.query([most as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let time = timestamp(row.get(2)?);
        if time < since {
            break;
        }
        found.push(Accepted { source: row.get(0)?, id: row.get(1)?, time });
    }
    found.reverse();
    Ok(found)
}

/// The lanes that are held.
pub(super) fn holds(conn: &Connection) -> rusqlite::Result<Vec<(Arc<str>, Hold)>> {
    let mut holds = conn.prepare(
        "SELECT name, hold_why, hold_since, hold_fingerprint, hold_until FROM lanes WHERE hold_why IS NOT NULL ORDER BY name",
    )?;
    let hold = |row: &Row<'_>| {
        let until = row.get::<_, Option<i64>>(4)?.map(timestamp);
        let hold = Hold { why: row.get(1)?, since: timestamp(row.get(2)?), fingerprint: row.get(3)?, until };
        Ok((row.get::<_, String>(0)?.into(), hold))
    };
    holds.query_map([], hold)?.collect()
}

/// The column of an attempt's delivery.
const ATTEMPTED: &str = "a.delivery";

/// Conditions on a query, with their values.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, sql: &str, value: impl Into<Value>) {
        self.sql.push(sql.to_owned());
        self.values.push(value.into());
    }

    /// What the filter says of deliveries (`d`); `column` holds the delivery's seq.
    fn on_deliveries(filter: &Filter, identity: &str, column: &str) -> Self {
        let mut conditions = Self::default();
        if let Some(numbers) = filter.numbers(identity) {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            conditions.sql.push(format!("{column} IN ({})", numbers.join(",")));
        }
        if let Some(event) = &filter.event {
            let of_event = "FROM deliveries WHERE event IN (SELECT seq FROM events WHERE id = ?)";
            match column {
                // Its attempt may be that of the delivery in whose request it went.
                ATTEMPTED => {
                    let sql = format!("{column} IN (SELECT seq {of_event} UNION SELECT carrier {of_event})");
                    conditions.add(&sql, event.clone());
                    conditions.values.push(event.clone().into());
                }
                _ => conditions.add(&format!("{column} IN (SELECT seq {of_event})"), event.clone()),
            }
        }
        if let Some(hook) = &filter.hook {
            conditions.add("d.lane = (SELECT id FROM lanes WHERE name = ?)", hook.clone());
        }
        conditions
    }

    fn between(&mut self, column: &str, filter: &Filter) {
        if let Some(since) = filter.since {
            self.add(&format!("{column} >= ?"), micros(since));
        }
        if let Some(until) = filter.until {
            self.add(&format!("{column} < ?"), micros(until));
        }
    }

    /// The type of a delivery's event, as a pattern of ours, in which `[` stands for itself.
    fn kind(&mut self, filter: &Filter) {
        if let Some(pattern) = &filter.kind {
            self.add("(SELECT type FROM events WHERE seq = d.event) GLOB ?", pattern.replace('[', "[[]"));
        }
    }

    fn text(&self) -> String {
        if self.sql.is_empty() { "TRUE".to_owned() } else { self.sql.join(" AND ") }
    }
}

/// Deliveries, oldest first; the newest so many.
pub(super) fn list(conn: &Connection, identity: &str, filter: &Filter) -> rusqlite::Result<Vec<DeliveryRow>> {
    let mut conditions = Conditions::on_deliveries(filter, identity, "d.seq");
    conditions.between("d.created", filter);
    let named = !filter.ids.is_empty() || filter.event.is_some();
    let mut index = "";
    match filter.outcome.as_deref() {
        // Written out, because only so SQLite sees that the partial index serves.
        Some(outcome @ ("waiting" | "dead")) => {
            conditions.sql.push(format!("d.outcome = '{outcome}'"));
            index = match outcome {
                _ if named => "",
                "waiting" => "INDEXED BY deliveries_waiting",
                _ => "INDEXED BY deliveries_dead",
            };
        }
        Some(outcome) => conditions.add("d.outcome = ?", outcome.to_owned()),
        None => {}
    }
    conditions.kind(filter);
    // The newest are chosen before anything is joined: of a million that wait, only these are looked up.
    let newest = format!(
        "SELECT d.seq FROM deliveries d {index} WHERE {} ORDER BY d.seq DESC LIMIT {}",
        conditions.text(),
        filter.limit()
    );
    let mut query = conn.prepare(&format!(
        "SELECT {DELIVERY} FROM ({newest}) n CROSS JOIN deliveries d ON d.seq = n.seq
         CROSS JOIN events e ON e.seq = d.event CROSS JOIN lanes l ON l.id = d.lane ORDER BY d.seq"
    ))?;
    let rows = query.query_map(params_from_iter(conditions.values), |row| delivery(row, identity))?;
    rows.collect()
}

/// The columns that `delivery` reads.
pub(super) const DELIVERY: &str =
    "d.seq, d.created, e.id, l.name, e.type, d.outcome, d.attempts, d.due, d.why, d.detail, d.carrier";

pub(super) fn delivery(row: &Row<'_>, identity: &str) -> rusqlite::Result<DeliveryRow> {
    let outcome: String = row.get(5)?;
    let (why, detail): (String, String) = (row.get(8)?, row.get(9)?);
    let waiting = outcome == "waiting";
    Ok(DeliveryRow {
        time: timestamp(row.get(1)?),
        event: row.get(2)?,
        delivery: delivery_id(identity, row.get(0)?).to_string(),
        hook: row.get(3)?,
        kind: row.get(4)?,
        outcome,
        attempts: row.get(6)?,
        due: Some(row.get::<_, i64>(7)?).filter(|due| waiting && *due != PARKED).map(timestamp),
        why: if waiting { Why::from_words(&why, &detail).to_string() } else { detail },
        reason: waiting.then_some(why),
        carrier: row.get::<_, Option<i64>>(10)?.map(|carrier| delivery_id(identity, carrier).to_string()),
        // That is not on disk.
        claimed: false,
    })
}

/// Attempts, oldest first; the newest so many.
pub(super) fn log(conn: &Connection, identity: &str, filter: &Filter) -> rusqlite::Result<Vec<LogRow>> {
    let mut conditions = Conditions::on_deliveries(filter, identity, ATTEMPTED);
    conditions.between("a.started", filter);
    if let Some(outcome) = &filter.outcome {
        conditions.add("a.outcome = ?", outcome.clone());
    }
    if filter.failed {
        conditions.sql.push("a.verdict <> 'delivered'".to_owned());
    }
    if let Some((from, to)) = filter.status {
        conditions.sql.push(format!("a.status BETWEEN {from} AND {to}"));
    }
    conditions.kind(filter);
    let limit = filter.limit();
    let mut query = conn.prepare(&format!(
        "SELECT a.started, e.id, a.delivery, l.name, e.type, a.outcome, a.verdict, a.number, a.status, a.duration_ms, a.why
         FROM attempts a CROSS JOIN deliveries d ON d.seq = a.delivery CROSS JOIN events e ON e.seq = d.event
         CROSS JOIN lanes l ON l.id = d.lane WHERE {} ORDER BY a.seq DESC LIMIT {limit}",
        conditions.text()
    ))?;
    let rows = query.query_map(params_from_iter(conditions.values), |row| {
        Ok(LogRow {
            time: timestamp(row.get(0)?),
            event: row.get(1)?,
            delivery: delivery_id(identity, row.get(2)?).to_string(),
            hook: row.get(3)?,
            kind: row.get(4)?,
            outcome: row.get(5)?,
            verdict: row.get(6)?,
            attempt: row.get(7)?,
            status: row.get(8)?,
            duration_ms: row.get::<_, i64>(9)?.max(0).unsigned_abs(),
            why: row.get(10)?,
        })
    })?;
    let mut rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    rows.reverse();
    Ok(rows)
}

/// One delivery whole.
pub(super) fn show(conn: &Connection, identity: &str, seq: i64) -> rusqlite::Result<Option<Shown>> {
    let snapshot = conn.unchecked_transaction()?;
    let sql = format!(
        "SELECT {DELIVERY}, {EVENT} FROM deliveries d CROSS JOIN events e ON e.seq = d.event
         CROSS JOIN lanes l ON l.id = d.lane WHERE d.seq = ?1"
    );
    let whole = |row: &Row<'_>| Ok((delivery(row, identity)?, Arc::new(event(row, 11)?)));
    let Some((row, event)) = snapshot.query_row(&sql, [seq], whole).optional()? else { return Ok(None) };
    let mut attempts = snapshot.prepare(
        "SELECT number, started, duration_ms, request, status, response, verdict, why, outcome, along FROM attempts
         WHERE delivery = ?1 ORDER BY seq",
    )?;
    let attempts = attempts.query_map([seq], |row| {
        let attempt = Attempt {
            number: row.get(0)?,
            started: timestamp(row.get(1)?),
            duration: Duration::from_millis(row.get::<_, i64>(2)?.max(0).unsigned_abs()),
            request: row.get(3)?,
            status: row.get(4)?,
            response: row.get(5)?,
            verdict: row.get(6)?,
            why: row.get(7)?,
            along: numbers(row.get_ref(9)?.as_str_or_null().ok().flatten()),
        };
        Ok((attempt, row.get(8)?))
    })?;
    Ok(Some(Shown { row, event, attempts: attempts.collect::<rusqlite::Result<_>>()? }))
}

/// Numbers of deliveries as they are kept in one text.
fn numbers(text: Option<&str>) -> Vec<i64> {
    text.unwrap_or_default().split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// A delivery that may be reopened.
pub(super) struct Closed {
    pub(super) seq: i64,
    pub(super) lane: i64,
    pub(super) outcome: String,
    pub(super) order: Option<Order>,
}

/// What `reopen` means by a filter: dead letters, and what is named by id. With a limit the newest so many, else those
/// after `after`, in the order of their seqs.
pub(super) fn closed(
    conn: &Connection,
    identity: &str,
    filter: &Filter,
    after: i64,
    at_most: usize,
) -> rusqlite::Result<Vec<Closed>> {
    let mut conditions = Conditions::on_deliveries(filter, identity, "d.seq");
    conditions.between("d.created", filter);
    conditions.kind(filter);
    conditions.add("d.seq > ?", after);
    let by_id = !filter.ids.is_empty();
    conditions.sql.push(if by_id { "d.outcome <> 'waiting'" } else { "d.outcome = 'dead'" }.to_owned());
    if let Some(outcome) = &filter.outcome {
        conditions.add("d.outcome = ?", outcome.clone());
    }
    if filter.original {
        conditions.sql.push("d.kept_body IS NOT NULL".to_owned());
    }
    let index = if by_id || filter.event.is_some() { "" } else { "INDEXED BY deliveries_dead" };
    let order = if filter.limit.is_some() { "DESC" } else { "ASC" };
    let mut query = conn.prepare(&format!(
        "SELECT d.seq, d.lane, d.outcome, d.order_key FROM deliveries d {index} WHERE {} ORDER BY d.seq {order} LIMIT {at_most}",
        conditions.text()
    ))?;
    let rows = query.query_map(params_from_iter(conditions.values), |row| {
        let order = row.get::<_, Option<[u8; 16]>>(3)?.map(Order);
        Ok(Closed { seq: row.get(0)?, lane: row.get(1)?, outcome: row.get(2)?, order })
    })?;
    let mut rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::journal::sqlite::schema;

    #[test]
    fn a_window_is_read_from_the_index_and_not_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        schema::create_if_missing(&path).unwrap();
        let conn = schema::reader(&path).unwrap();
        for (walk, range) in WALK.iter().zip(["due=? AND seq>?", "due>?"]) {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {walk}")).unwrap();
            let plan = explain.query_map([1, 2, 3], |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<_> = plan.collect::<rusqlite::Result<_>>().unwrap();
            let index = "SEARCH deliveries USING COVERING INDEX deliveries_waiting";
            assert_eq!(plan, [format!("{index} (lane=? AND {range})")]);
        }
    }
}
