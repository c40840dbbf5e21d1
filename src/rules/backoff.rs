//! What an attempt leads to, and when again.
//!
//! ```text
//! delivered      -> delivered
//! reject         -> dead
//! pause(wait)    -> waiting until now + wait; the attempt does not count
//! hold           -> waiting from now on; the whole hook is held, so nothing is sent until a person acts
//! retry(after?)  -> attempt number max_attempts?            -> dead
//!                   wait = after, else full jitter:
//!                          random(0 ..= min(max, first * 2^(attempt - 1)))
//!                   now + wait later than created + max_age? -> dead
//!                   else                                     -> waiting until now + wait
//! ```
//! Full jitter, because a receiver that comes back must not be met by everyone at once.

use std::time::Duration;

use jiff::Timestamp;

use crate::rules::settings::Retry;
use crate::words::delivery::{Outcome, Why};
use crate::words::limits;
use crate::words::verdict::Verdict;

/// A delivery's new count of attempts and its outcome. `jitter` is a random number in `0.0..=1.0`.
pub fn next(
    verdict: &Verdict,
    retry: &Retry,
    created: Timestamp,
    attempts: u32,
    now: Timestamp,
    jitter: f64,
) -> (u32, Outcome) {
    let counted = attempts.saturating_add(1);
    match verdict {
        Verdict::Delivered => (counted, Outcome::Delivered),
        Verdict::Reject { why } => (counted, Outcome::Dead { why: why.clone() }),
        Verdict::Hold { why } => (counted, Outcome::Waiting { until: now, why: Why::Hold(why.clone()) }),
        Verdict::Pause { why, wait } => {
            (attempts, Outcome::Waiting { until: later(now, *wait), why: Why::Pause(why.clone()) })
        }
        Verdict::Retry { why, after } => {
            if retry.max_attempts.is_some_and(|most| counted >= most) {
                return (counted, Outcome::Dead { why: format!("gave up after {counted} attempts: {why}") });
            }
            let wait = after.unwrap_or_else(|| wait(retry, counted, jitter)).max(limits::RETRY_FLOOR);
            let until = later(now, wait.min(limits::RETRY_AFTER_MAX));
            if until > later(created, retry.max_age) {
                let age = shown(retry.max_age);
                return (counted, Outcome::Dead { why: format!("gave up at max_age {age}: {why}") });
            }
            (counted, Outcome::Waiting { until, why: Why::Retry(why.clone()) })
        }
    }
}

/// Whether a delivery is too old to be tried.
pub fn expired(retry: &Retry, created: Timestamp, now: Timestamp) -> bool {
    now > later(created, retry.max_age)
}

/// The wait before the attempt after number `attempt` (from 1).
fn wait(retry: &Retry, attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(40);
    let ceiling = retry.first.as_secs_f64() * 2f64.powi(doublings as i32);
    Duration::from_secs_f64(ceiling.min(retry.max.as_secs_f64()) * jitter.clamp(0.0, 1.0))
}

/// `at + wait`, without overflow.
pub fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// A duration as hook files write it: `90s`, `5m`, `3d`.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retry_rule() -> Retry {
        Retry {
            first: Duration::from_secs(5),
            max: Duration::from_secs(3600),
            max_age: Duration::from_secs(3 * 86_400),
            max_attempts: Some(5),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a small number of seconds")
    }

    #[test]
    fn each_verdict_leads_to_its_outcome() {
        let rule = retry_rule();
        let cases: [(Verdict, u32, f64, u32, Outcome); 8] = [
            (Verdict::Delivered, 0, 0.5, 1, Outcome::Delivered),
            (Verdict::Reject { why: "no".into() }, 2, 0.5, 3, Outcome::Dead { why: "no".into() }),
            (
                Verdict::Pause { why: "slow".into(), wait: Duration::from_secs(60) },
                2,
                0.5,
                2,
                Outcome::Waiting { until: at(1060), why: Why::Pause("slow".into()) },
            ),
            (
                Verdict::Hold { why: "gone".into() },
                0,
                0.5,
                1,
                Outcome::Waiting { until: at(1000), why: Why::Hold("gone".into()) },
            ),
            (Verdict::retry("x"), 0, 1.0, 1, Outcome::Waiting { until: at(1005), why: Why::Retry("x".into()) }),
            (Verdict::retry("x"), 2, 1.0, 3, Outcome::Waiting { until: at(1020), why: Why::Retry("x".into()) }),
            (
                Verdict::Retry { why: "x".into(), after: Some(Duration::from_secs(7)) },
                0,
                1.0,
                1,
                Outcome::Waiting { until: at(1007), why: Why::Retry("x".into()) },
            ),
            (Verdict::retry("x"), 4, 1.0, 5, Outcome::Dead { why: "gave up after 5 attempts: x".into() }),
        ];
        for (verdict, attempts, jitter, counted, outcome) in cases {
            assert_eq!(
                next(&verdict, &rule, at(1000), attempts, at(1000), jitter),
                (counted, outcome),
                "{verdict:?} after {attempts}"
            );
        }
    }

    #[test]
    fn an_old_delivery_is_given_up() {
        let rule = Retry { max_attempts: None, ..retry_rule() };
        let (_, outcome) = next(&Verdict::retry("down"), &rule, at(0), 90, at(3 * 86_400 - 1), 1.0);
        assert_eq!(outcome, Outcome::Dead { why: "gave up at max_age 3d: down".into() });
        assert!(expired(&rule, at(0), at(3 * 86_400 + 1)));
        assert!(!expired(&rule, at(0), at(3 * 86_400)));
    }

    proptest! {
        #[test]
        fn no_wait_is_below_the_floor_or_above_the_ceiling(attempts in 0u32..500, jitter in 0.0f64..=1.0) {
            let rule = Retry { max_attempts: None, ..retry_rule() };
            let (counted, outcome) = next(&Verdict::retry("x"), &rule, at(0), attempts, at(0), jitter);
            prop_assert_eq!(counted, attempts + 1);
            let Outcome::Waiting { until, .. } = outcome else { return Err(TestCaseError::fail("not waiting")) };
            let wait = until.duration_since(at(0)).unsigned_abs();
            prop_assert!(wait >= limits::RETRY_FLOOR && wait <= rule.max, "{wait:?}");
        }
    }
}
