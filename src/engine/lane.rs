//! The queue of one hook: claims what is due while the hook may send, and flies it.
//!
//! A lane never waits for another lane. It wakes at new work, the next due time, the end of a pause, the end of a
//! flight, and a new configuration. It is there while there is something to do: `lanes` makes it when its bell is rung,
//! and it leaves when it has had nothing for a while.

mod pooled;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::edges::journal::JournalError;
use crate::engine::attempt::{deliver, record, unsent};
use crate::engine::desk::{Desk, Pulse};
use crate::engine::gate::{Gate, Pass, Wait};
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::digest::Apart;
use crate::rules::hook::Hook;
use crate::words::delivery::{Delivery, Outcome, Why};
use crate::words::limits;

/// How long a lane sleeps at most: a clock that was set, and deliveries that expire while nothing may be sent.
pub(super) const LONGEST_SLEEP: Duration = limits::LANE_SLEEP;

/// The queue of one hook.
pub struct Lane {
    pub(super) name: Arc<str>,
    pub(super) desk: Arc<Desk>,
    config: watch::Receiver<Arc<Config>>,
    stop: CancellationToken,
    /// The gate of a receiver that is the same for every event, found once per configuration.
    gate: Option<(Arc<Config>, Gate)>,
    /// The same for several robots that take turns.
    pool: Option<(Arc<Config>, Arc<pooled::Pool>)>,
    pub(super) bell: Arc<Notify>,
    pub(super) pulse: Arc<Pulse>,
    /// What a digest of it was refused with; made when one is.
    pub(super) apart: Option<Arc<Mutex<Apart>>>,
    /// When what had grown too old was last given up although nothing could be sent.
    tidied: Option<Instant>,
}

/// What a lane waits for besides its bell.
pub(super) enum Rest {
    /// Every slot flies.
    Full,
    /// Nothing to do before this.
    Until(Instant),
    /// Nothing waits.
    Nothing,
}

impl Rest {
    fn at_latest(self, at: Option<Instant>) -> Self {
        match (self, at) {
            (Self::Until(rest), Some(at)) => Self::Until(rest.min(at)),
            (rest, _) => rest,
        }
    }

    /// The same of a lane that has something to look after although nothing waits.
    fn stays(self) -> Self {
        match self {
            Self::Nothing => Self::Until(Instant::now() + LONGEST_SLEEP),
            rest => rest,
        }
    }
}

impl Lane {
    /// The lane of a hook, by name: the hook itself is looked up anew for each delivery, so a mended file applies to
    /// everything that still waits.
    pub fn new(name: Arc<str>, desk: Arc<Desk>, config: watch::Receiver<Arc<Config>>, stop: CancellationToken) -> Self {
        let bell = desk.journal.bells().attend(&name);
        let pulse = desk.pulse(&name);
        Self { name, desk, config, stop, gate: None, pool: None, bell, pulse, apart: None, tidied: None }
    }

    /// Runs until there has been nothing to do for a while, or until the stop signal; then waits for what is in the air.
    /// Whoever cannot wait aborts it without loss.
    pub async fn run(mut self: Box<Self>) {
        let bell = self.bell.clone();
        let pulse = self.pulse.clone();
        let mut flights = JoinSet::new();
        loop {
            while flights.try_join_next().is_some() {}
            // In a box: of ten thousand lanes few are at work.
            let rest = match Box::pin(self.fill(&mut flights)).await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(hook = %self.name, %error, "the lane cannot read the journal");
                    Rest::Until(Instant::now() + Duration::from_secs(1))
                }
            };
            pulse.flying.store(flights.len(), Ordering::Relaxed);
            pulse.looked(self.desk.clock.elapsed());
            let wake = match rest {
                Rest::Full | Rest::Nothing => Instant::now() + LONGEST_SLEEP,
                Rest::Until(at) => at,
            };
            let full = matches!(rest, Rest::Full);
            let idle = matches!(rest, Rest::Nothing) && flights.is_empty();
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(_) = flights.join_next() => {}
                () = bell.notified(), if !full => {}
                changed = self.config.changed() => if changed.is_err() { break },
                () = tokio::time::sleep_until(wake) => if idle { return self.leave().await },
            }
        }
        while flights.join_next().await.is_some() {}
        pulse.flying.store(0, Ordering::Relaxed);
    }

    /// Gives the bell back. What came at the last moment, unheard, is called for once more.
    async fn leave(&self) {
        let bells = self.desk.journal.bells();
        bells.leave(&self.name);
        self.pulse.left();
        let nothing_waits = matches!(self.desk.journal.next_due(&self.name).await, Ok(None));
        if !nothing_waits || self.desk.held(&self.name).is_some() {
            bells.ring(&self.name);
        }
    }

    /// Starts what may start, and says what to wait for.
    async fn fill(&mut self, flights: &mut JoinSet<()>) -> Result<Rest, JournalError> {
        let config = self.config.borrow_and_update().clone();
        let Some(hook) = config.hooks.get(&self.name).cloned() else {
            return self.expire(config.settings.defaults.retry.max_age, "its file is gone from hooks.d").await;
        };
        if let Some(until) = self.blocked(&config, &hook).await {
            let rest = self.expire(hook.retry.max_age, "the hook could not send").await?;
            return Ok(rest.at_latest(until.map(|until| self.desk.clock.until(until, LONGEST_SLEEP))));
        }
        if !hook.robots().is_empty() {
            // A robot that is held is released by a changed file.
            return Ok(Box::pin(self.fill_pool(&config, &hook, flights)).await?.stays());
        }
        loop {
            let room = hook.concurrency.saturating_sub(flights.len());
            if room == 0 {
                return Ok(Rest::Full);
            }
            if let Some(digest) = &hook.digest {
                match Box::pin(self.gather(&config, &hook, digest, flights)).await? {
                    Some(rest) => return Ok(rest),
                    None => continue,
                }
            }
            let gate = self.constant_gate(&config, &hook);
            let passes = match &gate {
                None => None,
                Some(gate) => match gate.enter(self.desk.clock.elapsed(), &hook, Some(&self.bell)) {
                    Ok(passes) => Some(passes),
                    Err(wait) => return self.outside(&hook, &wait).await,
                },
            };
            let room = if passes.as_ref().is_some_and(|passes| !passes.many) { 1 } else { room };
            let now = self.desk.clock.steady();
            let claimed = self.desk.journal.claim(&self.name, now, room).await?;
            let mut passes = passes.map(|passes| passes.take(claimed.len())).unwrap_or_default();
            if claimed.is_empty() {
                return self.idle().await;
            }
            for delivery in claimed {
                let flight = self.flight(&config, &hook, gate.clone());
                let pass = passes.pop();
                if let Some(delivery) = flight.in_time(delivery, now) {
                    flights.spawn(flight.fly(delivery, pass));
                }
            }
        }
    }

    /// Nothing is due.
    pub(super) async fn idle(&self) -> Result<Rest, JournalError> {
        let due = self.desk.journal.next_due(&self.name).await?;
        Ok(due.map_or(Rest::Nothing, |due| Rest::Until(self.desk.clock.until(due, LONGEST_SLEEP))))
    }

    fn flight(&self, config: &Arc<Config>, hook: &Arc<Hook>, gate: Option<Gate>) -> Flight {
        Flight {
            desk: self.desk.clone(),
            changes: self.config.clone(),
            config: config.clone(),
            hook: hook.clone(),
            pulse: self.pulse.clone(),
            gate,
            stop: self.stop.clone(),
        }
    }

    /// The gate is shut. A pause or a breaker may keep it so for long, and what grows too old meanwhile is given up.
    pub(super) async fn outside(&mut self, hook: &Hook, wait: &Wait) -> Result<Rest, JournalError> {
        let opens = self.desk.clock.reaches(wait.until, LONGEST_SLEEP);
        let due = self.tidied.is_none_or(|last| last.elapsed() >= LONGEST_SLEEP / 2);
        if due && matches!(wait.why, Why::Pause(_) | Why::Breaker(_)) {
            self.tidied = Some(Instant::now());
            self.expire(hook.retry.max_age, &wait.why.to_string()).await?;
        }
        Ok(Rest::Until(opens))
    }

    /// Whether the hook may not send at all, and until when if that is known. A hold that was about a broken receiver
    /// ends when the hook's file, its script or a secret of it has changed: somebody has acted.
    async fn blocked(&self, config: &Config, hook: &Hook) -> Option<Option<Timestamp>> {
        if !hook.enabled {
            return Some(None);
        }
        if let Some(hold) = self.desk.held(&self.name) {
            let over = hold.until.is_some_and(|until| until <= self.desk.clock.steady());
            if over {
                self.desk.release(&self.name, "its time is over").await;
            } else if hold.fingerprint.is_empty() || hold.fingerprint == config.fingerprint(hook) {
                return Some(hold.until);
            } else {
                self.desk.release(&self.name, "its file or a secret changed").await;
            }
        }
        config.missing_secret(hook).map(|_| None)
    }

    pub(super) fn constant_gate(&mut self, config: &Arc<Config>, hook: &Hook) -> Option<Gate> {
        if !hook.receiver_is_constant() {
            return None;
        }
        if let Some((of, gate)) = &self.gate
            && Arc::ptr_eq(of, config)
        {
            return Some(gate.clone());
        }
        let gate = self.desk.constant_gate(config, hook)?;
        self.gate = Some((config.clone(), gate.clone()));
        Some(gate)
    }

    /// While nothing may be sent, what grows too old is given up, oldest first.
    async fn expire(&self, max_age: Duration, why: &str) -> Result<Rest, JournalError> {
        let now = self.desk.clock.steady();
        loop {
            let claimed = self.desk.journal.claim(&self.name, now, limits::CLAIM_WINDOW).await?;
            let before = claimed.len();
            let (old, young): (Vec<_>, Vec<_>) =
                claimed.into_iter().partition(|delivery| now > backoff::later(delivery.created, max_age));
            for delivery in young.iter().rev().cloned() {
                self.desk.journal.unclaim(delivery);
            }
            for delivery in old {
                bury(&self.desk, &self.pulse, delivery, max_age, why);
            }
            if before == 0 || !young.is_empty() {
                return Ok(Rest::Until(Instant::now() + LONGEST_SLEEP));
            }
        }
    }
}

/// One of a hook's slots at work: a delivery, and whatever can follow it at once.
struct Flight {
    desk: Arc<Desk>,
    /// The configuration as it changes, and as it was when the flight began.
    changes: watch::Receiver<Arc<Config>>,
    config: Arc<Config>,
    hook: Arc<Hook>,
    pulse: Arc<Pulse>,
    gate: Option<Gate>,
    stop: CancellationToken,
}

impl Flight {
    async fn fly(self, first: Delivery, pass: Option<Pass>) {
        let mut next = Some((first, pass));
        while let Some((delivery, pass)) = next {
            deliver(&self.desk, &self.config, &self.hook, &self.pulse, delivery, pass).await;
            next = self.next();
        }
    }

    /// The next delivery, where nothing stands in its way and it is at hand. In every other case the lane looks.
    fn next(&self) -> Option<(Delivery, Option<Pass>)> {
        if self.must_look() {
            return None;
        }
        let passes = match &self.gate {
            Some(gate) => Some(gate.enter(self.desk.clock.elapsed(), &self.hook, None).ok()?),
            None => None,
        };
        let now = self.desk.clock.steady();
        let claimed = self.desk.journal.claim_one(&self.hook.name, now);
        let next = claimed.and_then(|delivery| self.in_time(delivery, now));
        let pass = passes.and_then(|passes| if next.is_some() { Some(passes.single()) } else { passes.none() });
        Some((next?, pass))
    }

    /// Whether something is otherwise than when the flight began: what to do about it the lane knows.
    fn must_look(&self) -> bool {
        let changed = self.changes.has_changed().unwrap_or(true);
        changed || self.stop.is_cancelled() || self.desk.held(&self.hook.name).is_some()
    }

    /// The delivery, unless it is too old: then it is given up.
    fn in_time(&self, delivery: Delivery, now: Timestamp) -> Option<Delivery> {
        if !backoff::expired(&self.hook.retry, delivery.created, now) {
            return Some(delivery);
        }
        bury(&self.desk, &self.pulse, delivery, self.hook.retry.max_age, "it was not delivered in time");
        None
    }
}

pub(super) fn bury(desk: &Arc<Desk>, pulse: &Arc<Pulse>, delivery: Delivery, max_age: Duration, why: &str) {
    let why = format!("gave up at max_age {}: {why}", backoff::shown(max_age));
    let attempt = unsent(&delivery, desk.clock.now(), why.clone());
    let attempts = delivery.attempts;
    record(desk, pulse, delivery, Some((attempt, attempts)), Outcome::Dead { why }, None);
}
