//! Whether the journal is what it should be: there, the one that was kept here, and sound.
//!
//! A file beside it says which journal is kept in this folder, so that one that is gone is not taken for a first start.
//! A check finds what is damaged in the structure of the file: before it is used where it is small or where something
//! went wrong, beside the work where it is large. Nothing is ever repaired, removed or begun anew here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode, InterruptHandle};

use super::{Shared, schema};
use crate::edges::files;
use crate::edges::journal::JournalError;
use crate::words::limits;

/// The file that names the journal of a folder.
const MARK: &str = "journal.id";

/// Which journal is kept in this folder, as far as it is known.
pub(super) fn known(dir: &Path) -> Result<Option<String>, JournalError> {
    let path = dir.join(MARK);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::Storage(format!("{}: {error}", path.display()))),
    }
}

/// What is said of a journal that was here and is gone.
pub(super) fn missing(path: &Path, dir: &Path) -> JournalError {
    JournalError::Damaged {
        path: path.display().to_string(),
        what: "is missing, and a journal was kept here".to_owned(),
        remedy: format!(
            "put it back, or restore it from a backup; to begin a new one without what it held, remove {}",
            dir.join(MARK).display()
        ),
    }
}

/// What is said of a damaged journal.
pub(super) fn damaged(path: &Path, detail: &str) -> JournalError {
    let shown = path.display();
    let mark = path.with_file_name(MARK);
    JournalError::Damaged {
        path: shown.to_string(),
        what: format!("is damaged ({detail}) and was left as it is"),
        remedy: format!(
            "restore it from a backup, or take out what can be read with `sqlite3 {shown} .recover | sqlite3 recovered.db`; \
             to begin a new one without what it held, move it and its -wal away and remove {}",
            mark.display()
        ),
    }
}

/// Whether an error may mean that the file, or what is known of it in memory, is not to be trusted.
pub(super) fn is_ominous(err: &rusqlite::Error) -> bool {
    let ominous = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::SystemIoFailure];
    err.sqlite_error_code().is_some_and(|code| ominous.contains(&code))
}

/// Reads the whole file. `whole`: also whether each row is in each index, which takes some times as long.
pub(super) fn check(conn: &Connection, path: &Path, whole: bool) -> Result<(), JournalError> {
    let sql = if whole { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let found: String = conn.query_row(sql, [], |row| row.get(0)).map_err(|err| schema::storage(path, &err))?;
    if found == "ok" { Ok(()) } else { Err(damaged(path, found.replace('\n', " ").trim())) }
}

/// What must be so before a journal is used.
pub(super) fn at_start(
    conn: &Connection,
    path: &Path,
    dir: &Path,
    identity: &str,
    known: Option<&str>,
) -> Result<(), JournalError> {
    let mark = dir.join(MARK);
    match known {
        Some(known) if known != identity => {
            return Err(JournalError::Damaged {
                path: path.display().to_string(),
                what: format!("is the journal {identity}, and the one that was kept here is {known}"),
                remedy: format!("put the right one back, or, if this is the one you want, remove {}", mark.display()),
            });
        }
        Some(_) => {}
        None => {
            if let Err(error) = name(&mark, identity) {
                tracing::warn!(path = %mark.display(), %error, "a journal that vanishes would be taken for a first start");
            }
        }
    }
    if path.metadata().is_ok_and(|found| found.len() <= limits::CHECKED_AT_START) {
        check(conn, path, true)?;
    }
    Ok(())
}

fn name(mark: &Path, identity: &str) -> io::Result<()> {
    files::put(mark, format!("{identity}\n").as_bytes())
}

/// The thread that checks a large journal beside the work.
pub(super) struct Checking {
    stop: Sender<()>,
    at_work: Arc<Mutex<Option<InterruptHandle>>>,
    thread: Option<JoinHandle<()>>,
}

impl Checking {
    pub(super) fn start(path: PathBuf, shared: Arc<Shared>) -> Result<Self, JournalError> {
        let (stop, stopped) = channel();
        let at_work = Arc::new(Mutex::new(None));
        let shown = at_work.clone();
        let work = move || {
            let mut rest = limits::CHECK_AFTER;
            while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
                rest = limits::CHECK_EVERY;
                // A file that cannot be opened just now is the writer's trouble.
                let Ok(conn) = schema::reader(&path) else { continue };
                *shown.lock().expect("no thread panics with it") = Some(conn.get_interrupt_handle());
                if let Err(error @ JournalError::Damaged { .. }) = check(&conn, &path, true) {
                    shared.doubt(error, true);
                }
                *shown.lock().expect("no thread panics with it") = None;
            }
        };
        let thread = std::thread::Builder::new().name("journal-check".to_owned()).spawn(work);
        let thread = thread.map_err(|err| JournalError::Storage(format!("cannot start a thread: {err}")))?;
        Ok(Self { stop, at_work, thread: Some(thread) })
    }

    /// Ends it, in the middle of a check if need be.
    pub(super) fn stop(&mut self) {
        let _ended_already = self.stop.send(());
        if let Some(check) = &*self.at_work.lock().expect("no thread panics with it") {
            check.interrupt();
        }
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
