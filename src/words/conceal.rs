//! Lines of files as they may be shown: people paste diagnostics into chats, and a daemon writes them into its log.
//!
//! What looks like a credential is replaced by asterisks, one for each character, so that a caret still points at its
//! place: the login of a URL, what its parameters called token or key are, long parts that are no words, and in a line of
//! a file also the value of a key such as `secret:` or `Authorization:`. Templates stay: `{{ secret('name') }}` is a name.

use std::borrow::Cow;
use std::ops::Range;

use crate::words::redact::names_credential;

/// A run of so many characters that is no word is taken for a token.
const LONG: usize = 20;
/// How often such a run goes from small letters to digits to capitals; words and dates rarely do.
const TURNS: usize = 4;
/// Shorter values behind a name are no credentials.
const SHORTEST: usize = 4;
/// What may stand before a token in a header.
const SCHEMES: [&str; 5] = ["bearer", "basic", "token", "digest", "apikey"];

/// A sentence that may quote what stands in a file.
pub fn sentence(text: &str) -> Cow<'_, str> {
    with_asterisks(text, found(text))
}

/// A line of a file.
pub fn line(text: &str) -> Cow<'_, str> {
    let mut hidden = found(text);
    hidden.extend(values(text));
    with_asterisks(text, hidden)
}

fn with_asterisks(text: &str, hidden: Vec<Range<usize>>) -> Cow<'_, str> {
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    let templates = templates(text);
    let keeps = |at: usize| templates.iter().any(|kept| kept.contains(&at));
    let hides = |at: usize| hidden.iter().any(|hidden| hidden.contains(&at)) && !keeps(at);
    Cow::Owned(text.char_indices().map(|(at, c)| if hides(at) { '*' } else { c }).collect())
}

/// Tokens and URLs, wherever they stand.
fn found(text: &str) -> Vec<Range<usize>> {
    let mut hidden: Vec<Range<usize>> = words(text).filter(|word| is_token(&text[word.clone()])).collect();
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let end = text[start..].find(ends).map_or(text.len(), |length| start + length);
        url(text, start..end, &mut hidden);
        from = end;
    }
    hidden
}

/// What stands behind `https://`.
fn url(text: &str, place: Range<usize>, hidden: &mut Vec<Range<usize>>) {
    let whole = &text[place.clone()];
    let host_ends = whole.find(['/', '?', '#']).unwrap_or(whole.len());
    if let Some(login) = whole[..host_ends].rfind('@') {
        hidden.push(place.start..place.start + login);
    }
    let mut at = host_ends;
    for field in whole[host_ends..].split_inclusive(['?', '&', '#']) {
        let value = field.trim_end_matches(['?', '&', '#']);
        if let Some((name, value)) = value.split_once('=')
            && names_credential(name)
        {
            let start = place.start + at + name.len() + 1;
            hidden.push(start..start + value.len());
        }
        at += field.len();
    }
}

/// Runs of what tokens are made of.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '=' | '%' | '~');
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(within)?;
        from = text[start..].find(|c| !within(c)).map_or(text.len(), |length| start + length);
        Some(start..from)
    })
}

fn is_token(word: &str) -> bool {
    let kind = |byte: u8| match byte {
        b'0'..=b'9' => 1,
        b'A'..=b'Z' => 2,
        b'a'..=b'z' => 3,
        _ => 0,
    };
    let kinds: Vec<u8> = word.bytes().map(kind).filter(|kind| *kind != 0).collect();
    kinds.len() >= LONG && kinds.windows(2).filter(|pair| pair[0] != pair[1]).count() >= TURNS
}

/// The values of keys whose names say that they are credentials.
fn values(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    for (at, _) in text.match_indices([':', '=']) {
        // `==` compares.
        if text[at..].starts_with("==") || text[..at].ends_with(['=', '!', '<', '>']) {
            continue;
        }
        let before = text[..at].trim_end_matches(['"', '\'', ' ']);
        let name_starts = before
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let (before, name) = before.split_at(name_starts);
        // `{secret: NAME}` names a secret, and is none.
        if !holds_credential(name) || before.trim_end().ends_with('{') && name == "secret" {
            continue;
        }
        let start = at + 1 + (text[at + 1..].len() - text[at + 1..].trim_start().len());
        hidden.extend(literal(text, start));
    }
    hidden
}

/// Whether a key of a file says so. `sign` and `signed` say how, `token_header` says where, and a `key` is also what an
/// event is known by.
fn holds_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    names_credential(&name) && name != "key" && !name.starts_with("sign") && !name.ends_with("header")
}

/// The literal value that begins here, if one does.
fn literal(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = &text[start..];
    let (quote, inner) = match rest.chars().next()? {
        quote @ ('"' | '\'') => (Some(quote), start + 1),
        '{' | '[' | '|' | '>' | '&' | '*' | '#' | '}' | ']' if !rest.starts_with("{{") => return None,
        _ => (None, start),
    };
    let value = &text[inner..];
    let ends: &[&str] = match quote {
        Some('"') => &["\""],
        Some(_) => &["'"],
        None => &[" #", ", ", "}"],
    };
    let kept = templates(value);
    let outside = |at: &usize| !kept.iter().any(|kept| kept.contains(at));
    let end = |end: &&str| value.match_indices(end).map(|(at, _)| at).find(outside);
    let length = ends.iter().filter_map(end).min().unwrap_or(value.len());
    let value = value[..length].trim_end();
    let word = value.split(' ').next().unwrap_or_default();
    let skipped =
        if SCHEMES.contains(&word.to_ascii_lowercase().as_str()) { (word.len() + 1).min(value.len()) } else { 0 };
    let hidden = inner + skipped..inner + value.len();
    // In a script, what is called gives the value.
    let is_called = quote.is_none() && value.contains('(') && kept.is_empty();
    (hidden.len() >= SHORTEST && !is_called && !matches!(value, "true" | "false" | "null")).then_some(hidden)
}

/// Where templates stand.
fn templates(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = ["{{", "{%"].iter().filter_map(|opening| text[from..].find(opening)).min() {
        let start = from + at;
        let end = ["}}", "%}"].iter().filter_map(|closing| text[start..].find(closing)).min();
        let end = end.map_or(text.len(), |length| start + length + 2);
        found.push(start..end);
        from = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_line_are_hidden_and_columns_stay() {
        for (given, shown) in [
            (
                "ulr: https://oapi.dingtalk.com/robot/send?access_token=abc123",
                "ulr: https://oapi.dingtalk.com/robot/send?access_token=******",
            ),
            ("url: https://alice:pw@h.example/x", "url: https://********@h.example/x"),
            (
                "url: https://h.example/bot/v2/hook/5f3c0a1b-2c3d-4e5f-6071-8293a4b5c6d7",
                "url: https://h.example/bot/v2/hook/************************************",
            ),
            ("  secret: SECabcdef", "  secret: *********"),
            ("  secret: {secret: dingtalk-ops-sign}", "  secret: {secret: dingtalk-ops-sign}"),
            (
                "  headers: {Authorization: \"Bearer abc def\", X: y}",
                "  headers: {Authorization: \"Bearer *******\", X: y}",
            ),
            (
                "  Authorization: \"Bearer {{ secret('ci-token') }}\"",
                "  Authorization: \"Bearer {{ secret('ci-token') }}\"",
            ),
            ("  http_token: hunter2 # mine", "  http_token: ******* # mine"),
            ("  token_header: X-Token, signed: timestamp.body", "  token_header: X-Token, signed: timestamp.body"),
            ("  token: 应用应用", "  token: ****"),
            (
                "events: [pgyer.updateVersion, \"2026-01-31T12:00:00Z\"]",
                "events: [pgyer.updateVersion, \"2026-01-31T12:00:00Z\"]",
            ),
            (
                "message: {{ version.humanized_content_size }} of a-file-with-a-long-name-2",
                "message: {{ version.humanized_content_size }} of a-file-with-a-long-name-2",
            ),
            ("secret: a{{ x }}bcdef", "secret: *{{ x }}*****"),
            ("dedupe: {key: data.id, for: 10}", "dedupe: {key: data.id, for: 10}"),
            ("when: \"json.token == secret('x')\"", "when: \"json.token == secret('x')\""),
            (
                "options: #{token: required(\"secret\", (), \"ours\")}",
                "options: #{token: required(\"secret\", (), \"ours\")}",
            ),
        ] {
            let got = line(given);
            assert_eq!(got, shown);
            assert_eq!(got.chars().count(), given.chars().count());
        }
    }

    #[test]
    fn sentences_lose_tokens_and_no_words() {
        assert_eq!(sentence("`SECa1b2c3d4e5f6a7b8c9d0` is no URL"), "`***********************` is no URL");
        assert_eq!(sentence("see https://h.example/?token=abc"), "see https://h.example/?token=***");
        for text in ["write http_token: {secret: NAME} and put the value into secrets.d/NAME", "token: a text"] {
            assert_eq!(sentence(text), text);
        }
    }
}
