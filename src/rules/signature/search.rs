//! Which way of signing fits a request: for a person who has a request and a key, and no documentation.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::words::{Content, Encoding, Preset, Word};
use super::{Outline, Scheme, Signed, Verified, verify};
use crate::words::secret::Secret;

/// A way that fits.
#[derive(Clone, Debug)]
pub struct Match {
    /// In the grammar, without the key.
    pub map: Map<String, Json>,
    /// What was verified. Its time is not compared with a clock.
    pub verified: Verified,
    /// What had to be done to the request before it fitted, for a person; mostly nothing.
    pub after: Option<&'static str>,
}

/// The shortest way to say how a request was signed: a preset, else spelled out.
pub fn search(request: &Signed<'_>, keys: &[Secret]) -> Option<Match> {
    let ways = ways(request.headers);
    // What people do to a body and a URL when they copy them.
    let without_end = request.body.strip_suffix(b"\n");
    let cut =
        without_end.map(|body| (Signed { body, ..*request }, "the line break at the end of the body was taken away"));
    let ended = [request.body, b"\n"].concat();
    let ended = (Signed { body: &ended, ..*request }, "a line break was put to the end of the body");
    let other = request.url.strip_prefix("https://").map(|rest| format!("http://{rest}"));
    let other = other.or_else(|| request.url.strip_prefix("http://").map(|rest| format!("https://{rest}")));
    let other = other.as_deref().map(|url| (Signed { url, ..*request }, "http and https were exchanged in the URL"));
    let slash = match request.url.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{}/", request.url),
    };
    let slash = (Signed { url: &slash, ..*request }, "the slash at the end of the URL was taken away or added");
    let mended =
        cut.into_iter().chain([ended]).chain(other).chain([slash]).map(|(request, after)| (request, Some(after)));
    let mut requests = [(*request, None)].into_iter().chain(mended);
    requests.find_map(|(request, after)| {
        ways.iter().find_map(|way| {
            let verified = fits(way, &request, keys)?;
            Some(Match { map: pinned(way, &verified), verified, after })
        })
    })
}

fn fits(way: &Map<String, Json>, request: &Signed<'_>, keys: &[Secret]) -> Option<Verified> {
    let outline = Arc::new(Outline::read(way).ok()?);
    // Each by itself: one that cannot be read this way does not stand in the way of the others.
    keys.iter().enumerate().find_map(|(number, key)| {
        let scheme = Scheme::new(outline.clone(), std::slice::from_ref(key)).ok()?;
        let name = scheme.outline.timestamp_header.as_ref();
        let beside = name.and_then(|name| request.headers.get(name)).and_then(|value| seconds(value.to_str().ok()?));
        let inside = || {
            let header = request.headers.get(&scheme.outline.header)?.to_str().ok()?;
            header.split(',').find_map(|pair| seconds(pair.trim().strip_prefix("t=")?))
        };
        let now = beside.or_else(inside).unwrap_or(Timestamp::UNIX_EPOCH);
        let verified = verify(&scheme, request, now).ok()?;
        Some(Verified { key: number + 1, ..verified })
    })
}

/// Of what was tried at once, only what fitted.
fn pinned(way: &Map<String, Json>, verified: &Verified) -> Map<String, Json> {
    let mut map = way.clone();
    let preset = way.get("preset").and_then(Json::as_str);
    for (field, word) in [("signed", verified.signed), ("encoding", verified.encoding)] {
        let many = matches!(way.get(field), Some(Json::Array(_)));
        if many || preset == Some(Preset::PushPushGo.word()) {
            map.insert(field.to_owned(), json!(word));
        }
    }
    for (field, usual) in [("signed", Content::Body.word()), ("encoding", Encoding::Hex.word())] {
        if preset.is_none() && map.get(field).is_some_and(|word| word == usual) {
            map.remove(field);
        }
    }
    map
}

/// Everything that is tried, the simplest first.
fn ways(headers: &HeaderMap) -> Vec<Map<String, Json>> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let usual = [ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT];
    let names: Vec<_> = headers.keys().filter(|name| !usual.contains(name)).collect();
    let times: Vec<_> = names.iter().filter(|name| seconds(text(name)).is_some()).collect();
    let mut ways = Vec::new();
    for (preset, _) in Preset::ALL {
        ways.push(map(json!({"preset": preset})));
    }
    for time in &times {
        ways.push(map(json!({"preset": Preset::Grafana.word(), "timestamp_header": time.as_str()})));
    }
    for name in &names {
        for (prefix, algorithms) in read_as(text(name)) {
            for algorithm in algorithms {
                for key_encoding in ["text", "base64", "hex"] {
                    let mut way =
                        map(json!({"header": name.as_str(), "algorithm": algorithm, "key_encoding": key_encoding}));
                    if key_encoding == "text" {
                        way.remove("key_encoding");
                    }
                    if !prefix.is_empty() {
                        way.insert("prefix".to_owned(), json!(prefix));
                    }
                    way.insert("encoding".to_owned(), json!(["hex", "base64"]));
                    ways.extend(contents(&way, &names, &times));
                }
            }
        }
    }
    ways
}

/// One way with everything that may be signed.
fn contents(way: &Map<String, Json>, names: &[&HeaderName], times: &[&&HeaderName]) -> Vec<Map<String, Json>> {
    let with = |fields: Json| map(json!(way)).into_iter().chain(map(fields)).collect::<Map<_, _>>();
    let mut ways = vec![with(json!({"signed": ["body", "url+body", "url+sorted-params", "url+form"]}))];
    for time in times {
        let time = time.as_str();
        ways.push(with(json!({"signed": ["timestamp.body", "timestamp:body"], "timestamp_header": time})));
        for id in names.iter().filter(|id| id.as_str() != time) {
            ways.push(with(json!({"signed": "id.timestamp.body", "timestamp_header": time, "id_header": id.as_str()})));
        }
    }
    ways
}

/// What may stand in front of a signature in this value, and which algorithms make one of that length.
fn read_as(value: &str) -> Vec<(&str, &'static [&'static str])> {
    let starts = [0].into_iter().chain(value.match_indices(['=', ',', ':', ' ']).map(|(at, _)| at + 1));
    let lengths = |at: usize| {
        let text = value.get(at..)?;
        let length = [Encoding::Hex, Encoding::Base64].into_iter().find_map(|encoding| {
            let bytes = super::verify::decoded(text, encoding)?;
            matches!(bytes.len(), 20 | 32 | 64).then_some(bytes.len())
        });
        let algorithms: &[&str] = match length? {
            20 => &["hmac-sha1"],
            32 => &["hmac-sha256"],
            _ => &["hmac-sha512", "ed25519"],
        };
        Some((&value[..at], algorithms))
    };
    starts.filter_map(lengths).collect()
}

/// Seconds since 1970, of our time.
fn seconds(text: &str) -> Option<Timestamp> {
    let plausible = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    plausible.then(|| Timestamp::from_second(text.parse().ok()?).ok()).flatten()
}

fn map(value: Json) -> Map<String, Json> {
    if let Json::Object(map) = value { map } else { Map::new() }
}
