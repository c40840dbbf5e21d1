//! What waits, and why: the reason that binds is told, also of what was recorded as new.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use postrider::edges::config::Paths;
use postrider::edges::sink::{Fault, SinkHandle, Step};
use postrider::words::delivery::Why;
use serde_json::{Value as Json, json};

use super::{does, emit, hook, rows, secret_url};
use crate::commands::{err, exits, out, run};
use crate::support::{Daemon, PATIENCE, receiver};

const LATER: &str = "retry: {first: 1h, max: 1h}\n";

/// A receiver that never answers, and one that says no.
async fn receivers() -> (SinkHandle, SinkHandle) {
    let (silent, failing) = (receiver().await, receiver().await);
    silent.script(Step::fault(Fault::Stall).times(1000)).expect("a step");
    failing.script(Step::status(503).times(1000)).expect("a step");
    (silent, failing)
}

/// The reasons that the queue tells of a hook.
async fn reasons(daemon: &Daemon, hook: &str) -> BTreeSet<String> {
    let rows = rows(daemon.folder.path(), &["queue", "--hook", hook]).await;
    rows.iter().map(|row| row["reason"].as_str().expect("a reason").to_owned()).collect()
}

async fn until_reasons(daemon: &Daemon, hook: &str, wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
    let waited = tokio::time::timeout(PATIENCE, async {
        while reasons(daemon, hook).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    if waited.await.is_err() {
        panic!("{hook} waits for {:?} and not for {wanted:?}", reasons(daemon, hook).await);
    }
}

#[tokio::test]
async fn every_reason_is_told_when_it_is_the_one() {
    let (silent, failing) = receivers().await;
    let (paused, fine) = (receiver().await, receiver().await);
    paused.script(Step::status(429).header("retry-after", "600")).expect("a step");
    let daemon = Daemon::start(&[
        ("slow", &hook("slow", &silent.url(""), "concurrency: 1\ntimeout: 60s\n")),
        (
            "orderly",
            &hook("orderly", &silent.url(""), "concurrency: 4\ntimeout: 60s\norder_by: \"k{{ event.type }}\"\n"),
        ),
        ("later", &hook("later", &failing.url(""), &format!("{LATER}breaker: false\n"))),
        (
            "broken",
            &hook(
                "broken",
                &failing.url(""),
                &format!("{LATER}breaker: {{failures: 1, probe: 10m}}\nconcurrency: 1\n"),
            ),
        ),
        ("paused", &hook("paused", &paused.url(""), "concurrency: 1\n")),
        ("paced", &hook("paced", &fine.url(""), "rate_limit: 1/1h\n")),
        ("held", &hook("held", &fine.url("/held"), "")),
        ("secretive", &hook("secretive", &secret_url(&fine, "nothing"), "")),
        ("off", &hook("off", &fine.url("/off"), "")),
        ("gone", &hook("gone", &fine.url("/gone"), "")),
        (
            "collecting",
            &hook("collecting", &fine.url("/all"), "digest: {window: 1h}\n").replace("webhook", "mattermost"),
        ),
    ])
    .await;
    let folder = daemon.folder.path();
    for name in ["held", "off", "gone"] {
        does(folder, &["hold", name, "--reason", "we move house"]).await;
    }
    for kind in
        ["slow", "orderly", "later", "broken", "paused", "paced", "held", "secretive", "off", "gone", "collecting"]
    {
        emit(&daemon, kind, 3).await;
    }
    daemon.put_hook("off", &hook("off", &fine.url("/off"), "enabled: false\n")).await;
    daemon.remove_hook("gone").await;
    let expected: [(&str, &[&str]); 11] = [
        ("slow", &["sending", "turn"]),
        ("orderly", &["sending", "order"]),
        ("later", &["retry"]),
        // Its own time is later than that of the receiver's next probe.
        ("broken", &["breaker", "retry"]),
        ("paused", &["pause"]),
        ("paced", &["pace"]),
        ("held", &["hold"]),
        ("secretive", &["secret missing"]),
        ("off", &["hook disabled"]),
        ("gone", &["hook removed"]),
        ("collecting", &["digest"]),
    ];
    let mut told = BTreeSet::new();
    for (hook, reasons) in expected {
        // The jitter may put the first retry before the probe.
        if hook == "broken" {
            until_some(&daemon, hook, "breaker").await;
        } else {
            until_reasons(&daemon, hook, reasons).await;
        }
        told.extend(reasons.iter().map(ToString::to_string));
    }

    // The same is told by `show` and by `explain`, also where the row itself still says: new.
    let held = &rows(folder, &["queue", "--hook", "held"]).await[0];
    assert_eq!(held["why"], "hold: we move house");
    let recorded = daemon.deliveries("held").await;
    assert!(recorded.iter().all(|row| row.reason.as_deref() == Some("new")), "{recorded:?}");
    let id = held["delivery"].as_str().expect("an id");
    assert_eq!(rows(folder, &["show", id]).await[0]["why"], "hold: we move house");
    let explained = &rows(folder, &["explain", id]).await[0];
    let entry = explained["hooks"].as_array().expect("hooks").iter().find(|entry| entry["hook"] == "held");
    assert_eq!(entry.expect("the hook")["reason"], "hold", "{explained}");
    let paced = &rows(folder, &["queue", "--hook", "paced"]).await[0];
    assert!(paced["due"].is_string(), "{paced}");

    // The storage, as long as it cannot be written.
    let journal = Paths::here(folder).state.join("journal.db");
    fs::rename(&journal, journal.with_extension("away")).expect("it can be moved");
    daemon.emit(&json!({"type": "held", "data": 9})).await;
    until_reasons(&daemon, "held", &["storage"]).await;
    told.insert("storage".to_owned());
    fs::rename(journal.with_extension("away"), &journal).expect("it can be moved back");
    until_reasons(&daemon, "held", &["hold"]).await;

    // What is left lasts for a moment only, and is told by the table of `rules/waiting.rs`.
    told.extend(["new", "replayed"].map(str::to_owned));
    let all: BTreeSet<String> = Why::all().iter().map(|why| why.word().to_owned()).collect();
    assert_eq!(told, all);
    daemon.stop().await;
}

async fn until_some(daemon: &Daemon, hook: &str, reason: &str) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !reasons(daemon, hook).await.contains(reason) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{hook} never waited for {reason}"));
}

#[tokio::test]
async fn the_queue_is_filtered_and_what_is_next_comes_first() {
    let (_, failing) = receivers().await;
    let daemon = Daemon::start(&[
        ("early", &hook("early", &failing.url("/e"), &format!("breaker: false\n{LATER}"))),
        ("held", &hook("h*", &failing.url("/h"), "")),
    ])
    .await;
    let folder = daemon.folder.path();
    does(folder, &["hold", "held", "--reason", "not yet", "--for", "2h"]).await;
    emit(&daemon, "early", 4).await;
    emit(&daemon, "held", 5).await;
    emit(&daemon, "hurried", 2).await;
    until_reasons(&daemon, "early", &["retry"]).await;
    let all = rows(folder, &["queue"]).await;
    assert_eq!(all.len(), 11);
    let times: Vec<&str> = all.iter().map(|row| row["due"].as_str().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    for (arguments, count) in [
        (&["--why", "hold"][..], 7),
        (&["--why", "retry"], 4),
        (&["--why", "pause"], 0),
        (&["--hook", "early"], 4),
        (&["--type", "hurr*"], 2),
        (&["--since", "1h"], 11),
        (&["--until", "1h"], 0),
        (&["-n", "3"], 3),
        (&["-n", "3", "--why", "hold", "--type", "held"], 3),
        (&["-n", "0"], 0),
    ] {
        let arguments: Vec<&str> = ["queue"].iter().chain(arguments).copied().collect();
        assert_eq!(rows(folder, &arguments).await.len(), count, "{arguments:?}");
    }
    let page = out(&does(folder, &["queue", "--hook", "held", "-n", "2"]).await);
    assert!(page.starts_with("DELIVERY"), "{page}");
    assert!(page.contains("hold: not yet") && page.contains("in 1h 59m"), "{page}");
    let more = err(&does(folder, &["queue", "-n", "2"]).await);
    assert!(more.contains("more than 2 wait"), "{more}");

    // Mistakes are told with what was meant.
    let wrong = run(folder, &["queue", "--hook", "helt"]).await;
    exits(&wrong, 1);
    assert!(
        err(&wrong).contains("there is no hook helt") && err(&wrong).contains("did you mean held?"),
        "{}",
        err(&wrong)
    );
    for command in ["log", "flush", "drop", "replay", "hold"] {
        let mut arguments = vec![command];
        arguments.extend(match command {
            "flush" => vec!["helt"],
            "hold" => vec!["helt", "--reason", "x"],
            "log" => vec!["--hook", "helt"],
            _ => vec!["--yes", "--hook", "helt"],
        });
        let wrong = run(folder, &arguments).await;
        exits(&wrong, 1);
        assert!(err(&wrong).contains("did you mean held?"), "{arguments:?}: {}", err(&wrong));
    }
    let wrong = run(folder, &["queue", "--why", "weather"]).await;
    exits(&wrong, 2);
    assert!(err(&wrong).contains("the reasons are: new, replayed, sending"), "{}", err(&wrong));
    let wrong = run(folder, &["queue", "--since", "yesterday"]).await;
    exits(&wrong, 2);
    assert!(err(&wrong).contains("say 1h, 2d, 2026-11-22"), "{}", err(&wrong));
    daemon.stop().await;
}

#[tokio::test]
async fn the_shape_of_the_queue_is_counted_by_hook_age_and_reason() {
    let (silent, failing) = receivers().await;
    let daemon = Daemon::start(&[
        ("busy", &hook("busy", &silent.url(""), "concurrency: 2\ntimeout: 60s\n")),
        ("later", &hook("later", &failing.url(""), &format!("breaker: false\n{LATER}"))),
        ("quiet", &hook("quiet", &failing.url("/q"), "")),
    ])
    .await;
    let folder = daemon.folder.path();
    assert!(err(&does(folder, &["queue", "--shape"]).await).contains("nothing waits"));
    emit(&daemon, "busy", 7).await;
    emit(&daemon, "later", 5).await;
    until_reasons(&daemon, "later", &["retry"]).await;
    until_reasons(&daemon, "busy", &["sending", "turn"]).await;
    let shape: BTreeMap<String, Json> = rows(folder, &["queue", "--shape"])
        .await
        .into_iter()
        .map(|row| (row["hook"].as_str().expect("a name").to_owned(), row))
        .collect();
    assert_eq!(shape.keys().collect::<Vec<_>>(), ["busy", "later"]);
    let ages = |count: u64| json!({"1m": count, "10m": 0, "1h": 0, "6h": 0, "1d": 0, "older": 0});
    assert_eq!(
        shape["busy"],
        json!({"hook": "busy", "waiting": 7, "ages": ages(7), "reasons": {"sending": 2, "turn": 5}})
    );
    assert_eq!(shape["later"], json!({"hook": "later", "waiting": 5, "ages": ages(5), "reasons": {"retry": 5}}));
    let page = out(&does(folder, &["queue", "--shape"]).await);
    let words: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["HOOK", "TOTAL", "<1m", "<10m", "<1h", "<6h", "<1d", ">1d", "WHY"]);
    assert_eq!(words[1][..8], ["TOTAL", "12", "12", ".", ".", ".", ".", "."]);
    assert!(page.contains("5 retry, 5 turn, 2 sending"), "{page}");
    assert_eq!(rows(folder, &["queue", "--shape", "--hook", "later"]).await.len(), 1);
    exits(&run(folder, &["queue", "--shape", "--why", "retry"]).await, 2);
    daemon.stop().await;
}

#[tokio::test]
async fn the_status_says_first_what_somebody_should_do() {
    let (_, failing) = receivers().await;
    let (fine, quick) = (receiver().await, receiver().await);
    failing.clear();
    failing.script(Step::status(400)).expect("a step");
    let daemon = Daemon::start(&[
        ("dead", &hook("dead", &failing.url(""), "")),
        ("held", &hook("held", &fine.url("/held"), "")),
        ("paced", &hook("paced", &fine.url("/paced"), "rate_limit: 1/1h\n")),
        ("fine", &hook("fine", &quick.url(""), "rate_limit: 1/1h\n")),
        ("secretive", &hook("secretive", &secret_url(&fine, "nothing"), "")),
    ])
    .await;
    let folder = daemon.folder.path();
    does(folder, &["hold", "held", "--reason", "we move house"]).await;
    for (kind, count) in [("dead", 1), ("held", 2), ("paced", 3), ("fine", 1), ("secretive", 1)] {
        emit(&daemon, kind, count).await;
    }
    daemon.until_all("dead", "dead").await;
    daemon.until_all("fine", "delivered").await;
    daemon.until("paced", |rows| rows.iter().any(|row| row.outcome == "delivered")).await;
    let status = &rows(folder, &["status"]).await[0];
    let states: BTreeMap<&str, &str> = status["hooks"]
        .as_array()
        .expect("hooks")
        .iter()
        .map(|hook| (hook["hook"].as_str().expect("a name"), hook["state"].as_str().expect("a state")))
        .collect();
    let expected =
        [("dead", "ready"), ("fine", "ready"), ("held", "held"), ("paced", "paced"), ("secretive", "secret missing")];
    assert_eq!(states, BTreeMap::from(expected), "a full window keeps nobody waiting where nothing waits");
    let page = out(&does(folder, &["status"]).await);
    let table = page.find("HOOK").expect("a table");
    for (what, help) in [
        ("! dead has 1 dead letter", "postrider replay --dead --hook dead"),
        ("! held is held: we move house (2 waiting)", "postrider release held"),
        ("! secretive: secret nothing cannot be read", "secrets.d"),
    ] {
        let at = page.find(what).unwrap_or_else(|| panic!("{what}: {page}"));
        assert!(at < table, "{page}");
        assert!(page[at..].lines().nth(1).is_some_and(|line| line.contains("do:") && line.contains(help)), "{page}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_log_is_filtered_by_everything_that_it_shows() {
    let failing = receiver().await;
    failing.script(Step::status(503)).expect("a step");
    failing.script(Step::status(404)).expect("a step");
    let daemon = Daemon::start(&[(
        "one",
        &hook("a.*", &failing.url(""), "retry: {first: 100ms, max: 100ms}\nconcurrency: 1\n"),
    )])
    .await;
    let folder = daemon.folder.path();
    daemon.emit(&json!({"type": "a.first", "id": "e1"})).await;
    daemon.until_all("one", "delivered").await;
    daemon.emit(&json!({"type": "a.second", "id": "e2"})).await;
    daemon.until_all("one", "delivered").await;
    for (arguments, count) in [
        (&[][..], 4),
        (&["--status", "503"], 1),
        (&["--status", "4xx"], 1),
        (&["--status", "2xx"], 2),
        (&["--type", "a.second"], 1),
        (&["--type", "a.*", "--failed"], 2),
        (&["--event", "e1"], 3),
        (&["--event", "e1", "--status", "200"], 1),
        (&["--hook", "one", "-n", "2"], 2),
        (&["--since", "2020-01-01", "--until", "1d"], 0),
    ] {
        let arguments: Vec<&str> = ["log"].iter().chain(arguments).copied().collect();
        assert_eq!(rows(folder, &arguments).await.len(), count, "{arguments:?}");
    }
    let wrong = run(folder, &["log", "--status", "teapot"]).await;
    exits(&wrong, 2);
    assert!(err(&wrong).contains("503 or 5xx"), "{}", err(&wrong));
    daemon.stop().await;
}
