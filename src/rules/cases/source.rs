//! The cases of a source script: a YAML list, each entry a request with the events that come of it, or with its answer.
//!
//! ```yaml
//! - name: a new version
//!   request:                                     # path: /in/case; also method: query: headers:
//!     event: EVENT                               # what stands behind /in/NAME/
//!     json: {type: updateVersion}                # or body: as text, or file: beside the cases
//!   options: {secret: {secret: NAME}}            # as in the main file
//!   secrets: {NAME: value}                       # optional, as is time
//!   expect: {events: [{type: pgyer.updateVersion, id: …, source: …, time: …, data: …, body: …}]}
//! - request: {body: "{'a'}"}
//!   expect: {status: 400, why: line 1, column 2}       # or headers: and body: of a handshake
//! ```
//!
//! Of an event what is named is compared; `data` is the whole data, `verified: true` that something was verified.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use super::bless::{self, Blessed, Looked, Now};
use super::compare::json;
use super::read::{any_text, pairs, text, time};
use super::{CaseResult, each};
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::source::{Incoming, NamedSource, Outcome, SourceScript, read_source_options};
use crate::rules::yaml::reader::{Map, Reader};
use crate::rules::yaml::{Node, Value};
use crate::words::event::{Event, JSON};
use crate::words::json::{Exact, Members};
use crate::words::secret::{Secret, Secrets};

const CASE: [&str; 6] = ["name", "request", "options", "secrets", "time", "expect"];
const REQUEST: [&str; 7] = ["method", "event", "query", "headers", "json", "body", "file"];
const EXPECT: [&str; 6] = ["events", "verified", "status", "why", "headers", "body"];
const EVENT: [&str; 7] = ["type", "id", "source", "time", "data", "body", "content_type"];

/// Reads a file that a case names; the path is as it is written there.
pub type Load<'l> = &'l dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Runs all cases of a file.
///
/// # Errors
/// The file cannot be read as cases.
pub fn run_source(
    script: &Arc<SourceScript>,
    cases: &Source,
    load: Load<'_>,
) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let results = each(cases, |reader, case, node| {
        let asked = asked(reader, case, node, script, load)?;
        let Some(expected) = case.get("expect") else {
            let help = "add `expect: {events: […]}`, or let --bless write what the script does";
            reader.error(node.span, "missing-key", "a case needs `expect`", help);
            return None;
        };
        let expected = expectation(reader, expected)?;
        Some(compare(reader, &expected, &asked))
    })?;
    Ok(results.into_iter().map(CaseResult::of).collect())
}

/// Looks at all cases of a file, and says what the file would be if every case expected what the script does now.
///
/// # Errors
/// The file cannot be read as cases.
pub fn bless_source(script: &Arc<SourceScript>, cases: &Source, load: Load<'_>) -> Result<Blessed, Vec<Diagnostic>> {
    bless::bless(cases, &|cases| {
        each(cases, |reader, case, node| {
            let asked = asked(reader, case, node, script, load)?;
            let old = match super::read::expectation(case) {
                Some(node) => Some(expectation(reader, node)?),
                None => None,
            };
            let differences = match &old {
                Some(expected) => compare(reader, expected, &asked),
                None => vec!["nothing was expected yet".to_owned()],
            };
            let now =
                if differences.is_empty() { Now::AsExpected } else { now(cases, old.as_ref(), &asked, differences) };
            Some(Looked::new(cases, node, now))
        })
    })
}

/// What a case asks of a source.
struct Asked {
    source: NamedSource,
    incoming: Incoming,
    secrets: Secrets,
    now: Timestamp,
}

impl Asked {
    /// What the source makes of it, and whether it verified anything on the way.
    fn outcome(&self) -> (Outcome, Option<bool>) {
        match self.source.open(&self.incoming, &self.secrets, self.now) {
            Ok(opened) => {
                let verified = opened.verified;
                (opened.events(&self.secrets, self.now), Some(verified))
            }
            Err(outcome) => (outcome, None),
        }
    }
}

fn asked(
    reader: &mut Reader<'_>,
    case: &Map<'_>,
    node: &Node,
    script: &Arc<SourceScript>,
    load: Load<'_>,
) -> Option<Asked> {
    reader.only(case, &CASE);
    let given = case.get("request").and_then(|node| reader.map("request", node, "{json: {type: t}}"));
    let incoming = request(reader, given.as_ref(), load)?;
    let source = read_source_options(reader, "case", node.span, case.get("options"), script)?;
    let mut secrets = Secrets::default();
    for (name, value) in case.get("secrets").map(|node| pairs(reader, "secrets", node)).unwrap_or_default() {
        secrets.insert(name, Ok(Secret::new(value)));
    }
    Some(Asked { source, incoming, secrets, now: time(reader, case) })
}

fn expectation<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Map<'n>> {
    let expected = reader.map("expect", node, "{events: [{type: t}]}")?;
    reader.only(&expected, &EXPECT);
    Some(expected)
}

/// How the source does what a case expects otherwise.
fn now(cases: &Source, old: Option<&Map<'_>>, asked: &Asked, differences: Vec<String>) -> Now {
    let (outcome, verified) = asked.outcome();
    let said = |key: &str| old.and_then(|old| old.get(key));
    let mut expect = Members::new();
    let mut say = |key: &str, value: Exact| _ = expect.insert(key.to_owned(), value);
    let status = |status: u16| Exact::Number(i64::from(status).into());
    match outcome {
        Outcome::Events(events, _) => {
            if said("verified").is_some() || (old.is_none() && verified == Some(true)) {
                say("verified", Exact::Bool(verified == Some(true)));
            }
            let named = said("events").map(|node| node.to_exact(cases));
            let named = match named {
                Some(Exact::List(named)) if named.len() == events.len() => named,
                _ => Vec::new(),
            };
            let list = events.iter().enumerate().map(|(at, event)| match named.get(at) {
                Some(Exact::Map(named)) => named_of(named, event),
                _ => chosen_of(event, asked.now),
            });
            say("events", Exact::List(list.map(Exact::Map).collect()));
        }
        Outcome::Refused { status: came, why } => {
            say("status", status(came));
            if old.is_none() || said("why").is_some() {
                let kept = said("why").map(|node| node.written(cases)).filter(|part| why.contains(part));
                say("why", kept.map_or_else(|| why.clone(), str::to_owned).into());
            }
        }
        Outcome::Respond { status: came, headers, body } => {
            say("status", status(came));
            let named = said("headers").map(|node| node.to_exact(cases));
            let is_named = |name: &str| {
                named.as_ref().is_none_or(|named| {
                matches!(named, Exact::Map(named) if named.keys().any(|known| known.eq_ignore_ascii_case(name)))
            })
            };
            let headers = headers.iter().filter(|(name, _)| is_named(name.as_str()));
            let headers: Members = headers
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
                .collect();
            if !headers.is_empty() && (old.is_none() || named.is_some()) {
                say("headers", Exact::Map(headers));
            }
            if old.is_none() || said("body").is_some() {
                say("body", String::from_utf8_lossy(&body).into_owned().into());
            }
        }
        Outcome::Failed(found) => return Now::Wrong { differences, why: found.one_line() },
        Outcome::Missing { secret, .. } => {
            let why = format!("the case has no secret {secret}: add secrets: {{{secret}: …}}");
            return Now::Wrong { differences, why };
        }
    }
    Now::Otherwise { differences, wanted: vec![("expect", Some(Exact::Map(expect)))] }
}

/// What a case names of an event, as it is now.
fn named_of(named: &Members, event: &Event) -> Members {
    let all = all_of(event);
    named.keys().filter_map(|key| Some((key.clone(), all.get(key)?.clone()))).collect()
}

/// What a script chose of an event.
fn chosen_of(event: &Event, now: Timestamp) -> Members {
    let mut chosen = all_of(event);
    let unsaid = [
        ("id", is_derived(&event.id)),
        ("source", event.source == "case"),
        ("time", event.time == now),
        ("body", true),
        ("content_type", true),
    ];
    chosen.retain(|key, _| !unsaid.contains(&(key.as_str(), true)));
    chosen
}

fn all_of(event: &Event) -> Members {
    let data = event.exact().cloned().unwrap_or_else(|| Exact::from(event.data()));
    let members = [
        ("type", event.kind.clone().into()),
        ("id", event.id.clone().into()),
        ("source", event.source.clone().into()),
        ("time", event.time.to_string().into()),
        ("data", data),
        ("body", String::from_utf8_lossy(&event.raw).into_owned().into()),
        ("content_type", event.content_type.clone().into()),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Whether an id is one that was made of the request because its sender gave none.
fn is_derived(id: &str) -> bool {
    let digest = id.split_once('-').map_or(id, |(digest, _)| digest);
    digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn request(reader: &mut Reader<'_>, given: Option<&Map<'_>>, load: Load<'_>) -> Option<Incoming> {
    let empty = Map::new("request", &[]);
    let given = given.unwrap_or(&empty);
    reader.only(given, &REQUEST);
    let mut headers = HeaderMap::new();
    for (name, value) in given.get("headers").map(|node| pairs(reader, "request.headers", node)).unwrap_or_default() {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            (Ok(name), Ok(value)) => _ = headers.append(name, value),
            _ => reader.error(given.key("headers")?.span, "header", format!("{name} cannot be a header"), "correct it"),
        }
    }
    let body: Bytes = match (given.get("json"), given.get("body"), given.get("file")) {
        (Some(node), ..) => node.to_json().to_string().into(),
        (_, Some(node), _) => any_text(reader, node).into(),
        (_, _, Some(node)) => match load(reader.text("request.file", node)?) {
            Ok(bytes) => bytes.into(),
            Err(why) => {
                reader.error(
                    node.span,
                    "file",
                    format!("the file cannot be read: {why}"),
                    "it is looked for beside the cases",
                );
                return None;
            }
        },
        (None, None, None) => Bytes::new(),
    };
    if !headers.contains_key(CONTENT_TYPE) && !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    let method = text(reader, given, "method").unwrap_or_else(|| "POST".to_owned());
    let event = text(reader, given, "event").unwrap_or_default();
    let query = text(reader, given, "query").map(|query| format!("?{query}")).unwrap_or_default();
    let behind = if event.is_empty() { String::new() } else { format!("/{event}") };
    let target = format!("/in/case{behind}{query}");
    Some(Incoming { method: Method::from_bytes(method.as_bytes()).ok()?, target, event, headers, body })
}

fn compare(reader: &mut Reader<'_>, expected: &Map<'_>, asked: &Asked) -> Vec<String> {
    let mut found = Vec::new();
    let (outcome, verified) = asked.outcome();
    let wanted = expected.get("verified").and_then(|node| reader.boolean("expect.verified", node));
    if let (Some(wanted), Some(verified)) = (wanted, verified)
        && wanted != verified
    {
        found.push(format!("verified is {verified}, expected {wanted}"));
    }
    let status = expected.get("status").and_then(|node| reader.integer("expect.status", node, 200, 599));
    match (outcome, expected.get("events")) {
        (Outcome::Events(events, notes), Some(node)) => {
            found.extend(notes);
            self::events(reader, node, &events, &mut found);
        }
        (Outcome::Events(events, _), None) => {
            let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
            found.push(format!("there are events ({}), expected an answer", kinds.join(", ")));
        }
        (Outcome::Refused { status: came, why }, None) => {
            answered(status, came, &mut found);
            let wanted = expected.get("why").map(|node| any_text(reader, node)).unwrap_or_default();
            if !why.contains(&wanted) {
                found.push(format!("why is {why:?}, expected {wanted:?} in it"));
            }
        }
        (Outcome::Respond { status: came, headers, body }, None) => {
            answered(status, came, &mut found);
            for (name, value) in expected.get("headers").map(|node| pairs(reader, "headers", node)).unwrap_or_default()
            {
                let came = headers.get(&name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                if came.as_deref() != Some(value.as_str()) {
                    found.push(format!("header {name} is {came:?}, expected {value:?}"));
                }
            }
            if let Some(wanted) = expected.get("body").map(|node| any_text(reader, node)) {
                let came = String::from_utf8_lossy(&body);
                if came != wanted {
                    found.push(format!("body is {came:?}, expected {wanted:?}"));
                }
            }
        }
        (Outcome::Refused { status, why }, Some(_)) => found.push(format!("it was refused: {status} {why}")),
        (Outcome::Respond { status, .. }, Some(_)) => found.push(format!("it was answered with {status}")),
        (Outcome::Failed(error), _) => found.push(format!("the script failed: {}", error.one_line())),
        (Outcome::Missing { secret, why }, _) => found.push(format!("secret {secret} cannot be read: {why}")),
    }
    found
}

fn answered(wanted: Option<u64>, came: u16, found: &mut Vec<String>) {
    match wanted {
        Some(wanted) if wanted == u64::from(came) => {}
        Some(wanted) => found.push(format!("the status is {came}, expected {wanted}")),
        None => found.push(format!("it was answered with {came}, and the case expects no status")),
    }
}

fn events(reader: &mut Reader<'_>, node: &Node, events: &[Event], found: &mut Vec<String>) {
    let Value::List(expected) = &node.value else {
        return reader.wrong("expect.events", node, "a list", "write events: [{type: t}]");
    };
    if expected.len() != events.len() {
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        found.push(format!("{} events came ({}), expected {}", events.len(), kinds.join(", "), expected.len()));
    }
    for (at, (node, event)) in expected.iter().zip(events).enumerate() {
        let Some(map) = reader.map("event", node, "{type: t}") else { continue };
        reader.only(&map, &EVENT);
        let body = String::from_utf8_lossy(&event.raw);
        let time = event.time.to_string();
        for (name, came) in [
            ("type", event.kind.as_str()),
            ("id", &event.id),
            ("source", &event.source),
            ("time", &time),
            ("content_type", &event.content_type),
            ("body", &body),
        ] {
            let wanted = map.get(name).map(|node| any_text(reader, node));
            if let Some(wanted) = wanted.filter(|wanted| wanted != came) {
                found.push(format!("events[{at}].{name} is {came:?}, expected {wanted:?}"));
            }
        }
        if let Some(data) = map.get("data").map(|node| Exact::from(&node.to_json())) {
            let came = event.exact().cloned().unwrap_or_else(|| Exact::from(event.data()));
            json(&format!("events[{at}].data"), &data, &came, found);
        }
    }
}
