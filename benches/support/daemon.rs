//! The real daemon, as a child process in a folder of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Fallible, process};

/// The platform that is DingTalk without its pace.
pub(crate) const UNPACED: &str = "unpaced";

/// How long a start, or the last outcomes, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the processor must not have been used for a daemon to be at rest.
const REST: Duration = Duration::from_millis(500);

/// A running daemon; it ends, and its folder is removed, with this value.
pub(crate) struct Daemon {
    child: Child,
    /// Taken when the daemon moves on to another life.
    folder: Option<TempDir>,
    path: PathBuf,
    /// When the process was started.
    pub(crate) began: Instant,
    /// From the start of the process to its first answer.
    pub(crate) start: Duration,
}

impl Daemon {
    /// Starts a daemon with these hook files (name without suffix, text), and an HTTP listener.
    pub(crate) fn start(hooks: &[(String, String)]) -> Fallible<Self> {
        // Beside the binaries, not in /tmp: that is memory on many machines, where fsync costs nothing.
        let folder = tempfile::Builder::new().prefix("b").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        fs::create_dir(folder.path().join("hooks.d"))?;
        for (name, text) in hooks {
            fs::write(hook_file(&folder, name), text)?;
        }
        let scripts = folder.path().join("scripts/platforms");
        fs::create_dir_all(&scripts)?;
        fs::write(scripts.join(format!("{UNPACED}.rhai")), unpaced()?)?;
        let main = "listen: {http: \"127.0.0.1:0\"}\n";
        fs::write(folder.path().join("postrider.yaml"), main)?;
        let secrets = folder.path().join(".postrider/secrets.d");
        fs::create_dir_all(&secrets)?;
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o700))?;
        for (name, secret) in [("robot", "SECbench0123456789"), ("receiver", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
        {
            fs::write(secrets.join(name), secret)?;
            fs::set_permissions(secrets.join(name), fs::Permissions::from_mode(0o600))?;
        }
        Self::launch(folder)
    }

    /// Stops the daemon as systemd would, changes a hook file, and starts it again.
    pub(crate) fn restart_with(mut self, name: &str, text: &str) -> Fallible<Self> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?).ok_or("no process")?;
        kill_process(pid, Signal::TERM)?;
        let ended = self.child.wait()?;
        if !ended.success() {
            return Err(format!("SIGTERM ended the daemon with {ended}: {}", self.log()).into());
        }
        let folder = self.folder.take().ok_or("no folder")?;
        fs::write(hook_file(&folder, name), text)?;
        Self::launch(folder)
    }

    fn launch(folder: TempDir) -> Fallible<Self> {
        let log = fs::File::options().create(true).append(true).open(folder.path().join("log"))?;
        let began = Instant::now();
        let child = Command::new(binary())
            .args(["run", "--here"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let path = folder.path().to_owned();
        let mut daemon = Self { child, folder: Some(folder), path, began, start: Duration::ZERO };
        daemon.await_status("ready", |_| true)?;
        daemon.start = began.elapsed();
        Ok(daemon)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The socket that takes events.
    pub(crate) fn emit_socket(&self) -> PathBuf {
        self.path.join(".postrider/emit.sock")
    }

    /// Where it takes events over HTTP.
    pub(crate) fn http(&self) -> Fallible<SocketAddr> {
        let status = self.status()?;
        Ok(status["listen"]["http"].as_str().ok_or("the status names no HTTP listener")?.parse()?)
    }

    /// Waits until it does nothing: what follows a start is no part of what an event costs.
    pub(crate) fn at_rest(&self) -> Fallible<()> {
        let deadline = Instant::now() + PATIENCE;
        let (mut before, mut quiet) = (process::cpu_of(self.pid())?, 0);
        while quiet < 5 {
            if Instant::now() > deadline {
                return Err(format!("the daemon comes to no rest: {}", self.log()).into());
            }
            std::thread::sleep(REST / 5);
            let cpu = process::cpu_of(self.pid())?;
            quiet = if cpu > before { 0 } else { quiet + 1 };
            before = cpu;
        }
        Ok(())
    }

    /// Waits until no delivery waits.
    pub(crate) fn drained(&mut self) -> Fallible<()> {
        self.await_status("drained", |status| status["waiting"].as_u64() == Some(0)).map(drop)
    }

    /// Waits until a hook is held.
    pub(crate) fn held(&mut self) -> Fallible<()> {
        self.await_status("held", |status| status["hooks"][0]["state"] == "held").map(drop)
    }

    fn await_status(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Fallible<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(status) = self.status()
                && is_so(&status)
            {
                return Ok(status);
            }
            if let Some(code) = self.child.try_wait()? {
                return Err(format!("the daemon ended with {code}: {}", self.log()).into());
            }
            if Instant::now() > deadline {
                return Err(format!("the daemon is not {what} after {PATIENCE:?}: {}", self.log()).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn status(&self) -> Fallible<Value> {
        let mut stream = UnixStream::connect(self.path.join(".postrider/admin.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// The last lines of what the daemon said.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The daemon that is measured: `POSTRIDER_DAEMON`, or the one that cargo has built beside this.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("POSTRIDER_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_postrider").into()).into()
}

/// The built-in script of DingTalk, but for the twenty messages a minute that a robot may send: no `rate_limit` allows
/// as many as are measured here, and it would be the pace that is measured.
fn unpaced() -> Fallible<String> {
    const SCRIPT: &str = include_str!("../../scripts/platforms/dingtalk.rhai");
    let (before, from) = SCRIPT.split_once("rate_limit: \"20/1m\", concurrency: 1,").ok_or("DingTalk has no pace")?;
    Ok(format!("{before}{from}"))
}

fn hook_file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join("hooks.d").join(format!("{name}.yaml"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
