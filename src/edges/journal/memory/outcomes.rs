//! Outcomes in the journal in memory, and what is due of a lane.

use std::sync::Arc;

use jiff::Timestamp;

use super::{MemoryJournal, State};
use crate::edges::journal::{Along, Due, JournalError, micros, not_waiting, timestamp};
use crate::words::delivery::{Attempt, Outcome};

impl MemoryJournal {
    /// Records what became of one delivery.
    pub(super) fn record(
        &self,
        seq: i64,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
    ) -> Result<(), JournalError> {
        self.record_all(seq, attempt, attempts, outcome, Vec::new())
    }

    /// The same, and of those that went along.
    pub(super) fn record_all(
        &self,
        seq: i64,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
        along: Vec<Along>,
    ) -> Result<(), JournalError> {
        let now = timestamp(micros((self.clock)()));
        let mut state = self.state();
        let recorded = state.record(seq, attempt, attempts, outcome, None, now);
        for Along { delivery, attempts, outcome } in along {
            // One that does not wait has its outcome already.
            let _recorded = state.record(delivery.seq, None, attempts, outcome, Some(seq), now);
        }
        recorded
    }
}

impl State {
    /// Whether an event went in this delivery: its own, or one that went along the last time.
    pub(super) fn carried(&self, seq: i64, event: &str) -> bool {
        let of_event = self.deliveries.iter().filter(|(_, row)| row.event.id == event);
        of_event.map(|(own, row)| (*own, row.carrier)).any(|(own, carrier)| own == seq || carrier == Some(seq))
    }

    /// What could be handed out of a lane.
    pub(super) fn due(&self, lane: &Arc<str>, now: Timestamp, most: usize) -> Due {
        let mut found = Due::default();
        let free = self.lanes.get(lane).into_iter().flat_map(|lane| &lane.free);
        for (_, seq) in free.take_while(|(due, _)| *due <= now).take(most) {
            found.add(self.deliveries[seq].created);
        }
        found
    }

    /// Records an outcome; `carrier` is the delivery in whose request it went, where that is another one.
    pub(super) fn record(
        &mut self,
        seq: i64,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
        carrier: Option<i64>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        if self.closed {
            return Err(JournalError::Closed);
        }
        let row = self.deliveries.get_mut(&seq).filter(|row| row.waits()).ok_or_else(|| not_waiting(seq))?;
        let lane = self.lanes.entry(row.hook.clone()).or_default();
        lane.claimed.remove(&seq);
        lane.free.remove(&(row.due, seq));
        let parked = row.due == Timestamp::MAX;
        (row.attempts, row.carrier) = (attempts, carrier);
        if let Outcome::Waiting { until, .. } = &outcome {
            row.due = timestamp(micros(*until));
            lane.free.insert((row.due, seq));
        }
        if let Some(mut attempt) = attempt {
            attempt.started = timestamp(micros(attempt.started));
            self.attempts.push((seq, attempt, outcome.word()));
        }
        let waits = matches!(outcome, Outcome::Waiting { .. });
        row.outcome = outcome;
        if let (Some(key), false) = (row.order, waits) {
            let hook = row.hook.clone();
            self.let_next(&hook, key, seq, now, parked);
        }
        Ok(())
    }
}
