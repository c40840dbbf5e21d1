//! Every platform against what may happen to a message there: the outcome of each pair is said here, and none is left out.
//!
//! Each cell is a hook that sends one event, for real, to the platform that the sink plays.

use std::collections::BTreeMap;
use std::sync::Arc;

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
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

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

/// One platform: its options with the sink's address in place of BASE and a robot's URL in place of HOOK.
struct Row {
    platform: Platform,
    options: &'static str,
    /// What the receiver compares with, where it does.
    secret: Option<&'static str>,
    /// The same options with a token or a key that is not the robot's.
    bad: &'static str,
    /// A refusal of what the message says, and what becomes of it.
    refused: Refused,
    /// What becomes of a message that is too long: it is cut, or refused.
    too_long: &'static str,
}

/// How a message is refused for what it says.
enum Refused {
    /// The platform says this code, with these words.
    Code(i64, &'static str),
    /// These options make a message that the platform refuses; without its markup it is taken.
    Markup(&'static str),
    /// The receiver answers with this status.
    Status(u16),
}

const SIGNED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn rows() -> Vec<Row> {
    let row =
        |platform, options, secret, bad, refused, too_long| Row { platform, options, secret, bad, refused, too_long };
    vec![
        row(
            Platform::Wecom,
            "url: HOOK\ntype: markdown",
            None,
            "url: BASE/cgi-bin/webhook/send?key=unknown",
            Refused::Code(40_033, "invalid char"),
            "delivered",
        ),
        row(
            Platform::Dingtalk,
            "url: HOOK\nsecret: {secret: key}\ntype: markdown",
            Some("SECdemo"),
            "url: HOOK\nsecret: {secret: other}",
            Refused::Code(310_000, "keywords not in content"),
            "delivered",
        ),
        row(
            Platform::Lark,
            "url: HOOK\nsecret: {secret: key}\ntitle: t",
            Some("demo"),
            "url: HOOK\nsecret: {secret: other}",
            Refused::Code(19_024, "Key Words Not Found"),
            "delivered",
        ),
        row(
            Platform::Slack,
            "url: HOOK",
            None,
            "url: BASE/services/T0/B0/unknown",
            Refused::Markup("blocks: [{type: nonsense}]"),
            "delivered",
        ),
        row(
            Platform::Discord,
            "url: HOOK",
            None,
            "url: BASE/api/webhooks/1/unknown",
            Refused::Code(50_035, "Invalid Form Body"),
            "delivered",
        ),
        row(
            Platform::Telegram,
            "url: BASE\ntoken: '123456:TOKEN'\nchat: '1'\ntype: html",
            None,
            "url: BASE\ntoken: '123456:unknown'\nchat: '1'",
            Refused::Markup("message: '<blink>x</blink>'"),
            "delivered",
        ),
        row(
            Platform::Teams,
            "url: HOOK",
            None,
            "url: BASE/workflows/unknown/triggers/manual/paths/invoke?sig=sig-unknown",
            Refused::Code(400, "TriggerInputSchemaMismatch"),
            "delivered",
        ),
        row(
            Platform::Mattermost,
            "url: HOOK",
            None,
            "url: BASE/hooks/unknown",
            Refused::Code(400, "parse"),
            "delivered",
        ),
        row(
            Platform::GoogleChat,
            "url: HOOK",
            None,
            "url: BASE/v1/spaces/S/messages?key=K&token=unknown",
            Refused::Code(400, "Invalid JSON payload received."),
            "delivered",
        ),
        row(
            Platform::Ntfy,
            "url: BASE\ntopic: TOKEN\ntoken: {secret: key}",
            Some("tk_1"),
            "url: BASE\ntopic: TOKEN\ntoken: {secret: other}",
            Refused::Code(40_007, "invalid request: priority parameter is invalid"),
            "delivered",
        ),
        row(
            Platform::Gotify,
            "url: BASE\ntoken: TOKEN",
            None,
            "url: BASE\ntoken: unknown",
            Refused::Code(400, "invalid"),
            "delivered",
        ),
        row(
            Platform::Bark,
            "url: BASE\nkey: TOKEN",
            None,
            "url: BASE\nkey: unknown",
            Refused::Code(400, "request bind failed"),
            "delivered",
        ),
        row(
            Platform::Pagerduty,
            "url: BASE/v2/enqueue\nrouting_key: R0123456789012345678901234567890",
            None,
            "url: BASE/v2/enqueue\nrouting_key: R12345678901234567890123/unknown",
            Refused::Code(400, "'payload.severity' is invalid"),
            "delivered",
        ),
        row(
            Platform::Alertmanager,
            "url: BASE\ntoken: {secret: key}",
            Some("am"),
            "url: BASE\ntoken: {secret: other}",
            Refused::Code(400, "start time must be before end time"),
            "delivered",
        ),
        row(
            Platform::GithubDispatch,
            "url: BASE\nrepository: example/app\ntoken: {secret: key}",
            Some("gh"),
            "url: BASE\nrepository: example/app\ntoken: {secret: other}",
            Refused::Code(422, "Invalid request."),
            "delivered",
        ),
        row(
            Platform::StandardWebhooks,
            "url: BASE/\nsign: {preset: standard-webhooks, key: {secret: key}}",
            Some(SIGNED),
            "url: BASE/\nsign: {preset: standard-webhooks, key: {secret: other}}",
            Refused::Code(422, "no such type"),
            "reject",
        ),
        row(
            Platform::Pushpushgo,
            "url: BASE/\nproject_id: {secret: key}\nsubscriber_id: '{{ data.message }}'",
            Some("5e1f0c2ab3d4e5f607182930"),
            "url: BASE/\nproject_id: {secret: other}\nsubscriber_id: s",
            Refused::Code(400, "bad request"),
            "reject",
        ),
        row(
            Platform::Cloudevents,
            "url: BASE/\ntoken: {secret: key}",
            Some("ce"),
            "url: BASE/\ntoken: {secret: other}",
            Refused::Code(415, "not this format"),
            "reject",
        ),
        row(
            Platform::Plain,
            "url: BASE/\nsign: {preset: standard-webhooks, key: {secret: key}}",
            Some(SIGNED),
            "url: BASE/\nsign: {preset: standard-webhooks, key: {secret: other}}",
            Refused::Status(422),
            "reject",
        ),
    ]
}

impl Row {
    fn name(&self) -> &'static str {
        if self.platform == Platform::Plain { "webhook" } else { self.platform.name() }
    }

    /// A receiver of this platform.
    async fn sink(&self, limits: Option<Vec<Limit>>) -> SinkHandle {
        let secret = self.secret.map(Secret::new);
        let verify = (self.platform == Platform::Plain).then(|| {
            let scheme = json!({"preset": "standard-webhooks", "key": SIGNED});
            Arc::new(postrider::rules::signature::Scheme::from_json(&scheme).expect("a scheme"))
        });
        let default = BotOptions { secret, verify, limits, ..BotOptions::default() };
        Sink::start(SinkOptions { platform: self.platform, default, ..SinkOptions::default() }).await.expect("a sink")
    }

    /// Sends an event with this message by a hook with these options.
    async fn send(&self, sink: &SinkHandle, options: &str, message: &str) -> Probed {
        let base = format!("http://{}", sink.addr);
        let hook = sink.url("TOKEN");
        let indented: String =
            options.replace("BASE", &base).replace("HOOK", &hook).lines().map(|line| format!("  {line}\n")).collect();
        let timeout = if message == SLOW { "1s" } else { "30s" };
        let text = format!("events: [thing]\nplatform: {}\ntimeout: {timeout}\noptions:\n{indented}", self.name());
        let source = Source::new("hook.yaml", text.as_str());
        let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
        let found: Vec<_> = found.iter().map(|one| one.render(false)).collect();
        let hook = hook.unwrap_or_else(|| panic!("{}\n{text}", found.join("\n")));
        let mut secrets = Secrets::default();
        secrets.insert("key", Ok(Secret::new(self.secret.unwrap_or("key"))));
        secrets.insert("other", Ok(Secret::new(if self.secret == Some(SIGNED) { OTHER } else { "another one" })));
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
            "ok" => self.send(&sink, self.options, "应用 2.0 😀").await,
            "rate limited" => {
                let first = self.send(&sink, self.options, "one").await;
                assert_eq!(first.verdict, "delivered", "{}: {}", self.name(), first.why);
                self.send(&sink, self.options, "two").await
            }
            "too long" => {
                if self.too_long == "reject" {
                    script(Step::status(413));
                }
                self.send(&sink, self.options, &"应用 long text\n".repeat(6000)).await
            }
            "bad signature or token" => self.send(&sink, self.bad, "x").await,
            "keyword or markup refused" => match self.refused {
                Refused::Markup(more) => {
                    let text = format!("{}\n{more}", self.options);
                    self.send(&sink, &text, "plain words").await
                }
                Refused::Code(code, words) => {
                    script(Step::code(code, words));
                    self.send(&sink, self.options, "x").await
                }
                Refused::Status(status) => {
                    script(Step::status(status));
                    self.send(&sink, self.options, "x").await
                }
            },
            "server error" => {
                script(Step::status(503));
                self.send(&sink, self.options, "x").await
            }
            "timeout" => {
                script(Step::fault(Fault::Stall));
                self.send(&sink, self.options, SLOW).await
            }
            "reset after acceptance" => {
                script(Step::fault(Fault::AcceptAndDrop));
                let first = self.send(&sink, self.options, "x").await;
                assert_eq!(first.verdict, "retry", "{}: {}", self.name(), first.why);
                let again = self.send(&sink, self.options, "x").await;
                // The first one arrived as well: a repeat with the same bytes, which is what at least once means.
                let records = sink.records();
                assert!(
                    records.len() == 2 && records.iter().all(|record| record.judgement.accepted),
                    "{}",
                    self.name()
                );
                again
            }
            _ => self.send(&sink, self.options, HOSTILE).await,
        };
        assert_ne!(probed.verdict, "", "{} {column}: {}", self.name(), probed.why);
        (probed.verdict, sink.records().pop())
    }

    /// The outcome that a cell must have.
    fn wanted(&self, column: &str) -> &'static str {
        match column {
            "ok" | "hostile text" | "reset after acceptance" => "delivered",
            "rate limited" => "pause",
            "too long" => self.too_long,
            "bad signature or token" if self.platform == Platform::Plain => "hold",
            "bad signature or token" => "hold",
            "keyword or markup refused" if matches!(self.refused, Refused::Markup(_)) => "delivered",
            "keyword or markup refused" => "reject",
            _ => "retry",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_platform_comes_to_the_right_outcome_whatever_happens() {
    let names: Vec<_> = rows().iter().map(Row::name).collect();
    let known: Vec<String> = Platforms::built_in().0.keys().cloned().collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, known, "a platform that is not in the matrix");
    let mut running = JoinSet::new();
    for (n, _) in names.iter().enumerate() {
        for column in COLUMNS {
            running.spawn(async move {
                let row = &rows()[n];
                let (verdict, record) = row.cell(column).await;
                (row.name(), column, verdict, row.wanted(column), record)
            });
        }
    }
    let mut wrong = Vec::new();
    let mut cells = BTreeMap::new();
    while let Some(cell) = running.join_next().await {
        let (name, column, verdict, wanted, record) = cell.expect("no panic");
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
                let live = FORGED.iter().filter(|(platform, _)| *platform == name).flat_map(|(_, links)| links.iter());
                if let Some(link) = live.into_iter().find(|link| body.contains(**link)) {
                    wrong.push(format!("{name}: event text made a link: {link}"));
                }
            }
        }
        cells.insert((name, column), verdict);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cells.len(), known.len() * COLUMNS.len(), "an empty cell");
}

/// What is a link where.
const FORGED: [(&str, &[&str]); 9] = [
    ("wecom", &["](https://evil", "<https://evil"]),
    ("dingtalk", &["](https://evil", "<https://evil", "<a href"]),
    ("lark", &["](https://evil", "<https://evil", "<a href"]),
    ("slack", &["<https://evil"]),
    ("discord", &["](https://evil", "<https://evil"]),
    ("telegram", &["<a href"]),
    ("teams", &["](https://evil", "<https://evil", "<a href"]),
    ("mattermost", &["](https://evil", "<https://evil"]),
    ("google-chat", &["<https://evil"]),
];
