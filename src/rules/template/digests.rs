//! What a hook's `digest` says over its queue (`when`) and over several events (`template`).

use std::fmt;
use std::sync::{Arc, OnceLock};

use minijinja::Expression;
use minijinja::value::{Enumerator, Object, Serde, Value};

use super::engine::SECRET;
use super::escape::Escape;
use super::leaf::{self, Fault, FaultKind, Leaf, is_template};
use super::value::{spelled, spellings, to_engine};
use super::{Origin, kinds};
use crate::rules::diagnostic::{Diagnostic, Place, Source, TOO_MUCH};
use crate::rules::manifest::Kind;
use crate::rules::platform::RenderError;
use crate::rules::yaml::reader::nearest;
use crate::rules::yaml::{self, Node};
use crate::words::event::Event;
use crate::words::json::Exact;

const CODE: &str = "digest";
/// What a condition may name.
const OF_QUEUE: [&str; 2] = ["waiting", "oldest"];
/// What a template may name.
const OF_EVENTS: [&str; 5] = ["events", "count", "first", "last", "hook"];
/// What the engine brings along.
const GIVEN: [&str; 5] = ["range", "dict", "namespace", "loop", SECRET];

/// An expression over `waiting`, how many deliveries are due, and `oldest`, the age of the oldest in seconds.
pub struct QueueCondition(Expression<'static, 'static>);

/// A text about several events.
pub struct DigestText {
    leaf: Leaf,
    origin: Origin,
    node: Box<Node>,
    reads_lines: bool,
}

/// One of the events of a digest.
#[derive(Clone, Debug)]
pub struct Told {
    /// The event.
    pub event: Arc<Event>,
    /// The id of its delivery.
    pub delivery: Arc<str>,
    /// The first line of what it says by itself, with its markup.
    pub line: String,
}

impl QueueCondition {
    /// Compiles one expression.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::File(source.clone());
        let refused = |what: &str, help: &str| {
            let found = Diagnostic::error(CODE, what).help(help);
            vec![origin.finish(found, origin.place(node, None))]
        };
        let text = match &node.value {
            yaml::Value::String(text) => text,
            yaml::Value::Bool(true) => "true",
            yaml::Value::Bool(false) => "false",
            _ => return Err(refused("`digest.when` is one expression", EXAMPLE)),
        };
        if is_template(text) {
            return Err(refused("a condition is an expression without {{ }}", "take the braces away"));
        }
        let (expression, inspection, variables) =
            leaf::compile_condition(text).map_err(|fault| vec![kinds::diagnose(&origin, node, fault, CODE)])?;
        let mut found = kinds::problems(&origin, node, &inspection, CODE);
        let strangers = strangers(variables, &OF_QUEUE);
        found.extend(strangers.map(|name| {
            let help = match nearest(&name, &OF_QUEUE) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "a queue has `waiting`, and `oldest` in seconds; choose events with the hook's `when`".to_owned()
                }
            };
            let what = format!("a queue has no `{name}`");
            origin.finish(Diagnostic::error(CODE, what).help(help), origin.place(node, text_at(text, &name)))
        }));
        if !found.is_empty() {
            return Err(found);
        }
        let condition = Self(expression);
        if let Err(fault) = condition.evaluate(1, 1) {
            let found = Diagnostic::error(CODE, "this cannot be answered with the two numbers that a queue has");
            return Err(vec![origin.finish(found.help(EXAMPLE), origin.place(node, fault.at))]);
        }
        Ok(condition)
    }

    /// Whether it is true of a queue; where it cannot be answered, it is not.
    pub fn holds(&self, waiting: usize, oldest: u64) -> bool {
        self.evaluate(waiting, oldest).unwrap_or(false)
    }

    fn evaluate(&self, waiting: usize, oldest: u64) -> Result<bool, Fault> {
        let root = [("waiting", Value::from(waiting)), ("oldest", Value::from(oldest))];
        leaf::holds(&self.0, Value::from_pairs(root))
    }
}

const EXAMPLE: &str = "write it as in: waiting > 5";

impl DigestText {
    /// Compiles a text whose interpolations are escaped as this kind of option is.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node, text: &str, kind: &Kind) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::File(source.clone());
        let text = text.strip_suffix('\n').unwrap_or(text);
        let (leaf, inspection) = Leaf::compile(text, Escape::of(kind), false)
            .map_err(|fault| vec![kinds::diagnose(&origin, node, fault, CODE)])?;
        let mut found = kinds::problems(&origin, node, &inspection, CODE);
        for (_, at) in &inspection.secrets {
            let refused = Diagnostic::error(CODE, "the text of a digest cannot hold a secret")
                .help("put the secret into an option of the platform");
            found.push(origin.finish(refused, origin.place(node, Some(at.clone()))));
        }
        let variables: Vec<String> = leaf.variables().collect();
        let names_events = variables.iter().any(|path| path == "events" || path.starts_with("events."));
        let before = found.len();
        found.extend(strangers(variables, &OF_EVENTS).map(|name| {
            let help = match name.as_str() {
                "event" | "data" => LOOP.to_owned(),
                _ => match nearest(&name, &OF_EVENTS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => LOOP.to_owned(),
                },
            };
            let what = format!("a digest is about several events and has no `{name}`");
            origin.finish(Diagnostic::error(CODE, what).help(help), origin.place(node, text_at(text, &name)))
        }));
        if !names_events && found.len() == before {
            let what = "this text does not name `events`, so nobody would read what has happened";
            found.push(origin.finish(Diagnostic::error(CODE, what).help(LOOP), origin.place(node, None)));
        }
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Self { leaf, origin, node: Box::new(node.clone()), reads_lines: text.contains("line") })
    }

    /// Whether it may ask for `line`.
    pub fn reads_lines(&self) -> bool {
        self.reads_lines
    }

    /// Where it stands.
    pub fn place(&self) -> Option<Place> {
        self.origin.place(&self.node, None)
    }

    /// The text about these.
    ///
    /// # Errors
    /// It fails on one of them, or grows beyond a bound.
    pub fn render(&self, hook: &str, told: &[Told]) -> Result<String, RenderError> {
        let exact = told.iter().filter_map(|one| one.event.exact().cloned());
        let exact = Exact::List(exact.collect());
        let root = Value::from_object(Together::new(hook, told));
        let text = spelled(Some(Arc::new(spellings(&exact))), || self.leaf.render(&root, None));
        match text {
            Ok(Some(Exact::String(text))) => Ok(text),
            Ok(other) => Ok(other.map(|other| other.to_string()).unwrap_or_default()),
            Err(Fault { at, kind }) => {
                let found = match kind {
                    FaultKind::Undefined(path) => {
                        let path = path.unwrap_or_else(|| "a field".to_owned());
                        let optional =
                            format!("a field that may be missing needs a default: {{{{ {path} | default('') }}}}");
                        let found = Diagnostic::error("undefined", format!("`{path}` is not in each of these events"));
                        match meant(&path, told) {
                            Some(near) => found.note(optional).help(format!("did you mean `{near}`?")),
                            None => found.help(optional),
                        }
                    }
                    FaultKind::TooMuch(what) => {
                        Diagnostic::error(TOO_MUCH, what).help("make it smaller: no message needs as much")
                    }
                    FaultKind::Wrong { what, help } => {
                        let mut found = Diagnostic::error("render", what);
                        found.help = help;
                        found
                    }
                };
                Err(RenderError::Wrong(Box::new(self.origin.finish(found, self.origin.place(&self.node, at)))))
            }
        }
    }
}

const LOOP: &str = "list them: {% for event in events %}- {{ event.data.title }}{% endfor %}";

/// The field of the events that was probably meant by a path such as `event.data.titel`.
fn meant(path: &str, told: &[Told]) -> Option<String> {
    let (above, last) = path.rsplit_once('.')?;
    let (name, level) = above.split_once('.')?;
    let mut keys: Vec<&str> = Vec::new();
    for one in told {
        let mut at = one.event.data();
        for part in level.split('.').skip(1) {
            at = at.get(part)?;
        }
        keys.extend(at.as_object()?.keys().map(String::as_str));
    }
    let near = nearest(last, &keys).filter(|_| level.split('.').next() == Some("data"))?;
    Some(format!("{name}.{level}.{near}"))
}

/// A text of an event made harmless where this kind of option stands.
pub fn harmless(text: &str, kind: &Kind) -> String {
    Escape::of(kind).apply(text).into_owned()
}

/// The first names of paths that are not known.
fn strangers(variables: impl IntoIterator<Item = String>, known: &[&str]) -> impl Iterator<Item = String> {
    let first = |path: String| path.split('.').next().unwrap_or_default().to_owned();
    let is_known = |name: &String| known.contains(&name.as_str()) || GIVEN.contains(&name.as_str());
    let found = variables.into_iter().map(first).filter(|name| !is_known(name));
    found.collect::<std::collections::BTreeSet<_>>().into_iter()
}

fn text_at(text: &str, name: &str) -> Option<std::ops::Range<usize>> {
    text.find(name).map(|start| start..start + name.len())
}

/// The root of a digest's text.
#[derive(Debug)]
struct Together {
    events: Value,
    count: usize,
    hook: Value,
}

impl Together {
    fn new(hook: &str, told: &[Told]) -> Self {
        let member = |told: &Told| Value::from_object(Member { told: told.clone(), data: OnceLock::new() });
        let events = told.iter().map(member).collect::<Vec<_>>();
        Self { count: events.len(), events: Value::from(events), hook: hook.into() }
    }

    fn nth(&self, index: usize) -> Option<Value> {
        self.events.get_item_by_index(index).ok()
    }
}

impl Object for Together {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "events" => Some(self.events.clone()),
            "count" => Some(self.count.into()),
            "first" => self.nth(0),
            "last" => self.nth(self.count.saturating_sub(1)),
            "hook" => Some(self.hook.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&OF_EVENTS)
    }
}

#[derive(Debug)]
struct Member {
    told: Told,
    data: OnceLock<Value>,
}

/// What each of `events` has.
const OF_EVENT: [&str; 7] = ["id", "type", "source", "time", "data", "delivery", "line"];

impl Object for Member {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let Told { event, delivery, line } = &self.told;
        match key.as_str()? {
            "id" => Some(event.id.as_str().into()),
            "type" => Some(event.kind.as_str().into()),
            "source" => Some(event.source.as_str().into()),
            "time" => Some(event.time.to_string().into()),
            "data" => Some(self.data.get_or_init(|| data(event)).clone()),
            "delivery" => Some((**delivery).into()),
            // What stands in it is escaped already.
            "line" => Some(Value::from_safe_string(line.clone())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&OF_EVENT)
    }
}

fn data(event: &Event) -> Value {
    match event.exact() {
        Some(exact) => to_engine(exact),
        None => Value::from(Serde(event.data())),
    }
}

impl fmt::Debug for QueueCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueCondition")
    }
}

impl fmt::Debug for DigestText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestText").field("node", &self.node.value).finish_non_exhaustive()
    }
}
