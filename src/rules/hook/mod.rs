//! One file in hooks.d: which events go where, and how.

use std::sync::Arc;
use std::time::Duration;

use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::manifest::Rate;
use crate::rules::platform::{Given, Judged, Platform, Platforms, RenderError};
use crate::rules::settings::Defaults;
pub use crate::rules::settings::Retry;
use crate::words::event::Event;
use crate::words::exchange::{Request, Response};

/// A checked hook: every value present, every template compiled.
#[derive(Debug)]
pub struct Hook {
    /// The file's name without `NN-` and `.yaml`; the lane's name.
    pub name: Arc<str>,
    /// The file.
    pub source: Source,
    /// Changes when the file or its platform's script changes: a held hook is released by it.
    pub fingerprint: String,
    /// For people.
    pub description: Option<String>,
    /// Whom to ask, for people.
    pub owner: Option<String>,
    /// `false`: nothing is sent, recorded as not wanted.
    pub enabled: bool,
    /// Patterns on the event's type.
    pub events: Vec<String>,
    /// Hooks of one scope are counted together by `limits.hooks_per_scope`.
    pub scope: Option<String>,
    /// How the receiver wants it.
    pub platform: Arc<Platform>,
    /// The pace towards the receiver: the hook's own, else the platform's.
    pub pace: Option<Rate>,
    /// Deliveries at once.
    pub concurrency: usize,
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// Why a hook does not want an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWanted {
    /// `enabled: false`.
    Disabled,
    /// No pattern of `events` matches its type.
    Type,
    /// `when` is false.
    When,
    /// `when` itself failed, in words.
    WhenFailed(String),
}

impl Hook {
    /// Reads and checks a hook file. Everything that can be said is said at once: a hook with warnings, or no hook and
    /// at least one error.
    pub fn parse(_source: &Source, _platforms: &Platforms, _defaults: &Defaults) -> (Option<Self>, Vec<Diagnostic>) {
        todo!()
    }

    /// Whether it wants an event.
    ///
    /// # Errors
    /// Why not.
    pub fn wants(&self, _event: &Event) -> Result<(), NotWanted> {
        todo!()
    }

    /// The request of one attempt.
    ///
    /// # Errors
    /// A secret is missing, or a template or the script fails on this event.
    pub fn render(&self, _given: &Given<'_>) -> Result<Request, RenderError> {
        todo!()
    }

    /// What names the receiver, hashed: hooks with the same key share its pace. Cheap when no template stands in it.
    ///
    /// # Errors
    /// As `render`.
    pub fn receiver(&self, _given: &Given<'_>) -> Result<ReceiverKey, RenderError> {
        todo!()
    }

    /// Whether `receiver` is the same for every event.
    pub fn receiver_is_constant(&self) -> bool {
        todo!()
    }

    /// What an answer means.
    pub fn verdict(&self, response: &Response, now: jiff::Timestamp) -> Judged {
        self.platform.verdict(response, now)
    }
}

/// Who is at the other end, as it counts us. A hash: URLs are secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiverKey(pub [u8; 16]);
