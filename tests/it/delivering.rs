//! What happens between the acknowledgement and the outcome: a real daemon, a real journal, a local receiver.

use postrider::edges::sink::{Fault, Step};
use serde_json::json;

use crate::support::{Daemon, PATIENCE, bodies, receiver, write_secret};

pub(crate) fn webhook(url: &str, more: &str) -> String {
    format!("events: [thing]\nplatform: webhook\noptions: {{url: \"{url}\"}}\n{more}")
}

pub(crate) const QUICK: &str = "retry: {first: 100ms, max: 200ms}\n";

#[tokio::test]
async fn an_event_goes_to_every_hook_that_wants_it_and_to_no_other() {
    let (one, two, three) = (receiver().await, receiver().await, receiver().await);
    let daemon = Daemon::start(&[
        ("one", &webhook(&one.url(""), "")),
        ("two", &webhook(&two.url(""), "when: data.n > 5\n")),
        ("three", &webhook(&three.url(""), "enabled: false\n")),
    ])
    .await;
    let answer = daemon.emit(&json!({"type": "thing", "id": "e1", "data": {"n": 3}})).await;
    assert_eq!(answer, json!({"id": "e1", "hooks": ["one"], "duplicate": false}));
    let answer = daemon.emit(&json!({"type": "thing", "id": "e2", "data": {"n": 7}})).await;
    assert_eq!(answer["hooks"], json!(["one", "two"]));
    assert_eq!(daemon.emit(&json!({"type": "other", "id": "e3"})).await["hooks"], json!([]));
    let again = daemon.emit(&json!({"type": "thing", "id": "e2", "data": {"n": 7}})).await;
    assert_eq!(again, json!({"id": "e2", "hooks": ["one", "two"], "duplicate": true}));

    assert_eq!(daemon.until_all("one", "delivered").await.len(), 2);
    assert_eq!(daemon.until_all("two", "delivered").await.len(), 1);
    assert_eq!(bodies(&one), [r#"{"n":3}"#, r#"{"n":7}"#]);
    assert_eq!((two.count(), three.count()), (1, 0));
    daemon.stop().await;
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id() {
    let sink = receiver().await;
    sink.script(Step::status(503)).expect("a step");
    sink.script(Step::fault(Fault::CloseAfterBody)).expect("a step");
    sink.script(Step::status(500)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), QUICK))]).await;
    daemon.emit(&json!({"type": "thing", "data": "x"})).await;
    let rows = daemon.until_all("hook", "delivered").await;
    assert_eq!(rows[0].attempts, 4);
    let ids: std::collections::BTreeSet<_> =
        sink.records().iter().map(|record| record.request.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids, [Some(rows[0].delivery.clone())].into());
    let verdicts: Vec<_> = daemon.log("hook").await.iter().map(|row| (row.verdict.clone(), row.status)).collect();
    let expected = [("retry", Some(503)), ("retry", None), ("retry", Some(500)), ("delivered", Some(200))];
    assert_eq!(verdicts, expected.map(|(verdict, status)| (verdict.to_owned(), status)));
    daemon.stop().await;
}

#[tokio::test]
async fn a_delivery_that_never_succeeds_is_a_dead_letter_and_can_be_replayed() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(3)).expect("a step");
    let daemon =
        Daemon::start(&[("hook", &webhook(&sink.url(""), "retry: {first: 100ms, max: 100ms, max_attempts: 3}\n"))])
            .await;
    daemon.emit(&json!({"type": "thing", "data": 1})).await;
    let rows = daemon.until_all("hook", "dead").await;
    assert!(rows[0].why.starts_with("gave up after 3 attempts"), "{}", rows[0].why);

    let (status, replayed) = daemon.admin("POST", "/v1/replay", Some(r#"{"dead": true}"#)).await;
    assert_eq!((status, &replayed["deliveries"]), (200, &json!([rows[0].delivery])));
    daemon.until_all("hook", "delivered").await;
    let ids: Vec<_> =
        sink.records().iter().filter_map(|record| record.request.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids, vec![rows[0].delivery.clone(); 4]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_refused_delivery_dies_at_once_with_the_receivers_words() {
    let sink = receiver().await;
    sink.script(Step { body: Some("no such field: size".into()), ..Step::status(422) }).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let rows = daemon.until_all("hook", "dead").await;
    let (_, shown) = daemon.admin("GET", &format!("/v1/deliveries/{}", rows[0].delivery), None).await;
    assert_eq!(shown["attempts"][0]["response"], "no such field: size");
    assert_eq!(shown["attempts"][0]["status"], 422);
    assert_eq!(sink.count(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_hook_judges_answers_by_its_own_rules_before_its_platform() {
    let sink = receiver().await;
    let say = |status: u16, body: &str| Step { body: Some(body.into()), ..Step::status(status) };
    sink.script(say(200, r#"{"code": 7, "msg": "no such app"}"#)).expect("a step");
    sink.script(say(200, r#"{"code": {}}"#)).expect("a step");
    sink.script(say(409, r#"{"code": 1}"#)).expect("a step");
    let rules = "concurrency: 1\nverdict:\n  - {when: status == 409, delivered: true}\n  \
                 - {when: json.code * 2 > 1, reject: \"{{ json.msg }}\"}\n";
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), rules))]).await;
    for n in 0..3 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    let rows = daemon.until("hook", |rows| rows.len() == 3 && rows.iter().all(|row| row.outcome != "waiting")).await;
    let came: Vec<_> = rows.iter().map(|row| (row.outcome.as_str(), row.why.as_str())).collect();
    // The second answer makes its rule fail: then it is the platform's to judge.
    assert_eq!(came, [("dead", "no such app"), ("delivered", ""), ("delivered", "")]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_delivery_says_what_keeps_its_hook_from_sending() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "hook", "why": "we move house"}"#)).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let path = format!("/v1/deliveries/{}", daemon.deliveries("hook").await[0].delivery);
    assert_eq!(daemon.admin("GET", &path, None).await.1["why"], "hold: we move house");
    daemon.remove_hook("hook").await;
    assert_eq!(daemon.admin("GET", &path, None).await.1["why"], "hook removed");
    daemon.stop().await;
}

#[tokio::test]
async fn a_slip_in_a_secret_url_is_waited_for() {
    let sink = receiver().await;
    let hook = "events: [thing]\nplatform: webhook\noptions: {url: {secret: where}}\n";
    let daemon = Daemon::start(&[]).await;
    daemon.put_secret("where", "ttp//127.0.0.1");
    daemon.put_hook("hook", hook).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "secret missing");
    let said = status["problems"].to_string();
    assert!(said.contains("it holds no URL") && !said.contains("ttp//127"), "{said}");
    daemon.put_secret("where", &sink.url(""));
    daemon.reload().await;
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_held_hook_waits_until_its_file_changes() {
    let sink = receiver().await;
    sink.script(Step::status(410)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url("/old"), ""))]).await;
    daemon.emit(&json!({"type": "thing", "data": 1})).await;
    assert!(sink.wait_for(1, PATIENCE).await);
    daemon.until("hook", |rows| rows[0].why.starts_with("hold")).await;
    daemon.emit(&json!({"type": "thing", "data": 2})).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!((&status["hooks"][0]["state"], &status["hooks"][0]["waiting"]), (&json!("held"), &json!(2)));

    // A restart remembers it.
    let daemon = Daemon::start_in(daemon.stop().await).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "held");
    assert_eq!(sink.count(), 1);

    daemon.put_hook("hook", &webhook(&sink.url("/new"), "description: mended\n")).await;
    assert_eq!(daemon.until_all("hook", "delivered").await.len(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn a_hold_ends_by_itself_when_its_time_is_over_also_after_a_restart() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "")), ("other", &webhook(&sink.url(""), ""))]).await;
    for (hook, time) in [("hook", "2s"), ("other", "3s")] {
        let order = json!({"hook": hook, "why": "a short break", "for": time}).to_string();
        let (status, answer) = daemon.admin("POST", "/v1/hold", Some(&order)).await;
        assert!(status == 200 && answer["until"].is_string(), "{answer}");
    }
    daemon.emit(&json!({"type": "thing"})).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "held");
    assert!(status["hooks"][0]["until"].is_string(), "{status}");
    assert_eq!(sink.count(), 0);
    daemon.until_all("hook", "delivered").await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    daemon.until_all("other", "delivered").await;
    let (status, _) = daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "hook", "for": "2"}"#)).await;
    assert_eq!(status, 400);
    daemon.stop().await;
}

#[tokio::test]
async fn a_new_secret_releases_a_hook_that_was_held_for_it() {
    let sink = receiver().await;
    sink.script(Step::status(401)).expect("a step");
    let hook = format!(
        "events: [thing]\nplatform: webhook\noptions:\n  url: {}\n  headers: {{Authorization: {{secret: token}}}}\n",
        sink.url("")
    );
    let daemon = Daemon::start(&[]).await;
    daemon.put_secret("token", "Bearer old-token");
    daemon.put_hook("hook", &hook).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("hook", |rows| rows[0].why.starts_with("hold")).await;
    daemon.put_secret("token", "Bearer new-token");
    daemon.reload().await;
    daemon.until_all("hook", "delivered").await;
    assert_eq!(sink.count(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn one_key_goes_out_in_order_and_a_head_that_waits_blocks_only_its_own() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(2)).expect("a step");
    let more = "concurrency: 8\norder_by: data.app\nretry: {first: 2s, max: 2s}\n";
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), more))]).await;
    daemon.emit(&json!({"type": "thing", "data": {"app": "a", "n": 1}})).await;
    daemon.until("hook", |rows| rows[0].attempts == 1).await;
    for (app, n) in [("a", 2), ("b", 1), ("a", 3), ("b", 2)] {
        daemon.emit(&json!({"type": "thing", "data": {"app": app, "n": n}})).await;
    }
    daemon.emit(&json!({"type": "thing", "data": {"n": 0}})).await;
    let rows = daemon.deliveries("hook").await;
    assert_eq!(rows[1].why, format!("order: after {}", rows[0].delivery));
    // A restart in the middle changes nothing.
    let daemon = Daemon::start_in(daemon.stop().await).await;
    assert_eq!(daemon.until_all("hook", "delivered").await.len(), 6);
    let of = |app: &str| -> Vec<i64> {
        let taken = sink.records().into_iter().filter(|record| record.status == Some(200));
        let data = taken.map(|record| serde_json::from_slice::<serde_json::Value>(&record.request.body).expect("JSON"));
        data.filter(|data| data["app"] == app).map(|data| data["n"].as_i64().expect("a number")).collect()
    };
    assert_eq!((of("a"), of("b")), (vec![1, 2, 3], vec![1, 2]));
    daemon.stop().await;
}

#[tokio::test]
async fn the_same_key_is_sent_once_and_the_record_says_why() {
    let sink = receiver().await;
    let more = "dedupe: {key: data.id, for: 1h}\n";
    let daemon =
        Daemon::start(&[("hook", &webhook(&sink.url(""), more)), ("all", &webhook(&sink.url("/all"), ""))]).await;
    let emit = async |id: &str| daemon.emit(&json!({"type": "thing", "data": {"id": id}})).await["hooks"].clone();
    assert_eq!(emit("x").await, json!(["all", "hook"]));
    assert_eq!(emit("x").await, json!(["all"]));
    assert_eq!(emit("y").await, json!(["all", "hook"]));
    assert_eq!(daemon.until_all("all", "delivered").await.len(), 3);
    let done = |rows: &[postrider::edges::journal::DeliveryRow]| rows.iter().all(|row| row.outcome != "waiting");
    let rows = daemon.until("hook", done).await;
    let came: Vec<_> = rows.iter().map(|row| row.outcome.as_str()).collect();
    assert_eq!(came, ["delivered", "dropped", "delivered"]);
    assert!(rows[1].why.starts_with("duplicate: the same `dedupe` key as "), "{}", rows[1].why);
    daemon.stop().await;
}

#[tokio::test]
async fn an_operator_holds_and_releases_a_hook() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    let (status, _) = daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "hook", "why": "maintenance"}"#)).await;
    assert_eq!(status, 200);
    daemon.emit(&json!({"type": "thing"})).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!((&status["hooks"][0]["state"], &status["hooks"][0]["why"]), (&json!("held"), &json!("maintenance")));
    assert_eq!(sink.count(), 0);
    let (status, _) = daemon.admin("POST", "/v1/release", Some(r#"{"hook": "hook"}"#)).await;
    assert_eq!(status, 200);
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_mended_hook_applies_to_what_already_waits() {
    let (wrong, right) = (receiver().await, receiver().await);
    wrong.script(Step::status(503).times(1000)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&wrong.url(""), QUICK))]).await;
    daemon.emit(&json!({"type": "thing", "data": {"k": 1}})).await;
    assert!(wrong.wait_for(2, PATIENCE).await);
    daemon.put_hook("10-hook", &webhook(&right.url(""), QUICK)).await;
    daemon.remove_hook("hook").await;
    daemon.until_all("hook", "delivered").await;
    let before = wrong.count();
    daemon.emit(&json!({"type": "thing", "data": {"k": 2}})).await;
    daemon.until("hook", |rows| rows.len() == 2 && rows.iter().all(|row| row.outcome == "delivered")).await;
    assert_eq!(wrong.count(), before);
    assert_eq!(bodies(&right), [r#"{"k":1}"#, r#"{"k":2}"#]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_removed_hooks_deliveries_wait_for_its_return() {
    let sink = receiver().await;
    sink.script(Step::status(503)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "retry: {first: 1s, max: 1s}\n"))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("hook", |rows| rows[0].attempts == 1).await;
    daemon.remove_hook("hook").await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!((&status["hooks"][0]["state"], &status["hooks"][0]["waiting"]), (&json!("removed"), &json!(1)));
    assert_eq!(daemon.emit(&json!({"type": "thing"})).await["hooks"], json!([]));
    daemon.put_hook("hook", &webhook(&sink.url(""), "")).await;
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_missing_secret_makes_the_hook_wait_and_its_arrival_lets_it_go() {
    let sink = receiver().await;
    let hook = "events: [thing]\nplatform: webhook\noptions: {url: {secret: target}}\n";
    let daemon = Daemon::start(&[("hook", hook)]).await;
    assert_eq!(daemon.emit(&json!({"type": "thing"})).await["hooks"], json!(["hook"]));
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "secret missing");
    daemon.put_secret("target", &sink.url("/with-a-secret-path"));
    daemon.reload().await;
    daemon.until_all("hook", "delivered").await;
    let log = daemon.log("hook").await;
    assert!(!format!("{log:?}").contains("with-a-secret-path"));
    daemon.stop().await;
}

#[tokio::test]
async fn a_text_that_cannot_be_rendered_is_a_dead_letter_that_names_the_place() {
    let sink = receiver().await;
    let hook = format!(
        "events: [thing]\nplatform: webhook\noptions:\n  url: {}\n  json:\n    msg: \"v{{{{ version.labl }}}}\"\n",
        sink.url("")
    );
    let daemon = Daemon::start(&[("hook", &hook)]).await;
    daemon.emit(&json!({"type": "thing", "data": {"version": {"label": "2"}}})).await;
    let rows = daemon.until_all("hook", "dead").await;
    assert!(rows[0].why.contains("hook.yaml:6:"), "{}", rows[0].why);
    assert!(rows[0].why.contains("labl") && rows[0].why.contains("label"), "{}", rows[0].why);
    assert_eq!(sink.count(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_lane_does_not_wait_for_another() {
    let (slow, quick) = (receiver().await, receiver().await);
    slow.script(Step::fault(Fault::Stall).times(1000)).expect("a step");
    let daemon = Daemon::start(&[
        ("slow", &webhook(&slow.url(""), "timeout: 20s\nconcurrency: 2\n")),
        ("quick", &webhook(&quick.url(""), "")),
    ])
    .await;
    for n in 0..50 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    assert_eq!(
        daemon.until("quick", |rows| rows.iter().filter(|row| row.outcome == "delivered").count() == 50).await.len(),
        50
    );
    assert!(slow.count() <= 2);
    drop(slow);
    daemon.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_in_the_air_and_a_restart_sends_the_rest() {
    let sink = receiver().await;
    sink.script(Step { delay_ms: 300, ..Step::default() }).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "concurrency: 1\n"))]).await;
    for n in 0..3 {
        daemon.emit(&json!({"type": "thing", "id": format!("e{n}"), "data": n})).await;
    }
    assert!(sink.wait_for(1, PATIENCE).await);
    let folder = daemon.stop().await;
    assert_eq!(sink.count(), 1);
    let daemon = Daemon::start_in(folder).await;
    assert_eq!(daemon.until_all("hook", "delivered").await.len(), 3);
    assert_eq!(bodies(&sink), ["0", "1", "2"]);
    daemon.stop().await;
}

#[tokio::test]
async fn the_log_can_be_followed() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), ""))]).await;
    let client =
        postrider::edges::client::Client::new(&postrider::edges::config::Paths::here(daemon.folder.path()).admin);
    let (_, mut lines) = client.stream("/v1/stream?hook=hook").await.expect("a stream");
    daemon.emit(&json!({"type": "thing", "id": "followed"})).await;
    let followed = tokio::time::timeout(PATIENCE, async {
        loop {
            let line = lines.next_line().await.expect("a line").expect("no end");
            if let Some(row) = line.strip_prefix("data: ") {
                return serde_json::from_str::<serde_json::Value>(row).expect("a row");
            }
        }
    });
    let row = followed.await.expect("in time");
    assert_eq!((&row["event"], &row["outcome"], &row["attempt"]), (&json!("followed"), &json!("delivered"), &json!(1)));
    drop(lines);
    daemon.stop().await;
}

#[tokio::test]
async fn the_test_button_works_for_a_disabled_hook_and_stores_nothing() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "enabled: false\nwhen: data.never == 1\n"))]).await;
    let (status, probed) = daemon.admin("POST", "/v1/test", Some(r#"{"hook": "hook"}"#)).await;
    assert_eq!((status, &probed["verdict"], &probed["status"]), (200, &json!("delivered"), &json!(200)));
    assert_eq!(sink.count(), 1);
    assert!(daemon.deliveries("hook").await.is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_in_a_url_never_shows_even_when_the_receiver_echoes_it() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    let url = sink.url("").trim_end_matches('/').to_owned() + "/robot/send?access_token=c0ffee-token-c0ffee";
    write_secret(folder.path(), "robot", &url);
    crate::support::write_hook(
        folder.path(),
        "hook",
        "events: [thing]\nplatform: webhook\noptions: {url: {secret: robot}}\n",
    );
    sink.script(Step { body: Some(format!("cannot serve {url}")), ..Step::status(400) }).expect("a step");
    let daemon = Daemon::start_in(folder).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let rows = daemon.until_all("hook", "dead").await;
    let (_, shown) = daemon.admin("GET", &format!("/v1/deliveries/{}", rows[0].delivery), None).await;
    assert!(!shown.to_string().contains("c0ffee"), "{shown}");
    assert!(shown.to_string().contains("cannot serve"), "{shown}");
    daemon.stop().await;
}

#[tokio::test]
async fn the_test_button_keeps_the_pace_unless_it_is_diverted() {
    let (sink, other) = (receiver().await, receiver().await);
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "rate_limit: 1/1m\n"))]).await;
    let (status, _) = daemon.admin("POST", "/v1/test", Some(r#"{"hook": "hook"}"#)).await;
    assert_eq!(status, 200);
    let (status, refused) = daemon.admin("POST", "/v1/test", Some(r#"{"hook": "hook"}"#)).await;
    assert_eq!(status, 429, "{refused}");
    assert!(refused["error"]["message"].to_string().contains("rate_limit"), "{refused}");
    let diverted = json!({"hook": "hook", "to": other.url("")}).to_string();
    assert_eq!(daemon.admin("POST", "/v1/test", Some(&diverted)).await.0, 200);
    assert_eq!((sink.count(), other.count()), (1, 1));
    daemon.stop().await;
}
