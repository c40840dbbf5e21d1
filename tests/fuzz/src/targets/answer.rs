//! Any status, headers and body of a receiver, judged by a platform or by the rules of a hook: a verdict of the closed
//! set, in bounded words, the same each time; and no success that the platform's own code does not prove.
//!
//! One byte for the platform, two for the status; then, parted by NUL, the `when` of a rule, its words, the headers, and
//! the body. Without a `when` the platform decides.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Judged, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::exchange::Response;
use postrider::words::limits;
use postrider::words::verdict::Verdict;
use serde_json::{Value as Json, json};

use super::{is_for_people, is_sound, split_at_nul};

const PLATFORMS: [&str; 4] = ["webhook", "wecom", "dingtalk", "lark"];

pub(crate) fn run(data: &[u8]) {
    let [platform, high, low, rest @ ..] = data else { return };
    let platform = PLATFORMS[usize::from(*platform) % PLATFORMS.len()];
    let (when, rest) = split_at_nul(rest);
    let (words, rest) = split_at_nul(rest);
    let (head, body) = split_at_nul(rest);
    let response = Response {
        status: u16::from_be_bytes([*high, *low]),
        headers: headers(head),
        body: Bytes::copy_from_slice(&body[..body.len().min(limits::RESPONSE_BODY)]),
        truncated: false,
    };
    if when.is_empty() {
        let script = Platforms::built_in();
        let script = script.get(platform).expect("it came with the program");
        let judged = script.judge(&response, now()).unwrap_or_else(|found| panic!("{}", found.one_line()));
        is_judged(&judged, data);
        // Once more, and through what is remembered of the last answer.
        assert_eq!(script.verdict(&response, now()), judged);
        assert_eq!(script.verdict(&response, now()), judged);
        if judged.verdict == Verdict::Delivered {
            assert!(is_proven(platform, &response), "{platform}: {response:?} proves nothing");
        }
    } else {
        by_rules(platform, (when, words), &response, data);
    }
}

fn by_rules(platform: &str, (when, words): (&[u8], &[u8]), response: &Response, data: &[u8]) {
    let [when, words] = [when, words].map(|text| json!(String::from_utf8_lossy(text)).to_string());
    let (then, why) = match response.body.len() % 5 {
        0 => ("delivered: true", String::new()),
        1 => ("pause: 90s", format!(", why: {words}")),
        2 => ("retry", format!(": {words}")),
        3 => ("hold", format!(": {words}")),
        _ => ("reject", format!(": {words}")),
    };
    let options = if platform == "webhook" { "" } else { "\n  message: m" };
    let text = format!(
        "events: [a]\nplatform: {platform}\noptions:\n  url: https://h.example/{options}\nverdict:\n- {{when: {when}, {then}{why}}}\n"
    );
    let source = Source::new("rules.yaml", text.as_str());
    let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    found.iter().for_each(|one| is_sound(one, &text));
    let Some(hook) = hook else { return };
    let mut complaints = 0;
    let mut judge = || {
        hook.verdict(response, now(), |rule, why| {
            assert_eq!(rule.place.line, 6);
            is_for_people(why, data);
            complaints += 1;
        })
    };
    let judged = judge();
    assert_eq!(judge(), judged);
    is_judged(&judged, data);
}

fn is_judged(judged: &Judged, data: &[u8]) {
    assert!(["delivered", "retry", "pause", "hold", "reject"].contains(&judged.verdict.word()));
    for words in judged.verdict.why().iter().chain(&judged.warning.as_deref()) {
        is_for_people(words, data);
    }
    match &judged.verdict {
        Verdict::Pause { wait, .. } | Verdict::Retry { after: Some(wait), .. } => {
            assert!(*wait <= limits::RETRY_AFTER_MAX, "{wait:?}");
        }
        _ => {}
    }
}

/// Whether the platform has said in its own way that it has the message.
fn is_proven(platform: &str, response: &Response) -> bool {
    let said = serde_json::from_slice(&response.body).unwrap_or(Json::Null);
    let success = (200..300).contains(&response.status);
    success
        && match platform {
            "webhook" => true,
            "lark" => said["code"] == 0 || (said["code"].is_null() && said["StatusCode"] == 0),
            _ => said["errcode"] == 0,
        }
}

fn headers(head: &[u8]) -> HeaderMap {
    let lines = head.split(|byte| *byte == b'\n').take(limits::RESPONSE_HEADERS);
    let pairs = lines.filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((HeaderName::from_bytes(&line[..at]).ok()?, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    });
    pairs.collect()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_769_860_800).expect("a time")
}
