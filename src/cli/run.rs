//! `postrider run`: the daemon.

use std::fs;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit, umask};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cli::exit::{Code, Exit};
use crate::cli::progress::Line;
use crate::cli::{Global, logging};
use crate::edges::config::{Keeper, Paths, ReloadRequest};
use crate::edges::journal::{Journal, JournalError, sqlite::SqliteJournal};
use crate::edges::proof::Prover;
use crate::edges::spool;
use crate::edges::systemd::Passed;
use crate::edges::users;
use crate::engine::admin::About;
use crate::engine::care::Care;
use crate::engine::clock::Clock;
use crate::engine::daemon::{self, Landing, Parts};
use crate::rules::diagnostic::Severity;
use crate::rules::yaml::reader::parse_duration;
use crate::words::limits;

/// Run the daemon: watch hooks.d, take events, deliver them until they arrive
///
/// Stops on SIGTERM or SIGINT after what is being sent has landed (a second signal stops at once; nothing is lost
/// either way), and reads its files again on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: try it in an empty folder, with hooks in ./hooks.d\n  postrider run --here")]
pub(crate) struct Run {
    /// Use this folder only: ./postrider.yaml, ./hooks.d, ./scripts, and ./.postrider for sockets, state and secrets
    #[arg(long)]
    here: bool,

    /// Use the system's folders (/etc/postrider, /var/lib/postrider, /run/postrider) without being root
    #[arg(long, conflicts_with = "here")]
    system: bool,

    /// Worker threads, besides those of the journal [default: 2, or 1 where there is one core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,

    /// How long a stopping daemon waits for what is being sent, such as 5s; what has not landed by then is tried again
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain: Duration,
}

/// A duration as hook files write it.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| "write for example 5s or 1m".to_owned())
}

impl Run {
    /// Runs until a signal.
    ///
    /// # Errors
    /// The main file is broken, the state directory is in use, or an address cannot be bound.
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let known = match (self.here, self.system) {
            (true, _) => Some(Paths::here(Path::new("."))),
            (_, true) => Some(Paths::system()),
            _ => None,
        };
        let paths = global.paths_or(known);
        logging::start(global);
        take_open_files();
        let (drain, shown) = (self.drain, Line::new(global));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.threads.map_or(cores.min(limits::WORKERS), usize::from) {
            // Tasks that are never moved are cheaper to wake. A thread of its own has a stack of a known size.
            1 => std::thread::Builder::new()
                .stack_size(limits::STACK)
                .spawn(move || live(Builder::new_current_thread(), paths, drain, shown))
                .map_err(|error| failed(format!("cannot start a thread: {error}")))?
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            threads => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads);
                live(builder, paths, drain, shown)
            }
        }
    }
}

fn live(mut builder: Builder, paths: Paths, drain: Duration, shown: Line) -> Result<(), Exit> {
    let runtime = builder.thread_stack_size(limits::STACK).enable_all().build();
    let runtime = runtime.map_err(|error| failed(format!("cannot start threads: {error}")))?;
    let ended = runtime.block_on(serve(paths, drain, shown));
    // A name that is being resolved cannot be interrupted; the process need not wait for it.
    runtime.shutdown_background();
    ended
}

async fn serve(paths: Paths, drain: Duration, shown: Line) -> Result<(), Exit> {
    let stop = CancellationToken::new();
    bear_file_sizes();
    let mut keeper = Keeper::new(paths.clone(), true).proving(Prover::own());
    let config = keeper.start().map_err(|problems| {
        for problem in &problems {
            eprintln!("{}", problem.render(io::stderr().is_terminal()));
        }
        Exit::new(Code::Configuration, "the main file is broken, and no earlier version of it is known")
    })?;
    for problem in &config.problems {
        match problem.severity {
            Severity::Error => tracing::error!("{}", problem.one_line()),
            Severity::Warning => tracing::warn!("{}", problem.one_line()),
        }
    }
    let clock = Clock::start();
    let journal = open_journal(&paths.state, clock)?;
    let mut passed =
        Passed::from_environment().map_err(|error| failed(format!("cannot use a passed socket: {error}")))?;
    let http = listen_tcp("http", config.settings.http, &mut passed).await?;
    let metrics = listen_tcp("metrics", config.settings.metrics, &mut passed).await?;
    let emit = Local::listen(&paths.emit, Open::ToGroup, &mut passed)?;
    let admin = Local::listen(&paths.admin, Open::of_admin(&paths), &mut passed)?;
    for socket in passed.unused() {
        tracing::warn!(socket, "the service manager passed a socket that is not one of ours; nobody answers there");
    }
    let about = About {
        journal: paths.state.join("journal.db").display().to_string(),
        emit: paths.emit.display().to_string(),
        spool: spool_at(&paths.spool),
        http: address_of(http.as_ref()),
        metrics: address_of(metrics.as_ref()),
    };
    let reload = mpsc::channel(16);
    let parts = Parts {
        keeper,
        journal,
        emit: Some(emit.listener),
        admin: Some(admin.listener),
        http,
        spool: about.spool.clone(),
        metrics,
        care: Care::begin(&paths.state, Prover::own()),
        clock,
        about: about.clone(),
        reload: (reload.0.clone(), reload.1),
        drain,
        landing: landing(shown),
        config,
    };
    let hooks = parts.config.hooks.len();
    tokio::spawn(on_signals(stop.clone(), reload.0));
    tracing::info!(hooks, emit = about.emit, http = about.http, metrics = about.metrics, "ready");
    let ended = daemon::run(parts, stop).await;
    for (socket, ours) in [(&paths.emit, emit.ours), (&paths.admin, admin.ours)] {
        if ours {
            let _already_gone = fs::remove_file(socket);
        }
    }
    ended.map_err(|error| failed(error.to_string()))?;
    tracing::info!("stopped");
    Ok(())
}

/// The spool, made where it is missing. The daemon does without where it cannot have one.
fn spool_at(folder: &Path) -> Option<PathBuf> {
    match spool::make(folder) {
        Ok(()) => Some(folder.to_owned()),
        Err(error) => {
            let folder = folder.display();
            tracing::warn!("there is no spool, senders fail while the daemon is down: cannot make {folder}: {error}");
            None
        }
    }
}

/// Says at a terminal what a stopping daemon waits for.
fn landing(shown: Line) -> Landing {
    let shown = Mutex::new(shown);
    Box::new(move |left| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.say(|| format!("{left} on the way; once more stops at once"));
    })
}

/// As many file descriptors as we may have: shells and old tools are given few for the sake of `select`.
fn take_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Refused to whom it may not be given; then the few have to do.
    let _as_before = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// A file that may not grow further is an error where it is written, not the death of the process: a signal that is
/// listened to does not kill.
fn bear_file_sizes() {
    let too_large = SignalKind::from_raw(Signal::XFSZ.as_raw());
    if let Err(error) = signal(too_large) {
        tracing::warn!(%error, "a bound on the size of files would end the daemon");
    }
}

fn open_journal(state: &Path, clock: Clock) -> Result<Arc<dyn Journal>, Exit> {
    match SqliteJournal::open_by(state, move || clock.steady()) {
        Ok(journal) => Ok(Arc::new(journal)),
        Err(error @ JournalError::Locked { .. }) => {
            Err(failed(error.to_string()).help("stop the other one first, or use another state directory"))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A local socket, and whether it is ours to remove.
struct Local {
    listener: UnixListener,
    ours: bool,
}

impl Local {
    /// The socket that the service manager keeps for us, or one that is bound now.
    fn listen(path: &Path, open: Open, passed: &mut Passed) -> Result<Self, Exit> {
        let failed = |error: io::Error| failed(format!("cannot listen on {}: {error}", path.display()));
        if let Some(listener) = passed.unix(path) {
            listener.set_nonblocking(true).map_err(failed)?;
            return Ok(Self { listener: UnixListener::from_std(listener).map_err(failed)?, ours: false });
        }
        Ok(Self { listener: bind(path, open).map_err(failed)?, ours: true })
    }
}

/// Whom a socket that we bind ourselves is open to, besides ourselves and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// The daemon's own group, which may hand in events.
    ToGroup,
    /// This group.
    To(u32),
    /// Nobody.
    ToNobody,
}

impl Open {
    /// Who hands in events is not an operator: the system's admin socket is for a group of its own, where there is one
    /// that we are in, and a user's own is for that user.
    fn of_admin(paths: &Paths) -> Self {
        if paths.admin != Paths::system().admin {
            return Self::ToNobody;
        }
        users::group_named(OPERATORS).map_or(Self::ToNobody, Self::To)
    }
}

/// The group of operators, as packages make it.
const OPERATORS: &str = "postrider-admin";

/// Binds a socket. Whoever holds the journal's lock owns the sockets beside it, so a socket that is already there was
/// left by a crash.
fn bind(path: &Path, open: Open) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // It is closed until it is as it should be.
    let before = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    let mode = match open {
        Open::ToNobody => 0o600,
        Open::ToGroup => 0o660,
        Open::To(group) => match chown(path, None, Some(group)) {
            Ok(()) => 0o660,
            Err(error) => {
                let path = path.display();
                tracing::warn!(
                    "{path} is for root and ourselves: it cannot be given to the group {OPERATORS}: {error}"
                );
                0o600
            }
        },
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

fn address_of(listener: Option<&TcpListener>) -> Option<String> {
    listener?.local_addr().ok().map(|address| address.to_string())
}

/// Listens where the main file says at `listen.KEY`, if it does.
async fn listen_tcp(key: &str, at: Option<SocketAddr>, passed: &mut Passed) -> Result<Option<TcpListener>, Exit> {
    let Some(address) = at else { return Ok(None) };
    let listener = match passed.tcp(address) {
        Some(listener) => listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)),
        None => TcpListener::bind(address).await,
    };
    listener.map(Some).map_err(|error| {
        let exit = failed(format!("cannot listen on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => exit.help(format!("see who does: ss -ltnp sport = :{}", address.port())),
            _ => exit.help(format!("it is `listen.{key}` in the main file")),
        }
    })
}

async fn on_signals(stop: CancellationToken, reload: mpsc::Sender<ReloadRequest>) {
    let listen = |kind| signal(kind).expect("signal handlers can be installed");
    let (mut term, mut int) = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let mut hup = listen(SignalKind::hangup());
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {
                let (ask, _nobody_waits) = oneshot::channel();
                let _stopping = reload.send(ask).await;
                continue;
            }
        }
        if stop.is_cancelled() {
            tracing::warn!("second signal: stopping at once; what is in the air is tried again");
            std::process::exit(0);
        }
        tracing::info!("stopping: nothing new is begun, what is in the air may land");
        stop.cancel();
    }
}

fn failed(why: impl Into<String>) -> Exit {
    Exit::new(Code::Failed, why)
}
