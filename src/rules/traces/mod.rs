//! What is told of a trace: one span for an event that was accepted, and one for each attempt.
//!
//! An event that names no trace begins one, whose id follows from the event: nothing need be stored for it, and each
//! attempt, also after a restart and of each hook, belongs to the same. The span of its acceptance follows from the event
//! too, so that attempts can name it as their parent. Only the span of an attempt has an id of its own: chance, which
//! is an argument.
//!
//! What stands in a span is what `show` says as well. Of a URL it has the host.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::rules::text::truncate_bytes;
use crate::words::delivery::{Attempt, Delivery};
use crate::words::event::{Event, OWN_SOURCE};
use crate::words::exchange::{Request, SendError};
use crate::words::limits;
use crate::words::trace::{Hex, TraceParent};

pub mod otlp;

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub id: TraceParent,
    /// The span that it is a child of.
    pub parent: Option<[u8; 8]>,
    /// What it is called.
    pub name: String,
    /// Its side of what happened.
    pub kind: Kind,
    /// When it began.
    pub begun: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What there is to say of it; texts are bounded.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The side of what happened that a span tells of, with its number in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody else took part.
    Internal = 1,
    /// It answered.
    Server = 2,
    /// It asked.
    Client = 3,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What the receiver is told.
    pub told: TraceParent,
    /// The parent of its span, if it is recorded and has one.
    parent: Option<[u8; 8]>,
    /// Whether it is recorded.
    pub recorded: bool,
}

impl Place {
    /// The place of an attempt at delivering this event, whose span would have this id. What is not recorded here is
    /// told as it came: a receiver must not name a span as its parent that nobody knows.
    pub fn of(event: &Event, recording: bool, span: [u8; 8]) -> Option<Self> {
        if !recording || !is_recorded(event) {
            return event.trace.map(|told| Self { told, parent: None, recorded: false });
        }
        let accepted = acceptance(event);
        // Nobody handed in what the daemon says of itself.
        let parent = (event.source != OWN_SOURCE).then_some(accepted.span);
        Some(Self { told: accepted.under(span), parent, recorded: true })
    }
}

/// Whether what happens to an event is told, where it is told at all: whoever began its trace decides.
fn is_recorded(event: &Event) -> bool {
    event.trace.is_none_or(|trace| trace.is_sampled())
}

/// The id of the trace that an event belongs to, if any.
pub fn trace_of(event: &Event, recording: bool) -> Option<String> {
    let begun = (recording && event.trace.is_none()).then(|| acceptance(event));
    event.trace.or(begun).map(|trace| Hex(&trace.trace).to_string())
}

/// The trace of an event with the span of its acceptance: always the same for the same event.
fn acceptance(event: &Event) -> TraceParent {
    let mut hash = Sha256::new();
    let time = event.time.as_microsecond().to_le_bytes();
    let came = event.trace.map(|trace| trace.span).unwrap_or_default();
    for part in [event.source.as_bytes(), event.id.as_bytes(), &time, &came] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    let hash = hash.finalize();
    trace.copy_from_slice(&hash[..16]);
    span.copy_from_slice(&hash[16..24]);
    // All zero is no id. It will not happen.
    span[0] |= u8::from(span == [0; 8]);
    trace[0] |= u8::from(trace == [0; 16]);
    match event.trace {
        Some(came) => came.under(span),
        None => TraceParent::sampled(trace, span),
    }
}

/// The span of an event that is handed in now, unless its sender wants none. How long it takes is not known yet.
pub fn accepted(event: &Event, hooks: usize, begun: Timestamp) -> Option<Span> {
    let mut attributes = vec![
        ("messaging.system", text("postrider")),
        ("messaging.operation.name", text("accept")),
        ("messaging.message.id", text(&event.id)),
        ("messaging.message.body.size", whole(event.raw.len())),
        ("cloudevents.event_id", text(&event.id)),
        ("cloudevents.event_type", text(&event.kind)),
        ("postrider.hooks", whole(hooks)),
    ];
    if !event.source.is_empty() {
        attributes.push(("cloudevents.event_source", text(&event.source)));
    }
    is_recorded(event).then(|| Span {
        id: acceptance(event),
        parent: event.trace.map(|trace| trace.span),
        name: "accept".to_owned(),
        kind: Kind::Server,
        begun,
        took: Duration::ZERO,
        attributes,
        error: None,
    })
}

/// What is known of an attempt when it is over.
pub struct Tried<'a> {
    /// At what.
    pub delivery: &'a Delivery,
    /// How it was recorded: without secrets.
    pub attempt: &'a Attempt,
    /// What the delivery has become.
    pub outcome: &'static str,
    /// The request, if one could be made.
    pub request: Option<&'a Request>,
    /// Why no answer came, if none did.
    pub error: Option<&'a SendError>,
}

/// The span of an attempt.
pub fn attempted(place: &Place, tried: &Tried<'_>) -> Span {
    let Tried { delivery, attempt, outcome, request, error } = tried;
    let mut attributes = vec![
        ("messaging.system", text("postrider")),
        ("messaging.operation.name", text("deliver")),
        ("messaging.operation.type", text("send")),
        ("messaging.destination.name", text(&delivery.hook)),
        ("messaging.message.id", text(&delivery.event.id)),
        ("cloudevents.event_id", text(&delivery.event.id)),
        ("cloudevents.event_type", text(&delivery.event.kind)),
        ("postrider.hook", text(&delivery.hook)),
        ("postrider.delivery", text(&delivery.id)),
        ("postrider.attempt", Attribute::Whole(attempt.number.into())),
        ("postrider.outcome", text(outcome)),
    ];
    if !attempt.verdict.is_empty() {
        attributes.push(("postrider.verdict", text(&attempt.verdict)));
    }
    if let Some(request) = request {
        attributes.push(("http.request.method", text(known(&request.method))));
        attributes.extend(server(&request.url));
    }
    if attempt.number > 1 {
        attributes.push(("http.request.resend_count", Attribute::Whole(i64::from(attempt.number) - 1)));
    }
    if let Some(status) = attempt.status {
        attributes.push(("http.response.status_code", Attribute::Whole(status.into())));
    }
    let kind_of_error = kind_of_error(attempt, request.is_some(), *error);
    if let Some(kind) = &kind_of_error {
        attributes.push(("error.type", text(kind)));
    }
    Span {
        id: place.told,
        parent: place.parent,
        name: format!("deliver {}", delivery.hook),
        kind: if request.is_some() { Kind::Client } else { Kind::Internal },
        begun: attempt.started,
        took: attempt.duration,
        attributes,
        error: kind_of_error.map(|_| bounded(&attempt.why)),
    }
}

/// A word for what went wrong, of few.
fn kind_of_error(attempt: &Attempt, was_sent: bool, error: Option<&SendError>) -> Option<String> {
    if attempt.verdict == "delivered" {
        return None;
    }
    if !was_sent {
        return Some("render".to_owned());
    }
    let word = match error {
        None => match attempt.status {
            Some(status) if status >= 400 => return Some(status.to_string()),
            // It says 200 to everything: the platform knows better.
            _ => &attempt.verdict,
        },
        Some(SendError::Dns { .. }) => "dns",
        Some(SendError::Connect { .. }) => "connect",
        Some(SendError::Refused { .. }) => "address_refused",
        Some(SendError::Tls { .. }) => "tls",
        Some(SendError::Timeout(_)) => "timeout",
        Some(SendError::Broken(_)) => "connection_broken",
        Some(SendError::Unsendable(_)) => "unsendable",
    };
    Some(word.to_owned())
}

/// The methods that those who read traces know.
fn known(method: &Method) -> &str {
    match method.as_str() {
        known @ ("CONNECT" | "DELETE" | "GET" | "HEAD" | "OPTIONS" | "PATCH" | "POST" | "PUT" | "TRACE") => known,
        _ => "_OTHER",
    }
}

/// Host and port. The rest of a URL is often the credential.
fn server(url: &str) -> Vec<(&'static str, Attribute)> {
    let Ok(url) = url::Url::parse(url) else { return Vec::new() };
    let host = url.host_str().map(|host| ("server.address", text(host)));
    let port = url.port_or_known_default().map(|port| ("server.port", Attribute::Whole(port.into())));
    host.into_iter().chain(port).collect()
}

fn text(text: &str) -> Attribute {
    Attribute::Text(bounded(text))
}

fn bounded(text: &str) -> String {
    truncate_bytes(text, limits::SPAN_TEXT).to_owned()
}

fn whole(number: usize) -> Attribute {
    Attribute::Whole(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
