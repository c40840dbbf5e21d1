//! What is wrong, where, and the one thing to do about it, in the words of the user's field.

use std::sync::Arc;

/// A text with the name it is shown under: a hook file, the main file, a script.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as the user knows it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

/// Byte offsets into a `Source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and is probably not what was meant.
    Warning,
    /// It does not work.
    Error,
}

/// A place in a file, with the line that stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as the user knows it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// How many characters the caret underlines, at least 1.
    pub length: usize,
    /// The line itself.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A short stable name, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, one line.
    pub what: String,
    /// Where.
    pub place: Option<Place>,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// The one thing to do.
    pub help: Option<String>,
}

impl Source {
    /// A named text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The place of a span in this text.
    pub fn place(&self, _span: Span) -> Place {
        todo!()
    }
}

impl Diagnostic {
    /// An error without place or help yet.
    pub fn error(code: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, what: what.into(), place: None, notes: Vec::new(), help: None }
    }

    /// A warning without place or help yet.
    pub fn warning(code: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, what) }
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The full form, for a person at a terminal; with escapes when `color`.
    pub fn render(&self, _color: bool) -> String {
        todo!()
    }

    /// The same in one line, for the journal.
    pub fn one_line(&self) -> String {
        todo!()
    }
}
