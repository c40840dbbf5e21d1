//! What is due of a lane, and outcomes on their way to the writer.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::lanes::{Counted, Next};
use super::transaction::Settle;
use super::writer::Command;
use super::{SqliteJournal, query, ready};
use crate::edges::journal::{Along, Due, Journal, Pending, Then, micros};
use crate::words::delivery::{Attempt, Delivery, Outcome};
use crate::words::limits;

impl SqliteJournal {
    /// Hands an outcome to the writer, and those of what went along.
    pub(super) fn hand_in(
        &self,
        delivery: &Delivery,
        (attempt, attempts, outcome): (Option<Attempt>, u32, Outcome),
        along: Vec<Along>,
        then: Then,
    ) {
        if let Err(err) = self.is_open() {
            return then(Err(err));
        }
        let settle = |delivery: &Delivery, attempt, attempts, outcome, carrier, along| {
            let (seq, hook, order) = (delivery.seq, delivery.hook.clone(), delivery.order);
            Settle { seq, hook, attempt, attempts, outcome, retried: false, order, carrier, along }
        };
        let other = |one: Along| settle(&one.delivery, None, one.attempts, one.outcome, Some(delivery.seq), Vec::new());
        let along = along.into_iter().map(other).collect();
        let settle = settle(delivery, attempt, attempts, outcome, None, along);
        // A writer that is gone drops what was to be done then.
        self.commands.send(Command::Settle { settle: Box::new(settle), then });
    }

    /// How much of a lane could be handed out.
    pub(super) fn due_of(&self, lane: &Arc<str>, now: Timestamp, most: usize) -> Pending<Due> {
        if let Err(err) = self.is_open() {
            return ready(Err(err));
        }
        if self.trouble().is_some() {
            return ready(Ok(Due::default()));
        }
        let now = micros(now);
        let (row, hands) = match self.shared.lanes().due(lane, now, most) {
            Counted::Known(due) => return ready(Ok(due)),
            Counted::OnDisk { row, hands } => (row, hands),
        };
        self.claims.ask(move |conn| query::due(conn, row, now, &hands, most))
    }

    /// When the next of a lane is due.
    pub(super) fn next_due_of(&self, lane: &Arc<str>) -> Pending<Option<Timestamp>> {
        if let Err(err) = self.is_open() {
            return ready(Err(err));
        }
        let next = self.shared.lanes().next_due(lane);
        // While nothing can be claimed, a lane that is told "now" would ask without end. Bells ring when it is over.
        let earliest = self.trouble().map(|_| self.clock.now() + pause());
        match next {
            Next::Nothing => ready(Ok(None)),
            Next::At(due) => ready(Ok(earliest.max(Some(due)))),
            Next::Unknown => {
                let (shared, identity, lane) = (self.shared.clone(), self.identity.clone(), lane.clone());
                let clock = self.clock.clone();
                self.claims.ask(move |conn| {
                    if let Some(plan) = shared.plan(|lanes| lanes.plan_look(&lane)) {
                        shared.read_window(conn, &identity, &lane, &plan)?;
                    }
                    Ok(match shared.lanes().next_due(&lane) {
                        Next::Nothing => None,
                        Next::At(due) => earliest.max(Some(due)),
                        Next::Unknown => Some(clock.now()),
                    })
                })
            }
        }
    }
}

/// How long a lane sleeps before it looks again whether the trouble is over.
fn pause() -> SignedDuration {
    SignedDuration::try_from(limits::JOURNAL_RETRY).unwrap_or(SignedDuration::from_secs(1))
}
