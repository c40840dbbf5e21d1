//! The clock on the wall is set, by a day, an hour, a year, while the daemon runs and while it does not: nothing waits
//! longer for it, no rate is exceeded, no id comes twice, and a signature carries the time that it is now.
//!
//! It takes `libfaketime`, which shows the daemon a clock of ours. The rules behind it are tested without, in
//! `engine/clock.rs`, `simulation` and here with the journal alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postrider::edges::journal::{Append, Filter, Journal, SqliteJournal};
use postrider::edges::sink::{Sink, SinkHandle, SinkOptions, Step};
use postrider::words::delivery::{Outcome, Why};
use postrider::words::event::Event;
use serde_json::json;

use super::not_shown;
use crate::process::{Process, await_that, binary};
use crate::support::{write_hook, write_secret};

const DAY: i64 = 86_400;
const STEPS: [i64; 4] = [-DAY, -3_600, 3_600, 365 * DAY];
/// The longest backoff of the hooks here, and what a busy machine may add: the least step is an hour.
const BACKOFF: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(10);

fn library() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// A daemon that sees a clock of ours, and the hand that sets it.
struct Set {
    file: PathBuf,
    library: PathBuf,
}

impl Set {
    fn by(&self, seconds: i64) {
        let beside = self.file.with_extension("new");
        fs::write(&beside, format!("{seconds:+}\n")).expect("a file");
        fs::rename(&beside, &self.file).expect("a file");
    }

    fn start(&self, folder: &Path) -> Process {
        let mut command = Command::new(binary());
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut process = Process::start_by(folder, command);
        process.await_ready();
        process
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_makes_nothing_wait_longer() {
    let Some(library) = library() else { return not_shown("row 11", "it takes `libfaketime`") };
    let folder = tempfile::tempdir().expect("a folder");
    let set = Set { file: folder.path().join("clock"), library };
    set.by(0);
    let (failing, paced) = (receiver().await, receiver().await);
    write_secret(folder.path(), "key", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let retry = "retry: {first: 2s, max: 2s}\nbreaker: false\n";
    let sign = "  sign: {preset: standard-webhooks, key: {secret: key}}\n";
    let hook = |url: &str, more: &str, sign: &str| {
        format!("events: [a]\nplatform: webhook\n{retry}{more}options:\n  url: {url}\n{sign}")
    };
    write_hook(folder.path(), "failing", &hook(&failing.url(""), "", sign));
    write_hook(folder.path(), "paced", &hook(&paced.url(""), "rate_limit: 4/2s\n", ""));
    let mut daemon = set.start(folder.path());
    let mut events = 0;
    let mut longest = Duration::ZERO;
    for (number, step) in STEPS.into_iter().chain(STEPS.map(|step| -step)).enumerate() {
        // One that waits for its second attempt, while the clock is set.
        failing.clear();
        failing.script(Step::status(503).times(1)).expect("a step");
        let before = failing.count();
        daemon.emit(&json!({"type": "a", "data": {"step": step}})).expect("an answer");
        events += 1;
        assert!(failing.wait_for(before + 1, Duration::from_secs(20)).await, "{}", daemon.log());
        set.by(step);
        if number >= STEPS.len() {
            // And while it does not run: only what went back can be told from time that passed.
            daemon.kill();
            daemon = set.start(folder.path());
        }
        let begun = Instant::now();
        // One that is accepted after it.
        daemon.emit(&json!({"type": "a", "data": {"after": step}})).expect("an answer");
        events += 1;
        let came = failing.wait_for(before + 3, Duration::from_secs(60)).await;
        assert!(came, "clock set by {step} s: {:?}\n{}", daemon.rows("/v1/deliveries?limit=20"), daemon.log());
        longest = longest.max(begun.elapsed());
        let shown = Timestamp::now() + SignedDuration::from_secs(step);
        let signed = failing
            .records()
            .last()
            .and_then(|record| record.request.headers.get("webhook-timestamp")?.to_str().ok()?.parse::<i64>().ok());
        let off = (signed.expect("a signed request") - shown.as_second()).abs();
        assert!(off <= 60, "the signature is {off} s from the clock");
        // A death repeats what is not recorded yet, which would be counted with the next step.
        await_that("it is recorded", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
        set.by(0);
        daemon.kill();
        daemon = set.start(folder.path());
    }
    await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
    let rows = daemon.rows("/v1/deliveries?limit=1000");
    let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["delivery"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    println!(
        "the clock set {} times by up to a year: {events} events, {} deliveries with ids of their own, the longest wait {longest:?} of {BACKOFF:?} backoff",
        STEPS.len() * 2,
        ids.len()
    );
    assert_eq!(ids.len(), events * 2);
    assert!(rows.iter().all(|row| row["outcome"] == "delivered"), "{rows:?}");
    assert!(longest < BACKOFF + SLACK, "something waited {longest:?}");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

async fn receiver() -> SinkHandle {
    Sink::start(SinkOptions::default()).await.expect("a receiver")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_on_disk_waits_no_longer_after_a_clock_that_was_set() {
    let dawn = Timestamp::from_second(1_800_000_000).expect("a time");
    let lane: Arc<str> = "a".into();
    for step in STEPS {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = SqliteJournal::open_by(folder.path(), move || dawn).expect("a journal");
        for (id, wait) in [("soon", 5), ("late", 3_600), ("never", 40 * DAY)] {
            let event = Event::new("t", Some(id.to_owned()), "{}", dawn);
            journal.append(vec![Append::new(Arc::new(event), vec![lane.clone()])]).await.expect("stored");
            let delivery = journal.claim(&lane, dawn, 1).await.expect("a claim").remove(0);
            let until = dawn + SignedDuration::from_secs(wait);
            let outcome = Outcome::Waiting { until, why: Why::Retry("503".to_owned()) };
            journal.settle(&delivery, None, 1, outcome).await.expect("settled");
        }
        journal.close().await.expect("closed");
        drop(journal);
        let now = dawn + SignedDuration::from_secs(step);
        let journal = SqliteJournal::open_by(folder.path(), move || now).expect("a journal");
        let rows = journal.list(Filter::default()).await.expect("a list");
        let waits: Vec<i64> = rows.iter().map(|row| row.due.expect("it waits").duration_since(now).as_secs()).collect();
        let passed = step.max(0);
        let longest = DAY + 1;
        assert!((waits[0], waits[1]) == (5 - passed, 3_600 - passed), "set by {step} s: {waits:?}");
        assert!(waits[2] <= longest, "set by {step} s: {waits:?}");
        assert!(rows.iter().all(|row| row.time == dawn), "nothing grows older or younger by it: {rows:?}");
    }
}
