//! A vendor's request, and how its script sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use rhai::{Array, Dynamic, Map};

use super::verify::IN_QUERY;
use crate::rules::script::{Opaque, blob, from_exact, map};
use crate::rules::text::json_fault;
use crate::words::json::Exact;

/// A request to `/in/NAME`, as it came.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its method.
    pub method: Method,
    /// The path and the query, exactly as they were sent.
    pub target: String,
    /// What stands in the path behind `/in/NAME/`, decoded; empty when nothing does.
    pub event: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Bytes,
}

/// A body read as JSON, as far as it is.
pub(super) struct Read {
    pub(super) json: Option<Arc<Exact>>,
    pub(super) error: Option<String>,
}

impl Incoming {
    /// The path alone.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query as it was sent.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The media type as it was sent.
    pub fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn is_form(&self) -> bool {
        let essence = self.content_type().split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    /// Vendors mislabel their bodies, so whatever is JSON is read as JSON.
    pub(super) fn json(&self) -> Read {
        let body = self.body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&self.body);
        if body.trim_ascii().is_empty() {
            return Read { json: None, error: Some("the body is empty".to_owned()) };
        }
        if let Some(json) = Exact::parse(body) {
            return Read { json: Some(Arc::new(json)), error: None };
        }
        let error = serde_json::from_slice::<serde_json::Value>(body).err();
        Read {
            json: None,
            error: Some(error.map_or_else(|| "it is nested too deeply".to_owned(), |why| json_fault(&why))),
        }
    }

    /// What the script is given; with `hide_token` what carries the token is left out of the query.
    pub(super) fn for_script(&self, read: &Read, options: Map, hide_token: bool) -> Map {
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) => text.into(),
            Err(_) => blob(self.body.to_vec()),
        };
        let form = if self.is_form() { fields(&self.body, false) } else { Map::new() };
        let tree = read.json.as_ref().map_or(Dynamic::UNIT, |json| match &**json {
            Exact::List(_) | Exact::Map(_) => Dynamic::from(Opaque(json.clone())),
            plain => from_exact(plain),
        });
        map([
            ("method", self.method.as_str().into()),
            ("path", self.path().into()),
            ("event", self.event.as_str().into()),
            ("query", fields(self.query().as_bytes(), hide_token).into()),
            ("headers", headers(&self.headers).into()),
            ("body", body),
            ("json", read.json.as_ref().map_or(Dynamic::UNIT, |json| from_exact(json))),
            ("tree", tree),
            ("json_error", read.error.as_deref().map_or(Dynamic::UNIT, Into::into)),
            ("form", form.into()),
            ("options", options.into()),
        ])
    }
}

/// Names to texts; to an array of texts where a name stands there several times.
fn fields(encoded: &[u8], hide_token: bool) -> Map {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(encoded) {
        if !hide_token || !IN_QUERY.contains(&&*name) {
            fields.entry(name.into_owned()).or_default().push(value.into_owned());
        }
    }
    let value = |values: Vec<String>| match <[String; 1]>::try_from(values) {
        Ok([one]) => one.into(),
        Err(several) => several.into_iter().map(Dynamic::from).collect::<Array>().into(),
    };
    fields.into_iter().map(|(name, values)| (name.into(), value(values))).collect()
}

/// Several headers of one name are one list with commas, as HTTP has it.
fn headers(headers: &HeaderMap) -> Map {
    let text = |name: &http::HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    };
    headers.keys().map(|name| (name.as_str().into(), text(name).into())).collect()
}
