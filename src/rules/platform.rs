//! How a kind of receiver wants it: a script with its manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::manifest::Manifest;
use crate::words::event::Event;
use crate::words::exchange::{Request, Response};
use crate::words::secret::Secrets;
use crate::words::verdict::Verdict;

/// A compiled platform.
#[derive(Debug)]
pub struct Platform {
    /// Its name: the script's file name.
    pub name: String,
    /// What it asks of a hook.
    pub manifest: Manifest,
    /// The script's text, for `postrider platforms NAME`.
    pub source: Source,
    /// Whether it came with the program.
    pub built_in: bool,
}

/// All platforms of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Platforms(pub BTreeMap<String, Arc<Platform>>);

/// What one attempt is given. The clock and the attempt's number are arguments: scripts read neither.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The delivery's id.
    pub id: &'a str,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The time of the attempt.
    pub now: Timestamp,
    /// The hook's name.
    pub hook: &'a str,
    /// The event.
    pub event: &'a Event,
    /// The secrets of the configuration.
    pub secrets: &'a Secrets,
}

/// A verdict with what is to be said besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the answer means.
    pub verdict: Verdict,
    /// A doubt about a delivered message.
    pub warning: Option<String>,
}

/// Why a request could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenderError {
    /// A secret is missing: the delivery waits until it is there.
    #[error("secret {name} cannot be read: {why}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A template, a script or its result is wrong: trying again does not help.
    #[error("{}", .0.one_line())]
    Wrong(Box<Diagnostic>),
}

impl Platform {
    /// Compiles a script and reads its manifest.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub fn compile(_name: &str, _source: Source, _built_in: bool) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }

    /// Makes the request from the rendered options. A request without a body carries the event's bytes.
    ///
    /// # Errors
    /// The script failed, or returned something that is no request.
    pub fn request(&self, _given: &Given<'_>, _options: &Json) -> Result<Request, RenderError> {
        todo!()
    }

    /// What an answer means. A verdict that itself fails counts as a retry.
    pub fn verdict(&self, _response: &Response, _now: Timestamp) -> Judged {
        todo!()
    }
}

impl Platforms {
    /// The platforms that come with the program.
    pub fn built_in() -> Self {
        todo!()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Arc<Platform>> {
        self.0.get(name)
    }
}
