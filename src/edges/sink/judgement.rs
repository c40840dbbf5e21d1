//! What a platform thought of one request, and what it says of it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// The answer to one request, and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Headers, besides those that HTTP itself needs.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Bytes,
    /// What the platform thought.
    pub judgement: Judgement,
}

/// What a platform thought of one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// Whether the message is in the group now.
    pub accepted: bool,
    /// The platform's own code; absent where it has none.
    pub code: Option<i64>,
    /// The first check that failed, in words; empty when none did.
    pub why: String,
    /// Who is called, by the platform's own rule and not by what the sender meant.
    pub mentions: Mentions,
    /// Members of the body that the platform does not know there. It says nothing about them, and does nothing.
    pub ignored_members: Vec<String>,
    /// Members that came twice; the last one counts.
    pub duplicate_keys: Vec<String>,
    /// Other things a sender should know.
    pub notes: Vec<String>,
    /// What the group sees, where that differs from what was sent.
    pub stored: Option<Value>,
}

/// Who is called by a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mentions {
    /// Everybody.
    pub all: bool,
    /// By user id.
    pub users: Vec<String>,
    /// By mobile number.
    pub mobiles: Vec<String>,
    /// Meant as a mention, and calling nobody.
    pub unresolved: Vec<String>,
}

impl Mentions {
    /// Whether nobody is called.
    pub fn is_empty(&self) -> bool {
        !self.all && self.users.is_empty() && self.mobiles.is_empty()
    }

    pub(super) fn user(&mut self, id: &str) {
        note(&mut self.users, id);
    }

    pub(super) fn mobile(&mut self, number: &str) {
        note(&mut self.mobiles, number);
    }

    pub(super) fn unresolved(&mut self, what: &str) {
        note(&mut self.unresolved, what);
    }
}

fn note(list: &mut Vec<String>, what: &str) {
    if !list.iter().any(|known| known == what) {
        list.push(what.to_owned());
    }
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The platform's code.
    pub(super) code: i64,
    /// The platform's own words.
    pub(super) message: String,
    /// Ours, for whoever reads the sink's output.
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(code: i64, message: impl Into<String>, why: impl Into<String>) -> Self {
        Self { code, message: message.into(), why: why.into() }
    }
}
