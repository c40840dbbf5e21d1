//! Texts that are longer than a platform takes: in parts that the platform itself reads, none of them sent twice, also when
//! the daemon ends between two.
//!
//! `POSTRIDER_TEXTS=10000 cargo test --test it long_texts` is the long form.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::sink::{BotOptions, Fake, Platform, Received, Sink, SinkHandle, SinkOptions, Step};
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::limits;
use postrider::words::secret::Secrets;
use serde_json::{Value, json};

use crate::support::{Daemon, PATIENCE};

/// A kind of text that a platform takes.
struct Form {
    platform: &'static str,
    /// Options besides where it is and `overflow`.
    more: &'static str,
    /// Where the text stands in a body.
    place: &'static str,
    /// How long texts get: some are several messages.
    bits: usize,
    shows: Shows,
}

/// What comes of an event's text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Itself.
    Plain,
    /// Letters, digits and pictures stay as they are; what would be markup is escaped.
    Escaped,
    /// The same, in bold of the hook's author.
    Bold(&'static str),
}

const fn form(platform: &'static str, more: &'static str, place: &'static str, bits: usize, shows: Shows) -> Form {
    Form { platform, more, place, bits, shows }
}

const BOLD: &str = "message: '**{{ data.message }}**'";
const STAR: &str = "message: '*{{ data.message }}*'";

/// Every text platform, with each kind of text that it has.
const FORMS: [Form; 33] = [
    form("wecom", "type: text", "/text/content", 2000, Shows::Plain),
    form("wecom", "type: markdown", "/markdown/content", 2000, Shows::Escaped),
    form(
        "wecom",
        "type: markdown\ntitle: t\nmessage: '**{{ data.message }}**'",
        "/markdown/content",
        2000,
        Shows::Bold("**"),
    ),
    form("wecom", "type: markdown_v2", "/markdown_v2/content", 2000, Shows::Escaped),
    form("dingtalk", "type: text\nkeyword: 应用\nkeyword_mode: prepend", "/text/content", 8000, Shows::Plain),
    form("dingtalk", "type: text\nmention: [ann]", "/text/content", 6000, Shows::Plain),
    form("dingtalk", "type: markdown", "/markdown/text", 6000, Shows::Escaped),
    form("dingtalk", "type: markdown\nmessage: '**{{ data.message }}**'", "/markdown/text", 6000, Shows::Bold("**")),
    form("dingtalk", "type: actionCard\nlink: https://h.example\ntitle: t", "/actionCard/text", 6000, Shows::Escaped),
    form("lark", "type: text\nkeyword: 应用\nkeyword_mode: prepend", "/content/text", 8000, Shows::Plain),
    form("lark", "type: post\ntitle: t", "/content/post/zh_cn/content", 6000, Shows::Escaped),
    form("lark", "title: t", "/card/body/elements/0/content", 6000, Shows::Escaped),
    form(
        "lark",
        "title: t\nmessage: '**{{ data.message }}**'",
        "/card/body/elements/0/content",
        6000,
        Shows::Bold("**"),
    ),
    form("slack", "", "/text", 12000, Shows::Escaped),
    form("slack", "title: t\nmessage: '*{{ data.message }}*'", "/text", 12000, Shows::Bold("*")),
    form("discord", "", "/content", 2000, Shows::Escaped),
    form("discord", BOLD, "/content", 2000, Shows::Bold("**")),
    form("discord", "title: t", "/embeds/0/description", 2000, Shows::Escaped),
    form("telegram", "type: text", "/text", 2000, Shows::Plain),
    form(
        "telegram",
        "type: html\nmessage: '<b>{{ data.message }}</b> <i>{{ data.message }}</i>'",
        "/text",
        2000,
        Shows::Escaped,
    ),
    form(
        "telegram",
        "type: markdownv2\nmessage: '*{{ data.message }}* _{{ data.message }}_'",
        "/text",
        2000,
        Shows::Escaped,
    ),
    form("teams", "", "/attachments/0/content/body/0/text", 6000, Shows::Escaped),
    form(
        "teams",
        "title: t\nmessage: '**{{ data.message }}**'",
        "/attachments/0/content/body/1/text",
        6000,
        Shows::Bold("**"),
    ),
    form("webex", "mention: [all]", "/markdown", 6000, Shows::Escaped),
    form("webex", BOLD, "/markdown", 6000, Shows::Bold("**")),
    form("mattermost", "", "/text", 6000, Shows::Escaped),
    form("mattermost", BOLD, "/text", 9000, Shows::Bold("**")),
    form("google-chat", "", "/text", 8000, Shows::Escaped),
    form("google-chat", STAR, "/text", 8000, Shows::Bold("*")),
    form("ntfy", "topic: t", "/message", 2000, Shows::Plain),
    form("ntfy", "topic: t\ntype: markdown", "/message", 2000, Shows::Escaped),
    form("gotify", "token: T", "/message", 2000, Shows::Plain),
    form("bark", "key: K\ntitle: '{{ data.title }}'", "/body", 2000, Shows::Plain),
];

/// A hook of the platform for a receiver at this address.
fn hook(name: &str, platform: Platform, base: &str, more: &str) -> String {
    let url = match name {
        "telegram" => format!("url: {base}\ntoken: '123456:TOKEN'\nchat: '1'"),
        "ntfy" | "gotify" | "bark" => format!("url: {base}"),
        _ => format!("url: {base}{}", platform.path("TOKEN")),
    };
    // Gotify documents no limit, so its texts go out whole.
    let overflow = if name == "gotify" { "" } else { "overflow: split" };
    let options: String = format!("{url}\n{more}\n{overflow}").lines().map(|line| format!("  {line}\n")).collect();
    format!("events: [thing]\nplatform: {name}\noptions:\n{options}")
}

fn parsed(text: &str) -> Hook {
    let (hook, found) = Hook::parse(&Source::new("hook.yaml", text), &Platforms::built_in(), &Defaults::default());
    hook.unwrap_or_else(|| panic!("{}\n{text}", found.iter().map(|one| one.render(false)).collect::<String>()))
}

/// Every request of a message.
fn requests(hook: &Hook, message: &str) -> Vec<postrider::words::exchange::Request> {
    let title: String = message.chars().take(40).collect();
    let data = json!({"message": message, "title": title});
    let event = Event::new("thing", Some("e-1".to_owned()), data.to_string().into_bytes(), now());
    let secrets = Secrets::default();
    let given = Given { id: "j-1", attempt: 1, now: now(), hook: "hook", event: &event, secrets: &secrets };
    hook.render_parts(&given).unwrap_or_else(|error| panic!("{error}"))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

/// A text of some length, of everything that markup, JSON and UTF-8 make of texts. Every eighth is long.
fn random_text(dice: &mut fastrand::Rng, bits: usize, is_long: bool) -> String {
    const BITS: [&str; 24] = [
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
        "**bold** ",
        "https://h.example/a_b?c=d&e=f ",
    ];
    let long = if is_long { dice.usize(bits / 2..bits) } else { dice.usize(1..bits / 4) };
    // Some texts are nearly all of one thing, which is where a count by characters and one by bytes are far apart.
    let favourite = dice.usize(..BITS.len() * 2);
    let mut text = String::new();
    for _ in 0..long {
        let bit = match dice.u8(..) {
            0..130 if favourite < BITS.len() => BITS[favourite],
            0..150 => BITS[dice.usize(..3)],
            _ => BITS[dice.usize(..BITS.len())],
        };
        text.push_str(bit);
    }
    text
}

/// Letters, digits, pictures and accents: what is left of a text when everything else may have become something else.
fn words(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphanumeric() || *c >= '\u{1f000}' || *c == '\u{301}')
}

/// Everything that is to be seen of a text.
fn signs(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace())
}

/// Whether one text is found in another, with more in between.
fn is_within(some: impl Iterator<Item = char>, all: &str) -> bool {
    let mut rest = all.chars();
    let mut some = some;
    some.all(|c| rest.any(|other| other == c))
}

/// The text at this place of a body; of a list of lines all of it.
fn shown_at(body: &Value, place: &str) -> String {
    match body.pointer(place) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(lines)) => {
            let line = |line: &Value| line[0]["text"].as_str().unwrap_or_default().to_owned();
            lines.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        other => panic!("no text at {place}: {other:?} in {body}"),
    }
}

/// What was seen of one form.
#[derive(Default)]
struct Seen {
    texts: usize,
    parts: usize,
    several: usize,
    most: usize,
}

/// What is wrong with the messages that a text became, if anything is.
fn look(form: &Form, hook: &Hook, fake: &mut Fake, text: &str, seen: &mut Seen) -> Result<(), String> {
    let requests = requests(hook, text);
    seen.texts += 1;
    seen.parts += requests.len();
    seen.several += usize::from(requests.len() > 1);
    seen.most = seen.most.max(requests.len());
    let mut said = String::new();
    for request in &requests {
        let url = url::Url::parse(&request.url).expect("a URL");
        let mut received = Received::post(url[url::Position::BeforePath..].to_owned(), request.body.clone());
        received.headers = request.headers.clone();
        // A second for each: some look at how many come from one address.
        let then = now() + Duration::from_secs(seen.parts as u64);
        let judgement = fake.answer(&received, then).judgement;
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let shown = shown_at(&body, form.place);
        let refuse = |why: String| Err(format!("{why}\n{shown}"));
        if !judgement.accepted {
            return refuse(judgement.why);
        }
        let mentions = &judgement.mentions;
        if !mentions.is_empty() && !form.more.contains("mention") {
            return refuse(format!("it calls {mentions:?}"));
        }
        // Platforms that cut, split or make a file of what is too long say so, and do not refuse it.
        if let Some(note) = judgement.notes.first() {
            return refuse(note.clone());
        }
        if !(judgement.duplicate_keys.is_empty() && judgement.ignored_members.is_empty()) {
            return refuse(format!("{:?} {:?}", judgement.duplicate_keys, judgement.ignored_members));
        }
        if form.more.contains("keyword") && !shown.contains("应用") {
            return refuse("a part lacks the keyword".to_owned());
        }
        if shown.contains('\u{fffd}') || shown.starts_with(['\u{301}', '\u{200d}']) {
            return refuse("a character is broken".to_owned());
        }
        if let Shows::Bold(mark) = form.shows
            && !is_whole(&shown, mark)
        {
            return refuse("what is open in a part is not closed in it".to_owned());
        }
        said.push_str(&shown);
    }
    // Whatever was put in between, nothing is missing and nothing changed its place; but for what is more than all parts.
    let cut = requests.len() == limits::PARTS && said.contains('…');
    let whole = match form.shows {
        _ if cut => true,
        Shows::Plain => is_within(signs(text), &said),
        Shows::Escaped | Shows::Bold(_) => is_within(words(text), &said),
    };
    if whole { Ok(()) } else { Err(format!("something is missing of {text:?} in {said:?}")) }
}

/// Whether fences and this mark are closed where they are opened; what is escaped is neither. Mrkdwn has no escapes.
fn is_whole(shown: &str, mark: &str) -> bool {
    let mut bare = String::new();
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if mark == "**" => drop(chars.next()),
            c => bare.push(c),
        }
    }
    let fences = bare.matches("```").count();
    fences.is_multiple_of(2) && bare.matches(mark).count().is_multiple_of(2)
}

/// `POSTRIDER_TEXTS_OF=lark` looks at one platform only.
#[test]
fn each_part_is_taken_by_its_platform_and_together_they_say_everything() {
    let texts: usize = std::env::var("POSTRIDER_TEXTS").ok().and_then(|n| n.parse().ok()).unwrap_or(16);
    let only = std::env::var("POSTRIDER_TEXTS_OF").ok();
    let seed = std::env::var("POSTRIDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let forms = FORMS.iter().filter(|form| only.as_ref().is_none_or(|only| only == form.platform));
    let forms: Vec<&Form> = forms.collect();
    assert!(!forms.is_empty(), "nothing is looked at");
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(form) = forms.get(next.fetch_add(1, Ordering::Relaxed)) {
                    wrong.lock().expect("no panic").extend(look_at_all(form, texts, seed));
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} forms:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Many texts of one form, up to the first that is wrong.
fn look_at_all(form: &Form, texts: usize, seed: u64) -> Option<String> {
    let platform: Platform = form.platform.parse().expect("a platform");
    let hook = parsed(&hook(form.platform, platform, "http://127.0.0.1:1", form.more));
    let options = BotOptions { limits: Some(Vec::new()), ..BotOptions::default() };
    let mut fake = Fake::new(platform, options);
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut seen, began) = (Seen::default(), std::time::Instant::now());
    while seen.texts < texts {
        let mut text = random_text(&mut dice, form.bits, seen.texts.is_multiple_of(8));
        if let Shows::Bold(_) = form.shows {
            // Bold ends with its line, wherever it is written, and with whatever else looks like its end.
            text.retain(|c| !"*_~|`".contains(c));
            text = text.replace('\n', " ").trim().to_owned();
        }
        if text.trim().is_empty() {
            continue;
        }
        if let Err(why) = look(form, &hook, &mut fake, &text, &mut seen) {
            let chars: Vec<char> = why.chars().collect();
            let (begins, ends) =
                (chars.iter().take(1500), chars.iter().skip(1500.max(chars.len().saturating_sub(1500))));
            let why: String = begins.chain(['…'].iter()).chain(ends).collect();
            return Some(format!("{} {:?}, text {}: {why}", form.platform, form.more, seen.texts));
        }
    }
    let (name, more) = (form.platform, form.more.replace('\n', ", "));
    let Seen { texts, parts, several, most } = seen;
    println!(
        "{name:<12} {texts:>6} texts {parts:>6} messages, {several:>5} in several, at most {most:>2}, {:>6.1} s  {more}",
        began.elapsed().as_secs_f64()
    );
    let splits = name != "gotify";
    (splits && several == 0).then(|| format!("{name} {more}: no text had several parts"))
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
