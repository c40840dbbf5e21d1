//! `postrider demo`: the whole path on this machine, with receivers that answer as the real ones do.
//!
//! Nothing is staged: a real daemon with a real journal in a temporary folder reads real hook files, and the receivers
//! are those of `postrider sink`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::cli::exit::{Code, Exit};
use crate::cli::output;
use crate::edges::config::{Keeper, Paths};
use crate::edges::journal::{Filter, Journal, LogRow, sqlite::SqliteJournal};
use crate::edges::sink::{BotOptions, Platform, Sink, SinkHandle, SinkOptions, Step};
use crate::engine::admin::About;
use crate::engine::care::Care;
use crate::engine::clock::Clock;
use crate::engine::daemon::{self, Parts};
use crate::words::secret::Secret;

mod post;
mod story;

/// The whole story may take this long on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Show everything end to end, on this machine only
///
/// Starts local receivers that answer as WeCom, DingTalk and Lark do, and a daemon with hooks for them; posts sample
/// events, prints what happened (a retry and a dead letter among it), and cleans up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  postrider demo --keep")]
pub(crate) struct Demo {
    /// Keep the folder, to look at its hooks and its journal
    #[arg(long)]
    keep: bool,
}

/// The receivers of the demo.
struct Receivers {
    mirror: SinkHandle,
    wecom: SinkHandle,
    dingtalk: SinkHandle,
    lark: SinkHandle,
}

impl Demo {
    /// Tells the story.
    ///
    /// # Errors
    /// Something did not happen as it should have.
    pub(crate) fn run(self, _global: &Global) -> Result<(), Exit> {
        let folder = std::env::temp_dir().join(format!("postrider-demo-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| Exit::caused(Code::Failed, "cannot make a folder", &error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| Exit::caused(Code::Failed, "cannot start", &error))?;
        let told = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, tell(&folder)).await.unwrap_or_else(|_| Err(failed("the story got stuck")))
        });
        runtime.shutdown_background();
        if self.keep {
            output::say(format!("the folder is {}", folder.display()))?;
        } else {
            let _the_system_cleans_up = fs::remove_dir_all(&folder);
        }
        told
    }
}

async fn tell(folder: &Path) -> Result<(), Exit> {
    let receivers = Receivers::start().await?;
    story::write_files(folder, &receivers).map_err(|error| Exit::caused(Code::Failed, "cannot write", &error))?;

    let paths = Paths::here(folder);
    let journal: Arc<dyn Journal> =
        Arc::new(SqliteJournal::open(&paths.state).map_err(|error| failed(error.to_string()))?);
    let (address, stop, running) = start_daemon(&paths, journal.clone()).await?;

    output::say(story::OPENING)?;
    output::say(story::hooks())?;
    let answer = post::event(address, "updateVersion", story::PGYER.as_bytes()).await?;
    output::say(story::posted("updateVersion", story::PGYER.len(), &answer))?;
    let answer = post::event(address, "feedback", story::FEEDBACK.as_bytes()).await?;
    output::say(story::posted("feedback", story::FEEDBACK.len(), &answer))?;

    let log = everything_settled(journal.as_ref()).await?;
    output::say(story::deliveries(&log))?;
    output::say(story::received(&receivers))?;

    stop.cancel();
    running.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    story::judge(&log)?;
    output::say(story::ENDING)
}

impl Receivers {
    async fn start() -> Result<Self, Exit> {
        let bot = |secret: Option<&str>, keyword: Option<&str>| BotOptions {
            secret: secret.map(Secret::new),
            keywords: keyword.into_iter().map(str::to_owned).collect(),
            ..BotOptions::default()
        };
        let start = async |platform, default| {
            let started = Sink::start(SinkOptions { platform, default, ..SinkOptions::default() }).await;
            started.map_err(|error| Exit::caused(Code::Failed, "cannot start a receiver", &error))
        };
        let mirror = start(Platform::Plain, bot(None, None)).await?;
        mirror.script(Step::status(503).times(2)).map_err(failed)?;
        Ok(Self {
            mirror,
            wecom: start(Platform::Wecom, bot(None, None)).await?,
            dingtalk: start(Platform::Dingtalk, bot(Some(story::DINGTALK_SECRET), Some("应用"))).await?,
            lark: start(Platform::Lark, bot(Some(story::LARK_SECRET), None)).await?,
        })
    }
}

type Running = tokio::task::JoinHandle<Result<(), crate::edges::journal::JournalError>>;

async fn start_daemon(
    paths: &Paths,
    journal: Arc<dyn Journal>,
) -> Result<(std::net::SocketAddr, CancellationToken, Running), Exit> {
    let mut keeper = Keeper::new(paths.clone(), true);
    let config = keeper.load().map_err(|_| failed("the demo's own files are broken"))?;
    if let Some(problem) = config.problems.first() {
        return Err(failed(problem.one_line()));
    }
    let cannot = |error: std::io::Error| Exit::caused(Code::Failed, "cannot listen", &error);
    let http = TcpListener::bind(("127.0.0.1", 0)).await.map_err(cannot)?;
    let address = http.local_addr().map_err(cannot)?;
    let parts = Parts {
        keeper,
        config,
        journal,
        emit: Some(UnixListener::bind(&paths.emit).map_err(cannot)?),
        admin: None,
        http: Some(http),
        spool: None,
        metrics: None,
        care: Care::none(),
        clock: Clock::start(),
        about: About::default(),
        reload: mpsc::channel(1),
        drain: daemon::DRAIN,
        landing: Box::new(|_| {}),
    };
    let stop = CancellationToken::new();
    Ok((address, stop.clone(), tokio::spawn(daemon::run(parts, stop))))
}

/// Waits until nothing is owed any more, and returns every attempt.
async fn everything_settled(journal: &dyn Journal) -> Result<Vec<LogRow>, Exit> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while journal.waiting() > 0 {
        tick.tick().await;
    }
    journal.log(Filter::default()).await.map_err(|error| failed(error.to_string()))
}

fn failed(why: impl Into<String>) -> Exit {
    Exit::new(Code::Failed, why)
}

/// Where the demo's daemon keeps its sockets and secrets.
fn private(folder: &Path) -> PathBuf {
    folder.join(".postrider")
}
