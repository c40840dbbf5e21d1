//! The commands as a person and a script meet them: what they print, and how they exit.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use postrider::edges::sink::Step;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Daemon, PATIENCE, bodies, receiver, write_hook};

pub(crate) fn postrider(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
    command.args(arguments).current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    // Only what the folder says counts, not what the account of the tester has.
    command.env("XDG_RUNTIME_DIR", folder).env("XDG_CONFIG_HOME", folder).env("XDG_STATE_HOME", folder);
    command
}

pub(crate) async fn run(folder: &Path, arguments: &[&str]) -> Output {
    postrider(folder, arguments).output().await.expect("the program runs")
}

pub(crate) async fn piped(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = postrider(folder, arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("an open pipe");
    drop(stdin);
    child.wait_with_output().await.expect("an end")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(crate) fn exits(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", out(output), err(output));
}

fn hook(url: &str) -> String {
    format!("events: [thing]\nplatform: webhook\noptions: {{url: \"{url}\"}}\n")
}

#[tokio::test]
async fn emit_is_silent_in_a_pipe_and_says_all_with_json() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &hook(&sink.url("")))]).await;
    let folder = daemon.folder.path();
    let done = run(folder, &["emit", "thing", "app=shop", "size:=3", "owner.name=kim"]).await;
    exits(&done, 0);
    assert_eq!((out(&done), err(&done)), (String::new(), String::new()));
    daemon.until_all("hook", "delivered").await;
    assert_eq!(bodies(&sink), [r#"{"app":"shop","size":3,"owner":{"name":"kim"}}"#]);

    let done = run(folder, &["--json", "emit", "thing", "--id", "e1", "--data", r#"{"n" :  1.50}"#]).await;
    exits(&done, 0);
    let answer: Json = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(answer, json!({"id": "e1", "hooks": ["hook"], "duplicate": false}));
    daemon.until("hook", |rows| rows.len() == 2 && rows.iter().all(|row| row.outcome == "delivered")).await;
    assert_eq!(bodies(&sink)[1], r#"{"n" :  1.50}"#);
    let again = run(folder, &["--json", "emit", "thing", "--id", "e1", "--data", r#"{"n": 2}"#]).await;
    assert!(out(&again).contains(r#""duplicate":true"#), "{}", out(&again));
    daemon.stop().await;
}

#[tokio::test]
async fn emit_says_what_is_wrong_with_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = run(folder.path(), &["--socket", "nothing.sock", "emit", "thing"]).await;
    exits(&none, 69);
    assert!(err(&none).contains("nothing.sock"), "{}", err(&none));
    exits(&run(folder.path(), &["emit"]).await, 2);
    exits(&run(folder.path(), &["emitt", "x"]).await, 2);

    let daemon = Daemon::start(&[("hook", &hook("http://127.0.0.1:9/"))]).await;
    std::fs::write(daemon.folder.path().join("postrider.yaml"), "limits: {waiting: 1}\n").expect("a main file");
    daemon.reload().await;
    let folder = daemon.folder.path();
    let bad = run(folder, &["emit", "thing", "--data", "{'a': 1}"]).await;
    exits(&bad, 65);
    assert!(err(&bad).starts_with("error: "), "{}", err(&bad));
    exits(&run(folder, &["emit", "thing"]).await, 0);
    let busy = run(folder, &["emit", "thing"]).await;
    exits(&busy, 75);
    assert!(err(&busy).contains("limits.waiting"), "{}", err(&busy));
    daemon.stop().await;
}

#[tokio::test]
async fn lines_are_queued_one_by_one_and_a_bad_one_is_named() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &hook(&sink.url("")))]).await;
    let mut lines: Vec<String> = (0..500).map(|n| json!({"type": "thing", "data": n}).to_string()).collect();
    lines[250] = "{\"type\": \"thing\", \"data\": }".to_owned();
    let done = piped(daemon.folder.path(), &["emit", "--ndjson", "-"], &(lines.join("\n") + "\n")).await;
    exits(&done, 65);
    assert!(err(&done).contains("line 251"), "{}", err(&done));
    let rows = daemon.until("hook", |rows| rows.len() == 499).await;
    assert_eq!(rows.len(), 499);
    daemon.until_all("hook", "delivered").await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_who_wants_an_event_and_why_not() {
    let url = "http://127.0.0.1:9/";
    let daemon = Daemon::start(&[
        ("all", &hook(url)),
        ("big", &(hook(url) + "when: data.n > 5\n")),
        ("off", &(hook(url) + "enabled: false\n")),
        ("other", &hook(url).replace("thing", "other")),
    ])
    .await;
    let done = run(daemon.folder.path(), &["--json", "emit", "thing", "n:=1", "--dry-run"]).await;
    exits(&done, 0);
    let rows: Vec<Json> = out(&done).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let wanted: Vec<_> = rows.iter().map(|row| (row["hook"].as_str().unwrap(), row["wanted"] == true)).collect();
    assert_eq!(wanted, [("all", true), ("big", false), ("off", false), ("other", false)]);
    assert!(rows[1..].iter().all(|row| !row["why"].as_str().unwrap().is_empty()), "{rows:?}");
    assert!(daemon.deliveries("all").await.is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn an_operator_finds_out_and_acts() {
    let sink = receiver().await;
    sink.script(Step { body: Some("no such app".into()), ..Step::status(400) }).expect("a step");
    let daemon = Daemon::start(&[("hook", &hook(&sink.url("")))]).await;
    let folder = daemon.folder.path();
    daemon.emit(&json!({"type": "thing", "id": "e1", "data": {"a": 1}})).await;
    let rows = daemon.until_all("hook", "dead").await;

    let log = run(folder, &["log", "--failed"]).await;
    exits(&log, 0);
    assert!(out(&log).contains("hook") && out(&log).contains("400"), "{}", out(&log));
    let shown = run(folder, &["show", &rows[0].delivery]).await;
    exits(&shown, 0);
    assert!(out(&shown).contains("no such app"), "{}", out(&shown));
    exits(&run(folder, &["show", "e1"]).await, 0);
    exits(&run(folder, &["show", "nothing"]).await, 1);
    let status = run(folder, &["status"]).await;
    exits(&status, 0);
    assert!(out(&status).contains("hook"), "{}", out(&status));
    exits(&run(folder, &["status", "--check"]).await, 1);

    exits(&run(folder, &["replay", "--dead"]).await, 2);
    let replayed = run(folder, &["replay", "--dead", "--yes"]).await;
    exits(&replayed, 0);
    assert!(out(&replayed).contains(&rows[0].delivery), "{}", out(&replayed));
    daemon.until_all("hook", "delivered").await;

    exits(&run(folder, &["hold", "hook", "--reason", "maintenance"]).await, 0);
    assert!(out(&run(folder, &["status"]).await).contains("maintenance"));
    exits(&run(folder, &["release", "hook"]).await, 0);
    exits(&run(folder, &["release", "hook"]).await, 1);

    let done = run(folder, &["test", "hook"]).await;
    exits(&done, 0);
    assert!(out(&done).contains("delivered"), "{}", out(&done));

    write_hook(folder, "broken", "events: [thing\n");
    let reloaded = run(folder, &["reload"]).await;
    exits(&reloaded, 78);
    assert!(format!("{}{}", out(&reloaded), err(&reloaded)).contains("broken.yaml:"), "{}", err(&reloaded));
    daemon.stop().await;
}

#[tokio::test]
async fn the_log_is_followed_on_a_terminal_or_in_a_pipe() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("hook", &hook(&sink.url("")))]).await;
    let mut follower = postrider(daemon.folder.path(), &["--json", "log", "-f", "-n", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    // The follower may connect after an event, so events come until one is seen.
    let row = tokio::time::timeout(PATIENCE, async {
        loop {
            daemon.emit(&json!({"type": "thing"})).await;
            if let Ok(line) = tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await {
                return line.expect("an open pipe").expect("a line");
            }
        }
    });
    let row: Json = serde_json::from_str(&row.await.expect("in time")).expect("JSON");
    assert_eq!((&row["hook"], &row["outcome"], &row["status"]), (&json!("hook"), &json!("delivered"), &json!(200)));
    for field in
        ["time", "event", "delivery", "hook", "type", "outcome", "verdict", "attempt", "status", "duration_ms", "why"]
    {
        assert!(row.get(field).is_some(), "{field} is missing: {row}");
    }
    follower.kill().await.expect("a kill");
    daemon.stop().await;
}

#[tokio::test]
async fn hooks_are_checked_and_rendered_without_a_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_hook(folder, "good", &(hook("http://127.0.0.1:9/x") + "description: fine\n"));
    let good = run(folder, &["check", "hooks.d"]).await;
    exits(&good, 0);
    std::fs::write(folder.join("hooks.d/old.yaml~"), "x").expect("a leftover");
    write_hook(folder, "bad", "events: [thing]\nplatform: webhok\n");
    let bad = run(folder, &["check", "hooks.d"]).await;
    exits(&bad, 78);
    let said = format!("{}{}", out(&bad), err(&bad));
    for part in ["bad.yaml:2:11", "did you mean `webhook`?", "old.yaml~"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    let piped = piped(folder, &["check", "-"], "events: [thing]\nplatform: webhok\n").await;
    exits(&piped, 78);

    let event = r#"{"type": "thing", "data": {"a": 1}}"#;
    let rendered = run(folder, &["render", "hooks.d/good.yaml", event, "--show-secrets"]).await;
    exits(&rendered, 0);
    assert!(out(&rendered).starts_with("POST http://127.0.0.1:9/x\n"), "{}", out(&rendered));
    assert!(out(&rendered).ends_with("\n\n{\"a\": 1}\n"), "{}", out(&rendered));
    let masked = run(folder, &["render", "hooks.d/good.yaml", event]).await;
    assert!(out(&masked).starts_with("POST http://127.0.0.1:9/…\n"), "{}", out(&masked));
    let curl = run(folder, &["render", "hooks.d/good.yaml", event, "--curl", "--show-secrets"]).await;
    assert!(out(&curl).starts_with("curl "), "{}", out(&curl));
}

#[tokio::test]
async fn the_test_button_needs_no_daemon_and_can_be_diverted() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "good", &hook("https://nobody.invalid/path?q=1"));
    let done = run(folder.path(), &["test", "hooks.d/good.yaml", "--to", sink.url("").trim_end_matches('/')]).await;
    exits(&done, 0);
    assert_eq!(sink.records()[0].request.target, "/path?q=1");
    let failed = run(folder.path(), &["test", "hooks.d/good.yaml"]).await;
    exits(&failed, 1);
    assert!(format!("{}{}", out(&failed), err(&failed)).contains("nobody.invalid"), "{}", out(&failed));
}

#[tokio::test]
async fn platforms_show_their_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = run(folder.path(), &["platforms"]).await;
    exits(&list, 0);
    for name in ["webhook", "wecom", "dingtalk", "lark"] {
        assert!(out(&list).contains(name), "{}", out(&list));
        let one = run(folder.path(), &["platforms", name]).await;
        exits(&one, 0);
        assert!(out(&one).contains("url"), "{}", out(&one));
    }
    let whole = out(&run(folder.path(), &["platforms", "dingtalk"]).await);
    let manifest = out(&run(folder.path(), &["platforms", "dingtalk", "--manifest"]).await);
    let source = out(&run(folder.path(), &["platforms", "dingtalk", "--source"]).await);
    assert!(source.starts_with("//! ") && source.contains("fn request(delivery)"), "{source}");
    assert_eq!(whole, format!("{manifest}\nSCRIPT\n{source}"));
    for words in ["rate limit   20/1m", "keyword_mode", "required", "WHERE TO GET IT\nurl     in the group", "加签"] {
        assert!(manifest.contains(words), "{words}: {manifest}");
    }
    let object: Json =
        serde_json::from_str(&out(&run(folder.path(), &["platforms", "dingtalk", "--json"]).await)).unwrap();
    assert_eq!(object["script"], source.as_str());
    let url = object["options"].as_array().unwrap().iter().find(|one| one["name"] == "url").unwrap();
    assert!(url["where"].as_str().unwrap().starts_with("in the group"), "{url}");
    let object = run(folder.path(), &["platforms", "dingtalk", "--manifest", "--json"]).await;
    assert!(!out(&object).contains("fn request"), "{}", out(&object));
    exits(&run(folder.path(), &["platforms", "dingtak"]).await, 1);
}

/// Starts the real daemon in a folder and waits until it answers.
async fn start(folder: &Path) -> Child {
    let mut child = postrider(folder, &["run", "--here"]).stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let ready = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await.expect("an open pipe") {
            if line.contains("ready") {
                return;
            }
        }
        panic!("the daemon ended");
    });
    ready.await.expect("in time");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    child
}

async fn terminate(child: &Child) {
    let pid = child.id().expect("a running process").to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
    assert!(sent.success());
}

#[tokio::test]
async fn a_daemon_runs_here_refuses_a_second_and_stops_in_good_order() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_hook(folder, "hook", &hook(&sink.url("")));
    let mut daemon = start(folder).await;
    let second = run(folder, &["run", "--here"]).await;
    exits(&second, 1);
    assert!(err(&second).contains("in use"), "{}", err(&second));
    exits(&run(folder, &["emit", "thing"]).await, 0);
    assert!(sink.wait_for(1, PATIENCE).await);
    terminate(&daemon).await;
    assert_eq!(daemon.wait().await.expect("an end").code(), Some(0));
    exits(&run(folder, &["--socket", ".postrider/emit.sock", "emit", "thing", "--no-spool"]).await, 69);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let sink = receiver().await;
    sink.script(Step::fault(postrider::edges::sink::Fault::Stall)).expect("a step");
    let folder = tempfile::tempdir().expect("a folder");
    write_hook(folder.path(), "hook", &hook(&sink.url("")));
    let mut daemon = start(folder.path()).await;
    exits(&run(folder.path(), &["emit", "thing"]).await, 0);
    assert!(sink.wait_for(1, PATIENCE).await);
    terminate(&daemon).await;
    let waits = tokio::time::timeout(Duration::from_millis(300), daemon.wait()).await;
    assert!(waits.is_err(), "it did not wait for what is in the air");
    terminate(&daemon).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), daemon.wait()).await.expect("at once").expect("an end");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_broken_main_file_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("postrider.yaml"), "listen: {http: 0.0.0.0:8470}\n").expect("a main file");
    let refused = run(folder.path(), &["run", "--here"]).await;
    exits(&refused, 78);
    assert!(err(&refused).contains("postrider.yaml:1:16") && err(&refused).contains("http_token"), "{}", err(&refused));
}

#[tokio::test]
async fn the_sink_prints_what_it_got_and_ends_after_so_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments =
        ["--json", "sink", "--listen", "127.0.0.1:0", "--as", "dingtalk", "--secret", "SECx", "--once", "1"];
    let mut sink = postrider(folder.path(), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut greeting = BufReader::new(sink.stderr.take().expect("a pipe")).lines();
    let url = tokio::time::timeout(PATIENCE, async {
        loop {
            let line = greeting.next_line().await.expect("an open pipe").expect("a greeting");
            if let Some(at) = line.find("http://") {
                return line[at..].split_whitespace().next().expect("a URL").to_owned();
            }
        }
    });
    let url = url.await.expect("in time");
    let text =
        format!("events: [thing]\nplatform: dingtalk\noptions: {{url: \"{url}\", secret: wrong, message: hi}}\n");
    write_hook(folder.path(), "robot", &text);
    let done = run(folder.path(), &["test", "hooks.d/robot.yaml"]).await;
    exits(&done, 1);
    assert!(out(&done).contains("sign not match"), "{}", out(&done));
    let ended = sink.wait_with_output().await.expect("an end");
    let record: Json = serde_json::from_slice(&ended.stdout).expect("one record");
    assert_eq!(record["method"], "POST");
    assert!(!record.to_string().contains("SECx"), "{record}");
}

#[tokio::test]
async fn sources_show_their_options() {
    let folder = tempfile::tempdir().unwrap();
    let main = "sources: {subscribers: {script: pushpushgo}}\n";
    std::fs::write(folder.path().join("postrider.yaml"), main).unwrap();
    let run = async |arguments: &[&str]| {
        let main = ["--config", "postrider.yaml"];
        run(folder.path(), &[&main[..], arguments].concat()).await
    };
    let list = run(&["sources"]).await;
    exits(&list, 0);
    assert!(out(&list).contains("pushpushgo") && out(&list).contains("/in/subscribers"), "{}", out(&list));
    let one = out(&run(&["sources", "subscribers"]).await);
    for word in ["project_ids", "public_url", "token_header", "within 10m", "/in/subscribers"] {
        assert!(one.contains(word), "{word}: {one}");
    }
    let object: Json = serde_json::from_str(&out(&run(&["sources", "generic", "--json"]).await)).unwrap();
    let required: Vec<_> = object["options"].as_array().unwrap().iter().filter(|one| one["required"] == true).collect();
    assert_eq!(required.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["type"]);
    let script = out(&run(&["sources", "github", "--source"]).await);
    assert!(script.starts_with("//! GitHub") && script.contains("fn events(request)"), "{script}");
    let manifest = out(&run(&["sources", "github", "--manifest"]).await);
    assert!(manifest.contains("types        github.push "), "{manifest}");
    assert_eq!(out(&run(&["sources", "github"]).await), format!("{manifest}\nSCRIPT\n{script}"));
    let wrong = run(&["sources", "githb"]).await;
    exits(&wrong, 1);
    assert!(err(&wrong).contains("did you mean github?"), "{}", err(&wrong));
}

#[tokio::test]
async fn a_script_of_a_source_is_tried_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let manifest =
        "fn manifest() { #{ summary: \"a shop\", options: #{ key: optional(\"secret\", (), \"its key\") } } }\n";
    let verify =
        "fn verify(request) { if request.options.key != () { #{ preset: \"github\", key: request.options.key } } }\n";
    let events = "fn events(request) { [#{ type: \"shop.\" + request.event, id: request.json.id }] }\n";
    write("shop.rhai", &format!("{manifest}{verify}{events}"));
    write("body.json", "{\"id\": \"o-1\"}");
    write(
        "cases.yaml",
        "- name: sold\n  request: {event: sold, file: body.json}\n  expect: {events: [{type: shop.sold, id: o-1}]}\n",
    );
    let cases = run(folder.path(), &["script", "shop.rhai", "--cases", "cases.yaml"]).await;
    exits(&cases, 0);
    assert_eq!(out(&cases), "ok      sold\n1 passed, 0 failed\n");
    write(
        "cases.yaml",
        "- name: bought\n  request: {event: sold, file: body.json}\n  expect: {events: [{type: shop.bought}]}\n",
    );
    let cases = run(folder.path(), &["script", "shop.rhai", "--cases", "cases.yaml"]).await;
    exits(&cases, 1);
    assert!(out(&cases).contains("events[0].type is \"shop.sold\", expected \"shop.bought\""), "{}", out(&cases));

    write("whole.http", "POST /in/shop/sold HTTP/1.1\nContent-Type: application/json\n\n{\"id\": \"o-2\"}");
    let events = run(folder.path(), &["script", "shop.rhai", "--request", "whole.http"]).await;
    exits(&events, 0);
    let event: Json = serde_json::from_str(&out(&events)).unwrap();
    assert_eq!((&event["type"], &event["id"], &event["source"]), (&json!("shop.sold"), &json!("o-2"), &json!("shop")));
    let unsigned =
        run(folder.path(), &["script", "shop.rhai", "--request", "body.json", "--options", "{key: {secret: nowhere}}"])
            .await;
    exits(&unsigned, 78);
    assert!(err(&unsigned).contains("secret nowhere cannot be read"), "{}", err(&unsigned));
    let typo = run(folder.path(), &["script", "shop.rhai", "--request", "body.json", "--options", "{kee: 1}"]).await;
    exits(&typo, 78);
    assert!(err(&typo).contains("did you mean `key`?"), "{}", err(&typo));
    let neither = run(folder.path(), &["script", "shop.rhai", "--event", "{\"type\": \"t\"}"]).await;
    exits(&neither, 2);
}

#[tokio::test]
async fn check_reads_sources_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("postrider.yaml"), "sources:\n  pgyr: {}\n").unwrap();
    for arguments in [&["check", "postrider.yaml"][..], &["--config", "postrider.yaml", "check"]] {
        let checked = run(folder.path(), arguments).await;
        exits(&checked, 78);
        assert!(
            err(&checked).contains("postrider.yaml:2:3") && err(&checked).contains("did you mean `pgyer`?"),
            "{}",
            err(&checked)
        );
    }
    let key = "sources:\n  github: {options: {secret: {secret: nowhere}}}\n  ci: {script: generic, options: {type: t, verify: {preset: gihub, key: k}}}\n";
    std::fs::write(folder.path().join("postrider.yaml"), key).unwrap();
    let checked = run(folder.path(), &["--config", "postrider.yaml", "check"]).await;
    exits(&checked, 78);
    for part in ["secret nowhere cannot be read", "postrider.yaml:2:", "did you mean `github`?", "postrider.yaml:3:3"] {
        assert!(err(&checked).contains(part), "{part}: {}", err(&checked));
    }
}
