//! The admin socket: ask and act. The command line speaks only this.

use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::edges::config::ReloadRequest;
use crate::edges::intake::http::server::{Answering, Body, Handler};
use crate::edges::intake::{http, native};
use crate::edges::journal::{Filter, JournalError, LogRow, Shown};
use crate::engine::desk::Desk;
use crate::engine::health::Health;
use crate::engine::probe::probe;
pub use crate::engine::status::About;
use crate::engine::{explain, robots, standing, status};
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::rules::traces;
use crate::rules::yaml::reader::parse_duration;
use crate::words::delivery::Why;
use crate::words::event::{Event, Peer};
use crate::words::limits;

mod acts;

/// Answers the admin socket.
pub struct Admin {
    desk: Arc<Desk>,
    config: watch::Receiver<Arc<Config>>,
    reload: mpsc::Sender<ReloadRequest>,
    about: About,
    health: Health,
}

/// What goes back.
pub enum Reply {
    /// One JSON value.
    Json(u16, Json),
    /// One JSON value, written already: it may be large.
    Written(String),
    /// One JSON value per line.
    Lines(Vec<String>),
    /// Lines as they come.
    Pieces(mpsc::Receiver<Bytes>),
    /// Attempts as they are recorded, those that pass the filter.
    Stream(broadcast::Receiver<Arc<LogRow>>, Filter),
}

/// A refusal: HTTP status, code, message.
type Refused = (u16, &'static str, String);

impl Admin {
    /// An admin of this desk.
    pub fn new(
        desk: Arc<Desk>,
        config: watch::Receiver<Arc<Config>>,
        reload: mpsc::Sender<ReloadRequest>,
        about: About,
        health: Health,
    ) -> Self {
        Self { desk, config, reload, about, health }
    }

    /// Answers one request of somebody.
    pub async fn answer(&self, method: &Method, path: &str, query: &str, body: &[u8], peer: Option<Peer>) -> Reply {
        self.route(method, path, query, body, peer).await.unwrap_or_else(|(status, code, message)| {
            // What to do stands on a line of its own.
            let (message, help) = match message.split_once('\n') {
                Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
                None => (message, None),
            };
            Reply::Json(status, json!({"error": {"code": code, "message": message, "help": help}}))
        })
    }

    async fn route(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &[u8],
        peer: Option<Peer>,
    ) -> Result<Reply, Refused> {
        let get = method == Method::GET;
        match (get, path) {
            (true, "/v1/status") => {
                let config = self.config.borrow().clone();
                status::status(&self.desk, &config, &self.about).await.map(Reply::Written).map_err(storage)
            }
            (true, "/v1/queue") => self.queue(query).await,
            (true, "/v1/shape") => self.shape(query).await,
            (true, "/v1/deliveries") => {
                let rows = self.desk.journal.list(filter(query)?).await.map_err(storage)?;
                Ok(Reply::Lines(rows.iter().map(line).collect()))
            }
            (true, "/v1/log") => {
                let filter = self.known(filter(query)?).await?;
                let rows = self.desk.journal.log(filter).await.map_err(storage)?;
                Ok(Reply::Lines(rows.iter().map(line).collect()))
            }
            (true, "/v1/stream") => Ok(Reply::Stream(self.desk.log.subscribe(), self.known(filter(query)?).await?)),
            (false, "/v1/explain") => self.unsent_event(body),
            (false, "/v1/replay" | "/v1/flush" | "/v1/drop") => self.order(path, body, peer).await,
            (false, "/v1/backup") => self.backup(body, peer),
            (false, "/v1/reload") => self.reload().await,
            (false, "/v1/hold") => self.hold(body, peer).await,
            (false, "/v1/release") => self.release(body).await,
            (false, "/v1/test") => self.test(body).await,
            (true, _) => match path.strip_prefix("/v1/").and_then(|rest| rest.split_once('/')) {
                Some(("deliveries", id)) => self.delivery(id).await,
                Some(("events", id)) => self.event(id).await,
                Some(("explain", id)) => self.known_event(id).await,
                _ => Err((404, "not_found", format!("nothing is at {path}"))),
            },
            _ => Err((404, "not_found", format!("nothing is at {method} {path}"))),
        }
    }

    async fn delivery(&self, id: &str) -> Result<Reply, Refused> {
        let shown = self.desk.journal.show(id).await.map_err(storage)?;
        match shown {
            Some(mut shown) => {
                let config = self.config.borrow().clone();
                let standing = standing::of_hook(&self.desk, &config, &shown.row.hook);
                standing::tell(&standing, &mut shown.row, self.desk.clock.steady());
                Ok(Reply::Json(200, whole(&shown, config.settings.traces.is_some())))
            }
            None => Err((404, "not_found", format!("no delivery {id} is on record"))),
        }
    }

    async fn event(&self, id: &str) -> Result<Reply, Refused> {
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
        let of_event = Filter { event: Some(id.clone()), ..Filter::default() };
        let rows = self.desk.journal.list(of_event).await.map_err(storage)?;
        let Some(first) = rows.first() else {
            return Err((404, "not_found", format!("no delivery of an event {id} is on record")));
        };
        let shown = self.desk.journal.show(&first.delivery).await.map_err(storage)?;
        let event = shown.map(|shown| shown.event);
        Ok(Reply::Json(
            200,
            json!({
                "id": id,
                "type": first.kind,
                "source": event.as_ref().map(|event| event.source.clone()),
                "time": event.as_ref().map(|event| event.time),
                "data": event.as_ref().map(|event| event.data().clone()),
                "deliveries": rows,
            }),
        ))
    }

    async fn known_event(&self, id: &str) -> Result<Reply, Refused> {
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
        let config = self.config.borrow().clone();
        match explain::known(&self.desk, &config, &id).await.map_err(storage)? {
            Some(told) => Ok(Reply::Json(200, told)),
            None => Err((404, "not_found", format!("no event and no delivery {id} is on record"))),
        }
    }

    fn unsent_event(&self, body: &[u8]) -> Result<Reply, Refused> {
        let event = self.native(body)?;
        Ok(Reply::Json(200, explain::unsent(&self.config.borrow().clone(), &event)))
    }

    async fn reload(&self) -> Result<Reply, Refused> {
        let (ask, answered) = oneshot::channel();
        let stopping = || (503, "unavailable", "postrider is stopping".to_owned());
        self.reload.send(ask).await.map_err(|_| stopping())?;
        let done = answered.await.map_err(|_| stopping())?;
        let worst = done.problems.iter().map(|problem| problem.severity).max();
        let status = if worst == Some(crate::rules::diagnostic::Severity::Error) { 422 } else { 200 };
        Ok(Reply::Json(
            status,
            json!({
                "hooks": done.hooks, "added": done.added, "changed": done.changed, "removed": done.removed,
                "problems": status::problems(&done.problems),
            }),
        ))
    }

    async fn hold(&self, body: &[u8], peer: Option<Peer>) -> Result<Reply, Refused> {
        let asked = object(body)?;
        let hook = self.known_hook(&asked).await?;
        tracing::info!(hook = %hook.name, by = acts::who(peer), "an operator holds a hook");
        let until = match asked["for"].as_str().map(parse_duration) {
            None => None,
            Some(Ok(span)) => Some(backoff::later(self.desk.clock.steady(), span)),
            Some(Err(_)) => return Err((400, "bad_request", "`for` is no duration such as 2h".to_owned())),
        };
        self.desk.hold_by_hand(&hook.name, asked["why"].as_str().unwrap_or("held by hand"), until).await;
        Ok(Reply::Json(200, json!({"hook": hook.name.as_ref(), "until": until})))
    }

    async fn release(&self, body: &[u8]) -> Result<Reply, Refused> {
        let asked = object(body)?;
        let name: Arc<str> = asked["hook"].as_str().unwrap_or_default().into();
        let (config, because) = (self.config.borrow().clone(), "an operator said so");
        let mut released = self.desk.release(&name, because).await;
        if let Some(hook) = config.hooks.get(&name) {
            released |= robots::release(&self.desk, hook, because).await;
        }
        if !released {
            let (known, help) = match explain::hook_named(&self.desk, &config, &name).await {
                Ok(_) => (format!("{name} is not held"), "`postrider status` says what every hook does".to_owned()),
                Err((what, help)) => (what, help.unwrap_or_default()),
            };
            return Err((404, "not_found", format!("{known}\n{help}")));
        }
        Ok(Reply::Json(200, json!({"hook": name.as_ref()})))
    }

    async fn test(&self, body: &[u8]) -> Result<Reply, Refused> {
        let order: TestOrder<'_> = serde_json::from_slice(body).map_err(|_| {
            (
                400,
                "bad_request",
                "an order is {\"hook\": NAME, \"event\"?: {…}, \"to\"?: URL, \"robot\"?: N}".to_owned(),
            )
        })?;
        let hook = self.known_hook(&json!({"hook": order.hook})).await?;
        let event = match order.event {
            None => hook.sample_event(),
            Some(given) => self.native(given.get().as_bytes())?,
        };
        let hook = hook.robot(order.robot).map_err(|why| (400, "bad_request", why))?;
        let config = self.config.borrow().clone();
        let now = self.desk.clock.now();
        let to = order.to.as_deref();
        let gate = if to.is_none() { self.desk.constant_gate(&config, &hook) } else { None };
        if let Some(gate) = &gate
            && let Err(wait) = gate.try_out(self.desk.clock.elapsed(), &hook)
        {
            let seconds = wait.until.saturating_sub(self.desk.clock.elapsed()).as_secs() + 1;
            let why = match &wait.why {
                Why::Pace => "its rate_limit is used up",
                why => why.detail(),
            };
            return Err((429, "busy", format!("the receiver may be used again in {seconds} s: {why}")));
        }
        let probed = probe(&self.desk.sender(), &config, &hook, &event, to, now).await;
        Ok(Reply::Json(200, json!(probed)))
    }

    async fn known_hook(&self, asked: &Json) -> Result<Arc<Hook>, Refused> {
        let name = asked["hook"].as_str().unwrap_or_default();
        let config = self.config.borrow().clone();
        if let Some(hook) = config.hooks.get(name) {
            return Ok(hook.clone());
        }
        Err(match explain::hook_named(&self.desk, &config, name).await {
            Ok(name) => (404, "not_found", format!("the file of {name} is gone from hooks.d\nput it back")),
            Err((what, help)) => (404, "not_found", format!("{what}\n{}", help.unwrap_or_default())),
        })
    }

    /// The filter, if there is a hook of the name that it asks for.
    async fn known(&self, filter: Filter) -> Result<Filter, Refused> {
        if let Some(name) = &filter.hook {
            self.hook_named(name).await?;
        }
        Ok(filter)
    }

    async fn hook_named(&self, name: &str) -> Result<Arc<str>, Refused> {
        let config = self.config.borrow().clone();
        let named = explain::hook_named(&self.desk, &config, name).await;
        named.map_err(|(what, help)| (404, "not_found", format!("{what}\n{}", help.unwrap_or_default())))
    }

    fn native(&self, body: &[u8]) -> Result<Event, Refused> {
        native::parse(body, self.desk.clock.now(), None).map_err(|refusal| (400, "bad_event", refusal.message))
    }
}

/// An order to send one event through one hook; the event keeps its bytes.
#[derive(Deserialize)]
struct TestOrder<'b> {
    hook: String,
    to: Option<String>,
    #[serde(default)]
    robot: Option<usize>,
    #[serde(borrow)]
    event: Option<&'b RawValue>,
}

fn object(body: &[u8]) -> Result<Json, Refused> {
    match serde_json::from_slice(body) {
        Ok(value @ Json::Object(_)) => Ok(value),
        _ => Err((400, "bad_request", "the body must be a JSON object".to_owned())),
    }
}

/// Reads a filter from a query string.
fn filter(query: &str) -> Result<Filter, Refused> {
    let mut filter = Filter::default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = |what: &str| (400, "bad_request", format!("{key}={value} is not {what}"));
        let time = || value.parse::<Timestamp>().map_err(|_| wrong("a time such as 2026-01-31T12:00:00Z"));
        match key.as_ref() {
            "id" => filter.ids.push(value.into_owned()),
            "event" => filter.event = Some(value.into_owned()),
            "hook" => filter.hook = Some(value.into_owned()),
            "outcome" => filter.outcome = Some(value.into_owned()),
            "type" => filter.kind = Some(value.into_owned()),
            "status" => filter.status = Some(status_range(&value).ok_or_else(|| wrong("a status such as 503 or 5xx"))?),
            "failed" => filter.failed = value == "1" || value == "true",
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "limit" => filter.limit = Some(value.parse().map_err(|_| wrong("a number"))?),
            _ => return Err((400, "bad_request", format!("there is no filter {key}"))),
        }
    }
    Ok(filter)
}

/// `503`, or `5xx` for all of that hundred.
fn status_range(text: &str) -> Option<(u16, u16)> {
    let (digits, open) = match text.trim_end_matches(['x', 'X']) {
        digits if digits.len() == text.len() => (digits, false),
        digits => (digits, true),
    };
    let number: u16 = digits.parse().ok()?;
    match (open, text.len(), digits.len()) {
        (false, 3, 3) if number >= 100 => Some((number, number)),
        (true, 3, 1) if number >= 1 => Some((number * 100, number * 100 + 99)),
        _ => None,
    }
}

/// Whether a recorded attempt passes the filter of a stream.
pub fn passes(row: &LogRow, filter: &Filter) -> bool {
    filter.hook.as_ref().is_none_or(|hook| *hook == row.hook)
        && (!filter.failed || row.verdict != "delivered")
        && filter.event.as_ref().is_none_or(|event| *event == row.event)
        && filter.means(&row.kind, row.status)
}

fn line(row: &impl serde::Serialize) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

fn whole(shown: &Shown, recording: bool) -> Json {
    let mut whole = json!(shown.row);
    whole["trace"] = json!(traces::trace_of(&shown.event, recording));
    whole["source"] = json!(shown.event.source);
    whole["event_time"] = json!(shown.event.time);
    whole["content_type"] = json!(shown.event.content_type);
    whole["data"] = shown.event.data().clone();
    whole["raw"] = json!(String::from_utf8_lossy(&shown.event.raw));
    let journal = shown.row.delivery.rsplit_once('-').map_or("", |(journal, _)| journal);
    let attempts = shown.attempts.iter().map(|(attempt, outcome)| {
        let mut row = json!({
            "attempt": attempt.number,
            "time": attempt.started,
            "duration_ms": attempt.duration_ms(),
            "request": attempt.request,
            "status": attempt.status,
            "response": attempt.response,
            "verdict": attempt.verdict,
            "why": attempt.why,
            "outcome": outcome,
        });
        if !attempt.along.is_empty() {
            row["along"] = attempt.along.iter().map(|seq| json!(format!("{journal}-{seq}"))).collect();
        }
        row
    });
    whole["attempts"] = attempts.collect();
    whole
}

fn storage(error: JournalError) -> Refused {
    (503, "unavailable", error.to_string())
}

impl Handler for Arc<Admin> {
    fn handle(&self, request: Request<Incoming>, peer: Option<Peer>) -> Answering {
        let admin = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = Limited::new(body, limits::EVENT).collect().await else {
                return respond(Reply::Json(
                    400,
                    json!({"error": {"code": "bad_request", "message": "the body broke off"}}),
                ));
            };
            let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
            if head.method == Method::GET
                && let Some(answer) = admin.health.answer(path, &head.headers).await
            {
                return answer;
            }
            respond(admin.answer(&head.method, path, query, &body.to_bytes(), peer).await)
        })
    }
}

fn respond(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Json(status, value) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            http::answer(status, "application/json", value.to_string())
        }
        Reply::Written(text) => http::answer(StatusCode::OK, "application/json", text),
        Reply::Lines(lines) => {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            http::answer(StatusCode::OK, "application/x-ndjson", text)
        }
        Reply::Pieces(pieces) => {
            let mut response = Response::new(Body::stream(pieces));
            let media_type = HeaderValue::from_static("application/x-ndjson");
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        }
        Reply::Stream(rows, filter) => {
            let (pieces, body) = mpsc::channel(16);
            tokio::spawn(stream(rows, filter, pieces));
            let mut response = Response::new(Body::stream(body));
            let media_type = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        }
    }
}

/// Feeds one listener until it leaves. A listener that is too slow misses rows and is told so.
async fn stream(mut rows: broadcast::Receiver<Arc<LogRow>>, filter: Filter, pieces: mpsc::Sender<Bytes>) {
    let mut alive = tokio::time::interval(limits::KEEP_ALIVE);
    loop {
        let piece = tokio::select! {
            row = rows.recv() => match row {
                Ok(row) if passes(&row, &filter) => format!("data: {}\n\n", line(row.as_ref())),
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(missed)) => format!(": {missed} rows were missed\n\n"),
                Err(broadcast::error::RecvError::Closed) => return,
            },
            // The first tick comes at once: the listener learns that it is connected.
            _ = alive.tick() => ": keep-alive\n\n".to_owned(),
        };
        if pieces.send(piece.into()).await.is_err() {
            return;
        }
    }
}
