//! HTTP/1.1 intake, on TCP and on the emit socket: routes, bounds and answers.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/events`, `application/json`: one event | 202 and its answer |
//! | the same, an array: one transaction, all or nothing | 202 and an array of answers |
//! | `application/x-ndjson` or `application/jsonl` | one answer per line: 202 when every line was taken, 207 when some were, 400 when none was |
//! | `POST /v1/events?type=T[&id=][&source=][&time=]`, any body | 202 and its answer |
//! | `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers | 202 and its answer, or an array of them |
//! | `/in/SOURCE[/EVENT]` | what the source makes of it: see `sources` |
//! | `GET /healthz` | 200 `ok` |
//!
//! A `traceparent` in the head is that of each event that names none itself.
//!
//! Every refusal is a problem document (RFC 9457) that holds the same `error` as an answer on the socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::edges::intake::{Accept, Answer, Code, Refusal, native};
use crate::rules::cloudevents::{self, CloudEvent, Fault};
use crate::words::event::{Event, JSON, Peer};
use crate::words::limits;
use crate::words::secret::{Secret, equal};
use crate::words::trace::{TRACEPARENT, TraceParent};

mod body;
pub mod server;
pub mod sources;

use body::read;
use server::{Answering, Body, Handler};
use sources::Sources;

const NDJSON: &str = "application/x-ndjson";
const PROBLEM: &str = "application/problem+json";

/// Serves events over TCP until `stop`. While `token` holds a secret, senders must present it as a bearer token.
pub async fn serve_tcp(
    listener: TcpListener,
    accept: Arc<dyn Accept>,
    sources: Arc<Sources>,
    token: watch::Receiver<Option<Secret>>,
    stop: CancellationToken,
) {
    let handler: Arc<dyn Handler> = Arc::new(Routes::guarded(accept, sources, token));
    server::serve_tcp(listener, handler, stop).await;
}

/// The routes of intake.
pub struct Routes {
    accept: Arc<dyn Accept>,
    sources: Arc<Sources>,
    token: Option<watch::Receiver<Option<Secret>>>,
    /// One for each large body that may be in memory.
    large: Arc<Semaphore>,
}

impl Routes {
    /// The routes on a local socket, which the file system guards.
    pub fn local(accept: Arc<dyn Accept>, sources: Arc<Sources>) -> Self {
        Self { accept, sources, token: None, large: Arc::new(Semaphore::new(limits::HTTP_LARGE)) }
    }

    /// The routes behind a token, while there is one.
    pub fn guarded(accept: Arc<dyn Accept>, sources: Arc<Sources>, token: watch::Receiver<Option<Secret>>) -> Self {
        Self { token: Some(token), ..Self::local(accept, sources) }
    }

    /// A vendor's request. It proves by itself where it comes from, or knows the token as everybody else.
    fn receive(&self, head: Parts, body: Incoming, peer: Option<Peer>) -> Answering {
        let (accept, sources, large) = (self.accept.clone(), self.sources.clone(), self.large.clone());
        let (local, guarded) = (self.token.is_none(), self.asks_for_a_token());
        let door = sources::Door { local, guarded, opens: self.authorized(&head.headers) };
        Box::pin(async move {
            let received = match sources.find(&head, &door) {
                Ok(found) => match read(&head, body, &large).await {
                    Ok((bytes, _large)) => sources.receive(&*accept, found, &head, bytes, door, peer).await,
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            };
            received.unwrap_or_else(|refusal| problem(&refusal))
        })
    }

    /// Whether there is a token to know.
    fn asks_for_a_token(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.borrow().is_some())
    }

    /// Whether the sender knows the token, or none is asked for.
    fn authorized(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let token = token.borrow();
        let Some(token) = token.as_ref() else { return Ok(()) };
        let sent = headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let bearer = match sent.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
            _ => {
                return Err(Refusal::new(Code::Unauthorized, "send the token as \"Authorization: Bearer TOKEN\""));
            }
        };
        match same(bearer, token.expose().as_bytes()) {
            true => Ok(()),
            false => Err(Refusal::new(Code::Unauthorized, "this is not the token of listen.http_token")),
        }
    }
}

impl Handler for Routes {
    fn handle(&self, request: Request<Incoming>, peer: Option<Peer>) -> Answering {
        let (accept, answering) = (self.accept.clone(), self.answer(request, peer));
        Box::pin(async move {
            let response = answering.await;
            if let Some(code) = response.extensions().get() {
                accept.refused(*code);
            }
            response
        })
    }
}

impl Routes {
    fn answer(&self, request: Request<Incoming>, peer: Option<Peer>) -> Answering {
        let (head, body) = request.into_parts();
        match (head.uri.path(), &head.method) {
            ("/healthz", &Method::GET | &Method::HEAD) => {
                return ready(answer(StatusCode::OK, "text/plain", &b"ok\n"[..]));
            }
            ("/healthz", _) => return ready(wrong_method("GET, HEAD")),
            _ => {}
        }
        if let Err(refusal) = not_a_browser(&head.headers) {
            return ready(problem(&refusal));
        }
        if head.uri.path().starts_with(sources::PREFIX) {
            return self.receive(head, body, peer);
        }
        if let Err(refusal) = self.authorized(&head.headers) {
            return ready(problem(&refusal));
        }
        match (head.uri.path(), &head.method) {
            ("/v1/events", &Method::POST) => {
                let (accept, large) = (self.accept.clone(), self.large.clone());
                Box::pin(async move {
                    match events(&*accept, &large, &head, body, peer).await {
                        Ok(response) => response,
                        Err(refusal) => problem(&refusal),
                    }
                })
            }
            ("/v1/events", _) => ready(wrong_method("POST")),
            _ => {
                let message = "no such path; events are posted to /v1/events, webhooks to /in/SOURCE";
                ready(problem(&Refusal::new(Code::NotFound, message)))
            }
        }
    }
}

fn ready(response: Response<Body>) -> Answering {
    Box::pin(std::future::ready(response))
}

/// A web page may send requests to loopback, and through DNS to any address: it cannot hide that it is one. An answer
/// never allows it anything either: none of ours has a header of CORS.
pub(crate) fn not_a_browser(headers: &HeaderMap) -> Result<(), Refusal> {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    match [header::ORIGIN, SITE, MODE].iter().any(|name| headers.contains_key(name)) {
        true => Err(Refusal::new(Code::Forbidden, "requests of web pages are refused")),
        false => Ok(()),
    }
}

/// Compares without telling by the time it takes how much was right.
fn same(sent: &[u8], token: &[u8]) -> bool {
    !token.is_empty() && equal(sent, token)
}

/// What a body is taken for.
enum Form {
    Native,
    Lines,
    Cloud,
    Any(Box<Event>),
}

async fn events(
    accept: &dyn Accept,
    large: &Semaphore,
    head: &Parts,
    body: Incoming,
    peer: Option<Peer>,
) -> Result<Response<Body>, Refusal> {
    let now = Timestamp::now();
    let form = form(head, now, peer)?;
    let accept = &Traced { accept, trace: trace_of(&head.headers) };
    let (bytes, _large) = read(head, body, large).await?;
    match form {
        Form::Any(mut event) => {
            if bytes.len() > limits::EVENT {
                return Err(native::too_large());
            }
            event.raw = bytes;
            one(accept, *event).await
        }
        Form::Native if bytes.trim_ascii_start().first() != Some(&b'[') => {
            one(accept, native::parse(&bytes, now, peer)?).await
        }
        Form::Native => several(accept, native::parse_body(&bytes, now, peer)?).await,
        Form::Cloud => {
            let read = cloudevents::read(&head.headers, &bytes).map_err(|fault| match fault {
                Fault::Bad(what) => Refusal::new(Code::BadEvent, what),
                Fault::Unsupported(what) => unsupported(&what),
            })?;
            let mut events =
                read.into_iter().map(|event| cloud_event(event, now, peer)).collect::<Result<Vec<_>, _>>()?;
            match (events.len(), head.headers.keys().any(|name| name.as_str().starts_with("ce-"))) {
                (1, true) => one(accept, events.remove(0)).await,
                (1, false) if bytes.trim_ascii_start().first() == Some(&b'{') => one(accept, events.remove(0)).await,
                _ => several(accept, events).await,
            }
        }
        Form::Lines => lines(accept, native::parse_lines(&bytes, now, peer)?).await,
    }
}

/// A CloudEvent as an event of ours: its data is what it says, and its bytes are those of the data.
fn cloud_event(cloud: CloudEvent, now: Timestamp, peer: Option<Peer>) -> Result<Event, Refusal> {
    for (name, value) in [("type", &cloud.kind), ("id", &cloud.id), ("source", &cloud.source)] {
        native::check_name(name, value)?;
    }
    if cloud.data.len() > limits::EVENT {
        return Err(native::too_large());
    }
    let mut event = Event::new(cloud.kind, Some(cloud.id), cloud.data, now);
    event.source = cloud.source;
    event.time = cloud.time.unwrap_or(now);
    event.content_type = cloud.content_type;
    event.peer = peer;
    event.trace = cloud.trace;
    Ok(event)
}

/// The trace that a request belongs to. Two of them say nothing.
fn trace_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut said = headers.get_all(TRACEPARENT).iter();
    let one = said.next().filter(|_| said.next().is_none())?;
    TraceParent::parse(one.to_str().ok()?.trim())
}

/// Hands on events, those that name no trace with that of their request.
struct Traced<'a> {
    accept: &'a dyn Accept,
    trace: Option<TraceParent>,
}

impl Traced<'_> {
    async fn accept(&self, mut events: Vec<Event>) -> Vec<Answer> {
        events.iter_mut().for_each(|event| event.trace = event.trace.or(self.trace));
        self.accept.accept(events).await
    }
}

/// Stores events as one, and answers with a list.
async fn several(accept: &Traced<'_>, events: Vec<Event>) -> Result<Response<Body>, Refusal> {
    let answers = all(accept, events).await?;
    let mut text = Vec::with_capacity(96 * answers.len() + 2);
    for answer in &answers {
        text.push(if text.is_empty() { b'[' } else { b',' });
        native::write_answer(&mut text, answer);
    }
    text.extend_from_slice(if text.is_empty() { b"[]" } else { b"]" });
    Ok(answer(StatusCode::ACCEPTED, JSON, text))
}

async fn one(accept: &Traced<'_>, event: Event) -> Result<Response<Body>, Refusal> {
    match all(accept, vec![event]).await?.first() {
        Some(accepted) => Ok(answer(StatusCode::ACCEPTED, JSON, native::answer_json(accepted))),
        None => Err(lost()),
    }
}

/// Stores events as one, or refuses with the first reason.
async fn all(accept: &Traced<'_>, events: Vec<Event>) -> Result<Vec<Answer>, Refusal> {
    if events.is_empty() {
        return Ok(vec![]);
    }
    let count = events.len();
    let answers = accept.accept(events).await;
    if answers.len() != count {
        return Err(lost());
    }
    match answers.iter().find_map(|answer| if let Answer::Refused(why) = answer { Some(why) } else { None }) {
        Some(why) => Err(why.clone()),
        None => Ok(answers),
    }
}

/// One answer per line. Trouble that is ours (a full queue, a full disk) is a status that senders try again on, and
/// then nothing is stored.
async fn lines(accept: &Traced<'_>, parsed: Vec<Result<Event, Refusal>>) -> Result<Response<Body>, Refusal> {
    let mut good = vec![];
    let slots: Vec<Option<Refusal>> = parsed.into_iter().map(|line| line.map(|event| good.push(event)).err()).collect();
    let taken = good.len();
    let mut answers = all(accept, good).await?.into_iter();

    let mut text = Vec::with_capacity(96 * slots.len());
    for refusal in &slots {
        match refusal {
            Some(refusal) => {
                accept.accept.refused(refusal.code);
                native::write_answer(&mut text, &Answer::Refused(refusal.clone()));
            }
            None => native::write_answer(&mut text, &answers.next().ok_or_else(lost)?),
        }
        text.push(b'\n');
    }
    let status = match (taken, slots.len()) {
        (_, 0) => return Err(Refusal::new(Code::BadEvent, "the body holds no event")),
        (0, _) => StatusCode::BAD_REQUEST,
        (taken, lines) if taken == lines => StatusCode::ACCEPTED,
        _ => StatusCode::MULTI_STATUS,
    };
    Ok(answer(status, NDJSON, text))
}

/// What an event hears whose storing came to no end.
pub(crate) fn lost() -> Refusal {
    Refusal::new(Code::Unavailable, "it is not certain that the event was stored; send it again with the same id")
}

/// What the head says of the body.
fn form(head: &Parts, now: Timestamp, peer: Option<Peer>) -> Result<Form, Refusal> {
    let media_type = match head.headers.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| Refusal::new(Code::BadEvent, "the Content-Type is not text"))?,
        None => "",
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if cloudevents::is_meant(&head.headers) {
        return Ok(Form::Cloud);
    }
    if let Some(query) = head.uri.query() {
        return Ok(Form::Any(Box::new(named(query, media_type, now, peer)?)));
    }
    if essence.eq_ignore_ascii_case(JSON) {
        Ok(Form::Native)
    } else if [NDJSON, "application/jsonl"].iter().any(|ndjson| essence.eq_ignore_ascii_case(ndjson)) {
        Ok(Form::Lines)
    } else if essence.is_empty() {
        Err(unsupported("say what the body is: Content-Type: application/json, or ?type=TYPE to take it as it is"))
    } else {
        Err(unsupported(
            "send an event as Content-Type: application/json (curl: --json), or add ?type=TYPE to take any body as it is",
        ))
    }
}

fn unsupported(message: &str) -> Refusal {
    Refusal::new(Code::UnsupportedMediaType, message)
}

/// The event that the query describes; its body is still to come.
fn named(query: &str, media_type: &str, now: Timestamp, peer: Option<Peer>) -> Result<Event, Refusal> {
    let bad = |message: String| Refusal::new(Code::BadEvent, message);
    let (mut kind, mut id, mut source, mut time) = (None, None, None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "type" => &mut kind,
            "id" => &mut id,
            "source" => &mut source,
            "time" => &mut time,
            _ => {
                return Err(bad(format!("unknown parameter {name:?}; the query takes type, id, source and time")));
            }
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(bad(format!("{name} is there twice in the query")));
        }
    }
    let Some(kind) = kind else {
        return Err(bad("the query names no type; add type=TYPE".to_owned()));
    };
    for (name, value) in [("type", Some(&kind)), ("id", id.as_ref()), ("source", source.as_ref())] {
        if let Some(value) = value {
            native::check_name(name, value)?;
        }
    }
    let mut event = Event::new(kind, id, Bytes::new(), now);
    event.source = source.unwrap_or_default();
    event.time = time.map_or(Ok(now), |time| native::check_time(&time))?;
    event.content_type = if media_type.is_empty() { "application/octet-stream" } else { media_type }.to_owned();
    event.peer = peer;
    Ok(event)
}

/// An answer with a whole body.
pub fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A refusal as a problem document.
pub fn problem(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = status.canonical_reason().unwrap_or_default();
    let mut text = Vec::with_capacity(192);
    text.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":");
    native::write_text(&mut text, title);
    text.extend_from_slice(format!(",\"status\":{},\"detail\":", status.as_u16()).as_bytes());
    native::write_text(&mut text, &refusal.message);
    text.push(b',');
    native::write_error(&mut text, refusal);
    text.push(b'}');

    let mut response = answer(status, PROBLEM, text);
    // For whoever counts.
    response.extensions_mut().insert(refusal.code);
    match refusal.code {
        Code::Busy | Code::Unavailable | Code::Failed | Code::StorageFull => {
            let wait = HeaderValue::from(limits::BUSY_RETRY_AFTER.max(Duration::from_secs(1)).as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        Code::Unauthorized => {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        _ => {}
    }
    response
}

/// The refusal of a method, with those that are allowed.
pub fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response = problem(&Refusal::new(Code::MethodNotAllowed, format!("this path takes {allowed}")));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
