//! How often the same trouble is told: at once the first time, then what came since, once in a while.
//!
//! ```text
//! note(now, what):  nothing was told of it within EVERY -> tell it now (count 1)
//!                   else                                -> keep it; the latest one speaks for all
//! due(now):         everything kept whose last telling is EVERY ago -> tell it (count: how many came since)
//!                   nothing was kept for as long                    -> forget it
//! ```
//! A thousand dead letters in a minute are two events: one when it begins, one that says how many there were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What is kept of each kind of trouble, by its name.
#[derive(Debug)]
pub struct Repeats<T> {
    every: Duration,
    known: BTreeMap<Arc<str>, Known<T>>,
}

#[derive(Debug)]
struct Known<T> {
    told: Duration,
    since: Option<(u64, T)>,
}

impl<T> Repeats<T> {
    /// One that tells the same no oftener than this.
    pub fn new(every: Duration) -> Self {
        Self { every, known: BTreeMap::new() }
    }

    /// Takes one; gives it back when it is to be told at once.
    pub fn note(&mut self, now: Duration, name: &Arc<str>, what: T) -> Option<T> {
        match self.known.get_mut(name) {
            Some(known) if now < known.told + self.every || known.since.is_some() => {
                let count = known.since.as_ref().map_or(0, |(count, _)| *count) + 1;
                known.since = Some((count, what));
                None
            }
            _ => {
                self.known.insert(name.clone(), Known { told: now, since: None });
                Some(what)
            }
        }
    }

    /// What is to be told now, each with how many there were.
    pub fn due(&mut self, now: Duration) -> Vec<(u64, T)> {
        let every = self.every;
        let mut due = Vec::new();
        self.known.retain(|_, known| {
            if now < known.told + every {
                return true;
            }
            known.told = now;
            let told = known.since.take();
            let more = told.is_some();
            due.extend(told);
            more
        });
        due
    }

    /// Everything that was kept, whether due or not.
    pub fn rest(&mut self) -> Vec<(u64, T)> {
        self.known.values_mut().filter_map(|known| known.since.take()).collect()
    }

    /// When something may be due next.
    pub fn next(&self) -> Option<Duration> {
        self.known.values().map(|known| known.told + self.every).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_counted() {
        let mut repeats = Repeats::new(S(60));
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(repeats.next(), None);
        // Second, whose, and what is told at once; or what is due then.
        enum Do {
            Note(&'static str, Option<u32>),
            Due(&'static [(u64, u32)]),
        }
        use Do::{Due, Note};
        let story = [
            (0, Note("a", Some(0))),
            (1, Note("a", None)),
            (2, Note("b", Some(2))),
            (3, Note("a", None)),
            (59, Due(&[])),
            (60, Due(&[(2, 3)])),
            (61, Note("a", None)),
            // Nothing came of b for as long: the next is news again.
            (62, Due(&[])),
            (63, Note("b", Some(8))),
            (119, Note("a", None)),
            (125, Due(&[(2, 9)])),
            (185, Due(&[])),
            (186, Note("a", Some(12))),
        ];
        for (line, (second, what)) in (0_u32..).zip(story) {
            match what {
                Note(name, told) => {
                    let name = if name == "a" { &a } else { &b };
                    assert_eq!(repeats.note(S(second), name, line), told, "line {line}");
                }
                Due(due) => assert_eq!(repeats.due(S(second)), due, "line {line}"),
            }
        }
        assert_eq!(repeats.note(S(187), &a, 99), None);
        assert_eq!(repeats.next(), Some(S(246)));
        assert_eq!(repeats.rest(), [(1, 99)]);
        assert_eq!(repeats.rest(), []);
    }
}
