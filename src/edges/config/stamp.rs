//! Whether anything changed that a look at the folders would see, by what the system knows of the files: nothing is read.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, open, statat};
use rustix::io;

use crate::edges::config::folders::{PLATFORMS, SOURCES, list, script_folders};
use crate::edges::config::paths::Paths;

/// Changes when the main file changed, or the names in a folder, or what the system knows of a file there.
pub(super) fn of_folders(paths: &Paths) -> u64 {
    let mut hasher = DefaultHasher::new();
    of_file(&paths.main, &mut hasher);
    let scripts = [PLATFORMS, SOURCES].into_iter().flat_map(|kind| script_folders(paths, kind));
    for folder in paths.hooks.iter().cloned().chain(scripts) {
        of_folder(&folder, &mut hasher);
    }
    hasher.finish()
}

/// The same for single files.
pub(super) fn of_files(files: impl IntoIterator<Item = PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        of_file(&file, &mut hasher);
    }
    hasher.finish()
}

fn of_folder(folder: &Path, hasher: &mut DefaultHasher) {
    let listing = match list(folder) {
        Ok(listing) => listing,
        Err(error) => return error.kind().hash(hasher),
    };
    // From the folder itself: of ten thousand files the way to them would take most of the time.
    match open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(inside) => {
            for name in listing.names {
                facts(&statat(&inside, name.as_str(), AtFlags::empty()), hasher);
                name.hash(hasher);
            }
        }
        Err(error) => error.raw_os_error().hash(hasher),
    }
}

fn of_file(path: &Path, hasher: &mut DefaultHasher) {
    facts(&statat(CWD, path, AtFlags::empty()), hasher);
}

/// A new name for a folder's file changes its ctime, so a swapped link shows by the file behind it.
fn facts(found: &io::Result<Stat>, hasher: &mut DefaultHasher) {
    let Ok(stat) = found else { return 0_u8.hash(hasher) };
    (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mode).hash(hasher);
    (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec).hash(hasher);
}
