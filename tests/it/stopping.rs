//! Stopping a real process: what is in the air may land, up to a bound that nothing can stretch, and nothing is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use postrider::edges::sink::{Fault, Step};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{PATIENCE, bodies, receiver, write_hook};

/// The bound that the daemons here are given, and what a busy machine may add to it.
const DRAIN: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(2);

struct Process {
    child: Child,
}

impl Process {
    /// A daemon in this folder, once it answers.
    fn start(folder: &Path) -> Self {
        Self::started(Command::new(env!("CARGO_BIN_EXE_postrider")), folder)
    }

    /// The same with a command in front of it.
    fn started(mut command: Command, folder: &Path) -> Self {
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log");
        let drain = format!("{}s", DRAIN.as_secs());
        command.args(["run", "--here", "--drain", &drain]).current_dir(folder).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the program runs");
        let mut process = Self { child };
        let begun = Instant::now();
        while status(folder).is_none() {
            let ended = process.child.try_wait().expect("a child");
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {}", log_of(folder));
            std::thread::sleep(Duration::from_millis(5));
        }
        process
    }

    fn signal(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Asks it to stop; says how it ended and after how long.
    fn stop(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.signal();
        let status = self.child.wait().expect("a child");
        (status, begun.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn connect(folder: &Path, socket: &str) -> Option<UnixStream> {
    let stream = UnixStream::connect(folder.join(".postrider").join(socket)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    Some(stream)
}

fn status(folder: &Path) -> Option<Value> {
    let mut stream = connect(folder, "admin.sock")?;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

fn until(folder: &Path, what: &str, is_so: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    while !status(folder).is_some_and(|status| is_so(&status)) {
        assert!(begun.elapsed() < PATIENCE, "never {what}: {:?}\n{}", status(folder), log_of(folder));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn emit(folder: &Path, kind: &str, count: usize) {
    let mut stream = connect(folder, "emit.sock").expect("the emit socket");
    let lines: String = (0..count).map(|n| format!("{{\"type\":\"{kind}\",\"data\":{n}}}\n")).collect();
    stream.write_all(lines.as_bytes()).expect("it is read");
    let mut seen = String::new();
    let mut piece = [0; 4096];
    while seen.matches('\n').count() < count {
        let read = stream.read(&mut piece).expect("answers");
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    assert!(!seen.contains("error"), "{seen}");
}

fn hook(folder: &Path, name: &str, url: &str) {
    let text =
        format!("events: [{name}]\nplatform: webhook\ntimeout: 60s\nbreaker: false\noptions: {{url: \"{url}\"}}\n");
    write_hook(folder, name, &text);
}

fn waiting(status: &Value) -> u64 {
    status["waiting"].as_u64().expect("a number")
}

fn in_flight(status: &Value) -> u64 {
    status["hooks"].as_array().expect("hooks").iter().filter_map(|hook| hook["in_flight"].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_stretches_the_drain_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // One that takes the request and says nothing, one that says it very slowly, one whose answer is late but in time.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (slow, late) = (receiver().await, receiver().await);
    let page = Some("x".repeat(4_000));
    slow.script(Step { body: page, fault: Some(Fault::Drip), ..Step::status(200) }.times(3)).expect("a step");
    late.script(Step { delay_ms: 700, ..Step::status(200) }.times(100)).expect("a step");
    hook(folder, "silent", &format!("http://{}/", silent.local_addr().expect("an address")));
    hook(folder, "slow", &slow.url(""));
    hook(folder, "late", &late.url(""));
    let process = Process::start(folder);
    for kind in ["silent", "slow", "late"] {
        emit(folder, kind, 3);
    }
    until(folder, "all are in the air", |status| in_flight(status) == 9);
    // Senders that are not done and never will be, and somebody who follows the log.
    let mut idle = Vec::new();
    for (socket, begun) in [
        ("emit.sock", ""),
        ("emit.sock", "{\"type\":\"late\",\"da"),
        ("emit.sock", "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{"),
        ("admin.sock", "GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("admin.sock", "GET /v1/sta"),
    ] {
        let mut stream = connect(folder, socket).expect("a socket");
        stream.write_all(begun.as_bytes()).expect("it is read");
        idle.push(stream);
    }
    let (ended, took) = process.stop();
    assert!(ended.success(), "{ended}: {}", log_of(folder));
    assert!(took >= DRAIN && took < DRAIN + SLACK, "{took:?}");
    drop(idle);

    assert_eq!(late.count(), 3, "what could land has landed");
    slow.clear();
    hook(folder, "silent", &slow.url("/silent"));
    let process = Process::start(folder);
    until(folder, "everything is delivered", |status| waiting(status) == 0);
    assert_eq!(late.count(), 3, "and is not sent again");
    let (ended, took) = process.stop();
    assert!(ended.success() && took < DRAIN, "nothing is in the air: {took:?}");
    let mut came = bodies(&slow);
    came.sort();
    assert_eq!(came, ["0", "0", "1", "1", "2", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_signal_ends_it_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    hook(folder, "silent", &format!("http://{}/", silent.local_addr().expect("an address")));
    let mut process = Process::start(folder);
    emit(folder, "silent", 50);
    until(folder, "some are in the air", |status| in_flight(status) > 0);
    process.signal();
    let begun = Instant::now();
    while !log_of(folder).contains("stopping: nothing new") {
        assert!(begun.elapsed() < PATIENCE, "{}", log_of(folder));
        std::thread::sleep(Duration::from_millis(5));
    }
    process.signal();
    let second = Instant::now();
    let ended = process.child.wait().expect("a child");
    assert!(ended.success() && second.elapsed() < Duration::from_secs(1), "{ended} after {:?}", second.elapsed());

    let sink = receiver().await;
    hook(folder, "silent", &sink.url(""));
    let process = Process::start(folder);
    until(folder, "everything is delivered", |status| waiting(status) == 0);
    assert_eq!(sink.count(), 50);
    assert!(process.stop().0.success());
}

/// A resolver that takes questions and answers none: each lookup blocks a thread for as long as the system likes.
/// It takes a view of the files of its own, and port 53, so it is shown only where we are root.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_name_that_is_being_resolved_does_not_stretch_it_either() {
    const RESOLVER: &str = "127.0.53.77";
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("resolv.conf"), format!("nameserver {RESOLVER}\noptions timeout:30 attempts:5\n"))
        .expect("a file");
    let probe = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    let (Ok(resolver), true) = (UdpSocket::bind((RESOLVER, 53)), probe.is_ok_and(|probe| probe.success())) else {
        println!("not shown: it takes root and `unshare`");
        return;
    };
    let sink = receiver().await;
    hook(folder, "lost", "http://nowhere.example.org/");
    hook(folder, "fine", &sink.url(""));
    let mut command = Command::new("unshare");
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\"";
    command.args(["-m", "sh", "-c", script, env!("CARGO_BIN_EXE_postrider")]);
    let process = Process::started(command, folder);
    emit(folder, "lost", 20);
    resolver.set_read_timeout(Some(PATIENCE)).expect("a bound");
    let asked = resolver.recv(&mut [0; 512]).expect("a question");
    assert!(asked > 0);
    // The healthy hook does not feel it.
    emit(folder, "fine", 5);
    assert!(sink.wait_for(5, PATIENCE).await);
    let (ended, took) = process.stop();
    assert!(ended.success() && took < DRAIN + SLACK, "{ended} after {took:?}: {}", log_of(folder));

    hook(folder, "lost", &sink.url(""));
    let process = Process::start(folder);
    until(folder, "everything is delivered", |status| waiting(status) == 0);
    assert_eq!(sink.count(), 25);
    assert!(process.stop().0.success());
}
