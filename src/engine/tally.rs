//! What is counted while events come and deliveries go, for `/metrics` and the history in `status`. Counting locks
//! nothing: it is done for each delivery.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::edges::intake::Code;
use crate::words::delivery::Outcome;
use crate::words::limits;
use crate::words::tally::{History, Times};
use crate::words::verdict::Verdict;

/// The words of `Verdict`.
pub const VERDICTS: [&str; 5] = ["delivered", "retry", "pause", "hold", "reject"];
/// Classes of an answer's status; `none` where no answer came.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// How deliveries end.
pub const ENDS: [&str; 3] = ["delivered", "dead", "dropped"];

/// What came of the deliveries of one hook since the start.
#[derive(Debug)]
pub struct Tally {
    /// One for each of `ENDS`.
    pub ends: [AtomicU64; ENDS.len()],
    /// By verdict and class.
    pub attempts: [[AtomicU64; CLASSES.len()]; VERDICTS.len()],
    /// How long attempts took.
    pub took: Times,
    /// Attempts lately: whether they delivered.
    pub history: History,
}

impl Default for Tally {
    fn default() -> Self {
        let (ends, attempts) = Default::default();
        Self { ends, attempts, took: Times::new(&limits::ATTEMPT_TIMES), history: History::default() }
    }
}

impl Tally {
    /// An attempt was made; `now` is `Clock::elapsed`.
    pub fn attempted(&self, verdict: &Verdict, status: Option<u16>, took: Duration, now: Duration) {
        let class = status.map_or(0, |status| usize::from(status / 100).clamp(1, 5));
        if let Some(verdict) = VERDICTS.iter().position(|word| *word == verdict.word()) {
            self.attempts[verdict][class].fetch_add(1, Ordering::Relaxed);
        }
        self.took.note(took);
        self.history.note(part(now), *verdict == Verdict::Delivered);
    }

    /// What became of a delivery is on disk.
    pub fn ended(&self, outcome: &'static str) {
        if let Some(place) = ENDS.iter().position(|word| *word == outcome) {
            self.ends[place].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The part of a history that it is now.
pub fn part(now: Duration) -> u64 {
    now.as_secs() / limits::HISTORY_PART.as_secs()
}

/// What came of everything since the start.
#[derive(Debug)]
pub struct Totals {
    /// By reason: what senders were told.
    refused: [AtomicU64; Code::WORDS.len()],
    /// From acceptance to arrival.
    pub ages: Times,
    /// When the configuration in use was read, in seconds of the epoch.
    reloaded: AtomicI64,
}

impl Totals {
    /// Nothing yet.
    pub fn new(now: Timestamp) -> Self {
        let reloaded = AtomicI64::new(now.as_second());
        Self { refused: Default::default(), ages: Times::new(&limits::AGE_TIMES), reloaded }
    }

    /// A sender was told no.
    pub fn refused(&self, code: Code) {
        if let Some(place) = Code::WORDS.iter().position(|word| *word == code.word()) {
            self.refused[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Code::WORDS.into_iter().zip(&self.refused).map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// A new configuration is in use.
    pub fn reloaded(&self, now: Timestamp) {
        self.reloaded.store(now.as_second(), Ordering::Relaxed);
    }

    /// Since when it is.
    pub fn reloaded_at(&self) -> i64 {
        self.reloaded.load(Ordering::Relaxed)
    }
}

/// The word of an outcome that ends a delivery, and nothing for one that waits.
pub fn end(outcome: &Outcome) -> Option<&'static str> {
    Some(outcome.word()).filter(|word| ENDS.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_and_every_status_has_its_place() {
        let tally = Tally::default();
        let why = || "why".to_owned();
        let verdicts = [
            Verdict::Delivered,
            Verdict::retry("why"),
            Verdict::Pause { why: why(), wait: Duration::ZERO },
            Verdict::Hold { why: why() },
            Verdict::Reject { why: why() },
        ];
        for (place, verdict) in verdicts.iter().enumerate() {
            for (class, status) in [None, Some(100), Some(204), Some(302), Some(429), Some(503)].into_iter().enumerate()
            {
                tally.attempted(verdict, status, Duration::from_millis(3), Duration::from_secs(90_000));
                assert_eq!(tally.attempts[place][class].load(Ordering::Relaxed), 1, "{verdict:?} {status:?}");
            }
        }
        // A status that nobody knows is no reason to fall out of the list.
        tally.attempted(&Verdict::Delivered, Some(999), Duration::ZERO, Duration::from_secs(90_000));
        assert_eq!(tally.took.read().count(), 31);
        let now = tally.history.read(part(Duration::from_secs(90_000)));
        assert_eq!(now.last().map(|slot| (slot.good, slot.bad)), Some((7, 24)));
    }

    #[test]
    fn refusals_are_counted_by_their_word() {
        let totals = Totals::new(Timestamp::UNIX_EPOCH);
        totals.refused(Code::Busy);
        totals.refused(Code::Busy);
        totals.refused(Code::Refused(422));
        let counted: Vec<_> = totals.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("refused", 1), ("busy", 2)]);
    }
}
