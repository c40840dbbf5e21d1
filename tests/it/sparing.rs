//! What a receiver is spared: never faster than it takes, not while it asked for a pause, hardly at all while it fails.

use std::time::Duration;

use postrider::edges::sink::Step;
use serde_json::json;

use crate::delivering::{QUICK, webhook};
use crate::support::{Daemon, PATIENCE, receiver};

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_gets_it_from_every_hook_and_no_attempt_is_used_up() {
    let sink = receiver().await;
    sink.script(Step::status(429).header("retry-after", "1")).expect("a step");
    let daemon = Daemon::start(&[
        ("one", &webhook(&sink.url(""), "concurrency: 1\n")),
        ("two", &webhook(&sink.url(""), "concurrency: 1\n")),
    ])
    .await;
    daemon.emit(&json!({"type": "thing", "data": 1})).await;
    assert!(sink.wait_for(1, PATIENCE).await);
    daemon.emit(&json!({"type": "thing", "data": 2})).await;
    assert!(sink.wait_for(5, PATIENCE).await, "{}", sink.count());
    for hook in ["one", "two"] {
        for row in daemon.until_all(hook, "delivered").await {
            assert_eq!(row.attempts, 1, "{row:?}");
        }
    }
    let records = sink.records();
    // Two lanes may both have been on their way when the first was told to wait.
    let late: Vec<_> =
        records.iter().filter(|record| record.elapsed >= records[0].elapsed + Duration::from_secs(1)).collect();
    assert!(late.len() >= records.len() - 2, "{:?}", records.iter().map(|record| record.elapsed).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test]
async fn a_receiver_that_fails_again_and_again_is_left_alone_and_met_gently_when_it_is_back() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(5)).expect("a step");
    let more = format!("{QUICK}concurrency: 1\nbreaker: {{failures: 4, probe: 1s}}\n");
    let daemon =
        Daemon::start(&[("one", &webhook(&sink.url(""), &more)), ("two", &webhook(&sink.url(""), &more))]).await;
    daemon.emit(&json!({"type": "thing", "data": 0})).await;
    assert!(sink.wait_for(4, PATIENCE).await);
    for n in 1..20 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    // Four failures opened it, for both hooks, and whoever asks is told.
    let mut told = json!(null);
    for hook in ["one", "two"] {
        let rows = daemon.until(hook, |rows| rows.iter().all(|row| row.outcome == "waiting")).await;
        let path = format!("/v1/deliveries/{}", rows[rows.len() - 1].delivery);
        told = daemon.admin("GET", &path, None).await.1["why"].clone();
    }
    assert_eq!(told, "breaker: 503 Service Unavailable");
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "failing", "{status}");
    // The fifth failure is the probe, and the next wait is twice as long.
    assert!(sink.wait_for(6, PATIENCE).await);
    for hook in ["one", "two"] {
        for row in daemon.until_all(hook, "delivered").await {
            assert!(row.attempts <= 5, "{row:?}");
        }
    }
    let at: Vec<Duration> = sink.records().iter().map(|record| record.elapsed).collect();
    assert_eq!(at.len(), 45, "nothing that waited used up an attempt: {at:?}");
    let (probe, again) = (at[4] - at[3], at[5] - at[4]);
    assert!(probe >= Duration::from_secs(1) && again >= Duration::from_secs(2), "{probe:?} {again:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn failures_before_a_restart_are_remembered() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(3)).expect("a step");
    let more = format!("{QUICK}breaker: {{failures: 3, probe: 1h, max: 2h}}\n");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), &more))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("hook", |rows| rows[0].attempts == 3).await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    let free = receiver().await;
    daemon.put_hook("free", &webhook(&free.url(""), "")).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("free", "delivered").await;
    assert_eq!(sink.count(), 3);
    // Who wants no breaker has none.
    daemon.put_hook("hook", &webhook(&sink.url(""), &format!("{QUICK}breaker: false\n"))).await;
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_burst_is_bounded() {
    let sink = receiver().await;
    let more = "rate_limit: {rate: 12/3s, burst: 2}\n";
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), more))]).await;
    for n in 0..6 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    assert!(sink.wait_for(6, PATIENCE).await);
    let at: Vec<Duration> = sink.records().iter().map(|record| record.elapsed).collect();
    for window in at.windows(3) {
        assert!(window[2] - window[0] >= Duration::from_millis(500), "{at:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn two_hooks_share_the_pace_of_one_receiver() {
    let sink = receiver().await;
    let more = "rate_limit: 3/1s\n";
    let daemon = Daemon::start(&[("one", &webhook(&sink.url(""), more)), ("two", &webhook(&sink.url(""), more))]).await;
    for n in 0..4 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    assert!(sink.wait_for(8, PATIENCE).await);
    let at: Vec<Duration> = sink.records().iter().map(|record| record.elapsed).collect();
    for window in at.windows(4) {
        assert!(window[3] - window[0] >= Duration::from_secs(1), "{at:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_pace_of_a_receiver_outlives_a_restart() {
    let (sink, free) = (receiver().await, receiver().await);
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "rate_limit: 2/1h\n"))]).await;
    for n in 0..3 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    daemon.until("hook", |rows| rows.iter().filter(|row| row.outcome == "delivered").count() == 2).await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    // Whatever is new is sent at once, were it not for the pace.
    daemon.put_hook("free", &webhook(&free.url(""), "")).await;
    daemon.emit(&json!({"type": "thing", "data": 3})).await;
    daemon.until_all("free", "delivered").await;
    assert_eq!(sink.count(), 2);
    daemon.put_hook("hook", &webhook(&sink.url(""), "rate_limit: 4/1h\n")).await;
    daemon.until_all("hook", "delivered").await;
    assert_eq!(sink.count(), 4);
    daemon.stop().await;
}

#[tokio::test]
async fn a_pause_outlives_a_restart() {
    let (sink, free) = (receiver().await, receiver().await);
    sink.script(Step::status(429).header("retry-after", "600")).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("hook", |rows| rows[0].why.starts_with("pause")).await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    daemon.put_hook("free", &webhook(&free.url(""), "")).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("free", "delivered").await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][1]["state"], "paused", "{status}");
    assert_eq!(sink.count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn the_ten_minutes_for_which_dingtalk_mutes_a_robot_outlive_a_restart() {
    let (sink, free) = (receiver().await, receiver().await);
    let body = r#"{"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}"#;
    sink.script(Step { body: Some(body.into()), ..Step::status(200) }).expect("a step");
    let robot = |name: &str| {
        let url = sink.url("/robot/send?access_token=T");
        format!("events: [thing]\nplatform: dingtalk\noptions: {{url: \"{url}\", message: {name}}}\n")
    };
    let daemon = Daemon::start(&[("one", &robot("one"))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("one", |rows| rows[0].why.starts_with("pause")).await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    // Another hook of the same robot must not speak either.
    daemon.put_hook("two", &robot("two")).await;
    daemon.put_hook("free", &webhook(&free.url(""), "")).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("free", "delivered").await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    for hook in [1, 2] {
        assert_eq!(status["hooks"][hook]["state"], "paused", "{status}");
        let until: jiff::Timestamp = status["hooks"][hook]["until"].as_str().expect("a time").parse().expect("a time");
        let left = until.duration_since(jiff::Timestamp::now()).as_secs();
        assert!((500..=610).contains(&left), "{left} s are left");
    }
    assert_eq!(sink.count(), 1);
    daemon.stop().await;
}
