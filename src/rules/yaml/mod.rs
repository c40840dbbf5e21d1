//! YAML text to a tree in which every key and value knows its place.

mod mistakes;
pub mod reader;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use crate::rules::diagnostic::{Diagnostic, Place, Source, Span};
use crate::words::limits;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands; for a block scalar, its first content character.
    pub span: Span,
    /// What it is.
    pub value: Value,
    /// How a scalar was written.
    pub style: Style,
}

/// How a scalar was written, which decides how an offset inside it maps to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bare, or not a scalar.
    Plain,
    /// In quotes.
    Quoted,
    /// `|` or `>`.
    Block,
}

/// What a node is. Numbers keep how they were written as far as JSON can.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`; `yes` and `on` are text.
    Bool(bool),
    /// A number that JSON can write.
    Number(serde_json::Number),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// The same value without places.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(yes) => (*yes).into(),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::String(text) => text.as_str().into(),
            Value::List(entries) => entries.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.name.clone(), node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The text that stands in the file: `1.50` for a number that JSON calls 1.5.
    pub fn written<'s>(&self, source: &'s Source) -> &'s str {
        source.text.get(self.span.start..self.span.end).unwrap_or_default().trim_end()
    }

    /// What it is, in the words of a person who writes YAML. Long texts are cut.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(yes) => format!("`{yes}`"),
            Value::Number(number) => format!("the number {number}"),
            Value::String(text) if text.chars().count() > 40 => {
                format!("the text {:?}…", text.chars().take(40).collect::<String>())
            }
            Value::String(text) => format!("the text {text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }
}

/// Parses one document.
///
/// # Errors
/// One diagnostic: the text is not YAML, has a duplicate key, a second document, or is beyond its bounds.
pub fn parse(source: &Source) -> Result<Node, Diagnostic> {
    source.check_size(limits::HOOK_FILE)?;
    let text = source.text.as_ref();
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { span: Span::default(), value: Value::Null, style: Style::Plain });
    }
    let raw: RawNode =
        serde_yaml::from_str_with_options(text, options()).map_err(|error| mistakes::explain(source, &error))?;
    Ok(Planter { source }.node(raw))
}

/// The place of `length` bytes at `offset` of a scalar's value. Where the value is not what stands in the file byte for
/// byte (escapes in quotes, folded lines) it is the scalar's first character.
pub fn locate(source: &Source, node: &Node, offset: usize, length: usize) -> Place {
    let Value::String(value) = &node.value else { return source.place(node.span) };
    let start = match node.style {
        Style::Block => offset_in_block(source, node, value, offset),
        Style::Plain => offset_if_verbatim(source, node.span.start, value, offset),
        Style::Quoted => offset_if_verbatim(source, node.span.start + 1, value, offset),
    };
    match start {
        Some(start) => source.place(Span { start, end: start + length }),
        None => source.place(Span { start: node.span.start, end: node.span.start }),
    }
}

fn offset_if_verbatim(source: &Source, start: usize, value: &str, offset: usize) -> Option<usize> {
    source.text.get(start..)?.starts_with(value).then_some(start + offset.min(value.len()))
}

/// A literal block is its lines without the indent; a folded one is not, unless it has a single line.
fn offset_in_block(source: &Source, node: &Node, value: &str, offset: usize) -> Option<usize> {
    let start = node.span.start;
    let indent = start - source.text[..start].rfind('\n').map_or(0, |at| at + 1);
    let mut file_lines = source.text[start - indent..].split_inclusive('\n');
    let (mut in_file, mut in_value) = (start - indent, 0);
    for value_line in value.split_inclusive('\n') {
        let file_line = file_lines.next()?;
        let text = value_line.trim_end_matches('\n');
        let stands = file_line.get(indent..).map_or("", |rest| rest.trim_end_matches(['\n', '\r']));
        if stands != text {
            return None;
        }
        if offset <= in_value + text.len() {
            return Some(in_file + indent + (offset - in_value));
        }
        in_value += value_line.len();
        in_file += file_line.len();
    }
    None
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::AsString,
        budget: serde_yaml::budget! {
            max_nodes: limits::YAML_NODES,
            max_depth: limits::YAML_DEPTH,
            flow_nesting_limit: limits::YAML_DEPTH,
            max_anchors: 64,
            max_aliases: 256,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: limits::YAML_NODES,
        },
    }
}

/// The tree as the parser gives it: places are the parser's, styles are lost.
struct RawNode(Spanned<RawValue>);

enum RawValue {
    Scalar(Value),
    List(Vec<RawNode>),
    Map(Vec<(Spanned<String>, RawNode)>),
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(RawNode)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, yes: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Bool(yes)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Number(number.into())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::Number(number.into())))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(number.to_string())))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<RawValue, E> {
        let number = serde_json::Number::from_f64(number);
        Ok(RawValue::Scalar(number.map_or_else(|| Value::String(".nan".to_owned()), Value::Number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(Value::String(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(RawValue::List(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}

/// Turns the parser's places into spans, and finds out how each scalar was written.
struct Planter<'a> {
    source: &'a Source,
}

impl Planter<'_> {
    fn node(&self, raw: RawNode) -> Node {
        let RawNode(Spanned { value, defined, .. }) = raw;
        let span = self.span(&defined);
        match value {
            RawValue::Scalar(value) => {
                let value = self.exact(span, value);
                let style = self.style(span, &value);
                Node { span, value, style }
            }
            RawValue::List(entries) => Node {
                span,
                value: Value::List(entries.into_iter().map(|entry| self.node(entry)).collect()),
                style: Style::Plain,
            },
            RawValue::Map(entries) => {
                let entries = entries.into_iter().map(|(key, entry)| {
                    let span = self.span(&key.defined);
                    (Key { name: key.value, span }, self.node(entry))
                });
                Node { span, value: Value::Map(entries.collect()), style: Style::Plain }
            }
        }
    }

    fn span(&self, location: &Location) -> Span {
        let (line, column) = (location.line() as usize, location.column() as usize);
        let start = location.span().byte_offset().map_or_else(|| self.source.offset(line, column), |at| at as usize);
        let length = location.span().byte_len().unwrap_or(location.span().len()) as usize;
        let end = (start + length).min(self.source.text.len());
        Span { start: start.min(end), end }
    }

    /// A whole number too large for JSON's common readers stays as it was written: ids must not lose digits.
    fn exact(&self, span: Span, value: Value) -> Value {
        let written = &self.source.text[span.start..span.end];
        match &value {
            Value::Number(number) if number.is_f64() && written.bytes().all(|byte| byte.is_ascii_digit()) => {
                Value::String(written.to_owned())
            }
            _ => value,
        }
    }

    fn style(&self, span: Span, value: &Value) -> Style {
        let text = &self.source.text;
        match value {
            Value::String(_) if text[span.start..].starts_with(['"', '\'']) && !self.after_block_header(span.start) => {
                Style::Quoted
            }
            Value::String(_) if self.after_block_header(span.start) => Style::Block,
            _ => Style::Plain,
        }
    }

    /// Whether a scalar that starts here is the content of a `|` or `>`: it is the first thing on its line, and the last
    /// thing before it is such a sign.
    fn after_block_header(&self, start: usize) -> bool {
        let before = &self.source.text[..start];
        let Some(line_start) = before.rfind('\n') else { return false };
        if !before[line_start..].trim().is_empty() {
            return false;
        }
        let Some(header) = before[..line_start].lines().rev().find(|line| !line.trim().is_empty()) else {
            return false;
        };
        let header = header.split(" #").next().unwrap_or(header).trim_end();
        let sign = header.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        sign.strip_suffix(['|', '>']).is_some_and(|rest| rest.is_empty() || rest.ends_with([' ', '\t']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("f.yaml", text)
    }

    fn entry<'n>(node: &'n Node, name: &str) -> &'n Node {
        let Value::Map(entries) = &node.value else { panic!("not a map") };
        &entries.iter().find(|(key, _)| key.name == name).unwrap_or_else(|| panic!("no key {name}")).1
    }

    #[test]
    fn values_are_those_of_json() {
        let text = "a: [1, 1.50, 010, 1_000, yes, no, on, null, ~, .nan, true]\nb:\nc: 12345678901234567890123\n1: x\n";
        let node = parse(&source(text)).unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!({
                "a": [1, 1.5, "010", "1_000", "yes", "no", "on", null, null, ".nan", true],
                "b": null,
                "c": "12345678901234567890123",
                "1": "x"
            })
        );
        let Value::List(entries) = &entry(&node, "a").value else { panic!() };
        assert_eq!(entries[1].written(&source(text)), "1.50");
        for empty in ["", "\n", "# only a comment\n\n  # and another\n"] {
            assert_eq!(parse(&source(empty)).unwrap().value, Value::Null, "{empty:?}");
        }
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let text = "应用: \"值\"\nb:\n  - 'it''s'\n  - plain\n";
        let file = source(text);
        let node = parse(&file).unwrap();
        let Value::Map(entries) = &node.value else { panic!() };
        assert_eq!(&text[entries[0].0.span.start..entries[0].0.span.end], "应用");
        let place = file.place(entries[0].1.span);
        assert_eq!((place.line, place.column, entries[0].1.style), (1, 5, Style::Quoted));
        let Value::List(list) = &entries[1].1.value else { panic!() };
        assert_eq!((list[0].style, list[1].style), (Style::Quoted, Style::Plain));
        assert_eq!(file.place(list[1].span).to_string(), "f.yaml:4:5");
    }

    #[test]
    fn aliases_and_merges_unfold() {
        let node = parse(&source("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n")).unwrap();
        assert_eq!(entry(&node, "c").to_json(), serde_json::json!({"b": 1}));
        assert_eq!(entry(&node, "d").to_json(), serde_json::json!({"e": 2, "b": 1}));
    }

    /// Where the `X` of a value is found again in the file.
    fn located(text: &str) -> String {
        let file = source(text);
        let node = parse(&file).unwrap();
        let value = entry(&node, "k");
        let Value::String(content) = &value.value else { panic!("not a text: {value:?}") };
        let place = locate(&file, value, content.find('X').unwrap(), 1);
        format!("{}:{}", place.line, place.column)
    }

    #[test]
    fn an_offset_in_a_value_is_found_in_the_file() {
        for (text, place) in [
            ("k: aX\n", "1:5"),
            ("k: \"aX\"\n", "1:6"),
            ("k: '值X'\n", "1:6"),
            ("a: 1\nk: |\n  one\n  two X\n", "4:7"),
            ("a: 1\nk: |-\n    one\n\n      X\n", "5:7"),
            ("k: |\r\n  one\r\n  two X\r\n", "3:7"),
            ("k: | # why\n  X\n", "2:3"),
            ("k: |\n  \"X\"\n", "2:4"),
            ("k: >\n  one X\n", "2:7"),
            // Not what stands in the file byte for byte: the scalar's first character.
            ("k: \"\\n X\"\n", "1:4"),
            ("k: 'it''s X'\n", "1:4"),
            ("k: >\n  one\n  X\n", "2:3"),
        ] {
            assert_eq!(located(text), place, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named_where_they_are() {
        for (text, code, place) in [
            ("a: 1\nb: 2\na: 3\n", "duplicate-key", "3:1"),
            ("a: {x: 1, x: 2}\n", "duplicate-key", "1:11"),
            ("a: b\n\tc: d\n", "tab", "2:1"),
            ("a:\n\tb: c\n", "tab", "2:1"),
            ("a: \"open\nb: c\nd: e\n", "quote", "1:4"),
            ("a: 'it's'\n", "quote", "1:8"),
            ("a: \"x\\qy\"\n", "quote", "1:6"),
            ("a:\n  b: 1\n   c: 2\n", "indentation", "3:4"),
            ("a:\n    b: 1\n  c: 2\n", "indentation", "3:3"),
            ("a: - b\n", "indentation", "1:4"),
            ("title: {{ x }}\n", "unquoted", "1:8"),
            ("l: [a, {{ x }}]\n", "unquoted", "1:8"),
            ("title: {% if x %}a{% endif %}\n", "unquoted", "1:8"),
            ("a: see: this\n", "unquoted", "1:4"),
            ("events: *.build\n", "unquoted", "1:9"),
            ("a: @x\n", "unquoted", "1:4"),
            ("a: 1\n---\nb: 2\n", "second-document", "2:1"),
            ("a: [1, 2\nb: 3\n", "bracket", "1:4"),
            ("a: {b: 1\nc: 3\n", "bracket", "1:4"),
            ("a: !vault x\n", "tag", "1:4"),
            ("a 1\nb: 2\n", "no-colon", "1:1"),
            ("a:b\nc: d\n", "no-colon", "1:1"),
            ("a: >x\n  b\n", "block-text", "1:4"),
            ("? [a]\n: b\n", "odd-key", "1:3"),
            ("a: 1\u{7}\n", "control-character", "1:5"),
        ] {
            let error = parse(&source(text)).unwrap_err();
            let found = error.place.clone().unwrap();
            assert_eq!((error.code, format!("{}:{}", found.line, found.column).as_str()), (code, place), "{text:?}");
            assert!(error.help.is_some(), "{text:?}");
        }
    }

    #[test]
    fn hostile_files_meet_a_bound() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (this, last) in ["b", "c", "d", "e", "f"].iter().zip(["a", "b", "c", "d", "e"]) {
            bomb += &format!("{this}: &{this} [{}]\n", [format!("*{last}").as_str(); 9].join(","));
        }
        assert_eq!(parse(&source(&bomb)).unwrap_err().code, "too-complex");
        let wide = format!("a: [{}]", "x,".repeat(limits::YAML_NODES));
        assert_eq!(parse(&source(&wide)).unwrap_err().code, "too-complex");
        let deep = format!("a: {}", "[".repeat(1000));
        assert_eq!(parse(&source(&deep)).unwrap_err().code, "too-deep");
        let large = format!("a: {}", "x".repeat(limits::HOOK_FILE));
        assert_eq!(parse(&source(&large)).unwrap_err().code, "too-large");
    }

    proptest::proptest! {
        /// Whatever stands in a file, there is an answer, and its place is in the file.
        #[test]
        fn any_text_has_an_answer(text in "[ \\-a:{}\\[\\]\"'|>#&*!%@\\n\\t应]{0,60}") {
            let file = source(&text);
            match parse(&file) {
                Ok(node) => visit(&file, &node),
                Err(error) => {
                    proptest::prop_assert!(error.help.is_some());
                    error.render(false);
                }
            }
        }
    }

    fn visit(file: &Source, node: &Node) {
        file.place(node.span);
        match &node.value {
            Value::String(text) => (0..=text.len()).for_each(|at| drop(locate(file, node, at, 1))),
            Value::List(entries) => entries.iter().for_each(|entry| visit(file, entry)),
            Value::Map(entries) => entries.iter().for_each(|(_, entry)| visit(file, entry)),
            _ => {}
        }
    }
}
