//! The main file.

use std::time::Duration;

use super::{NOTHING, RETRY, Shape, Table, Unless, key};
use crate::words::limits;

const SECOND: Duration = Duration::from_secs(1);

/// The main file.
pub static MAIN: Table = Table {
    name: "",
    keys: &[
        key("listen", Shape::Map(&LISTEN), NOTHING, "Where events are taken besides the local socket."),
        key(
            "sources",
            Shape::Named(&SOURCE),
            NOTHING,
            "Who sends to `/in/NAME`, by name; read again when the file changes.",
        ),
        key(
            "journal",
            Shape::Map(&JOURNAL),
            NOTHING,
            "How long what has ended is kept, and how much of the disk it may have.",
        ),
        key("defaults", Shape::Map(&DEFAULTS), NOTHING, "What hooks are given when they do not say."),
        key("limits", Shape::Map(&LIMITS), NOTHING, "Bounds of this daemon."),
        key(
            "network",
            Shape::Either(&[Shape::Word(&["public-only"]), Shape::Map(&NETWORK)]),
            NOTHING,
            "Which addresses may be dialled, decided after the name is looked up.",
        ),
        key("traces", Shape::Map(&TRACES), Unless::Otherwise("none are made"), "Where traces of what happens go."),
    ],
};

/// `listen:`.
pub static LISTEN: Table = Table {
    name: "listen",
    keys: &[
        key("http", Shape::Address, Unless::Otherwise("nowhere"), "Takes events over TCP at this address and port."),
        key(
            "http_token",
            Shape::Secret,
            Unless::Otherwise("required elsewhere than on loopback"),
            "What senders over TCP must present as a bearer token.",
        ),
        key(
            "metrics",
            Shape::Address,
            Unless::Otherwise("on the admin socket only"),
            "Answers `/metrics`, `/healthz` and `/readyz` at this address of this machine, such as 127.0.0.1:9470.",
        ),
    ],
};

/// `journal:`.
pub static JOURNAL: Table = Table {
    name: "journal",
    keys: &[
        key(
            "keep_delivered",
            Shape::Duration(limits::KEEP_SHORTEST, limits::KEEP_LONGEST),
            Unless::Default("7d"),
            "What is delivered, was dropped or matched no hook is kept so long.",
        ),
        key(
            "keep_dead",
            Shape::Duration(limits::KEEP_SHORTEST, limits::KEEP_LONGEST),
            Unless::Default("30d"),
            "What is dead is kept so long.",
        ),
        key(
            "keep_attempts",
            Shape::Duration(limits::KEEP_SHORTEST, limits::KEEP_LONGEST),
            Unless::Otherwise("as long as the delivery"),
            "The attempts at what is delivered or dead are kept so long, where that is shorter.",
        ),
        key(
            "max_size",
            Shape::Size(limits::JOURNAL_SIZE_MIN, limits::JOURNAL_SIZE_MAX),
            Unless::Default("2GiB"),
            "Above it the oldest delivered go, then the oldest dead; what waits never.",
        ),
        key(
            "min_free",
            Shape::Size(limits::MIN_FREE_MIN, limits::MIN_FREE_MAX),
            Unless::Default("64MiB"),
            "Below so much free space on the disk events are refused, and deliveries go on.",
        ),
    ],
};

/// `defaults:`.
pub static DEFAULTS: Table = Table {
    name: "defaults",
    keys: &[
        key(
            "timeout",
            Shape::Duration(limits::TIMEOUT_MIN, limits::TIMEOUT_MAX),
            Unless::Default("15s"),
            "As in a hook file.",
        ),
        key("retry", Shape::Map(&RETRY), NOTHING, "As in a hook file."),
    ],
};

/// `limits:`.
pub static LIMITS: Table = Table {
    name: "limits",
    keys: &[
        key(
            "hooks_per_scope",
            Shape::Integer(1, limits::HOOK_FILES as u64),
            Unless::Otherwise("no bound"),
            "At most so many hooks of one `scope`; each further file is refused by name.",
        ),
        key(
            "waiting",
            Shape::Integer(1, limits::WAITING_MAX),
            Unless::Default("5000000"),
            "Deliveries that may wait before senders are told to come back later.",
        ),
    ],
};

/// `network:`.
pub static NETWORK: Table = Table {
    name: "network",
    keys: &[
        key(
            "policy",
            Shape::Word(&["public-only"]),
            Unless::Otherwise("loopback and private networks are allowed"),
            "`public-only`: no loopback and no private networks.",
        ),
        key("deny", Shape::Networks, NOTHING, "Networks and addresses that are refused."),
        key("allow", Shape::Networks, NOTHING, "Those that are allowed all the same; the narrower of two wins."),
        key("proxy", Shape::NotYet, NOTHING, "Not in this version."),
    ],
};

/// An entry of `sources:`.
pub static SOURCE: Table = Table {
    name: "sources",
    keys: &[
        key(
            "script",
            Shape::SourceScript,
            Unless::Otherwise("the name of the source"),
            "How its requests are read; `postrider sources` lists the scripts.",
        ),
        key("options", Shape::SourceOptions, NOTHING, "What the script asks for; `postrider sources NAME` says what."),
    ],
};

/// The options that every source has.
pub static SOURCE_OPTIONS: Table = Table {
    name: "options",
    keys: &[
        key(
            "token",
            Shape::Secret,
            NOTHING,
            "what senders must present: as bearer token, as ?token= in the URL, or in token_header",
        ),
        key("token_header", Shape::Header, NOTHING, "a header that carries the token"),
        key(
            "public_url",
            Shape::Url,
            Unless::Otherwise("the request's"),
            "the URL that senders use, where a proxy stands in between; signatures may cover it",
        ),
        key(
            "trust_forwarded",
            Shape::Bool,
            Unless::Default("false"),
            "take that URL from X-Forwarded-Proto and X-Forwarded-Host",
        ),
        key(
            "replay_window",
            Shape::Duration(SECOND, limits::REPLAY_WINDOW_MAX),
            Unless::Otherwise("the script's"),
            "after it the same request counts as new",
        ),
    ],
};

/// `traces:`.
pub static TRACES: Table = Table {
    name: "traces",
    keys: &[
        key(
            "endpoint",
            Shape::Url,
            Unless::Required,
            "The collector: OTLP over HTTP as JSON, such as http://127.0.0.1:4318; spans are posted to `/v1/traces` below it.",
        ),
        key("token", Shape::Secret, NOTHING, "What the collector asks for, as a bearer token or in `token_header`."),
        key("token_header", Shape::Header, Unless::Otherwise("Authorization: Bearer"), "A header whose value it is."),
    ],
};
