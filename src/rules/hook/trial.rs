//! What a hook's author wants to be true of it: the `tests:` of its file, and a first rendering before it is loaded.

mod answer;
mod differs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use self::differs::{differs, parts_differ};
use crate::rules::diagnostic::{Diagnostic, Place};
use crate::rules::hook::{Hook, NotWanted};
use crate::rules::manifest::Kind;
use crate::rules::platform::{Given, RenderError, Turn};
use crate::rules::template::Tree;
use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{Node, Value};
use crate::words::event::Event;
use crate::words::exchange::{Request, Response};
use crate::words::json::{Exact, Members};
use crate::words::keys;
use crate::words::limits;
use crate::words::secret::{Secret, Secrets};

/// One entry of `tests:`.
#[derive(Clone, Debug)]
pub struct HookTest {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// The event; a test of an answer alone needs none.
    pub event: Option<TestEvent>,
    /// What the receiver answers.
    pub response: Option<Response>,
    /// What is to come of it.
    pub expect: Expect,
}

/// An event as a test writes it down.
#[derive(Clone, Debug, PartialEq)]
pub struct TestEvent {
    /// Its type.
    pub kind: String,
    /// Its id; `test` when the test does not care.
    pub id: Option<String>,
    /// Who says so.
    pub source: Option<String>,
    /// When; the time of the test when it does not care.
    pub time: Option<Timestamp>,
    /// What it says.
    pub data: Exact,
}

/// What is to come of an event. What is not said may be anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Whether the hook wants it at all.
    pub wanted: Option<bool>,
    /// The method.
    pub method: Option<String>,
    /// The whole URL.
    pub url: Option<String>,
    /// These headers, among others.
    pub headers: Vec<(String, String)>,
    /// The body as JSON: these members, among others; lists and plain values exactly.
    pub json: Option<Exact>,
    /// The body as it is.
    pub text: Option<String>,
    /// The body as a form: these fields, among others.
    pub form: Vec<(String, String)>,
    /// These stand in the body of one of its requests, as a reader of it sees them.
    pub contains: Vec<String>,
    /// These stand in none.
    pub lacks: Vec<String>,
    /// How many requests the message has.
    pub parts: Option<u32>,
    /// Rendering fails, and this stands in the reason.
    pub error: Option<String>,
    /// The verdict on the response: its word.
    pub verdict: Option<String>,
    /// This stands in the verdict's reason.
    pub why: Option<String>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What was otherwise than expected; nothing if it passed.
    pub difference: Option<String>,
    /// The place in a template or script that made it so, where there is one.
    pub cause: Option<Diagnostic>,
}

/// Why a test failed.
struct Failure {
    difference: String,
    cause: Option<Diagnostic>,
}

impl From<String> for Failure {
    fn from(difference: String) -> Self {
        Self { difference, cause: None }
    }
}

/// Reads `tests:`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Vec<HookTest> {
    const EXAMPLE: &str = "write `- name: …`, `event: {type: …, data: {…}}` and `expect: {…}` below it";
    let Value::List(entries) = &node.value else {
        let help = match node.value {
            Value::Map(_) => "put `- ` in front of each test: a list entry begins so, as in - name: …",
            _ => EXAMPLE,
        };
        reader.wrong("tests", node, "a list of tests", help);
        return Vec::new();
    };
    entries.iter().enumerate().flat_map(|(at, entry)| read_test(reader, at, entry).unwrap_or_default()).collect()
}

/// One test, or one for each of its events.
fn read_test(reader: &mut Reader<'_>, at: usize, node: &Node) -> Option<Vec<HookTest>> {
    const EXAMPLE: &str = "{name: …, event: {type: …, data: {…}}, expect: {…}}";
    let test = reader.map("tests", node, EXAMPLE)?;
    reader.only(&test, &keys::TEST.names());
    let name = test.get("name").and_then(|node| reader.text("tests.name", node)).map(str::to_owned);
    let response = test.get("response").map(|node| answer::read(reader, node));
    let events = match test.get("event") {
        Some(Node { value: Value::List(nodes), .. }) if !nodes.is_empty() => {
            nodes.iter().map(|node| read_event(reader, node).map(Some)).collect::<Option<Vec<_>>>()
        }
        Some(node) => read_event(reader, node).map(|event| vec![Some(event)]),
        None if response.is_some() => Some(vec![None]),
        None => missing(reader, node, "event", "add `event: {type: …, data: {…}}`"),
    };
    let expect = match test.get("expect") {
        Some(node) => {
            answer::belong_together(reader, node, response.is_some());
            read_expect(reader, node)
        }
        None => missing(reader, node, "expect", "add `expect: {json: {…}}`, or `expect: {wanted: false}`"),
    };
    let (name, events) = (name.unwrap_or_else(|| format!("number {}", at + 1)), events?);
    let (response, expect) = (response.map_or(Some(None), |response| response.map(Some))?, expect?);
    let several = events.len() > 1;
    let one = |(at, event): (usize, Option<TestEvent>)| HookTest {
        name: if several { format!("{name}, event {}", at + 1) } else { name.clone() },
        place: reader.source.place(node.span),
        event,
        response: response.clone(),
        expect: expect.clone(),
    };
    Some(events.into_iter().enumerate().map(one).collect())
}

fn missing<T>(reader: &mut Reader<'_>, test: &Node, key: &str, help: &str) -> Option<T> {
    reader.error(test.span, "missing-key", format!("a test needs `{key}`"), help);
    None
}

fn read_event(reader: &mut Reader<'_>, node: &Node) -> Option<TestEvent> {
    let event = reader.map("event", node, "{type: version.published, data: {label: \"2\"}}")?;
    reader.only(&event, &keys::TEST_EVENT.names());
    let text = |reader: &mut Reader<'_>, key: &str| {
        event.get(key).and_then(|node| reader.text(&event.path(key), node)).map(str::to_owned)
    };
    let kind = match event.get("type") {
        Some(_) => text(reader, "type"),
        None => missing(reader, node, "event.type", "add `type: …`, one of the hook's `events`"),
    };
    let time = event.get("time").and_then(|node| {
        let text = reader.text("event.time", node)?;
        let time = text.parse::<Timestamp>();
        if time.is_err() {
            let help = "write it like \"2026-11-22T13:00:00Z\"";
            reader.error(node.span, "time", format!("`event.time` is no time with a zone: {text:?}"), help);
        }
        time.ok()
    });
    Some(TestEvent {
        kind: kind?,
        id: text(reader, "id"),
        source: text(reader, "source"),
        time,
        data: event.get("data").map_or_else(|| Exact::Map(Members::new()), |node| node.to_exact(reader.source)),
    })
}

fn read_expect(reader: &mut Reader<'_>, node: &Node) -> Option<Expect> {
    let expect = reader.map("expect", node, "{method: PUT, json: {msg: hello}}")?;
    reader.only(&expect, &keys::EXPECT.names());
    if expect.entries.is_empty() {
        let help = format!("say what to expect: {}", keys::EXPECT.names().join(", "));
        reader.error(node.span, "no-value", "this test expects nothing, so it cannot fail", help);
    }
    let text = |reader: &mut Reader<'_>, key: &str| {
        expect.get(key).and_then(|node| reader.text(&expect.path(key), node)).map(str::to_owned)
    };
    let texts = |reader: &mut Reader<'_>, key: &str| match expect.get(key) {
        Some(node) => reader.texts(&expect.path(key), node).into_iter().map(|(text, _)| text.to_owned()).collect(),
        None => Vec::new(),
    };
    Some(Expect {
        wanted: expect.get("wanted").and_then(|node| reader.boolean("expect.wanted", node)),
        method: text(reader, "method"),
        url: text(reader, "url"),
        headers: expect.get("headers").map(|node| read_pairs(reader, "expect.headers", node)).unwrap_or_default(),
        json: expect.get("json").map(|node| node.to_exact(reader.source)),
        text: match expect.get("text").map(|node| &node.value) {
            Some(Value::String(empty)) if empty.is_empty() => Some(String::new()),
            _ => text(reader, "text"),
        },
        form: expect.get("form").map(|node| read_pairs(reader, "expect.form", node)).unwrap_or_default(),
        contains: texts(reader, "contains"),
        lacks: texts(reader, "lacks"),
        parts: expect
            .get("parts")
            .and_then(|node| reader.integer("expect.parts", node, 1, limits::PARTS as u64))
            .and_then(|parts| u32::try_from(parts).ok()),
        error: text(reader, "error"),
        verdict: expect.get("verdict").and_then(|node| answer::read_word(reader, node)),
        why: text(reader, "why"),
    })
}

fn read_pairs(reader: &mut Reader<'_>, name: &str, node: &Node) -> Vec<(String, String)> {
    let Some(map) = reader.map(name, node, "{Name: value}") else { return Vec::new() };
    let mut pairs = Vec::new();
    for (key, node) in map.entries {
        let text = match &node.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(node.written(reader.source).to_owned()),
            _ => reader.text(&map.path(&key.name), node).map(str::to_owned),
        };
        pairs.extend(text.map(|text| (key.name.clone(), text)));
    }
    pairs
}

impl TestEvent {
    pub(crate) fn to_event(&self, now: Timestamp) -> Event {
        let id = self.id.clone().unwrap_or_else(|| "test".to_owned());
        let mut event = Event::new(self.kind.as_str(), Some(id), self.data.to_string(), self.time.unwrap_or(now));
        event.source = self.source.clone().unwrap_or_default();
        event
    }
}

impl Hook {
    /// An event to try the hook with: that of its first test which it wants, else an empty one of its first type. It
    /// happens at the beginning of time unless the test says when; whoever sends it for real sets `time`.
    pub fn sample_event(&self) -> Event {
        let wanted = self.tests.iter().filter(|test| test.expect.wanted != Some(false) && test.expect.error.is_none());
        if let Some(event) = wanted.filter_map(|test| test.event.as_ref()).next() {
            return event.to_event(Timestamp::UNIX_EPOCH);
        }
        let kind = self.events.first().map_or_else(|| "sample".to_owned(), |pattern| pattern.replace('*', "sample"));
        Event::new(kind, Some("sample".to_owned()), &b"{}"[..], Timestamp::UNIX_EPOCH)
    }

    /// Tries the hook before it is loaded: runs its tests, or renders it once if it says the same for every event.
    /// With neither there is nothing to try: an event made up here would lack the fields that the templates name.
    pub fn dry_run(&self, secrets: &Secrets, now: Timestamp) -> Vec<Diagnostic> {
        let results = self.run_tests(secrets, now).into_iter();
        let mut found: Vec<_> = results.filter_map(TestResult::into_diagnostic).collect();
        found.extend(self.digest_mistake(&self.with_stand_ins(secrets), now));
        if self.tests.iter().all(|test| test.event.is_none()) && self.options.iter().all(|(_, tree)| tree.is_constant())
        {
            match self.try_request(&self.sample_event(), &self.with_stand_ins(secrets), now) {
                Ok(_) => {}
                Err(RenderError::Wrong(error)) => found.push(*error),
                Err(missing @ RenderError::Secret { .. }) => {
                    found.push(Diagnostic::error("secret", missing.to_string()).at(Place::of_file(&self.source.name)))
                }
            }
        }
        found
    }

    /// Runs the `tests:` of the file. A secret that cannot be had is stood in for, so that tests also run where the
    /// secrets are not.
    pub fn run_tests(&self, secrets: &Secrets, now: Timestamp) -> Vec<TestResult> {
        let secrets = self.with_stand_ins(secrets);
        let run = |test: &HookTest| {
            let failure = self.run_test(test, &secrets, now).err();
            let (difference, cause) = failure.map_or((None, None), |failure| (Some(failure.difference), failure.cause));
            let difference = difference.map(|difference| secrets.redact(&difference));
            let cause = cause.map(|cause| Diagnostic { what: secrets.redact(&cause.what), ..cause });
            TestResult { name: test.name.clone(), place: test.place.clone(), difference, cause }
        };
        self.tests.iter().map(run).collect()
    }

    fn run_test(&self, test: &HookTest, secrets: &Secrets, now: Timestamp) -> Result<(), Failure> {
        if let Some(response) = &test.response {
            answer::try_verdict(self, response, &test.expect, now)?;
        }
        let Some(event) = &test.event else { return Ok(()) };
        let (event, expect) = (event.to_event(now), &test.expect);
        match (self.matches(&event), expect.wanted) {
            (Err(NotWanted::WhenFailed(why)), _) => return Err(format!("`when` failed: {why}").into()),
            (Err(_), Some(false)) => return Ok(()),
            (Err(why), _) => return Err(format!("the hook does not want this event: {why}").into()),
            (Ok(()), Some(false)) => return Err("the hook wants this event".to_owned().into()),
            (Ok(()), _) => {}
        }
        match (self.try_requests(&event, secrets, now), &expect.error) {
            (Ok(requests), None) => {
                let difference = differs(expect, &requests[0]).or_else(|| parts_differ(expect, &requests));
                difference.map_or(Ok(()), |difference| Err(difference.into()))
            }
            (Ok(_), Some(error)) => Err(format!("it was rendered, expected the error {error:?}").into()),
            (Err(error), Some(part)) if error.to_string().contains(part.as_str()) => Ok(()),
            (Err(RenderError::Wrong(cause)), _) => Err(Failure { difference: cause.one_line(), cause: Some(*cause) }),
            (Err(missing), _) => Err(missing.to_string().into()),
        }
    }

    /// All the parts of a message.
    fn try_requests(&self, event: &Event, secrets: &Secrets, now: Timestamp) -> Result<Vec<Request>, RenderError> {
        let given = Given { id: "test-1", attempt: 1, now, hook: &self.name, event, secrets };
        let part = |part| self.render_turn(&given, None, Turn { part, plain: false });
        let (first, parts) = part(0)?;
        let others = (1..parts).map(|number| part(number).map(|(request, _)| request));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    fn try_request(&self, event: &Event, secrets: &Secrets, now: Timestamp) -> Result<Request, RenderError> {
        let given = Given { id: "test-1", attempt: 1, now, hook: &self.name, event, secrets };
        self.render(&given)
    }

    /// The secrets given, and for each one that cannot be had a stand-in that is well-formed wherever it may be used:
    /// as a URL where it names the receiver, else as a key of 32 bytes, in base64 or as a signature wants it.
    pub(crate) fn with_stand_ins(&self, secrets: &Secrets) -> Secrets {
        let mut all = secrets.clone();
        for (option, tree) in &self.options {
            for (name, _) in tree.secrets() {
                if secrets.get(name).is_err() {
                    all.insert(name.clone(), Ok(Secret::new(self.stand_in(option, tree, name))));
                }
            }
        }
        all
    }

    fn stand_in(&self, option: &str, tree: &Tree, name: &str) -> String {
        let key = Sha256::digest(name.as_bytes());
        if tree.outline().is_some_and(|signer| signer.outline.takes_hex_keys()) {
            return key.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        let is_url = self.platform.manifest.options.iter().any(|spec| spec.name == option && spec.kind == Kind::Url);
        if is_url { format!("https://secret.invalid/{name}") } else { BASE64.encode(key) }
    }
}

impl TestResult {
    /// What `check` says of a test that failed: the mistake itself where its place is known, else the test.
    pub fn into_diagnostic(self) -> Option<Diagnostic> {
        let difference = self.difference?;
        let remedy = "mend the hook, or what the test expects of it";
        Some(match self.cause {
            Some(mut cause) if cause.place.is_some() => {
                cause.help.get_or_insert_with(|| remedy.to_owned());
                cause.note(format!("found by the test {:?} on line {}", self.name, self.place.line))
            }
            _ => Diagnostic::error("test-failed", format!("the test {:?} failed: {difference}", self.name))
                .at(self.place)
                .help(remedy),
        })
    }
}
