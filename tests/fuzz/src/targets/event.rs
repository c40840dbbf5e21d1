//! An event as JSON, a body of several, lines, CloudEvents: what is taken keeps its bounds and reads back the same, and
//! what is refused is refused in words.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use postrider::edges::intake::{Answer, Code, Refusal, native};
use postrider::rules::cloudevents::{self, Fault};
use postrider::words::event::{Event, OWN_SOURCE};
use postrider::words::json::Exact;
use postrider::words::limits;
use serde_json::{Value as Json, json};

use super::is_for_people;

pub(crate) fn run(data: &[u8]) {
    let now = Timestamp::UNIX_EPOCH;
    let one = native::parse(data, now, None);
    match &one {
        Ok(event) => is_sound(event),
        Err(refusal) => is_refusal(refusal, data),
    }
    match native::parse_body(data, now, None) {
        Ok(events) => {
            assert!(events.len() <= limits::HTTP_BATCH);
            events.iter().for_each(is_sound);
            if let (Ok(one), [same]) = (&one, &events[..]) {
                assert_eq!((&one.kind, &one.raw, &one.source), (&same.kind, &same.raw, &same.source));
            }
        }
        Err(refusal) => is_refusal(&refusal, data),
    }
    match native::parse_lines(data, now, None) {
        Ok(lines) => {
            let written = data.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            assert_eq!(lines.len(), written.count());
            for line in lines {
                match line {
                    Ok(event) => is_sound(&event),
                    Err(refusal) => is_refusal(&refusal, data),
                }
            }
        }
        Err(refusal) => is_refusal(&refusal, data),
    }
    cloud(data);
}

fn is_sound(event: &Event) {
    assert!(event.source != OWN_SOURCE, "the daemon's own source");
    for (name, text) in [("type", &event.kind), ("id", &event.id)] {
        native::check_name(name, text).expect("a name within its bounds");
    }
    assert!(event.source.is_empty() || native::check_name("source", &event.source).is_ok());
    assert!(event.raw.len() <= limits::EVENT);

    // Its bytes are JSON, and what they say is said again by whoever writes it.
    let exact = Exact::parse(&event.raw).expect("JSON");
    let written = exact.to_string();
    assert_eq!(Exact::parse(written.as_bytes()).as_ref(), Some(&exact), "{written}");
    assert_eq!(exact.to_string(), written);
    match event.exact() {
        Some(known) => assert_eq!(*known, exact),
        None => assert_eq!(Exact::from(event.data()).to_string(), written, "numbers of {:?}", event.raw),
    }

    let again = json!({"type": event.kind, "id": event.id, "source": event.source, "time": event.time.to_string()});
    let mut again = again.to_string();
    again.truncate(again.len() - 1);
    let data = std::str::from_utf8(&event.raw).expect("JSON is UTF-8");
    again.push_str(&format!(",\"data\":{data}}}"));
    match native::parse(again.as_bytes(), event.time, None) {
        Ok(same) => {
            assert_eq!((&same.kind, &same.id, &same.source), (&event.kind, &event.id, &event.source));
            assert_eq!((same.time, &same.raw), (event.time, &event.raw));
        }
        // With its names and times written out it may have grown beyond the bound.
        Err(refusal) => assert!(refusal.code == Code::TooLarge || !in_years(event.time), "{again}: {refusal}"),
    }
}

/// Whether RFC 3339 can write it.
fn in_years(time: Timestamp) -> bool {
    let text = time.to_string();
    !text.starts_with('-') && text.find('-') == Some(4)
}

fn is_refusal(refusal: &Refusal, written: &[u8]) {
    assert!(matches!(refusal.code, Code::BadEvent | Code::TooLarge), "{refusal:?}");
    is_for_people(&refusal.message, written);
    assert!(refusal.message.len() < 2048, "{}", refusal.message);
    let answer = native::answer_json(&Answer::Refused(refusal.clone()));
    assert!(!answer.contains(&b'\n'));
    let answer: Json = serde_json::from_slice(&answer).expect("an answer is JSON");
    assert_eq!(answer["error"]["message"], refusal.message.as_str());
}

fn cloud(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for kind in ["application/cloudevents+json", "application/cloudevents-batch+json"] {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        match cloudevents::read(&headers, &body) {
            Ok(events) => {
                for event in events {
                    assert!(!event.kind.is_empty() && !event.id.is_empty() && !event.source.is_empty());
                    assert_eq!(event.attributes["specversion"], "1.0");
                }
            }
            Err(Fault::Bad(what) | Fault::Unsupported(what)) => is_for_people(&what, data),
        }
    }
}
