//! `order_by` and `dedupe` of a hook file: what an accepted event is to a hook besides wanted.

use std::time::Duration;

use crate::rules::hook::Hook;
use crate::rules::template::key::KeyText;
use crate::rules::yaml::Node;
use crate::rules::yaml::reader::Reader;
use crate::words::delivery::Terms;
use crate::words::event::Event;
use crate::words::{keys, limits};

/// The same key within this time is not delivered again.
#[derive(Debug)]
pub struct Dedupe {
    key: KeyText,
    within: Duration,
}

impl Hook {
    /// Whether it asks anything of its deliveries besides being made.
    pub fn has_terms(&self) -> bool {
        self.order_by.is_some() || self.dedupe.is_some()
    }

    /// What it asks of the delivery of an event. A key that the event does not have asks nothing; `failed` is told of
    /// one that could not be made.
    pub fn terms(&self, event: &Event, mut failed: impl FnMut(&str)) -> Terms {
        let mut of = |key: &KeyText| {
            key.of(event, &self.name).unwrap_or_else(|why| {
                failed(&why);
                None
            })
        };
        let order = self.order_by.as_deref().and_then(&mut of);
        let once = self.dedupe.as_ref().and_then(|dedupe| Some((of(&dedupe.key)?, dedupe.within)));
        Terms { order, once }
    }
}

/// Reads `order_by`.
pub(super) fn read_order(reader: &mut Reader<'_>, node: &Node) -> Option<KeyText> {
    read_key(reader, "order_by", node, "order-by")
}

/// Reads `dedupe`.
pub(super) fn read_dedupe(reader: &mut Reader<'_>, node: &Node) -> Option<Dedupe> {
    let map = reader.map("dedupe", node, "{key: data.id, for: 1h}")?;
    let others = [("within", "for"), ("window", "for"), ("ttl", "for"), ("by", "key"), ("id", "key")];
    reader.only_or(&map, &keys::DEDUPE.names(), &others);
    for (key, help) in [("key", "add `key: data.id`"), ("for", "add `for: 1h`")] {
        let meant = map.entries.iter().any(|(found, _)| others.contains(&(found.name.as_str(), key)));
        if map.get(key).is_none() && !meant {
            reader.error(node.span, "missing-key", format!("`dedupe` needs `{key}`"), help);
        }
    }
    let key = map.get("key").and_then(|node| read_key(reader, "dedupe.key", node, "dedupe"));
    let within = map
        .get("for")
        .and_then(|node| reader.duration("dedupe.for", node, Duration::from_secs(1), limits::MAX_AGE_MAX));
    Some(Dedupe { key: key?, within: within? })
}

fn read_key(reader: &mut Reader<'_>, name: &str, node: &Node, code: &'static str) -> Option<KeyText> {
    let text = reader.text(name, node)?;
    match KeyText::compile(reader.source, node, text, code) {
        Ok(key) => Some(key),
        Err(found) => {
            let help = || Some(format!("write a field, as in {name}: data.id, or a text with {{{{ }}}}"));
            reader.found.extend(found.into_iter().map(|mut found| {
                found.help = found.help.or_else(help);
                found
            }));
            None
        }
    }
}
