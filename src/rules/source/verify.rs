//! Whether a request comes from whom it should: a token, and what the script says of its signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use rhai::{Array, Dynamic};
use serde_json::Value as Json;

use super::request::Incoming;
use crate::rules::script::{Refuse, to_json, type_word};
use crate::rules::signature::{self, Refused, Scheme, Signed};
use crate::words::json::Exact;
use crate::words::secret::equal;

/// Parameters of the query that may carry a token. The second is the name that CloudEvents and OAuth use.
pub(super) const IN_QUERY: [&str; 2] = ["token", "access_token"];

/// What a sender must present.
pub(super) struct Token {
    /// Any of them will do.
    pub(super) tokens: Vec<String>,
    /// A header that may carry it.
    pub(super) header: Option<HeaderName>,
}

/// Why a request is not verified.
pub(super) enum Refusal {
    /// The sender is wrong.
    Sender { status: u16, why: String },
    /// What the script gave cannot be used.
    Script(String),
}

impl Token {
    /// # Errors
    /// Why the request does not carry it.
    pub(super) fn check(&self, incoming: &Incoming) -> Result<(), String> {
        let presented = self.presented(incoming);
        let right = |sent: &Vec<u8>| {
            // All are looked at, whichever is right.
            self.tokens.iter().fold(false, |found, token| found | (!token.is_empty() && equal(sent, token.as_bytes())))
        };
        if presented.iter().any(right) {
            return Ok(());
        }
        let header = self.header.as_ref().map(|name| format!(", in the header {name}")).unwrap_or_default();
        Err(match presented.is_empty() {
            true => format!(
                "the token is missing: send it as \"Authorization: Bearer TOKEN\"{header}, or as ?token= in the URL"
            ),
            false => "this is not the token of the source".to_owned(),
        })
    }

    fn presented(&self, incoming: &Incoming) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = authorization(&incoming.headers).into_iter().collect();
        if let Some(name) = &self.header {
            found.extend(incoming.headers.get_all(name).iter().map(|value| {
                let value = value.as_bytes().trim_ascii();
                strip(value, b"bearer ").unwrap_or(value).to_vec()
            }));
        }
        let query = url::form_urlencoded::parse(incoming.query().as_bytes());
        found.extend(query.filter(|(name, _)| IN_QUERY.contains(&&**name)).map(|(_, value)| value.into_owned().into()));
        found
    }
}

/// A bearer token, or the password of a login.
fn authorization(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    if let Some(token) = strip(value, b"bearer ") {
        return Some(token.to_vec());
    }
    let login = STANDARD.decode(strip(value, b"basic ")?).ok()?;
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(login[colon + 1..].to_vec())
}

fn strip<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    let (found, rest) = value.split_at_checked(prefix.len())?;
    found.eq_ignore_ascii_case(prefix).then(|| rest.trim_ascii())
}

/// Verifies as the script says; what matched, or nothing when nothing is to be verified.
///
/// # Errors
/// The sender or the script is wrong.
pub(super) fn verify(
    made: &Dynamic,
    incoming: &Incoming,
    public_url: Option<&str>,
    now: Timestamp,
) -> Result<Option<String>, Refusal> {
    if made.is_unit() {
        return Ok(None);
    }
    if let Some(refuse) = made.read_lock::<Refuse>() {
        return Err(Refusal::Sender { status: refuse.status, why: refuse.why.clone() });
    }
    let signed = Signed {
        method: &incoming.method,
        url: public_url.unwrap_or(&incoming.target),
        headers: &incoming.headers,
        body: &incoming.body,
    };
    let mut refused: Option<Refused> = None;
    for scheme in schemes(made).map_err(Refusal::Script)? {
        let scheme = Scheme::from_json(&scheme).map_err(|why| Refusal::Script(format!("fn verify: {why}")))?;
        match signature::verify(&scheme, &signed, now) {
            Ok(verified) => return Ok(Some(verified.how)),
            Err(why) => refused = Some(refused.map_or_else(|| why.clone(), |before| telling(before, why.clone()))),
        }
    }
    let why = refused.map(|why| why.to_string()).unwrap_or_default();
    Err(Refusal::Sender { status: 401, why })
}

/// Of two reasons, the one that says more: a wrong clock, a wrong signature, none at all.
fn telling(one: Refused, other: Refused) -> Refused {
    let rank = |why: &Refused| match why {
        Refused::Missing(_) => 0,
        Refused::Wrong(_) => 1,
        Refused::Stale(_) => 2,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

fn schemes(made: &Dynamic) -> Result<Vec<Json>, String> {
    let wrong = || format!("fn verify gave {} instead of a map or an array of maps", type_word(made));
    let whole = match made.read_lock::<Array>() {
        Some(array) => array.iter().map(to_json).collect::<Result<Vec<_>, _>>().map(Exact::List),
        None => to_json(made),
    };
    match whole.map_err(|why| format!("what fn verify gave {why}"))?.plain() {
        Json::Array(schemes) if schemes.is_empty() => {
            Err("fn verify gave an empty array: give () when nothing is to be verified".to_owned())
        }
        Json::Array(schemes) => Ok(schemes),
        scheme @ Json::Object(_) => Ok(vec![scheme]),
        _ => Err(wrong()),
    }
}

/// The URL as the sender knows it, if that is known: what the inner request says of its host proves nothing.
///
/// A `public_url` without a path stands for the host alone; one with a path stands for `/in/NAME`.
pub(super) fn public_url(base: Option<&str>, trust_forwarded: bool, incoming: &Incoming) -> Option<String> {
    if let Some(base) = base {
        let base = base.trim_end_matches('/');
        let has_path = base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        return Some(format!("{base}{}", if has_path { behind_name(&incoming.target) } else { &incoming.target }));
    }
    if !trust_forwarded {
        return None;
    }
    let first = |name: &str| {
        let value = incoming.headers.get(name)?.to_str().ok()?;
        value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
    };
    Some(format!("{}://{}{}", first("x-forwarded-proto")?, first("x-forwarded-host")?, incoming.target))
}

/// What stands behind `/in/NAME`.
fn behind_name(target: &str) -> &str {
    let name = target.strip_prefix("/in/").unwrap_or(target);
    name.find(['/', '?']).map_or("", |at| &name[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn incoming(target: &str, headers: &[(&str, &str)]) -> Incoming {
        let pairs = headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        Incoming {
            method: Method::POST,
            target: target.to_owned(),
            event: String::new(),
            headers: pairs.collect(),
            body: bytes::Bytes::new(),
        }
    }

    #[test]
    fn the_public_url() {
        let sent = incoming("/in/ppg/subscribed?b=1&a=%2f", &[]);
        let url = |base| public_url(Some(base), false, &sent).unwrap();
        assert_eq!(url("https://h.example"), "https://h.example/in/ppg/subscribed?b=1&a=%2f");
        assert_eq!(url("https://h.example/"), "https://h.example/in/ppg/subscribed?b=1&a=%2f");
        assert_eq!(url("https://h.example/hooks/p/"), "https://h.example/hooks/p/subscribed?b=1&a=%2f");
        assert_eq!(public_url(Some("https://h/x"), false, &incoming("/in/ppg?e=1", &[])).unwrap(), "https://h/x?e=1");
        assert_eq!(public_url(Some("https://h/x"), false, &incoming("/in/ppg", &[])).unwrap(), "https://h/x");
        let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "h.example, inner"), ("host", "inner")];
        let sent = incoming("/in/ppg", &forwarded);
        assert_eq!(public_url(None, true, &sent).unwrap(), "https://h.example/in/ppg");
        assert_eq!(public_url(None, false, &sent), None, "only where it is to be trusted");
        assert_eq!(public_url(None, true, &incoming("/in/ppg", &[("host", "h")])), None, "never the inner host");
    }

    #[test]
    fn a_token_in_each_of_its_places() {
        let token = Token { tokens: vec!["old".into(), "n e/w".into()], header: Some(HeaderName::from_static("x-t")) };
        for (target, headers) in [
            ("/in/a?token=old", vec![]),
            ("/in/a?x=1&access_token=n%20e%2Fw", vec![]),
            ("/in/a", vec![("authorization", "bearer  old")]),
            ("/in/a", vec![("authorization", "Basic dXNlcjpvbGQ=")]),
            ("/in/a", vec![("x-t", "old")]),
            ("/in/a", vec![("x-t", "Bearer n e/w")]),
        ] {
            assert_eq!(token.check(&incoming(target, &headers)), Ok(()), "{target} {headers:?}");
        }
        for (target, headers, why) in [
            ("/in/a", vec![], "the token is missing"),
            ("/in/a?token=", vec![], "this is not the token"),
            ("/in/a?token=ol", vec![], "this is not the token"),
            ("/in/a", vec![("authorization", "Digest old")], "the token is missing"),
        ] {
            let said = token.check(&incoming(target, &headers)).unwrap_err();
            assert!(said.starts_with(why), "{target} {headers:?}: {said}");
        }
        let empty = Token { tokens: vec![String::new()], header: None };
        assert!(empty.check(&incoming("/in/a?token=", &[])).is_err(), "an empty token opens nothing");
    }
}
