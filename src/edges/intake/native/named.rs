//! The members of an event as they stand in its text, for those who hand it on without reading it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The text of an event with these members in front, as far as it has none of their names. A text that is no object, or
/// whose member is null, is left as it is.
pub fn with_members(event: &[u8], members: &[(&str, &str)]) -> Vec<u8> {
    let Some(there) = members_of(event) else { return event.to_vec() };
    let begin = event.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    let mut text = event[..begin].to_vec();
    for (name, value) in members.iter().filter(|(name, _)| !there.contains_key(*name)) {
        super::write_text(&mut text, name);
        text.push(b':');
        super::write_text(&mut text, value);
        text.push(b',');
    }
    if there.is_empty() && text.last() == Some(&b',') {
        text.pop();
    }
    text.extend_from_slice(&event[begin..]);
    text
}

/// A member of an event that is a text.
pub fn member(event: &[u8], name: &str) -> Option<String> {
    members_of(event)?.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
}

fn members_of(event: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_slice(event).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_put_in_front_and_the_rest_stays() {
        let with = |event: &str| {
            let text = with_members(event.as_bytes(), &[("id", "7"), ("time", "t")]);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(with(r#" {"type":"x", "data": 1.50}"#), r#" {"id":"7","time":"t","type":"x", "data": 1.50}"#);
        assert_eq!(with(r#"{"type":"x","id":"a"}"#), r#"{"time":"t","type":"x","id":"a"}"#);
        assert_eq!(with("{}"), r#"{"id":"7","time":"t"}"#);
        for untouched in [r#"{"id":null,"time":"t"}"#, "[{}]", "nonsense", "", r#"{"a":1"#] {
            assert_eq!(with(untouched), untouched);
        }
        assert_eq!(member(br#"{"id":"a"}"#, "id").as_deref(), Some("a"));
        assert_eq!(member(br#"{"id":null}"#, "id"), None);
    }
}
