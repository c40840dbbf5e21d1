//! Robots of one hook that take turns: each with its own pace, pauses and holds, and every message once.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider::edges::sink::{BotOptions, Fault, Limit, Platform, Sink, SinkHandle, SinkOptions, State, Step};
use serde_json::{Value, json};

use crate::delivering::webhook;
use crate::process::{Process, await_that};
use crate::support::{Daemon, PATIENCE, receiver, write_hook};

/// What DingTalk takes, where a minute is this long.
fn limits(minute: Duration) -> BotOptions {
    BotOptions { limits: Some(vec![Limit::sliding(20, minute)]), ..BotOptions::default() }
}

async fn robot(platform: Platform, default: BotOptions) -> SinkHandle {
    Sink::start(SinkOptions { platform, default, ..SinkOptions::default() }).await.expect("a robot")
}

async fn robots(count: usize, default: &BotOptions) -> Vec<SinkHandle> {
    let mut robots = Vec::new();
    for _ in 0..count {
        robots.push(robot(Platform::Dingtalk, default.clone()).await);
    }
    robots
}

/// A hook whose robots these are.
fn pool(robots: &[SinkHandle], more: &str) -> String {
    let urls: Vec<_> = robots.iter().map(|robot| format!("{:?}", robot.url("TOKEN"))).collect();
    format!(
        "events: [thing]\nplatform: dingtalk\noptions:\n  url: [{}]\n  message: \"{{{{ data.n }}}}\"\n{more}",
        urls.join(", ")
    )
}

/// The messages that a robot took, in their order.
fn taken(robot: &SinkHandle) -> Vec<String> {
    let records = robot.records();
    let accepted = records.iter().filter(|record| record.judgement.accepted);
    let bodies = accepted.map(|record| serde_json::from_slice::<Value>(&record.request.body).expect("JSON"));
    let text =
        |body: Value| ["/text/content", "/text"].iter().find_map(|at| body.pointer(at)?.as_str().map(str::to_owned));
    bodies.map(|body| text(body).expect("a text")).collect()
}

fn refused(robot: &SinkHandle) -> usize {
    robot.records().iter().filter(|record| !record.judgement.accepted).count()
}

/// How often each message arrived, wherever.
fn ledger(robots: &[SinkHandle]) -> BTreeMap<String, usize> {
    let mut ledger = BTreeMap::new();
    robots.iter().flat_map(taken).for_each(|text| *ledger.entry(text).or_default() += 1);
    ledger
}

async fn emit(daemon: &Daemon, numbers: std::ops::Range<usize>) {
    for n in numbers {
        daemon.emit(&json!({"type": "thing", "data": {"n": n}})).await;
    }
}

fn once(numbers: std::ops::Range<usize>) -> BTreeMap<String, usize> {
    numbers.map(|n| (n.to_string(), 1)).collect()
}

async fn status_of(daemon: &Daemon, hook: &str) -> Value {
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    let hooks = status["hooks"].as_array().expect("hooks");
    hooks.iter().find(|row| row["hook"] == hook).expect("the hook").clone()
}

fn states(hook: &Value) -> Vec<&str> {
    let robots = hook["robots"].as_array().expect("robots");
    robots.iter().map(|robot| robot["state"].as_str().expect("a state")).collect()
}

#[tokio::test]
async fn three_robots_take_sixty_messages_in_the_minute_of_one_and_nobody_is_refused() {
    let robots = robots(3, &limits(Duration::from_secs(60))).await;
    let daemon = Daemon::start(&[("ops", &pool(&robots, ""))]).await;
    emit(&daemon, 0..60).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(ledger(&robots), once(0..60));
    assert_eq!(robots.iter().map(|robot| taken(robot).len()).collect::<Vec<_>>(), [20, 20, 20]);
    assert_eq!(robots.iter().map(refused).sum::<usize>(), 0);
    let first = robots.iter().flat_map(SinkHandle::records).map(|record| record.elapsed).max();
    assert!(first < Some(Duration::from_secs(30)), "they were in each other's way: {first:?}");
    // The next one waits for the robot that is free first, and whoever asks is told so.
    emit(&daemon, 60..61).await;
    let hook = status_of(&daemon, "ops").await;
    assert_eq!((&hook["state"], states(&hook)), (&json!("paced"), vec!["paced"; 3]), "{hook}");
    let untils: Vec<_> = hook["robots"].as_array().unwrap().iter().map(|robot| robot["until"].clone()).collect();
    let earliest = untils.iter().filter_map(Value::as_str).min().expect("a time").to_owned();
    assert_eq!(hook["until"].as_str().map(|until| &until[..19]), Some(&earliest[..19]), "{hook}");
    let rows = daemon.deliveries("ops").await;
    let told = daemon.admin("GET", &format!("/v1/deliveries/{}", rows[60].delivery), None).await.1;
    assert_eq!((&told["reason"], &told["outcome"]), (&json!("pace"), &json!("waiting")), "{told}");
    let log = daemon.log("ops").await;
    let by: BTreeMap<&str, usize> = log.iter().fold(BTreeMap::new(), |mut by, row| {
        *by.entry(row.why.as_str()).or_default() += 1;
        by
    });
    assert_eq!(by, BTreeMap::from([("robot 1", 20), ("robot 2", 20), ("robot 3", 20)]));
    daemon.stop().await;
}

#[tokio::test]
async fn single_events_go_to_each_robot_in_turn() {
    let robots = robots(2, &BotOptions::default()).await;
    let daemon = Daemon::start(&[("ops", &pool(&robots, ""))]).await;
    for n in 0..4 {
        emit(&daemon, n..n + 1).await;
        daemon.until_all("ops", "delivered").await;
    }
    assert_eq!(robots.iter().map(taken).collect::<Vec<_>>(), [["0", "2"], ["1", "3"]]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_robot_that_is_mute_rests_alone_and_a_restart_does_not_wake_it() {
    let robots = robots(2, &limits(Duration::from_secs(60))).await;
    let muted = "send too fast, exceed 20 times per minute";
    robots[0].script(Step::code(130101, muted)).expect("a step");
    let daemon = Daemon::start(&[("ops", &pool(&robots, ""))]).await;
    emit(&daemon, 0..6).await;
    let rows = daemon.until_all("ops", "delivered").await;
    assert!(rows.iter().all(|row| row.attempts == 1), "the pause used up an attempt: {rows:?}");
    assert_eq!((robots[0].count(), taken(&robots[1]).len()), (1, 6));
    let hook = status_of(&daemon, "ops").await;
    assert_eq!((&hook["state"], states(&hook)), (&json!("ready"), vec!["paused", "ready"]), "{hook}");
    let log = daemon.log("ops").await;
    let pause = log.iter().find(|row| row.verdict == "pause").expect("a pause");
    assert_eq!(pause.why, format!("errcode 130101: {muted}; robot 1 rests for 600s"));
    let daemon = Daemon::start_in(daemon.stop().await).await;
    emit(&daemon, 6..12).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!((robots[0].count(), taken(&robots[1]).len()), (1, 12));
    let hook = status_of(&daemon, "ops").await;
    assert_eq!(states(&hook), ["paused", "ready"], "{hook}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_robot_that_was_removed_is_left_out_until_somebody_acts() {
    let removed = BotOptions { state: State::Removed, ..BotOptions::default() };
    let [gone, well] =
        [robot(Platform::Dingtalk, removed).await, robot(Platform::Dingtalk, BotOptions::default()).await];
    let desk = receiver().await;
    let watch = webhook(&desk.url(""), "").replace("events: [thing]", "events: [\"postrider.*\"]");
    let robots = [gone, well];
    let folder = tempfile::tempdir().expect("a folder");
    for (n, robot) in robots.iter().enumerate() {
        crate::support::write_secret(folder.path(), &format!("robot-{n}"), &robot.url("TOKEN"));
    }
    let text = "events: [thing]\nplatform: dingtalk\noptions:\n  url: [{secret: robot-0}, {secret: robot-1}]\n  message: \"{{ data.n }}\"\n";
    write_hook(folder.path(), "ops", text);
    write_hook(folder.path(), "watch", &watch);
    let daemon = Daemon::start_in(folder).await;
    emit(&daemon, 0..4).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!((robots[0].count(), taken(&robots[1]).len()), (1, 4));
    let hook = status_of(&daemon, "ops").await;
    assert_eq!((&hook["state"], states(&hook)), (&json!("ready"), vec!["held", "ready"]), "{hook}");
    assert_eq!((&hook["robots"][0]["secret"], &hook["robots"][0]["host"]), (&json!("robot-0"), &json!("127.0.0.1")));
    assert!(!hook.to_string().contains("TOKEN"));
    assert!(desk.wait_for(1, PATIENCE).await);
    let told: Value = serde_json::from_slice(&desk.records()[0].request.body).expect("JSON");
    assert_eq!((&told["hook"], &told["robot"], &told["left"]), (&json!("ops"), &json!("robot 1 (robot-0)"), &json!(1)));
    assert!(told["why"].as_str().is_some_and(|why| why.contains("removed")), "{told}");
    // A restart remembers it, and an operator brings it back: it is refused once more, and nothing is lost.
    let daemon = Daemon::start_in(daemon.stop().await).await;
    emit(&daemon, 4..6).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(robots[0].count(), 1);
    let (status, _) = daemon.admin("POST", "/v1/release", Some("{\"hook\": \"ops\"}")).await;
    assert_eq!(status, 200);
    emit(&daemon, 6..10).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!((robots[0].count(), ledger(&robots)), (2, once(0..10)));
    // Its secret is another one: somebody has acted.
    let new = robot(Platform::Dingtalk, BotOptions::default()).await;
    daemon.put_secret("robot-0", &new.url("TOKEN"));
    daemon.reload().await;
    emit(&daemon, 10..12).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(taken(&new).len(), 1);
    assert_eq!(states(&status_of(&daemon, "ops").await), ["ready", "ready"]);
    daemon.stop().await;
}

#[tokio::test]
async fn when_no_robot_is_left_the_hook_is_held_and_a_release_brings_all_back() {
    let robots = robots(2, &BotOptions { state: State::Removed, ..BotOptions::default() }).await;
    let daemon = Daemon::start(&[("ops", &pool(&robots, ""))]).await;
    emit(&daemon, 0..3).await;
    await_condition(async || status_of(&daemon, "ops").await["state"] == "held").await;
    let hook = status_of(&daemon, "ops").await;
    let why = hook["why"].as_str().unwrap_or_default();
    assert!(why.starts_with("none of its 2 robots is left: robot "), "{hook}");
    assert_eq!((states(&hook), robots[0].count() + robots[1].count()), (vec!["held", "held"], 2));
    let (status, _) = daemon.admin("POST", "/v1/release", Some("{\"hook\": \"ops\"}")).await;
    assert_eq!(status, 200);
    await_condition(async || robots[0].count() + robots[1].count() == 4).await;
    await_condition(async || status_of(&daemon, "ops").await["state"] == "held").await;
    // A file with other robots is somebody's act as well, and nothing was lost.
    let well = robot(Platform::Dingtalk, BotOptions::default()).await;
    daemon.put_hook("ops", &pool(std::slice::from_ref(&well), "")).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(taken(&well).len(), 3);
    daemon.stop().await;
}

async fn await_condition(mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("it never came to it");
}

#[tokio::test]
async fn hooks_that_share_a_robot_share_its_quota() {
    let robots = robots(3, &limits(Duration::from_secs(60))).await;
    let daemon = Daemon::start(&[
        ("one", &pool(&robots[..2], "")),
        ("two", &pool(&robots[1..], "").replace("[thing]", "[other]")),
    ])
    .await;
    emit(&daemon, 0..30).await;
    daemon.until_all("one", "delivered").await;
    // What the second robot may still be sent, and what the third may, is what the other hook has to send.
    let left = 40 - taken(&robots[1]).len();
    for n in 0..left {
        daemon.emit(&json!({"type": "other", "data": {"n": n}})).await;
    }
    daemon.until_all("two", "delivered").await;
    let came: Vec<_> = robots.iter().map(|robot| (taken(robot).len(), refused(robot))).collect();
    assert_eq!(came, [(left - 10, 0), (20, 0), (20, 0)]);
    daemon.stop().await;
}

#[tokio::test]
async fn order_is_kept_whoever_has_the_turn() {
    let robots = robots(3, &BotOptions::default()).await;
    robots[1].script(Step { delay_ms: 300, ..Step::default() }).expect("a step");
    robots[2].script(Step::status(503)).expect("a step");
    let more = "order_by: event.type\nretry: {first: 100ms, max: 100ms}\n";
    let daemon = Daemon::start(&[("ops", &pool(&robots, more))]).await;
    emit(&daemon, 0..12).await;
    daemon.until_all("ops", "delivered").await;
    let mut all: Vec<_> =
        robots.iter().flat_map(SinkHandle::records).filter(|record| record.judgement.accepted).collect();
    all.sort_by_key(|record| record.time);
    let text = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("JSON")["text"]["content"].clone();
    let said: Vec<_> = all.iter().map(|record| text(&record.request.body)).collect();
    assert_eq!(said, (0..12).map(|n| json!(n.to_string())).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test]
async fn an_uncertain_answer_is_tried_again_by_whoever_has_the_turn() {
    let robots = robots(2, &BotOptions::default()).await;
    robots[0].script(Step::fault(Fault::Reset)).expect("a step");
    let daemon = Daemon::start(&[("ops", &pool(&robots, "retry: {first: 100ms, max: 100ms}\n"))]).await;
    emit(&daemon, 0..1).await;
    let rows = daemon.until_all("ops", "delivered").await;
    assert_eq!((rows[0].attempts, robots[0].count(), taken(&robots[1]).len()), (2, 1, 1));
    let log = daemon.log("ops").await;
    assert!(log[0].why.ends_with("; robot 1") && log[1].why == "robot 2", "{log:?}");
    daemon.stop().await;
}

/// A hook with these bots in one chat, and long messages in parts.
fn telegram(sink: &SinkHandle, more: &str) -> String {
    let url = format!("http://{}", sink.addr);
    format!(
        "events: [thing]\nplatform: telegram\noptions:\n  url: {url}\n  token: ['1:A', '2:B', '3:C']\n  chat: '1'\n  overflow: split\nrate_limit: 100/1s\n{more}"
    )
}

/// Which bot sent which message, of which this is the first letter.
fn by_bot(sink: &SinkHandle) -> Vec<(String, String)> {
    let records = sink.records();
    let accepted = records.iter().filter(|record| record.judgement.accepted);
    accepted
        .map(|record| {
            let body: Value = serde_json::from_slice(&record.request.body).expect("JSON");
            (record.request.target.clone(), body["text"].as_str().expect("a text")[..1].to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_message_in_parts_stays_with_one_robot_as_long_as_that_can_go_on() {
    let default = BotOptions { limits: Some(Vec::new()), ..BotOptions::default() };
    let sink = robot(Platform::Telegram, default).await;
    let daemon = Daemon::start(&[("ops", &telegram(&sink, ""))]).await;
    for letters in ["abc", "def", "ghi", "jkl"] {
        let message: Vec<String> = letters.chars().map(|letter| letter.to_string().repeat(4000)).collect();
        daemon.emit(&json!({"type": "thing", "data": {"message": message.join("\n")}})).await;
    }
    daemon.until_all("ops", "delivered").await;
    let sent = by_bot(&sink);
    assert_eq!(sent.len(), 12);
    let mut bots = std::collections::BTreeSet::new();
    for letters in ["abc", "def", "ghi", "jkl"] {
        let of: Vec<_> = sent.iter().filter(|(_, letter)| letters.contains(letter.as_str())).collect();
        assert_eq!(of.iter().map(|(_, letter)| letter.as_str()).collect::<String>(), letters);
        assert!(of.iter().all(|(bot, _)| *bot == of[0].0), "{letters} went by several: {of:?}");
        bots.insert(of[0].0.clone());
    }
    // Who waited for its turn with a part may have let another one pass.
    assert!(bots.len() >= 2, "they took turns: {bots:?}");
    let log = daemon.log("ops").await;
    assert!(log.iter().any(|row| row.why == "part 2 of 3; robot 1"), "{log:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn another_robot_goes_on_with_a_message_whose_own_cannot() {
    let default = BotOptions { limits: Some(Vec::new()), ..BotOptions::default() };
    let sink = robot(Platform::Telegram, default).await;
    let daemon = Daemon::start(&[("ops", &telegram(&sink, ""))]).await;
    sink.script(Step::default()).expect("a step");
    sink.script(Step::status(403)).expect("a step");
    let message = ["a", "b", "c"].map(|letter| letter.repeat(4000)).join("\n");
    daemon.emit(&json!({"type": "thing", "data": {"message": message}})).await;
    daemon.until_all("ops", "delivered").await;
    let sent = by_bot(&sink);
    assert_eq!(sent.iter().map(|(_, letter)| letter.as_str()).collect::<String>(), "abc");
    assert!(sent[0].0 != sent[1].0 && sent[1].0 == sent[2].0, "{sent:?}");
    assert_eq!(states(&status_of(&daemon, "ops").await), ["held", "ready", "ready"]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_robot_whose_secret_is_missing_is_left_out() {
    let robots = robots(2, &BotOptions::default()).await;
    let urls = format!("url: [{{secret: gone}}, {:?}]", robots[1].url("TOKEN"));
    let text = pool(&robots, "");
    let line = text.lines().find(|line| line.contains("url:")).expect("a line").trim().to_owned();
    let daemon = Daemon::start(&[("ops", &text.replace(&line, &urls))]).await;
    emit(&daemon, 0..3).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!((robots[0].count(), taken(&robots[1]).len()), (0, 3));
    let hook = status_of(&daemon, "ops").await;
    assert_eq!((&hook["state"], states(&hook)), (&json!("ready"), vec!["secret missing", "ready"]), "{hook}");
    daemon.put_secret("gone", &robots[0].url("TOKEN"));
    daemon.reload().await;
    emit(&daemon, 3..5).await;
    daemon.until_all("ops", "delivered").await;
    assert_eq!(taken(&robots[0]).len(), 1);
    // The same robot under two names has no second quota: that is told, and the quota is kept all the same.
    daemon.put_secret("gone", &robots[1].url("TOKEN"));
    let told = daemon.reload().await;
    assert!(told.to_string().contains("robot 2 is robot 1 once more"), "{told}");
    daemon.stop().await;
}

#[tokio::test]
async fn a_test_goes_by_the_robot_that_is_asked_for() {
    let robots = robots(3, &BotOptions::default()).await;
    let daemon = Daemon::start(&[("ops", &pool(&robots, ""))]).await;
    for (robot, counts) in [("null", [1, 0, 0]), ("3", [1, 0, 1]), ("2", [1, 1, 1])] {
        let order = format!(
            "{{\"hook\": \"ops\", \"event\": {{\"type\": \"thing\", \"data\": {{\"n\": 1}}}}, \"robot\": {robot}}}"
        );
        let (status, answer) = daemon.admin("POST", "/v1/test", Some(&order)).await;
        assert_eq!((status, &answer["verdict"]), (200, &json!("delivered")), "{answer}");
        assert_eq!(robots.iter().map(SinkHandle::count).collect::<Vec<_>>(), counts);
    }
    for robot in ["0", "4"] {
        let (status, answer) =
            daemon.admin("POST", "/v1/test", Some(&format!("{{\"hook\": \"ops\", \"robot\": {robot}}}"))).await;
        assert_eq!((status, &answer["error"]["help"]), (400, &json!("its robots are 1 to 3")), "{answer}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_and_repeats_only_what_was_in_the_air() {
    // A robot that is asked too often is mute for long, so nothing here may be refused.
    let robots = robots(3, &limits(Duration::from_secs(60))).await;
    for robot in &robots {
        robot.script(Step { delay_ms: 20, ..Step::default() }.times(100)).expect("a step");
    }
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "ops", &pool(&robots, ""));
    let path = folder.path().to_owned();
    // What is emitted, and what each death may have repeated, is less than the three may say in a minute.
    let kills = 4;
    let count = || robots.iter().map(SinkHandle::count).sum::<u64>();
    let mut emitted = 0;
    for life in 0..=kills {
        let mut process = Process::start(&path);
        process.await_ready();
        let so_far = count();
        for _ in 0..6 {
            assert!(process.emit(&json!({"type": "thing", "data": {"n": emitted}})).is_some(), "{}", process.log());
            emitted += 1;
        }
        if life < kills {
            await_that("some arrive", || count() >= so_far + 2);
            process.kill();
        } else {
            await_that("all arrive", || {
                process.get("/v1/status").is_some_and(|status| status["waiting"].as_u64() == Some(0))
            });
            process.stop();
        }
    }
    let found = ledger(&robots);
    let missing: Vec<_> = (0..emitted).filter(|n| !found.contains_key(&n.to_string())).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let repeated: usize = found.values().map(|times| times - 1).sum();
    // Of each robot one in the air, and what was answered within the last moment and not yet on disk.
    assert!(repeated <= kills * 3 * 3, "{repeated} repeated at {kills} kills");
    assert_eq!(robots.iter().map(refused).sum::<usize>(), 0, "{found:?}");
    println!("{emitted} messages, {kills} kills, {repeated} repeated, none lost, none refused");
}
