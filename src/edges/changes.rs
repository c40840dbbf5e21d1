//! Waits until somebody changes one of a few files, for a person who works on them. As in `config/watch`, the kernel's
//! reports are only hints: editors write in place, or write beside and rename, or move the old one away first.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::words::limits;

/// Some files as they were when they were last looked at.
#[derive(Debug)]
pub struct Changes {
    files: Vec<(PathBuf, Option<u64>)>,
    hints: watch::Receiver<()>,
    /// Without it the files are looked at now and then.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Changes {
    /// As they are now. A file need not be there yet.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let (hint, hints) = watch::channel(());
        let watcher = notify::recommended_watcher(move |report: notify::Result<notify::Event>| {
            // Our own reading is reported as well.
            let written = AccessKind::Close(AccessMode::Write);
            let only_read = |event: &notify::Event| matches!(event.kind, EventKind::Access(kind) if kind != written);
            if report.map_or(true, |event| !only_read(&event)) {
                hint.send_replace(());
            }
        });
        let mut changes = Self { files: Vec::new(), hints, watcher: watcher.ok(), watched: BTreeSet::new() };
        changes.also(files);
        changes
    }

    /// Others too, as they are now.
    pub fn also(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        for file in files {
            if !self.files.iter().any(|(known, _)| *known == file) {
                let now = stamp(&file);
                self.files.push((file, now));
            }
        }
        self.arm();
    }

    /// Waits until the files are quiet after something changed, and says which are others now.
    pub async fn next(&mut self) -> Vec<PathBuf> {
        loop {
            self.hint().await;
            self.arm();
            let changed = self.look();
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    async fn hint(&mut self) {
        let interval = if self.watcher.is_some() { limits::POLL } else { limits::POLL_ALONE };
        tokio::select! {
            Ok(()) = self.hints.changed() => {}
            () = sleep(interval) => return,
        }
        let at_last = Instant::now() + limits::DEBOUNCE_MAX;
        loop {
            let quiet = (Instant::now() + limits::DEBOUNCE).min(at_last);
            tokio::select! {
                biased;
                () = sleep_until(quiet) => return,
                Ok(()) = self.hints.changed() => {}
            }
        }
    }

    /// Watches the folders, because a file that is renamed over another is not the one that was watched.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut folders = BTreeSet::new();
        for (file, _) in &self.files {
            // Where it stands, and where it is if that is a link.
            for place in [Some(file.clone()), fs::canonicalize(file).ok()].into_iter().flatten() {
                let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
                folders.insert(folder.unwrap_or(Path::new(".")).to_owned());
            }
        }
        // Again also where it is watched already: a folder that was made anew is another one.
        let watched = folders.iter().filter(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok());
        let watched: BTreeSet<PathBuf> = watched.cloned().collect();
        for gone in self.watched.difference(&watched) {
            let _gone = watcher.unwatch(gone);
        }
        if watched.is_empty() {
            self.watcher = None;
        }
        self.watched = watched;
    }

    fn look(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (file, seen) in &mut self.files {
            let now = stamp(file);
            if now != *seen {
                *seen = now;
                changed.push(file.clone());
            }
        }
        changed
    }
}

/// What tells a file from what it was; `None` when it is not there.
fn stamp(file: &Path) -> Option<u64> {
    let meta = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let mut hash = DefaultHasher::new();
    // Saved again without a change is a wish to see it again. A clock may be too coarse to tell two changes apart.
    (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut hash);
    let mut bytes = Vec::new();
    fs::File::open(file).and_then(|file| file.take(limits::EVENT as u64).read_to_end(&mut bytes)).ok()?;
    bytes.hash(&mut hash);
    Some(hash.finish())
}
