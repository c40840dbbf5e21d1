//! One event owed to one hook, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::words::event::Event;

/// One event owed to one hook. The id is the webhook id and the idempotency key: it never changes.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The number of its row; unique in this journal.
    pub seq: i64,
    /// `JOURNAL-SEQ`: unique across machines, short enough to type. Contains no dot.
    pub id: Arc<str>,
    /// The event.
    pub event: Arc<Event>,
    /// The name of the hook, which names the lane.
    pub hook: Arc<str>,
    /// When it was accepted: `max_age` counts from here.
    pub created: Timestamp,
    /// When it may be tried.
    pub due: Timestamp,
    /// Attempts that counted so far.
    pub attempts: u32,
    /// Deliveries of one hook with the same key go out one after the other.
    pub order: Option<Key>,
    /// What goes out instead of a body rendered anew, when `replay --original` asked for it.
    pub original: Option<Arc<Body>>,
}

/// The body of a request as it was rendered for an attempt, and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The body of a dead letter's last request, or why it was not kept.
pub type Kept = Result<Body, String>;

/// What a hook derives from an event to tell which deliveries belong together. A hash: the text may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 16]);

/// What a hook asks of a delivery besides being made: decided when the event is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// After every earlier one with this key.
    pub order: Option<Key>,
    /// Not at all when there was one with this key within this time.
    pub once: Option<(Key, Duration)>,
}

/// What the journal says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Still owed.
    Waiting {
        /// Not before this.
        until: Timestamp,
        /// Why it is not there yet.
        why: Why,
    },
    /// The receiver has it.
    Delivered,
    /// Given up, kept with its reason, can be replayed.
    Dead {
        /// Why.
        why: String,
    },
    /// Thrown away by a named operator action or retention rule.
    Dropped {
        /// Which.
        why: String,
    },
}

impl Outcome {
    /// The word that logs and `--json` show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Delivered => "delivered",
            Self::Dead { .. } => "dead",
            Self::Dropped { .. } => "dropped",
        }
    }

    /// Why, for a person; empty where there is nothing to explain.
    pub fn why(&self) -> String {
        match self {
            Self::Waiting { why, .. } => why.to_string(),
            Self::Delivered => String::new(),
            Self::Dead { why } | Self::Dropped { why } => why.clone(),
        }
    }
}

/// Why a delivery is not there yet: a closed set, so that an operator can rely on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Just accepted, or reopened by `replay`.
    New,
    /// Its attempt failed and the backoff decides when again.
    Retry(String),
    /// The receiver asked for a pause.
    Pause(String),
    /// The hook's own pace.
    Pace,
    /// The receiver failed several times in a row and is left alone for a while.
    Breaker(String),
    /// The hook is held until a person acts.
    Hold(String),
    /// Its file is gone from hooks.d.
    HookRemoved,
    /// Its file says `enabled: false`.
    HookDisabled,
    /// `replay` made it wait again.
    Replayed,
    /// An earlier one with the same `order_by` must arrive first.
    Order(String),
    /// A secret that the hook names cannot be had.
    SecretMissing(String),
    /// The journal cannot be written, and nothing is sent while that is so.
    Storage(String),
    /// It is being sent right now.
    Sending,
    /// Nothing is in its way but others of its hook, which are sent first.
    Turn,
    /// Its hook's `digest` waits for company until its window is over.
    Digest,
}

impl Why {
    /// Every member, once: what `queue --why` takes, and what the documentation must name.
    pub fn all() -> [Self; 15] {
        [
            Self::New,
            Self::Replayed,
            Self::Sending,
            Self::Turn,
            Self::Order(String::new()),
            Self::Retry(String::new()),
            Self::Pause(String::new()),
            Self::Pace,
            Self::Digest,
            Self::Breaker(String::new()),
            Self::Hold(String::new()),
            Self::SecretMissing(String::new()),
            Self::HookDisabled,
            Self::HookRemoved,
            Self::Storage(String::new()),
        ]
    }

    /// The word that is stored; `detail` is stored beside it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Retry(_) => "retry",
            Self::Pause(_) => "pause",
            Self::Pace => "pace",
            Self::Breaker(_) => "breaker",
            Self::Hold(_) => "hold",
            Self::HookRemoved => "hook removed",
            Self::HookDisabled => "hook disabled",
            Self::Replayed => "replayed",
            Self::Order(_) => "order",
            Self::SecretMissing(_) => "secret missing",
            Self::Storage(_) => "storage",
            Self::Sending => "sending",
            Self::Turn => "turn",
            Self::Digest => "digest",
        }
    }

    /// What stands behind the word.
    pub fn detail(&self) -> &str {
        match self {
            Self::Retry(detail)
            | Self::Pause(detail)
            | Self::Breaker(detail)
            | Self::Hold(detail)
            | Self::SecretMissing(detail)
            | Self::Storage(detail)
            | Self::Order(detail) => detail,
            Self::New
            | Self::Pace
            | Self::HookRemoved
            | Self::HookDisabled
            | Self::Replayed
            | Self::Sending
            | Self::Turn
            | Self::Digest => "",
        }
    }

    /// The reverse of how it is shown.
    pub fn from_text(text: &str) -> Self {
        let (word, detail) = text.split_once(": ").unwrap_or((text, ""));
        Self::from_words(word, detail)
    }

    /// The reverse of `word` and `detail`; an unknown word (from a newer version) reads as a retry.
    pub fn from_words(word: &str, detail: &str) -> Self {
        let detail = detail.to_owned();
        match word {
            "new" => Self::New,
            "pause" => Self::Pause(detail),
            "pace" => Self::Pace,
            "breaker" => Self::Breaker(detail),
            "hold" => Self::Hold(detail),
            "hook removed" => Self::HookRemoved,
            "hook disabled" => Self::HookDisabled,
            "replayed" => Self::Replayed,
            "order" => Self::Order(detail),
            "secret missing" => Self::SecretMissing(detail),
            "storage" => Self::Storage(detail),
            "sending" => Self::Sending,
            "turn" => Self::Turn,
            "digest" => Self::Digest,
            _ => Self::Retry(detail),
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.detail() {
            "" => f.write_str(self.word()),
            detail => write!(f, "{}: {detail}", self.word()),
        }
    }
}

/// One try at a delivery, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from 1; a pause does not count, so two records may carry the same number.
    pub number: u32,
    /// When it began.
    pub started: Timestamp,
    /// From the connect to the last byte read.
    pub duration: Duration,
    /// Method and the URL's scheme and host; the rest of a URL is a secret.
    pub request: String,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// The answer's first `limits::RESPONSE_KEPT` bytes, or the error in words. Secrets are taken out.
    pub response: String,
    /// The word of the verdict; empty when the request could not even be made.
    pub verdict: String,
    /// Why, in words for a person: the verdict's reason, or a doubt about a delivered message (WeCom's "wrong json
    /// format").
    pub why: String,
    /// The numbers of the other deliveries that went in the same request: a digest.
    pub along: Vec<i64>,
}

impl Attempt {
    /// How long it took, in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_written_and_read_again() {
        let mut words = std::collections::BTreeSet::new();
        for why in Why::all() {
            let again = Why::from_words(why.word(), "some detail");
            assert_eq!(again.word(), why.word());
            assert!(words.insert(why.word()), "{why} stands there twice");
            assert_eq!(Why::from_words(again.word(), again.detail()), again);
            assert_eq!(Why::from_text(&again.to_string()), again);
        }
        assert_eq!(words.len(), Why::all().len());
    }
}
