//! Notices that files changed. Reports of the kernel are only hints: their kinds differ from editor to editor, links
//! appear before the files that they point to, and a folder that is moved away goes silent. So a hint makes us wait
//! until it is quiet and look at everything, and now and then we look without one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::edges::config::{Keeper, ReloadRequest, Reloaded, changes, differ};
use crate::edges::{files, systemd};
use crate::rules::config::Config;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::words::limits;

/// Until `stop`: waits for a reason to look, looks, publishes, answers.
pub(super) async fn run(
    keeper: Keeper,
    publish: watch::Sender<Arc<Config>>,
    mut reload: mpsc::Receiver<ReloadRequest>,
    stop: CancellationToken,
) {
    let (hint, mut hints) = watch::channel(());
    let mut post = Post { eyes: Eyes::new(hint, keeper.reported), keeper };
    // Whatever changed between the load and now was reported to nobody.
    let mut first = Some(Reason::Poll);
    loop {
        let mut asked = Vec::new();
        let reason = match first.take() {
            Some(first) => Some(first),
            None => reason(&mut hints, &mut reload, &mut asked, post.eyes.interval(), &stop).await,
        };
        let Some(mut reason) = reason else { return };
        while let Ok(request) = reload.try_recv() {
            asked.push(request);
        }
        // Whoever asks wants to hear of everything, also when it is time for a look anyway.
        if !asked.is_empty() {
            reason = Reason::Asked;
        }
        hints.borrow_and_update();
        let old = publish.borrow().clone();
        if reason == Reason::Asked {
            systemd::reloading();
        }
        let turn = tokio::task::spawn_blocking(move || {
            let next = post.turn(reason, &old);
            (post, old, next)
        });
        let (back, old, next) = match turn.await {
            Ok(done) => done,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => return,
        };
        post = back;
        let reloaded = match next {
            Next::Same(reloaded) => reloaded,
            Next::New(config, reloaded) => {
                log(&old, &config, &reloaded);
                publish.send_replace(config);
                reloaded
            }
            Next::Refused(problems) => {
                log_problems(&problems);
                Reloaded { hooks: old.hooks.len(), problems, ..Reloaded::default() }
            }
        };
        for what in post.keeper.good.take_mended() {
            tracing::info!("{what} is good again");
        }
        if reason == Reason::Asked {
            systemd::ready();
        }
        for request in asked {
            // Who asked may have left.
            let _ = request.send(reloaded.clone());
        }
    }
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Hint,
    Poll,
    Asked,
}

/// What a look at the files led to.
enum Next {
    Same(Reloaded),
    New(Arc<Config>, Reloaded),
    Refused(Vec<Diagnostic>),
}

/// What goes to the blocking thread and comes back.
struct Post {
    keeper: Keeper,
    eyes: Eyes,
}

impl Post {
    fn turn(&mut self, reason: Reason, old: &Config) -> Next {
        // Before the look, so that nothing falls between the two.
        self.eyes.arm(&self.keeper);
        let trouble = self.keeper.good.trouble();
        self.keeper.keep();
        let kept_as_before = trouble == self.keeper.good.trouble();
        if reason == Reason::Poll && kept_as_before && !self.keeper.differs() {
            return Next::Same(Reloaded::default());
        }
        match self.keeper.load() {
            Err(problems) => Next::Refused(problems),
            Ok(config) => {
                let reloaded = changes(old, &config);
                if differ(old, &config, &reloaded) {
                    Next::New(Arc::new(config), reloaded)
                } else {
                    Next::Same(reloaded)
                }
            }
        }
    }
}

/// Waits for a reason to look; after a hint until the files are quiet. `None` when it is time to stop.
async fn reason(
    hints: &mut watch::Receiver<()>,
    reload: &mut mpsc::Receiver<ReloadRequest>,
    asked: &mut Vec<ReloadRequest>,
    interval: Duration,
    stop: &CancellationToken,
) -> Option<Reason> {
    tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        Some(request) = reload.recv() => {
            asked.push(request);
            return Some(Reason::Asked);
        }
        Ok(()) = hints.changed() => {}
        () = sleep(interval) => return Some(Reason::Poll),
    }
    let at_last = Instant::now() + limits::DEBOUNCE_MAX;
    loop {
        let quiet = (Instant::now() + limits::DEBOUNCE).min(at_last);
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            Some(request) = reload.recv() => {
                asked.push(request);
                return Some(Reason::Asked);
            }
            () = sleep_until(quiet) => return Some(Reason::Hint),
            Ok(()) = hints.changed() => {}
        }
    }
}

/// The kernel's reports, as far as they are to be had.
struct Eyes {
    hint: watch::Sender<()>,
    watcher: Option<RecommendedWatcher>,
    /// Whether reports are wanted at all.
    wanted: bool,
    /// Whether some reports are missing.
    blind: bool,
    /// What stood at each watched path when it was last armed: device and inode.
    armed: BTreeMap<PathBuf, (u64, u64)>,
    interests: Arc<RwLock<Interests>>,
}

/// What matters in the watched folders, which may hold much else: a home folder, the folder that somebody works in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Interests {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Eyes {
    fn new(hint: watch::Sender<()>, wanted: bool) -> Self {
        Self { hint, watcher: None, wanted, blind: !wanted, armed: BTreeMap::new(), interests: Arc::default() }
    }

    fn interval(&self) -> Duration {
        if self.blind { limits::POLL_ALONE } else { limits::POLL }
    }

    /// Watches every folder that matters and the one above it, which tells when it is moved away or comes back. For
    /// one that does not exist, the nearest above it that does.
    fn arm(&mut self, keeper: &Keeper) {
        if !self.wanted {
            return;
        }
        let interests = Interests::of(keeper);
        let mut folders = interests.folders.clone();
        folders.extend(interests.files.iter().filter_map(|file| file.parent().map(Path::to_owned)));
        *self.interests.write().unwrap_or_else(PoisonError::into_inner) = interests;
        let outcome = self.start().and_then(|()| self.follow(&folders));
        self.tell(outcome);
    }

    fn start(&mut self) -> notify::Result<()> {
        if self.watcher.is_none() {
            let (hint, interests) = (self.hint.clone(), self.interests.clone());
            self.watcher = Some(notify::recommended_watcher(move |report: notify::Result<notify::Event>| {
                let interests = interests.read().unwrap_or_else(PoisonError::into_inner);
                if report.map_or(true, |event| interests.touched_by(&event)) {
                    hint.send_replace(());
                }
            })?);
            self.armed.clear();
        }
        Ok(())
    }

    fn follow(&mut self, folders: &[PathBuf]) -> notify::Result<()> {
        // A folder that appears while we look for the nearest one above it would be missed: so again until it is still.
        for _ in 0..limits::LOOKS {
            let wanted = existing(folders);
            let before = self.armed.clone();
            self.watch_exactly(&wanted)?;
            if before == self.armed && existing(folders) == wanted {
                break;
            }
        }
        Ok(())
    }

    fn watch_exactly(&mut self, wanted: &BTreeMap<PathBuf, (u64, u64)>) -> notify::Result<()> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        let stale = self.armed.iter().filter(|&(path, inode)| wanted.get(path) != Some(inode));
        for path in stale.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            // It fails when the folder is gone, which is what is wanted.
            let _ = watcher.unwatch(&path);
            self.armed.remove(&path);
        }
        for (path, &inode) in wanted {
            // Also what is armed already: the watcher forgets a folder when it hears late of its deletion, although
            // there is a new one by now. For a folder that is still watched this changes nothing.
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.armed.insert(path.clone(), inode);
                }
                // Gone again, or closed to us, as the folder above systemd's credentials is: the slow poll remains.
                Err(error) if harmless(&error) => {
                    self.armed.remove(path);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says once when the reports fail, and once when they are back.
    fn tell(&mut self, outcome: notify::Result<()>) {
        let blind = outcome.is_err();
        match outcome {
            Err(error) if !self.blind => tracing::warn!(
                "the system does not report changed files ({}); looking every {} s instead; \
                 help: raise fs.inotify.max_user_instances and fs.inotify.max_user_watches",
                reason_of(&error),
                limits::POLL_ALONE.as_secs()
            ),
            Ok(()) if self.blind => tracing::info!("the system reports changed files again"),
            _ => {}
        }
        self.blind = blind;
    }
}

impl Interests {
    fn of(keeper: &Keeper) -> Self {
        // The watcher reports absolute paths.
        let absolute = |paths: Vec<PathBuf>| {
            paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect::<Vec<_>>()
        };
        Self { folders: absolute(keeper.watched_folders()), files: absolute(keeper.watched_files()) }
    }

    fn touched_by(&self, event: &notify::Event) -> bool {
        // Our own reading is reported as well: heeding it, we would read for ever.
        let only_read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        !only_read && (event.need_rescan() || event.paths.iter().any(|path| self.include(path)))
    }

    fn include(&self, path: &Path) -> bool {
        let above = |target: &PathBuf| target.starts_with(path);
        let inside = |folder: &PathBuf| path.starts_with(folder);
        // Kubernetes swaps a link `..data` beside the links that it updates.
        let swap = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
        let beside = |file: &PathBuf| swap && file.parent() == path.parent();
        self.folders.iter().any(|folder| above(folder) || inside(folder))
            || self.files.iter().any(|file| above(file) || beside(file))
    }
}

/// The folders to watch for these, with what stands there now. No inode twice: the kernel reports for one name only.
fn existing(folders: &[PathBuf]) -> BTreeMap<PathBuf, (u64, u64)> {
    let inode = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|meta| (meta.dev(), meta.ino()));
    let mut found = BTreeMap::new();
    let mut inodes = BTreeSet::new();
    let mut add = |path: &Path| match inode(path) {
        Some(inode) => {
            if inodes.insert(inode) {
                found.insert(path.to_owned(), inode);
            }
            true
        }
        None => false,
    };
    for folder in folders {
        let there = add(folder);
        for above in folder.ancestors().skip(1) {
            if add(above) || there {
                break;
            }
        }
    }
    found
}

fn harmless(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

fn reason_of(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => "too many watches".to_owned(),
        notify::ErrorKind::Io(error) => files::plain(error),
        _ => error.to_string(),
    }
}

fn log(old: &Config, new: &Config, reloaded: &Reloaded) {
    for (names, what) in
        [(&reloaded.added, "hook added"), (&reloaded.changed, "hook changed"), (&reloaded.removed, "hook removed")]
    {
        for hook in names {
            tracing::info!(hook, "{what}");
        }
    }
    if old.settings != new.settings {
        tracing::info!("the main file changed, or a script of its sources");
    }
    let news: Vec<Diagnostic> =
        new.problems.iter().filter(|problem| !old.problems.contains(problem)).cloned().collect();
    log_problems(&news);
}

fn log_problems(problems: &[Diagnostic]) {
    for problem in problems {
        let notes = problem.notes.iter().map(|note| format!("; {note}")).collect::<String>();
        match problem.severity {
            Severity::Warning => tracing::warn!("{}{notes}", problem.one_line()),
            Severity::Error => tracing::error!("{}{notes}", problem.one_line()),
        }
    }
}
