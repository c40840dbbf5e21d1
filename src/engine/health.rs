//! `/metrics`, `/healthz` and `/readyz`: on the admin socket, and where `listen.metrics` says.

use std::sync::Arc;

use ::http::header::ACCEPT;
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::edges::intake::http::server::{Answering, Body, Handler};
use crate::edges::intake::http::{answer, not_a_browser, problem, wrong_method};
use crate::edges::intake::{Code, Refusal};
use crate::engine::accept::closed;
use crate::engine::desk::Desk;
use crate::engine::{metrics, pulse};
use crate::rules::config::Config;
use crate::rules::exposition::{self, Form};
use crate::rules::host;
use crate::words::limits;

/// Says how the daemon is.
#[derive(Clone)]
pub struct Health {
    desk: Arc<Desk>,
    config: watch::Receiver<Arc<Config>>,
    stop: CancellationToken,
}

impl Health {
    /// Of the daemon with this desk, which ends at `stop`.
    pub fn new(desk: Arc<Desk>, config: watch::Receiver<Arc<Config>>, stop: CancellationToken) -> Self {
        Self { desk, config, stop }
    }

    /// The answer at this path, if it is one of ours.
    pub async fn answer(&self, path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        match path {
            "/metrics" => Some(self.metrics(headers).await),
            "/healthz" => Some(verdict(self.stands_still().await)),
            "/readyz" => Some(verdict(self.takes_nothing())),
            _ => None,
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let form = Form::accepted(&accept.collect::<Vec<_>>().join(","));
        let config = self.config.borrow().clone();
        let families = metrics::gather(&self.desk, &config, &self.stop).await;
        answer(StatusCode::OK, form.media_type(), exposition::write(families, form))
    }

    /// Why the process should be started anew.
    async fn stands_still(&self) -> Option<String> {
        pulse::progress(&self.desk, limits::PULSE).await
    }

    /// Why no event is taken right now.
    fn takes_nothing(&self) -> Option<String> {
        let config = self.config.borrow().clone();
        closed(&self.desk, &config, &self.stop).map(|refusal| refusal.message)
    }
}

/// Metrics name hooks and say how much they do: nothing for a web page that is open on this machine.
fn not_a_web_page(headers: &HeaderMap) -> Result<(), Refusal> {
    not_a_browser(headers)?;
    if host::is_this_machine(headers) {
        return Ok(());
    }
    let what = "this is asked of another host than this machine: a proxy before it must name it, as Host: localhost";
    Err(Refusal::new(Code::Forbidden, what))
}

fn verdict(wrong: Option<String>) -> Response<Body> {
    let (status, body) = match wrong {
        None => (StatusCode::OK, json!({"ok": true})),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, json!({"ok": false, "why": why})),
    };
    answer(status, "application/json", format!("{body}\n"))
}

/// Over TCP there is nothing else.
impl Handler for Health {
    fn handle(&self, request: Request<Incoming>, _: Option<crate::words::event::Peer>) -> Answering {
        let health = self.clone();
        Box::pin(async move {
            if request.method() != Method::GET {
                return wrong_method("GET");
            }
            if request.uri().path() == "/metrics"
                && let Err(refusal) = not_a_web_page(request.headers())
            {
                return problem(&refusal);
            }
            let nothing = || {
                answer(
                    StatusCode::NOT_FOUND,
                    "text/plain",
                    "here are /metrics, /healthz and /readyz, and nothing else\n",
                )
            };
            health.answer(request.uri().path(), request.headers()).await.unwrap_or_else(nothing)
        })
    }
}
