//! What is wrong, where, and the one thing to do about it, in the words of the user's field.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Padding, Renderer, Snippet};

use crate::words::conceal;

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

/// The code of a diagnostic about something that goes beyond a bound, whatever the event: it is refused when it is loaded.
pub const TOO_MUCH: &str = "too-much";

/// The code of a template that fails on an event.
pub const RENDER: &str = "render";

/// A place in a file, with the line that stands there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

    /// The bytes of a file, which must be UTF-8 and at most `limit` bytes.
    ///
    /// # Errors
    /// They are not.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: &[u8], limit: usize) -> Result<Self, Diagnostic> {
        let name = name.into();
        refuse_large(&name, bytes.len(), limit)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let good = &bytes[..error.valid_up_to()];
                let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let place = Place {
                    file: name.to_string(),
                    line: good.iter().filter(|byte| **byte == b'\n').count() + 1,
                    column: String::from_utf8_lossy(&good[line_start..]).chars().count() + 1,
                    length: 1,
                    text: String::from_utf8_lossy(
                        bytes[line_start..].split(|byte| *byte == b'\n').next().unwrap_or(&[]),
                    )
                    .into_owned(),
                };
                Err(Diagnostic::error("not-utf8", "this is not UTF-8")
                    .at(place)
                    .help("save the file as UTF-8; one in GB18030 is turned with iconv -f GB18030 -t UTF-8"))
            }
        }
    }

    /// Refuses a text of more than `limit` bytes.
    ///
    /// # Errors
    /// It has more.
    pub fn check_size(&self, limit: usize) -> Result<(), Diagnostic> {
        refuse_large(&self.name, self.text.len(), limit)
    }

    /// The place of a span in this text. A span over several lines is shown up to the end of its first.
    pub fn place(&self, span: Span) -> Place {
        let start = self.boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let text = self.text[line_start..line_end].trim_end_matches('\r');
        let end = self.boundary(span.end).clamp(start, line_end);
        Place {
            file: self.name.to_string(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            length: self.text[start..end].trim_end().chars().count().max(1),
            text: text.to_owned(),
        }
    }

    /// The place of a line and column, both counted from 1, as a parser reports them.
    pub fn place_at(&self, line: usize, column: usize) -> Place {
        let at = self.offset(line, column);
        self.place(Span { start: at, end: at })
    }

    /// The byte offset of a line and column, both counted from 1 (columns in characters).
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let line_start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum::<usize>()
            .min(self.text.len());
        let line_text = self.text[line_start..].split('\n').next().unwrap_or_default();
        line_start + line_text.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
    }

    fn boundary(&self, mut at: usize) -> usize {
        at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

fn refuse_large(name: &str, length: usize, limit: usize) -> Result<(), Diagnostic> {
    if length <= limit {
        return Ok(());
    }
    Err(Diagnostic::error("too-large", format!("the file has {length} bytes, more than the {limit} that are read"))
        .at(Place::of_file(name))
        .help("split it into several files, one hook each, or move bulky data out of it"))
}

impl Place {
    /// A file as a whole.
    pub fn of_file(file: &str) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1, length: 1, text: String::new() }
    }

    /// The same place with what stands there, to the end of the line, replaced by `***`: for values that are secrets.
    #[must_use]
    pub fn masked(mut self) -> Self {
        let before: String = self.text.chars().take(self.column - 1).collect();
        self.text = before + "***";
        self.length = 3;
        self
    }

    /// The same place without the line that stands there.
    #[must_use]
    pub fn without_text(mut self) -> Self {
        self.text = String::new();
        self
    }

    /// The bytes of the line, as it is shown, that the caret underlines.
    fn underlined(&self, line: &str) -> Range<usize> {
        let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        byte(self.column - 1)..byte(self.column - 1 + self.length)
    }
}

/// A text without the control characters beyond ASCII, which the renderer leaves alone: U+009B begins an escape in some
/// terminals, and what a file or an event said must not. Each is one character before and after, so columns stay.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if ('\u{80}'..='\u{9f}').contains(&c) { '\u{fffd}' } else { c }).collect()
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl Severity {
    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
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

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The full form, for a person at a terminal; with escapes when `color`.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        // What a file or an event said may hold terminal escapes, and credentials.
        let clean = |text: &str| harmless(&annotate_snippets::normalize_untrusted_str(&conceal::sentence(text)));
        let mut group = level.primary_title(clean(&self.what)).id(self.code).elements(None::<Padding>);
        let line = self.place.as_ref().map(|place| harmless(&conceal::line(&place.text))).unwrap_or_default();
        if let Some(place) = &self.place {
            group = if line.is_empty() {
                group.element(Origin::path(&place.file).line(place.line).char_column(place.column))
            } else {
                let caret = AnnotationKind::Primary.span(place.underlined(&line));
                group.element(Snippet::source(&*line).line_start(place.line).path(&place.file).annotation(caret))
            };
        }
        let notes = self.notes.iter().map(|note| Level::NOTE.message(clean(note)));
        let help = self.help.iter().map(|help| Level::HELP.message(clean(help)));
        let report = [group.elements(notes.chain(help))];
        if color { Renderer::styled().render(&report) } else { Renderer::plain().render(&report) }
    }

    /// The same in one line, for the journal.
    pub fn one_line(&self) -> String {
        let mut line = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        line.push_str(&format!("{}[{}]: {}", self.severity.word(), self.code, conceal::sentence(&self.what)));
        if let Some(help) = &self.help {
            line.push_str(&format!(" (help: {})", conceal::sentence(help)));
        }
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The same as an object, for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.word(),
            "code": self.code,
            "what": conceal::sentence(&self.what),
            "file": self.place.as_ref().map(|place| &place.file),
            "line": self.place.as_ref().map(|place| place.line),
            "column": self.place.as_ref().map(|place| place.column),
            "notes": self.notes.iter().map(|note| conceal::sentence(note)).collect::<Vec<_>>(),
            "help": self.help.as_deref().map(conceal::sentence),
            "text": self.render(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "events: [a]\nplatfrom: dingtalk\n应用: \"值\"\n";

    fn source() -> Source {
        Source::new("hooks.d/a.yaml", TEXT)
    }

    #[test]
    fn the_full_form() {
        let at = TEXT.find("platfrom").unwrap();
        let shown = Diagnostic::error("unknown-key", "there is no key `platfrom`")
            .at(source().place(Span { start: at, end: at + 8 }))
            .note("a note")
            .help("did you mean `platform`?")
            .render(false);
        assert_eq!(
            shown,
            "error[unknown-key]: there is no key `platfrom`\n \
             --> hooks.d/a.yaml:2:1\n  \
               |\n\
             2 | platfrom: dingtalk\n  \
               | ^^^^^^^^\n  \
               |\n  \
               = note: a note\n  \
               = help: did you mean `platform`?"
        );
    }

    #[test]
    fn one_line_and_json() {
        let found = Diagnostic::warning("w", "what\nnow\u{1b}[2J").at(source().place_at(3, 5)).help("do it");
        assert_eq!(found.one_line(), "hooks.d/a.yaml:3:5: warning[w]: what now [2J (help: do it)");
        assert_eq!(found.to_json()["line"], 3);
        assert_eq!(found.to_json()["text"], found.render(false));
        assert!(!found.render(false).contains('\u{1b}'), "a file cannot send escapes to the terminal");
        assert!(found.render(true).contains('\u{1b}'));
        let place =
            Place { text: "a: \u{9b}2J\u{1b}[2J b".to_owned(), line: 1, column: 12, ..Place::of_file("a.yaml") };
        let found = Diagnostic::error("w", "\u{9b}2J").at(place).note("\u{90}x").help("\u{9d}0;x\u{9c}");
        assert!(!found.render(false).contains(|c: char| c.is_control() && c != '\n'), "{:?}", found.render(false));
    }

    #[test]
    fn columns_count_characters() {
        let at = TEXT.find('值').unwrap();
        let place = source().place(Span { start: at, end: at + 3 });
        assert_eq!((place.line, place.column, place.length), (3, 6, 1));
        assert_eq!(source().offset(3, 6), at);
        let beyond = source().place(Span { start: 999, end: 1000 });
        assert_eq!((beyond.line, beyond.column), (4, 1));
    }

    #[test]
    fn a_masked_line_keeps_its_column() {
        let at = TEXT.find("dingtalk").unwrap();
        let place = source().place(Span { start: at, end: at + 8 }).masked();
        assert_eq!((place.column, place.text.as_str()), (11, "platfrom: ***"));
    }

    #[test]
    fn bytes_that_are_not_utf8() {
        let error = Source::from_bytes("a.yaml", b"x: 1\ny: \xb9\xfa\n", 100).unwrap_err();
        assert_eq!(error.code, "not-utf8");
        let place = error.place.unwrap();
        assert_eq!((place.line, place.column), (2, 4));
        assert_eq!(Source::from_bytes("a.yaml", b"abc", 2).unwrap_err().code, "too-large");
        assert!(Source::from_bytes("a.yaml", b"abc", 3).is_ok());
    }
}
