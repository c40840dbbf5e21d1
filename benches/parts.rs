//! What each part of a delivery costs by itself, in microseconds of one thread: where the CPU seconds of
//! `cargo bench --bench throughput` go.

#[expect(dead_code, reason = "the throughput benchmark uses the rest")]
#[path = "support/events.rs"]
mod events;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::exchange::Response;
use postrider::words::secret::{Secret, Secrets};

const WEBHOOK: &str = "events: [bench]\nplatform: webhook\noptions:\n  url: http://127.0.0.1:9/0\n";
const DINGTALK: &str = r#"events: [bench]
platform: dingtalk
options:
  url: http://127.0.0.1:9/0?access_token=bench
  secret: {secret: robot}
  title: "{{ data.title }}"
  message: |
    {{ data.action }} {{ data.seq }}: {{ data.title }} {{ data.os_version }} ({{ data.build_version }})
    {{ data.notes }}
    {{ data.link }}
"#;

fn main() {
    let mut secrets = Secrets::default();
    secrets.insert("robot", Ok(Secret::new("SECbench0123456789")));
    let config = Config { secrets, ..Config::default() };
    let data = events::data(1);
    let response = Response {
        status: 200,
        headers: HeaderMap::new(),
        body: br#"{"errcode":0,"errmsg":"ok"}"#[..].into(),
        truncated: false,
    };
    time("make an event", || Event::new("bench", Some("e1".to_owned()), data.clone(), Timestamp::UNIX_EPOCH));
    time("parse its data", || serde_json::from_slice::<serde_json::Value>(&data));
    time("take secrets out of an answer", || config.secrets.redact(r#"{"errcode":0,"errmsg":"ok"}"#));
    for (name, text) in [("webhook", WEBHOOK), ("dingtalk", DINGTALK)] {
        let hook = hook(name, text);
        let render = |event: &Event| {
            let (now, secrets) = (Timestamp::UNIX_EPOCH, &config.secrets);
            hook.render(&Given { id: "j-1", attempt: 1, now, hook: name, event, secrets })
        };
        let event = || Event::new("bench", Some("e1".to_owned()), data.clone(), Timestamp::UNIX_EPOCH);
        let seen = event();
        render(&seen).expect("the sample renders");
        time(&format!("{name}: render, first hook of an event"), || render(&event()));
        time(&format!("{name}: render, further hooks"), || render(&seen));
        time(&format!("{name}: verdict"), || hook.verdict(&response, Timestamp::UNIX_EPOCH, |_, _| {}));
    }
}

fn hook(name: &str, text: &str) -> Arc<Hook> {
    let source = Source::new(format!("{name}.yaml"), text);
    let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    Arc::new(hook.unwrap_or_else(|| panic!("{found:?}")))
}

/// The median of a few rounds: another process may take the core meanwhile.
fn time<T>(what: &str, mut work: impl FnMut() -> T) {
    const CALLS: u32 = 5_000;
    let mut rounds: Vec<Duration> = (0..9)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..CALLS {
                black_box(work());
            }
            began.elapsed() / CALLS
        })
        .collect();
    rounds.sort();
    println!("{what:<44}{:>9.2} µs", rounds[rounds.len() / 2].as_secs_f64() * 1e6);
}
