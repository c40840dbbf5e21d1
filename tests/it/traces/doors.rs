//! Every way in for a trace, and what is no trace is never a reason to refuse an event.

use postrider::edges::sink::SinkHandle;
use serde_json::json;

use super::{CAME, told};
use crate::commands::{err, exits, postrider, run};
use crate::delivering::webhook;
use crate::process::Process;
use crate::support::{Daemon, PATIENCE, receiver, write_hook};

const OTHER: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";
const JSON: (&str, &str) = ("content-type", "application/json");

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// The trace of the one request that follows.
async fn next(sink: &SinkHandle, seen: &mut u64) -> Option<String> {
    *seen += 1;
    assert!(sink.wait_for(*seen, PATIENCE).await, "it never came");
    told(sink).pop().expect("a request")
}

#[tokio::test]
async fn a_trace_comes_in_by_every_door_and_goes_on_as_it_came_where_none_is_recorded() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("ops", &webhook(&sink.url(""), ""))]).await;
    daemon
        .put_main(
            "sources: {any: {script: generic, options: {type: \"literal:thing\"}}, cloud: {script: cloudevents}}\n",
        )
        .await;
    let native = format!(r#"{{"type": "thing", "traceparent": "{CAME}"}}"#);
    let cloud = |id: &str, more: &str| {
        format!(r#"{{"specversion": "1.0", "type": "thing", "id": "{id}", "source": "s", {more} "data": 1}}"#)
    };
    let extension = format!(r#""traceparent": "{CAME}","#);
    let structured = ("content-type", "application/cloudevents+json");
    let binary = |id: &'static str| {
        [
            ("ce-specversion", "1.0"),
            ("ce-type", "thing"),
            ("ce-id", id),
            ("ce-source", "s"),
            ("content-type", "text/plain"),
        ]
    };
    let header = ("traceparent", CAME);
    let other = ("traceparent", OTHER);
    let cases: Vec<(&str, Headers<'_>, String)> = vec![
        ("/v1/events", vec![JSON, header], r#"{"type": "thing"}"#.into()),
        ("/v1/events", vec![JSON], native.clone()),
        // What the event says itself counts more than how it came.
        ("/v1/events", vec![JSON, other], native.clone()),
        ("/v1/events", vec![("content-type", "application/x-ndjson"), header], "{\"type\": \"thing\"}\n".into()),
        ("/v1/events?type=thing", vec![("content-type", "text/plain"), header], "any body".into()),
        ("/v1/events", vec![structured, header], cloud("1", "")),
        ("/v1/events", vec![structured], cloud("2", &extension)),
        ("/v1/events", vec![structured, other], cloud("3", &extension)),
        ("/v1/events", [&binary("4")[..], &[header]].concat(), "x".into()),
        ("/v1/events", [&binary("5")[..], &[("ce-traceparent", CAME)]].concat(), "x".into()),
        ("/in/any", vec![JSON, header], r#"{"n": 1}"#.into()),
        ("/in/cloud", vec![structured], cloud("6", &extension)),
        ("/in/cloud", vec![structured, header], cloud("7", "")),
    ];
    let mut seen = 0;
    for (path, headers, body) in &cases {
        let got = daemon.send("POST", path, headers, body.as_bytes()).await;
        assert_eq!(got.status, 202, "{path} {headers:?} {body}: {got:?}");
        assert_eq!(next(&sink, &mut seen).await.as_deref(), Some(CAME), "{path} {headers:?} {body}");
    }
    daemon.emit(&json!({"type": "thing", "traceparent": CAME})).await;
    assert_eq!(next(&sink, &mut seen).await.as_deref(), Some(CAME));
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_no_trace_is_as_if_it_were_not_there() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("ops", &webhook(&sink.url(""), ""))]).await;
    let mut seen = 0;
    let upper = CAME.to_uppercase();
    let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    let longer = format!("{CAME}-more");
    let wrong = ["", "nonsense", &upper, &zero, &longer, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];
    for wrong in wrong {
        let got = daemon.send("POST", "/v1/events", &[JSON, ("traceparent", wrong)], br#"{"type": "thing"}"#).await;
        assert_eq!((got.status, next(&sink, &mut seen).await), (202, None), "{wrong:?}");
        let answer = daemon.emit(&json!({"type": "thing", "traceparent": wrong})).await;
        assert_eq!((&answer["hooks"], next(&sink, &mut seen).await), (&json!(["ops"]), None), "{wrong:?}");
        let event = json!({"specversion": "1.0", "type": "thing", "id": wrong.len().to_string() + wrong, "source": "s",
            "traceparent": wrong});
        let headers = [("content-type", "application/cloudevents+json")];
        let got = daemon.send("POST", "/v1/events", &headers, event.to_string().as_bytes()).await;
        assert_eq!((got.status, next(&sink, &mut seen).await), (202, None), "{wrong:?}");
    }
    for wrong in [json!(null), json!(7), json!({"a": [CAME]})] {
        let answer = daemon.emit(&json!({"type": "thing", "traceparent": wrong})).await;
        assert_eq!((&answer["hooks"], next(&sink, &mut seen).await), (&json!(["ops"]), None), "{wrong}");
    }
    // Two say nothing.
    let both = [JSON, ("traceparent", CAME), ("traceparent", CAME)];
    let got = daemon.send("POST", "/v1/events", &both, br#"{"type": "thing"}"#).await;
    assert_eq!((got.status, next(&sink, &mut seen).await), (202, None));
    daemon.stop().await;
}

#[tokio::test]
async fn commands_say_the_trace_of_their_environment_also_through_the_spool() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "ops", &webhook(&sink.url(""), ""));
    std::fs::create_dir_all(folder.path().join(".postrider/spool")).expect("a spool");
    let mut seen = 0;
    // Nobody listens yet.
    exits(&run(folder.path(), &["emit", "thing", "--traceparent", CAME]).await, 0);
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    assert_eq!(next(&sink, &mut seen).await.as_deref(), Some(CAME));
    let cases: [(&[&str], &str, Option<&str>); 6] = [
        (&["emit", "thing"], CAME, Some(CAME)),
        (&["emit", "thing"], "nonsense", None),
        (&["emit", "thing"], "", None),
        (&["emit", "thing", "--traceparent", CAME], OTHER, Some(CAME)),
        (&["wrap", "thing", "--", "true"], CAME, Some(CAME)),
        (&["emit", "--ndjson", "events"], CAME, Some(CAME)),
    ];
    std::fs::write(folder.path().join("events"), "{\"type\": \"thing\"}\n").expect("a file");
    for (arguments, environment, expected) in cases {
        let done = postrider(folder.path(), arguments).env("TRACEPARENT", environment).output().await.expect("it runs");
        exits(&done, 0);
        assert_eq!(next(&sink, &mut seen).await.as_deref(), expected, "{arguments:?} {environment:?}");
    }
    let done = run(folder.path(), &["emit", "thing", "--traceparent", "nonsense"]).await;
    exits(&done, 0);
    assert!(err(&done).contains("--traceparent is no trace"), "{}", err(&done));
    assert_eq!(next(&sink, &mut seen).await, None);
    assert!(daemon.stop().success());
}
