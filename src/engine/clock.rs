//! The clocks: the one on the wall, which may be set, and those that only count.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::rules::backoff;
use crate::words::limits;

/// The time, for everything below the engine, which reads none itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// What counts also while the machine sleeps, at the start.
    booted: Duration,
    /// What the wall showed then.
    wall: Timestamp,
    simulation: Simulation,
}

/// Where the time comes from, in a test.
#[derive(Clone, Copy, Debug)]
enum Simulation {
    No,
    Yes,
    /// By so many seconds the wall's clock was set.
    Set(&'static AtomicI64),
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        let wall = Timestamp::now();
        Self { started: Instant::now(), booted: since_boot(), wall, simulation: Simulation::No }
    }

    /// A clock whose wall shows `wall` now and goes on with the runtime's time, which a test may pause and wind.
    pub fn simulated(wall: Timestamp) -> Self {
        Self { simulation: Simulation::Yes, wall, ..Self::start() }
    }

    /// The same, with somebody who sets the clock on the wall: by so many seconds against what it would show.
    pub fn simulated_and_set(wall: Timestamp, set: &'static AtomicI64) -> Self {
        Self { simulation: Simulation::Set(set), wall, ..Self::start() }
    }

    /// The time on the wall: signatures, logs, what receivers say about dates.
    pub fn now(&self) -> Timestamp {
        match self.simulation {
            Simulation::No => Timestamp::now(),
            Simulation::Yes => self.steady(),
            Simulation::Set(by) => {
                let set = SignedDuration::from_secs(by.load(Ordering::Relaxed));
                self.steady().checked_add(set).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// What the wall would show had nobody set it since the start: due times and ages are counted on it, so that a
    /// clock that is set makes nothing wait a day longer, and sends nothing too early.
    pub fn steady(&self) -> Timestamp {
        let passed = match self.simulation {
            Simulation::No => since_boot().saturating_sub(self.booted),
            _ => self.started.elapsed(),
        };
        backoff::later(self.wall, passed)
    }

    /// Time that is never set: pace and pauses. It counts from a day before the start, so that what was sent before a
    /// restart has its time too.
    pub fn elapsed(&self) -> Duration {
        limits::PACE_WINDOW_LONGEST + self.started.elapsed()
    }

    /// When a steady time will be, at most `cap` away: a machine that slept must be noticed.
    pub fn until(&self, at: Timestamp, cap: Duration) -> Instant {
        let wait = at.duration_since(self.steady());
        let wait = if wait.is_negative() { Duration::ZERO } else { wait.unsigned_abs() };
        Instant::now() + wait.min(cap)
    }

    /// When a count will be reached, at most `cap` away.
    pub fn reaches(&self, at: Duration, cap: Duration) -> Instant {
        Instant::now() + at.saturating_sub(self.elapsed()).min(cap)
    }
}

/// Counts on while the machine sleeps, and is never set.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_sets_the_wall_does_not_set_what_is_due() {
        static SET: AtomicI64 = AtomicI64::new(0);
        let dawn = Timestamp::from_second(1_700_000_000).expect("a time");
        let clock = Clock::simulated_and_set(dawn, &SET);
        tokio::time::advance(Duration::from_secs(60)).await;
        for step in [-86_400, -3_600, 3_600, 365 * 86_400] {
            SET.store(step, Ordering::Relaxed);
            assert_eq!(clock.now().as_second(), 1_700_000_060 + step);
            assert_eq!(clock.steady().as_second(), 1_700_000_060);
            let due = backoff::later(clock.steady(), Duration::from_secs(5));
            assert_eq!(clock.until(due, Duration::from_secs(60)), Instant::now() + Duration::from_secs(5));
        }
    }

    #[test]
    fn the_steady_clock_shows_what_the_wall_does_while_nobody_sets_it() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(20));
        let apart = clock.now().duration_since(clock.steady()).abs();
        assert!(apart < SignedDuration::from_millis(10), "{apart}");
    }
}
