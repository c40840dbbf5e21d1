//! The tally: which delivery has arrived, when, and whether everything has, each exactly once.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Fallible;

/// Times from emit to arrival, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Shared by the sink, which writes, and the runner, which waits.
#[derive(Default)]
pub(crate) struct Board {
    tally: Mutex<Tally>,
    complete: Condvar,
    /// While set, the sink refuses everything as a receiver does whose key was revoked, and counts nothing.
    pub(crate) refuses: AtomicBool,
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
    first: Option<Instant>,
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
        tally.first.get_or_insert(now);
        tally.distinct += 1;
        if hook == 0 {
            tally.arrived[seq] = Some(now);
        }
        if tally.distinct == tally.hits.len() {
            tally.done = Some(now);
            self.complete.notify_all();
        }
    }

    /// Waits until everything has arrived, as long as a thousand per second do; says when the last one did.
    pub(crate) fn complete(&self) -> Fallible<Instant> {
        let tally = self.lock();
        let patience = Duration::from_secs(60 + tally.hits.len() as u64 / 1000);
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

    /// When the first delivery arrived.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.lock().first
    }

    /// How long after these times the events arrived.
    pub(crate) fn latency(&self, times: &[Instant]) -> Fallible<Latency> {
        let mut took = Vec::new();
        for (due, arrived) in times.iter().zip(&self.lock().arrived) {
            let arrived = arrived.ok_or("a counted delivery has no time")?;
            took.push(arrived.saturating_duration_since(*due).as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        let last = took.len().checked_sub(1).ok_or("nothing was timed")?;
        let at = |percent: usize| took[last * percent / 100];
        Ok(Latency { p50: at(50), p99: at(99) })
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
