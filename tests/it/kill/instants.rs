//! Death at each instant: the daemon is killed as it enters the first, the second, … call of each kind that writes,
//! syncs or sends. It takes `strace`, which does the killing; `POSTRIDER_INSTANTS=all` is the long form.

use super::*;

/// What changes anything outside of the process.
const CALLS: [&str; 7] = ["fsync", "fdatasync", "pwrite64", "ftruncate", "write", "writev", "sendto"];
/// Events of one life, one after the other.
const EVENTS: usize = 8;

#[test]
fn kill_9_at_each_instant_loses_nothing() {
    if !crate::faults::is_there("strace") {
        return crate::faults::not_shown("row 2", "it takes `strace`");
    }
    let all = std::env::var("POSTRIDER_INSTANTS").is_ok_and(|which| which == "all");
    let mut story = Instants::begin();
    let mut died = BTreeMap::new();
    for call in CALLS {
        let instants: Vec<usize> = if all { (1..10_000).collect() } else { vec![1, 2, 5, 9, 14] };
        for number in instants {
            if !story.live_until(call, number) {
                break;
            }
            *died.entry(call).or_insert(0) += 1;
        }
    }
    let deaths: usize = died.values().sum();
    let books = story.end();
    let found = books.findings();
    println!(
        "killed at {deaths} instants {died:?}, {} acked, {} lost, {} duplicates, bound {}",
        books.acked.len(),
        found.lost.len(),
        found.duplicates,
        found.bound
    );
    assert_sound(&found);
    assert!(found.duplicates <= found.bound, "{} duplicates, {} explained", found.duplicates, found.bound);
    assert!(died.len() >= 3 && died.contains_key("pwrite64"), "it was not killed at writes, syncs and sends: {died:?}");
}

/// One folder and one receiver for all those lives.
struct Instants {
    folder: TempDir,
    sink: Sink,
    books: Ledger,
    events: usize,
}

impl Instants {
    fn begin() -> Self {
        let sink = Sink::start(1);
        let folder = tempfile::Builder::new().prefix("n").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("hooks.d")).unwrap();
        for hook in ["mirror-a", "mirror-b"] {
            let text = format!(
                "events: [load]\nplatform: webhook\nretry: {{first: 100ms, max: 1s}}\noptions:\n  url: http://{}/{hook}\n",
                sink.addr
            );
            fs::write(folder.path().join(format!("hooks.d/{hook}.yaml")), text).unwrap();
        }
        // A life in peace: the hooks are proven, so that later ones start no other process.
        let mut daemon = Daemon::start(folder.path());
        daemon.await_ready();
        assert!(daemon.stop().success(), "{}", daemon.log());
        Self { folder, sink, books: Ledger::default(), events: 0 }
    }

    /// One life that ends at that call, or by our hand when it does not come to it. Says which.
    fn live_until(&mut self, call: &str, number: usize) -> bool {
        let mut command = Command::new("strace");
        let inject = format!("inject={call}:signal=KILL:when={number}");
        command.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", &inject]).arg(binary());
        let mut daemon = Daemon::start_by(self.folder.path(), command);
        let lived = self.script(&mut daemon);
        daemon.kill();
        self.sink.settle();
        let journal = open_journal(self.folder.path());
        let mut query = journal.prepare("SELECT seq FROM deliveries WHERE outcome = 'waiting'").unwrap();
        let waiting: Vec<i64> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        self.books.unrecorded.push(self.sink.took(&waiting));
        lived.is_none()
    }

    /// Start, a few events, their deliveries. Nothing when it died on the way.
    fn script(&mut self, daemon: &mut Daemon) -> Option<()> {
        while daemon.status().is_none() {
            if daemon.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(daemon.began.elapsed() < PATIENCE, "it does not answer: {}", daemon.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut line = BufReader::new(UnixStream::connect(self.folder.path().join(".postrider/emit.sock")).ok()?);
        line.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..EVENTS {
            self.events += 1;
            let id = format!("e0-{}", self.events);
            let text = format!("{{\"type\":\"load\",\"id\":\"{id}\",\"data\":{}}}\n", data_of(&id));
            line.get_mut().write_all(text.as_bytes()).ok()?;
            let mut answer = String::new();
            line.read_line(&mut answer).ok().filter(|_| answer.ends_with('\n'))?;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["id"], id.as_str(), "{answer}");
            let hooks = answer["hooks"].as_array().unwrap().iter().map(|hook| hook.as_str().unwrap().to_owned());
            self.books.acked.insert(id, hooks.collect());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = daemon.status()?;
            if status["waiting"].as_u64() == Some(0) {
                return Some(());
            }
            assert!(Instant::now() < deadline, "it does not deliver: {status}");
        }
    }

    fn end(mut self) -> Ledger {
        let mut daemon = Daemon::start(self.folder.path());
        daemon.await_ready();
        await_that("everything is delivered", PATIENCE, || {
            daemon.status().is_some_and(|status| status["waiting"].as_u64() == Some(0))
        });
        assert_eq!(daemon.status().unwrap()["dead"], 0, "deliveries were given up");
        assert!(daemon.stop().success(), "{}", daemon.log());
        let sound: String =
            open_journal(self.folder.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        assert!(self.books.acked.values().all(|hooks| hooks.len() == 2), "an event missed a hook");
        self.books.hits = self.sink.hits();
        self.books
    }
}
