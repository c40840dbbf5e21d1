//! A real daemon, as a process of its own: it can die, and its memory can be measured.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::support::PATIENCE;

/// A daemon in a folder, started as `run --here`.
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
    began: Instant,
}

impl Process {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_by(folder, Command::new(binary()))
    }

    /// One whose shell says this first, such as `ulimit -v 4000000`.
    pub(crate) fn start_after(folder: &Path, words: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{words}; exec \"$0\" \"$@\"")]).arg(binary());
        Self::start_by(folder, shell)
    }

    /// One that a tool starts as its last argument.
    pub(crate) fn start_by_tool(folder: &Path, tool: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(tool);
        command.args(arguments).arg(binary());
        Self::start_by(folder, command)
    }

    fn start_by(folder: &Path, mut command: Command) -> Self {
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let command = command.args(["run", "--here"]).current_dir(folder).env_remove("RUST_LOG");
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("a daemon");
        Self { child, folder: folder.to_owned(), began: Instant::now() }
    }

    /// Waits for the first answer, and says how long the start took.
    pub(crate) fn await_ready(&mut self) -> Duration {
        loop {
            if self.get("/v1/status").is_some() {
                return self.began.elapsed();
            }
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the daemon ended with {status}: {}", self.log());
            }
            assert!(self.began.elapsed() < PATIENCE * 4, "the daemon does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it ever had, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a living daemon");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Its processor time so far.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a living daemon");
        let words: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks: u64 = words[11].parse::<u64>().expect("ticks") + words[12].parse::<u64>().expect("ticks");
        Duration::from_millis(ticks * 10)
    }

    /// Asks the admin socket.
    pub(crate) fn get(&self, path: &str) -> Option<Json> {
        self.exchange("admin.sock", &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    /// Asks the admin socket for rows.
    pub(crate) fn rows(&self, path: &str) -> Vec<Json> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let text = self.talk("admin.sock", &request).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Gives the admin socket an order.
    pub(crate) fn post(&self, path: &str, body: &Json) -> Option<Json> {
        self.exchange("admin.sock", &posted(path, &body.to_string()))
    }

    /// Hands in an event; nothing when the daemon died of it.
    pub(crate) fn emit(&self, event: &Json) -> Option<Json> {
        self.exchange("emit.sock", &posted("/v1/events", &event.to_string()))
    }

    fn exchange(&self, socket: &str, request: &str) -> Option<Json> {
        serde_json::from_str(&self.talk(socket, request)?).ok()
    }

    fn talk(&self, socket: &str, request: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.folder.join(".postrider").join(socket)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Waits until it dies.
    pub(crate) fn await_death(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE * 2;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the daemon lives on: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("a living daemon");
        self.child.wait().expect("a child")
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits until something is so.
pub(crate) fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE * 2;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn binary() -> PathBuf {
    std::env::var_os("POSTRIDER_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_postrider").into()).into()
}

fn posted(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
