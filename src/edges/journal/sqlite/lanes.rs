//! What is known of each lane in memory. Every waiting delivery that is on disk is in exactly one of three places:
//!
//! * `claimed`: handed out, and neither settled nor given back;
//! * `fresh`: in memory, ready to be handed out;
//! * cold: only on disk. `cold` is a lower bound: no cold delivery comes before it in the order (due, seq).
//!
//! A lane whose bound has come due is in backlog: it reads a window from the disk, and what is appended meanwhile stays
//! on disk behind it. The read works on its own snapshot while commits go on, so whatever a commit does to the lane
//! during a read is noted in `Reading` and wins over what the snapshot says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::edges::journal::{Due, micros, timestamp};
use crate::words::delivery::Delivery;
use crate::words::limits;
use jiff::Timestamp;

/// The order of a lane: due in microseconds, then seq.
pub(super) type Key = (i64, i64);

/// The bound of a lane that has not been looked at since the journal was opened.
const UNKNOWN: Key = (i64::MIN, 0);

/// How many deliveries of a lane have each outcome; also a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) waiting: i64,
    pub(super) delivered: i64,
    pub(super) dead: i64,
    pub(super) dropped: i64,
}

impl Tally {
    /// Adds to the outcome of this word.
    pub(super) fn add(&mut self, outcome: &str, change: i64) {
        match outcome {
            "waiting" => self.waiting += change,
            "delivered" => self.delivered += change,
            "dead" => self.dead += change,
            _ => self.dropped += change,
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    fn merge(&mut self, change: &Self) {
        self.waiting += change.waiting;
        self.delivered += change.delivered;
        self.dead += change.dead;
        self.dropped += change.dropped;
    }
}

#[derive(Debug, Default)]
struct Lane {
    row: Option<i64>,
    fresh: BTreeMap<Key, Delivery>,
    claimed: HashSet<i64>,
    cold: Option<Key>,
    reading: Option<Box<Reading>>,
    held: bool,
    tally: Tally,
}

/// What commits did to a lane while a window is read.
#[derive(Debug, Default)]
struct Reading {
    cold: Option<Key>,
    settled: HashSet<i64>,
}

/// A window to read.
pub(super) struct Plan {
    /// The lane's row.
    pub(super) lane: i64,
    /// Nothing cold comes before it.
    pub(super) from: Key,
    /// What is due later is not taken.
    pub(super) now: i64,
    /// In memory already.
    pub(super) skip: HashSet<i64>,
    /// Take so many, however large they are …
    pub(super) must: usize,
    /// … and more up to so many in all …
    pub(super) rows: usize,
    /// … while their events weigh no more than this together.
    pub(super) bytes: usize,
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<Arc<str>, Lane>,
    /// What the events of all fresh deliveries weigh.
    bytes: usize,
    waiting: i64,
}

impl Lanes {
    /// Takes over what the database says of a lane; nothing is known of its deliveries then.
    pub(super) fn load(&mut self, name: &Arc<str>, row: i64, tally: Tally, held: bool) {
        let lane = self.lane(name);
        lane.row = Some(row);
        let before = std::mem::replace(&mut lane.tally, tally);
        lane.held = held;
        if tally.waiting > 0 {
            lane.make_cold(UNKNOWN);
        }
        self.waiting += tally.waiting - before.waiting;
    }

    /// Deliveries that wait, in all lanes.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.max(0).unsigned_abs()
    }

    /// Every lane that has deliveries on record.
    pub(super) fn tallies(&self) -> Vec<(Arc<str>, Option<i64>, Tally)> {
        let on_record = self.lanes.iter().filter(|(_, lane)| !lane.tally.is_zero());
        on_record.map(|(name, lane)| (name.clone(), lane.row, lane.tally)).collect()
    }

    /// The lanes that somebody must look at: something waits there, or they are held.
    pub(super) fn concerned(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lanes.iter().filter(|(_, lane)| lane.tally.waiting > 0 || lane.held).map(|(name, _)| name)
    }

    // ---- what a commit did ----

    pub(super) fn count(&mut self, name: &Arc<str>, row: i64, change: &Tally) {
        let lane = self.lane(name);
        lane.row = Some(row);
        lane.tally.merge(change);
        self.waiting += change.waiting;
    }

    /// A delivery was appended.
    pub(super) fn appended(&mut self, delivery: Delivery) {
        let full = self.bytes + delivery.event.weight() > limits::FRESH_BYTES;
        let lane = self.lanes.entry(delivery.hook.clone()).or_default();
        let key = key(&delivery);
        // A window that was read between the commit and now may have brought it along.
        if lane.claimed.contains(&delivery.seq) || lane.fresh.contains_key(&key) {
            return;
        }
        let behind = lane.cold.is_some_and(|cold| cold <= key);
        if full || behind || lane.held || lane.fresh.len() >= limits::FRESH_PER_LANE {
            lane.make_cold(key);
        } else {
            self.bytes += delivery.event.weight();
            lane.fresh.insert(key, delivery);
        }
    }

    /// A delivery was settled: the claim ends, and it may wait again.
    pub(super) fn settled(&mut self, name: &Arc<str>, seq: i64, waits: Option<i64>) {
        let lane = self.lane(name);
        lane.claimed.remove(&seq);
        if let Some(reading) = &mut lane.reading {
            reading.settled.insert(seq);
        }
        if let Some(due) = waits {
            lane.make_cold((due, seq));
        }
    }

    /// A delivery was reopened.
    pub(super) fn reopened(&mut self, name: &Arc<str>, key: Key) {
        self.lane(name).make_cold(key);
    }

    /// A lane was held or released. What a held lane had in memory makes room for the others.
    pub(super) fn held(&mut self, name: &Arc<str>, held: bool) {
        let lane = self.lane(name);
        lane.held = held;
        if held && let Some((&first, _)) = lane.fresh.first_key_value() {
            lane.make_cold(first);
            let gone = std::mem::take(&mut lane.fresh);
            self.bytes -= gone.values().map(|delivery| delivery.event.weight()).sum::<usize>();
        }
    }

    // ---- claims ----

    /// Hands out up to `room` deliveries that are due and in memory, as long as none on disk comes before them.
    pub(super) fn take(&mut self, name: &Arc<str>, now: i64, room: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        let Some(lane) = self.lanes.get_mut(name) else { return taken };
        while taken.len() < room
            && let Some(delivery) = lane.take(now)
        {
            self.bytes -= delivery.event.weight();
            taken.push(delivery);
        }
        taken
    }

    /// Hands out the next one if it is due and in memory, as long as none on disk comes before it.
    pub(super) fn take_one(&mut self, name: &Arc<str>, now: i64) -> Option<Delivery> {
        let lane = self.lanes.get_mut(name)?;
        let delivery = lane.take(now)?;
        self.bytes -= delivery.event.weight();
        Some(delivery)
    }

    /// A claimed delivery comes back.
    pub(super) fn unclaim(&mut self, delivery: Delivery) {
        let Some(lane) = self.lanes.get_mut(&delivery.hook) else { return };
        if lane.claimed.remove(&delivery.seq) {
            self.bytes += delivery.event.weight();
            lane.fresh.insert(key(&delivery), delivery);
        }
    }

    /// Takes a delivery that waits out of everybody's reach, wherever it is; `false` when somebody has it.
    pub(super) fn reserve(&mut self, name: &Arc<str>, key: Key) -> bool {
        let lane = self.lane(name);
        if !lane.claimed.insert(key.1) {
            return false;
        }
        if let Some(delivery) = lane.fresh.remove(&key) {
            self.bytes -= delivery.event.weight();
        }
        true
    }

    /// Lets go of one that was reserved: it waits as before.
    pub(super) fn let_go(&mut self, name: &Arc<str>, key: Key) {
        let lane = self.lane(name);
        if lane.claimed.remove(&key.1) {
            lane.make_cold(key);
        }
    }

    /// Whether a delivery is handed out.
    pub(super) fn is_claimed(&self, name: &Arc<str>, seq: i64) -> bool {
        self.lanes.get(name).is_some_and(|lane| lane.claimed.contains(&seq))
    }

    /// When the next one is due, as far as it is known without reading.
    pub(super) fn next_due(&self, name: &Arc<str>) -> Next {
        let Some(lane) = self.lanes.get(name) else { return Next::Nothing };
        let first = lane.fresh.keys().next().copied();
        match [first, lane.cold].into_iter().flatten().min() {
            None => Next::Nothing,
            Some(UNKNOWN) => Next::Unknown,
            Some((due, _)) => Next::At(timestamp(due)),
        }
    }

    /// How much of a lane is due, as far as memory knows.
    pub(super) fn due(&self, name: &Arc<str>, now: i64, most: usize) -> Counted {
        let mut due = Due::default();
        let Some(lane) = self.lanes.get(name) else { return Counted::Known(due) };
        if let (Some(row), true) = (lane.row, lane.cold.is_some_and(|cold| cold.0 <= now)) {
            return Counted::OnDisk { row, hands: lane.claimed.clone() };
        }
        let fresh = lane.fresh.range(..=(now, i64::MAX)).take(most);
        fresh.for_each(|(_, delivery)| due.add(delivery.created));
        Counted::Known(due)
    }

    /// Whether a claim of `room` deliveries needs more than memory has.
    pub(super) fn must_read(&self, name: &Arc<str>, now: i64, room: usize) -> bool {
        self.lanes.get(name).is_some_and(|lane| lane.lacks(now, room).is_some())
    }

    /// What to read so that `room` deliveries can be taken; `None` when memory has all there is.
    pub(super) fn plan_claim(&mut self, name: &Arc<str>, now: i64, room: usize) -> Option<Plan> {
        let bytes = limits::FRESH_BYTES.saturating_sub(self.bytes);
        let lane = self.lanes.get_mut(name)?;
        let (from, must) = lane.lacks(now, room)?;
        lane.plan(Plan { from, now, must, rows: must.max(limits::CLAIM_WINDOW), bytes, ..Plan::default() })
    }

    /// What to read so that `next_due` is known.
    pub(super) fn plan_look(&mut self, name: &Arc<str>) -> Option<Plan> {
        let lane = self.lanes.get_mut(name)?;
        let from = lane.cold?;
        lane.plan(Plan { from, ..Plan::default() })
    }

    /// Merges what was read: the deliveries, and the first one that was left on disk. `None`: the read failed.
    pub(super) fn merge(&mut self, name: &Arc<str>, read: Option<(Vec<Delivery>, Option<Key>)>) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let meanwhile = lane.reading.take().map(|reading| *reading).unwrap_or_default();
        let Some((deliveries, next)) = read else { return };
        for delivery in deliveries {
            let key = key(&delivery);
            let elsewhere = lane.claimed.contains(&delivery.seq)
                || lane.fresh.contains_key(&key)
                || meanwhile.settled.contains(&delivery.seq);
            if !elsewhere {
                self.bytes += delivery.event.weight();
                lane.fresh.insert(key, delivery);
            }
        }
        lane.cold = [next, meanwhile.cold].into_iter().flatten().min();
    }

    fn lane(&mut self, name: &Arc<str>) -> &mut Lane {
        // Looked up first: `entry` would clone the name every time.
        if !self.lanes.contains_key(name) {
            self.lanes.insert(name.clone(), Lane::default());
        }
        self.lanes.get_mut(name).expect("it was inserted")
    }
}

/// How much of a lane is due.
pub(super) enum Counted {
    /// This.
    Known(Due),
    /// Only the disk knows.
    OnDisk {
        /// The lane's row.
        row: i64,
        /// What is handed out, and not due for anybody else.
        hands: HashSet<i64>,
    },
}

/// When the next delivery of a lane is due.
pub(super) enum Next {
    /// Nothing waits.
    Nothing,
    /// Then.
    At(Timestamp),
    /// Only the disk knows.
    Unknown,
}

impl Default for Plan {
    fn default() -> Self {
        Self { lane: 0, from: UNKNOWN, now: i64::MIN, skip: HashSet::new(), must: 0, rows: 0, bytes: 0 }
    }
}

impl Lane {
    fn make_cold(&mut self, key: Key) {
        let lower = |bound: Option<Key>| Some(bound.map_or(key, |bound| bound.min(key)));
        self.cold = lower(self.cold);
        if let Some(reading) = &mut self.reading {
            reading.cold = lower(reading.cold);
        }
    }

    fn take(&mut self, now: i64) -> Option<Delivery> {
        let entry = self.fresh.first_entry()?;
        if entry.key().0 > now || self.cold.is_some_and(|cold| *entry.key() >= cold) {
            return None;
        }
        let delivery = entry.remove();
        self.claimed.insert(delivery.seq);
        Some(delivery)
    }

    /// Where the disk goes on, and how many of `room` are missing without it.
    fn lacks(&self, now: i64, room: usize) -> Option<(Key, usize)> {
        let from = self.cold.filter(|cold| cold.0 <= now)?;
        let ready = self.fresh.range(..from).take(room).count();
        (ready < room).then(|| (from, room - ready))
    }

    fn plan(&mut self, plan: Plan) -> Option<Plan> {
        let lane = self.row?;
        self.reading = Some(Box::default());
        let skip = self.claimed.iter().copied().chain(self.fresh.keys().map(|key| key.1)).collect();
        Some(Plan { lane, skip, ..plan })
    }
}

fn key(delivery: &Delivery) -> Key {
    (micros(delivery.due), delivery.seq)
}
