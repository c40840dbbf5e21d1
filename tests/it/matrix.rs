//! Every platform against what may happen to a message there: the outcome of each pair is said here, and none is left out.
//!
//! Each cell is a hook that sends one event, for real, to the platform that the sink plays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use postrider::edges::send::Sender;
use postrider::edges::sink::{BotOptions, Fault, Limit, Platform, Record, Sink, SinkHandle, SinkOptions, Step};
use postrider::engine::probe::{Probed, probe};
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::secret::{Secret, Secrets};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::support::stems;

/// What may happen.
const COLUMNS: [&str; 9] = [
    "ok",
    "rate limited",
    "too long",
    "bad signature or token",
    "keyword or markup refused",
    "server error",
    "timeout",
    "reset after acceptance",
    "hostile text",
];

/// A text that would mention everybody and forge links, if it were written by the hook's author.
const HOSTILE: &str = "<@all> <!channel> <@U1> <@1> @everyone @here @all @channel @ann <at user_id=\"all\">x</at> <at id=all></at> \
    <at>Ann</at> <users/all> [bank](https://evil.example) <https://evil.example|bank> <a href=\"https://evil.example\">x</a> \
    <a href=\"tg://user?id=1\">x</a> *_~`|>#+-=.!{}()\\ </b> ```\n\"'\u{0}\u{1b}[31m\u{202e}";

/// A message for which an answer is not waited for long.
const SLOW: &str = "slow";

/// One platform, as `tests/matrix/NAME.yaml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(skip)]
    name: String,
    /// Who plays it, where the sink has nobody of that name.
    #[serde(rename = "as")]
    played_by: Option<String>,
    /// Its options, with the sink's address in place of BASE and a robot's URL in place of HOOK.
    options: Json,
    /// What the receiver compares with, where it does, and what the hook with the bad key has.
    secret: Option<String>,
    #[serde(default = "another")]
    other: String,
    /// How a receiver that nobody in particular plays verifies.
    signed: Option<String>,
    /// The same options with a token or a key that is not the robot's, …
    bad: Option<Json>,
    /// … or what a receiver that nobody in particular plays says to them.
    unknown: Option<u16>,
    /// A refusal of what the message says, and what becomes of it.
    refused: Refused,
    /// What becomes of a message that is too long: it is cut, or refused.
    #[serde(default = "delivered")]
    too_long: String,
    /// What is a link there.
    #[serde(default)]
    links: Vec<String>,
}

fn another() -> String {
    "another one".to_owned()
}

fn delivered() -> String {
    "delivered".to_owned()
}

/// How a message is refused for what it says.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", untagged)]
enum Refused {
    /// The platform says this code, with these words.
    Code { code: i64, words: String },
    /// These options make a message that the platform refuses; without its markup it is taken.
    Markup { markup: Members },
    /// The receiver answers with this status.
    Status { status: u16 },
}

type Members = serde_json::Map<String, Json>;

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix");
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let row: Row = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Row { name, ..row }
    };
    stems(&folder, "yaml").into_iter().map(read).collect()
});

impl Row {
    /// Who plays it.
    fn platform(&self) -> Platform {
        self.played_by.as_deref().unwrap_or(&self.name).parse().expect("somebody who plays it")
    }

    /// A receiver of this platform.
    async fn sink(&self, limits: Option<Vec<Limit>>) -> SinkHandle {
        let secret = self.secret.as_deref().map(Secret::new);
        let verify = self.signed.as_ref().map(|preset| {
            let scheme = json!({"preset": preset, "key": self.secret});
            Arc::new(postrider::rules::signature::Scheme::from_json(&scheme).expect("a scheme"))
        });
        let default = BotOptions { secret, verify, limits, ..BotOptions::default() };
        Sink::start(SinkOptions { platform: self.platform(), default, ..SinkOptions::default() }).await.expect("a sink")
    }

    /// Sends an event with this message by a hook with these options.
    async fn send(&self, sink: &SinkHandle, options: &Json, message: &str) -> Probed {
        let base = format!("http://{}", sink.addr);
        let hook = sink.url("TOKEN");
        let options = options.to_string().replace("BASE", &base).replace("HOOK", &hook);
        let timeout = if message == SLOW { "1s" } else { "30s" };
        let text = format!("events: [thing]\nplatform: {}\ntimeout: {timeout}\noptions: {options}\n", self.name);
        let source = Source::new("hook.yaml", text.as_str());
        let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
        let found: Vec<_> = found.iter().map(|one| one.render(false)).collect();
        let hook = hook.unwrap_or_else(|| panic!("{}\n{text}", found.join("\n")));
        let mut secrets = Secrets::default();
        secrets.insert("key", Ok(Secret::new(self.secret.as_deref().unwrap_or("key"))));
        secrets.insert("other", Ok(Secret::new(self.other.as_str())));
        let config = Config { secrets, ..Config::default() };
        let now = jiff::Timestamp::now();
        let data = json!({"message": message}).to_string();
        let event = Event::new("thing", Some("e-1".to_owned()), data.into_bytes(), now);
        probe(&Sender::new(Default::default()), &config, &hook, &event, None, now).await
    }

    /// The verdict in a cell, with what the platform thought of the last request.
    async fn cell(&self, column: &str) -> (String, Option<Record>) {
        let limits = (column == "rate limited").then(|| vec![Limit::sliding(1, Duration::from_secs(60))]);
        let sink = self.sink(limits).await;
        let script = |step: Step| sink.script(step).expect("a step");
        let probed = match column {
            "ok" => self.send(&sink, &self.options, "应用 2.0 😀").await,
            "rate limited" => {
                let first = self.send(&sink, &self.options, "one").await;
                assert_eq!(first.verdict, "delivered", "{}: {}", self.name, first.why);
                self.send(&sink, &self.options, "two").await
            }
            "too long" => {
                if self.too_long == "reject" {
                    script(Step::status(413));
                }
                self.send(&sink, &self.options, &"应用 long text\n".repeat(6000)).await
            }
            "bad signature or token" => {
                if let Some(status) = self.unknown {
                    script(Step::status(status));
                }
                self.send(&sink, self.bad.as_ref().unwrap_or(&self.options), "x").await
            }
            "keyword or markup refused" => match &self.refused {
                Refused::Markup { markup } => {
                    let mut options = self.options.clone();
                    options.as_object_mut().expect("options").extend(markup.clone());
                    self.send(&sink, &options, "plain words").await
                }
                Refused::Code { code, words } => {
                    script(Step::code(*code, words));
                    self.send(&sink, &self.options, "x").await
                }
                Refused::Status { status } => {
                    script(Step::status(*status));
                    self.send(&sink, &self.options, "x").await
                }
            },
            "server error" => {
                script(Step::status(503));
                self.send(&sink, &self.options, "x").await
            }
            "timeout" => {
                script(Step::fault(Fault::Stall));
                self.send(&sink, &self.options, SLOW).await
            }
            "reset after acceptance" => {
                script(Step::fault(Fault::AcceptAndDrop));
                let first = self.send(&sink, &self.options, "x").await;
                assert_eq!(first.verdict, "retry", "{}: {}", self.name, first.why);
                let again = self.send(&sink, &self.options, "x").await;
                // The first one arrived as well: a repeat with the same bytes, which is what at least once means.
                let records = sink.records();
                assert!(records.len() == 2 && records.iter().all(|record| record.judgement.accepted), "{}", self.name);
                again
            }
            _ => self.send(&sink, &self.options, HOSTILE).await,
        };
        assert_ne!(probed.verdict, "", "{} {column}: {}", self.name, probed.why);
        (probed.verdict, sink.records().pop())
    }

    /// The outcome that a cell must have.
    fn wanted(&self, column: &str) -> &str {
        match column {
            "ok" | "hostile text" | "reset after acceptance" => "delivered",
            "rate limited" => "pause",
            "too long" => &self.too_long,
            "bad signature or token" => "hold",
            "keyword or markup refused" if matches!(self.refused, Refused::Markup { .. }) => "delivered",
            "keyword or markup refused" => "reject",
            _ => "retry",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_platform_comes_to_the_right_outcome_whatever_happens() {
    let known: Vec<String> = Platforms::built_in().0.keys().cloned().collect();
    let names: Vec<_> = ROWS.iter().map(|row| row.name.clone()).collect();
    assert_eq!(names, known, "a platform that is not in the matrix");
    assert!(ROWS.iter().all(|row| row.bad.is_some() != row.unknown.is_some()), "a row without a bad key");
    let mut running = JoinSet::new();
    for row in ROWS.iter() {
        for column in COLUMNS {
            running.spawn(async move {
                let (verdict, record) = row.cell(column).await;
                (row, column, verdict, record)
            });
        }
    }
    let mut wrong = Vec::new();
    let mut cells = BTreeMap::new();
    while let Some(cell) = running.join_next().await {
        let (row, column, verdict, record) = cell.expect("no panic");
        let (name, wanted) = (&row.name, row.wanted(column));
        if verdict != wanted {
            let why = record.as_ref().map(|record| record.judgement.why.clone()).unwrap_or_default();
            wrong.push(format!("{name}, {column}: {verdict}, not {wanted} ({why})"));
        }
        if wanted == "delivered" {
            let record = record.expect("a request");
            if !record.judgement.accepted {
                wrong.push(format!("{name}, {column}: the platform has not taken it: {}", record.judgement.why));
            }
            if column == "hostile text" {
                let mentions = &record.judgement.mentions;
                if !mentions.is_empty() {
                    wrong.push(format!("{name}: event text called {mentions:?}"));
                }
                let body = String::from_utf8_lossy(&record.request.body).into_owned();
                if let Some(link) = row.links.iter().find(|link| body.contains(*link)) {
                    wrong.push(format!("{name}: event text made a link: {link}"));
                }
            }
        }
        cells.insert((name, column), verdict);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cells.len(), known.len() * COLUMNS.len(), "an empty cell");
}
