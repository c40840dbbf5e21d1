//! The daemon's own troubles as events: they are routed and delivered like any other, with the source `postrider`.
//!
//! Three rules keep them from going round in circles: none goes to the hook that it is about; none is raised about a
//! delivery of such an event; and the same is told at once, but then no oftener than `limits::TROUBLE_EVERY`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::edges::journal::{Append, Journal};
use crate::engine::clock::Clock;
use crate::rules::config::Config;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::rules::hook::name_of;
use crate::rules::repeats::Repeats;
use crate::words::delivery::Delivery;
use crate::words::event::{self, Event};
use crate::words::limits;

/// Something that a person may want to hear of.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A hook sends nothing until somebody acts.
    Held {
        /// Which.
        hook: Arc<str>,
        /// Why.
        why: String,
        /// `operator` or `verdict`.
        by: &'static str,
        /// When it ends by itself.
        until: Option<Timestamp>,
    },
    /// It goes on.
    Released {
        /// Which.
        hook: Arc<str>,
        /// Why.
        why: String,
    },
    /// One of the robots of a hook is left out until somebody acts; the others go on.
    RobotHeld {
        /// Whose.
        hook: Arc<str>,
        /// Which.
        robot: String,
        /// Why.
        why: String,
        /// How many others there are.
        left: usize,
    },
    /// It takes part again.
    RobotReleased {
        /// Whose.
        hook: Arc<str>,
        /// Which.
        robot: String,
        /// Why.
        why: String,
    },
    /// A delivery was given up.
    Dead {
        /// Whose.
        hook: Arc<str>,
        /// The delivery's id.
        delivery: Arc<str>,
        /// The event's id and type.
        event: (String, String),
        /// Why.
        why: String,
    },
    /// A file is broken; its last good version, if there was one, goes on.
    ConfigError {
        /// The file.
        file: String,
        /// What is wrong with it.
        problems: Vec<Diagnostic>,
    },
    /// It is good again, or gone.
    ConfigRecovered {
        /// The file.
        file: String,
    },
    /// Nothing is accepted or sent: the journal cannot be written.
    StorageFailed {
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
    },
    /// Nothing is accepted, deliveries go on: there is too little space.
    StorageLow {
        /// How little, and where.
        why: String,
        /// Since when.
        since: Timestamp,
    },
    /// It can be written again.
    StorageRecovered {
        /// Why it could not.
        why: String,
        /// Since when it could not.
        since: Timestamp,
    },
}

/// Where troubles are raised.
#[derive(Clone, Debug)]
pub struct Bell(mpsc::Sender<Trouble>);

impl Bell {
    /// A bell, and what hears it.
    pub fn new() -> (Self, mpsc::Receiver<Trouble>) {
        let (raise, raised) = mpsc::channel(limits::TROUBLES);
        (Self(raise), raised)
    }

    /// Raises one. Whoever is in trouble must not wait for those who are told.
    pub fn raise(&self, trouble: Trouble) {
        if self.0.try_send(trouble).is_err() {
            tracing::debug!("more trouble than can be told: it stands in the log only");
        }
    }
}

impl Trouble {
    /// That a delivery was given up, unless it told of a trouble itself.
    pub fn dead(delivery: &Delivery, why: &str) -> Option<Self> {
        let event = &delivery.event;
        (event.source != event::OWN_SOURCE).then(|| Self::Dead {
            hook: delivery.hook.clone(),
            delivery: delivery.id.clone(),
            event: (event.id.clone(), event.kind.clone()),
            why: why.to_owned(),
        })
    }

    /// The hook that must not be told.
    fn about(&self) -> Option<&str> {
        match self {
            Self::Held { hook, .. }
            | Self::Released { hook, .. }
            | Self::RobotHeld { hook, .. }
            | Self::RobotReleased { hook, .. }
            | Self::Dead { hook, .. } => Some(hook),
            Self::ConfigError { file, .. } | Self::ConfigRecovered { file } => name_of(file).ok(),
            Self::StorageFailed { .. } | Self::StorageLow { .. } | Self::StorageRecovered { .. } => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Held { .. } => "postrider.hook.held",
            Self::Released { .. } => "postrider.hook.released",
            Self::RobotHeld { .. } => "postrider.robot.held",
            Self::RobotReleased { .. } => "postrider.robot.released",
            Self::Dead { .. } => "postrider.hook.dead",
            Self::ConfigError { .. } => "postrider.config.error",
            Self::ConfigRecovered { .. } => "postrider.config.recovered",
            Self::StorageFailed { .. } => "postrider.storage.failed",
            Self::StorageLow { .. } => "postrider.storage.low",
            Self::StorageRecovered { .. } => "postrider.storage.recovered",
        }
    }

    /// What it says. The names are a promise.
    fn data(&self, count: u64, now: Timestamp) -> Json {
        match self {
            Self::Held { hook, why, by, until } => json!({"hook": **hook, "why": why, "by": by, "until": until}),
            Self::Released { hook, why } => json!({"hook": **hook, "why": why}),
            Self::RobotHeld { hook, robot, why, left } => {
                json!({"hook": **hook, "robot": robot, "why": why, "left": left})
            }
            Self::RobotReleased { hook, robot, why } => json!({"hook": **hook, "robot": robot, "why": why}),
            Self::Dead { hook, delivery, event: (id, kind), why } => json!({
                "hook": **hook, "count": count, "delivery": **delivery, "event": id, "type": kind, "why": why,
            }),
            Self::ConfigError { file, problems } => json!({
                "file": file,
                "text": problems.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n"),
                "problems": problems.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            }),
            Self::ConfigRecovered { file } => json!({"file": file}),
            Self::StorageFailed { why, since } | Self::StorageLow { why, since } => json!({"why": why, "since": since}),
            Self::StorageRecovered { why, since } => {
                json!({"why": why, "since": since, "seconds": now.duration_since(*since).as_secs()})
            }
        }
    }
}

/// Turns troubles into events, until `stop`; then what is left is told.
pub async fn tell(
    mut raised: mpsc::Receiver<Trouble>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    mut config: watch::Receiver<Arc<Config>>,
    stop: CancellationToken,
) {
    let mut teller = Teller { journal, clock, dead: Repeats::new(limits::TROUBLE_EVERY), untold: VecDeque::new() };
    let mut broken = BTreeMap::new();
    let first = config.borrow_and_update().clone();
    for trouble in files(&mut broken, &first) {
        teller.tell(&first, &trouble, 1).await;
    }
    loop {
        let wait = match (teller.untold.is_empty(), teller.dead.next()) {
            (false, _) => limits::STORAGE_LOOK,
            (true, Some(due)) => due.saturating_sub(clock.elapsed()),
            (true, None) => limits::TROUBLE_EVERY,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(trouble) = raised.recv() => {
                let now = config.borrow().clone();
                teller.hear(&now, trouble).await;
            }
            changed = config.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = config.borrow_and_update().clone();
                for trouble in files(&mut broken, &now) {
                    teller.tell(&now, &trouble, 1).await;
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
        let now = config.borrow().clone();
        teller.catch_up(&now).await;
    }
    let last = config.borrow().clone();
    while let Ok(trouble) = raised.try_recv() {
        teller.hear(&last, trouble).await;
    }
    for (count, trouble) in teller.dead.rest() {
        teller.tell(&last, &trouble, count).await;
    }
}

struct Teller {
    journal: Arc<dyn Journal>,
    clock: Clock,
    dead: Repeats<Trouble>,
    /// What could not be stored yet, with who is to be told.
    untold: VecDeque<Append>,
}

impl Teller {
    async fn hear(&mut self, config: &Config, trouble: Trouble) {
        if let Trouble::Dead { hook, .. } = &trouble {
            let hook = hook.clone();
            if let Some(trouble) = self.dead.note(self.clock.elapsed(), &hook, trouble) {
                self.tell(config, &trouble, 1).await;
            }
            return;
        }
        self.tell(config, &trouble, 1).await;
    }

    /// What has become due, and what could not be stored before.
    async fn catch_up(&mut self, config: &Config) {
        for (count, trouble) in self.dead.due(self.clock.elapsed()) {
            self.tell(config, &trouble, count).await;
        }
        while self.journal.trouble().is_none()
            && let Some(next) = self.untold.front().cloned()
            && self.journal.append(vec![next]).await.is_ok()
        {
            self.untold.pop_front();
        }
    }

    async fn tell(&mut self, config: &Config, trouble: &Trouble, count: u64) {
        let now = self.clock.now();
        let mut event = Event::new(trouble.kind(), None, trouble.data(count, now).to_string(), now);
        event.source = event::OWN_SOURCE.to_owned();
        let mut hooks = config.route(&event, |hook, why| {
            tracing::warn!(hook = %hook.name, kind = event.kind, why, "its when failed: not wanted");
        });
        hooks.retain(|hook| trouble.about() != Some(hook));
        // What nobody wants to hear stands in the log, and need not fill the journal.
        if hooks.is_empty() {
            return;
        }
        if self.journal.waiting() >= config.settings.waiting {
            return tracing::warn!(kind = event.kind, "too much waits already: this trouble stands in the log only");
        }
        let terms = config.terms(&event, &hooks, |_, _| {});
        self.store(Append { event: Arc::new(event), hooks, terms }).await;
    }

    /// Stores one, or keeps it until it can be stored, behind those that are kept already.
    async fn store(&mut self, append: Append) {
        if !self.untold.is_empty() || self.journal.append(vec![append.clone()]).await.is_err() {
            self.untold.push_back(append);
            self.untold.truncate(limits::TROUBLES);
        }
    }
}

/// What changed in the files that are broken.
fn files(broken: &mut BTreeMap<String, Vec<Diagnostic>>, config: &Config) -> Vec<Trouble> {
    let mut now: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for problem in config.problems.iter().filter(|problem| problem.severity == Severity::Error) {
        let file = problem.place.as_ref().map(|place| place.file.clone()).unwrap_or_default();
        now.entry(file).or_default().push(problem.clone());
    }
    let worse = now.iter().filter(|(file, problems)| broken.get(*file) != Some(problems));
    let errors = worse.map(|(file, problems)| Trouble::ConfigError { file: file.clone(), problems: problems.clone() });
    let better = broken.keys().filter(|file| !now.contains_key(*file));
    let recovered = better.map(|file| Trouble::ConfigRecovered { file: file.clone() });
    let troubles = errors.chain(recovered).collect();
    *broken = now;
    troubles
}

/// Says in the log, and to the bell, when storage stops working or has too little space, and when that is over.
pub async fn watch_storage(journal: Arc<dyn Journal>, clock: Clock, bell: Bell, stop: CancellationToken) {
    let mut said: Option<Said> = None;
    let mut tick = tokio::time::interval(limits::STORAGE_LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = match (journal.trouble(), journal.refuses()) {
            (Some(why), _) => Some((true, why.to_string())),
            (None, Some(why)) => Some((false, why.to_string())),
            (None, None) => None,
        };
        said = match (now, said.take()) {
            (None, None) => None,
            (None, Some(Said { why, since, .. })) => {
                tracing::info!("storage works again, and there is space");
                bell.raise(Trouble::StorageRecovered { why, since });
                None
            }
            // How much is left changes all the time.
            (Some((false, _)), Some(before)) if !before.failed => Some(before),
            (Some((failed, why)), Some(before)) if before.failed == failed && before.why == why => Some(before),
            (Some((failed, why)), before) => {
                let changed = before.as_ref().is_none_or(|before| before.failed != failed);
                let since = before.filter(|_| !changed).map_or_else(|| clock.now(), |before| before.since);
                match failed {
                    true => tracing::error!(why, "nothing is accepted or sent: storage trouble"),
                    false => tracing::error!(why, "nothing is accepted, deliveries go on: little space"),
                }
                if changed {
                    let why = why.clone();
                    bell.raise(match failed {
                        true => Trouble::StorageFailed { why, since },
                        false => Trouble::StorageLow { why, since },
                    });
                }
                Some(Said { failed, why, since })
            }
        };
    }
}

/// What was said of the storage last.
struct Said {
    /// Nothing can be written; else there is only little space.
    failed: bool,
    why: String,
    since: Timestamp,
}
