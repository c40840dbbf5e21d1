//! What a platform asks of a hook: its options, their kinds, and whose quota it uses.

use std::time::Duration;

use serde_json::Value as Json;

/// What a script declares about itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// One line for `postrider platforms`.
    pub summary: String,
    /// The options that name the receiver: whose quota it is.
    pub receiver: Vec<String>,
    /// The receiver's own limit.
    pub rate_limit: Option<Rate>,
    /// Deliveries at once, unless the hook says otherwise.
    pub concurrency: usize,
    /// In the order declared (a script's maps are sorted, so: by name, required ones first).
    pub options: Vec<OptionSpec>,
}

/// One option of a platform.
#[derive(Clone, Debug)]
pub struct OptionSpec {
    /// Its key under `options:`.
    pub name: String,
    /// What it holds, and how what is interpolated into it is escaped.
    pub kind: Kind,
    /// Whether a hook must set it.
    pub required: bool,
    /// What it is otherwise; texts in it are templates too. `Null` for an option that is simply absent.
    pub default: Json,
    /// One line for `postrider platforms NAME` and for diagnostics.
    pub about: String,
}

/// What an option holds. The kind escapes what is interpolated; words the author wrote stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text, byte for byte.
    Text,
    /// Text in which the platform knows live mentions such as `<@all>`: event data cannot mention anyone.
    Chat,
    /// `Chat` or `Markdown`, as the hook's `type` option says.
    Message,
    /// Markdown.
    Markdown,
    /// HTML.
    Html,
    /// A URL: scheme, user info, host and port are literal; the rest is component-encoded.
    Url,
    /// A map of header names to values; CR, LF and NUL fail the delivery.
    Headers,
    /// A secret: `{secret: NAME}` or text with `secret('NAME')`.
    Secret,
    /// A list of texts; a single text counts as a list of one.
    List,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// One of these words.
    Choice(Vec<String>),
    /// Any tree of templated leaves.
    Tree,
}

/// So many in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At most this many …
    pub count: u32,
    /// … in any window of this length.
    pub window: Duration,
}

/// Text or markdown for a message.
pub fn resolve_message(_kind: &Kind, _has_title: bool, _type_option: Option<&str>) -> Kind {
    todo!()
}
