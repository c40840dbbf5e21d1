//! What a value could break: a hook is rendered with quotes, line breaks, Chinese, emoji, nothing and very much where its
//! templates take something from the event. What comes of it is a warning at the template, never an error: perhaps such a
//! value never comes.
//!
//! Escaping is the kind's, so most templates cannot break. What can is JSON or XML that is written as text, a header, a
//! URL with `| safe`, a text that the platform refuses, and a field that some of the events that are wanted do not have.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::rules::diagnostic::Diagnostic;
use crate::rules::hook::Hook;
use crate::rules::manifest::Kind;
use crate::rules::platform::{Given, RenderError};
use crate::rules::proof;
use crate::rules::template::{LeafView, Tree};
use crate::rules::xml;
use crate::words::event::Event;
use crate::words::json::Exact;
use crate::words::limits;
use crate::words::secret::Secrets;

/// The codes of what is found.
pub const CODES: [&str; 6] =
    ["fragile-json", "fragile-xml", "fragile-header", "fragile-url", "fragile-message", "fragile-field"];

/// A piece of text that breaks things, and what people call it.
struct Nasty {
    name: &'static str,
    text: &'static str,
}

const NASTY: [Nasty; 4] = [
    Nasty { name: "a quote", text: "a \"quoted\" 'word' \\ here" },
    Nasty { name: "a line break", text: "two\nlines\r\nand more" },
    Nasty { name: "an angle bracket or an ampersand", text: "</b> & <c d=\"e\"> ]]>" },
    Nasty { name: "Chinese or an emoji", text: "应用更新 \u{1f680}\u{1f468}\u{200d}\u{1f469}" },
];
/// What turns one URL into another.
const TURNING: &str = "a/b?c=d&e#f";
const PLAIN: &str = "sample";

/// What could break. Takes some renderings: it is for hooks that are new.
pub fn warnings(hook: &Hook) -> Vec<Diagnostic> {
    let secrets = hook.with_stand_ins(&Secrets::default());
    let trial = Trial { hook, secrets: &secrets };
    let mut found = Vec::new();
    let leaves: Vec<(&str, LeafView<'_>)> =
        hook.options.iter().flat_map(|(name, tree)| leaves(tree).map(|leaf| (name.as_str(), leaf))).collect();
    if leaves.is_empty() {
        return found;
    }
    for base in trial.bases() {
        for (option, leaf) in &leaves {
            found.extend(trial.leaf(option, leaf, &base));
        }
        found.extend(trial.message(&leaves, &base));
    }
    found.extend(trial.fields(&leaves));
    // The same place is told of once.
    let mut told = Vec::new();
    found.retain(|one| {
        let key = (one.code, one.place.as_ref().map(|place| (place.line, place.column)));
        let new = !told.contains(&key);
        told.push(key);
        new
    });
    found
}

/// Those that the hook file says itself, and that take something from the event.
fn leaves(tree: &Tree) -> impl Iterator<Item = LeafView<'_>> {
    let leaves = tree.leaves().into_iter();
    leaves.filter(|leaf| leaf.place(None).is_some() && !paths(leaf).is_empty())
}

/// The variables of a leaf that are fields of the event's data, with their paths.
fn paths(leaf: &LeafView<'_>) -> Vec<(String, Vec<String>)> {
    let mut paths: Vec<_> = leaf
        .variables()
        .into_iter()
        .map(|name| (proof::path_of(&name), name))
        .map(|(path, name)| (name, path))
        .collect();
    paths.retain(|(_, path)| !path.is_empty());
    paths
}

struct Trial<'a> {
    hook: &'a Hook,
    secrets: &'a Secrets,
}

/// An event that nothing is wrong with.
struct Base {
    event: Event,
    /// Made up here: of its fields nobody knows what they are.
    made_up: bool,
}

impl Base {
    /// The same with other texts in one field, or where there is none in all.
    fn with(&self, path: Option<&[String]>, text: &str) -> Event {
        let mut data = self.event.data().clone();
        match path {
            None => replace(&mut data, text),
            Some(path) => match at(&mut data, path) {
                Some(value @ (Json::Array(_) | Json::Object(_))) => replace(value, text),
                _ => proof::put(&mut data, path, &json!(text)),
            },
        }
        let mut event =
            Event::new(self.event.kind.clone(), Some(self.event.id.clone()), data.to_string(), self.event.time);
        event.source.clone_from(&self.event.source);
        event
    }
}

fn at<'j>(data: &'j mut Json, path: &[String]) -> Option<&'j mut Json> {
    path.iter().try_fold(data, |level, name| level.get_mut(name.as_str()))
}

/// Puts the text in place of all texts.
fn replace(value: &mut Json, text: &str) {
    match value {
        Json::String(old) => text.clone_into(old),
        Json::Array(values) => values.iter_mut().for_each(|value| replace(value, text)),
        Json::Object(members) => members.values_mut().for_each(|value| replace(value, text)),
        _ => {}
    }
}

impl Trial<'_> {
    /// The events of its tests, else one that has every field that the hook names.
    fn bases(&self) -> Vec<Base> {
        let wanted =
            self.hook.tests.iter().filter(|test| test.expect.wanted != Some(false) && test.expect.error.is_none());
        let of_tests = wanted.filter_map(|test| Some(test.event.as_ref()?.to_event(Timestamp::UNIX_EPOCH)));
        let mut bases: Vec<Base> = of_tests.map(|event| Base { event, made_up: false }).take(2).collect();
        if bases.is_empty() {
            bases.push(Base { event: proof::example(self.hook), made_up: true });
        }
        bases
    }

    fn given<'e>(&'e self, event: &'e Event) -> Given<'e> {
        Given {
            id: "proof-1",
            attempt: 1,
            now: Timestamp::UNIX_EPOCH,
            hook: &self.hook.name,
            event,
            secrets: self.secrets,
        }
    }

    fn text(&self, leaf: &LeafView<'_>, event: &Event) -> Option<String> {
        leaf.render(&self.given(event)).ok()??.scalar()
    }

    /// Whether one leaf can break.
    fn leaf(&self, option: &str, leaf: &LeafView<'_>, base: &Base) -> Option<Diagnostic> {
        match leaf.kind() {
            Kind::Headers => self.header(option, leaf, base),
            Kind::Url => self.url(option, leaf, base),
            Kind::Xml | Kind::Bool | Kind::Integer | Kind::Choice(_) => None,
            _ if leaf.written().trim_start().starts_with(['{', '[', '<']) => self.structure(option, leaf, base),
            _ => None,
        }
    }

    fn header(&self, option: &str, leaf: &LeafView<'_>, base: &Base) -> Option<Diagnostic> {
        self.text(leaf, &base.event)?;
        for (name, path) in paths(leaf) {
            for nasty in &NASTY {
                let event = base.with(Some(&path), nasty.text);
                let Err(RenderError::Wrong(refused)) = leaf.render(&self.given(&event)) else { continue };
                if refused.code != "render" || !refused.what.contains("header") {
                    continue;
                }
                let what = format!(
                    "{} in `{name}` would break a header of `{option}`: the event could not be sent",
                    nasty.name
                );
                let found = Diagnostic::warning("fragile-header", what).note(refused.what.clone());
                return Some(
                    placed(found, leaf, &name).help("encode it: {{ value | urlencode }}, or take it into the body"),
                );
            }
        }
        None
    }

    fn url(&self, option: &str, leaf: &LeafView<'_>, base: &Base) -> Option<Diagnostic> {
        let before = shape_of_url(&self.text(leaf, &base.event)?)?;
        for (name, path) in paths(leaf) {
            let after = self.text(leaf, &base.with(Some(&path), TURNING)).and_then(|url| shape_of_url(&url));
            if after.is_some_and(|after| after != before) {
                let what = format!("a / or ? in `{name}` would make another URL of `{option}`");
                let help = "take `| safe` away: what is interpolated into a URL is then encoded";
                return Some(placed(Diagnostic::warning("fragile-url", what), leaf, &name).help(help));
            }
        }
        None
    }

    /// JSON or XML that is written as text.
    fn structure(&self, option: &str, leaf: &LeafView<'_>, base: &Base) -> Option<Diagnostic> {
        let numbers = Base { event: self.with_numbers(leaf, base), made_up: true };
        let text = self.text(leaf, &base.event).and_then(|text| Structure::of(&text)).map(|found| (found, base));
        let number =
            || self.text(leaf, &numbers.event).and_then(|text| Structure::of(&text)).map(|found| (found, &numbers));
        let (structure, base) = match text {
            Some(found) => found,
            None if base.made_up => number()?,
            None => return None,
        };
        let holds = |event: &Event| self.text(leaf, event).is_none_or(|text| Structure::of(&text) == Some(structure));
        for (name, path) in paths(leaf) {
            if !holds(&base.with(Some(&path), PLAIN)) {
                // No text stands there, but a number or the like.
                continue;
            }
            let Some(nasty) = NASTY.iter().find(|nasty| !holds(&base.with(Some(&path), nasty.text))) else { continue };
            let (code, what, help) = match structure {
                Structure::Json => ("fragile-json", "JSON", json_help(option)),
                Structure::Xml => ("fragile-xml", "XML", xml_help(option)),
            };
            let what = format!("{} in `{name}` would break the {what} in `{option}`", nasty.name);
            return Some(placed(Diagnostic::warning(code, what), leaf, &name).help(help));
        }
        None
    }

    fn with_numbers(&self, leaf: &LeafView<'_>, base: &Base) -> Event {
        let mut data = base.event.data().clone();
        for (_, path) in paths(leaf) {
            proof::put(&mut data, &path, &json!(3));
        }
        Event::new(base.event.kind.clone(), Some(base.event.id.clone()), data.to_string(), base.event.time)
    }

    /// Whether the platform refuses the whole for what stands in it.
    fn message(&self, leaves: &[(&str, LeafView<'_>)], base: &Base) -> Option<Diagnostic> {
        self.hook.render(&self.given(&base.event)).ok()?;
        let refuses = |event: &Event| match self.hook.render(&self.given(event)) {
            // What a script throws, or a request that cannot be sent.
            Err(RenderError::Wrong(refused)) if matches!(refused.code, "refused" | "request") => Some(refused.what),
            _ => None,
        };
        let huge = "很长的文字".repeat(limits::FRAGILE_TEXT / "很长的文字".len());
        let mixed = NASTY.each_ref().map(|nasty| nasty.text).join(" ");
        // Who says `overflow: fail` wants to be told.
        let fails = self.hook.options.iter().any(|(name, tree)| name == "overflow" && tree.says("fail"));
        // What names something in a URL is short.
        let short = leaves.iter().filter(|(_, leaf)| *leaf.kind() == Kind::Url).flat_map(|(_, leaf)| paths(leaf));
        let short: Vec<Vec<String>> = short.map(|(_, path)| path).collect();
        let all = |text: &str| {
            let event = base.with(None, text);
            short.iter().fold(event, |event, path| Base { event, made_up: base.made_up }.with(Some(path), PLAIN))
        };
        let mut values: Vec<(&str, &str)> = Vec::new();
        // Most take them all at once, and one rendering says so.
        if refuses(&all(&mixed)).is_some() {
            values.extend(NASTY.iter().map(|nasty| (nasty.name, nasty.text)));
        }
        if !fails {
            values.push(("a very long text", &huge));
        }
        for (named, text) in values {
            let Some(why) = refuses(&all(text)) else { continue };
            for (option, leaf) in leaves {
                for (name, path) in paths(leaf).into_iter().filter(|(_, path)| !short.contains(path)) {
                    if refuses(&base.with(Some(&path), text)).is_none() {
                        continue;
                    }
                    let what = format!("{named} in `{name}` would be refused: `{option}` could not be sent");
                    let found = Diagnostic::warning("fragile-message", what).note(why);
                    let help = "shorten or clean it there, as in {{ value | truncate_chars(200) }}";
                    return Some(placed(found, leaf, &name).help(help));
                }
            }
        }
        None
    }

    /// Fields that are taken for granted although events of every type are wanted.
    fn fields(&self, leaves: &[(&str, LeafView<'_>)]) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.hook.when.is_some() || !self.hook.events.iter().any(|pattern| pattern == "*") {
            return found;
        }
        let nothing = Event::new("sample", Some("sample".to_owned()), "{}", Timestamp::UNIX_EPOCH);
        for (option, leaf) in leaves {
            let Err(RenderError::Wrong(refused)) = leaf.render(&self.given(&nothing)) else { continue };
            if refused.code != "undefined" {
                continue;
            }
            let name = refused.what.split('`').nth(1).unwrap_or("a field").to_owned();
            let what = format!("`{option}` takes `{name}` for granted, and this hook wants every event");
            let mut warning = Diagnostic::warning("fragile-field", what)
                .note("an event without it could not be sent")
                .help("name the types in `events`, or write {{ value | default('') }}");
            warning.place = refused.place.or_else(|| leaf.place(None));
            found.push(warning);
        }
        found
    }
}

fn placed(mut found: Diagnostic, leaf: &LeafView<'_>, name: &str) -> Diagnostic {
    found.place = leaf.place(Some(name));
    found
}

fn json_help(option: &str) -> &'static str {
    match option {
        "text" => "write the body under `json:` as YAML, or the value as {{ value | tojson }} without quotes around it",
        _ => "write it as YAML instead of a text, or the value as {{ value | tojson }} without quotes around it",
    }
}

fn xml_help(option: &str) -> &'static str {
    match option {
        "text" => "write the body under `xml:`, where values are escaped",
        _ => "write the value as {{ value | e }}, or the XML under `xml:`",
    }
}

/// What a text is by its form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Structure {
    Json,
    Xml,
}

impl Structure {
    fn of(text: &str) -> Option<Self> {
        match text.trim_start().chars().next()? {
            '{' | '[' => Exact::parse(text.as_bytes()).map(|_| Self::Json),
            '<' => xml::check(text).ok().map(|()| Self::Xml),
            _ => None,
        }
    }
}

/// What must stay as it is: the place, the number of pieces of the path, the names in the query.
fn shape_of_url(text: &str) -> Option<(String, usize, Vec<String>, bool)> {
    let url = url::Url::parse(text).ok()?;
    let place = format!("{}://{}@{}:{:?}", url.scheme(), url.username(), url.host_str()?, url.port());
    let names = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    Some((place, url.path().split('/').count(), names, url.fragment().is_some()))
}

#[cfg(test)]
mod tests;
