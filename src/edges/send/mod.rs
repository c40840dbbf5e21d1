//! Requests over hyper: one total deadline, a bounded response, no redirects, and an address policy at dial time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::edges::send::dial::{Connector, Roots};
use crate::edges::send::pool::{Pool, Wire};
use crate::rules::settings::Network;
use crate::words::exchange::{Request, Response, SendError};
use crate::words::limits;

pub mod address;
mod dial;
mod failure;
mod pool;
mod resolve;
mod stream;

/// Who we are, for receivers that refuse requests without it (GitHub does).
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("postrider/", env!("CARGO_PKG_VERSION")));

/// Sends requests. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Sender {
    connector: Connector,
    pool: Pool,
    played: Option<Arc<Play>>,
}

/// A play of what receivers do, in place of the network.
pub type Play = dyn Fn(&Request) -> Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send>> + Send + Sync;

impl Sender {
    /// A sender that sends nothing: the play answers. For simulations, in which time does not pass by itself.
    pub fn played(play: Arc<Play>) -> Self {
        let sender = Self::with_roots(Network::default(), rustls::RootCertStore::empty());
        Self { played: Some(play), ..sender }
    }

    /// A sender with the system's certificate roots, which are read when they are first needed.
    pub fn new(network: Network) -> Self {
        Self::trusting(network, Roots::System)
    }

    /// A sender that trusts these certificate roots.
    pub fn with_roots(network: Network, roots: rustls::RootCertStore) -> Self {
        Self::trusting(network, Roots::These(roots))
    }

    fn trusting(network: Network, roots: Roots) -> Self {
        Self { connector: Connector::new(network, roots), pool: Pool::default(), played: None }
    }

    /// Sends one request and reads the answer up to `limits::RESPONSE_BODY`, all within `timeout`.
    ///
    /// # Errors
    /// Why no answer came.
    pub async fn send(&self, request: &Request, timeout: Duration) -> Result<Response, SendError> {
        let deadline = Instant::now() + timeout;
        if let Some(play) = &self.played {
            return timeout_at(deadline, play(request)).await.unwrap_or(Err(SendError::Timeout(timeout)));
        }
        let (uri, request) = outgoing(request)?;
        let mut exchange = pin!(dial::DEADLINE.scope(deadline, self.exchange(uri, request)));
        if let Ok(answer) = timeout_at(deadline, exchange.as_mut()).await {
            return answer;
        }
        // A process that was stopped for a while sees that its time is over before it sees the answer that came
        // meanwhile: one more look, so that nothing is sent twice for that.
        timeout_at(Instant::now(), exchange).await.unwrap_or(Err(SendError::Timeout(timeout)))
    }

    async fn exchange(&self, uri: Uri, mut request: http::Request<Full<Bytes>>) -> Result<Response, SendError> {
        let receiver = pool::receiver(&uri).ok_or_else(no_url)?;
        let (mut wire, answer) = loop {
            let kept = self.pool.take(&receiver).await;
            let is_kept = kept.is_some();
            let mut wire = match kept {
                Some(wire) => wire,
                // In a box: it is rare, and would make every exchange as large as a handshake.
                None => Box::pin(self.connect(uri.clone())).await?,
            };
            match wire.request(request).await {
                Ok(answer) => break (wire, answer),
                // A kept connection that was closed before anything was sent: nothing has happened.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    _ => return Err(failure::broken(error.error())),
                },
            }
        };
        let (head, body) = answer.into_parts();
        proven_http(head.status)?;
        let (body, truncated) = wire.drive(read(body)).await?;
        if !truncated {
            self.pool.keep(receiver, wire).await;
        }
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body, truncated })
    }

    async fn connect(&self, uri: Uri) -> Result<Box<Wire>, SendError> {
        let (host, https) =
            (uri.host().unwrap_or_default().to_owned(), uri.scheme() == Some(&http::uri::Scheme::HTTPS));
        let stream = self.connector.connect(uri).await;
        let stream = stream.map_err(|error| failure::unconnected(&*error, &host, https, self.connector.no_roots()))?;
        Wire::open(stream).await.map_err(|error| failure::broken(&error))
    }
}

/// hyper hands over what no webhook answers: a change of protocol that nobody asked for, and numbers that are no status.
fn proven_http(status: StatusCode) -> Result<(), SendError> {
    match status.as_u16() {
        200..=599 => Ok(()),
        101 => Err(SendError::Broken("the receiver wants to change the protocol (status 101)".to_owned())),
        other => Err(SendError::Broken(format!("{other} is not a status of HTTP"))),
    }
}

/// The body up to its bound. With what is left unread, the connection cannot be used again.
async fn read(mut body: Incoming) -> Result<(Bytes, bool), SendError> {
    let mut whole = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure::broken(&error))?;
        let Ok(mut data) = frame.into_data() else { continue };
        let room = limits::RESPONSE_BODY - whole.len().max(more.len());
        let truncated = data.len() > room;
        data.truncate(room);
        // Most answers are one short frame: it is kept as it is.
        if whole.is_empty() && more.is_empty() {
            whole = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&whole);
            }
            more.extend_from_slice(&data);
        }
        if truncated {
            return Ok((if more.is_empty() { whole } else { more.freeze() }, true));
        }
    }
    Ok((if more.is_empty() { whole } else { more.freeze() }, false))
}

/// The request as it goes over the wire, and where it goes.
fn outgoing(request: &Request) -> Result<(Uri, http::Request<Full<Bytes>>), SendError> {
    if request.method == Method::CONNECT {
        return Err(unsendable("CONNECT is for proxies; use another method"));
    }
    let uri = target(&request.url)?;
    let mut headers = request.headers.clone();
    frame_is_ours(&headers)?;
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, USER_AGENT);
    }
    if request.body.is_empty() && [Method::POST, Method::PUT, Method::PATCH].contains(&request.method) {
        // hyper writes no length for an empty body, and some receivers answer 411 to that.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(credentials) = basic(&uri)
        && !headers.contains_key(header::AUTHORIZATION)
    {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, host(&uri)?);
    }
    let mut outgoing = http::Request::new(Full::new(request.body.clone()));
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    *outgoing.headers_mut() = headers;
    Ok((uri, outgoing))
}

/// The host and the port, where it is not the usual one.
fn host(uri: &Uri) -> Result<HeaderValue, SendError> {
    let host = uri.host().unwrap_or_default();
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let unusual = uri.port_u16().is_some_and(|port| port != usual);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    // What stands behind a login is the host and its port.
    let whole = authority.rsplit_once('@').map_or(authority, |(_, whole)| whole);
    HeaderValue::from_str(if unusual { whole } else { host }).map_err(|_| no_url())
}

fn no_url() -> SendError {
    unsendable("this is not a URL such as https://host/path")
}

/// hyper believes a length that it is given: a wrong one would make the receiver read the next request as this body.
fn frame_is_ours(headers: &HeaderMap) -> Result<(), SendError> {
    let ours = headers.keys().find(|name| {
        matches!(
            **name,
            header::CONTENT_LENGTH
                | header::TRANSFER_ENCODING
                | header::CONNECTION
                | header::UPGRADE
                | header::TE
                | header::TRAILER
        )
    });
    match ours {
        Some(name) => Err(unsendable(format!("header {name} belongs to the connection; take it out of the hook"))),
        None => Ok(()),
    }
}

/// The URL, parsed. Nearly all are fine as they are; the rest (spaces, Chinese, IDN) is brought into form first.
fn target(url: &str) -> Result<Uri, SendError> {
    // `http:///path` is mended by browsers: the first part of the path becomes the host.
    if url.split_once("://").is_none_or(|(_, rest)| rest.starts_with(['/', '\\'])) {
        return Err(no_url());
    }
    let uri = match url.parse::<Uri>() {
        Ok(uri) if url.is_ascii() => uri,
        _ => url::Url::parse(url).map_err(|_| no_url())?.as_str().parse().map_err(|_| no_url())?,
    };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(unsendable(format!("a URL is http or https, not {other}"))),
        None => return Err(no_url()),
    }
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(no_url());
    }
    // A port that does not fit reads as no port, which would be another receiver.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let after_host = authority.len() - authority.rfind(host).unwrap_or_default() - host.len();
    if after_host > 1 && uri.port_u16().is_none() {
        return Err(unsendable("the port of this URL is not a number from 1 to 65535"));
    }
    Ok(uri)
}

/// `https://user:password@host/` means basic authentication, as it does for curl.
fn basic(uri: &Uri) -> Option<HeaderValue> {
    let (user_info, _) = uri.authority()?.as_str().rsplit_once('@')?;
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(user_info).collect();
    let decoded = if user_info.contains(':') { decoded } else { [&decoded[..], b":"].concat() };
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(decoded))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn unsendable(why: impl Into<String>) -> SendError {
    SendError::Unsendable(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request { method: Method::POST, url: url.to_owned(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    #[test]
    fn urls_are_brought_into_form() {
        for (url, uri) in [
            ("http://a.example/x?y=1#part", "http://a.example/x?y=1"),
            ("https://a.example", "https://a.example/"),
            ("http://a.example/应用?q=版本", "http://a.example/%E5%BA%94%E7%94%A8?q=%E7%89%88%E6%9C%AC"),
            ("http://a.example/two words", "http://a.example/two%20words"),
            ("http://münchen.example/", "http://xn--mnchen-3ya.example/"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ] {
            let got = target(url).unwrap();
            assert_eq!(got.to_string().to_lowercase(), uri.to_lowercase(), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_sent_says_why_and_shows_no_path() {
        for url in
            ["", "SECRET", "/SECRET", "ftp://h/SECRET", "http:///SECRET", "http://h:99999/SECRET", "http://h:x/SECRET"]
        {
            let error = outgoing(&request(url)).expect_err(url);
            assert!(matches!(error, SendError::Unsendable(_)), "{url}: {error:?}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        let mut framed = request("http://h/");
        framed.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(outgoing(&framed).unwrap_err().to_string().contains("content-length"));
        let connect = Request { method: Method::CONNECT, ..request("http://h/") };
        assert!(outgoing(&connect).is_err());
    }

    #[test]
    fn user_info_is_basic_authentication() {
        let (_, sent) = outgoing(&request("http://al%40ice:p%3Aw@h/")).unwrap();
        assert_eq!(sent.headers()[header::AUTHORIZATION], "Basic YWxAaWNlOnA6dw==");
        let mut own = request("http://alice:pw@h/");
        own.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        assert_eq!(outgoing(&own).unwrap().1.headers()[header::AUTHORIZATION], "Bearer x");
    }
}
