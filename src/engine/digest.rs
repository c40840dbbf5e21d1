//! A lane whose hook sends digests: how many of its deliveries go in the next message, and which.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::edges::journal::JournalError;
use crate::engine::lane::{LONGEST_SLEEP, Lane, Rest, bury};
use crate::engine::together::deliver_together;
use crate::engine::turns;
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::digest::{self, Plan};
use crate::rules::hook::Hook;
use crate::rules::hook::digest::Digest;
use crate::words::delivery::Delivery;
use crate::words::limits;

impl Lane {
    /// Starts the flight of the next message, or says what to wait for.
    pub(super) async fn gather(
        &mut self,
        config: &Arc<Config>,
        hook: &Arc<Hook>,
        digest: &Digest,
        flights: &mut JoinSet<()>,
    ) -> Result<Option<Rest>, JournalError> {
        let gate = self.constant_gate(config, hook);
        let elapsed = self.desk.clock.elapsed();
        if let Some(gate) = &gate
            && gate.shut(elapsed, hook).is_some()
        {
            // What is due is counted when the gate opens: until then there may be more.
            return match gate.enter(elapsed, hook, Some(&self.bell)) {
                Err(wait) => self.outside(hook, &wait).await.map(Some),
                Ok(passes) => {
                    drop(passes.none());
                    Ok(None)
                }
            };
        }
        let now = self.desk.clock.steady();
        let due = self.desk.journal.due(&self.name, now, limits::DIGEST_COUNT).await?;
        let Some(oldest) = due.oldest else {
            self.pulse.collect(None);
            self.pulse.hurry(false);
            return self.idle().await.map(Some);
        };
        let age = Duration::try_from(now.duration_since(oldest)).unwrap_or_default();
        let room = match digest::plan(digest.terms(due.count, age), due.count, age, self.pulse.is_hurried()) {
            Plan::One => 1,
            Plan::Together(count) => count,
            Plan::Wait(_) if self.has_begun(now).await? => due.count.min(digest.max),
            Plan::Wait(left) => {
                self.pulse.collect(Some(elapsed + left));
                let until = backoff::later(now, left);
                return Ok(Some(Rest::Until(self.desk.clock.until(until, LONGEST_SLEEP))));
            }
        };
        self.pulse.collect(None);
        let pass = match gate.as_ref().map(|gate| gate.enter(elapsed, hook, Some(&self.bell))) {
            None => None,
            Some(Err(wait)) => return self.outside(hook, &wait).await.map(Some),
            Some(Ok(passes)) => Some(passes),
        };
        let claimed = self.desk.journal.claim(&self.name, now, room).await?;
        let claimed = self.in_time(hook, claimed, now);
        if claimed.is_empty() {
            if let Some(passes) = pass {
                drop(passes.none());
            }
            return self.idle().await.map(Some);
        }
        let members = self.choose(hook, digest, claimed).await;
        let (desk, config, hook, pulse) = (self.desk.clone(), config.clone(), hook.clone(), self.pulse.clone());
        let (apart, pass) = (self.apart.get_or_insert_default().clone(), pass.map(|passes| passes.single()));
        flights.spawn(async move { deliver_together(&desk, &config, &hook, &pulse, &apart, members, pass).await });
        Ok(None)
    }

    /// Whether what is next has waited for company before: it was tried, or refused with others.
    async fn has_begun(&self, now: Timestamp) -> Result<bool, JournalError> {
        let next = self.desk.journal.claim(&self.name, now, 1).await?;
        let apart = self.apart.as_ref().map(|apart| apart.lock().unwrap_or_else(PoisonError::into_inner));
        let begun = next.iter().any(|one| one.attempts > 0 || apart.as_ref().is_some_and(|apart| apart.has(one.seq)));
        drop(apart);
        next.into_iter().for_each(|delivery| self.desk.journal.unclaim(delivery));
        Ok(begun)
    }

    /// Those that are not too old; the others are given up.
    fn in_time(&self, hook: &Hook, claimed: Vec<Delivery>, now: Timestamp) -> Vec<Delivery> {
        let expired = |one: &Delivery| backoff::expired(&hook.retry, one.created, now);
        let (old, young): (Vec<_>, Vec<_>) = claimed.into_iter().partition(expired);
        for delivery in old {
            bury(&self.desk, &self.pulse, delivery, hook.retry.max_age, "it was not delivered in time");
        }
        young
    }

    /// Those that go in one message, the oldest first; the others are given back.
    async fn choose(&mut self, hook: &Hook, digest: &Digest, mut claimed: Vec<Delivery>) -> Vec<Delivery> {
        // The message has the id of its oldest delivery, also when it is tried again.
        claimed.sort_unstable_by_key(|delivery| delivery.seq);
        let mut due = Vec::with_capacity(claimed.len());
        for delivery in &claimed {
            due.push((delivery.seq, self.goes_alone(hook, delivery).await));
        }
        let chosen = match &self.apart {
            Some(apart) => apart.lock().unwrap_or_else(PoisonError::into_inner).choose(&due, digest.max),
            None => digest::Apart::default().choose(&due, digest.max),
        };
        let mut members = Vec::with_capacity(chosen.len());
        let mut others = Vec::new();
        for (place, delivery) in claimed.into_iter().enumerate() {
            if chosen.contains(&place) { members.push(delivery) } else { others.push(delivery) }
        }
        others.into_iter().rev().for_each(|delivery| self.desk.journal.unclaim(delivery));
        members
    }

    /// Whether it must be a message of its own: a body of its own, what may be to blame for a death, what is damaged, and
    /// what has arrived in part.
    async fn goes_alone(&self, hook: &Hook, delivery: &Delivery) -> bool {
        delivery.original.is_some()
            || delivery.event.damaged
            || self.desk.care.suspects(&delivery.id)
            || (hook.may_split() && turns::begun(&self.desk, delivery).await)
    }
}
