//! The entries of a cases file as values.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::TIME;
use crate::rules::platform::Turn;
use crate::rules::yaml::reader::{Map, Reader};
use crate::rules::yaml::{Node, Value};
use crate::words::event::JSON;
use crate::words::exchange::Response;
use crate::words::json::Exact;
use crate::words::limits;

/// A delivery.
pub(super) struct Sent {
    pub(super) kind: String,
    pub(super) raw: String,
    pub(super) content_type: String,
    pub(super) secrets: Vec<(String, String)>,
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) turn: Turn,
    pub(super) now: Timestamp,
}

/// What a request should be.
#[derive(Default)]
pub(super) struct Expect {
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) json: Option<Exact>,
    pub(super) form: Vec<(String, String)>,
    pub(super) text: Option<String>,
    pub(super) bytes: Vec<(String, u64)>,
    pub(super) parts: Option<u64>,
    pub(super) error: Option<String>,
}

/// An answer and what is expected of it.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) now: Timestamp,
    pub(super) verdict: String,
    pub(super) wait: Option<Duration>,
    pub(super) rest: Option<Duration>,
    pub(super) why: Option<String>,
    pub(super) warning: Option<String>,
}

const SENT: [&str; 10] = ["name", "event", "options", "secrets", "time", "id", "attempt", "part", "plain", "expect"];
const EXPECT: [&str; 9] = ["method", "url", "headers", "json", "form", "text", "bytes", "parts", "error"];
const ANSWER: [&str; 8] = ["name", "response", "verdict", "wait", "rest", "why", "warning", "time"];
const VERDICTS: [&str; 6] = ["delivered", "retry", "pause", "hold", "reject", "plain"];

/// Reads a case about a request.
pub(super) fn sent(reader: &mut Reader<'_>, case: &Map<'_>) -> Sent {
    reader.only(case, &SENT);
    let (kind, raw, content_type) = event(reader, case);
    let secrets = case.get("secrets").map(|node| pairs(reader, "secrets", node)).unwrap_or_default();
    let id = text(reader, case, "id").unwrap_or_else(|| "case-1".to_owned());
    let attempt = case.get("attempt").and_then(|node| reader.integer("attempt", node, 1, 1_000_000));
    let part = case.get("part").and_then(|node| reader.integer("part", node, 1, limits::PARTS as u64)).unwrap_or(1);
    let plain = case.get("plain").and_then(|node| reader.boolean("plain", node)).unwrap_or(false);
    let turn = Turn { part: u32::try_from(part - 1).unwrap_or(0), plain };
    let now = time(reader, case);
    let attempt = attempt.and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1);
    Sent { kind, raw, content_type, secrets, id, attempt, turn, now }
}

/// What a case expects, if it says so already: `expect:` with nothing behind it says nothing.
pub(super) fn expectation<'n>(case: &Map<'n>) -> Option<&'n Node> {
    let says =
        |node: &&Node| !matches!(&node.value, Value::Null) && !matches!(&node.value, Value::Map(all) if all.is_empty());
    case.get("expect").filter(says)
}

/// What the request of a case should be.
pub(super) fn expected(reader: &mut Reader<'_>, case: &Map<'_>, node: &Node) -> Option<Expect> {
    let Some(expected) = case.get("expect") else {
        let help = "add `expect: {json: {…}}`, or let --bless write what the script does";
        reader.error(node.span, "missing-key", "a case needs `expect`", help);
        return None;
    };
    expect(reader, expected)
}

/// Reads a case about an answer. `blessing`: it need not say yet which verdict is right.
pub(super) fn answer(reader: &mut Reader<'_>, case: &Map<'_>, blessing: bool) -> Option<Answer> {
    reader.only(case, &ANSWER);
    let given = reader.map("response", case.get("response")?, "{status: 200, json: {errcode: 0}}")?;
    reader.only(&given, &["status", "headers", "body", "json"]);
    let status = given.get("status").and_then(|node| reader.integer("response.status", node, 100, 999)).unwrap_or(200);
    let mut headers = HeaderMap::new();
    for (name, value) in given.get("headers").map(|node| pairs(reader, "response.headers", node)).unwrap_or_default() {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    let body = match (given.get("json"), given.get("body")) {
        (Some(node), _) => node.to_exact(reader.source).to_string(),
        (None, Some(node)) => any_text(reader, node),
        (None, None) => String::new(),
    };
    let response = Response { status: u16::try_from(status).ok()?, headers, body: body.into(), truncated: false };
    let said = case.get("verdict").filter(|node| !blessing || node.value != Value::Null);
    let verdict = said.and_then(|node| reader.text("verdict", node)).unwrap_or_default().to_owned();
    let is_new = blessing && said.is_none();
    if !is_new && !VERDICTS.contains(&verdict.as_str()) {
        let span = case.key("verdict").or(case.key("response"))?.span;
        let help = format!("write verdict: and one of {}", VERDICTS.join(", "));
        reader.error(span, "missing-key", "the case does not say which verdict is right", help);
        return None;
    }
    let wait = case.get("wait").and_then(|node| reader.duration("wait", node, Duration::ZERO, limits::RETRY_AFTER_MAX));
    let rest = case.get("rest").and_then(|node| reader.duration("rest", node, Duration::ZERO, limits::RETRY_AFTER_MAX));
    let (why, warning) = (text(reader, case, "why"), text(reader, case, "warning"));
    Some(Answer { response, now: time(reader, case), verdict, wait, rest, why, warning })
}

fn event(reader: &mut Reader<'_>, case: &Map<'_>) -> (String, String, String) {
    let map = case.get("event").and_then(|node| reader.map("event", node, "{data: {message: hi}}"));
    let Some(map) = map else { return ("case".to_owned(), "{}".to_owned(), JSON.to_owned()) };
    reader.only(&map, &["type", "data", "raw", "content_type"]);
    let raw = match (map.get("raw"), map.get("data")) {
        (Some(node), _) => any_text(reader, node),
        (None, Some(node)) => node.to_exact(reader.source).to_string(),
        (None, None) => "{}".to_owned(),
    };
    let kind = text(reader, &map, "type").unwrap_or_else(|| "case".to_owned());
    (kind, raw, text(reader, &map, "content_type").unwrap_or_else(|| JSON.to_owned()))
}

fn expect(reader: &mut Reader<'_>, node: &Node) -> Option<Expect> {
    let map = reader.map("expect", node, "{method: PUT, json: {msg: hello}}")?;
    reader.only(&map, &EXPECT);
    if map.entries.is_empty() {
        let help = format!("say what to expect: {}", EXPECT.join(", "));
        reader.error(node.span, "no-value", "this case expects nothing, so it cannot fail", help);
    }
    let bytes = map.get("bytes").and_then(|node| reader.map("bytes", node, "{text.content: 2048}"));
    let bytes = bytes.map(|bytes| bytes.entries.iter().collect::<Vec<_>>()).unwrap_or_default();
    let bytes = bytes
        .into_iter()
        .filter_map(|(key, node)| Some((key.name.clone(), reader.integer(&key.name, node, 0, u64::MAX)?)))
        .collect();
    Some(Expect {
        method: text(reader, &map, "method"),
        url: text(reader, &map, "url"),
        headers: map.get("headers").map(|node| pairs(reader, "headers", node)).unwrap_or_default(),
        json: map.get("json").map(|node| node.to_exact(reader.source)),
        form: map.get("form").map(|node| pairs(reader, "form", node)).unwrap_or_default(),
        text: map.get("text").map(|node| any_text(reader, node)),
        bytes,
        parts: map.get("parts").and_then(|node| reader.integer("parts", node, 1, limits::PARTS as u64)),
        error: text(reader, &map, "error"),
    })
}

pub(super) fn text(reader: &mut Reader<'_>, map: &Map<'_>, key: &str) -> Option<String> {
    map.get(key).and_then(|node| reader.text(&map.path(key), node)).map(str::to_owned)
}

/// A text that may be empty; numbers as they are written.
pub(super) fn any_text(reader: &mut Reader<'_>, node: &Node) -> String {
    match &node.value {
        Value::String(text) => text.clone(),
        _ => node.written(reader.source).to_owned(),
    }
}

pub(super) fn pairs(reader: &mut Reader<'_>, name: &str, node: &Node) -> Vec<(String, String)> {
    let Some(map) = reader.map(name, node, "{name: value}") else { return Vec::new() };
    map.entries.iter().map(|(key, node)| (key.name.clone(), any_text(reader, node))).collect()
}

pub(super) fn time(reader: &mut Reader<'_>, case: &Map<'_>) -> Timestamp {
    let Some(node) = case.get("time") else { return TIME };
    let Some(text) = reader.text("time", node) else { return TIME };
    text.parse().unwrap_or_else(|_| {
        reader.error(
            node.span,
            "time",
            format!("`time` is no time with a zone: {text:?}"),
            "write it like \"2026-11-22T13:00:00Z\"",
        );
        TIME
    })
}
