//! The disk becomes full: intake stops before it is, outcomes are recorded after it is, and all goes on by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use postrider::edges::sink::Step;
use postrider::words::limits;
use serde_json::{Value as Json, json};

use crate::delivering::webhook;
use crate::process::{Process, await_that};
use crate::support::{PATIENCE, bodies, receiver, write_hook};

fn emit(folder: &Path) -> std::process::Output {
    let command = Command::new(env!("CARGO_BIN_EXE_postrider")).args(["emit", "thing"]).current_dir(folder).output();
    command.expect("a command")
}

fn main_file(folder: &Path, daemon: &Process, text: &str) {
    fs::write(folder.join("postrider.yaml"), text).expect("a main file");
    let reloaded = daemon.post("/v1/reload", &json!({})).expect("an answer");
    assert_eq!(reloaded["problems"], json!([]), "{reloaded}");
}

fn storage(daemon: &Process) -> Json {
    daemon.get("/v1/status").expect("a status")["storage"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn little_space_stops_intake_and_nothing_else() {
    let (sink, desk) = (receiver().await, receiver().await);
    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    let told = format!("events: \"postrider.storage.*\"\nplatform: webhook\noptions: {{url: \"{}\"}}\n", desk.url(""));
    write_hook(folder.path(), "watch", &told);
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    daemon.post("/v1/hold", &json!({"hook": "hook"})).unwrap();
    assert!(emit(folder.path()).status.success());

    main_file(folder.path(), &daemon, "journal: {min_free: 1TiB}\n");
    await_that("intake stops", || storage(&daemon)["refuses"].is_string());
    assert_eq!(storage(&daemon)["trouble"], Json::Null, "it is no trouble yet");
    let refused = daemon.emit(&json!({"type": "thing"})).unwrap();
    assert_eq!((&refused["status"], &refused["error"]["code"]), (&json!(507), &json!("storage_full")), "{refused}");
    let output = emit(folder.path());
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("and journal.min_free is 1TiB: make room, it goes on by itself"), "{said}");
    assert_eq!(daemon.get("/readyz").unwrap()["ok"], false);
    assert!(desk.wait_for(1, PATIENCE).await, "it is told while it is so");
    daemon.post("/v1/release", &json!({"hook": "hook"})).unwrap();
    assert!(sink.wait_for(1, PATIENCE).await, "deliveries go on");

    main_file(folder.path(), &daemon, "");
    let began = Instant::now();
    await_that("intake goes on", || emit(folder.path()).status.success());
    println!("intake was back {:?} after there was space", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(sink.wait_for(2, PATIENCE).await && desk.wait_for(2, PATIENCE).await);
    assert!(bodies(&desk)[0].contains("min_free"), "{:?}", bodies(&desk));
}

/// A small disk of memory, while it lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                println!("no small disk can be mounted here, so this is not tested: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _stays = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Takes all the space there is.
fn fill(disk: &Path) -> PathBuf {
    use std::io::Write;
    let path = disk.join("filler");
    let mut file = fs::File::create(&path).expect("a file");
    for piece in [64 * 1024, 4096] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_outcomes_are_recorded_and_nothing_is_lost_or_repeated() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".postrider/state");
    let Some(_disk) = SmallDisk::mount(&state, "size=40m,mode=700") else { return };
    fs::write(folder.path().join("postrider.yaml"), "journal: {min_free: 8MiB}\n").unwrap();
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    await_that("the ballast is made", || storage(&daemon)["ballast"] == limits::BALLAST);
    daemon.post("/v1/hold", &json!({"hook": "hook"})).unwrap();
    let mut acked = 0;
    while acked < 200 {
        let answer = daemon.emit(&json!({"type": "thing", "data": acked})).unwrap();
        assert!(answer["id"].is_string(), "{answer}");
        acked += 1;
    }
    // An idle log is folded, so that the outcomes must find room for a new one.
    let log = state.join("journal.db-wal");
    await_that("the log is cut", || fs::metadata(&log).is_ok_and(|log| log.len() == 0));
    let filler = fill(&state);
    await_that("intake stops", || storage(&daemon)["refuses"].is_string());
    assert_eq!(daemon.emit(&json!({"type": "thing"})).unwrap()["error"]["code"], "storage_full");

    daemon.post("/v1/release", &json!({"hook": "hook"}));
    assert!(sink.wait_for(acked, PATIENCE).await, "they are sent: {}", daemon.log());
    let all_delivered = || daemon.get("/v1/status").is_some_and(|status| status["delivered"] == acked);
    await_that("all outcomes are recorded on the full disk", all_delivered);
    let ballast = fs::metadata(state.join("ballast")).expect("a ballast").len();
    assert!(ballast < limits::BALLAST, "its space was not needed");

    fs::remove_file(filler).unwrap();
    let began = Instant::now();
    await_that("intake goes on", || daemon.emit(&json!({"type": "thing"})).unwrap()["id"].is_string());
    let back = began.elapsed();
    assert!(back < Duration::from_secs(10), "{back:?}");
    await_that("the ballast is made again", || storage(&daemon)["ballast"] == limits::BALLAST);
    assert!(sink.wait_for(acked + 1, PATIENCE).await);
    println!(
        "{acked} acked before the disk was full, {} requests, 0 lost, 0 repeated; intake back after {back:?}, 0 restarts",
        sink.records().len()
    );
    assert_eq!(sink.records().len() as u64, acked + 1, "nothing was repeated");
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_the_size_of_files_is_an_error_and_not_the_end() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(10_000)).expect("a step");
    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    // In blocks of 512 bytes: 12 MiB.
    let mut daemon = Process::start_after(folder.path(), "ulimit -f 24576");
    daemon.await_ready();
    let data = "x".repeat(900_000);
    let mut refused = 0;
    let mut acked = Vec::new();
    for number in 0..60 {
        let answer =
            daemon.emit(&json!({"type": "thing", "id": format!("e-{number}"), "data": data})).expect("it lives");
        match answer["id"].as_str() {
            Some(id) => acked.push(id.to_owned()),
            None => refused += 1,
        }
        if refused > 3 {
            break;
        }
    }
    println!("{} acked, then refused: the daemon lives", acked.len());
    assert!(refused > 0 && !acked.is_empty());
    daemon.stop();
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    for id in acked {
        assert!(daemon.get(&format!("/v1/events/{id}")).unwrap()["deliveries"].is_array(), "{id} is lost");
    }
}
