//! The journal in memory, for tests and `demo`: the same verbs, nothing durable. Every answer is ready at once, so that
//! it also works under a paused clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

mod outcomes;
mod terms;
mod walk;

use super::{
    Along, Append, Appended, Bells, DeliveryRow, Due, Filter, Found, Hold, Journal, JournalError, LaneCount, LogRow,
    NotCopied, Pending, Progress, Revised, Revision, Shape, Shown, Then, Usage, Walk, after, delivery_id, keep_micros,
    micros, new_identity, number, timestamp,
};
use crate::rules::hook::glob;
use crate::words::delivery::{Attempt, Delivery, Kept, Key as Order, Outcome, Why};
use crate::words::event::Event;
use crate::words::keeping::Keeping;
use crate::words::limits;
use crate::words::tally::Spread;

/// The journal in memory.
pub struct MemoryJournal {
    identity: Arc<str>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    state: Mutex<State>,
    bells: Arc<Bells>,
}

#[derive(Default)]
struct State {
    bells: Arc<Bells>,
    closed: bool,
    /// The deliveries of each event, by id and source.
    events: HashMap<(String, String), Vec<i64>>,
    deliveries: BTreeMap<i64, Row>,
    attempts: Vec<(i64, Attempt, &'static str)>,
    lanes: BTreeMap<Arc<str>, Lane>,
    /// What each lane had with a key: until when, and which delivery.
    once: HashMap<(Arc<str>, Order), (Timestamp, i64)>,
    /// Events that no hook wanted, by id.
    unwanted: HashMap<String, Arc<Event>>,
}

struct Row {
    event: Arc<Event>,
    hook: Arc<str>,
    created: Timestamp,
    due: Timestamp,
    attempts: u32,
    outcome: Outcome,
    /// In whose request it went.
    carrier: Option<i64>,
    order: Option<Order>,
    /// Recorded and never made.
    is_duplicate: bool,
    kept: Option<Kept>,
    original: bool,
}

#[derive(Default)]
struct Lane {
    /// What waits with a key, oldest first: only the first may be due.
    ordered: BTreeMap<Order, BTreeSet<i64>>,
    /// What waits and is not claimed, by due and seq.
    free: BTreeSet<(Timestamp, i64)>,
    claimed: BTreeSet<i64>,
    hold: Option<Hold>,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::with_clock(Timestamp::now)
    }

    /// An empty journal whose deliveries are accepted at the time that this clock tells.
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let (identity, bells) = (new_identity().into(), Arc::<Bells>::default());
        let state = State { bells: bells.clone(), ..State::default() };
        Self { identity, clock: Box::new(clock), state: Mutex::new(state), bells }
    }

    /// As after a restart: what was handed out is free again.
    pub fn restart(&self) {
        let mut state = self.state();
        let State { lanes, deliveries, .. } = &mut *state;
        for lane in lanes.values_mut() {
            let back = std::mem::take(&mut lane.claimed);
            lane.free.extend(back.into_iter().map(|seq| (deliveries[&seq].due, seq)));
        }
        self.bells.forget();
        let concerned = lanes.iter().filter(|(_, lane)| !lane.free.is_empty() || lane.hold.is_some());
        self.bells.ring_each(concerned.map(|(name, _)| name));
    }

    /// The first part of this journal's delivery ids.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    fn answer<T: Send + 'static>(&self, verb: impl FnOnce(&mut State) -> Result<T, JournalError>) -> Pending<T> {
        let mut state = self.state();
        let result = if state.closed { Err(JournalError::Closed) } else { verb(&mut state) };
        Box::pin(std::future::ready(result))
    }

    fn row(&self, state: &State, seq: i64, row: &Row) -> DeliveryRow {
        DeliveryRow {
            time: row.created,
            event: row.event.id.clone(),
            delivery: delivery_id(&self.identity, seq).to_string(),
            hook: row.hook.to_string(),
            kind: row.event.kind.clone(),
            outcome: row.outcome.word().to_owned(),
            attempts: row.attempts,
            due: row.waits().then_some(row.due).filter(|due| *due != Timestamp::MAX),
            why: row.outcome.why(),
            reason: row.waits().then(|| row.why().word().to_owned()),
            carrier: row.carrier.map(|carrier| delivery_id(&self.identity, carrier).to_string()),
            claimed: state.is_claimed(seq, row),
        }
    }

    /// Whether the filter means this delivery, times aside.
    fn means(&self, filter: &Filter, seq: i64, row: &Row) -> bool {
        filter.numbers(&self.identity).is_none_or(|numbers| numbers.contains(&seq))
            && filter.event.as_ref().is_none_or(|event| *event == row.event.id)
            && filter.kind.as_ref().is_none_or(|pattern| glob(pattern, &row.event.kind))
            && filter.hook.as_ref().is_none_or(|hook| **hook == *row.hook)
    }
}

impl State {
    /// The next delivery of a lane that is due.
    fn take(&mut self, identity: &str, lane: &Arc<str>, now: Timestamp) -> Option<Delivery> {
        let lane = self.lanes.get_mut(lane)?;
        let (due, seq) = *lane.free.first().filter(|(due, _)| *due <= now)?;
        lane.free.pop_first();
        lane.claimed.insert(seq);
        let row = &self.deliveries[&seq];
        Some(Delivery {
            seq,
            id: delivery_id(identity, seq),
            event: row.event.clone(),
            hook: row.hook.clone(),
            created: row.created,
            due,
            attempts: row.attempts,
            order: row.order,
            original: row
                .kept
                .as_ref()
                .and_then(|kept| kept.as_ref().ok())
                .filter(|_| row.original)
                .cloned()
                .map(Arc::new),
        })
    }
}

impl Row {
    fn waits(&self) -> bool {
        matches!(self.outcome, Outcome::Waiting { .. })
    }
}

fn between(filter: &Filter, time: Timestamp) -> bool {
    // Compared as they are stored by the other journal.
    let time = micros(time);
    filter.since.is_none_or(|since| time >= micros(since)) && filter.until.is_none_or(|until| time < micros(until))
}

/// The newest `limit` of what is sorted from old to new.
fn newest<T>(mut rows: Vec<T>, limit: usize) -> Vec<T> {
    let surplus = rows.len().saturating_sub(limit);
    rows.drain(..surplus);
    rows
}

impl Journal for MemoryJournal {
    fn append(&self, batch: Vec<Append>) -> Pending<Vec<Appended>> {
        let now = timestamp(micros((self.clock)()));
        self.answer(|state| {
            let mut done = Vec::with_capacity(batch.len());
            for mut append in batch {
                let event = &mut append.event;
                let (id, known) = (event.id.clone(), (event.id.clone(), event.source.clone()));
                if let Some(deliveries) = state.events.get(&known) {
                    let owed = deliveries.iter().map(|seq| &state.deliveries[seq]).filter(|row| !row.is_duplicate);
                    let hooks = owed.map(|row| row.hook.clone()).collect();
                    done.push(Appended { id, hooks, duplicate: true });
                    continue;
                }
                keep_micros(event);
                let mut seqs = Vec::with_capacity(append.hooks.len());
                let mut hooks = Vec::with_capacity(append.hooks.len());
                for (index, hook) in append.hooks.iter().enumerate() {
                    let seq = state.deliveries.last_key_value().map_or(1, |(last, _)| last + 1);
                    let (event, hook, terms) = (append.event.clone(), hook.clone(), append.terms(index));
                    let outcome = state.place(&hook, &terms, seq, now, &self.identity);
                    let mut due = now;
                    if let Outcome::Waiting { until, .. } = &outcome {
                        due = *until;
                        let lane = state.lanes.entry(hook.clone()).or_default();
                        lane.free.insert((due, seq));
                        state.bells.ring(&hook);
                        hooks.push(hook.clone());
                    }
                    let is_duplicate = matches!(outcome, Outcome::Dropped { .. });
                    let order = terms.order;
                    let row = Row {
                        event,
                        hook,
                        created: now,
                        due,
                        attempts: 0,
                        outcome,
                        carrier: None,
                        order,
                        is_duplicate,
                        kept: None,
                        original: false,
                    };
                    state.deliveries.insert(seq, row);
                    seqs.push(seq);
                }
                if seqs.is_empty() {
                    state.unwanted.insert(id.clone(), append.event);
                }
                state.events.insert(known, seqs);
                done.push(Appended { id, hooks, duplicate: false });
            }
            Ok(done)
        })
    }

    fn claim(&self, lane: &Arc<str>, now: Timestamp, room: usize) -> Pending<Vec<Delivery>> {
        self.answer(|state| Ok(std::iter::from_fn(|| state.take(&self.identity, lane, now)).take(room).collect()))
    }

    fn claim_one(&self, lane: &Arc<str>, now: Timestamp) -> Option<Delivery> {
        let mut state = self.state();
        if state.closed { None } else { state.take(&self.identity, lane, now) }
    }

    fn unclaim(&self, delivery: Delivery) {
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&delivery.hook) else { return };
        if lane.claimed.remove(&delivery.seq) {
            lane.free.insert((delivery.due, delivery.seq));
        }
    }

    fn settle_all_then(
        &self,
        delivery: &Delivery,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
        along: Vec<Along>,
        then: Then,
    ) {
        then(self.record_all(delivery.seq, attempt, attempts, outcome, along));
    }

    fn due(&self, lane: &Arc<str>, now: Timestamp, most: usize) -> Pending<Due> {
        self.answer(|state| Ok(state.due(lane, now, most)))
    }

    fn next_due(&self, lane: &Arc<str>) -> Pending<Option<Timestamp>> {
        self.answer(|state| Ok(state.lanes.get(lane).and_then(|lane| lane.free.first()).map(|(due, _)| *due)))
    }

    fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    fn lanes(&self) -> Pending<Vec<(Arc<str>, LaneCount)>> {
        self.answer(|state| {
            let mut lanes: BTreeMap<Arc<str>, LaneCount> = BTreeMap::new();
            for row in state.deliveries.values() {
                let lane = lanes.entry(row.hook.clone()).or_default();
                match row.outcome {
                    Outcome::Waiting { .. } => {
                        lane.waiting += 1;
                        lane.oldest = Some(lane.oldest.map_or(row.created, |oldest| oldest.min(row.created)));
                    }
                    Outcome::Delivered => lane.delivered += 1,
                    Outcome::Dead { .. } => lane.dead += 1,
                    Outcome::Dropped { .. } => {}
                }
            }
            Ok(lanes.into_iter().collect())
        })
    }

    fn waiting(&self) -> u64 {
        self.state().lanes.values().map(|lane| (lane.free.len() + lane.claimed.len()) as u64).sum()
    }

    fn unwritten(&self) -> usize {
        0
    }

    fn trouble(&self) -> Option<JournalError> {
        None
    }

    fn refuses(&self) -> Option<JournalError> {
        None
    }

    /// It forgets everything when it ends, and nothing before.
    fn commit_times(&self) -> Spread {
        Spread::none(&limits::COMMIT_TIMES)
    }

    fn keep(&self, _keeping: Keeping) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn list(&self, filter: Filter) -> Pending<Vec<DeliveryRow>> {
        self.answer(|state| {
            let meant = |row: &Row| {
                between(&filter, row.created)
                    && filter.outcome.as_ref().is_none_or(|outcome| *outcome == row.outcome.word())
            };
            let rows = state.deliveries.iter().filter(|(seq, row)| self.means(&filter, **seq, row) && meant(row));
            Ok(newest(rows.map(|(seq, row)| self.row(state, *seq, row)).collect(), filter.limit()))
        })
    }

    fn log(&self, filter: Filter) -> Pending<Vec<LogRow>> {
        self.answer(|state| {
            let mut rows = Vec::new();
            let other = Filter { event: None, ..filter.clone() };
            for (seq, attempt, outcome) in &state.attempts {
                let row = &state.deliveries[seq];
                let meant = self.means(&other, *seq, row)
                    && filter.event.as_ref().is_none_or(|event| state.carried(*seq, event))
                    && between(&filter, attempt.started)
                    && filter.means(&row.event.kind, attempt.status)
                    && filter.outcome.as_ref().is_none_or(|wanted| wanted == outcome)
                    && !(filter.failed && attempt.verdict == "delivered");
                if meant {
                    rows.push(LogRow {
                        time: attempt.started,
                        event: row.event.id.clone(),
                        delivery: delivery_id(&self.identity, *seq).to_string(),
                        hook: row.hook.to_string(),
                        kind: row.event.kind.clone(),
                        outcome: (*outcome).to_owned(),
                        verdict: attempt.verdict.clone(),
                        attempt: attempt.number,
                        status: attempt.status,
                        duration_ms: attempt.duration_ms(),
                        why: attempt.why.clone(),
                    });
                }
            }
            Ok(newest(rows, filter.limit()))
        })
    }

    fn show(&self, id: &str) -> Pending<Option<Shown>> {
        let seq = number(&self.identity, id);
        self.answer(|state| {
            let Some((seq, row)) = seq.and_then(|seq| state.deliveries.get_key_value(&seq)) else { return Ok(None) };
            let attempts = state.attempts.iter().filter(|(of, ..)| of == seq);
            Ok(Some(Shown {
                row: self.row(state, *seq, row),
                event: row.event.clone(),
                attempts: attempts.map(|(_, attempt, outcome)| (attempt.clone(), (*outcome).to_owned())).collect(),
            }))
        })
    }

    fn event(&self, id: &str) -> Pending<Option<Arc<Event>>> {
        let id = id.to_owned();
        self.answer(|state| {
            let of_id = state.deliveries.values().rev().find(|row| row.event.id == id);
            Ok(of_id.map(|row| row.event.clone()).or_else(|| state.unwanted.get(&id).cloned()))
        })
    }

    fn walk(&self, walk: Walk) -> Pending<Vec<Found>> {
        self.answer(|state| Ok(self.walked(state, &walk)))
    }

    fn shape(&self, lane: Option<Arc<str>>, ages: Vec<Timestamp>, now: Timestamp) -> Pending<Vec<(Arc<str>, Shape)>> {
        self.answer(|state| Ok(walk::shapes(state, lane.as_ref(), &ages, now)))
    }

    fn revise(&self, seqs: Vec<i64>, revision: Revision, now: Timestamp) -> Pending<Revised> {
        let revised = self.revised(&seqs, &revision, timestamp(micros(now)));
        Box::pin(std::future::ready(revised))
    }

    fn keep_body(&self, delivery: &Delivery, kept: Kept) {
        if let Some(row) = self.state().deliveries.get_mut(&delivery.seq).filter(|row| row.waits()) {
            row.kept = Some(kept);
        }
    }

    fn not_kept(&self, seqs: Vec<i64>) -> Pending<Vec<(i64, String)>> {
        self.answer(|state| Ok(walk::not_kept(state, &seqs)))
    }

    fn number(&self, id: &str) -> Option<i64> {
        number(&self.identity, id)
    }

    fn backup(&self, _to: PathBuf, _replace: bool, _progress: Progress) -> Pending<Result<u64, NotCopied>> {
        let what = "this journal is kept in memory only".to_owned();
        self.answer(|_| Ok(Err(NotCopied { what, help: "start the daemon with a state directory".to_owned() })))
    }

    fn reopen(&self, filter: Filter, now: Timestamp) -> Pending<Vec<String>> {
        let now = timestamp(micros(now));
        self.answer(|state| {
            let by_id = !filter.ids.is_empty();
            let meant = |seq: i64, row: &Row| {
                (matches!(row.outcome, Outcome::Dead { .. }) || (by_id && !row.waits()))
                    && self.means(&filter, seq, row)
                    && between(&filter, row.created)
                    && filter.outcome.as_ref().is_none_or(|outcome| *outcome == row.outcome.word())
                    && (!filter.original || matches!(row.kept, Some(Ok(_))))
            };
            let rows = state.deliveries.iter().filter(|(seq, row)| meant(**seq, row)).map(|(seq, _)| *seq);
            let limit = if filter.limit.is_some() { filter.limit() } else { usize::MAX };
            let seqs = newest(rows.collect(), limit);
            for seq in &seqs {
                let row = state.deliveries.get_mut(seq).expect("it was just listed");
                let lane = state.lanes.entry(row.hook.clone()).or_default();
                let (mut due, mut why) = (now, Why::Replayed);
                if let Some(key) = row.order {
                    let waiting = lane.ordered.entry(key).or_default();
                    if let Some(before) = waiting.iter().next_back() {
                        due = Timestamp::MAX;
                        why = Why::Order(after(&delivery_id(&self.identity, *before)));
                    }
                    waiting.insert(*seq);
                }
                (row.created, row.due, row.attempts, row.original) = (now, due, 0, filter.original);
                row.carrier = None;
                row.outcome = Outcome::Waiting { until: due, why };
                lane.free.insert((due, *seq));
                state.bells.ring(&row.hook);
            }
            Ok(seqs.iter().map(|seq| delivery_id(&self.identity, *seq).to_string()).collect())
        })
    }

    fn set_hold(&self, lane: &Arc<str>, hold: Option<Hold>) -> Pending<()> {
        self.answer(|state| {
            let kept = |time: Timestamp| timestamp(micros(time));
            let since = |hold: Hold| Hold { since: kept(hold.since), until: hold.until.map(kept), ..hold };
            state.lanes.entry(lane.clone()).or_default().hold = hold.map(since);
            Ok(())
        })
    }

    fn holds(&self) -> Pending<Vec<(Arc<str>, Hold)>> {
        self.answer(|state| {
            let held = state.lanes.iter().filter_map(|(name, lane)| Some((name.clone(), lane.hold.clone()?)));
            Ok(held.collect())
        })
    }

    fn close(&self) -> Pending<()> {
        self.answer(|state| {
            state.closed = true;
            Ok(())
        })
    }
}
