//! The promise, from outside: a daemon under load is killed again and again, and the books of both ends are compared.
//!
//! `POSTRIDER_KILLS=1000 cargo test --test it kill` is the long form, `POSTRIDER_STOPS=50` that of the stops.
//! `POSTRIDER_DAEMON` names another binary, such as the release build, which does more in each of its lives;
//! `POSTRIDER_SEED` repeats a run's times.

mod digests;
mod freezes;
mod instants;
mod ledger;
pub(crate) mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider::words::limits;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use ledger::{Findings, Ledger};
use sink::Sink;

const HOOKS: [&str; 3] = ["mirror-a", "mirror-b", "flaky"];
const CONCURRENCY: usize = 16;
const EMITTERS: usize = 6;
/// Events that an emitter writes before it reads their answers.
const BURST: usize = 8;
/// Emitters rest while so many deliveries are owed: what is tested are deaths under load, not a long queue.
const OWED: usize = 1_500;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn kill_9_loses_nothing_and_repeats_only_what_was_in_flight() {
    let kills = std::env::var("POSTRIDER_KILLS").map_or(100, |kills| kills.parse().unwrap());
    let mut story = Story::begin();
    let mut starts = Vec::new();
    let (mut unrecorded, mut most, mut before) = (Vec::new(), 0, 0);
    let mut daemon = Daemon::start(story.folder.path());
    for _ in 0..kills {
        starts.push(daemon.await_ready());
        story.let_pass(20..150);
        daemon.kill();
        let found = story.unrecorded();
        // What an earlier life left unrecorded may be so still: it counts for that one.
        most = most.max(story.sink.took_after(before, &found));
        unrecorded.push(found);
        before = story.sink.count();
        daemon = Daemon::start(story.folder.path());
    }
    starts.push(daemon.await_ready());
    let acked = story.end(daemon);
    let books = Ledger { acked, hits: story.sink.hits(), unrecorded };
    let found = books.findings();
    starts.sort();
    println!(
        "{kills} kills, {} acked, {} deliveries, {} lost, {} duplicates, bound {} (at most {most} of one life), \
         ready again p50 {:?} p95 {:?}, seed {}",
        books.acked.len(),
        found.deliveries,
        found.lost.len(),
        found.duplicates,
        found.bound,
        starts[starts.len() / 2],
        starts[starts.len() * 95 / 100],
        story.seed,
    );
    assert_sound(&found);
    assert!(found.duplicates <= found.bound, "{} duplicates, {} explained", found.duplicates, found.bound);
    let in_flight = CONCURRENCY * HOOKS.len() + limits::UNSETTLED;
    assert!(most <= in_flight, "{most} deliveries of one life were unrecorded, {in_flight} is what may be in flight");
    assert!(books.acked.len() > kills, "only {} events in {kills} lives: there was no load", books.acked.len());
}

#[test]
fn sigterm_under_load_loses_nothing_and_repeats_nothing() {
    let stops = std::env::var("POSTRIDER_STOPS").map_or(10, |stops| stops.parse().unwrap());
    let mut story = Story::begin();
    let mut daemon = Daemon::start(story.folder.path());
    for _ in 0..stops {
        daemon.await_ready();
        story.let_pass(50..250);
        let status = daemon.stop();
        assert!(status.success(), "SIGTERM ended the daemon with {status}: {}", daemon.log());
        assert_eq!(story.unrecorded(), BTreeSet::new(), "the drain left outcomes unrecorded");
        daemon = Daemon::start(story.folder.path());
    }
    daemon.await_ready();
    let acked = story.end(daemon);
    let books = Ledger { acked, hits: story.sink.hits(), unrecorded: Vec::new() };
    let found = books.findings();
    println!(
        "{stops} stops, {} acked, {} deliveries, {} duplicates",
        books.acked.len(),
        found.deliveries,
        found.duplicates
    );
    assert_sound(&found);
    assert_eq!(found.duplicates, 0);
    assert!(books.acked.len() > stops, "only {} events: there was no load", books.acked.len());
}

fn assert_sound(found: &Findings) {
    assert!(found.lost.is_empty(), "acknowledged and lost: {:?}", found.lost);
    assert!(found.excess.is_empty(), "repeated without need: {:?}", found.excess);
    assert!(found.changed.is_empty(), "bodies changed: {:?}", found.changed);
    assert!(found.shared.is_empty(), "delivery ids used twice: {:?}", found.shared);
    assert!(found.renamed.is_empty(), "delivery ids that changed: {:?}", found.renamed);
}

/// Acknowledged events, each with the hooks that the answer named.
type Acked = BTreeMap<String, BTreeSet<String>>;

/// A folder with three hooks, a sink, and emitters that do not give up.
struct Story {
    folder: TempDir,
    sink: Arc<Sink>,
    seed: u64,
    chance: fastrand::Rng,
    desk: Arc<Desk>,
    emitters: Vec<std::thread::JoinHandle<()>>,
}

/// What the emitters share.
#[derive(Default)]
struct Desk {
    acked: Mutex<Acked>,
    owed: AtomicUsize,
    stop: AtomicBool,
    abandoned: AtomicBool,
}

impl Story {
    fn begin() -> Self {
        Self::begin_with("")
    }

    /// One whose hook files say this as well.
    fn begin_with(more: &str) -> Self {
        let seed = std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        let sink = Arc::new(Sink::start(seed));
        // Beside the binaries: /tmp is memory on many machines.
        let folder = tempfile::Builder::new().prefix("k").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("hooks.d")).unwrap();
        for hook in HOOKS {
            let text = format!(
                "events: [load]\nplatform: webhook\nconcurrency: {CONCURRENCY}\nretry: {{first: 100ms, max: 1s}}\n\
                 {more}options:\n  url: http://{}/{hook}\n",
                sink.addr
            );
            fs::write(folder.path().join(format!("hooks.d/{hook}.yaml")), text).unwrap();
        }
        let desk = Arc::new(Desk::default());
        let emitters = (0..EMITTERS)
            .map(|number| {
                let (desk, sink, socket) = (desk.clone(), sink.clone(), folder.path().join(".postrider/emit.sock"));
                std::thread::spawn(move || Emitter { number, socket, desk, sink, line: None }.run())
            })
            .collect();
        let chance = fastrand::Rng::with_seed(seed);
        Self { folder, sink, seed, chance, desk, emitters }
    }

    /// Lets the load run for a random time: the moment of death is the point of the story.
    fn let_pass(&mut self, milliseconds: std::ops::Range<u64>) {
        std::thread::sleep(Duration::from_millis(self.chance.u64(milliseconds)));
    }

    /// Of a dead daemon: the deliveries that the sink has taken and the journal calls waiting.
    fn unrecorded(&self) -> BTreeSet<String> {
        self.sink.settle();
        let journal = open_journal(self.folder.path());
        let mut query = journal.prepare("SELECT seq FROM deliveries WHERE outcome = 'waiting'").unwrap();
        let waiting: Vec<i64> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        self.sink.took(&waiting)
    }

    /// Stops the emitters, waits until everything is delivered, stops the daemon and looks at what it left behind.
    fn end(&mut self, mut daemon: Daemon) -> Acked {
        self.desk.stop.store(true, Ordering::Relaxed);
        for emitter in self.emitters.drain(..) {
            emitter.join().unwrap();
        }
        await_that("everything is delivered", PATIENCE, || {
            daemon.status().is_some_and(|status| status["waiting"].as_u64() == Some(0))
        });
        let dead = daemon.status().map(|status| status["dead"].clone());
        assert_eq!(dead, Some(Value::from(0)), "deliveries were given up");
        assert!(daemon.stop().success(), "{}", daemon.log());
        let journal = open_journal(self.folder.path());
        let sound: String = journal.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        self.desk.acked.lock().unwrap().clone()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.desk.abandoned.store(true, Ordering::Relaxed);
    }
}

/// Sends bursts of events and repeats each event until it is acknowledged.
struct Emitter {
    number: usize,
    socket: PathBuf,
    desk: Arc<Desk>,
    sink: Arc<Sink>,
    line: Option<BufReader<UnixStream>>,
}

impl Emitter {
    fn run(mut self) {
        for burst in 0.. {
            let mut open: Vec<String> =
                (0..BURST).map(|event| format!("e{}-{}", self.number, burst * BURST + event)).collect();
            let deadline = Instant::now() + PATIENCE;
            while !open.is_empty() {
                // A story that failed leaves nobody to answer.
                if self.desk.abandoned.load(Ordering::Relaxed) {
                    return;
                }
                assert!(Instant::now() < deadline, "not acknowledged in {PATIENCE:?}: {open:?}");
                if self.exchange(&mut open).is_err() {
                    self.line = None;
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            while !self.desk.stop.load(Ordering::Relaxed)
                && !self.desk.abandoned.load(Ordering::Relaxed)
                && self.desk.owed.load(Ordering::Relaxed) > self.sink.taken() + OWED
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            if self.desk.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Writes every open event and reads the answers; what is acknowledged is no longer open.
    fn exchange(&mut self, open: &mut Vec<String>) -> std::io::Result<()> {
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let stream = UnixStream::connect(&self.socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                none.insert(BufReader::new(stream))
            }
        };
        let text: String =
            open.iter().map(|id| format!("{{\"type\":\"load\",\"id\":\"{id}\",\"data\":{}}}\n", data_of(id))).collect();
        line.get_mut().write_all(text.as_bytes())?;
        for id in open.clone() {
            let mut answer = String::new();
            line.read_line(&mut answer)?;
            if !answer.ends_with('\n') {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let answer: Value = serde_json::from_str(&answer)?;
            if answer.get("error").is_some() {
                continue;
            }
            assert_eq!(answer["id"], id.as_str(), "answers are not in order");
            let hooks: BTreeSet<String> =
                answer["hooks"].as_array().unwrap().iter().map(|hook| hook.as_str().unwrap().to_owned()).collect();
            assert_eq!(hooks, HOOKS.map(str::to_owned).into(), "{answer}");
            self.desk.owed.fetch_add(hooks.len(), Ordering::Relaxed);
            self.desk.acked.lock().unwrap().insert(id.clone(), hooks);
            open.retain(|other| *other != id);
        }
        Ok(())
    }
}

/// The daemon as a child process in its folder.
struct Daemon {
    child: Child,
    folder: PathBuf,
    began: Instant,
}

impl Daemon {
    fn start(folder: &Path) -> Self {
        Self::start_by(folder, Command::new(binary()))
    }

    fn start_by(folder: &Path, mut command: Command) -> Self {
        let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let child = command
            .args(["run", "--here"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder: folder.to_owned(), began: Instant::now() }
    }

    /// Waits for the first answer; says how long the start took.
    fn await_ready(&mut self) -> Duration {
        loop {
            if self.status().is_some() {
                return self.began.elapsed();
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", self.log());
            }
            assert!(self.began.elapsed() < PATIENCE, "the daemon does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn status(&self) -> Option<Value> {
        let mut stream = UnixStream::connect(self.folder.join(".postrider/admin.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn binary() -> std::ffi::OsString {
    std::env::var_os("POSTRIDER_DAEMON").unwrap_or_else(|| env!("CARGO_BIN_EXE_postrider").into())
}

/// The journal of a daemon that does not run, to read only: looking must not change what the next start finds.
fn open_journal(folder: &Path) -> Connection {
    Connection::open_with_flags(folder.join(".postrider/state/journal.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// The row of a delivery id, `JOURNAL-SEQ`.
fn number_of(delivery: &str) -> i64 {
    delivery.rsplit('-').next().unwrap().parse().unwrap()
}

/// The data of an event, byte for byte; the spaces and the escape would not survive a parse.
pub(crate) fn data_of(event: &str) -> String {
    format!("{{\"n\": \"{event}\",  \"text\": \"\\u5e94用\", \"pad\": \"{}\"}}", ".".repeat(200))
}

fn await_that(what: &str, patience: Duration, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "after {patience:?} it is not so that {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
