//! What one answer means.

use std::time::Duration;

/// What one answer of a receiver means for the delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it, and said so in its own words.
    Delivered,
    /// Not this time; try again. `after` is the receiver's own word (Retry-After), else the backoff decides.
    Retry {
        /// Why, in words for a person.
        why: String,
        /// The wait that the receiver asked for.
        after: Option<Duration>,
    },
    /// Too fast: nobody may use this receiver for a while. Uses up no attempt.
    Pause {
        /// Why, in words for a person.
        why: String,
        /// For how long.
        wait: Duration,
    },
    /// The receiver is broken until a person mends it (token revoked, robot removed): the hook's queue is kept.
    Hold {
        /// Why, in words for a person.
        why: String,
    },
    /// This delivery can never be accepted: a dead letter.
    Reject {
        /// Why, in words for a person.
        why: String,
    },
}

impl Verdict {
    /// The word that logs and `--json` show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Pause { .. } => "pause",
            Self::Hold { .. } => "hold",
            Self::Reject { .. } => "reject",
        }
    }

    /// Why, where there is a why.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Delivered => None,
            Self::Retry { why, .. } | Self::Pause { why, .. } | Self::Hold { why } | Self::Reject { why } => Some(why),
        }
    }

    /// The same with another why, where there is one.
    #[must_use]
    pub fn with_why(mut self, other: impl FnOnce(&str) -> String) -> Self {
        match &mut self {
            Self::Delivered => {}
            Self::Retry { why, .. } | Self::Pause { why, .. } | Self::Hold { why } | Self::Reject { why } => {
                *why = other(why);
            }
        }
        self
    }

    /// A retry without a wait of the receiver's own.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }
}
