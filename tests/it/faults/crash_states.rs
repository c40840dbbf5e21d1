//! Everything that a disk may hold after a power cut: the daemon's own writes and syncs are recorded (by `strace`), and
//! from the record any number of states are built, in which what was synced is there and of everything later any sectors
//! may be, in any order. The journal must open each of them with every event that was acknowledged before the cut.
//!
//! `POSTRIDER_CRASH_STATES=5000` is the long form; `POSTRIDER_SEED` repeats a run's chance.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use postrider::edges::journal::{Filter, Journal, SqliteJournal};
use rusqlite::Connection;

use super::{is_there, not_shown, rounds};
use crate::kill::data_of;
use crate::kill::sink::Sink;
use crate::process::{Process, await_that, binary};
use crate::support::write_hook;

/// What a disk promises to keep or to lose whole.
const SECTOR: usize = 512;
/// Of the journal's files, those that are on disk; `-shm` is memory.
const FILES: [&str; 2] = ["journal.db", "journal.db-wal"];

/// One thing that the daemon did, in its order.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Made(usize),
    Wrote {
        file: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: usize,
        length: usize,
    },
    Removed(usize),
    Synced(usize),
    SyncedFolder,
    /// It began to tell a sender so.
    Acked(String),
}

#[test]
fn every_state_that_a_power_cut_may_leave_has_what_was_acknowledged() {
    if !is_there("strace") {
        return not_shown("row 4", "it takes `strace`");
    }
    let count = rounds("POSTRIDER_CRASH_STATES", 150);
    let seed = std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let steps = record(if count > 1_000 { 400 } else { 60 });
    let syncs = steps.iter().filter(|step| matches!(step, Step::Synced(_))).count();
    let acks = steps.iter().filter(|step| matches!(step, Step::Acked(_))).count();
    assert!(syncs > 20 && acks >= 60, "the record has {syncs} syncs and {acks} acknowledgements");

    let found = try_states(&steps, count, seed);
    let control = try_states(&as_normal(&steps), count.div_ceil(10).max(60), seed);
    println!(
        "{} crash states of {} steps, {syncs} syncs, {acks} acked: {} lost, {} corrupt; control (synchronous=NORMAL) \
         {} of {} lost acknowledged events, {} corrupt; seed {seed}",
        found.states,
        steps.len(),
        found.lost.len(),
        found.corrupt.len(),
        control.lost.len(),
        control.states,
        control.corrupt.len()
    );
    assert!(found.corrupt.is_empty(), "{:?}", found.corrupt.first());
    assert!(found.lost.is_empty(), "{:?}", found.lost.first());
    assert!(!control.lost.is_empty(), "without its syncs nothing is lost either: the harness sees nothing");
}

#[derive(Default)]
struct Found {
    states: usize,
    /// Of each state that lost something: where the cut was, and an event.
    lost: Vec<(usize, String)>,
    corrupt: Vec<(usize, String)>,
}

fn try_states(steps: &[Step], count: usize, seed: u64) -> Found {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut found = Found { states: count, ..Found::default() };
    let first = steps.iter().position(|step| matches!(step, Step::Acked(_))).expect("an acknowledgement");
    for _ in 0..count {
        let cut = chance.usize(first..=steps.len());
        let acked: BTreeSet<&str> = steps[..cut]
            .iter()
            .filter_map(|step| if let Step::Acked(id) = step { Some(&**id) } else { None })
            .collect();
        match open(&state(&steps[..cut], &mut chance)) {
            Ok(have) => {
                if let Some(lost) = acked.iter().find(|id| !have.contains(**id)) {
                    found.lost.push((cut, (*lost).to_owned()));
                }
            }
            Err(why) => found.corrupt.push((cut, why)),
        }
    }
    found
}

/// How much of what was not synced is there.
#[derive(Clone, Copy)]
enum Left {
    Nothing,
    All,
    Writes,
    Sectors,
    Beginnings,
}

/// The files as they may be after these steps and a cut.
fn state(steps: &[Step], chance: &mut fastrand::Rng) -> BTreeMap<usize, Vec<u8>> {
    let last = |wanted: &dyn Fn(&Step) -> bool| steps.iter().rposition(wanted);
    let synced: Vec<Option<usize>> = (0..FILES.len()).map(|file| last(&|step| *step == Step::Synced(file))).collect();
    let folder = last(&|step| *step == Step::SyncedFolder);
    let style = [Left::Nothing, Left::All, Left::Writes, Left::Sectors, Left::Beginnings][chance.usize(..5)];
    let mut files: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for (number, step) in steps.iter().enumerate() {
        let is_safe = |file: &usize| synced[*file].is_some_and(|sync| number < sync);
        let is_named = folder.is_some_and(|sync| number < sync);
        match step {
            Step::Made(file) => {
                gone.remove(file);
                files.insert(*file, Vec::new());
                if !is_named && chance.bool() {
                    gone.insert(*file);
                }
            }
            Step::Removed(file) => {
                if is_named || chance.bool() {
                    files.remove(file);
                }
            }
            Step::Cut { file, length } => {
                if is_safe(file) || chance.bool() {
                    files.entry(*file).or_default().resize(*length, 0);
                }
            }
            Step::Wrote { file, at, bytes } => {
                let style = if is_safe(file) { Left::All } else { style };
                for (offset, part) in parts(bytes, style, chance) {
                    put(files.entry(*file).or_default(), at + offset, part);
                }
            }
            Step::Synced(_) | Step::SyncedFolder | Step::Acked(_) => {}
        }
    }
    files.retain(|file, _| !gone.contains(file));
    files
}

/// What of a write is there.
fn parts<'b>(bytes: &'b [u8], style: Left, chance: &mut fastrand::Rng) -> Vec<(usize, &'b [u8])> {
    match style {
        Left::Nothing => Vec::new(),
        Left::All => vec![(0, bytes)],
        Left::Writes => {
            if chance.bool() {
                vec![(0, bytes)]
            } else {
                Vec::new()
            }
        }
        Left::Beginnings => vec![(0, &bytes[..chance.usize(..=bytes.len())])],
        Left::Sectors => {
            let sectors = bytes.chunks(SECTOR).enumerate().map(|(number, sector)| (number * SECTOR, sector));
            sectors.filter(|_| chance.bool()).collect()
        }
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Has the journal open a state; returns the events that it owes, or owed, to every hook.
fn open(files: &BTreeMap<usize, Vec<u8>>) -> Result<BTreeSet<String>, String> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    for (file, bytes) in files {
        fs::write(folder.path().join(FILES[*file]), bytes).expect("a file");
    }
    let journal = SqliteJournal::open(folder.path()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rows = runtime.block_on(journal.list(Filter::default())).map_err(|error| error.to_string())?;
    drop(journal);
    let conn = Connection::open(folder.path().join(FILES[0])).map_err(|error| error.to_string())?;
    let sound = conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    match sound {
        Ok(sound) if sound == "ok" => {}
        Ok(sound) => return Err(sound),
        Err(error) => return Err(error.to_string()),
    }
    let mut owed: HashMap<String, BTreeSet<String>> = HashMap::new();
    for row in rows {
        owed.entry(row.event).or_default().insert(row.hook);
    }
    Ok(owed.into_iter().filter(|(_, hooks)| hooks.len() == 2).map(|(event, _)| event).collect())
}

/// What SQLite would have done with `synchronous=NORMAL`: the log is synced only before it is copied into the database.
fn as_normal(steps: &[Step]) -> Vec<Step> {
    let copies = |number: usize| {
        let mut later = steps[number + 1..].iter().filter(|step| !matches!(step, Step::Acked(_)));
        matches!(later.next(), Some(Step::Wrote { file: 0, .. } | Step::Cut { file: 0, .. }))
    };
    let kept = steps.iter().enumerate().filter(|(number, step)| **step != Step::Synced(1) || copies(*number));
    kept.map(|(_, step)| step.clone()).collect()
}

// ---- the record ----

/// A daemon takes and delivers events, and everything that it does to its journal is written down.
fn record(events: usize) -> Vec<Step> {
    let sink = Sink::start(5);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for hook in ["mirror-a", "mirror-b"] {
        let text = format!("events: [load]\nplatform: webhook\noptions: {{url: \"http://{}/{hook}\"}}\n", sink.addr);
        write_hook(folder.path(), hook, &text);
    }
    let file = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-q", "-xx", "-y", "-s", "1000000", "--seccomp-bpf", "-o"]).arg(&file).arg("-e");
    strace.arg("trace=openat,pwrite64,write,writev,sendto,fsync,fdatasync,ftruncate,unlink,unlinkat").arg(binary());
    let mut daemon = Process::start_by(folder.path(), strace);
    daemon.await_ready();
    let mut line = BufReader::new(UnixStream::connect(folder.path().join(".postrider/emit.sock")).expect("a socket"));
    for number in 0..events {
        let id = format!("e0-{number}");
        let text = format!("{{\"type\":\"load\",\"id\":\"{id}\",\"data\":{}}}\n", data_of(&id));
        line.get_mut().write_all(text.as_bytes()).expect("it is read");
        let mut answer = String::new();
        line.read_line(&mut answer).expect("an answer");
        assert!(answer.contains("\"mirror-b\""), "{answer}");
    }
    drop(line);
    await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
    let pid = daemon.pid().to_string();
    assert!(daemon.stop().success(), "{}", daemon.log());
    // The one who writes it down ends a moment later.
    await_that("the record is whole", || ended(&file, &pid));
    let text = fs::read_to_string(&file).expect("a record");
    steps(&text)
}

fn ended(file: &Path, pid: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().rev().take(50).any(|line| line.starts_with(pid) && line.contains("+++ exited"))
}

/// Reads the record: lines `PID CALL(FD<PATH>, "\xHH…", …) = RESULT`, where one that blocks comes in two pieces.
fn steps(text: &str) -> Vec<Step> {
    let mut unfinished: HashMap<&str, String> = HashMap::new();
    let mut steps = Vec::new();
    let mut known = BTreeSet::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            // What a sender is told may reach it at once.
            steps.extend(acknowledgements(begun));
            unfinished.insert(pid, begun.to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => match unfinished.remove(pid) {
                Some(begun) => {
                    let told = acknowledgements(&begun);
                    steps.extend(step(&format!("{begun}{end}"), &mut known).into_iter().filter(|_| told.is_empty()));
                    continue;
                }
                None => continue,
            },
            None => rest,
        };
        steps.extend(acknowledgements(whole));
        steps.extend(step(whole, &mut known));
    }
    steps
}

/// The call, what stands in its brackets, and its result when it is no error.
fn parse(line: &str) -> Option<(&str, &str, usize)> {
    let (call, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| {
        // strace lines the results up.
        let at = rest.rfind(") ")?;
        Some((&rest[..at], rest[at..].split_once("= ")?.1))
    })?;
    let result = result.split([' ', '<']).next()?.parse().ok()?;
    Some((call, arguments.trim_end(), result))
}

/// `\xHH…` as bytes; what is not in that form is taken as it stands.
fn bytes_of(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    text.split("\\x").skip(1).filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}

/// Every string of a call.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(bytes_of).collect()
}

/// The path behind a file descriptor: `7</path>`.
fn path_of(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once('<')?;
    Some(String::from_utf8_lossy(&bytes_of(rest.split('>').next()?)).into_owned())
}

/// Which of the files; the database is made under another name and renamed when it is whole.
fn file_of(path: &str) -> Option<usize> {
    let (folder, name) = path.rsplit_once('/')?;
    let name = if name == "journal.db.new" { FILES[0] } else { name };
    FILES.iter().position(|file| *file == name).filter(|_| folder.ends_with("/state"))
}

/// The events whose acknowledgement this call sends.
fn acknowledgements(line: &str) -> Vec<Step> {
    let is_told = ["write(", "writev(", "sendto("].iter().any(|call| line.starts_with(call));
    let arguments = line.split_once('(').map_or("", |(_, arguments)| arguments);
    if !is_told || !path_of(arguments).is_some_and(|path| path.starts_with("UNIX") || path.starts_with("socket")) {
        return Vec::new();
    }
    let text: String = strings(arguments).iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let ids = text.split("{\"id\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    ids.map(|id| Step::Acked(id.to_owned())).collect()
}

fn step(line: &str, known: &mut BTreeSet<usize>) -> Option<Step> {
    let (call, arguments, result) = parse(line)?;
    match call {
        "openat" => {
            let path = String::from_utf8_lossy(strings(arguments).first()?).into_owned();
            let file = file_of(&path)?;
            (arguments.contains("O_CREAT") && known.insert(file)).then_some(Step::Made(file))
        }
        "unlink" | "unlinkat" => {
            let path = String::from_utf8_lossy(strings(arguments).first()?).into_owned();
            let file = file_of(&path)?;
            known.remove(&file).then_some(Step::Removed(file))
        }
        _ => {
            let path = path_of(arguments)?;
            if matches!(call, "fsync" | "fdatasync") && path.ends_with("/state") {
                return Some(Step::SyncedFolder);
            }
            let file = file_of(&path)?;
            let last = || arguments.rsplit(", ").next()?.parse().ok();
            match call {
                "fsync" | "fdatasync" => Some(Step::Synced(file)),
                "ftruncate" => Some(Step::Cut { file, length: last()? }),
                "pwrite64" => {
                    let mut bytes = strings(arguments).into_iter().next()?;
                    bytes.truncate(result);
                    Some(Step::Wrote { file, at: last()?, bytes })
                }
                "write" => panic!("a write without a place: {call}({path})"),
                _ => None,
            }
        }
    }
}

#[test]
fn what_was_synced_is_always_there_and_the_rest_may_be() {
    let write = |at: usize, letter: u8| Step::Wrote { file: 0, at, bytes: vec![letter; 2 * SECTOR] };
    let steps =
        [Step::Made(0), Step::SyncedFolder, write(0, b'a'), Step::Synced(0), write(2 * SECTOR, b'b'), write(0, b'c')];
    let mut chance = fastrand::Rng::with_seed(7);
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let files = state(&steps, &mut chance);
        let file = &files[&0];
        assert!(file.len() >= 2 * SECTOR, "what was synced is there");
        let mut letters: Vec<u8> = file.chunks(SECTOR).map(|sector| sector[0]).collect();
        letters.resize(4, b'-');
        assert!(letters[..2].iter().all(|letter| [b'a', b'c'].contains(letter)), "{letters:?}");
        seen.insert(letters);
    }
    // Torn in the middle, and the later write without the earlier one.
    for wanted in [b"aa--", b"acbb", b"cc--", b"aabb", b"ccbb"] {
        assert!(seen.contains(&wanted[..]), "never {}", String::from_utf8_lossy(wanted));
    }
    let unnamed = [Step::Made(0), write(0, b'a'), Step::Synced(0)];
    let there = (0..200).filter(|_| state(&unnamed, &mut chance).contains_key(&0)).count();
    assert!(there > 0 && there < 200, "a file whose name was not synced may be gone: {there}");
}

#[test]
fn a_record_is_read() {
    let text =
        "10  openat(AT_FDCWD</x>, \"\\x2f\\x73/state/journal.db\", O_RDWR|O_CREAT, 0600) = 7</x/state/journal.db>\n";
    let text = text.replace("\\x2f\\x73/state/journal.db", "/s/state/journal.db")
        + "11 pwrite64(7</x/state/journal.db>, \"\\x61\\x62\", 2, 512) = 2\n\
           11 fdatasync(7</x/state/journal.db> <unfinished ...>\n\
           12 sendto(9<UNIX:[5]>, \"\\x7b\\x22\\x69\\x64\\x22\\x3a\\x22\\x65\\x22\\x7d\", 8, MSG_NOSIGNAL, NULL, 0) = 8\n\
           11 <... fdatasync resumed>) = 0\n\
           11 fsync(8</x/state>)               = 0\n\
           11 ftruncate(7</x/state/journal.db>, 3) = -1 EIO (x)\n";
    let wanted = [
        Step::Made(0),
        Step::Wrote { file: 0, at: 512, bytes: b"ab".to_vec() },
        Step::Acked("e".to_owned()),
        Step::Synced(0),
        Step::SyncedFolder,
    ];
    assert_eq!(steps(&text), wanted);
}
