//! What a clock that was set while nobody looked would do to what waits: mended when the journal is opened.
//!
//! ```text
//! ahead = how far the newest time on record lies in the future: so far was the clock set back, at least; when that was
//!         mended once, how far the time of the mending does
//! due   = max(now, min(due - ahead, now + the longest wait there is))      of what waits
//! ```
//! When a delivery was accepted is left alone: it must not grow old by it. A clock that was set forward cannot be told
//! from a daemon that did not run.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use crate::edges::journal::{PARKED, micros, micros_of};
use crate::words::limits;

/// Clocks that are kept in order are moved by less.
const SLACK: Duration = Duration::from_secs(1);

/// Mends the due times; returns how many.
pub(super) fn mend(conn: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    let now = micros(now);
    let newest: (Option<i64>, String) = conn.query_row(
        "SELECT max(time), group_concat(row || ':' || time) FROM (
         SELECT * FROM (SELECT seq AS row, created AS time FROM deliveries ORDER BY seq DESC LIMIT 1)
         UNION ALL SELECT * FROM (SELECT -rowid, started FROM attempts ORDER BY rowid DESC LIMIT 1))",
        [],
        |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())),
    )?;
    let ahead = match &newest {
        (Some(time), rows) => known(conn, *time, rows)?.saturating_sub(now),
        (None, _) => 0,
    };
    let ahead = if ahead > micros_of(SLACK) { ahead } else { 0 };
    if ahead > 0 {
        let seen = format!("{} {now}", newest.1);
        conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('clock', ?1)", [seen])?;
    }
    let longest = limits::RETRY_AFTER_MAX.max(limits::PACE_WINDOW_LONGEST + limits::PACE_MARGIN);
    let latest = now.saturating_add(micros_of(longest));
    let from = if ahead > 0 { now } else { latest };
    let mended = conn.execute(
        // Lane by lane: the index of what waits begins with the lane, and without it a million rows are looked at.
        "UPDATE deliveries SET due = max(?1, min(due - ?2, ?3))
         WHERE lane IN (SELECT id FROM lanes) AND outcome = 'waiting' AND due > ?4 AND due < ?5",
        [now, ahead, latest, from, PARKED],
    )?;
    if mended > 0 {
        tracing::warn!(
            deliveries = mended,
            seconds = ahead / 1_000_000,
            "the clock was set back: due times are mended"
        );
    }
    Ok(mended)
}

/// The latest time that is known to have been: the newest on record, unless the clock was set back after those rows
/// already.
fn known(conn: &Connection, newest: i64, rows: &str) -> rusqlite::Result<i64> {
    let seen = conn.query_row("SELECT value FROM meta WHERE key = 'clock'", [], |row| row.get::<_, String>(0));
    let seen = match seen {
        Err(rusqlite::Error::QueryReturnedNoRows) => None,
        seen => Some(seen?),
    };
    let mended = seen.as_deref().and_then(|seen| seen.split_once(' ')).filter(|(of, _)| *of == rows);
    Ok(mended.and_then(|(_, time)| time.parse().ok()).unwrap_or(newest))
}
