//! A hook file, and the same bytes as the main file: read, or refused with diagnostics that point into it, that are
//! explained, and that no terminal takes for orders. Every value stands where its place says.

use postrider::rules::diagnostic::{Severity, Source, Span};
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::{Defaults, Settings};
use postrider::rules::source::SourceScripts;
use postrider::rules::yaml::{self, Node, Value};
use postrider::words::limits;

use super::is_sound;

pub(crate) fn run(data: &[u8]) {
    let source = match Source::from_bytes("hooks.d/a.yaml", data, limits::HOOK_FILE) {
        Ok(source) => source,
        Err(found) => return is_sound(&found, &String::from_utf8_lossy(data)),
    };
    if let Ok(root) = yaml::parse(&source) {
        is_placed(&source.text, &root);
    }
    let parse = || Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    let (hook, found) = parse();
    found.iter().for_each(|one| is_sound(one, &source.text));
    let errors = found.iter().filter(|one| one.severity == Severity::Error).count();
    assert_eq!(hook.is_none(), errors > 0, "{found:?}");
    let (again, same) = parse();
    assert_eq!((hook.is_some(), &found), (again.is_some(), &same));
    if let (Some(hook), Some(again)) = (&hook, &again) {
        assert_eq!(hook.fingerprint(), again.fingerprint());
        assert!(!hook.events.is_empty() && hook.concurrency >= 1 && !hook.timeout.is_zero());
        assert!(hook.retry.first <= hook.retry.max && hook.timeout <= limits::TIMEOUT_MAX);
    }
    match Settings::parse(&source, &SourceScripts::built_in()) {
        Ok((_, warnings)) => warnings.iter().for_each(|one| is_sound(one, &source.text)),
        Err(found) => {
            assert!(!found.is_empty());
            found.iter().for_each(|one| is_sound(one, &source.text));
        }
    }
}

/// Every place is one in the text, and a bare word is what stands there.
fn is_placed(text: &str, node: &Node) {
    let at = |span: Span| {
        let part = text.get(span.start..span.end);
        part.unwrap_or_else(|| panic!("{span:?} of {} bytes is no place", text.len()))
    };
    let written = at(node.span).trim_end();
    match &node.value {
        Value::List(entries) => entries.iter().for_each(|entry| is_placed(text, entry)),
        Value::Map(entries) => {
            for (key, value) in entries {
                at(key.span);
                is_placed(text, value);
            }
        }
        Value::Bool(yes) => assert!(written.starts_with(['*', '&', '!']) || written == yes.to_string(), "{node:?}"),
        _ => {}
    }
}
