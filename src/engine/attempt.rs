//! One attempt at one delivery, whole: render, send, verdict, settle.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::edges::journal::{JournalError, LogRow};
use crate::engine::desk::{Desk, Pulse};
use crate::engine::gate::{Gate, Pass, Passes};
use crate::engine::kept;
use crate::engine::robots;
use crate::engine::tally;
use crate::engine::traces::Traced;
use crate::engine::troubles::Trouble;
use crate::engine::turns;
use crate::engine::wire::Mask;
use crate::rules::backoff;
use crate::rules::breaker::Change;
use crate::rules::config::Config;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::hook::Hook;
use crate::rules::platform::{Given, Judged, RenderError, Turn};
use crate::rules::traces::Tried;
use crate::words::delivery::{Attempt, Body, Delivery, Outcome, Why};
use crate::words::event::Event;
use crate::words::exchange::{Request, Response, SendError};
use crate::words::limits;
use crate::words::secret::shown_url;
use crate::words::verdict::Verdict;

/// What an attempt came to, before it is recorded.
struct Ended {
    attempt: Attempt,
    attempts: u32,
    outcome: Outcome,
}

impl Ended {
    fn tried<'a>(
        &'a self,
        delivery: &'a Delivery,
        request: Option<&'a Request>,
        error: Option<&'a SendError>,
    ) -> Tried<'a> {
        Tried { delivery, attempt: &self.attempt, outcome: self.outcome.word(), request, error }
    }
}

/// Tries a delivery once and hands its outcome to the journal. Returns when the lane may go on; the outcome reaches
/// the disk a little later, and until then it counts among `limits::UNSETTLED`.
pub async fn deliver(
    desk: &Arc<Desk>,
    config: &Config,
    hook: &Hook,
    pulse: &Arc<Pulse>,
    delivery: Delivery,
    pass: Option<Pass>,
) {
    let permit = desk.unsettled.clone().acquire_owned().await.ok();
    let started = desk.clock.now();
    let given = given(config, hook, &delivery, started);
    if desk.care.is_watching()
        && let Some(why) = Box::pin(desk.care.against(config, hook, &delivery)).await
    {
        tracing::error!(delivery = %delivery.id, hook = %delivery.hook, why, "given up so that the daemon lives");
        let attempt = (unsent(&delivery, started, why.clone()), delivery.attempts);
        return record(desk, pulse, delivery, Some(attempt), Outcome::Dead { why }, permit);
    }
    if delivery.event.damaged {
        let why = "its event was damaged on disk: its bytes are not those that were acknowledged";
        tracing::error!(delivery = %delivery.id, hook = %delivery.hook, why, "given up: what nobody said is not sent");
        let attempt = (unsent(&delivery, started, why.to_owned()), delivery.attempts);
        return record(desk, pulse, delivery, Some(attempt), Outcome::Dead { why: why.to_owned() }, permit);
    }
    let traced = Traced::begin(config, &delivery.event);
    let (pass, mut made) = match desk.care.watching(&delivery, || make(desk, hook, &given, &delivery, pass)) {
        Ok(made) => made,
        Err(Detained::Until(until, why)) => {
            return record(desk, pulse, delivery, None, Outcome::Waiting { until, why }, permit);
        }
        Err(Detained::Broken(error)) => {
            let ended = unrendered(desk, config, hook, &delivery, started, &error);
            traced.end(&desk.traces, &ended.tried(&delivery, None, None));
            return record_attempt(desk, pulse, delivery, ended, permit);
        }
    };
    if made.parts > 1 {
        made.turn.part = turns::next(desk, &delivery, made.parts).await;
        if let Err(error) = desk.care.watching(&delivery, || made.again(hook, &given, &delivery)) {
            let ended = unrendered(desk, config, hook, &delivery, started, &error);
            traced.end(&desk.traces, &ended.tried(&delivery, None, None));
            return record_attempt(desk, pulse, delivery, ended, permit);
        }
    }
    traced.tell(&mut made.request);
    let begun = Instant::now();
    let (answer, judged) = exchange(desk, config, hook, &given, &delivery, &traced, &mut made).await;
    let took = begun.elapsed();
    // Nothing of what a receiver said goes any further, into a log or a record, before the secrets are out of it.
    let clean = cleaner(config, hook, &made.request);
    desk.care.survived(&delivery);
    let status = answer.as_ref().ok().map(|response| response.status);
    pulse.tally().attempted(&judged.verdict, status, took, desk.clock.elapsed());
    act_on(desk, config, hook, pass.gate(), &judged, &delivery.event).await;
    let change = pass.end(desk.clock.elapsed(), &judged.verdict, hook.breaker.as_ref());
    say(desk, hook, change, &judged.verdict);
    let seen = Seen { started, took, made: &made, answer: &answer, judged: &judged };
    let ended = ended(desk, hook, &delivery, &seen, &clean);
    traced.end(&desk.traces, &ended.tried(&delivery, Some(&made.request), answer.as_ref().err()));
    if matches!(ended.outcome, Outcome::Dead { .. }) {
        let kept = match made.parts {
            1 => desk.care.watching(&delivery, || kept::of(config, hook, &given, &delivery, &made.request)),
            _ => Err("its message has several parts".to_owned()),
        };
        desk.journal.keep_body(&delivery, kept);
        desk.care.survived(&delivery);
    }
    record_attempt(desk, pulse, delivery, ended, permit);
}

/// Why an attempt does not begin.
enum Detained {
    Until(Timestamp, Why),
    Broken(RenderError),
}

/// The request, and the pass to send it with.
fn make(
    desk: &Desk,
    hook: &Hook,
    given: &Given<'_>,
    delivery: &Delivery,
    pass: Option<Pass>,
) -> Result<(Pass, Made), Detained> {
    let pass = match pass {
        Some(pass) => pass,
        None => dynamic_pass(desk, hook, given)?,
    };
    let turn = Turn::default();
    let made = render_turn(hook, given, delivery.original.as_ref(), turn).map_err(Detained::Broken)?;
    let (request, parts) = made;
    Ok((pass, Made { request, parts, turn, text: None }))
}

/// A request, and which one of its delivery it is.
pub(super) struct Made {
    pub(super) request: Request,
    pub(super) parts: u32,
    pub(super) turn: Turn,
    /// The text of a digest.
    pub(super) text: Option<String>,
}

impl Made {
    /// Makes it as `turn` says by now.
    fn again(&mut self, hook: &Hook, given: &Given<'_>, delivery: &Delivery) -> Result<(), RenderError> {
        if self.turn != Turn::default() {
            self.request = match &self.text {
                Some(text) => hook.render_digest(given, text, self.turn)?,
                None => render_turn(hook, given, delivery.original.as_ref(), self.turn)?.0,
            };
        }
        Ok(())
    }
}

/// What an answer means, without the secrets that it may repeat.
fn judge_clean(
    desk: &Desk,
    config: &Config,
    hook: &Hook,
    delivery: &Delivery,
    request: &Request,
    answer: &Result<Response, SendError>,
) -> Judged {
    let clean = cleaner(config, hook, request);
    desk.care.watching(delivery, || judge(hook, answer, desk.clock.now(), &clean))
}

/// Sends it, and once more as plain text if its markup is refused.
pub(super) async fn exchange(
    desk: &Desk,
    config: &Config,
    hook: &Hook,
    given: &Given<'_>,
    delivery: &Delivery,
    traced: &Traced,
    made: &mut Made,
) -> (Result<Response, SendError>, Judged) {
    let answer = desk.sender().send(&made.request, hook.timeout).await;
    let judged = judge_clean(desk, config, hook, delivery, &made.request, &answer);
    if !judged.plain || delivery.original.is_some() {
        return (answer, judged);
    }
    made.turn.plain = true;
    if desk.care.watching(delivery, || made.again(hook, given, delivery)).is_err() {
        return (answer, judged);
    }
    traced.tell(&mut made.request);
    let refused = judged.verdict.why().unwrap_or_default().to_owned();
    let answer = desk.sender().send(&made.request, hook.timeout).await;
    let mut judged = judge_clean(desk, config, hook, delivery, &made.request, &answer);
    if judged.verdict == Verdict::Delivered {
        judged.warning.get_or_insert_with(|| format!("sent as plain text: {refused}"));
    }
    (answer, judged)
}

/// The pass for a receiver that depends on the event (a templated URL).
fn dynamic_pass(desk: &Desk, hook: &Hook, given: &Given<'_>) -> Result<Pass, Detained> {
    let gate = desk.gate(hook.receiver(given).map_err(Detained::Broken)?);
    gate.enter(desk.clock.elapsed(), hook, None).map(Passes::single).map_err(|wait| {
        let until = backoff::later(desk.clock.steady(), wait.until.saturating_sub(desk.clock.elapsed()));
        Detained::Until(until, wait.why)
    })
}

/// Says in the log when a receiver is left alone, and when it is back.
pub(super) fn say(desk: &Desk, hook: &Hook, change: Option<Change>, verdict: &Verdict) {
    match change {
        Some(Change::Opened(until)) => {
            let seconds = until.saturating_sub(desk.clock.elapsed()).as_secs();
            let why = verdict.why().unwrap_or_default();
            tracing::warn!(hook = %hook.name, why, seconds, "the receiver fails again and again: it is left alone");
        }
        Some(Change::Closed) => tracing::info!(hook = %hook.name, "the receiver is back"),
        Some(Change::Eased) | None => {}
    }
}

/// One of the requests of a delivery, perhaps with a body of an earlier attempt, and how many parts its message has. A panic
/// inside a template or a script is that delivery's trouble, not the daemon's.
pub fn render_turn(
    hook: &Hook,
    given: &Given<'_>,
    original: Option<&Arc<Body>>,
    turn: Turn,
) -> Result<(Request, u32), RenderError> {
    catch_unwind(AssertUnwindSafe(|| hook.render_turn(given, original, turn))).unwrap_or_else(|_| {
        let what = format!("rendering hook {} broke down on this event", hook.name);
        let help = "this is a fault of postrider itself: report it with the hook file and the event's type";
        Err(RenderError::Wrong(Box::new(Diagnostic::error("broke-down", what).help(help))))
    })
}

/// What an answer, or none, means, in clean words. No answer proves nothing, so it is tried again.
pub fn judge(
    hook: &Hook,
    answer: &Result<Response, SendError>,
    now: Timestamp,
    clean: &dyn Fn(&str) -> String,
) -> Judged {
    let judged = match answer {
        Ok(response) => hook.verdict(response, now, |rule, why| {
            if rule.first_complaint() {
                let why = clean(why);
                tracing::warn!(hook = %hook.name, rule = %rule.place, why, "a verdict rule cannot be evaluated: skipped");
            }
        }),
        Err(error) => {
            let why = error.to_string();
            let verdict = match error {
                SendError::Unsendable(_) => Verdict::Reject { why },
                _ => Verdict::retry(why),
            };
            verdict.into()
        }
    };
    judged.with_words(clean)
}

/// Pauses the receiver or holds the hook, before anyone else uses them.
pub(super) async fn act_on(desk: &Desk, config: &Config, hook: &Hook, gate: &Gate, judged: &Judged, event: &Event) {
    if let Some(rest) = judged.rest {
        gate.pause(desk.clock.elapsed() + rest.min(limits::RETRY_AFTER_MAX), "its window is used up");
    }
    match &judged.verdict {
        Verdict::Pause { why, wait } => {
            tracing::info!(hook = %hook.name, why, seconds = wait.as_secs(), "receiver asked for a pause");
            gate.pause(desk.clock.elapsed() + (*wait).min(limits::RETRY_AFTER_MAX), why);
        }
        Verdict::Hold { why } if hook.as_robot().is_some() => {
            Box::pin(robots::hold(desk, config, hook, why, event)).await;
        }
        Verdict::Hold { why } => desk.hold_for(&hook.name, why, config.fingerprint(hook), event).await,
        _ => {}
    }
}

/// What the next attempt at a delivery is given.
pub(super) fn given<'a>(config: &'a Config, hook: &'a Hook, delivery: &'a Delivery, now: Timestamp) -> Given<'a> {
    Given {
        id: &delivery.id,
        attempt: delivery.attempts.saturating_add(1),
        now,
        hook: &hook.name,
        event: &delivery.event,
        secrets: &config.secrets,
    }
}

/// Everything that was seen of one exchange.
pub(super) struct Seen<'a> {
    pub(super) started: Timestamp,
    pub(super) took: Duration,
    pub(super) made: &'a Made,
    pub(super) answer: &'a Result<Response, SendError>,
    pub(super) judged: &'a Judged,
}

impl Seen<'_> {
    /// The record of it, as attempt of this number at a delivery and at those `along`.
    pub(super) fn attempt(&self, number: u32, why: String, along: Vec<i64>, clean: &dyn Fn(&str) -> String) -> Attempt {
        let request = &self.made.request;
        let (status, response) = match self.answer {
            Ok(response) => (Some(response.status), beginning(response)),
            Err(error) => (None, error.to_string().into()),
        };
        Attempt {
            number,
            started: self.started,
            duration: self.took,
            request: [request.method.as_str(), " ", &shown_url(&request.url)].concat(),
            status,
            response: cut(clean(&response)),
            verdict: self.judged.verdict.word().to_owned(),
            why,
            along,
        }
    }
}

fn ended(desk: &Desk, hook: &Hook, delivery: &Delivery, seen: &Seen<'_>, clean: &dyn Fn(&str) -> String) -> Ended {
    let verdict = &seen.judged.verdict;
    let now = desk.clock.steady();
    let Made { parts, turn, .. } = seen.made;
    let (mut attempts, mut outcome) =
        backoff::next(verdict, &hook.retry, delivery.created, delivery.attempts, now, fastrand::f64());
    let mut why = verdict.why().or(seen.judged.warning.as_deref()).unwrap_or_default().to_owned();
    if *parts > 1 && outcome == Outcome::Delivered {
        let warning = if why.is_empty() { String::new() } else { format!("; {why}") };
        why = [turns::words(turn.part, *parts), warning].concat();
        if turn.part + 1 < *parts {
            // Due since its old time: its next part is the first that the journal hands out.
            outcome = Outcome::Waiting { until: delivery.due, why: Why::Turn };
            attempts = delivery.attempts;
        }
    }
    if hook.as_robot().is_some() {
        outcome = robots::goes_on(hook, verdict, delivery, outcome);
        why = robots::signed(hook, verdict, why);
    }
    let attempt = seen.attempt(delivery.attempts.saturating_add(1), why, Vec::new(), clean);
    Ended { attempt, attempts, outcome }
}

/// A request that could not be made: a missing secret is waited for, anything else would fail again and again.
fn unrendered(
    desk: &Desk,
    config: &Config,
    hook: &Hook,
    delivery: &Delivery,
    started: Timestamp,
    error: &RenderError,
) -> Ended {
    let why = Mask::new(hook, &config.secrets).text(&format!("cannot be rendered: {error}"));
    let outcome = match error {
        RenderError::Secret { .. } => Outcome::Waiting {
            until: backoff::later(desk.clock.steady(), limits::POLL),
            why: Why::SecretMissing(error.to_string()),
        },
        RenderError::Wrong(_) => Outcome::Dead { why: why.clone() },
    };
    let attempts = delivery.attempts;
    Ended { attempt: unsent(delivery, started, why), attempts, outcome }
}

/// The record of something that happened to a delivery without a request.
pub fn unsent(delivery: &Delivery, now: Timestamp, why: String) -> Attempt {
    Attempt {
        number: delivery.attempts,
        started: now,
        duration: Duration::ZERO,
        request: String::new(),
        status: None,
        response: String::new(),
        verdict: String::new(),
        why,
        along: Vec::new(),
    }
}

/// The beginning of a response body, for people, with what follows it as far as a secret may reach.
fn beginning(response: &Response) -> Cow<'_, str> {
    let most = response.body.len().min(limits::RESPONSE_KEPT + limits::RESPONSE_BESIDE);
    String::from_utf8_lossy(&response.body[..most])
}

/// A text cut to what is kept of it.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::RESPONSE_KEPT.min(text.len())));
    text
}

/// Takes secrets out of what a receiver said: those of the hook, and what the request itself carried.
pub(super) fn cleaner<'a>(config: &'a Config, hook: &'a Hook, request: &'a Request) -> impl Fn(&str) -> String + 'a {
    let mask = OnceCell::new();
    move |text| match text {
        // Most that arrives is answered with a word.
        "" | "ok" => text.to_owned(),
        _ => mask.get_or_init(|| Mask::of_request(hook, &config.secrets, request)).text(text),
    }
}

pub(super) type Permit = Option<tokio::sync::OwnedSemaphorePermit>;

fn record_attempt(desk: &Arc<Desk>, pulse: &Arc<Pulse>, delivery: Delivery, ended: Ended, permit: Permit) {
    record(desk, pulse, delivery, Some((ended.attempt, ended.attempts)), ended.outcome, permit);
}

/// Hands an outcome to the journal. The lane goes on; the permit is given back when the outcome is on disk.
pub fn record(
    desk: &Arc<Desk>,
    pulse: &Arc<Pulse>,
    delivery: Delivery,
    attempt: Option<(Attempt, u32)>,
    outcome: Outcome,
    permit: Permit,
) {
    if let Outcome::Dead { why } = &outcome
        && let Some(trouble) = Trouble::dead(&delivery, why)
    {
        desk.troubles.raise(trouble);
    }
    // A row is made where somebody reads it: a delivery that simply arrived interests only who follows the log.
    let read = desk.log.receiver_count() > 0 || outcome != Outcome::Delivered;
    let row = attempt.as_ref().filter(|_| read).map(|(attempt, _)| row(&delivery, attempt, &outcome));
    let (attempt, attempts) = match attempt {
        Some((attempt, attempts)) => (Some(attempt), attempts),
        None => (None, delivery.attempts),
    };
    // Not the desk: whoever drops the last of it closes the journal, and the journal cannot wait for itself.
    let again =
        matches!(outcome, Outcome::Waiting { .. }).then(|| (desk.journal.bells().clone(), delivery.hook.clone()));
    let row = row.map(|row| (row, desk.log.clone()));
    let id = delivery.id.clone();
    let end = tally::end(&outcome).map(|end| {
        let age = desk.clock.steady().duration_since(delivery.created);
        (end, Duration::try_from(age).unwrap_or_default(), pulse.clone(), desk.totals.clone())
    });
    let then = move |recorded: Result<(), JournalError>| {
        match (recorded, end) {
            (Err(error), _) => {
                tracing::error!(delivery = %id, %error, "an outcome was not recorded: it will be tried again");
            }
            (Ok(()), Some((end, age, pulse, totals))) => {
                pulse.tally().ended(end);
                if end == "delivered" {
                    totals.ages.note(age);
                }
            }
            (Ok(()), None) => {}
        }
        drop(permit);
        if let Some((bells, hook)) = again {
            bells.ring(&hook);
        }
        if let Some((row, listeners)) = row {
            log(&row);
            let _nobody_listens = listeners.send(Arc::new(row));
        }
    };
    desk.journal.settle_then(&delivery, attempt, attempts, outcome, Box::new(then));
}

pub(super) fn row(delivery: &Delivery, attempt: &Attempt, outcome: &Outcome) -> LogRow {
    LogRow {
        time: attempt.started,
        event: delivery.event.id.clone(),
        delivery: delivery.id.to_string(),
        hook: delivery.hook.to_string(),
        kind: delivery.event.kind.clone(),
        outcome: outcome.word().to_owned(),
        verdict: attempt.verdict.clone(),
        attempt: attempt.number,
        status: attempt.status,
        duration_ms: attempt.duration_ms(),
        why: if attempt.why.is_empty() { outcome.why() } else { attempt.why.clone() },
    }
}

pub(super) fn log(row: &LogRow) {
    let LogRow { delivery, hook, kind, why, attempt, status, .. } = row;
    match row.outcome.as_str() {
        "delivered" => tracing::debug!(%delivery, %hook, kind, attempt, status, "delivered"),
        "dead" => tracing::warn!(%delivery, %hook, kind, attempt, status, why, "dead letter"),
        _ => tracing::info!(%delivery, %hook, kind, attempt, status, why, "waits"),
    }
}
