//! Traces: what comes in as `traceparent` goes out to receivers, and a collector that is strict sees the tree between.

mod collector;
mod doors;

use std::collections::BTreeSet;

use postrider::edges::sink::{Fault, Sink, SinkHandle, SinkOptions, Step};
use postrider::engine::traces::Traces;
use postrider::rules::traces::accepted;
use postrider::words::event::Event;
use postrider::words::limits;
use serde_json::json;
use tokio::time::Instant;

use crate::delivering::{QUICK, webhook};
use crate::process::Process;
use crate::support::{Daemon, PATIENCE, receiver, send, write_hook, write_secret};
use collector::{Collector, Span};

pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `/metrics` answers to who names this machine.
const LOCAL: [(&str, &str); 1] = [("host", "localhost")];

/// The `traceparent` of every request, in order.
pub(crate) fn told(sink: &SinkHandle) -> Vec<Option<String>> {
    sink.records().iter().map(|record| record.request.header("traceparent").map(str::to_owned)).collect()
}

/// What a receiver was told must be this span.
#[track_caller]
fn same(told: Option<&String>, span: &Span) {
    assert_eq!(told, Some(&format!("00-{}-{}-01", span.trace, span.id)), "{span:?}");
}

#[tokio::test]
async fn a_request_with_a_trace_is_a_tree_that_reaches_the_receiver() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    sink.script(Step::status(503)).expect("a step");
    let daemon = Daemon::start(&[("ops", &webhook(&sink.url(""), QUICK))]).await;
    daemon.put_main(&collector.main()).await;
    let headers = [("content-type", "application/json"), ("traceparent", CAME)];
    let event = br#"{"type": "thing", "id": "e1", "source": "ci", "data": {}}"#;
    assert_eq!(daemon.send("POST", "/v1/events", &headers, event).await.status, 202);
    assert_eq!(daemon.send("POST", "/v1/events", &headers, event).await.json()["duplicate"], true);
    daemon.until_all("ops", "delivered").await;

    let spans = collector.spans(3).await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let accept = collector.one("accept").await;
    assert_eq!((accept.parent.as_deref(), accept.kind), (Some("00f067aa0ba902b7"), 2));
    for (key, value) in [
        ("messaging.message.id", "e1"),
        ("cloudevents.event_type", "thing"),
        ("cloudevents.event_source", "ci"),
        ("postrider.hooks", "1"),
    ] {
        assert_eq!(accept.said(key), Some(value), "{key}");
    }
    let tries: Vec<&Span> = spans.iter().filter(|span| span.name == "deliver ops").collect();
    let told = told(&sink);
    assert_eq!((tries.len(), told.len()), (2, 2));
    for (number, (span, told)) in (1..).zip(tries.iter().zip(&told)) {
        same(told.as_ref(), span);
        assert_eq!((span.parent.as_ref(), span.kind), (Some(&accept.id), 3));
        assert_eq!(span.said("postrider.attempt"), Some(&*number.to_string()));
        assert_eq!(span.said("server.address"), Some("127.0.0.1"));
        assert!(accept.begun <= span.begun, "{accept:?} {span:?}");
    }
    let seen: Vec<_> = tries
        .iter()
        .map(|span| (span.said("error.type"), span.said("http.response.status_code"), span.failed))
        .collect();
    assert_eq!(seen, [(Some("503"), Some("503"), true), (None, Some("200"), false)]);
    assert_ne!(tries[0].id, tries[1].id);

    let metrics = send(&daemon.metrics, "GET", "/metrics", &LOCAL, b"").await.body;
    assert!(metrics.contains("postrider_spans_total{outcome=\"sent\"} 3\n"), "{metrics}");
    assert!(metrics.contains("postrider_spans_total{outcome=\"dropped\"} 0\n"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test]
async fn an_event_without_a_trace_has_one_for_all_its_attempts_and_also_after_a_restart() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    let hooks = [("one", webhook(&sink.url(""), "")), ("two", webhook(&sink.url(""), ""))];
    let daemon = Daemon::start(&[("one", &hooks[0].1), ("two", &hooks[1].1)]).await;
    daemon.put_main(&collector.main()).await;
    daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "two"}"#)).await;
    daemon.emit(&json!({"type": "thing", "id": "e1"})).await;
    daemon.until_all("one", "delivered").await;
    // What is left when it stops is handed over first.
    let folder = daemon.stop().await;
    assert_eq!(collector.spans(0).await.len(), 2);
    let daemon = Daemon::start_in(folder).await;
    daemon.admin("POST", "/v1/release", Some(r#"{"hook": "two"}"#)).await;
    daemon.until_all("two", "delivered").await;
    let spans = collector.spans(3).await;
    let traces: BTreeSet<_> = spans.iter().map(|span| &span.trace).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let accept = collector.one("accept").await;
    assert_eq!(accept.parent, None);
    for (hook, told) in ["deliver one", "deliver two"].iter().zip(&told(&sink)) {
        let span = collector.one(hook).await;
        assert_eq!(span.parent.as_ref(), Some(&accept.id));
        same(told.as_ref(), &span);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_trace_outlives_kill_9_between_acceptance_and_delivery() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "ops", &webhook(&sink.url(""), ""));
    std::fs::write(folder.path().join("postrider.yaml"), collector.main()).expect("a main file");
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    daemon.post("/v1/hold", &json!({"hook": "ops"})).expect("an answer");
    let answer = daemon.emit(&json!({"type": "thing", "traceparent": CAME})).expect("an answer");
    assert_eq!(answer["hooks"], json!(["ops"]));
    let accept = collector.one("accept").await;
    daemon.kill();
    assert_eq!(sink.count(), 0);
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    daemon.post("/v1/release", &json!({"hook": "ops"})).expect("an answer");
    assert!(sink.wait_for(1, PATIENCE).await, "{}", daemon.log());
    let span = collector.one("deliver ops").await;
    assert_eq!((&*span.trace, span.parent.as_ref()), (TRACE, Some(&accept.id)));
    same(told(&sink)[0].as_ref(), &span);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_collector_that_is_away_costs_nothing_but_its_spans_and_is_told_of_once() {
    const EVENTS: usize = 40;
    let sink = receiver().await;
    let place = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = place.local_addr().expect("an address");
    drop(place);
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "ops", &webhook(&sink.url(""), ""));
    let main = format!("traces: {{endpoint: \"http://{address}\"}}\n");
    std::fs::write(folder.path().join("postrider.yaml"), main).expect("a main file");
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    for _ in 0..EVENTS {
        daemon.emit(&json!({"type": "thing"})).expect("an answer");
    }
    assert!(sink.wait_for(EVENTS as u64, PATIENCE).await, "{}", daemon.log());
    let said = |words: &str| daemon.log().matches(words).count();
    let begun = Instant::now();
    while said("the collector takes no traces") == 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let listener = tokio::net::TcpListener::bind(address).await.expect("the same port");
    let collector = Collector::of(Sink::serve(listener, SinkOptions::default()).expect("a receiver"));
    assert_eq!(collector.spans(2 * EVENTS).await.len(), 2 * EVENTS);
    while said("the collector takes traces again") == 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(said("the collector takes no traces"), 1, "{}", daemon.log());
    assert!(daemon.stop().success());
}

#[test]
fn spans_that_nobody_takes_are_bounded_and_counted() {
    let traces = Traces::default();
    let event = Event::new("thing", None, "{}", jiff::Timestamp::now());
    let span = accepted(&event, 1, event.time).expect("a span");
    for _ in 0..limits::SPANS + 100 {
        traces.record(span.clone());
    }
    assert_eq!((traces.dropped(), traces.sent()), (100, 0));
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_hold_up_the_end_for_long() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    collector.sink.script(Step { times: Some(1000), ..Step::fault(Fault::Stall) }).expect("a step");
    let daemon = Daemon::start(&[("ops", &webhook(&sink.url(""), ""))]).await;
    daemon.put_main(&collector.main()).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("ops", "delivered").await;
    let begun = Instant::now();
    daemon.stop().await;
    let took = begun.elapsed();
    // The drain of this daemon is five seconds.
    assert!(took >= limits::SPAN_FLUSH && took < limits::SPAN_FLUSH * 3 / 2, "{took:?}");
}

#[tokio::test]
async fn no_secret_stands_in_a_span() {
    const CANARIES: [&str; 4] = ["path-canary-51", "query-canary-52", "header-canary-53", "token-canary-54"];
    let (sink, collector) = (receiver().await, Collector::start().await);
    let echo = CANARIES.join(" ");
    sink.script(Step { body: Some(echo), ..Step::status(422) }).expect("a step");
    let hook = "events: [thing]\nplatform: webhook\noptions:\n  url: {secret: url}\n  \
                headers: {X-Key: \"{{ secret('key') }}\"}\n";
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(
        folder.path(),
        "url",
        &format!("{}/{}?t={}", sink.url("").trim_end_matches('/'), CANARIES[0], CANARIES[1]),
    );
    write_secret(folder.path(), "key", CANARIES[2]);
    write_secret(folder.path(), "token", CANARIES[3]);
    write_hook(folder.path(), "ops", hook);
    let main = collector.main().replace('}', ", token: {secret: token}, token_header: X-Collector-Key}");
    // Webhooks may not go to this machine, the collector may be there.
    let daemon = Daemon::start_in(folder).await;
    daemon.put_main(&main).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("ops", "dead").await;
    daemon.put_main(&format!("{main}network: public-only\n")).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let spans = collector.spans(4).await;
    let wrong: BTreeSet<_> = spans.iter().filter_map(|span| span.said("error.type")).collect();
    assert_eq!(wrong, ["422", "address_refused"].into());
    for record in collector.sink.records() {
        assert_eq!(record.request.header("x-collector-key"), Some(CANARIES[3]));
        let body = String::from_utf8_lossy(&record.request.body).into_owned();
        for canary in CANARIES {
            assert!(!body.contains(canary), "{canary}: {body}");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn whoever_begins_a_trace_decides_whether_it_is_recorded_and_a_hook_what_it_sends() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    let own = format!(
        "events: [thing]\nplatform: webhook\noptions: {{url: \"{}\", headers: {{traceparent: mine}}}}\n",
        sink.url("")
    );
    let daemon = Daemon::start(&[
        ("ops", &webhook(&sink.url(""), "events: [quiet]\n").replacen("events: [thing]\n", "", 1)),
        ("own", &own),
    ])
    .await;
    daemon.put_main(&collector.main()).await;
    let unsampled = CAME.replace("-01", "-00");
    daemon.emit(&json!({"type": "quiet", "traceparent": unsampled})).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(told(&sink), [Some(unsampled)]);
    daemon.emit(&json!({"type": "thing", "traceparent": CAME})).await;
    daemon.until_all("own", "delivered").await;
    assert_eq!(told(&sink)[1].as_deref(), Some("mine"));
    let spans = collector.spans(2).await;
    assert!(spans.iter().all(|span| span.said("cloudevents.event_type") == Some("thing")), "{spans:#?}");
    // Switched off, nothing more is told; switched on again, the next is.
    daemon.put_main("").await;
    daemon.emit(&json!({"type": "thing", "id": "off"})).await;
    assert!(sink.wait_for(3, PATIENCE).await);
    daemon.until_all("own", "delivered").await;
    daemon.put_main(&collector.main()).await;
    daemon.emit(&json!({"type": "thing", "id": "on"})).await;
    let spans = collector.spans(4).await;
    assert!(spans.iter().all(|span| span.said("messaging.message.id") != Some("off")), "{spans:#?}");
    daemon.stop().await;
}

#[tokio::test]
async fn what_cannot_be_rendered_and_what_a_collector_refuses_are_seen() {
    let (sink, collector) = (receiver().await, Collector::start().await);
    let partial = r#"{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}}"#;
    collector.sink.script(Step { body: Some(partial.to_owned()), ..Step::status(200) }).expect("a step");
    collector.sink.script(Step::status(400)).expect("a step");
    let broken =
        "events: [thing]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:1/\", text: \"{{ data.nothing }}\"}\n";
    let daemon = Daemon::start(&[("ops", broken), ("fine", &webhook(&sink.url(""), ""))]).await;
    daemon.put_main(&collector.main()).await;
    for (round, dropped) in [1, 4].into_iter().enumerate() {
        daemon.emit(&json!({"type": "thing"})).await;
        let begun = Instant::now();
        let count = format!("postrider_spans_total{{outcome=\"dropped\"}} {dropped}\n");
        while !send(&daemon.metrics, "GET", "/metrics", &LOCAL, b"").await.body.contains(&count) {
            assert!(begun.elapsed() < PATIENCE, "round {round}: never {count}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    let unmade: Vec<Span> = collector.spans(6).await.into_iter().filter(|span| span.name == "deliver ops").collect();
    assert_eq!(unmade.len(), 2);
    for span in unmade {
        assert_eq!((span.kind, span.said("error.type"), span.failed), (1, Some("render"), true));
    }
    daemon.stop().await;
}
