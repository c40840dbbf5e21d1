//! Expressions and texts over one answer: `status`, `headers`, `text`, `json`.
//!
//! A comparison with a field that the answer does not have is false, whichever way it compares: `json.code != 0` says
//! nothing of an answer that is no JSON, or a broken gateway's page would be taken for the receiver's refusal. The
//! engine itself finds a missing field different from everything, so such comparisons are guarded when they are compiled.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use minijinja::Expression;
use minijinja::machinery::ast::{BinOpKind, CompareOpKind, Expr, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::value::{Enumerator, Object, Serde, Value};
use serde_json::Value as Json;

use super::engine::{CONDITIONS, SECRET};
use super::escape::Escape;
use super::leaf::{self, Fault, FaultKind, Leaf, is_template};
use super::{Origin, kinds};
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::yaml::reader::nearest;
use crate::rules::yaml::{self, Node};
use crate::words::exchange::Response;
use crate::words::json::Exact;

/// What an expression over an answer may name.
const NAMES: [&str; 4] = ["status", "headers", "text", "json"];

/// One expression over an answer.
pub struct AnswerCondition(Expression<'static, 'static>);

/// A text over an answer; a field that is not there prints as nothing.
pub struct AnswerText(Text);

enum Text {
    Fixed(String),
    Leaf(Box<Leaf>),
}

/// An answer as expressions see it. What none of them looks at is not prepared.
pub struct Answer(Value);

impl AnswerCondition {
    /// Compiles one expression.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::File(source.clone());
        let refused = |what: &str, help: &str| {
            let found = Diagnostic::error("condition", what).help(help);
            vec![origin.finish(found, origin.place(node, None))]
        };
        let text = match &node.value {
            yaml::Value::String(text) => text,
            yaml::Value::Bool(true) => "true",
            yaml::Value::Bool(false) => "false",
            _ => return Err(refused("a condition is one expression", EXAMPLE)),
        };
        if is_template(text) {
            return Err(refused("a condition is an expression without {{ }}", "take the braces away"));
        }
        let (expression, inspection, variables) =
            leaf::compile_condition(text).map_err(|fault| vec![kinds::diagnose(&origin, node, fault, "condition")])?;
        let mut found = kinds::problems(&origin, node, &inspection, "condition");
        found.extend(refuse_secrets(&origin, node, &inspection, "condition"));
        found.extend(strangers(variables).map(|name| stranger(&origin, node, text, &name, "condition")));
        if !found.is_empty() {
            return Err(found);
        }
        // What cannot be guarded is taken as it was written.
        let guarded = guard(text).and_then(|text| CONDITIONS.compile_expression_owned(text).ok());
        Ok(Self(guarded.unwrap_or(expression)))
    }

    /// Whether it is true of an answer.
    ///
    /// # Errors
    /// It failed, in words.
    pub fn holds(&self, answer: &Answer) -> Result<bool, String> {
        leaf::holds(&self.0, answer.0.clone()).map_err(words)
    }
}

impl AnswerText {
    /// Compiles a text.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node, text: &str) -> Result<Self, Vec<Diagnostic>> {
        if !is_template(text) {
            return Ok(Self(Text::Fixed(text.trim().to_owned())));
        }
        let origin = Origin::File(source.clone());
        let (leaf, inspection) = Leaf::compile_in(&CONDITIONS, text, Escape::Text, false)
            .map_err(|fault| vec![kinds::diagnose(&origin, node, fault, "template")])?;
        let mut found = kinds::problems(&origin, node, &inspection, "template");
        found.extend(refuse_secrets(&origin, node, &inspection, "template"));
        found.extend(strangers(leaf.variables()).map(|name| stranger(&origin, node, text, &name, "template")));
        if found.is_empty() { Ok(Self(Text::Leaf(Box::new(leaf)))) } else { Err(found) }
    }

    /// The text about one answer.
    ///
    /// # Errors
    /// It failed, in words.
    pub fn render(&self, answer: &Answer) -> Result<String, String> {
        match &self.0 {
            Text::Fixed(text) => Ok(text.clone()),
            Text::Leaf(leaf) => match leaf.render(&answer.0, None) {
                Ok(Some(Exact::String(text))) => Ok(text.trim().to_owned()),
                Ok(Some(other)) => Ok(other.to_string()),
                Ok(None) => Ok(String::new()),
                Err(fault) => Err(words(fault)),
            },
        }
    }
}

impl Answer {
    /// Of a response.
    pub fn new(response: &Response) -> Self {
        Self(Value::from_object(Root { response: response.clone(), text: OnceLock::new(), json: OnceLock::new() }))
    }
}

const EXAMPLE: &str = "write it as in: status == 200 and json.code != 0";

fn words(fault: Fault) -> String {
    match fault.kind {
        FaultKind::Undefined(path) => {
            format!("`{}` is not in the answer", path.unwrap_or_else(|| "a field".to_owned()))
        }
        FaultKind::Wrong { what, .. } | FaultKind::TooMuch(what) => what,
    }
}

fn refuse_secrets(
    origin: &Origin,
    node: &Node,
    inspection: &super::engine::Inspection,
    code: &'static str,
) -> Vec<Diagnostic> {
    let refuse = |at: &std::ops::Range<usize>| {
        let found = Diagnostic::error(code, "what an answer means cannot depend on a secret");
        origin.finish(found.help("compare with a literal value"), origin.place(node, Some(at.clone())))
    };
    inspection.secrets.iter().map(|(_, at)| refuse(at)).collect()
}

/// The first names of paths that an answer does not have.
fn strangers(variables: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    let first = |path: String| path.split('.').next().unwrap_or_default().to_owned();
    let known = |name: &String| {
        !NAMES.contains(&name.as_str()) && !["range", "dict", "namespace", SECRET].contains(&name.as_str())
    };
    variables.into_iter().map(first).filter(known).collect::<std::collections::BTreeSet<_>>().into_iter()
}

fn stranger(origin: &Origin, node: &Node, text: &str, name: &str, code: &'static str) -> Diagnostic {
    let help = match name {
        "data" | "event" | "hook" | "attempt" => {
            "only the answer is known here; choose events with the hook's `when`".to_owned()
        }
        "body" => "did you mean `json` or `text`?".to_owned(),
        "code" | "status_code" => "did you mean `status`? A code in the body is `json.code`".to_owned(),
        _ if text.contains(&format!("-{name}")) => format!("a name with a dash is written headers['x-{name}']"),
        _ => match nearest(name, &NAMES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("an answer has {}", NAMES.join(", ")),
        },
    };
    let found = Diagnostic::error(code, format!("an answer has no `{name}`")).help(help);
    let at = text.find(name).map(|start| start..start + name.len());
    origin.finish(found, origin.place(node, at))
}

/// The same expression with a guard around each comparison that a missing field could make true.
fn guard(text: &str) -> Option<String> {
    let open = "{{ ";
    let wrapped = format!("{open}{text}\n}}}}");
    let Stmt::Template(template) = parse(&wrapped, "", Default::default()).ok()? else { return None };
    let [Stmt::EmitExpr(expression)] = template.children.as_slice() else { return None };
    let mut guards = Vec::new();
    collect(&expression.expr, &mut guards);
    let mut insertions = Vec::new();
    for Guard { fields, if_negated, left, operand, right } in &guards {
        let (start, end) = (left.start_offset as usize, right.end_offset as usize);
        let (middle, last) = (left.end_offset as usize, operand.start_offset as usize);
        let between = wrapped.get(middle..last)?;
        if *if_negated && !between.contains("not") {
            continue;
        }
        // Parentheses around an operand are no part of it.
        let (closed, opened) = (between.matches(')').count(), between.matches('(').count());
        let start = wrapped[..start].rmatch_indices('(').take(closed).last().map_or(start, |(at, _)| at);
        let end = wrapped[end..].match_indices(')').take(opened).last().map_or(end, |(at, _)| end + at + 1);
        let there: Vec<_> = fields.iter().filter_map(|at| wrapped.get(range(at))).collect();
        let there: String = there.iter().map(|field| format!("({field}) is defined and ")).collect();
        insertions.push((start, false, format!("({there}(")));
        insertions.push((end, true, "))".to_owned()));
    }
    // From the end, so that earlier offsets stay true; where one comparison ends another may begin only after it.
    insertions.sort_by_key(|(at, closes, _)| (*at, !*closes));
    let mut guarded = wrapped.clone();
    for (at, _, inserted) in insertions.into_iter().rev() {
        guarded.insert_str(at, &inserted);
    }
    Some(guarded.strip_prefix(open)?.strip_suffix("\n}}")?.to_owned())
}

fn range(span: &Span) -> std::ops::Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

/// A comparison that a missing field could make true.
struct Guard {
    fields: Vec<Span>,
    /// It is an `in`, which is treacherous only as `not in`.
    if_negated: bool,
    left: Span,
    /// The operand behind the first operator, and the end of the last one.
    operand: Span,
    right: Span,
}

fn collect(expression: &Expr<'_>, guards: &mut Vec<Guard>) {
    match expression {
        Expr::UnaryOp(one) => collect(&one.expr, guards),
        Expr::BinOp(two) => {
            let treacherous =
                matches!(two.op, BinOpKind::Ne | BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte);
            if treacherous || matches!(two.op, BinOpKind::In) {
                note(&[&two.left, &two.right], !treacherous, guards);
            }
            collect(&two.left, guards);
            collect(&two.right, guards);
        }
        Expr::Compare(chain) => {
            let operands: Vec<_> = std::iter::once(&chain.expr).chain(chain.ops.iter().map(|op| &op.expr)).collect();
            let treacherous = |kind| !matches!(kind, CompareOpKind::Eq | CompareOpKind::In);
            if chain.ops.iter().any(|op| treacherous(op.op)) {
                note(&operands, false, guards);
            }
            operands.into_iter().for_each(|operand| collect(operand, guards));
        }
        Expr::IfExpr(choice) => {
            collect(&choice.test_expr, guards);
            collect(&choice.true_expr, guards);
            if let Some(other) = &choice.false_expr {
                collect(other, guards);
            }
        }
        _ => {}
    }
}

fn note(operands: &[&Expr<'_>], if_negated: bool, guards: &mut Vec<Guard>) {
    let fields: Vec<_> = operands.iter().filter(|operand| is_path(operand)).map(|operand| whole(operand)).collect();
    if let [first, second, ..] = operands
        && let Some(last) = operands.last()
        && !fields.is_empty()
    {
        guards.push(Guard { fields, if_negated, left: whole(first), operand: whole(second), right: whole(last) });
    }
}

/// The bytes of an expression. The engine lets `a.b.c` begin at its last dot.
fn whole(expression: &Expr<'_>) -> Span {
    let inner = match expression {
        Expr::GetAttr(one) => Some(&one.expr),
        Expr::GetItem(one) => Some(&one.expr),
        Expr::Slice(one) => Some(&one.expr),
        Expr::Call(one) => Some(&one.expr),
        Expr::Test(one) => Some(&one.expr),
        Expr::Filter(one) => one.expr.as_ref(),
        _ => None,
    };
    let span = expression.span();
    inner.map_or(span, |inner| Span { start_offset: whole(inner).start_offset.min(span.start_offset), ..span })
}

fn is_path(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::Var(_) => true,
        Expr::GetAttr(one) => is_path(&one.expr),
        Expr::GetItem(one) => is_path(&one.expr),
        _ => false,
    }
}

struct Root {
    response: Response,
    text: OnceLock<Value>,
    json: OnceLock<Value>,
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let body = &self.response.body;
        match key.as_str()? {
            "status" => Some(Value::from(self.response.status)),
            "headers" => Some(Value::from_object(Headers(self.response.headers.clone()))),
            "text" => Some(self.text.get_or_init(|| Value::from(String::from_utf8_lossy(body).into_owned())).clone()),
            "json" => {
                let parsed = self.json.get_or_init(|| match serde_json::from_slice::<Json>(body) {
                    Ok(json) => Value::from(Serde(&json)),
                    Err(_) => Value::UNDEFINED,
                });
                Some(parsed.clone()).filter(|value| !value.is_undefined())
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&NAMES)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {}", self.response.status)
    }
}

/// Headers by name, in whatever case, and with `_` for `-`.
#[derive(Debug)]
struct Headers(HeaderMap);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let value = self.0.get(name).or_else(|| self.0.get(name.replace('_', "-")))?;
        Some(Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

impl fmt::Debug for AnswerCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerCondition").finish_non_exhaustive()
    }
}

impl fmt::Debug for AnswerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Text::Fixed(text) => write!(f, "{text:?}"),
            Text::Leaf(_) => f.write_str("a template"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, answer: &Response) -> Result<bool, String> {
        let source = Source::new("hook.yaml", format!("when: {text:?}\n"));
        let root = yaml::parse(&source).unwrap();
        let yaml::Value::Map(entries) = &root.value else { panic!("no map") };
        let condition = AnswerCondition::compile(&source, &entries[0].1);
        condition.unwrap_or_else(|found| panic!("{text}: {found:?}")).holds(&Answer::new(answer))
    }

    fn answer(status: u16, body: &'static str) -> Response {
        let mut response = Response { status, body: body.into(), ..Response::default() };
        response.headers.insert("x-error-code", "E 7".parse().unwrap());
        response
    }

    #[test]
    fn a_comparison_with_a_missing_field_is_false_whichever_way_it_compares() {
        let (page, refusal, good) =
            (answer(502, "<html>"), answer(200, r#"{"code": 5, "left": 0}"#), answer(200, r#"{"code": 0}"#));
        for (text, of_page, of_refusal, of_good) in [
            ("json.code != 0", false, true, false),
            ("json.code == 0", false, false, true),
            ("not (json.code == 0)", true, true, false),
            ("0 != json.code", false, true, false),
            ("(json.code) != (0)", false, true, false),
            ("((json.code) != 0) and status == 200", false, true, false),
            ("status >= 500 or json.code != 0", true, true, false),
            ("json.code != 0 or status >= 500", true, true, false),
            ("json['code'] != 0 and (status == 200)", false, true, false),
            ("json.left < 1", false, true, false),
            ("json.left <= 0 and json.code > 0", false, true, false),
            ("0 < json.code < 9", false, true, false),
            ("json.code not in [0, 1]", false, true, false),
            ("json.code in [0, 1]", false, false, true),
            ("json is undefined", true, false, false),
            ("json.code is defined and json.code != 0", false, true, false),
            ("json.deep.er.code != 0", false, false, false),
            ("json.code", false, true, false),
            ("not json.code", true, false, true),
            ("'code' in text", false, true, true),
            ("text == '<html>' if status > 500 else json.code != 0", true, true, false),
            ("headers['X-Error-Code'] == 'E 7' and headers.x_error_code != 'E 8'", true, true, true),
            ("headers.missing != 'x'", false, false, false),
        ] {
            let found = [&page, &refusal, &good].map(|answer| holds(text, answer));
            assert_eq!(found, [Ok(of_page), Ok(of_refusal), Ok(of_good)], "{text}");
        }
    }

    #[test]
    fn what_cannot_be_computed_is_said_in_words() {
        let said = holds("json.code + 1 > 2", &answer(200, "{}")).unwrap_err();
        assert!(!said.contains("minijinja") && !said.is_empty(), "{said}");
    }
}
