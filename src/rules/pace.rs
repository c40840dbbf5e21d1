//! How often a receiver may be used: a sliding window that can also be paused.
//!
//! ```text
//! take(now, rate):  paused until later than now?             -> not before then
//!                   rate.count uses within rate.window?      -> not before the oldest of them leaves the window
//!                   rate.burst uses within their share of it
//!                   (window * burst / count)?                -> not before the oldest of them leaves that share
//!                   else note now                            -> go
//! pause(until):     nobody goes before then; a longer pause wins
//! ```
//! The window is that of the receiver, shared by all hooks that post to it; each hook holds it to its own rate, so one
//! may leave room for others. Vendors count in a fixed or a sliding minute and do not say which: never more than N in
//! any window satisfies both. `now` is time since the daemon started, on the clock that is never set.

use std::collections::VecDeque;
use std::time::Duration;

use crate::rules::manifest::Rate;
use crate::words::limits;

/// The uses of one receiver.
#[derive(Debug, Default)]
pub struct Pace {
    used: VecDeque<Duration>,
    paused: Option<(Duration, String)>,
}

/// Not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Not before this.
    pub until: Duration,
    /// The receiver's own word, when it asked for a pause; `None` when the rate says so.
    pub paused: Option<String>,
}

impl Pace {
    /// Uses the receiver once.
    ///
    /// # Errors
    /// When it may be used next; nothing was noted.
    pub fn take(&mut self, now: Duration, rate: Option<Rate>) -> Result<(), Wait> {
        if let Some((until, why)) = &self.paused {
            if now < *until {
                return Err(Wait { until: *until, paused: Some(why.clone()) });
            }
            self.paused = None;
        }
        if let Some(until) = self.full(now, rate) {
            return Err(Wait { until, paused: None });
        }
        if rate.is_some() {
            self.used(now);
        }
        Ok(())
    }

    /// When it may be used next, if not now; nothing is noted.
    pub fn full(&self, now: Duration, rate: Option<Rate>) -> Option<Duration> {
        let rate = rate?;
        let whole = self.free(rate.count, rate.window);
        let until = rate.burst_window().map_or(whole, |(burst, share)| whole.max(self.free(burst, share)));
        (now < until).then_some(until)
    }

    /// When fewer than `count` uses will lie within a window.
    fn free(&self, count: u32, window: Duration) -> Duration {
        let oldest = self.used.len().checked_sub(count as usize).and_then(|index| self.used.get(index));
        oldest.map_or(Duration::ZERO, |oldest| *oldest + window + limits::PACE_MARGIN)
    }

    /// Notes a use of which somebody else keeps the record, such as one before a restart.
    pub fn used(&mut self, at: Duration) {
        let latest = self.used.back().copied().unwrap_or_default();
        self.used.push_back(at.max(latest));
        while self.used.len() > limits::PACE_WINDOW {
            self.used.pop_front();
        }
    }

    /// Takes back the latest use: nothing was sent.
    pub fn give_back(&mut self) {
        self.used.pop_back();
    }

    /// Lets nobody through before `until`.
    pub fn pause(&mut self, until: Duration, why: &str) {
        if self.paused.as_ref().is_none_or(|(current, _)| *current < until) {
            self.paused = Some((until, why.to_owned()));
        }
    }

    /// The pause in force.
    pub fn paused(&self, now: Duration) -> Option<(Duration, &str)> {
        self.paused.as_ref().filter(|(until, _)| now < *until).map(|(until, why)| (*until, why.as_str()))
    }

    /// Whether forgetting it would change nothing.
    pub fn is_idle(&self, now: Duration) -> bool {
        self.paused(now).is_none() && self.used.back().is_none_or(|last| now > *last + limits::RETRY_AFTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_window_slides() {
        let mut pace = Pace::default();
        let rate = Some(Rate::new(2, S(60)));
        assert_eq!(pace.take(S(0), rate), Ok(()));
        assert_eq!(pace.take(S(10), rate), Ok(()));
        let until = S(60) + limits::PACE_MARGIN;
        assert_eq!(pace.take(S(59), rate), Err(Wait { until, paused: None }));
        assert_eq!(pace.take(until, rate), Ok(()));
        assert_eq!(pace.take(until, rate), Err(Wait { until: S(70) + limits::PACE_MARGIN, paused: None }));
    }

    #[test]
    fn a_burst_is_bounded_by_its_share_of_the_window() {
        let mut pace = Pace::default();
        let rate = Some(Rate { burst: Some(2), ..Rate::new(6, S(60)) });
        let margin = limits::PACE_MARGIN;
        // Two at once, then two in each twenty seconds, and six in the minute.
        for (at, wait) in
            [(0, None), (0, None), (1, Some(20)), (21, None), (22, None), (23, Some(41)), (42, None), (43, None)]
        {
            match wait {
                None => assert_eq!(pace.take(S(at), rate), Ok(()), "{at}"),
                Some(until) => {
                    assert_eq!(pace.take(S(at), rate), Err(Wait { until: S(until) + margin, paused: None }), "{at}");
                }
            }
        }
        assert_eq!(pace.take(S(62), rate), Err(Wait { until: S(62) + margin, paused: None }), "the share");
        assert_eq!(pace.take(S(63), rate), Ok(()));
        assert_eq!(pace.take(S(64), rate), Ok(()));
    }

    #[test]
    fn hooks_share_the_window_and_hold_it_to_their_own_rate() {
        let mut pace = Pace::default();
        let (whole, half) = (Some(Rate::new(4, S(60))), Some(Rate::new(2, S(60))));
        for second in 0..2 {
            assert_eq!(pace.take(S(second), half), Ok(()));
        }
        assert!(pace.take(S(2), half).is_err());
        assert_eq!(pace.take(S(2), whole), Ok(()));
        assert_eq!(pace.take(S(3), whole), Ok(()));
        assert!(pace.take(S(4), whole).is_err());
    }

    #[test]
    fn a_pause_closes_the_gate_for_everyone_and_the_longer_one_wins() {
        let mut pace = Pace::default();
        pace.pause(S(600), "muted");
        pace.pause(S(60), "slow");
        let wait = Wait { until: S(600), paused: Some("muted".into()) };
        assert_eq!(pace.take(S(599), None), Err(wait));
        assert_eq!(pace.take(S(600), None), Ok(()));
        assert_eq!(pace.paused(S(600)), None);
    }

    #[test]
    fn uses_before_a_restart_count() {
        let mut pace = Pace::default();
        let rate = Some(Rate::new(2, S(60)));
        pace.used(S(10));
        pace.used(S(5));
        let until = S(70) + limits::PACE_MARGIN;
        assert_eq!(pace.take(S(20), rate), Err(Wait { until, paused: None }));
        assert_eq!(pace.take(until, rate), Ok(()));
    }

    #[test]
    fn what_was_not_sent_is_given_back() {
        let mut pace = Pace::default();
        let rate = Some(Rate::new(1, S(60)));
        assert_eq!(pace.take(S(0), rate), Ok(()));
        pace.give_back();
        assert_eq!(pace.take(S(0), rate), Ok(()));
    }

    proptest! {
        /// Whoever asks whenever: no window ever holds more than its count.
        #[test]
        fn never_more_than_the_count_in_any_window(steps in prop::collection::vec(0u64..20_000, 1..200), count in 1u32..10, burst in 1u32..10) {
            let rate = Rate { burst: (burst <= count).then_some(burst), ..Rate::new(count, S(10)) };
            let mut pace = Pace::default();
            let mut now = Duration::ZERO;
            let mut went = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                match pace.take(now, Some(rate)) {
                    Ok(()) => went.push(now),
                    Err(wait) => prop_assert!(wait.until > now),
                }
            }
            for (index, first) in went.iter().enumerate() {
                let inside = went[index..].iter().filter(|at| **at < *first + rate.window).count();
                prop_assert!(inside <= count as usize);
                if let Some((burst, share)) = rate.burst_window() {
                    let inside = went[index..].iter().filter(|at| **at < *first + share).count();
                    prop_assert!(inside <= burst as usize);
                }
            }
        }
    }
}
