//! Requests that name neither an id nor a time: the same one counts as new after a while.
//!
//! ```text
//! id(source, base, window, now):
//!     known and now is before first + window  → the id of the first time
//!     else first := now                       → base-N, N = the number of the window that now lies in
//! ```
//! Two windows that begin at least `window` apart have different numbers, so ids do not collide. After a restart the journal
//! still knows the id of the same number; for the border between two numbers it is asked what it accepted lately.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::words::limits;

/// What was seen lately.
#[derive(Debug, Default)]
pub struct Replays {
    seen: HashMap<(String, String), (Timestamp, String)>,
    /// In the order in which they were first seen, so that the oldest makes room.
    order: VecDeque<((String, String), Timestamp)>,
}

impl Replays {
    /// The id of what a source calls `base` now.
    pub fn id(&mut self, source: &str, base: &str, window: Duration, now: Timestamp) -> String {
        let key = (source.to_owned(), base.to_owned());
        if let Some((first, id)) = self.seen.get(&key)
            && (0..=window.as_millis() as i128 - 1)
                .contains(&(now.as_millisecond() as i128 - first.as_millisecond() as i128))
        {
            return id.clone();
        }
        let number = (now.as_millisecond() as i128).div_euclid((window.as_millis() as i128).max(1));
        let id = format!("{base}-{number}");
        self.remember(key, now, id.clone());
        id
    }

    /// Takes in an id that was given out before a restart, and when. Others are none of ours.
    pub fn recall(&mut self, source: &str, id: &str, first: Timestamp) {
        if let Some((base, number)) = id.rsplit_once('-')
            && number.parse::<i128>().is_ok()
        {
            self.remember((source.to_owned(), base.to_owned()), first, id.to_owned());
        }
    }

    fn remember(&mut self, key: (String, String), first: Timestamp, id: String) {
        self.seen.insert(key.clone(), (first, id));
        self.order.push_back((key, first));
        while self.order.len() > limits::REPLAYS {
            if let Some((oldest, since)) = self.order.pop_front()
                && self.seen.get(&oldest).is_some_and(|(first, _)| *first == since)
            {
                self.seen.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_same_within_the_window_is_a_repeat_wherever_the_window_begins() {
        for start in 0..1200 {
            let mut replays = Replays::default();
            let first = replays.id("s", "x", WINDOW, at(start));
            assert_eq!(replays.id("s", "x", WINDOW, at(start + 599)), first, "{start}");
            let second = replays.id("s", "x", WINDOW, at(start + 600));
            assert_ne!(second, first, "{start}");
            assert_eq!(replays.id("s", "x", WINDOW, at(start + 1199)), second, "{start}");
            assert_ne!(replays.id("s", "y", WINDOW, at(start)), first);
        }
    }

    #[test]
    fn what_was_accepted_before_a_restart_is_a_repeat_on_both_sides_of_a_border() {
        // 1,700,000,400 is a border.
        let mut before = Replays::default();
        let first = before.id("s", "x-y", WINDOW, at(390));
        let mut after = Replays::default();
        assert_ne!(after.id("s", "x-y", WINDOW, at(410)), first, "the number alone tells nothing");
        let mut after = Replays::default();
        for (source, id) in [("s", first.as_str()), ("s", "of-a-vendor"), ("other", &first)] {
            after.recall(source, id, at(390));
        }
        assert_eq!(after.id("s", "x-y", WINDOW, at(410)), first);
        assert_ne!(after.id("s", "x-y", WINDOW, at(990)), first);
        assert_ne!(after.id("s", "of-a", WINDOW, at(410)), "of-a-vendor");
    }

    #[test]
    fn after_a_restart_the_number_of_the_window_still_tells() {
        let id = |seconds| Replays::default().id("s", "x", WINDOW, at(seconds));
        // 1700000000 lies 200 s into its window.
        assert_eq!(id(0), id(399));
        assert_ne!(id(0), id(400));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut replays = Replays::default();
        for number in 0..limits::REPLAYS + 10 {
            replays.id("s", &number.to_string(), WINDOW, at(0));
        }
        assert_eq!((replays.seen.len(), replays.order.len()), (limits::REPLAYS, limits::REPLAYS));
        assert!(!replays.seen.contains_key(&("s".into(), "9".into())));
        assert!(replays.seen.contains_key(&("s".into(), "10".into())));
    }
}
