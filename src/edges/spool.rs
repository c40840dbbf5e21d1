//! The senders' side of the spool: a folder where events wait for a daemon that is not there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A spool that is there. Only the daemon and its package make one, so what is put there will be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// The spool in this folder, if it exists.
    pub fn at(folder: &Path) -> Option<Self> {
        folder.is_dir().then(|| Self { folder: folder.to_owned() })
    }

    /// Puts one file there, and returns when it is on disk under its final name. Names sort by time.
    ///
    /// # Errors
    /// It cannot be written there; then nothing is.
    pub fn put(&self, text: &[u8]) -> io::Result<PathBuf> {
        let name = format!("{}.json", uuid::Uuid::now_v7());
        let (hidden, visible) = (self.folder.join(format!(".{name}")), self.folder.join(name));
        let done = self.write(&hidden, &visible, text);
        if done.is_err() {
            let _perhaps_never_made = fs::remove_file(&hidden);
        }
        done.map(|()| visible)
    }

    fn write(&self, hidden: &Path, visible: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(hidden)?;
        // Whatever the umask: the daemon reads it by its group, which the folder gives.
        file.set_permissions(Permissions::from_mode(0o640))?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(hidden, visible)?;
        match File::open(&self.folder) {
            Ok(folder) => folder.sync_all(),
            // Who may put files there may not list them, and so cannot open the folder: everything is synced instead.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(rustix::fs::syncfs(&file)?),
            Err(error) => Err(error),
        }
    }
}

/// Makes the folder: whoever is in its group may put files there, and nobody but its owner may list or remove those of
/// others. What is there already is left as it is.
///
/// # Errors
/// It cannot be made.
pub fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o3730))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_put_there_is_whole_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        assert_eq!(Spool::at(&spool), None);
        make(&spool).unwrap();
        assert_eq!(fs::metadata(&spool).unwrap().mode() & 0o7777, 0o3730);
        let to = Spool::at(&spool).unwrap();
        let files: Vec<PathBuf> = (0..50).map(|n| to.put(format!("{n}").as_bytes()).unwrap()).collect();
        let mut sorted = files.clone();
        sorted.sort();
        assert_eq!(files, sorted);
        assert_eq!(fs::read_dir(&spool).unwrap().count(), 50, "no file is left half written");
        assert_eq!(fs::read_to_string(&files[7]).unwrap(), "7");
        assert_eq!(fs::metadata(&files[7]).unwrap().mode() & 0o777, 0o640);
        fs::remove_dir_all(&spool).unwrap();
        assert!(to.put(b"x").is_err());
    }
}
