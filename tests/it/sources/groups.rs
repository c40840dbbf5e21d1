//! Git hosts and alerts go in over TCP and come out in chat groups, through the examples in `hooks.d`.

use std::fs;
use std::path::Path;

use postrider::edges::sink::{BotOptions, Platform, Sink, SinkHandle, SinkOptions};
use serde_json::Value as Json;

use crate::support::{Daemon, bodies, test_file, write_hook, write_secret};

const MAIN: &str = "sources: {github: {}, gitlab: {}, alertmanager: {}, grafana: {}}\n";

async fn group(platform: Platform) -> SinkHandle {
    let options = SinkOptions { platform, default: BotOptions::default(), ..SinkOptions::default() };
    Sink::start(options).await.expect("a robot")
}

/// Sends a sample through a source and the example of a hook; what came to the group.
async fn told(example: &str, secret: &str, platform: Platform, path: &str, header: (&str, &str), file: &str) -> Json {
    let robot = group(platform).await;
    let folder = tempfile::tempdir().unwrap();
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hooks.d/{example}.yaml"))).unwrap();
    write_hook(folder.path(), "group", &text);
    write_secret(folder.path(), secret, &robot.url("T"));
    fs::write(folder.path().join("postrider.yaml"), MAIN).unwrap();
    let daemon = Daemon::start_in(folder).await;
    let headers = [("content-type", "application/json"), header];
    let got = daemon.send("POST", path, &headers, &test_file(&format!("events/{file}.json"))).await;
    assert_eq!(got.status, 202, "{got:?}");
    daemon.until_all("group", "delivered").await;
    daemon.stop().await;
    serde_json::from_str(&bodies(&robot)[0]).expect("JSON")
}

#[tokio::test]
async fn github_pushes_and_issues_are_told_to_dingtalk() {
    let event = |name| ("x-github-event", name);
    let told = async |name, file| {
        told("40-github-dingtalk", "dingtalk-dev", Platform::Dingtalk, "/in/github", event(name), file).await
    };
    let push = told("push", "github-push").await;
    assert_eq!(push["markdown"]["title"], "acme/shop");
    let text = push["markdown"]["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "**acme/shop**: kim pushed 2 to main\n\n- [a1a1a1a1](https://github.com/acme/shop/commit/a1a1"
        ),
        "{text}"
    );
    assert!(text.contains("Count the cart's items once\n") && !text.contains("Fixes"), "one line each: {text}");
    assert!(text.contains("\"quotes\" in 结算") && !text.contains("{%"), "{text}");
    let issue = told("issues", "github-issues-opened").await;
    let text = issue["markdown"]["text"].as_str().unwrap();
    let wanted = "**acme/shop**: kim opened issue [#42 Checkout fails with an empty cart](https://github.com/acme/shop/issues/42)";
    assert_eq!(text.trim_end(), wanted);
}

#[tokio::test]
async fn gitlab_merge_requests_and_failures_are_told_to_wecom() {
    let event = |name| ("x-gitlab-event", name);
    let told =
        async |name, file| told("41-gitlab-wecom", "wecom-dev", Platform::Wecom, "/in/gitlab", event(name), file).await;
    let opened = told("Merge Request Hook", "gitlab-merge_request-open").await;
    let text = opened["markdown"]["content"].as_str().unwrap();
    assert!(
        text.starts_with("**acme/shop** Kim Lee: open [!7 Count the cart's items once](https://gitlab.example.com/"),
        "{text}"
    );
    assert!(text.contains("\n> cart → main"), "{text}");
    let failed = told("Pipeline Hook", "gitlab-pipeline-failed").await;
    let text = failed["markdown"]["content"].as_str().unwrap();
    assert!(text.starts_with("<font color=\"warning\">failed</font> **acme/shop** [pipeline 31](https://"), "{text}");
    assert!(text.contains("> test: unit"), "{text}");
}

#[tokio::test]
async fn prometheus_alerts_are_told_to_lark() {
    let none = ("x-none", "1");
    let told = async |file| {
        told("42-alertmanager-lark", "lark-ops", Platform::Lark, "/in/alertmanager", none, file).await.to_string()
    };
    let firing = told("alertmanager-firing").await;
    for part in [
        "FIRING DiskAlmostFull (2)",
        "db1:9100 has 4% of its disk left",
        "db2:9100 has 4%",
        "It will be full in two hours.",
    ] {
        assert!(firing.contains(part), "{part}: {firing}");
    }
    let resolved = told("alertmanager-resolved").await;
    assert!(resolved.contains("RESOLVED DiskAlmostFull (2)"), "{resolved}");
}

#[tokio::test]
async fn grafana_alerts_are_told_to_dingtalk() {
    let none = ("x-none", "1");
    let body =
        told("43-grafana-dingtalk", "dingtalk-ops", Platform::Dingtalk, "/in/grafana", none, "grafana-firing").await;
    let text = body["markdown"]["text"].as_str().unwrap();
    assert!(
        text.contains("FIRING:1") && text.contains("- db1:9100 has 4% of its disk left: [rule](https://prometheus"),
        "{text}"
    );
    assert!(
        text.contains("[silence](https://grafana.example.com/alerting/silence/new?alertmanager=grafana)"),
        "{text}"
    );
}
