//! What an answer means by its HTTP status alone, and how long a receiver asked to wait.
//!
//! | status | verdict | why |
//! |---|---|---|
//! | 100–199 | retry | no final answer |
//! | 200–299 | delivered | |
//! | 300–399 | retry | redirects are not followed: the event would go where nobody said it should |
//! | 400 406 411–415 417 418 422 428 431, every other 4xx | reject | this delivery will never be accepted |
//! | 401 402 403 405 407 410 426 451 | hold | nothing is accepted before a person changes something |
//! | 404 | retry | a service that is being redeployed answers so; `max_age` ends it |
//! | 408 409 421 423 424 425 | retry | the moment was wrong |
//! | 429 | pause | by Retry-After, else a minute |
//! | 500–599 | retry | by Retry-After, else the backoff |
//! | all else | retry | not HTTP |

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::words::limits;
use crate::words::verdict::Verdict;

/// A verdict with what is to be said besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the answer means.
    pub verdict: Verdict,
    /// A doubt about a delivered message.
    pub warning: Option<String>,
    /// The markup is what was refused: the same may go out at once as plain text.
    pub plain: bool,
    /// How long the receiver is left alone although it took the message: its window is used up.
    pub rest: Option<Duration>,
}

/// The wait after a 429 that names none.
const PAUSE: Duration = Duration::from_secs(60);

impl Judged {
    /// The same with other words, where there are some.
    #[must_use]
    pub fn with_words(self, other: impl Fn(&str) -> String) -> Self {
        let warning = self.warning.map(|warning| other(&warning));
        Self { verdict: self.verdict.with_why(&other), warning, ..self }
    }
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, warning: None, plain: false, rest: None }
    }
}

/// The table above.
pub fn by_status(status: u16, wait: Option<Duration>) -> Verdict {
    let why = status_line(status);
    match status {
        200..=299 => Verdict::Delivered,
        100..=199 => Verdict::Retry { why: format!("{why}: no final answer"), after: None },
        300..=399 => Verdict::Retry { why: format!("{why}: redirects are not followed"), after: None },
        401 | 403 | 407 => Verdict::Hold { why: format!("{why}: the receiver refuses our credentials") },
        402 | 405 | 426 | 451 => Verdict::Hold { why },
        410 => Verdict::Hold { why: format!("{why}: the receiver wants nothing more") },
        404 | 408 | 409 | 421 | 423..=425 => Verdict::Retry { why, after: wait },
        429 => Verdict::Pause { why, wait: wait.unwrap_or(PAUSE) },
        400..=499 => Verdict::Reject { why },
        500..=599 => Verdict::Retry { why, after: wait },
        _ => Verdict::Retry { why: format!("{status} is no HTTP status"), after: None },
    }
}

/// The wait that an answer asks for: `Retry-After` in seconds (decimals too) or as a date, else `retry_after` in JSON.
/// Rounded up to seconds, at most `limits::RETRY_AFTER_MAX`; a date in the past is no wait.
pub fn retry_after(headers: &HeaderMap, json: &Json, now: Timestamp) -> Option<Duration> {
    let header = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(text) = header {
        return match text.parse::<f64>() {
            Ok(seconds) => whole(seconds),
            Err(_) => until(text, now),
        };
    }
    let body = json.get("retry_after").or_else(|| json.get("parameters").and_then(|value| value.get("retry_after")));
    body.and_then(Json::as_f64).and_then(whole)
}

/// Seconds as a wait within its bounds.
pub fn whole(seconds: f64) -> Option<Duration> {
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    Some(Duration::from_secs(seconds.ceil().min(limits::RETRY_AFTER_MAX.as_secs_f64()) as u64))
}

fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    let now = now.as_millisecond() as f64 / 1000.0;
    whole((date - now).max(0.0))
}

/// `503 Service Unavailable`.
pub(crate) fn status_line(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.map_or_else(|| format!("status {status}"), |reason| format!("{status} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_verdict() {
        let expected = |status: u16| match status {
            100..=199 | 300..=399 | 500..=599 => "retry",
            200..=299 => "delivered",
            401 | 402 | 403 | 405 | 407 | 410 | 426 | 451 => "hold",
            404 | 408 | 409 | 421 | 423 | 424 | 425 => "retry",
            429 => "pause",
            _ => "reject",
        };
        for status in 100..=599 {
            assert_eq!(by_status(status, None).word(), expected(status), "{status}");
        }
        for status in [0, 99, 600, 999, u16::MAX] {
            assert_eq!(by_status(status, None).word(), "retry", "{status}");
        }
    }

    #[test]
    fn the_wait_a_receiver_asks_for() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let wait = |value: &str| {
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, &Json::Null, now)
        };
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(wait("120"), seconds(120));
        assert_eq!(wait(" 1.2 "), seconds(2));
        assert_eq!(wait("0"), seconds(0));
        assert_eq!(wait("-5"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("inf"), None);
        assert_eq!(wait("1e12"), Some(limits::RETRY_AFTER_MAX));
        assert_eq!(wait("Sat, 31 Jan 2026 12:00:30 GMT"), seconds(30));
        assert_eq!(wait("Sat, 31 Jan 2026 11:00:00 GMT"), seconds(0));
        assert_eq!(wait("Fri, 31 Dec 2088 12:00:00 GMT"), Some(limits::RETRY_AFTER_MAX));
        let body = |json| retry_after(&HeaderMap::new(), &json, now);
        assert_eq!(body(serde_json::json!({"retry_after": 0.65})), seconds(1));
        assert_eq!(body(serde_json::json!({"parameters": {"retry_after": 7}})), seconds(7));
        assert_eq!(body(serde_json::json!({"retry_after": "7"})), None);
        assert_eq!(body(Json::Null), None);
    }

    #[test]
    fn too_many_requests_pauses_for_a_minute() {
        assert_eq!(by_status(429, None), Verdict::Pause { why: "429 Too Many Requests".into(), wait: PAUSE });
        let wait = Duration::from_secs(3);
        assert_eq!(
            by_status(503, Some(wait)),
            Verdict::Retry { why: "503 Service Unavailable".into(), after: Some(wait) }
        );
    }
}
