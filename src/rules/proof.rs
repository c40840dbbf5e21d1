//! Trying hooks and scripts out on made-up events before they are loaded: nothing that they do may take too much.
//!
//! This is meant to run in a process of its own, which may be killed: each step is told before it is taken, so that
//! whoever looks on knows where it ended. Ordinary errors are no matter here. A field that an event lacks, a text that
//! is too long for a platform: that is for `tests:` and for the delivery itself. What counts is whatever goes beyond a
//! bound with an event as small as these.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::rules::diagnostic::{Diagnostic, Place, Source, Span, TOO_MUCH};
use crate::rules::hook::Hook;
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::platform::{Given, Platform, RenderError};
use crate::rules::source::{Incoming, Outcome, SourceScript, read_source_options};
use crate::rules::template;
use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{self, Node, Value};
use crate::words::event::Event;
use crate::words::exchange::Response;
use crate::words::json::{Exact, Members};
use crate::words::limits;
use crate::words::secret::Secrets;

/// What is about to be done, and where it is written.
pub type Tell<'a> = dyn FnMut(&str, Option<Place>) + 'a;

/// An event that a hook is tried with.
struct Sample {
    event: Event,
    /// Small enough that nothing sound goes beyond a bound with it.
    small: bool,
    /// Whether its platform's script is asked as well: it is given texts, whatever the event.
    whole: bool,
}

/// Tries a hook. Gives what goes beyond a bound.
pub fn hook(hook: &Hook, tell: &mut Tell<'_>) -> Vec<Diagnostic> {
    let secrets = hook.with_stand_ins(&Secrets::default());
    let mut found = Vec::new();
    for sample in samples(hook) {
        let mut beyond = render(hook, &sample.event, &secrets, sample.whole, tell);
        beyond.extend(digest(hook, &sample.event, &secrets, tell));
        if sample.small {
            beyond.into_iter().for_each(|beyond| note(&mut found, beyond));
        }
    }
    if !hook.verdict.is_empty() {
        tell("`verdict`", place_of_key(&hook.source, "verdict"));
        for response in responses() {
            hook.verdict(&response, Timestamp::UNIX_EPOCH, |_, _| {});
        }
    }
    found
}

/// Reads every template of a hook file by itself, before the file is read as a whole: reading alone can take too much.
pub fn read(source: &Source, tell: &mut Tell<'_>) {
    tell("the YAML", Some(Place::of_file(&source.name)));
    if let Ok(root) = yaml::parse(source) {
        read_node(source, &root, tell);
    }
    tell("the file", Some(Place::of_file(&source.name)));
}

fn read_node(source: &Source, node: &Node, tell: &mut Tell<'_>) {
    match &node.value {
        Value::String(text) => {
            tell("this text", Some(source.place(node.span)));
            template::try_compile(text);
        }
        Value::List(nodes) => nodes.iter().for_each(|node| read_node(source, node, tell)),
        Value::Map(entries) => entries.iter().for_each(|(_, node)| read_node(source, node, tell)),
        _ => {}
    }
}

/// Renders one event as a delivery does, step by step; only if `whole` up to the request. Gives what goes beyond a bound.
pub fn render(hook: &Hook, event: &Event, secrets: &Secrets, whole: bool, tell: &mut Tell<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(when) = &hook.when {
        let place = place_of_key(&hook.source, "when");
        tell("`when`", place.clone());
        if let Some(what) = when.too_much(event, &hook.name) {
            let beyond = Diagnostic::error(TOO_MUCH, what).help("make the condition simpler");
            found.push(Diagnostic { place, ..beyond });
        }
    }
    let given = given(hook, event, secrets);
    for (name, tree) in hook.trees() {
        let mut tell_leaf = |place: Option<Place>| tell(&format!("`{name}`"), place);
        found.extend(tree.try_leaves(&given, &mut tell_leaf));
    }
    if !whole {
        return found;
    }
    tell(&format!("the request of the platform {}", hook.platform.name), place_of_key(&hook.source, "platform"));
    if let Err(RenderError::Wrong(beyond)) = hook.render(&given)
        && beyond.code == TOO_MUCH
    {
        found.push(*beyond);
    }
    found
}

/// Renders the text of a digest of as many of this event as go in one. Gives what goes beyond a bound.
fn digest(hook: &Hook, event: &Event, secrets: &Secrets, tell: &mut Tell<'_>) -> Option<Diagnostic> {
    let digest = hook.digest.as_ref()?;
    let place = digest.text().and_then(|text| text.place()).or_else(|| place_of_key(&hook.source, "digest"));
    tell("`digest`", place);
    match hook.try_digest(&given(hook, event, secrets)) {
        Err(RenderError::Wrong(beyond)) if beyond.code == TOO_MUCH => Some(*beyond),
        _ => None,
    }
}

/// Tries a source's script with small requests. Gives what goes beyond a bound.
pub fn source_script(script: &Arc<SourceScript>, tell: &mut Tell<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let file = Source::new("", "");
    let mut reader = Reader::new(&file);
    let Some(source) = read_source_options(&mut reader, &script.name, Span::default(), None, script) else {
        // It needs options that only the main file has.
        return found;
    };
    let secrets = Secrets::default();
    for (method, body) in [(Method::POST, "{\"type\":\"t\"}"), (Method::POST, ""), (Method::GET, "")] {
        tell("its answer to a request", Some(Place::of_file(&script.source.name)));
        let incoming = Incoming {
            method,
            target: format!("/in/{}", script.name),
            event: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let outcome = match source.open(&incoming, &secrets, Timestamp::UNIX_EPOCH) {
            Ok(opened) => opened.events(&secrets, Timestamp::UNIX_EPOCH),
            Err(outcome) => outcome,
        };
        if let Outcome::Failed(beyond) = outcome
            && beyond.code == TOO_MUCH
        {
            note(&mut found, *beyond);
        }
    }
    found
}

/// Tries a platform's script with options made up for it. Gives what goes beyond a bound.
pub fn platform(platform: &Platform, tell: &mut Tell<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let place = |function: &str| place_of(&platform.source, &format!("fn {function}"));
    let option =
        |spec: &OptionSpec| Some((spec.name.clone(), Exact::parse(option_value(spec).to_string().as_bytes())?));
    let options: Members = platform.manifest.options.iter().filter_map(option).collect();
    let options = platform.options(&options);
    let secrets = Secrets::default();
    tell("`request`", place("request"));
    for data in [json!({}), filled(&fields_of_nothing(), &json!("sample"))] {
        let event = event("sample", &data);
        let given = Given {
            id: "proof-1",
            attempt: 1,
            now: Timestamp::UNIX_EPOCH,
            hook: "proof",
            event: &event,
            secrets: &secrets,
        };
        if let Err(RenderError::Wrong(beyond)) = platform.request(&given, options.clone())
            && beyond.code == TOO_MUCH
        {
            note(&mut found, *beyond);
        }
    }
    tell("`verdict`", place("verdict"));
    for response in responses() {
        if let Err(beyond) = platform.judge(&response, Timestamp::UNIX_EPOCH)
            && beyond.code == TOO_MUCH
        {
            note(&mut found, *beyond);
        }
    }
    found
}

/// An event to show a hook with: that of its first test, else one that has every field the hook names.
pub fn example(hook: &Hook) -> Event {
    if hook.tests.iter().any(|test| test.event.is_some()) {
        return hook.sample_event();
    }
    let mut fields = fields(hook);
    if fields.is_empty() {
        fields.insert(vec!["message".to_owned()]);
    }
    event(&kind_of(hook), &filled(&fields, &json!("sample")))
}

/// A type that the hook wants.
fn kind_of(hook: &Hook) -> String {
    hook.events.first().map_or_else(|| "sample".to_owned(), |pattern| pattern.replace(['*', '?'], "sample"))
}

fn note(found: &mut Vec<Diagnostic>, beyond: Diagnostic) {
    if !found.iter().any(|known| known.place == beyond.place) {
        found.push(beyond);
    }
}

fn given<'a>(hook: &'a Hook, event: &'a Event, secrets: &'a Secrets) -> Given<'a> {
    Given { id: "proof-1", attempt: 1, now: Timestamp::UNIX_EPOCH, hook: &hook.name, event, secrets }
}

/// The events of its `tests:`, and made-up ones that have every field the hook names, filled with one thing each.
fn samples(hook: &Hook) -> Vec<Sample> {
    let of_tests = hook.tests.iter().filter_map(|test| Some(test.event.as_ref()?.to_event(Timestamp::UNIX_EPOCH)));
    let mut samples: Vec<_> = of_tests.map(|event| Sample { event, small: true, whole: true }).collect();
    let fields = fields(hook);
    let kind = kind_of(hook);
    let mut add = |value: Json, small: bool, whole: bool| {
        samples.push(Sample { event: event(&kind, &filled(&fields, &value)), small, whole });
    };
    add(json!("sample"), true, true);
    if fields.is_empty() {
        // Every other event is the same to it.
        return samples;
    }
    add(json!(3), true, false);
    add(json!(["one", "two"]), true, false);
    add(json!({"a": {"b": ["c", null, true]}, "name": "sample"}), true, false);
    add(json!(1000), false, false);
    add(json!(1_000_000_000_000_000_u64), false, false);
    let line = "应用 <@all> [x](y) \"quoted\" {{ text }} \\ \u{200b}\n";
    add(json!(line.repeat(limits::PROOF_TEXT / line.len())), false, true);
    samples.push(Sample { event: event(&kind, &json!({})), small: true, whole: false });
    samples
}

impl Hook {
    /// An event that has every field the hook names.
    pub(crate) fn filled_event(&self) -> Event {
        event("sample", &filled(&fields(self), &json!("sample")))
    }
}

fn event(kind: &str, data: &Json) -> Event {
    let mut event = Event::new(kind, Some("sample".to_owned()), data.to_string(), Timestamp::UNIX_EPOCH);
    event.source = "sample".to_owned();
    event
}

/// The paths below `data` that the hook's templates name.
fn fields(hook: &Hook) -> BTreeSet<Vec<String>> {
    let of_options = hook.trees().flat_map(|(_, tree)| tree.variables());
    let of_when = hook.when.iter().flat_map(|when| when.variables());
    of_options.chain(of_when).map(|name| path_of(&name)).filter(|path| !path.is_empty()).collect()
}

/// The path below `data` that a variable means; an empty one when it is none of the event's data.
pub fn path_of(variable: &str) -> Vec<String> {
    const OWN: [&str; 8] = ["event", "hook", "attempt", "secret", "range", "dict", "namespace", "loop"];
    let mut path: Vec<String> = variable.split('.').map(str::to_owned).collect();
    if path.first().is_some_and(|first| first == "event") && path.get(1).is_some_and(|second| second == "data") {
        path.drain(..2);
    } else if path.first().is_some_and(|first| first == "data") {
        path.remove(0);
    } else if path.first().is_some_and(|first| OWN.contains(&first.as_str())) {
        path.clear();
    }
    path
}

fn fields_of_nothing() -> BTreeSet<Vec<String>> {
    ["title", "message", "text"].map(|name| vec![name.to_owned()]).into()
}

/// Data in which each of these paths leads to the value.
fn filled(fields: &BTreeSet<Vec<String>>, value: &Json) -> Json {
    let mut data = json!({});
    for path in fields {
        let at = place_in(&mut data, path);
        if at.is_null() {
            *at = value.clone();
        }
    }
    data
}

/// Puts a value where the path leads.
pub fn put(data: &mut Json, path: &[String], value: &Json) {
    value.clone_into(place_in(data, path));
}

fn place_in<'j>(data: &'j mut Json, path: &[String]) -> &'j mut Json {
    let mut at = data;
    for name in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name.as_str()];
    }
    at
}

/// A value of the option's kind.
fn option_value(spec: &OptionSpec) -> Json {
    match &spec.kind {
        Kind::Url => json!("https://sample.invalid/robot?key=sample"),
        Kind::Headers => json!({"x-sample": "sample"}),
        Kind::List => json!(["sample"]),
        Kind::Bool => json!(true),
        Kind::Integer => json!(3),
        Kind::Choice(words) => words.first().map_or(Json::Null, |word| json!(word)),
        Kind::Tree | Kind::TreeOf(_) => json!({"text": "sample", "list": [1, "x", null]}),
        _ => json!("sample"),
    }
}

/// Answers of every sort that a verdict must bear.
fn responses() -> Vec<Response> {
    let bodies = [
        String::new(),
        "ok".to_owned(),
        json!({"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success", "data": {}}).to_string(),
        json!({"errcode": 310_000, "errmsg": "x".repeat(4096), "code": 19_024, "StatusCode": 1}).to_string(),
        json!([[[[[1, 2, 3]]]]]).to_string(),
        "<html>".repeat(limits::RESPONSE_BODY / 6),
    ];
    let answer = |(number, body): (usize, String)| Response {
        status: [200, 204, 429, 500][number % 4],
        headers: HeaderMap::new(),
        body: Bytes::from(body),
        truncated: false,
    };
    bodies.into_iter().enumerate().map(answer).collect()
}

/// Where a key of the file's top level stands.
fn place_of_key(source: &Source, key: &str) -> Option<Place> {
    let line = |text: &str| text.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
    let mut at = 0;
    for text in source.text.split_inclusive('\n') {
        if line(text) {
            return Some(source.place(Span { start: at, end: at + key.len() }));
        }
        at += text.len();
    }
    None
}

fn place_of(source: &Source, text: &str) -> Option<Place> {
    source.text.find(text).map(|start| source.place(Span { start, end: start + text.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::platform::Platforms;
    use crate::rules::settings::Defaults;

    fn parse(text: &str) -> Hook {
        let (hook, found) = Hook::parse(&Source::new("h.yaml", text), &Platforms::built_in(), &Defaults::default());
        hook.unwrap_or_else(|| panic!("{found:?}"))
    }

    fn hook_with(options: &str) -> Hook {
        parse(&format!("events: [a]\nplatform: webhook\noptions:\n  url: https://h.example/\n{options}"))
    }

    #[test]
    fn samples_have_every_field_that_is_named() {
        let one = hook_with(
            "  text: \"{{ data.app.name }}{% if event.data.x %}{{ version.label }}{% endif %}{{ data.app }}{{ hook }}\"\n",
        );
        let samples = samples(&one);
        assert_eq!(samples.len(), 8);
        assert_eq!(
            samples[0].event.data(),
            &json!({"app": {"name": "sample"}, "version": {"label": "sample"}, "x": "sample"})
        );
        assert!(samples.iter().filter(|sample| sample.small).count() >= 4);
        assert_eq!(super::samples(&hook_with("  text: fixed\n")).len(), 1);
    }

    #[test]
    fn what_goes_beyond_a_bound_is_found_where_it_stands() {
        let one = hook_with("  text: \"{{ data.title }} {{ 'x' | indent(2000000000) }}\"\n");
        let mut steps = Vec::new();
        let found = hook(&one, &mut |what, place| steps.push((what.to_owned(), place.map(|place| place.line))));
        assert_eq!(found.len(), 1, "{found:?}");
        let place = found[0].place.as_ref().unwrap();
        assert_eq!((found[0].code, place.line, place.column), (TOO_MUCH, 5, 36), "{found:?}");
        assert!(steps.contains(&("`text`".to_owned(), Some(5))), "{steps:?}");
    }

    #[test]
    fn sound_hooks_and_every_built_in_script_pass() {
        let one = hook_with("  json: {a: \"{{ data.n }}\", b: \"{{ data.list | join(', ') }}\"}\n");
        assert_eq!(hook(&one, &mut |_, _| {}), []);
        let platforms = Platforms::built_in();
        assert!(platforms.0.len() >= 4);
        for script in platforms.0.values() {
            assert_eq!(platform(script, &mut |_, _| {}), [], "{}", script.name);
        }
    }
}
