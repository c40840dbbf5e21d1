//! Nobody in particular: takes everything, at a pace and with a signature if it was told so.

use bytes::Bytes;
use jiff::Timestamp;

use super::bots::World;
use super::judgement::{Answered, Judgement};
use super::received::Received;
use crate::rules::signature::{self, Scheme, Signed};
use crate::words::event::JSON;

/// All requests are for one receiver.
const RECEIVER: &str = "/";

pub(super) fn answer(world: &mut World, request: &Received, now: Timestamp) -> Answered {
    let text = ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned());
    let accepted = |accepted, why: &str| Judgement { accepted, why: why.to_owned(), ..Judgement::default() };
    let scheme = world.bots.get(RECEIVER).and_then(|bot| bot.options.verify.clone());
    let verified = match scheme.map(|scheme| verify(&scheme, request, now)).transpose() {
        Ok(verified) => verified,
        Err(why) => {
            return Answered {
                status: 401,
                headers: vec![text],
                body: Bytes::from_static(b"the signature is not right\n"),
                judgement: accepted(false, &why),
            };
        }
    };
    // There is always one: its name is not empty, and it is the only one.
    let wait = world.bots.get(RECEIVER).and_then(|bot| {
        if bot.full(now) {
            return Some(bot.free_at(now).duration_since(now));
        }
        bot.charge(now);
        None
    });
    let reply = world.bots.get(RECEIVER).and_then(|bot| bot.options.reply.clone());
    let is_json = |reply: &str| reply.starts_with(['{', '[']);
    let json = reply.as_deref().is_some_and(is_json).then(|| (text.0.clone(), JSON.to_owned()));
    match wait {
        None => Answered {
            status: 200,
            headers: vec![json.unwrap_or(text)],
            body: reply.map_or(Bytes::from_static(b"ok\n"), |reply| Bytes::copy_from_slice(reply.as_bytes())),
            judgement: Judgement { notes: verified.into_iter().collect(), ..accepted(true, "") },
        },
        Some(wait) => {
            // Whole seconds, rounded up: a sender that obeys it must not be refused again.
            let seconds = (wait.as_millis().max(1) + 999) / 1000;
            Answered {
                status: 429,
                headers: vec![text, ("retry-after".to_owned(), seconds.to_string())],
                body: Bytes::from_static(b"too many requests\n"),
                judgement: accepted(false, "more than the rate allows"),
            }
        }
    }
}

/// What matched, for the record.
fn verify(scheme: &Scheme, request: &Received, now: Timestamp) -> Result<String, String> {
    let url = format!("http://{}{}", request.header("host").unwrap_or_default(), request.target);
    let Received { method, headers, body, .. } = request;
    let verified = signature::verify(scheme, &Signed { method, url: &url, headers, body }, now);
    verified.map(|verified| format!("the signature is right: {}", verified.how)).map_err(|why| why.to_string())
}
