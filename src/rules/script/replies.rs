//! What the script of a source may give instead of events, and what it is given to read its requests.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map};
use serde_json::Value as Json;

use super::value::{Opaque, blob, bytes, from_json};
use super::{map, type_word};
use crate::rules::cloudevents::{self, CloudEvent, Fault};
use crate::rules::text::json_fault;
use crate::words::json::Exact;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Nothing is stored, and the sender hears why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refuse {
    /// 400 to 599.
    pub(crate) status: u16,
    /// For the sender.
    pub(crate) why: String,
}

/// Nothing is stored, and the sender hears what it asked for: a handshake.
#[derive(Clone, Debug)]
pub(crate) struct Respond {
    /// 200 to 599.
    pub(crate) status: u16,
    /// Names to texts.
    pub(crate) headers: Map,
    /// The body.
    pub(crate) body: Bytes,
}

/// Makes them known to the engine.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Refuse>("refusal")
        .register_type_with_name::<Respond>("response")
        .register_fn("refuse", |status: i64, why: &str| -> Result<Refuse> {
            Ok(Refuse { status: within(status, 400, "refuse")?, why: why.to_owned() })
        })
        .register_fn("respond", |status: i64, headers: Map, body: Dynamic| -> Result<Respond> {
            let body = if body.is_unit() { Vec::new() } else { bytes(&body)? };
            Ok(Respond { status: within(status, 200, "respond")?, headers, body: body.into() })
        })
        .register_fn("parse_tree", |text: &str| -> Result<Dynamic> {
            if let Some(json) = Exact::parse(text.as_bytes()) {
                return Ok(Opaque::dynamic(json));
            }
            let why = serde_json::from_str::<Json>(text).err().map(|error| json_fault(&error)).unwrap_or_default();
            Err(format!("this text is not JSON: {why}").into())
        })
        .register_fn("cloud_events", cloud_events);
}

fn within(status: i64, least: u16, function: &str) -> Result<u16> {
    let status = u16::try_from(status).ok().filter(|status| (least..600).contains(status));
    status.ok_or_else(|| format!("{function} takes a status from {least} to 599").into())
}

/// The CloudEvents of a request as the events of a source, or the refusal of one that holds none.
fn cloud_events(request: Map) -> Result<Dynamic> {
    let wrong = || Box::<EvalAltResult>::from("cloud_events takes the request that events was given");
    let given = request.get("headers").and_then(|value| value.read_lock::<Map>()).ok_or_else(wrong)?;
    let mut headers = HeaderMap::new();
    for (name, value) in given.iter() {
        let value = value.clone().into_string().map_err(|_| wrong())?;
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    let body = bytes(request.get("body").ok_or_else(wrong)?)?;
    Ok(match cloudevents::read(&headers, &body.into()) {
        Ok(events) => events.into_iter().map(|event| Dynamic::from_map(members(event))).collect::<Array>().into(),
        Err(Fault::Bad(why)) => Dynamic::from(Refuse { status: 400, why }),
        Err(Fault::Unsupported(why)) => Dynamic::from(Refuse { status: 415, why }),
    })
}

fn members(event: CloudEvent) -> Map {
    let body = match String::from_utf8(event.data.into()) {
        Ok(text) => text.into(),
        Err(error) => blob(error.into_bytes()),
    };
    map([
        ("type", event.kind.into()),
        ("id", event.id.into()),
        ("source", event.source.into()),
        ("time", event.time.map_or(Dynamic::UNIT, |time| time.to_string().into())),
        ("body", body),
        ("content_type", event.content_type.into()),
        ("attributes", from_json(&Json::Object(event.attributes))),
    ])
}

impl Respond {
    /// The headers as they go out.
    ///
    /// # Errors
    /// One of them is none.
    pub(crate) fn header_map(&self) -> std::result::Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let text = value.clone().into_string().or_else(|_| value.as_int().map(|number| number.to_string()));
            let text = text.map_err(|_| format!("the header {name} must be a text, not {}", type_word(value)))?;
            let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` cannot be the name of a header"))?;
            let text = HeaderValue::from_str(&text).map_err(|_| format!("the header {name} has control characters"))?;
            headers.insert(parsed, text);
        }
        Ok(headers)
    }
}
