//! What became of one event at every hook, and why it was not wanted.

use std::collections::BTreeMap;

use postrider::edges::sink::Step;
use serde_json::{Value as Json, json};

use super::{does, hook, rows, secret_url};
use crate::commands::{err, exits, out, piped, run};
use crate::support::{Daemon, receiver, write_hook};

fn by_hook(explained: &Json) -> BTreeMap<String, Json> {
    let hooks = explained["hooks"].as_array().expect("hooks");
    hooks.iter().map(|hook| (hook["hook"].as_str().expect("a name").to_owned(), hook.clone())).collect()
}

#[tokio::test]
async fn every_hook_says_what_became_of_an_event() {
    let (sink, refusing, failing) = (receiver().await, receiver().await, receiver().await);
    refusing.script(Step { body: Some("too long".into()), ..Step::status(400) }).expect("a step");
    failing.script(Step::status(503).times(100)).expect("a step");
    let later = "retry: {first: 1h, max: 1h}\n";
    let daemon = Daemon::start(&[
        ("fine", &hook("\"build.*\"", &sink.url(""), "")),
        ("refused", &hook("build.done", &refusing.url(""), "")),
        ("later", &hook("build.done", &failing.url(""), later)),
        ("held", &hook("build.done", &sink.url("/held"), "")),
        ("once", &hook("build.done", &sink.url("/once"), "dedupe: {key: data.app, for: 1h}\n")),
        ("gone", &hook("build.done", &sink.url("/gone"), "")),
        (
            "ios",
            &hook("build.done", &sink.url("/ios"), "when: data.device.type == \"iOS\" and size > 5 and data.nothing\n"),
        ),
        ("others", &hook("deploy.*", &sink.url("/others"), "")),
        ("off", &hook("build.done", &sink.url("/off"), "enabled: false\n")),
    ])
    .await;
    let folder = daemon.folder.path();
    daemon.put_secret("word", "android-secret");
    for name in ["held", "gone"] {
        does(folder, &["hold", name, "--reason", "we move house"]).await;
    }
    let data = json!({"app": "shop", "device": {"type": "android"}, "size": 7});
    daemon.emit(&json!({"type": "build.done", "id": "e0", "data": data})).await;
    daemon.emit(&json!({"type": "build.done", "id": "e1", "data": data})).await;
    daemon.emit(&json!({"type": "unheard.of", "id": "e2", "data": data})).await;
    daemon.until_all("fine", "delivered").await;
    daemon.until("refused", |rows| rows[0].outcome == "dead").await;
    daemon.until("later", |rows| rows.iter().all(|row| row.attempts == 1)).await;
    daemon.remove_hook("gone").await;
    write_hook(folder, "late", &hook("build.done", &sink.url("/late"), ""));
    write_hook(folder, "torn", "events: [build.done\n");
    daemon.reload().await;

    let explained = &rows(folder, &["explain", "e1"]).await[0];
    assert_eq!(
        (&explained["event"], &explained["type"], &explained["known"]),
        (&json!("e1"), &json!("build.done"), &json!(true))
    );
    let hooks = by_hook(explained);
    let expected = [
        ("fine", "delivered", None, ""),
        ("held", "waiting", Some("hold"), "hold: we move house"),
        ("later", "waiting", Some("retry"), "retry: 503 Service Unavailable"),
        ("gone", "waiting", Some("hook removed"), "hook removed"),
    ];
    for (name, outcome, reason, why) in expected {
        let entry = &hooks[name];
        assert_eq!((entry["outcome"].as_str(), entry["reason"].as_str()), (Some(outcome), reason), "{entry}");
        assert_eq!(entry["why"], why, "{entry}");
        assert!(entry["delivery"].is_string(), "{entry}");
    }
    assert!(hooks["later"]["due"].is_string());
    assert_eq!(hooks["once"]["outcome"], "dropped");
    assert!(hooks["once"]["why"].as_str().is_some_and(|why| why.starts_with("duplicate: the same `dedupe` key as")));
    for (name, reason, why) in [
        ("others", "type", "its events are deploy.*: none of them matches build.done"),
        ("off", "disabled", "it is disabled (`enabled: false`)"),
        ("ios", "when", "its when is false: data.device.type == \"iOS\" and size > 5 and data.nothing"),
        (
            "late",
            "later",
            "it wants such events today; when this one came it did not, or its record is not kept any more",
        ),
    ] {
        let entry = &hooks[name];
        assert_eq!(
            (&entry["reason"], &entry["why"], &entry["by"]),
            (&json!(reason), &json!(why), &json!("today's hooks"))
        );
        assert_eq!(entry["wanted"], false);
    }
    assert_eq!((&hooks["torn"]["reason"], &hooks["torn"]["wanted"]), (&json!("broken"), &json!(false)));
    assert_eq!(
        hooks["ios"]["values"],
        json!([
            {"name": "data.device.type", "value": "\"android\""},
            {"name": "data.nothing", "value": null},
            {"name": "size", "value": "7"},
        ])
    );
    assert_eq!(hooks.len(), 11, "every hook, once");

    // The same by a delivery's id; and an event that nobody wanted.
    let delivery = hooks["fine"]["delivery"].as_str().expect("an id");
    assert_eq!(rows(folder, &["explain", delivery]).await[0]["hooks"], explained["hooks"]);
    let dead = by_hook(&rows(folder, &["explain", "e0"]).await[0]);
    assert_eq!((&dead["refused"]["outcome"], &dead["refused"]["why"]), (&json!("dead"), &json!("400 Bad Request")));
    let nobody = &rows(folder, &["explain", "e2"]).await[0];
    assert!(by_hook(nobody).values().all(|entry| entry["wanted"] == false || entry["hook"] == "gone"), "{nobody}");

    // For a person.
    let page = out(&does(folder, &["explain", "e1"]).await);
    let before = |one: &str, two: &str| page.find(one).zip(page.find(two)).is_some_and(|(one, two)| one < two);
    assert!(before("fine", "not wanted, by today's hooks") && before("not wanted", "others"), "{page}");
    assert!(
        page.contains("data.device.type = \"android\"") && page.contains("data.nothing is not in this event"),
        "{page}"
    );
    assert!(page.contains("waiting, next try in"), "{page}");

    // What would happen to one that was not sent yet; nothing is stored.
    let event =
        json!({"type": "build.done", "data": {"device": {"type": "iOS"}, "size": 9, "nothing": "x"}}).to_string();
    let would = piped(folder, &["--json", "explain", "-"], &event).await;
    exits(&would, 0);
    let would: Json = serde_json::from_str(&out(&would)).expect("JSON");
    let wanted: Vec<String> =
        by_hook(&would).into_iter().filter(|(_, hook)| hook["wanted"] == true).map(|(name, _)| name).collect();
    assert_eq!(wanted, ["fine", "held", "ios", "late", "later", "once", "refused"]);
    assert!(out(&piped(folder, &["explain", "-"], &event).await).contains("would be sent"));
    let unknown = run(folder, &["explain", "nothing-of-the-kind"]).await;
    exits(&unknown, 1);
    assert!(err(&unknown).contains("there is no event and no delivery"), "{}", err(&unknown));
    daemon.stop().await;
}

#[tokio::test]
async fn a_secret_that_an_event_carries_is_not_explained() {
    let sink = receiver().await;
    let text = hook("thing", &secret_url(&sink, "word"), "when: data.word == \"x\"\n");
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::write_secret(folder.path(), "word", "hunter2hunter2");
    write_hook(folder.path(), "one", &text);
    let daemon = Daemon::start_in(folder).await;
    daemon.emit(&json!({"type": "thing", "id": "e1", "data": {"word": "say hunter2hunter2"}})).await;
    let explained = rows(daemon.folder.path(), &["explain", "e1"]).await[0].to_string();
    assert!(explained.contains("say ***") && !explained.contains("hunter2"), "{explained}");
    daemon.stop().await;
}
