//! What serde_json is told to look for: the members of an event, and nothing that a tree could not hold.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::words::limits;
use crate::words::trace::{TRACEPARENT, TraceParent};

/// The members of a native event.
const MEMBERS: [&str; 6] = ["type", "data", "id", "source", "time", TRACEPARENT];
/// Names that tell a CloudEvent from a misspelt native event.
const CLOUD_EVENT: [&str; 5] = ["specversion", "datacontenttype", "data_base64", "dataschema", "subject"];

/// The members as they were written.
#[derive(Default)]
pub(super) struct Native<'a> {
    pub(super) kind: Option<String>,
    pub(super) data: Option<&'a RawValue>,
    pub(super) id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) time: Option<String>,
    pub(super) trace: Option<TraceParent>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Native<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Native<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Native<'de>, A::Error> {
                let mut native = Native::default();
                let mut seen = [false; MEMBERS.len()];
                while let Some(Member(member)) = map.next_key()? {
                    if std::mem::replace(&mut seen[member], true) {
                        return Err(de::Error::custom(format_args!("{} is there twice", MEMBERS[member])));
                    }
                    match MEMBERS[member] {
                        "data" => native.data = Some(map.next_value()?),
                        "type" => native.kind = map.next_value_seed(Text("type"))?,
                        "id" => native.id = map.next_value_seed(Text("id"))?,
                        "source" => native.source = map.next_value_seed(Text("source"))?,
                        "time" => native.time = map.next_value_seed(Text("time"))?,
                        _ => native.trace = trace(map.next_value()?),
                    }
                }
                Ok(native)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What is no trace is as if it were not there, whatever it is.
fn trace(value: &RawValue) -> Option<TraceParent> {
    serde_json::from_str::<String>(value.get()).ok().and_then(|text| TraceParent::parse(&text))
}

/// The place of a member's name in `MEMBERS`.
struct Member(usize);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Member, E> {
                match MEMBERS.iter().position(|member| *member == name) {
                    Some(place) => Ok(Member(place)),
                    None => Err(E::custom(unknown_member(name))),
                }
            }
        }
        deserializer.deserialize_str(Name)
    }
}

fn unknown_member(name: &str) -> String {
    if CLOUD_EVENT.contains(&name) {
        return format!("{name} belongs to a CloudEvent, which is not taken yet; send type, data, id, source and time");
    }
    let shown: String = name.chars().take(40).collect();
    let lower = shown.to_lowercase();
    match MEMBERS.iter().find(|member| strsim::damerau_levenshtein(member, &lower) <= 1) {
        Some(near) => format!("unknown member {shown:?}: did you mean {near}?"),
        None => format!("unknown member {shown:?}: an event has type, data, id, source and time; put the rest in data"),
    }
}

/// A text member; null is as good as absent, because serialisers write it for what is not set.
struct Text(&'static str);

impl<'de> de::DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(E::custom(format_args!("{} must be a text, not true or false", self.0)))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(format_args!("{} must be a text, not a number", self.0)))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom(format_args!("{} must be a text, not an array", self.0)))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::custom(format_args!("{} must be a text, not an object", self.0)))
    }
}

/// The elements of an array, and one at most beyond the bound.
pub(super) struct Elements<'a>(pub(super) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = vec![];
                while let Some(element) = seq.next_element()? {
                    if elements.len() <= limits::HTTP_BATCH {
                        elements.push(element);
                    }
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

/// JSON that a tree can be built from, without building it. Skipping a value, which is what keeping its bytes does,
/// lets lone surrogates and a million brackets pass.
pub(super) struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_key::<Self>()?.is_some() {
            map.next_value::<Self>()?;
        }
        Ok(self)
    }
}
