//! What `--json` prints, command by command: one object per line. The names are a promise. The published schema and the
//! manual pages are made of this, and a test holds the real output of every command to it.

use crate::words::keys::VERDICTS;

/// One kind of object.
#[derive(Debug)]
pub struct Row {
    /// What it is called in the schema.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    /// Its members.
    pub fields: &'static [Field],
}

/// One member.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What that means, in one sentence.
    pub about: &'static str,
}

/// What a member holds.
#[derive(Debug)]
pub enum Holds {
    /// A text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number that is not negative.
    Count,
    /// A whole number.
    Whole,
    /// `true` or `false`.
    Bool,
    /// A time in RFC 3339.
    Time,
    /// A list of texts.
    Texts,
    /// A list of pairs of texts.
    Pairs,
    /// Names, each with a text.
    Map,
    /// Any JSON value.
    Any,
    /// An object.
    One(&'static Row),
    /// A list of objects.
    Many(&'static Row),
    /// This, or null.
    OrNull(&'static Self),
    /// This; the member may be missing.
    Maybe(&'static Self),
}

/// Which command prints which objects. A command that is not here prints none.
pub static COMMANDS: &[(&str, &[&Row])] = &[
    ("emit", &[&ACCEPTED, &REFUSED, &WANTED]),
    ("test", &[&PROBED]),
    ("check", &[&DIAGNOSTIC, &IGNORED]),
    ("render", &[&REQUEST]),
    ("script", &[&CASE, &EVENT_MADE]),
    ("platforms", &[&PLATFORM]),
    ("sources", &[&SOURCE]),
    ("sign", &[&SIGNED]),
    ("verify", &[&VERIFIED]),
    ("status", &[&STATUS]),
    ("log", &[&ATTEMPT]),
    ("show", &[&DELIVERY_WHOLE, &EVENT_WHOLE]),
    ("replay", &[&DELIVERY_ID]),
    ("hold", &[&HELD]),
    ("release", &[&RELEASED]),
    ("reload", &[&RELOADED]),
    ("sink", &[&RECEIVED]),
];

const fn field(name: &'static str, holds: Holds, about: &'static str) -> Field {
    Field { name, holds, about }
}

const TEXT_OR_NULL: Holds = Holds::OrNull(&Holds::Text);
const COUNT_OR_NULL: Holds = Holds::OrNull(&Holds::Count);
const TIME_OR_NULL: Holds = Holds::OrNull(&Holds::Time);
const OUTCOME: Holds = Holds::Word(&["waiting", "delivered", "dead", "dropped"]);
/// A verdict, or nothing when no request could be made.
const VERDICT: Holds = Holds::Word(&[VERDICTS[0], VERDICTS[1], VERDICTS[2], VERDICTS[3], VERDICTS[4], ""]);

static ACCEPTED: Row = Row {
    name: "accepted",
    about: "An event that is on disk.",
    fields: &[
        field("id", Holds::Text, "The event's id."),
        field("hooks", Holds::Texts, "The hooks that want it."),
        field("duplicate", Holds::Bool, "Whether it was known already, and nothing was stored."),
    ],
};

static REFUSED: Row = Row {
    name: "refused",
    about: "An event that was not stored.",
    fields: &[field("error", Holds::One(&ERROR), "Why.")],
};

static ERROR: Row = Row {
    name: "error",
    about: "Why something was refused.",
    fields: &[
        field("code", Holds::Text, "A word for programs."),
        field("message", Holds::Text, "The same for people."),
    ],
};

static WANTED: Row = Row {
    name: "wanted",
    about: "With `--dry-run`: whether one hook wants the event.",
    fields: &[
        field("hook", Holds::Text, "The hook."),
        field("wanted", Holds::Bool, "Whether it wants the event."),
        field("why", Holds::Text, "Why not."),
    ],
};

static PROBED: Row = Row {
    name: "probed",
    about: "What came of one event that was sent now.",
    fields: &[
        field("request", Holds::Text, "The request, with its secrets masked."),
        field("status", COUNT_OR_NULL, "The status of the answer, if one came."),
        field("response", TEXT_OR_NULL, "The answer, if one came."),
        field("duration_ms", Holds::Count, "How long it took."),
        field("verdict", VERDICT, "What it means; empty when no request could be made."),
        field("why", Holds::Text, "Why."),
    ],
};

static DIAGNOSTIC: Row = Row {
    name: "diagnostic",
    about: "Something that is wrong.",
    fields: &[
        field("severity", Holds::Word(&["error", "warning"]), "How bad it is."),
        field("code", Holds::Text, "Its short name: `postrider help CODE` explains it."),
        field("what", Holds::Text, "What is wrong."),
        field("file", TEXT_OR_NULL, "Where."),
        field("line", COUNT_OR_NULL, "Counted from 1."),
        field("column", COUNT_OR_NULL, "In characters, counted from 1."),
        field("notes", Holds::Texts, "Facts that help to understand."),
        field("help", TEXT_OR_NULL, "The one thing to do."),
        field("text", Holds::Text, "All of it as people are shown it."),
    ],
};

static IGNORED: Row = Row {
    name: "ignored",
    about: "A file that was passed over.",
    fields: &[
        field("severity", Holds::Word(&["ignored"]), "`ignored`."),
        field("code", Holds::Word(&["ignored"]), "`ignored`."),
        field("what", Holds::Text, "Why."),
        field("file", Holds::Text, "The file."),
    ],
};

static REQUEST: Row = Row {
    name: "request",
    about: "A request that a hook would send.",
    fields: &[
        field("method", Holds::Text, "Its method."),
        field("url", Holds::Text, "Its URL; without `--show-secrets` only scheme and host."),
        field("headers", Holds::Pairs, "Its headers: names and values."),
        field("body", Holds::Text, "Its body."),
    ],
};

static CASE: Row = Row {
    name: "case",
    about: "With `--cases`: one case of a script.",
    fields: &[
        field("case", Holds::Text, "Its name."),
        field("passed", Holds::Bool, "Whether everything is as expected."),
        field("line", Holds::Count, "Where it stands in its file."),
        field("differences", Holds::Texts, "What is otherwise."),
    ],
};

static EVENT_MADE: Row = Row {
    name: "event",
    about: "With `--request`: an event that the script of a source makes of it.",
    fields: &[
        field("type", Holds::Text, "Its type."),
        field("id", Holds::Text, "Its id."),
        field("time", Holds::Time, "When it happened."),
        field("data", Holds::Any, "What it says."),
        field("source", Holds::Maybe(&Holds::Text), "Who says so."),
    ],
};

static OPTION: Row = Row {
    name: "option",
    about: "One option of a platform or a source.",
    fields: &[
        field("name", Holds::Text, "Its name."),
        field("kind", Holds::Text, "What it holds."),
        field("required", Holds::Bool, "Whether it must be said."),
        field("default", Holds::Any, "What it is otherwise."),
        field("about", Holds::Text, "What it is for."),
    ],
};

static PLATFORM: Row = Row {
    name: "platform",
    about: "A platform.",
    fields: &[
        field("platform", Holds::Text, "Its name."),
        field("summary", Holds::Text, "What it is."),
        field("built_in", Holds::Bool, "Whether it comes with postrider."),
        field("receiver", Holds::Texts, "The options that say whose quota it is."),
        field("rate_limit", TEXT_OR_NULL, "Its pace, unless a hook says otherwise."),
        field("concurrency", Holds::Count, "Deliveries at once, unless a hook says otherwise."),
        field("options", Holds::Many(&OPTION), "What it asks of a hook."),
    ],
};

static SOURCE: Row = Row {
    name: "source",
    about: "A script of sources.",
    fields: &[
        field("source", Holds::Text, "Its name."),
        field("summary", Holds::Text, "What it is."),
        field("built_in", Holds::Bool, "Whether it comes with postrider."),
        field("at", Holds::Texts, "Where the main file uses it."),
        field("methods", Holds::Texts, "The methods that it takes."),
        field("replay_window", TEXT_OR_NULL, "After it the same request counts as new."),
        field("options", Holds::Many(&OPTION), "What it asks for."),
    ],
};

static SIGNED: Row = Row {
    name: "signed",
    about: "What signs a request.",
    fields: &[field("headers", Holds::Map, "The headers to add."), field("url", Holds::Text, "Where it goes.")],
};

static VERIFIED: Row = Row {
    name: "verified",
    about: "A signature that is right.",
    fields: &[
        field("signed", Holds::Text, "What was signed."),
        field("algorithm", Holds::Text, "With what."),
        field("encoding", Holds::Text, "How it is written."),
        field("key", Holds::Count, "Which of the keys, counted from 1."),
        field("id", TEXT_OR_NULL, "The id that was signed."),
        field("timestamp", TIME_OR_NULL, "The time that was signed."),
        field("sign", Holds::OrNull(&Holds::Map), "When nothing said how: the grammar that fits."),
        field("after", TEXT_OR_NULL, "What had to be done to the request before it fitted."),
    ],
};

static STATUS: Row = Row {
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
        field("listen", Holds::One(&LISTEN), "Where events come in."),
    ],
};

static HOOK: Row = Row {
    name: "hook",
    about: "One hook.",
    fields: &[
        field("hook", Holds::Text, "Its name."),
        field("file", TEXT_OR_NULL, "Its file."),
        field("platform", TEXT_OR_NULL, "Its platform."),
        field("enabled", Holds::Bool, "Whether its file does not say `enabled: false`."),
        field(
            "state",
            Holds::Word(&["ready", "paused", "failing", "held", "secret missing", "storage", "disabled", "removed"]),
            "What it does.",
        ),
        field("until", TIME_OR_NULL, "Until when."),
        field("why", Holds::Text, "Why."),
        field("waiting", Holds::Count, "Its deliveries that wait."),
        field("dead", Holds::Count, "Its dead letters on record."),
        field("delivered", Holds::Count, "Those on record that arrived."),
        field("in_flight", Holds::Count, "Those on their way."),
        field("oldest", TIME_OR_NULL, "When the oldest that waits was accepted."),
    ],
};

static IGNORED_FILE: Row = Row {
    name: "ignored-file",
    about: "A file that was passed over.",
    fields: &[field("file", Holds::Text, "The file."), field("why", Holds::Text, "Why.")],
};

static STORAGE: Row = Row {
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

static LISTEN: Row = Row {
    name: "listen",
    about: "Where events come in.",
    fields: &[field("emit", TEXT_OR_NULL, "The socket."), field("http", TEXT_OR_NULL, "The address and port.")],
};

static ATTEMPT: Row = Row {
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

static DELIVERY: Row = Row {
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
    ],
};

static DELIVERY_WHOLE: Row = Row {
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
        field("source", Holds::Text, "Who said so."),
        field("event_time", Holds::Time, "When the event happened."),
        field("content_type", Holds::Text, "The media type of the event's bytes."),
        field("data", Holds::Any, "What the event says."),
        field("raw", Holds::Text, "The event's bytes as text."),
    ],
};

static ATTEMPT_WHOLE: Row = Row {
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
    ],
};

static EVENT_WHOLE: Row = Row {
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

static DELIVERY_ID: Row = Row {
    name: "delivery-id",
    about: "A delivery that waits again, or would.",
    fields: &[field("delivery", Holds::Text, "Its id.")],
};

static HELD: Row = Row {
    name: "held",
    about: "A hook that is held.",
    fields: &[
        field("hook", Holds::Text, "The hook."),
        field("until", TIME_OR_NULL, "Until when, if it ends by itself."),
    ],
};

static RELEASED: Row =
    Row { name: "released", about: "A hook that sends again.", fields: &[field("hook", Holds::Text, "The hook.")] };

static RELOADED: Row = Row {
    name: "reloaded",
    about: "What a reload changed.",
    fields: &[
        field("hooks", Holds::Count, "Hooks that are loaded now."),
        field("added", Holds::Texts, "Hooks that are new."),
        field("changed", Holds::Texts, "Hooks that are otherwise than before."),
        field("removed", Holds::Texts, "Hooks that are gone."),
        field("problems", Holds::Many(&DIAGNOSTIC), "What is wrong with which file."),
    ],
};

static RECEIVED: Row = Row {
    name: "received",
    about: "A request that the sink was sent.",
    fields: &[
        field("number", Holds::Count, "Counted from 1."),
        field("time", Holds::Text, "When it was complete, in seconds since 1970."),
        field("monotonic_us", Holds::Count, "The same in microseconds since the start."),
        field("from", Holds::Text, "The sender's address."),
        field("method", Holds::Text, "Its method."),
        field("target", Holds::Text, "Path and query, with secrets as hashes."),
        field("headers", Holds::Pairs, "Its headers, with secrets as hashes."),
        field("bytes", Holds::Count, "The length of its body."),
        field("body", Holds::Maybe(&Holds::Text), "Its body, when it is text."),
        field("body_base64", Holds::Maybe(&Holds::Text), "Its body, when it is not."),
        field("status", COUNT_OR_NULL, "The status of the answer."),
        field("answer", Holds::Text, "The answer."),
        field("accepted", Holds::Bool, "Whether a platform would have taken the message."),
        field("code", Holds::OrNull(&Holds::Whole), "The platform's own code."),
        field("why", Holds::Text, "The first check that failed."),
        field("mentions", Holds::One(&MENTIONS), "Who is called."),
        field("ignored_members", Holds::Texts, "Members of the body that the platform does not know."),
        field("duplicate_keys", Holds::Texts, "Members that came twice."),
        field("notes", Holds::Texts, "Other things a sender should know."),
        field("stored", Holds::Any, "What the group sees, where that differs from what was sent."),
        field("fault", TEXT_OR_NULL, "The fault that was played."),
    ],
};

static MENTIONS: Row = Row {
    name: "mentions",
    about: "Who is called by a message.",
    fields: &[
        field("all", Holds::Bool, "Everybody."),
        field("users", Holds::Texts, "By user id."),
        field("mobiles", Holds::Texts, "By mobile number."),
        field("unresolved", Holds::Texts, "Meant as a mention, and calling nobody."),
    ],
};
