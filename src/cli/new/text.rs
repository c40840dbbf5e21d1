//! The text of a new hook file: what was said, and in comments what else can be.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::rules::manifest::{Kind, OptionSpec, texts};
use crate::rules::platform::Platform;
use crate::words::json::{Exact, Members};

/// Where an editor finds what a hook file may hold.
pub(super) const SCHEMA: &str = "/usr/share/postrider/schema/hook.json";

/// Something that can be said of every event.
pub(super) const EXAMPLE: &str = "\"{{ event.type }} {{ data }}\"";

/// A whole file. `value` says what an option is set to; the others stand in comments.
pub(super) fn hook(
    name: &str,
    platform: &Platform,
    events: &[String],
    value: impl Fn(&OptionSpec) -> Option<String>,
) -> String {
    let mut text = format!("# yaml-language-server: $schema={SCHEMA}\n");
    // Writing into a String cannot fail.
    let _ = writeln!(text, "# {}. Try it: postrider test {name}", platform.manifest.summary);
    let events: Vec<String> = events.iter().map(|glob| quoted(glob)).collect();
    let _ = writeln!(text, "events: [{}]\nplatform: {}\noptions:", events.join(", "), platform.name);
    let mut others = String::new();
    for option in &platform.manifest.options {
        // Writing into a String cannot fail.
        let _ = match value(option) {
            Some(value) => writeln!(text, "  {}: {value}", option.name),
            None => writeln!(others, "  # {}: {}", option.name, option.about),
        };
    }
    text.push_str(&others);
    text
}

/// Whether an option is a text without which there is nothing to say: then it says what there is.
pub(super) fn begins_by_itself(option: &OptionSpec) -> bool {
    let is_text = matches!(option.kind, texts!());
    // A required text of another name is an address: the chat, the topic.
    is_text && (option.name == "message" || (option.required && option.kind != Kind::Text))
}

/// As YAML on one line. JSON is YAML, and a JSON string needs no thought about colons, braces and hashes.
pub(super) fn flow(value: &Exact) -> String {
    match value {
        Exact::Map(map) => members(map),
        Exact::List(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Exact::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn members(map: &Members) -> String {
    let members = map.iter().map(|(key, value)| format!("{}: {}", quoted(key), flow(value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
}

pub(super) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
