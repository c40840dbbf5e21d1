//! The spool: events that were left in a folder while nobody listened. Any program may leave some there, under a hidden
//! name first, renamed when the file is whole.
//!
//! A file goes after the commit of its events, so a death in between reads it again: an event without an id has one that
//! its file and line give it, and is stored once. What cannot be taken goes to `bad/`, with the reason beside it.

use std::collections::BTreeSet;
use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::edges::files::{self, plain};
use crate::edges::intake::{Accept, Answer, Code, native};
use crate::words::event::{Event, Peer};
use crate::words::limits;

const BAD: &str = "bad";
const WHY: &str = ".why";

/// Takes what is in the folder and what comes, until `stop`.
pub async fn serve(folder: PathBuf, accept: Arc<dyn Accept>, stop: CancellationToken) {
    let (hint, mut hints) = watch::channel(());
    let mut eye = Eye { hint, watcher: None };
    loop {
        // Before the look, so that nothing falls between the two.
        eye.open(&folder);
        hints.borrow_and_update();
        let mut next = if eye.watcher.is_some() { limits::POLL } else { limits::POLL_ALONE };
        let looked = Look { folder: &folder, accept: &*accept, stop: &stop }.all().await;
        match looked {
            Ok(None) => {}
            Ok(Some(rest)) => next = rest,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), "the spool cannot be read: {}", plain(&error));
                eye.watcher = None;
                next = limits::POLL;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = hints.changed() => {}
            () = sleep(next) => {}
        }
    }
}

/// The kernel's reports of that folder; the poll remains where there are none.
struct Eye {
    hint: watch::Sender<()>,
    watcher: Option<(RecommendedWatcher, u64)>,
}

impl Eye {
    fn open(&mut self, folder: &Path) {
        let Ok(inode) = fs::metadata(folder).map(|meta| meta.ino()) else { return };
        if self.watcher.as_ref().is_some_and(|(_, watched)| *watched == inode) {
            return;
        }
        let hint = self.hint.clone();
        let watcher = notify::recommended_watcher(move |report: notify::Result<notify::Event>| {
            if report.map_or(true, |event| matters(&event)) {
                hint.send_replace(());
            }
        });
        let armed = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok((watcher, inode))
        });
        self.watcher = armed.ok();
    }
}

/// A file that came, or was written to the end.
fn matters(event: &notify::Event) -> bool {
    let kind = matches!(
        event.kind,
        EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    );
    let visible = |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    event.need_rescan() || (kind && event.paths.iter().any(visible))
}

/// One look at the folder.
struct Look<'a> {
    folder: &'a Path,
    accept: &'a dyn Accept,
    stop: &'a CancellationToken,
}

impl Look<'_> {
    /// Takes every file that is ready; says when to look again if some are not.
    async fn all(&self) -> io::Result<Option<Duration>> {
        let folder = self.folder.to_owned();
        let names = blocking(move || names(&folder)).await?;
        let full = names.len() == limits::SPOOL_NAMES;
        let (mut again, mut gone) = (None, false);
        for name in names {
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            match self.one(name).await {
                Done::Gone => gone = true,
                Done::Settling => again = Some(limits::SPOOL_SETTLE),
                // The queue is full or the journal in trouble, which the next file would meet as well.
                Done::Refused => return Ok(Some(limits::SPOOL_REST)),
                Done::Stuck => {}
            }
        }
        // There are more than one look takes.
        Ok(if full && gone { Some(Duration::ZERO) } else { again })
    }

    async fn one(&self, name: String) -> Done {
        let path = self.folder.join(&name);
        let read = {
            let path = path.clone();
            blocking(move || read(&path)).await
        };
        let file = match read {
            Reading::Gone => return Done::Gone,
            Reading::Settling => return Done::Settling,
            Reading::Later(why) => {
                tracing::warn!(file = %path.display(), "a file of the spool cannot be read for now: {why}");
                return Done::Refused;
            }
            Reading::Never(why) => return self.throw_out(name, None, why).await,
            Reading::Whole(file) => file,
        };
        let now = Timestamp::now();
        let entries = match entries(&name, &file, now) {
            Ok(entries) => entries,
            Err(why) => return self.throw_out(name, Some(file), why).await,
        };
        let mut bad: Vec<(usize, &[u8], String)> = Vec::new();
        let mut good: Vec<(usize, &[u8], Event)> = Vec::new();
        for (number, text, event) in entries {
            match event {
                Ok(event) => good.push((number, text, event)),
                Err(why) => bad.push((number, text, why)),
            }
        }
        let count = good.len();
        while !good.is_empty() {
            let rest = good.split_off(good.len().min(limits::GROUP));
            let group = std::mem::replace(&mut good, rest);
            let (places, events): (Vec<_>, Vec<_>) =
                group.into_iter().map(|(number, text, event)| ((number, text), event)).unzip();
            for ((number, text), answer) in places.into_iter().zip(self.accept.accept(events).await) {
                match answer {
                    Answer::Accepted { .. } => {}
                    Answer::Refused(refusal) if matches!(refusal.code, Code::BadEvent | Code::TooLarge) => {
                        bad.push((number, text, refusal.message));
                    }
                    Answer::Refused(_) => return Done::Refused,
                }
            }
        }
        if bad.is_empty() {
            tracing::debug!(file = %path.display(), events = count, "taken from the spool");
            return blocking(move || remove(&path, &file.meta)).await;
        }
        bad.sort_by_key(|(number, ..)| *number);
        let (mut lines, mut why) = (Vec::new(), String::new());
        // The lines that were good are not kept, so these are counted anew.
        for (place, (number, text, reason)) in (1..).zip(&bad) {
            lines.extend_from_slice(text);
            lines.push(b'\n');
            why.push_str(&match *number {
                0 => format!("{reason}\n"),
                _ => format!("line {place}: {reason}\n"),
            });
        }
        let meta = file.meta;
        self.throw_out(name, Some(Whole { bytes: lines, meta }), why).await
    }

    /// Moves a file out of the way, or what is left of it, with the reason beside it.
    async fn throw_out(&self, name: String, left: Option<Whole>, why: String) -> Done {
        let path = self.folder.join(&name);
        let first = why.lines().next().unwrap_or_default().to_owned();
        let folder = self.folder.to_owned();
        let moved = blocking(move || set_aside(&folder, &name, left, &why)).await;
        match moved {
            Ok(false) => Done::Settling,
            Ok(true) => {
                tracing::warn!(file = %path.display(), "a file of the spool is not an event, it is in {BAD}/ now: {first}");
                Done::Gone
            }
            Err(error) => {
                let error = plain(&error);
                tracing::warn!(file = %path.display(), "a file of the spool is not an event ({first}) and stays: {error}");
                Done::Stuck
            }
        }
    }
}

/// What became of a file.
enum Done {
    /// It is not there any more, or is none of ours.
    Gone,
    /// Somebody may still be writing it.
    Settling,
    /// Nothing can be taken right now.
    Refused,
    /// It cannot be removed. That is said at every look.
    Stuck,
}

/// What reading a file led to.
enum Reading {
    Whole(Whole),
    Gone,
    Settling,
    Later(String),
    Never(String),
}

/// A file that was read.
struct Whole {
    bytes: Vec<u8>,
    meta: Metadata,
}

/// The first visible names, in their order.
fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is not UTF-8 is looked at under another one, which is not there.
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || entry.file_type()?.is_dir() {
            continue;
        }
        names.insert(name);
        if names.len() > limits::SPOOL_NAMES {
            names.pop_last();
        }
    }
    Ok(names)
}

fn read(path: &Path) -> Reading {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound => return Reading::Gone,
        Err(error) => return Reading::Later(plain(&error)),
    };
    if !meta.is_file() {
        return Reading::Never("it is a link, a pipe or a device, and not a file".to_owned());
    }
    if !is_quiet(&meta) {
        return Reading::Settling;
    }
    if meta.nlink() > 1 {
        // Whose event it is would be whoever owned the other name.
        return Reading::Never("it has another name elsewhere (a hard link)".to_owned());
    }
    if meta.len() > limits::SPOOL_FILE as u64 {
        return Reading::Never(format!("it is larger than {} MiB", limits::SPOOL_FILE / 1024 / 1024));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let whole = file.and_then(|file| {
        let meta = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(limits::SPOOL_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Whole { bytes, meta })
    });
    match whole {
        // Another file by now, or it grows.
        Ok(whole) if !same(&whole.meta, &meta) || whole.bytes.len() as u64 != meta.len() => Reading::Settling,
        Ok(whole) => Reading::Whole(whole),
        Err(error) if error.kind() == ErrorKind::NotFound => Reading::Gone,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let facts = format!("mode {:04o}, owner {}, group {}", meta.mode() & 0o7777, meta.uid(), meta.gid());
            Reading::Never(format!("the daemon may not read it ({facts}): make it readable for the daemon's group"))
        }
        Err(error) => Reading::Later(plain(&error)),
    }
}

/// Whether nobody has written for a while. A time to come is that of a clock that was set.
fn is_quiet(meta: &Metadata) -> bool {
    let Ok(written) = meta.modified() else { return true };
    match SystemTime::now().duration_since(written) {
        Ok(age) => age >= limits::SPOOL_SETTLE,
        Err(ahead) => ahead.duration() >= limits::SPOOL_SETTLE,
    }
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    let of = |meta: &Metadata| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    of(one) == of(other)
}

/// An event of a file: its line (0: it is the whole file), its text, and what it says or why it is none.
type Entry<'a> = (usize, &'a [u8], Result<Event, String>);

fn entries<'a>(name: &str, file: &'a Whole, now: Timestamp) -> Result<Vec<Entry<'a>>, String> {
    let peer = Some(Peer { uid: file.meta.uid(), gid: file.meta.gid(), pid: None });
    let event = |number: usize, text: &'a [u8]| {
        let event = native::parse(text, now, peer).map_err(|refusal| refusal.message).map(|mut event| {
            if native::member(text, "id").is_none() {
                event.id = id_of(name, &file.meta, number);
            }
            event
        });
        (number, text, event)
    };
    let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    let filled =
        || (1..).zip(file.bytes.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.trim_ascii().is_empty());
    let first = filled().next();
    match first {
        None => Err("it is empty".to_owned()),
        // Over several lines or on one, it is one event, or would be.
        Some((_, line)) if is_json(&file.bytes) || !is_json(line) => Ok(vec![event(0, &file.bytes)]),
        Some(_) if filled().count() > limits::SPOOL_EVENTS => {
            Err(format!("it has more than {} lines", limits::SPOOL_EVENTS))
        }
        Some(_) => Ok(filled().map(|(number, line)| event(number, line)).collect()),
    }
}

/// The id of an event that has none: the same whenever this file is read, and another one for another file, also of the
/// same name.
fn id_of(name: &str, meta: &Metadata, line: usize) -> String {
    let born = meta.created().or_else(|_| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let born = born.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut digest = Sha256::new();
    digest.update(format!("{} {} {born} {line} {name}", meta.dev(), meta.ino()));
    let digest = digest.finalize();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("spool-{hex}")
}

fn remove(path: &Path, read: &Metadata) -> Done {
    match fs::symlink_metadata(path) {
        // It has grown meanwhile: its lines keep their ids, and what is new is taken the next time.
        Ok(now) if !same(&now, read) => return Done::Settling,
        Err(error) if error.kind() == ErrorKind::NotFound => return Done::Gone,
        _ => {}
    }
    match fs::remove_file(path) {
        Ok(()) => Done::Gone,
        Err(error) if error.kind() == ErrorKind::NotFound => Done::Gone,
        Err(error) => {
            let error = plain(&error);
            tracing::warn!(
                file = %path.display(),
                "a file of the spool was taken and cannot be removed, its folder must belong to the daemon: {error}"
            );
            Done::Stuck
        }
    }
}

/// Puts what is left of a file, or the file itself, into `bad/` with the reason beside it; `false`: not yet.
fn set_aside(folder: &Path, name: &str, left: Option<Whole>, why: &str) -> io::Result<bool> {
    let (path, bad) = (folder.join(name), folder.join(BAD));
    if !bad.is_dir() {
        fs::create_dir(&bad)?;
        fs::set_permissions(&bad, Permissions::from_mode(0o700))?;
    }
    if let Some(left) = &left
        && !fs::symlink_metadata(&path).is_ok_and(|now| same(&now, &left.meta))
    {
        return Ok(false); // It changed meanwhile, and is read again.
    }
    let place = free_place(&bad, name, left.as_ref());
    files::put(&bad.join(format!("{place}{WHY}")), why.as_bytes())?;
    match left {
        Some(left) => {
            files::put(&bad.join(&place), &left.bytes)?;
            fs::remove_file(path)?;
        }
        None => fs::rename(path, bad.join(place))?,
    }
    Ok(true)
}

/// A name in `bad/` that is free, or that holds the same since a death before the file was removed.
fn free_place(bad: &Path, name: &str, left: Option<&Whole>) -> String {
    let candidates = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}.{number}")));
    let free = |place: &String| {
        let path = bad.join(place);
        let holds_it = || left.is_some_and(|left| fs::read(&path).is_ok_and(|there| there == left.bytes));
        fs::symlink_metadata(&path).is_err() || holds_it()
    };
    candidates.into_iter().find(free).unwrap_or_else(|| name.to_owned())
}

/// A file that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where it is now.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// The files that could not be taken: the first ones, and how many there are.
pub fn bad(folder: &Path) -> (Vec<Bad>, usize) {
    let bad = folder.join(BAD);
    let Ok(names) = names(&bad) else { return (Vec::new(), 0) };
    let files: Vec<&String> = names.iter().filter(|name| !name.ends_with(WHY)).collect();
    let told = files.iter().take(limits::SPOOL_TOLD).map(|name| {
        let mut why = String::new();
        if let Ok(file) = fs::File::open(bad.join(format!("{name}{WHY}"))) {
            let _what_can_be_read = file.take(limits::SPOOL_WHY as u64).read_to_string(&mut why);
        }
        let why = why.lines().next().unwrap_or("nobody says what is wrong with it").to_owned();
        Bad { file: bad.join(name).display().to_string(), why }
    });
    (told.collect(), files.len())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
