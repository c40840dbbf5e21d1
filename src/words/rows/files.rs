//! Events that are handed in, files, scripts, signatures, and the sink.

use super::{COUNT_OR_NULL, Holds, Row, TEXT_OR_NULL, TIME_OR_NULL, VERDICT, field};

pub(super) static ACCEPTED: Row = Row {
    name: "accepted",
    about: "An event that is on disk.",
    fields: &[
        field("id", Holds::Text, "The event's id."),
        field("hooks", Holds::Texts, "The hooks that want it."),
        field("duplicate", Holds::Bool, "Whether it was known already, and nothing was stored."),
    ],
};

pub(super) static SPOOLED: Row = Row {
    name: "spooled",
    about: "An event that waits in a file until there is a daemon.",
    fields: &[field("id", TEXT_OR_NULL, "The event's id."), field("file", Holds::Text, "The file.")],
};

pub(super) static REFUSED: Row = Row {
    name: "refused",
    about: "An event that was not stored.",
    fields: &[field("error", Holds::One(&ERROR), "Why.")],
};

pub(super) static ERROR: Row = Row {
    name: "error",
    about: "Why something was refused.",
    fields: &[
        field("code", Holds::Text, "A word for programs."),
        field("message", Holds::Text, "The same for people."),
    ],
};

pub(super) static PROBED: Row = Row {
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

pub(super) static DIAGNOSTIC: Row = Row {
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

pub(super) static IGNORED: Row = Row {
    name: "ignored",
    about: "A file that was passed over.",
    fields: &[
        field("severity", Holds::Word(&["ignored"]), "`ignored`."),
        field("code", Holds::Word(&["ignored"]), "`ignored`."),
        field("what", Holds::Text, "Why."),
        field("file", Holds::Text, "The file."),
    ],
};

pub(super) static REQUEST: Row = Row {
    name: "request",
    about: "A request that a hook would send.",
    fields: &[
        field("method", Holds::Text, "Its method."),
        field("url", Holds::Text, "Its URL; without `--show-secrets` only scheme and host."),
        field("headers", Holds::Pairs, "Its headers: names and values."),
        field("body", Holds::Text, "Its body."),
    ],
};

pub(super) static CASE: Row = Row {
    name: "case",
    about: "One case of a script.",
    fields: &[
        field("case", Holds::Text, "Its name."),
        field("passed", Holds::Bool, "Whether everything is as expected."),
        field("line", Holds::Count, "Where it stands in its file."),
        field("differences", Holds::Texts, "What is otherwise."),
        field("blessed", Holds::Maybe(&Holds::Bool), "With `--bless`: whether it expects now what the script does."),
    ],
};

pub(super) static JUDGED: Row = Row {
    name: "judged",
    about: "With `--answer`: what a platform makes of an answer.",
    fields: &[
        field("verdict", Holds::Word(&["delivered", "retry", "pause", "hold", "reject", "plain"]), "What it means."),
        field("why", Holds::Text, "Why; empty when it is delivered."),
        field("wait_s", COUNT_OR_NULL, "How long it is waited, if the script says so."),
        field("rest_s", COUNT_OR_NULL, "How long the receiver is left alone although it took the message."),
        field("warning", TEXT_OR_NULL, "A doubt about a delivered message."),
    ],
};

pub(super) static EVENT_MADE: Row = Row {
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

pub(super) static OPTION: Row = Row {
    name: "option",
    about: "One option of a platform or a source.",
    fields: &[
        field("name", Holds::Text, "Its name."),
        field("kind", Holds::Text, "What it holds."),
        field("required", Holds::Bool, "Whether it must be said."),
        field("default", Holds::Any, "What it is otherwise."),
        field("about", Holds::Text, "What it is for."),
        field("where", TEXT_OR_NULL, "Where to click to get it."),
    ],
};

pub(super) static PLATFORM: Row = Row {
    name: "platform",
    about: "A platform.",
    fields: &[
        field("platform", Holds::Text, "Its name."),
        field("summary", Holds::Text, "What it is."),
        field("built_in", Holds::Bool, "Whether it comes with postrider."),
        field("receiver", Holds::Texts, "The options that say whose quota it is."),
        field("pool", Holds::Texts, "The options that differ from robot to robot, where several may take turns."),
        field("rate_limit", TEXT_OR_NULL, "Its pace, unless a hook says otherwise."),
        field("concurrency", Holds::Count, "Deliveries at once, unless a hook says otherwise."),
        field("options", Holds::Many(&OPTION), "What it asks of a hook."),
        field("script", Holds::Maybe(&Holds::Text), "Its script, where one platform was asked for."),
    ],
};

pub(super) static SOURCE: Row = Row {
    name: "source",
    about: "A script of sources.",
    fields: &[
        field("source", Holds::Text, "Its name."),
        field("summary", Holds::Text, "What it is."),
        field("built_in", Holds::Bool, "Whether it comes with postrider."),
        field("at", Holds::Texts, "Where the main file uses it."),
        field("methods", Holds::Texts, "The methods that it takes."),
        field("types", Holds::Texts, "Types of the events that it makes, with * and ?."),
        field("replay_window", TEXT_OR_NULL, "After it the same request counts as new."),
        field("options", Holds::Many(&OPTION), "What it asks for."),
        field("script", Holds::Maybe(&Holds::Text), "Its text, where one script was asked for."),
    ],
};

pub(super) static SIGNED: Row = Row {
    name: "signed",
    about: "What signs a request.",
    fields: &[field("headers", Holds::Map, "The headers to add."), field("url", Holds::Text, "Where it goes.")],
};

pub(super) static VERIFIED: Row = Row {
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

pub(super) static RECEIVED: Row = Row {
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

pub(super) static MENTIONS: Row = Row {
    name: "mentions",
    about: "Who is called by a message.",
    fields: &[
        field("all", Holds::Bool, "Everybody."),
        field("users", Holds::Texts, "By user id."),
        field("mobiles", Holds::Texts, "By mobile number."),
        field("unresolved", Holds::Texts, "Meant as a mention, and calling nobody."),
    ],
};
