//! The map that a script returns, as a request.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rhai::{Array, Dynamic, Map};
use url::Url;

use super::Given;
use crate::rules::script::{Signer, form, json_text, to_json, type_word};
use crate::rules::signature::{self, Scheme, Signed};
use crate::rules::xml;
use crate::rules::yaml::reader::nearest;
use crate::words::delivery::Body;
use crate::words::exchange::Request;
use crate::words::limits;

const KEYS: [&str; 10] = ["url", "method", "headers", "id_header", "json", "form", "text", "xml", "body", "sign"];
const JSON: &str = "application/json";
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

/// What a script made: a request, but for what differs from one delivery to the next.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// Of how many requests it is one.
    pub(crate) parts: u32,
    method: Method,
    url: String,
    headers: HeaderMap,
    /// The header that carries the delivery's id.
    id_header: Option<HeaderName>,
    content: Content,
    sign: Sign,
}

#[derive(Clone, Debug)]
enum Content {
    /// The event's bytes as they came.
    Event,
    Own {
        bytes: Bytes,
        content_type: String,
    },
}

/// How it is signed.
#[derive(Clone, Debug)]
enum Sign {
    Not,
    /// As the script says.
    Own(Arc<Scheme>),
    /// As the option says that the script passed on.
    Option(Arc<Scheme>),
}

/// Reads what `fn request` returned: a request, or all the parts of a message, of which one is wanted.
pub(super) fn read(made: &Dynamic, part: u32, known_url: &KnownUrl) -> Result<Made, String> {
    let Some(array) = made.read_lock::<Array>() else { return read_one(made, known_url) };
    let parts = u32::try_from(array.len()).unwrap_or(u32::MAX);
    if !(1..=limits::PARTS as u32).contains(&parts) {
        return Err(format!("fn request gave {parts} requests: a message has 1 to {} parts", limits::PARTS));
    }
    // Parts that were cut otherwise before are another message.
    let wanted = array.get(part as usize).unwrap_or(&array[0]);
    Ok(Made { parts, ..read_one(wanted, known_url)? })
}

fn read_one(made: &Dynamic, known_url: &KnownUrl) -> Result<Made, String> {
    let Some(map) = made.read_lock::<Map>() else {
        return Err(format!("fn request gave {} instead of a map", type_word(made)));
    };
    if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let near = nearest(key, &KEYS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("fn request gave `{key}`, which a request does not have{near}"));
    }
    let method = method(&map)?;
    let Target { url, login } = known_url.target(&map)?;
    let id_header = id_header(&map)?;
    let (mut headers, id_header) = headers(&map, id_header)?;
    if let Some(login) = login {
        headers.entry(AUTHORIZATION).or_insert(login);
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("postrider/", env!("CARGO_PKG_VERSION"))));
    Ok(Made { parts: 1, method, url, headers, id_header, content: content(&map)?, sign: sign(&map)? })
}

impl Made {
    /// The same with a body of an earlier attempt.
    pub(super) fn with(mut self, original: &Body) -> Self {
        // The type goes with the body.
        self.headers.remove(CONTENT_TYPE);
        let Body { bytes, content_type } = original;
        self.content = Content::Own { bytes: bytes.clone(), content_type: content_type.clone() };
        self
    }

    /// The same with the option that says how it is signed as it is now.
    pub(super) fn signed_by(mut self, signer: Option<Signer>) -> Self {
        if let (Sign::Option(scheme), Some(Signer { scheme: Some(now), .. })) = (&mut self.sign, signer) {
            *scheme = now;
        }
        self
    }

    /// The request of one attempt. Its signature is over the URL, the headers and the body exactly as they leave.
    pub(super) fn request(self, given: &Given<'_>) -> Result<Request, String> {
        let Self { parts: _, method, url, mut headers, id_header, content, sign } = self;
        if let Some(name) = id_header {
            let id = HeaderValue::from_str(given.id).map_err(|_| "the delivery's id cannot stand in a header")?;
            headers.insert(name, id);
        }
        let (mut body, content_type) = match content {
            Content::Event => (given.event.raw.clone(), media_type(&given.event.content_type)),
            Content::Own { bytes, content_type } => (bytes, media_type(&content_type)),
        };
        if method == Method::GET || method == Method::HEAD {
            // A body there has no meaning, and some servers refuse it.
            body = Bytes::new();
            headers.remove(CONTENT_TYPE);
        } else if let Some(content_type) = content_type {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        if body.len() > limits::REQUEST_BODY {
            return Err(format!("the body is larger than {} bytes", limits::REQUEST_BODY));
        }
        let mut request = Request { method, url, headers, body };
        if let Sign::Own(scheme) | Sign::Option(scheme) = sign {
            let Request { method, url, headers, body } = &request;
            let signature = signature::sign(&scheme, &Signed { method, url, headers, body }, given.id, given.now)
                .map_err(|why| format!("the request cannot be signed: {why}"))?;
            request.url = signature.url.unwrap_or(request.url);
            for (name, value) in signature.headers {
                request.headers.insert(name, value);
            }
        }
        Ok(request)
    }
}

/// A media type as a header says it, if it can.
fn media_type(text: &str) -> Option<HeaderValue> {
    match text {
        JSON => Some(HeaderValue::from_static(JSON)),
        other => HeaderValue::from_str(other).ok(),
    }
}

fn sign(map: &Map) -> Result<Sign, String> {
    let Some(sign) = map.get("sign").filter(|value| !value.is_unit()) else { return Ok(Sign::Not) };
    if let Some(scheme) = sign.read_lock::<Signer>().and_then(|signer| signer.scheme.clone()) {
        return Ok(Sign::Option(scheme));
    }
    let scheme = Scheme::from_json(&to_json(sign).map_err(|why| format!("sign {why}"))?.plain())?;
    Ok(Sign::Own(Arc::new(scheme)))
}

fn id_header(map: &Map) -> Result<Option<HeaderName>, String> {
    let Some(value) = map.get("id_header").filter(|value| !value.is_unit()) else { return Ok(None) };
    let name = value.clone().into_string().unwrap_or_default();
    name.parse().map(Some).map_err(|_| format!("`{name}` cannot be the name of a header"))
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

/// The headers, in the order of their names; of the one that carries the id only its place, unless they have it.
fn headers(map: &Map, mut id_header: Option<HeaderName>) -> Result<(HeaderMap, Option<HeaderName>), String> {
    let mut headers = HeaderMap::new();
    let given = map.get("headers").filter(|value| !value.is_unit());
    let wrong = |value| format!("headers must be a map, not {}", type_word(value));
    let given = given.map(|value| value.read_lock::<Map>().ok_or_else(|| wrong(value))).transpose()?;
    let given = || given.iter().flat_map(|given| given.iter()).filter(|(_, value)| !value.is_unit());
    id_header.take_if(|id| given().any(|(name, _)| name.eq_ignore_ascii_case(id.as_str())));
    let mut place = id_header.as_ref();
    for (name, value) in given() {
        if let Some(id) = place.take_if(|id| id.as_str() < name.as_str()) {
            headers.insert(id, HeaderValue::from_static(""));
        }
        let (name, value) = header(name, value)?;
        headers.insert(name, value);
    }
    if let Some(id) = place {
        headers.insert(id, HeaderValue::from_static(""));
    }
    Ok((headers, id_header))
}

fn header(name: &str, value: &Dynamic) -> Result<(HeaderName, HeaderValue), String> {
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
    let value = HeaderValue::from_str(&text).map_err(|_| format!("the header {name} contains control characters"))?;
    Ok((name, value))
}

/// One of `json form text xml body`, else the event's bytes.
fn content(map: &Map) -> Result<Content, String> {
    let given: Vec<_> = BODIES
        .iter()
        .filter_map(|key| map.get(*key).filter(|value| !value.is_unit()).map(|value| (*key, value)))
        .collect();
    let (key, value) = match given.as_slice() {
        [] => return Ok(Content::Event),
        [one] => *one,
        several => {
            let names: Vec<_> = several.iter().map(|(key, _)| *key).collect();
            return Err(format!("a request has one body, not {}", names.join(" and ")));
        }
    };
    let said = |why: String| format!("the body {why}");
    let text = || value.clone().into_string().map_err(|_| format!("{key} must be a text, not {}", type_word(value)));
    let (bytes, content_type) = match key {
        "json" => (json_text(value).map_err(said)?.into_bytes(), JSON),
        "form" => (form(&to_json(value).map_err(said)?)?.into_bytes(), "application/x-www-form-urlencoded"),
        "xml" => {
            let text = text()?;
            xml::check(&text)?;
            (text.into_bytes(), "application/xml")
        }
        "text" => (text()?.into_bytes(), "text/plain; charset=utf-8"),
        _ => {
            let blob = value.clone().into_blob();
            let bytes = blob.map_err(|_| format!("body must be bytes, not {}", type_word(value)))?;
            (bytes, "application/octet-stream")
        }
    };
    Ok(Content::Own { bytes: bytes.into(), content_type: content_type.to_owned() })
}
