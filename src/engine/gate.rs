//! The gate of one receiver, shared by every hook that posts to it: its pace, its pauses, its breaker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::rules::breaker::{Begun, Breaker, Change, Sign, Terms};
use crate::rules::hook::Hook;
use crate::rules::pace::{self, Pace};
use crate::words::delivery::Why;
use crate::words::verdict::Verdict;

/// The gate of one receiver.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<Receiver>>);

#[derive(Debug, Default)]
struct Receiver {
    pace: Pace,
    breaker: Breaker,
    /// The bells of lanes that the breaker sent away: they need not wait as long as they were told.
    sent_away: Vec<Arc<Notify>>,
}

/// Not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Not before this.
    pub until: Duration,
    /// Which of the three machines says so.
    pub why: Why,
}

/// A permission to send one request through a gate. Whoever lets it fall has sent nothing.
#[derive(Debug)]
pub struct Pass {
    gate: Gate,
    begun: Begun,
    ended: bool,
}

/// What a gate lets through.
#[derive(Debug)]
pub struct Passes {
    first: Pass,
    paced: bool,
    /// Whether there may be more than one.
    pub many: bool,
}

impl Gate {
    fn receiver(&self) -> MutexGuard<'_, Receiver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the receiver once (where nothing counts its uses, as often as is wanted), or says when. The bell is rung
    /// when the breaker lets more through than it did.
    ///
    /// # Errors
    /// When it may be used next.
    pub fn enter(&self, now: Duration, hook: &Hook, bell: Option<&Arc<Notify>>) -> Result<Passes, Wait> {
        let mut receiver = self.receiver();
        let terms = hook.breaker.as_ref();
        if let Some((until, why)) = receiver.pace.paused(now) {
            return Err(Wait { until, why: Why::Pause(why.to_owned()) });
        }
        // A hook without a breaker goes where it likes, and what becomes of it is not counted against the others.
        let begun = match terms {
            Some(terms) => receiver
                .breaker
                .begin(now, terms)
                .map_err(|broken| Wait { until: broken.until, why: Why::Breaker(broken.why) }),
            None => Ok(Begun::default()),
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(wait) => {
                if let Some(bell) = bell
                    && !receiver.sent_away.iter().any(|known| Arc::ptr_eq(known, bell))
                {
                    receiver.sent_away.push(bell.clone());
                }
                return Err(wait);
            }
        };
        if let Err(pace::Wait { until, paused }) = receiver.pace.take(now, hook.pace) {
            receiver.breaker.take_back(begun);
            return Err(Wait { until, why: paused.map_or(Why::Pace, Why::Pause) });
        }
        let many = hook.pace.is_none() && (terms.is_none() || receiver.breaker.is_closed());
        drop(receiver);
        let first = Pass { gate: self.clone(), begun, ended: false };
        Ok(Passes { first, paced: hook.pace.is_some(), many })
    }

    /// Uses the receiver once for a person who wants to see what it says, whatever its breaker thinks.
    ///
    /// # Errors
    /// When it may be used next.
    pub fn try_out(&self, now: Duration, hook: &Hook) -> Result<(), Wait> {
        self.receiver()
            .pace
            .take(now, hook.pace)
            .map_err(|wait| Wait { until: wait.until, why: wait.paused.map_or(Why::Pace, Why::Pause) })
    }

    /// It was used then, before this daemon started, and the attempt ended so.
    pub fn recall(&self, at: Duration, hook: &Hook, verdict: &str, why: &str) {
        let mut receiver = self.receiver();
        if hook.pace.is_some() {
            receiver.pace.used(at);
        }
        let sign = if verdict == "retry" { Sign::Failed(why.to_owned(), None) } else { Sign::Alive };
        if let Some(terms) = &hook.breaker
            && let Ok(begun) = receiver.breaker.begin(at, terms)
        {
            receiver.breaker.end(at, begun, &sign, Some(terms));
        }
    }

    /// Closes it for a while.
    pub fn pause(&self, until: Duration, why: &str) {
        self.receiver().pace.pause(until, why);
    }

    /// What closes it for longer than the pace does: until when, and the pause or the breaker.
    pub fn closed(&self, now: Duration) -> Option<(Duration, Why)> {
        let receiver = self.receiver();
        let paused = receiver.pace.paused(now).map(|(until, why)| (until, Why::Pause(why.to_owned())));
        paused.or_else(|| receiver.breaker.open(now).map(|(until, why)| (until, Why::Breaker(why.to_owned()))))
    }

    /// What keeps a hook from using it now: a pause, the breaker, or the hook's own pace.
    pub fn shut(&self, now: Duration, hook: &Hook) -> Option<(Duration, Why)> {
        let closed = self.closed(now).filter(|(_, why)| hook.breaker.is_some() || !matches!(why, Why::Breaker(_)));
        closed.or_else(|| self.receiver().pace.full(now, hook.pace).map(|until| (until, Why::Pace)))
    }

    /// Lets the next request be the probe of an open breaker, now. Answers whether it was open.
    pub fn hurry(&self, now: Duration) -> bool {
        let mut receiver = self.receiver();
        let was_open = receiver.breaker.hurry(now);
        if was_open {
            receiver.sent_away.drain(..).for_each(|bell| bell.notify_one());
        }
        was_open
    }

    /// Whether forgetting it would change nothing.
    pub fn is_idle(&self, now: Duration) -> bool {
        let receiver = self.receiver();
        Arc::strong_count(&self.0) == 1 && receiver.pace.is_idle(now) && receiver.breaker.is_calm()
    }
}

impl Passes {
    /// One.
    pub fn single(self) -> Pass {
        self.first
    }

    /// None after all: what was taken is given back.
    pub fn none(self) -> Option<Pass> {
        if self.paced {
            self.first.gate.receiver().pace.give_back();
        }
        None
    }

    /// As many as were asked for.
    pub fn take(self, count: usize) -> Vec<Pass> {
        if count == 0 {
            return self.none().into_iter().collect();
        }
        let Self { first, .. } = self;
        let more = (1..count).map(|_| Pass { gate: first.gate.clone(), begun: first.begun, ended: false });
        let mut passes: Vec<_> = more.collect();
        passes.push(first);
        passes
    }
}

impl Pass {
    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The request was answered, or was not: tells the breaker, and wakes who waits for it.
    pub fn end(mut self, now: Duration, verdict: &Verdict, terms: Option<&Terms>) -> Option<Change> {
        self.ended = true;
        let mut receiver = self.gate.receiver();
        let change = match verdict {
            // The usual case makes no words.
            Verdict::Delivered => receiver.breaker.end(now, self.begun, &Sign::Alive, terms),
            other => receiver.breaker.end(now, self.begun, &Sign::from(other), terms),
        };
        if matches!(change, Some(Change::Eased | Change::Closed)) {
            receiver.sent_away.drain(..).for_each(|bell| bell.notify_one());
        }
        change
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.ended {
            self.gate.receiver().breaker.take_back(self.begun);
        }
    }
}
