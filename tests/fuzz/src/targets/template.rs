//! A template at each kind of place, with any event: it is refused, or makes the same request each time, in which the
//! host is that of the file, nothing has left its place, and no error shows the secret.
//!
//! The first byte is the place; then, parted by NUL, the template and the event's data.

use std::sync::LazyLock;

use jiff::Timestamp;
use postrider::engine::wire::{self, Mask};
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::{Hook, NotWanted};
use postrider::rules::platform::{Given, Platforms, RenderError};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::exchange::Request;
use postrider::words::json::Exact;
use postrider::words::limits;
use postrider::words::secret::{Secret, Secrets};
use serde_json::json;

use super::{CANARY, is_for_people, is_sound, shows_secret, split_at_nul, split_first};

/// Hook files with a hole; their host is `h.example`.
const PLACES: [&str; 10] = [
    "platform: webhook\noptions:\n  url: https://h.example/\n  text: HOLE",
    "platform: webhook\noptions:\n  url: https://h.example/\n  json: {a: HOLE, b: [HOLE]}",
    "platform: webhook\noptions:\n  url: https://h.example/\n  form: {a: HOLE}",
    "platform: webhook\noptions:\n  url: https://h.example/\n  xml: HOLE",
    "platform: webhook\noptions:\n  url: https://h.example/\n  headers: {x-one: HOLE}",
    "platform: webhook\noptions:\n  url: HOLE",
    "platform: dingtalk\noptions:\n  url: https://h.example/\n  title: HOLE\n  message: HOLE",
    "platform: wecom\noptions:\n  url: https://h.example/\n  type: markdown\n  message: HOLE",
    "platform: lark\noptions:\n  url: https://h.example/\n  message: HOLE\n  mention: [HOLE]",
    "when: HOLE\norder_by: HOLE\nplatform: webhook\noptions:\n  url: https://h.example/",
];

static SECRETS: LazyLock<Secrets> = LazyLock::new(|| {
    let mut secrets = Secrets::default();
    secrets.insert("k", Ok(Secret::new(CANARY)));
    secrets
});

pub(crate) fn run(data: &[u8]) {
    let (place, rest) = split_first(data);
    let (template, data) = split_at_nul(rest);
    let (Ok(template), place) = (std::str::from_utf8(template), PLACES[usize::from(place) % PLACES.len()]) else {
        return;
    };
    let text = format!("events: ['*']\n{}\n", place.replace("HOLE", &json!(template).to_string()));
    let source = Source::new("hooks.d/a.yaml", text.as_str());
    let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    found.iter().for_each(|one| is_sound(one, &text));
    let Some(hook) = hook else { return };
    let event = Event::new("t", Some("e".to_owned()), data[..data.len().min(limits::EVENT)].to_vec(), now());

    match hook.wants(&event) {
        Ok(()) | Err(NotWanted::When) => {}
        Err(NotWanted::WhenFailed(why)) => is_for_people(&why, rest),
        Err(other) => panic!("it wants everything: {other}"),
    }
    hook.terms(&event, |why| is_for_people(why, rest));

    let given = Given { id: "d-1", attempt: 1, now: now(), hook: "a", event: &event, secrets: &SECRETS };
    let made = hook.render(&given);
    let again = hook.render(&given);
    match (made, again) {
        (Ok(made), Ok(again)) => {
            assert_eq!((&made.url, &made.body, &made.headers), (&again.url, &again.body, &again.headers));
            is_in_its_place(&hook, &made, template, &event);
        }
        (Err(RenderError::Wrong(found)), Err(_)) => {
            let shown = found.render(false);
            assert!(!shows_secret(shown.as_bytes()) || shows_secret(rest), "{shown}");
            is_sound(&found, &text);
        }
        (Err(RenderError::Secret { name, why }), Err(_)) => {
            assert_ne!(name, "k");
            is_for_people(&why, rest);
        }
        (made, again) => panic!("once {made:?}, then {again:?}"),
    }
}

fn is_in_its_place(hook: &Hook, made: &Request, template: &str, event: &Event) {
    let url = url::Url::parse(&made.url).expect("a URL");
    let fixed = hook.source.text.contains("url: https://h.example/");
    assert!(!fixed || url.host_str() == Some("h.example"), "{}", made.url);
    if let Some(literal) = url::Url::parse(template).ok().filter(|_| !fixed && !template.contains(['{', '}'])) {
        assert_eq!(url.host_str(), literal.host_str());
    }
    assert!(made.body.len() <= limits::REQUEST_BODY);
    let kind = made.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // What is passed on as it came is whatever came.
    if kind.starts_with("application/json") && made.body != event.raw {
        assert!(Exact::parse(&made.body).is_some(), "{:?}", made.body);
    }
    // A person who looks at it sees no secret that the template put there as it is.
    let shown = wire::request(&Mask::new(hook, &SECRETS).request(made));
    let plain = !template.contains(['|', '[']) && !shows_secret(template.as_bytes()) && !shows_secret(&event.raw);
    assert!(!plain || !shows_plainly(&shown), "{:?}", String::from_utf8_lossy(&shown));
}

fn shows_plainly(text: &[u8]) -> bool {
    text.windows(CANARY.len()).any(|part| part == CANARY.as_bytes())
}

fn now() -> Timestamp {
    Timestamp::from_second(1_769_860_800).expect("a time")
}
