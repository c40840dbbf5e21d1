//! What whoever watches the daemon is told: metrics that their tools find nothing wrong with, whether it takes events,
//! whether it makes progress; alerts and a dashboard that speak of metrics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use postrider::edges::sink::{Fault, Step};
use postrider::words::limits;
use serde_json::{Value as Json, json};

use crate::delivering::{QUICK, webhook};
use crate::support::{Daemon, Got, PATIENCE, receiver, send, test_file, write_hook, write_secret};

/// The rows of a text by what stands before the value.
fn rows(text: &str) -> BTreeMap<String, f64> {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    let read = rows.map(|row| {
        let (name, value) = row.rsplit_once(' ').unwrap_or_else(|| panic!("{row:?} has no value"));
        (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{row:?}: {error}")))
    });
    let count = text.lines().filter(|line| !line.starts_with('#')).count();
    let rows: BTreeMap<String, f64> = read.collect();
    assert_eq!(rows.len(), count, "a row stands there twice: {text}");
    rows
}

async fn watch(daemon: &Daemon, path: &str) -> Got {
    send(&daemon.metrics, "GET", path, &[("host", "localhost:9470")], b"").await
}

async fn metrics(daemon: &Daemon) -> BTreeMap<String, f64> {
    let got = watch(daemon, "/metrics").await;
    assert_eq!(got.status, 200, "{got:?}");
    rows(&got.body)
}

/// Waits until the metrics are as wanted.
async fn until(daemon: &Daemon, wanted: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let rows = metrics(daemon).await;
        if wanted(&rows) {
            return rows;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came to it: {rows:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A daemon that has seen something of everything.
async fn busy_daemon() -> Daemon {
    let (good, bad, flaky) = (receiver().await, receiver().await, receiver().await);
    bad.script(Step::status(422)).expect("a step");
    flaky.script(Step::status(503)).expect("a step");
    flaky.script(Step::fault(Fault::CloseAfterBody)).expect("a step");
    let daemon = Daemon::start(&[
        ("good", &webhook(&good.url(""), "")),
        ("bad", &webhook(&bad.url(""), "")),
        ("flaky", &webhook(&flaky.url(""), QUICK)),
        ("held", &webhook(&good.url(""), "")),
        ("without", "events: [thing]\nplatform: webhook\noptions: {url: {secret: nobody-wrote-it}}\n"),
        ("broken", "events: [thing]\nplatfrom: webhook\n"),
    ])
    .await;
    daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "held"}"#)).await;
    daemon.emit(&json!({"type": "thing"})).await;
    daemon.until_all("good", "delivered").await;
    daemon.until_all("bad", "dead").await;
    daemon.until_all("flaky", "delivered").await;
    daemon.send("POST", "/v1/events", &[("content-type", "application/json")], b"{").await;
    daemon
}

#[tokio::test]
async fn everything_that_happens_is_counted_where_it_belongs() {
    let daemon = busy_daemon().await;
    daemon.admin("POST", "/v1/drop", Some(r#"{"hook": "held", "reason": "nobody needs it"}"#)).await;
    let said = until(&daemon, |rows| rows["postrider_queue_waiting{hook=\"held\"}"] == 0.0).await;
    let expected = [
        ("postrider_events_accepted_total", 1.0),
        ("postrider_events_refused_total{reason=\"bad_event\"}", 1.0),
        ("postrider_events_refused_total{reason=\"busy\"}", 0.0),
        ("postrider_ready", 1.0),
        ("postrider_deliveries_total{hook=\"good\",outcome=\"delivered\"}", 1.0),
        ("postrider_deliveries_total{hook=\"good\",outcome=\"dead\"}", 0.0),
        ("postrider_deliveries_total{hook=\"bad\",outcome=\"dead\"}", 1.0),
        ("postrider_deliveries_total{hook=\"held\",outcome=\"dropped\"}", 1.0),
        ("postrider_attempts_total{hook=\"good\",verdict=\"delivered\",status_class=\"2xx\"}", 1.0),
        ("postrider_attempts_total{hook=\"bad\",verdict=\"reject\",status_class=\"4xx\"}", 1.0),
        ("postrider_attempts_total{hook=\"flaky\",verdict=\"retry\",status_class=\"5xx\"}", 1.0),
        ("postrider_attempts_total{hook=\"flaky\",verdict=\"retry\",status_class=\"none\"}", 1.0),
        ("postrider_attempts_total{hook=\"flaky\",verdict=\"delivered\",status_class=\"2xx\"}", 1.0),
        ("postrider_attempt_duration_seconds_count{hook=\"flaky\"}", 3.0),
        ("postrider_attempt_duration_seconds_bucket{le=\"+Inf\",hook=\"flaky\"}", 3.0),
        ("postrider_delivery_age_seconds_count", 2.0),
        ("postrider_queue_waiting{hook=\"without\"}", 1.0),
        ("postrider_queue_oldest_seconds{hook=\"good\"}", 0.0),
        ("postrider_hook_state{hook=\"good\",state=\"ready\"}", 1.0),
        ("postrider_hook_state{hook=\"held\",state=\"held\"}", 1.0),
        ("postrider_hook_state{hook=\"without\",state=\"secret_missing\"}", 1.0),
        ("postrider_journal_trouble", 0.0),
    ];
    for (name, value) in expected {
        assert_eq!(said.get(name), Some(&value), "{name}: {said:#?}");
    }
    let version = format!("postrider_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(said[&version], 1.0);
    for positive in [
        "postrider_queue_oldest_seconds{hook=\"without\"}",
        "postrider_journal_bytes",
        "postrider_journal_free_bytes",
        "postrider_journal_commit_duration_seconds_count",
        "postrider_config_problems{severity=\"error\"}",
        "postrider_config_last_reload_timestamp_seconds",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(said.get(positive).is_some_and(|value| *value > 0.0), "{positive}: {said:#?}");
    }
    assert!(!said.keys().any(|name| name.contains("hook=\"broken\"")), "no hook was loaded from a broken file");

    let (read, errors) =
        ("postrider_config_last_reload_timestamp_seconds", "postrider_config_problems{severity=\"error\"}");
    daemon.remove_hook("broken").await;
    let mended = until(&daemon, |rows| rows[errors] < said[errors]).await;
    assert!(mended[read] >= said[read], "{} {}", mended[read], said[read]);
    daemon.stop().await;
}

#[tokio::test]
async fn the_socket_says_the_same_and_scrapers_get_the_form_that_they_ask_for() {
    let daemon = busy_daemon().await;
    let (status, text) = daemon.admin("GET", "/metrics", None).await;
    assert_eq!(status, 200);
    let names = |text: &str| rows(text).into_keys().collect::<BTreeSet<_>>();
    let classic = watch(&daemon, "/metrics").await;
    assert!(classic.head.contains("content-type: text/plain; version=0.0.4"), "{}", classic.head);
    assert!(classic.body.contains("# TYPE postrider_events_accepted_total counter\n"));
    assert_eq!(names(text.as_str().expect("a text")), names(&classic.body));

    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = send(&daemon.metrics, "GET", "/metrics", &[("accept", accept), ("host", "localhost")], b"").await;
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.contains("# TYPE postrider_events_accepted counter\n") && open.body.ends_with("\n# EOF\n"));
    assert_eq!(names(&open.body), names(&classic.body));

    for (method, path, status) in
        [("POST", "/metrics", 405), ("HEAD", "/healthz", 405), ("GET", "/", 404), ("GET", "/v1/status", 404)]
    {
        assert_eq!(
            send(&daemon.metrics, method, path, &[("host", "localhost")], b"").await.status,
            status,
            "{method} {path}"
        );
    }
    let (status, said) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!((status, said["hooks"].as_array().map(Vec::len)), (200, Some(5)), "the rest is the socket's");
    daemon.stop().await;
}

#[tokio::test]
async fn ready_means_that_events_are_taken_and_healthy_that_it_makes_progress() {
    let sink = receiver().await;
    sink.script(Step::fault(Fault::Stall)).expect("a step");
    let daemon = Daemon::start(&[
        ("hook", &webhook(&sink.url(""), "")),
        ("slow", &webhook(&sink.url(""), "events: [slow]\n").replace("events: [thing]\n", "")),
    ])
    .await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(watch(&daemon, path).await.json(), json!({"ok": true}));
        assert_eq!(daemon.admin("GET", path, None).await, (200, json!({"ok": true})));
    }
    daemon.put_main("limits: {waiting: 1}\n").await;
    daemon.admin("POST", "/v1/hold", Some(r#"{"hook": "hook"}"#)).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let refused = daemon.emit(&json!({"type": "thing"})).await;
    assert_eq!(refused["error"]["code"], "busy");
    let full = watch(&daemon, "/readyz").await;
    assert_eq!((full.status, full.json()["ok"].clone()), (503, json!(false)));
    assert!(full.json()["why"].as_str().is_some_and(|why| why.contains("limits.waiting: 1")), "{}", full.body);
    assert_eq!(watch(&daemon, "/healthz").await.status, 200, "it is no reason to start it anew");
    let said = metrics(&daemon).await;
    assert_eq!((said["postrider_ready"], said["postrider_events_refused_total{reason=\"busy\"}"]), (0.0, 1.0));

    daemon.put_main("").await;
    assert_eq!(watch(&daemon, "/readyz").await.status, 200);
    daemon.emit(&json!({"type": "slow"})).await;
    assert!(sink.wait_for(1, PATIENCE).await);
    daemon.begin_to_stop();
    let draining = watch(&daemon, "/readyz").await;
    assert_eq!(draining.status, 503);
    assert!(draining.body.contains("postrider is stopping"), "{}", draining.body);
    daemon.stop().await;
}

#[tokio::test]
async fn many_hooks_do_not_make_endless_metrics() {
    const MORE: usize = 7;
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..limits::METRIC_HOOKS + MORE {
        write_hook(folder.path(), &format!("h{number}"), &webhook(&sink.url(""), ""));
    }
    let daemon = Daemon::start_in(folder).await;
    daemon.emit(&json!({"type": "thing"})).await;
    let all = (limits::METRIC_HOOKS + MORE) as u64;
    assert!(sink.wait_for(all, PATIENCE * 2).await);
    let delivered = |rows: &BTreeMap<String, f64>| {
        let own = |name: &&String| name.starts_with("postrider_deliveries_total{") && name.contains("\"delivered\"");
        rows.keys().filter(own).map(|name| rows[name]).sum::<f64>()
    };
    let said = until(&daemon, |rows| delivered(rows) == all as f64).await;
    assert_eq!(said["postrider_deliveries_total{hook=\"other\",outcome=\"delivered\"}"], MORE as f64);
    assert_eq!(said["postrider_hook_state{hook=\"other\",state=\"ready\"}"], MORE as f64);
    assert_eq!(said["postrider_attempt_duration_seconds_count{hook=\"other\"}"], MORE as f64);
    assert_eq!(
        said.keys().filter(|name| name.starts_with("postrider_queue_waiting{")).count(),
        limits::METRIC_HOOKS + 1
    );
    let bytes = watch(&daemon, "/metrics").await.body.len();
    println!("{all} hooks: {} rows, {bytes} bytes", said.len());
    assert!(bytes < 2_000_000, "{bytes}");
    daemon.stop().await;
}

#[tokio::test]
async fn no_secret_and_nothing_that_an_event_says_stands_in_metrics() {
    const SECRET: &str = "hunter2-canary-4711";
    let sink = receiver().await;
    sink.script(Step::status(403)).expect("a step");
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(folder.path(), "token", SECRET);
    let more = "headers: {Authorization: \"Bearer {{ secret('token') }}\"}";
    let hook = format!(
        "events: [\"*\"]\nplatform: webhook\noptions:\n  url: \"{}?key={SECRET}\"\n  {more}\n",
        sink.url("canary-in-the-path")
    );
    write_hook(folder.path(), "hook", &hook);
    let daemon = Daemon::start_in(folder).await;
    daemon
        .emit(&json!({"type": "canary-type", "id": "canary-id", "source": "canary-source", "data": "canary-data"}))
        .await;
    assert!(sink.wait_for(1, PATIENCE).await);
    daemon.emit(&json!({"type": "canary-\"type", "time": SECRET})).await;
    let text = watch(&daemon, "/metrics").await.body;
    assert!(text.contains("hook=\"hook\""), "{text}");
    for canary in ["canary", "hunter2", "127.0.0.1"] {
        assert!(!text.contains(canary), "{canary}: {text}");
    }
    daemon.stop().await;
}

// ---- what others make of it ----

/// Whether `promtool` is here. In CI it must be.
fn promtool() -> bool {
    let there = Command::new("promtool").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var_os("CI").is_none(), "promtool is missing: install prometheus");
    if !there {
        println!("passed over: promtool is missing (it comes with prometheus)");
    }
    there
}

/// Runs it in the folder of this repository; what it says must be nothing but praise.
fn check(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a reader");
    let output = child.wait_with_output().expect("an end");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    said
}

#[tokio::test]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !promtool() {
        return;
    }
    let daemon = busy_daemon().await;
    let text = watch(&daemon, "/metrics").await.body;
    assert!(text.lines().count() > 100, "{text}");
    assert_eq!(check(&["check", "metrics"], &text), "");
    daemon.stop().await;
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alerts() {
    if !promtool() {
        return;
    }
    let said = check(&["check", "rules", RULES], "");
    assert!(said.contains("SUCCESS: 9 rules found"), "{said}");
    let said = check(&["test", "rules", "tests/metrics/alerts.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
}

const RULES: &str = "packaging/prometheus/postrider.rules.yml";

fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names of metrics in an expression.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("postrider_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Every expression of a dashboard, wherever it stands.
fn expressions(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Object(members) => {
            for (key, value) in members {
                match value {
                    Json::String(text) if ["expr", "query", "definition"].contains(&key.as_str()) => {
                        found.push(text.clone());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn alerts_and_dashboard_speak_of_metrics_that_there_are() {
    let daemon = busy_daemon().await;
    let said = metrics(&daemon).await;
    let served: BTreeSet<&str> = said.keys().map(|name| name.split('{').next().unwrap_or_default()).collect();

    let rules = packaged(RULES);
    let of_rules: BTreeSet<String> =
        rules.lines().filter(|line| line.trim().starts_with("expr:")).flat_map(named).collect();
    assert!(of_rules.len() >= 7, "{of_rules:?}");
    let alerts = rules.matches("- alert: ").count();
    for word in ["summary:", "description:", "runbook:", "severity:"] {
        assert_eq!(rules.matches(word).count(), alerts, "every alert has its {word}");
    }

    let dashboard: Json = serde_json::from_str(&packaged("packaging/grafana/postrider.json")).expect("JSON");
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let of_dashboard: BTreeSet<String> = found.iter().flat_map(|expression| named(expression)).collect();
    assert!(found.len() > 20 && of_dashboard.len() > 15, "{found:?}");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");

    for name in of_rules.iter().chain(&of_dashboard) {
        assert!(served.contains(name.as_str()), "{name} is not served: {served:?}");
    }
    // … and the page about them leaves none out.
    let page = packaged("docs/metrics.md");
    let families = served
        .iter()
        .map(|name| ["_bucket", "_sum", "_count"].iter().fold(*name, |name, end| name.trim_end_matches(end)));
    for name in families {
        assert!(page.contains(&format!("`{name}")), "docs/metrics.md says nothing of {name}");
    }
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("`{alert}`")), "docs/metrics.md says nothing of {alert}");
    }
    daemon.stop().await;
}

#[test]
fn every_state_of_a_hook_that_alerts_name_is_one() {
    let states = String::from_utf8(test_file("../src/engine/status.rs")).expect("text");
    let rules = packaged(RULES);
    let mut looked = 0;
    for part in rules.split("state=").skip(1) {
        let quoted = part.split('"').nth(1).unwrap_or_default();
        for state in quoted.split('|') {
            looked += 1;
            assert!(states.contains(&format!("(\"{}\",", state.replace('_', " "))), "{state} is no state");
        }
    }
    assert!(looked >= 3, "only {looked} states found");
}
