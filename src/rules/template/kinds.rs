//! What each kind of option takes, and what it refuses.

use std::ops::Range;

use http::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::engine::{Inspection, OMIT};
use super::escape::Escape;
use super::leaf::{Fault, FaultKind, Leaf, is_template, only_expression};
use super::scope::Needs;
use super::signing::Signing;
use super::{Origin, Part, Tree};
use crate::rules::diagnostic::{Diagnostic, Span};
use crate::rules::manifest::Kind;
use crate::rules::xml;
use crate::rules::yaml::reader::nearest;
use crate::rules::yaml::{Key, Node, Style, Value};
use crate::words::json::{Exact, Number};

/// Compiles a tree.
pub(super) fn compile(origin: Origin, node: &Node, kind: &Kind) -> Result<Tree, Vec<Diagnostic>> {
    let mut compiler = Compiler {
        origin,
        kind,
        needs: Needs::default(),
        secrets: Vec::new(),
        signing: None,
        warnings: Vec::new(),
        found: Vec::new(),
    };
    let root = compiler.option(node);
    if !compiler.found.is_empty() {
        compiler.found.append(&mut compiler.warnings);
        return Err(compiler.found);
    }
    let finished = root.fixed().map(|fixed| finish(fixed, kind)).transpose();
    let root = match finished {
        Ok(fixed) => fixed.map_or(root, Part::Fixed),
        Err(what) => {
            compiler.wrong(node, None, what, "write it as the receiver will read it");
            return Err(compiler.found);
        }
    };
    let Compiler { origin, needs, mut secrets, signing, warnings, .. } = compiler;
    secrets.shrink_to_fit();
    Ok(Tree { root, kind: kind.clone(), origin, needs, secrets, signing, warnings })
}

/// A value without a place as a node.
pub(super) fn node_of(value: &Json) -> Node {
    let value = match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => Value::Number(value.clone()),
        Json::String(value) => Value::String(value.clone()),
        Json::Array(values) => Value::List(values.iter().map(node_of).collect()),
        Json::Object(map) => {
            let key = |name: &String| Key { name: name.clone(), span: Span::default() };
            Value::Map(map.iter().map(|(name, value)| (key(name), node_of(value))).collect())
        }
    };
    Node { span: Span::default(), value, style: Style::Plain }
}

/// Brings a rendered value into the shape of its kind.
pub(super) fn finish(value: Exact, kind: &Kind) -> Result<Exact, String> {
    match (kind, value) {
        (Kind::List, Exact::List(values)) => {
            let flat =
                values.into_iter().flat_map(|value| if let Exact::List(inner) = value { inner } else { vec![value] });
            let texts: Option<Vec<_>> = flat.map(|value| value.scalar().map(Exact::String)).collect();
            texts.map(Exact::List).ok_or_else(|| "a list may hold only texts".to_owned())
        }
        (Kind::List, Exact::Null) => Ok(Exact::List(Vec::new())),
        (Kind::List, value) => value
            .scalar()
            .map(|text| Exact::List(vec![Exact::String(text)]))
            .ok_or_else(|| "a list may hold only texts".to_owned()),
        (Kind::Bool, Exact::String(text)) if text == "true" || text == "false" => Ok(Exact::Bool(text == "true")),
        (Kind::Integer, Exact::String(text)) => text.trim().parse::<i64>().map(integer).map_err(|_| not_integer()),
        (Kind::Integer, Exact::Number(number)) => {
            let float = || Some(number.as_f64()).filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64);
            number.as_i64().or_else(float).map(integer).ok_or_else(not_integer)
        }
        (Kind::Xml, Exact::String(text)) => xml::check(&text).map(|()| Exact::String(text)),
        (Kind::Xml, Exact::Null) => Ok(Exact::Null),
        (Kind::Xml, tree) => xml::document(&tree).map(Exact::String),
        (_, value) => Ok(value),
    }
}

fn integer(number: i64) -> Exact {
    Exact::Number(Number::from(number))
}

/// Checks what one leaf gave, as far as its kind allows to say.
pub(super) fn check_leaf(value: &Exact, kind: &Kind) -> Result<(), Refusal> {
    match kind {
        Kind::Headers => header_value(value.as_str().unwrap_or_default()),
        Kind::Url => url_text(value.as_str().unwrap_or_default()),
        Kind::Bool => match value {
            Exact::Bool(_) => Ok(()),
            Exact::String(text) if text == "true" || text == "false" => Ok(()),
            _ => refuse(
                "this must be true or false",
                "write true or false without quotes, or one {{ expression }} that gives it",
            ),
        },
        Kind::Integer => {
            finish(value.clone(), kind).map(drop).or_else(|what| refuse(&what, "write a number such as 5"))
        }
        Kind::Choice(words) => choice(value.as_str().unwrap_or_default(), words),
        Kind::List => finish(value.clone(), kind).map(drop).or_else(|what| refuse(&what, "write [a, b], or one text")),
        _ => Ok(()),
    }
}

/// What is wrong with a template, at its place in the file.
pub(super) fn diagnose(origin: &Origin, node: &Node, fault: Fault, code: &'static str) -> Diagnostic {
    let place = origin.place(node, fault.at);
    let (what, help) = match fault.kind {
        FaultKind::Wrong { what, help } => (what, help),
        FaultKind::TooMuch(what) => (what, None),
        FaultKind::Undefined(path) => (format!("`{}` is not defined", path.unwrap_or_default()), None),
    };
    let mut found = Diagnostic::error(code, what);
    found.help = help;
    origin.finish(found, place)
}

/// What was found although it compiles.
pub(super) fn problems(origin: &Origin, node: &Node, inspection: &Inspection, code: &'static str) -> Vec<Diagnostic> {
    let diagnose = |problem: &super::engine::Problem| {
        let mut found = Diagnostic::error(code, problem.what.clone());
        found.help = problem.help.clone();
        origin.finish(found, origin.place(node, Some(problem.at.clone())))
    };
    inspection.problems.iter().map(diagnose).collect()
}

pub(super) struct Compiler<'k> {
    pub(super) origin: Origin,
    kind: &'k Kind,
    needs: Needs,
    secrets: Vec<(String, crate::rules::diagnostic::Place)>,
    pub(super) signing: Option<Signing>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) found: Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn option(&mut self, node: &Node) -> Part {
        match (self.kind, &node.value) {
            (Kind::Tree | Kind::TreeOf(_), _) => self.tree(node),
            (Kind::Xml, Value::Map(_)) => {
                self.element_names(node);
                self.tree(node)
            }
            (Kind::Headers, _) => self.headers(node),
            (Kind::Sign, _) => self.sign(node),
            (Kind::List, Value::List(nodes)) => Part::List(nodes.iter().map(|node| self.scalar(node)).collect()),
            _ => self.scalar(node),
        }
    }

    fn tree(&mut self, node: &Node) -> Part {
        match &node.value {
            Value::List(nodes) => {
                let parts: Vec<_> = nodes.iter().map(|node| self.tree(node)).collect();
                fold(Part::List(parts))
            }
            Value::Map(entries) => {
                let parts: Vec<_> = entries.iter().map(|(key, node)| (key.name.clone(), self.tree(node))).collect();
                fold(Part::Map(parts))
            }
            Value::String(text) if is_template(text) => {
                let escape = if let Kind::TreeOf(kind) = self.kind { Escape::of(kind) } else { Escape::Text };
                self.text(text, node, escape, true)
            }
            _ => Part::Fixed(self.exact(node)),
        }
    }

    /// Names of elements are the author's, so they are checked before an event comes.
    fn element_names(&mut self, node: &Node) {
        match &node.value {
            Value::List(nodes) => nodes.iter().for_each(|node| self.element_names(node)),
            Value::Map(entries) => {
                for (key, node) in entries {
                    let name = key.name.strip_prefix('@').unwrap_or(&key.name);
                    if !xml::is_name(name) && key.name != "#text" {
                        let what = format!("`{}` cannot be the name of an XML element", key.name);
                        let at = Node { span: key.span, value: Value::Null, style: Style::Plain };
                        self.wrong(
                            &at,
                            None,
                            what,
                            "use letters, digits, - and _; @name is an attribute, #text the text",
                        );
                    }
                    self.element_names(node);
                }
            }
            _ => {}
        }
    }

    /// A value of the file with its numbers as they are written there.
    fn exact(&self, node: &Node) -> Exact {
        match &self.origin {
            Origin::File(source) => node.to_exact(source),
            Origin::Default(_) => Exact::from(&node.to_json()),
        }
    }

    fn headers(&mut self, node: &Node) -> Part {
        let Value::Map(entries) = &node.value else {
            self.wrong(
                node,
                None,
                format!("headers are a map, not {}", node.describe()),
                "write it as in {Authorization: \"Bearer …\"}",
            );
            return Part::Fixed(Exact::Null);
        };
        let parts = entries.iter().map(|(key, node)| {
            if HeaderName::from_bytes(key.name.as_bytes()).is_err() {
                let what = format!("`{}` cannot be the name of a header", key.name);
                let help = "use letters, digits and - only";
                let at = Node { span: key.span, value: Value::Null, style: Style::Plain };
                self.wrong(&at, None, what, help);
            }
            (key.name.to_ascii_lowercase(), self.scalar(node))
        });
        let parts = parts.collect();
        Part::Map(parts)
    }

    /// One text, number or secret.
    pub(super) fn scalar(&mut self, node: &Node) -> Part {
        if let Some(name) = secret_name(node) {
            return self.secret(name, node);
        }
        let part = match (self.kind, &node.value) {
            (_, Value::String(text)) => self.kind_text(text, node),
            (Kind::Bool, Value::Bool(_)) | (Kind::Integer, Value::Number(_)) => Part::Fixed(self.exact(node)),
            (_, Value::Number(_) | Value::Bool(_)) => Part::Fixed(Exact::String(self.as_written(node))),
            (_, Value::Null) => {
                self.wrong(node, None, "nothing stands here", "give it a value, or remove the line");
                Part::Fixed(Exact::Null)
            }
            (_, Value::List(_) | Value::Map(_)) => {
                let (expected, example) = expected(self.kind);
                let what = format!("this must be {expected}, not {}", node.describe());
                let help = secret_hint(node).unwrap_or_else(|| format!("write {example}"));
                self.wrong(node, None, what, help);
                Part::Fixed(Exact::Null)
            }
        };
        if let Part::Fixed(value) = &part
            && !value.is_null()
            && let Err((what, help)) = check_leaf(value, self.kind)
        {
            self.wrong(node, None, what, help);
        }
        part
    }

    fn kind_text(&mut self, text: &str, node: &Node) -> Part {
        match self.kind {
            Kind::Text => self.text(text, node, Escape::Text, false),
            kind @ (Kind::Chat
            | Kind::Message
            | Kind::Markdown
            | Kind::Html
            | Kind::Mrkdwn
            | Kind::MarkdownV2
            | Kind::At(_)) => self.text(chomped(text), node, Escape::of(kind), false),
            Kind::Xml => self.xml(text, node),
            Kind::Url => self.url(chomped(text), node),
            Kind::Headers => self.text(chomped(text), node, Escape::Text, text.contains(OMIT)),
            Kind::Secret | Kind::Sign | Kind::Choice(_) => self.text(chomped(text), node, Escape::Text, false),
            Kind::List | Kind::Bool | Kind::Integer => self.text(chomped(text), node, Escape::Text, true),
            Kind::Tree | Kind::TreeOf(_) => self.text(text, node, Escape::Text, true),
        }
    }

    fn text(&mut self, text: &str, node: &Node, escape: Escape, typed: bool) -> Part {
        if !is_template(text) {
            return Part::Fixed(Exact::String(text.to_owned()));
        }
        let (leaf, inspection) = match Leaf::compile(text, escape, typed) {
            Ok(compiled) => compiled,
            Err(fault) => {
                self.found.push(diagnose(&self.origin, node, fault, "template"));
                return Part::Fixed(Exact::Null);
            }
        };
        self.found.extend(problems(&self.origin, node, &inspection, "template"));
        for (name, at) in inspection.secrets {
            self.name_secret(name, node, Some(at));
        }
        self.needs.add(leaf.variables());
        Part::Leaf(Box::new(leaf), Box::new(node.clone()))
    }

    fn xml(&mut self, text: &str, node: &Node) -> Part {
        if let Some((at, what)) = xml::unescapable(text) {
            let help = "let it stand in an element or a quoted attribute, where it is escaped";
            self.wrong(node, Some(at..at + 2), format!("in {what} of XML a value cannot be escaped"), help);
        }
        self.text(text, node, Escape::Xml, false)
    }

    fn url(&mut self, text: &str, node: &Node) -> Part {
        let text = text.trim_end();
        if !is_template(text) {
            return Part::Fixed(Exact::String(text.to_owned()));
        }
        if let Some(inner) = only_expression(text)
            && text[inner].trim().starts_with("secret(")
        {
            // The whole URL is a secret: event data has no part in it when nothing but the call stands there.
            let part = self.text(text, node, Escape::Text, false);
            if self.needs.varies() {
                let what = "event data cannot stand beside a secret that is the whole URL";
                self.wrong(node, None, what, "write {secret: NAME} alone, or a literal https://HOST/ in front");
            }
            return part;
        }
        let open = ["{{", "{%", "{#"].iter().filter_map(|open| text.find(open)).min().unwrap_or(0);
        if !authority_is_complete(&text[..open]) {
            let what = "a template may not choose where a request goes: scheme, host and port must be literal";
            let help = "write https://HOST/ in front of the first {{ }}, or give the whole URL as {secret: NAME}";
            self.wrong(node, Some(open..open + 2), what, help);
            return Part::Fixed(Exact::Null);
        }
        self.text(text, node, Escape::Url, false)
    }

    fn secret(&mut self, name: &str, node: &Node) -> Part {
        self.name_secret(name.to_owned(), node, None);
        let place = Node { span: node.span, value: Value::Null, style: Style::Plain };
        Part::Secret(name.to_owned(), Box::new(place))
    }

    fn name_secret(&mut self, name: String, node: &Node, at: Option<Range<usize>>) {
        if self.secrets.iter().any(|(known, _)| *known == name) {
            return;
        }
        let place = self.origin.place(node, at);
        let nowhere = || crate::rules::diagnostic::Place {
            file: String::new(),
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
        };
        self.secrets.push((name, place.unwrap_or_else(nowhere)));
    }

    /// `1.10` is a version, not the number 1.1.
    fn as_written(&self, node: &Node) -> String {
        self.exact(node).to_string()
    }

    pub(super) fn wrong(
        &mut self,
        node: &Node,
        at: Option<Range<usize>>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        let found = Diagnostic::error("option", what).help(help);
        let place = self.origin.place(node, at);
        self.found.push(self.origin.finish(found, place));
    }
}

impl Part {
    /// The value, when nothing in it is templated.
    fn fixed(&self) -> Option<Exact> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Leaf(..) | Self::Secret(..) => None,
            Self::List(parts) => parts.iter().map(Self::fixed).collect::<Option<Vec<_>>>().map(Exact::List),
            Self::Map(parts) => {
                let entries = parts.iter().map(|(name, part)| Some((name.clone(), part.fixed()?)));
                entries.collect::<Option<_>>().map(Exact::Map)
            }
        }
    }
}

/// A subtree without templates becomes one value, cloned at once.
fn fold(part: Part) -> Part {
    part.fixed().map_or(part, Part::Fixed)
}

/// `{secret: NAME}`: a map with exactly that key.
fn secret_name(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Map(entries) => match entries.as_slice() {
            [(key, Node { value: Value::String(name), .. })] if key.name == "secret" && !name.is_empty() => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn secret_hint(node: &Node) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let near = entries.iter().any(|(key, _)| key.name == "secret" || nearest(&key.name, &["secret"]).is_some());
    near.then(|| "a secret is written {secret: NAME}".to_owned())
}

/// What a kind takes, and how it is written.
fn expected(kind: &Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Xml => {
            ("XML, or a map with the root element", "<order id=\"{{ id }}\"/> or {order: {\"@id\": \"{{ id }}\"}}")
        }
        Kind::Url => ("a URL", "https://HOST/PATH or {secret: NAME}"),
        Kind::List => ("a text or a list of texts", "[a, b]"),
        Kind::Bool => ("true or false", "true"),
        Kind::Integer => ("a whole number", "a number such as 5"),
        Kind::Secret => ("a secret", "{secret: NAME}"),
        Kind::Sign => ("a key", "{secret: NAME}, or a list of those"),
        Kind::Choice(_) => ("one word", "one of its words"),
        _ => ("a text", "one text; text over several lines begins with |"),
    }
}

fn chomped(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

/// Whether scheme, user info, host and port end before the first template.
fn authority_is_complete(literal: &str) -> bool {
    let after_scheme = literal.strip_prefix("https://").or_else(|| literal.strip_prefix("http://"));
    after_scheme.and_then(|rest| rest.find(['/', '?', '#'])).is_some_and(|end| end > 0)
}

/// A value of a header cannot end its line. Other bytes than ASCII have no agreed meaning there.
pub(super) fn header_value(value: &str) -> Result<(), Refusal> {
    if value.contains(['\r', '\n', '\0']) {
        let help =
            "take line breaks out: {{ value | replace(\"\\n\", \" \") }}, or encode them: {{ value | urlencode }}";
        return refuse("the value of a header may not contain a line break or a zero byte", help);
    }
    if !value.is_ascii() {
        let help = "encode it: {{ value | urlencode }}, or as RFC 8187 says: title*=UTF-8''{{ value | urlencode }}";
        return refuse("the value of a header may contain only ASCII", help);
    }
    if HeaderValue::from_str(value).is_err() {
        return refuse(
            "the value of a header may not contain control characters",
            "encode it: {{ value | urlencode }}",
        );
    }
    Ok(())
}

/// A path of only dots climbs: no encoding keeps `..` from meaning the folder above.
fn url_text(url: &str) -> Result<(), Refusal> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    if path.split('/').any(|segment| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")) {
        let what = "a part of the path is only dots, which would climb out of the path";
        return refuse(what, "put this value into the query, or put a letter in front of it");
    }
    match url::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            refuse("a URL begins with https:// or http://", "write it as in https://HOST/PATH")
        }
        Err(error) => refuse(&format!("this is no URL: {error}"), "write it as in https://HOST/PATH"),
    }
}

/// What is wrong with a value, and the remedy.
type Refusal = (String, String);

fn refuse(what: &str, help: &str) -> Result<(), Refusal> {
    Err((what.to_owned(), help.to_owned()))
}

fn choice(word: &str, words: &[String]) -> Result<(), Refusal> {
    if words.iter().any(|known| known == word) {
        return Ok(());
    }
    let help = match nearest(word, &words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of {}", words.join(", ")),
    };
    refuse(&format!("`{word}` is not one of {}", words.join(", ")), &help)
}

fn not_integer() -> String {
    "this must be a whole number".to_owned()
}
