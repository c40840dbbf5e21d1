//! Trees of templated leaves: a leaf that is exactly one `{{ expression }}` keeps its type, every other stays text.
//!
//! The kind of an option decides how what is interpolated is escaped, and what the result must be:
//! * texts (`text chat markdown html secret`): each scalar is one text; numbers are taken as they are written;
//! * `url`: scheme, user info, host and port are literal, everything interpolated is one component;
//! * `headers`: a map of texts that cannot break out of their line;
//! * `list`: a text or a list of texts; an expression may give the whole list;
//! * `bool integer choice`: checked when they are constant, else when they are rendered;
//! * `xml`: a document as a text, or as a tree of elements; what cannot be read as XML is refused.
//! * `sign`: a map in the grammar of `rules::signature`, of which only the key may vary;
//! * `tree`: any JSON, where `{secret: …}` is plain data.
//!
//! In a map or a list `{{ field | default(omit) }}` leaves out the member or entry when the event lacks the field.
//!
//! Everywhere but in a tree, `{secret: NAME}` is the value of a secret. A text that ends in a line break loses it,
//! except in `text` and `tree`: the `|` of YAML leaves one that nobody wants in a message.

pub mod answers;
pub mod digests;
mod engine;
mod escape;
mod filters;
pub mod key;
mod kinds;
mod leaf;
mod scope;
pub mod select;
mod signing;
mod value;
mod view;

use std::sync::Arc;

use minijinja::Expression;
use serde_json::Value as Json;

use self::escape::Escape;
use self::leaf::{Fault, FaultKind, Leaf};
use self::scope::{Needs, Root};
use self::signing::Signing;
pub use self::view::LeafView;
use crate::rules::diagnostic::{Diagnostic, Place, RENDER, Source, TOO_MUCH};
use crate::rules::manifest::Kind;
use crate::rules::platform::{Given, RenderError, Signer};
use crate::rules::signature::Outline;
use crate::rules::yaml::reader::nearest;
use crate::rules::yaml::{self, Node};
use crate::words::event::Event;
use crate::words::json::{Exact, Members};
use crate::words::secret::Secret;

/// A compiled tree of one option.
#[derive(Debug)]
pub struct Tree {
    root: Part,
    kind: Kind,
    origin: Origin,
    needs: Needs,
    secrets: Vec<(String, Place)>,
    signing: Option<Signing>,
    warnings: Vec<Diagnostic>,
}

/// Where a tree was written.
#[derive(Debug)]
enum Origin {
    File(Source),
    /// The default of an option, by its name and its platform's.
    Default(String),
}

/// A piece of a tree.
enum Part {
    Fixed(Exact),
    Leaf(Box<Leaf>, Box<Node>),
    /// A secret, and where it is named.
    Secret(String, Box<Node>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// Reads a text as a template, and renders it without an event, or as a condition, whatever comes of it: for a process
/// that may die of it.
pub fn try_compile(text: &str) {
    if leaf::is_template(text) {
        let nothing = Event::new("", Some(String::new()), "null", jiff::Timestamp::UNIX_EPOCH);
        let root = Root::value(&nothing, "", None, &Needs::default(), Vec::new());
        let _whatever = Leaf::compile(text, Escape::Text, true).map(|(leaf, _)| leaf.render(&root, None).is_ok());
    } else {
        let _whatever = leaf::compile_condition(text);
    }
}

/// `when`: one expression; a missing field is false.
pub struct Condition {
    text: String,
    expression: Expression<'static, 'static>,
    needs: Needs,
}

impl Tree {
    /// Compiles every text leaf of `node` for the option's kind. Returns all errors found, each placed in `source`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node, kind: &Kind) -> Result<Self, Vec<Diagnostic>> {
        kinds::compile(Origin::File(source.clone()), node, kind)
    }

    /// Compiles a JSON value that has no place in the file (a manifest default).
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile_default(platform: &str, option: &str, value: &Json, kind: &Kind) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::Default(format!("the default of `{option}` in the platform {platform}"));
        if value.is_null() {
            let (root, needs) = (Part::Fixed(Exact::Null), Needs::default());
            let (secrets, warnings) = (Vec::new(), Vec::new());
            return Ok(Self { root, kind: kind.clone(), origin, needs, secrets, signing: None, warnings });
        }
        kinds::compile(origin, &kinds::node_of(value), kind)
    }

    /// The value for one attempt.
    ///
    /// # Errors
    /// A secret is missing, a field that the event lacks has no default, or the result is not of the option's kind.
    pub fn render(&self, given: &Given<'_>) -> Result<Exact, RenderError> {
        match &self.root {
            Part::Fixed(value) => return Ok(value.clone()),
            Part::Secret(name, _) => {
                return self.finished(Exact::String(secret(given, name)?.expose().to_owned()), given);
            }
            _ => {}
        }
        let mut secrets = Vec::with_capacity(self.secrets.len());
        for (name, _) in &self.secrets {
            secrets.push((name.clone(), secret(given, name)?));
        }
        let root = Root::value(given.event, given.hook, Some(given.attempt), &self.needs, secrets);
        let exact = if self.needs.reads_data() { given.event.exact() } else { None };
        let spellings = exact.map(|exact| Arc::new(value::spellings(exact)));
        let value = value::spelled(spellings, || self.part(&self.root, &root, given))?;
        let value = value.ok_or_else(|| {
            let help = Some("write default('') for an empty text, or default(none) for null".to_owned());
            let what = "omit leaves out a member of a map or an entry of a list, and this is neither".to_owned();
            self.wrong(given, self.first_place(), what, help)
        })?;
        self.finished(value, given)
    }

    fn finished(&self, value: Exact, given: &Given<'_>) -> Result<Exact, RenderError> {
        kinds::finish(value, &self.kind).map_err(|what| self.wrong(given, self.first_place(), what, None))
    }

    /// The event's fields that it names, as paths such as `data.app.name`.
    pub fn variables(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.each_leaf(&mut |leaf, _| found.extend(leaf.variables()));
        found
    }

    /// Renders one leaf after the other, each after its place was told: whoever was told last is the one that did not
    /// come to its end. Gives the first leaf that goes beyond a bound, or that fails whatever comes.
    pub fn try_leaves(&self, given: &Given<'_>, tell: &mut dyn FnMut(Option<Place>)) -> Option<Diagnostic> {
        let secrets = self.secrets.iter().filter_map(|(name, _)| Some((name.clone(), secret(given, name).ok()?)));
        let root = Root::value(given.event, given.hook, Some(given.attempt), &self.needs, secrets.collect());
        let always = self.is_constant() && self.secrets.is_empty();
        let mut beyond = None;
        self.root.each_leaf(&mut |leaf, node| {
            tell(self.origin.place(node, None));
            if let Err(fault) = leaf.render(&root, given.event.exact())
                && (always || matches!(fault.kind, FaultKind::TooMuch(_)))
                && let RenderError::Wrong(mut found) = self.fault(fault, node, given)
            {
                if found.code == RENDER {
                    found.notes.push("it does not look at the event: it fails on every one".to_owned());
                }
                beyond.get_or_insert(*found);
            }
        });
        beyond
    }

    /// The value, where nothing in it is templated.
    pub fn fixed(&self) -> Option<&Exact> {
        if let Part::Fixed(value) = &self.root { Some(value) } else { None }
    }

    /// Whether it is the same for every event and attempt; secrets are constant.
    pub fn is_constant(&self) -> bool {
        !self.needs.varies()
    }

    /// What was found although it compiles.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// How the request is signed, where the option says it; without keys before they are known.
    pub fn outline(&self) -> Option<Signer> {
        self.signing.as_ref().map(Signing::outline)
    }

    /// The same as it was read, without keys.
    pub fn outline_of(&self) -> Option<&Arc<Outline>> {
        self.signing.as_ref().map(Signing::outline_of)
    }

    /// The same, to be exchanged for an equal one.
    pub fn outline_mut(&mut self) -> Option<&mut Arc<Outline>> {
        self.signing.as_mut().map(Signing::outline_mut)
    }

    /// The same with the keys of one attempt. It is put together anew only when they have changed.
    ///
    /// # Errors
    /// As `render`, or a key cannot be used.
    pub fn signer(&self, given: &Given<'_>) -> Result<Option<Signer>, RenderError> {
        match &self.signing {
            Some(signing) => signing.with_keys(self, given).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a secret can be used as the key that it is here, if it is one.
    ///
    /// # Errors
    /// Why not, without a part of it.
    pub fn try_key(&self, name: &str, secret: &Secret) -> Result<(), String> {
        let is_key = self.root.list().iter().any(|part| matches!(part, Part::Secret(key, _) if key == name));
        match &self.signing {
            Some(signing) if is_key => signing.try_key(secret).map_err(|fault| fault.what),
            _ => Ok(()),
        }
    }

    /// Every secret that it names, each with its first place.
    pub fn secrets(&self) -> &[(String, Place)] {
        &self.secrets
    }

    /// The secret that is the whole of it, if one is.
    pub fn whole_secret(&self) -> Option<&str> {
        if let Part::Secret(name, _) = &self.root { Some(name) } else { None }
    }

    /// The secret that is the whole URL, if this is one.
    pub fn url_secret(&self) -> Option<&str> {
        self.whole_secret().filter(|_| self.kind == Kind::Url)
    }

    /// `None` is left out.
    fn part(&self, part: &Part, root: &minijinja::Value, given: &Given<'_>) -> Result<Option<Exact>, RenderError> {
        Ok(Some(match part {
            Part::Fixed(value) => value.clone(),
            Part::Secret(name, _) => Exact::String(secret(given, name)?.expose().to_owned()),
            Part::Leaf(leaf, node) => {
                let value = match self.kind {
                    Kind::Headers => leaf.text_or_nothing(root).map(|text| text.map(Exact::String)),
                    _ => leaf.render(root, given.event.exact()),
                };
                let value = value.map_err(|fault| self.fault(fault, node, given))?;
                if let Some(value) = &value {
                    kinds::check_leaf(value, &self.kind)
                        .map_err(|(what, help)| self.wrong(given, self.origin.place(node, None), what, Some(help)))?;
                }
                return Ok(value);
            }
            Part::List(parts) => {
                let values = parts.iter().filter_map(|part| self.part(part, root, given).transpose());
                Exact::List(values.collect::<Result<_, _>>()?)
            }
            Part::Map(parts) => {
                let mut members = Members::with_capacity(parts.len());
                for (name, part) in parts {
                    if let Some(value) = self.part(part, root, given)? {
                        members.insert(name.clone(), value);
                    }
                }
                Exact::Map(members)
            }
        }))
    }

    fn fault(&self, fault: Fault, node: &Node, given: &Given<'_>) -> RenderError {
        let place = self.origin.place(node, fault.at);
        match fault.kind {
            FaultKind::Undefined(path) => {
                RenderError::Wrong(Box::new(self.origin.finish(undefined(path.as_deref(), given.event), place)))
            }
            FaultKind::TooMuch(what) => {
                let found = Diagnostic::error(TOO_MUCH, what).help("make it smaller: no message needs as much");
                RenderError::Wrong(Box::new(self.origin.finish(found, place)))
            }
            FaultKind::Wrong { what, help } => self.wrong(given, place, what, help),
        }
    }

    fn wrong(&self, given: &Given<'_>, place: Option<Place>, what: String, help: Option<String>) -> RenderError {
        let mut found = Diagnostic::error(RENDER, given.secrets.redact(&what));
        found.help = help;
        RenderError::Wrong(Box::new(self.origin.finish(found, place)))
    }

    fn first_place(&self) -> Option<Place> {
        self.root.first_node().and_then(|node| self.origin.place(node, None))
    }
}

impl Origin {
    /// The place of some bytes of a scalar, or of its beginning.
    fn place(&self, node: &Node, at: Option<std::ops::Range<usize>>) -> Option<Place> {
        let Self::File(source) = self else { return None };
        Some(match at {
            Some(at) => yaml::locate(source, node, at.start, (at.end - at.start).max(1)),
            None => source.place(node.span),
        })
    }

    fn finish(&self, mut found: Diagnostic, place: Option<Place>) -> Diagnostic {
        found.place = place;
        match self {
            Self::File(_) => found,
            Self::Default(of) => found.note(format!("in {of}")),
        }
    }
}

impl Part {
    fn each_leaf(&self, visit: &mut dyn FnMut(&Leaf, &Node)) {
        match self {
            Self::Fixed(_) | Self::Secret(..) => {}
            Self::Leaf(leaf, node) => visit(leaf, node),
            Self::List(parts) => parts.iter().for_each(|part| part.each_leaf(visit)),
            Self::Map(parts) => parts.iter().for_each(|(_, part)| part.each_leaf(visit)),
        }
    }

    fn list(&self) -> &[Self] {
        if let Self::List(parts) = self { parts } else { &[] }
    }

    fn first_node(&self) -> Option<&Node> {
        match self {
            Self::Fixed(_) => None,
            Self::Leaf(_, node) | Self::Secret(_, node) => Some(node),
            Self::List(parts) => parts.iter().find_map(Self::first_node),
            Self::Map(parts) => parts.iter().find_map(|(_, part)| part.first_node()),
        }
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::Leaf(_, node) => write!(f, "{:?}", node.value),
            Self::Secret(name, _) => write!(f, "secret {name}"),
            Self::List(parts) => f.debug_list().entries(parts).finish(),
            Self::Map(parts) => f.debug_map().entries(parts.iter().map(|(name, part)| (name, part))).finish(),
        }
    }
}

impl Condition {
    /// Compiles one expression.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::File(source.clone());
        let text = match &node.value {
            yaml::Value::String(text) => text,
            yaml::Value::Bool(true) => "true",
            yaml::Value::Bool(false) => "false",
            _ => {
                let found = Diagnostic::error("condition", "a condition is one expression")
                    .help("write it as in: data.device_type == \"iOS\"");
                return Err(vec![origin.finish(found, origin.place(node, None))]);
            }
        };
        if leaf::is_template(text) {
            let found = Diagnostic::error("condition", "a condition is an expression without {{ }}")
                .help("take the braces away");
            return Err(vec![origin.finish(found, origin.place(node, None))]);
        }
        let (expression, inspection, variables) =
            leaf::compile_condition(text).map_err(|fault| vec![kinds::diagnose(&origin, node, fault, "condition")])?;
        let mut found = kinds::problems(&origin, node, &inspection, "condition");
        for (_, at) in &inspection.secrets {
            let refused =
                Diagnostic::error("condition", "a condition cannot read secrets").help("compare with a literal value");
            found.push(origin.finish(refused, origin.place(node, Some(at.clone()))));
        }
        if !found.is_empty() {
            return Err(found);
        }
        let mut needs = Needs::default();
        needs.add(variables);
        Ok(Self { text: text.trim().to_owned(), expression, needs })
    }

    /// Whether it is true of an event.
    ///
    /// # Errors
    /// It failed, in words.
    pub fn holds(&self, event: &Event, hook: &str) -> Result<bool, String> {
        self.evaluate(event, hook).map_err(|fault| match fault.kind {
            FaultKind::Undefined(path) => undefined(path.as_deref(), event).what,
            FaultKind::Wrong { what, .. } | FaultKind::TooMuch(what) => what,
        })
    }
}

impl Condition {
    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The event's fields that it names.
    pub fn variables(&self) -> Vec<String> {
        self.expression.undeclared_variables(true).into_iter().collect()
    }

    /// How it goes beyond a bound with this event, if it does.
    pub fn too_much(&self, event: &Event, hook: &str) -> Option<String> {
        match self.evaluate(event, hook).err()?.kind {
            FaultKind::TooMuch(what) => Some(what),
            _ => None,
        }
    }

    fn evaluate(&self, event: &Event, hook: &str) -> Result<bool, Fault> {
        let root = Root::value(event, hook, None, &self.needs, Vec::new());
        leaf::holds(&self.expression, root)
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("needs", &self.needs).finish_non_exhaustive()
    }
}

fn secret(given: &Given<'_>, name: &str) -> Result<Secret, RenderError> {
    given.secrets.get(name).cloned().map_err(|why| RenderError::Secret { name: name.to_owned(), why: why.to_owned() })
}

/// A field that the event does not have, with the one that was probably meant.
fn undefined(path: Option<&str>, event: &Event) -> Diagnostic {
    let Some(path) = path else {
        return Diagnostic::error("undefined", "a field is not in this event")
            .help("give it a default: {{ field | default('') }}");
    };
    let found = Diagnostic::error("undefined", format!("`{path}` is not in this event"));
    let optional = format!("a field that may be missing needs a default: {{{{ {path} | default('') }}}}");
    let near = scope::beside(path, event)
        .and_then(|(last, keys, above)| nearest(last, &keys).map(|near| format!("{above}{near}")));
    match near {
        Some(near) => found.note(optional).help(format!("did you mean `{near}`?")),
        None => found.help(optional),
    }
}

#[cfg(test)]
mod tests;
