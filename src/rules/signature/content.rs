//! Which bytes are signed: put together from a request, byte for byte.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::words::Content;

/// What it is put together from.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) url: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) id: &'a str,
    pub(super) timestamp: &'a str,
    /// The body is covered by its digest in the URL, as Twilio does for what is no form.
    pub(super) body_in_url: bool,
}

type Piece<'a> = Cow<'a, [u8]>;

/// The bytes, in pieces.
pub(super) fn pieces<'a>(content: Content, parts: Parts<'a>) -> Result<Vec<Piece<'a>>, String> {
    let text = |text: &'a str| Cow::Borrowed(text.as_bytes());
    let (body, url) = (Cow::Borrowed(parts.body), text(parts.url));
    Ok(match content {
        Content::Body => vec![body],
        Content::TimestampDotBody => vec![text(parts.timestamp), text("."), body],
        Content::TimestampColonBody => vec![text(parts.timestamp), text(":"), body],
        Content::IdTimestampBody => vec![text(parts.id), text("."), text(parts.timestamp), text("."), body],
        Content::UrlBody => vec![url, body],
        Content::UrlSortedParams if parts.body_in_url => vec![url],
        Content::UrlSortedParams => {
            let mut fields = fields(parts.headers, parts.body)?;
            fields.sort();
            fields.dedup();
            [url].into_iter().chain(fields.into_iter().flat_map(|(name, value)| [name, value])).collect()
        }
        Content::UrlForm => {
            let fields = fields(parts.headers, parts.body)?;
            [url].into_iter().chain(fields.into_iter().flat_map(|(name, value)| [name, value])).collect()
        }
    })
}

/// Whether the body is a form, by its media type.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let media_type = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Name and value of each field: of a form, or the members of a JSON object. A text stands for itself, any other value
/// as JSON writes it.
fn fields<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Vec<(Piece<'a>, Piece<'a>)>, String> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    if is_form(headers) {
        return body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(form_field).collect();
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("fields are signed, and this body is neither a form nor a JSON object".to_owned());
    }
    let Members(members) =
        serde_json::from_slice(body).map_err(|error| format!("fields are signed, and this JSON has none: {error}"))?;
    let mut names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        // Which of the two a receiver takes is anybody's guess.
        return Err(format!("the body names `{}` twice", twice[0]));
    }
    members.into_iter().map(|(name, value)| Ok((Cow::Owned(name.into_bytes()), json_value(value)?))).collect()
}

/// A pair without `=` is refused: `a=b` and `a&b` would be the same bytes to sign.
fn form_field<'a>(pair: &'a [u8]) -> Result<(Piece<'a>, Piece<'a>), String> {
    let at = pair.iter().position(|byte| *byte == b'=').ok_or("a field of the form has no `=`")?;
    Ok((form_decoded(&pair[..at]), form_decoded(&pair[at + 1..])))
}

/// Bytes, not text: two fields that differ in bytes that are no UTF-8 must not look alike.
fn form_decoded(text: &[u8]) -> Piece<'_> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

fn json_value(value: &RawValue) -> Result<Piece<'_>, String> {
    let written = value.get();
    if !written.starts_with('"') {
        return Ok(Cow::Borrowed(written.as_bytes()));
    }
    let text: String =
        serde_json::from_str(written).map_err(|error| format!("a text of the body is broken: {error}"))?;
    Ok(Cow::Owned(text.into_bytes()))
}

/// The members of a JSON object in their order, the values as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
