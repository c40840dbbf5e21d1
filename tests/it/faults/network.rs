//! The network itself fails: packets vanish, come back as resets or as "no route", or are lost now and then, before, in
//! the middle of and after a request. Each attempt is over in its time with a reason of its own, and when the network is
//! sound again everything arrives.
//!
//! It takes root, `unshare`, `ip` and `nft`: a network of its own with a sink in it. `POSTRIDER_NETWORK_ROUNDS=50` is the
//! long form.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{is_root, is_there, not_shown, rounds, run};
use crate::process::{Process, await_that, binary};
use crate::support::write_hook;

const TIMEOUT: u64 = 1;
const PORT: u16 = 8480;

/// What the rules do to the receiver of the same number (127.1.0.NUMBER), and what is said of it. Packets with data carry
/// the flag `psh`.
const FAULTS: [(&str, &str, &str); 12] = [
    ("connections vanish", "ip daddr 127.1.0.0 tcp flags syn drop", "no answer within"),
    ("connections are reset", "ip daddr 127.1.0.1 tcp flags syn reject with tcp reset", "connection refused"),
    (
        "host unreachable",
        "ip daddr 127.1.0.2 tcp dport 8480 reject with icmp type host-unreachable",
        "no route to host",
    ),
    (
        "network unreachable",
        "ip daddr 127.1.0.3 tcp dport 8480 reject with icmp type net-unreachable",
        "network is unreachable",
    ),
    ("forbidden", "ip daddr 127.1.0.4 tcp dport 8480 reject with icmp type admin-prohibited", "no route to host"),
    (
        "port unreachable",
        "ip daddr 127.1.0.5 tcp dport 8480 reject with icmp type port-unreachable",
        "connection refused",
    ),
    ("requests vanish", "ip daddr 127.1.0.6 tcp flags & psh == psh drop", "no complete answer within"),
    ("answers vanish", "ip saddr 127.1.0.7 tcp flags & psh == psh drop", "no complete answer within"),
    ("requests are reset", "ip daddr 127.1.0.8 tcp flags & psh == psh reject with tcp reset", "connection"),
    (
        "answers are reset",
        "ip saddr 127.1.0.9 tcp flags & psh == psh reject with tcp reset",
        "no complete answer within",
    ),
    ("acknowledgements vanish", "ip saddr 127.1.0.10 tcp flags & (syn | ack) == syn | ack drop", "no answer within"),
    ("a third is lost", "ip daddr 127.1.0.11 numgen random mod 3 == 0 drop", ""),
];

#[test]
fn a_broken_network_is_waited_for() {
    let missing = ["unshare", "nsenter", "ip", "nft"].into_iter().find(|program| !is_there(program));
    if !is_root() || missing.is_some() {
        return not_shown("row 14", "it takes root, `unshare`, `nsenter`, `ip` and `nft`");
    }
    let rounds = rounds("POSTRIDER_NETWORK_ROUNDS", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::begin();
    let sink = network.sink();
    for number in 0..FAULTS.len() {
        // An attempt for every event and no other, while the network is broken.
        let text = format!(
            "events: [a]\nplatform: webhook\ntimeout: {TIMEOUT}s\nbreaker: false\nconcurrency: 4\n\
             retry: {{first: 1h, max: 1h}}\noptions: {{url: \"http://127.1.0.{number}:{PORT}/\"}}\n"
        );
        write_hook(folder.path(), &format!("h{number}"), &text);
    }
    let rules: String = FAULTS.iter().map(|(_, rule, _)| format!("add rule ip f out {rule}\n")).collect();
    network.rules(
        folder.path(),
        &format!("add table ip f\nadd chain ip f out {{ type filter hook output priority 0; }}\n{rules}"),
    );
    let mut daemon = Process::start_by(folder.path(), network.inside(binary().to_str().expect("a path")));
    daemon.await_ready();
    let before = open_files(&daemon);
    for _ in 0..rounds {
        daemon.emit(&json!({"type": "a", "data": {}})).expect("an answer");
    }
    await_that("each was tried", || daemon.rows("/v1/log?limit=10000").len() >= rounds * FAULTS.len());
    // A busy machine that runs other tests adds to it.
    let over = if rounds > 1 { 1_000 } else { 5_000 };
    let mut wrong = Vec::new();
    let (mut longest, mut lucky) = (0, 0);
    for row in daemon.rows("/v1/log?limit=10000") {
        let number: usize = row["hook"].as_str().and_then(|hook| hook[1..].parse().ok()).expect("a number");
        let (name, _, wanted) = FAULTS[number];
        let (why, took) = (row["why"].as_str().unwrap_or_default(), row["duration_ms"].as_u64().expect("a number"));
        longest = longest.max(took);
        let delivered = row["outcome"] == "delivered";
        lucky += usize::from(delivered);
        if (delivered && !wanted.is_empty()) || !why.contains(wanted) || took > TIMEOUT * 1_000 + over {
            wrong.push(format!("{name}: {row}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    network.rules(folder.path(), "flush ruleset\n");
    daemon.kill();
    let mut daemon = restart_when_due(&network, folder.path());
    await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
    let after = open_files(&daemon);
    println!(
        "{} faults of the network, {rounds} times: each with its reason, the longest attempt {longest} ms of {} ms ({lucky} \
         arrived through the loss); all delivered when it was sound; {before} files open before, {after} after",
        FAULTS.len(),
        TIMEOUT * 1_000
    );
    assert!(after <= before + FAULTS.len() as u64 * 4 + 8, "{before} files were open, then {after}");
    assert!(daemon.stop().success(), "{}", daemon.log());
    drop(sink);
}

/// A new life in which what waits an hour by its backoff is due.
fn restart_when_due(network: &Network, folder: &Path) -> Process {
    let journal = rusqlite::Connection::open(folder.join(".postrider/state/journal.db")).expect("a journal");
    journal.execute("UPDATE deliveries SET due = created WHERE outcome = 'waiting'", []).expect("rows");
    drop(journal);
    let mut daemon = Process::start_by(folder, network.inside(binary().to_str().expect("a path")));
    daemon.await_ready();
    daemon
}

fn open_files(daemon: &Process) -> u64 {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("a living daemon").count() as u64
}

/// A network of its own, which lives as long as its first process.
struct Network {
    holder: Child,
}

struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The kernel sends so many ICMP errors at once and no more, and whoever gets none only sees that nobody answers.
/// Where a namespace has no such bounds of its own, those of the machine hold.
const UNLIMITED: &str = "for it in ratelimit=0 msgs_per_sec=100000 msgs_burst=100000; do \
                         echo ${it#*=} > /proc/sys/net/ipv4/icmp_${it%=*} || true; done 2>&-";

impl Network {
    fn begin() -> Self {
        let mut unshare = Command::new("unshare");
        unshare
            .args(["-n", "sh", "-c", &format!("{UNLIMITED}; ip link set lo up && exec sleep 3600")])
            .stdin(Stdio::null());
        let network = Self { holder: unshare.spawn().expect("unshare") };
        let begun = Instant::now();
        let pid = network.holder.id().to_string();
        while run("nsenter", &["-t", &pid, "-n", "sh", "-c", "ip link show lo | grep -q LOOPBACK,UP"]).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the network does not come up");
        }
        network
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", program]);
        command
    }

    fn rules(&self, folder: &Path, rules: &str) {
        let file = folder.join("rules");
        fs::write(&file, rules).expect("a file");
        let said = self.inside("nft").arg("-f").arg(&file).output().expect("nft");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// A receiver at every address in it.
    fn sink(&self) -> Beside {
        let mut sink = self.inside(binary().to_str().expect("a path"));
        sink.args(["sink", "--listen", &format!("0.0.0.0:{PORT}")]).stdin(Stdio::null()).stdout(Stdio::null());
        let sink = Beside(sink.stderr(Stdio::null()).spawn().expect("a sink"));
        let pid = self.holder.id().to_string();
        let listens = format!("ss -ltn | grep -q :{PORT}");
        await_that("the sink listens", || run("nsenter", &["-t", &pid, "-n", "sh", "-c", &listens]).is_ok());
        sink
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _gone = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}
