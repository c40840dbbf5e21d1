use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::*;
use crate::rules::settings::Collector;
use crate::words::secret::{Secret, Secrets};
use crate::words::trace::Hex;

const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SPAN: [u8; 8] = [7; 8];

fn event(id: &str, trace: Option<&str>) -> Event {
    let mut event = Event::new("thing", Some(id.to_owned()), "{}", Timestamp::UNIX_EPOCH);
    event.trace = trace.map(|text| TraceParent::parse(text).unwrap());
    event
}

#[test]
fn what_is_not_recorded_goes_on_as_it_came() {
    let told = |event: &Event, recording| Place::of(event, recording, SPAN).map(|place| place.told.to_string());
    let unsampled = CAME.replace("-01", "-00");
    assert_eq!(told(&event("1", None), false), None);
    assert_eq!(told(&event("1", Some(CAME)), false).as_deref(), Some(CAME));
    assert_eq!(told(&event("1", Some(&unsampled)), true), Some(unsampled.clone()));
    assert!(accepted(&event("1", Some(&unsampled)), 1, Timestamp::UNIX_EPOCH).is_none());
    let ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01";
    assert_eq!(told(&event("1", Some(CAME)), true).as_deref(), Some(ours));
}

#[test]
fn an_event_has_the_same_trace_whenever_it_is_asked() {
    for came in [None, Some(CAME)] {
        let accepted = accepted(&event("1", came), 1, Timestamp::UNIX_EPOCH).unwrap();
        let one = Place::of(&event("1", came), true, SPAN).unwrap();
        let other = Place::of(&event("1", came), true, [8; 8]).unwrap();
        assert_eq!((one.told.trace, one.parent), (accepted.id.trace, Some(accepted.id.span)));
        assert_eq!((other.told.trace, other.parent), (one.told.trace, one.parent));
        assert_eq!((one.told.span, other.told.span), (SPAN, [8; 8]));
        assert_eq!(accepted.parent, event("1", came).trace.map(|trace| trace.span));
    }
    let trace = |event: &Event| Place::of(event, true, SPAN).unwrap().told.trace;
    let mut elsewhere = event("1", None);
    elsewhere.source = "ci".to_owned();
    let mut later = event("1", None);
    later.time = Timestamp::from_second(1).unwrap();
    let all = [event("1", None), event("2", None), elsewhere, later].map(|event| trace(&event));
    let mut different = all.to_vec();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), all.len());
}

#[test]
fn the_daemons_own_events_have_no_parent() {
    let mut own = event("1", None);
    own.source = OWN_SOURCE.to_owned();
    assert_eq!(Place::of(&own, true, SPAN).unwrap().parent, None);
}

fn tried(url: &str, verdict: &str, status: Option<u16>, error: Option<&SendError>) -> Span {
    let event = Arc::new(event("e", None));
    let delivery = Delivery {
        seq: 1,
        id: "j-1".into(),
        event: event.clone(),
        hook: "ops".into(),
        created: Timestamp::UNIX_EPOCH,
        due: Timestamp::UNIX_EPOCH,
        attempts: 1,
        order: None,
        original: None,
    };
    let attempt = Attempt {
        number: 2,
        started: Timestamp::from_second(1).unwrap(),
        duration: Duration::from_millis(5),
        request: "POST https://h/…".to_owned(),
        status,
        response: "an answer".to_owned(),
        verdict: verdict.to_owned(),
        why: "because ".repeat(100),
        along: Vec::new(),
    };
    let request = Request {
        method: Method::from_bytes(b"PURGE").unwrap(),
        url: url.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let place = Place::of(&event, true, SPAN).unwrap();
    let request = (!url.is_empty()).then_some(&request);
    attempted(&place, &Tried { delivery: &delivery, attempt: &attempt, outcome: "waiting", request, error })
}

fn said(span: &Span, key: &str) -> Option<String> {
    let found: Vec<_> = span.attributes.iter().filter(|(name, _)| *name == key).collect();
    assert!(found.len() <= 1, "{key} is there twice");
    found.first().map(|(_, value)| match value {
        Attribute::Text(text) => text.clone(),
        Attribute::Whole(number) => number.to_string(),
    })
}

#[test]
fn a_span_says_what_is_known_and_of_a_url_the_host() {
    let url = "https://user:PASSWORD@h.example/robot/SECRET?token=SECRET#SECRET";
    let span = tried(url, "retry", Some(503), None);
    for (key, value) in [
        ("server.address", "h.example"),
        ("server.port", "443"),
        ("http.request.method", "_OTHER"),
        ("http.response.status_code", "503"),
        ("http.request.resend_count", "1"),
        ("error.type", "503"),
        ("postrider.hook", "ops"),
        ("postrider.delivery", "j-1"),
        ("postrider.attempt", "2"),
        ("postrider.verdict", "retry"),
        ("postrider.outcome", "waiting"),
    ] {
        assert_eq!(said(&span, key).as_deref(), Some(value), "{key}");
    }
    assert!(!format!("{span:?}").contains("SECRET") && !format!("{span:?}").contains("PASSWORD"), "{span:?}");
    assert_eq!((span.kind, &*span.name), (Kind::Client, "deliver ops"));
    assert_eq!(span.error.map(|why| why.len()), Some(limits::SPAN_TEXT));
    let unmade = tried("", "", None, None);
    assert_eq!((unmade.kind, said(&unmade, "error.type").as_deref()), (Kind::Internal, Some("render")));
    assert_eq!(said(&unmade, "postrider.verdict"), None);
}

#[test]
fn errors_are_words_of_few() {
    let text = || "x".to_owned();
    let refused = SendError::Refused { host: text(), address: text(), why: text() };
    let errors = [
        (SendError::Dns { host: text(), why: text() }, "dns"),
        (SendError::Connect { host: text(), why: text() }, "connect"),
        (refused, "address_refused"),
        (SendError::Tls { host: text(), why: text() }, "tls"),
        (SendError::Timeout(Duration::ZERO), "timeout"),
        (SendError::Broken(text()), "connection_broken"),
        (SendError::Unsendable(text()), "unsendable"),
    ];
    for (error, word) in &errors {
        let span = tried("http://h/", "retry", None, Some(error));
        assert_eq!(said(&span, "error.type").as_deref(), Some(*word));
    }
    // A platform that answers 200 and means no.
    assert_eq!(said(&tried("http://h/", "pause", Some(200), None), "error.type").as_deref(), Some("pause"));
    let delivered = tried("http://h/", "delivered", Some(200), None);
    assert_eq!((said(&delivered, "error.type"), delivered.error), (None, None));
}

#[test]
fn spans_are_written_as_the_protocol_says() {
    let mut span = tried("http://h:81/", "retry", None, None);
    span.attributes = vec![("a", Attribute::Text("\"x\"".to_owned())), ("b", Attribute::Whole(-5))];
    span.error = Some("it failed".to_owned());
    let (trace, parent) = (Hex(&span.id.trace).to_string(), Hex(&span.parent.unwrap()).to_string());
    let body: serde_json::Value = serde_json::from_slice(&otlp::body(&[span], "web1")).unwrap();
    let text = |key: &str, value: &str| serde_json::json!({"key": key, "value": {"stringValue": value}});
    let version = env!("CARGO_PKG_VERSION");
    let expected = serde_json::json!({"resourceSpans": [{
        "resource": {"attributes": [
            text("service.name", "postrider"), text("service.version", version), text("host.name", "web1")
        ]},
        "scopeSpans": [{
            "scope": {"name": "postrider", "version": version},
            "spans": [{
                "traceId": trace, "spanId": "0707070707070707", "parentSpanId": parent,
                "name": "deliver ops", "kind": 3,
                "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1005000000",
                "attributes": [text("a", "\"x\""), {"key": "b", "value": {"intValue": "-5"}}],
                "status": {"code": 2, "message": "it failed"},
            }],
        }],
    }]});
    assert_eq!(body, expected);
}

#[test]
fn the_token_stands_where_the_collector_wants_it() {
    let mut secrets = Secrets::default();
    secrets.insert("collector", Ok(Secret::new("hunter2")));
    secrets.insert("torn", Ok(Secret::new("two\nlines")));
    let endpoint = "http://127.0.0.1:4318/v1/traces".to_owned();
    let collector = |token: Option<&str>, header: Option<&str>| Collector {
        endpoint: endpoint.clone(),
        token: token.map(str::to_owned),
        token_header: header.map(|name| name.parse().unwrap()),
    };
    let header = |collector: &Collector, name: &str| {
        let request = otlp::request(collector, &secrets, Bytes::new()).unwrap();
        request.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(&collector(None, None), "authorization"), None);
    assert_eq!(header(&collector(Some("collector"), None), "authorization").as_deref(), Some("Bearer hunter2"));
    let own = collector(Some("collector"), Some("x-api-key"));
    assert_eq!((header(&own, "x-api-key").as_deref(), header(&own, "authorization")), (Some("hunter2"), None));
    for missing in ["torn", "nobody"] {
        let why = otlp::request(&collector(Some(missing), None), &secrets, Bytes::new()).unwrap_err();
        assert!(why.contains(missing) && !why.contains("lines"), "{why}");
    }
}

#[test]
fn what_a_collector_refuses_is_counted() {
    for (answer, rejected) in [
        ("", None),
        ("ok", None),
        ("{}", None),
        (r#"{"partialSuccess":{}}"#, None),
        (r#"{"partialSuccess":{"rejectedSpans":0}}"#, None),
        (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, Some((3, "too old".to_owned()))),
        (r#"{"partialSuccess":{"rejectedSpans":2}}"#, Some((2, "it does not say why".to_owned()))),
    ] {
        assert_eq!(otlp::rejected(answer.as_bytes()), rejected, "{answer}");
    }
    assert!([429, 502, 503, 504].into_iter().all(otlp::is_for_now));
    assert!(![400, 401, 404, 413, 500].into_iter().any(otlp::is_for_now));
}
