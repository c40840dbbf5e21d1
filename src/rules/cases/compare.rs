//! What was expected, and what came.

use super::read::{Answer, Expect};
use crate::rules::platform::Judged;
use crate::words::exchange::Request;
use crate::words::json::Exact;
use crate::words::verdict::Verdict;

/// So many characters of a value are shown.
const SHOWN: usize = 300;

/// Everything in which a request differs.
pub(super) fn request(expect: &Expect, made: &Request, parts: u32) -> Vec<String> {
    let mut found = Vec::new();
    if parts != 1 && expect.parts.is_none() || expect.parts.is_some_and(|expected| expected != u64::from(parts)) {
        found.push(format!("there are {parts} parts, expected {}", expect.parts.unwrap_or(1)));
    }
    let body = String::from_utf8_lossy(&made.body);
    let mut plain = |name: &str, expected: Option<&str>, came: &str| {
        if let Some(expected) = expected.filter(|expected| *expected != came) {
            found.push(format!("{name} is {}, expected {expected:?}", start_of(came)));
        }
    };
    plain("method", expect.method.as_deref(), made.method.as_str());
    plain("url", expect.url.as_deref(), &made.url);
    plain("text", expect.text.as_deref(), &body);
    for (name, expected) in &expect.headers {
        match made.headers.get(name.as_str()).map(|value| String::from_utf8_lossy(value.as_bytes())) {
            Some(came) if came == expected.as_str() => {}
            Some(came) => found.push(format!("header {name} is {}, expected {expected:?}", start_of(&came))),
            None => found.push(format!("there is no header {name}, expected {expected:?}")),
        }
    }
    for (name, expected) in &expect.form {
        let mut values =
            url::form_urlencoded::parse(&made.body).filter(|(field, _)| field == name).map(|(_, value)| value);
        match values.find(|value| value == expected.as_str()) {
            Some(_) => {}
            None => found.push(format!("there is no form field {name} with {expected:?} in {}", start_of(&body))),
        }
    }
    let came = Exact::parse(&made.body);
    if let Some(expected) = &expect.json {
        match &came {
            Some(came) => json("json", expected, came, &mut found),
            None => found.push(format!("the body is not JSON: {}", start_of(&body))),
        }
    }
    for (path, expected) in &expect.bytes {
        match size(&made.body, came.as_ref(), path) {
            Some(size) if size as u64 == *expected => {}
            Some(size) => found.push(format!("{path} has {size} bytes, expected {expected}")),
            None => found.push(format!("there is no text {path} in {}", start_of(&body))),
        }
    }
    found
}

/// Everything in which a verdict differs.
pub(super) fn verdict(expect: &Answer, judged: &Judged) -> Vec<String> {
    let mut found = Vec::new();
    let why = judged.verdict.why().unwrap_or_default();
    let word = if judged.plain { "plain" } else { judged.verdict.word() };
    if word != expect.verdict {
        let behind = if why.is_empty() { String::new() } else { format!(" ({why})") };
        found.push(format!("the verdict is {word}{behind}, expected {}", expect.verdict));
    }
    if judged.rest != expect.rest {
        found.push(format!("the rest is {:?}, expected {:?}", judged.rest, expect.rest));
    }
    let wait = match &judged.verdict {
        Verdict::Pause { wait, .. } => Some(*wait),
        Verdict::Retry { after, .. } => *after,
        _ => None,
    };
    if let Some(expected) = expect.wait.filter(|expected| wait != Some(*expected)) {
        found.push(format!("the wait is {wait:?}, expected {expected:?}"));
    }
    if let Some(part) = expect.why.as_deref().filter(|part| !why.contains(part)) {
        found.push(format!("why is {why:?}, expected {part:?} in it"));
    }
    let warning = judged.warning.as_deref();
    match (&expect.warning, warning) {
        (None, Some(warning)) => found.push(format!("there is a warning: {warning}")),
        (Some(part), warning) if !warning.unwrap_or_default().contains(part.as_str()) => {
            found.push(format!("the warning is {:?}, expected {part:?} in it", warning.unwrap_or_default()));
        }
        _ => {}
    }
    found
}

/// Platforms ignore members that they do not know, so one too many is as wrong as one too few.
pub(super) fn json(path: &str, expected: &Exact, came: &Exact, found: &mut Vec<String>) {
    match (expected, came) {
        (Exact::Map(expected), Exact::Map(came)) => {
            for (key, expected) in expected {
                match came.get(key) {
                    Some(came) => json(&format!("{path}.{key}"), expected, came, found),
                    None => found.push(format!("there is no {path}.{key}, expected {expected}")),
                }
            }
            let extra = came.iter().filter(|(key, _)| !expected.contains_key(key.as_str()));
            found.extend(extra.map(|(key, came)| {
                format!("{path}.{key} is there, which is not expected: {}", cut(&came.to_string()))
            }));
        }
        (Exact::List(expected), Exact::List(came)) if expected.len() == came.len() => {
            for (at, (expected, came)) in expected.iter().zip(came).enumerate() {
                json(&format!("{path}[{at}]"), expected, came, found);
            }
        }
        (Exact::Number(expected), Exact::Number(came)) if expected.has_value_of(came) => {}
        (expected, came) if expected == came => {}
        (expected, came) => {
            found.push(format!("{path} is {}, expected {}", cut(&came.to_string()), cut(&expected.to_string())))
        }
    }
}

/// How many bytes a body has, or one of its texts.
pub(super) fn size(body: &[u8], json: Option<&Exact>, path: &str) -> Option<usize> {
    if path == "body" { Some(body.len()) } else { size_at(json?, path) }
}

fn size_at(json: &Exact, path: &str) -> Option<usize> {
    path.split('.')
        .try_fold(json, |level, key| match (level, key.parse::<usize>()) {
            (Exact::List(values), Ok(index)) => values.get(index),
            _ => level.get(key),
        })?
        .as_str()
        .map(str::len)
}

/// Texts of twenty kilobytes help nobody to see a difference.
fn start_of(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{:?}…", &text[..at]),
        None => format!("{text:?}"),
    }
}

/// The same of what is written as JSON already.
fn cut(json: &str) -> String {
    match json.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &json[..at]),
        None => json.to_owned(),
    }
}
