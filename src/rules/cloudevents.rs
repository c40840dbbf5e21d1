//! CloudEvents 1.0 over HTTP: structured, batched and binary requests as plain values.
//!
//! Binary: the attributes stand in `ce-…` headers and the body is the data. Structured: the body is one JSON object with
//! attributes and data; batched: an array of them. The bytes of the data are kept as they were written.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::rules::text::json_fault;
use crate::words::event::{JSON, media_type_is_json};
use crate::words::limits;
use crate::words::trace::{TRACEPARENT, TraceParent};

/// One event, with the bytes of its data as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    /// Unique together with `source`.
    pub id: String,
    /// `type`.
    pub kind: String,
    /// Who says so.
    pub source: String,
    /// When it happened, if it says.
    pub time: Option<Timestamp>,
    /// Its data, byte for byte.
    pub data: Bytes,
    /// The media type of `data`.
    pub content_type: String,
    /// The trace that it belongs to (`traceparent` of the extension for distributed tracing).
    pub trace: Option<TraceParent>,
    /// Every attribute, the four above among them.
    pub attributes: Map<String, Json>,
}

/// Why a request holds no CloudEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It cannot be understood.
    Bad(String),
    /// Its format is one that is not read here.
    Unsupported(String),
}

/// How the events stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Structured,
    Batched,
    Binary,
}

const STRUCTURED: &str = "application/cloudevents";
const BATCHED: &str = "application/cloudevents-batch";

/// Whether a request with these headers means to carry CloudEvents.
pub fn is_meant(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence.starts_with(STRUCTURED) || headers.keys().any(|name| name.as_str().starts_with("ce-"))
}

/// The events of a request.
///
/// # Errors
/// Why there are none.
pub fn read(headers: &HeaderMap, body: &Bytes) -> Result<Vec<CloudEvent>, Fault> {
    match mode(headers)? {
        Mode::Binary => Ok(vec![binary(headers, body)?]),
        Mode::Structured => Ok(vec![structured(text(body)?)?]),
        Mode::Batched => {
            let entries: Vec<&RawValue> =
                serde_json::from_str(text(body)?).map_err(|error| bad(format!("not JSON: {}", json_fault(&error))))?;
            if entries.len() > limits::HTTP_BATCH {
                return Err(bad(format!("one request may carry at most {} events", limits::HTTP_BATCH)));
            }
            let numbered = (1..).zip(entries);
            numbered
                .map(|(number, entry)| {
                    structured(entry.get()).map_err(|fault| match fault {
                        Fault::Bad(what) => Fault::Bad(format!("event {number}: {what}")),
                        other => other,
                    })
                })
                .collect()
        }
    }
}

fn mode(headers: &HeaderMap) -> Result<Mode, Fault> {
    let essence = essence(headers);
    // The batch first: its name begins like the other one.
    let (mode, format) = if let Some(format) = essence.strip_prefix(BATCHED) {
        (Mode::Batched, format)
    } else if let Some(format) = essence.strip_prefix(STRUCTURED) {
        (Mode::Structured, format)
    } else {
        return Ok(Mode::Binary);
    };
    match format {
        "" | "+json" => Ok(mode),
        _ => Err(Fault::Unsupported(format!(
            "CloudEvents are read as JSON (application/cloudevents+json), not {essence}"
        ))),
    }
}

fn essence(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn text(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body)
        .map_err(|error| bad(format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to() + 1)))
}

fn bad(what: impl Into<String>) -> Fault {
    Fault::Bad(what.into())
}

/// One JSON object with attributes and data.
fn structured(text: &str) -> Result<CloudEvent, Fault> {
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|error| bad(format!("not a CloudEvent: {}", json_fault(&error))))?;
    let mut attributes = Map::new();
    for (name, value) in &members {
        if !matches!(name.as_str(), "data" | "data_base64") {
            let value: Json = serde_json::from_str(value.get()).map_err(|error| bad(json_fault(&error)))?;
            if !value.is_null() {
                attributes.insert(name.clone(), value);
            }
        }
    }
    let declared = attributes.get("datacontenttype").and_then(Json::as_str).map(str::to_owned);
    let (data, content_type) = match (members.get("data"), members.get("data_base64")) {
        (Some(_), Some(_)) => return Err(bad("it has both data and data_base64")),
        (Some(data), None) => {
            let is_json = declared.as_deref().is_none_or(media_type_is_json);
            let as_text = if is_json { None } else { serde_json::from_str::<String>(data.get()).ok() };
            // Data of another media type is a JSON string that holds it.
            let bytes = as_text.map_or_else(|| Bytes::copy_from_slice(data.get().as_bytes()), Bytes::from);
            (bytes, declared.unwrap_or_else(|| JSON.to_owned()))
        }
        (None, Some(encoded)) => {
            let text: String = serde_json::from_str(encoded.get()).map_err(|_| bad("data_base64 is no text"))?;
            let bytes = STANDARD.decode(text.trim()).map_err(|_| bad("data_base64 is not base64"))?;
            (bytes.into(), declared.unwrap_or_else(|| "application/octet-stream".to_owned()))
        }
        (None, None) => (Bytes::from_static(b"null"), JSON.to_owned()),
    };
    event(attributes, data, content_type)
}

/// The attributes from headers, the data as the body.
fn binary(headers: &HeaderMap, body: &Bytes) -> Result<CloudEvent, Fault> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let value = decoded(value.as_bytes()).ok_or_else(|| bad(format!("the header {name} cannot be decoded")))?;
        attributes.insert(attribute.to_owned(), Json::String(value));
    }
    if attributes.is_empty() {
        let what =
            "this is no CloudEvent: it has neither ce- headers nor the Content-Type application/cloudevents+json";
        return Err(bad(what));
    }
    let declared = headers.get(CONTENT_TYPE).map(|value| value.to_str().map(str::to_owned));
    let declared = declared.transpose().map_err(|_| bad("the Content-Type is not text"))?;
    if let Some(declared) = &declared {
        attributes.insert("datacontenttype".to_owned(), declared.as_str().into());
    }
    let content_type = declared.unwrap_or_else(|| "application/octet-stream".to_owned());
    event(attributes, body.clone(), content_type)
}

/// A header's value: percent-encoded once, perhaps in quotes.
fn decoded(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let plain = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => {
            let mut text = String::with_capacity(quoted.len());
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                text.push(if c == '\\' { chars.next()? } else { c });
            }
            text
        }
        None => value.to_owned(),
    };
    percent_encoding::percent_decode_str(&plain).decode_utf8().ok().map(|text| text.into_owned())
}

fn event(attributes: Map<String, Json>, data: Bytes, content_type: String) -> Result<CloudEvent, Fault> {
    match attributes.get("specversion").and_then(Json::as_str) {
        Some("1.0") => {}
        Some(other) => return Err(bad(format!("specversion {other:?} is not read here: CloudEvents 1.0 are"))),
        None => return Err(bad("specversion is missing: it must be \"1.0\"")),
    }
    let required = |name: &str| match attributes.get(name) {
        Some(Json::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(bad(format!("{name} must be a text that is not empty"))),
        None => Err(bad(format!("{name} is missing: a CloudEvent has id, source, specversion and type"))),
    };
    let (id, kind, source) = (required("id")?, required("type")?, required("source")?);
    let time = match attributes.get("time") {
        None => None,
        Some(time) => {
            let read = time.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            Some(read.ok_or_else(|| bad(format!("time must be RFC 3339 such as 2026-11-22T10:30:00Z, not {time}")))?)
        }
    };
    let trace = attributes.get(TRACEPARENT).and_then(Json::as_str).and_then(TraceParent::parse);
    Ok(CloudEvent { id, kind, source, time, data, content_type, trace, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
        pairs.iter().map(|(name, text)| (name.parse::<HeaderName>().unwrap(), value(text))).collect()
    }

    fn one(pairs: &[(&str, &str)], body: &'static str) -> Result<CloudEvent, Fault> {
        read(&headers(pairs), &Bytes::from_static(body.as_bytes())).map(|mut events| events.remove(0))
    }

    const STRUCTURED_TYPE: (&str, &str) = ("content-type", "Application/CloudEvents+JSON; charset=utf-8");

    #[test]
    fn structured_keeps_the_bytes_of_its_data() {
        let body = r#"{"specversion":"1.0","id":"1","type":"a.b","source":"/s","time":"2026-11-22T10:30:00+08:00",
            "subject":"x","data":{"b": 1.50,  "a":[1]}}"#;
        let event = one(&[STRUCTURED_TYPE], body).unwrap();
        assert_eq!((&*event.id, &*event.kind, &*event.source), ("1", "a.b", "/s"));
        assert_eq!((&event.data[..], &*event.content_type), (&br#"{"b": 1.50,  "a":[1]}"#[..], JSON));
        assert_eq!(event.time.unwrap().to_string(), "2026-11-22T02:30:00Z");
        assert_eq!(event.attributes["subject"], "x");
    }

    #[test]
    fn data_of_other_kinds() {
        let with = |data: &str| {
            let body = format!(r#"{{"specversion":"1.0","id":"1","type":"t","source":"s"{data}}}"#);
            let event = read(&headers(&[STRUCTURED_TYPE]), &Bytes::from(body)).unwrap().remove(0);
            (String::from_utf8(event.data.to_vec()).unwrap(), event.content_type)
        };
        assert_eq!(with(""), ("null".into(), JSON.into()));
        assert_eq!(with(r#","data_base64":"aGk=""#), ("hi".into(), "application/octet-stream".into()));
        assert_eq!(with(r#","datacontenttype":"text/xml","data":"<a/>""#), ("<a/>".into(), "text/xml".into()));
        assert_eq!(with(r#","datacontenttype":"application/json","data":"x""#), ("\"x\"".into(), JSON.into()));
    }

    #[test]
    fn binary_decodes_its_headers_once() {
        let sent = [
            ("ce-specversion", "1.0"),
            ("ce-id", "%2541"),
            ("ce-type", "\"quoted \\\"type\\\"\""),
            ("ce-source", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("ce-ext", "100%25%20%22ok%22%20%E5%BA%94%E7%94%A8"),
            ("content-type", "text/plain"),
        ];
        let event = one(&sent, "hi").unwrap();
        assert_eq!((&*event.id, &*event.kind, &*event.source), ("%41", "quoted \"type\"", "Euro € 😀"));
        assert_eq!((event.attributes["ext"].as_str().unwrap(), &event.data[..]), ("100% \"ok\" 应用", &b"hi"[..]));
        assert_eq!(event.content_type, "text/plain");
        let broken = one(&[("ce-specversion", "1.0"), ("ce-id", "%C0%A0"), ("ce-type", "t"), ("ce-source", "s")], "");
        assert_eq!(broken, Err(bad("the header ce-id cannot be decoded")));
    }

    #[test]
    fn a_batch_is_told_from_one_and_names_the_bad_one() {
        let batch = [("content-type", "application/cloudevents-batch+json")];
        let good = r#"{"specversion":"1.0","id":"1","type":"t","source":"s"}"#;
        let body = Bytes::from(format!("[{good}, {good}]"));
        assert_eq!(read(&headers(&batch), &body).unwrap().len(), 2);
        assert_eq!(read(&headers(&batch), &Bytes::from_static(b"[]")), Ok(vec![]));
        let body = Bytes::from(format!("[{good}, {{\"specversion\":\"1.0\"}}]"));
        let Err(Fault::Bad(what)) = read(&headers(&batch), &body) else { panic!("it is bad") };
        assert!(what.starts_with("event 2: id is missing"), "{what}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, part) in [
            ("{", "line 1, column"),
            ("[]", "not a CloudEvent"),
            (r#"{"id":"1"}"#, "specversion is missing"),
            (r#"{"specversion":"0.3","id":"1","type":"t","source":"s"}"#, "specversion \"0.3\" is not read"),
            (r#"{"specversion":"1.0","id":1,"type":"t","source":"s"}"#, "id must be a text"),
            (r#"{"specversion":"1.0","id":"1","type":"","source":"s"}"#, "type must be a text"),
            (r#"{"specversion":"1.0","id":"1","type":"t","source":"s","time":"noon"}"#, "time must be RFC 3339"),
            (r#"{"specversion":"1.0","id":"1","type":"t","source":"s","data":1,"data_base64":""}"#, "both data and"),
        ] {
            match one(&[STRUCTURED_TYPE], body) {
                Err(Fault::Bad(what)) => assert!(what.contains(part), "{body}: {what}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        let avro = one(&[("content-type", "application/cloudevents+avro")], "");
        assert!(matches!(avro, Err(Fault::Unsupported(_))), "{avro:?}");
        assert!(is_meant(&headers(&[("ce-id", "1")])) && is_meant(&headers(&[STRUCTURED_TYPE])));
        assert!(!is_meant(&headers(&[("content-type", "application/json")])));
    }
}
