//! The options of a source: values of the main file, which may name secrets at any place.

use serde_json::{Map as JsonMap, Value as Json};

use crate::rules::diagnostic::Place;
use crate::rules::manifest::{Kind, OptionSpec, texts};
use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{Node, Value};
use crate::words::secret::Secrets;

/// A value in which names stand for secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// As it was written.
    Plain(Json),
    /// `{secret: NAME}`.
    Secret(String),
    /// A list of them.
    List(Vec<Self>),
    /// A map of them.
    Map(Vec<(String, Self)>),
}

impl Setting {
    /// The value with its secrets.
    ///
    /// # Errors
    /// The name of a secret that cannot be had, and why.
    pub fn resolve(&self, secrets: &Secrets) -> Result<Json, (String, String)> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(name) => match secrets.get(name) {
                Ok(secret) => secret.expose().into(),
                Err(why) => return Err((name.clone(), why.to_owned())),
            },
            Self::List(values) => values.iter().map(|value| value.resolve(secrets)).collect::<Result<_, _>>()?,
            Self::Map(members) => {
                let member = |(name, value): &(String, Self)| value.resolve(secrets).map(|value| (name.clone(), value));
                members.iter().map(member).collect::<Result<JsonMap<_, _>, _>>()?.into()
            }
        })
    }

    /// The value with null for each secret, for whom it concerns before there are secrets.
    pub fn known(&self) -> Json {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(_) => Json::Null,
            Self::List(values) => values.iter().map(Self::known).collect(),
            Self::Map(members) => {
                members.iter().map(|(name, value)| (name.clone(), value.known())).collect::<JsonMap<_, _>>().into()
            }
        }
    }

    /// The texts of a text or a list of texts, each resolved on its own.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            one => std::slice::from_ref(one),
        }
    }
}

/// Reads an option of this kind, and collects the secrets that it names.
pub(super) fn read(
    reader: &mut Reader<'_>,
    spec: &OptionSpec,
    node: &Node,
    secrets: &mut Vec<(String, Place)>,
) -> Option<Setting> {
    let name = format!("options.{}", spec.name);
    if node.value == Value::Null && !matches!(spec.kind, Kind::Tree | Kind::TreeOf(_)) {
        reader.wrong(&name, node, "", "");
        return None;
    }
    if let Some(secret) = secret(reader, node, secrets) {
        return Some(secret);
    }
    let help = format!("`{}` is {}", spec.name, spec.about);
    match &spec.kind {
        texts!() | Kind::Xml => reader.text(&name, node).map(|text| Setting::Plain(text.into())),
        Kind::Url => url(reader, &name, node).map(|url| Setting::Plain(url.into())),
        Kind::Bool => reader.boolean(&name, node).map(|yes| Setting::Plain(yes.into())),
        Kind::Integer => match &node.value {
            Value::Number(number) if number.is_i64() => Some(Setting::Plain(Json::Number(number.clone()))),
            _ => {
                reader.wrong(&name, node, "a whole number", help);
                None
            }
        },
        Kind::Choice(words) => match &node.value {
            Value::String(word) if words.contains(word) => Some(Setting::Plain(word.as_str().into())),
            _ => {
                reader.wrong(&name, node, &format!("one of {}", words.join(", ")), help);
                None
            }
        },
        Kind::Secret => match &node.value {
            Value::List(nodes) if !nodes.is_empty() => {
                let mut read = |node| {
                    secret(reader, node, secrets).or_else(|| {
                        reader.secret(&spec.name, node);
                        None
                    })
                };
                nodes.iter().map(&mut read).collect::<Option<Vec<_>>>().map(Setting::List)
            }
            _ => {
                reader.secret(&spec.name, node);
                None
            }
        },
        Kind::List => match &node.value {
            Value::List(nodes) => {
                let mut read = |node| match secret(reader, node, secrets) {
                    Some(secret) => Some(secret),
                    None => reader.text(&name, node).map(|text| Setting::Plain(text.into())),
                };
                nodes.iter().map(&mut read).collect::<Option<Vec<_>>>().map(Setting::List)
            }
            _ => reader.text(&name, node).map(|text| Setting::List(vec![Setting::Plain(text.into())])),
        },
        Kind::Headers => match &node.value {
            Value::Map(_) => Some(tree(reader, node, secrets)),
            _ => {
                reader.wrong(&name, node, "a map of names to values", help);
                None
            }
        },
        // A source may be signed in one of several ways.
        Kind::Tree | Kind::TreeOf(_) | Kind::Sign => Some(tree(reader, node, secrets)),
    }
}

/// A URL with a host.
pub(super) fn url<'n>(reader: &mut Reader<'_>, name: &str, node: &'n Node) -> Option<&'n str> {
    let text = reader.text(name, node)?;
    let sound = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !sound {
        reader.error(node.span, "url", format!("`{name}` is no URL"), "write for example https://hooks.example.com");
    }
    sound.then_some(text)
}

/// `{secret: NAME}`, and its place.
fn secret(reader: &Reader<'_>, node: &Node, secrets: &mut Vec<(String, Place)>) -> Option<Setting> {
    let Value::Map(entries) = &node.value else { return None };
    let [(key, value)] = entries.as_slice() else { return None };
    let Value::String(name) = &value.value else { return None };
    (key.name == "secret" && !name.trim().is_empty()).then(|| {
        secrets.push((name.clone(), reader.source.place(value.span)));
        Setting::Secret(name.clone())
    })
}

fn tree(reader: &Reader<'_>, node: &Node, secrets: &mut Vec<(String, Place)>) -> Setting {
    if let Some(secret) = secret(reader, node, secrets) {
        return secret;
    }
    match &node.value {
        Value::List(nodes) => Setting::List(nodes.iter().map(|node| tree(reader, node, secrets)).collect()),
        Value::Map(entries) => {
            Setting::Map(entries.iter().map(|(key, node)| (key.name.clone(), tree(reader, node, secrets))).collect())
        }
        _ => Setting::Plain(node.to_json()),
    }
}
