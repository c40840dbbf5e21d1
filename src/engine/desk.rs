//! What all lanes share: the journal, the sender, the receivers' gates, the holds, and who listens to the log.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, broadcast};

use crate::edges::journal::{Hold, Journal, LogRow};
use crate::edges::send::Sender;
use crate::engine::care::Care;
use crate::engine::clock::Clock;
use crate::engine::gate::Gate;
use crate::engine::tally::{Tally, Totals};
use crate::engine::traces::Traces;
use crate::engine::troubles::{Bell, Trouble};
use crate::rules::config::Config;
use crate::rules::hook::pool::Robot;
use crate::rules::hook::{Hook, ReceiverKey};
use crate::words::event::{Event, OWN_SOURCE};
use crate::words::limits;

/// What a lane says of itself.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Deliveries that are being tried.
    pub flying: AtomicUsize,
    /// When it last looked at its queue, in milliseconds of `Clock::elapsed`; 0 before the first time.
    looked: AtomicU64,
    /// What came of its deliveries; most of many hooks have none for long.
    tally: OnceLock<Box<Tally>>,
    /// How many lanes there were before it.
    pub number: usize,
    /// Until when its digest waits for company, in milliseconds of `Clock::elapsed`; 0 when it does not.
    collects: AtomicU64,
    /// Whether somebody does not want to wait for that.
    hurried: AtomicBool,
}

impl Pulse {
    /// It has just looked.
    pub fn looked(&self, now: Duration) {
        self.looked.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What came of its deliveries; made when something does.
    pub fn tally(&self) -> &Tally {
        self.tally.get_or_init(Box::default)
    }

    /// The same, if something did.
    pub fn tally_so_far(&self) -> Option<&Tally> {
        self.tally.get().map(AsRef::as_ref)
    }

    /// Until when its digest waits for company.
    pub fn collects_until(&self) -> Option<Duration> {
        Some(self.collects.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Duration::from_millis)
    }

    /// Says until when.
    pub fn collect(&self, until: Option<Duration>) {
        let until = until.map_or(0, |until| u64::try_from(until.as_millis()).unwrap_or(u64::MAX));
        self.collects.store(until, Ordering::Relaxed);
    }

    /// What is due is not to wait for company; or that is done.
    pub fn hurry(&self, hurried: bool) {
        self.hurried.store(hurried, Ordering::Relaxed);
    }

    /// Whether somebody does not want to wait.
    pub fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Nobody looks any more, because there is nothing to look at.
    pub fn left(&self) {
        self.looked.store(0, Ordering::Relaxed);
    }

    fn last_look(&self) -> Option<Duration> {
        Some(self.looked.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Duration::from_millis)
    }
}

/// What all lanes share.
pub struct Desk {
    /// The durable record.
    pub journal: Arc<dyn Journal>,
    /// The time.
    pub clock: Clock,
    /// What is done after a death so that there is not another one.
    pub care: Care,
    /// Every recorded attempt, for `log -f`.
    pub log: broadcast::Sender<Arc<LogRow>>,
    /// One permit per outcome that may be on its way to the disk.
    pub unsettled: Arc<Semaphore>,
    sender: Mutex<Sender>,
    receivers: Mutex<HashMap<ReceiverKey, Gate>>,
    holds: Mutex<HashMap<Arc<str>, Hold>>,
    pulses: Mutex<HashMap<Arc<str>, Arc<Pulse>>>,
    /// Events accepted since the start.
    pub accepted: AtomicU64,
    /// What else is counted since then.
    pub totals: Arc<Totals>,
    /// What is told of them one by one, where anybody collects that.
    pub traces: Arc<Traces>,
    /// Where troubles are raised.
    pub troubles: Bell,
    /// Hooks whose hold was not told, because an event that told of a trouble caused it.
    unsaid: Mutex<HashSet<Arc<str>>>,
    /// When the daemon started.
    pub since: Timestamp,
}

impl Desk {
    /// A desk with the holds that the journal remembers.
    pub fn new(
        journal: Arc<dyn Journal>,
        sender: Sender,
        holds: Vec<(Arc<str>, Hold)>,
        care: Care,
        clock: Clock,
        troubles: Bell,
    ) -> Self {
        Self {
            journal,
            sender: Mutex::new(sender),
            clock,
            care,
            log: broadcast::channel(limits::STREAM_BUFFER).0,
            unsettled: Arc::new(Semaphore::new(limits::UNSETTLED)),
            receivers: Mutex::default(),
            holds: Mutex::new(holds.into_iter().collect()),
            pulses: Mutex::default(),
            accepted: AtomicU64::new(0),
            totals: Arc::new(Totals::new(clock.now())),
            traces: Arc::default(),
            troubles,
            unsaid: Mutex::default(),
            since: clock.now(),
        }
    }

    /// The way out.
    pub fn sender(&self) -> Sender {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the way out: the address policy was edited.
    pub fn set_sender(&self, sender: Sender) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// The gate of a receiver; made when it is new.
    pub fn gate(&self, key: ReceiverKey) -> Gate {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        if receivers.len() >= limits::RECEIVERS && !receivers.contains_key(&key) {
            let now = self.clock.elapsed();
            receivers.retain(|_, gate| !gate.is_idle(now));
        }
        receivers.entry(key).or_default().clone()
    }

    /// The gate of a hook's receiver, when that is the same for every event.
    pub fn constant_gate(&self, config: &Config, hook: &Hook) -> Option<Gate> {
        hook.constant_receiver(&config.secrets).map(|key| self.gate(key))
    }

    /// What the lane of a hook says of itself; made when it is new.
    pub fn pulse(&self, hook: &Arc<str>) -> Arc<Pulse> {
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pulse) = pulses.get(hook) {
            return pulse.clone();
        }
        let pulse = Arc::new(Pulse { number: pulses.len(), ..Pulse::default() });
        pulses.insert(hook.clone(), pulse.clone());
        pulse
    }

    /// The lanes that there were since the start.
    pub fn pulses(&self) -> Vec<(Arc<str>, Arc<Pulse>)> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.iter().map(|(hook, pulse)| (hook.clone(), pulse.clone())).collect()
    }

    /// A lane that is there and has not looked at its queue for `longest`. Every lane does so at least every
    /// `limits::LANE_SLEEP`, whatever it waits for.
    pub fn unwatched(&self, now: Duration, longest: Duration) -> Option<Arc<str>> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let late = |pulse: &Pulse| pulse.last_look().is_some_and(|last| now.saturating_sub(last) > longest);
        pulses.iter().find(|(_, pulse)| late(pulse)).map(|(hook, _)| hook.clone())
    }

    /// Why a hook is held, if it is.
    pub fn held(&self, hook: &str) -> Option<Hold> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).get(hook).cloned()
    }

    /// Holds a hook for what an answer said, now and across a restart, until somebody acts on it. `event` is what was
    /// to be delivered.
    pub async fn hold_for(&self, hook: &Arc<str>, why: &str, fingerprint: String, event: &Event) {
        let told = event.source != OWN_SOURCE;
        if !told {
            self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).insert(hook.clone());
        }
        self.hold(hook, why, fingerprint, None).await;
        if told {
            self.troubles.raise(Trouble::Held { hook: hook.clone(), why: why.to_owned(), by: "verdict", until: None });
        }
    }

    /// Holds a hook because a person says so, now and across a restart.
    pub async fn hold_by_hand(&self, hook: &Arc<str>, why: &str, until: Option<Timestamp>) {
        self.hold(hook, why, String::new(), until).await;
        self.troubles.raise(Trouble::Held { hook: hook.clone(), why: why.to_owned(), by: "operator", until });
    }

    async fn hold(&self, hook: &Arc<str>, why: &str, fingerprint: String, until: Option<Timestamp>) {
        let since = self.clock.now();
        let shown = until.map(|until| until.to_string());
        tracing::warn!(hook = %hook, why, until = shown, "hook is held: its deliveries wait until it is released");
        self.keep_hold(hook, Hold { why: why.to_owned(), since, fingerprint, until }).await;
        // The lane must learn when it ends.
        self.journal.bells().ring(hook);
    }

    async fn keep_hold(&self, name: &Arc<str>, hold: Hold) {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), hold.clone());
        if let Err(error) = self.journal.set_hold(name, Some(hold)).await {
            tracing::error!(hook = %name, %error, "the hold could not be recorded, a restart forgets it");
        }
    }

    /// Takes a robot out of its pool for what an answer said, now and across a restart, until somebody acts on it.
    pub async fn hold_robot(&self, robot: &Robot, why: &str, fingerprint: String) {
        let (why, since) = (why.to_owned(), self.clock.now());
        self.keep_hold(&robot.hold, Hold { why, since, fingerprint, until: None }).await;
    }

    /// Says that a robot is held; `left` others go on. `event` is what was to be delivered.
    pub fn tell_held_robot(&self, hook: &Arc<str>, robot: &Robot, why: &str, left: usize, event: &Event) {
        let name = robot.name();
        tracing::warn!(hook = %hook, robot = name, why, left, "robot is held: it is left out until it is released");
        if event.source == OWN_SOURCE {
            self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).insert(robot.hold.clone());
        } else {
            let why = why.to_owned();
            self.troubles.raise(Trouble::RobotHeld { hook: hook.clone(), robot: name, why, left });
        }
    }

    /// Lets a robot take part again. Answers whether it was held.
    pub async fn release_robot(&self, hook: &Arc<str>, robot: &Robot, because: &str) -> bool {
        if !self.forget_hold(&robot.hold) {
            return false;
        }
        tracing::info!(hook = %hook, robot = robot.name(), because, "robot is released");
        if !self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).remove(&robot.hold) {
            let why = because.to_owned();
            self.troubles.raise(Trouble::RobotReleased { hook: hook.clone(), robot: robot.name(), why });
        }
        if let Err(error) = self.journal.set_hold(&robot.hold, None).await {
            tracing::error!(hook = %robot.hold, %error, "the release could not be recorded");
        }
        self.journal.bells().ring(hook);
        true
    }

    fn forget_hold(&self, name: &str) -> bool {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// Lets a held hook go on. Answers whether it was held.
    pub async fn release(&self, hook: &Arc<str>, because: &str) -> bool {
        if !self.forget_hold(hook) {
            return false;
        }
        tracing::info!(hook = %hook, because, "hook is released");
        if !self.unsaid.lock().unwrap_or_else(PoisonError::into_inner).remove(hook) {
            self.troubles.raise(Trouble::Released { hook: hook.clone(), why: because.to_owned() });
        }
        if let Err(error) = self.journal.set_hold(hook, None).await {
            tracing::error!(hook = %hook, %error, "the release could not be recorded");
        }
        self.journal.bells().ring(hook);
        true
    }

    /// Counts accepted events.
    pub fn count_accepted(&self, events: usize) {
        self.accepted.fetch_add(events as u64, Ordering::Relaxed);
    }
}
