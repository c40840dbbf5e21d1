//! An operator's condition on deliveries (`--where`), and what a condition looked at (`explain`).

use std::sync::Arc;

use minijinja::value::{Object, Value};

use super::leaf::{self, FaultKind};
use super::scope::{Needs, Root};
use super::{Condition, Expression};
use crate::rules::diagnostic::{Diagnostic, Place};
use crate::words::event::Event;
use crate::words::limits;

/// Names that a selection has besides those of a `when`; they win over the event's.
const OWN: [&str; 3] = ["why", "attempts", "outcome"];

/// A condition on a delivery: what a `when` sees of its event, and `why`, `attempts`, `outcome`.
pub struct Selection {
    expression: Expression<'static, 'static>,
    needs: Needs,
}

/// What it is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its hook.
    pub hook: &'a str,
    /// Why it waits or is dead.
    pub why: &'a str,
    /// Attempts that counted.
    pub attempts: u32,
    /// What became of it.
    pub outcome: &'a str,
}

impl Selection {
    /// Compiles an expression that somebody typed.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub fn compile(text: &str) -> Result<Self, Box<Diagnostic>> {
        let place = |at: Option<std::ops::Range<usize>>| {
            let at = at.unwrap_or(0..text.len());
            let before = text.get(..at.start).unwrap_or_default().chars().count();
            let length = text.get(at).map_or(1, |part| part.chars().count()).max(1);
            Place { file: "--where".to_owned(), line: 1, column: before + 1, length, text: text.to_owned() }
        };
        if text.trim().is_empty() || text.contains('\n') {
            let what = "a condition is one expression on one line";
            return Err(Box::new(Diagnostic::error("condition", what).help("for example: data.app == \"shop\"")));
        }
        let (expression, inspection, variables) = leaf::compile_condition(text).map_err(|fault| {
            let (what, help) = match fault.kind {
                FaultKind::Wrong { what, help } => (what, help),
                FaultKind::TooMuch(what) => (what, None),
                FaultKind::Undefined(path) => (format!("`{}` is not known", path.unwrap_or_default()), None),
            };
            let mut found = Diagnostic::error("condition", what).at(place(fault.at));
            found.help = help;
            Box::new(found)
        })?;
        if let Some(problem) = inspection.problems.first() {
            let found = Diagnostic::error("condition", problem.what.clone()).at(place(Some(problem.at.clone())));
            return Err(Box::new(found));
        }
        if let Some((_, at)) = inspection.secrets.first() {
            let what = "a condition cannot read secrets";
            return Err(Box::new(Diagnostic::error("condition", what).at(place(Some(at.clone())))));
        }
        let mut needs = Needs::default();
        needs.add(variables);
        Ok(Self { expression, needs })
    }

    /// Whether it is true of a delivery. Where it cannot be answered, it is not.
    pub fn holds(&self, of: Candidate<'_>) -> bool {
        let root = Root::value(of.event, of.hook, None, &self.needs, Vec::new());
        let own = [of.why.into(), of.attempts.into(), of.outcome.into()];
        leaf::holds(&self.expression, Value::from_object(Choice { root, own })).unwrap_or(false)
    }
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection").field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// The root of a `when`, with our own names before it.
#[derive(Debug)]
struct Choice {
    root: Value,
    own: [Value; OWN.len()],
}

impl Object for Choice {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        match OWN.iter().position(|own| *own == name) {
            Some(index) => Some(self.own[index].clone()),
            None => self.root.get_attr(name).ok().filter(|value| !value.is_undefined()),
        }
    }
}

impl Condition {
    /// The fields that it names, each with what the event has there, as JSON and cut where it is long. `None`: nothing.
    pub fn values(&self, event: &Event, hook: &str) -> Vec<(String, Option<String>)> {
        let root = Root::value(event, hook, None, &self.needs, Vec::new());
        let mut paths = self.variables();
        paths.sort();
        let value = |path: &str| {
            let found = path.split('.').try_fold(root.clone(), |value, part| value.get_attr(part).ok());
            let found = found.filter(|value| !value.is_undefined())?;
            let text = match found.as_str() {
                Some(text) => serde_json::Value::from(text).to_string(),
                None => serde_json::to_string(&found).unwrap_or_else(|_| found.to_string()),
            };
            Some(cut(text))
        };
        paths.into_iter().map(|path| (path.clone(), value(&path))).collect()
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(limits::EXPLAINED_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn event(data: &str) -> Event {
        Event::new("build.done", Some("e1".to_owned()), data.to_owned(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn deliveries_are_chosen_by_event_and_record() {
        let event = event(r#"{"app": "shop", "size": 7, "why": "mine", "tags": ["a", "b"]}"#);
        let of = Candidate { event: &event, hook: "ops", why: "410 Gone", attempts: 3, outcome: "dead" };
        for (text, holds) in [
            ("data.app == 'shop'", true),
            ("app == 'shop' and size > 6", true),
            ("event.type == 'build.done' and hook == 'ops'", true),
            ("'410' in why", true),
            ("why == data.why", false),
            ("attempts >= 3 and outcome == 'dead'", true),
            ("data.nothing.at.all == 1", false),
            ("'b' in data.tags", true),
        ] {
            assert_eq!(Selection::compile(text).unwrap().holds(of), holds, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        for text in ["", "data.app ==", "{{ data.app }}", "a\nb", "secret('x') == 'y'", "data.app | nofilter"] {
            let found = Selection::compile(text).unwrap_err();
            assert_eq!(found.code, "condition", "{text}");
            assert!(!found.what.contains("minijinja"), "{found:?}");
        }
        let found = Selection::compile("data.app = 'shop'").unwrap_err();
        assert!(found.place.as_ref().is_some_and(|place| place.column >= 10), "{found:?}");
    }
}
