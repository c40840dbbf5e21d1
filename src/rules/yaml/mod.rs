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
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<serde_json::Map<_, _>>().into()
            }
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
    let raw: RawNode = serde_yaml::from_str_with_options(text, options()).map_err(|error| mistakes::explain(source, &error))?;
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
        let Some(header) = before[..line_start].lines().rev().find(|line| !line.trim().is_empty()) else { return false };
        let header = header.split(" #").next().unwrap_or(header).trim_end();
        let sign = header.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '+');
        sign.strip_suffix(['|', '>']).is_some_and(|rest| rest.is_empty() || rest.ends_with([' ', '\t']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn probe() {
        let docs = [
            "a: |\n  x {{ y }}\n   z\n\n  w\nb: >-\n  folded\n  text\nc: \"q\\n{{\"\nd: 'it''s'\ne: plain {{ x }}\nf: [1, 1.50, 0x10, 010, 1_000, yes, null, ~, .nan, 1e3]\ng:\nh: 12345678901234567890123\n应用: 值 x\n1: 2\ntrue: 3\n",
            "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n",
            "a: 1\nb: 2\na: 3\n",
            "a: b\n\tc: d\n",
            "a:\n\tb: c\n",
            "a: \"unterminated\nb: c\nd: e\n",
            "a: 'unterminated\nb: c\n",
            "a:\n  b: 1\n   c: 2\n",
            "a:\n    b: 1\n  c: 2\n",
            "title: {{ data.title }}\n",
            "title: {{ data.title }} x\n",
            "title: {{ data.title | default('x') }}: y\n",
            "options:\n  title: {{ data.title }} and {{ data.b }}\n  url: x\n",
            "title: {% if x %}a{% endif %}\n",
            "a: b: c\n",
            "a: see: this\n",
            "a: 1\n---\nb: 2\n",
            "h: {A: Bearer {{ x }}, b: 2}\nc: d\n", "l: [{{ x }}, b]\n", "l:\n  - {{ x }} y\n", "a: {x: 1, x: 2}\n", "a: \"x {{ y }}\nb: 1\n", "m: a\n  b: c\n", "a: 'it's'\n", 
            "a: [1, 2\nb: 3\n",
            "a: {b: 1\nc: 3\n",
            "a: *nope\n",
            "a: !foo bar\n",
            "a: @x\n",
            "a: `x`\n",
            "a: %x\n",
            "- a\nb: c\n",
            "just text\n",
            "a 1\nb: 2\n",
            "a: 1\nb 2\nc: 3\n",
            "a: \"x\\qy\"\n",
            "a: \"x\" y\n",
            "a: |\n  x\n y\n",
            "? [a]\n: b\n",
            "{a: 1}: 2\n",
            "a: 1\u{7}\n",
            "a: [x\n",
            "a: *\n",
            "events: *.build\n",
            "events: [*.build]\n",
            "a: - b\n",
            "a:b\nc: d\n",
            "a: >x\n  b\n",
            "\u{feff}a: 1\n",
            "a: 1\r\nb: |\r\n  x\r\n  y {{\r\n",
            "%YAML 1.1\n---\na: 1\n",
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &e [*e,*e,*e,*e,*e,*e,*e,*e]\n",
        ];
        for doc in docs.iter().map(|d| d.to_string()).chain([format!("a: {}", "[".repeat(1000)), format!("a: [{}]", "x,".repeat(20001))]) {
            let source = Source::new("f", doc.clone());
            println!("=== {}", &doc.chars().take(200).collect::<String>());
            match parse(&source) {
                Ok(node) => show(&source, &node, 0),
                Err(e) => println!("ERR {}", e.render(false)),
            }
        }
        panic!();
    }
    fn show(source: &Source, node: &Node, depth: usize) {
        let t = &source.text[node.span.start..node.span.end];
        match &node.value {
            Value::Map(m) => for (k, v) in m { println!("{:depth$}key {:?} @{:?}", "", k.name, &source.text[k.span.start..k.span.end]); show(source, v, depth+2) },
            Value::List(m) => { println!("{:depth$}list {t:?}", ""); for v in m { show(source, v, depth+2) } },
            v => println!("{:depth$}{v:?} {:?} {t:?}", "", node.style),
        }
    }
}
