//! System calls that fail, or take their time: made so by strace, in the real daemon.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::delivering::webhook;
use crate::process::{Process, await_that};
use crate::support::{receiver, write_hook};

/// How many failures each story makes.
fn failures() -> usize {
    std::env::var("POSTRIDER_FSYNC_FAILURES").map_or(6, |failures| failures.parse().unwrap())
}

/// Whether strace is here and may trace; where the whole is built, it must be.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.as_ref().is_ok_and(|output| output.status.success());
    assert!(can || std::env::var_os("CI").is_none(), "strace is missing or may not trace: {traced:?}");
    if !can {
        println!("strace is missing or may not trace, so this is not tested: {traced:?}");
    }
    can
}

/// A folder whose journal stands on a disk, not in memory.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("s").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A daemon whose system calls are tampered with.
fn start(folder: &Path, inject: &[&str]) -> (Process, PathBuf) {
    let trace = folder.join("trace");
    let mut arguments = vec!["-D", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e", "signal=none"];
    for inject in inject {
        arguments.extend(["-e", inject]);
    }
    (Process::start_by_tool(folder, "strace", &arguments), trace)
}

fn injected(trace: &Path) -> usize {
    fs::read_to_string(trace).unwrap_or_default().lines().filter(|line| line.contains("INJECTED")).count()
}

/// Emits until enough failed, restarts in peace, and compares the books.
async fn survives(what: &str, inject: &[&str]) {
    if !can_trace() {
        return;
    }
    let sink = receiver().await;
    let folder = folder();
    let folder = folder.path();
    write_hook(folder, "hook", &webhook(&sink.url(""), ""));
    // The first start makes the journal, in peace.
    let mut daemon = Process::start(folder);
    daemon.await_ready();
    daemon.stop();
    let identity = fs::read_to_string(folder.join(".postrider/state/journal.id")).unwrap();

    let (mut daemon, trace) = start(folder, inject);
    daemon.await_ready();
    let pid = daemon.get("/v1/status").unwrap()["pid"].clone();
    let (wanted, deadline) = (failures(), Instant::now() + Duration::from_secs(400));
    let (mut acked, mut refused, mut unhealthy) = (BTreeSet::new(), 0, 0);
    for number in 0.. {
        assert!(Instant::now() < deadline, "only {} failures: {}", injected(&trace), daemon.log());
        let id = format!("e-{number}");
        let answer = daemon.emit(&json!({"type": "thing", "id": id, "data": number})).expect("an answer");
        match answer["id"].as_str() {
            Some(_) => _ = acked.insert(id),
            None => {
                refused += 1;
                unhealthy += usize::from(daemon.get("/readyz").is_some_and(|health| health["ok"] == false));
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        if number % 8 == 0 && injected(&trace) >= wanted {
            break;
        }
    }
    let failed = injected(&trace);
    assert_eq!(daemon.get("/v1/status").unwrap()["pid"], pid, "it is the same process");
    daemon.stop();

    let mut daemon = Process::start(folder);
    daemon.await_ready();
    await_that("everything is delivered", || {
        daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0 && status["dead"] == 0)
    });
    let rows = daemon.rows("/v1/deliveries?limit=10000");
    let stored: BTreeSet<&str> = rows.iter().filter_map(|row| row["event"].as_str()).collect();
    let lost: Vec<&String> = acked.iter().filter(|id| !stored.contains(id.as_str())).collect();
    let arrived: BTreeSet<String> = sink.records().iter().filter_map(|record| numbered(&record.request.body)).collect();
    let unsent: Vec<&String> = acked.iter().filter(|id| !arrived.contains(*id)).collect();
    daemon.stop();
    assert_eq!(fs::read_to_string(folder.join(".postrider/state/journal.id")).unwrap(), identity, "begun anew");
    let conn = Connection::open(folder.join(".postrider/state/journal.db")).unwrap();
    assert_eq!(conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    println!(
        "{what}: {failed} failures, {} acked, {refused} refused (unhealthy at {unhealthy} of them), {} lost, \
         {} requests for {} deliveries, 0 journals begun anew",
        acked.len(),
        lost.len() + unsent.len(),
        sink.records().len(),
        rows.len()
    );
    assert!(lost.is_empty() && unsent.is_empty(), "lost {lost:?}, never sent {unsent:?}");
    assert!(failed >= wanted && !acked.is_empty(), "{failed} failures");
}

fn numbered(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Json>(body).ok().map(|data| format!("e-{data}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_is_never_acknowledged() {
    survives("fsync gives EIO", &["inject=fsync,fdatasync:error=EIO:when=6+17"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fsyncs_that_fail_while_it_heals_are_survived() {
    survives("every third fsync gives EIO", &["inject=fsync,fdatasync:error=EIO:when=6+3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_never_acknowledged() {
    survives("pwrite64 gives EIO", &["inject=pwrite64:error=EIO:when=60+151"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_for_a_moment_is_survived() {
    survives("pwrite64 gives ENOSPC", &["inject=pwrite64:error=ENOSPC:when=60+151"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_is_slow_and_nothing_else() {
    if !can_trace() {
        return;
    }
    let delay = Duration::from_millis(200);
    let sink = receiver().await;
    let folder = folder();
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    daemon.stop();
    let (mut daemon, _) = start(folder.path(), &["inject=fsync,fdatasync:delay_exit=200000"]);
    daemon.await_ready();
    // The first one after a stop makes the log: its file, its head and its place in the folder are synced as well.
    assert!(daemon.emit(&json!({"type": "thing"})).expect("an answer")["id"].is_string());
    let acks = std::env::var("POSTRIDER_SLOW_ACKS").map_or(24, |acks| acks.parse().unwrap());
    let mut took: Vec<Duration> = (0..acks)
        .map(|number| {
            let began = Instant::now();
            let answer = daemon.emit(&json!({"type": "thing", "data": number})).expect("an answer");
            assert!(answer["id"].is_string(), "{answer}");
            began.elapsed()
        })
        .collect();
    took.sort();
    let p99 = took[took.len() * 99 / 100 - 1];
    // The slow ones of a few are what the machine did besides: other tests run beside this one.
    let judged = if took.len() < 100 { took[took.len() / 2] } else { p99 };
    println!("fsync takes {delay:?}: acks p50 {:?} p99 {p99:?}, all {acks} delivered", took[took.len() / 2]);
    await_that("everything is delivered", || {
        daemon.get("/v1/status").is_some_and(|status| status["delivered"] == acks + 1)
    });
    assert_eq!(sink.records().len(), acks + 1, "nothing was repeated");
    assert!(took[0] >= delay, "the disk was not slow: {:?}", took[0]);
    assert!(judged <= delay * 3, "{judged:?}, p99 {p99:?}");
}
