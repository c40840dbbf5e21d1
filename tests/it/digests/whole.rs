//! The same with a daemon and its file: what operators are told.

use postrider::edges::sink::{Platform, Sink, SinkOptions, Step};
use serde_json::{Value as Json, json};

use crate::support::{Daemon, PATIENCE};

fn mattermost(url: &str, more: &str) -> String {
    format!(
        "events: [thing]\nplatform: mattermost\noptions: {{url: \"{url}\"}}\nretry: {{first: 100ms, max: 200ms}}\n{more}\n"
    )
}

#[tokio::test]
async fn operators_are_told_in_which_delivery_each_went() {
    let options = SinkOptions { platform: Platform::Mattermost, ..SinkOptions::default() };
    let sink = Sink::start(options).await.expect("a receiver");
    let daemon = Daemon::start(&[("ops", &mattermost(&sink.url("T"), "digest: {when: waiting > 1}"))]).await;
    let (status, _) = daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "ops", "why": "to collect some"}"#)).await;
    assert_eq!(status, 200);
    for n in 1..=3 {
        daemon.emit(&json!({"type": "thing", "id": format!("e{n}"), "data": {"message": format!("number {n}")}})).await;
    }
    daemon.admin("POST", "/v1/release", Some(r#"{"hook": "ops"}"#)).await;
    let rows = daemon.until_all("ops", "delivered").await;
    assert_eq!(sink.count(), 1);
    let first = rows[0].delivery.as_str();
    let carriers: Vec<_> = rows.iter().map(|row| row.carrier.as_deref()).collect();
    assert_eq!(carriers, [None, Some(first), Some(first)]);

    let (_, shown) = daemon.admin("GET", &format!("/v1/deliveries/{first}"), None).await;
    assert_eq!(shown["attempts"][0]["along"], json!([rows[1].delivery, rows[2].delivery]));
    assert_eq!(shown["attempts"][0]["why"], "a digest of 3");
    assert_eq!(shown.get("in"), None);
    let (_, shown) = daemon.admin("GET", &format!("/v1/deliveries/{}", rows[2].delivery), None).await;
    assert_eq!((&shown["in"], &shown["attempts"]), (&json!(first), &json!([])));
    let (_, explained) = daemon.admin("GET", "/v1/explain/e2", None).await;
    assert_eq!(explained["hooks"][0]["in"], first, "{explained}");
    let (_, of_event) = daemon.admin("GET", "/v1/log?event=e3", None).await;
    assert!(of_event.to_string().contains("a digest of 3"), "{of_event}");
    assert_eq!(daemon.log("ops").await.len(), 1);

    // The counts are those of deliveries, and of one attempt.
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!((&status["delivered"], &status["waiting"], &status["dead"]), (&json!(3), &json!(0), &json!(0)));
    let metrics = daemon.admin("GET", "/metrics", None).await.1;
    let metrics = metrics.as_str().expect("a text");
    let line = |name: &str| metrics.lines().find(|line| line.starts_with(name)).map(str::to_owned).unwrap_or_default();
    assert!(line("postrider_deliveries_total{hook=\"ops\",outcome=\"delivered\"").ends_with(" 3"), "{metrics}");
    assert!(line("postrider_attempts_total{hook=\"ops\"").ends_with(" 1"), "{metrics}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_window_is_told_and_a_flush_ends_it_also_after_a_restart() {
    let options = SinkOptions { platform: Platform::Mattermost, ..SinkOptions::default() };
    let sink = Sink::start(options).await.expect("a receiver");
    sink.script(Step::status(503)).expect("a step");
    let daemon = Daemon::start(&[("ops", &mattermost(&sink.url("T"), "digest: {window: 1h}"))]).await;
    for n in 1..=2 {
        daemon.emit(&json!({"type": "thing", "data": {"message": format!("number {n}")}})).await;
    }
    let daemon = Daemon::start_in(daemon.stop().await).await;
    let reason = async || -> Json { daemon.admin("GET", "/v1/queue", None).await.1 };
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let rows = reason().await.to_string();
            if rows.contains("digest") {
                return rows;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    told.await.expect("it is told in time");
    assert_eq!(sink.count(), 0);
    let (_, flushed) = daemon.admin("POST", "/v1/flush", Some("{}")).await;
    assert_eq!(flushed["receivers"][0]["reason"], "digest", "{flushed}");
    // The first try fails, and what it held goes again together.
    let rows = daemon.until_all("ops", "delivered").await;
    assert_eq!(sink.count(), 2);
    assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(rows[1].carrier.as_deref(), Some(rows[0].delivery.as_str()));
    daemon.stop().await;
}
