//! One attempt at several deliveries of a hook as one message: their digest.
//!
//! ```text
//! compose     the digest of as many of them as fit into one message; the others are given back
//! send        with the id of the oldest
//! settle      all of them in one transaction: each says in which delivery it went
//! ```
//! What becomes of each is said in `rules::digest`. A crash before the last step sends the same message again, or one with
//! more in it, if more has come.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::edges::journal::{Along, JournalError};
use crate::engine::attempt::{self, Made, Permit, Seen, deliver};
use crate::engine::desk::{Desk, Pulse};
use crate::engine::gate::Pass;
use crate::engine::tally;
use crate::engine::traces::Traced;
use crate::engine::troubles::Trouble;
use crate::rules::config::Config;
use crate::rules::digest::{self, Apart};
use crate::rules::hook::Hook;
use crate::rules::hook::digest::Composed;
use crate::rules::platform::{Given, Turn};
use crate::rules::traces::Tried;
use crate::words::delivery::{Attempt, Delivery, Outcome};
use crate::words::verdict::Verdict;

/// Why no body of a digest is kept.
const NOT_KEPT: &str = "it went in a digest with others";

/// Tries these once, oldest first: together, as far as they fit into one message.
pub async fn deliver_together(
    desk: &Arc<Desk>,
    config: &Config,
    hook: &Hook,
    pulse: &Arc<Pulse>,
    apart: &Mutex<Apart>,
    mut members: Vec<Delivery>,
    pass: Option<Pass>,
) {
    let Some(first) = members.first().cloned() else { return };
    let started = desk.clock.now();
    let given = attempt::given(config, hook, &first, started);
    let composed = match &pass {
        Some(_) if members.len() > 1 => compose(desk, hook, &given, &members),
        _ => None,
    };
    let (composed, pass) = match (composed, pass) {
        (Some(composed), Some(pass)) => (composed, pass),
        (_, pass) => {
            give_back(desk, members.drain(1..));
            apart.lock().unwrap_or_else(PoisonError::into_inner).ended(first.seq);
            return deliver(desk, config, hook, pulse, first, pass).await;
        }
    };
    let permit = desk.unsettled.clone().acquire_owned().await.ok();
    give_back(desk, members.drain(composed.count..));
    let traced = Traced::begin(config, &first.event);
    let mut made = Made { request: composed.request, parts: 1, turn: Turn::default(), text: Some(composed.text) };
    traced.tell(&mut made.request);
    let begun = Instant::now();
    let (answer, judged) = attempt::exchange(desk, config, hook, &given, &first, &traced, &mut made).await;
    let took = begun.elapsed();
    let clean = attempt::cleaner(config, hook, &made.request);
    members.iter().for_each(|member| desk.care.survived(member));
    let status = answer.as_ref().ok().map(|response| response.status);
    let verdict = &judged.verdict;
    pulse.tally().attempted(verdict, status, took, desk.clock.elapsed());
    attempt::act_on(desk, config, hook, pass.gate(), &judged, &first.event).await;
    let change = pass.end(desk.clock.elapsed(), verdict, hook.breaker.as_ref());
    attempt::say(desk, hook, change, verdict);
    let seen = Seen { started, took, made: &made, answer: &answer, judged: &judged };
    let why = words(members.len(), verdict.why().or(judged.warning.as_deref()), verdict);
    let along = members[1..].iter().map(|member| member.seq).collect();
    let attempt = seen.attempt(given.attempt, why, along, &clean);
    let now = desk.clock.steady();
    let outcomes = digest::outcomes(verdict, &hook.retry, &members, now, fastrand::f64());
    note(apart, verdict, &members, &outcomes);
    let outcome = outcomes[0].1.word();
    let error = answer.as_ref().err();
    traced.end(
        &desk.traces,
        &Tried { delivery: &first, attempt: &attempt, outcome, request: Some(&made.request), error },
    );
    record(desk, pulse, members.into_iter().zip(outcomes).collect(), attempt, permit);
}

/// The digest of as many of these as fit; `None`: the first goes by itself.
fn compose(desk: &Desk, hook: &Hook, given: &Given<'_>, members: &[Delivery]) -> Option<Composed> {
    let work = || catch_unwind(AssertUnwindSafe(|| hook.compose(given, members)));
    // What cannot be rendered, and a secret that is missing, is found again with the first delivery alone, and told.
    desk.care.watching_all(members, work).ok()?.ok()?
}

fn give_back(desk: &Desk, members: impl DoubleEndedIterator<Item = Delivery>) {
    members.rev().for_each(|delivery| desk.journal.unclaim(delivery));
}

/// What the attempt says of itself.
fn words(count: usize, why: Option<&str>, verdict: &Verdict) -> String {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let then = if matches!(verdict, Verdict::Reject { .. }) { "; they go on in smaller ones" } else { "" };
    format!("a digest of {count}{why}{then}")
}

/// Remembers who was refused together, and forgets who has come to an end.
fn note(apart: &Mutex<Apart>, verdict: &Verdict, members: &[Delivery], outcomes: &[(u32, Outcome)]) {
    let mut apart = apart.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(verdict, Verdict::Reject { .. }) {
        apart.refused(&members.iter().map(|member| member.seq).collect::<Vec<_>>());
        return;
    }
    for (member, (_, outcome)) in members.iter().zip(outcomes) {
        if tally::end(outcome).is_some() {
            apart.ended(member.seq);
        }
    }
}

/// Hands the outcomes to the journal, all of them at once.
fn record(
    desk: &Arc<Desk>,
    pulse: &Arc<Pulse>,
    ended: Vec<(Delivery, (u32, Outcome))>,
    attempt: Attempt,
    permit: Permit,
) {
    let now = desk.clock.steady();
    let mut ends = Vec::with_capacity(ended.len());
    for (delivery, (_, outcome)) in &ended {
        if let Outcome::Dead { why } = outcome {
            desk.journal.keep_body(delivery, Err(NOT_KEPT.to_owned()));
            if let Some(trouble) = Trouble::dead(delivery, why) {
                desk.troubles.raise(trouble);
            }
        }
        let age = Duration::try_from(now.duration_since(delivery.created)).unwrap_or_default();
        ends.extend(tally::end(outcome).map(|end| (end, age)));
    }
    let waits = ended.iter().any(|(_, (_, outcome))| matches!(outcome, Outcome::Waiting { .. }));
    let mut ended = ended.into_iter();
    let Some((first, (attempts, outcome))) = ended.next() else { return };
    let along = ended.map(|(delivery, (attempts, outcome))| Along { delivery, attempts, outcome }).collect();
    let again = waits.then(|| (desk.journal.bells().clone(), first.hook.clone()));
    let row = attempt::row(&first, &attempt, &outcome);
    // Not the desk: see `attempt::record`.
    let (id, listeners, pulse, totals) = (first.id.clone(), desk.log.clone(), pulse.clone(), desk.totals.clone());
    let then = move |recorded: Result<(), JournalError>| {
        match recorded {
            Ok(()) => {
                for (end, age) in ends {
                    pulse.tally().ended(end);
                    if end == "delivered" {
                        totals.ages.note(age);
                    }
                }
            }
            Err(error) => {
                tracing::error!(delivery = %id, %error, "the outcome of a digest was not recorded: it will be tried again");
            }
        }
        drop(permit);
        if let Some((bells, hook)) = again {
            bells.ring(&hook);
        }
        attempt::log(&row);
        let _nobody_listens = listeners.send(Arc::new(row));
    };
    desk.journal.settle_all_then(&first, Some(attempt), attempts, outcome, along, Box::new(then));
}
