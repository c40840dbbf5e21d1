//! The round trip while both daemons are killed at random: `POSTRIDER_KILLS=100` is the long form, `POSTRIDER_SEED`
//! repeats a run's times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider::edges::sink::Record;
use tempfile::TempDir;

use super::*;
use crate::process::{Process, await_that};

/// One of the two daemons, which is started again in its folder after each death.
struct Mortal {
    folder: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl Mortal {
    fn new(hooks: &[(&str, String)]) -> Self {
        // The port is its own for all of its lives.
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("an address");
        let folder = tempfile::Builder::new().prefix("x").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let main = format!("listen: {{http: {address}}}\nsources:\n{}", sources());
        std::fs::write(folder.path().join("postrider.yaml"), main).expect("a main file");
        for (name, text) in hooks {
            crate::support::write_hook(folder.path(), name, text);
        }
        Self { folder, address, process: None }
    }

    fn start(&mut self) {
        let mut process = Process::start(self.folder.path());
        process.await_ready();
        self.process = Some(process);
    }

    /// kill -9.
    fn kill(&mut self) {
        drop(self.process.take());
    }

    fn owes_nothing(&self) -> bool {
        let status = self.process.as_ref().and_then(|process| process.get("/v1/status"));
        status.is_some_and(|status| status["waiting"] == 0)
    }

    fn end(mut self) {
        let mut process = self.process.take().expect("a living daemon");
        let status = process.get("/v1/status").expect("an answer");
        assert_eq!(status["dead"], 0, "deliveries were given up: {}", process.log());
        assert!(process.stop().success(), "{}", process.log());
    }
}

/// What the vendors were told: by the mark in the body, its type and its body.
type Acked = BTreeMap<String, (String, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x5_the_round_trip_survives_kill_9_of_both_daemons() {
    let kills = std::env::var("POSTRIDER_KILLS").map_or(12, |kills| kills.parse().expect("a number"));
    let seed =
        std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let sink = receiver().await;
    let ledger = format!(
        "events: '*'\nplatform: webhook\nretry: {{first: 100ms, max: 500ms}}\noptions:\n  url: \"{}\"\n  json: {{id: \"{{{{ event.id }}}}\", type: \"{{{{ event.type }}}}\", raw: \"{{{{ event.raw }}}}\"}}\n",
        sink.url("")
    );
    let acked = tokio::task::spawn_blocking(move || live_and_die(kills, seed, &ledger)).await.expect("the story ends");
    let found = compare(&acked, &sink.records());
    println!(
        "{kills} kills, {} events acknowledged, {} arrived, {} arrivals more than once, {} lost, seed {seed}",
        acked.len(),
        found.arrived,
        found.again,
        found.lost.len()
    );
    assert_eq!(found.lost, BTreeSet::new(), "acknowledged and lost");
    assert_eq!(found.changed, BTreeMap::new(), "the type, the bytes or the id changed on the way");
    assert!(acked.len() >= kills * 5, "only {} events: there was no load", acked.len());
}

/// Everything that the vendors were told is taken, at both ends owed no more.
fn live_and_die(kills: usize, seed: u64, ledger: &str) -> Acked {
    let mut far = Mortal::new(&[("ledger", ledger.to_owned())]);
    let mut near = Mortal::new(&senders(&far.address.to_string()));
    far.start();
    near.start();
    let (acked, stop) = (Arc::new(Mutex::new(Acked::new())), Arc::new(AtomicBool::new(false)));
    let vendors: Vec<_> = (0..2)
        .map(|number| {
            let (acked, stop, address) = (acked.clone(), stop.clone(), near.address);
            std::thread::spawn(move || post_until(number, address, &acked, &stop))
        })
        .collect();
    let mut chance = fastrand::Rng::with_seed(seed);
    for kill in 0..kills {
        // The moment of death is the point of the story.
        std::thread::sleep(Duration::from_millis(chance.u64(20..250)));
        let (first, second) = (kill % 3 != 1, kill % 3 != 0);
        if first {
            near.kill();
        }
        if second {
            far.kill();
        }
        if first {
            near.start();
        }
        if second {
            far.start();
        }
    }
    stop.store(true, Ordering::Relaxed);
    vendors.into_iter().for_each(|vendor| vendor.join().expect("a vendor that does not give up"));
    await_that("everything has been passed on", || near.owes_nothing());
    await_that("everything has arrived", || far.owes_nothing());
    near.end();
    far.end();
    Arc::into_inner(acked).expect("nobody writes any more").into_inner().expect("a sound ledger")
}

/// Posts one sample after another, each with a mark of its own, and each until it is taken.
fn post_until(number: usize, address: SocketAddr, acked: &Mutex<Acked>, stop: &AtomicBool) {
    let samples = samples();
    for round in 0.. {
        let (source, path, event) = &samples[round % samples.len()];
        let mark = format!("{number}-{round}");
        let body = std::str::from_utf8(&event.raw).expect("text").replacen('{', &format!("{{\"mark\":\"{mark}\","), 1);
        // What the vendor calls the version, so that no two are the same one.
        let body = body.replace("\"id\": 4711", &format!("\"id\": \"{mark}\""));
        let signature = format!("x-ppg-signature: {}\r\n", ppg_signature(body.as_bytes()));
        let signed = if *source == "pushpushgo" { signature } else { String::new() };
        while post(address, &format!("/in/{source}{path}"), &signed, &body) != Some(202) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let kind = format!("{source}.{}", event.kind);
        acked.lock().expect("a sound ledger").insert(mark, (kind, body));
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The status, if an answer came.
fn post(address: SocketAddr, target: &str, headers: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(crate::support::PATIENCE)).ok()?;
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[derive(Default)]
struct Findings {
    lost: BTreeSet<String>,
    /// By mark, all that it was.
    changed: BTreeMap<String, String>,
    arrived: usize,
    again: usize,
}

fn compare(acked: &Acked, records: &[Record]) -> Findings {
    let mut found = Findings::default();
    let mut ids: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for record in records {
        let shown: Json = serde_json::from_slice(&record.request.body).expect("JSON");
        let text = |name: &str| shown[name].as_str().expect("a text").to_owned();
        let raw: Json = serde_json::from_str(&text("raw")).expect("JSON");
        let mark = raw["mark"].as_str().expect("a mark").to_owned();
        // A vendor that was not answered may be one that the story ended for: its event is nobody's loss.
        if acked.get(&mark).is_some_and(|(kind, body)| (kind, body) != (&text("type"), &text("raw"))) {
            found.changed.insert(mark.clone(), format!("{} {}", text("type"), text("raw")));
        }
        let delivery = record.request.headers["webhook-id"].to_str().expect("text").to_owned();
        let known = ids.entry(mark.clone()).or_default();
        found.again += usize::from(!known.is_empty());
        known.insert((text("id"), delivery));
        if known.len() > 1 {
            found.changed.insert(mark, format!("{known:?}"));
        }
    }
    found.arrived = ids.len();
    found.lost = acked.keys().filter(|mark| !ids.contains_key(*mark)).cloned().collect();
    found
}

/// A check of the check.
#[test]
fn a_lost_event_would_be_noticed() {
    let acked = Acked::from([("0-0".to_owned(), ("pgyer.x".to_owned(), "{}".to_owned()))]);
    assert_eq!(compare(&acked, &[]).lost, BTreeSet::from(["0-0".to_owned()]));
}
