//! Requests over hyper: one total deadline, a bounded response, no redirects, and an address policy at dial time.

use std::time::Duration;

use crate::rules::settings::Network;
use crate::words::exchange::{Request, Response, SendError};

/// Sends requests. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Sender {}

impl Sender {
    /// A sender with the system's certificate roots.
    pub fn new(_network: Network) -> Self {
        todo!()
    }

    /// Sends one request and reads the answer up to `limits::RESPONSE_BODY`, all within `timeout`.
    ///
    /// # Errors
    /// Why no answer came.
    pub async fn send(&self, _request: &Request, _timeout: Duration) -> Result<Response, SendError> {
        todo!()
    }
}
