//! Counts that many may raise at once, for whoever looks at them now and then. Nobody waits for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often something took how long.
#[derive(Debug)]
pub struct Times {
    bounds: &'static [Duration],
    /// One for each bound, and one for what took longer than all of them.
    counts: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Times {
    /// None yet; the bounds are in rising order.
    pub fn new(bounds: &'static [Duration]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, micros: AtomicU64::new(0) }
    }

    /// It took so long once more.
    pub fn note(&self, took: Duration) {
        let place = self.bounds.partition_point(|bound| *bound < took);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was noted until now.
    pub fn read(&self) -> Spread {
        Spread {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

/// How `Times` stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Upper bounds, in rising order.
    pub bounds: &'static [Duration],
    /// How many were within each bound and beyond the one before; the last is beyond all.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

impl Spread {
    /// Of nothing.
    pub fn none(bounds: &'static [Duration]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: Duration::ZERO }
    }

    /// Adds another one with the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// How many in all.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Parts that `History` is made of.
pub const SLOTS: usize = 20;

/// What happened lately, in parts of equal length. A part is one number: which part of time it is (24 bits), how much
/// went well and how much did not (20 bits each), so that nobody ever sees half of a change.
#[derive(Debug, Default)]
pub struct History {
    slots: [AtomicU64; SLOTS],
}

/// The largest count of a part; more than that is not told apart.
const MOST: u64 = (1 << 20) - 1;

/// One part of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// What went well.
    pub good: u64,
    /// What did not.
    pub bad: u64,
}

impl History {
    /// Something went well, or not, in this part of time.
    pub fn note(&self, part: u64, good: bool) {
        let stamp = stamp(part);
        let changed = |old: u64| {
            let slot = if old >> 40 == stamp { unpack(old) } else { Slot::default() };
            let (more_good, more_bad) = if good { (1, 0) } else { (0, 1) };
            Some(stamp << 40 | (slot.good + more_good).min(MOST) << 20 | (slot.bad + more_bad).min(MOST))
        };
        let slot = &self.slots[place(part)];
        // It never refuses.
        let _before = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }

    /// The parts until this one, the oldest first.
    pub fn read(&self, part: u64) -> Vec<Slot> {
        let first = (part + 1).saturating_sub(SLOTS as u64);
        (first..=part)
            .map(|part| {
                let found = self.slots[place(part)].load(Ordering::Relaxed);
                if found >> 40 == stamp(part) { unpack(found) } else { Slot::default() }
            })
            .collect()
    }
}

/// Never 0, which is how a slot begins.
fn stamp(part: u64) -> u64 {
    part % ((1 << 24) - 1) + 1
}

fn place(part: u64) -> usize {
    (part % SLOTS as u64) as usize
}

fn unpack(slot: u64) -> Slot {
    Slot { good: slot >> 20 & MOST, bad: slot & MOST }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[Duration] = &[Duration::from_millis(10), Duration::from_millis(100)];

    #[test]
    fn times_fall_between_their_bounds() {
        let times = Times::new(BOUNDS);
        for millis in [1, 10, 11, 100, 101, 5000] {
            times.note(Duration::from_millis(millis));
        }
        let mut spread = times.read();
        assert_eq!((spread.counts.as_slice(), spread.count()), (&[2, 2, 2][..], 6));
        assert_eq!(spread.sum, Duration::from_millis(5223));
        spread.add(&times.read());
        assert_eq!((spread.counts.as_slice(), spread.sum), (&[4, 4, 4][..], Duration::from_millis(10446)));
        assert_eq!(Spread::none(BOUNDS).count(), 0);
    }

    #[test]
    fn a_history_forgets_what_is_long_ago() {
        let history = History::default();
        assert_eq!(history.read(3), [Slot::default(); 4]);
        history.note(3, true);
        history.note(3, true);
        history.note(4, false);
        assert_eq!(history.read(4)[3..], [Slot { good: 2, bad: 0 }, Slot { good: 0, bad: 1 }]);
        let later = 3 + SLOTS as u64;
        assert_eq!(history.read(later)[0], Slot { good: 0, bad: 1 }, "the first of them is over");
        history.note(later, true);
        let read = history.read(later);
        assert_eq!((read.len(), read[0], read[SLOTS - 1]), (SLOTS, Slot { good: 0, bad: 1 }, Slot { good: 1, bad: 0 }));
        assert_eq!(history.read(later + 500), [Slot::default(); SLOTS]);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let (history, times) = (History::default(), Times::new(BOUNDS));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (history, times) = (&history, &times);
                scope.spawn(move || {
                    (0..1000).for_each(|_| {
                        history.note(7, thread % 2 == 0);
                        times.note(Duration::from_millis(50));
                    });
                });
            }
        });
        assert_eq!(history.read(7)[7], Slot { good: 2000, bad: 2000 });
        assert_eq!(times.read().counts, [0, 4000, 0]);
    }
}
