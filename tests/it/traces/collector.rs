//! A collector that takes OTLP over HTTP as JSON, and nothing that is not quite that.

use std::collections::{BTreeMap, BTreeSet};

use postrider::edges::sink::{Sink, SinkHandle, SinkOptions};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::{Duration, Instant};

use crate::support::PATIENCE;

pub(crate) struct Collector {
    pub(crate) sink: SinkHandle,
}

/// A span as it came.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) begun: u64,
    pub(crate) failed: bool,
    attributes: BTreeMap<String, String>,
}

impl Span {
    pub(crate) fn said(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::of(Sink::start(SinkOptions::default()).await.expect("a receiver"))
    }

    pub(crate) fn of(sink: SinkHandle) -> Self {
        Self { sink }
    }

    /// A main file that names it.
    pub(crate) fn main(&self) -> String {
        format!("traces: {{endpoint: \"{}\"}}\n", self.sink.url("").trim_end_matches('/'))
    }

    /// All spans, once there are so many; what is handed over again counts once.
    pub(crate) async fn spans(&self, count: usize) -> Vec<Span> {
        let begun = Instant::now();
        loop {
            let spans = self.read();
            if spans.len() >= count {
                return spans;
            }
            assert!(begun.elapsed() < PATIENCE, "only {} of {count} spans came: {spans:#?}", spans.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The span of this name, when it is there; there must be one only.
    pub(crate) async fn one(&self, name: &str) -> Span {
        let begun = Instant::now();
        loop {
            let mut found: Vec<Span> = self.read().into_iter().filter(|span| span.name == name).collect();
            assert!(found.len() <= 1, "{found:#?}");
            if let Some(found) = found.pop() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "no span {name} came: {:#?}", self.read());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn read(&self) -> Vec<Span> {
        let mut known = BTreeSet::new();
        let mut spans = Vec::new();
        for record in self.sink.records() {
            let request = &record.request;
            assert_eq!((request.method.as_str(), request.path()), ("POST", "/v1/traces"));
            assert_eq!(request.header("content-type"), Some("application/json"));
            assert!(request.body.len() < 4 << 20, "collectors take 4 MiB");
            if record.fault.is_some() && request.body.is_empty() {
                continue;
            }
            let read: Read = serde_json::from_slice(&request.body)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&request.body)));
            let came = read.resource_spans.iter().flat_map(ResourceSpans::spans);
            spans.extend(came.filter(|span| known.insert((span.trace.clone(), span.id.clone()))));
        }
        spans
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Read {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: BTreeMap<String, String>,
    spans: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Pair>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    code: u8,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: String,
    value: BTreeMap<String, Json>,
}

impl ResourceSpans {
    fn spans(&self) -> Vec<Span> {
        let resource = pairs(&self.resource.attributes);
        assert_eq!(resource.get("service.name").map(String::as_str), Some("postrider"));
        assert!(resource.get("host.name").is_some_and(|host| !host.is_empty()), "{resource:?}");
        assert!(!self.scope_spans.is_empty());
        let scopes = self.scope_spans.iter().inspect(|scope| assert_eq!(scope.scope["name"], "postrider"));
        scopes.flat_map(|scope| scope.spans.iter().map(Written::span)).collect()
    }
}

impl Written {
    fn span(&self) -> Span {
        digits(&self.trace_id, 32);
        digits(&self.span_id, 16);
        self.parent_span_id.iter().for_each(|parent| digits(parent, 16));
        assert!((1..=5).contains(&self.kind) && !self.name.is_empty(), "{}", self.name);
        let (begun, ended) = (nanoseconds(&self.start_time_unix_nano), nanoseconds(&self.end_time_unix_nano));
        assert!(begun <= ended, "{} ends before it begins", self.name);
        let status = self.status.as_ref();
        assert!(status.is_none_or(|status| status.code == 2 && !status.message.is_empty()), "a status says why");
        Span {
            trace: self.trace_id.clone(),
            id: self.span_id.clone(),
            parent: self.parent_span_id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            begun,
            failed: status.is_some(),
            attributes: pairs(&self.attributes),
        }
    }
}

fn digits(id: &str, length: usize) {
    let sound = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && id.bytes().any(|byte| byte != b'0');
    assert!(sound && id.len() == length, "{id:?} is no id of {length} digits");
}

/// 64-bit numbers are texts.
fn nanoseconds(text: &str) -> u64 {
    let time: u64 = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert!(time > 1_700_000_000_000_000_000, "{time} is not in nanoseconds since 1970");
    time
}

fn pairs(pairs: &[Pair]) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for Pair { key, value } in pairs {
        let text = match value.iter().next() {
            Some((kind, Json::String(text))) if kind == "stringValue" => text.clone(),
            Some((kind, Json::String(text))) if kind == "intValue" => {
                text.parse::<i64>().expect("a number").to_string()
            }
            other => panic!("{key} has {other:?}"),
        };
        assert!(value.len() == 1 && read.insert(key.clone(), text).is_none(), "{key} is there twice");
    }
    read
}
