//! The last good version of each file: a file that breaks goes on as it was, also across restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::edges::config::folders::File;
use crate::edges::files;
use crate::rules::diagnostic::{Diagnostic, Severity, Source};
use crate::words::limits;

/// What kind of file it is. Each file is its own transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Main,
    Script,
    Hook,
    SourceScript,
}

/// A text that was good, and since when.
#[derive(Clone, Debug)]
struct Good {
    text: Arc<str>,
    since: Timestamp,
}

type Key = (Kind, String);

/// The last good version of each file.
#[derive(Debug)]
pub(super) struct LastGood {
    /// Where they are kept; nowhere when nothing is to be remembered.
    folder: Option<PathBuf>,
    known: BTreeMap<Key, Good>,
    /// What the folder does not know yet: newly good, or forgotten.
    unsaved: BTreeSet<Key>,
    broken: BTreeSet<Key>,
    mended: Vec<String>,
    trouble: Option<Diagnostic>,
}

impl LastGood {
    /// Reads what an earlier run left in the folder.
    pub(super) fn open(folder: Option<PathBuf>) -> Self {
        let mut good = Self {
            folder,
            known: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            broken: BTreeSet::new(),
            mended: Vec::new(),
            trouble: None,
        };
        if let Some(folder) = good.folder.clone()
            && let Err(error) = good.read(&folder)
        {
            good.trouble = Some(not_kept(&folder, &error));
        }
        good
    }

    /// Takes the file as it is when it is good, else its last good version. What is wrong is said either way, together
    /// with what runs instead.
    pub(super) fn transact<T>(
        &mut self,
        kind: Kind,
        name: &str,
        file: &File,
        parse: impl Fn(&Source) -> (Option<T>, Vec<Diagnostic>),
    ) -> (Option<T>, Vec<Diagnostic>) {
        let key = (kind, name.to_owned());
        let mut errors = match &file.text {
            Err(problem) => vec![problem.clone()],
            Ok(text) => match parse(&Source::new(file.shown.clone(), text.clone())) {
                (Some(parsed), warnings) => {
                    self.keep(key, text);
                    return (Some(parsed), warnings);
                }
                (None, errors) => errors,
            },
        };
        let (parsed, instead) = match self.known.get(&key) {
            None => (None, "no earlier version of it was good".to_owned()),
            Some(good) => {
                let since = good.since.strftime("%Y-%m-%d %H:%M:%S UTC");
                match parse(&Source::new(file.shown.clone(), good.text.clone())).0 {
                    Some(parsed) => (Some(parsed), format!("its last good version, of {since}, goes on")),
                    None => (None, format!("its last good version, of {since}, is refused as well")),
                }
            }
        };
        self.broken.insert(key);
        if let Some(error) = errors.iter_mut().find(|error| error.severity == Severity::Error) {
            error.notes.push(instead);
        }
        (parsed, errors)
    }

    /// The last good version of a file of which nothing can be said now.
    pub(super) fn recall<T>(
        &self,
        kind: Kind,
        name: &str,
        shown: &Path,
        parse: impl Fn(&Source) -> (Option<T>, Vec<Diagnostic>),
    ) -> (Option<T>, Vec<Diagnostic>) {
        match self.known.get(&(kind, name.to_owned())) {
            Some(good) => parse(&Source::new(shown.display().to_string(), good.text.clone())),
            None => (None, Vec::new()),
        }
    }

    /// Where they are kept.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.folder.clone()
    }

    /// The last good text of a file.
    pub(super) fn text(&self, kind: Kind, name: &str) -> Option<&str> {
        self.known.get(&(kind, name.to_owned())).map(|good| &*good.text)
    }

    /// The names of one kind that are remembered.
    pub(super) fn names(&self, kind: Kind) -> Vec<String> {
        self.known.keys().filter(|key| key.0 == kind).map(|key| key.1.clone()).collect()
    }

    /// A file that was deleted or masked on purpose must not come back from here.
    pub(super) fn forget_others(&mut self, kind: Kind, present: impl Fn(&str) -> bool) {
        for name in self.names(kind).into_iter().filter(|name| !present(name)) {
            let key = (kind, name);
            self.known.remove(&key);
            self.unsaved.insert(key);
        }
        self.broken.retain(|key| key.0 != kind || present(&key.1));
    }

    /// Whether so much is not written yet that it takes a while.
    pub(super) fn has_many_unsaved(&self) -> bool {
        self.unsaved.len() > limits::SYNC_EACH
    }

    /// What is wrong with the folder. It is a problem until it is over, and hinders nothing.
    pub(super) fn trouble(&self) -> Option<Diagnostic> {
        self.trouble.clone()
    }

    /// Writes what the folder does not know yet.
    pub(super) fn save(&mut self) -> Option<Diagnostic> {
        if let Some(folder) = self.folder.clone()
            && !self.unsaved.is_empty()
        {
            self.trouble = self.write(&folder).err().map(|error| not_kept(&folder, &error));
            if self.trouble.is_none() {
                self.unsaved.clear();
            }
        }
        self.trouble.clone()
    }

    /// The files that were broken and are good again since this was last asked.
    pub(super) fn take_mended(&mut self) -> Vec<String> {
        std::mem::take(&mut self.mended)
    }

    fn keep(&mut self, key: Key, text: &Arc<str>) {
        if self.broken.remove(&key) {
            self.mended.push(match key.0 {
                Kind::Main => "the main file".to_owned(),
                Kind::Script => format!("the platform {}", key.1),
                Kind::Hook => format!("the hook {}", key.1),
                Kind::SourceScript => format!("the script {} of sources", key.1),
            });
        }
        if self.known.get(&key).is_none_or(|good| good.text != *text) {
            self.known.insert(key.clone(), Good { text: text.clone(), since: Timestamp::now() });
            self.unsaved.insert(key);
        } else if let Some(good) = self.known.get_mut(&key) {
            // The same text, held once.
            good.text = text.clone();
        }
    }

    fn read(&mut self, folder: &Path) -> io::Result<()> {
        for (kind, below, extension) in PLACES {
            let entries = match fs::read_dir(folder.join(below)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let file_name = entry.file_name();
                let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(extension)) else { continue };
                // Ours, so whatever cannot be read here is as good as absent.
                if let Ok(found) = files::read_text(&entry.path(), limits::HOOK_FILE.max(limits::SCRIPT_FILE)) {
                    let since = entry.metadata()?.modified()?.try_into().unwrap_or(Timestamp::UNIX_EPOCH);
                    self.known.insert((kind, name.to_owned()), Good { text: found.text.into(), since });
                }
            }
        }
        Ok(())
    }

    /// All or none of it counts: a text is written beside its place, synced, and renamed.
    fn write(&self, folder: &Path) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        let mut staged = Vec::new();
        for key in &self.unsaved {
            let place = place(folder, key);
            let Some(good) = self.known.get(key) else {
                match fs::remove_file(&place) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => continue,
                }
            };
            let parent = place.parent().unwrap_or(folder).to_owned();
            if folders.insert(parent.clone()) {
                // Hook files may hold addresses that are secrets.
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&parent)?;
            }
            let number = staged.len();
            let beside = parent.join(format!(".new-{number}"));
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(good.text.as_bytes())?;
            if self.unsaved.len() <= limits::SYNC_EACH {
                file.sync_all()?;
            }
            staged.push((beside, place));
        }
        if self.unsaved.len() > limits::SYNC_EACH && !staged.is_empty() {
            rustix::fs::syncfs(fs::File::open(folder)?)?;
        }
        for (beside, place) in staged {
            fs::rename(beside, place)?;
        }
        for parent in folders {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

/// Where each kind is kept, and what follows the name. With something behind it, no name can be "..".
const PLACES: [(Kind, &str, &str); 4] = [
    (Kind::Main, "", ".yaml"),
    (Kind::Script, "scripts", ".rhai"),
    (Kind::Hook, "hooks", ".yaml"),
    (Kind::SourceScript, "sources", ".rhai"),
];

fn place(folder: &Path, key: &Key) -> PathBuf {
    let (_, below, extension) = PLACES[key.0 as usize];
    folder.join(below).join(format!("{}{extension}", key.1))
}

fn not_kept(folder: &Path, error: &io::Error) -> Diagnostic {
    let what = format!("last good versions cannot be kept in {}: {}", folder.display(), files::plain(error));
    Diagnostic::error("last-good", what)
        .note("a file that is broken at the next start will have no earlier version")
        .help(format!("make it writable: ls -ld {}", files::quoted(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Good is what does not start with "bad".
    fn parse(source: &Source) -> (Option<String>, Vec<Diagnostic>) {
        if source.text.starts_with("bad") {
            (None, vec![Diagnostic::warning("w", "careful"), Diagnostic::error("e", "it is bad")])
        } else {
            (Some(source.text.to_string()), Vec::new())
        }
    }

    fn file(text: &str) -> File {
        File { shown: "a.yaml".into(), text: Ok(text.into()) }
    }

    fn take(good: &mut LastGood, text: &str) -> (Option<String>, Vec<String>) {
        let (parsed, problems) = good.transact(Kind::Hook, "a", &file(text), parse);
        (parsed, problems.into_iter().flat_map(|problem| problem.notes).collect())
    }

    #[test]
    fn a_broken_file_goes_on_as_it_was() {
        let mut good = LastGood::open(None);
        assert_eq!(take(&mut good, "bad"), (None, vec!["no earlier version of it was good".to_owned()]));
        assert_eq!(take(&mut good, "one"), (Some("one".into()), vec![]));
        assert_eq!(good.take_mended(), ["the hook a"]);
        let (parsed, notes) = take(&mut good, "bad 2");
        assert_eq!(parsed.as_deref(), Some("one"));
        assert!(
            notes[0].starts_with("its last good version, of 20") && notes[0].ends_with(" UTC, goes on"),
            "{notes:?}"
        );
        assert_eq!(take(&mut good, "two"), (Some("two".into()), vec![]));
        assert_eq!(take(&mut good, "bad 3").0.as_deref(), Some("two"));
        let unreadable = File { shown: "a.yaml".into(), text: Err(Diagnostic::error("unreadable", "no")) };
        assert_eq!(good.transact(Kind::Hook, "a", &unreadable, parse).0.as_deref(), Some("two"));
    }

    #[test]
    fn it_survives_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("last-good");
        let mut good = LastGood::open(Some(folder.clone()));
        for (kind, name) in [
            (Kind::Main, "postrider"),
            (Kind::Script, "a"),
            (Kind::Hook, "a"),
            (Kind::Hook, ".."),
            (Kind::SourceScript, "a"),
        ] {
            good.transact(kind, name, &file(&format!("{kind:?} {name}")), parse);
        }
        assert_eq!(good.save(), None);
        assert_eq!(fs::read_to_string(folder.join("hooks/a.yaml")).unwrap(), "Hook a");
        assert_eq!(fs::read_to_string(folder.join("scripts/a.rhai")).unwrap(), "Script a");
        assert_eq!(fs::read_to_string(folder.join("sources/a.rhai")).unwrap(), "SourceScript a");
        assert_eq!(fs::read_to_string(folder.join("postrider.yaml")).unwrap(), "Main postrider");
        let since = good.known[&(Kind::Hook, "a".to_owned())].since;

        let mut again = LastGood::open(Some(folder.clone()));
        let (parsed, _) = again.transact(Kind::Hook, "a", &file("bad"), parse);
        assert_eq!(parsed.as_deref(), Some("Hook a"));
        assert_eq!(again.transact(Kind::Hook, "..", &file("bad"), parse).0.as_deref(), Some("Hook .."));
        let kept = again.known[&(Kind::Hook, "a".to_owned())].since;
        assert!((kept - since).get_seconds().abs() < 5, "{kept} {since}");

        again.forget_others(Kind::Hook, |name| name != "a");
        assert_eq!(again.save(), None);
        let names =
            |below| fs::read_dir(folder.join(below)).unwrap().map(|it| it.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names("hooks"), ["...yaml"]);
        assert_eq!(names("scripts"), ["a.rhai"]);
    }

    #[test]
    fn a_newer_program_may_refuse_the_last_good_version_as_well() {
        let state = tempfile::tempdir().unwrap();
        let mut good = LastGood::open(Some(state.path().to_owned()));
        good.transact(Kind::Hook, "a", &file("one"), parse);
        assert_eq!(good.save(), None);
        let mut again = LastGood::open(Some(state.path().to_owned()));
        let strict = |_: &Source| (None::<()>, vec![Diagnostic::error("e", "refused")]);
        let (parsed, problems) = again.transact(Kind::Hook, "a", &file("two"), strict);
        assert!(parsed.is_none());
        assert!(problems[0].notes[0].ends_with("is refused as well"), "{problems:?}");
    }

    #[test]
    fn many_files_are_kept_as_well_as_few() {
        let state = tempfile::tempdir().unwrap();
        let mut good = LastGood::open(Some(state.path().to_owned()));
        let count = limits::SYNC_EACH + 1;
        for number in 0..count {
            good.transact(Kind::Hook, &number.to_string(), &file(&format!("text {number}")), parse);
        }
        assert_eq!(good.save(), None);
        let again = LastGood::open(Some(state.path().to_owned()));
        assert_eq!(again.names(Kind::Hook).len(), count);
        assert_eq!(&*again.known[&(Kind::Hook, "7".to_owned())].text, "text 7");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_problem_until_it_can() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("last-good");
        fs::write(&folder, "a file stands here").unwrap();
        let mut good = LastGood::open(Some(folder.clone()));
        assert_eq!(take(&mut good, "one").0.as_deref(), Some("one"));
        let problem = good.save().expect("a problem");
        assert!(problem.what.starts_with("last good versions cannot be kept in /"), "{}", problem.what);
        assert_eq!(take(&mut good, "bad").0.as_deref(), Some("one"), "memory does not need the folder");
        fs::remove_file(&folder).unwrap();
        assert_eq!(good.save(), None);
        assert_eq!(fs::read_to_string(folder.join("hooks/a.yaml")).unwrap(), "one");
    }
}
