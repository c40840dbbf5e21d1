//! One byte is enough: whatever is changed on the way is refused, whatever is not is accepted.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider::rules::signature::{Refused, Signed, Verified, sign, verify};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
struct Sent {
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn signed(&self) -> Signed<'_> {
        Signed { method: &Method::POST, url: &self.url, headers: &self.headers, body: &self.body }
    }

    fn sign(mut self, scheme: &Scheme, id: &str, now: Timestamp) -> Self {
        let made = sign(scheme, &self.signed(), id, now).unwrap_or_else(|why| panic!("{why}: {self:?}"));
        for (name, value) in made.headers {
            self.headers.insert(name, value);
        }
        self.url = made.url.unwrap_or(self.url);
        self
    }

    fn verify(&self, scheme: &Scheme, now: Timestamp) -> Result<Verified, Refused> {
        verify(scheme, &self.signed(), now)
    }

    /// The fields that a receiver reads, each once, in order where the order is signed.
    fn fields(&self, sorted: bool) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = |text: &[u8]| -> Vec<u8> {
            let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
            percent_encoding::percent_decode(&spaced).collect()
        };
        let mut fields: Vec<_> = if self.headers["content-type"] == "application/json" {
            let members: serde_json::Map<String, Json> = serde_json::from_slice(&self.body).ok()?;
            members.iter().map(|(name, value)| (name.clone().into_bytes(), value.to_string().into_bytes())).collect()
        } else {
            let pairs = self.body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
            let pair = |pair: &[u8]| {
                let at = pair.iter().position(|byte| *byte == b'=')?;
                Some((bytes(&pair[..at]), bytes(&pair[at + 1..])))
            };
            pairs.map(pair).collect::<Option<_>>()?
        };
        if sorted {
            fields.sort();
            fields.dedup();
        }
        Some(fields)
    }
}

/// A way to sign, with what it needs to know to be tampered with.
#[derive(Debug)]
struct Way {
    grammar: Json,
    signed: &'static str,
    header: &'static str,
    hex: bool,
}

const KEY: &str = "k3y of the sender";
/// A seed with its public key, as both sides of a test need it.
const PAIR: &str = "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const SIGNED: [&str; 7] =
    ["body", "timestamp.body", "timestamp:body", "id.timestamp.body", "url+body", "url+sorted-params", "url+form"];

/// Every combination spelled out, and every preset.
fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for signed in SIGNED {
        for algorithm in ["hmac-sha1", "hmac-sha256", "hmac-sha512", "ed25519"] {
            for encoding in ["hex", "base64"] {
                for prefix in ["", "v0="] {
                    let key = if algorithm == "ed25519" { PAIR } else { KEY };
                    let mut grammar = json!({
                        "header": "x-sig", "algorithm": algorithm, "signed": signed, "encoding": encoding, "key": key,
                    });
                    if !prefix.is_empty() {
                        grammar["prefix"] = json!(prefix);
                    }
                    if signed.contains("timestamp") {
                        grammar["timestamp_header"] = json!("webhook-timestamp");
                    }
                    ways.push(Way { grammar, signed, header: "x-sig", hex: encoding == "hex" });
                }
            }
        }
    }
    let preset = |preset: &str, key: &str, signed, header, hex| Way {
        grammar: json!({"preset": preset, "key": key}),
        signed,
        header,
        hex,
    };
    ways.extend([
        preset("standard-webhooks", "whsec_c2VjcmV0", "id.timestamp.body", "webhook-signature", false),
        preset("standard-webhooks", &format!("whsk_{PAIR}"), "id.timestamp.body", "webhook-signature", false),
        preset("gitlab", "c2VjcmV0", "id.timestamp.body", "webhook-signature", false),
        preset("github", KEY, "body", "x-hub-signature-256", true),
        preset("github-sha1", KEY, "body", "x-hub-signature", true),
        preset("stripe", KEY, "timestamp.body in the header", "stripe-signature", true),
        preset("twilio", KEY, "url+sorted-params", "x-twilio-signature", false),
        preset("grafana", KEY, "body", "x-grafana-alerting-signature", true),
    ]);
    for signed in ["body", "url+body", "url+sorted-params", "url+form"] {
        let mut way = preset("pushpushgo", KEY, signed, "x-ppg-signature", true);
        way.grammar["signed"] = json!(signed);
        ways.push(way);
    }
    ways
}

fn request() -> impl Strategy<Value = (Sent, String, i64)> {
    let word = "[a-zA-Z0-9 _é应😀\"\\\\%&=+/-]{0,8}";
    let name = "[a-z%é应]{1,5}";
    let fields = proptest::collection::btree_map(name, word, 1..5);
    let path = "[a-z0-9/]{0,12}";
    let query = proptest::option::of("[a-z]{1,4}=[a-z0-9]{0,6}(&[a-z]{1,4}=%[2-7][0-9A-F])?");
    (fields, any::<bool>(), path, query, "[a-zA-Z0-9_-]{1,20}", 1_000_000_000_i64..9_999_999_999).prop_map(
        |(fields, as_form, path, query, id, time)| {
            let (body, content_type) = if as_form {
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                (form, "application/x-www-form-urlencoded")
            } else {
                (json!(fields).to_string(), "application/json")
            };
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(content_type));
            let url = format!("https://hooks.example.com/{path}{query}");
            (Sent { url, headers, body: body.into_bytes() }, id, time)
        },
    )
}

/// Another character in place of the one at `at`.
fn other_text(text: &str, at: Index, to: u8, alphabet: &[u8]) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    let new = alphabet[usize::from(to) % alphabet.len()];
    let changed = bytes[at] != new;
    bytes[at] = new;
    changed.then(|| String::from_utf8(bytes).expect("ASCII"))
}

const VISIBLE: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=,+/.-_:;~";
const OF_A_URL: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=&?/.-_~%";
const DIGITS: &[u8] = b"0123456789";

/// More of them, and for longer: `POSTRIDER_TAMPERINGS=2000`.
fn cases() -> ProptestConfig {
    let asked = std::env::var("POSTRIDER_TAMPERINGS").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(12))
}

/// Each way with its keys read.
static WAYS: LazyLock<Vec<(Way, Scheme)>> = LazyLock::new(|| {
    let ready = |way: Way| {
        let scheme = Scheme::from_json(&way.grammar).expect("a scheme");
        (way, scheme)
    };
    ways().into_iter().map(ready).collect()
});

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn one_changed_byte_is_refused((sent, id, time) in request(), place: Index, to in 1_u8..) {
        let now = at(time);
        assert_eq!(WAYS.len(), 7 * 4 * 2 * 2 + 12);
        for (way, scheme) in WAYS.iter() {
            let sent = sent.clone().sign(scheme, &id, now);
            let verified = sent.verify(scheme, now);
            prop_assert!(verified.is_ok(), "{way:?}: {verified:?}");
            for (what, changed) in tampered(&sent, way, place, to) {
                let refused = changed.verify(scheme, now);
                // Where fields are signed, another spelling of the same fields is the same request.
                let same = what == "body" && way.signed.starts_with("url+") && way.signed != "url+body" && {
                    let sorted = way.signed == "url+sorted-params";
                    sent.fields(sorted).is_some() && sent.fields(sorted) == changed.fields(sorted)
                };
                prop_assert!(refused.is_err() || same, "{what} of {way:?}: {sent:?} became {changed:?}");
            }
        }
    }

    #[test]
    fn any_of_several_keys_is_accepted_and_no_other((sent, id, time) in request(), which: Index) {
        let now = at(time);
        let keys = ["Zmlyc3Q=", "c2Vjb25k", "dGhpcmQ=", "Zm91cnRo"];
        let key = which.get(&keys);
        for preset in ["standard-webhooks", "github", "github-sha1", "stripe", "twilio", "grafana", "pushpushgo"] {
            let scheme = |key: Json| Scheme::from_json(&json!({"preset": preset, "key": key})).expect("a scheme");
            let sent = sent.clone().sign(&scheme(json!(key)), &id, now);
            let verified = sent.verify(&scheme(json!(keys)), now).expect("one of them fits");
            prop_assert_eq!(Some(*key), keys.get(verified.key - 1).copied());
            let others: Vec<_> = keys.into_iter().filter(|other| other != key).collect();
            prop_assert!(matches!(sent.verify(&scheme(json!(others)), now), Err(Refused::Wrong(_))), "{preset}");
        }
    }

    #[test]
    fn only_a_clock_within_the_tolerance_accepts((sent, id, time) in request(), tolerance in 1_i64..3600, off in -7200_i64..7200) {
        for preset in ["standard-webhooks", "stripe"] {
            let grammar = json!({"preset": preset, "key": "c2VjcmV0", "tolerance": format!("{tolerance}s")});
            let scheme = Scheme::from_json(&grammar).expect("a scheme");
            let verified = sent.clone().sign(&scheme, &id, at(time)).verify(&scheme, at(time + off));
            match verified {
                Ok(_) => prop_assert!(off.abs() <= tolerance),
                Err(Refused::Stale(why)) => prop_assert!(off.abs() > tolerance, "{why}"),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

/// The request with one byte changed in each place that is signed.
fn tampered(sent: &Sent, way: &Way, at: Index, to: u8) -> Vec<(&'static str, Sent)> {
    let mut all = Vec::new();
    let mut body = sent.clone();
    let index = at.index(body.body.len());
    body.body[index] ^= to;
    all.push(("body", body));
    let mut headers = vec![("signature", way.header, VISIBLE)];
    if way.signed.contains("timestamp") && way.header != "stripe-signature" {
        headers.push(("timestamp", "webhook-timestamp", DIGITS));
    }
    if way.signed.starts_with("id.") {
        headers.push(("id", "webhook-id", VISIBLE));
    }
    for (what, name, alphabet) in headers {
        let value = sent.headers[name].to_str().expect("text");
        // Hexadecimal digits of either case are the same signature.
        let same = |other: &String| way.hex && what == "signature" && other.eq_ignore_ascii_case(value);
        if let Some(other) = other_text(value, at, to, alphabet).filter(|other| !same(other)) {
            let mut changed = sent.clone();
            changed.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&other).expect("a value"));
            all.push((what, changed));
        }
    }
    if way.signed.starts_with("url") {
        let (origin, path) = sent.url.split_at("https://hooks.example.com".len());
        if let Some(other) = other_text(path, at, to, OF_A_URL) {
            all.push(("url", Sent { url: format!("{origin}{other}"), ..sent.clone() }));
        }
        if let Some(other) = other_text(origin, at, to, OF_A_URL) {
            all.push(("host", Sent { url: format!("{other}{path}"), ..sent.clone() }));
        }
    }
    all
}
