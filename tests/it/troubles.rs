//! The daemon's own troubles are events: told to whoever wants to hear, never to whom they are about, never in circles.

use postrider::edges::journal::DeliveryRow;
use postrider::edges::sink::Step;
use serde_json::{Value, json};

use crate::delivering::{QUICK, webhook};
use crate::support::{Daemon, PATIENCE, bodies, receiver, write_hook};

/// A hook that wants to hear of every trouble.
fn watcher(url: &str, more: &str) -> String {
    format!(
        "events: [\"postrider.*\"]\nplatform: webhook\noptions:\n  url: {url}\n  json: {{type: \"{{{{ event.type }}}}\", source: \"{{{{ event.source }}}}\", data: \"{{{{ data }}}}\"}}\n{more}"
    )
}

fn told(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

fn done(rows: &[DeliveryRow]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| row.outcome != "waiting")
}

#[tokio::test]
async fn a_dead_letter_a_hold_and_a_release_are_told_with_what_one_needs_to_act() {
    let (sink, desk) = (receiver().await, receiver().await);
    sink.script(Step::status(422)).expect("a step");
    sink.script(Step::status(401)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "")), ("watch", &watcher(&desk.url(""), ""))]).await;
    daemon.emit(&json!({"type": "thing", "id": "e-1"})).await;
    let rows = daemon.until_all("hook", "dead").await;
    assert!(desk.wait_for(1, PATIENCE).await);
    daemon.emit(&json!({"type": "thing", "id": "e-2"})).await;
    assert!(desk.wait_for(2, PATIENCE).await);
    daemon.admin("POST", "/v1/release", Some(r#"{"hook": "hook"}"#)).await;
    assert!(desk.wait_for(3, PATIENCE).await);
    daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "hook", "why": "we move", "for": "1h"}"#)).await;
    assert!(desk.wait_for(4, PATIENCE).await);
    let said: Vec<Value> = bodies(&desk).iter().map(|body| told(body)).collect();
    assert_eq!(
        said[0],
        json!({
            "type": "postrider.hook.dead", "source": "postrider",
            "data": {"hook": "hook", "count": 1, "delivery": rows[0].delivery, "event": "e-1", "type": "thing",
                     "why": "422 Unprocessable Entity"},
        })
    );
    let why = "401 Unauthorized: the receiver refuses our credentials";
    let held = json!({"hook": "hook", "why": why, "by": "verdict", "until": null});
    assert_eq!((&said[1]["type"], &said[1]["data"]), (&json!("postrider.hook.held"), &held));
    let released = json!({"hook": "hook", "why": "an operator said so"});
    assert_eq!((&said[2]["type"], &said[2]["data"]), (&json!("postrider.hook.released"), &released));
    assert_eq!((&said[3]["data"]["by"], &said[3]["data"]["why"]), (&json!("operator"), &json!("we move")));
    assert!(said[3]["data"]["until"].is_string(), "{}", said[3]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_thousand_dead_letters_are_two_events() {
    let (sink, desk) = (receiver().await, receiver().await);
    sink.script(Step::status(400).times(1000)).expect("a step");
    let daemon = Daemon::start(&[("hook", &webhook(&sink.url(""), "")), ("watch", &watcher(&desk.url(""), ""))]).await;
    for n in 0..50 {
        daemon.emit(&json!({"type": "thing", "data": n})).await;
    }
    daemon.until("hook", |rows| rows.len() == 50 && done(rows)).await;
    daemon.until_all("watch", "delivered").await;
    // What was kept is told when the daemon stops, if not before.
    let daemon = Daemon::start_in(daemon.stop().await).await;
    assert!(desk.wait_for(2, PATIENCE).await);
    let counts: Vec<_> = bodies(&desk).iter().map(|body| told(body)["data"]["count"].clone()).collect();
    assert_eq!(counts, [1, 49]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_trouble_is_never_told_to_whom_it_is_about_and_none_raises_another() {
    let (broken, desk) = (receiver().await, receiver().await);
    broken.script(Step::status(400).times(1000)).expect("a step");
    desk.script(Step::status(400).times(1000)).expect("a step");
    // Two that want everything, and both refuse it: the perfect circle.
    let all = |url: String| format!("events: \"*\"\nplatform: webhook\noptions: {{url: \"{url}\"}}\n{QUICK}");
    let daemon = Daemon::start(&[("one", &all(broken.url(""))), ("two", &all(desk.url("")))]).await;
    daemon.emit(&json!({"type": "thing"})).await;
    // Each hears of the other's dead letter, and that is all.
    for (hook, other) in [("one", "two"), ("two", "one")] {
        let rows = daemon.until(hook, |rows| rows.len() == 2 && done(rows)).await;
        assert_eq!((rows[0].kind.as_str(), rows[1].kind.as_str()), ("thing", "postrider.hook.dead"));
        let (_, shown) = daemon.admin("GET", &format!("/v1/deliveries/{}", rows[1].delivery), None).await;
        assert_eq!((&shown["data"]["hook"], &shown["source"]), (&json!(other), &json!("postrider")));
    }
    let daemon = Daemon::start_in(daemon.stop().await).await;
    for hook in ["one", "two"] {
        assert_eq!(daemon.deliveries(hook).await.len(), 2, "{hook} was told of being told");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_hold_that_a_trouble_causes_is_told_to_nobody() {
    let (sink, gone, desk) = (receiver().await, receiver().await, receiver().await);
    sink.script(Step::status(422)).expect("a step");
    gone.script(Step::status(410).times(100)).expect("a step");
    let daemon = Daemon::start(&[
        ("hook", &webhook(&sink.url(""), "")),
        ("gone", &watcher(&gone.url(""), "")),
        ("watch", &watcher(&desk.url(""), "")),
    ])
    .await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until("gone", |rows| !rows.is_empty() && rows[0].why.starts_with("hold")).await;
    daemon.until_all("watch", "delivered").await;
    let daemon = Daemon::start_in(daemon.stop().await).await;
    assert_eq!(daemon.deliveries("watch").await.len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_broken_file_is_told_once_and_its_mending_too_but_not_to_itself() {
    let desk = receiver().await;
    let good = watcher(&desk.url("/b"), "");
    let daemon = Daemon::start(&[("watch", &watcher(&desk.url("/a"), "")), ("other", &good)]).await;
    // The last good version of `other` is not told that its file is broken; `watch` is.
    daemon.put_hook("other", &good.replace("platform", "plaform")).await;
    let rows = daemon.until_all("watch", "delivered").await;
    assert_eq!(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["postrider.config.error"]);
    daemon.reload().await;
    daemon.put_hook("other", &good).await;
    let rows = daemon.until("watch", |rows| rows.len() == 2 && done(rows)).await;
    assert_eq!(rows[1].kind, "postrider.config.recovered");
    assert_eq!(daemon.deliveries("other").await, []);
    let said = told(&bodies(&desk)[0]);
    let file = said["data"]["file"].as_str().expect("a file");
    assert!(file.ends_with("hooks.d/other.yaml"), "{file}");
    assert!(said["data"]["text"].as_str().expect("text").contains("did you mean `platform`?"), "{said}");
    assert_eq!(said["data"]["problems"][0]["code"], "unknown-key", "{said}");
    assert_eq!(told(&bodies(&desk)[1])["data"], json!({"file": file}));

    // One that is broken when the daemon starts is told as well.
    let folder = daemon.stop().await;
    write_hook(folder.path(), "third", "events: [a\n");
    let daemon = Daemon::start_in(folder).await;
    let wanted = |rows: &[DeliveryRow]| rows.iter().filter(|row| row.kind == "postrider.config.error").count() == 2;
    daemon.until("watch", wanted).await;
    daemon.until_all("other", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_journal_in_trouble_is_told_when_it_can_be_written_again() {
    let desk = receiver().await;
    let daemon = Daemon::start(&[("watch", &watcher(&desk.url(""), ""))]).await;
    daemon.reload().await;
    let state = daemon.folder.path().join(".postrider/state");
    let (file, away) = (state.join("journal.db"), state.join("away.db"));
    std::fs::rename(&file, &away).expect("it can be moved");
    let refused = daemon.emit(&json!({"type": "thing"})).await;
    assert!(refused["error"].is_object(), "{refused}");
    let told_of_trouble = async || daemon.admin("GET", "/v1/status", None).await.1["storage"]["trouble"].is_string();
    assert!(told_of_trouble().await);
    // The watch looks once in a second; it must have seen it before it is over.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    std::fs::rename(&away, &file).expect("it can be moved back");
    let rows = daemon.until("watch", |rows| rows.len() == 2 && done(rows)).await;
    let kinds: Vec<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["postrider.storage.failed", "postrider.storage.recovered"]);
    let mut said: Vec<Value> = bodies(&desk).iter().map(|body| told(body)["data"].clone()).collect();
    said.sort_by_key(|data| data["seconds"].is_u64());
    assert!(said[0]["why"].as_str().expect("why").contains("moved or deleted"), "{said:?}");
    assert_eq!(said[0]["since"], said[1]["since"]);
    assert!(said[1]["seconds"].is_u64(), "{said:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn nobody_speaks_in_the_daemons_name() {
    let daemon = Daemon::start(&[]).await;
    let answer = daemon.emit(&json!({"type": "postrider.hook.dead", "source": "postrider"})).await;
    assert_eq!(
        answer["detail"].as_str().or(answer["error"]["message"].as_str()).map(|why| why.contains("the daemon's own")),
        Some(true),
        "{answer}"
    );
    assert_eq!(daemon.emit(&json!({"type": "postrider.hook.dead", "source": "me"})).await["duplicate"], false);
    // A batch is taken or refused as a whole.
    let several = daemon.emit(&json!([{"type": "a"}, {"type": "b", "source": "postrider"}])).await;
    assert!(several["error"]["message"].is_string(), "{several}");
    assert_eq!(daemon.admin("GET", "/v1/status", None).await.1["accepted"], 1);
    let cloud = json!({"specversion": "1.0", "type": "c", "source": "postrider", "id": "1"});
    let answer = daemon.emit(&cloud).await;
    assert!(answer["error"]["message"].is_string(), "{answer}");
    daemon.stop().await;
}
