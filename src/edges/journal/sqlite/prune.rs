//! What is removed, and when: what is delivered or dead goes when its time is over, or, oldest first, when the database
//! is too large; what waits is never touched. It happens in small transactions of its own, so that nobody waits long
//! behind it.
//!
//! ```text
//! walk:   by age → keys of `dedupe` → too large? delivered, then dead → many free pages? shrink → rest
//! a step: so many events, oldest first, or so much time, whichever is less
//! ```

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::transaction::Transaction;
use crate::edges::journal::{PARKED, micros_of};
use crate::words::keeping::Keeping;
use crate::words::limits;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// What a step does. Those that walk say behind which event they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Removes what is too old.
    Age { after: i64 },
    /// Forgets keys of `dedupe` whose time is over.
    Keys,
    /// Removes what is delivered, or what is dead, until the database is small enough.
    Size { dead: bool, after: i64 },
    /// Gives free pages back to the file system.
    Shrink,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) keeping: Keeping,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pruned {
    /// The same work goes on; `None` when it is done.
    pub(super) more: Option<Work>,
    pub(super) delivered: u64,
    pub(super) dead: u64,
    /// Pages of the database, and how many of them are free.
    pub(super) pages: (u64, u64),
}

/// Pages of the database, and how many of them are free.
pub(super) fn pages(conn: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number =
        |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count.max(0).unsigned_abs());
    Ok((number("PRAGMA page_count")?, number("PRAGMA freelist_count")?))
}

/// The last event that was accepted no later than this.
fn last_until(conn: &Connection, cutoff: i64) -> rusqlite::Result<i64> {
    let mut from = conn.prepare("SELECT seq, accepted FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let newest: Option<i64> = conn.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
    // Events are numbered as they are accepted: everything up to `low` is old, everything above `high` is not.
    let (mut low, mut high) = (0, newest.unwrap_or(0));
    while low < high {
        let middle = low + (high - low + 1) / 2;
        let found: Option<(i64, i64)> = from.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, accepted)) if accepted <= cutoff => low = seq,
            _ => high = middle - 1,
        }
    }
    Ok(low)
}

/// When something must have ended to be removed.
struct Cutoffs {
    delivered: i64,
    dead: i64,
    attempts: i64,
}

impl Cutoffs {
    fn of(work: Work, keeping: &Keeping, now: i64) -> Self {
        let before = |span: Duration| now.saturating_sub(micros_of(span));
        match work {
            Work::Size { dead, .. } => {
                Self { delivered: i64::MAX, dead: if dead { i64::MAX } else { i64::MIN }, attempts: i64::MIN }
            }
            _ => Self {
                delivered: before(keeping.delivered),
                dead: before(keeping.dead),
                attempts: keeping.attempts.map_or(i64::MIN, before),
            },
        }
    }

    fn of_outcome(&self, outcome: &str) -> i64 {
        match outcome {
            "waiting" => i64::MIN,
            "dead" => self.dead,
            _ => self.delivered,
        }
    }
}

/// A delivery as far as it matters here.
struct Row {
    seq: i64,
    lane: i64,
    outcome: String,
    ended: i64,
}

/// The statements of a walk.
struct Sweep<'c> {
    of_event: Statement<'c>,
    attempts: Statement<'c>,
    delivery: Statement<'c>,
    key: Statement<'c>,
    event: Statement<'c>,
    pages: [Statement<'c>; 2],
}

impl<'c> Sweep<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            of_event: conn.prepare("SELECT seq, lane, outcome, created, due FROM deliveries WHERE event = ?1")?,
            attempts: conn.prepare("DELETE FROM attempts WHERE delivery = ?1")?,
            delivery: conn.prepare("DELETE FROM deliveries WHERE seq = ?1")?,
            key: conn.prepare("DELETE FROM once WHERE delivery = ?1")?,
            event: conn.prepare("DELETE FROM events WHERE seq = ?1")?,
            pages: [conn.prepare("PRAGMA page_count")?, conn.prepare("PRAGMA freelist_count")?],
        })
    }

    /// Bytes in use.
    fn used(&mut self) -> rusqlite::Result<u64> {
        let [all, free] = &mut self.pages;
        let number = |sql: &mut Statement<'_>| sql.query_row([], |row| row.get::<_, i64>(0));
        Ok(used((number(all)?.max(0).unsigned_abs(), number(free)?.max(0).unsigned_abs())))
    }
}

impl Transaction<'_, '_> {
    /// Does one step.
    pub(super) fn prune(&mut self, step: &Step) -> rusqlite::Result<Pruned> {
        let mut done = Pruned::default();
        match step.work {
            Work::Age { after } => {
                let cutoffs = Cutoffs::of(step.work, &step.keeping, self.now);
                let end = last_until(self.conn, cutoffs.delivered.max(cutoffs.dead).max(cutoffs.attempts))?;
                let at = self.walk(after, end, &cutoffs, None, &mut done)?;
                done.more = at.map(|after| Work::Age { after });
            }
            Work::Size { dead, after } => {
                let cutoffs = Cutoffs::of(step.work, &step.keeping, self.now);
                let at = self.walk(after, i64::MAX, &cutoffs, Some(enough(step.keeping.max_size)), &mut done)?;
                done.more = at.map(|after| Work::Size { dead, after });
            }
            Work::Keys => {
                let old = "SELECT lane, key FROM once WHERE until <= ?1 LIMIT ?2";
                let mut forget = self.conn.prepare(&format!("DELETE FROM once WHERE (lane, key) IN ({old})"))?;
                let gone = forget.execute(params![self.now, limits::PRUNE_EVENTS as i64])?;
                done.more = (gone == limits::PRUNE_EVENTS).then_some(Work::Keys);
            }
            Work::Shrink => {
                let sql = format!("PRAGMA incremental_vacuum({})", limits::VACUUM_PAGES);
                let mut shrink = self.conn.prepare(&sql)?;
                // A page is given back for each row that is asked for.
                let mut rows = shrink.query([])?;
                while rows.next()?.is_some() {}
                let (_, free) = pages(self.conn)?;
                done.more = (free > limits::FREE_PAGES.unsigned_abs()).then_some(Work::Shrink);
            }
        }
        done.pages = pages(self.conn)?;
        Ok(done)
    }

    /// Goes through the events behind `after` up to `end`. Says where to go on; `None` when there is nothing more to do.
    fn walk(
        &mut self,
        after: i64,
        end: i64,
        cutoffs: &Cutoffs,
        enough: Option<u64>,
        done: &mut Pruned,
    ) -> rusqlite::Result<Option<i64>> {
        let began = Instant::now();
        let newest = |table: &str| {
            let sql = format!("SELECT max(seq) FROM {table}");
            self.conn.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)).map(Option::unwrap_or_default)
        };
        let newest = (newest("events")?, newest("deliveries")?);
        let mut events =
            self.conn.prepare("SELECT seq, accepted FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3")?;
        let rows =
            events.query_map(params![after, end, limits::PRUNE_EVENTS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let events: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
        let last = events.len() < limits::PRUNE_EVENTS;
        let mut sql = Sweep::prepare(self.conn)?;
        let mut at = after;
        for (event, accepted) in events {
            if let Some(bound) = enough
                && sql.used()? <= bound
            {
                return Ok(None);
            }
            if began.elapsed() > limits::PRUNE_STEP {
                return Ok(Some(at));
            }
            self.prune_event(&mut sql, event, accepted, newest, cutoffs, done)?;
            at = event;
        }
        Ok((!last).then_some(at))
    }

    fn prune_event(
        &mut self,
        sql: &mut Sweep<'_>,
        event: i64,
        accepted: i64,
        newest: (i64, i64),
        cutoffs: &Cutoffs,
        done: &mut Pruned,
    ) -> rusqlite::Result<()> {
        let rows = sql.of_event.query_map([event], |row| {
            let (created, due): (i64, i64) = (row.get(3)?, row.get(4)?);
            let ended = if due == PARKED { created } else { due };
            Ok(Row { seq: row.get(0)?, lane: row.get(1)?, outcome: row.get(2)?, ended })
        })?;
        let rows: Vec<Row> = rows.collect::<rusqlite::Result<_>>()?;
        let mut left = 0;
        for row in &rows {
            let goes = row.seq != newest.1 && row.ended <= cutoffs.of_outcome(&row.outcome);
            let bare = row.outcome != "waiting" && row.ended <= cutoffs.attempts;
            if goes || bare {
                sql.attempts.execute([row.seq])?;
            }
            if !goes {
                left += 1;
                continue;
            }
            sql.delivery.execute([row.seq])?;
            self.effects.count(row.lane, &row.outcome, -1);
            if row.outcome == "dead" {
                // Else its key would count as delivered.
                sql.key.execute([row.seq])?;
                done.dead += 1;
            } else {
                done.delivered += 1;
            }
        }
        let unwanted = rows.is_empty() && accepted > cutoffs.delivered;
        if left == 0 && event != newest.0 && !unwanted {
            sql.event.execute([event])?;
        }
        Ok(())
    }
}

/// Bytes in use.
pub(super) fn used((pages, free): (u64, u64)) -> u64 {
    pages.saturating_sub(free) * PAGE
}

/// How far a database that is too large is emptied: not to the brim, or it would be too large again at once.
fn enough(max_size: u64) -> u64 {
    max_size - max_size / 20
}

/// What comes when.
#[derive(Debug)]
pub(super) struct Pruner {
    work: Option<Work>,
    /// The next step.
    due: Instant,
    /// The next walk.
    walk: Instant,
    /// What the walk removed.
    removed: (u64, u64),
    /// Nothing more may be removed, and it is too large all the same.
    pub(super) exceeds: bool,
}

impl Pruner {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { work: None, due: now, walk: now, removed: (0, 0), exceeds: false }
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Instant {
        if self.work.is_some() { self.due } else { self.walk }
    }

    /// Does not wait for the next walk.
    pub(super) fn now(&mut self) {
        self.walk = Instant::now();
    }

    /// Does not wait for the next walk if the database is too large and something can be done about it.
    pub(super) fn look(&mut self, pages: (u64, u64), keeping: &Keeping) {
        let large = used(pages) > keeping.max_size;
        if large && !self.exceeds && self.work.is_none() {
            self.now();
        }
        self.exceeds &= large;
    }

    /// The step that is due.
    pub(super) fn step(&mut self, keeping: Keeping) -> Option<Step> {
        let now = Instant::now();
        if self.next() > now {
            return None;
        }
        let work = *self.work.get_or_insert(Work::Age { after: 0 });
        Some(Step { work, keeping })
    }

    /// A step was done.
    pub(super) fn did(&mut self, step: &Step, done: &Pruned) {
        self.removed.0 += done.delivered;
        self.removed.1 += done.dead;
        let large = used(done.pages) > step.keeping.max_size;
        let not_enough = used(done.pages) > enough(step.keeping.max_size);
        let many_free = done.pages.1 > limits::FREE_PAGES.unsigned_abs() && done.pages.1 * 8 > done.pages.0;
        let shrink = many_free.then_some(Work::Shrink);
        self.work = done.more.or(match step.work {
            Work::Age { .. } => Some(Work::Keys),
            Work::Keys if large => Some(Work::Size { dead: false, after: 0 }),
            Work::Size { dead: false, .. } if not_enough => Some(Work::Size { dead: true, after: 0 }),
            Work::Size { dead: true, .. } => {
                self.exceeds = large;
                shrink
            }
            Work::Keys | Work::Size { .. } => shrink,
            Work::Shrink => None,
        });
        if self.work.is_none() {
            self.rest_until_next_walk(&step.keeping);
        }
    }

    fn rest_until_next_walk(&mut self, keeping: &Keeping) {
        let shortest = keeping.delivered.min(keeping.dead).min(keeping.attempts.unwrap_or(Duration::MAX));
        let rest = (shortest / 60).clamp(limits::JOURNAL_LOOK, limits::PRUNE_EVERY);
        self.walk = Instant::now() + rest;
        let (delivered, dead) = std::mem::take(&mut self.removed);
        if dead > 0 {
            tracing::warn!(dead, delivered, "retention removed dead letters for good (journal.keep_dead, max_size)");
        } else if delivered > 0 {
            tracing::info!(delivered, "retention removed what was delivered (journal.keep_delivered, max_size)");
        }
    }

    /// Rests after a step that took so long, if others wait.
    pub(super) fn rest(&mut self, took: Duration, busy: bool) {
        self.due = Instant::now() + if busy { took * limits::PRUNE_REST } else { Duration::ZERO };
    }
}
