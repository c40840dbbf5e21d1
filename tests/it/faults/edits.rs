//! Files are edited all the time while events come in: nothing is lost, no delivery is made from half a file, and a good
//! edit counts within seconds. `POSTRIDER_EDITS=1000` and `POSTRIDER_FILES=10000` are the long forms. (How single files
//! and folders are followed is told in `config_folders`.)

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postrider::edges::sink::SinkHandle;
use serde_json::json;

use super::{Over, not_shown, percentile, rounds, run};
use crate::process::{Process, await_that, binary};
use crate::support::{bodies, receiver, write_hook};

/// Files that are edited; the last one is a link into a folder that is swapped whole, as Kubernetes does.
const FILES: usize = 6;
const WAYS: usize = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_edits_under_load_lose_nothing_and_send_no_half_file() {
    let edits = rounds("POSTRIDER_EDITS", 14);
    let (sink, steady) = (receiver().await, receiver().await);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().to_owned();
    let seed =
        std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let mut story = Edits { place: place.clone(), sink, versions: [0; FILES], chance: fastrand::Rng::with_seed(seed) };
    write_hook(
        &place,
        "steady",
        &format!("events: [steady]\nplatform: webhook\noptions: {{url: \"{}\"}}\n", steady.url("")),
    );
    for file in 0..FILES {
        story.write(file, &story.text(file, 0), if file == FILES - 1 { 6 } else { 0 });
    }
    let mut daemon = Process::start(&place);
    daemon.await_ready();
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (took, broken) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                daemon.emit(&json!({"type": "steady", "data": {}})).expect("an answer");
                sent.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Also when an edit fails the test.
        let _over = Over(&over);
        story.edit(&daemon, edits)
    });
    await_that("everything is delivered", || daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0));
    let status = daemon.get("/v1/status").expect("an answer");
    assert_eq!(status["dead"], 0, "deliveries were given up: {status}");
    let sent = sent.into_inner();
    assert_eq!(steady.count(), sent as u64, "the steady hook got what it is owed, once");
    let p99 = percentile(&took, 99);
    println!(
        "{edits} edits ({broken} of them broken) beside {sent} events: 0 lost, 0 wrong; a good one counts after {:?} (p50), {p99:?} (p99), {:?} at most; seed {seed}",
        percentile(&took, 50),
        took.last().expect("a good edit")
    );
    assert!(broken > 0 && broken < edits);
    // A busy machine that runs other tests takes its time to prove a hook.
    assert!(p99 < Duration::from_secs(if edits < 100 { 10 } else { 2 }), "{p99:?}");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

struct Edits {
    place: PathBuf,
    sink: SinkHandle,
    /// What each file said when it was last good.
    versions: [usize; FILES],
    chance: fastrand::Rng,
}

impl Edits {
    fn text(&self, file: usize, version: usize) -> String {
        format!(
            "events: [edited-{file}]\nplatform: webhook\noptions:\n  url: {}\n  text: \"file {file} version {version} {}\"\n",
            self.sink.url(""),
            "whole ".repeat(20).trim_end()
        )
    }

    /// Returns how long each good edit took to count, in order, and how many were broken.
    fn edit(&mut self, daemon: &Process, edits: usize) -> (Vec<Duration>, usize) {
        let (mut took, mut broken) = (Vec::new(), 0);
        for edit in 1..=edits {
            let file = self.chance.usize(..FILES);
            let way = if file == FILES - 1 { 6 } else { self.chance.usize(..WAYS - 1) };
            let is_broken = edit % 4 == 3;
            let whole = self.text(file, edit);
            let text = if is_broken { whole.replace("platform", "plat form") } else { whole };
            if !is_broken {
                self.versions[file] = edit;
            }
            broken += usize::from(is_broken);
            self.write(file, &text, way);
            let begun = Instant::now();
            // A broken one is told of, and the last good one goes on.
            if is_broken {
                let name = format!("edited-{file}.yaml");
                await_that("the broken file is told of", || {
                    daemon.get("/v1/status").is_some_and(|status| status["problems"].to_string().contains(&name))
                });
            }
            self.until_it_counts(daemon, file, way);
            if !is_broken {
                took.push(begun.elapsed());
            }
        }
        took.sort();
        (took, broken)
    }

    /// Sends events until one is delivered as the file says; each must be as some whole version said.
    fn until_it_counts(&self, daemon: &Process, file: usize, way: usize) {
        let wanted = format!("file {file} version {} ", self.versions[file]);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let before = self.sink.count();
            let answer = daemon.emit(&json!({"type": format!("edited-{file}"), "data": {}})).expect("an answer");
            if answer["hooks"] == json!([]) {
                // For a moment the file was empty or away, and on a busy machine a moment may be long enough to count.
                assert!([2, 4].contains(&way), "the hook is gone after an edit of way {way}: {}", daemon.log());
                assert!(Instant::now() < deadline, "the hook is gone: {}", daemon.log());
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            await_that("it arrives", || self.sink.count() > before);
            let all = bodies(&self.sink);
            let body = all.last().expect("a body");
            assert!(body.starts_with(&format!("file {file} ")) && body.matches("whole").count() == 20, "{body}");
            if body.starts_with(&wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "the edit never counts: {body} instead of {wanted}: {}", daemon.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One edit in one of the ways that tools edit.
    fn write(&self, file: usize, text: &str, way: usize) {
        let hooks = self.place.join("hooks.d");
        let (path, beside) = (hooks.join(format!("edited-{file}.yaml")), hooks.join(format!(".edited-{file}.swp")));
        let put = |path: &Path| fs::write(path, text).expect("a file");
        match way {
            0 => put(&path),
            1 => {
                put(&beside);
                fs::rename(&beside, &path).expect("a file");
            }
            2 => {
                // As vim does with `backup`.
                fs::rename(&path, hooks.join(format!("edited-{file}.yaml~"))).expect("a file");
                put(&path);
            }
            3 => {
                // Half of it, for longer than anything waits: the quote that is still open says so.
                let (one, two) = text.split_at(text.len() / 2);
                fs::write(&path, one).expect("a file");
                std::thread::sleep(Duration::from_millis(400));
                let mut open = fs::OpenOptions::new().append(true).open(&path).expect("a file");
                open.write_all(two.as_bytes()).expect("a file");
            }
            4 => {
                fs::File::create(&path).expect("an empty file");
                std::thread::sleep(Duration::from_millis(20));
                put(&path);
            }
            5 => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a mode");
                std::thread::sleep(Duration::from_millis(300));
                put(&path);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
            }
            _ => self.swap(&path, text),
        }
    }

    /// `edited-5.yaml -> ..data/edited-5.yaml`, `..data -> ..N`, and `..data` is replaced by a rename.
    fn swap(&self, path: &Path, text: &str) {
        let hooks = self.place.join("hooks.d");
        let name = path.file_name().expect("a name");
        let version = format!("..{}", fastrand::u64(..));
        fs::create_dir(hooks.join(&version)).expect("a folder");
        fs::write(hooks.join(&version).join(name), text).expect("a file");
        let before = fs::read_link(hooks.join("..data")).ok();
        symlink(&version, hooks.join("..data_tmp")).expect("a link");
        fs::rename(hooks.join("..data_tmp"), hooks.join("..data")).expect("a link");
        match before {
            Some(before) => fs::remove_dir_all(hooks.join(before)).expect("a folder"),
            None => symlink(Path::new("..data").join(name), path).expect("a link"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_files_start_soon_and_one_of_them_is_edited_at_once() {
    let files = rounds("POSTRIDER_FILES", 400);
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = |version: &str| {
        format!("events: [edited]\nplatform: webhook\noptions: {{url: \"{}\", text: {version}}}\n", sink.url(""))
    };
    for number in 0..files {
        let text = format!("events: [e{number}]\nplatform: webhook\noptions: {{url: \"http://h{number}.example/\"}}\n");
        write_hook(folder.path(), &format!("h{number}"), &text);
    }
    write_hook(folder.path(), "edited", &text("v0"));
    let mut daemon = Process::start(folder.path());
    let first = daemon.await_ready();
    assert!(daemon.stop().success(), "{}", daemon.log());
    let mut daemon = Process::start(folder.path());
    let second = daemon.await_ready();
    let started = daemon.processor_time();
    let mut took = Vec::new();
    for version in 1..=5 {
        write_hook(folder.path(), "edited", &text(&format!("v{version}")));
        let begun = Instant::now();
        await_that("the edit counts", || {
            let before = sink.count();
            daemon.emit(&json!({"type": "edited", "data": {}})).expect("an answer");
            await_that("it arrives", || sink.count() > before);
            bodies(&sink).last().is_some_and(|body| *body == format!("v{version}"))
        });
        took.push(begun.elapsed());
    }
    took.sort();
    let edited = (daemon.processor_time() - started) / 5;
    println!(
        "{files} files: ready after {first:?} at first, {second:?} ({started:?} of a core) when they are known; an edit counts \
         after {:?} ({edited:?} of a core)",
        took[2]
    );
    // What it takes of the machine: how long that lasts depends on who else wants it.
    assert!(started < Duration::from_secs(5), "{started:?}");
    assert!(edited < Duration::from_secs(1), "{edited:?}");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_watch_of_the_kernel_an_edit_counts_all_the_same() {
    let exhausted = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    if let Err(why) = run("unshare", &["-Ur", "sh", "-c", exhausted, "true"]) {
        return not_shown("a kernel without inotify", &why);
    }
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    let text = |version: &str| {
        format!("events: [a]\nplatform: webhook\noptions: {{url: \"{}\", text: {version}}}\n", sink.url(""))
    };
    write_hook(folder.path(), "edited", &text("v1"));
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", exhausted]).arg(binary());
    let mut daemon = Process::start_by(folder.path(), command);
    daemon.await_ready();
    write_hook(folder.path(), "edited", &text("v2"));
    let begun = Instant::now();
    await_that("the edit counts", || {
        let before = sink.count();
        daemon.emit(&json!({"type": "a", "data": {}})).expect("an answer");
        await_that("it arrives", || sink.count() > before);
        bodies(&sink).last().is_some_and(|body| body == "v2")
    });
    println!("without inotify an edit counts after {:?}", begun.elapsed());
    assert!(daemon.log().contains("inotify") || daemon.log().contains("watch"), "nobody is told: {}", daemon.log());
    assert!(daemon.stop().success(), "{}", daemon.log());
}
