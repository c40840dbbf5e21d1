//! What operators order of many deliveries: replay, flush, drop.
//!
//! However many are meant, they are looked for in short reads and changed in short transactions, one after the other, so
//! that whoever sends events meanwhile hardly notices. Whoever gives the order and leaves ends it: what was done is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::edges::journal::{After, Among, DeliveryRow, Filter, Found, JournalError, Revision, Walk};
use crate::engine::desk::Desk;
use crate::engine::standing;
use crate::rules::config::Config;
use crate::rules::hook::glob;
use crate::rules::template::select::{Candidate, Selection};
use crate::rules::waiting::Standing;
use crate::words::limits;

/// Which deliveries an order is about: those that are named, or those that everything that is set is true of.
#[derive(Debug, Default)]
pub struct Meant {
    /// These, by id or number.
    pub ids: Vec<String>,
    /// Of this hook.
    pub hook: Option<Arc<str>>,
    /// Of events whose type matches this pattern.
    pub kind: Option<String>,
    /// Accepted at or after this.
    pub since: Option<Timestamp>,
    /// … and before this.
    pub until: Option<Timestamp>,
    /// Those that wait for this reason, by its word.
    pub why: Option<String>,
    /// Those of which this is true.
    pub selection: Option<Selection>,
}

impl Meant {
    /// Whether a delivery that a walk comes past is meant.
    fn includes(&self, found: &Found, standing: &Standing, now: Timestamp) -> bool {
        let row = &found.row;
        let timely =
            self.since.is_none_or(|since| row.time >= since) && self.until.is_none_or(|until| row.time < until);
        if !timely || !self.kind.as_ref().is_none_or(|pattern| glob(pattern, &row.kind)) {
            return false;
        }
        // What is true now counts, and is what people see.
        let mut told = row.clone();
        standing::tell(standing, &mut told, now);
        if self.why.is_some() && self.why != told.reason {
            return false;
        }
        let (Some(selection), Some(event)) = (&self.selection, &found.event) else { return self.selection.is_none() };
        let (hook, why, outcome) = (&*row.hook, &*told.why, &*row.outcome);
        selection.holds(Candidate { event, hook, why, attempts: row.attempts, outcome })
    }
}

/// What is done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Dead letters wait again; so does what is named and was delivered or dropped.
    Replay {
        /// With the bodies as they were made for their last attempts, where those are kept.
        original: bool,
    },
    /// What waits for a time of its own is due now.
    Flush,
    /// What waits is not wanted any more, for this reason.
    Drop(String),
}

/// What came of an order, or would.
#[derive(Debug, Default)]
pub struct Done {
    /// How many, by hook.
    pub hooks: BTreeMap<String, u64>,
    /// The first of them.
    pub first: Vec<DeliveryRow>,
    /// Their ids, at most `limits::LIST` of them.
    pub ids: Vec<String>,
    /// How many are being sent and were left alone.
    pub in_flight: u64,
    /// How many cannot go out as they were.
    pub not_kept: u64,
    /// Some that were left alone, and why.
    pub not: Vec<(String, String)>,
}

impl Done {
    /// How many in all.
    pub fn count(&self) -> u64 {
        self.hooks.values().sum()
    }

    /// As programs are told.
    pub fn to_json(&self) -> Json {
        let not: Vec<Json> = self.not.iter().map(|(id, why)| json!({"delivery": id, "why": why})).collect();
        json!({
            "count": self.count(), "hooks": self.hooks, "deliveries": self.ids, "first": self.first,
            "in_flight": self.in_flight, "not_kept": self.not_kept, "not": not,
        })
    }

    fn add(&mut self, row: &DeliveryRow) {
        *self.hooks.entry(row.hook.clone()).or_default() += 1;
        if self.first.len() < limits::SHOWN_FIRST {
            self.first.push(row.clone());
        }
        if self.ids.len() < limits::LIST {
            self.ids.push(row.delivery.clone());
        }
    }
}

impl Act {
    fn among(&self) -> Among {
        match self {
            Self::Replay { .. } => Among::Dead,
            Self::Flush | Self::Drop(_) => Among::Waiting,
        }
    }

    /// Why a named delivery is left alone; `None` when it is not.
    fn objection(&self, row: &DeliveryRow) -> Option<String> {
        match (self, row.outcome.as_str()) {
            (Self::Replay { .. }, "waiting") => Some("it waits already".to_owned()),
            (Self::Flush | Self::Drop(_), outcome) if outcome != "waiting" => Some(format!("it is {outcome}")),
            _ => None,
        }
    }

    /// Whether what a walk comes past may be changed at all.
    fn touches(&self, found: &Found) -> bool {
        *self != Self::Flush || (found.row.due.is_some() && !is_the_receivers(&found.row))
    }
}

/// Whether it waits because its receiver, or the pace that it keeps, says so: what an operator's hurry does not change.
fn is_the_receivers(row: &DeliveryRow) -> bool {
    matches!(row.reason.as_deref(), Some("pause" | "pace" | "order"))
}

/// Carries out an order, or (`dry`) says what it would do. After each step `told` hears how many there are so far.
///
/// # Errors
/// The journal could not be read or written; what was done before stays done.
pub async fn carry_out(
    desk: &Desk,
    config: &Config,
    meant: &Meant,
    act: &Act,
    dry: bool,
    told: &(dyn Fn(u64) + Sync),
) -> Result<Done, JournalError> {
    let mut order = Order { desk, config, act, dry, told, done: Done::default(), late: Vec::new() };
    if meant.ids.is_empty() {
        order.walk(meant).await?;
    } else {
        order.named(&meant.ids).await?;
    }
    order.again().await?;
    Ok(order.done)
}

/// An order that is being carried out.
struct Order<'a> {
    desk: &'a Desk,
    config: &'a Config,
    act: &'a Act,
    dry: bool,
    told: &'a (dyn Fn(u64) + Sync),
    done: Done,
    /// What somebody had in hand when it was its turn.
    late: Vec<DeliveryRow>,
}

impl Order<'_> {
    async fn named(&mut self, ids: &[String]) -> Result<(), JournalError> {
        let mut seen = BTreeSet::new();
        let ids: Vec<&String> = ids.iter().filter(|id| seen.insert(id.as_str())).collect();
        for ids in ids.chunks(limits::ORDER_STEP) {
            let filter = Filter { ids: ids.iter().map(|id| (*id).clone()).collect(), ..Filter::default() };
            let rows = self.desk.journal.list(filter).await?;
            let known: BTreeSet<i64> = rows.iter().filter_map(|row| self.desk.journal.number(&row.delivery)).collect();
            for id in ids {
                if self.desk.journal.number(id).is_none_or(|number| !known.contains(&number)) {
                    self.done.not.push(((*id).clone(), "it is not on record".to_owned()));
                }
            }
            let (mut wanted, now) = (Vec::new(), self.desk.clock.steady());
            for row in rows {
                match self.act.objection(&row) {
                    Some(why) => self.done.not.push((row.delivery, why)),
                    None if *self.act == Act::Flush && row.due.is_none_or(|due| due <= now) => {
                        self.done.not.push((row.delivery, "it does not wait for a time".to_owned()));
                    }
                    None => wanted.push(row),
                }
            }
            self.step(wanted).await?;
        }
        Ok(())
    }

    async fn walk(&mut self, meant: &Meant) -> Result<(), JournalError> {
        let among = self.act.among();
        let begin = match self.act {
            Act::Flush => After::due(self.desk.clock.steady()),
            _ => After::default(),
        };
        for (lane, count) in self.desk.journal.lanes().await? {
            let some = if among == Among::Dead { count.dead > 0 } else { count.waiting > 0 };
            if !some || meant.hook.as_ref().is_some_and(|hook| *hook != lane) {
                continue;
            }
            let mut after = begin;
            loop {
                let events = meant.selection.is_some();
                let walk = Walk { lane: lane.clone(), among, after, rows: limits::ORDER_STEP, events };
                let found = self.desk.journal.walk(walk).await?;
                let Some(last) = found.last() else { break };
                after = last.place;
                let ended = found.len() < limits::ORDER_STEP;
                let standing = standing::of_hook(self.desk, self.config, &lane);
                let now = self.desk.clock.steady();
                let wanted =
                    found.into_iter().filter(|found| self.act.touches(found) && meant.includes(found, &standing, now));
                let wanted = wanted.map(|found| found.row).collect();
                self.step(wanted).await?;
                if ended {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Changes a few, in one transaction.
    async fn step(&mut self, rows: Vec<DeliveryRow>) -> Result<(), JournalError> {
        let rows = if *self.act == (Act::Replay { original: true }) { self.kept(rows).await? } else { rows };
        if rows.is_empty() {
            return Ok(());
        }
        if self.dry {
            rows.iter().for_each(|row| self.done.add(row));
            return Ok(());
        }
        let late = self.change(rows).await?;
        self.late.extend(late);
        (self.told)(self.done.count());
        Ok(())
    }

    /// Those whose bodies are kept; of the others it is noted why they are not.
    async fn kept(&mut self, rows: Vec<DeliveryRow>) -> Result<Vec<DeliveryRow>, JournalError> {
        let journal = &self.desk.journal;
        let numbers = rows.iter().filter_map(|row| journal.number(&row.delivery)).collect();
        let not: BTreeMap<i64, String> = journal.not_kept(numbers).await?.into_iter().collect();
        let (mut kept, mut missed) = (Vec::new(), 0);
        for row in rows {
            match journal.number(&row.delivery).and_then(|number| not.get(&number)) {
                None => kept.push(row),
                Some(why) => {
                    missed += 1;
                    if self.done.not.len() < limits::LIST {
                        self.done.not.push((row.delivery, why.clone()));
                    }
                }
            }
        }
        self.done.not_kept += missed;
        Ok(kept)
    }

    /// Changes them, and hands back those that somebody has in hand.
    async fn change(&mut self, rows: Vec<DeliveryRow>) -> Result<Vec<DeliveryRow>, JournalError> {
        let (journal, now) = (&self.desk.journal, self.desk.clock.steady());
        let number = |row: &DeliveryRow| journal.number(&row.delivery).unwrap_or_default();
        let revision = match self.act {
            Act::Replay { original } => {
                let ids = rows.iter().map(|row| row.delivery.clone()).collect();
                let filter = Filter { ids, original: *original, ..Filter::default() };
                let replayed = journal.reopen(filter, now).await?;
                let replayed: BTreeSet<String> = replayed.into_iter().collect();
                rows.iter().filter(|row| replayed.contains(&row.delivery)).for_each(|row| self.done.add(row));
                return Ok(Vec::new());
            }
            Act::Flush => Revision::DueNow,
            Act::Drop(why) => Revision::Drop { why: why.clone() },
        };
        let revised = journal.revise(rows.iter().map(number).collect(), revision, now).await?;
        let changed: BTreeSet<i64> = revised.done.into_iter().collect();
        let in_flight: BTreeSet<i64> = revised.in_flight.into_iter().collect();
        for row in rows.iter().filter(|row| changed.contains(&number(row))) {
            self.done.add(row);
            if matches!(self.act, Act::Drop(_)) {
                self.desk.pulse(&row.hook.as_str().into()).tally().ended("dropped");
            }
        }
        Ok(rows.into_iter().filter(|row| in_flight.contains(&number(row))).collect())
    }

    /// A lane that looks for what has grown too old has many in hand for a moment without sending any.
    async fn again(&mut self) -> Result<(), JournalError> {
        for _ in 0..2 {
            if self.late.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let late = std::mem::take(&mut self.late);
            for rows in late.chunks(limits::ORDER_STEP) {
                let still = self.change(rows.to_vec()).await?;
                self.late.extend(still);
            }
        }
        // Dropping or hurrying what is being sent would settle it twice: its attempt says what becomes of it.
        self.done.in_flight = self.late.len() as u64;
        for row in &self.late {
            if self.done.not.len() < limits::SHOWN_FIRST {
                self.done.not.push((row.delivery.clone(), "it is being sent right now".to_owned()));
            }
        }
        Ok(())
    }
}
