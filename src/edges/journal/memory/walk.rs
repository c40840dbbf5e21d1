//! Walks, counts and revisions of the journal in memory.

use std::sync::Arc;

use jiff::Timestamp;

use super::{MemoryJournal, Row, State};
use crate::edges::journal::{
    After, Among, Found, JournalError, NOTHING_KEPT, PARKED, Revised, Revision, Shape, Walk, micros, timestamp,
};
use crate::words::delivery::{Outcome, Why};

impl MemoryJournal {
    /// One step of a walk.
    pub(super) fn walked(&self, state: &State, walk: &Walk) -> Vec<Found> {
        let mut found: Vec<Found> = state
            .deliveries
            .iter()
            .filter(|(_, row)| row.hook == walk.lane && row.is_among(walk.among))
            .map(|(seq, row)| {
                let due = if walk.among == Among::Waiting { row.due_micros() } else { walk.after.0 };
                Found {
                    seq: *seq,
                    place: After(due, *seq),
                    row: self.row(state, *seq, row),
                    event: walk.events.then(|| row.event.clone()),
                }
            })
            .filter(|found| found.place > walk.after)
            .collect();
        found.sort_by_key(|found| found.place);
        found.truncate(walk.rows);
        found
    }

    /// Changes what waits of these and is not handed out.
    pub(super) fn revised(&self, seqs: &[i64], how: &Revision, now: Timestamp) -> Result<Revised, JournalError> {
        let mut revised = Revised::default();
        for &seq in seqs {
            let (attempts, outcome) = {
                let state = self.state();
                let Some(row) = state.deliveries.get(&seq).filter(|row| row.waits()) else { continue };
                let Some(outcome) = how.of(&row.why(), row.due, row.due_micros() == PARKED, now) else { continue };
                if state.is_claimed(seq, row) {
                    revised.in_flight.push(seq);
                    continue;
                }
                (row.attempts, outcome)
            };
            self.record(seq, None, attempts, outcome)?;
            revised.done.push(seq);
            let state = self.state();
            if let Some(row) = state.deliveries.get(&seq) {
                state.bells.ring(&row.hook);
            }
        }
        Ok(revised)
    }
}

/// Counts what waits, lane by lane.
pub(super) fn shapes(
    state: &State,
    only: Option<&Arc<str>>,
    ages: &[Timestamp],
    now: Timestamp,
) -> Vec<(Arc<str>, Shape)> {
    let mut shapes: std::collections::BTreeMap<Arc<str>, Shape> = std::collections::BTreeMap::new();
    let meant = |row: &&Row| row.waits() && only.is_none_or(|only| *only == row.hook);
    for row in state.deliveries.values().filter(meant) {
        let shape = shapes.entry(row.hook.clone()).or_default();
        shape.ages.resize(ages.len() + 1, 0);
        let bucket = ages.iter().position(|age| row.created > timestamp(micros(*age))).unwrap_or(ages.len());
        shape.ages[bucket] += 1;
        match row.due_micros() {
            PARKED => shape.parked += 1,
            due if due <= micros(now) => shape.due += 1,
            _ => *shape.later.entry(row.why().word().to_owned()).or_default() += 1,
        }
    }
    shapes.into_iter().collect()
}

/// Why the last requests of some deliveries were not kept.
pub(super) fn not_kept(state: &State, seqs: &[i64]) -> Vec<(i64, String)> {
    let rows = seqs.iter().filter_map(|seq| Some((*seq, state.deliveries.get(seq)?)));
    let not = rows.filter_map(|(seq, row)| match &row.kept {
        Some(Ok(_)) => None,
        Some(Err(why)) => Some((seq, why.clone())),
        None => Some((seq, NOTHING_KEPT.to_owned())),
    });
    not.collect()
}

impl State {
    pub(super) fn is_claimed(&self, seq: i64, row: &Row) -> bool {
        self.lanes.get(&row.hook).is_some_and(|lane| lane.claimed.contains(&seq))
    }
}

impl Row {
    fn is_among(&self, among: Among) -> bool {
        match among {
            Among::Waiting => self.waits(),
            Among::Dead => matches!(self.outcome, Outcome::Dead { .. }),
        }
    }

    /// The due time as the other journal keeps it.
    fn due_micros(&self) -> i64 {
        if self.due == Timestamp::MAX { PARKED } else { micros(self.due) }
    }

    /// Why it waits.
    pub(super) fn why(&self) -> Why {
        match &self.outcome {
            Outcome::Waiting { why, .. } => why.clone(),
            _ => Why::New,
        }
    }
}
