//! The tally: which delivery has arrived, when, and whether everything has, each exactly once.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Fallible;

/// Shared by the sink, which writes, and the runner, which waits.
#[derive(Default)]
pub(crate) struct Board {
    tally: Mutex<Tally>,
    complete: Condvar,
}

#[derive(Default)]
struct Tally {
    hooks: usize,
    events: Range<usize>,
    hits: Vec<u8>,
    /// When each event first reached the first hook.
    arrived: Vec<Option<Instant>>,
    distinct: usize,
    repeated: usize,
    unknown: usize,
    done: Option<Instant>,
}

impl Board {
    /// Begins anew: each of these events is expected once at every path `0..hooks`.
    pub(crate) fn expect(&self, hooks: usize, events: Range<usize>) {
        let (hits, arrived) = (vec![0; hooks * events.len()], vec![None; events.len()]);
        *self.lock() = Tally { hooks, events, hits, arrived, ..Tally::default() };
    }

    /// Counts one hit.
    pub(crate) fn hit(&self, hook: Option<usize>, seq: Option<usize>) {
        let now = Instant::now();
        let mut tally = self.lock();
        let (Some(hook), Some(seq)) = (hook, seq) else {
            tally.unknown += 1;
            return;
        };
        if hook >= tally.hooks || !tally.events.contains(&seq) {
            tally.unknown += 1;
            return;
        }
        let seq = seq - tally.events.start;
        let slot = hook * tally.events.len() + seq;
        if tally.hits[slot] > 0 {
            tally.repeated += 1;
            return;
        }
        tally.hits[slot] = 1;
        tally.distinct += 1;
        if hook == 0 {
            tally.arrived[seq] = Some(now);
        }
        if tally.distinct == tally.hits.len() {
            tally.done = Some(now);
            self.complete.notify_all();
        }
    }

    /// Waits until everything has arrived; says when the last one did.
    pub(crate) fn complete(&self, patience: Duration) -> Fallible<Instant> {
        let tally = self.lock();
        let (tally, _) = self
            .complete
            .wait_timeout_while(tally, patience, |tally| tally.done.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        tally.done.ok_or_else(|| {
            format!("only {} of {} deliveries arrived in {patience:?}", tally.distinct, tally.hits.len()).into()
        })
    }

    /// Whether every delivery arrived exactly once, and nothing else did.
    pub(crate) fn exact(&self) -> Fallible<()> {
        let tally = self.lock();
        if tally.distinct == tally.hits.len() && tally.repeated == 0 && tally.unknown == 0 {
            return Ok(());
        }
        let Tally { distinct, repeated, unknown, .. } = &*tally;
        Err(format!("{distinct} of {} deliveries, {repeated} repeated, {unknown} unknown", tally.hits.len()).into())
    }

    /// When each event reached the first hook.
    pub(crate) fn arrivals(&self) -> Vec<Option<Instant>> {
        self.lock().arrived.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
