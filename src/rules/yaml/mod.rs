//! YAML text to a tree in which every key and value knows its place.

pub mod edit;
mod mistakes;
pub mod reader;
pub mod size;
#[cfg(test)]
mod tests;
pub mod write;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use crate::rules::diagnostic::{Diagnostic, Place, Source, Span};
use crate::words::json::{Exact, Number};
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

    /// The same value with its numbers as they are written in the file.
    pub fn to_exact(&self, source: &Source) -> Exact {
        match &self.value {
            Value::List(entries) => Exact::List(entries.iter().map(|entry| entry.to_exact(source)).collect()),
            Value::Map(entries) => {
                Exact::Map(entries.iter().map(|(key, node)| (key.name.clone(), node.to_exact(source))).collect())
            }
            Value::Number(number) => {
                let written =
                    Number::read(self.written(source)).filter(|written| Some(written.as_f64()) == number.as_f64());
                Exact::Number(written.unwrap_or_else(|| number.into()))
            }
            // More digits than a number holds: `exact` below has kept them.
            Value::String(text) if self.style == Style::Plain && self.written(source) == text => {
                let number = Number::read(text).filter(|number| number.is_whole() && text.parse::<u64>().is_err());
                number.map_or_else(|| text.clone().into(), Exact::Number)
            }
            _ => Exact::from(&self.to_json()),
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

/// A block is its lines without the indent, joined by line breaks (literal) or spaces (folded). Where a folded block
/// is more than that (paragraphs, indented lines) there is no answer.
fn offset_in_block(source: &Source, node: &Node, value: &str, offset: usize) -> Option<usize> {
    let start = node.span.start;
    let indent = start - source.text[..start].rfind('\n').map_or(0, |at| at + 1);
    let (mut in_file, mut in_value) = (start - indent, 0);
    for file_line in source.text[in_file..].split_inclusive('\n') {
        let text = file_line.get(indent..).map_or("", |rest| rest.trim_end_matches(['\n', '\r']));
        let rest = value.get(in_value..)?.strip_prefix(text)?;
        if !rest.is_empty() && !rest.starts_with(['\n', ' ']) {
            return None;
        }
        if offset <= in_value + text.len() {
            return Some(in_file + indent + (offset - in_value));
        }
        in_value += text.len() + 1;
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
