//! A hook file.

use std::time::Duration;

use super::{NOTHING, Shape, Table, Unless, key};
use crate::words::limits;

const SECOND: Duration = Duration::from_secs(1);

/// A hook file.
pub static HOOK: Table = Table {
    name: "",
    keys: &[
        key("description", Shape::Text, NOTHING, "What the hook is for, for people."),
        key("owner", Shape::Text, NOTHING, "Whom to ask, for people."),
        key("enabled", Shape::Bool, Unless::Default("true"), "`false`: nothing is sent, and nothing waits."),
        key(
            "events",
            Shape::Texts,
            Unless::Required,
            "The types of events that the hook wants; `*` stands for any characters, `?` for one.",
        ),
        key(
            "when",
            Shape::Expression,
            Unless::Otherwise("always"),
            "Wants an event only when this expression over `event` and `data` is true; a missing field is false.",
        ),
        key(
            "scope",
            Shape::Text,
            NOTHING,
            "Hooks of one scope are counted together by `limits.hooks_per_scope` of the main file.",
        ),
        key(
            "platform",
            Shape::Platform,
            Unless::Required,
            "How the receiver wants it; `postrider platforms` lists them.",
        ),
        key(
            "options",
            Shape::PlatformOptions,
            Unless::Otherwise("the platform's"),
            "What the platform asks for; `postrider platforms NAME` says what.",
        ),
        key(
            "verdict",
            Shape::List(&RULE),
            Unless::Otherwise("the platform's"),
            "Rules for what an answer means, read before the platform's own; the first that is true decides.",
        ),
        key(
            "rate_limit",
            Shape::Either(&[Shape::Rate, Shape::Map(&RATE)]),
            Unless::Otherwise("the platform's"),
            "At most so many requests in any such span, counted per receiver, also across a restart.",
        ),
        key(
            "concurrency",
            Shape::Integer(1, limits::CONCURRENCY_MAX as u64),
            Unless::Otherwise("the platform's"),
            "How many deliveries are on their way at once.",
        ),
        key(
            "timeout",
            Shape::Duration(limits::TIMEOUT_MIN, limits::TIMEOUT_MAX),
            Unless::Default("15s"),
            "The deadline of one attempt, from the connect to the last byte.",
        ),
        key("retry", Shape::Map(&RETRY), NOTHING, "When a delivery is tried again, and until when."),
        key(
            "breaker",
            Shape::Either(&[Shape::Bool, Shape::Map(&BREAKER)]),
            Unless::Default("true"),
            "When a receiver that fails again and again is left alone; `false`: never.",
        ),
        key(
            "dedupe",
            Shape::Map(&DEDUPE),
            Unless::Otherwise("never"),
            "The same key within a time is recorded and not sent again, unless the first is dead.",
        ),
        key(
            "digest",
            Shape::Map(&DIGEST),
            Unless::Otherwise("each goes by itself"),
            "When what waits goes out in one message that lists it, for platforms with a text that people read.",
        ),
        key(
            "order_by",
            Shape::Template,
            Unless::Otherwise("no order"),
            "Deliveries with the same value of this field or text go out one after the other.",
        ),
        key(
            "tests",
            Shape::List(&TEST),
            NOTHING,
            "Events and the requests that they must become; `postrider check` runs them.",
        ),
    ],
};

/// `retry:`.
pub static RETRY: Table = Table {
    name: "retry",
    keys: &[
        key(
            "first",
            Shape::Duration(limits::RETRY_FLOOR, limits::MAX_AGE_MAX),
            Unless::Default("5s"),
            "The first wait; each further one is twice as long, with full jitter.",
        ),
        key(
            "max",
            Shape::Duration(limits::RETRY_FLOOR, limits::MAX_AGE_MAX),
            Unless::Default("1h"),
            "The longest wait.",
        ),
        key(
            "max_age",
            Shape::Duration(limits::RETRY_FLOOR, limits::MAX_AGE_MAX),
            Unless::Default("3d"),
            "A delivery of this age is given up.",
        ),
        key(
            "max_attempts",
            Shape::Integer(1, limits::MAX_ATTEMPTS as u64),
            Unless::Otherwise("no bound"),
            "A delivery is given up after so many attempts.",
        ),
    ],
};

/// `breaker:`.
pub static BREAKER: Table = Table {
    name: "breaker",
    keys: &[
        key(
            "failures",
            Shape::Integer(1, limits::BREAKER_FAILURES_MAX as u64),
            Unless::Default("10"),
            "After so many failures in a row the receiver is left alone.",
        ),
        key(
            "probe",
            Shape::Duration(limits::BREAKER_SHORTEST, limits::RETRY_AFTER_MAX),
            Unless::Default("5s"),
            "The wait until it is tried with one request; each further one is twice as long.",
        ),
        key(
            "max",
            Shape::Duration(limits::BREAKER_SHORTEST, limits::RETRY_AFTER_MAX),
            Unless::Default("10m"),
            "The longest wait.",
        ),
    ],
};

/// `dedupe:`.
pub static DEDUPE: Table = Table {
    name: "dedupe",
    keys: &[
        key("key", Shape::Template, Unless::Required, "A field such as `data.id`, or a text with `{{ }}`."),
        key(
            "for",
            Shape::Duration(SECOND, limits::MAX_AGE_MAX),
            Unless::Required,
            "How long the same key counts as the same.",
        ),
    ],
};

/// `digest:`.
pub static DIGEST: Table = Table {
    name: "digest",
    keys: &[
        key(
            "when",
            Shape::Expression,
            Unless::Otherwise("`waiting > 1` without a window, else when that is over"),
            "An expression over `waiting`, how many deliveries could go now, and `oldest`, the age of the oldest in seconds.",
        ),
        key(
            "window",
            Shape::Duration(limits::PAUSE_SHORTEST, limits::DIGEST_WINDOW_MAX),
            Unless::Otherwise("nothing waits for company"),
            "How long a delivery waits for others to go with it.",
        ),
        key("max", Shape::Integer(2, limits::DIGEST_MAX as u64), Unless::Default("50"), "How many go in one message."),
        key(
            "template",
            Shape::Template,
            Unless::Otherwise("the first line of each"),
            "The text of that message, over `events`, `count`, `first`, `last` and `hook`.",
        ),
    ],
};

/// `rate_limit:`, spelled out.
pub static RATE: Table = Table {
    name: "rate_limit",
    keys: &[
        key("rate", Shape::Rate, Unless::Required, "At most so many in any such span, such as `20/1m`."),
        key(
            "burst",
            Shape::Integer(1, u32::MAX as u64),
            Unless::Otherwise("all of them"),
            "No more than so many of them at once; the rest is spread over the span.",
        ),
    ],
};

/// An entry of `verdict:`.
pub static RULE: Table = Table {
    name: "verdict",
    keys: &[
        key(
            "when",
            Shape::Either(&[Shape::Expression, Shape::Bool]),
            Unless::Required,
            "An expression over `status`, `headers`, `text` and `json` of the answer.",
        ),
        key("delivered", Shape::Either(&[Shape::True, Shape::Nothing]), NOTHING, "The delivery has arrived."),
        key(
            "retry",
            Shape::Either(&[Shape::Template, Shape::Nothing]),
            NOTHING,
            "It did not arrive and is tried again; says why, if it has anything to say.",
        ),
        key(
            "pause",
            Shape::Duration(limits::PAUSE_SHORTEST, limits::RETRY_AFTER_MAX),
            NOTHING,
            "The receiver wants to be left alone for this long, by every hook that uses it.",
        ),
        key("hold", Shape::Template, NOTHING, "Nothing more is sent before a person acts; says why."),
        key("reject", Shape::Template, NOTHING, "This delivery will never be accepted; says why."),
        key("why", Shape::Template, NOTHING, "Beside `pause`: why."),
    ],
};

/// An entry of `tests:`.
pub static TEST: Table = Table {
    name: "tests",
    keys: &[
        key("name", Shape::Text, Unless::Otherwise("its number"), "What the test shows."),
        key(
            "event",
            Shape::Either(&[Shape::Map(&TEST_EVENT), Shape::List(&TEST_EVENT)]),
            Unless::Otherwise("required, unless there is a response"),
            "The event that comes, or several: the same is expected of each.",
        ),
        key("response", Shape::Map(&TEST_RESPONSE), NOTHING, "What the receiver answers."),
        key(
            "expect",
            Shape::Map(&EXPECT),
            Unless::Required,
            "What is to come of it; what is not said may be anything.",
        ),
    ],
};

/// `event:` of a test.
pub static TEST_EVENT: Table = Table {
    name: "event",
    keys: &[
        key("type", Shape::Text, Unless::Required, "Its type."),
        key("id", Shape::Text, Unless::Default("test"), "Its id."),
        key("source", Shape::Text, NOTHING, "Who says so."),
        key("time", Shape::Time, Unless::Otherwise("now"), "When it happened."),
        key("data", Shape::Any, Unless::Default("{}"), "What it says."),
    ],
};

/// `response:` of a test.
pub static TEST_RESPONSE: Table = Table {
    name: "response",
    keys: &[
        key("status", Shape::Integer(100, 599), Unless::Default("200"), "The status."),
        key("headers", Shape::Pairs, NOTHING, "The headers."),
        key("json", Shape::Any, NOTHING, "The body, as JSON."),
        key("text", Shape::AnyText, NOTHING, "The body, as it is."),
    ],
};

/// `expect:` of a test.
pub static EXPECT: Table = Table {
    name: "expect",
    keys: &[
        key("wanted", Shape::Bool, NOTHING, "Whether the hook wants the event at all."),
        key("method", Shape::Text, NOTHING, "The method of the request."),
        key("url", Shape::Text, NOTHING, "Its whole URL."),
        key("headers", Shape::Pairs, NOTHING, "These headers, among others."),
        key("json", Shape::Any, NOTHING, "Its body as JSON: these members, among others; lists exactly."),
        key("text", Shape::AnyText, NOTHING, "Its body as it is."),
        key("form", Shape::Pairs, NOTHING, "Its body as a form: these fields, among others."),
        key("contains", Shape::Texts, NOTHING, "These stand in the body, also in texts inside its JSON or form."),
        key("lacks", Shape::Texts, NOTHING, "These do not."),
        key("parts", Shape::Integer(1, limits::PARTS as u64), NOTHING, "In how many requests the message goes out."),
        key("error", Shape::Text, NOTHING, "There is no request, and this stands in the reason."),
        key("verdict", Shape::Word(&VERDICTS), NOTHING, "What the response means."),
        key("why", Shape::Text, NOTHING, "This stands in the reason of the verdict."),
    ],
};

/// The five verdicts, as they are written.
pub const VERDICTS: [&str; 5] = ["delivered", "retry", "pause", "hold", "reject"];
