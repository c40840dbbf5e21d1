//! How many in how long: windows over a clock that is handed in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::words::limits;

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many are let through.
    pub count: u32,
    /// In how long.
    pub window: Duration,
    /// Where the window begins.
    pub kind: WindowKind,
}

/// Where a window begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// At the full minute (or whatever the window's length is) of the clock.
    Fixed,
    /// One length before now.
    Sliding,
}

impl Limit {
    /// A sliding limit.
    pub const fn sliding(count: u32, window: Duration) -> Self {
        Self { count, window, kind: WindowKind::Sliding }
    }

    /// A limit whose window begins at full multiples of its length.
    pub const fn fixed(count: u32, window: Duration) -> Self {
        Self { count, window, kind: WindowKind::Fixed }
    }
}

/// One limit at work. What it refuses is not charged, so it never holds more than `count` times.
#[derive(Debug)]
pub(super) struct Window {
    limit: Limit,
    hits: VecDeque<Timestamp>,
}

impl Window {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, hits: VecDeque::new() }
    }

    pub(super) fn full(&mut self, now: Timestamp) -> bool {
        while self.hits.front().is_some_and(|hit| !self.counts(*hit, now)) {
            self.hits.pop_front();
        }
        self.is_full()
    }

    /// The same without forgetting what is over.
    pub(super) fn is_full(&self) -> bool {
        self.hits.len() >= self.limit.count as usize
    }

    pub(super) fn charge(&mut self, now: Timestamp) {
        self.hits.push_back(now);
    }

    /// Until when it stays full, if nothing else comes.
    pub(super) fn free_at(&self, now: Timestamp) -> Timestamp {
        match (self.limit.kind, self.hits.front()) {
            (WindowKind::Sliding, Some(first)) => after(*first, self.limit.window),
            (WindowKind::Fixed, Some(_)) => {
                let length = millis(self.limit.window);
                let next = (now.as_millisecond().div_euclid(length) + 1) * length;
                Timestamp::from_millisecond(next).unwrap_or(Timestamp::MAX)
            }
            (_, None) => now,
        }
    }

    /// How many it takes, how many more it takes now, and when it takes more.
    pub(super) fn announced(&mut self, now: Timestamp) -> (u32, u32, Timestamp) {
        self.full(now);
        let taken = u32::try_from(self.hits.len()).unwrap_or(u32::MAX);
        (self.limit.count, self.limit.count.saturating_sub(taken), self.free_at(now))
    }

    fn counts(&self, hit: Timestamp, now: Timestamp) -> bool {
        let length = millis(self.limit.window);
        match self.limit.kind {
            WindowKind::Sliding => now.as_millisecond() - hit.as_millisecond() < length,
            WindowKind::Fixed => hit.as_millisecond().div_euclid(length) == now.as_millisecond().div_euclid(length),
        }
    }
}

/// The gate in front of all robots of a platform: it counts calls by address, and closes for a while.
#[derive(Debug)]
pub(super) struct Gate {
    limit: Limit,
    ban: Duration,
    windows: HashMap<IpAddr, Window>,
    banned: HashMap<IpAddr, Timestamp>,
}

impl Gate {
    pub(super) fn new(limit: Limit, ban: Duration) -> Self {
        Self { limit, ban, windows: HashMap::new(), banned: HashMap::new() }
    }

    /// Whether a call from this address gets through.
    pub(super) fn lets_in(&mut self, ip: IpAddr, now: Timestamp) -> bool {
        if self.banned.get(&ip).is_some_and(|until| now < *until) {
            return false;
        }
        if self.windows.len() >= limits::SINK_BOTS && !self.windows.contains_key(&ip) {
            self.windows.clear();
        }
        let window = self.windows.entry(ip).or_insert_with(|| Window::new(self.limit));
        if window.full(now) {
            self.banned.retain(|_, until| now < *until);
            self.banned.insert(ip, after(now, self.ban));
            return false;
        }
        window.charge(now);
        true
    }
}

/// `now` and so much later.
pub(super) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

fn millis(window: Duration) -> i64 {
    i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Seconds at which a call got through.
    fn passed(limit: Limit, calls: &[i64]) -> Vec<i64> {
        let mut window = Window::new(limit);
        let mut passed = Vec::new();
        for second in calls {
            if !window.full(at(*second)) {
                window.charge(at(*second));
                passed.push(*second);
            }
        }
        passed
    }

    #[test]
    fn a_fixed_window_starts_anew_at_the_full_minute() {
        assert_eq!(passed(Limit::fixed(2, MINUTE), &[58, 59, 59, 60, 61, 62]), [58, 59, 60, 61]);
    }

    #[test]
    fn a_sliding_window_looks_one_length_back() {
        assert_eq!(passed(Limit::sliding(2, MINUTE), &[58, 59, 60, 117, 118, 119, 120]), [58, 59, 118, 119]);
    }

    #[test]
    fn a_full_window_says_when_it_opens() {
        let mut sliding = Window::new(Limit::sliding(1, MINUTE));
        sliding.charge(at(90));
        assert_eq!(sliding.free_at(at(100)), at(150));
        let mut fixed = Window::new(Limit::fixed(1, MINUTE));
        fixed.charge(at(90));
        assert_eq!(fixed.free_at(at(100)), at(120));
    }

    #[test]
    fn the_gate_closes_for_one_address_only() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut gate = Gate::new(Limit::sliding(2, Duration::from_secs(20)), Duration::from_secs(300));
        assert!(gate.lets_in(a, at(0)) && gate.lets_in(a, at(0)));
        assert!(!gate.lets_in(a, at(1)));
        assert!(gate.lets_in(b, at(1)));
        assert!(!gate.lets_in(a, at(300)));
        assert!(gate.lets_in(a, at(301)));
    }
}
