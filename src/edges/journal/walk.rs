//! What operators ask of the journal besides lists: to walk through a lane in short steps, to count it, and to change
//! what waits in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::DeliveryRow;
use crate::words::delivery::{Outcome, Why};
use crate::words::event::Event;

/// Which deliveries of a lane are walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those that wait, what is due first first.
    Waiting,
    /// Dead letters, oldest first.
    Dead,
}

/// Where a walk goes on: after the delivery with this due time (in microseconds, for what waits) and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct After(pub(super) i64, pub(super) i64);

impl Default for After {
    fn default() -> Self {
        Self(i64::MIN, 0)
    }
}

impl After {
    /// Before everything that is due later than this.
    pub fn due(time: Timestamp) -> Self {
        Self(super::micros(time), i64::MAX)
    }
}

/// One short step of a walk.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Through this lane.
    pub lane: Arc<str>,
    /// Past these.
    pub among: Among,
    /// From here on.
    pub after: After,
    /// So many at the most.
    pub rows: usize,
    /// Whether the events are wanted too.
    pub events: bool,
}

/// A delivery that a walk came past.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its number.
    pub seq: i64,
    /// Where the walk would go on after it.
    pub place: After,
    /// As operators see it.
    pub row: DeliveryRow,
    /// Its event, where it was asked for.
    pub event: Option<Arc<Event>>,
}

/// What waits in a lane, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many are younger than each bound and not younger than the one before it, in the order of the bounds, then the
    /// rest.
    pub ages: Vec<u64>,
    /// Those that could be sent now.
    pub due: u64,
    /// Those behind an earlier one with the same key.
    pub parked: u64,
    /// Those whose time has not come, by the word of why.
    pub later: BTreeMap<String, u64>,
}

/// How an operator changes what waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Due now instead of later; what waits behind another one stays there.
    DueNow,
    /// Not wanted any more.
    Drop {
        /// Who said so, and why.
        why: String,
    },
}

impl Revision {
    /// What becomes of a delivery that waits so; `None` when nothing does.
    pub(super) fn of(&self, why: &Why, due: Timestamp, parked: bool, now: Timestamp) -> Option<Outcome> {
        match self {
            Self::DueNow if parked || due <= now => None,
            Self::DueNow => Some(Outcome::Waiting { until: now, why: why.clone() }),
            Self::Drop { why } => Some(Outcome::Dropped { why: why.clone() }),
        }
    }
}

/// What came of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revised {
    /// The numbers of those that were changed.
    pub done: Vec<i64>,
    /// Those that are handed out: what is being sent ends as it ends.
    pub in_flight: Vec<i64>,
}

/// Why a copy was not made, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCopied {
    /// What is wrong.
    pub what: String,
    /// One thing to do.
    pub help: String,
}

/// Told how many pages are copied, and of how many; `false` stops the copying.
pub type Progress = Box<dyn Fn(u64, u64) -> bool + Send>;
