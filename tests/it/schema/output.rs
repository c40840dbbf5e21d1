//! What every command prints with `--json` is as the published schema says, member by member.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use postrider::edges::sink::Step;
use postrider::rules::schema;
use postrider::words::rows::COMMANDS;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::Checker;
use crate::commands::{err, out, postrider, run};
use crate::support::{Daemon, PATIENCE, receiver, write_hook};

/// The schema with no other members than those that it names: what is new must be described.
fn closed(mut schema: Json) -> Json {
    close(&mut schema);
    schema
}

fn close(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            if map.contains_key("properties") && map.get("type") == Some(&json!("object")) {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            map.values_mut().for_each(close);
        }
        Json::Array(entries) => entries.iter_mut().for_each(close),
        _ => {}
    }
}

/// Holds the lines of commands to the schema, and notes which objects were seen.
#[derive(Default)]
struct Book {
    seen: BTreeSet<&'static str>,
}

impl Book {
    fn lines(&mut self, command: &str, lines: &str) {
        let rows = COMMANDS.iter().find(|(name, _)| *name == command).expect("a command that prints JSON").1;
        assert!(!lines.trim().is_empty(), "{command} printed nothing");
        let whole = Checker::new(closed(schema::output(Some(command)).expect("a schema")));
        for line in lines.lines() {
            let line: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{command}: {error}: {line}"));
            if let Some(why) = whole.refuses(&line) {
                panic!("{command} printed {line:#}\n{why}");
            }
            for row in rows {
                let mut one = closed(schema::output(Some(command)).expect("a schema"));
                one["anyOf"] = json!([{"$ref": format!("#/definitions/{}", row.name)}]);
                if Checker::new(one).refuses(&line).is_none() {
                    self.seen.insert(row.name);
                }
            }
        }
    }

    fn of(&mut self, command: &str, output: &Output) {
        let lines = out(output);
        assert!(!lines.is_empty(), "{command}: {}", err(output));
        self.lines(command, &lines);
    }
}

async fn json(folder: &Path, arguments: &[&str]) -> Output {
    run(folder, &[&["--json"], arguments].concat()).await
}

#[tokio::test]
async fn every_command_prints_what_the_schema_says() {
    let mut book = Book::default();
    let sink = receiver().await;
    sink.script(Step { body: Some("no such app".into()), ..Step::status(400) }).expect("a step");
    let hook = format!("events: [thing]\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    let daemon = Daemon::start(&[("hook", &hook), ("off", &format!("{hook}enabled: false\n"))]).await;
    let folder = daemon.folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));

    book.of("emit", &json(folder, &["emit", "thing", "--id", "e1", "a=b"]).await);
    book.of("emit", &json(folder, &["emit", "thing", "--dry-run"]).await);
    book.of("emit", &json(folder, &["emit", "", "a=b"]).await);
    let dead = daemon.until_all("hook", "dead").await;
    book.of("log", &json(folder, &["log"]).await);
    book.of("show", &json(folder, &["show", &dead[0].delivery]).await);
    book.of("show", &json(folder, &["show", "e1"]).await);
    book.of("hold", &json(folder, &["hold", "hook", "--reason", "maintenance", "--for", "2h"]).await);
    book.of("replay", &json(folder, &["replay", "--dead", "--dry-run"]).await);
    book.of("replay", &json(folder, &["replay", "--dead", "--yes"]).await);
    book.of("queue", &json(folder, &["queue"]).await);
    book.of("queue", &json(folder, &["queue", "--shape"]).await);
    book.of("explain", &json(folder, &["explain", "e1"]).await);
    book.of("explain", &json(folder, &["explain", r#"{"type": "other", "data": {}}"#]).await);
    book.of("flush", &json(folder, &["flush"]).await);
    book.of("drop", &json(folder, &["drop", "--hook", "hook", "--dry-run"]).await);
    book.of("drop", &json(folder, &["drop", "0-9999", "--yes"]).await);
    book.of("backup", &json(folder, &["backup", "copy.db"]).await);
    book.of("show", &json(folder, &["show", &dead[0].delivery]).await);
    book.of("status", &json(folder, &["status"]).await);
    book.of("release", &json(folder, &["release", "hook"]).await);
    daemon.until_all("hook", "delivered").await;
    book.of("log", &json(folder, &["log"]).await);
    book.of("test", &json(folder, &["test", "hook"]).await);
    write_hook(folder, "broken", "events: [thing]\nplatform: webhok\n");
    fs::write(folder.join("hooks.d/old.yaml~"), "").expect("a leftover");
    book.of("reload", &json(folder, &["reload"]).await);
    book.of("status", &json(folder, &["status"]).await);
    book.of("check", &json(folder, &["check"]).await);
    let event = r#"{"type": "thing", "data": {}}"#;
    book.of("render", &json(folder, &["render", "hook", event]).await);
    book.of("platforms", &json(folder, &["platforms"]).await);
    book.of("platforms", &json(folder, &["platforms", "dingtalk"]).await);
    book.of("sources", &json(folder, &["sources"]).await);
    book.of("sources", &json(folder, &["sources", "generic"]).await);
    book.of("emit", &json(folder, &["emit", "thing", "--id", "e2", "--wait", "1ms"]).await);
    let stopped = daemon.stop().await;
    fs::create_dir(stopped.path().join(".postrider/spool")).expect("a folder");
    book.of("emit", &json(stopped.path(), &["emit", "thing"]).await);

    let there = |path: &str| root.join(path).display().to_string();
    let (script, cases) = (there("tests/scripts/pager.rhai"), there("tests/scripts/pager.yaml"));
    book.of("script", &json(root, &["script", &script, "--cases", &cases]).await);
    book.of("script", &json(root, &["script", &script, "--cases", &cases, "--bless"]).await);
    book.of("script", &json(root, &["script", &script, "--answer", "429"]).await);
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("body.json"), r#"{"title": "x", "action": "应用更新"}"#).expect("a file");
    let source = there("scripts/sources/generic.rhai");
    let made =
        json(folder, &["script", &source, "--request", "body.json", "--options", "{type: \"literal:thing\"}"]).await;
    book.of("script", &made);
    let (key, body) = (there("tests/readme/key"), there("tests/readme/body"));
    let time = "X-Time: 1700000000";
    let right = "X-Sig: v0=6485ab2fcaff3d8c8462c9226412fa5aebe1814059a9acfdfffe748701e53222";
    let verified = json(root, &["verify", "--key-file", &key, "--body", &body, "-H", time, "-H", right]).await;
    book.of("verify", &verified);
    let signed = json(root, &["sign", "--preset", "github", "--key-file", &key, "--body", &body]).await;
    book.of("sign", &signed);
    book.lines("sink", &received(folder).await);

    let all: BTreeSet<_> = COMMANDS.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.name)).collect();
    let never: Vec<_> = all.difference(&book.seen).collect();
    assert!(never.is_empty(), "nothing printed {never:?}");
}

/// A line of a sink.
async fn received(folder: &Path) -> String {
    let mut child = postrider(folder, &["--json", "sink", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let address = tokio::time::timeout(PATIENCE, async {
        loop {
            let line = said.next_line().await.expect("an open pipe").expect("it listens");
            if let Some((_, rest)) = line.split_once("127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                return format!("127.0.0.1:{port}");
            }
        }
    });
    let address = address.await.expect("in time");
    crate::support::send(&address, "POST", "/x", &[], b"{}").await;
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time");
    child.kill().await.expect("a kill");
    line.expect("an open pipe").expect("a line")
}

#[test]
fn a_command_that_prints_none_has_no_schema() {
    assert_eq!(schema::output(Some("demo")), None);
    assert!(COMMANDS.len() > 15);
}
