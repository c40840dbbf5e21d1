//! What a service manager gives and is told: sockets, readiness, reloads, signs of life, what is going on. Where there
//! is none (a terminal, a container), nothing is given and nobody listens.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::fs::fstat;
use sd_notify::NotifyState;

/// The listening sockets that came with the process. They outlive it: nobody is refused during a restart.
#[derive(Debug, Default)]
pub struct Passed {
    unix: Vec<UnixListener>,
    tcp: Vec<TcpListener>,
}

impl Passed {
    /// Those that are meant for this process. May be asked once.
    ///
    /// # Errors
    /// One of them cannot be listened on: a datagram socket, a file.
    pub fn from_environment() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..given.len() {
            if let Ok(Some(listener)) = given.take_unix_listener(index) {
                passed.unix.push(listener);
            } else if let Some(listener) = given.take_tcp_listener(index)? {
                passed.tcp.push(listener);
            }
        }
        Ok(passed)
    }

    /// The local socket with this path.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let path = path.canonicalize().ok()?;
        let is_there = |one: &UnixListener| {
            let address = one.local_addr().ok()?;
            Some(address.as_pathname()?.canonicalize().ok()? == path)
        };
        let found = self.unix.iter().position(|one| is_there(one) == Some(true))?;
        Some(self.unix.swap_remove(found))
    }

    /// The TCP socket with this address.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let found = self.tcp.iter().position(|one| one.local_addr().is_ok_and(|its| its == address))?;
        Some(self.tcp.swap_remove(found))
    }

    /// What nobody asked for: whoever connects there waits for ever.
    pub fn unused(&self) -> Vec<String> {
        let unix = self.unix.iter().map(|one| match one.local_addr() {
            Ok(address) => format!("{address:?}"),
            Err(error) => error.to_string(),
        });
        let tcp =
            self.tcp.iter().map(|one| one.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string()));
        unix.chain(tcp).collect()
    }
}

/// Everything listens and the journal is open.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The files are read anew; `ready` ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Nothing new is begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The queue makes progress.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// What is going on, in one line.
pub fn status(text: &str) {
    // A line break would begin another message.
    let line = text.replace(['\n', '\r'], " ");
    tell(&[NotifyState::Status(&line)]);
}

/// Within which time `alive` is expected, if it is.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether somebody listens to `status`.
pub fn is_listening() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Whether standard error is the system's journal, which then takes fields as well as text. `JOURNAL_STREAM` names the
/// stream by device and inode, and is inherited also by whoever has redirected its output since.
pub fn logs_to_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stat) = fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
