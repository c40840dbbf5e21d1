//! What the writer does between two batches: it looks at its file and at the disk, removes what is old, and folds the
//! log when nobody writes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::prune::{self, Pruned, Pruner, Step};
use super::schema;
use super::space::Space;
use super::transaction::Statements;
use super::writer::{Command, Retry, Writer};
use crate::edges::journal::{JournalError, Usage};
use crate::words::limits;

/// When what is due.
#[derive(Debug)]
pub(super) struct Chores {
    pub(super) space: Space,
    /// A failed write or read may have left damage behind: the next connection is checked before it is used. Whether
    /// whole, rows against indexes.
    pub(super) suspect: Option<bool>,
    pruner: Pruner,
    look: Instant,
    /// Bytes of events since the last look.
    bytes: usize,
    /// Since when nobody wrote.
    quiet: Instant,
    /// Whether the log holds anything that the database does not.
    unfolded: bool,
    removed: (u64, u64),
}

impl Chores {
    pub(super) fn new(space: Space) -> Self {
        let now = Instant::now();
        Self {
            space,
            suspect: None,
            pruner: Pruner::new(),
            look: now,
            bytes: 0,
            quiet: now,
            unfolded: true,
            removed: (0, 0),
        }
    }

    /// How long nothing is due.
    pub(super) fn rest(&self) -> Duration {
        let fold = self.unfolded.then(|| self.quiet + limits::LOG_IDLE);
        let next = [Some(self.look), Some(self.pruner.next()), fold].into_iter().flatten().min();
        next.map_or(limits::JOURNAL_LOOK, |next| next.saturating_duration_since(Instant::now()))
    }

    /// Notes what is about to be written.
    pub(super) fn note(&mut self, batch: &[Command]) {
        if batch.is_empty() {
            return;
        }
        self.unfolded = true;
        if !matches!(batch, [Command::Prune { .. }]) {
            self.quiet = Instant::now();
        }
        let weight = |command: &Command| if let Command::Append { weight, .. } = command { *weight } else { 0 };
        self.bytes += batch.iter().map(weight).sum::<usize>();
    }

    /// A step of removing was done.
    pub(super) fn pruned(&mut self, step: &Step, done: &Pruned) {
        self.removed.0 += done.delivered;
        self.removed.1 += done.dead;
        self.pruner.did(step, done);
    }
}

impl Writer {
    /// Does what is due. `busy`: others have just written, and will again.
    pub(super) fn do_chores(&mut self, conn: &Connection, sql: &mut Statements<'_>, busy: bool) -> Retry {
        let now = Instant::now();
        if self.chores.look <= now || self.chores.bytes > limits::JOURNAL_LOOK_BYTES {
            self.chores.look = now + limits::JOURNAL_LOOK;
            self.chores.bytes = 0;
            if let Err(error) = self.look(conn) {
                self.trouble(error);
                return Retry::Reopen;
            }
        }
        let keeping = self.shared.keeping();
        if let Some(step) = self.chores.pruner.step(keeping) {
            let retry = self.write(conn, sql, vec![Command::Prune { step }]);
            self.chores.pruner.rest(now.elapsed(), busy);
            return retry;
        }
        if self.chores.unfolded && self.chores.quiet + limits::LOG_IDLE <= now {
            return self.fold(conn);
        }
        Retry::No
    }

    /// Looks at the file, at what the readers met, and at the disk.
    fn look(&mut self, conn: &Connection) -> Result<(), JournalError> {
        self.is_in_place()?;
        if let Some((error, whole)) = self.shared.doubt.lock().expect("no thread panics with it").take() {
            self.chores.suspect = Some(whole);
            return Err(error);
        }
        let keeping = self.shared.keeping();
        if self.shared.keeping_changed.swap(false, Ordering::Relaxed) {
            self.chores.pruner.now();
        }
        self.look_at_space();
        let pages = prune::pages(conn).map_err(|err| schema::storage(&self.path, &err))?;
        self.chores.pruner.look(pages, &keeping);
        let size = |path: &std::path::Path| path.metadata().map_or(0, |found| found.len());
        let usage = Usage {
            size: size(&self.path),
            log: size(&schema::beside(&self.path, "-wal")),
            used: prune::used(pages),
            max_size: keeping.max_size,
            free: self.chores.space.free().bytes.unwrap_or_default(),
            min_free: keeping.min_free,
            ballast: self.chores.space.ballast_size(),
            waiting_exceeds: self.chores.pruner.exceeds,
            removed_delivered: self.chores.removed.0,
            removed_dead: self.chores.removed.1,
        };
        *self.shared.usage.lock().expect("no thread panics with it") = usage;
        Ok(())
    }

    /// Whether intake must stop for want of space, and the ballast.
    pub(super) fn look_at_space(&mut self) {
        let min_free = self.shared.keeping().min_free;
        let free = self.chores.space.free();
        let low = self.chores.space.judge(free, min_free);
        self.chores.space.refill(free, min_free);
        *self.shared.low.lock().expect("no thread panics with it") = low.map(JournalError::Low);
    }

    /// Whether the file that is written is the one that the next start would find.
    pub(super) fn is_in_place(&self) -> Result<(), JournalError> {
        let found = schema::file(&self.path);
        if found == self.file {
            return Ok(());
        }
        let path = self.path.display();
        Err(JournalError::Storage(match found {
            None => format!("{path} was moved or deleted while it was in use: put it back, it goes on by itself"),
            Some(_) => format!(
                "{path} was moved or deleted while it was in use, and another file stands there: put it back, or restart to use the other one"
            ),
        }))
    }

    /// Folds the log into the database and cuts it, if nobody reads just now.
    fn fold(&mut self, conn: &Connection) -> Retry {
        self.chores.unfolded = false;
        let folded = conn.busy_timeout(Duration::ZERO).and_then(|()| {
            let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
            conn.busy_timeout(schema::BUSY)?;
            busy
        });
        match folded {
            Ok(busy) => {
                self.chores.unfolded = busy;
                if busy {
                    self.chores.quiet = Instant::now();
                }
                Retry::No
            }
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => Retry::No,
            Err(error) => {
                self.chores.suspect.get_or_insert(false);
                self.trouble(schema::storage(&self.path, &error));
                Retry::Reopen
            }
        }
    }
}
