use std::sync::Arc;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::*;
use crate::rules::diagnostic::Span;
use crate::rules::yaml::reader::Reader;
use crate::words::secret::Secrets;

fn script(body: &str) -> Arc<SourceScript> {
    let text = format!("fn manifest() {{ #{{ summary: \"a test\", options: #{{}} }} }}\n{body}");
    match SourceScript::compile("probe", Source::new("probe.rhai", text), false) {
        Ok(script) => Arc::new(script),
        Err(found) => panic!("{}", found[0].render(false)),
    }
}

fn named(script: &Arc<SourceScript>) -> NamedSource {
    let file = Source::new("postrider.yaml", "");
    read_source_options(&mut Reader::new(&file), "probe", Span::default(), None, script).expect("no options are needed")
}

fn take(script: &Arc<SourceScript>, body: &str) -> Outcome {
    let incoming = Incoming {
        method: Method::POST,
        target: "/in/probe".to_owned(),
        event: String::new(),
        headers: HeaderMap::new(),
        body: body.to_owned().into(),
    };
    let (named, secrets) = (named(script), Secrets::default());
    match named.open(&incoming, &secrets, Timestamp::UNIX_EPOCH) {
        Ok(opened) => opened.events(&secrets, Timestamp::UNIX_EPOCH),
        Err(outcome) => outcome,
    }
}

fn failure(body: &str) -> String {
    match take(&script(body), "{}") {
        Outcome::Failed(found) => {
            let place =
                found.place.as_ref().map(|place| format!("{}:{}", place.line, place.column)).unwrap_or_default();
            assert_eq!(found.notes.last().map(String::as_str), Some("in the source probe"));
            format!("{place} {}", found.what)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn mistakes_in_a_script_have_their_place() {
    for (body, said) in [
        ("fn events(request) { request.jason }", "2:30 the map has no member `jason`"),
        ("fn events(request) { 7 }", "2:1 fn events gave a number instead of an array of events"),
        ("fn events(request) { [7] }", "2:1 an event is a map, not a number"),
        ("fn events(request) { #{ typ: \"x\" } }", "2:1 an event has no `typ`; did you mean `type`?"),
        ("fn events(request) { #{ id: \"x\" } }", "2:1 an event needs a type"),
        (
            "fn events(request) { [#{ type: \"x\" }, #{ type: [] }] }",
            "2:1 event 2 of fn events: `type` must be a text, not an array",
        ),
        ("fn events(request) { refuse(200, \"\") }", "2:22 refuse takes a status from 400 to 599"),
        ("fn events(request) { respond(200, #{\"a b\": 1}, ()) }", "2:1 `a b` cannot be the name of a header"),
        ("fn events(request) { loop {} }", "2:1 the script takes more than 500000 steps"),
        (
            "fn verify(request) { 7 }\nfn events(request) { }",
            "2:1 fn verify gave a number instead of a map or an array of maps",
        ),
        (
            "fn verify(request) { [] }\nfn events(request) { }",
            "2:1 fn verify gave an empty array: give () when nothing is to be verified",
        ),
    ] {
        assert_eq!(failure(body), said, "{body}");
    }
    let said = failure("fn verify(request) { #{preset: \"gihub\", key: \"k\"} }\nfn events(request) { }");
    assert!(said.contains("fn verify") && said.contains("did you mean `github`?"), "{said}");
}

#[test]
fn a_script_without_its_functions_is_refused() {
    for (text, said) in [
        ("fn events(request) { }", "the script has no `manifest`"),
        ("fn manifest() { #{summary: \"s\", options: #{}} }", "the script has no `events`"),
        (
            "fn manifest() { #{summary: \"s\", options: #{}} } fn events() { }",
            "`events` takes 0 arguments instead of 1",
        ),
        (
            "fn manifest() { #{summary: \"s\", options: #{}, method: []} } fn events(r) { }",
            "the manifest has no key `method`",
        ),
        (
            "fn manifest() { #{summary: \"s\", options: #{}, methods: [\"post\"]} } fn events(r) { }",
            "`methods` must be an array of methods",
        ),
        (
            "fn manifest() { #{summary: \"s\", options: #{}, replay_window: 5} } fn events(r) { }",
            "`replay_window` must be a duration",
        ),
        (
            "fn manifest() { #{summary: \"s\", options: #{token: optional(\"text\", (), \"x\")}} } fn events(r) { }",
            "every source has the option `token`: the script cannot declare it",
        ),
    ] {
        let found = SourceScript::compile("x", Source::new("x.rhai", text), false).unwrap_err();
        assert_eq!(found[0].what, said, "{text}");
        assert!(found[0].place.is_some(), "{text}");
    }
}

fn events(body: &str, sent: &str) -> Vec<crate::words::event::Event> {
    match take(&script(body), sent) {
        Outcome::Events(events, _) => events,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_without_an_id_are_told_apart_by_what_was_sent() {
    let two = "fn events(request) { [#{type: \"a\"}, #{type: \"a\"}] }";
    let (first, again, other) = (events(two, "1"), events(two, "1"), events(two, "2"));
    assert_eq!(first[0].id, again[0].id);
    assert_ne!(first[0].id, first[1].id);
    assert_ne!(first[0].id, other[0].id);
    let one = events("fn events(request) { #{type: \"a\"} }", "1");
    assert_eq!(first[0].id, format!("{}-1", one[0].id));
}

#[test]
fn what_a_vendor_calls_too_long_is_shortened_and_not_refused() {
    let long = format!("fn events(request) {{ #{{type: \"{0}\", id: \"{0}\", source: \"a\\nb\"}} }}", "x".repeat(300));
    let event = events(&long, "").remove(0);
    assert_eq!((event.kind.len(), event.id.len(), event.source.as_str()), (256, "sha256-".len() + 64, "a b"));
}

#[test]
fn times_in_each_of_their_forms() {
    for (time, read) in [
        ("1795600000", "2026-11-25T09:46:40Z"),
        ("1795600000500", "2026-11-25T09:46:40.5Z"),
        ("1795600000.25", "2026-11-25T09:46:40.25Z"),
        ("\"1795600000\"", "2026-11-25T09:46:40Z"),
        ("\"2026-11-25T17:46:40+08:00\"", "2026-11-25T09:46:40Z"),
        ("\"yesterday\"", "1970-01-01T00:00:00Z"),
        ("()", "1970-01-01T00:00:00Z"),
    ] {
        let event = events(&format!("fn events(request) {{ #{{type: \"a\", time: {time}}} }}"), "").remove(0);
        assert_eq!(event.time.to_string(), read, "{time}");
    }
}

#[test]
fn bytes_that_are_no_text_come_as_bytes() {
    let script = script("fn events(request) { #{type: type_of(request.body), data: #{n: request.body.len}} }");
    let incoming = Incoming {
        method: Method::POST,
        target: "/in/probe".to_owned(),
        event: String::new(),
        headers: HeaderMap::new(),
        body: bytes::Bytes::from_static(b"\xff\x00"),
    };
    let (named, secrets) = (named(&script), Secrets::default());
    let opened = named.open(&incoming, &secrets, Timestamp::UNIX_EPOCH).expect("nothing is verified");
    let Outcome::Events(events, _) = opened.events(&secrets, Timestamp::UNIX_EPOCH) else { panic!("it has events") };
    assert_eq!((events[0].kind.as_str(), &events[0].raw[..]), ("blob", &b"\xff\x00"[..]));
    assert_eq!(events[0].data()["n"], 2);
}
