//! The map that a script returns, as a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rhai::{Dynamic, Map};
use url::Url;

use super::Given;
use crate::rules::script::{Signer, form, json_text, to_json, type_word};
use crate::rules::signature::{self, Scheme, Signed};
use crate::rules::xml;
use crate::rules::yaml::reader::nearest;
use crate::words::delivery::Body;
use crate::words::event::Event;
use crate::words::exchange::Request;
use crate::words::limits;

const KEYS: [&str; 9] = ["url", "method", "headers", "json", "form", "text", "xml", "body", "sign"];
const BODIES: [&str; 5] = ["json", "form", "text", "xml", "body"];

/// The latest URL of a hook as its script gave it, without its query, and what it was read as: most hooks have but one,
/// and sign only the query.
#[derive(Default)]
pub(super) struct KnownUrl(Mutex<Option<(String, Target)>>);

/// The URL as it goes over the wire, and the login that stood in it as a header.
#[derive(Clone)]
struct Target {
    url: String,
    login: Option<HeaderValue>,
}

impl fmt::Debug for KnownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL is a secret.
        f.write_str("KnownUrl")
    }
}

/// Reads what `fn request` returned.
///
/// An `original` body takes the place of the one that was made, before the request is signed.
pub(super) fn read(
    made: &Dynamic,
    given: &Given<'_>,
    known_url: &KnownUrl,
    original: Option<&Body>,
) -> Result<Request, String> {
    let Some(map) = made.read_lock::<Map>() else {
        return Err(format!("fn request gave {} instead of a map", type_word(made)));
    };
    if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let near = nearest(key, &KEYS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("fn request gave `{key}`, which a request does not have{near}"));
    }
    let method = method(&map)?;
    let Target { url, login } = known_url.target(&map)?;
    let mut headers = headers(&map)?;
    if let Some(login) = login {
        headers.entry(AUTHORIZATION).or_insert(login);
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("postrider/", env!("CARGO_PKG_VERSION"))));
    let (mut bytes, mut content_type) = body(&map, given.event)?;
    if let Some(original) = original {
        bytes = original.bytes.clone();
        content_type.clone_from(&original.content_type);
        // The type goes with the body.
        headers.remove(CONTENT_TYPE);
    }
    if method == Method::GET || method == Method::HEAD {
        // A body there has no meaning, and some servers refuse it.
        bytes = Bytes::new();
        headers.remove(CONTENT_TYPE);
    } else if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        headers.entry(CONTENT_TYPE).or_insert(content_type);
    }
    if bytes.len() > limits::REQUEST_BODY {
        return Err(format!("the body is larger than {} bytes", limits::REQUEST_BODY));
    }
    let request = Request { method, url, headers, body: bytes };
    match map.get("sign").filter(|value| !value.is_unit()) {
        Some(sign) => signed(request, sign, given),
        None => Ok(request),
    }
}

/// The request with its signature: over the URL, the headers and the body exactly as they leave.
fn signed(mut request: Request, sign: &Dynamic, given: &Given<'_>) -> Result<Request, String> {
    let known = sign.read_lock::<Signer>().and_then(|signer| signer.scheme.clone());
    let scheme = match known {
        Some(scheme) => scheme,
        None => Arc::new(Scheme::from_json(&to_json(sign).map_err(|why| format!("sign {why}"))?.plain())?),
    };
    let Request { method, url, headers, body } = &request;
    let content = Signed { method, url, headers, body };
    let signature = signature::sign(&scheme, &content, given.id, given.now)
        .map_err(|why| format!("the request cannot be signed: {why}"))?;
    request.url = signature.url.unwrap_or(request.url);
    for (name, value) in signature.headers {
        request.headers.insert(name, value);
    }
    Ok(request)
}

fn method(map: &Map) -> Result<Method, String> {
    let Some(value) = map.get("method").filter(|value| !value.is_unit()) else { return Ok(Method::POST) };
    let word = value.clone().into_string().unwrap_or_default();
    Method::from_bytes(word.as_bytes()).map_err(|_| format!("`{word}` is no HTTP method"))
}

impl KnownUrl {
    fn target(&self, map: &Map) -> Result<Target, String> {
        let text = map.get("url").and_then(|value| value.as_immutable_string_ref().ok());
        let text = text.filter(|text| !text.is_empty()).ok_or("the request has no url")?;
        let (place, query) = match text.split_once('?') {
            Some((place, query)) if query.bytes().all(is_plain) => (place, Some(query)),
            Some(_) => return target(&text),
            None => (&**text, None),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(latest, _)| latest != place) {
            *known = Some((place.to_owned(), target(place)?));
        }
        let (_, mut target) = known.clone().ok_or("the request has no url")?;
        if let Some(query) = query {
            target.url.push('?');
            target.url.push_str(query);
        }
        Ok(target)
    }
}

/// Whether a byte stands for itself in a query: what is brought into form there is another.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%=&+/:@!$()*,;".contains(&byte)
}

fn target(text: &str) -> Result<Target, String> {
    // The text is a secret: only the parser's word is shown.
    let mut url = Url::parse(text.trim()).map_err(|error| format!("the url is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the url must begin with https:// or http://".to_owned());
    }
    let login = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        let login = format!("{}:{}", decode(url.username()), decode(url.password().unwrap_or_default()));
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login))).ok()
    });
    // Neither fails on a URL with a host, and http URLs have one.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_fragment(None);
    Ok(Target { url: url.into(), login: login.flatten() })
}

fn headers(map: &Map) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let Some(value) = map.get("headers").filter(|value| !value.is_unit()) else { return Ok(headers) };
    let given = value.read_lock::<Map>().ok_or_else(|| format!("headers must be a map, not {}", type_word(value)))?;
    for (name, value) in given.iter().filter(|(_, value)| !value.is_unit()) {
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` cannot be the name of a header"))?;
        let text = value.clone().into_string().or_else(|_| value.as_int().map(|number| number.to_string()));
        let text = text.map_err(|_| format!("the header {name} must be a text, not {}", type_word(value)))?;
        if text.contains(['\r', '\n', '\0']) {
            return Err(format!("the header {name} contains a line break or a zero byte"));
        }
        if !text.is_ascii() {
            return Err(format!(
                "the header {name} contains more than ASCII: encode it, as RFC 8187 says or with url_encode"
            ));
        }
        let text =
            HeaderValue::from_str(&text).map_err(|_| format!("the header {name} contains control characters"))?;
        headers.insert(name, text);
    }
    Ok(headers)
}

/// The bytes and their media type: one of `json form text xml body`, else the event's as they came.
fn body(map: &Map, event: &Event) -> Result<(Bytes, String), String> {
    let given: Vec<_> = BODIES
        .iter()
        .filter_map(|key| map.get(*key).filter(|value| !value.is_unit()).map(|value| (*key, value)))
        .collect();
    let (key, value) = match given.as_slice() {
        [] => return Ok((event.raw.clone(), event.content_type.clone())),
        [one] => *one,
        several => {
            let names: Vec<_> = several.iter().map(|(key, _)| *key).collect();
            return Err(format!("a request has one body, not {}", names.join(" and ")));
        }
    };
    let said = |why: String| format!("the body {why}");
    Ok(match key {
        "json" => {
            let json = json_text(value).map_err(said)?;
            (json.into_bytes().into(), "application/json".to_owned())
        }
        "form" => {
            (form(&to_json(value).map_err(said)?)?.into_bytes().into(), "application/x-www-form-urlencoded".to_owned())
        }
        "xml" => {
            let text =
                value.clone().into_string().map_err(|_| format!("xml must be a text, not {}", type_word(value)))?;
            xml::check(&text)?;
            (text.into_bytes().into(), "application/xml".to_owned())
        }
        "text" => {
            let text =
                value.clone().into_string().map_err(|_| format!("text must be a text, not {}", type_word(value)))?;
            (text.into_bytes().into(), "text/plain; charset=utf-8".to_owned())
        }
        _ => {
            let bytes =
                value.clone().into_blob().map_err(|_| format!("body must be bytes, not {}", type_word(value)))?;
            (bytes.into(), "application/octet-stream".to_owned())
        }
    })
}
