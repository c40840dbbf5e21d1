//! One templated text: compiled once, rendered for each attempt.

use std::io;
use std::ops::Range;

use minijinja::machinery::ast::{Expr, Stmt};
use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, Expression, Template};
use self_cell::self_cell;

use super::engine::{CONDITIONS, Inspection, TEXTS, inspect};
use super::escape::Escape;
use super::filters::TooMuch;
use super::scope::OWN;
use super::value::{Omit, from_engine};
use crate::words::json::Exact;
use crate::words::limits;

self_cell!(
    struct Compiled {
        owner: String,
        #[covariant]
        dependent: BorrowedTemplate,
    }
);

type BorrowedTemplate<'a> = Template<'a, 'a>;

/// A text with `{{ }}` in it.
pub(super) struct Leaf {
    compiled: Compiled,
    typed: Option<Typed>,
}

/// A leaf that is exactly one `{{ expression }}`.
struct Typed {
    expression: Expression<'static, 'static>,
    /// Where the expression begins in the leaf.
    offset: usize,
    /// Where in the event's data the value stands, when the expression is nothing but its path.
    path: Option<Vec<Step>>,
    /// What its texts are for.
    escape: Escape,
}

/// One step into an event's data.
#[derive(Debug, PartialEq)]
enum Step {
    Member(String),
    Entry(usize),
}

/// What is wrong, and which bytes of the text it is about.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Option<Range<usize>>,
    pub(super) kind: FaultKind,
}

#[derive(Debug)]
pub(super) enum FaultKind {
    /// A field that the event does not have; its path when it is known.
    Undefined(Option<String>),
    /// It goes beyond a bound.
    TooMuch(String),
    /// Anything else, in words.
    Wrong { what: String, help: Option<String> },
}

/// Whether a text is a template at all.
pub(super) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

impl Leaf {
    /// Compiles a text; `typed` keeps the type of a leaf that is exactly one expression.
    pub(super) fn compile(text: &str, escape: Escape, typed: bool) -> Result<(Self, Inspection), Fault> {
        Self::compile_in(&TEXTS, text, escape, typed)
    }

    /// The same with the rules of another environment for what is undefined.
    pub(super) fn compile_in(
        environment: &'static Environment<'static>,
        text: &str,
        escape: Escape,
        typed: bool,
    ) -> Result<(Self, Inspection), Fault> {
        if let Some(at) = oversized_tag(text) {
            let what = format!("one template expression is longer than {} bytes", limits::TEMPLATE_TAG);
            return Err(Fault {
                at: Some(at),
                kind: FaultKind::Wrong { what, help: Some("split it with {% set %}".into()) },
            });
        }
        let compiled =
            Compiled::try_new(text.to_owned(), |text| environment.template_from_named_str(escape.name(), text))
                .map_err(|error| syntax(&error, text.len()))?;
        let inspection = inspect(compiled.borrow_dependent());
        let typed = match typed.then(|| only_expression(text)).flatten() {
            Some(inner) => {
                let expression = environment.compile_expression_owned(text[inner.clone()].to_owned());
                let expression = expression.map_err(|error| syntax(&error, text.len()))?;
                Some(Typed { expression, offset: inner.start, path: path_of(text), escape })
            }
            None => None,
        };
        Ok((Self { compiled, typed }, inspection))
    }

    /// The names it uses that nobody set before, with their attributes.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        let found = self.compiled.borrow_dependent().undeclared_variables(true);
        found.into_iter().chain(sliced(self.compiled.borrow_owner()))
    }

    /// The text, or for a typed leaf the value; `None` is left out. `exact` is the event's data where the engine's
    /// values cannot keep its numbers.
    pub(super) fn render(&self, root: &Value, exact: Option<&Exact>) -> Result<Option<Exact>, Fault> {
        let Some(typed) = &self.typed else { return self.text(root).map(|text| Some(Exact::String(text))) };
        if let Some(value) = exact.and_then(|data| typed.path.as_ref()?.iter().try_fold(data, step)) {
            return Ok(Some(harmless(value.clone(), typed.escape)));
        }
        let value = typed.expression.eval(root.clone()).map_err(|error| failure(&error, typed.offset))?;
        if value.is_undefined() {
            // As a text it is refused and the field named, unless it is an `x if y` without else.
            return self.text(root).map(|_| Some(Exact::Null));
        }
        let escape = if value.is_safe() { Escape::Text } else { typed.escape };
        let value = from_engine(&value).map_err(|error| failure(&error, 0))?;
        Ok(value.map(|value| harmless(value, escape)))
    }

    /// A leaf that is left out when it is exactly `{{ … default(omit) }}`, else its text.
    pub(super) fn text_or_nothing(&self, root: &Value) -> Result<Option<String>, Fault> {
        if let Some(typed) = &self.typed
            && let Ok(value) = typed.expression.eval(root.clone())
            && value.downcast_object_ref::<Omit>().is_some()
        {
            return Ok(None);
        }
        self.text(root).map(Some)
    }

    fn text(&self, root: &Value) -> Result<String, Fault> {
        let mut out = Bounded(Vec::new());
        let template = self.compiled.borrow_dependent();
        let rendered =
            template.render_captured_to(root.clone(), &mut out).map(drop).map_err(|error| failure(&error, 0));
        rendered?;
        String::from_utf8(out.0).map_err(|_| Fault {
            at: None,
            kind: FaultKind::Wrong { what: "the text is not UTF-8".to_owned(), help: None },
        })
    }
}

/// Escapes every text in a value.
fn harmless(value: Exact, escape: Escape) -> Exact {
    match value {
        value if escape == Escape::Text => value,
        Exact::String(text) => Exact::String(escape.apply(&text).into_owned()),
        Exact::List(values) => Exact::List(values.into_iter().map(|value| harmless(value, escape)).collect()),
        Exact::Map(members) => {
            Exact::Map(members.into_iter().map(|(name, value)| (name, harmless(value, escape))).collect())
        }
        value => value,
    }
}

/// One expression that is true or false; a missing field is false.
pub(super) fn compile_condition(text: &str) -> Result<(Expression<'static, 'static>, Inspection, Vec<String>), Fault> {
    if text.len() > limits::TEMPLATE_TAG {
        let what = format!("the condition is longer than {} bytes", limits::TEMPLATE_TAG);
        let help = Some("move some of it into the templates".to_owned());
        return Err(Fault { at: None, kind: FaultKind::Wrong { what, help } });
    }
    let expression =
        CONDITIONS.compile_expression_owned(text.to_owned()).map_err(|error| syntax(&error, text.len()))?;
    // Only a template can be inspected; the offsets are shifted back by what stands before the expression.
    let open = "{{ ";
    let wrapped = format!("{open}{text}\n}}}}");
    let template = Compiled::try_new(wrapped, |text| CONDITIONS.template_from_named_str(Escape::Text.name(), text))
        .map_err(|error| shifted(syntax(&error, text.len() + open.len()), open.len()))?;
    let mut inspection = inspect(template.borrow_dependent());
    let back = |at: &Range<usize>| at.start.saturating_sub(open.len())..at.end.saturating_sub(open.len());
    inspection.problems.iter_mut().for_each(|problem| problem.at = back(&problem.at));
    inspection.secrets.iter_mut().for_each(|(_, at)| *at = back(at));
    let variables = expression.undeclared_variables(true).into_iter().chain(sliced(text)).collect();
    Ok((expression, inspection, variables))
}

/// The engine does not tell what a slice such as `data.items[:10]` is cut from, so it is taken to be anything.
fn sliced(text: &str) -> impl Iterator<Item = String> {
    let inside = |rest: &str| rest.split(']').next().is_some_and(|inside| inside.contains(':'));
    let anything = text.split('[').skip(1).any(inside).then_some(["data", "event"]);
    anything.into_iter().flatten().map(str::to_owned)
}

/// Evaluates a condition.
pub(super) fn holds(expression: &Expression<'static, 'static>, root: Value) -> Result<bool, Fault> {
    expression.eval(root).map(|value| value.is_true()).map_err(|error| failure(&error, 0))
}

/// Evaluates an expression; what is undefined is null.
pub(super) fn value(expression: &Expression<'static, 'static>, root: Value) -> Result<serde_json::Value, Fault> {
    let value = expression.eval(root).map_err(|error| failure(&error, 0))?;
    if value.is_undefined() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::to_value(&value).map_err(|_| Fault {
        at: None,
        kind: FaultKind::Wrong { what: "the value cannot be written as JSON".to_owned(), help: None },
    })
}

/// The bytes between the braces, when the text is nothing but one `{{ … }}`. The line break that YAML's `|` leaves does
/// not count.
pub(super) fn only_expression(text: &str) -> Option<Range<usize>> {
    let trimmed = text.strip_suffix('\n').unwrap_or(text);
    let inner = trimmed.strip_prefix("{{")?.strip_suffix("}}")?;
    let parsed = minijinja::machinery::parse(trimmed, "", Default::default()).ok()?;
    let Stmt::Template(template) = &parsed else { return None };
    let [Stmt::EmitExpr(_)] = template.children.as_slice() else { return None };
    let strip = |c: char| c == '-' || c == '+';
    let head = usize::from(inner.starts_with(strip));
    let tail = usize::from(inner.len() > head && inner.ends_with('-'));
    let start = 2 + head;
    Some(start..start + inner.len() - head - tail)
}

/// The path into the event's data that a leaf is, and nothing else: `{{ app.name }}`, `{{ data["x"][0] }}`.
fn path_of(text: &str) -> Option<Vec<Step>> {
    let trimmed = text.strip_suffix('\n').unwrap_or(text);
    let parsed = minijinja::machinery::parse(trimmed, "", Default::default()).ok()?;
    let Stmt::Template(template) = &parsed else { return None };
    let [Stmt::EmitExpr(emit)] = template.children.as_slice() else { return None };
    let mut steps = Vec::new();
    let mut level = &emit.expr;
    let root = loop {
        match level {
            Expr::Var(variable) => break variable.id,
            Expr::GetAttr(inner) => {
                steps.push(Step::Member(inner.name.to_owned()));
                level = &inner.expr;
            }
            Expr::GetItem(inner) => {
                let Expr::Const(key) = &inner.subscript_expr else { return None };
                steps.push(match key.value.as_str() {
                    Some(name) => Step::Member(name.to_owned()),
                    None => Step::Entry(usize::try_from(key.value.clone()).ok()?),
                });
                level = &inner.expr;
            }
            _ => return None,
        }
    };
    steps.reverse();
    match root {
        "data" => {}
        "event" if steps.first() == Some(&Step::Member("data".to_owned())) => drop(steps.remove(0)),
        name if OWN.contains(&name) => return None,
        name => steps.insert(0, Step::Member(name.to_owned())),
    }
    Some(steps)
}

fn step<'d>(level: &'d Exact, step: &Step) -> Option<&'d Exact> {
    match (level, step) {
        (Exact::Map(members), Step::Member(name)) => members.get(name),
        (Exact::List(values), Step::Entry(index)) => values.get(*index),
        _ => None,
    }
}

/// The first tag that is longer than its bound. Thousands of chained operators overflow the stack of the engine, which
/// nothing can catch.
fn oversized_tag(text: &str) -> Option<Range<usize>> {
    let (mut open, mut at) = (None, 0);
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        match (open, pair) {
            (None, b"{{" | b"{%") => open = Some(at),
            (Some(_), b"}}" | b"%}") => open = None,
            (Some(start), _) if at + 2 - start >= limits::TEMPLATE_TAG => return Some(start..start + 2),
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    None
}

fn shifted(mut fault: Fault, by: usize) -> Fault {
    fault.at = fault.at.map(|at| at.start.saturating_sub(by)..at.end.saturating_sub(by));
    fault
}

/// An error of compiling.
fn syntax(error: &Error, length: usize) -> Fault {
    let detail = error.detail().unwrap_or("it cannot be read");
    let help = if detail.contains("end of") {
        "every {{ needs its }}, every {% if %} its {% endif %}, every {% for %} its {% endfor %}"
    } else {
        "look at the brackets, quotes and operators here; to compare write =="
    };
    let words = detail.replace("end of variable block", "`}}`").replace("end of block", "the end of the block");
    let words = match words.strip_prefix("unexpected end of input, expected ") {
        Some(expected) => format!("the text ends where {expected} should stand"),
        None => words.replace("end of input", "end of the text"),
    };
    let at = error.range().map(|at| at.start.min(length)..at.end.min(length));
    Fault {
        at,
        kind: FaultKind::Wrong { what: format!("the template cannot be read: {words}"), help: Some(help.to_owned()) },
    }
}

/// An error of rendering. Nothing of the engine's that may hold the values of variables is taken over.
fn failure(error: &Error, offset: usize) -> Fault {
    let at = error.range().map(|at| at.start + offset..at.end + offset);
    let detail = error.detail().unwrap_or_default();
    let undefined = detail.split('`').nth(1).filter(|_| detail.contains("` is undefined")).map(str::to_owned);
    if error.kind() == ErrorKind::UndefinedError || undefined.is_some() {
        return Fault { at, kind: FaultKind::Undefined(undefined) };
    }
    let too_much = match error.kind() {
        ErrorKind::OutOfFuel => Some("the template takes too many steps".to_owned()),
        ErrorKind::WriteFailure => Some(format!("the text grows beyond {} bytes", limits::TEMPLATE_OUTPUT)),
        // The engine's own bounds have no kind of their own.
        _ if goes_beyond(error) || detail.contains("too large") || detail.contains("too many elements") => {
            Some(detail.to_owned())
        }
        _ => None,
    };
    if let Some(what) = too_much {
        return Fault { at, kind: FaultKind::TooMuch(what) };
    }
    let what = match error.kind() {
        ErrorKind::UnknownMethod => "values have no such method: use a filter, as in {{ value | upper }}".to_owned(),
        _ if detail.is_empty() => "the template fails on this event".to_owned(),
        _ => format!("the template fails on this event: {detail}"),
    };
    Fault { at, kind: FaultKind::Wrong { what, help: None } }
}

/// Whether it is the refusal of a bounded filter.
fn goes_beyond(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<TooMuch>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Stops at `limits::TEMPLATE_OUTPUT`.
struct Bounded(Vec<u8>);

impl io::Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::TEMPLATE_OUTPUT {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_path() {
        let path = |text: &str| {
            let steps = path_of(text)?.into_iter().map(|step| match step {
                Step::Member(name) => name,
                Step::Entry(index) => index.to_string(),
            });
            Some(steps.collect::<Vec<_>>().join("/"))
        };
        for (text, wanted) in [
            ("{{ price }}", "price"),
            ("{{ data.app[0]['a b'] }}\n", "app/0/a b"),
            ("{{- event.data.x -}}", "x"),
            ("{{ data }}", ""),
            ("{{ event.data }}", ""),
        ] {
            assert_eq!(path(text).as_deref(), Some(wanted), "{text}");
        }
        for not in
            ["{{ x | upper }}", "{{ x + 1 }}", "{{ event.id }}", "{{ hook }}", "{{ x[-1] }}", "{{ x[y] }}", "{{ f() }}"]
        {
            assert_eq!(path(not), None, "{not}");
        }
    }

    #[test]
    fn exactly_one_expression() {
        let inner = |text: &str| only_expression(text).map(|at| text[at].to_owned());
        assert_eq!(inner("{{ a.b }}").as_deref(), Some(" a.b "));
        assert_eq!(inner("{{- a -}}\n").as_deref(), Some(" a "));
        assert_eq!(inner("{{ '}} {{' }}").as_deref(), Some(" '}} {{' "));
        for not in [
            "{{ a }} ",
            " {{ a }}",
            "{{ a }}{{ b }}",
            "x{{ a }}",
            "{% if a %}{{ b }}{% endif %}",
            "{{ a }} {{ b }}",
            "a",
        ] {
            assert_eq!(inner(not), None, "{not}");
        }
    }
}
