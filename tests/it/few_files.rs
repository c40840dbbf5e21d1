//! File descriptors run out: intake pauses, what is owed is delivered, and it heals by itself.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::process::{Process, await_that};
use crate::support::{PATIENCE, bodies, receiver, write_hook};

/// Far more connections than there is room for.
const CALLERS: usize = 64;

fn open_files(daemon: &Process) -> u64 {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count() as u64
}

/// Sets how many it may have; all that it ever may when nothing is said.
fn allow(daemon: &Process, most: Option<u64>) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let maximum: u64 = line.split_whitespace().nth(4).unwrap().parse().unwrap();
    let limit = Rlimit { current: Some(most.unwrap_or(maximum)), maximum: Some(maximum) };
    prlimit(Pid::from_raw(i32::try_from(daemon.pid()).unwrap()), Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn intake_waits_while_deliveries_go_on() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let hook = format!(
        "events: [a]\nplatform: webhook\noptions:\n  url: http://{}/\n  text: \"{{{{ data.n }}}}\"\n",
        sink.addr
    );
    write_hook(folder.path(), "one", &hook);
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();

    let socket = folder.path().join(".postrider/emit.sock");
    let mut first = UnixStream::connect(&socket).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut say = |n: usize| {
        first.write_all(format!("{{\"type\":\"a\",\"data\":{{\"n\":{n}}}}}\n").as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let length = first.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(say(0).contains("\"hooks\":[\"one\"]"));
    await_that("the first one arrives", || bodies(&sink).len() == 1);

    // Room for a few, and the reserve.
    allow(&daemon, Some(open_files(&daemon) + 40));
    let callers: Vec<UnixStream> = (0..CALLERS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    await_that("it says so", || daemon.log().contains("raise LimitNOFILE"));
    let (full, used) = (Instant::now(), daemon.processor_time());
    let held = open_files(&daemon);
    for n in 1..=20 {
        assert!(say(n).contains("\"id\""), "a connection that it has is served");
    }
    await_that("what it took is delivered", || bodies(&sink).len() == 21);
    assert!(
        daemon.get("/v1/status").is_none() || open_files(&daemon) <= held + 34,
        "the admin socket is a door like any"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    let share = (daemon.processor_time() - used).as_secs_f64() / full.elapsed().as_secs_f64();
    let complaints = daemon.log().matches("raise LimitNOFILE").count();
    assert!(share < 0.25, "waiting takes {:.0} % of a core", share * 100.0);
    assert!(complaints <= 3 + full.elapsed().as_secs() as usize, "{complaints} complaints");

    allow(&daemon, None);
    let lifted = Instant::now();
    let mut served = 0;
    for (n, mut caller) in callers.iter().enumerate() {
        caller.write_all(format!("{{\"type\":\"a\",\"data\":{{\"n\":{}}}}}\n", 100 + n).as_bytes()).unwrap();
    }
    for mut caller in callers {
        caller.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 4096];
        let length = caller.read(&mut answer).unwrap();
        served += usize::from(String::from_utf8_lossy(&answer[..length]).contains("\"id\""));
    }
    let healed = lifted.elapsed();
    println!(
        "{CALLERS} callers with {held} descriptors in use: {:.1} % of a core, served {healed:?} after the limit was lifted",
        share * 100.0
    );
    assert_eq!(served, CALLERS);
    assert!(healed < Duration::from_secs(5), "{healed:?}");
    await_that("everything arrives", || bodies(&sink).len() == 21 + CALLERS);
    assert!(daemon.emit(&json!({"type": "a", "data": {"n": "last"}})).is_some());
    assert!(daemon.stop().success(), "{}", daemon.log());
}
