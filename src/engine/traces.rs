//! Spans on their way to a collector. They wait in memory, within a bound; while the collector is away new ones are
//! dropped and counted. No delivery ever waits for any of this.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::edges::process;
use crate::edges::send::Sender;
use crate::rules::answer::retry_after;
use crate::rules::config::Config;
use crate::rules::settings::Network;
use crate::rules::traces::{Place, Span, Tried, attempted, otlp};
use crate::words::event::Event;
use crate::words::exchange::Request;
use crate::words::limits;
use crate::words::secret::shown_url;
use crate::words::trace::TRACEPARENT;

/// The spans that wait.
#[derive(Debug, Default)]
pub struct Traces {
    waiting: Mutex<VecDeque<Span>>,
    bell: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Traces {
    /// One more, if there is room.
    pub fn record(&self, span: Span) {
        let mut waiting = self.waiting();
        if waiting.len() >= limits::SPANS {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push_back(span);
        if [1, limits::SPAN_BATCH].contains(&waiting.len()) {
            self.bell.notify_one();
        }
    }

    /// Spans that a collector took since the start.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Spans that none did.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next spans, when there are enough for a request or they have waited long enough.
    async fn gathered(&self) {
        while self.waiting().is_empty() {
            self.bell.notified().await;
        }
        let enough = async {
            while self.waiting().len() < limits::SPAN_BATCH {
                self.bell.notified().await;
            }
        };
        _ = timeout(limits::SPAN_LINGER, enough).await;
    }

    fn take(&self) -> Vec<Span> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(limits::SPAN_BATCH);
        waiting.drain(..count).collect()
    }
}

/// What an attempt has to do with traces.
pub struct Traced(Option<Place>);

impl Traced {
    /// An attempt that is about to begin. The hot path, where nobody traces anything: nothing is done.
    pub fn begin(config: &Config, event: &Event) -> Self {
        let recording = config.settings.traces.is_some();
        if !recording && event.trace.is_none() {
            return Self(None);
        }
        Self(Place::of(event, recording, fastrand::u64(1..).to_be_bytes()))
    }

    /// Tells the receiver, beside what is signed. A hook that says something else there means that.
    pub fn tell(&self, request: &mut Request) {
        if let Self(Some(place)) = self
            && !request.headers.contains_key(TRACEPARENT)
            && let Ok(value) = HeaderValue::from_str(&place.told.to_string())
        {
            request.headers.insert(TRACEPARENT, value);
        }
    }

    /// The attempt is over.
    pub fn end(&self, traces: &Traces, tried: &Tried<'_>) {
        if let Self(Some(place)) = self
            && place.recorded
        {
            traces.record(attempted(place, tried));
        }
    }
}

/// Hands over what is recorded until `stop`, then what is left.
pub async fn hand_over(traces: Arc<Traces>, config: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    let host = process::host();
    // Whoever wrote the URL of a collector on this machine means it, also where no webhook may go there.
    let sender = Sender::new(Network::default());
    let mut exporter = Exporter { traces, config, sender, host, away: false, told: (0, None) };
    let working = async {
        loop {
            exporter.traces.gathered().await;
            exporter.batch().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = working => {}
    }
    exporter.finish().await;
}

/// Why a collector did not take something.
struct NotTaken {
    why: String,
    /// It may take the same later, at the earliest then.
    later: Option<Duration>,
}

struct Exporter {
    traces: Arc<Traces>,
    config: watch::Receiver<Arc<Config>>,
    sender: Sender,
    host: String,
    /// Whether the log says that the collector takes nothing.
    away: bool,
    /// How many the log says were dropped, and when it said so.
    told: (u64, Option<Instant>),
}

impl Exporter {
    /// Hands over one batch, however long that takes. A batch that `stop` interrupts goes back.
    async fn batch(&mut self) {
        let mut batch = Batch { traces: self.traces.clone(), spans: self.traces.take() };
        let mut wait = limits::SPAN_RETRY;
        while !batch.spans.is_empty() {
            match self.send(&batch.spans).await {
                Ok(taken) => {
                    batch.spans.clear();
                    self.taken(taken);
                }
                Err(NotTaken { why, later: None }) => {
                    self.traces.dropped.fetch_add(batch.spans.len() as u64, Ordering::Relaxed);
                    batch.spans.clear();
                    self.complain(&why);
                }
                Err(NotTaken { why, later: Some(earliest) }) => {
                    self.complain(&why);
                    tokio::select! {
                        () = sleep(wait.max(earliest).min(limits::SPAN_RETRY_MAX)) => {}
                        // Somebody may have mended it.
                        Ok(()) = self.config.changed() => {}
                    }
                    wait = (wait * 2).min(limits::SPAN_RETRY_MAX);
                }
            }
        }
    }

    /// Sends spans once. Answers how many of them the collector took.
    async fn send(&mut self, spans: &[Span]) -> Result<u64, NotTaken> {
        let config = self.config.borrow_and_update().clone();
        let Some(collector) = &config.settings.traces else {
            // Nobody wants them any more.
            return Ok(0);
        };
        let later = |why: String| NotTaken { why, later: Some(Duration::ZERO) };
        let request = otlp::request(collector, &config.secrets, otlp::body(spans, &self.host)).map_err(later)?;
        let of = |why: String| format!("{}: {}", shown_url(&collector.endpoint), config.secrets.redact(&why));
        let answer = self.sender.send(&request, limits::SPAN_TIMEOUT).await;
        let answer = answer.map_err(|error| later(of(error.to_string())))?;
        match answer.status {
            200..300 => {
                let rejected = otlp::rejected(&answer.body).map_or(0, |(count, why)| {
                    tracing::debug!(count, why = of(why), "the collector refused spans");
                    count.min(spans.len() as u64)
                });
                self.traces.dropped.fetch_add(rejected, Ordering::Relaxed);
                Ok(spans.len() as u64 - rejected)
            }
            status => {
                let wait = retry_after(&answer.headers, &serde_json::Value::Null, jiff::Timestamp::now());
                let later = otlp::is_for_now(status).then(|| wait.unwrap_or_default());
                Err(NotTaken { why: of(format!("it answers {status}")), later })
            }
        }
    }

    fn taken(&mut self, taken: u64) {
        self.traces.sent.fetch_add(taken, Ordering::Relaxed);
        let dropped = self.traces.dropped() - self.told.0;
        if std::mem::take(&mut self.away) {
            tracing::info!(dropped, "the collector takes traces again");
        } else if dropped > 0 && self.told.1.is_none_or(|last| last.elapsed() >= limits::TROUBLE_EVERY) {
            tracing::warn!(dropped, "spans were dropped: there are more than the collector takes");
        } else {
            return;
        }
        self.told = (self.traces.dropped(), Some(Instant::now()));
    }

    /// Once, until it takes some.
    fn complain(&mut self, why: &str) {
        if !std::mem::replace(&mut self.away, true) {
            let kept = limits::SPANS;
            tracing::warn!(why, kept, "the collector takes no traces: deliveries go on, later spans are dropped");
        }
    }

    /// Hands over what is left, each once.
    async fn finish(mut self) {
        let all = async {
            loop {
                let mut batch = Batch { traces: self.traces.clone(), spans: self.traces.take() };
                if batch.spans.is_empty() {
                    return ControlFlow::Continue(());
                }
                let Ok(taken) = self.send(&batch.spans).await else { return ControlFlow::Break(()) };
                batch.spans.clear();
                self.traces.sent.fetch_add(taken, Ordering::Relaxed);
            }
        };
        let all_taken = matches!(timeout(limits::SPAN_FLUSH, all).await, Ok(ControlFlow::Continue(())));
        let left = self.traces.waiting().len();
        if !all_taken && left > 0 {
            tracing::warn!(left, "spans were not handed over before the end");
        }
    }
}

/// Spans in hand: those that were not handed over when somebody lost patience wait again, before the others.
struct Batch {
    traces: Arc<Traces>,
    spans: Vec<Span>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut waiting = self.traces.waiting();
        self.spans.drain(..).rev().for_each(|span| waiting.push_front(span));
    }
}
