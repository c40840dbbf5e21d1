//! The two clocks: the one on the wall, which may be set, and the one that only counts.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The time, for everything below the engine, which reads none itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The time on the wall: due times, signatures, logs.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Time since the start, never set: pace and pauses.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
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
