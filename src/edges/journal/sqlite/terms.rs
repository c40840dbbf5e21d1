//! What hooks ask of their deliveries besides being made: one after the other by a key, or none twice with a key.
//!
//! A delivery that must wait for another is parked: its due time is the end of time, so that no claim ever sees it.
//! Whatever ends the one before it gives it a due time in the same transaction.

use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::edges::journal::{PARKED, micros_of};
use crate::words::delivery::{Key, Terms};

/// The last delivery that waits with a key, but for one.
const LAST: &str = "SELECT max(seq) FROM deliveries INDEXED BY deliveries_order
    WHERE lane = ?1 AND order_key = ?2 AND outcome = 'waiting' AND seq <> ?3";

/// Keys whose time is over.
const OLD: &str = "SELECT lane, key FROM once WHERE until <= ?1 LIMIT 4";

/// Where a delivery goes.
pub(super) enum Place {
    /// Due at once.
    Head,
    /// Behind this delivery.
    Behind(i64),
    /// Nowhere: its lane had this one with the same key.
    Nowhere(i64),
}

/// The statements, prepared once.
pub(super) struct Terming<'c> {
    known: Statement<'c>,
    note: Statement<'c>,
    forget: Statement<'c>,
    last: Statement<'c>,
    next: Statement<'c>,
    pub(super) insert: Statement<'c>,
}

impl<'c> Terming<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            known: conn.prepare(
                "SELECT o.delivery FROM once o LEFT JOIN deliveries d ON d.seq = o.delivery
                 WHERE o.lane = ?1 AND o.key = ?2 AND o.until > ?3 AND coalesce(d.outcome, '') NOT IN ('dead', 'dropped')",
            )?,
            note: conn.prepare("INSERT OR REPLACE INTO once (lane, key, until, delivery) VALUES (?1, ?2, ?3, ?4)")?,
            // More than the one that is noted, so that they become fewer when fewer come.
            forget: conn.prepare(&format!("DELETE FROM once WHERE (lane, key) IN ({OLD})"))?,
            last: conn.prepare(LAST)?,
            next: conn.prepare(
                "UPDATE deliveries SET due = ?3, why = 'new', detail = '' WHERE due = ?4 AND seq =
                 (SELECT min(seq) FROM deliveries INDEXED BY deliveries_order
                  WHERE lane = ?1 AND order_key = ?2 AND outcome = 'waiting') RETURNING seq",
            )?,
            insert: conn.prepare(
                "INSERT INTO deliveries (seq, event, lane, created, due, attempts, outcome, why, detail, order_key)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9)",
            )?,
        })
    }

    /// Where a new delivery goes; notes its key.
    pub(super) fn place(&mut self, terms: &Terms, lane: i64, delivery: i64, now: i64) -> rusqlite::Result<Place> {
        if let Some((key, within)) = terms.once {
            let first = self.known.query_row(params![lane, key.0, now], |row| row.get(0)).optional()?;
            if let Some(first) = first {
                return Ok(Place::Nowhere(first));
            }
            self.note.execute(params![lane, key.0, now.saturating_add(micros_of(within)), delivery])?;
            self.forget.execute([now])?;
        }
        let Some(key) = terms.order else { return Ok(Place::Head) };
        Ok(self.before(lane, &key, delivery)?.map_or(Place::Head, Place::Behind))
    }

    /// The last delivery besides this one that waits with a key.
    pub(super) fn before(&mut self, lane: i64, key: &Key, delivery: i64) -> rusqlite::Result<Option<i64>> {
        self.last.query_row(params![lane, key.0, delivery], |row| row.get(0))
    }

    /// Lets the next delivery with a key go, if it waits for that.
    pub(super) fn let_next(&mut self, lane: i64, key: &Key, now: i64) -> rusqlite::Result<Option<i64>> {
        self.next.query_row(params![lane, key.0, now, PARKED], |row| row.get(0)).optional()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::journal::sqlite::schema;

    #[test]
    fn keys_are_found_by_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        schema::create_if_missing(&path).unwrap();
        let conn = schema::reader(&path).unwrap();
        for (sql, plan) in [
            (LAST, "SEARCH deliveries USING COVERING INDEX deliveries_order (lane=? AND order_key=?)"),
            (OLD, "SEARCH once USING COVERING INDEX once_until (until<?)"),
        ] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            explain.raw_bind_parameter(1, 1).unwrap();
            let mut rows = explain.raw_query();
            let mut found = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                found.push(row.get::<_, String>(3).unwrap());
            }
            assert_eq!(found, [plan]);
        }
        // Plans of what writes are looked at by preparing it on a connection that may.
        let (writer, _) = schema::writer(&path).unwrap();
        Terming::prepare(&writer).unwrap();
    }
}
