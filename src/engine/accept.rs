//! The upper half of the path: route, append, answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::edges::intake::{Accept, Answer, Code, Refusal};
use crate::edges::journal::{Append, Appended, JournalError};
use crate::engine::desk::Desk;
use crate::rules::config::Config;
use crate::rules::traces::{self, Span};
use crate::words::event::{Event, OWN_SOURCE};
use crate::words::limits;

/// Stores events with the hooks that want them, and answers when they are on disk.
pub struct Acceptor {
    desk: Arc<Desk>,
    config: watch::Receiver<Arc<Config>>,
    stop: CancellationToken,
}

impl Acceptor {
    /// Accepts until `stop`.
    pub fn new(desk: Arc<Desk>, config: watch::Receiver<Arc<Config>>, stop: CancellationToken) -> Self {
        Self { desk, config, stop }
    }
}

/// Why nothing can be accepted right now.
pub fn closed(desk: &Desk, config: &Config, stop: &CancellationToken) -> Option<Refusal> {
    if stop.is_cancelled() {
        return Some(Refusal::new(Code::Unavailable, "postrider is stopping, send it again in a moment"));
    }
    if let Some(trouble) = desk.journal.refuses() {
        return Some(refusal(&trouble));
    }
    let (waiting, bound) = (desk.journal.waiting(), config.settings.waiting);
    if waiting >= bound {
        let message = format!("{waiting} deliveries wait already (limits.waiting: {bound}), send it again later");
        return Some(Refusal::new(Code::Busy, message));
    }
    if desk.journal.unwritten() > limits::UNWRITTEN {
        return Some(Refusal::new(Code::Busy, "events come faster than the disk takes them, send it again later"));
    }
    None
}

/// Answers, once there are any.
type Answers = Pin<Box<dyn Future<Output = Vec<Answer>> + Send>>;

impl Acceptor {
    /// Nobody else speaks in the daemon's name: what is told of its troubles is believed, and raises no other.
    fn without_our_own(&self, events: Vec<Event>) -> Answers {
        let ours: Vec<bool> = events.iter().map(|event| event.source == OWN_SOURCE).collect();
        let others = self.accept(events.into_iter().filter(|event| event.source != OWN_SOURCE).collect());
        Box::pin(async move {
            let mut answers = others.await.into_iter();
            let refused = || {
                let why = format!("the source {OWN_SOURCE} is the daemon's own: send another, or none");
                Answer::Refused(Refusal::new(Code::BadEvent, why))
            };
            ours.into_iter().map(|ours| if ours { refused() } else { answers.next().unwrap_or_else(refused) }).collect()
        })
    }
}

impl Accept for Acceptor {
    fn accept(&self, events: Vec<Event>) -> Answers {
        if events.iter().any(|event| event.source == OWN_SOURCE) {
            return self.without_our_own(events);
        }
        let config = self.config.borrow().clone();
        let count = events.len();
        if let Some(refusal) = closed(&self.desk, &config, &self.stop) {
            return Box::pin(std::future::ready(vec![Answer::Refused(refusal); count]));
        }
        let batch = events.into_iter().map(|event| {
            let hooks = config.route(&event, |hook, why| {
                tracing::warn!(hook = %hook.name, event = event.id, kind = event.kind, why, "its when failed: not wanted");
            });
            let terms = config.terms(&event, &hooks, |hook, why| {
                tracing::warn!(
                    hook = %hook.name, event = event.id, kind = event.kind, why,
                    "its order_by or dedupe failed: delivered without it"
                );
            });
            Append { event: Arc::new(event), hooks, terms }
        });
        let batch: Vec<Append> = batch.collect();
        let asked = once(&batch);
        let handed_in = config.settings.traces.as_ref().map(|_| HandedIn::now(&self.desk, &batch));
        let appended = self.desk.journal.append(batch);
        let desk = self.desk.clone();
        Box::pin(async move {
            match appended.await {
                Ok(appended) => {
                    count_dropped(&desk, &asked, &appended);
                    if let Some(handed_in) = handed_in {
                        handed_in.tell(&desk, &appended);
                    }
                    desk.count_accepted(appended.iter().filter(|one| !one.duplicate).count());
                    appended.into_iter().map(answer).collect()
                }
                Err(error) => vec![Answer::Refused(refusal(&error)); count],
            }
        })
    }

    fn refused(&self, code: Code) {
        self.desk.totals.refused(code);
    }
}

/// What is told of events that were handed in, once they are on disk.
struct HandedIn {
    began: Instant,
    spans: Vec<Option<Span>>,
}

impl HandedIn {
    fn now(desk: &Desk, batch: &[Append]) -> Self {
        let now = desk.clock.now();
        let spans = batch.iter().map(|one| traces::accepted(&one.event, one.hooks.len(), now));
        Self { began: Instant::now(), spans: spans.collect() }
    }

    /// What was known already is not told again.
    fn tell(self, desk: &Desk, appended: &[Appended]) {
        let took = self.began.elapsed();
        let new = self.spans.into_iter().zip(appended).filter(|(_, appended)| !appended.duplicate);
        new.filter_map(|(span, _)| span).for_each(|span| desk.traces.record(Span { took, ..span }));
    }
}

/// Hooks that want the same only once, with the place of the event in its batch.
fn once(batch: &[Append]) -> Vec<(usize, Arc<str>)> {
    let of = |(place, append): (usize, &Append)| {
        let hooks = append.terms.iter().filter(|(_, terms)| terms.once.is_some());
        hooks.map(|(hook, _)| (place, append.hooks[*hook].clone())).collect::<Vec<_>>()
    };
    batch.iter().enumerate().flat_map(of).collect()
}

/// Counts deliveries that are not made because their hook had the same lately.
fn count_dropped(desk: &Desk, asked: &[(usize, Arc<str>)], appended: &[Appended]) {
    for (place, hook) in asked {
        if appended.get(*place).is_some_and(|one| !one.duplicate && !one.hooks.contains(hook)) {
            desk.pulse(hook).tally().ended("dropped");
        }
    }
}

fn answer(appended: Appended) -> Answer {
    let hooks = appended.hooks.iter().map(|hook| hook.to_string()).collect();
    Answer::Accepted { id: appended.id, hooks, duplicate: appended.duplicate }
}

/// Storage trouble is never the sender's fault: it is told to send again.
fn refusal(error: &JournalError) -> Refusal {
    let code = match error {
        JournalError::Full(_) | JournalError::Low(_) => Code::StorageFull,
        _ => Code::Unavailable,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_trouble_is_never_the_senders_fault() {
        for (error, status) in [
            (JournalError::Full("no room".into()), 507),
            (JournalError::Low("hardly any room".into()), 507),
            (JournalError::Storage("fsync failed".into()), 503),
            (JournalError::Closed, 503),
        ] {
            assert_eq!(refusal(&error).code.status(), status, "{error}");
        }
    }
}
