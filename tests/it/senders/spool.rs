//! The spool: events wait on disk for a daemon that is not there, and each is taken once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider::edges::intake::{self, Accept, Answer, Code, Refusal};
use postrider::words::event::Event;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use crate::commands::{err, exits, out, piped, run};
use crate::faults::{is_there, not_shown};
use crate::process::Process;
use crate::support::{PATIENCE, write_hook};

/// A folder with a spool and a hook whose receiver is nowhere.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let nowhere = "events: [\"*\"]\nplatform: webhook\noptions: {url: \"http://127.0.0.1:1/\"}\n";
        write_hook(folder.path(), "nowhere", nowhere);
        fs::create_dir_all(folder.path().join(".postrider/spool")).expect("a folder");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn spool(&self) -> PathBuf {
        self.path().join(".postrider/spool")
    }

    /// As a program does that knows nothing of postrider: whole, then renamed.
    fn leave(&self, name: &str, text: &str) {
        let hidden = self.spool().join(format!(".{name}"));
        fs::write(&hidden, text).expect("a file");
        fs::rename(hidden, self.spool().join(name)).expect("a file");
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.spool())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name != "bad")
            .collect();
        names.sort();
        names
    }

    fn daemon(&self) -> Process {
        let mut daemon = Process::start(self.path());
        daemon.await_ready();
        daemon
    }

    /// Waits until the spool holds nothing but these.
    fn until_left(&self, daemon: &Process, left: &[&str]) {
        let until = std::time::Instant::now() + PATIENCE;
        while self.files() != left {
            assert!(std::time::Instant::now() < until, "{:?} stay\n{}", self.files(), daemon.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What is owed to the hook: id and type, sorted.
fn owed(daemon: &Process) -> Vec<(String, String)> {
    let rows = daemon.rows("/v1/deliveries?hook=nowhere&limit=100000");
    let word = |row: &Json, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut owed: Vec<_> = rows.iter().map(|row| (word(row, "event"), word(row, "type"))).collect();
    owed.sort();
    owed
}

#[tokio::test]
async fn what_is_emitted_while_nobody_listens_is_delivered_later() {
    let house = House::new();
    let folder = house.path();
    // Another program's socket has no spool.
    exits(&run(folder, &["--socket", "else.sock", "emit", "a.b"]).await, 69);
    exits(&run(folder, &["emit", "a.b", "--no-spool"]).await, 69);
    assert_eq!(house.files(), [""; 0]);

    let done = run(folder, &["--json", "emit", "a.b", "--id", "mine", "n:=1"]).await;
    exits(&done, 0);
    let told: Json = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(told["id"], "mine");
    let text = fs::read(folder.join(told["file"].as_str().expect("a file"))).expect("the file that it names");
    let event: Json = serde_json::from_slice(&text).expect("an event");
    assert_eq!((&event["type"], &event["data"]), (&json!("a.b"), &json!({"n": 1})));
    assert!(event["time"].is_string(), "it happened when it was emitted: {event}");
    let quiet = run(folder, &["--quiet", "emit", "several.lines", "--data", "{\n\"a\": 1\n}"]).await;
    exits(&quiet, 0);
    assert_eq!((out(&quiet), err(&quiet)), (String::new(), String::new()));
    // What the daemon would refuse is refused now.
    exits(&run(folder, &["emit", ""]).await, 65);
    let lines: String = (0..200).map(|n| format!("{{\"type\":\"line\",\"data\":{n}}}\n")).collect();
    let many = piped(folder, &["emit", "--ndjson", "-"], &format!("{lines}nonsense\n")).await;
    exits(&many, 65);
    assert!(err(&many).contains("line 201"), "{}", err(&many));
    let kept = house.files();
    assert!((3..202).contains(&kept.len()), "{kept:?}");
    assert!(kept.iter().all(|name| !name.starts_with('.')), "{kept:?}");

    let mut daemon = house.daemon();
    house.until_left(&daemon, &[]);
    let owed = owed(&daemon);
    let of = |kind: &str| owed.iter().filter(|(_, found)| found == kind).count();
    assert_eq!((owed.len(), of("a.b"), of("several.lines"), of("line")), (202, 1, 1, 200), "{owed:?}");
    assert!(owed.iter().any(|(id, _)| id == "mine"));
    // Now it goes the straight way.
    let straight = run(folder, &["--json", "emit", "a.b"]).await;
    assert!(out(&straight).contains("\"duplicate\":false"), "{}", out(&straight));
    daemon.stop();
    exits(&run(folder, &["emit", "a.b"]).await, 0);
    assert_eq!(house.files().len(), 1, "a stopped daemon leaves its spool behind");
}

/// A queue that is full at first.
#[derive(Default)]
struct Full {
    refused: AtomicUsize,
    taken: Mutex<Vec<Event>>,
}

impl Accept for Full {
    fn accept(&self, events: Vec<Event>) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send>> {
        let answers = if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            events.iter().map(|_| Answer::Refused(Refusal::new(Code::Busy, "full"))).collect()
        } else {
            let accepted = |event: &Event| Answer::Accepted { id: event.id.clone(), hooks: vec![], duplicate: false };
            let answers = events.iter().map(accepted).collect();
            self.taken.lock().expect("no panic").extend(events);
            answers
        };
        Box::pin(std::future::ready(answers))
    }

    fn refused(&self, _: Code) {}
}

#[tokio::test]
async fn a_full_queue_leaves_files_where_they_are_and_the_owner_counts_as_the_sender() {
    let house = House::new();
    house.leave("one", "{\"type\":\"one\"}");
    let (full, stop) = (Arc::new(Full::default()), CancellationToken::new());
    let serving = tokio::spawn(intake::spool::serve(house.spool(), full.clone(), stop.clone()));
    let until = tokio::time::timeout(PATIENCE, async {
        while full.refused.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(house.files(), ["one"]);
        while !house.files().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    until.await.expect("it is taken in the end");
    stop.cancel();
    serving.await.expect("no panic");
    let taken = full.taken.lock().expect("no panic");
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].peer.expect("a sender").uid, rustix::process::geteuid().as_raw());
}

#[test]
fn any_program_may_leave_files() {
    let house = House::new();
    let mut daemon = house.daemon();
    let before = std::time::Instant::now();
    house.leave("b.json", "{\"type\":\"second\"}");
    house.leave("a.json", "{\"type\":\"first\"}\n");
    house.leave("c", "{\"type\":\"third\"}\n\n{\"type\":\"fourth\",\"id\":\"4\"}\n");
    fs::write(house.spool().join(".half"), "{\"type\":\"hal").expect("a file");
    house.until_left(&daemon, &[".half"]);
    assert!(before.elapsed() < Duration::from_secs(10), "the kernel tells of new files: {:?}", before.elapsed());
    let kinds: Vec<String> = owed(&daemon).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    // The same name again is another event.
    house.leave("a.json", "{\"type\":\"first\"}\n");
    house.until_left(&daemon, &[".half"]);
    let kinds: Vec<String> = owed(&daemon).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "first").count(), 2, "{kinds:?}");
    daemon.stop();
}

#[tokio::test]
async fn what_is_no_event_is_set_aside_with_the_reason() {
    let house = House::new();
    let daemon = &mut house.daemon();
    house.leave("text.json", "backup failed\n");
    house.leave("mixed", "{\"type\":\"good\"}\n{\"typ\":\"bad\"}\n{\"type\":\"good\"}\n[]\n");
    house.leave("empty", "\n");
    house.leave("ours", "{\"type\":\"x\",\"source\":\"postrider\"}");
    house.leave("large", &" ".repeat(17 * 1024 * 1024));
    symlink("/etc/passwd", house.spool().join("link")).expect("a link");
    fs::write(house.path().join("elsewhere"), "{\"type\":\"x\"}").expect("a file");
    fs::hard_link(house.path().join("elsewhere"), house.spool().join("two-names")).expect("a link");
    house.until_left(daemon, &[]);
    let bad = house.spool().join("bad");
    let read = |name: &str| fs::read_to_string(bad.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(fs::metadata(&bad).expect("a folder").permissions().mode() & 0o777, 0o700);
    assert_eq!(read("text.json"), "backup failed\n\n");
    assert!(read("text.json.why").contains("JSON"), "{}", read("text.json.why"));
    assert_eq!(read("mixed"), "{\"typ\":\"bad\"}\n[]\n");
    let why = read("mixed.why");
    let lines: Vec<&str> = why.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("line 1: ") && lines[0].contains("did you mean type"), "{why}");
    for (name, reason) in [
        ("empty", "empty"),
        ("ours", "the daemon's own"),
        ("large", "larger than 16 MiB"),
        ("link", "a link"),
        ("two-names", "hard link"),
    ] {
        assert!(read(&format!("{name}.why")).contains(reason), "{name}: {}", read(&format!("{name}.why")));
    }
    assert_eq!(owed(daemon).len(), 2, "the good lines were taken");

    let status = run(house.path(), &["--json", "status"]).await;
    let status: Json = serde_json::from_slice(&status.stdout).expect("JSON");
    let problems = status["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem["code"] == "spool-file"), "{problems:#?}");
    // Mended and moved back.
    fs::write(bad.join("text.json"), "{\"type\":\"mended\"}").expect("a file");
    fs::rename(bad.join("text.json"), house.spool().join("text.json")).expect("a file");
    house.until_left(daemon, &[]);
    assert!(owed(daemon).iter().any(|(_, kind)| kind == "mended"));
    daemon.stop();
}

#[test]
fn what_is_still_written_is_left_alone() {
    use std::io::Write;
    let house = House::new();
    let mut daemon = house.daemon();
    let mut file = fs::File::create(house.spool().join("growing")).expect("a file");
    for n in 0..20 {
        // A line in two pieces; each is a beginning of something.
        write!(file, "{{\"type\":\"growing\",").expect("it is written");
        std::thread::sleep(Duration::from_millis(40));
        writeln!(file, "\"data\":{n}}}").expect("it is written");
    }
    drop(file);
    house.until_left(&daemon, &[]);
    assert_eq!(owed(&daemon).len(), 20);
    assert!(!house.spool().join("bad").exists());
    daemon.stop();
}

/// The daemon dies whenever, also between the commit and the removal of a file: nothing is lost or doubled.
#[test]
fn nothing_is_lost_or_doubled_when_the_daemon_dies() {
    const FILES: usize = 120;
    let house = House::new();
    let mut expected = FILES;
    for n in 0..FILES {
        let lines = if n % 10 == 0 { "{\"type\":\"of-many\"}\n".repeat(25) } else { format!("{{\"type\":\"n{n}\"}}") };
        expected += if n % 10 == 0 { 24 } else { 0 };
        house.leave(&format!("{n:03}"), &lines);
    }
    std::thread::sleep(Duration::from_millis(600)); // until all of them count as quiet
    let mut deaths_in_the_middle = 0;
    for round in 0..60 {
        let mut daemon = house.daemon();
        let before = house.files().len();
        if before == 0 {
            break;
        }
        // A little later each time.
        std::thread::sleep(Duration::from_millis(round % 7));
        daemon.kill();
        let after = house.files().len();
        deaths_in_the_middle += usize::from(after > 0 && after < FILES);
    }
    let mut daemon = house.daemon();
    house.until_left(&daemon, &[]);
    let owed = owed(&daemon);
    let ids: std::collections::BTreeSet<&String> = owed.iter().map(|(id, _)| id).collect();
    assert_eq!((owed.len(), ids.len()), (expected, expected), "{}", daemon.log());
    for n in (0..FILES).filter(|n| n % 10 != 0) {
        let found = owed.iter().filter(|(_, kind)| *kind == format!("n{n}")).count();
        assert_eq!(found, 1, "n{n}");
    }
    assert!(deaths_in_the_middle > 0, "no death was in the middle");
    daemon.stop();
}

/// The very moment between the commit and the removal, found by the system call.
#[test]
fn a_file_that_was_taken_and_not_removed_is_known() {
    if !is_there("strace") {
        return not_shown("a death before a file of the spool is removed", "it takes `strace`");
    }
    let house = House::new();
    house.leave("once", "{\"type\":\"one\"}\n{\"type\":\"two\"}\n");
    // As the daemon names it, which runs in that folder.
    let path = "./.postrider/spool/once";
    let arguments = ["-f", "-o", "/dev/null", "-P", path, "-e", "inject=unlink,unlinkat:error=EIO:signal=KILL", "--"];
    let mut dies = Process::start_by_tool(house.path(), "strace", &arguments);
    dies.await_death();
    assert_eq!(house.files(), ["once"], "{}", dies.log());
    let mut daemon = Process::start(house.path());
    daemon.await_ready();
    assert_eq!(owed(&daemon).len(), 2, "both were committed before the death");
    house.until_left(&daemon, &[]);
    assert_eq!(owed(&daemon).len(), 2, "and are not stored again");
    daemon.stop();
}
