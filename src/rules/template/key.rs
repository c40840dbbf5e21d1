//! A key that a hook derives from an event: which deliveries belong together, or are the same.

use std::fmt;

use minijinja::Expression;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::engine::CONDITIONS;
use super::escape::Escape;
use super::leaf::{self, Leaf, is_template};
use super::scope::{Needs, Root};
use super::{FaultKind, Origin, kinds, undefined};
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::yaml::Node;
use crate::words::delivery::Key;
use crate::words::event::Event;

/// An expression such as `data.id`, or a text such as `{{ data.repo }}/{{ data.branch }}`.
pub struct KeyText {
    form: Form,
    needs: Needs,
}

enum Form {
    Expression(Expression<'static, 'static>),
    Text(Box<Leaf>),
}

impl KeyText {
    /// Compiles one. `code` names the key of the hook file in what is said about it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(source: &Source, node: &Node, text: &str, code: &'static str) -> Result<Self, Vec<Diagnostic>> {
        let origin = Origin::File(source.clone());
        let wrong = |fault| vec![kinds::diagnose(&origin, node, fault, code)];
        let mut needs = Needs::default();
        let (form, inspection) = if is_template(text) {
            let (leaf, inspection) = Leaf::compile_in(&CONDITIONS, text, Escape::Text, false).map_err(wrong)?;
            needs.add(leaf.variables());
            (Form::Text(Box::new(leaf)), inspection)
        } else {
            let (expression, inspection, variables) = leaf::compile_condition(text).map_err(wrong)?;
            needs.add(variables);
            (Form::Expression(expression), inspection)
        };
        let mut found = kinds::problems(&origin, node, &inspection, code);
        for (_, at) in &inspection.secrets {
            let refused = Diagnostic::error(code, "a key cannot be made of a secret").help("use a field of the event");
            found.push(origin.finish(refused, origin.place(node, Some(at.clone()))));
        }
        if found.is_empty() { Ok(Self { form, needs }) } else { Err(found) }
    }

    /// The key of an event; none where the field is missing, null or empty.
    ///
    /// # Errors
    /// It failed, in words.
    pub fn of(&self, event: &Event, hook: &str) -> Result<Option<Key>, String> {
        let root = Root::value(event, hook, None, &self.needs, Vec::new());
        let value = match &self.form {
            Form::Expression(expression) => leaf::value(expression, root),
            Form::Text(leaf) => leaf.text_or_nothing(&root).map(|text| text.map_or(Json::Null, Json::String)),
        };
        match value {
            Ok(Json::Null) => Ok(None),
            Ok(Json::String(text)) if text.trim().is_empty() => Ok(None),
            Ok(value) => Ok(Some(hash(&value))),
            Err(fault) => Err(match fault.kind {
                FaultKind::Undefined(path) => undefined(path.as_deref(), event).what,
                FaultKind::Wrong { what, .. } | FaultKind::TooMuch(what) => what,
            }),
        }
    }
}

fn hash(value: &Json) -> Key {
    let digest = Sha256::digest(value.to_string());
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    Key(key)
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyText").field("needs", &self.needs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::rules::yaml::{self, Value};

    fn key(text: &str, data: &str) -> Result<Option<Key>, String> {
        let source = Source::new("hook.yaml", format!("order_by: {text:?}\n"));
        let root = yaml::parse(&source).unwrap();
        let Value::Map(entries) = &root.value else { panic!("no map") };
        let compiled = KeyText::compile(&source, &entries[0].1, text, "order-by").expect("it is well-formed");
        compiled.of(&Event::new("t", Some("e-1".into()), data.to_owned(), Timestamp::UNIX_EPOCH), "hook")
    }

    #[test]
    fn equal_values_have_equal_keys_and_nothing_has_none() {
        assert_eq!(key("data.id", r#"{"id": 7}"#), key("id", r#"{"id": 7, "n": 1}"#));
        assert_ne!(key("data.id", r#"{"id": 7}"#), key("data.id", r#"{"id": "7"}"#));
        assert_eq!(key("{{ a }}/{{ b }}", r#"{"a": 1, "b": 2}"#), key("{{ c }}", r#"{"c": "1/2"}"#));
        assert_eq!(key("data.id", "{}"), Ok(None));
        assert_eq!(key("data.id", r#"{"id": null}"#), Ok(None));
        assert_eq!(key("{{ data.id }}", "{}"), Ok(None));
        assert!(key("event.id", "{}").unwrap().is_some() && key("hook", "{}").unwrap().is_some());
        assert!(key("data.id + 1", r#"{"id": {}}"#).is_err());
    }
}
