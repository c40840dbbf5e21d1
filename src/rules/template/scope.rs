//! What a template sees: `event`, `data`, `hook`, `attempt`, `secret('name')`, and the keys of `data` at the root.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use minijinja::value::{Enumerator, Object, Serde, Value};
use minijinja::{Error, ErrorKind, State};
use serde_json::Value as Json;

use super::engine::{OMIT, SECRET};
use super::value::{Omit, to_engine};
use crate::words::event::Event;
use crate::words::json::Exact;
use crate::words::secret::Secret;

/// Names of our own: they win over the event's.
pub(super) const OWN: [&str; 6] = ["event", "data", "hook", "attempt", OMIT, SECRET];

/// Which keys of the event's data the templates of a tree can reach: only those are turned into the engine's values,
/// so that a large event costs a small template nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    everything: bool,
    /// Whether `event` is named at all.
    envelope: bool,
    keys: BTreeSet<String>,
    varies: bool,
}

impl Needs {
    /// Takes in the undeclared variables of a template, such as `data.app.name`, `version.label`, `event.id`.
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = String>) {
        for path in paths {
            let mut parts = path.split('.');
            let first = parts.next().unwrap_or_default();
            self.envelope |= first == "event";
            match (first, parts.next(), parts.next()) {
                ("hook" | "range" | "dict" | "namespace" | OMIT | SECRET, ..) => continue,
                ("attempt", ..) => {}
                ("event", Some("data"), Some(key)) | ("data", Some(key), _) => _ = self.keys.insert(key.to_owned()),
                ("event", Some("data") | None, None) | ("data", None, _) => self.everything = true,
                ("event", ..) => {}
                (key, ..) => _ = self.keys.insert(key.to_owned()),
            }
            self.varies = true;
        }
    }

    /// Whether anything of the event or the attempt is used.
    pub(super) fn varies(&self) -> bool {
        self.varies
    }

    /// Whether what the event says is used.
    pub(super) fn reads_data(&self) -> bool {
        self.everything || !self.keys.is_empty()
    }

    fn take(&self, event: &Event) -> Value {
        if !self.reads_data() {
            // Large events are not read for nothing.
            return Value::UNDEFINED;
        }
        match event.exact() {
            Some(Exact::Map(members)) if !self.everything => {
                let wanted =
                    self.keys.iter().filter_map(|key| members.get(key).map(|value| (key.as_str(), to_engine(value))));
                Value::from_pairs(wanted)
            }
            Some(exact) => to_engine(exact),
            None => self.take_plain(event.data()),
        }
    }

    fn take_plain(&self, data: &Json) -> Value {
        match data {
            Json::Object(map) if !self.everything => {
                let wanted = self
                    .keys
                    .iter()
                    .filter_map(|key| map.get(key).map(|value| (key.as_str(), Value::from(Serde(value)))));
                Value::from_pairs(wanted)
            }
            data => Value::from(Serde(data)),
        }
    }
}

/// The root of a rendering.
#[derive(Debug)]
pub(super) struct Root {
    event: Value,
    data: Value,
    hook: Value,
    attempt: Value,
    secret: Value,
}

impl Root {
    /// What templates with these needs see of an event.
    pub(super) fn value(
        event: &Event,
        hook: &str,
        attempt: Option<u32>,
        needs: &Needs,
        secrets: Vec<(String, Secret)>,
    ) -> Value {
        let data = needs.take(event);
        let envelope = needs.envelope.then(|| Envelope {
            id: event.id.as_str().into(),
            kind: event.kind.as_str().into(),
            source: event.source.as_str().into(),
            time: event.time.to_string().into(),
            data: data.clone(),
            raw: event.raw.clone(),
        });
        Value::from_object(Self {
            event: envelope.map_or(Value::UNDEFINED, Value::from_object),
            data,
            hook: hook.into(),
            attempt: attempt.map_or(Value::UNDEFINED, Value::from),
            secret: Value::from_object(SecretFunction(secrets)),
        })
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "event" => Some(self.event.clone()),
            "data" => Some(self.data.clone()),
            "hook" => Some(self.hook.clone()),
            "attempt" => Some(self.attempt.clone()),
            SECRET => Some(self.secret.clone()),
            OMIT => Some(Value::from_object(Omit)),
            name if self.data.kind() == minijinja::value::ValueKind::Map => {
                self.data.get_attr(name).ok().filter(|value| !value.is_undefined())
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["event", "data", "hook", "attempt"])
    }
}

#[derive(Debug)]
struct Envelope {
    id: Value,
    kind: Value,
    source: Value,
    time: Value,
    data: Value,
    raw: Bytes,
}

impl Object for Envelope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "id" => Some(self.id.clone()),
            "type" => Some(self.kind.clone()),
            "source" => Some(self.source.clone()),
            "time" => Some(self.time.clone()),
            "data" => Some(self.data.clone()),
            "raw" => Some(Value::from(String::from_utf8_lossy(&self.raw).into_owned())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&EVENT_KEYS)
    }
}

/// The keys of `event`.
pub(super) const EVENT_KEYS: [&str; 6] = ["id", "type", "source", "time", "data", "raw"];

#[derive(Debug)]
struct SecretFunction(Vec<(String, Secret)>);

impl Object for SecretFunction {
    fn repr(self: &Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let known = match args {
            [name] => self.0.iter().find(|(known, _)| Some(known.as_str()) == name.as_str()),
            _ => None,
        };
        let (_, secret) = known.ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, "secret(…) takes the name of one secret in quotes")
        })?;
        Ok(Value::from(secret.expose()))
    }
}

/// The keys that stand beside the last part of a path such as `version.lable`, for "did you mean", and the part itself.
/// `None` when the path is no plain one.
pub(super) fn beside<'a>(path: &'a str, event: &'a Event) -> Option<(&'a str, Vec<&'a str>, String)> {
    let parts: Vec<&str> = path.split('.').collect();
    if parts.iter().any(|part| part.is_empty() || !part.chars().all(|c| c.is_alphanumeric() || c == '_')) {
        return None;
    }
    let (last, above) = parts.split_last()?;
    let prefix = if above.is_empty() { String::new() } else { format!("{}.", above.join(".")) };
    let data = event.data();
    let (level, root): (&Json, &[&str]) = match above {
        [] => (data, &OWN),
        ["event"] => return Some((last, EVENT_KEYS.to_vec(), prefix)),
        ["event", "data", rest @ ..] | ["data", rest @ ..] | rest => {
            let mut level = data;
            for part in rest {
                level = level.get(part)?;
            }
            (level, &[])
        }
    };
    let keys = level.as_object()?.keys().map(String::as_str).chain(root.iter().copied()).collect();
    Some((last, keys, prefix))
}
