//! What a proving process is told and what it says: JSON, the order whole, the answers line by line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::edges::proof::{ScriptFor, Verdict};
use crate::rules::diagnostic::{Diagnostic, Place, RENDER, Source, TOO_MUCH};
use crate::rules::fragile;
use crate::words::event::Event;

/// Everything that a child is told.
#[derive(Debug, Serialize)]
pub(super) struct Order<'a> {
    pub(super) main: &'a Option<String>,
    pub(super) scripts: &'a [Text],
    pub(super) work: &'a [Work],
    /// Whether each step is to be told.
    pub(super) alone: bool,
}

/// The same, as it arrives.
#[derive(Debug, Deserialize)]
pub(super) struct Given {
    pub(super) main: Option<String>,
    pub(super) scripts: Vec<Text>,
    pub(super) work: Vec<Work>,
    pub(super) alone: bool,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Text {
    /// The name of a platform.
    pub(super) name: String,
    /// The path as the user knows it.
    shown: String,
    text: String,
}

/// One piece of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Work {
    Script(ScriptFor, Text),
    Hook(Text),
    /// Which values could break a hook that was proven.
    Fragile(Text),
    Event(Text, EventText),
}

/// An event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventText {
    id: String,
    kind: String,
    source: String,
    time: Timestamp,
    content_type: String,
    raw: String,
    given: Option<String>,
}

/// One line of a child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    Step(String, Option<Place>),
    Fine(Option<String>),
    Unread,
    Refused(Vec<Finding>),
    Warned(Vec<Finding>),
}

/// A diagnostic about something that goes beyond a bound, or that a value could break.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Finding {
    code: String,
    what: String,
    place: Option<Place>,
    notes: Vec<String>,
    help: Option<String>,
}

impl Text {
    pub(super) fn new(name: &str, source: &Source) -> Self {
        Self { name: name.to_owned(), shown: source.name.to_string(), text: source.text.to_string() }
    }

    pub(super) fn source(&self) -> Source {
        Source::new(self.shown.as_str(), self.text.as_str())
    }
}

impl Work {
    fn text(&self) -> &Text {
        match self {
            Self::Script(_, text) | Self::Hook(text) | Self::Fragile(text) | Self::Event(text, _) => text,
        }
    }

    pub(super) fn shown(&self) -> &str {
        &self.text().shown
    }

    pub(super) fn size(&self) -> usize {
        let text = self.text();
        text.name.len() + text.shown.len() + text.text.len()
    }
}

impl EventText {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            id: event.id.clone(),
            kind: event.kind.clone(),
            source: event.source.clone(),
            time: event.time,
            content_type: event.content_type.clone(),
            raw: BASE64.encode(&event.raw),
            given: event.given_data().map(str::to_owned),
        }
    }

    pub(super) fn event(&self) -> Event {
        let raw = BASE64.decode(&self.raw).unwrap_or_default();
        let mut event = Event::new(self.kind.as_str(), Some(self.id.clone()), raw, self.time);
        event.source.clone_from(&self.source);
        event.content_type.clone_from(&self.content_type);
        event.give_data(self.given.clone());
        event
    }
}

impl Said {
    pub(super) fn refused(found: Vec<Diagnostic>) -> Self {
        Self::Refused(found.into_iter().map(Finding::of).collect())
    }

    pub(super) fn warned(found: Vec<Diagnostic>) -> Self {
        Self::Warned(found.into_iter().map(Finding::of).collect())
    }

    pub(super) fn into_verdict(self) -> Verdict {
        match self {
            Self::Fine(platform) => Verdict::Fine(platform),
            Self::Unread | Self::Step(..) => Verdict::Unread,
            Self::Refused(found) => Verdict::Refused(found.into_iter().map(Finding::into_error).collect()),
            Self::Warned(found) => Verdict::Warned(found.into_iter().filter_map(Finding::into_warning).collect()),
        }
    }
}

impl Finding {
    fn of(found: Diagnostic) -> Self {
        let Diagnostic { code, what, place, notes, help, .. } = found;
        Self { code: code.to_owned(), what, place, notes, help }
    }

    fn into_error(self) -> Diagnostic {
        let code = if self.code == RENDER { RENDER } else { TOO_MUCH };
        let found = Diagnostic::error(code, self.what);
        Diagnostic { place: self.place, notes: self.notes, help: self.help, ..found }
    }

    fn into_warning(self) -> Option<Diagnostic> {
        let code = fragile::CODES.into_iter().find(|code| *code == self.code)?;
        let found = Diagnostic::warning(code, self.what);
        Some(Diagnostic { place: self.place, notes: self.notes, help: self.help, ..found })
    }
}
