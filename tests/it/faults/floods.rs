//! More than can be delivered, and more than can be taken: the memory stays small, every event is acknowledged or refused
//! and nothing in between, and who is acknowledged does not wait long for it.
//!
//! `POSTRIDER_BACKLOG=100000` and `POSTRIDER_FLOOD_SECONDS=60` are the long forms.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value as Json;

use super::beat::Beat;
use super::{percentile, rounds};
use crate::process::{Process, await_that};
use crate::support::{PATIENCE, write_hook};

/// What the daemon may have, in KiB.
const MEMORY: u64 = 256 * 1024;

#[test]
fn a_long_backlog_waits_on_disk() {
    let backlog = rounds("POSTRIDER_BACKLOG", 4_000);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // A port that nobody listens at.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let hook = |port: u16| {
        format!(
            "events: [a]\nplatform: webhook\nretry: {{first: 1s, max: 5s}}\noptions: {{url: \"http://127.0.0.1:{port}/\"}}\n"
        )
    };
    write_hook(folder.path(), "down", &hook(closed.port()));
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    let began = Instant::now();
    let text = format!("{{\"type\":\"a\",\"data\":{{\"pad\":\"{}\"}}}}\n", "x".repeat(4096 - 12));
    let mut line = connect(folder.path());
    for done in (0..backlog).step_by(100) {
        let burst = (backlog - done).min(100);
        line.get_mut().write_all(text.repeat(burst).as_bytes()).expect("it is read");
        for _ in 0..burst {
            let mut answer = String::new();
            line.read_line(&mut answer).expect("an answer");
            assert!(answer.contains("\"hooks\":[\"down\"]"), "{answer}");
        }
    }
    let (taken, first) = (began.elapsed(), daemon.peak());
    assert_eq!(daemon.get("/v1/status").expect("an answer")["waiting"], backlog);
    daemon.kill();

    // The next life finds all of it, and delivers it when the receiver is back.
    let back = Beat::start(Duration::ZERO, false);
    write_hook(folder.path(), "down", &hook(back.address.port()));
    let mut daemon = Process::start(folder.path());
    let ready = daemon.await_ready();
    let deadline = Instant::now() + Duration::from_secs(600);
    while daemon.get("/v1/status").is_none_or(|status| status["waiting"] != 0) {
        assert!(Instant::now() < deadline, "it does not come to an end: {:?}", daemon.get("/v1/status"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let second = daemon.peak();
    println!(
        "{backlog} events of 4 KiB wait: taken in {taken:?}, peak {first} KiB; ready again in {ready:?}, all delivered with a peak of {second} KiB"
    );
    assert!(first.max(second) < MEMORY, "{first} and {second} KiB");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

#[derive(Default)]
struct Book {
    acked: BTreeSet<String>,
    refused: BTreeSet<String>,
    took: Vec<Duration>,
}

#[test]
fn every_event_of_a_flood_is_taken_or_refused() {
    let seconds = rounds("POSTRIDER_FLOOD_SECONDS", 3) as u64;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // It takes some forty a second.
    let slow = Beat::start(Duration::from_millis(100), false);
    let hook =
        format!("events: [a]\nplatform: webhook\nconcurrency: 4\noptions: {{url: \"http://{}/\"}}\n", slow.address);
    write_hook(folder.path(), "slow", &hook);
    let waiting = if seconds < 60 { 50 } else { 400 * seconds };
    fs::write(folder.path().join("postrider.yaml"), format!("limits: {{waiting: {waiting}}}\n")).expect("a file");
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    let book = Mutex::new(Book::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (book, folder) = (&book, folder.path());
            scope.spawn(move || pour(folder, number, began + Duration::from_secs(seconds), book));
        }
    });
    let peak = daemon.peak();
    let mut book = book.into_inner().expect("no panic");
    daemon.kill();
    let stored = stored(folder.path());
    let lost = book.acked.difference(&stored).count();
    let kept = book.refused.intersection(&stored).count();
    let unasked = stored.difference(&book.acked).count();
    book.took.sort();
    let p99 = percentile(&book.took, 99);
    println!(
        "a flood of {seconds} s: {} events, {} taken, {} refused; {lost} lost, {kept} refused and kept, {unasked} kept without an answer; \
         taken within {:?} (p50), {p99:?} (p99); peak {peak} KiB",
        book.acked.len() + book.refused.len(),
        book.acked.len(),
        book.refused.len(),
        percentile(&book.took, 50)
    );
    assert_eq!((lost, kept, unasked), (0, 0, 0));
    assert!(book.acked.len() as u64 >= waiting, "only {} were taken", book.acked.len());
    assert!(!book.refused.is_empty(), "nothing was refused: it was no flood");
    assert!(p99 < Duration::from_millis(if seconds < 60 { 2_000 } else { 500 }), "{p99:?}");
    assert!(peak < MEMORY, "{peak} KiB");
}

/// One sender that never rests.
fn pour(folder: &Path, number: usize, until: Instant, book: &Mutex<Book>) {
    let mut line = connect(folder);
    let mut own = Book::default();
    for event in 0.. {
        if Instant::now() >= until {
            break;
        }
        let id = format!("e{number}-{event}");
        let asked = Instant::now();
        let text = format!("{{\"type\":\"a\",\"id\":\"{id}\",\"data\":{{\"pad\":\"{}\"}}}}\n", ".".repeat(500));
        line.get_mut().write_all(text.as_bytes()).expect("it is read");
        let mut answer = String::new();
        line.read_line(&mut answer).expect("an answer");
        let answer: Json = serde_json::from_str(&answer).expect("an answer");
        if answer["id"] == id.as_str() {
            own.took.push(asked.elapsed());
            own.acked.insert(id);
        } else {
            assert_eq!(answer["error"]["code"], "busy", "{answer}");
            own.refused.insert(id);
        }
    }
    let mut book = book.lock().expect("no panic");
    book.acked.extend(own.acked);
    book.refused.extend(own.refused);
    book.took.extend(own.took);
}

fn connect(folder: &Path) -> BufReader<UnixStream> {
    let mut stream = None;
    await_that("the emit socket is there", || {
        stream = UnixStream::connect(folder.join(".postrider/emit.sock")).ok();
        stream.is_some()
    });
    let stream = stream.expect("a socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    BufReader::new(stream)
}

fn stored(folder: &Path) -> BTreeSet<String> {
    let path = folder.join(".postrider/state/journal.db");
    let journal = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a journal");
    let mut query = journal
        .prepare("SELECT e.id FROM events e JOIN deliveries d ON d.event = e.seq WHERE e.type = 'a'")
        .expect("a query");
    query.query_map([], |row| row.get(0)).expect("rows").map(|id| id.expect("an id")).collect()
}
