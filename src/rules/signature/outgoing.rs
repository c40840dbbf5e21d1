//! Signing a request, just before it leaves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::content::{Parts, is_form, pieces};
use super::key::Key;
use super::read::Layout;
use super::words::{Algorithm, Encoding};
use super::{Scheme, Signed, to_hex};

/// What a signature adds to a request.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Headers to set; those of the same name go away.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The URL to send to instead, where the signature needs something in it.
    pub url: Option<String>,
}

/// The name of the digest in a URL.
pub(super) const BODY_DIGEST: &str = "bodySHA256";

/// Signs a request with the time of the attempt. An id that stands in the request stays; otherwise it is `id`.
///
/// # Errors
/// Why it cannot be signed, in words that follow "the request cannot be signed: ".
pub fn sign(scheme: &Scheme, request: &Signed<'_>, id: &str, now: Timestamp) -> Result<Signature, String> {
    let outline = &scheme.outline;
    let content = outline.signed[0];
    let seconds = now.as_second().to_string();
    let id = match request.headers.get(&outline.id_header) {
        Some(own) => own.to_str().map_err(|_| "the id in the header is no ASCII text")?,
        None => id,
    };
    if content.has_id() && id.contains('.') {
        return Err(format!("the id {id:?} has a dot in it, which separates what is signed"));
    }
    let body_in_url = outline.body_in_url && !request.body.is_empty() && !is_form(request.headers);
    let url = body_in_url.then(|| with_digest(request.url, request.body)).transpose()?;
    let parts = Parts {
        url: url.as_deref().unwrap_or(request.url),
        headers: request.headers,
        body: request.body,
        id,
        timestamp: &seconds,
        body_in_url,
    };
    let pieces = pieces(content, parts)?;
    let pieces: Vec<&[u8]> = pieces.iter().map(AsRef::as_ref).collect();
    let written = |key: &Key| key.sign(&pieces).map(|signature| encoded(&signature, outline.encodings[0]));
    let value = match outline.layout {
        Layout::Plain => format!("{}{}", outline.prefix.as_deref().unwrap_or_default(), written(&scheme.keys[0])?),
        Layout::Versions => {
            let version = |key: &Key| Ok::<_, String>(format!("{}{}", version(scheme, key), written(key)?));
            scheme.keys.iter().map(version).collect::<Result<Vec<_>, _>>()?.join(" ")
        }
        Layout::Stripe => {
            let signatures = scheme.keys.iter().map(|key| Ok::<_, String>(format!(",v1={}", written(key)?)));
            format!("t={seconds}{}", signatures.collect::<Result<String, _>>()?)
        }
    };
    let said = |text: &str| HeaderValue::from_str(text).map_err(|_| "the id cannot stand in a header".to_owned());
    let mut headers = vec![(outline.header.clone(), said(&value)?)];
    if content.has_id() {
        headers.push((outline.id_header.clone(), said(id)?));
    }
    if let Some(name) = outline.timestamp_header.as_ref().filter(|_| content.has_timestamp()) {
        headers.push((name.clone(), said(&seconds)?));
    }
    Ok(Signature { headers, url })
}

/// What stands in front of a signature where several versions stand in one header.
pub(super) fn version<'s>(scheme: &'s Scheme, key: &Key) -> &'s str {
    match &scheme.outline.prefix {
        Some(prefix) => prefix,
        None if key.algorithm == Algorithm::Ed25519 => "v1a,",
        None => "v1,",
    }
}

fn encoded(signature: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Hex => to_hex(signature),
        Encoding::Base64 => STANDARD.encode(signature),
    }
}

/// The digest as the last parameter of the URL, as Twilio does for a body that is no form.
fn with_digest(url: &str, body: &[u8]) -> Result<String, String> {
    if digest_in(url).is_some() {
        return Err(format!("the URL has a parameter {BODY_DIGEST} of its own"));
    }
    let joint = match url.find('?') {
        None => "?",
        Some(_) if url.ends_with(['?', '&']) => "",
        Some(_) => "&",
    };
    Ok(format!("{url}{joint}{BODY_DIGEST}={}", to_hex(&Sha256::digest(body))))
}

/// The digest in a URL.
pub(super) fn digest_in(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(BODY_DIGEST)?.strip_prefix('='))
}
