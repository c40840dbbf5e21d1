//! Signatures: what leaves is signed as the vendors sign, and what arrives is accepted only as it was signed.
//!
//! `tests/vectors.json` holds what vendors and libraries have published, and what was computed where nothing is: requests
//! with the headers they must have, robots with their signatures, and what must be refused.

mod by_hand;
mod tampering;
mod vectors;

use std::sync::Arc;

use jiff::Timestamp;
use postrider::edges::send::Sender;
use postrider::edges::sink::{BotOptions, Platform, Sink, SinkHandle, SinkOptions};
use postrider::engine::probe::{Probed, probe};
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::{Defaults, Network};
use postrider::rules::signature::Scheme;
use postrider::words::event::Event;
use postrider::words::secret::{Secret, Secrets};
use serde_json::{Value as Json, json};

const VECTORS: &str = include_str!("../vectors.json");

fn vectors() -> Json {
    serde_json::from_str(VECTORS).expect("vectors")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

/// The time of a vector; those without a timestamp do not care.
fn time_of(vector: &Json) -> Timestamp {
    at(vector["time"].as_i64().unwrap_or(1_700_000_000))
}

fn text<'v>(value: &'v Json, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// The keys of a signature.
fn keys(sign: &Json) -> Vec<String> {
    let key = |value: &Json| value.as_str().expect("a key").to_owned();
    sign["key"].as_array().map_or_else(|| vec![key(&sign["key"])], |keys| keys.iter().map(key).collect())
}

/// A receiver that knows how requests are signed, and when it is.
async fn verifier(scheme: &Json, now: Timestamp) -> SinkHandle {
    let scheme = Scheme::from_json(scheme).unwrap_or_else(|why| panic!("{scheme}: {why}"));
    let default = BotOptions { verify: Some(Arc::new(scheme)), ..BotOptions::default() };
    sink(Platform::Plain, default, now).await
}

async fn sink(platform: Platform, default: BotOptions, now: Timestamp) -> SinkHandle {
    let options = SinkOptions { platform, default, clock: Arc::new(move || now), ..SinkOptions::default() };
    Sink::start(options).await.expect("a receiver")
}

/// Sends one event through a hook for real, at a given time. The URL is that of the hook, the connection goes to `to`.
async fn send(hook: &str, secrets: Vec<(String, String)>, event: &Event, to: &SinkHandle, now: Timestamp) -> Probed {
    let source = Source::new("hooks.d/signed.yaml", hook);
    let (parsed, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    let hook = parsed.unwrap_or_else(|| panic!("{hook}: {found:?}"));
    let mut config = Config { secrets: Secrets::default(), ..Config::default() };
    for (name, value) in secrets {
        config.secrets.insert(name, Ok(Secret::new(value)));
    }
    let origin = format!("http://{}", to.addr);
    probe(&Sender::new(Network::default()), &config, &hook, event, Some(&origin), now).await
}

/// A hook with these options. JSON is YAML.
fn hook(platform: &str, options: &Json) -> String {
    format!("events: [\"*\"]\nplatform: {platform}\noptions: {options}\n")
}

/// The same map with its keys as secrets, and these secrets.
fn with_secrets(sign: &Json) -> (Json, Vec<(String, String)>) {
    let named: Vec<_> = keys(sign).into_iter().enumerate().map(|(n, key)| (format!("key-{n}"), key)).collect();
    let mut sign = sign.clone();
    sign["key"] = named.iter().map(|(name, _)| json!({"secret": name})).collect();
    (sign, named)
}
