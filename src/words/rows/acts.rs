//! What was done.

use super::files::DIAGNOSTIC;
use super::looks::DELIVERY;
use super::{Holds, Row, TIME_OR_NULL, field};

pub(super) static ORDERED: Row = Row {
    name: "ordered",
    about: "What was done to how many deliveries, or with `--dry-run` would be.",
    fields: &[
        field("count", Holds::Count, "How many."),
        field("hooks", Holds::Counts, "How many of each hook."),
        field("deliveries", Holds::Texts, "Their ids; of very many the first."),
        field("first", Holds::Many(&DELIVERY), "The first of them."),
        field("in_flight", Holds::Count, "Those that were left alone because they are being sent."),
        field("not_kept", Holds::Count, "Those whose last body was not kept, so that it cannot go out again."),
        field("not", Holds::Many(&LEFT_ALONE), "Named ones to which nothing was done."),
        field("receivers", Holds::Maybe(&Holds::Many(&RECEIVER)), "With flush: receivers that were shut."),
    ],
};

pub(super) static LEFT_ALONE: Row = Row {
    name: "left-alone",
    about: "A delivery to which nothing was done.",
    fields: &[field("delivery", Holds::Text, "As it was named."), field("why", Holds::Text, "Why.")],
};

pub(super) static RECEIVER: Row = Row {
    name: "receiver",
    about: "A receiver that was shut.",
    fields: &[
        field("hook", Holds::Text, "A hook that uses it."),
        field("reason", Holds::Text, "A word for why."),
        field("why", Holds::Text, "The same in a sentence."),
        field("until", TIME_OR_NULL, "Until when."),
    ],
};

pub(super) static COPIED: Row = Row {
    name: "copied",
    about: "A copy of the journal that is whole and on disk.",
    fields: &[field("file", Holds::Text, "The copy."), field("bytes", Holds::Count, "Its length.")],
};

pub(super) static DELIVERY_ID: Row = Row {
    name: "delivery-id",
    about: "A delivery that waits again, or would.",
    fields: &[field("delivery", Holds::Text, "Its id.")],
};

pub(super) static HELD: Row = Row {
    name: "held",
    about: "A hook that is held.",
    fields: &[
        field("hook", Holds::Text, "The hook."),
        field("until", TIME_OR_NULL, "Until when, if it ends by itself."),
    ],
};

pub(super) static RELEASED: Row =
    Row { name: "released", about: "A hook that sends again.", fields: &[field("hook", Holds::Text, "The hook.")] };

pub(super) static RELOADED: Row = Row {
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
