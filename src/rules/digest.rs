//! Which deliveries of a hook go in one message.
//!
//! ```text
//! when is true                         -> together: all that is due, at most `max`
//! there is a window, and
//!   the oldest is as old, or max wait,
//!   or somebody hurries, or the next
//!   has waited so before               -> together
//!   else                               -> wait until the oldest is as old
//! else                                 -> one
//! a message was refused                -> its deliveries go on in halves, and no others with them,
//!                                         until they have arrived or the one that is to blame is alone
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::rules::backoff;
use crate::rules::settings::Retry;
use crate::words::delivery::{Delivery, Outcome, Why};
use crate::words::limits;
use crate::words::verdict::Verdict;

/// What a hook says of it, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Whether its `when` is true.
    pub when: bool,
    /// How long the oldest waits for company.
    pub window: Option<Duration>,
    /// So many go in one message.
    pub max: usize,
}

/// What is to be done with what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The next one goes by itself.
    One,
    /// The next so many go in one message.
    Together(usize),
    /// Nothing goes before this is over.
    Wait(Duration),
}

/// Plans the next message. `waiting` deliveries are due, of which the oldest has this age; `hurried`: somebody does not
/// want to wait for company.
pub fn plan(terms: Terms, waiting: usize, oldest: Duration, hurried: bool) -> Plan {
    let all = Plan::Together(waiting.min(terms.max));
    match terms.window {
        _ if terms.when => all,
        None => Plan::One,
        Some(window) if hurried || oldest >= window || waiting >= terms.max => all,
        Some(window) => Plan::Wait(window - oldest),
    }
}

/// What one attempt leads to for each delivery that went in it: its new count of attempts and its outcome.
///
/// Each is as if it had gone by itself, with two exceptions: those that are tried again are at the same time, so that they
/// can go together again; and a refusal of several says nothing of each, so that none is given up for it.
pub fn outcomes(
    verdict: &Verdict,
    retry: &Retry,
    deliveries: &[Delivery],
    now: Timestamp,
    jitter: f64,
) -> Vec<(u32, Outcome)> {
    if matches!(verdict, Verdict::Reject { .. }) && deliveries.len() > 1 {
        let again = |one: &Delivery| (one.attempts, Outcome::Waiting { until: one.due, why: Why::Turn });
        return deliveries.iter().map(again).collect();
    }
    let mut together = None;
    let outcome = |one: &Delivery| {
        let (attempts, outcome) = backoff::next(verdict, retry, one.created, one.attempts, now, jitter);
        match outcome {
            Outcome::Waiting { until, why } => {
                (attempts, Outcome::Waiting { until: *together.get_or_insert(until), why })
            }
            ended => (attempts, ended),
        }
    };
    deliveries.iter().map(outcome).collect()
}

/// Deliveries that were refused together, by their numbers: how many of them may go in one message now.
#[derive(Debug, Default)]
pub struct Apart(BTreeMap<i64, usize>);

impl Apart {
    /// Which of these go in one message, by their places; the first always does. Each is given with whether it goes alone
    /// whatever happens.
    pub fn choose(&self, due: &[(i64, bool)], max: usize) -> Vec<usize> {
        let Some((first, alone)) = due.first() else { return Vec::new() };
        if *alone {
            return vec![0];
        }
        let group = self.0.get(first);
        let of_group = |(seq, alone): &(i64, bool)| !alone && self.0.get(seq) == group;
        let places = due.iter().enumerate().filter(|(_, one)| of_group(one)).map(|(place, _)| place);
        places.take(group.copied().unwrap_or(max).min(max)).collect()
    }

    /// A message with these was refused: which of them is to blame is not known.
    pub fn refused(&mut self, seqs: &[i64]) {
        if self.0.len() + seqs.len() > limits::DIGEST_APART {
            self.0.clear();
        }
        let half = (seqs.len() / 2).max(1);
        self.0.extend(seqs.iter().map(|seq| (*seq, half)));
    }

    /// Whether it was refused with others.
    pub fn has(&self, seq: i64) -> bool {
        self.0.contains_key(&seq)
    }

    /// It came to an end.
    pub fn ended(&mut self, seq: i64) {
        self.0.remove(&seq);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_due_goes_alone_together_or_waits() {
        let s = Duration::from_secs;
        let window = Some(s(60));
        use Plan::{One, Together, Wait};
        // When, window, waiting, age of the oldest, hurried.
        let cases = [
            (false, None, 3, 500, false, One),
            (true, None, 3, 0, false, Together(3)),
            (true, None, 300, 0, false, Together(50)),
            (false, window, 1, 0, false, Wait(s(60))),
            (false, window, 20, 59, false, Wait(s(1))),
            (false, window, 20, 60, false, Together(20)),
            (false, window, 50, 1, false, Together(50)),
            (false, window, 2, 1, true, Together(2)),
            (true, window, 9, 1, false, Together(9)),
            (true, window, 1, 0, false, Together(1)),
        ];
        for (when, window, waiting, oldest, hurried, planned) in cases {
            let terms = Terms { when, window, max: 50 };
            assert_eq!(plan(terms, waiting, s(oldest), hurried), planned, "{when} {window:?} {waiting} {oldest}");
        }
    }

    #[test]
    fn one_attempt_leads_somewhere_for_each_that_went_in_it() {
        use std::sync::Arc;

        use crate::words::event::Event;

        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let event = Arc::new(Event::new("t", Some("e".to_owned()), "{}", at(0)));
        let delivery = |seq: i64, attempts: u32, created: i64| Delivery {
            seq,
            id: format!("j-{seq}").into(),
            event: event.clone(),
            hook: "h".into(),
            created: at(created),
            due: at(900 + seq),
            attempts,
            order: None,
            original: None,
        };
        let retry = Retry {
            first: Duration::from_secs(5),
            max: Duration::from_secs(60),
            max_age: Duration::from_secs(600),
            max_attempts: Some(4),
        };
        let three = [delivery(1, 0, 995), delivery(2, 2, 990), delivery(3, 3, 990)];
        let said = |verdict: Verdict, members: &[Delivery]| outcomes(&verdict, &retry, members, at(1000), 1.0);
        let waits = |until: i64, why: Why| Outcome::Waiting { until: at(until), why };
        assert_eq!(said(Verdict::Delivered, &three), [1, 3, 4].map(|attempts| (attempts, Outcome::Delivered)));
        // The second would wait longer by itself; the third has had its attempts.
        let again = said(Verdict::retry("503"), &three);
        assert_eq!(again[0], (1, waits(1005, Why::Retry("503".to_owned()))));
        assert_eq!(again[1], (3, waits(1005, Why::Retry("503".to_owned()))));
        assert!(matches!(&again[2], (4, Outcome::Dead { why }) if why.contains("4 attempts")), "{:?}", again[2]);
        let pause = Verdict::Pause { why: "slow".to_owned(), wait: Duration::from_secs(60) };
        let paused = said(pause, &three[..2]);
        assert_eq!(paused, [0, 2].map(|attempts| (attempts, waits(1060, Why::Pause("slow".to_owned())))));
        let refused = || Verdict::Reject { why: "no".to_owned() };
        assert_eq!(said(refused(), &three[..2]), [(0, waits(901, Why::Turn)), (2, waits(902, Why::Turn))]);
        assert_eq!(said(refused(), &three[..1]), [(1, Outcome::Dead { why: "no".to_owned() })]);
    }

    #[test]
    fn what_was_refused_together_goes_in_halves_and_among_itself() {
        let due: Vec<_> = (1..=9).map(|seq| (seq, false)).collect();
        let mut apart = Apart::default();
        assert_eq!(apart.choose(&due, 5), [0, 1, 2, 3, 4]);
        assert_eq!(apart.choose(&[], 5), [0; 0]);
        apart.refused(&[1, 2, 3, 4, 5]);
        assert_eq!(apart.choose(&due, 5), [0, 1]);
        apart.refused(&[1, 2]);
        assert_eq!(apart.choose(&due, 5), [0]);
        apart.ended(1);
        assert_eq!(apart.choose(&due[1..], 5), [0]);
        apart.ended(2);
        assert_eq!(apart.choose(&due[2..], 5), [0, 1]);
        [3, 4, 5].into_iter().for_each(|seq| apart.ended(seq));
        assert_eq!(apart.choose(&due[5..], 5), [0, 1, 2, 3]);
        assert_eq!(apart.choose(&[(6, true), (7, false)], 5), [0]);
        assert_eq!(apart.choose(&[(6, false), (7, true), (8, false)], 5), [0, 2]);
    }

    proptest! {
        /// Whichever are to blame, and whatever goes alone: every other one arrives once, each of those is refused alone, and
        /// that costs few messages.
        #[test]
        fn only_those_to_blame_are_refused(
            count in 1_usize..200,
            max in 2_usize..60,
            blamed in prop::collection::btree_set(0_i64..200, 0..4),
            alone in prop::collection::btree_set(0_i64..200, 0..4),
        ) {
            let mut waiting: BTreeSet<i64> = (0..count as i64).collect();
            let blamed: BTreeSet<i64> = blamed.intersection(&waiting).copied().collect();
            let lonely = alone.intersection(&waiting).count();
            let (mut arrived, mut dead, mut messages, mut apart) = (Vec::new(), Vec::new(), 0, Apart::default());
            while !waiting.is_empty() {
                let due: Vec<_> = waiting.iter().take(max).map(|seq| (*seq, alone.contains(seq))).collect();
                let chosen = apart.choose(&due, max);
                prop_assert!(chosen.first() == Some(&0) && chosen.len() <= max && chosen.is_sorted());
                let seqs: Vec<i64> = chosen.iter().map(|place| due[*place].0).collect();
                prop_assert!(seqs.len() == 1 || !seqs.iter().any(|seq| alone.contains(seq)));
                messages += 1;
                let is_refused = seqs.iter().any(|seq| blamed.contains(seq));
                if is_refused && seqs.len() > 1 {
                    apart.refused(&seqs);
                    continue;
                }
                for seq in seqs {
                    apart.ended(seq);
                    waiting.remove(&seq);
                    if is_refused { dead.push(seq) } else { arrived.push(seq) }
                }
            }
            prop_assert_eq!(dead.iter().copied().collect::<BTreeSet<_>>(), blamed.clone());
            prop_assert_eq!(arrived.len() + dead.len(), count);
            let most = 2 * count.div_ceil(max) + 2 * lonely + blamed.len() * (3 * max.ilog2() as usize + 6) + 4;
            prop_assert!(messages <= most, "{} messages, {} are enough", messages, most);
        }
    }
}
