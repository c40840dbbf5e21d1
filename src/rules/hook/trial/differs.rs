//! What is otherwise than a test expects, in words that name the place, what is there and what was expected.

use super::Expect;
use crate::words::exchange::Request;
use crate::words::json::Exact;
use crate::words::plural::count;

/// The first thing that is otherwise.
pub(super) fn differs(expect: &Expect, request: &Request) -> Option<String> {
    let plain = |name: &str, expected: &Option<String>, found: &str| {
        let expected = expected.as_deref().filter(|expected| *expected != found)?;
        Some(format!("{name} is {found:?}, expected {expected:?}"))
    };
    let header = |(name, expected): &(String, String)| {
        let found = request.headers.get(name.as_str()).map(|value| String::from_utf8_lossy(value.as_bytes()));
        match found {
            Some(found) if found == *expected => None,
            Some(found) => Some(format!("header {name} is {found:?}, expected {expected:?}")),
            None => Some(format!("there is no header {name}, expected {expected:?}")),
        }
    };
    let body = String::from_utf8_lossy(&request.body);
    let json = |expected: &Exact| match Exact::parse(&request.body) {
        Some(found) => json_differs("json", expected, &found),
        None if body.is_empty() => Some("the body is empty".to_owned()),
        None => Some(format!("the body is not JSON: {}", start_of(&body))),
    };
    let field = |(name, expected): &(String, String)| {
        let found = url::form_urlencoded::parse(&request.body).find(|(found, _)| found == name);
        match found {
            Some((_, found)) if found == *expected => None,
            Some((_, found)) => Some(format!("form.{name} is {found:?}, expected {expected:?}")),
            None => Some(format!("there is no field form.{name}, expected {expected:?}")),
        }
    };
    plain("method", &expect.method, request.method.as_str())
        .or_else(|| plain("url", &expect.url, &request.url))
        .or_else(|| expect.headers.iter().find_map(header))
        .or_else(|| expect.json.as_ref().and_then(json))
        .or_else(|| plain("text", &expect.text, &body))
        .or_else(|| expect.form.iter().find_map(field))
}

/// What is said of the message as a whole.
pub(super) fn parts_differ(expect: &Expect, requests: &[Request]) -> Option<String> {
    if let Some(expected) = expect.parts.filter(|expected| *expected as usize != requests.len()) {
        return Some(format!("the message has {}, expected {expected}", count(requests.len() as u64, "part")));
    }
    let texts: Vec<String> = requests.iter().flat_map(|request| readable(&request.body)).collect();
    let stands = |words: &String| texts.iter().any(|text| text.contains(words.as_str()));
    let bodies = || requests.iter().map(|request| String::from_utf8_lossy(&request.body));
    let shown = || start_of(&bodies().collect::<Vec<_>>().join(" | "));
    if let Some(words) = expect.contains.iter().find(|words| !stands(words)) {
        return Some(format!("the body does not contain {words:?}: {}", shown()));
    }
    let words = expect.lacks.iter().find(|words| stands(words))?;
    Some(format!("the body contains {words:?}, expected without: {}", shown()))
}

/// The texts that a receiver reads in a body: those in its JSON or form without their escapes, and the whole as it is.
fn readable(body: &[u8]) -> Vec<String> {
    let whole = String::from_utf8_lossy(body).into_owned();
    let mut texts = Vec::new();
    match Exact::parse(body) {
        Some(json) => texts_of(&json, &mut texts),
        None if whole.contains('=') && !whole.contains(char::is_whitespace) => {
            texts.extend(url::form_urlencoded::parse(body).map(|(_, value)| value.into_owned()));
        }
        None => {}
    }
    texts.push(whole);
    texts
}

fn texts_of(value: &Exact, texts: &mut Vec<String>) {
    match value {
        Exact::String(text) => texts.push(text.clone()),
        Exact::List(values) => values.iter().for_each(|value| texts_of(value, texts)),
        Exact::Map(members) => members.values().for_each(|value| texts_of(value, texts)),
        _ => {}
    }
}

/// Maps may have further members; everything else must be equal.
fn json_differs(path: &str, expected: &Exact, found: &Exact) -> Option<String> {
    match (expected, found) {
        (Exact::Map(expected), Exact::Map(found)) => expected.iter().find_map(|(key, expected)| {
            let path = format!("{path}.{key}");
            match found.get(key) {
                Some(found) => json_differs(&path, expected, found),
                None => Some(format!("there is no {path}, expected {expected}")),
            }
        }),
        (Exact::List(expected), Exact::List(found)) if expected.len() == found.len() => {
            let mut pairs = expected.iter().zip(found).enumerate();
            pairs.find_map(|(at, (expected, found))| json_differs(&format!("{path}[{at}]"), expected, found))
        }
        (Exact::List(expected), Exact::List(found)) => {
            Some(format!("{path} has {} entries, expected {}", found.len(), expected.len()))
        }
        (Exact::Number(a), Exact::Number(b)) if a.has_value_of(b) => None,
        _ if expected == found => None,
        _ => Some(format!("{path} is {}, expected {expected}", start_of(&found.to_string()))),
    }
}

fn start_of(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use serde_json::json;

    use super::*;

    fn request(body: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", "1".parse().unwrap());
        Request {
            method: Method::PUT,
            url: "https://h/p".into(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn said(expect: Expect, body: &str) -> String {
        differs(&expect, &request(body)).unwrap_or_default()
    }

    #[test]
    fn what_is_not_said_may_be_anything() {
        assert_eq!(said(Expect::default(), "x"), "");
        let expect = Expect {
            method: Some("PUT".into()),
            headers: vec![("X-A".into(), "1".into())],
            json: Some((&json!({"a": {"b": 1}})).into()),
            ..Expect::default()
        };
        assert_eq!(said(expect, r#"{"a": {"b": 1.0, "c": 2}, "d": 3}"#), "");
    }

    #[test]
    fn texts_are_looked_for_as_a_reader_sees_them() {
        let of = |bodies: &[&str], expect: Expect| {
            let requests: Vec<Request> = bodies.iter().map(|body| request(body)).collect();
            parts_differ(&expect, &requests).unwrap_or_default()
        };
        let contains = |text: &str| Expect { contains: vec![text.to_owned()], ..Expect::default() };
        let lacks = |text: &str| Expect { lacks: vec![text.to_owned()], ..Expect::default() };
        let json = r#"{"a": ["x \"y\"\nz"]}"#;
        assert_eq!(of(&[json], contains("x \"y\"\nz")), "");
        assert_eq!(of(&["a=%C3%B6+x&b=1"], contains("ö x")), "");
        assert_eq!(of(&["one", "two"], contains("two")), "");
        assert_eq!(of(&["one", "two"], contains("three")), "the body does not contain \"three\": one | two");
        assert_eq!(of(&["one", "two"], lacks("two")), "the body contains \"two\", expected without: one | two");
        assert_eq!(of(&[json], lacks("y")), format!("the body contains \"y\", expected without: {json}"));
        let parts = Expect { parts: Some(2), ..Expect::default() };
        assert_eq!(of(&["one", "two"], parts.clone()), "");
        assert_eq!(of(&["one"], parts), "the message has 1 part, expected 2");
    }

    #[test]
    fn a_difference_names_its_path() {
        let json = |value| Expect { json: Some(Exact::from(&value)), ..Expect::default() };
        for (expect, body, difference) in [
            (json(json!({"a": [1, {"b": "x"}]})), r#"{"a":[1,{"b":"y"}]}"#, r#"json.a[1].b is "y", expected "x""#),
            (json(json!({"a": [1]})), r#"{"a":[1,2]}"#, "json.a has 2 entries, expected 1"),
            (json(json!({"a": null})), "{}", "there is no json.a, expected null"),
            (json(json!("1")), "1", "json is 1, expected \"1\""),
            (json(json!(1)), "a=1", "the body is not JSON: a=1"),
            (Expect { method: Some("POST".into()), ..Expect::default() }, "", r#"method is "PUT", expected "POST""#),
            (Expect { text: Some("a".into()), ..Expect::default() }, "b", r#"text is "b", expected "a""#),
            (Expect { form: vec![("a".into(), "ö ".into())], ..Expect::default() }, "a=%C3%B6+", ""),
            (
                Expect { form: vec![("b".into(), "1".into())], ..Expect::default() },
                "a=1",
                "there is no field form.b, expected \"1\"",
            ),
            (
                Expect { headers: vec![("x-b".into(), "1".into())], ..Expect::default() },
                "",
                "there is no header x-b, expected \"1\"",
            ),
        ] {
            assert_eq!(said(expect, body), difference);
        }
    }
}
