//! What goes over the wire and what comes back.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::words::secret::shown_url;

/// One HTTP request, ready to be sent. It may hold secrets anywhere, so `Debug` shows method and host only.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// Any method.
    pub method: Method,
    /// The whole URL as it is sent.
    pub url: String,
    /// In the order they are sent.
    pub headers: HeaderMap,
    /// The body's bytes; empty for none.
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.method, shown_url(&self.url), self.body.len())
    }
}

/// What a receiver answered, cut to its bound.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// At most `limits::RESPONSE_BODY` bytes.
    pub body: Bytes,
    /// Whether there was more.
    pub truncated: bool,
}

/// Why no answer came. Each is retried: none of them proves that the receiver did not take the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The name could not be resolved.
    #[error("cannot resolve {host}: {why}")]
    Dns {
        /// The name.
        host: String,
        /// The resolver's word.
        why: String,
    },
    /// Nobody listens there, or the way is blocked.
    #[error("cannot connect to {host}: {why}")]
    Connect {
        /// Host and port.
        host: String,
        /// The system's word.
        why: String,
    },
    /// The address policy refuses this address.
    #[error("{host} resolves to {address}, which is refused: {why}")]
    Refused {
        /// The name.
        host: String,
        /// The address.
        address: String,
        /// Which rule.
        why: String,
    },
    /// TLS failed.
    #[error("TLS with {host}: {why}")]
    Tls {
        /// The name.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// The total deadline passed.
    #[error("no complete answer within {0:?}")]
    Timeout(std::time::Duration),
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The request itself cannot be sent (a URL without host, a scheme other than http and https).
    #[error("{0}")]
    Unsendable(String),
}
