//! The admin socket: ask and act. The command line speaks only this.

use std::sync::Arc;
use std::sync::atomic::Ordering;

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
use crate::edges::journal::{DeliveryRow, Filter, JournalError, LaneCount, LogRow, Shown};
use crate::engine::desk::Desk;
use crate::engine::probe::probe;
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::hook::{Hook, NotWanted};
use crate::rules::yaml::reader::parse_duration;
use crate::words::delivery::Why;
use crate::words::event::{Event, Peer};
use crate::words::limits;

/// Answers the admin socket.
pub struct Admin {
    desk: Arc<Desk>,
    config: watch::Receiver<Arc<Config>>,
    reload: mpsc::Sender<ReloadRequest>,
    about: About,
}

/// What the daemon knows about itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The journal's file.
    pub journal: String,
    /// The emit socket.
    pub emit: String,
    /// The TCP address, if there is one.
    pub http: Option<String>,
}

/// What goes back.
pub enum Reply {
    /// One JSON value.
    Json(u16, Json),
    /// One JSON value per line.
    Lines(Vec<String>),
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
    ) -> Self {
        Self { desk, config, reload, about }
    }

    /// Answers one request.
    pub async fn answer(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> Reply {
        self.route(method, path, query, body).await.unwrap_or_else(|(status, code, message)| {
            Reply::Json(status, json!({"error": {"code": code, "message": message}}))
        })
    }

    async fn route(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> Result<Reply, Refused> {
        let get = method == Method::GET;
        match (get, path) {
            (true, "/v1/status") => self.status().await,
            (true, "/v1/deliveries") => {
                let rows = self.desk.journal.list(filter(query)?).await.map_err(storage)?;
                Ok(Reply::Lines(rows.iter().map(line).collect()))
            }
            (true, "/v1/log") => {
                let rows = self.desk.journal.log(filter(query)?).await.map_err(storage)?;
                Ok(Reply::Lines(rows.iter().map(line).collect()))
            }
            (true, "/v1/stream") => Ok(Reply::Stream(self.desk.log.subscribe(), filter(query)?)),
            (true, "/healthz") => Ok(self.health()),
            (false, "/v1/explain") => self.explain(body),
            (false, "/v1/replay") => self.replay(body).await,
            (false, "/v1/reload") => self.reload().await,
            (false, "/v1/hold") => self.hold(body).await,
            (false, "/v1/release") => self.release(body).await,
            (false, "/v1/test") => self.test(body).await,
            (true, _) => match (path.strip_prefix("/v1/deliveries/"), path.strip_prefix("/v1/events/")) {
                (Some(id), _) => self.delivery(id).await,
                (_, Some(id)) => self.event(id).await,
                _ => Err((404, "not_found", format!("nothing is at {path}"))),
            },
            _ => Err((404, "not_found", format!("nothing is at {method} {path}"))),
        }
    }

    async fn status(&self) -> Result<Reply, Refused> {
        let config = self.config.borrow().clone();
        let lanes = self.desk.journal.lanes().await.map_err(storage)?;
        let mut counts: std::collections::BTreeMap<_, _> = lanes.into_iter().collect();
        let mut hooks = Vec::new();
        for hook in config.hooks.values() {
            let count = counts.remove(&hook.name).unwrap_or_default();
            hooks.push(self.hook_status(&config, &hook.name, Some(hook), &count));
        }
        for (name, count) in counts.iter().filter(|(_, count)| count.waiting + count.dead > 0) {
            hooks.push(self.hook_status(&config, name, None, count));
        }
        let sum = |key: &str| hooks.iter().filter_map(|hook| hook[key].as_u64()).sum::<u64>();
        Ok(Reply::Json(
            200,
            json!({
                "version": env!("CARGO_PKG_VERSION"),
                "pid": std::process::id(),
                "since": self.desk.since,
                "accepted": self.desk.accepted.load(Ordering::Relaxed),
                "waiting": sum("waiting"),
                "dead": sum("dead"),
                "delivered": sum("delivered"),
                "hooks": hooks,
                "problems": problems(&config.problems),
                "ignored": config.ignored.iter().map(|one| json!({"file": one.file, "why": one.why})).collect::<Vec<_>>(),
                "storage": self.storage(),
                "listen": {"emit": self.about.emit, "http": self.about.http},
            }),
        ))
    }

    /// Whether events are taken.
    fn health(&self) -> Reply {
        match self.desk.journal.refuses() {
            None => Reply::Json(200, json!({"ok": true})),
            Some(why) => Reply::Json(503, json!({"ok": false, "why": why.to_string()})),
        }
    }

    /// What is known of the journal's files.
    fn storage(&self) -> Json {
        let journal = &self.desk.journal;
        let why = |error: Option<JournalError>| error.map(|why| why.to_string());
        let mut storage = json!(journal.usage());
        storage["path"] = json!(self.about.journal);
        storage["trouble"] = json!(why(journal.trouble()));
        storage["refuses"] = json!(why(journal.refuses()));
        storage
    }

    fn hook_status(&self, config: &Config, name: &Arc<str>, hook: Option<&Arc<Hook>>, count: &LaneCount) -> Json {
        let (state, until, why) = match hook {
            None => ("removed", None, "its file is gone from hooks.d".to_owned()),
            Some(hook) => self.hook_state(config, hook),
        };
        json!({
            "hook": name.as_ref(),
            "file": hook.map(|hook| hook.source.name.to_string()),
            "platform": hook.map(|hook| hook.platform.name.clone()),
            "enabled": hook.is_some_and(|hook| hook.enabled),
            "state": state,
            "until": until,
            "why": why,
            "waiting": count.waiting,
            "dead": count.dead,
            "delivered": count.delivered,
            "in_flight": self.desk.flying(name).load(Ordering::Relaxed),
            "oldest": count.oldest,
        })
    }

    fn hook_state(&self, config: &Config, hook: &Hook) -> (&'static str, Option<Timestamp>, String) {
        if !hook.enabled {
            return ("disabled", None, "enabled: false".to_owned());
        }
        if let Some(trouble) = self.desk.journal.trouble() {
            return ("storage", None, trouble.to_string());
        }
        if let Some(hold) = self.desk.held(&hook.name) {
            return ("held", hold.until, hold.why);
        }
        if let Some(why) = config.missing_secret(hook) {
            return ("secret missing", None, why);
        }
        match self.shut(config, hook) {
            Some((until, Why::Breaker(why))) => ("failing", Some(until), why),
            Some((until, why)) => ("paused", Some(until), why.detail().to_owned()),
            None => ("ready", None, String::new()),
        }
    }

    fn shut(&self, config: &Config, hook: &Hook) -> Option<(Timestamp, Why)> {
        let (now, elapsed) = (self.desk.clock.now(), self.desk.clock.elapsed());
        let (until, why) = self.desk.constant_gate(config, hook)?.closed(elapsed)?;
        Some((backoff::later(now, until.saturating_sub(elapsed)), why))
    }

    async fn delivery(&self, id: &str) -> Result<Reply, Refused> {
        let shown = self.desk.journal.show(id).await.map_err(storage)?;
        match shown {
            Some(mut shown) => {
                self.say_why_it_waits(&mut shown.row);
                Ok(Reply::Json(200, whole(&shown)))
            }
            None => Err((404, "not_found", format!("no delivery {id} is on record"))),
        }
    }

    /// What keeps the whole hook from sending says more than what the delivery was told last.
    fn say_why_it_waits(&self, row: &mut DeliveryRow) {
        if row.outcome != "waiting" {
            return;
        }
        let config = self.config.borrow().clone();
        let (state, until, why) = match config.hooks.get(row.hook.as_str()) {
            Some(hook) => self.hook_state(&config, hook),
            None => ("hook removed", None, "its file is gone from hooks.d".to_owned()),
        };
        if state != "ready" {
            row.due = until;
            row.why = format!("{state}: {why}");
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

    fn explain(&self, body: &[u8]) -> Result<Reply, Refused> {
        let event = self.native(body)?;
        let config = self.config.borrow().clone();
        let hooks: Vec<Json> = config
            .explain(&event)
            .into_iter()
            .map(|(hook, wanted)| {
                let why = match &wanted {
                    Ok(()) => String::new(),
                    Err(NotWanted::Disabled) => "disabled".to_owned(),
                    Err(NotWanted::Type) => "its events do not name this type".to_owned(),
                    Err(NotWanted::When) => "its when is false".to_owned(),
                    Err(NotWanted::WhenFailed(why)) => format!("its when failed: {why}"),
                };
                json!({"hook": hook.as_ref(), "wanted": wanted.is_ok(), "why": why})
            })
            .collect();
        Ok(Reply::Json(200, json!({"hooks": hooks})))
    }

    async fn replay(&self, body: &[u8]) -> Result<Reply, Refused> {
        let asked = object(body)?;
        let ids: Vec<String> =
            asked["ids"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect();
        let dead = asked["dead"].as_bool().unwrap_or_default();
        if ids.is_empty() && !dead {
            return Err((400, "bad_request", "name deliveries, or ask for the dead ones".to_owned()));
        }
        let mut meant = Filter { hook: asked["hook"].as_str().map(str::to_owned), ..Filter::default() };
        if dead {
            meant.outcome = Some("dead".to_owned());
        }
        meant.ids = ids;
        let deliveries = if asked["dry_run"].as_bool().unwrap_or_default() {
            let rows = self.desk.journal.list(meant).await.map_err(storage)?;
            rows.into_iter().filter(|row| row.outcome != "waiting").map(|row| row.delivery).collect()
        } else {
            self.desk.journal.reopen(meant, self.desk.clock.now()).await.map_err(storage)?
        };
        Ok(Reply::Json(200, json!({"deliveries": deliveries})))
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
                "problems": problems(&done.problems),
            }),
        ))
    }

    async fn hold(&self, body: &[u8]) -> Result<Reply, Refused> {
        let asked = object(body)?;
        let hook = self.known_hook(&asked)?;
        let until = match asked["for"].as_str().map(parse_duration) {
            None => None,
            Some(Ok(span)) => Some(backoff::later(self.desk.clock.now(), span)),
            Some(Err(_)) => return Err((400, "bad_request", "`for` is no duration such as 2h".to_owned())),
        };
        self.desk.hold_by_hand(&hook.name, asked["why"].as_str().unwrap_or("held by hand"), until).await;
        Ok(Reply::Json(200, json!({"hook": hook.name.as_ref(), "until": until})))
    }

    async fn release(&self, body: &[u8]) -> Result<Reply, Refused> {
        let asked = object(body)?;
        let name: Arc<str> = asked["hook"].as_str().unwrap_or_default().into();
        if !self.desk.release(&name, "an operator said so").await {
            return Err((404, "not_found", format!("no hook {name} is held")));
        }
        Ok(Reply::Json(200, json!({"hook": name.as_ref()})))
    }

    async fn test(&self, body: &[u8]) -> Result<Reply, Refused> {
        let order: TestOrder<'_> = serde_json::from_slice(body).map_err(|_| {
            (400, "bad_request", "an order is {\"hook\": NAME, \"event\"?: {…}, \"to\"?: URL}".to_owned())
        })?;
        let hook = self.known_hook(&json!({"hook": order.hook}))?;
        let event = match order.event {
            None => hook.sample_event(),
            Some(given) => self.native(given.get().as_bytes())?,
        };
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

    fn known_hook(&self, asked: &Json) -> Result<Arc<Hook>, Refused> {
        let name = asked["hook"].as_str().unwrap_or_default();
        let config = self.config.borrow().clone();
        let hook = config.hooks.get(name).cloned();
        hook.ok_or_else(|| (404, "not_found", format!("no hook {name} is loaded")))
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
            "failed" => filter.failed = value == "1" || value == "true",
            "since" => filter.since = Some(time()?),
            "until" => filter.until = Some(time()?),
            "limit" => filter.limit = Some(value.parse().map_err(|_| wrong("a number"))?),
            _ => return Err((400, "bad_request", format!("there is no filter {key}"))),
        }
    }
    Ok(filter)
}

/// Whether a recorded attempt passes the filter of a stream.
pub fn passes(row: &LogRow, filter: &Filter) -> bool {
    filter.hook.as_ref().is_none_or(|hook| *hook == row.hook)
        && (!filter.failed || row.verdict != "delivered")
        && filter.event.as_ref().is_none_or(|event| *event == row.event)
}

fn line(row: &impl serde::Serialize) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

fn problems(found: &[Diagnostic]) -> Vec<Json> {
    found.iter().map(Diagnostic::to_json).collect()
}

fn whole(shown: &Shown) -> Json {
    let mut whole = json!(shown.row);
    whole["source"] = json!(shown.event.source);
    whole["event_time"] = json!(shown.event.time);
    whole["content_type"] = json!(shown.event.content_type);
    whole["data"] = shown.event.data().clone();
    whole["raw"] = json!(String::from_utf8_lossy(&shown.event.raw));
    let attempts = shown.attempts.iter().map(|(attempt, outcome)| {
        json!({
            "attempt": attempt.number,
            "time": attempt.started,
            "duration_ms": attempt.duration_ms(),
            "request": attempt.request,
            "status": attempt.status,
            "response": attempt.response,
            "verdict": attempt.verdict,
            "why": attempt.why,
            "outcome": outcome,
        })
    });
    whole["attempts"] = attempts.collect();
    whole
}

fn storage(error: JournalError) -> Refused {
    (503, "unavailable", error.to_string())
}

impl Handler for Arc<Admin> {
    fn handle(&self, request: Request<Incoming>, _peer: Option<Peer>) -> Answering {
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
            respond(admin.answer(&head.method, path, query, &body.to_bytes()).await)
        })
    }
}

fn respond(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Json(status, value) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            http::answer(status, "application/json", value.to_string())
        }
        Reply::Lines(lines) => {
            let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            http::answer(StatusCode::OK, "application/x-ndjson", text)
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
