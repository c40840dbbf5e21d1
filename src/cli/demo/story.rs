//! What the demo writes, and how it is told.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, io};

use serde_json::Value as Json;

use super::{Receivers, private};
use crate::cli::exit::{Code, Exit};
use crate::edges::journal::LogRow;
use crate::edges::sink::{Record, SinkHandle};

/// The event that the story begins with: a new version of an app, as Pgyer posts it.
pub(super) const PGYER: &str = include_str!("../../../tests/events/pgyer-updateVersion.json");

/// An event that one robot refuses.
pub(super) const FEEDBACK: &str = r#"{"title": "OooPlay", "notes": "the menu flickers"}"#;

pub(super) const DINGTALK_SECRET: &str = "SEC000demo000demo000demo";
pub(super) const LARK_SECRET: &str = "demo-lark-signing-key";

pub(super) const OPENING: &str = "\
A daemon with five hooks, and four receivers on this machine: a web service that is
just being restarted, and robots that check and answer as WeCom, DingTalk and Lark do.
";

pub(super) const ENDING: &str = "\
Everything is accounted for. Next: put a file into hooks.d, and `postrider run --here`.";

struct Hook {
    file: &'static str,
    about: &'static str,
    text: &'static str,
}

const HOOKS: [Hook; 5] = [
    Hook {
        file: "mirror.yaml",
        about: "every new version to a web service, as it came",
        text: "events: [updateVersion]\nplatform: webhook\noptions:\n  url: http://{mirror}/hooks/pgyer\nretry: {first: 300ms}\n",
    },
    Hook {
        file: "ops-wecom.yaml",
        about: "its message to a WeCom group, for everybody",
        text: "events: [updateVersion]\nplatform: wecom\noptions:\n  url: {secret: wecom}\n  mention: all\n",
    },
    Hook {
        file: "ops-dingtalk.yaml",
        about: "a title and notes to a DingTalk group, signed",
        text: "events: [updateVersion]\nplatform: dingtalk\noptions:\n  url: {secret: dingtalk}\n  \
               secret: {secret: dingtalk-sign}\n  keyword: 应用\n  title: \"{{ title }} {{ os_version }}\"\n  \
               message: \"应用 **{{ title }}** {{ os_version }} ({{ build_version }}): {{ notes }}\"\n",
    },
    Hook {
        file: "ops-lark.yaml",
        about: "its message to a Lark group, signed",
        text: "events: [updateVersion]\nplatform: lark\noptions:\n  url: {secret: lark}\n  secret: {secret: lark-sign}\n",
    },
    Hook {
        file: "support-dingtalk.yaml",
        about: "feedback to DingTalk, without the keyword that the robot wants",
        text: "events: [feedback]\nplatform: dingtalk\noptions:\n  url: {secret: dingtalk}\n  \
               secret: {secret: dingtalk-sign}\n  message: \"{{ title }}: {{ notes }}\"\n",
    },
];

/// Hook files and secrets, as an administrator would write them.
pub(super) fn write_files(folder: &Path, receivers: &Receivers) -> io::Result<()> {
    let secrets = private(folder).join("secrets.d");
    fs::create_dir_all(&secrets)?;
    fs::create_dir_all(folder.join("hooks.d"))?;
    for hook in &HOOKS {
        let text = hook.text.replace("{mirror}", &receivers.mirror.addr.to_string());
        fs::write(folder.join("hooks.d").join(hook.file), text)?;
    }
    for (name, value) in [
        ("wecom", receivers.wecom.url("demo-key")),
        ("dingtalk", receivers.dingtalk.url("demo-token")),
        ("dingtalk-sign", DINGTALK_SECRET.to_owned()),
        ("lark", receivers.lark.url("demo-token")),
        ("lark-sign", LARK_SECRET.to_owned()),
    ] {
        let path = secrets.join(name);
        fs::write(&path, value)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

pub(super) fn hooks() -> String {
    let mut text = "hooks.d\n".to_owned();
    for hook in &HOOKS {
        let _infallible = writeln!(text, "  {:22} {}", hook.file, hook.about);
    }
    text
}

pub(super) fn posted(kind: &str, bytes: usize, answer: &(u16, String)) -> String {
    let body: Json = serde_json::from_str(&answer.1).unwrap_or_default();
    let hooks: Vec<&str> = body["hooks"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    format!("POST /v1/events?type={kind} ({bytes} bytes)\n  {}: on disk, owed to {}\n", answer.0, hooks.join(", "))
}

/// Each attempt, hook by hook.
pub(super) fn deliveries(log: &[LogRow]) -> String {
    let mut rows: Vec<&LogRow> = log.iter().collect();
    rows.sort_by(|a, b| (&a.hook, a.attempt).cmp(&(&b.hook, b.attempt)));
    let mut text = "attempts\n".to_owned();
    for row in rows {
        let status = row.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let outcome = if row.outcome == "dead" { "dead" } else { &row.verdict };
        let line = format!("  {:17} {}  {status}  {outcome:9}  {}", row.hook, row.attempt, row.why);
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What the receivers kept: the proof is on their side.
pub(super) fn received(receivers: &Receivers) -> String {
    let mut text = "what the receivers have\n".to_owned();
    for (name, sink) in [
        ("web service", &receivers.mirror),
        ("WeCom", &receivers.wecom),
        ("DingTalk", &receivers.dingtalk),
        ("Lark", &receivers.lark),
    ] {
        for record in kept(sink) {
            let _infallible = writeln!(text, "  {name:12} {}", said(&record));
        }
    }
    text
}

fn kept(sink: &SinkHandle) -> Vec<Record> {
    sink.records().into_iter().filter(|record| record.judgement.accepted).collect()
}

/// The text of a message in the receiver's own shape, and whom it mentions.
fn said(record: &Record) -> String {
    let body: Json = serde_json::from_slice(&record.request.body).unwrap_or_default();
    let text = [body.pointer("/text/content"), body.pointer("/markdown/text"), body.pointer("/content/text")];
    let text = text.into_iter().flatten().find_map(Json::as_str);
    let mention = if record.judgement.mentions.all { "  @all" } else { "" };
    match text {
        Some(text) => format!("{}{mention}", text.lines().collect::<Vec<_>>().join(" / ")),
        None if record.request.body == PGYER => format!("the same {} bytes", PGYER.len()),
        None => format!("{} bytes", record.request.body.len()),
    }
}

/// The demo is a test as well: it exits with an error when the story went another way.
pub(super) fn judge(log: &[LogRow]) -> Result<(), Exit> {
    let delivered = log.iter().filter(|row| row.outcome == "delivered").count();
    let dead: Vec<_> = log.iter().filter(|row| row.outcome == "dead").collect();
    let retried = log.iter().filter(|row| row.hook == "mirror" && row.verdict == "retry").count();
    let words = dead.iter().all(|row| row.why.contains("keywords not in content"));
    if (delivered, dead.len(), retried, words) == (4, 1, 2, true) {
        return Ok(());
    }
    let found = format!("{delivered} delivered, {} dead, {retried} retried", dead.len());
    Err(Exit::new(Code::Failed, format!("the story went another way: {found}")))
}
