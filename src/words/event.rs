//! Something that happened, once.

use std::sync::OnceLock;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::words::json::{Exact, is_plain};
use crate::words::trace::TraceParent;

/// An event: what happened, once. The names are those of CloudEvents.
#[derive(Debug)]
pub struct Event {
    /// Unique together with `source`: the same pair is stored once.
    pub id: String,
    /// What kind of thing happened, such as `version.published`. Hooks choose by it.
    pub kind: String,
    /// Who says so; empty when the sender did not say.
    pub source: String,
    /// When it happened, by the sender, else when it was accepted.
    pub time: Timestamp,
    /// The bytes as they came: `data` as written in a native event, or the whole body of a foreign request.
    pub raw: Bytes,
    /// The media type of `raw`.
    pub content_type: String,
    /// What it says, as JSON text, where that is not simply `raw`: a form's fields, half of an envelope.
    given: Option<Box<str>>,
    /// Who handed it in over a local socket, by the kernel's word.
    pub peer: Option<Peer>,
    /// The trace that it belongs to, where its sender said so.
    pub trace: Option<TraceParent>,
    /// Its bytes on disk are no longer those that were acknowledged: it must not be sent.
    pub damaged: bool,
    parsed: OnceLock<Parsed>,
}

/// What an event says, read once.
#[derive(Debug)]
struct Parsed {
    data: Value,
    /// The same with its numbers as they were written, where `data` cannot keep them all.
    exact: Option<Box<Exact>>,
}

/// The process at the other end of a local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id, where the kernel tells.
    pub pid: Option<i32>,
}

/// The source of the daemon's own events. No sender may use it.
pub const OWN_SOURCE: &str = "postrider";

/// The media type of JSON, which most events carry.
pub const JSON: &str = "application/json";

impl Event {
    /// An event with JSON data, now. `id` is made when it is `None`.
    pub fn new(kind: impl Into<String>, id: Option<String>, raw: impl Into<Bytes>, now: Timestamp) -> Self {
        Self {
            id: id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            kind: kind.into(),
            source: String::new(),
            time: now,
            raw: raw.into(),
            content_type: JSON.to_owned(),
            given: None,
            peer: None,
            trace: None,
            damaged: false,
            parsed: OnceLock::new(),
        }
    }

    /// What the event says: what was given beside the bytes, else `raw` as JSON, else as text, else (bytes that are not
    /// UTF-8) null. A foreign body that is not JSON is still an event, and its hooks can still use `event.raw`.
    pub fn data(&self) -> &Value {
        &self.parsed().data
    }

    /// The same with its numbers as they were written: only where `data` cannot keep them all, as in
    /// `{"price": 1.10, "id": 123456789012345678901234567890}`.
    pub fn exact(&self) -> Option<&Exact> {
        self.parsed().exact.as_deref()
    }

    fn parsed(&self) -> &Parsed {
        self.parsed.get_or_init(|| {
            let given = self.given.as_deref().and_then(|text| Parsed::read(text.as_bytes()));
            let json = || may_be_json(&self.content_type, &self.raw).then(|| Parsed::read(&self.raw)).flatten();
            let text = || std::str::from_utf8(&self.raw).map_or(Value::Null, |text| Value::String(text.to_owned()));
            given.or_else(json).unwrap_or_else(|| Parsed { data: text(), exact: None })
        })
    }

    /// What the event says, as JSON text, where that is not simply its bytes.
    pub fn given_data(&self) -> Option<&str> {
        self.given.as_deref()
    }

    /// Says what the event says beside its bytes, as JSON text; `None`: the bytes say it all.
    pub fn give_data(&mut self, data: Option<String>) {
        self.given = data.map(String::into_boxed_str);
        self.parsed = OnceLock::new();
    }

    /// What it weighs in memory, for the bounds: nearly all of it is `raw` and what was given beside it.
    pub fn weight(&self) -> usize {
        let given = self.given.as_ref().map_or(0, |given| given.len());
        self.raw.len() + given + self.id.len() + self.kind.len() + self.source.len() + 256
    }
}

impl Parsed {
    fn read(json: &[u8]) -> Option<Self> {
        if is_plain(json) {
            return serde_json::from_slice(json).ok().map(|data| Self { data, exact: None });
        }
        Exact::parse(json).map(|exact| Self { data: exact.plain(), exact: Some(Box::new(exact)) })
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        Self {
            id: self.id.clone(),
            kind: self.kind.clone(),
            source: self.source.clone(),
            time: self.time,
            raw: self.raw.clone(),
            content_type: self.content_type.clone(),
            given: self.given.clone(),
            peer: self.peer,
            trace: self.trace,
            damaged: self.damaged,
            parsed: OnceLock::new(),
        }
    }
}

/// Whether it is worth reading as JSON. `curl -d` and `wget --post-data` call everything a form, and some vendors call
/// nothing anything; a form does not begin like an object or a list.
fn may_be_json(media_type: &str, raw: &[u8]) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let unsaid = ["", "application/x-www-form-urlencoded", "application/octet-stream"].contains(&essence.as_str());
    media_type_is_json(media_type) || (unsaid && matches!(raw.trim_ascii_start().first(), Some(b'{' | b'[')))
}

/// Whether a media type holds JSON: `application/json`, `text/json`, `application/x+json`, with or without parameters.
pub fn media_type_is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == JSON || essence == "text/json" || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_else_text() {
        let mut event = Event::new("t", None, &b"{\"a\":1}"[..], Timestamp::UNIX_EPOCH);
        assert_eq!(event.data()["a"], 1);
        event = Event::new("t", None, &b"{'a':1}"[..], Timestamp::UNIX_EPOCH);
        assert_eq!(event.data(), &Value::String("{'a':1}".into()));
        event = Event::new("t", None, &b"1"[..], Timestamp::UNIX_EPOCH);
        event.content_type = "text/plain; charset=utf-8".into();
        assert_eq!(event.data(), &Value::String("1".into()));
    }

    #[test]
    fn numbers_that_data_cannot_keep_are_kept_beside_it() {
        let mut event = Event::new("t", None, &b"{\"a\":1.5,\"b\":\"1.10\"}"[..], Timestamp::UNIX_EPOCH);
        assert_eq!(event.exact(), None);
        event = Event::new("t", None, &b"{\"a\":1.10,\"b\":1e400}"[..], Timestamp::UNIX_EPOCH);
        assert_eq!(event.data(), &serde_json::json!({"a": 1.1, "b": f64::MAX}));
        assert_eq!(event.exact().map(Exact::to_string).as_deref(), Some("{\"a\":1.10,\"b\":1e400}"));
    }

    #[test]
    fn data_that_is_given_wins_over_the_bytes() {
        let mut event = Event::new("t", None, &b"a=1"[..], Timestamp::UNIX_EPOCH);
        assert_eq!(event.data(), &Value::String("a=1".into()));
        event.give_data(Some("{\"a\":\"1\"}".into()));
        assert_eq!(
            (&event.data()["a"], &event.clone().data()["a"], &event.raw[..]),
            (&"1".into(), &"1".into(), &b"a=1"[..])
        );
        assert_eq!(event.weight(), 256 + 1 + event.id.len() + 3 + 9);
        event.give_data(None);
        assert_eq!(event.data(), &Value::String("a=1".into()));
    }

    #[test]
    fn what_curl_calls_a_form_may_be_json() {
        let data = |media_type: &str, raw: &'static [u8]| {
            let mut event = Event::new("t", None, raw, Timestamp::UNIX_EPOCH);
            event.content_type = media_type.into();
            event.data().clone()
        };
        let form = "application/x-www-form-urlencoded";
        assert_eq!(data(form, b" {\"a\":1}")["a"], 1);
        assert_eq!(data("application/octet-stream", b"[7]")[0], 7);
        assert_eq!(data(form, b"a=1"), Value::String("a=1".into()));
        assert_eq!(data(form, b"{a=1"), Value::String("{a=1".into()));
        assert_eq!(data("text/plain", b"{}"), Value::String("{}".into()));
    }

    #[test]
    fn json_media_types() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"] {
            assert!(media_type_is_json(yes), "{yes}");
        }
        for no in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert!(!media_type_is_json(no), "{no}");
        }
    }
}
