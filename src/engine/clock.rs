//! The two clocks: the one on the wall, which may be set, and the one that only counts.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::rules::backoff;
use crate::words::limits;

/// The time, for everything below the engine, which reads none itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// The time on the wall when it was started, where the wall's clock is simulated.
    wall: Option<Timestamp>,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { started: Instant::now(), wall: None }
    }

    /// A clock whose wall shows `wall` now and goes on with the runtime's time, which a test may pause and wind.
    pub fn simulated(wall: Timestamp) -> Self {
        Self { started: Instant::now(), wall: Some(wall) }
    }

    /// The time on the wall: due times, signatures, logs.
    pub fn now(&self) -> Timestamp {
        match self.wall {
            None => Timestamp::now(),
            Some(wall) => backoff::later(wall, self.started.elapsed()),
        }
    }

    /// Time that is never set: pace and pauses. It counts from a day before the start, so that what was sent before a
    /// restart has its time too.
    pub fn elapsed(&self) -> Duration {
        limits::PACE_WINDOW_LONGEST + self.started.elapsed()
    }

    /// When a time on the wall will be, at most `cap` away: a clock that is set must be noticed.
    pub fn until(&self, at: Timestamp, cap: Duration) -> Instant {
        let wait = at.duration_since(self.now());
        let wait = if wait.is_negative() { Duration::ZERO } else { wait.unsigned_abs() };
        Instant::now() + wait.min(cap)
    }

    /// When a count will be reached, at most `cap` away.
    pub fn reaches(&self, at: Duration, cap: Duration) -> Instant {
        Instant::now() + at.saturating_sub(self.elapsed()).min(cap)
    }
}
