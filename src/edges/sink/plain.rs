//! Nobody in particular: takes everything, at a pace if it was given one.

use bytes::Bytes;
use jiff::Timestamp;

use super::bots::World;
use super::judgement::{Answered, Judgement};

/// All requests are for one receiver.
const RECEIVER: &str = "/";

pub(super) fn answer(world: &mut World, now: Timestamp) -> Answered {
    let text = ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned());
    let accepted = |accepted, why: &str| Judgement { accepted, why: why.to_owned(), ..Judgement::default() };
    // There is always one: its name is not empty, and it is the only one.
    let wait = world.bots.get(RECEIVER).and_then(|bot| {
        if bot.full(now) {
            return Some(bot.free_at(now).duration_since(now));
        }
        bot.charge(now);
        None
    });
    match wait {
        None => Answered {
            status: 200,
            headers: vec![text],
            body: Bytes::from_static(b"ok\n"),
            judgement: accepted(true, ""),
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
