//! A copy of the journal at one moment, made while it is in use.
//!
//! It is made on a connection of its own that holds one snapshot: SQLite would begin anew each time the writer commits.
//! Writers do not wait for it; until it is done the log grows by what they write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::edges::journal::{NotCopied, Progress};
use crate::words::limits;

/// Copies the journal at `from`, and answers how many bytes the copy has.
pub(super) fn copy(from: &Path, to: &Path, replace: bool, progress: &Progress) -> Result<u64, NotCopied> {
    may_be_written(from, to, replace)?;
    let beside = PathBuf::from(format!("{}.new", to.display()));
    let copied = write(from, &beside, progress).and_then(|()| {
        let copied = File::open(&beside).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
        let copied = copied.map_err(|error| failed(&beside, &error))?;
        std::fs::rename(&beside, to).map_err(|error| failed(to, &error))?;
        let folder = to.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(folder, &error))?;
        Ok(copied.len())
    });
    if copied.is_err() {
        let _nothing_left = std::fs::remove_file(&beside);
    }
    copied
}

/// An older copy may be replaced; the journal itself and anything else may not.
fn may_be_written(from: &Path, to: &Path, replace: bool) -> Result<(), NotCopied> {
    let there = match to.symlink_metadata() {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(to, &error)),
    };
    if from.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino())) {
        return Err(refused(format!("{} is the journal itself", to.display()), "choose another name"));
    }
    if !replace {
        return Err(refused(format!("{} is there already", to.display()), "choose another name, or add --force"));
    }
    if !there.is_file() || !schema::is_journal(to) {
        return Err(refused(format!("{} is no copy of a journal", to.display()), "only an older copy is replaced"));
    }
    Ok(())
}

fn write(from: &Path, to: &Path, progress: &Progress) -> Result<(), NotCopied> {
    // One that was left behind when the power went out is in nobody's way.
    if let Err(error) = std::fs::remove_file(to)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(to, &error));
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(|error| failed(to, &error))?;
    let source = schema::reader(from).map_err(|error| refused(error.to_string(), LOOK))?;
    copy_pages(&source, to, progress).map_err(|error| match error {
        Failed::Sqlite(error) => refused(format!("{} cannot be written: {error}", to.display()), ROOM),
        Failed::Stopped => refused("the copying was stopped".to_owned(), "begin again: nothing was left behind"),
    })
}

const LOOK: &str = "`postrider status` says what is wrong with the journal";
const ROOM: &str = "is there room for it?";

enum Failed {
    Sqlite(rusqlite::Error),
    Stopped,
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn copy_pages(source: &Connection, to: &Path, progress: &Progress) -> Result<(), Failed> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags)?;
    // It is made safe at its end: until then nobody sees it.
    target.execute_batch("PRAGMA synchronous = OFF;")?;
    let snapshot = source.unchecked_transaction()?;
    snapshot.query_row("SELECT count(*) FROM lanes", [], |row| row.get::<_, i64>(0))?;
    let backup = Backup::new(&snapshot, &mut target)?;
    loop {
        let step = backup.step(limits::BACKUP_STEP)?;
        let at = backup.progress();
        let (all, left) = (at.pagecount.max(0).unsigned_abs(), at.remaining.max(0).unsigned_abs());
        if !progress(u64::from(all - left.min(all)), u64::from(all)) {
            return Err(Failed::Stopped);
        }
        match step {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(limits::BACKUP_REST),
        }
    }
}

fn refused(what: String, help: &str) -> NotCopied {
    NotCopied { what, help: help.to_owned() }
}

fn failed(path: &Path, error: &io::Error) -> NotCopied {
    let what = format!("{} cannot be written: {error}", path.display());
    let what = what.split(" (os error").next().unwrap_or_default().to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => refused(
            what,
            "the daemon writes it, as its own user and where systemd lets it: for example under /var/lib/postrider",
        ),
        io::ErrorKind::NotFound => refused(what, "make the folder first"),
        _ => refused(what, ROOM),
    }
}
