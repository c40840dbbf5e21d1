//! Under a service manager: what it is told, and sockets that outlive the process. The manager here is the test, which
//! speaks as systemd does: datagrams to a socket, descriptors from number 3 on.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::support::{PATIENCE, write_hook};

/// A folder, a manager that listens, and the sockets that it keeps.
pub(crate) struct Manager {
    folder: tempfile::TempDir,
    heard: UnixDatagram,
    emit: UnixListener,
    admin: UnixListener,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let hidden = folder.path().join(".postrider");
        fs::create_dir(&hidden).expect("a folder");
        let heard = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let [emit, admin] =
            ["emit.sock", "admin.sock"].map(|name| UnixListener::bind(hidden.join(name)).expect("a socket"));
        Self { folder, heard, emit, admin }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the daemon; the shell puts the sockets where systemd puts them, and names the process that is meant.
    pub(crate) fn start(&self) -> Child {
        let given = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$0\" run --here";
        let log = fs::File::options().create(true).append(true).open(self.path().join("log")).expect("a log");
        let pass = |listener: &UnixListener| Stdio::from(OwnedFd::from(listener.try_clone().expect("a socket")));
        let mut shell = Command::new("sh");
        shell.args(["-c", given, env!("CARGO_BIN_EXE_postrider")]).current_dir(self.path()).env_remove("RUST_LOG");
        shell.env("NOTIFY_SOCKET", self.path().join("notify")).env("WATCHDOG_USEC", "1500000");
        shell.stdin(pass(&self.emit)).stdout(pass(&self.admin)).stderr(log).spawn().expect("a daemon")
    }

    /// Waits until the daemon has said this, and returns everything that it said up to then.
    fn hears(&self, wanted: &str) -> Vec<String> {
        self.hears_all(&[wanted])
    }

    /// Waits until the daemon has said all of this, in whatever order.
    fn hears_all(&self, wanted: &[&str]) -> Vec<String> {
        let mut said = Vec::new();
        let until = Instant::now() + PATIENCE;
        self.heard.set_read_timeout(Some(Duration::from_millis(200))).expect("a bound");
        let mut datagram = [0; 4096];
        loop {
            if let Ok(length) = self.heard.recv(&mut datagram) {
                said.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
            }
            if wanted.iter().all(|wanted| said.iter().any(|line| line.contains(wanted))) {
                return said;
            }
            assert!(Instant::now() < until, "not all of {wanted:?}: {said:?}\n{}", self.log());
        }
    }

    /// Takes what the daemon says and heeds none of it; unheard, it would wait for us in the end.
    pub(crate) fn hears_nothing(&self) {
        self.heard.set_read_timeout(Some(Duration::from_millis(100))).expect("a bound");
        let _one_or_none = self.heard.recv(&mut [0; 4096]);
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    fn connect(&self, socket: &str) -> UnixStream {
        let stream = UnixStream::connect(self.path().join(".postrider").join(socket)).expect("nobody is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        stream
    }

    fn reload(&self) -> String {
        let mut admin = self.connect("admin.sock");
        let order = "POST /v1/reload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        admin.write_all(order.as_bytes()).expect("it is read");
        let mut answer = String::new();
        admin.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("it runs");
}

fn hand_in(stream: &mut UnixStream, id: &str) {
    writeln!(stream, "{{\"type\":\"x\",\"id\":\"{id}\",\"data\":1}}").expect("it is taken");
}

fn answer(stream: &mut UnixStream) -> Json {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "closed after {:?}", String::from_utf8_lossy(&line));
        line.push(byte[0]);
    }
    serde_json::from_slice(&line).expect("JSON")
}

#[test]
fn the_manager_hears_what_is_so() {
    let manager = Manager::new();
    let nowhere = "events: [x]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:1/\"}\n";
    write_hook(manager.path(), "nowhere", nowhere);
    let mut child = manager.start();
    // Two tasks tell it, and the line is told only when it changes.
    let start = manager.hears_all(&["READY=1", "STATUS=1 hook, 0 waiting"]);
    assert!(!start.iter().any(|line| line.starts_with("STOPPING")), "{start:?}");
    let mut stream = manager.connect("emit.sock");
    hand_in(&mut stream, "1");
    assert_eq!(answer(&mut stream)["hooks"], serde_json::json!(["nowhere"]));
    manager.hears("STATUS=1 hook, 1 waiting");
    // Asked for every 1.5 s, said every 0.5 s.
    let (mut beats, begun) = (0, Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        beats += manager.hears("WATCHDOG=1").iter().filter(|line| *line == "WATCHDOG=1").count();
    }
    assert!(beats >= 3, "{beats} signs of life in {:?}", begun.elapsed());

    let reloaded = manager.reload();
    assert!(reloaded.starts_with("HTTP/1.1 200"), "{reloaded}");
    let said = manager.hears("READY=1");
    let at = |wanted: &str| said.iter().position(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{said:?}"));
    assert!(at("RELOADING=1") < at("MONOTONIC_USEC=") && at("MONOTONIC_USEC=") < at("READY=1"), "{said:?}");

    signal(&child, Signal::TERM);
    manager.hears("STOPPING=1");
    assert!(child.wait().expect("a child").success(), "{}", manager.log());
}

#[test]
fn a_stopped_process_is_silent() {
    let manager = Manager::new();
    let mut child = manager.start();
    manager.hears("WATCHDOG=1");
    signal(&child, Signal::STOP);
    // What was said before it stopped.
    let mut rest = [0; 4096];
    manager.heard.set_read_timeout(Some(Duration::from_millis(300))).expect("a bound");
    while manager.heard.recv(&mut rest).is_ok() {}
    manager.heard.set_read_timeout(Some(Duration::from_millis(1_600))).expect("a bound");
    assert!(manager.heard.recv(&mut rest).is_err(), "it says that it is alive while it is not");
    child.kill().expect("a child");
    child.wait().expect("a child");
}

#[test]
fn nobody_is_refused_while_it_restarts() {
    let manager = Manager::new();
    // Handed in before there is a daemon at all.
    let mut early = manager.connect("emit.sock");
    hand_in(&mut early, "0");
    let mut accepted = 0;
    for round in 1..=3 {
        let mut child = manager.start();
        assert_eq!(answer(&mut early)["id"], (accepted).to_string(), "{}", manager.log());
        accepted += 1;
        signal(&child, if round == 2 { Signal::KILL } else { Signal::TERM });
        child.wait().expect("a child");
        // Nobody listens now, and yet nobody is refused.
        early = manager.connect("emit.sock");
        hand_in(&mut early, &accepted.to_string());
    }
    assert_eq!(accepted, 3);
    assert!(manager.path().join(".postrider/emit.sock").exists(), "the sockets are the manager's");
    assert!(!manager.log().contains("not one of ours"), "{}", manager.log());
}
