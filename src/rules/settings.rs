//! The main file, `postrider.yaml`: every key optional.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::hook::Retry;
use crate::words::limits;

/// The checked main file.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where HTTP over TCP is taken, if at all.
    pub http: Option<SocketAddr>,
    /// The name of the secret that senders over TCP must present as a bearer token.
    pub http_token: Option<String>,
    /// What hooks are given when they do not say.
    pub defaults: Defaults,
    /// At most this many hook files of one scope.
    pub hooks_per_scope: Option<usize>,
    /// Deliveries that may wait before intake answers "busy".
    pub waiting: u64,
    /// Which addresses may be dialled.
    pub network: Network,
}

/// What hooks are given when they do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// When again, and until when.
    pub retry: Retry,
}

/// Which addresses may be dialled, decided on the address after DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Refused besides link-local and metadata addresses.
    pub deny: Vec<IpNet>,
    /// Allowed all the same; the narrower of two matches wins.
    pub allow: Vec<IpNet>,
    /// `network: public-only`: loopback and private networks are refused too.
    pub public_only: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout: limits::TIMEOUT,
            retry: Retry {
                first: limits::RETRY_FIRST,
                max: limits::RETRY_MAX,
                max_age: limits::MAX_AGE,
                max_attempts: None,
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: None,
            http_token: None,
            defaults: Defaults::default(),
            hooks_per_scope: None,
            waiting: limits::WAITING,
            network: Network::default(),
        }
    }
}

impl Settings {
    /// Reads and checks the main file.
    ///
    /// # Errors
    /// Every error found.
    pub fn parse(_source: &Source) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        todo!()
    }
}
