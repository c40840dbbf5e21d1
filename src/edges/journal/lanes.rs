//! What a lane is told of its queue besides deliveries, and what it tells of several at once.

use jiff::Timestamp;

use crate::words::delivery::{Delivery, Outcome};

/// A delivery that went in the request of another one, and what became of it.
#[derive(Clone, Debug)]
pub struct Along {
    /// The delivery.
    pub delivery: Delivery,
    /// Its new count of attempts.
    pub attempts: u32,
    /// What the attempt led to.
    pub outcome: Outcome,
}

/// What could be handed out of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// How many.
    pub count: usize,
    /// When the oldest of those that were counted was accepted.
    pub oldest: Option<Timestamp>,
}

impl Due {
    /// Counts one more.
    pub(super) fn add(&mut self, created: Timestamp) {
        self.count += 1;
        self.oldest = Some(self.oldest.map_or(created, |oldest| oldest.min(created)));
    }
}
