//! Tests of what an answer means: `response: {status, headers, json | text}` with `expect: {verdict, why}`.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use super::{Expect, read_pairs};
use crate::rules::hook::Hook;
use crate::rules::yaml::reader::{Reader, nearest};
use crate::rules::yaml::{Node, Value};
use crate::words::exchange::Response;
use crate::words::keys::{self, VERDICTS};

/// Reads `response:`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Response> {
    let answer = reader.map("response", node, "{status: 200, json: {code: 0}}")?;
    reader.only(&answer, &keys::TEST_RESPONSE.names());
    let status = match answer.get("status") {
        Some(node) => reader.integer("response.status", node, 100, 599)?,
        None => 200,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in
        answer.get("headers").map(|node| read_pairs(reader, "response.headers", node)).unwrap_or_default()
    {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            headers.append(name, value);
        } else {
            let what = format!("`response.headers.{name}` cannot be sent as a header");
            reader.error(node.span, "header", what, "use letters, digits and - in its name, and ASCII in its value");
        }
    }
    let body = match (answer.get("json"), answer.get("text")) {
        (Some(json), Some(_)) => {
            let help = "write `json` for JSON, `text` for anything else";
            reader.error(json.span, "two-bodies", "an answer has one body, not both `json` and `text`", help);
            return None;
        }
        (Some(json), None) => json.to_json().to_string(),
        (None, Some(Node { value: Value::String(text), .. })) => text.clone(),
        (None, Some(node)) => reader.text("response.text", node)?.to_owned(),
        (None, None) => String::new(),
    };
    Some(Response { status: u16::try_from(status).unwrap_or(200), headers, body: body.into(), truncated: false })
}

/// A verdict is expected of a response, and a response is there to be judged.
pub(super) fn belong_together(reader: &mut Reader<'_>, expect: &Node, response: bool) {
    let Value::Map(entries) = &expect.value else { return };
    let verdict = entries.iter().find(|(key, _)| ["verdict", "why"].contains(&key.name.as_str()));
    match verdict {
        Some((key, _)) if !response => {
            let what = format!("`expect.{}` is about an answer, and this test has none", key.name);
            reader.error(key.span, "missing-key", what, "add `response: {status: 200, json: {…}}` to the test");
        }
        None if response => {
            let what = "this test has a `response` and does not say what it means";
            reader.error(expect.span, "missing-key", what, "add `verdict: delivered`, or another verdict, to `expect`");
        }
        _ => {}
    }
}

/// One of the five verdicts.
pub(super) fn read_word(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let word = reader.text("expect.verdict", node)?;
    if VERDICTS.contains(&word) {
        return Some(word.to_owned());
    }
    let help = match nearest(word, &VERDICTS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the verdicts are {}", VERDICTS.join(", ")),
    };
    reader.error(node.span, "wrong-word", format!("there is no verdict {word:?}"), help);
    None
}

/// Judges the response as a delivery would be.
pub(super) fn try_verdict(hook: &Hook, response: &Response, expect: &Expect, now: Timestamp) -> Result<(), String> {
    let mut skipped = String::new();
    let judged = hook.verdict(response, now, |rule, why| {
        skipped.push_str(&format!("; the rule on line {} was skipped: {why}", rule.place.line));
    });
    let (word, why) = (judged.verdict.word(), judged.verdict.why().or(judged.warning.as_deref()).unwrap_or_default());
    if let Some(expected) = expect.verdict.as_deref().filter(|expected| *expected != word) {
        let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
        return Err(format!("the verdict is {word}{because}, expected {expected}{skipped}"));
    }
    match expect.why.as_deref().filter(|expected| !why.contains(*expected)) {
        Some(expected) => Err(format!("the verdict's reason is {why:?}, expected {expected:?} in it{skipped}")),
        None => Ok(()),
    }
}
