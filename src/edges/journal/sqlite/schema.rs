//! The files of the journal: the lock, the database, and what must be true of it before it is used.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::health;
use crate::edges::journal::{JournalError, new_identity};
use crate::words::limits;

/// `user_version` of the database.
const FORMAT: i64 = 7;
/// What makes format 2 of format 1, and so on.
const UPGRADES: [&str; FORMAT as usize - 1] = [
    "ALTER TABLE events ADD COLUMN data TEXT;",
    "ALTER TABLE lanes ADD COLUMN hold_until INTEGER;
ALTER TABLE deliveries ADD COLUMN order_key BLOB;
CREATE INDEX deliveries_order ON deliveries (lane, order_key, seq) WHERE outcome = 'waiting' AND order_key IS NOT NULL;
CREATE TABLE once (
    lane INTEGER NOT NULL REFERENCES lanes (id),
    key BLOB NOT NULL,
    until INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (lane, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_until ON once (until);",
    "ALTER TABLE events ADD COLUMN sum INTEGER;
CREATE INDEX once_delivery ON once (delivery);",
    "ALTER TABLE deliveries ADD COLUMN kept_not TEXT;
ALTER TABLE deliveries ADD COLUMN kept_type TEXT;
ALTER TABLE deliveries ADD COLUMN kept_body BLOB;
ALTER TABLE deliveries ADD COLUMN original INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE events ADD COLUMN traceparent TEXT;",
    "ALTER TABLE deliveries ADD COLUMN carrier INTEGER;
ALTER TABLE attempts ADD COLUMN along TEXT;",
];
/// How long a lock that another process holds is waited for.
pub(super) const BUSY: Duration = Duration::from_secs(1);
/// `application_id` of the database: "post".
const APPLICATION: i64 = 0x706f_7374;

/// Seqs are given out by the writer: whoever deletes rows must leave the newest event and the newest delivery alone,
/// or a number, and with it a delivery id, would be given twice.
///
/// `deliveries.due` of what does not wait is when it was closed. `events.sum` is a checksum of what is sent of an event;
/// events of older versions have none. `deliveries.carrier` is the delivery in whose request one went the last time, and
/// `attempts.along` names those that did: a digest. Either may name what is no longer kept.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE lanes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    waiting INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    hold_why TEXT,
    hold_since INTEGER,
    hold_fingerprint TEXT,
    hold_until INTEGER
) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    time INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    peer_uid INTEGER,
    peer_gid INTEGER,
    peer_pid INTEGER,
    raw BLOB NOT NULL,
    data TEXT,
    sum INTEGER,
    traceparent TEXT,
    UNIQUE (id, source)
) STRICT;
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY,
    event INTEGER NOT NULL REFERENCES events (seq),
    lane INTEGER NOT NULL REFERENCES lanes (id),
    created INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    why TEXT NOT NULL,
    detail TEXT NOT NULL,
    order_key BLOB,
    kept_not TEXT,
    kept_type TEXT,
    kept_body BLOB,
    original INTEGER NOT NULL DEFAULT 0,
    carrier INTEGER
) STRICT;
CREATE INDEX deliveries_order ON deliveries (lane, order_key, seq) WHERE outcome = 'waiting' AND order_key IS NOT NULL;
CREATE TABLE once (
    lane INTEGER NOT NULL REFERENCES lanes (id),
    key BLOB NOT NULL,
    until INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (lane, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_until ON once (until);
CREATE INDEX once_delivery ON once (delivery);
CREATE INDEX deliveries_event ON deliveries (event);
CREATE INDEX deliveries_waiting ON deliveries (lane, due, seq, created) WHERE outcome = 'waiting';
CREATE INDEX deliveries_dead ON deliveries (lane) WHERE outcome = 'dead';
CREATE TABLE attempts (
    seq INTEGER PRIMARY KEY,
    delivery INTEGER NOT NULL REFERENCES deliveries (seq),
    number INTEGER NOT NULL,
    started INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    request TEXT NOT NULL,
    status INTEGER,
    response TEXT NOT NULL,
    verdict TEXT NOT NULL,
    why TEXT NOT NULL,
    outcome TEXT NOT NULL,
    along TEXT
) STRICT;
CREATE INDEX attempts_delivery ON attempts (delivery);
";

/// The state directory, held by this process alone for as long as this value lives.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file gives up the lock")] File);

/// Makes the state directory if need be, and takes it for this process.
pub(super) fn lock(dir: &Path) -> Result<Lock, JournalError> {
    let failed = |err: io::Error| JournalError::Storage(format!("{}: {err}", dir.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let path = dir.join("lock");
    let failed = |err: io::Error| JournalError::Storage(format!("{}: {err}", path.display()));
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match patiently(|| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            let pid = Some(pid.trim()).filter(|pid| !pid.is_empty()).unwrap_or("unknown").to_owned();
            return Err(JournalError::Locked { path: path.display().to_string(), pid });
        }
        Err(TryLockError::Error(err)) => return Err(failed(err)),
    }
    // A full disk takes no number, and is no reason not to start: what waits can still be delivered.
    let _unsaid = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Lock(file))
}

/// Whoever held the lock may just be going: a process that it started has the lock too, until it is a program of its own.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let until = Instant::now() + limits::LOCK_PATIENCE;
    loop {
        match lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            locked => return locked,
        }
    }
}

/// Makes the database if there is none. It appears under its name only when it is whole, so that an empty or torn file
/// of that name is always damage.
pub(super) fn create_if_missing(path: &Path) -> Result<(), JournalError> {
    let failed = |err: io::Error| JournalError::Storage(format!("{}: {err}", path.display()));
    if path.try_exists().map_err(failed)? {
        return Ok(());
    }
    if std::fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(JournalError::Storage(format!(
            "{} is missing although {0}-wal is there: restore it from a backup, or move {0}-wal away to begin anew",
            path.display()
        )));
    }
    let new = beside(path, ".new");
    for leftover in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm")] {
        match std::fs::remove_file(leftover) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(failed(err)),
            _ => {}
        }
    }
    // SQLite gives the files beside it the same mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    let conn = Connection::open_with_flags(&new, flags(true)).map_err(|err| storage(&new, &err))?;
    fill(&conn).map_err(|err| storage(&new, &err))?;
    conn.close().map_err(|(_, err)| storage(&new, &err))?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

fn fill(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")?;
    let _mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    // It is synced once, when it is whole and before it has its name.
    conn.execute_batch("PRAGMA synchronous = OFF; BEGIN;")?;
    conn.execute_batch(TABLES)?;
    conn.execute("INSERT INTO meta (key, value) VALUES ('identity', ?1)", [new_identity()])?;
    conn.execute_batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"))
}

/// The connection that writes, not yet trusted. An existing database is looked at before anything is allowed to change it.
pub(super) fn writer(path: &Path) -> Result<(Connection, String), JournalError> {
    let failed = |err: rusqlite::Error| storage(path, &err);
    let conn = Connection::open_with_flags(path, flags(true)).map_err(failed)?;
    // Until it is known to be sound, not even closing it may fold the log into the database.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    settings(&conn).map_err(failed)?;
    let (identity, format) = inspect(&conn, path)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(JournalError::Storage(format!(
            "{}: this file system cannot hold a write-ahead log",
            path.display()
        )));
    }
    // The writer makes every row that another one names, so looking each of them up again would only cost.
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -4000;
         PRAGMA wal_autocheckpoint = {}; PRAGMA journal_size_limit = 67108864;",
        limits::LOG_PAGES
    ))
    .map_err(failed)?;
    upgrade(&conn, format).map_err(failed)?;
    if let Some(column) = lacking(&conn).map_err(failed)? {
        return Err(health::damaged(path, &format!("it has no {column}")));
    }
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, limits::JOURNAL_VALUE).map_err(failed)?;
    Ok((conn, identity))
}

/// It is known to be sound: whoever closes it now may fold the log into the database.
pub(super) fn trust(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let trusted = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
    trusted.map(drop).map_err(|err| storage(path, &err))
}

/// Folds the whole log into the database and begins a new one. After a failed fsync the kernel takes the pages for
/// clean that never reached the disk: what is appended to a log with such a hole in it would be lost with the power.
pub(super) fn renew_log(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let busy: bool =
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(|err| storage(path, &err))?;
    if busy {
        return Err(JournalError::Storage(format!("{}: its log is in use by another process", path.display())));
    }
    Ok(())
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, JournalError> {
    let conn = Connection::open_with_flags(path, flags(false)).map_err(|err| storage(path, &err))?;
    settings(&conn).map_err(|err| storage(path, &err))?;
    Ok(conn)
}

/// Whether a file is a journal of ours, of whichever format.
pub(super) fn is_journal(path: &Path) -> bool {
    let opened = Connection::open_with_flags(path, flags(false));
    let application = opened.and_then(|conn| conn.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0)));
    application.is_ok_and(|application| application == APPLICATION)
}

fn flags(writes: bool) -> OpenFlags {
    // Never CREATE: a journal that vanished while we run is trouble, not a reason to begin a new one.
    let mode = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Which file stands at this path; `None` when none does.
pub(super) fn file(path: &Path) -> Option<(u64, u64)> {
    let found = path.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    // An administrator's own sqlite3 may hold the lock for a moment.
    conn.busy_timeout(BUSY)?;
    // A bad sector under a memory map would be a signal, not an error.
    let _size: Option<i64> = conn.query_row("PRAGMA mmap_size = 0", [], |row| row.get(0)).or_else(none)?;
    Ok(())
}

fn none<T>(err: rusqlite::Error) -> rusqlite::Result<Option<T>> {
    if err == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(err) }
}

/// Brings the tables of an older version up to date, or leaves them as they were.
fn upgrade(conn: &Connection, format: usize) -> rusqlite::Result<()> {
    let missing = UPGRADES.get(format - 1..).unwrap_or_default().concat();
    if missing.is_empty() {
        return Ok(());
    }
    conn.execute_batch(&format!("BEGIN IMMEDIATE; {missing} PRAGMA user_version = {FORMAT}; COMMIT;"))
}

/// A column that a journal has and this one has not. The schema is text in the file, and no check of its pages reads it.
fn lacking(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let whole = Connection::open_in_memory()?;
    whole.execute_batch(TABLES)?;
    let there = columns(conn)?;
    Ok(columns(&whole)?.into_iter().find(|column| !there.contains(column)))
}

fn columns(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let all =
        "SELECT t.name || '.' || c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    conn.prepare(all)?.query_map([], |row| row.get(0))?.collect()
}

/// Whether this is ours, of a format we know, and readable at the places that are needed first: its identity and format.
fn inspect(conn: &Connection, path: &Path) -> Result<(String, usize), JournalError> {
    let failed = |err: rusqlite::Error| storage(path, &err);
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).map_err(failed);
    let found = number("PRAGMA user_version")?.unwrap_or_default();
    if number("PRAGMA application_id")? != Some(APPLICATION) || found < 1 {
        return Err(JournalError::Storage(format!("{} is not a postrider journal", path.display())));
    }
    if found > FORMAT {
        return Err(JournalError::Newer { path: path.display().to_string(), found, known: FORMAT });
    }
    number("SELECT max(seq) FROM events")?;
    number("SELECT max(seq) FROM deliveries")?;
    number("SELECT max(seq) FROM attempts")?;
    number("SELECT count(*) FROM lanes")?;
    let identity = conn.query_row("SELECT value FROM meta WHERE key = 'identity'", [], |row| row.get(0));
    Ok((identity.map_err(failed)?, usize::try_from(found).unwrap_or(1)))
}

/// A file beside another: the same name and more.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite's word as ours, with the place and, where a person can do something, the remedy.
pub(super) fn storage(path: &Path, err: &rusqlite::Error) -> JournalError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    let shown = path.display();
    // What was never written so, such as a text that is no UTF-8.
    if let FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..) = err {
        return health::damaged(path, &err.to_string());
    }
    match err.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full(format!("{shown}: {err}")),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => health::damaged(path, &err.to_string()),
        _ => JournalError::Storage(format!("{shown}: {err}")),
    }
}

/// Whether the storage is to blame, and not the one command that met the error.
pub(super) fn is_storage_trouble(err: &rusqlite::Error) -> bool {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, FileLockingProtocolFailed,
        NoLargeFileSupport, NotADatabase, OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    matches!(
        err.sqlite_error_code(),
        Some(
            CannotOpen
                | DatabaseBusy
                | DatabaseCorrupt
                | DatabaseLocked
                | DiskFull
                | FileLockingProtocolFailed
                | NoLargeFileSupport
                | NotADatabase
                | OutOfMemory
                | PermissionDenied
                | ReadOnly
                | SystemIoFailure
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_the_safe_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        create_if_missing(&path).unwrap();
        let (writer, identity) = super::writer(&path).unwrap();
        assert_eq!(identity.len(), 10);
        let number = |name: &str| {
            writer
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .unwrap_or_else(|err| panic!("{name}: {err}"))
        };
        assert_eq!(number("synchronous"), 2, "FULL: an fsync for every commit");
        assert_eq!(number("auto_vacuum"), 2, "incremental");
        assert_eq!(number("page_size"), 4096);
        assert_eq!(number("mmap_size"), 0);
        assert_eq!(number("user_version"), FORMAT);
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert!(reader(&path).unwrap().execute_batch("DELETE FROM meta").is_err(), "a reader cannot write");
    }

    #[test]
    fn a_database_of_each_earlier_format_becomes_as_a_new_one() {
        // What a database of the format lacks that came before.
        let undo = [
            "ALTER TABLE events DROP COLUMN data;",
            "DROP INDEX once_until; DROP TABLE once; DROP INDEX deliveries_order;
             ALTER TABLE deliveries DROP COLUMN order_key; ALTER TABLE lanes DROP COLUMN hold_until;",
            "DROP INDEX once_delivery; ALTER TABLE events DROP COLUMN sum;",
            "ALTER TABLE deliveries DROP COLUMN kept_not; ALTER TABLE deliveries DROP COLUMN kept_type;
             ALTER TABLE deliveries DROP COLUMN kept_body; ALTER TABLE deliveries DROP COLUMN original;",
            "ALTER TABLE events DROP COLUMN traceparent;",
            "ALTER TABLE deliveries DROP COLUMN carrier; ALTER TABLE attempts DROP COLUMN along;",
        ];
        assert_eq!(undo.len(), UPGRADES.len());
        let columns = |path: &Path| {
            let conn = reader(path).unwrap();
            let sql = "SELECT s.name || '.' || c.name FROM sqlite_schema s, pragma_table_info(s.name) c ORDER BY 1";
            let mut all = conn.prepare(sql).unwrap();
            let names: rusqlite::Result<Vec<String>> = all.query_map([], |row| row.get(0)).unwrap().collect();
            names.unwrap()
        };
        for format in 1..FORMAT {
            let dir = tempfile::tempdir().unwrap();
            let (old, new) = (dir.path().join("old.db"), dir.path().join("new.db"));
            create_if_missing(&new).unwrap();
            create_if_missing(&old).unwrap();
            let lacking: String = undo[format as usize - 1..].iter().rev().copied().collect();
            let lacking =
                format!("{lacking} INSERT INTO lanes (name) VALUES ('kept'); PRAGMA user_version = {format};");
            Connection::open(&old).unwrap().execute_batch(&lacking).unwrap();
            assert_ne!(columns(&old), columns(&new));
            drop(super::writer(&old).unwrap());
            assert_eq!(columns(&old), columns(&new), "from format {format}");
            let conn = reader(&old).unwrap();
            assert_eq!(conn.query_row("SELECT name FROM lanes", [], |row| row.get::<_, String>(0)).unwrap(), "kept");
            let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, FORMAT);
        }
    }

    #[test]
    fn the_library_has_no_known_way_to_lose_data() {
        // Before 3.51.3 a checkpoint could meet a writer and reset the log under it.
        let version: Vec<u32> = rusqlite::version().split('.').map(|part| part.parse().unwrap()).collect();
        assert!(version >= vec![3, 51, 3], "{version:?}");
    }

    #[test]
    fn the_storage_is_told_from_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        create_if_missing(&path).unwrap();
        let (writer, _) = super::writer(&path).unwrap();
        let full = {
            writer.pragma_update(None, "max_page_count", 1).unwrap();
            let fill = "INSERT INTO meta SELECT value, randomblob(9) FROM generate";
            let fill = format!(
                "WITH RECURSIVE generate (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM generate LIMIT 9999) {fill}"
            );
            writer.execute_batch(&fill.replace("randomblob(9)", "'some text'")).unwrap_err()
        };
        assert!(is_storage_trouble(&full), "{full}");
        assert!(matches!(storage(&path, &full), JournalError::Full(_)), "{full}");
        let constraint = writer.execute_batch("INSERT INTO meta VALUES ('identity', 'x')").unwrap_err();
        assert!(!is_storage_trouble(&constraint), "{constraint}");
    }
}
