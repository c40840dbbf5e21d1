//! Verifying a request on its raw bytes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::content::{Parts, is_form, pieces};
use super::outgoing::{digest_in, version};
use super::read::{Layout, Outline};
use super::words::{Content, Encoding, Word};
use super::{Scheme, Signed, from_hex, to_hex};
use crate::rules::yaml::reader::show_duration;
use crate::words::limits;
use crate::words::secret::equal;

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which combination matched, for a person: `url+body, hmac-sha1, hex`.
    pub how: String,
    /// What was signed, in the word of the grammar.
    pub signed: &'static str,
    /// The algorithm, likewise.
    pub algorithm: &'static str,
    /// The encoding, likewise.
    pub encoding: &'static str,
    /// Which of the keys, counted from 1.
    pub key: usize,
    /// The signature's bytes: the same request again has the same, but for its encoding.
    pub signature: Vec<u8>,
    /// The id, where one is signed.
    pub id: Option<String>,
    /// The sender's time, where one is signed.
    pub timestamp: Option<Timestamp>,
}

/// Why a request was not accepted, in words without a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no signature, or not what it needs.
    #[error("{0}")]
    Missing(String),
    /// The signature is right, and its time is too far from now.
    #[error("{0}")]
    Stale(String),
    /// The signature is not right.
    #[error("{0}")]
    Wrong(String),
}

/// Verifies a request: any of the keys, of what may be signed and of the encodings will do.
///
/// # Errors
/// Why it is refused.
pub fn verify(scheme: &Scheme, request: &Signed<'_>, now: Timestamp) -> Result<Verified, Refused> {
    let outline = &scheme.outline;
    let header = Header::read(outline, request.headers)?;
    let timestamp = match (header.timestamp, &outline.timestamp_header) {
        (Some(beside), _) => Some(beside),
        (None, Some(name)) => only(request.headers, name)?,
        (None, None) => None,
    };
    let id = if outline.has_id() { only(request.headers, &outline.id_header)? } else { None };
    // The most helpful reason to refuse; a signature that fits nowhere is the least.
    let mut refused = None;
    for content in &outline.signed {
        if content.has_timestamp() && timestamp.is_none() {
            let name = outline.timestamp_header.as_ref().map_or("the timestamp", HeaderName::as_str);
            refused.get_or_insert(Refused::Missing(format!("there is no header {name}")));
            continue;
        }
        if content.has_id() && id.is_none_or(|id| id.is_empty() || id.contains('.')) {
            let name = &outline.id_header;
            refused.get_or_insert(Refused::Missing(format!("there is no header {name} with an id without dots")));
            continue;
        }
        let (id, stamp) = (id.unwrap_or_default(), timestamp.unwrap_or_default());
        match matching(scheme, request, &header, *content, id, stamp) {
            Err(why) => _ = refused.get_or_insert(Refused::Wrong(why)),
            Ok(None) => {}
            Ok(Some(found)) => {
                let timestamp = content.has_timestamp().then(|| fresh(stamp, outline, now)).transpose()?;
                let id = content.has_id().then(|| id.to_owned());
                return Ok(Verified { id, timestamp, ..found });
            }
        }
    }
    Err(refused.unwrap_or_else(|| wrong(outline)))
}

fn wrong(outline: &Outline) -> Refused {
    let ways: Vec<_> = outline.signed.iter().map(|content| content.word()).collect();
    Refused::Wrong(format!(
        "the signature in {} fits neither key nor content (tried: {})",
        outline.header,
        ways.join(", ")
    ))
}

/// The first signature of the header that fits.
fn matching(
    scheme: &Scheme,
    request: &Signed<'_>,
    header: &Header<'_>,
    content: Content,
    id: &str,
    timestamp: &str,
) -> Result<Option<Verified>, String> {
    let outline = &scheme.outline;
    let url = public(outline, request.url);
    let body_in_url = outline.body_in_url && content == Content::UrlSortedParams && covered_by_url(request, &url)?;
    for url in if content.has_url() { ports(&url) } else { vec![url.clone()] } {
        let parts = Parts { url: &url, headers: request.headers, body: request.body, id, timestamp, body_in_url };
        let pieces = pieces(content, parts)?;
        let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
        for (number, key) in scheme.keys.iter().enumerate() {
            for encoding in &outline.encodings {
                let prefix = match outline.layout {
                    Layout::Versions => version(scheme, key),
                    Layout::Plain => outline.prefix.as_deref().unwrap_or_default(),
                    Layout::Stripe => "",
                };
                let signatures: Vec<_> = header
                    .signatures
                    .iter()
                    .filter_map(|text| decoded(text.strip_prefix(prefix)?, *encoding))
                    .collect();
                if let Some(signature) = key.matching(&pieces, &signatures) {
                    let (signed, algorithm) = (content.word(), key.algorithm.word());
                    let (key, encoding) = (number + 1, encoding.word());
                    let how = format!("{signed}, {algorithm}, {encoding}");
                    let (signature, id, timestamp) = (signature.clone(), None, None);
                    return Ok(Some(Verified { how, signed, algorithm, encoding, key, signature, id, timestamp }));
                }
            }
        }
    }
    Ok(None)
}

/// What stands in the header of the signature.
struct Header<'h> {
    signatures: Vec<&'h str>,
    timestamp: Option<&'h str>,
}

impl<'h> Header<'h> {
    fn read(outline: &Outline, headers: &'h HeaderMap) -> Result<Self, Refused> {
        let name = &outline.header;
        let value = only(headers, name)?.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Refused::Missing(format!("there is no header {name}")))?;
        let (signatures, timestamp): (Vec<_>, _) = match outline.layout {
            Layout::Plain => (vec![value], None),
            Layout::Versions => (value.split(' ').collect(), None),
            Layout::Stripe => {
                let pairs = || value.split(',').filter_map(|pair| pair.trim().split_once('='));
                let mut times = pairs().filter(|(name, _)| *name == "t").map(|(_, value)| value);
                let (Some(time), None) = (times.next(), times.next()) else {
                    return Err(Refused::Missing(format!("there is no single t=… in the header {name}")));
                };
                (pairs().filter(|(name, _)| *name == "v1").map(|(_, value)| value).collect(), Some(time))
            }
        };
        if signatures.len() > limits::SIGNATURES {
            let most = limits::SIGNATURES;
            return Err(Refused::Wrong(format!("more than {most} signatures stand in the header {name}")));
        }
        Ok(Self { signatures, timestamp })
    }
}

/// The value of a header. Of two, nobody can say which one the sender signed.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refused::Wrong(format!("the header {name} stands there twice")));
    }
    let text = first.map(|value| value.to_str().map(str::trim));
    text.transpose().map_err(|_| Refused::Wrong(format!("the header {name} is no text")))
}

/// Hexadecimal digits may be of either case; base64 is written in one way only.
pub(super) fn decoded(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Hex => from_hex(text),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    bytes.filter(|bytes| !bytes.is_empty())
}

/// The time, if it is near enough to now.
fn fresh(text: &str, outline: &Outline, now: Timestamp) -> Result<Timestamp, Refused> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| text.parse::<i64>().ok()).flatten();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = time.ok_or_else(|| Refused::Wrong("the timestamp is no number of seconds since 1970".to_owned()))?;
    let away = now.duration_since(time);
    if away.unsigned_abs() <= outline.tolerance {
        return Ok(time);
    }
    let (away, word) = (away.unsigned_abs(), if away.is_negative() { "ahead of" } else { "behind" });
    let away = show_duration(std::time::Duration::from_secs(away.as_secs()));
    let allowed = show_duration(outline.tolerance);
    Err(Refused::Stale(format!(
        "the signature is right, but its time is {away} {word} our clock, and {allowed} are allowed"
    )))
}

/// The URL as the sender knows it.
fn public<'u>(outline: &Outline, url: &'u str) -> Cow<'u, str> {
    let Some(base) = &outline.public_url else { return Cow::Borrowed(url) };
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = match after_scheme {
        0 => url,
        after => url[after..].find(['/', '?', '#']).map_or("", |at| &url[after + at..]),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Cow::Owned(format!("{base}{slash}{path}"))
}

/// The URL, and the same with or without the port that its scheme has anyway: senders differ there.
fn ports<'u>(url: &Cow<'u, str>) -> Vec<Cow<'u, str>> {
    let mut both = vec![url.clone()];
    let port = if url.starts_with("https://") { ":443" } else { ":80" };
    if let Some(start) = url.find("://").map(|at| at + 3) {
        let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
        let (authority, rest) = (&url[start..end], &url[end..]);
        let host = authority.rsplit('@').next().unwrap_or_default();
        match authority.strip_suffix(port) {
            Some(without) => both.push(format!("{}{without}{rest}", &url[..start]).into()),
            None if !host.rsplit(']').next().unwrap_or_default().contains(':') => {
                both.push(format!("{}{authority}{port}{rest}", &url[..start]).into());
            }
            None => {}
        }
    }
    both
}

/// Whether the digest in the URL stands for the body; a body that nothing stands for is refused.
fn covered_by_url(request: &Signed<'_>, url: &str) -> Result<bool, String> {
    if request.body.is_empty() || is_form(request.headers) {
        return Ok(false);
    }
    match digest_in(url) {
        Some(digest) if equal(digest.as_bytes(), to_hex(&Sha256::digest(request.body)).as_bytes()) => Ok(true),
        Some(_) => Err("the body has another digest than the one in the URL".to_owned()),
        None => Err("the body is no form, and its digest does not stand in the URL".to_owned()),
    }
}
