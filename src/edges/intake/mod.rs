//! Where events come in: a local socket (NDJSON or HTTP, told apart by the first byte) and HTTP over TCP.
//!
//! Intake knows framing and bounds. What an event is worth is decided behind `Accept`.

use std::future::Future;
use std::pin::Pin;

use crate::words::event::Event;

mod door;
pub mod http;
pub mod native;
pub mod socket;
pub mod spool;

/// The answer to one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// On disk.
    Accepted {
        /// The event's id.
        id: String,
        /// The hooks it is owed to.
        hooks: Vec<String>,
        /// Whether it was known already.
        duplicate: bool,
    },
    /// Not stored.
    Refused(Refusal),
}

/// Why an event or a request was refused. `code` and the HTTP status are a promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which of the known reasons.
    pub code: Code,
    /// What is wrong and what to do, in words for a person.
    pub message: String,
}

/// The known reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 400: the event or the request cannot be understood.
    BadEvent,
    /// 401: no token, or a wrong one.
    Unauthorized,
    /// 403: a browser, or a peer that may not.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 405: the wrong method.
    MethodNotAllowed,
    /// 413: beyond a bound.
    TooLarge,
    /// 415: a media type that needs `?type=`.
    UnsupportedMediaType,
    /// A status of its own: the script of a source refused the request.
    Refused(u16),
    /// 500: a source's script failed; send again.
    Failed,
    /// 429 with Retry-After: the queue is full, try again later.
    Busy,
    /// 503: stopping, or storage trouble that will pass.
    Unavailable,
    /// 507: the disk is full.
    StorageFull,
}

impl Code {
    /// Every word.
    pub const WORDS: [&str; 12] = [
        "bad_event",
        "unauthorized",
        "forbidden",
        "not_found",
        "method_not_allowed",
        "too_large",
        "unsupported_media_type",
        "refused",
        "failed",
        "busy",
        "unavailable",
        "storage_full",
    ];

    /// The word in `{"error": {"code", …}}`.
    pub fn word(self) -> &'static str {
        match self {
            Self::BadEvent => "bad_event",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Refused(_) => "refused",
            Self::Failed => "failed",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::BadEvent => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Refused(status) => status,
            Self::Failed => 500,
            Self::Busy => 429,
            Self::Unavailable => 503,
            Self::StorageFull => 507,
        }
    }
}

impl Refusal {
    /// A refusal with its message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The upper half of the path: stores events and answers when they are on disk.
pub trait Accept: Send + Sync + 'static {
    /// One answer per event, in order. All events of one call are stored in one transaction, or none.
    fn accept(&self, events: Vec<Event>) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send>>;

    /// A sender hears a refusal, whoever decided it.
    fn refused(&self, code: Code);
}
