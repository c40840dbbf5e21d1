//! The power goes while events come in: a file system of its own is shut down under the daemon, so that whatever was
//! not synced is gone, and is mounted again. What had been acknowledged before the cut must be there.
//!
//! It takes root, loop devices, `mkfs.ext4` and `perl` (for one ioctl, which safe Rust cannot make).
//! `POSTRIDER_POWER_CUTS=200` is the long form, `POSTRIDER_POWER_CUTS_XFS=50` that of the other file system.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::{insist, is_root, is_there, not_shown, rounds, run};
use crate::kill::data_of;
use crate::kill::sink::Sink;
use crate::process::{Process, await_that, binary};
use crate::support::{PATIENCE, write_hook};

const EMITTERS: usize = 4;
/// `EXT4_IOC_SHUTDOWN` (XFS has the same) without a last flush, at the moment a line comes in.
const CUT: &str = "open(my $file, '<', $ARGV[0]) or die $!; $| = 1; print qq(ready\n); <STDIN>; \
                   my $how = pack('L', 2); ioctl($file, 0x8004587D, $how) or die $!; print qq(cut\n);";

#[test]
fn a_power_cut_loses_nothing_on_ext4() {
    cuts("ext4", rounds("POSTRIDER_POWER_CUTS", 2));
}

#[test]
fn a_power_cut_loses_nothing_on_xfs() {
    cuts("xfs", rounds("POSTRIDER_POWER_CUTS_XFS", 1));
}

/// The same harness finds what a disk loses that only says that it has synced.
#[test]
fn a_power_cut_with_a_lying_fsync_is_noticed() {
    if !is_there("strace") {
        return not_shown("the control of the power cuts", "it takes `strace`");
    }
    let Some(mut story) = Story::begin("ext4") else { return };
    let cuts = rounds("POSTRIDER_POWER_CUTS", 2).min(10);
    let mut broken = 0;
    for _ in 0..cuts {
        let mut strace = Command::new("strace");
        let lie = "inject=fsync,fdatasync:retval=0";
        strace.args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", lie]).arg(binary());
        let found = story.cut(strace);
        broken += usize::from(!found.lost.is_empty() || found.corrupt.is_some());
        story.disk.begin_anew();
        story.write_hooks();
    }
    println!("control: with a lying fsync {broken} of {cuts} power cuts lost what was acknowledged");
    assert!(broken > 0, "nothing was lost although nothing was synced: the harness sees nothing");
}

fn cuts(kind: &str, rounds: usize) {
    let Some(mut story) = Story::begin(kind) else { return };
    let (mut acked, mut late, mut lost, mut corrupt) = (BTreeSet::new(), 0, Vec::new(), Vec::new());
    for _ in 0..rounds {
        let found = story.cut(Command::new(binary()));
        acked.extend(found.acked);
        late += found.late;
        lost.extend(found.lost);
        corrupt.extend(found.corrupt);
    }
    let unsent = story.end(&acked);
    println!(
        "{rounds} power cuts of {kind}, {} acked before them, {} lost, {} corrupt, {} never delivered, {late} acked during one",
        acked.len(),
        lost.len(),
        corrupt.len(),
        unsent.len()
    );
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(corrupt.is_empty(), "{corrupt:?}");
    assert!(unsent.is_empty(), "acknowledged and never delivered: {unsent:?}");
}

/// What one cut did.
struct Found {
    acked: BTreeSet<String>,
    /// Acknowledged while the power went: nobody can say before or after.
    late: usize,
    lost: Vec<String>,
    corrupt: Option<String>,
}

struct Story {
    disk: Disk,
    sink: Sink,
    events: usize,
    chance: fastrand::Rng,
}

impl Story {
    /// `None` where it cannot be shown, which is said.
    fn begin(kind: &str) -> Option<Self> {
        let disk = match Disk::make(kind) {
            Ok(disk) => disk,
            Err(why) => {
                not_shown(&format!("a power cut on {kind}"), &why);
                return None;
            }
        };
        let story = Self { disk, sink: Sink::start(3), events: 0, chance: fastrand::Rng::new() };
        story.write_hooks();
        Some(story)
    }

    fn write_hooks(&self) {
        let text = format!(
            "events: [load]\nplatform: webhook\nretry: {{first: 100ms, max: 1s}}\noptions: {{url: \"http://{}/mirror-a\"}}\n",
            self.sink.addr
        );
        write_hook(&self.disk.place(), "mirror-a", &text);
        // They are not what is tested.
        run("sync", &["-f", &self.disk.place().join("hooks.d/mirror-a.yaml").to_string_lossy()]).expect("a sync");
    }

    /// A life that ends with a cut.
    fn cut(&mut self, command: Command) -> Found {
        let place = self.disk.place();
        let mut daemon = Process::start_by(&place, command);
        daemon.await_ready();
        let switch = Switch::ready(&place.join("log"));
        let book = Arc::new(Book::default());
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|number| {
                let (socket, book, first) = (place.join(".postrider/emit.sock"), book.clone(), self.events);
                std::thread::spawn(move || emit(&socket, &book, number, first))
            })
            .collect();
        self.events += 1_000_000;
        await_that("events are taken", || book.acked.lock().expect("no panic").len() >= 5);
        // The moment of the cut is the point of the story.
        std::thread::sleep(Duration::from_millis(self.chance.u64(0..400)));
        book.cut.store(true, Ordering::SeqCst);
        switch.turn_off();
        daemon.kill();
        for emitter in emitters {
            emitter.join().expect("an emitter");
        }
        self.sink.settle();
        self.disk.mount_again();
        let acked = std::mem::take(&mut *book.acked.lock().expect("no panic"));
        let late = *book.late.lock().expect("no panic");
        let (have, corrupt) = look(&place.join(".postrider/state"));
        let lost = acked.iter().filter(|id| !have.contains(*id)).cloned().collect();
        Found { acked, late, lost, corrupt }
    }

    /// Everything arrives in the end; returns what did not.
    fn end(self, acked: &BTreeSet<String>) -> Vec<String> {
        let mut daemon = Process::start(&self.disk.place());
        daemon.await_ready();
        await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
        assert!(daemon.stop().success(), "{}", daemon.log());
        let hits: BTreeSet<String> =
            self.sink.hits().into_iter().filter(|hit| hit.taken).map(|hit| hit.event).collect();
        acked.difference(&hits).cloned().collect()
    }
}

/// What the emitters write down.
#[derive(Default)]
struct Book {
    cut: AtomicBool,
    acked: Mutex<BTreeSet<String>>,
    late: Mutex<usize>,
}

/// One event after the other, until the daemon is gone or refuses.
fn emit(socket: &Path, book: &Book, number: usize, first: usize) {
    let Ok(stream) = UnixStream::connect(socket) else { return };
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound");
    let mut line = BufReader::new(stream);
    for event in first.. {
        let id = format!("e{number}-{event}");
        let text = format!("{{\"type\":\"load\",\"id\":\"{id}\",\"data\":{}}}\n", data_of(&id));
        let mut answer = String::new();
        let came = line.get_mut().write_all(text.as_bytes()).and_then(|()| line.read_line(&mut answer));
        let answer: Json = match came {
            Ok(1..) if answer.ends_with('\n') => serde_json::from_str(&answer).expect("an answer"),
            _ => return,
        };
        if answer["id"] != id.as_str() {
            return;
        }
        if book.cut.load(Ordering::SeqCst) {
            *book.late.lock().expect("no panic") += 1;
        } else {
            book.acked.lock().expect("no panic").insert(id);
        }
    }
}

/// What the journal in this folder holds and whether it is sound: of a copy, since looking changes it.
fn look(state: &Path) -> (BTreeSet<String>, Option<String>) {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["journal.db", "journal.db-wal"] {
        if state.join(name).exists() {
            fs::copy(state.join(name), copy.path().join(name)).expect("a copy");
        }
    }
    let ask = || -> rusqlite::Result<(BTreeSet<String>, String)> {
        let journal = Connection::open(copy.path().join("journal.db"))?;
        let mut query =
            journal.prepare("SELECT e.id FROM events e JOIN deliveries d ON d.event = e.seq GROUP BY e.seq")?;
        let have = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok((have, journal.query_row("PRAGMA integrity_check", [], |row| row.get(0))?))
    };
    match ask() {
        Ok((have, sound)) => (have, (sound != "ok").then_some(sound)),
        Err(error) => (BTreeSet::new(), Some(error.to_string())),
    }
}

/// A process that cuts the power as soon as it is told.
struct Switch {
    child: Child,
}

impl Switch {
    fn ready(file: &Path) -> Self {
        let mut perl = Command::new("perl");
        let mut child =
            perl.args(["-e", CUT]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("perl");
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut said).expect("it is ready");
        Self { child }
    }

    fn turn_off(mut self) {
        self.child.stdin.take().expect("a pipe").write_all(b"\n").expect("it listens");
        assert!(self.child.wait().expect("a child").success(), "the power could not be cut");
    }
}

/// A file system in a file.
struct Disk {
    kind: String,
    folder: TempDir,
}

impl Disk {
    fn make(kind: &str) -> Result<Self, String> {
        if !is_root() {
            return Err("it takes root".to_owned());
        }
        run("perl", &["-e", "1"])?;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        fs::create_dir(folder.path().join("mnt")).expect("a folder");
        let disk = Self { kind: kind.to_owned(), folder };
        disk.format()?;
        disk.mount()?;
        fs::create_dir(disk.place()).map_err(|error| error.to_string())?;
        Ok(disk)
    }

    fn image(&self) -> String {
        self.folder.path().join("image").to_string_lossy().into_owned()
    }

    fn mountpoint(&self) -> String {
        self.folder.path().join("mnt").to_string_lossy().into_owned()
    }

    /// Where the daemon lives.
    fn place(&self) -> PathBuf {
        self.folder.path().join("mnt/p")
    }

    fn format(&self) -> Result<(), String> {
        // Two hundred lives fill a smaller one; what is not written takes no room.
        fs::File::create(self.image()).and_then(|file| file.set_len(1 << 30)).map_err(|error| error.to_string())?;
        let (tool, force) = if self.kind == "xfs" { ("mkfs.xfs", "-f") } else { ("mkfs.ext4", "-F") };
        run(tool, &["-q", force, &self.image()])
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", &self.image(), &self.mountpoint()])
    }

    fn mount_again(&self) {
        insist(|| run("umount", &[&self.mountpoint()]));
        insist(|| self.mount());
    }

    fn begin_anew(&self) {
        insist(|| run("umount", &[&self.mountpoint()]));
        self.format().and_then(|()| self.mount()).expect("an empty disk");
        fs::create_dir(self.place()).expect("a folder");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.place().exists() && std::time::Instant::now() < deadline {
            let _busy_for_a_moment = run("umount", &[&self.mountpoint()]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
