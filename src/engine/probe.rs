//! The test button: one event through one hook now, past filters and queue, with the same request, pace and verdict.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::edges::send::Sender;
use crate::engine::attempt::{judge, render_turn};
use crate::engine::wire::{self, Mask};
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::rules::platform::{Given, Turn};
use crate::words::event::Event;

/// What a test came to. Secrets are taken out.
#[derive(Clone, Debug, Serialize)]
pub struct Probed {
    /// The request as it may be shown: of its URL, scheme and host.
    pub request: String,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// The answer, if one came.
    pub response: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// delivered, retry, pause, hold, reject; empty when no request could be made.
    pub verdict: String,
    /// Why.
    pub why: String,
}

/// Sends one event through a hook, all parts of its message until one does not arrive. `to` replaces scheme, host and port
/// of the URL, or all of it when it has a path.
pub async fn probe(
    sender: &Sender,
    config: &Config,
    hook: &Hook,
    event: &Event,
    to: Option<&str>,
    now: Timestamp,
) -> Probed {
    let mut turn = Turn::default();
    let mut requests = Vec::new();
    let mut took = 0;
    loop {
        let (mut probed, parts, plain) = probe_one(sender, config, hook, event, to, now, turn).await;
        requests.push(std::mem::take(&mut probed.request));
        took += probed.duration_ms;
        if plain && !turn.plain {
            turn.plain = true;
        } else if probed.verdict == "delivered" && turn.part + 1 < parts {
            turn = Turn { part: turn.part + 1, plain: false };
        } else {
            return Probed { request: requests.join("\n\n"), duration_ms: took, ..probed };
        }
    }
}

/// One request, of how many parts it is one, and whether only its markup is refused.
async fn probe_one(
    sender: &Sender,
    config: &Config,
    hook: &Hook,
    event: &Event,
    to: Option<&str>,
    now: Timestamp,
    turn: Turn,
) -> (Probed, u32, bool) {
    let given = Given { id: "test-1", attempt: 1, now, hook: &hook.name, event, secrets: &config.secrets };
    let (mut request, parts) = match render_turn(hook, &given, None, turn) {
        Ok(made) => made,
        Err(error) => {
            return (unmade(&Mask::new(hook, &config.secrets).text(&error.to_string())), 1, false);
        }
    };
    if let Some(to) = to {
        match divert(&request.url, to) {
            Ok(url) => request.url = url,
            Err(why) => return (unmade(&why), 1, false),
        }
    }
    let begun = Instant::now();
    let answer = sender.send(&request, hook.timeout).await;
    let took = begun.elapsed();
    let mask = Mask::of_request(hook, &config.secrets, &request);
    let clean = |text: &str| mask.text(text);
    let judged = judge(hook, &answer, now, &clean);
    let (status, response) = match &answer {
        Ok(response) => (Some(response.status), Some(clean(&String::from_utf8_lossy(&wire::response(response))))),
        Err(_) => (None, None),
    };
    let why = judged.verdict.why().or(judged.warning.as_deref()).unwrap_or_default();
    let probed = Probed {
        request: String::from_utf8_lossy(&wire::request(&mask.request(&request))).into_owned(),
        status,
        response,
        duration_ms: milliseconds(took),
        verdict: judged.verdict.word().to_owned(),
        why: why.to_owned(),
    };
    (probed, parts, judged.plain)
}

fn unmade(why: &str) -> Probed {
    let why = format!("cannot be rendered: {why}");
    let verdict = String::new();
    Probed { request: String::new(), status: None, response: None, duration_ms: 0, verdict, why }
}

fn divert(url: &str, to: &str) -> Result<String, String> {
    let wrong = |_| format!("--to {to} is not a URL such as http://127.0.0.1:8471");
    let target = url::Url::parse(to).map_err(wrong)?;
    if target.path() != "/" || target.query().is_some() {
        return Ok(to.to_owned());
    }
    let original = url::Url::parse(url).map_err(|_| "the hook's own URL cannot be parsed".to_owned())?;
    let origin = target[..url::Position::BeforePath].to_owned();
    Ok(format!("{origin}{}", &original[url::Position::BeforePath..url::Position::AfterQuery]))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_can_be_diverted() {
        let url = "https://oapi.dingtalk.com/robot/send?access_token=T&sign=a%2Bb";
        assert_eq!(
            divert(url, "http://127.0.0.1:8471").as_deref(),
            Ok("http://127.0.0.1:8471/robot/send?access_token=T&sign=a%2Bb")
        );
        assert_eq!(divert(url, "http://127.0.0.1:8471/x").as_deref(), Ok("http://127.0.0.1:8471/x"));
        assert!(divert(url, "127.0.0.1:8471").is_err());
    }
}
