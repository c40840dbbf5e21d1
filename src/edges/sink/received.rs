//! What came, kept as it came; and how it is shown, without its secrets.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::judgement::Judgement;

/// One request as it came.
#[derive(Clone)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// Path and query as they stood in the request line.
    pub target: String,
    /// In the order they came; names in lower case.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
    /// Who called.
    pub ip: IpAddr,
}

impl Received {
    /// A POST of JSON from this machine, for the deciders' tests.
    pub fn post(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        Self {
            method: Method::POST,
            target: target.into(),
            headers: HeaderMap::from_iter([(http::header::CONTENT_TYPE, json)]),
            body: body.into(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// The path, still percent-encoded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a query member, percent-decoded once, where `+` is a space.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A header's value as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Path and query with their secrets hashed.
    pub fn shown_target(&self, salt: &Salt) -> String {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let mut shown = match secret_part(path) {
            Some((before, token, after)) => format!("{before}{}{after}", salt.hash(token)),
            None => path.to_owned(),
        };
        for (n, member) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            shown.push(if n == 0 { '?' } else { '&' });
            match member.split_once('=') {
                Some((name, value)) if SECRET_QUERY.contains(&name.to_ascii_lowercase().as_str()) => {
                    let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                    shown.push_str(&format!("{name}={}", salt.hash(&value)));
                }
                _ => shown.push_str(member),
            }
        }
        shown
    }

    /// Headers with their secrets hashed, in order.
    pub fn shown_headers(&self, salt: &Salt) -> Vec<(String, String)> {
        self.headers
            .iter()
            .map(|(name, value)| {
                let text = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), if is_secret(name.as_str()) { hidden(&text, salt) } else { text.into() })
            })
            .collect()
    }

    /// The body as text with the signature in it hashed; `None` when it is not UTF-8.
    pub fn shown_body(&self, salt: &Salt) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        if SECRET_MEMBERS.iter().any(|(path, _)| self.path() == *path) {
            return Some(self.without_members(text, salt));
        }
        // Lark's signature stands in the body, next to the message.
        let sign = match self.path().contains(LARK_HOOK).then(|| serde_json::from_str::<Value>(text)) {
            Some(Ok(mut body)) => match body.get_mut("sign") {
                Some(Value::String(sign)) if text.contains(sign.as_str()) => sign.clone(),
                Some(sign) => {
                    // Written with escapes: it cannot be cut out of the text as it came.
                    *sign = salt.hash(sign.as_str().unwrap_or_default()).into();
                    return Some(body.to_string());
                }
                None => return Some(text.to_owned()),
            },
            _ => return Some(text.to_owned()),
        };
        if sign.is_empty() {
            return Some(text.to_owned());
        }
        Some(text.replace(&sign, &salt.hash(&sign)))
    }
}

impl Received {
    /// The body with the credentials among its members hashed.
    fn without_members(&self, text: &str, salt: &Salt) -> String {
        let mut shown = text.to_owned();
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        for (_, name) in SECRET_MEMBERS.iter().filter(|(path, _)| self.path() == *path) {
            let values = body.get(name).map(|value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]));
            for secret in values.iter().flatten().filter_map(Value::as_str).filter(|secret| !secret.is_empty()) {
                shown = shown.replace(secret, &salt.hash(secret));
            }
        }
        shown
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No path: on chat platforms it is the credential.
        write!(f, "{} ({} bytes)", self.method, self.body.len())
    }
}

const LARK_HOOK: &str = "/bot/v2/hook/";

/// The part of a path that is a credential: what stands before it, it, and what stands behind it.
fn secret_part(path: &str) -> Option<(&str, &str, &str)> {
    let from = |at: usize| {
        let end = path[at..].find('/').map_or(path.len(), |end| at + end);
        (end > at).then(|| (&path[..at], &path[at..end], &path[end..]))
    };
    let nth = |prefix: &str, skip: usize| {
        let rest = path.strip_prefix(prefix)?;
        let skipped: usize = rest.split('/').take(skip).map(|part| part.len() + 1).sum();
        path.get(prefix.len() + skipped..).and_then(|_| from(prefix.len() + skipped))
    };
    if let Some(at) = path.find(LARK_HOOK) {
        return from(at + LARK_HOOK.len());
    }
    // Those of Mattermost have 26 letters; a plain receiver may have any path below /hooks.
    let mattermost = nth("/hooks/", 0).filter(|(_, key, _)| key.len() >= 20);
    let telegram = || nth("/bot", 0).filter(|(_, token, _)| token.contains(':'));
    let discord = || nth("/api/webhooks/", 1).or_else(|| nth("/api/v10/webhooks/", 1));
    let webex = || nth("/v1/webhooks/incoming/", 0);
    mattermost.or_else(telegram).or_else(discord).or_else(webex).or_else(|| nth("/services/", 2))
}

/// Members of a query whose value is a credential or made from one.
const SECRET_QUERY: [&str; 8] = ["access_token", "key", "token", "sign", "signature", "secret", "api_key", "sig"];

/// Members of a body that are credentials, at the paths of those who have them there.
const SECRET_MEMBERS: [(&str, &str); 3] =
    [("/v2/enqueue", "routing_key"), ("/push", "device_key"), ("/push", "device_keys")];

/// Headers that are a credential. Signatures are not hidden: whoever debugs one has to see it.
fn is_secret(name: &str) -> bool {
    ["authorization", "cookie", "token", "api-key", "gotify-key", "secret", "password"]
        .iter()
        .any(|part| name.contains(part))
}

/// `Bearer abc` shows its scheme.
fn hidden(value: &str, salt: &Salt) -> String {
    match value.split_once(' ') {
        Some((scheme, credential)) => format!("{scheme} {}", salt.hash(credential)),
        None => salt.hash(value),
    }
}

/// Makes the hashes of one sink: the same secret shows the same hash, and no other sink shows it.
#[derive(Clone, Debug)]
pub struct Salt(uuid::Uuid);

impl Salt {
    /// A salt nobody else has.
    #[expect(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// What is shown in place of a secret.
    pub fn hash(&self, secret: &str) -> String {
        let digest = Sha256::new().chain_update(self.0.as_bytes()).chain_update(secret).finalize();
        digest[..4].iter().fold("#".to_owned(), |shown, byte| format!("{shown}{byte:02x}"))
    }
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Counts from 1; never given twice, also after older ones were forgotten.
    pub number: u64,
    /// As it came. After a fault that does not read the body, the body is empty.
    pub request: Received,
    /// When its head was there, by the sink's clock.
    pub time: Timestamp,
    /// The same on a clock that nobody sets, since the sink began.
    pub elapsed: Duration,
    /// The status that was answered; `None` when nothing was.
    pub status: Option<u16>,
    /// The body that was answered, before a fault cut it.
    pub answer: Bytes,
    /// What the platform thought.
    pub judgement: Judgement,
    /// What was broken on purpose.
    pub fault: Option<String>,
}

impl Record {
    /// The record without its secrets, as `GET /__fake/requests` and `sink --json` show it.
    pub fn to_json(&self, salt: &Salt) -> Value {
        let mut row = Map::new();
        row.insert("number".into(), self.number.into());
        row.insert("time".into(), format!("{:.6}", self.time).into());
        row.insert("monotonic_us".into(), u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX).into());
        row.insert("from".into(), self.request.ip.to_string().into());
        row.insert("method".into(), self.request.method.as_str().into());
        row.insert("target".into(), self.request.shown_target(salt).into());
        row.insert("headers".into(), json!(self.request.shown_headers(salt)));
        row.insert("bytes".into(), self.request.body.len().into());
        match self.request.shown_body(salt) {
            Some(text) => row.insert("body".into(), text.into()),
            None => row.insert("body_base64".into(), BASE64.encode(&self.request.body).into()),
        };
        row.insert("status".into(), self.status.into());
        row.insert("answer".into(), String::from_utf8_lossy(&self.answer).into());
        if let Ok(Value::Object(judgement)) = serde_json::to_value(&self.judgement) {
            row.extend(judgement);
        }
        row.insert("fault".into(), self.fault.clone().into());
        Value::Object(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_as_hashes() {
        let salt = Salt::new();
        let mut request = Received::post("/robot/send?access_token=T0P%2B&timestamp=17&sign=S1GN", "{}");
        request.headers.insert("authorization", HeaderValue::from_static("Bearer B34R"));
        request.headers.insert("x-signature", HeaderValue::from_static("sha256=77"));
        let shown = request.shown_target(&salt);
        assert_eq!(
            shown,
            format!("/robot/send?access_token={}&timestamp=17&sign={}", salt.hash("T0P+"), salt.hash("S1GN"))
        );
        let headers = request.shown_headers(&salt);
        assert_eq!(headers[1], ("authorization".to_owned(), format!("Bearer {}", salt.hash("B34R"))));
        assert_eq!(headers[2].1, "sha256=77");
        assert_ne!(salt.hash("T0P+"), Salt::new().hash("T0P+"));
    }

    #[test]
    fn the_signature_in_a_lark_body_is_a_hash_too() {
        let salt = Salt::new();
        for (written, sign) in [(r#"{"sign":"ab+c=","n":1}"#, "ab+c="), (r#"{"sign":"ab\/c=","n":1}"#, "ab/c=")] {
            let request = Received::post("/open-apis/bot/v2/hook/T0K3N/", written);
            assert_eq!(request.shown_body(&salt).unwrap(), format!(r#"{{"sign":"{}","n":1}}"#, salt.hash(sign)));
            assert_eq!(request.shown_target(&salt), format!("/open-apis/bot/v2/hook/{}/", salt.hash("T0K3N")));
            assert!(!format!("{request:?}").contains("T0K3N"));
        }
    }
}
