//! JSON as a strict reader sees it: a member that comes twice is noticed.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON text, and the paths of members that came twice (the last one counts).
#[derive(Debug)]
pub(super) struct Strict {
    pub(super) value: Value,
    pub(super) duplicates: Vec<String>,
}

/// Reads UTF-8 JSON; `None` for anything else.
pub(super) fn parse(bytes: &[u8]) -> Option<Strict> {
    let text = std::str::from_utf8(bytes).ok()?;
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { path: String::new(), duplicates: &duplicates }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(Strict { value, duplicates: duplicates.into_inner() })
}

struct Node<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl Node<'_> {
    fn child(&self, step: &str) -> Self {
        let path = if self.path.is_empty() { step.to_owned() } else { format!("{}.{step}", self.path) };
        Self { path, duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self.child(&items.len().to_string()))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let child = self.child(&name);
            let path = child.path.clone();
            let value = map.next_value_seed(child)?;
            if members.insert(name, value).is_some() {
                self.duplicates.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_and_the_last_one_counts() {
        let strict = parse(br#"{"a":1,"b":[{"c":1,"c":2}],"a":3}"#).unwrap();
        assert_eq!(strict.duplicates, ["b.0.c", "a"]);
        assert_eq!(strict.value, serde_json::json!({"a": 3, "b": [{"c": 2}]}));
    }

    #[test]
    fn only_utf8_json_is_json() {
        for bad in [&b"{'a':1}"[..], b"{} {}", b"", b"{\"a\":\"\xc4\xe3\"}", b"{\"a\":1"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
