//! DNS dies: a resolver that takes questions and answers none, under hundreds of hooks with names that nobody can find.
//! A hook whose name is known does not feel it, threads stay few, and when the resolver is back everything arrives.
//!
//! It takes root and `unshare`, for a view of the files of its own and port 53. `POSTRIDER_DEAD_NAMES=500` is the long form.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::beat::Beat;
use super::{not_shown, percentile, rounds, run};
use crate::process::{Process, await_that, binary};
use crate::support::{receiver, write_hook};

/// An address of this machine that nothing else uses.
const RESOLVER: &str = "127.0.53.78";
const EVERY: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_dead_names_hold_up_nobody() {
    let dead = rounds("POSTRIDER_DEAD_NAMES", 40);
    let count = if dead >= 500 { 500 } else { 100 };
    let Some(resolver) = Resolver::start() else {
        return not_shown("row 13", "it takes root, `unshare` and port 53");
    };
    let sink = receiver().await;
    let beat = Beat::start(Duration::from_millis(20), true);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("resolv.conf"), format!("nameserver {RESOLVER}\noptions timeout:5 attempts:2\n"))
        .expect("a file");
    write_hook(folder.path(), "healthy", &beat.hook("localhost"));
    for number in 0..dead {
        let text = format!(
            "events: [lost]\nplatform: webhook\ntimeout: 15s\nbreaker: false\nretry: {{first: 1s, max: 2s}}\n\
             options: {{url: \"http://dead-{number}.example.org:{}/\"}}\n",
            sink.addr.port()
        );
        write_hook(folder.path(), &format!("dead-{number}"), &text);
    }
    let mut command = Command::new("unshare");
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\"";
    command.args(["-m", "sh", "-c", script]).arg(binary());
    let mut daemon = Process::start_by(folder.path(), command);
    daemon.await_ready();

    let quiet = beat.measure(folder.path(), count, EVERY);
    let before = threads(&daemon);
    for _ in 0..2 {
        daemon.emit(&json!({"type": "lost", "data": {}})).expect("an answer");
    }
    await_that("names are asked for", || resolver.asked());
    let loud = beat.measure(folder.path(), count, EVERY);
    let most = threads(&daemon);
    assert_eq!(sink.count(), 0, "nobody can have found those names");
    let (quiet, loud) = (percentile(&quiet, 99), percentile(&loud, 99));

    resolver.heal();
    let healed = Instant::now();
    await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
    let recovered = healed.elapsed();
    println!(
        "{dead} hooks on dead names: {before} threads before, {most} then; healthy p99 {quiet:?} before, {loud:?} then; all \
         {} delivered {recovered:?} after the resolver was back",
        sink.count()
    );
    assert!(most <= before + 16, "{before} threads, then {most}");
    // A lookup that waits for a dead one takes five seconds and more.
    let noise = if dead >= 500 { Duration::from_millis(100) } else { Duration::from_secs(2) };
    assert!(loud < quiet * 6 / 5 + noise, "the healthy hook took {loud:?} instead of {quiet:?}");
    assert!(sink.count() >= 2 * dead as u64);
    // The lookups that were under way take their time, then a backoff.
    assert!(recovered < Duration::from_secs(30), "{recovered:?}");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

fn threads(daemon: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("a living daemon").count()
}

/// Takes questions; answers once it is healed: every name is this machine.
struct Resolver {
    healed: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl Resolver {
    fn start() -> Option<Self> {
        run("unshare", &["-m", "true"]).ok()?;
        let socket = UdpSocket::bind((RESOLVER, 53)).ok()?;
        let (healed, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let resolver = Self { healed: healed.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                asked.store(true, Ordering::SeqCst);
                if healed.load(Ordering::SeqCst) {
                    let _gone = socket.send_to(&answer(&question[..length]), from);
                }
            }
        });
        Some(resolver)
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }
}

/// The question again, and for an A record: 127.0.0.1.
fn answer(question: &[u8]) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name");
    let (kind, end) = (question[name_end + 2], name_end + 5);
    let mut answer = question[..end].to_vec();
    let is_address = kind == 1;
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    if is_address {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
