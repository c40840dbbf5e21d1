use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::words::{Algorithm, Content, Encoding, KeyEncoding, Preset, Word};

use super::*;
use crate::words::keys;

/// A request that can be taken apart and tampered with.
#[derive(Clone)]
struct Sent {
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn new(url: &str, headers: &Json, body: &str) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers.as_object().into_iter().flatten() {
            map.insert(name.parse::<HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap());
        }
        Self { url: url.to_owned(), headers: map, body: body.as_bytes().to_vec() }
    }

    fn signed(&self) -> Signed<'_> {
        Signed { method: &Method::POST, url: &self.url, headers: &self.headers, body: &self.body }
    }

    fn sign(mut self, scheme: &Json, id: &str, now: Timestamp) -> Self {
        let made = sign(&self::scheme(scheme), &self.signed(), id, now).unwrap();
        for (name, value) in made.headers {
            self.headers.insert(name, value);
        }
        self.url = made.url.unwrap_or(self.url);
        self
    }

    fn verify(&self, scheme: &Json, now: Timestamp) -> Result<Verified, Refused> {
        verify(&self::scheme(scheme), &self.signed(), now)
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }
}

fn scheme(value: &Json) -> Scheme {
    Scheme::from_json(value).unwrap_or_else(|why| panic!("{value}: {why}"))
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

const NOW: i64 = 1_700_000_000;

fn json_request() -> Sent {
    Sent::new("https://h.example/p?q=1", &json!({"content-type": "application/json"}), r#"{"a":"1","b":{"c":2}}"#)
}

#[test]
fn every_vector_is_signed_and_verified() {
    let vectors: Json = serde_json::from_str(include_str!("../../../tests/vectors.json")).unwrap();
    let vectors = vectors["signatures"].as_array().unwrap();
    assert_eq!(vectors.len(), 23);
    for vector in vectors {
        let (request, expect) = (&vector["request"], &vector["expect"]);
        let name = &vector["name"];
        let now = seconds(vector["time"].as_i64().unwrap_or(NOW));
        let plain = Sent::new(request["url"].as_str().unwrap(), &request["headers"], request["body"].as_str().unwrap());
        let sent = plain.sign(&vector["sign"], vector["id"].as_str().unwrap_or("id"), now);
        for (header, value) in expect["headers"].as_object().unwrap() {
            assert_eq!(sent.headers[header.as_str()], value.as_str().unwrap(), "{name} {header}");
        }
        if let Some(url) = expect["url"].as_str() {
            assert_eq!(sent.url, url, "{name}");
        }
        sent.verify(&vector["sign"], now).unwrap_or_else(|why| panic!("{name}: {why}"));
        if let Some(public) = vector["public_key"].as_str() {
            sent.verify(&json!({"preset": "standard-webhooks", "key": public}), now).unwrap();
        }
    }
}

#[test]
fn what_matched_is_said() {
    let ppg = |signed: &str, encoding: &str| json!({"preset": "pushpushgo", "key": "p1", "signed": signed, "encoding": encoding});
    let auto = json!({"preset": "pushpushgo", "key": ["p0", "p1"]});
    let mut seen = 0;
    for signed in ["body", "url+body", "url+sorted-params", "url+form"] {
        for encoding in ["hex", "base64"] {
            let verified = json_request().sign(&ppg(signed, encoding), "id", seconds(NOW)).verify(&auto, seconds(NOW));
            let verified = verified.unwrap();
            // The members of this body are sorted already, so both ways to take them are the same bytes.
            let signed = if signed == "url+form" { "url+sorted-params" } else { signed };
            assert_eq!((verified.how, verified.key), (format!("{signed}, hmac-sha1, {encoding}"), 2));
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn keys_are_exchanged_without_a_gap() {
    for preset in ["standard-webhooks", "stripe", "github", "twilio", "grafana", "pushpushgo"] {
        // Both are base64 of 24 bytes, and any text.
        let (old, new) = ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let with = |key: Json| json!({"preset": preset, "key": key});
        let sent = json_request().sign(&with(json!([new, old])), "id", seconds(NOW));
        assert_eq!(
            sent.verify(&with(json!([old, new])), seconds(NOW)).unwrap().key,
            if ["standard-webhooks", "stripe"].contains(&preset) { 1 } else { 2 },
            "{preset}"
        );
        sent.verify(&with(json!(new)), seconds(NOW)).unwrap();
        let only_old = sent.verify(&with(json!(old)), seconds(NOW));
        // Where the header carries several signatures, who has not changed yet still accepts.
        assert_eq!(only_old.is_ok(), ["standard-webhooks", "stripe"].contains(&preset), "{preset}");
        assert!(matches!(sent.verify(&with(json!("b3RoZXI=")), seconds(NOW)), Err(Refused::Wrong(_))), "{preset}");
    }
}

#[test]
fn the_clock_may_be_off_by_the_tolerance_in_both_directions() {
    let schemes = [
        (json!({"preset": "standard-webhooks", "key": "whsec_c2VjcmV0"}), 300),
        (json!({"preset": "stripe", "key": "k", "tolerance": "10s"}), 10),
        (json!({"preset": "grafana", "key": "k", "timestamp_header": "x-t", "tolerance": "1h"}), 3600),
    ];
    for (scheme, tolerance) in schemes {
        let sent = json_request().sign(&scheme, "id", seconds(NOW));
        for off in [0, tolerance, -tolerance] {
            let verified = sent.verify(&scheme, seconds(NOW + off)).unwrap();
            assert_eq!(verified.timestamp, Some(seconds(NOW)));
        }
        for (off, word) in [(tolerance + 1, "behind"), (-tolerance - 1, "ahead of")] {
            let refused = sent.verify(&scheme, seconds(NOW + off)).unwrap_err();
            assert!(matches!(&refused, Refused::Stale(why) if why.contains(word)), "{refused:?}");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let scheme = json!({"preset": "standard-webhooks", "key": "whsec_c2VjcmV0"});
    let sent = json_request().sign(&scheme, "id", seconds(NOW));
    for name in ["webhook-signature", "webhook-id", "webhook-timestamp"] {
        let mut without = sent.clone();
        without.headers.remove(name);
        let refused = without.verify(&scheme, seconds(NOW)).unwrap_err();
        assert!(matches!(&refused, Refused::Missing(why) if why.contains(name)), "{refused:?}");
        let mut twice = sent.clone();
        let value = twice.headers[name].clone();
        twice.headers.append(HeaderName::from_static(name), value);
        let refused = twice.verify(&scheme, seconds(NOW)).unwrap_err();
        assert!(matches!(&refused, Refused::Wrong(why) if why.contains("twice")), "{refused:?}");
    }
    let stripe = json!({"preset": "stripe", "key": "k"});
    for header in ["v1=00", "t=1,t=2,v1=00", "nonsense"] {
        let refused = json_request().with("stripe-signature", header).verify(&stripe, seconds(NOW)).unwrap_err();
        assert!(matches!(refused, Refused::Missing(_)), "{header}: {refused:?}");
    }
}

#[test]
fn the_id_of_the_request_stays_and_has_no_dots() {
    let scheme = json!({"preset": "standard-webhooks", "key": "whsec_c2VjcmV0"});
    let own = json_request().with("webhook-id", "mine").sign(&scheme, "other", seconds(NOW));
    assert_eq!(own.headers["webhook-id"], "mine");
    assert_eq!(own.verify(&scheme, seconds(NOW)).unwrap().id.as_deref(), Some("mine"));
    let made = json_request().sign(&scheme, "other", seconds(NOW));
    assert_eq!(made.headers["webhook-id"], "other");
    let dotted = sign(&self::scheme(&scheme), &json_request().signed(), "a.1", seconds(NOW)).unwrap_err();
    assert!(dotted.contains("dot"), "{dotted}");
    assert!(made.with("webhook-id", "a.1").verify(&scheme, seconds(NOW)).is_err());
}

#[test]
fn a_proxy_may_stand_in_between() {
    let signer = json!({"preset": "pushpushgo", "key": "p1", "signed": "url+body"});
    let mut sent = json_request();
    sent.url = "https://hooks.example.com/base/in/ppg?env=b&a=1".to_owned();
    let mut sent = sent.sign(&signer, "id", seconds(NOW));
    let inner = |base: &str| json!({"preset": "pushpushgo", "key": "p1", "signed": "url+body", "public_url": base});
    for (base, url) in [
        ("https://hooks.example.com/base", "http://127.0.0.1:8470/in/ppg?env=b&a=1"),
        ("https://hooks.example.com/base/", "/in/ppg?env=b&a=1"),
        ("https://hooks.example.com:443/base", "/in/ppg?env=b&a=1"),
        ("https://hooks.example.com", "http://[::1]:8470/base/in/ppg?env=b&a=1"),
    ] {
        sent.url = url.to_owned();
        sent.verify(&inner(base), seconds(NOW)).unwrap_or_else(|why| panic!("{base} {url}: {why}"));
    }
    for url in ["/in/ppg?a=1&env=b", "/in/ppg?env=b&a=2", "/in/ppg", "/in/ppg?env=b&a=1#x"] {
        sent.url = url.to_owned();
        assert!(sent.verify(&inner("https://hooks.example.com/base"), seconds(NOW)).is_err(), "{url}");
    }
}

#[test]
fn a_port_that_goes_without_saying_may_be_said() {
    let scheme = json!({"preset": "twilio", "key": "k"});
    for (signed, arrived, same) in [
        ("https://h.example/p", "https://h.example:443/p", true),
        ("https://h.example:443/p", "https://h.example/p", true),
        ("http://h.example:80/p", "http://h.example/p", true),
        ("https://[::1]/p", "https://[::1]:443/p", true),
        ("https://h.example:8443/p", "https://h.example/p", false),
        ("https://h.example:80/p", "https://h.example/p", false),
        ("http://h.example/p", "https://h.example/p", false),
    ] {
        let mut sent = Sent::new(signed, &json!({}), "").sign(&scheme, "id", seconds(NOW));
        sent.url = arrived.to_owned();
        assert_eq!(sent.verify(&scheme, seconds(NOW)).is_ok(), same, "{signed} {arrived}");
    }
}

#[test]
fn a_body_that_nothing_covers_is_refused() {
    let scheme = json!({"preset": "twilio", "key": "k"});
    let sent = json_request().sign(&scheme, "id", seconds(NOW));
    let (_, digest) = sent.url.split_once("&bodySHA256=").unwrap();
    assert_eq!(digest.len(), 64);
    sent.verify(&scheme, seconds(NOW)).unwrap();
    let mut other = sent.clone();
    other.body.push(b' ');
    assert!(matches!(other.verify(&scheme, seconds(NOW)), Err(Refused::Wrong(why)) if why.contains("digest")));
    let bare = Sent::new("https://h.example/", &json!({}), "").sign(&scheme, "id", seconds(NOW));
    let smuggled = Sent { body: b"{}".to_vec(), ..bare };
    assert!(smuggled.verify(&scheme, seconds(NOW)).is_err());
}

#[test]
fn fields_that_could_be_mistaken_for_others_are_refused() {
    let scheme = json!({"preset": "pushpushgo", "key": "k", "signed": "url+sorted-params"});
    let form = json!({"content-type": "application/x-www-form-urlencoded; charset=utf-8"});
    let sent = Sent::new("https://h.example/", &form, "b=2&a=%FF+1&a=%FF+1&c=").sign(&scheme, "id", seconds(NOW));
    for (body, same) in [
        ("c=&a=%ff%201&b=2", true),
        ("b=2&a=%FE+1&c=", false),
        ("b=2&a=%FF+1&c", false),
        ("b&2=&a=%FF+1&c=", false),
        ("b=2&a=%FF+1&a=%FF+1&d=", false),
    ] {
        let other = Sent { body: body.as_bytes().to_vec(), ..sent.clone() };
        assert_eq!(other.verify(&scheme, seconds(NOW)).is_ok(), same, "{body}");
    }
    let refused = |body: &str| {
        let sent = Sent::new("https://h.example/", &json!({"content-type": "application/json"}), body);
        sign(&self::scheme(&scheme), &sent.signed(), "id", seconds(NOW)).unwrap_err()
    };
    assert!(refused(r#"{"a":1,"a":2}"#).contains("twice"));
    assert!(refused("[1]").contains("neither a form nor a JSON object"));
    assert!(refused("{").contains("this JSON has none"));
}

#[test]
fn a_grammar_that_is_wrong_says_what_to_do() {
    for (value, said) in [
        (json!("github"), "a signature is a map"),
        (json!({}), "add `header: NAME`, or a `preset`"),
        (json!({"preset": "github"}), "a signature needs a key"),
        (json!({"preset": "github", "key": ""}), "the key is empty"),
        (json!({"preset": "github", "key": []}), "a signature needs a key"),
        (json!({"preset": "github", "key": 5}), "a key is a text"),
        (json!({"preset": "github", "key": vec!["k"; 17]}), "more than the 16"),
        (json!({"preset": "guthub", "key": "k"}), "did you mean `github`?"),
        (json!({"preset": "github", "secret": "k"}), "did you mean `key`?"),
        (json!({"preset": "github", "key": "k", "heeder": "x"}), "did you mean `header`?"),
        (json!({"preset": "github", "key": "k", "header": "a b"}), "cannot be the name of a header"),
        (json!({"header": "x", "key": "k", "algorithm": "sha256"}), "did you mean `hmac-sha256`?"),
        (json!({"header": "x", "key": "k", "algorithm": "HMAC_SHA1"}), "did you mean `hmac-sha1`?"),
        (json!({"header": "x", "key": "k", "algorithm": "md5"}), "use one of hmac-sha1"),
        (json!({"header": "x", "key": "k", "signed": ["body", "url+boby"]}), "did you mean `url+body`?"),
        (json!({"header": "x", "key": "k", "signed": ["body", "body"]}), "stands there twice"),
        (json!({"header": "x", "key": "k", "signed": "timestamp.body"}), "add `timestamp_header: NAME`"),
        (json!({"header": "x", "key": "k", "encoding": "base46"}), "did you mean `base64`?"),
        (json!({"header": "x", "key": "k", "tolerance": "5m"}), "`tolerance` says nothing here"),
        (json!({"header": "x", "key": "k", "id_header": "webhook-id"}), "`id_header` says nothing here"),
        (json!({"preset": "stripe", "key": "k", "tolerance": "5"}), "no duration"),
        (json!({"preset": "stripe", "key": "k", "tolerance": "2d"}), "not between 1s and 1d"),
        (json!({"preset": "stripe", "key": "k", "tolerance": 300}), "must be a text"),
        (json!({"preset": "stripe", "key": "k", "signed": "body"}), "must be signed too"),
        (json!({"preset": "stripe", "key": "k", "prefix": "v2="}), "remove `prefix`"),
        (json!({"header": "x", "key": "k", "prefix": "a\nb"}), "a prefix stands in a header"),
        (json!({"header": "x", "key": "k", "public_url": "hooks.example.com"}), "https://hooks.example.com"),
        (json!({"header": "x", "key": "k", "algorithm": "ed25519", "key_encoding": "text"}), "key_encoding: base64"),
        (json!({"header": "x", "key": "a2V5", "algorithm": "ed25519"}), "32 bytes"),
        (json!({"header": "x", "key": "k!", "key_encoding": "base64"}), "not base64"),
        (json!({"header": "x", "key": "0g", "key_encoding": "hex"}), "not hexadecimal"),
        (json!({"preset": "standard-webhooks", "key": "whsk_c2VjcmV0"}), "32 bytes"),
        (json!({"preset": "standard-webhooks", "key": ["c2VjcmV0", "whsec_?"]}), "key 2 of 2"),
        (json!({"preset": "standard-webhooks", "key": "whsk_c2VjcmV0", "algorithm": "hmac-sha256"}), "for ed25519"),
    ] {
        let error = Scheme::from_json(&value).expect_err(&value.to_string());
        assert!(error.contains(said), "{value}: {error}");
    }
}

#[test]
fn what_is_not_there_may_be_nothing_or_empty() {
    let value = json!({"preset": "github", "key": "k", "header": null, "signed": [], "encoding": []});
    json_request()
        .sign(&value, "id", seconds(NOW))
        .verify(&json!({"preset": "github", "key": "k"}), seconds(NOW))
        .unwrap();
}

#[test]
fn a_key_is_never_shown() {
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    let shown = format!("{:?}", scheme(&json!({"preset": "github", "key": secret})));
    assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
    let error = Scheme::from_json(&json!({"preset": "standard-webhooks", "key": format!("{secret}!")})).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
    let public = json!({"preset": "standard-webhooks", "key": "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="});
    let error = sign(&scheme(&public), &json_request().signed(), "id", seconds(NOW)).unwrap_err();
    assert!(error.contains("can only verify"), "{error}");
}

#[test]
fn the_example_of_the_specification_is_no_vector() {
    let vectors: Json = serde_json::from_str(include_str!("../../../tests/vectors.json")).unwrap();
    let example = &vectors["refused"]["example_of_the_specification"];
    let keys: Vec<_> = vectors["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|vector| {
            (vector["sign"]["preset"] == "standard-webhooks")
                .then(|| vector["public_key"].as_str().or(vector["sign"]["key"].as_str()))
                .flatten()
        })
        .collect();
    assert_eq!(keys.len(), 3);
    let sent = Sent::new("https://h.example/", &json!({}), r#"{"test": 2432232314}"#)
        .with("webhook-id", example["id"].as_str().unwrap())
        .with("webhook-timestamp", &example["timestamp"].to_string())
        .with("webhook-signature", example["signature"].as_str().unwrap());
    let now = seconds(example["timestamp"].as_i64().unwrap());
    let refused = sent.verify(&json!({"preset": "standard-webhooks", "key": keys}), now).unwrap_err();
    assert!(matches!(refused, Refused::Wrong(_)), "{refused:?}");
}

#[test]
fn the_table_of_keys_has_every_word_of_the_grammar() {
    fn words<W: Word>() -> Vec<&'static str> {
        W::ALL.iter().map(|(word, _)| *word).collect()
    }
    assert_eq!(words::<Preset>(), keys::PRESETS);
    assert_eq!(words::<Algorithm>(), keys::ALGORITHMS);
    assert_eq!(words::<Content>(), keys::CONTENTS);
    assert_eq!(words::<Encoding>(), keys::ENCODINGS);
    assert_eq!(words::<KeyEncoding>(), keys::KEY_ENCODINGS);
}
