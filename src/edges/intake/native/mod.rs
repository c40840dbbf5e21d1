//! Native events: JSON text to `Event`, and `Answer` to JSON text.
//!
//! An event is `{"type", "data", "id", "source", "time", "traceparent"}`; only `type` is required. The bytes of `data` are kept as they
//! were written, and are checked once here, so that every later reader can rely on them.

use bytes::Bytes;
use jiff::Timestamp;

use crate::edges::intake::native::members::{Elements, Native, Sound};
use crate::edges::intake::{Answer, Code, Refusal};
use crate::words::event::{Event, OWN_SOURCE, Peer};
use crate::words::json::Exact;
use crate::words::limits;

mod members;
mod named;

pub use self::named::{member, with_members};

const EXAMPLE: &str = r#"{"type": "build.finished", "data": {}}"#;

/// One event.
///
/// # Errors
/// `BadEvent` or `TooLarge`, saying what and where.
pub fn parse(bytes: &[u8], now: Timestamp, peer: Option<Peer>) -> Result<Event, Refusal> {
    bounded(bytes)?;
    let text = utf8(bytes)?;
    event(text, now, peer).map_err(|fault| fault.refusal(text))
}

/// The events of a JSON body: one object, or an array of them. One bad event refuses the whole body.
///
/// # Errors
/// `BadEvent` or `TooLarge`, saying what and where.
pub fn parse_body(bytes: &[u8], now: Timestamp, peer: Option<Peer>) -> Result<Vec<Event>, Refusal> {
    if bytes.trim_ascii_start().first() != Some(&b'[') {
        return Ok(vec![parse(bytes, now, peer)?]);
    }
    let text = utf8(bytes)?;
    let elements: Elements = serde_json::from_str(text).map_err(|error| Fault::json(text, &error).refusal(text))?;
    if elements.0.len() > limits::HTTP_BATCH {
        return Err(too_many());
    }
    let mut events = Vec::with_capacity(elements.0.len());
    for (number, element) in (1..).zip(elements.0) {
        let element = element.get();
        bounded(element.as_bytes())?;
        events.push(event(element, now, peer).map_err(|mut fault| {
            fault.offset += element.as_ptr() as usize - text.as_ptr() as usize;
            fault.what = format!("event {number}: {}", fault.what);
            fault.refusal(text)
        })?);
    }
    Ok(events)
}

/// The events of an NDJSON body, one per line; empty lines are passed over. A bad line refuses only itself.
///
/// # Errors
/// `TooLarge` when there are more than `limits::HTTP_BATCH`.
pub fn parse_lines(bytes: &[u8], now: Timestamp, peer: Option<Peer>) -> Result<Vec<Result<Event, Refusal>>, Refusal> {
    let mut events = vec![];
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if events.len() == limits::HTTP_BATCH {
            return Err(too_many());
        }
        events.push(parse(line, now, peer).map_err(|refusal| {
            let message = format!("line {number}: {}", refusal.message);
            Refusal { message, ..refusal }
        }));
    }
    Ok(events)
}

/// One answer as JSON text, without a line break.
pub fn answer_json(answer: &Answer) -> Vec<u8> {
    let mut text = Vec::with_capacity(96);
    write_answer(&mut text, answer);
    text
}

/// Appends one answer as JSON text, without a line break.
pub fn write_answer(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Accepted { id, hooks, duplicate } => {
            out.extend_from_slice(b"{\"id\":");
            write_text(out, id);
            out.extend_from_slice(b",\"hooks\":[");
            for (number, hook) in hooks.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_text(out, hook);
            }
            out.extend_from_slice(if *duplicate { b"],\"duplicate\":true}" } else { b"],\"duplicate\":false}" });
        }
        Answer::Refused(refusal) => {
            out.push(b'{');
            write_error(out, refusal);
            out.push(b'}');
        }
    }
}

/// Appends `"error":{"code":…,"message":…}`.
pub(crate) fn write_error(out: &mut Vec<u8>, refusal: &Refusal) {
    out.extend_from_slice(b"\"error\":{\"code\":\"");
    out.extend_from_slice(refusal.code.word().as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    write_text(out, &refusal.message);
    out.push(b'}');
}

/// Appends a JSON string.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing text to memory cannot fail");
}

/// Whether a text can be the id, type or source of an event; `name` is what to call it.
///
/// # Errors
/// `BadEvent`, saying why not.
pub fn check_name(name: &str, text: &str) -> Result<(), Refusal> {
    match name_fault(name, text) {
        Some(what) => Err(Refusal::new(Code::BadEvent, what)),
        None => Ok(()),
    }
}

/// A time as CloudEvents writes it.
///
/// # Errors
/// `BadEvent`, showing how a time is written.
pub fn check_time(text: &str) -> Result<Timestamp, Refusal> {
    // jiff also reads "2026-11-22 10Z" and zones in brackets, which nobody else does.
    let as_written = text.as_bytes().get(10).is_some_and(|byte| matches!(byte, b'T' | b't' | b' '));
    match text.parse::<Timestamp>() {
        Ok(time) if as_written && text.len() >= 20 && !text.contains('[') => Ok(time),
        _ => Err(Refusal::new(
            Code::BadEvent,
            "time must be a time with its zone (RFC 3339) such as 2026-11-22T10:30:00Z",
        )),
    }
}

fn bounded(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes.len() > limits::EVENT {
        true => Err(too_large()),
        false => Ok(()),
    }
}

/// The refusal of an event beyond its bound.
pub(crate) fn too_large() -> Refusal {
    Refusal::new(Code::TooLarge, format!("one event may have at most {} bytes", limits::EVENT))
}

fn too_many() -> Refusal {
    Refusal::new(Code::TooLarge, format!("one request may carry at most {} events", limits::HTTP_BATCH))
}

fn utf8(bytes: &[u8]) -> Result<&str, Refusal> {
    let bad = |message: String| Err(Refusal::new(Code::BadEvent, message));
    match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with('\u{feff}') => {
            bad("the event begins with a byte order mark (BOM); send UTF-8 without one".to_owned())
        }
        Ok(text) => Ok(text),
        Err(error) => bad(format!("the event is not UTF-8: byte {} is wrong", error.valid_up_to() + 1)),
    }
}

/// What is wrong, and at which byte of the text.
struct Fault {
    offset: usize,
    what: String,
}

impl Fault {
    fn json(text: &str, error: &serde_json::Error) -> Self {
        let line_start = match error.line().saturating_sub(1) {
            0 => 0,
            breaks => text.match_indices('\n').nth(breaks - 1).map_or(0, |(at, _)| at + 1),
        };
        let offset = (line_start + error.column().saturating_sub(1)).min(text.len());
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        let what = match (error.is_data(), error.is_eof(), what) {
            (true, ..) => what.to_owned(),
            (_, true, _) => "the event is not JSON: it ends too early".to_owned(),
            (.., "recursion limit exceeded") => "the event is nested too deeply".to_owned(),
            (..) => format!("the event is not JSON: {what}"),
        };
        Self { offset, what }
    }

    fn refusal(&self, text: &str) -> Refusal {
        let before = &text.as_bytes()[..self.offset.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let place = match text.trim_ascii_end().contains('\n') {
            true => format!("line {line}, column {column}"),
            false => format!("column {column}"),
        };
        Refusal::new(Code::BadEvent, format!("{} ({place})", self.what))
    }
}

fn event(text: &str, now: Timestamp, peer: Option<Peer>) -> Result<Event, Fault> {
    let whole = |what: String| Fault { offset: text.len() - text.trim_ascii_start().len(), what };
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(whole(format!("an array is not an event; an event is an object such as {EXAMPLE}"))),
        _ => return Err(whole(format!("an event is a JSON object such as {EXAMPLE}"))),
    }
    let native: Native<'_> = serde_json::from_str(text).map_err(|error| Fault::json(text, &error))?;

    let Some(kind) = native.kind else {
        return Err(whole(format!("the event has no type; an event is an object such as {EXAMPLE}")));
    };
    for (name, value) in [("type", Some(&kind)), ("id", native.id.as_ref())] {
        if let Some(what) = value.and_then(|value| name_fault(name, value)) {
            return Err(whole(what));
        }
    }
    let source = native.source.unwrap_or_default();
    if let Some(what) = (!source.is_empty()).then(|| name_fault("source", &source)).flatten() {
        return Err(whole(what));
    }
    if source == OWN_SOURCE {
        return Err(whole("the source postrider is the daemon's own: send another, or none".to_owned()));
    }
    let time = match native.time {
        Some(time) => check_time(&time).map_err(|refusal| whole(refusal.message))?,
        None => now,
    };
    let raw = match native.data {
        Some(data) => {
            let data = data.get();
            if let Err(error) = serde_json::from_str::<Sound>(data)
                // A number beyond the range of floats is a number all the same.
                && Exact::parse(data.as_bytes()).is_none()
            {
                let mut fault = Fault::json(data, &error);
                fault.offset += data.as_ptr() as usize - text.as_ptr() as usize;
                return Err(fault);
            }
            Bytes::copy_from_slice(data.as_bytes())
        }
        None => Bytes::from_static(b"null"),
    };

    let mut event = Event::new(kind, native.id, raw, now);
    event.source = source;
    event.time = time;
    event.peer = peer;
    event.trace = native.trace;
    Ok(event)
}

fn name_fault(name: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        Some(format!("{name} must not be empty"))
    } else if text.len() > limits::NAME {
        Some(format!("{name} is longer than {} bytes", limits::NAME))
    } else if text.chars().any(char::is_control) {
        Some(format!("{name} must not contain control characters"))
    } else {
        None
    }
}
