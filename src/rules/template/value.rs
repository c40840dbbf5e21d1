//! Between JSON and the values that the template engine computes with.
//!
//! The engine computes with integers of 128 bits and with floats. A float does not remember how it was written, so what
//! the floats of an event looked like is kept beside it while it is rendered: `{{ price }}` is still `1.10`. A leaf that
//! is nothing but a path does not come this way; it is taken from the event as it is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use crate::words::json::{Exact, Members, Number};

/// `default(omit)`: what stands here is left out.
#[derive(Debug)]
pub(super) struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}

/// An event's value for the engine.
pub(super) fn to_engine(exact: &Exact) -> Value {
    match exact {
        Exact::Null => Value::from(()),
        Exact::Bool(yes) => Value::from(*yes),
        Exact::Number(number) => number_to_engine(number),
        Exact::String(text) => Value::from(text.as_str()),
        Exact::List(values) => Value::from_iter(values.iter().map(to_engine)),
        Exact::Map(members) => Value::from_pairs(members.iter().map(|(name, value)| (name.as_str(), to_engine(value)))),
    }
}

fn number_to_engine(number: &Number) -> Value {
    let text = number.as_str();
    if number.is_whole() && text != "-0" {
        if let Ok(whole) = text.parse::<i64>() {
            return Value::from(whole);
        }
        if let Ok(whole) = text.parse::<i128>() {
            return Value::from(whole);
        }
        if let Ok(whole) = text.parse::<u128>() {
            return Value::from(whole);
        }
    }
    Value::from(number.as_f64())
}

/// The engine's value as JSON; `None` for what is left out.
pub(super) fn from_engine(value: &Value) -> Result<Option<Exact>, Error> {
    Ok(Some(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Exact::Null,
        ValueKind::Bool => Exact::Bool(value.is_true()),
        ValueKind::Number => Exact::Number(number_from_engine(value)?),
        ValueKind::String => Exact::String(value.as_str().unwrap_or_default().to_owned()),
        ValueKind::Seq | ValueKind::Iterable => {
            let values = value.try_iter()?.filter_map(|value| from_engine(&value).transpose());
            Exact::List(values.collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut members = Members::new();
            for name in value.try_iter()? {
                if let Some(member) = from_engine(&value.get_item(&name)?)? {
                    members.insert(name_of(&name)?, member);
                }
            }
            Exact::Map(members)
        }
        _ if value.downcast_object_ref::<Omit>().is_some() => return Ok(None),
        ValueKind::Plain => return Err(wrong("a function stands where its result should: write name(…)")),
        _ => return Err(wrong("this value cannot be written as JSON")),
    }))
}

fn name_of(name: &Value) -> Result<String, Error> {
    match name.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(name.to_string()),
        _ => Err(wrong("the name of a member must be a text")),
    }
}

fn number_from_engine(value: &Value) -> Result<Number, Error> {
    let number = if value.is_integer() {
        Number::read(&value.to_string())
    } else {
        let float = f64::try_from(value.clone())?;
        match spelling(float)? {
            Some(number) => Some(number),
            None => serde_json::Number::from_f64(float).as_ref().map(Number::from),
        }
    };
    number.ok_or_else(|| wrong("this is no number that JSON can write"))
}

/// A value as it stands in a text: texts as they are, everything else as JSON.
pub(super) fn printed(value: &Value) -> Result<String, Error> {
    match from_engine(value)? {
        Some(exact) => Ok(exact.to_string()),
        None => Err(wrong("`omit` leaves out a whole value: it cannot stand inside a text")),
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_owned())
}

/// How the floats of one event are written, by their bits.
pub(super) type Spellings = BTreeMap<u64, Spelling>;

/// How one float is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spelling {
    As(Number),
    /// In several ways that mean the same.
    Several,
    /// Several numbers are so close together that one float stands for them all.
    Unclear,
}

/// The spellings of an event's floats.
pub(super) fn spellings(exact: &Exact) -> Spellings {
    let mut found = Spellings::new();
    collect(exact, &mut found);
    found
}

fn collect(exact: &Exact, found: &mut Spellings) {
    match exact {
        Exact::Number(number) => {
            let Ok(float) = f64::try_from(number_to_engine(number)) else { return };
            if number_to_engine(number).is_integer() {
                return;
            }
            let known = found.entry(float.to_bits()).or_insert_with(|| Spelling::As(number.clone()));
            *known = match known {
                Spelling::As(one) if one == number => return,
                Spelling::As(one) if !one.has_value_of(number) => Spelling::Unclear,
                Spelling::As(_) => Spelling::Several,
                // Which of them it equals is no longer known, but a float of 17 digits has one value.
                Spelling::Several if !Number::read(&float.to_string()).is_some_and(|one| one.has_value_of(number)) => {
                    Spelling::Unclear
                }
                _ => return,
            };
        }
        Exact::List(values) => values.iter().for_each(|value| collect(value, found)),
        Exact::Map(members) => members.values().for_each(|value| collect(value, found)),
        Exact::Null | Exact::Bool(_) | Exact::String(_) => {}
    }
}

thread_local! {
    /// The spellings of the event that this thread renders. The engine hands its printer a value and nothing else.
    static CURRENT: RefCell<Option<Arc<Spellings>>> = const { RefCell::new(None) };
}

/// Renders with the spellings of an event.
pub(super) fn spelled<T>(spellings: Option<Arc<Spellings>>, render: impl FnOnce() -> T) -> T {
    let outer = CURRENT.replace(spellings);
    let result = render();
    CURRENT.set(outer);
    result
}

fn spelling(float: f64) -> Result<Option<Number>, Error> {
    CURRENT.with_borrow(|current| match current.as_ref().and_then(|known| known.get(&float.to_bits())) {
        Some(Spelling::As(number)) => Ok(Some(number.clone())),
        Some(Spelling::Unclear) => Err(wrong(
            "this event has several numbers with more digits than can be told apart here: a leaf that is exactly one \
             {{ path.to.it }} keeps them",
        )),
        Some(Spelling::Several) | None => Ok(None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn there_and_back() {
        for text in [
            r#"{"b":[1,-2,1.5,null,true,"x"],"a":{"c":{}},"d":[]}"#,
            "[18446744073709551616,-170141183460469231731687303715884105728,340282366920938463463374607431768211455]",
            "[1.10,1e5,-0,1e400,0.12345678901234567890123,1234567890123456789012345678901234567890]",
        ] {
            let event = exact(text);
            let known = Some(Arc::new(spellings(&event)));
            let back = spelled(known, || from_engine(&to_engine(&event))).unwrap().unwrap();
            assert_eq!(back.to_string(), text);
        }
        let alone = |text: &str| from_engine(&to_engine(&exact(text))).map(|exact| exact.unwrap().to_string());
        assert_eq!(alone("1.10").unwrap(), "1.1");
        assert!(alone("1e400").is_err(), "without its spelling it is infinite");
    }

    #[test]
    fn spellings_that_mean_the_same_and_those_that_do_not() {
        let said = |text: &str, float: f64| spellings(&exact(text)).get(&float.to_bits()).cloned();
        assert_eq!(said("[1.10]", 1.1), Some(Spelling::As(Number::read("1.10").unwrap())));
        assert_eq!(said("[1.10,1.10]", 1.1), Some(Spelling::As(Number::read("1.10").unwrap())));
        assert_eq!(said("[1.10,{\"a\":1.1}]", 1.1), Some(Spelling::Several));
        assert_eq!(said("[1.10,1.1,1.100]", 1.1), Some(Spelling::Several));
        let (near, nearer) = ("0.30000000000000000001", "0.30000000000000000002");
        assert_eq!(said(&format!("[{near},{nearer}]"), 0.3), Some(Spelling::Unclear));
        assert_eq!(said(&format!("[0.3,0.30,{near}]"), 0.3), Some(Spelling::Unclear));
        assert_eq!(said("[7,8]", 7.0), None);
    }

    #[test]
    fn what_is_left_out_is_left_out() {
        let value = Value::from_iter([Value::from(1), Value::from_object(Omit)]);
        let map = Value::from_pairs([("a", value), ("b", Value::from_object(Omit))]);
        assert_eq!(from_engine(&map).unwrap().unwrap().to_string(), r#"{"a":[1]}"#);
        assert!(from_engine(&Value::from_object(Omit)).unwrap().is_none());
        assert!(printed(&Value::from_object(Omit)).is_err());
    }
}
