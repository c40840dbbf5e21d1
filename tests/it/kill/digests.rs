//! Deaths while digests are under way: each event arrives, what arrives twice was in flight, and the journal counts each once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use postrider::edges::sink::{Sink, SinkHandle, SinkOptions};
use serde_json::Value;

use super::{Daemon, PATIENCE, await_that, open_journal};

/// A platform with a text, whose requests say which delivery they are.
const BOARD: &str = r##"
fn manifest() { #{summary: "a board", receiver: ["url"], text: "note", concurrency: 1, options: #{
    url: required("url", "where"), note: optional("text", "{{ event.id }};", "what"),
}} }
fn request(delivery) { #{url: delivery.options.url, id_header: "x-id", text: delivery.options.note} }
"##;
const HOOK: &str = "events: [load]\nplatform: board\nrate_limit: 15/1s\nretry: {first: 100ms, max: 1s}\n\
                    digest: {when: waiting > 2, max: 30, template: \"{% for e in events %}{{ e.id }};{% endfor %}\"}\n";

/// What the story and its sender share.
#[derive(Default)]
struct Desk {
    acked: Mutex<BTreeSet<String>>,
    waiting: AtomicUsize,
    stop: AtomicBool,
}

#[test]
fn kill_9_loses_no_event_of_a_digest_and_counts_none_twice() {
    let kills = std::env::var("POSTRIDER_KILLS").map_or(25, |kills| kills.parse().unwrap());
    let seed = std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut chance = fastrand::Rng::with_seed(seed);
    let sink = receiver();
    let folder = tempfile::Builder::new().prefix("k").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_files(folder.path(), &sink);
    let desk = Arc::new(Desk::default());
    let sender = {
        let (desk, socket) = (desk.clone(), folder.path().join(".postrider/emit.sock"));
        std::thread::spawn(move || send(&desk, &socket))
    };
    let mut daemon = Daemon::start(folder.path());
    let mut unrecorded: BTreeMap<String, usize> = BTreeMap::new();
    let mut most = 0;
    for _ in 0..kills {
        daemon.await_ready();
        std::thread::sleep(Duration::from_millis(chance.u64(30..250)));
        daemon.kill();
        let waiting = waiting(folder.path());
        desk.waiting.store(waiting.len(), Ordering::Relaxed);
        let told = told(&sink);
        let open: Vec<&String> = waiting.iter().filter(|event| told.contains_key(*event)).collect();
        most = most.max(open.len());
        open.into_iter().for_each(|event| *unrecorded.entry(event.clone()).or_default() += 1);
        daemon = Daemon::start(folder.path());
    }
    daemon.await_ready();
    desk.stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    let settled = |daemon: &Daemon| daemon.status().is_some_and(|status| status["waiting"] == 0 && status["dead"] == 0);
    await_that("everything is delivered", PATIENCE, || settled(&daemon));
    assert!(daemon.stop().success(), "{}", daemon.log());

    let (acked, told) = (desk.acked.lock().unwrap().clone(), told(&sink));
    let lost: Vec<_> = acked.iter().filter(|event| !told.contains_key(*event)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let repeats = |event: &String| told[event] - 1;
    let excess: Vec<_> =
        told.keys().filter(|event| repeats(event) > unrecorded.get(*event).copied().unwrap_or_default()).collect();
    assert!(excess.is_empty(), "told again though the journal knew of it: {excess:?}");
    let figures = figures(folder.path());
    assert_eq!(figures.delivered, acked.len());
    assert_eq!((figures.counted, figures.in_requests), (acked.len(), acked.len()), "an event was counted twice");
    assert!(figures.digests > 0 && figures.requests < acked.len(), "{figures:?}: there was no digest");
    let repeated: usize = told.keys().map(repeats).sum();
    println!(
        "{kills} kills, {} events in {} requests ({} digests), 0 lost, {repeated} told again of {} that were in flight (at \
         most {most} at one kill), seed {seed}",
        acked.len(),
        figures.requests,
        figures.digests,
        unrecorded.values().sum::<usize>(),
    );
    assert!(acked.len() > kills, "only {} events: there was no load", acked.len());
}

fn receiver() -> SinkHandle {
    let (tell, told) = mpsc::channel();
    // It ends with the tests.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tell.send(Sink::start(SinkOptions::default()).await.unwrap()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}

fn write_files(folder: &Path, sink: &SinkHandle) {
    for sub in ["hooks.d", "scripts/platforms"] {
        fs::create_dir_all(folder.join(sub)).unwrap();
    }
    fs::write(folder.join("scripts/platforms/board.rhai"), BOARD).unwrap();
    let hook = format!("{HOOK}options: {{url: \"{}\"}}\n", sink.url(""));
    fs::write(folder.join("hooks.d/board.yaml"), hook).unwrap();
}

/// How often each event was told.
fn told(sink: &SinkHandle) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for record in sink.records() {
        let body = String::from_utf8(record.request.body.to_vec()).unwrap();
        for event in body.split_terminator(';') {
            *told.entry(event.to_owned()).or_default() += 1;
        }
    }
    told
}

/// The events that the journal of a dead daemon calls waiting.
fn waiting(folder: &Path) -> BTreeSet<String> {
    let journal = open_journal(folder);
    let sql = "SELECT e.id FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.outcome = 'waiting'";
    let mut query = journal.prepare(sql).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// What the journal says in the end.
#[derive(Debug)]
struct Figures {
    /// Rows with that outcome …
    delivered: usize,
    /// … and the same as it is counted by lanes.
    counted: usize,
    /// Deliveries in the requests that were taken: each one's own, and those that went along.
    in_requests: usize,
    requests: usize,
    digests: usize,
}

fn figures(folder: &Path) -> Figures {
    let journal = open_journal(folder);
    let number = |sql: &str| journal.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as usize;
    // Where one says that it went, there is an attempt that arrived and names it.
    let strays = number(
        "SELECT count(*) FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM attempts a WHERE a.verdict = 'delivered'
         AND a.delivery = coalesce(d.carrier, d.seq)
         AND (d.carrier IS NULL OR instr(' ' || a.along || ' ', ' ' || d.seq || ' ') > 0))",
    );
    assert_eq!(strays, 0, "delivered, and no request says so");
    let mut query = journal.prepare("SELECT coalesce(along, '') FROM attempts WHERE verdict = 'delivered'").unwrap();
    let along: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    Figures {
        delivered: number("SELECT count(*) FROM deliveries WHERE outcome = 'delivered'"),
        counted: number("SELECT sum(delivered) FROM lanes"),
        in_requests: along.iter().map(|along| 1 + along.split_ascii_whitespace().count()).sum(),
        requests: along.len(),
        digests: along.iter().filter(|along| !along.is_empty()).count(),
    }
}

/// Sends events ten by ten, and each until it is acknowledged.
fn send(desk: &Desk, socket: &PathBuf) {
    let mut line: Option<BufReader<UnixStream>> = None;
    for burst in 0.. {
        let mut open: Vec<String> = (0..10).map(|one| format!("e{}", burst * 10 + one)).collect();
        let deadline = Instant::now() + PATIENCE;
        while !open.is_empty() {
            assert!(Instant::now() < deadline, "not acknowledged in {PATIENCE:?}: {open:?}");
            if exchange(desk, socket, &mut line, &mut open).is_err() {
                line = None;
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if desk.stop.load(Ordering::Relaxed) {
            return;
        }
        // What is tested are deaths under load, not a long queue.
        std::thread::sleep(Duration::from_millis(if desk.waiting.load(Ordering::Relaxed) > 300 { 60 } else { 15 }));
    }
}

fn exchange(
    desk: &Desk,
    socket: &PathBuf,
    line: &mut Option<BufReader<UnixStream>>,
    open: &mut Vec<String>,
) -> std::io::Result<()> {
    let line = match line {
        Some(line) => line,
        none => {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            none.insert(BufReader::new(stream))
        }
    };
    let text: String = open.iter().map(|id| format!("{{\"type\":\"load\",\"id\":\"{id}\"}}\n")).collect();
    line.get_mut().write_all(text.as_bytes())?;
    for id in open.clone() {
        let mut answer = String::new();
        line.read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let answer: Value = serde_json::from_str(&answer)?;
        if answer.get("error").is_none() {
            assert_eq!(answer["hooks"], serde_json::json!(["board"]), "{answer}");
            desk.acked.lock().unwrap().insert(id.clone());
            open.retain(|other| *other != id);
        }
    }
    Ok(())
}
