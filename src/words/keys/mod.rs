//! Every key of a hook file and of the main file. The parser knows these and no others; the JSON Schema and the manual
//! pages are made of them, so none of the three can know a key that the others do not.

mod hook;
mod main;
mod sign;

use std::time::Duration;

pub use self::hook::{
    BREAKER, DEDUPE, DIGEST, EXPECT, HOOK, RATE, RETRY, RULE, TEST, TEST_EVENT, TEST_RESPONSE, VERDICTS,
};
pub use self::main::{DEFAULTS, JOURNAL, LIMITS, LISTEN, MAIN, NETWORK, SOURCE, SOURCE_OPTIONS, TRACES};
pub use self::sign::{ALGORITHMS, CONTENTS, ENCODINGS, KEY_ENCODINGS, PRESETS, SIGN};

/// A map in a file.
#[derive(Debug)]
pub struct Table {
    /// What the map is called: the path of the key that it stands under, empty for a whole file.
    pub name: &'static str,
    /// Its keys, in the order of the manual.
    pub keys: &'static [Key],
}

/// One key of a map.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand behind it.
    pub shape: Shape,
    /// What happens without it.
    pub unless: Unless,
    /// What it is for, in one sentence.
    pub about: &'static str,
}

/// What happens when a key is not there.
#[derive(Debug, PartialEq, Eq)]
pub enum Unless {
    /// It must be there.
    Required,
    /// It is as if this stood there.
    Default(&'static str),
    /// Something else decides, in words.
    Otherwise(&'static str),
}

/// What may stand behind a key.
#[derive(Debug)]
pub enum Shape {
    /// One text that is not empty.
    Text,
    /// One text, which may be empty.
    AnyText,
    /// One text, or a list of them.
    Texts,
    /// An expression without braces.
    Expression,
    /// A text, with `{{ }}` where it depends on something.
    Template,
    /// `true` or `false`.
    Bool,
    /// Only `true`.
    True,
    /// No value: the key says it all.
    Nothing,
    /// A whole number from the first to the second.
    Integer(u64, u64),
    /// `15s`, `1h30m`, from the first to the second.
    Duration(Duration, Duration),
    /// `64MiB`, from the first to the second, in bytes.
    Size(u64, u64),
    /// `20/1m`.
    Rate,
    /// A time with a zone.
    Time,
    /// An address with a port.
    Address,
    /// A network or an address, or a list of them.
    Networks,
    /// A URL.
    Url,
    /// The name of a header.
    Header,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or a list of them.
    Words(&'static [&'static str]),
    /// `{secret: NAME}`.
    Secret,
    /// `{secret: NAME}` or a template, or a list of those.
    SigningKeys,
    /// Names, each with a text, a number or `true` or `false`.
    Pairs,
    /// Anything.
    Any,
    /// Nothing: the key is known, and cannot be used yet.
    NotYet,
    /// The name of a platform.
    Platform,
    /// What the platform asks for.
    PlatformOptions,
    /// The name of a source's script.
    SourceScript,
    /// What the script of a source asks for.
    SourceOptions,
    /// A map with these keys.
    Map(&'static Table),
    /// A list of maps with these keys.
    List(&'static Table),
    /// Names, each with a map with these keys, or with nothing.
    Named(&'static Table),
    /// One of these.
    Either(&'static [Self]),
}

impl Table {
    /// The keys as they are written.
    pub fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }

    /// The key of a name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Shape {
    /// What may stand there, in a word or two.
    pub fn word(&self) -> String {
        match self {
            Self::Text | Self::AnyText | Self::Header => "text".to_owned(),
            Self::Texts => "text or list".to_owned(),
            Self::Expression => "expression".to_owned(),
            Self::Template => "text with {{ }}".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::True => "true".to_owned(),
            Self::Nothing => "nothing".to_owned(),
            Self::Integer(..) => "integer".to_owned(),
            Self::Duration(..) => "duration".to_owned(),
            Self::Size(..) => "size".to_owned(),
            Self::Rate => "N/duration".to_owned(),
            Self::Time => "time".to_owned(),
            Self::Address => "address:port".to_owned(),
            Self::Networks => "network or list".to_owned(),
            Self::Url => "url".to_owned(),
            Self::Word(words) => words.join(" | "),
            Self::Words(words) => format!("{}, or a list", words.join(" | ")),
            Self::Secret => "secret".to_owned(),
            Self::SigningKeys => "secret, or a list".to_owned(),
            Self::Pairs | Self::Map(_) | Self::Named(_) | Self::PlatformOptions | Self::SourceOptions => {
                "map".to_owned()
            }
            Self::Any => "anything".to_owned(),
            Self::NotYet => "not yet".to_owned(),
            Self::Platform | Self::SourceScript => "name".to_owned(),
            Self::List(_) => "list of maps".to_owned(),
            Self::Either(shapes) => shapes.iter().map(Self::word).collect::<Vec<_>>().join(", or "),
        }
    }
}

const fn key(name: &'static str, shape: Shape, unless: Unless, about: &'static str) -> Key {
    Key { name, shape, unless, about }
}

const NOTHING: Unless = Unless::Otherwise("");
