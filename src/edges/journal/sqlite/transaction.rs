//! What one transaction does to the database, and what memory must learn of it once it is committed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::{Connection, Statement, params};

use super::lanes::{Key, Lanes, Tally};
use super::sum::sum;
use super::terms::{Place, Terming};
use super::{query, revise};
use crate::edges::journal::{Append, Appended, Filter, Hold, PARKED, after, delivery_id, micros, same_as, timestamp};
use crate::words::delivery::{Attempt, Delivery, Key as Order, Outcome, Terms};

/// An attempt's end, as it is to be recorded.
pub(super) struct Settle {
    pub(super) seq: i64,
    pub(super) hook: Arc<str>,
    pub(super) attempt: Option<Attempt>,
    pub(super) attempts: u32,
    pub(super) outcome: Outcome,
    /// It was in a commit that failed, and may be on disk all the same: a failed fsync does not take back what was written.
    pub(super) retried: bool,
    /// What comes after it waits for this.
    pub(super) order: Option<Order>,
    /// In whose request it went, where that is another one.
    pub(super) carrier: Option<i64>,
    /// Those that went along in its request.
    pub(super) along: Vec<Self>,
}

/// A `reopen` that may take several transactions.
pub(super) struct Reopen {
    pub(super) filter: Filter,
    pub(super) now: Timestamp,
    /// What came before was reopened already:
    pub(super) after: i64,
    pub(super) ids: Vec<String>,
}

/// What the writer knows of the database, so that it need not ask.
pub(super) struct Book {
    pub(super) identity: Arc<str>,
    rows: HashMap<Arc<str>, i64>,
    pub(super) names: HashMap<i64, Arc<str>>,
    next_event: i64,
    next_delivery: i64,
}

impl Book {
    /// Reads it from the database, and tells the lanes what they have.
    pub(super) fn read(conn: &Connection, identity: Arc<str>, lanes: &mut Lanes) -> rusqlite::Result<Self> {
        let next = |table: &str| {
            conn.query_row(&format!("SELECT coalesce(max(seq), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        let (next_event, next_delivery) = (next("events")?, next("deliveries")?);
        let mut book = Self { identity, rows: HashMap::new(), names: HashMap::new(), next_event, next_delivery };
        let mut query =
            conn.prepare("SELECT name, id, waiting, delivered, dead, dropped, hold_why IS NOT NULL FROM lanes")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let name: Arc<str> = row.get::<_, String>(0)?.into();
            let tally = Tally { waiting: row.get(2)?, delivered: row.get(3)?, dead: row.get(4)?, dropped: row.get(5)? };
            lanes.load(&name, row.get(1)?, tally, row.get(6)?);
            book.learn(name, row.get(1)?);
        }
        Ok(book)
    }

    fn learn(&mut self, name: Arc<str>, row: i64) {
        self.names.insert(row, name.clone());
        self.rows.insert(name, row);
    }

    /// Forgets what a rolled back transaction had taught.
    pub(super) fn forget(&mut self, effects: &Effects) {
        for name in &effects.new_lanes {
            if let Some(row) = self.rows.remove(name) {
                self.names.remove(&row);
            }
        }
    }
}

/// What a transaction did, for memory.
#[derive(Default)]
pub(super) struct Effects {
    appended: Vec<Delivery>,
    settled: Vec<(Arc<str>, i64, Option<i64>)>,
    pub(super) reopened: Vec<(Arc<str>, Key)>,
    held: Vec<(Arc<str>, bool)>,
    counts: HashMap<i64, Tally>,
    new_lanes: Vec<Arc<str>>,
    /// What was taken out of reach to be revised.
    pub(super) reserved: Vec<(Arc<str>, Key)>,
}

impl Effects {
    pub(super) fn count(&mut self, lane: i64, outcome: &str, change: i64) {
        self.counts.entry(lane).or_default().add(outcome, change);
    }

    /// Tells memory, and returns the lanes whose bells should ring.
    pub(super) fn apply(self, lanes: &mut Lanes, book: &Book) -> HashSet<Arc<str>> {
        let mut ring = HashSet::new();
        for (row, change) in &self.counts {
            lanes.count(&book.names[row], *row, change);
        }
        for (hook, seq, waits) in self.settled {
            lanes.settled(&hook, seq, waits);
        }
        for (hook, held) in self.held {
            lanes.held(&hook, held);
        }
        for (hook, key) in self.reopened {
            lanes.reopened(&hook, key);
            ring.insert(hook);
        }
        for delivery in self.appended {
            if !ring.contains(&delivery.hook) {
                ring.insert(delivery.hook.clone());
            }
            lanes.appended(delivery);
        }
        ring
    }
}

/// The statements of one connection, prepared once.
pub(super) struct Statements<'c> {
    insert_event: Statement<'c>,
    known_event: Statement<'c>,
    lanes_of_event: Statement<'c>,
    insert_delivery: Statement<'c>,
    terms: Terming<'c>,
    settle: Statement<'c>,
    insert_attempt: Statement<'c>,
    is_recorded: Statement<'c>,
    reopen: Statement<'c>,
    insert_lane: Statement<'c>,
    count: Statement<'c>,
    hold: Statement<'c>,
    touch: Statement<'c>,
    pub(super) waits: Statement<'c>,
    pub(super) keep: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert_event: conn.prepare(
                "INSERT INTO events (seq, id, source, type, time, accepted, content_type, peer_uid, peer_gid, peer_pid, raw, data, sum, traceparent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (id, source) DO NOTHING",
            )?,
            known_event: conn.prepare("SELECT seq FROM events WHERE id = ?1 AND source = ?2")?,
            lanes_of_event: conn
                .prepare("SELECT lane FROM deliveries WHERE event = ?1 AND why <> 'duplicate' ORDER BY seq")?,
            insert_delivery: conn.prepare(
                "INSERT INTO deliveries (seq, event, lane, created, due, attempts, outcome, why, detail)
                 VALUES (?1, ?2, ?3, ?4, ?4, 0, 'waiting', 'new', '')",
            )?,
            terms: Terming::prepare(conn)?,
            settle: conn.prepare(
                "UPDATE deliveries SET attempts = ?2, outcome = ?3, due = ?4, why = ?5, detail = ?6, carrier = ?7
                 WHERE seq = ?1 AND outcome = 'waiting'",
            )?,
            insert_attempt: conn.prepare(
                "INSERT INTO attempts (delivery, number, started, duration_ms, request, status, response, verdict, why, outcome, along)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            is_recorded: conn.prepare(
                "SELECT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND outcome = ?2 AND outcome <> 'waiting')
                 OR EXISTS (SELECT 1 FROM attempts WHERE delivery = ?1 AND number = ?3 AND started = ?4)",
            )?,
            reopen: conn.prepare(
                "UPDATE deliveries SET attempts = 0, outcome = 'waiting', created = ?2, due = ?3, why = ?4, detail = ?5,
                 original = ?6, carrier = NULL WHERE seq = ?1",
            )?,
            insert_lane: conn.prepare("INSERT INTO lanes (name) VALUES (?1)")?,
            count: conn.prepare(
                "UPDATE lanes SET waiting = waiting + ?2, delivered = delivered + ?3, dead = dead + ?4,
                 dropped = dropped + ?5 WHERE id = ?1",
            )?,
            hold: conn.prepare(
                "UPDATE lanes SET hold_why = ?2, hold_since = ?3, hold_fingerprint = ?4, hold_until = ?5 WHERE id = ?1",
            )?,
            touch: conn.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('mended', ?1)")?,
            waits: conn.prepare(revise::WAITS)?,
            keep: conn.prepare(revise::KEEP)?,
        })
    }
}

/// One transaction at work.
pub(super) struct Transaction<'t, 'c> {
    pub(super) conn: &'t Connection,
    pub(super) sql: &'t mut Statements<'c>,
    pub(super) book: &'t mut Book,
    pub(super) effects: &'t mut Effects,
    pub(super) lanes: &'t Mutex<Lanes>,
    /// When everything in it was accepted.
    pub(super) now: i64,
}

impl Transaction<'_, '_> {
    pub(super) fn append(&mut self, batch: &[Append]) -> rusqlite::Result<Vec<Appended>> {
        batch.iter().map(|one| self.append_one(one)).collect()
    }

    fn append_one(&mut self, append: &Append) -> rusqlite::Result<Appended> {
        let (event, seq) = (&append.event, self.book.next_event);
        let peer = event.peer;
        let stored = self.sql.insert_event.execute(params![
            seq,
            event.id,
            event.source,
            event.kind,
            micros(event.time),
            self.now,
            event.content_type,
            peer.map(|peer| peer.uid),
            peer.map(|peer| peer.gid),
            peer.and_then(|peer| peer.pid),
            &event.raw[..],
            event.given_data(),
            sum(event),
            event.trace.map(|trace| trace.to_string()),
        ])?;
        if stored == 0 {
            let hooks = self.hooks_of(&event.id, &event.source)?;
            return Ok(Appended { id: event.id.clone(), hooks, duplicate: true });
        }
        self.book.next_event += 1;
        let mut elsewhere = Vec::new();
        for (index, hook) in append.hooks.iter().enumerate() {
            let lane = self.lane(hook)?;
            let delivery = self.book.next_delivery;
            self.book.next_delivery += 1;
            let terms = append.terms(index);
            if terms != Terms::default() {
                let place = self.sql.terms.place(&terms, lane, delivery, self.now)?;
                if matches!(place, Place::Nowhere(_)) {
                    elsewhere.push(index);
                }
                self.insert_on_terms(append, index, [delivery, seq, lane], &place)?;
                continue;
            }
            self.sql.insert_delivery.execute(params![delivery, seq, lane, self.now])?;
            self.effects.count(lane, "waiting", 1);
            self.effects.appended.push(Delivery {
                seq: delivery,
                id: delivery_id(&self.book.identity, delivery),
                event: event.clone(),
                hook: self.book.names[&lane].clone(),
                created: timestamp(self.now),
                due: timestamp(self.now),
                attempts: 0,
                order: None,
                original: None,
            });
        }
        let mut hooks = append.hooks.clone();
        elsewhere.into_iter().rev().for_each(|index| _ = hooks.remove(index));
        Ok(Appended { id: event.id.clone(), hooks, duplicate: false })
    }

    /// A delivery with a key: due now, behind another, or recorded and not made.
    fn insert_on_terms(
        &mut self,
        append: &Append,
        index: usize,
        [delivery, event, lane]: [i64; 3],
        place: &Place,
    ) -> rusqlite::Result<()> {
        let terms = append.terms(index);
        let id = |seq: &i64| delivery_id(&self.book.identity, *seq);
        let (due, outcome, why, detail) = match place {
            Place::Head => (self.now, "waiting", "new", String::new()),
            Place::Behind(before) => (PARKED, "waiting", "order", after(&id(before))),
            Place::Nowhere(first) => {
                let within = terms.once.map(|(_, within)| within).unwrap_or_default();
                (self.now, "dropped", "duplicate", same_as(&id(first), within))
            }
        };
        let key = terms.order.map(|key| key.0);
        let row = params![delivery, event, lane, self.now, due, outcome, why, detail, key];
        self.sql.terms.insert.execute(row)?;
        self.effects.count(lane, outcome, 1);
        if let Place::Head = place {
            self.effects.appended.push(Delivery {
                seq: delivery,
                id: delivery_id(&self.book.identity, delivery),
                event: append.event.clone(),
                hook: self.book.names[&lane].clone(),
                created: timestamp(self.now),
                due: timestamp(self.now),
                attempts: 0,
                order: terms.order,
                original: None,
            });
        }
        Ok(())
    }

    fn hooks_of(&mut self, id: &str, source: &str) -> rusqlite::Result<Vec<Arc<str>>> {
        let seq: i64 = self.sql.known_event.query_row([id, source], |row| row.get(0))?;
        let names = &self.book.names;
        let hooks = self.sql.lanes_of_event.query_map([seq], |row| Ok(names[&row.get::<_, i64>(0)?].clone()))?;
        hooks.collect()
    }

    fn lane(&mut self, name: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(row) = self.book.rows.get(name) {
            return Ok(*row);
        }
        let row = self.sql.insert_lane.insert([&**name])?;
        self.book.learn(name.clone(), row);
        self.effects.new_lanes.push(name.clone());
        Ok(row)
    }

    /// Records an outcome, and those of what went along; `false` when the delivery does not wait, and nothing was recorded.
    pub(super) fn settle(&mut self, settle: &Settle) -> rusqlite::Result<bool> {
        let settled = self.settle_one(settle)?;
        for other in &settle.along {
            self.settle_one(other)?;
        }
        Ok(settled)
    }

    fn settle_one(&mut self, settle: &Settle) -> rusqlite::Result<bool> {
        let Settle { seq, hook, attempt, attempts, outcome, retried, order, carrier, along: _ } = settle;
        let lane = self.lane(hook)?;
        let (until, why, detail) = match outcome {
            Outcome::Waiting { until, why } => (Some(micros(*until)), why.word(), why.detail()),
            Outcome::Delivered => (None, "", ""),
            Outcome::Dead { why } | Outcome::Dropped { why } => (None, "", why.as_str()),
        };
        if *retried && self.is_recorded(*seq, attempt.as_ref(), outcome)? {
            self.effects.settled.push((hook.clone(), *seq, until));
            return Ok(true);
        }
        let changed = self.sql.settle.execute(params![
            seq,
            attempts,
            outcome.word(),
            // What waits no longer keeps the time of its end: what is kept is kept from then on.
            until.unwrap_or(self.now),
            why,
            detail,
            carrier,
        ])?;
        self.effects.settled.push((hook.clone(), *seq, until.filter(|_| changed > 0)));
        if changed == 0 {
            return Ok(false);
        }
        if let Some(attempt) = attempt {
            self.sql.insert_attempt.execute(params![
                seq,
                attempt.number,
                micros(attempt.started),
                i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX),
                attempt.request,
                attempt.status,
                attempt.response,
                attempt.verdict,
                attempt.why,
                outcome.word(),
                (!attempt.along.is_empty()).then(|| written(&attempt.along)),
            ])?;
        }
        self.effects.count(lane, "waiting", -1);
        self.effects.count(lane, outcome.word(), 1);
        if let Some(key) = order
            && until.is_none()
            && let Some(next) = self.sql.terms.let_next(lane, key, self.now)?
        {
            self.effects.reopened.push((hook.clone(), (self.now, next)));
        }
        Ok(true)
    }

    fn is_recorded(&mut self, seq: i64, attempt: Option<&Attempt>, outcome: &Outcome) -> rusqlite::Result<bool> {
        let (number, started) = (attempt.map(|one| one.number), attempt.map(|one| micros(one.started)));
        self.sql.is_recorded.query_row(params![seq, outcome.word(), number, started], |row| row.get(0))
    }

    /// Reopens as much as one transaction should, and returns it; a full `Filter::limit` of it means there may be more.
    pub(super) fn reopen(&mut self, reopen: &Reopen) -> rusqlite::Result<Vec<i64>> {
        // Not all at once: a million dead letters in one transaction would stop intake for as long.
        let at_most = reopen.filter.limit();
        let closed = query::closed(self.conn, &self.book.identity, &reopen.filter, reopen.after, at_most)?;
        let (now, original) = (micros(reopen.now), reopen.filter.original);
        for closed in &closed {
            self.effects.count(closed.lane, &closed.outcome, -1);
            self.effects.count(closed.lane, "waiting", 1);
            let before = match &closed.order {
                Some(key) => self.sql.terms.before(closed.lane, key, closed.seq)?,
                None => None,
            };
            if let Some(before) = before {
                let detail = after(&delivery_id(&self.book.identity, before));
                self.sql.reopen.execute(params![closed.seq, now, PARKED, "order", detail, original])?;
                continue;
            }
            self.sql.reopen.execute(params![closed.seq, now, now, "replayed", "", original])?;
            self.effects.reopened.push((self.book.names[&closed.lane].clone(), (now, closed.seq)));
        }
        Ok(closed.iter().map(|closed| closed.seq).collect())
    }

    pub(super) fn hold(&mut self, name: &Arc<str>, hold: Option<&Hold>) -> rusqlite::Result<()> {
        // Releasing what never was held must not make a lane.
        if hold.is_none() && !self.book.rows.contains_key(name) {
            return Ok(());
        }
        let row = self.lane(name)?;
        let since = hold.map(|hold| micros(hold.since));
        let until = hold.and_then(|hold| hold.until).map(micros);
        let fingerprint = hold.map(|hold| &hold.fingerprint);
        self.sql.hold.execute(params![row, hold.map(|hold| &hold.why), since, fingerprint, until])?;
        self.effects.held.push((name.clone(), hold.is_some()));
        Ok(())
    }

    /// A write for its own sake: whether the storage works again.
    pub(super) fn touch(&mut self) -> rusqlite::Result<()> {
        self.sql.touch.execute([timestamp(self.now).to_string()]).map(drop)
    }

    /// Writes down how the counts changed.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        for (lane, change) in &self.effects.counts {
            if !change.is_zero() {
                let Tally { waiting, delivered, dead, dropped } = change;
                self.sql.count.execute(params![lane, waiting, delivered, dead, dropped])?;
            }
        }
        Ok(())
    }
}

/// Numbers of deliveries as one text.
fn written(seqs: &[i64]) -> String {
    let seqs: Vec<String> = seqs.iter().map(i64::to_string).collect();
    seqs.join(" ")
}
