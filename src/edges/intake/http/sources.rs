//! `/in/SOURCE[/EVENT]`: a vendor's webhook, read by the script of its source.
//!
//! | what happens | answer |
//! |---|---|
//! | events | 202 and the answer of one, or an array of answers; all of them are stored, or none |
//! | the token or the signature is not right | 401, nothing is stored |
//! | the script refuses | its status |
//! | the script answers a handshake | its answer, nothing is stored |
//! | no such source | 404; over TCP only to who knows the token |
//! | the script fails, a secret is missing, the queue or the disk is full | 500, 503, 507 with Retry-After |
//!
//! Whatever a source verifies must be right, whoever sends. Where it verifies nothing, the token of the listener is
//! needed, if it has one. Our own trouble is always 5xx: some vendors send again after nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::watch;

use super::server::Body;
use super::{Traced, one, problem, several, trace_of};
use crate::edges::intake::{Accept, Code, Refusal, native};
use crate::rules::config::Config;
use crate::rules::source::{Incoming, NamedSource, Outcome, Replays};
use crate::rules::yaml::reader::nearest;
use crate::words::event::{Event, Peer};
use crate::words::limits;

/// Where sources begin.
pub(super) const PREFIX: &str = "/in/";

/// The sources of the configuration, and what they were sent lately.
#[derive(Debug)]
pub struct Sources {
    config: watch::Receiver<Arc<Config>>,
    replays: Mutex<Replays>,
}

/// The door that a request came through.
pub(super) struct Door {
    /// Whether it is guarded by the file system.
    pub(super) local: bool,
    /// Whether there is a token that opens it.
    pub(super) guarded: bool,
    /// Whether it opens for this sender by itself.
    pub(super) opens: Result<(), Refusal>,
}

/// A source that was asked for.
pub(super) struct Found {
    source: Arc<NamedSource>,
    config: Arc<Config>,
    event: String,
}

impl Sources {
    /// Those of whatever configuration there is.
    pub fn new(config: watch::Receiver<Arc<Config>>) -> Self {
        Self { config, replays: Mutex::default() }
    }

    /// How long the same again is a repeat, at the longest; nothing where no source says so.
    pub fn longest_window(&self) -> Option<Duration> {
        self.config.borrow().settings.sources.values().filter_map(|source| source.replay_window).max()
    }

    /// Takes in what was accepted before a restart, oldest first.
    pub fn recall<'e>(&self, lately: impl Iterator<Item = (&'e str, &'e str, Timestamp)>) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        lately.for_each(|(source, id, time)| replays.recall(source, id, time));
    }

    /// The source of a path. Strangers are not told which there are.
    pub(super) fn find(&self, head: &Parts, door: &Door) -> Result<Found, Refusal> {
        let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let (name, event) = path.split_once('/').unwrap_or((path, ""));
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let (Ok(name), Ok(event)) = (decoded(name), decoded(event)) else {
            return Err(Refusal::new(Code::BadEvent, "the path is not UTF-8"));
        };
        let config = self.config.borrow().clone();
        match config.settings.sources.get(&name) {
            Some(source) => Ok(Found { source: source.clone(), event, config }),
            None => {
                door.opens.clone()?;
                let known: Vec<&str> = config.settings.sources.keys().map(String::as_str).collect();
                let help = match nearest(&name, &known) {
                    Some(near) if door.local => format!("; did you mean {near}?"),
                    _ if door.local => "; the main file lists them under sources".to_owned(),
                    _ => String::new(),
                };
                Err(Refusal::new(Code::NotFound, format!("there is no source {name:?}{help}")))
            }
        }
    }

    /// Takes one request from its bytes to its answer.
    pub(super) async fn receive(
        &self,
        accept: &dyn Accept,
        found: Found,
        head: &Parts,
        body: Bytes,
        door: Door,
        peer: Option<Peer>,
    ) -> Result<Response<Body>, Refusal> {
        if body.len() > limits::EVENT {
            return Err(native::too_large());
        }
        let Found { source, config, event } = found;
        let target = head.uri.path_and_query().map_or(head.uri.path(), |target| target.as_str()).to_owned();
        let incoming = Incoming { method: head.method.clone(), target, event, headers: head.headers.clone(), body };
        let (name, now, local) = (source.name.clone(), Timestamp::now(), door.local);
        let reading = {
            let source = source.clone();
            move || read(&source, &incoming, &config, door, now)
        };
        // A script may take half a second, and a panic in it must not take the connection along.
        let outcome = match tokio::task::spawn_blocking(reading).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(failed(&name, "its script broke down on this request", local)),
        };
        match outcome {
            Outcome::Events(events, notes) => {
                for note in notes {
                    tracing::warn!(source = name, "{note}");
                }
                let accept = Traced { accept, trace: trace_of(&head.headers) };
                self.store(&accept, &source, events, now, peer).await
            }
            Outcome::Respond { status, headers, body } => {
                let mut response = Response::new(Body::whole(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
                *response.headers_mut() = headers;
                Ok(response)
            }
            Outcome::Refused { status, why } => {
                tracing::info!(source = name, status, "refused: {why}");
                Ok(refused(&source, status, why))
            }
            Outcome::Failed(found) => {
                let notes = found.notes.iter().map(|note| format!("; {note}")).collect::<String>();
                tracing::error!(source = name, "{}{notes}", found.one_line());
                Err(failed(&name, &found.one_line(), local))
            }
            Outcome::Missing { secret, why } => {
                let what = format!("secret {secret} cannot be read: {why}");
                tracing::error!(source = name, "{what}");
                Err(failed(&name, &what, local))
            }
        }
    }

    async fn store(
        &self,
        accept: &Traced<'_>,
        source: &NamedSource,
        mut events: Vec<Event>,
        now: Timestamp,
        peer: Option<Peer>,
    ) -> Result<Response<Body>, Refusal> {
        for event in &mut events {
            if event.weight() > 2 * limits::EVENT {
                return Err(native::too_large());
            }
            event.peer = peer;
            if let Some(window) = source.replay_window {
                let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
                event.id = replays.id(&event.source, &event.id, window, now);
            }
        }
        // Some vendors send again after 5xx only.
        let later = |refusal: Refusal| match refusal.code {
            Code::Busy => Refusal { code: Code::Unavailable, ..refusal },
            _ => refusal,
        };
        match events.len() {
            1 => one(accept, events.remove(0)).await.map_err(later),
            _ => several(accept, events).await.map_err(later),
        }
    }
}

/// What a source makes of a request that came through this door.
fn read(
    source: &NamedSource,
    incoming: &Incoming,
    config: &Config,
    door: Door,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let opened = match source.open(incoming, &config.secrets, now) {
        Ok(opened) => opened,
        Err(outcome) => return Ok(outcome),
    };
    if let Some(how) = &opened.how {
        tracing::debug!(source = source.name, how, "the signature is right");
    }
    let (local, guarded) = (door.local, door.guarded);
    let welcome = if opened.verified { Ok(()) } else { door.opens };
    // A sender that asks whether it is welcome cannot have proven anything yet; nothing is stored of it.
    let asks = [Method::OPTIONS, Method::GET, Method::HEAD].contains(&incoming.method);
    if !asks {
        welcome.clone()?;
    }
    let verified = opened.verified;
    let outcome = opened.events(&config.secrets, now);
    match &outcome {
        // What a page asks for at its own host says nowhere that it is a page.
        Outcome::Events(..) if asks && !verified && !local && !guarded && !source.is_called(&incoming.headers) => {
            let what = "a GET for another host than this one proves nothing: web pages can send it";
            let help = "give the source a token, or its public_url";
            Err(Refusal::new(Code::Forbidden, format!("{what}; {help}")))
        }
        Outcome::Respond { .. } if asks => Ok(outcome),
        _ => welcome.map(|()| outcome),
    }
}

/// The script's refusal. Its own status wins.
fn refused(source: &NamedSource, status: u16, why: String) -> Response<Body> {
    let code = match status {
        401 => Code::Unauthorized,
        405 => Code::MethodNotAllowed,
        503 => Code::Unavailable,
        status => Code::Refused(status),
    };
    let mut response = problem(&Refusal::new(code, why));
    if code == Code::MethodNotAllowed {
        let methods: Vec<&str> = source.script.manifest.methods.iter().map(Method::as_str).collect();
        if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
            response.headers_mut().insert(header::ALLOW, methods);
        }
    }
    response
}

/// Our own trouble: strangers only hear that there is some.
fn failed(source: &str, what: &str, local: bool) -> Refusal {
    let detail = if local { format!(": {what}") } else { String::new() };
    Refusal::new(Code::Failed, format!("the source {source} cannot read this request now, send it again later{detail}"))
}
