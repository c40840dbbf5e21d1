//! Spans as collectors take them: OTLP over HTTP, encoded as JSON. Ids are lower-case hexadecimal digits, 64-bit numbers are
//! texts, enumerations are numbers.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, Method};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{Attribute, Span};
use crate::rules::settings::Collector;
use crate::words::exchange::Request;
use crate::words::secret::Secrets;
use crate::words::trace::Hex;

/// The status of a span that failed.
const FAILED: u8 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: Json,
}

impl<'a> Pair<'a> {
    fn new(key: &'a str, value: &Attribute) -> Self {
        let value = match value {
            Attribute::Text(text) => json!({"stringValue": text}),
            Attribute::Whole(number) => json!({"intValue": number.to_string()}),
        };
        Self { key, value }
    }
}

impl<'a> From<&'a Span> for Written<'a> {
    fn from(span: &'a Span) -> Self {
        let begun = span.begun.as_nanosecond().max(0);
        let ended = begun.saturating_add(i128::try_from(span.took.as_nanos()).unwrap_or_default());
        Self {
            trace_id: Hex(&span.id.trace).to_string(),
            span_id: Hex(&span.id.span).to_string(),
            parent_span_id: span.parent.map(|parent| Hex(&parent).to_string()),
            name: &span.name,
            kind: span.kind as u8,
            start_time_unix_nano: begun.to_string(),
            end_time_unix_nano: ended.to_string(),
            attributes: span.attributes.iter().map(|(key, value)| Pair::new(key, value)).collect(),
            status: span.error.as_deref().map(|message| Status { code: FAILED, message }),
        }
    }
}

/// The body of a request with these spans; `host` is the machine that they are from.
pub fn body(spans: &[Span], host: &str) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Scope<'a> {
        scope: Json,
        spans: Vec<Written<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Resource<'a> {
        resource: Json,
        scope_spans: [Scope<'a>; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Whole<'a> {
        resource_spans: [Resource<'a>; 1],
    }
    let (name, version) = ("postrider", env!("CARGO_PKG_VERSION"));
    let pair = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let mut resource = vec![pair("service.name", name), pair("service.version", version)];
    if !host.is_empty() {
        resource.push(pair("host.name", host));
    }
    let scope =
        Scope { scope: json!({"name": name, "version": version}), spans: spans.iter().map(Written::from).collect() };
    let whole =
        Whole { resource_spans: [Resource { resource: json!({"attributes": resource}), scope_spans: [scope] }] };
    serde_json::to_vec(&whole).unwrap_or_default().into()
}

/// The request that hands them over.
///
/// # Errors
/// The token cannot be had, or cannot stand in a header.
pub fn request(collector: &Collector, secrets: &Secrets, body: Bytes) -> Result<Request, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secret) = &collector.token {
        let token = secrets.get(secret).map_err(|why| format!("secret {secret} cannot be read: {why}"))?;
        let (name, value): (HeaderName, _) = match &collector.token_header {
            Some(name) => (name.clone(), token.expose().to_owned()),
            None => (AUTHORIZATION, format!("Bearer {}", token.expose())),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| format!("secret {secret} cannot stand in a header: it has to be one line of ASCII"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(Request { method: Method::POST, url: collector.endpoint.clone(), headers, body })
}

/// How many of the spans the collector did not take although it answered 200, and why.
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let partial = &answer["partialSuccess"];
    let count = &partial["rejectedSpans"];
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    (count > 0).then(|| (count, partial["errorMessage"].as_str().unwrap_or("it does not say why").to_owned()))
}

/// Whether a status means that the same may be taken later.
pub fn is_for_now(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}
