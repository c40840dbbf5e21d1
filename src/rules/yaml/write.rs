//! A value as YAML that a person would write: short things on one line, long ones below each other, quotes where they are
//! needed.

use std::fmt::Write;

use crate::words::json::{Exact, Members};

/// A line is not made longer than this.
const WIDTH: usize = 120;

/// How deep one level stands below the other.
const STEP: usize = 2;

/// Words that some reader of YAML takes for something else than a text.
const WORDS: [&str; 10] = ["true", "false", "null", "yes", "no", "on", "off", "nan", "inf", "infinity"];

/// On one line, as it may stand between braces as well.
pub fn flow(value: &Exact) -> String {
    match value {
        Exact::Map(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", text(key), flow(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Exact::List(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Exact::String(said) => text(said),
        other => other.to_string(),
    }
}

/// What stands behind the colon of a key that begins in this column, with the space or the line break in front of it:
/// on the same line if it fits.
pub fn behind_key(key: &str, value: &Exact, column: usize) -> String {
    let line = flow(value);
    let fits = column + text(key).chars().count() + 2 + line.chars().count() <= WIDTH;
    match value {
        Exact::Map(map) if !fits && !map.is_empty() => format!("\n{}", members(map, column + STEP)),
        Exact::List(list) if !fits && !list.is_empty() => format!("\n{}", entries(list, column + STEP)),
        _ => format!(" {line}"),
    }
}

/// The same below the key in any case.
pub fn below_key(value: &Exact, column: usize) -> String {
    match value {
        Exact::Map(map) if !map.is_empty() => format!("\n{}", members(map, column + STEP)),
        Exact::List(list) if !list.is_empty() => format!("\n{}", entries(list, column + STEP)),
        other => format!(" {}", flow(other)),
    }
}

/// The members of a map, one a line, each in this column.
pub fn members(map: &Members, column: usize) -> String {
    let lines =
        map.iter().map(|(key, value)| format!("{:column$}{}:{}", "", text(key), behind_key(key, value, column)));
    lines.collect::<Vec<_>>().join("\n")
}

fn entries(list: &[Exact], column: usize) -> String {
    let entry = |value: &Exact| {
        let line = flow(value);
        match value {
            Exact::Map(map) if column + STEP + line.chars().count() > WIDTH && !map.is_empty() => {
                format!("{:column$}- {}", "", members(map, column + STEP).trim_start())
            }
            _ => format!("{:column$}- {line}", ""),
        }
    };
    list.iter().map(entry).collect::<Vec<_>>().join("\n")
}

/// A text, in quotes unless every reader takes it for the same text without.
pub fn text(said: &str) -> String {
    if is_plain(said) { said.to_owned() } else { quoted(said) }
}

fn is_plain(said: &str) -> bool {
    let begins = said.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_' || first == '/');
    let harmless = |c: char| c.is_alphanumeric() || " _-./+=@$()!?;'*<>%".contains(c);
    if is_duration(said) {
        return true;
    }
    begins && !said.ends_with(' ') && said.chars().all(harmless) && !WORDS.contains(&said.to_lowercase().as_str())
}

/// `90s`, `1h30m`: begins with a digit, and is no number for anybody.
fn is_duration(said: &str) -> bool {
    let mut rest = said;
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let behind = ["ms", "s", "m", "h", "d"].iter().find_map(|known| unit.strip_prefix(known));
        match behind {
            Some(behind) if unit.len() < rest.len() => rest = behind,
            _ => return false,
        }
    }
    !said.is_empty()
}

/// In double quotes, with everything escaped that nobody would see.
fn quoted(said: &str) -> String {
    let mut out = String::from("\"");
    for c in said.chars() {
        // Writing into a text does not fail.
        let _written = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if is_unseen(c) && u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)),
            c if is_unseen(c) => write!(out, "\\U{:08x}", u32::from(c)),
            c => out.write_char(c),
        };
    }
    out.push('"');
    out
}

/// Control characters, blanks of other kinds, marks of direction, and what YAML does not allow to stand for itself.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::diagnostic::Source;
    use crate::rules::yaml::parse;

    fn json(text: &str) -> Exact {
        Exact::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_are_quoted_where_somebody_could_take_them_for_something_else() {
        for plain in [
            "POST",
            "disk full on db1",
            "应用 更新",
            "/in/x",
            "it's",
            "Bearer s3cret-token",
            "a@b.c",
            "n",
            "1m30s",
            "500ms",
        ] {
            assert_eq!(text(plain), plain, "{plain}");
        }
        for other in [
            "", " a", "a ", "yes", "No", "12", "1.0", "~", "a: b", "a #b", "[a", "x,y", "@all", "-", "a:b", "<b>",
            "1e5", "1s2",
        ] {
            assert_eq!(text(other), format!("{other:?}"), "{other}");
        }
        assert_eq!(text("a\nb\u{200b}\u{7f}\"\\\u{e0041}"), "\"a\\nb\\u200b\\u007f\\\"\\\\\\U000e0041\"");
    }

    #[test]
    fn what_does_not_fit_on_a_line_stands_below() {
        let short = json(r#"{"a": {"b": [1, 1.50, null, true]}}"#);
        assert_eq!(behind_key("expect", &short, 2), " {a: {b: [1, 1.50, null, true]}}");
        let long =
            json(&format!(r#"{{"url": "x", "json": {{"t": "{}", "l": [{{"k": 1}}], "e": []}}}}"#, "w".repeat(110)));
        let expected =
            format!("\n    url: x\n    json:\n      t: {}\n      l: [{{k: 1}}]\n      e: []", "w".repeat(110));
        assert_eq!(behind_key("expect", &long, 2), expected);
    }

    fn value() -> impl Strategy<Value = Exact> {
        let text = prop_oneof![any::<String>(), "[a-z:#,'\"{}\\[\\] \\n\\t-]{0,12}", "[yntf][oaur]?[eul]*"];
        let leaf = prop_oneof![
            Just(Exact::Null),
            any::<bool>().prop_map(Exact::Bool),
            any::<i64>().prop_map(|number| Exact::Number(number.into())),
            text.prop_map(Exact::String),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let key =
                prop_oneof!["[a-z]{1,8}", "[ -~]{1,6}", any::<String>().prop_filter("a merge", |key| key != "<<")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Exact::List),
                prop::collection::vec((key, inner), 0..5).prop_map(|members| Exact::Map(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in value(), column in 0_usize..3) {
            for written in [behind_key("k", &value, column), below_key(&value, column), format!(" {}", flow(&value))] {
                let source = Source::new("f.yaml", format!("{:column$}k:{written}\n{:column$}z: 1\n", "", ""));
                let node = parse(&source).unwrap_or_else(|found| panic!("{}\n{}", source.text, found.render(false)));
                let read = node.to_exact(&source);
                prop_assert_eq!(read.get("k"), Some(&value), "{}", source.text);
            }
        }
    }
}
