//! What is going on.

use super::files::DIAGNOSTIC;
use super::{COUNT_OR_NULL, Holds, IN, OUTCOME, REASON, Row, TEXT_OR_NULL, TIME_OR_NULL, VERDICT, field};

pub(super) static HOOK_EXPLAINED: Row = Row {
    name: "hook-explained",
    about: "What one hook has to do with an event.",
    fields: &[
        field("hook", Holds::Text, "The hook."),
        field("wanted", Holds::Bool, "Whether it wants the event, or wanted it when that came."),
        field("reason", TEXT_OR_NULL, "A word for why it is not there yet, or why the hook does not want it."),
        field("why", Holds::Text, "The same in a sentence."),
        field("by", Holds::Maybe(&Holds::Text), "By which hooks this was judged, where no delivery says it."),
        field("values", Holds::Maybe(&Holds::Many(&VALUE)), "What the fields of its `when` are in this event."),
        field("note", Holds::Maybe(&Holds::Text), "What else should be known of the hook."),
        field("time", Holds::Maybe(&Holds::Time), "When the delivery was accepted."),
        field("event", Holds::Maybe(&Holds::Text), "The event's id."),
        field("delivery", Holds::Maybe(&Holds::Text), "The delivery's id."),
        field("type", Holds::Maybe(&Holds::Text), "The event's type."),
        field("outcome", Holds::Maybe(&OUTCOME), "Where the delivery stands."),
        field("attempts", Holds::Maybe(&Holds::Count), "Attempts that counted."),
        field("due", Holds::Maybe(&TIME_OR_NULL), "Not before this, while it waits."),
        field("in", Holds::Maybe(&Holds::Text), IN),
    ],
};

pub(super) static VALUE: Row = Row {
    name: "value",
    about: "A field that an expression names.",
    fields: &[
        field("name", Holds::Text, "As it is written."),
        field("value", TEXT_OR_NULL, "What it is; null when the event does not have it."),
    ],
};

pub(super) static STATUS: Row = Row {
    name: "status",
    about: "What is going on.",
    fields: &[
        field("version", Holds::Text, "Of the daemon."),
        field("pid", Holds::Count, "Its process."),
        field("since", Holds::Time, "When it started."),
        field("accepted", Holds::Count, "Events since then."),
        field("waiting", Holds::Count, "Deliveries that wait."),
        field("dead", Holds::Count, "Dead letters on record."),
        field("delivered", Holds::Count, "Deliveries on record that arrived."),
        field("hooks", Holds::Many(&HOOK), "Every hook, and every removed one with deliveries."),
        field("problems", Holds::Many(&DIAGNOSTIC), "What is wrong with which file."),
        field("ignored", Holds::Many(&IGNORED_FILE), "Files that were passed over."),
        field("storage", Holds::One(&STORAGE), "The journal."),
        field("listen", Holds::One(&LISTEN), "Where it listens."),
    ],
};

pub(super) static HOOK: Row = Row {
    name: "hook",
    about: "One hook.",
    fields: &[
        field("hook", Holds::Text, "Its name."),
        field("file", TEXT_OR_NULL, "Its file."),
        field("platform", TEXT_OR_NULL, "Its platform."),
        field("enabled", Holds::Bool, "Whether its file does not say `enabled: false`."),
        field(
            "state",
            Holds::Word(&[
                "ready",
                "paced",
                "paused",
                "failing",
                "held",
                "secret missing",
                "storage",
                "disabled",
                "removed",
            ]),
            "What it does.",
        ),
        field("until", TIME_OR_NULL, "Until when."),
        field("why", Holds::Text, "Why."),
        field("waiting", Holds::Count, "Its deliveries that wait."),
        field("dead", Holds::Count, "Its dead letters on record."),
        field("delivered", Holds::Count, "Those on record that arrived."),
        field("in_flight", Holds::Count, "Those on their way."),
        field("oldest", TIME_OR_NULL, "When the oldest that waits was accepted."),
        field(
            "history",
            Holds::Many(&HISTORY),
            "The last hour in parts of three minutes, the oldest first; empty when nothing was sent since the start.",
        ),
        field("robots", Holds::Maybe(&Holds::Many(&ROBOT)), "Its robots, where several take turns."),
    ],
};

pub(super) static ROBOT: Row = Row {
    name: "robot",
    about: "One of the robots of a hook that take turns.",
    fields: &[
        field("robot", Holds::Count, "Its number in the hook's file, from 1."),
        field("secret", TEXT_OR_NULL, "The name of the secret that says which robot it is, where one does."),
        field("host", TEXT_OR_NULL, "Where it is, if that is known."),
        field(
            "state",
            Holds::Word(&["ready", "paced", "paused", "failing", "held", "secret missing"]),
            "What it does.",
        ),
        field("until", TIME_OR_NULL, "Until when."),
        field("why", Holds::Text, "Why."),
    ],
};

pub(super) static HISTORY: Row = Row {
    name: "history",
    about: "A part of the last hour.",
    fields: &[
        field("delivered", Holds::Count, "Attempts that delivered."),
        field("failed", Holds::Count, "Attempts that did not."),
    ],
};

pub(super) static IGNORED_FILE: Row = Row {
    name: "ignored-file",
    about: "A file that was passed over.",
    fields: &[field("file", Holds::Text, "The file."), field("why", Holds::Text, "Why.")],
};

pub(super) static STORAGE: Row = Row {
    name: "storage",
    about: "The journal.",
    fields: &[
        field("path", Holds::Text, "Its file."),
        field("trouble", TEXT_OR_NULL, "Why nothing can be stored, if so."),
        field("refuses", TEXT_OR_NULL, "Why no events are taken, if so."),
        field("size", Holds::Count, "Bytes of the database."),
        field("log", Holds::Count, "Bytes of its log."),
        field("used", Holds::Count, "Bytes in the database that are in use."),
        field("max_size", Holds::Count, "How many that may be."),
        field("free", Holds::Count, "Bytes that are free on the disk."),
        field("min_free", Holds::Count, "How many of them are left free."),
        field("ballast", Holds::Count, "Bytes that are held for outcomes on a full disk."),
        field("waiting_exceeds", Holds::Bool, "Whether it is too large, and only what waits is left."),
        field("removed_delivered", Holds::Count, "Delivered or dropped deliveries removed since the start."),
        field("removed_dead", Holds::Count, "Dead letters removed since the start."),
    ],
};

pub(super) static LISTEN: Row = Row {
    name: "listen",
    about: "Where it listens.",
    fields: &[
        field("emit", TEXT_OR_NULL, "The socket for events."),
        field("http", TEXT_OR_NULL, "The address and port for events."),
        field("metrics", TEXT_OR_NULL, "The address and port for `/metrics`."),
        field("spool", TEXT_OR_NULL, "The folder where events wait while there is no daemon."),
    ],
};

pub(super) static ATTEMPT: Row = Row {
    name: "attempt",
    about: "One attempt.",
    fields: &[
        field("time", Holds::Time, "When it began."),
        field("event", Holds::Text, "The event's id."),
        field("delivery", Holds::Text, "The delivery's id."),
        field("hook", Holds::Text, "The hook."),
        field("type", Holds::Text, "The event's type."),
        field("outcome", OUTCOME, "Where the delivery stands after it."),
        field("verdict", VERDICT, "What the answer means; empty when no request could be made."),
        field("attempt", Holds::Count, "Its number."),
        field("status", COUNT_OR_NULL, "The status of the answer, if one came."),
        field("duration_ms", Holds::Count, "How long it took."),
        field("why", Holds::Text, "Why."),
    ],
};

pub(super) static DELIVERY: Row = Row {
    name: "delivery",
    about: "One delivery.",
    fields: &[
        field("time", Holds::Time, "When it was accepted."),
        field("event", Holds::Text, "The event's id."),
        field("delivery", Holds::Text, "Its own id."),
        field("hook", Holds::Text, "The hook."),
        field("type", Holds::Text, "The event's type."),
        field("outcome", OUTCOME, "Where it stands."),
        field("attempts", Holds::Count, "Attempts that counted."),
        field("due", TIME_OR_NULL, "Not before this, while it waits."),
        field("why", Holds::Text, "Why it is not there yet, or why it is dead."),
        field("reason", TEXT_OR_NULL, REASON),
        field("in", Holds::Maybe(&Holds::Text), IN),
    ],
};

pub(super) static DELIVERY_WHOLE: Row = Row {
    name: "delivery-whole",
    about: "One delivery with everything that is known of it.",
    fields: &[
        field("time", Holds::Time, "When it was accepted."),
        field("event", Holds::Text, "The event's id."),
        field("delivery", Holds::Text, "Its own id."),
        field("hook", Holds::Text, "The hook."),
        field("type", Holds::Text, "The event's type."),
        field("outcome", OUTCOME, "Where it stands."),
        field("attempts", Holds::Many(&ATTEMPT_WHOLE), "Its attempts, the oldest first."),
        field("due", TIME_OR_NULL, "Not before this, while it waits."),
        field("why", Holds::Text, "Why it is not there yet, or why it is dead."),
        field("reason", TEXT_OR_NULL, REASON),
        field("in", Holds::Maybe(&Holds::Text), IN),
        field("source", Holds::Text, "Who said so."),
        field("event_time", Holds::Time, "When the event happened."),
        field("trace", TEXT_OR_NULL, "The trace that it belongs to, if any."),
        field("content_type", Holds::Text, "The media type of the event's bytes."),
        field("data", Holds::Any, "What the event says."),
        field("raw", Holds::Text, "The event's bytes as text."),
    ],
};

pub(super) static ATTEMPT_WHOLE: Row = Row {
    name: "attempt-whole",
    about: "One attempt of a delivery, with its answer.",
    fields: &[
        field("attempt", Holds::Count, "Its number."),
        field("time", Holds::Time, "When it began."),
        field("duration_ms", Holds::Count, "How long it took."),
        field("request", Holds::Text, "Method and host of the request."),
        field("status", COUNT_OR_NULL, "The status of the answer, if one came."),
        field("response", Holds::Text, "The beginning of the answer."),
        field("verdict", VERDICT, "What the answer means; empty when no request could be made."),
        field("why", Holds::Text, "Why."),
        field("outcome", OUTCOME, "Where the delivery stands after it."),
        field("along", Holds::Maybe(&Holds::Texts), "The deliveries that went in the same request: a digest."),
    ],
};

pub(super) static EVENT_WHOLE: Row = Row {
    name: "event-whole",
    about: "One event with its deliveries.",
    fields: &[
        field("id", Holds::Text, "Its id."),
        field("type", Holds::Text, "Its type."),
        field("source", TEXT_OR_NULL, "Who said so."),
        field("time", TIME_OR_NULL, "When it happened."),
        field("data", Holds::Any, "What it says."),
        field("deliveries", Holds::Many(&DELIVERY), "To whom it is owed."),
    ],
};

pub(super) static SHAPE: Row = Row {
    name: "shape",
    about: "With `--shape`: what waits of one hook, counted.",
    fields: &[
        field("hook", Holds::Text, "The hook."),
        field("waiting", Holds::Count, "How many wait."),
        field("ages", Holds::Counts, "How many by their age."),
        field("reasons", Holds::Counts, "How many by their reason."),
    ],
};

pub(super) static EXPLAINED: Row = Row {
    name: "explained",
    about: "One event, and what every hook has to do with it.",
    fields: &[
        field("event", Holds::Text, "Its id."),
        field("type", Holds::Text, "Its type."),
        field("source", Holds::Text, "Who said so."),
        field("time", Holds::Time, "When it happened."),
        field("known", Holds::Bool, "Whether it is on record."),
        field("hooks", Holds::Many(&HOOK_EXPLAINED), "The hooks."),
    ],
};
