//! The disk: how much is free, when intake stops, and the ballast that makes room for outcomes when nothing else does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::rules::yaml::size;
use crate::words::limits;

/// What is free on the disk; `None` where the file system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Free {
    pub(super) bytes: Option<u64>,
    pub(super) files: Option<u64>,
}

/// The disk of a state directory.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    low: bool,
    /// A ballast that cannot be made is complained of once.
    complained: bool,
}

impl Space {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), low: false, complained: false }
    }

    /// What is free.
    pub(super) fn free(&self) -> Free {
        let Ok(found) = statvfs(&self.dir) else { return Free::default() };
        Free {
            bytes: (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)),
            files: (found.f_files > 0).then_some(found.f_favail),
        }
    }

    /// Why intake must stop, if so. It goes on when there is a quarter more than what it leaves free, so that it does not
    /// flutter.
    pub(super) fn judge(&mut self, free: Free, min_free: u64) -> Option<String> {
        let enough = |bound: u64| if self.low { bound.saturating_add(bound / 4) } else { bound };
        let place = self.dir.display();
        let bytes = free.bytes.filter(|bytes| *bytes < enough(min_free)).map(|bytes| {
            let (left, bound) = (size::show(bytes), size::show(min_free));
            format!("only {left} are free at {place}, and journal.min_free is {bound}: make room, it goes on by itself")
        });
        let files = free
            .files
            .filter(|files| *files < enough(limits::MIN_FREE_FILES))
            .map(|files| format!("only {files} more files can be made at {place}: remove some, it goes on by itself"));
        let why = bytes.or(files);
        self.low = why.is_some();
        why
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Bytes of the ballast.
    pub(super) fn ballast_size(&self) -> u64 {
        fs::metadata(self.ballast()).map_or(0, |found| found.len().min(found.blocks() * 512))
    }

    /// Makes the ballast whole, where there is room for it besides what intake leaves free.
    pub(super) fn refill(&mut self, free: Free, min_free: u64) {
        let missing = limits::BALLAST.saturating_sub(self.ballast_size());
        let room = free.bytes.is_none_or(|bytes| bytes >= min_free.saturating_add(missing));
        if missing == 0 || !room || self.low {
            return;
        }
        match self.make() {
            Ok(()) => self.complained = false,
            Err(error) if !self.complained => {
                self.complained = true;
                let path = self.ballast().display().to_string();
                tracing::warn!(path, %error, "no space can be taken beforehand: outcomes may wait for a full disk");
            }
            Err(_) => {}
        }
    }

    fn make(&self) -> io::Result<()> {
        let path = self.ballast();
        let made = Self::fill(&path);
        if made.is_err() {
            // Half a ballast may be the last room there was.
            let _gone = fs::remove_file(&path);
        }
        made
    }

    fn fill(path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, limits::BALLAST) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                file.set_len(0)?;
                let piece = vec![0_u8; 64 * 1024];
                for _ in 0..limits::BALLAST / piece.len() as u64 {
                    file.write_all(&piece)?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }

    /// Gives a piece of the ballast back; `false` when there is none left.
    pub(super) fn release(&self) -> bool {
        let left = self.ballast_size();
        if left == 0 {
            return false;
        }
        let cut = |file: File| {
            file.set_len(left.saturating_sub(limits::BALLAST_STEP))?;
            // Only then is it really free.
            file.sync_all()
        };
        OpenOptions::new().write(true).open(self.ballast()).and_then(cut).is_ok()
    }

    /// Whether nothing can be written for want of space: SQLite says so of a full disk, but not of a quota that is used
    /// up or of a bound on the size of files.
    pub(super) fn is_spent(&self) -> bool {
        let path = self.dir.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&[0; 16 * 1024])?;
            file.sync_all()
        });
        let _gone = fs::remove_file(&path);
        let spent = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];
        written.is_err_and(|error| Errno::from_io_error(&error).is_some_and(|errno| spent.contains(&errno)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intake_stops_below_the_bound_and_goes_on_well_above_it() {
        let mut space = Space::new(Path::new("/var/lib/postrider"));
        let free = |bytes: u64, files: u64| Free { bytes: Some(bytes), files: Some(files) };
        let mib = 1 << 20;
        assert_eq!(space.judge(free(64 * mib, 512), 64 * mib), None);
        let why = space.judge(free(63 * mib, 512), 64 * mib).unwrap();
        let expected =
            "only 63MiB are free at /var/lib/postrider, and journal.min_free is 64MiB: make room, it goes on by itself";
        assert_eq!(why, expected);
        assert!(space.judge(free(79 * mib, 9999), 64 * mib).is_some(), "it must not flutter");
        assert_eq!(space.judge(free(80 * mib, 9999), 64 * mib), None);
        assert!(space.judge(free(999 * mib, 511), 64 * mib).unwrap().contains("511 more files"));
        assert_eq!(space.judge(Free::default(), 64 * mib), None, "what the file system does not say is no reason");
    }

    #[test]
    fn the_ballast_is_there_is_given_back_and_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut space = Space::new(dir.path());
        let free = space.free();
        assert!(free.bytes.is_some_and(|bytes| bytes > 0));
        space.refill(Free { bytes: Some(limits::BALLAST), files: None }, 1);
        assert_eq!(space.ballast_size(), 0, "there is no room for it");
        space.refill(free, 0);
        assert_eq!(space.ballast_size(), limits::BALLAST, "it is not sparse");
        for piece in 1..=limits::BALLAST / limits::BALLAST_STEP {
            assert!(space.release());
            assert_eq!(space.ballast_size(), limits::BALLAST - piece * limits::BALLAST_STEP);
        }
        assert!(!space.release());
        space.refill(free, 0);
        assert_eq!(space.ballast_size(), limits::BALLAST);
        assert!(!space.is_spent());
    }
}
