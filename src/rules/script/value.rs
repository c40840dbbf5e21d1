//! JSON and the values of scripts.
//!
//! Maps of scripts are sorted by key and their integers are signed, so a tree that a hook's author wrote would come out
//! reordered. It is handed over as an opaque value instead: a script can look into it and put it into a body, and there
//! it is still exactly what was written.

use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use serde_json::Value as Json;

use crate::rules::signature::{Outline, Scheme};
use crate::words::json::{Exact, Number, quoted};

/// A JSON value that a script passes on untouched.
#[derive(Clone, Debug)]
pub(crate) struct Opaque(pub(crate) Arc<Exact>);

/// How a request is signed: a script passes it on, and asks at most what is signed.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Everything but the keys.
    pub outline: Arc<Outline>,
    /// With the keys, once they are known.
    pub scheme: Option<Arc<Scheme>>,
}

impl Opaque {
    /// A value for scripts to pass on.
    pub(crate) fn dynamic(value: Exact) -> Dynamic {
        Dynamic::from(Self(Arc::new(value)))
    }
}

/// Turns JSON into plain values. Maps are sorted then. A number with more digits than a script's numbers have is a
/// value to pass on.
pub(crate) fn from_exact(value: &Exact) -> Dynamic {
    match value {
        Exact::Null => Dynamic::UNIT,
        Exact::Bool(value) => (*value).into(),
        Exact::Number(number) => from_number(number),
        Exact::String(text) => text.as_str().into(),
        Exact::List(values) => values.iter().map(from_exact).collect::<Array>().into(),
        Exact::Map(members) => {
            members.iter().map(|(name, value)| (name.as_str().into(), from_exact(value))).collect::<Map>().into()
        }
    }
}

/// The same for what serde_json has read.
pub(crate) fn from_json(value: &Json) -> Dynamic {
    match value {
        Json::Null => Dynamic::UNIT,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => from_number(&number.into()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => values.iter().map(from_json).collect::<Array>().into(),
        Json::Object(map) => {
            map.iter().map(|(name, value)| (name.as_str().into(), from_json(value))).collect::<Map>().into()
        }
    }
}

fn from_number(number: &Number) -> Dynamic {
    if let Some(whole) = number.as_i64() {
        return whole.into();
    }
    let float = number.as_f64();
    let written = serde_json::Number::from_f64(float);
    match written.is_some_and(|written| Number::from(&written).has_value_of(number)) {
        true => float.into(),
        false => Opaque::dynamic(Exact::Number(number.clone())),
    }
}

/// Turns what a script made into JSON.
///
/// # Errors
/// What cannot be JSON, in words that follow "the body ".
pub(crate) fn to_json(value: &Dynamic) -> Result<Exact, String> {
    if value.is_unit() {
        return Ok(Exact::Null);
    }
    if let Ok(value) = value.as_bool() {
        return Ok(Exact::Bool(value));
    }
    if let Ok(whole) = value.as_int() {
        return Ok(Exact::Number(whole.into()));
    }
    if let Ok(number) = value.as_float() {
        return serde_json::Number::from_f64(number)
            .map(|number| Exact::Number((&number).into()))
            .ok_or_else(|| "holds a number that JSON cannot write".to_owned());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Exact::String(text.to_string()));
    }
    if let Ok(c) = value.as_char() {
        return Ok(Exact::String(c.to_string()));
    }
    if let Ok(values) = value.as_array_ref() {
        return values.iter().map(to_json).collect::<Result<_, _>>().map(Exact::List);
    }
    if let Ok(map) = value.as_map_ref() {
        let members = map.iter().map(|(name, value)| to_json(value).map(|value| (name.to_string(), value)));
        return members.collect::<Result<_, _>>().map(Exact::Map);
    }
    if let Some(opaque) = value.read_lock::<Opaque>() {
        return Ok((*opaque.0).clone());
    }
    if value.is_blob() {
        return Err("holds bytes, which JSON cannot write: use to_base64 or to_hex".to_owned());
    }
    Err(format!("holds {}, which JSON cannot write", type_word(value)))
}

/// What a script made, as JSON text: that of `to_json`, without its tree.
///
/// # Errors
/// As `to_json`.
pub(crate) fn json_text(value: &Dynamic) -> Result<String, String> {
    let mut text = String::new();
    write_json(value, &mut text)?;
    Ok(text)
}

fn write_json(value: &Dynamic, out: &mut String) -> Result<(), String> {
    if let Ok(text) = value.as_immutable_string_ref() {
        write_text(&text, out);
    } else if let Ok(map) = value.as_map_ref() {
        for (number, (name, value)) in map.iter().enumerate() {
            out.push(if number == 0 { '{' } else { ',' });
            write_text(name, out);
            out.push(':');
            write_json(value, out)?;
        }
        out.push_str(if map.is_empty() { "{}" } else { "}" });
    } else if let Ok(values) = value.as_array_ref() {
        for (number, value) in values.iter().enumerate() {
            out.push(if number == 0 { '[' } else { ',' });
            write_json(value, out)?;
        }
        out.push_str(if values.is_empty() { "[]" } else { "]" });
    } else {
        out.push_str(&to_json(value)?.to_string());
    }
    Ok(())
}

fn write_text(text: &str, out: &mut String) {
    quoted(text, out).expect("memory takes what is written");
}

/// What a value is, in the words of this project.
pub(crate) fn type_word(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "nothing"
    } else if value.is_bool() {
        "true or false"
    } else if value.is_int() || value.is_float() {
        "a number"
    } else if value.is_string() || value.is_char() {
        "a text"
    } else if value.is_array() {
        "an array"
    } else if value.is_map() {
        "a map"
    } else if value.is_blob() {
        "bytes"
    } else if value.is::<Opaque>() {
        "a tree"
    } else if value.is::<Signer>() {
        "a signature"
    } else {
        "a function or another value without data"
    }
}

/// The bytes of a text or a blob.
pub(super) fn bytes(value: &Dynamic) -> Result<Vec<u8>, Box<EvalAltResult>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(text.as_bytes().to_vec());
    }
    match value.as_blob_ref() {
        Ok(blob) => Ok(blob.to_vec()),
        Err(_) => Err(format!("this takes a text or bytes, not {}", type_word(value)).into()),
    }
}

/// What scripts may do with an opaque tree: look, and make another one that has more members.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Opaque>("tree")
        .register_indexer_get(|tree: &mut Opaque, key: ImmutableString| match tree.0.get(key.as_str()) {
            Some(value) => Ok(inside(value)),
            None => Err(Box::new(EvalAltResult::ErrorPropertyNotFound(key.to_string(), rhai::Position::NONE))),
        })
        .register_indexer_get(|tree: &mut Opaque, index: i64| {
            let values = if let Exact::List(values) = &*tree.0 { values.as_slice() } else { &[] };
            let value = usize::try_from(index).ok().and_then(|index| values.get(index));
            value.map(inside).ok_or_else(|| Box::<EvalAltResult>::from(format!("the list has no element {index}")))
        })
        .register_fn("get", |tree: &mut Opaque, key: &str| tree.0.get(key).map_or(Dynamic::UNIT, inside))
        .register_fn("contains", |tree: &mut Opaque, key: &str| match &*tree.0 {
            Exact::List(values) => values.iter().any(|value| value.as_str() == Some(key)),
            tree => tree.get(key).is_some(),
        })
        .register_fn("keys", |tree: &mut Opaque| match &*tree.0 {
            Exact::Map(members) => members.keys().map(|name| name.as_str().into()).collect::<Array>(),
            _ => Array::new(),
        })
        .register_fn("+", with_members)
        .register_fn("len", length)
        .register_get("len", length)
        .register_fn("is_empty", |tree: &mut Opaque| length(tree) == 0)
        // A number with too many digits to compute with can still stand in a text.
        .register_fn("to_string", |tree: &mut Opaque| tree.0.to_string())
        .register_type_with_name::<Signer>("signature")
        .register_get("signs_fields", |signer: &mut Signer| signer.outline.signs_fields());
}

fn length(tree: &mut Opaque) -> i64 {
    let length = match &*tree.0 {
        Exact::List(values) => values.len(),
        Exact::Map(members) => members.len(),
        _ => 0,
    };
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A tree with more members: those that it has keep their places.
fn with_members(tree: Opaque, more: Map) -> Result<Dynamic, Box<EvalAltResult>> {
    let Exact::Map(mut members) = Arc::unwrap_or_clone(tree.0) else {
        return Err("members can be added to a map only".into());
    };
    for (name, value) in &more {
        members.insert(name.to_string(), to_json(value).map_err(|why| format!("the member `{name}` {why}"))?);
    }
    Ok(Opaque::dynamic(Exact::Map(members)))
}

/// A member of a tree: a tree again, or a plain value.
fn inside(value: &Exact) -> Dynamic {
    match value {
        Exact::List(_) | Exact::Map(_) => Opaque::dynamic(value.clone()),
        plain => from_exact(plain),
    }
}

/// Bytes for scripts.
pub(crate) fn blob(bytes: impl Into<Vec<u8>>) -> Dynamic {
    Dynamic::from_blob(bytes.into())
}
