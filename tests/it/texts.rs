//! Texts as platforms and senders spell them: what an event says arrives escaped where it must be, and decoded where it
//! came encoded. The texts are vectors.

use std::fs;

use postrider::edges::sink::SinkHandle;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, bodies, receiver, write_hook};

fn vectors(name: &str) -> Vec<(String, String)> {
    let text = include_str!("../vectors.json");
    let all: Json = serde_json::from_str(text).expect("vectors");
    let rows = serde_json::from_value::<Vec<(String, String)>>(all["texts"][name].clone()).expect("pairs of texts");
    assert!(!rows.is_empty(), "no vectors of {name}");
    rows
}

/// A platform of one's own that says the same text in two markups.
const MARKED: &str = r##"
fn manifest() {
    #{
        summary: "two markups of one text",
        receiver: ["url"],
        options: #{
            url: required("url", "where it goes"),
            slack: required("mrkdwn", "in Slack's words"),
            telegram: required("markdownv2", "in Telegram's words"),
        },
    }
}

fn request(delivery) {
    let options = delivery.options;
    #{ url: options.url, json: #{ slack: options.slack, telegram: options.telegram } }
}
"##;

async fn daemon(hooks: &[(&str, &str)], main: &str) -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    let scripts = folder.path().join("scripts/platforms");
    fs::create_dir_all(&scripts).expect("a folder");
    fs::write(scripts.join("marked.rhai"), MARKED).expect("a script");
    fs::write(folder.path().join("postrider.yaml"), main).expect("a main file");
    for (name, text) in hooks {
        write_hook(folder.path(), name, text);
    }
    Daemon::start_in(folder).await
}

async fn arrived(sink: &SinkHandle, count: usize) -> Json {
    assert!(sink.wait_for(count as u64, crate::support::PATIENCE).await, "nothing came");
    serde_json::from_str(&bodies(sink)[count - 1]).expect("JSON")
}

#[tokio::test]
async fn what_an_event_says_is_no_markup_of_slack_or_telegram() {
    let sink = receiver().await;
    let hook = format!(
        "events: [t]\nplatform: marked\noptions:\n  url: \"{}\"\n  slack: \"*{{{{ data.text }}}}*\"\n  telegram: \"*{{{{ data.text }}}}*\"\n",
        sink.url("")
    );
    let daemon = daemon(&[("marked", &hook)], "").await;
    let mut count = 0;
    for (name, vector) in [("slack", vectors("slack")), ("telegram", vectors("telegram_markdown"))] {
        for (text, escaped) in vector {
            daemon.emit(&json!({"type": "t", "data": {"text": text}})).await;
            count += 1;
            // The author's own asterisks are markup, those of the event are not.
            assert_eq!(arrived(&sink, count).await[name], format!("*{escaped}*"));
        }
    }
    assert_eq!(count, 3);
    daemon.stop().await;
}

#[tokio::test]
async fn a_cloudevents_header_is_decoded_once() {
    let sink = receiver().await;
    let hook = format!("events: [t]\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    let hook = hook.replace("}\n", ", json: {subject: \"{{ data.subject }}\"}}\n");
    let daemon = daemon(&[("mirror", &hook)], "sources: {cloudevents: {options: {envelope: true}}}\n").await;
    let mut count = 0;
    for (value, header) in vectors("cloudevents_header") {
        let id = format!("e{count}");
        let headers = [
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-source", "/here"),
            ("ce-type", "t"),
            ("ce-subject", &header),
        ];
        assert_eq!(daemon.send("POST", "/in/cloudevents", &headers, b"{}").await.status, 202);
        count += 1;
        assert_eq!(arrived(&sink, count).await["subject"], value);
    }
    assert_eq!(count, 2);
    daemon.stop().await;
}
