//! `k=v` and `k:=json` on the command line become an event's data.

use crate::cli::exit::{Code, Exit};
use crate::words::json::{Exact, Members};

/// One object of all fields. A dot in a key makes an object inside, `\.` is a dot.
///
/// # Errors
/// A field without `=`, JSON that is none, or a key that is set twice.
pub(crate) fn object(fields: &[String]) -> Result<Exact, Exit> {
    let mut root = Members::new();
    for field in fields {
        let (key, value) = parse(field)?;
        insert(&mut root, &path(key), value).map_err(|()| {
            Exit::new(Code::Usage, format!("`{field}`: {key} is set already, or is part of another field"))
        })?;
    }
    Ok(Exact::Map(root))
}

fn parse(field: &str) -> Result<(&str, Exact), Exit> {
    let (left, right) = field.split_once('=').ok_or_else(|| {
        Exit::new(Code::Usage, format!("`{field}` is no field"))
            .help("write KEY=TEXT, or KEY:=JSON for numbers, lists and true or false")
    })?;
    let (key, value) = match left.strip_suffix(':') {
        Some(key) => {
            let value = Exact::parse(right.as_bytes()).ok_or_else(|| {
                Exit::new(Code::BadEvent, format!("`{field}`: `{right}` is not JSON"))
                    .help(format!("for text write {key}={right}"))
            })?;
            (key, value)
        }
        None => (left, Exact::String(right.to_owned())),
    };
    if key.is_empty() {
        return Err(Exit::new(Code::Usage, format!("`{field}` has no key before the `=`")));
    }
    Ok((key, value))
}

fn path(key: &str) -> Vec<String> {
    let mut path = vec![String::new()];
    let mut chars = key.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'.') => {
                path.last_mut().expect("never empty").push(chars.next().unwrap_or('.'))
            }
            '.' => path.push(String::new()),
            c => path.last_mut().expect("never empty").push(c),
        }
    }
    path
}

fn insert(map: &mut Members, path: &[String], value: Exact) -> Result<(), ()> {
    let (first, rest) = path.split_first().ok_or(())?;
    if rest.is_empty() {
        return match map.insert(first.clone(), value) {
            None => Ok(()),
            Some(_) => Err(()),
        };
    }
    match map.entry(first.clone()).or_insert_with(|| Exact::Map(Members::new())) {
        Exact::Map(inner) => insert(inner, rest, value),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(fields: &[&str]) -> Result<String, Code> {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        object(&fields).map(|object| object.to_string()).map_err(|exit| exit.code())
    }

    #[test]
    fn fields_become_json_in_the_order_written() {
        for (fields, json) in [
            (&[][..], "{}"),
            (&["name=App", "build:=7"], r#"{"name":"App","build":7}"#),
            (&["text=a=b:=c"], r#"{"text":"a=b:=c"}"#),
            (&["empty="], r#"{"empty":""}"#),
            (&["n=7"], r#"{"n":"7"}"#),
            (&["n:=1.10", "id:=123456789012345678901"], r#"{"n":1.10,"id":123456789012345678901}"#),
            (&["z=1", "a=2"], r#"{"z":"1","a":"2"}"#),
            (&["list:=[1, \"x\"]", "no:=null"], r#"{"list":[1,"x"],"no":null}"#),
            (&["app.name=App", "app.version.label=2"], r#"{"app":{"name":"App","version":{"label":"2"}}}"#),
            (&["app:={\"name\":1}", "app.more=x"], r#"{"app":{"name":1,"more":"x"}}"#),
            (&[r"example\.com=up"], r#"{"example.com":"up"}"#),
            (&["url=https://example.com/?q=1"], r#"{"url":"https://example.com/?q=1"}"#),
            (&["big:=12345678901234567890"], r#"{"big":12345678901234567890}"#),
        ] {
            assert_eq!(data(fields).as_deref(), Ok(json), "{fields:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (fields, code) in [
            (&["name"][..], Code::Usage),
            (&["=x"], Code::Usage),
            (&[":=1"], Code::Usage),
            (&["a=1", "a=2"], Code::Usage),
            (&["a=1", "a.b=2"], Code::Usage),
            (&["a.b=1", "a=2"], Code::Usage),
            (&["a:=yes"], Code::BadEvent),
            (&["a:="], Code::BadEvent),
        ] {
            assert_eq!(data(fields), Err(code), "{fields:?}");
        }
    }
}
