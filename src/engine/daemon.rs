//! Wiring: what is started, in which order it stops.
//!
//! Listeners, the journal and the stop signal are arguments, so a test binds port 0 and stops at will.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::edges::config::{Keeper, ReloadRequest};
use crate::edges::intake::http::sources::Sources;
use crate::edges::intake::{http, socket, spool};
use crate::edges::journal::{Journal, JournalError};
use crate::edges::send::Sender;
use crate::edges::systemd;
use crate::engine::accept::Acceptor;
use crate::engine::admin::{About, Admin};
use crate::engine::care::Care;
use crate::engine::clock::Clock;
use crate::engine::desk::Desk;
use crate::engine::health::Health;
use crate::engine::lanes;
use crate::engine::pulse;
use crate::engine::traces;
use crate::engine::troubles;
use crate::rules::config::Config;
use crate::words::limits;
use crate::words::secret::Secret;

/// Everything a daemon is made of.
pub struct Parts {
    /// Watches the folders.
    pub keeper: Keeper,
    /// What it loaded at the start.
    pub config: Config,
    /// The durable record.
    pub journal: Arc<dyn Journal>,
    /// Local senders.
    pub emit: Option<UnixListener>,
    /// Operators.
    pub admin: Option<UnixListener>,
    /// Senders over TCP.
    pub http: Option<TcpListener>,
    /// A folder where events are left while nobody listens.
    pub spool: Option<PathBuf>,
    /// Whoever watches it, over TCP.
    pub metrics: Option<TcpListener>,
    /// What is done after a death.
    pub care: Care,
    /// The time; the journal goes by the same.
    pub clock: Clock,
    /// How to speak of all this.
    pub about: About,
    /// Reloads asked for by a signal or a test.
    pub reload: (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>),
    /// How long to wait for what is in the air when stopping.
    pub drain: Duration,
    /// Hears meanwhile how much there is left.
    pub landing: Landing,
}

/// Hears how many deliveries are still in the air.
pub type Landing = Box<dyn Fn(usize) + Send + Sync>;

/// Runs until `stop`: first nothing more is accepted or begun, then what is in the air lands or is abandoned at the
/// bound (it is still in the journal), then the journal closes.
///
/// # Errors
/// The journal could not be read at the start.
pub async fn run(parts: Parts, stop: CancellationToken) -> Result<(), JournalError> {
    let Parts {
        keeper,
        config,
        journal,
        emit,
        admin,
        http,
        spool,
        metrics,
        mut care,
        clock,
        about,
        reload,
        drain,
        landing,
    } = parts;
    let (ask_reload, asked_reloads) = reload;
    journal.keep(config.settings.journal);
    let holds = journal.holds().await?;
    care.look_at(&*journal).await;
    let (bell, raised) = troubles::Bell::new();
    let sender = Sender::new(config.settings.network.clone());
    let desk = Arc::new(Desk::new(journal.clone(), sender, holds, care, clock, bell));
    let own = desk.clone();
    let (publish, config) = watch::channel(Arc::new(config));
    let token = token_of(&config.borrow());
    let (publish_token, token) = watch::channel(token);

    let mut services = JoinSet::new();
    services.spawn(keeper.watch(publish, asked_reloads, stop.clone()));
    services.spawn(follow_settings(desk.clone(), config.clone(), publish_token, stop.clone()));
    services.spawn(troubles::watch_storage(journal.clone(), clock, desk.troubles.clone(), stop.clone()));
    // What goes wrong while what is in the air lands is told too.
    let landed_all = CancellationToken::new();
    services.spawn(troubles::tell(raised, journal.clone(), clock, config.clone(), landed_all.clone()));
    services.spawn(traces::hand_over(desk.traces.clone(), config.clone(), landed_all.clone()));
    services.spawn(pulse::beat(desk.clone(), config.clone(), stop.clone()));
    let lanes = tokio::spawn(lanes::run(desk.clone(), config.clone(), stop.clone()));

    let sources = Arc::new(Sources::new(config.clone()));
    if let Some(window) = sources.longest_window() {
        let since = desk.clock.now().checked_sub(window).unwrap_or(Timestamp::MIN);
        let lately = journal.accepted_since(since, limits::REPLAYS).await?;
        sources.recall(lately.iter().map(|event| (&*event.source, &*event.id, event.time)));
    }
    let acceptor = Arc::new(Acceptor::new(desk.clone(), config.clone(), stop.clone()));
    if let Some(listener) = emit {
        services.spawn(socket::serve(listener, acceptor.clone(), sources.clone(), stop.clone()));
    }
    if let Some(folder) = spool {
        services.spawn(spool::serve(folder, acceptor.clone(), stop.clone()));
    }
    if let Some(listener) = http {
        services.spawn(http::serve_tcp(listener, acceptor, sources, token, stop.clone()));
    }
    let health = Health::new(desk.clone(), config.clone(), stop.clone());
    if let Some(listener) = metrics {
        // Whoever watches may see how it ends.
        services.spawn(http::server::serve_tcp(listener, Arc::new(health.clone()), landed_all.clone()));
    }
    if let Some(listener) = admin {
        let admin = Arc::new(Admin::new(desk, config, ask_reload, about, health));
        services.spawn(http::server::serve_unix(listener, Arc::new(admin), stop.clone()));
    }

    systemd::ready();
    stop.cancelled().await;
    systemd::stopping();
    let landed = tokio::time::timeout(drain, async {
        tokio::select! {
            _lanes_ended = lanes => {}
            () = tell_landing(&own, &landing) => {}
        }
        landed_all.cancel();
        while services.join_next().await.is_some() {}
    });
    if landed.await.is_err() {
        tracing::warn!(seconds = drain.as_secs(), "stopping without waiting longer; what is in the air is tried again");
    }
    let closed = journal.close().await;
    own.care.end();
    closed
}

/// Says again and again what is in the air.
async fn tell_landing(desk: &Desk, landing: &Landing) {
    loop {
        tokio::time::sleep(limits::LANDING_LOOK).await;
        landing(desk.pulses().iter().map(|(_, pulse)| pulse.flying.load(Ordering::Relaxed)).sum());
    }
}

/// Applies what a new main file changes besides the hooks.
async fn follow_settings(
    desk: Arc<Desk>,
    mut config: watch::Receiver<Arc<Config>>,
    token: watch::Sender<Option<Secret>>,
    stop: CancellationToken,
) {
    let mut before = config.borrow_and_update().settings.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = config.changed() => if changed.is_err() { return },
        }
        let now = config.borrow_and_update().clone();
        token.send_replace(token_of(&now));
        desk.totals.reloaded(desk.clock.now());
        if now.settings.network != before.network {
            desk.set_sender(Sender::new(now.settings.network.clone()));
        }
        if now.settings.journal != before.journal {
            desk.journal.keep(now.settings.journal);
        }
        for (key, changed) in
            [("http", now.settings.http != before.http), ("metrics", now.settings.metrics != before.metrics)]
        {
            if changed {
                tracing::warn!("listen.{key} changed: it takes effect at the next restart");
            }
        }
        before = now.settings.clone();
    }
}

/// What senders over TCP must present. A token that is asked for and cannot be read is one that nobody knows: the door
/// stays shut.
fn token_of(config: &Config) -> Option<Secret> {
    let name = config.settings.http_token.as_ref()?;
    let nobody_knows = || Secret::new(format!("{}{}", uuid::Uuid::now_v7(), uuid::Uuid::now_v7()));
    Some(config.secrets.get(name).cloned().unwrap_or_else(|_| nobody_knows()))
}

/// The bound on draining that `run` uses unless told otherwise.
pub const DRAIN: Duration = limits::DRAIN;
