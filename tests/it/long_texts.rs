//! Texts that are longer than a platform takes: in parts that the platform itself reads, none of them sent twice, also when
//! the daemon ends between two.
//!
//! `POSTRIDER_TEXTS=10000 cargo test --test it long_texts` is the long form.

use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::sink::{BotOptions, Fake, Platform, Received, Sink, SinkHandle, SinkOptions, Step};
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms, Turn};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::secret::Secrets;
use serde_json::{Value, json};

use crate::support::{Daemon, PATIENCE};

/// The text platforms, with the options of each kind of text, and where the text stands in a body.
const PLATFORMS: [(&str, &str, &str); 13] = [
    ("wecom", "type: text", "/text/content"),
    ("wecom", "type: markdown", "/markdown/content"),
    ("dingtalk", "type: text\nkeyword: 应用\nkeyword_mode: prepend", "/text/content"),
    ("dingtalk", "type: markdown", "/markdown/text"),
    ("lark", "type: text\nkeyword: 应用\nkeyword_mode: prepend", "/content/text"),
    ("lark", "title: t", "/card/body/elements/0/content"),
    ("slack", "", "/text"),
    ("discord", "", "/content"),
    ("discord", "title: t", "/embeds/0/description"),
    ("telegram", "type: html\nmessage: '<b>{{ data.message }}</b> <i>{{ data.message }}</i>'", "/text"),
    ("telegram", "type: markdownv2\nmessage: '*{{ data.message }}* _{{ data.message }}_'", "/text"),
    ("mattermost", "", "/text"),
    ("ntfy", "topic: t", "/message"),
];

/// A hook of the platform for a receiver at this address.
fn hook(name: &str, platform: Platform, base: &str, more: &str) -> String {
    let url = match name {
        "telegram" => format!("url: {base}\ntoken: '123456:TOKEN'\nchat: '1'"),
        "ntfy" => format!("url: {base}"),
        _ => format!("url: {base}{}", platform.path("TOKEN")),
    };
    let options: String = format!("{url}\n{more}\noverflow: split").lines().map(|line| format!("  {line}\n")).collect();
    format!("events: [thing]\nplatform: {name}\noptions:\n{options}")
}

fn parsed(text: &str) -> Hook {
    let (hook, found) = Hook::parse(&Source::new("hook.yaml", text), &Platforms::built_in(), &Defaults::default());
    hook.unwrap_or_else(|| panic!("{}\n{text}", found.iter().map(|one| one.render(false)).collect::<String>()))
}

/// Every request of a message.
fn requests(hook: &Hook, message: &str) -> Vec<postrider::words::exchange::Request> {
    let event =
        Event::new("thing", Some("e-1".to_owned()), json!({"message": message}).to_string().into_bytes(), now());
    let secrets = Secrets::default();
    let given = Given { id: "j-1", attempt: 1, now: now(), hook: "hook", event: &event, secrets: &secrets };
    let one =
        |part| hook.render_turn(&given, None, Turn { part, plain: false }).unwrap_or_else(|error| panic!("{error}"));
    let (first, parts) = one(0);
    std::iter::once(first).chain((1..parts).map(|part| one(part).0)).collect()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

/// A text of some length, of everything that markup, JSON and UTF-8 make of texts.
fn random_text(dice: &mut fastrand::Rng) -> String {
    const BITS: [&str; 22] = [
        "word ",
        "应用更新",
        "😀",
        "e\u{301}",
        "👩\u{200d}🚀",
        "\n",
        "\n\n",
        "*",
        "_",
        "`",
        "```\n",
        "[a](https://h.example)",
        "<",
        ">",
        "&",
        "\\",
        "<at id=all></at>",
        "@all",
        "\"",
        "~",
        "|",
        "#",
    ];
    let long = dice.usize(1..2000);
    let mut text = String::new();
    for _ in 0..long {
        let bit = if dice.u8(..) < 150 { BITS[dice.usize(..3)] } else { BITS[dice.usize(..BITS.len())] };
        text.push_str(bit);
    }
    text
}

/// Letters and digits: what is left of a text when everything else may have become something else.
fn words(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[test]
fn each_part_is_taken_by_its_platform_and_together_they_say_everything() {
    let texts: usize = std::env::var("POSTRIDER_TEXTS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let mut dice = fastrand::Rng::with_seed(7);
    let mut several = 0;
    for (name, more, place) in PLATFORMS {
        let platform: Platform = name.parse().expect("a platform");
        let hook = parsed(&hook(name, platform, "http://127.0.0.1:1", more));
        let options = BotOptions { limits: Some(Vec::new()), ..BotOptions::default() };
        let mut fake = Fake::new(platform, options);
        for n in 0..texts {
            let text = random_text(&mut dice);
            if words(&text).is_empty() {
                continue;
            }
            let requests = requests(&hook, &text);
            several += usize::from(requests.len() > 1);
            let mut said = String::new();
            for request in &requests {
                let url = url::Url::parse(&request.url).expect("a URL");
                let target = url[url::Position::BeforePath..].to_owned();
                let mut received = Received::post(target, request.body.clone());
                received.headers = request.headers.clone();
                let answered = fake.answer(&received, now());
                let why = &answered.judgement.why;
                assert!(
                    answered.judgement.accepted,
                    "{name} {more} text {n}: {why}\n{}",
                    String::from_utf8_lossy(&request.body)
                );
                let mentions = &answered.judgement.mentions;
                assert!(mentions.is_empty(), "{name} {more} text {n} calls {mentions:?}");
                let body: Value = serde_json::from_slice(&request.body).expect("JSON");
                let shown = body
                    .pointer(place)
                    .and_then(Value::as_str)
                    .unwrap_or_else(|| panic!("{name}: no {place} in {body}"));
                if name == "dingtalk" || name == "lark" {
                    assert!(!more.contains("keyword") || shown.contains("应用"), "{name}: a part lacks the keyword");
                }
                said.push_str(shown);
            }
            // Whatever was put in between, nothing is missing and nothing changed its place.
            let said = words(&said);
            let mut rest = said.chars();
            assert!(
                words(&text).chars().all(|c| rest.any(|other| other == c)),
                "{name} {more} text {n}: something is missing"
            );
        }
    }
    assert!(several >= PLATFORMS.len(), "only {several} texts had several parts");
}

async fn telegram() -> SinkHandle {
    let default = BotOptions { limits: Some(Vec::new()), ..BotOptions::default() };
    Sink::start(SinkOptions { platform: Platform::Telegram, default, ..SinkOptions::default() }).await.expect("a sink")
}

fn shown(sink: &SinkHandle) -> Vec<String> {
    let records = sink.records();
    let accepted = records.iter().filter(|record| record.judgement.accepted);
    let texts =
        accepted.map(|record| serde_json::from_slice::<Value>(&record.request.body).expect("JSON")["text"].clone());
    texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Three lines that need a message each.
fn three() -> String {
    ["a", "b", "c"].map(|letter| letter.repeat(4000)).join("\n")
}

#[tokio::test]
async fn parts_go_out_in_their_order_and_with_order_by_nothing_comes_between() {
    let sink = telegram().await;
    let text = hook("telegram", Platform::Telegram, &format!("http://{}", sink.addr), "");
    let text = text + "rate_limit: 100/1s\norder_by: event.type\n";
    let daemon = Daemon::start(&[("hook", &text)]).await;
    sink.script(Step { delay_ms: 300, ..Step::default() }).expect("a step");
    daemon.emit(&json!({"type": "thing", "id": "long", "data": {"message": three()}})).await;
    daemon.emit(&json!({"type": "thing", "id": "short", "data": {"message": "short"}})).await;
    daemon.until_all("hook", "delivered").await;
    let begins: Vec<_> = shown(&sink).iter().map(|text| text[..1].to_owned()).collect();
    assert_eq!(begins, ["a", "b", "c", "s"]);
    assert!(shown(&sink)[1].ends_with("— 2/3"));
    let log = daemon.log("hook").await;
    let of_long: Vec<_> = log.iter().filter(|row| row.event == "long" && row.verdict == "delivered").collect();
    assert_eq!(
        of_long.iter().map(|row| row.why.as_str()).collect::<Vec<_>>(),
        ["part 1 of 3", "part 2 of 3", "part 3 of 3"]
    );
    assert_eq!(of_long.iter().map(|row| row.outcome.as_str()).collect::<Vec<_>>(), ["waiting", "waiting", "delivered"]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_that_ends_between_two_parts_goes_on_with_the_next() {
    let sink = telegram().await;
    let text = hook("telegram", Platform::Telegram, &format!("http://{}", sink.addr), "")
        + "rate_limit: 100/1s\nretry: {first: 100ms, max: 100ms}\n";
    let daemon = Daemon::start(&[("hook", &text)]).await;
    // The first part arrives, and the second one is refused for as long as this daemon lives.
    sink.script(Step::default()).expect("a step");
    sink.script(Step::status(503).times(1000)).expect("a step");
    daemon.emit(&json!({"type": "thing", "data": {"message": three()}})).await;
    assert!(sink.wait_for(3, PATIENCE).await);
    let folder = daemon.stop().await;
    assert_eq!(shown(&sink).len(), 1);
    sink.clear();
    let daemon = Daemon::start_in(folder).await;
    daemon.until_all("hook", "delivered").await;
    let begins: Vec<_> = shown(&sink).iter().map(|text| text[..1].to_owned()).collect();
    assert_eq!(begins, ["b", "c"], "the part that had arrived is not sent again");
    daemon.stop().await;
}

#[tokio::test]
async fn markup_that_is_refused_goes_out_as_plain_words_in_the_same_attempt() {
    let sink = telegram().await;
    let more = "type: html\nmessage: '<blink>{{ data.message }}</blink>'";
    let text = hook("telegram", Platform::Telegram, &format!("http://{}", sink.addr), more);
    let daemon = Daemon::start(&[("hook", &text)]).await;
    daemon.emit(&json!({"type": "thing", "data": {"message": "1 < 2"}})).await;
    daemon.until_all("hook", "delivered").await;
    assert_eq!(shown(&sink), ["1 < 2"]);
    let log = daemon.log("hook").await;
    assert_eq!((sink.count(), log.len(), log[0].attempt), (2, 1, 1));
    assert!(log[0].why.starts_with("sent as plain text: Bad Request: can't parse entities"), "{}", log[0].why);
    daemon.stop().await;
}

#[tokio::test]
async fn a_window_that_is_used_up_is_waited_for_without_a_refusal() {
    let sink =
        Sink::start(SinkOptions { platform: Platform::Discord, ..SinkOptions::default() }).await.expect("a sink");
    let url = sink.url("TOKEN");
    // Faster than the channel, were it not for what its answers say.
    let text = format!("events: [thing]\nplatform: discord\nrate_limit: 100/1s\noptions: {{url: \"{url}\"}}\n");
    let daemon = Daemon::start(&[("hook", &text)]).await;
    for n in 0..7 {
        daemon.emit(&json!({"type": "thing", "data": {"message": format!("{n}")}})).await;
    }
    daemon.until("hook", |rows| rows.len() == 7 && rows.iter().all(|row| row.outcome == "delivered")).await;
    let statuses: Vec<_> = sink.records().iter().map(|record| record.status).collect();
    assert_eq!(statuses, vec![Some(200); 7], "no 429 was ever seen");
    let elapsed: Vec<_> = sink.records().iter().map(|record| record.elapsed).collect();
    assert!(elapsed[5] - elapsed[0] >= Duration::from_secs(2), "{elapsed:?}");
    daemon.stop().await;
}
