//! What a platform asks of a hook: its options, their kinds, and whose quota it uses.
//!
//! A script writes it as the map that `fn manifest()` returns:
//!
//! ```text
//! #{
//!     summary: "DingTalk group robot",          // one line, required
//!     receiver: ["url"],                        // the options that name the receiver
//!     text: "message",                          // the option that people read, which a digest is; optional
//!     pool: ["url", "secret"],                  // options that differ from robot to robot where several take turns; optional
//!     rate_limit: "20/1m", concurrency: 1,      // both optional
//!     options: #{
//!         url:     required("url", "the robot's webhook URL", "group settings > Bots > Add > Custom; the page shows it"),
//!         type:    optional("choice: text markdown", "text", "how it is shown"),
//!         mention: optional("list", [], "mobile numbers, or all"),
//!     },
//! }
//! ```
//!
//! A third text says where to click to get the value, and `new` asks for the options that have one.
//!
//! The kinds are `text chat message markdown html mrkdwn markdownv2 xml url headers secret list bool integer sign tree`, and a choice: either
//! `"choice: text markdown"` or the words as an array, `["text", "markdown"]`. A kind of text with `@` behind it, such as
//! `"markdown@"`, is for platforms where a bare `@name` calls somebody; `"tree markdown"` is a tree of such texts.

pub use crate::rules::yaml::reader::Rate;

use rhai::{Array, Dynamic, Map};
use serde_json::Value as Json;

use crate::rules::diagnostic::Diagnostic;
use crate::rules::script;
use crate::rules::yaml::reader::{nearest, parse_rate};
use crate::words::limits;

/// What a script declares about itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// One line for `postrider platforms`.
    pub summary: String,
    /// The options that name the receiver: whose quota it is.
    pub receiver: Vec<String>,
    /// The option that is the text of a message, where there is one: a digest stands there.
    pub text: Option<String>,
    /// The options that differ from robot to robot, where several may take turns: a quota is a robot's own.
    pub pool: Vec<String>,
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
    /// Where a person gets the value: which pages of the vendor, which button. `new` asks for such an option.
    pub origin: Option<String>,
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
    /// Slack's mrkdwn.
    Mrkdwn,
    /// Telegram's MarkdownV2.
    MarkdownV2,
    /// One of `AT`, on a platform where a bare `@name` calls somebody: event data does not.
    At(Box<Self>),
    /// An XML document: a text, or a tree of elements. Scripts are given its text, which is always well-formed.
    Xml,
    /// A URL: scheme, user info, host and port are literal; the rest is component-encoded.
    Url,
    /// A map of header names to values; CR, LF and NUL fail the delivery. Scripts see the names in lower case.
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
    /// How the request is signed: see `rules::signature`.
    Sign,
    /// Any tree of templated leaves.
    Tree,
    /// The same, with its leaves escaped as this kind of text: a card.
    TreeOf(Box<Self>),
}

/// The kinds that are a text, perhaps with markup, as a pattern: a `match` then still misses a kind that is new.
macro_rules! texts {
    () => {
        $crate::rules::manifest::Kind::Text
            | $crate::rules::manifest::Kind::Chat
            | $crate::rules::manifest::Kind::Message
            | $crate::rules::manifest::Kind::Markdown
            | $crate::rules::manifest::Kind::Html
            | $crate::rules::manifest::Kind::Mrkdwn
            | $crate::rules::manifest::Kind::MarkdownV2
            | $crate::rules::manifest::Kind::At(_)
    };
}
pub(crate) use texts;

/// The kinds that are one word.
const KINDS: [(&str, Kind); 16] = [
    ("text", Kind::Text),
    ("chat", Kind::Chat),
    ("message", Kind::Message),
    ("markdown", Kind::Markdown),
    ("html", Kind::Html),
    ("mrkdwn", Kind::Mrkdwn),
    ("markdownv2", Kind::MarkdownV2),
    ("xml", Kind::Xml),
    ("url", Kind::Url),
    ("headers", Kind::Headers),
    ("secret", Kind::Secret),
    ("list", Kind::List),
    ("bool", Kind::Bool),
    ("integer", Kind::Integer),
    ("sign", Kind::Sign),
    ("tree", Kind::Tree),
];

/// The kinds that may have an `@` behind them.
const AT: [Kind; 5] = [Kind::Chat, Kind::Message, Kind::Markdown, Kind::Html, Kind::MarkdownV2];

/// What `Kind::Message` is in one hook: plain text when `type` is `text`, or when the hook sets neither `type` nor
/// `title`; what `type` names, if that is a kind of text; markdown otherwise. Every other kind stays as it is.
///
/// Call it before `Tree::compile`, with `has_title` for "the hook file sets `title`" and `type_option` for the `type` of the
/// hook file, else the platform's default (none for a platform where that depends on the title).
pub fn resolve_message(kind: &Kind, has_title: bool, type_option: Option<&str>) -> Kind {
    match kind {
        Kind::Message => {}
        Kind::At(kind) => return Kind::At(Box::new(resolve_message(kind, has_title, type_option))),
        kind => return kind.clone(),
    }
    match type_option {
        Some("text") => Kind::Chat,
        Some("html") => Kind::Html,
        Some("markdownv2") => Kind::MarkdownV2,
        Some(_) => Kind::Markdown,
        None if has_title => Kind::Markdown,
        None => Kind::Chat,
    }
}

impl Manifest {
    /// Reads what `fn manifest()` returned.
    ///
    /// # Errors
    /// Everything that is wrong with it, without places.
    pub fn read(value: &Dynamic) -> Result<Self, Vec<Diagnostic>> {
        let Some(map) = value.read_lock::<Map>() else {
            return Err(vec![wrong("fn manifest() must return a map").help("return #{ summary: …, options: #{ … } }")]);
        };
        let mut found = Vec::new();
        let keys = ["summary", "receiver", "text", "pool", "rate_limit", "concurrency", "options"];
        unknown_keys(&map, &keys, "the manifest", &mut found);
        let manifest = Self {
            summary: text(&map, "summary", &mut found),
            receiver: map.get("receiver").map_or_else(Vec::new, |value| words(value, "receiver", &mut found)),
            text: map.contains_key("text").then(|| text(&map, "text", &mut found)),
            pool: map.get("pool").map_or_else(Vec::new, |value| words(value, "pool", &mut found)),
            rate_limit: map.get("rate_limit").and_then(|value| rate(value, &mut found)),
            concurrency: map.get("concurrency").map_or(limits::CONCURRENCY, |value| concurrency(value, &mut found)),
            options: options(&map, &mut found),
        };
        manifest.known_names("receiver", &manifest.receiver, "say whose quota it is", &mut found);
        manifest.known_names("pool", &manifest.pool, "differ from robot to robot", &mut found);
        manifest.check_pool(&mut found);
        manifest.check_text(&mut found);
        if found.is_empty() { Ok(manifest) } else { Err(found) }
    }

    fn known_names(&self, key: &str, given: &[String], which: &str, found: &mut Vec<Diagnostic>) {
        let names: Vec<_> = self.options.iter().map(|option| option.name.as_str()).collect();
        for name in given.iter().filter(|name| !names.contains(&name.as_str())) {
            let finding = wrong(format!("{key} names `{name}`, which is none of the options"));
            found.push(match nearest(name, &names) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding.help(format!("name the options that {which}, or remove `{key}`")),
            });
        }
    }

    fn check_pool(&self, found: &mut Vec<Diagnostic>) {
        for spec in self.pool.iter().filter_map(|name| self.option(name)) {
            if spec.kind.takes_lists() {
                let what = format!("pool names `{}`, which may be a list for one robot already", spec.name);
                found.push(wrong(what).help("name options that are one text: a URL, a token, a secret"));
            }
        }
        if !self.pool.is_empty() && !self.pool.iter().any(|name| self.receiver.contains(name)) {
            let what = "pool names no option of `receiver`: its robots would be one";
            found.push(wrong(what).help("name the option that says which robot it is, as in pool: [\"url\"]"));
        }
    }

    fn check_text(&self, found: &mut Vec<Diagnostic>) {
        if let Some(name) = self.text.as_deref().filter(|name| !name.is_empty())
            && !self.option(name).is_some_and(|option| matches!(option.kind, texts!()))
        {
            let names: Vec<_> = self.options.iter().map(|option| option.name.as_str()).collect();
            let finding = wrong(format!("text names `{name}`, which is no option that is a text"));
            found.push(match nearest(name, &names).filter(|near| *near != name) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding.help("name the option that people read, or remove `text`"),
            });
        }
    }

    /// The option of a name.
    pub fn option(&self, name: &str) -> Option<&OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}

impl Kind {
    /// Whether one value of it may be written as a list.
    pub fn takes_lists(&self) -> bool {
        matches!(self, Self::List | Self::Tree | Self::TreeOf(_) | Self::Xml | Self::Headers | Self::Sign)
    }

    /// How a manifest writes it.
    pub fn word(&self) -> String {
        match self {
            Self::At(kind) => format!("{}@", kind.word()),
            Self::TreeOf(kind) => format!("tree {}", kind.word()),
            Self::Choice(words) => format!("choice: {}", words.join(" ")),
            kind => {
                let known = KINDS.iter().find(|(_, known)| known == kind);
                known.map_or_else(String::new, |(word, _)| (*word).to_owned())
            }
        }
    }

    fn read(value: &Dynamic) -> Result<Self, Diagnostic> {
        if let Some(array) = value.read_lock::<Array>() {
            let words: Option<Vec<_>> = array.iter().map(|word| word.clone().into_string().ok()).collect();
            return match words {
                Some(words) if !words.is_empty() => Ok(Self::Choice(words)),
                _ => Err(wrong("a choice is an array of at least one word").help("write [\"a\", \"b\"]")),
            };
        }
        let Some(word) = value.read_lock::<rhai::ImmutableString>() else {
            let what = format!("a kind is text or an array of words, not {}", script::type_word(value));
            return Err(wrong(what).help("write it in quotes, as in required(\"url\", \"where it goes\")"));
        };
        if let Some(words) = word.strip_prefix("choice:") {
            let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
            return if words.is_empty() {
                Err(wrong("a choice needs words").help("write \"choice: a b\""))
            } else {
                Ok(Self::Choice(words))
            };
        }
        if let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == word.as_str()) {
            return Ok(kind.clone());
        }
        if let Some(kind) = word.strip_suffix('@').and_then(|word| AT.iter().find(|kind| kind.word() == word)) {
            return Ok(Self::At(Box::new(kind.clone())));
        }
        if let Some(of) = word.strip_prefix("tree ") {
            let kind = Self::read(&of.into())?;
            let is_text = AT.contains(&kind) || matches!(kind, Self::Mrkdwn | Self::At(_));
            let help = "write \"tree markdown\", or \"tree\" for texts that are no markup";
            return if is_text {
                Ok(Self::TreeOf(Box::new(kind)))
            } else {
                Err(wrong(format!("there is no tree of `{of}`")).help(help))
            };
        }
        let names = KINDS.map(|(word, _)| word);
        let found = wrong(format!("there is no kind `{}`", word.as_str()));
        Err(match nearest(&word, &names) {
            Some(near) => found.help(format!("did you mean `{near}`?")),
            None => found.help(format!("the kinds are {}, and \"choice: WORD WORD\"", names.join(" "))),
        })
    }
}

pub(in crate::rules) fn wrong(what: impl Into<String>) -> Diagnostic {
    Diagnostic::error("manifest", what)
}

pub(in crate::rules) fn unknown_keys(map: &Map, known: &[&str], of: &str, found: &mut Vec<Diagnostic>) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        let finding = wrong(format!("{of} has no key `{key}`"));
        found.push(match nearest(key, known) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help(format!("its keys are {}", known.join(" "))),
        });
    }
}

pub(in crate::rules) fn text(map: &Map, key: &str, found: &mut Vec<Diagnostic>) -> String {
    match map.get(key).and_then(|value| value.clone().into_string().ok()) {
        Some(text) if !text.trim().is_empty() => text,
        _ => {
            let what = format!("the manifest needs `{key}`, a text of one line");
            found.push(wrong(what).help(format!("write {key}: \"…\"")));
            String::new()
        }
    }
}

pub(in crate::rules) fn words(value: &Dynamic, key: &str, found: &mut Vec<Diagnostic>) -> Vec<String> {
    let words = value.read_lock::<Array>().map(|array| array.iter().map(|word| word.clone().into_string()).collect());
    match words {
        Some(Ok(words)) => words,
        _ => {
            let help = format!("put brackets around it, also around a single one: {key}: [\"…\"]");
            found.push(wrong(format!("`{key}` must be an array of texts")).help(help));
            Vec::new()
        }
    }
}

fn rate(value: &Dynamic, found: &mut Vec<Diagnostic>) -> Option<Rate> {
    let text = value.clone().into_string().unwrap_or_default();
    match parse_rate(&text) {
        Ok(rate) => Some(rate),
        Err(why) => {
            found.push(wrong(format!("`rate_limit` cannot be read: {why}")).help("write rate_limit: \"20/1m\""));
            None
        }
    }
}

fn concurrency(value: &Dynamic, found: &mut Vec<Diagnostic>) -> usize {
    match value.as_int().ok().and_then(|number| usize::try_from(number).ok()) {
        Some(number) if (1..=limits::CONCURRENCY_MAX).contains(&number) => number,
        _ => {
            let what = format!("`concurrency` must be a number from 1 to {}", limits::CONCURRENCY_MAX);
            found.push(wrong(what).help("write concurrency: 1, or leave it out"));
            1
        }
    }
}

pub(in crate::rules) fn options(map: &Map, found: &mut Vec<Diagnostic>) -> Vec<OptionSpec> {
    let Some(entries) = map.get("options").and_then(|value| value.read_lock::<Map>()) else {
        found.push(wrong("the manifest needs `options`, a map").help("write options: #{} when there are none"));
        return Vec::new();
    };
    let mut options: Vec<_> = entries.iter().filter_map(|(name, value)| option(name, value, found)).collect();
    options.sort_by_key(|option| !option.required);
    options
}

fn option(name: &str, value: &Dynamic, found: &mut Vec<Diagnostic>) -> Option<OptionSpec> {
    let declared = value.read_lock::<Map>().filter(|map| map.contains_key("kind") && map.contains_key("about"));
    let Some(map) = declared else {
        found.push(wrong(format!("the option `{name}` is not declared")).help(
            "write required(kind, about) or optional(kind, default, about), each with where to get it if you like",
        ));
        return None;
    };
    let kind = match Kind::read(&map["kind"]) {
        Ok(kind) => kind,
        Err(finding) => {
            found.push(finding.note(format!("in the option `{name}`")));
            return None;
        }
    };
    let default = match script::to_json(map.get("default").unwrap_or(&Dynamic::UNIT)) {
        Ok(default) => default.plain(),
        Err(why) => {
            let help = "write a text, a number, true, false, a list or a map, or () for nothing";
            found.push(wrong(format!("the default of `{name}` {why}")).help(help));
            return None;
        }
    };
    let about = map["about"].clone().into_string().unwrap_or_default();
    let required = map.get("required").and_then(|value| value.as_bool().ok()).unwrap_or(false);
    let origin = map.get("where").and_then(|value| value.clone().into_string().ok());
    Some(OptionSpec { name: name.to_owned(), kind, required, default, about, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_markdown_when_the_hook_says_so() {
        let message = |title, kind| resolve_message(&Kind::Message, title, kind);
        assert_eq!(message(false, None), Kind::Chat);
        assert_eq!(message(true, None), Kind::Markdown);
        assert_eq!(message(true, Some("text")), Kind::Chat);
        assert_eq!(message(false, Some("markdown_v2")), Kind::Markdown);
        assert_eq!(message(false, Some("html")), Kind::Html);
        assert_eq!(resolve_message(&Kind::Html, true, None), Kind::Html);
        let at = |kind| Kind::At(Box::new(kind));
        assert_eq!(resolve_message(&at(Kind::Message), false, Some("markdownv2")), at(Kind::MarkdownV2));
        assert_eq!(resolve_message(&at(Kind::Message), false, None), at(Kind::Chat));
    }
}
