//! Signatures: one grammar for what we send and for what we are sent.
//!
//! ```text
//! {preset?, key, header?, algorithm?, signed?, encoding?, prefix?, tolerance?, timestamp_header?, id_header?,
//!  key_encoding?, public_url?}
//! ```
//! * `preset`: `standard-webhooks` (also `gitlab`), `github`, `github-sha1`, `stripe`, `twilio`, `grafana`,
//!   `pushpushgo`. It fills what is not said; what is said wins.
//! * `key`: a text, or a list while keys are exchanged. Who verifies accepts any of them; who signs uses all where the
//!   header carries several (Standard Webhooks, Stripe), else the first.
//! * `signed`: `body`, `timestamp.body`, `timestamp:body`, `id.timestamp.body`, `url+body`, `url+sorted-params`,
//!   `url+form`; a list for who verifies. Params are the fields of a form or the members of a JSON object.
//! * `algorithm`: `hmac-sha1`, `hmac-sha256` (unless said), `hmac-sha512`, `ed25519`.
//! * `encoding`: `hex` (unless said) or `base64`, or both for who verifies. `prefix` stands in front of it.
//! * `key_encoding`: `text`, `base64`, `hex`.
//! * `tolerance`: how far a signed timestamp may be from now, before and after: five minutes.
//! * `public_url`: the beginning of the URL as the sender knows it, when a proxy stands in between.

mod content;
mod key;
mod outgoing;
mod read;
mod search;
mod verify;
mod words;

use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::Value as Json;

use self::key::Key;
pub use self::outgoing::{Signature, sign};
pub use self::read::{Fault, Outline};
pub use self::search::{Match, search};
pub use self::verify::{Refused, Verified, verify};
use crate::words::limits;
use crate::words::secret::Secret;

/// How something is signed, with the keys.
#[derive(Debug)]
pub struct Scheme {
    outline: Arc<Outline>,
    keys: Vec<Key>,
}

/// A request as far as it can be signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The URL exactly as it goes over the wire; for who verifies, path and query are enough beside a `public_url`.
    pub url: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, byte for byte.
    pub body: &'a [u8],
}

impl Scheme {
    /// Reads the map above, as a script returns it or as a hook's option renders to.
    ///
    /// # Errors
    /// Everything that is wrong with it, in one line for a person, without a part of a key.
    pub fn from_json(value: &Json) -> Result<Self, String> {
        let Json::Object(map) = value else {
            return Err("a signature is a map such as {preset: github, key: …}".to_owned());
        };
        let keys = map.get("key").unwrap_or(&Json::Null);
        let said = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
        let outline = Outline::read(map).map_err(said)?;
        Self::new(outline.into(), &keys_of(keys).map_err(|fault| fault.to_string())?).map_err(|fault| fault.to_string())
    }

    /// Puts the keys to an outline.
    ///
    /// # Errors
    /// What is wrong with one of them, without a part of it.
    pub fn new(outline: Arc<Outline>, keys: &[Secret]) -> Result<Self, Fault> {
        let fault = |what: String, help: &str| Fault { field: Some("key".to_owned()), what, help: help.to_owned() };
        if keys.is_empty() {
            return Err(fault("a signature needs a key".to_owned(), "add `key: {secret: NAME}`"));
        }
        if keys.len() > limits::SIGNING_KEYS {
            let what = format!("{} keys are more than the {} that are tried", keys.len(), limits::SIGNING_KEYS);
            return Err(fault(what, "remove the oldest"));
        }
        let several = keys.len() > 1;
        let numbered = keys.iter().enumerate().map(|(number, key)| {
            Key::read(key.expose(), outline.keys).map_err(|what| {
                let which = if several { format!("key {} of {}: ", number + 1, keys.len()) } else { String::new() };
                fault(format!("{which}{what}"), "`key_encoding` says how keys are written: text, base64 or hex")
            })
        });
        let keys = numbered.collect::<Result<_, _>>()?;
        Ok(Self { outline, keys })
    }

    /// Whether its keys can also sign: the public half of a pair cannot.
    ///
    /// # Errors
    /// One of them cannot.
    pub fn can_sign(&self) -> Result<(), Fault> {
        let fault = |what| Fault {
            field: Some("key".to_owned()),
            what,
            help: "give the private key, which begins with whsk_".to_owned(),
        };
        self.keys.iter().try_for_each(Key::can_sign).map_err(fault)
    }
}

/// A text, or a list of them.
fn keys_of(value: &Json) -> Result<Vec<Secret>, Fault> {
    let text = |value: &Json| value.as_str().map(Secret::new);
    let keys = match value {
        Json::Null => Some(Vec::new()),
        Json::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|key| vec![key]),
    };
    keys.ok_or_else(|| Fault {
        field: Some("key".to_owned()),
        what: "a key is a text, or a list of texts".to_owned(),
        help: "write `key: {secret: NAME}`".to_owned(),
    })
}

/// Hexadecimal digits of either case, as bytes.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::try_from(digit(pair.first()?)? * 16 + digit(pair.get(1)?)?).ok()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;
