//! YAML text to a tree in which every key and value knows its place.

use crate::rules::diagnostic::{Diagnostic, Source, Span};

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
        todo!()
    }
}

/// Parses one document.
///
/// # Errors
/// One diagnostic: the text is not YAML, has a duplicate key, a second document, or is beyond its bounds.
pub fn parse(_source: &Source) -> Result<Node, Diagnostic> {
    todo!()
}
