//! Which files count, and what stands in them: folders in, texts out. Nothing is parsed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::edges::config::paths::Paths;
use crate::edges::config::stamp;
use crate::edges::files::{self, Unreadable};
use crate::rules::config::Ignored;
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::hook::name_of;
use crate::words::limits;

/// Everything that was found in the folders at one moment.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The main file, if there is one.
    pub(super) main: Option<File>,
    /// By the hook's name.
    pub(super) hooks: BTreeMap<String, File>,
    /// Scripts of platforms.
    pub(super) platforms: Scripts,
    /// Scripts of sources.
    pub(super) sources: Scripts,
    pub(super) ignored: Vec<Ignored>,
    pub(super) problems: Vec<Diagnostic>,
    /// hooks.d folders that are there and cannot be listed: nothing can be said about what is *not* in them.
    pub(super) closed_hooks: Option<PathBuf>,
    /// Hooks that are switched off by a mask.
    pub(super) masked: BTreeSet<String>,
    /// The state of the folders before they were read.
    pub(super) stamp: u64,
}

/// The scripts of one kind.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// By name.
    pub(super) files: BTreeMap<String, File>,
    /// A folder of theirs that is there and cannot be listed.
    pub(super) closed: Option<PathBuf>,
}

/// One file that counts.
#[derive(Debug)]
pub(super) struct File {
    /// The path as the user knows it.
    pub(super) shown: Arc<str>,
    /// Its text, or why it cannot be had.
    pub(super) text: Result<Arc<str>, Diagnostic>,
}

impl File {
    /// The file, if it can be had.
    pub(super) fn source(&self) -> Option<Source> {
        Some(Source::new(self.shown.clone(), self.text.as_ref().ok()?.clone()))
    }
}

/// Lists and reads everything. A folder that changes meanwhile is read again, a few times: an editor that moves a file
/// out of the way before it writes the new one must not look like a deleted hook. A hook file that is as it is `known` is
/// not kept a second time.
pub(super) fn look<'k>(paths: &Paths, known: &impl Fn(&str) -> Option<&'k Source>) -> Seen {
    let mut seen = look_once(paths, known);
    for _ in 1..limits::LOOKS {
        if stamp::of_folders(paths) == seen.stamp {
            break;
        }
        std::thread::sleep(limits::DEBOUNCE / 4);
        seen = look_once(paths, known);
    }
    seen
}

/// The folder of platforms below each folder of scripts.
pub(super) const PLATFORMS: &str = "platforms";
/// The folder of sources.
pub(super) const SOURCES: &str = "sources";

/// How the name of a file ends that holds the cases of a script, in place of `.rhai`.
const CASES: &str = ".cases.yaml";

/// Where scripts of one kind stand, from the lowest precedence to the highest.
pub(super) fn script_folders(paths: &Paths, kind: &'static str) -> impl Iterator<Item = PathBuf> {
    paths.scripts.iter().map(move |folder| folder.join(kind))
}

/// The hook's name; a file name that gives none stands for itself, and is refused when it is parsed.
fn hook_name(file_name: &str) -> &str {
    name_of(file_name).unwrap_or(file_name)
}

fn look_once<'k>(paths: &Paths, known: &impl Fn(&str) -> Option<&'k Source>) -> Seen {
    let mut seen = Seen { stamp: stamp::of_folders(paths), ..Seen::default() };
    seen.main = read(&paths.main, limits::HOOK_FILE, None, &mut seen.problems);
    look_at_hooks(paths, known, &mut seen);
    seen.platforms = look_at_scripts(paths, PLATFORMS, &mut seen);
    seen.sources = look_at_scripts(paths, SOURCES, &mut seen);
    seen
}

fn look_at_hooks<'k>(paths: &Paths, known: &impl Fn(&str) -> Option<&'k Source>, seen: &mut Seen) {
    let chosen = choose(&paths.hooks, &["yaml", "yml"]);
    seen.ignored.extend(chosen.ignored);
    seen.problems.extend(chosen.problems);
    seen.closed_hooks = chosen.closed;

    // In the order of precedence, so that the last of several files for one hook counts.
    let mut by_hook: BTreeMap<String, PathBuf> = BTreeMap::new();
    for ((_, name), path) in chosen.files {
        if let Some(why) = mask(&path) {
            seen.masked.insert(hook_name(&name).to_owned());
            seen.ignored.push(ignored(&path, why));
        } else if let Some(other) = by_hook.insert(hook_name(&name).to_owned(), path.clone()) {
            seen.problems.push(same_hook(hook_name(&name), &other, &path));
        }
    }
    for (name, path) in by_hook {
        if let Some(file) = read(&path, limits::HOOK_FILE, known(&name), &mut seen.problems) {
            seen.hooks.insert(name, file);
        }
    }
}

fn look_at_scripts(paths: &Paths, kind: &'static str, seen: &mut Seen) -> Scripts {
    let folders: Vec<PathBuf> = script_folders(paths, kind).collect();
    let chosen = choose(&folders, &["rhai"]);
    seen.ignored.extend(chosen.ignored.into_iter().filter(|ignored| !is_cases(Path::new(&ignored.file))));
    seen.problems.extend(chosen.problems);
    let mut scripts = Scripts { closed: chosen.closed, ..Scripts::default() };
    for ((_, name), path) in chosen.files {
        if let Some(file) = read(&path, limits::SCRIPT_FILE, None, &mut seen.problems) {
            let name = name.strip_suffix(".rhai").unwrap_or(&name);
            scripts.files.insert(name.to_owned(), file);
        }
    }
    scripts
}

/// Whether a file holds the cases of the script that stands beside it: `check` runs them.
fn is_cases(file: &Path) -> bool {
    let script = file.to_str().and_then(|file| file.strip_suffix(CASES)).map(|script| format!("{script}.rhai"));
    script.is_some_and(|script| Path::new(&script).exists())
}

/// The files that count by their names, in the order of precedence.
#[derive(Debug, Default)]
struct Chosen {
    /// By the folder's number and the file's name.
    files: BTreeMap<(usize, String), PathBuf>,
    ignored: Vec<Ignored>,
    problems: Vec<Diagnostic>,
    closed: Option<PathBuf>,
}

fn choose(folders: &[PathBuf], extensions: &[&str]) -> Chosen {
    let mut chosen = Chosen::default();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for (number, folder) in folders.iter().enumerate() {
        let listing = match list(folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                chosen.problems.push(closed_folder(folder, &error));
                chosen.closed = Some(folder.clone());
                continue;
            }
        };
        for name in listing.odd {
            let what = format!("the name of the file {name} in {} is not UTF-8", folder.display());
            chosen.problems.push(Diagnostic::error("file-name", what).help("rename it"));
        }
        if listing.more {
            let what = format!("{} has more than {} files; the rest is not read", folder.display(), limits::HOOK_FILES);
            chosen.problems.push(Diagnostic::error("too-many-files", what));
        }
        for name in listing.names {
            let path = folder.join(&name);
            if let Some(why) = passed_over(&name, extensions) {
                chosen.ignored.push(ignored(&path, why));
                continue;
            }
            if let Some(lower) = taken.insert(name.clone(), number)
                && let Some(hidden) = chosen.files.remove(&(lower, name.clone()))
            {
                chosen.ignored.push(ignored(&hidden, format!("{} overrides it", path.display())));
            }
            chosen.files.insert((number, name), path);
        }
    }
    chosen
}

/// The names in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Sorted.
    pub(super) names: Vec<String>,
    /// Those that are not UTF-8, as far as they can be shown.
    odd: Vec<String>,
    /// There are more than are looked at.
    more: bool,
}

pub(super) fn list(folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(folder)? {
        if listing.names.len() == limits::HOOK_FILES {
            listing.more = true;
            break;
        }
        match entry?.file_name().into_string() {
            Ok(name) => listing.names.push(name),
            Err(name) => listing.odd.push(name.to_string_lossy().into_owned()),
        }
    }
    listing.names.sort_unstable();
    Ok(listing)
}

/// Why a file never loads, by its name alone.
fn passed_over(name: &str, extensions: &[&str]) -> Option<String> {
    const LEFTOVERS: [&str; 9] = [".swp", ".swo", ".rpmnew", ".rpmsave", ".rpmorig", ".bak", ".orig", ".tmp", ".old"];
    let because = |why: &str| Some(why.to_owned());
    if name.starts_with(".#") || (name.starts_with('#') && name.ends_with('#')) {
        return because("left by an editor");
    }
    if name.starts_with('.') {
        return because("a hidden file");
    }
    if name.ends_with('~') {
        return because("a backup of an editor");
    }
    if name.contains(".dpkg-") || name.contains(".ucf-") || LEFTOVERS.iter().any(|end| name.ends_with(end)) {
        return because("left by an editor or the package manager");
    }
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some(extension) if extensions.contains(&extension) => None,
        _ => Some(format!("its name does not end in .{}", extensions.join(" or ."))),
    }
}

/// Whether a file switches its name off: a link to /dev/null, or nothing in it.
fn mask(path: &Path) -> Option<&'static str> {
    let mut meta = fs::symlink_metadata(path).ok()?;
    if meta.is_symlink() {
        if fs::canonicalize(path).is_ok_and(|end| end == Path::new("/dev/null")) {
            return Some("a link to /dev/null: this hook is switched off");
        }
        meta = fs::metadata(path).ok()?;
    }
    (meta.is_file() && meta.len() == 0).then_some("empty: this hook is switched off")
}

/// Reads one file; `None` when it has gone meanwhile.
fn read(path: &Path, bound: usize, known: Option<&Source>, problems: &mut Vec<Diagnostic>) -> Option<File> {
    let known = known.filter(|known| Path::new(&*known.name) == path);
    let shown = known.map_or_else(|| path.display().to_string().into(), |known| known.name.clone());
    let text = match files::read_text(path, bound) {
        Ok(found) => {
            if found.mode & 0o002 != 0 {
                let what = "everybody on this machine can change the file";
                let help = format!("chmod o-w {}", files::quoted(path));
                problems.push(Diagnostic::warning("world-writable", what).at(Place::of_file(&shown)).help(help));
            }
            Ok(known
                .map(|known| &known.text)
                .filter(|known| ***known == found.text)
                .cloned()
                .unwrap_or_else(|| found.text.into()))
        }
        Err(Unreadable::Gone) => return None,
        Err(why) => {
            let mut problem = Diagnostic::error("unreadable", format!("the file {why}")).at(Place::of_file(&shown));
            problem.help = why.help();
            Err(problem)
        }
    };
    Some(File { shown, text })
}

fn ignored(path: &Path, why: impl Into<String>) -> Ignored {
    Ignored { file: path.display().to_string(), why: why.into() }
}

fn same_hook(hook: &str, loser: &Path, winner: &Path) -> Diagnostic {
    let what = format!("two files are the hook {hook}: {} counts, {} does not", winner.display(), loser.display());
    Diagnostic::error("same-hook", what).at(Place::of_file(&loser.display().to_string())).help("rename one of them")
}

fn closed_folder(folder: &Path, error: &io::Error) -> Diagnostic {
    let what = format!("the folder {} cannot be listed: {}", folder.display(), files::plain(error));
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => format!("see who may: namei -l {}", files::quoted(folder)),
        _ => format!("look at it: ls -ld {}", files::quoted(folder)),
    };
    Diagnostic::error("folder-unreadable", what).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_never_load_and_say_why() {
        for (file, why) in [
            (".hidden.yaml", "a hidden file"),
            (".x.yaml.swp", "a hidden file"),
            ("..data", "a hidden file"),
            (".#x.yaml", "left by an editor"),
            ("#x.yaml#", "left by an editor"),
            ("x.yaml~", "a backup of an editor"),
            ("x.yaml.bak", "left by an editor or the package manager"),
            ("x.yaml.dpkg-new", "left by an editor or the package manager"),
            ("x.yaml.dpkg-dist", "left by an editor or the package manager"),
            ("x.yaml.ucf-old", "left by an editor or the package manager"),
            ("x.yaml.rpmsave", "left by an editor or the package manager"),
            ("x.dpkg-old.yaml", "left by an editor or the package manager"),
            ("4913", "its name does not end in .yaml or .yml"),
            ("README", "its name does not end in .yaml or .yml"),
            ("x.YAML", "its name does not end in .yaml or .yml"),
            ("x.yaml.disabled", "its name does not end in .yaml or .yml"),
        ] {
            assert_eq!(passed_over(file, &["yaml", "yml"]).as_deref(), Some(why), "{file}");
        }
        for file in ["x.yaml", "10-x.yml", "a.b.yaml", "tmp.yaml", "#x.yaml"] {
            assert_eq!(passed_over(file, &["yaml", "yml"]), None, "{file}");
        }
    }

    struct Desk {
        folder: tempfile::TempDir,
        paths: Paths,
    }

    /// Two folders of hooks, `low` and `high`, with these files.
    fn desk(files: &[(&str, &str)]) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Paths::here(folder.path());
        paths.hooks = vec![folder.path().join("low"), folder.path().join("high")];
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Desk { folder, paths }
    }

    impl Desk {
        fn look(&self) -> Seen {
            look(&self.paths, &|_| None)
        }

        fn ignored(&self) -> Vec<String> {
            let root = format!("{}/", self.folder.path().display());
            self.look().ignored.iter().map(|it| format!("{}: {}", it.file, it.why).replace(&root, "")).collect()
        }

        fn problems(&self) -> Vec<String> {
            let root = format!("{}/", self.folder.path().display());
            self.look().problems.iter().map(|it| it.what.replace(&root, "")).collect()
        }
    }

    fn texts(seen: &Seen) -> Vec<(&str, &str)> {
        seen.hooks.iter().map(|(name, file)| (name.as_str(), file.text.as_deref().unwrap_or("?"))).collect()
    }

    #[test]
    fn cases_stand_beside_their_script() {
        let desk = desk(&[
            ("scripts/platforms/a.rhai", "x"),
            ("scripts/platforms/a.cases.yaml", "- {}"),
            ("scripts/sources/b.cases.yaml", "- {}"),
        ]);
        assert_eq!(desk.ignored(), ["scripts/sources/b.cases.yaml: its name does not end in .rhai"]);
        assert!(desk.problems().is_empty() && desk.look().platforms.files.len() == 1);
    }

    #[test]
    fn a_file_of_the_same_name_in_a_higher_folder_overrides() {
        let desk =
            desk(&[("low/a.yaml", "low a"), ("low/b.yaml", "low b"), ("high/a.yaml", "high a"), ("high/c.yml", "c")]);
        assert_eq!(texts(&desk.look()), [("a", "high a"), ("b", "low b"), ("c", "c")]);
        assert_eq!(&*desk.look().hooks["a"].shown, desk.folder.path().join("high/a.yaml").to_str().unwrap());
        assert_eq!(desk.ignored(), ["low/a.yaml: high/a.yaml overrides it"]);
        assert!(desk.problems().is_empty());
    }

    #[test]
    fn an_empty_file_and_a_link_to_dev_null_mask() {
        let desk = desk(&[("low/a.yaml", "low a"), ("low/b.yaml", "low b"), ("high/a.yaml", ""), ("high/x", "")]);
        std::os::unix::fs::symlink("/dev/null", desk.folder.path().join("high/b.yaml")).unwrap();
        let seen = desk.look();
        assert_eq!(texts(&seen), []);
        assert_eq!(seen.masked.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            desk.ignored(),
            [
                "low/a.yaml: high/a.yaml overrides it",
                "low/b.yaml: high/b.yaml overrides it",
                "high/x: its name does not end in .yaml or .yml",
                "high/a.yaml: empty: this hook is switched off",
                "high/b.yaml: a link to /dev/null: this hook is switched off",
            ]
        );
        assert!(desk.problems().is_empty());
    }

    #[test]
    fn a_mask_below_masks_nothing_above() {
        let desk = desk(&[("low/a.yaml", ""), ("high/a.yaml", "high a")]);
        assert_eq!(texts(&desk.look()), [("a", "high a")]);
    }

    #[test]
    fn two_files_for_one_hook_are_named() {
        let desk = desk(&[("low/90-a.yaml", "low"), ("high/10-a.yaml", "high 10"), ("high/20-a.yaml", "high 20")]);
        assert_eq!(texts(&desk.look()), [("a", "high 20")]);
        assert_eq!(
            desk.problems(),
            [
                "two files are the hook a: high/10-a.yaml counts, low/90-a.yaml does not",
                "two files are the hook a: high/20-a.yaml counts, high/10-a.yaml does not",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let desk = desk(&[("low/big.yaml", &"x".repeat(limits::HOOK_FILE + 1)), ("low/folder.yaml/x", "")]);
        fs::write(desk.folder.path().join("low/latin.yaml"), b"caf\xe9").unwrap();
        std::os::unix::fs::symlink("nowhere", desk.folder.path().join("low/link.yaml")).unwrap();
        let seen = desk.look();
        let whats: Vec<&str> = seen.hooks.values().map(|file| file.text.as_ref().unwrap_err().what.as_str()).collect();
        let said = [
            "is larger than 64 KiB",
            "is a directory, not a file",
            "is not UTF-8 text (byte 3)",
            "is a link to nowhere",
        ];
        assert_eq!(whats.len(), said.len());
        for (what, said) in whats.iter().zip(said) {
            assert!(what.contains(said), "{what}");
        }
    }

    #[test]
    fn a_file_that_everybody_can_change_is_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let desk = desk(&[("low/a.yaml", "a")]);
        fs::set_permissions(desk.folder.path().join("low/a.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(desk.problems(), ["everybody on this machine can change the file"]);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_not_an_empty_one() {
        let desk = desk(&[("low", "a file"), ("high/a.yaml", "a")]);
        let seen = desk.look();
        assert_eq!(texts(&seen), [("a", "a")]);
        assert_eq!(seen.closed_hooks, Some(desk.folder.path().join("low")));
        assert_eq!(desk.problems(), ["the folder low cannot be listed: not a directory"]);
    }

    #[test]
    fn scripts_of_higher_folders_win() {
        let mut desk =
            desk(&[("s1/platforms/a.rhai", "1"), ("s2/platforms/a.rhai", "2"), ("s1/platforms/b.rhai", "b")]);
        desk.paths.scripts = vec![desk.folder.path().join("s1"), desk.folder.path().join("s2")];
        let seen = desk.look();
        let texts: Vec<_> =
            seen.platforms.files.iter().map(|(name, file)| (&**name, file.text.as_deref().unwrap())).collect();
        assert_eq!(texts, [("a", "2"), ("b", "b")]);
    }

    #[test]
    fn the_stamp_sees_what_a_reader_would_see() {
        let desk = desk(&[("low/a.yaml", "a"), ("low/b.yaml", "b")]);
        let mut last = stamp::of_folders(&desk.paths);
        assert_eq!(stamp::of_folders(&desk.paths), last, "reading changes nothing");
        let at = |name: &str| desk.folder.path().join(name);
        let changes: [(&str, &dyn Fn()); 6] = [
            ("other text", &|| fs::write(at("low/a.yaml"), "aa").unwrap()),
            ("a new file", &|| fs::write(at("low/c.yaml"), "c").unwrap()),
            ("a deleted file", &|| fs::remove_file(at("low/b.yaml")).unwrap()),
            ("a renamed file", &|| fs::rename(at("low/c.yaml"), at("low/d.yaml")).unwrap()),
            ("a new folder", &|| fs::create_dir(at("high")).unwrap()),
            ("a main file", &|| fs::write(at("postrider.yaml"), "x").unwrap()),
        ];
        for (change, make) in changes {
            make();
            assert_ne!(stamp::of_folders(&desk.paths), last, "{change}");
            last = stamp::of_folders(&desk.paths);
        }
    }
}
