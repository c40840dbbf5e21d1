//! Every map of a hook file and of the main file, with a file around it in which one of its keys can stand.

use postrider::rules::diagnostic::{Diagnostic, Source};
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::{Defaults, Settings};
use postrider::rules::source::SourceScripts;
use postrider::rules::yaml::reader::show_duration;
use postrider::words::keys::{self, Shape, Table};

/// One map.
pub(crate) struct Level {
    pub(crate) table: &'static Table,
    /// Whether it stands in the main file.
    pub(crate) is_main: bool,
    /// What stands around it; `@` is where it goes.
    around: &'static str,
    /// What must stand beside a key.
    beside: &'static [(&'static str, &'static str)],
}

const fn level(table: &'static Table, around: &'static str, beside: &'static [(&'static str, &'static str)]) -> Level {
    Level { table, is_main: false, around, beside }
}

const fn main_level(table: &'static Table, around: &'static str) -> Level {
    Level { table, is_main: true, around, beside: &[] }
}

const FILE: &[(&str, &str)] =
    &[("events", "[t]"), ("platform", "mattermost"), ("options", "{url: \"https://h.example/\"}")];

/// All of them.
pub(crate) const LEVELS: &[Level] = &[
    level(&keys::HOOK, "", FILE),
    level(&keys::RETRY, "retry: {@}", &[]),
    level(&keys::BREAKER, "breaker: {@}", &[]),
    level(&keys::DEDUPE, "dedupe: {@}", &[("key", "data.id"), ("for", "1h")]),
    level(&keys::DIGEST, "digest: {@}", &[]),
    level(&keys::RATE, "rate_limit: {@}", &[("rate", "20/1m")]),
    level(&keys::RULE, "verdict: [{@}]", &[("when", "\"true\"")]),
    level(
        &keys::TEST,
        "tests: [{@}]",
        &[("event", "{type: t}"), ("response", "{status: 200}"), ("expect", "{verdict: delivered}")],
    ),
    level(&keys::TEST_EVENT, "tests: [{event: {@}, expect: {wanted: true}}]", &[("type", "t")]),
    level(&keys::TEST_RESPONSE, "tests: [{response: {@}, expect: {verdict: delivered}}]", &[]),
    level(
        &keys::EXPECT,
        "tests: [{event: {type: t}, response: {status: 200}, expect: {@}}]",
        &[("verdict", "delivered")],
    ),
    level(
        &keys::SIGN,
        "platform: webhook\noptions: {url: \"https://h.example/\", sign: {@}}",
        &[("key", "{secret: k}"), ("header", "X-Signature")],
    ),
    main_level(&keys::MAIN, ""),
    main_level(&keys::LISTEN, "listen: {@}"),
    main_level(&keys::JOURNAL, "journal: {@}"),
    main_level(&keys::DEFAULTS, "defaults: {@}"),
    main_level(&keys::RETRY, "defaults: {retry: {@}}"),
    main_level(&keys::LIMITS, "limits: {@}"),
    main_level(&keys::NETWORK, "network: {@}"),
    Level { beside: &[("endpoint", "\"http://127.0.0.1:4318\"")], ..main_level(&keys::TRACES, "traces: {@}") },
    main_level(&keys::SOURCE, "sources: {pgyer: {@}}"),
    main_level(&keys::SOURCE_OPTIONS, "sources: {pgyer: {options: {@}}}"),
];

impl Level {
    /// A file in which a key stands as `written`, and everything that it needs beside it.
    pub(crate) fn file(&self, key: &str, written: &str, value: &str) -> String {
        let beside = self.beside(key).filter(|(name, _)| *name != key);
        self.with(&beside.map(entry).chain([format!("{written}: {value}")]).collect::<Vec<_>>())
    }

    /// A file in which there is only what must be there.
    pub(crate) fn bare(&self) -> String {
        self.with(&self.beside("").map(entry).collect::<Vec<_>>())
    }

    /// A file in which a key is not there, and something else is.
    pub(crate) fn lacking(&self, key: &str) -> String {
        let others: Vec<_> = self.beside("").filter(|(name, _)| *name != key).map(entry).collect();
        if !others.is_empty() {
            return self.with(&others);
        }
        let other = self.table.keys.iter().find(|other| other.name != key).expect("another key");
        self.with(&[format!("{}: {}", other.name, sample(&other.shape).expect("a value"))])
    }

    fn with(&self, entries: &[String]) -> String {
        if self.around.is_empty() {
            return entries.join("\n") + "\n";
        }
        let inner = self.around.replace('@', &entries.join(", "));
        if self.is_main {
            return inner + "\n";
        }
        let said = |name: &str| inner.lines().any(|line| line.starts_with(&format!("{name}:")));
        let top = FILE.iter().filter(|(name, _)| !said(name));
        top.map(|(name, value)| format!("{name}: {value}\n")).collect::<String>() + inner.as_str() + "\n"
    }

    fn beside(&self, key: &str) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let more: &'static [(&str, &str)] = match (self.table.name, key) {
            ("verdict", "when") => &[("delivered", "true")],
            ("verdict", "why") => &[("pause", "60s")],
            ("traces", "token_header") => &[("token", "{secret: k}")],
            _ => &[],
        };
        self.beside.iter().chain(more).copied()
    }

    pub(crate) fn diagnose(&self, text: &str) -> Vec<Diagnostic> {
        diagnose(self.is_main, text)
    }
}

fn entry((name, value): (&str, &str)) -> String {
    format!("{name}: {value}")
}

/// What the parser says.
pub(crate) fn diagnose(is_main: bool, text: &str) -> Vec<Diagnostic> {
    if is_main {
        let source = Source::new("postrider.yaml", text);
        return match Settings::parse(&source, &SourceScripts::built_in()) {
            Ok((_, warnings)) => warnings,
            Err(found) => found,
        };
    }
    Hook::parse(&Source::new("a.yaml", text), &Platforms::built_in(), &Defaults::default()).1
}

/// A value that is right there, as it is written in a map in braces; `None` where nothing is.
pub(crate) fn sample(shape: &Shape) -> Option<String> {
    let text = match shape {
        Shape::Text | Shape::AnyText | Shape::Texts => "t",
        Shape::Expression => "\"status == 200\"",
        Shape::Template => "data.id",
        Shape::Bool | Shape::True => "true",
        Shape::Integer(least, _) => return Some(least.to_string()),
        Shape::Duration(least, _) => return Some(show_duration(*least)),
        Shape::Size(least, _) => return Some(format!("{}KiB", least / 1024)),
        Shape::Rate => "20/1m",
        Shape::Time => "\"2026-11-22T13:00:00Z\"",
        Shape::Address => "\"127.0.0.1:8470\"",
        Shape::Networks => "10.0.0.0/8",
        Shape::Url => "\"https://h.example\"",
        Shape::Header => "X-Name",
        Shape::Word(words) | Shape::Words(words) => return words.first().map(|word| format!("\"{word}\"")),
        Shape::Secret | Shape::SigningKeys => "{secret: k}",
        Shape::Pairs => "{a: b}",
        Shape::Any => "{a: 1}",
        Shape::Nothing | Shape::NotYet => return None,
        Shape::Platform => "webhook",
        Shape::PlatformOptions => "{url: \"https://h.example/\"}",
        Shape::SourceScript => "pgyer",
        Shape::SourceOptions => "{}",
        Shape::Map(table) => return map(table),
        Shape::List(table) => return Some(format!("[{}]", map(table)?)),
        Shape::Named(_) => "{pgyer: {}}",
        Shape::Either(shapes) => return sample(shapes.first()?),
    };
    Some(text.to_owned())
}

fn map(table: &'static Table) -> Option<String> {
    let text = match table.name {
        "verdict" => "{when: \"true\", delivered: true}",
        "tests" => "{event: {type: t}, expect: {wanted: true}}",
        "event" => "{type: t}",
        "expect" => "{verdict: delivered}",
        "dedupe" => "{key: data.id, for: 1h}",
        "traces" => "{endpoint: \"http://127.0.0.1:4318\"}",
        "rate_limit" => "{rate: 20/1m}",
        "network" => "{deny: [10.0.0.0/8]}",
        _ => "{}",
    };
    Some(text.to_owned())
}
