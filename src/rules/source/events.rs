//! What the script of a source returned, as events or as an answer.

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use rhai::{Array, Dynamic, Map};
use sha2::{Digest, Sha256};

use super::request::{Incoming, Read};
use crate::rules::diagnostic::Diagnostic;
use crate::rules::script::{Refuse, Respond, to_json, type_word};
use crate::rules::text::truncate_bytes;
use crate::rules::yaml::reader::nearest;
use crate::words::event::{Event, media_type_is_json};
use crate::words::limits;
use crate::words::trace::{TRACEPARENT, TraceParent};

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Events, with what is to be said about them in the log.
    Events(Vec<Event>, Vec<String>),
    /// A handshake: nothing is stored.
    Respond {
        /// The status.
        status: u16,
        /// The headers.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
    },
    /// The sender is wrong: nothing is stored.
    Refused {
        /// The status.
        status: u16,
        /// Why, for the sender.
        why: String,
    },
    /// We are wrong: nothing is stored, and the sender should send again.
    Failed(Box<Diagnostic>),
    /// A secret cannot be had: the same.
    Missing {
        /// Its name.
        secret: String,
        /// Why.
        why: String,
    },
}

const KEYS: [&str; 8] = ["type", "id", "time", "source", "data", "body", "content_type", "attributes"];

/// Reads what `fn events` returned.
///
/// # Errors
/// It is nothing that `fn events` may return.
pub(super) fn read(
    made: Dynamic,
    incoming: &Incoming,
    read: &Read,
    source: &str,
    now: Timestamp,
) -> Result<Outcome, String> {
    if let Some(refuse) = made.read_lock::<Refuse>() {
        return Ok(Outcome::Refused { status: refuse.status, why: refuse.why.clone() });
    }
    if let Some(respond) = made.read_lock::<Respond>() {
        return Ok(Outcome::Respond {
            status: respond.status,
            headers: respond.header_map()?,
            body: respond.body.clone(),
        });
    }
    let entries = match made.read_lock::<Array>() {
        Some(array) => array.to_vec(),
        None if made.is_map() => vec![made.clone()],
        None => return Err(format!("fn events gave {} instead of an array of events", type_word(&made))),
    };
    if entries.len() > limits::HTTP_BATCH {
        return Err(format!("fn events gave more than {} events", limits::HTTP_BATCH));
    }
    let mut maker = Maker { incoming, read, source, now, derived: derived(incoming, source), notes: Vec::new() };
    let several = entries.len() > 1;
    let events: Result<Vec<_>, _> = (1..)
        .zip(&entries)
        .map(|(number, entry)| {
            let made = maker.event(entry, several.then_some(number));
            made.map_err(|why| if several { format!("event {number} of fn events: {why}") } else { why })
        })
        .collect();
    Ok(Outcome::Events(events?, maker.notes))
}

struct Maker<'a> {
    incoming: &'a Incoming,
    read: &'a Read,
    source: &'a str,
    now: Timestamp,
    derived: String,
    notes: Vec<String>,
}

impl Maker<'_> {
    fn event(&mut self, made: &Dynamic, number: Option<usize>) -> Result<Event, String> {
        let Some(map) = made.read_lock::<Map>() else {
            return Err(format!("an event is a map, not {}", type_word(made)));
        };
        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let near = nearest(key, &KEYS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(format!("an event has no `{key}`{near}"));
        }
        let given = |key: &str| map.get(key).filter(|value| !value.is_unit());
        let text = |key: &str| given(key).map(|value| scalar(value, key)).transpose();
        let kind = text("type")?.filter(|kind| !kind.is_empty()).ok_or("an event needs a type")?;
        let id = match text("id")?.filter(|id| !id.is_empty()) {
            Some(id) => fitting_id(id),
            None => number.map_or_else(|| self.derived.clone(), |number| format!("{}-{number}", self.derived)),
        };
        let body = match given("body") {
            None => self.incoming.body.clone(),
            Some(body) => bytes(body)?,
        };
        let mut event = Event::new(fitting_name(&kind), Some(id), body, self.now);
        event.source = text("source")?.map_or_else(|| self.source.to_owned(), |source| fitting_name(&source));
        event.content_type = match text("content_type")? {
            Some(content_type) => content_type,
            None if self.incoming.content_type().is_empty() => "application/octet-stream".to_owned(),
            None => self.incoming.content_type().to_owned(),
        };
        if let Some(time) = given("time") {
            match moment(time) {
                Some(time) => event.time = time,
                None => {
                    self.notes.push(format!("the time {time:?} cannot be read: the event has the time of its arrival"))
                }
            }
        }
        match given("data") {
            Some(data) => {
                let json = to_json(data).map_err(|why| format!("the data {why}"))?;
                event.give_data(Some(json.to_string()));
            }
            // JSON that its sender calls something else is JSON all the same.
            None if given("body").is_none() && !media_type_is_json(&event.content_type) => {
                event.give_data(self.read.json.as_ref().map(|json| json.to_string()));
            }
            None => {}
        }
        let attributes = given("attributes").and_then(|attributes| attributes.read_lock::<Map>());
        let trace = attributes.as_ref().and_then(|attributes| attributes.get(TRACEPARENT));
        event.trace = trace.and_then(|text| TraceParent::parse(&text.as_immutable_string_ref().ok()?));
        Ok(event)
    }
}

/// An id for what has none: the same request again has the same.
fn derived(incoming: &Incoming, source: &str) -> String {
    let mut hash = Sha256::new();
    for part in [source.as_bytes(), incoming.event.as_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    // What says all in its URL, as a GET does, is told apart by it.
    let said = if incoming.body.is_empty() { incoming.query().as_bytes() } else { &incoming.body };
    hash.update(said);
    hex(&hash.finalize()[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A sender would send for ever what is refused for the length of its id.
fn fitting_id(id: String) -> String {
    if id.len() <= limits::NAME && !id.chars().any(char::is_control) {
        return id;
    }
    format!("sha256-{}", hex(&Sha256::digest(id.as_bytes())))
}

/// The same for a type or a source, of which the beginning counts.
fn fitting_name(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    truncate_bytes(&clean, limits::NAME).to_owned()
}

fn scalar(value: &Dynamic, key: &str) -> Result<String, String> {
    let text = value.clone().into_string().or_else(|_| value.as_int().map(|number| number.to_string()));
    text.map_err(|_| format!("`{key}` must be a text, not {}", type_word(value)))
}

fn bytes(value: &Dynamic) -> Result<Bytes, String> {
    match value.as_immutable_string_ref() {
        Ok(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Err(_) => value
            .clone()
            .into_blob()
            .map(Bytes::from)
            .map_err(|_| format!("`body` must be a text or bytes, not {}", type_word(value))),
    }
}

/// RFC 3339 text, or seconds or milliseconds since 1970 as a number or its text.
fn moment(value: &Dynamic) -> Option<Timestamp> {
    // Beyond it are milliseconds: in seconds that is the year 5138.
    const MILLISECONDS: f64 = 1e11;
    let counted = |number: f64| {
        let millis = if number.abs() >= MILLISECONDS { number } else { number * 1000.0 }.round();
        (millis.abs() < 1e15).then(|| Timestamp::from_millisecond(millis as i64).ok()).flatten()
    };
    if let Some(number) = value.as_int().map(|whole| whole as f64).ok().or_else(|| value.as_float().ok()) {
        return counted(number);
    }
    let text = value.as_immutable_string_ref().ok()?;
    text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(counted))
}
