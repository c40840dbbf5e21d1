//! Folders to Config: loads, watches, keeps the last good version of each file, publishes the next Config.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::rules::config::Config;
use crate::rules::diagnostic::Diagnostic;

/// Where everything is. Folder lists go from the lowest precedence to the highest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The main file; it need not exist.
    pub main: PathBuf,
    /// hooks.d folders.
    pub hooks: Vec<PathBuf>,
    /// Folders with `platforms/*.rhai`.
    pub scripts: Vec<PathBuf>,
    /// Folders with one file per secret.
    pub secrets: Vec<PathBuf>,
    /// Journal and last good versions.
    pub state: PathBuf,
    /// The emit socket.
    pub emit: PathBuf,
    /// The admin socket.
    pub admin: PathBuf,
}

/// What a reload did, for the person who asked for it.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// Hooks now running.
    pub hooks: usize,
    /// Names of hooks that are new.
    pub added: Vec<String>,
    /// Names of hooks whose file, script or secret changed.
    pub changed: Vec<String>,
    /// Names of hooks that are gone.
    pub removed: Vec<String>,
    /// What is wrong now.
    pub problems: Vec<Diagnostic>,
}

/// Asks for a reload now; answered when the new Config is published.
pub type ReloadRequest = oneshot::Sender<Reloaded>;

/// Loads configurations and remembers the last good version of each file, also across restarts.
#[derive(Debug)]
pub struct Keeper {}

impl Paths {
    /// The system's: /etc/postrider, /usr/lib/postrider, /run/postrider, /var/lib/postrider.
    pub fn system() -> Self {
        todo!()
    }

    /// A user's own: `~/.config/postrider`, `$XDG_RUNTIME_DIR/postrider`, `~/.local/state/postrider`.
    pub fn user() -> Self {
        todo!()
    }

    /// Everything in one folder, for trying out: `run --here`.
    pub fn here(_folder: &Path) -> Self {
        todo!()
    }

    /// What a command uses when nothing is said: a daemon started with `run --here` in this folder, else the system's
    /// for root, else the user's.
    pub fn find() -> Self {
        todo!()
    }
}

impl Keeper {
    /// A keeper that remembers in `paths.state`; with `None` it remembers nothing (for `check`, `render`, `test`).
    pub fn new(_paths: Paths, _remember: bool) -> Self {
        todo!()
    }

    /// Reads everything once and builds a Config. A broken hook file, script or secret is a problem of the Config, not
    /// an error.
    ///
    /// # Errors
    /// The main file is broken and no earlier version of it was good.
    pub fn load(&mut self) -> Result<Config, Vec<Diagnostic>> {
        todo!()
    }

    /// Watches the folders until `stop`, and publishes a new Config whenever their content changed or somebody asks.
    pub async fn watch(
        self,
        _publish: watch::Sender<Arc<Config>>,
        _reload: mpsc::Receiver<ReloadRequest>,
        _stop: CancellationToken,
    ) {
        todo!()
    }
}
