//! The one thread that writes. It takes whatever queued up during the last commit into the next one, and answers after
//! the commit has returned, which is after fsync.
//!
//! When the storage fails, what was to be appended is refused, for its sender still has it. Outcomes are kept, in their
//! order, and tried again every second: they are known nowhere else, and nothing new is sent until they are written.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::chores::Chores;
use super::health::{self, Checking};
use super::lanes::Lanes;
use super::prune::{Pruned, Step};
use super::queue::Todo;
use super::reader::Reader;
use super::schema::{self, Lock};
use super::transaction::{Book, Effects, Reopen, Settle, Statements, Transaction};
use super::{Clock, Shared};
use crate::edges::journal::{Append, Appended, Hold, JournalError, Revised, Revision, Then, delivery_id, micros};
use crate::words::delivery::Kept;
use crate::words::limits;

/// Where a result is awaited, perhaps.
pub(super) type Answer<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Append { batch: Vec<Append>, weight: usize, answer: Answer<Vec<Appended>> },
    Settle { settle: Box<Settle>, then: Then },
    Reopen { reopen: Box<Reopen>, answer: Answer<Vec<String>> },
    Keep { seq: i64, kept: Kept },
    Revise { seqs: Vec<i64>, revision: Revision, now: Timestamp, answer: Answer<Revised> },
    Hold { lane: Arc<str>, hold: Option<Hold>, answer: Answer<()> },
    Prune { step: Step },
    Close { answer: Option<Answer<()>> },
}

impl Command {
    /// Whether somebody waits for it. What is only to be recorded may wait for company.
    pub(super) fn hurries(&self) -> bool {
        !matches!(self, Self::Settle { .. } | Self::Keep { .. })
    }
}

/// What a command did.
enum Done {
    Appended(Vec<Appended>),
    Settled(bool),
    Reopened(Vec<i64>),
    Revised(Revised),
    Kept,
    Held,
    Pruned(Pruned),
}

/// Why a transaction did not come about.
enum Failure {
    /// One of the commands is to blame, and only it.
    Command(JournalError),
    Storage(JournalError),
}

/// Why the writer stopped using a connection.
enum Ended {
    Closed(Option<Answer<()>>),
    Broken,
}

/// The writer's own state.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) clock: Clock,
    /// Which file it is: one that was moved or deleted would take every commit and keep none.
    pub(super) file: Option<(u64, u64)>,
    pub(super) commands: Todo,
    pub(super) shared: Arc<Shared>,
    pub(super) book: Book,
    pub(super) readers: Vec<(Reader, JoinHandle<()>)>,
    pub(super) lock: Lock,
    pub(super) checking: Checking,
    /// Outcomes that could not be written.
    pub(super) kept: Vec<Command>,
    /// Work that goes on in the next transaction.
    pub(super) again: VecDeque<Command>,
    /// What is to be done besides.
    pub(super) chores: Chores,
    /// What is wrong, and when to try again.
    pub(super) trouble: Option<(JournalError, Instant)>,
}

impl Writer {
    /// Works until it is closed.
    pub(super) fn run(mut self, first: Connection) {
        let mut open = Some(first);
        let answer = loop {
            let ended = match &open {
                Some(conn) => self.serve(conn),
                None => self.sit_out().map_or(Ended::Broken, Ended::Closed),
            };
            match ended {
                Ended::Broken => {
                    drop(open.take());
                    // After a failed fsync the pages in memory are not to be trusted: begin with a new connection, and
                    // with what it reads.
                    if self.is_time() {
                        open = self.reopen();
                    }
                }
                Ended::Closed(answer) => break answer,
            }
        };
        self.shut_down(open, answer);
    }

    /// Works with one connection.
    fn serve(&mut self, conn: &Connection) -> Ended {
        let mut sql = match Statements::prepare(conn) {
            Ok(sql) => sql,
            Err(err) => {
                self.trouble(schema::storage(&self.path, &err));
                return Ended::Broken;
            }
        };
        loop {
            if self.trouble.is_some() {
                if !self.is_time()
                    && let Some(answer) = self.sit_out()
                {
                    self.retry(conn, &mut sql);
                    return Ended::Closed(answer);
                }
                if self.retry(conn, &mut sql) == Retry::Reopen {
                    return Ended::Broken;
                }
                continue;
            }
            let (batch, close) = self.gather();
            let busy = !batch.is_empty();
            let mut retry = self.write(conn, &mut sql, batch);
            if let Some(answer) = close {
                return Ended::Closed(answer);
            }
            if retry == Retry::No {
                retry = self.do_chores(conn, &mut sql, busy);
            }
            if retry == Retry::Reopen {
                return Ended::Broken;
            }
        }
    }

    /// Waits for work, and takes what else is there: a batch, and whether to close after it.
    fn gather(&mut self) -> (Vec<Command>, Option<Option<Answer<()>>>) {
        let mut batch: Vec<Command> = self.again.drain(..).collect();
        if batch.is_empty() {
            let Some(first) = self.commands.next_before(Instant::now() + self.chores.rest()) else {
                return (batch, None);
            };
            batch.push(first);
            self.commands.take(&mut batch, limits::COMMIT_BATCH);
            // Nobody waits for an outcome, so it may wait for company.
            if batch.len() < limits::OUTCOMES_AT_ONCE && batch.iter().all(|one| !one.hurries()) {
                self.commands.company(Instant::now() + limits::OUTCOME_LINGER);
            }
        }
        self.commands.take(&mut batch, limits::COMMIT_BATCH);
        // Nothing is asked of a journal after it was asked to close.
        let closes = batch.iter().position(|command| matches!(command, Command::Close { .. }));
        match closes.map(|at| batch.drain(at..).next()) {
            Some(Some(Command::Close { answer })) => (batch, Some(answer)),
            _ => (batch, None),
        }
    }

    /// Commits a batch, or as much of it as can be.
    pub(super) fn write(&mut self, conn: &Connection, sql: &mut Statements<'_>, mut batch: Vec<Command>) -> Retry {
        if batch.is_empty() {
            return Retry::No;
        }
        self.chores.note(&batch);
        if self.trouble.is_some() {
            self.refuse_all(batch);
            return Retry::Later;
        }
        match self.commit(conn, sql, &batch, false) {
            Ok((done, effects)) => self.tell(batch, done, effects),
            Err(Failure::Command(err)) if batch.len() == 1 => {
                batch.drain(..).for_each(|command| self.refuse(command, &err));
            }
            // The others must not suffer for it: each on its own.
            Err(Failure::Command(_)) => {
                return batch.into_iter().map(|one| self.write(conn, sql, vec![one])).fold(Retry::No, Retry::max);
            }
            Err(Failure::Storage(err)) => {
                let full = matches!(err, JournalError::Full(_));
                self.trouble(err);
                self.refuse_all(batch);
                // Where there is no room for an event there may be room for an outcome.
                return if full { self.retry(conn, sql) } else { Retry::Reopen };
            }
        }
        Retry::No
    }

    /// One transaction, from BEGIN to the fsync.
    fn commit(
        &mut self,
        conn: &Connection,
        sql: &mut Statements<'_>,
        batch: &[Command],
        touch: bool,
    ) -> Result<(Vec<Done>, Effects), Failure> {
        self.is_in_place().map_err(Failure::Storage)?;
        let mut effects = Effects::default();
        let began = Instant::now();
        match transact(conn, sql, &mut self.book, &mut effects, &self.shared.lanes, (batch, self.clock.now()), touch) {
            Ok(done) => {
                if !matches!(batch, [Command::Prune { .. }]) {
                    self.shared.commits.note(began.elapsed());
                }
                Ok((done, effects))
            }
            Err(err) => {
                if !conn.is_autocommit() {
                    // It may have been rolled back already, and then there is nothing to say.
                    let _ = conn.execute_batch("ROLLBACK");
                }
                self.book.forget(&effects);
                let mut lanes = self.shared.lanes();
                effects.reserved.drain(..).for_each(|(name, key)| lanes.let_go(&name, key));
                drop(lanes);
                let error = self.judge(&err);
                let rolled_back = conn.is_autocommit();
                let storage = schema::is_storage_trouble(&err) || !rolled_back;
                Err(if storage { Failure::Storage(error) } else { Failure::Command(error) })
            }
        }
    }

    /// After a commit: memory first, then the answers, then the bells.
    fn tell(&mut self, batch: Vec<Command>, done: Vec<Done>, effects: Effects) {
        let ring = {
            let mut lanes = self.shared.lanes();
            let ring = effects.apply(&mut lanes, &self.book);
            self.shared.waiting.store(lanes.waiting(), Ordering::Relaxed);
            ring
        };
        for (command, done) in batch.into_iter().zip(done) {
            self.answer(command, done);
        }
        self.shared.bells.ring_each(&ring);
    }

    fn answer(&mut self, command: Command, done: Done) {
        match (command, done) {
            (Command::Append { weight, answer, .. }, Done::Appended(appended)) => {
                self.shared.unwritten.fetch_sub(weight, Ordering::Relaxed);
                let _ = answer.send(Ok(appended));
            }
            (Command::Hold { answer, .. }, Done::Held) => {
                let _ = answer.send(Ok(()));
            }
            (Command::Prune { step }, Done::Pruned(done)) => self.chores.pruned(&step, &done),
            (Command::Keep { .. }, Done::Kept) => {}
            (Command::Revise { answer, .. }, Done::Revised(revised)) => drop(answer.send(Ok(revised))),
            (Command::Settle { then, .. }, Done::Settled(true)) => then(Ok(())),
            (Command::Settle { settle, then }, Done::Settled(false)) => {
                then(Err(crate::edges::journal::not_waiting(settle.seq)));
            }
            (Command::Reopen { mut reopen, answer }, Done::Reopened(seqs)) => {
                let more = reopen.filter.limit.is_none() && seqs.len() == reopen.filter.limit();
                reopen.after = seqs.last().copied().unwrap_or(reopen.after);
                reopen.ids.extend(seqs.iter().map(|seq| delivery_id(&self.book.identity, *seq).to_string()));
                if more {
                    self.again.push_back(Command::Reopen { reopen, answer });
                } else {
                    let _ = answer.send(Ok(reopen.ids));
                }
            }
            _ => unreachable!("every command has its own kind of answer"),
        }
    }

    // ---- trouble ----

    pub(super) fn trouble(&mut self, error: JournalError) {
        *self.shared.trouble.lock().expect("no thread panics with it") = Some(error.clone());
        self.trouble = Some((error, Instant::now() + limits::JOURNAL_RETRY));
    }

    /// What an error means: whether the disk is full, and whether the file must be checked before it is used again.
    fn judge(&mut self, err: &rusqlite::Error) -> JournalError {
        if !health::is_ominous(err) {
            return schema::storage(&self.path, err);
        }
        self.chores.suspect.get_or_insert(false);
        if self.chores.space.is_spent() {
            return JournalError::Full(format!("{}: {err}", self.path.display()));
        }
        schema::storage(&self.path, err)
    }

    fn is_time(&self) -> bool {
        self.trouble.as_ref().is_none_or(|(_, next)| *next <= Instant::now())
    }

    /// Waits until it is time to try again. Outcomes are kept meanwhile, everything else is refused. `Some`: to be closed.
    fn sit_out(&mut self) -> Option<Option<Answer<()>>> {
        loop {
            let (error, next) = self.trouble.clone()?;
            match self.commands.next_before(next) {
                Some(Command::Close { answer }) => return Some(answer),
                Some(command) => self.keep_or_refuse(command, &error),
                None => return None,
            }
        }
    }

    /// Tries to write the kept outcomes, and something in any case.
    fn retry(&mut self, conn: &Connection, sql: &mut Statements<'_>) -> Retry {
        let kept = std::mem::take(&mut self.kept);
        let mut written = self.commit(conn, sql, &kept, true);
        // Outcomes are known nowhere else: they are worth the space that was put aside for them.
        while matches!(written, Err(Failure::Storage(JournalError::Full(_)))) && self.chores.space.release() {
            written = self.commit(conn, sql, &kept, true);
            if written.is_ok() {
                tracing::warn!("the disk is full: outcomes are kept in the space of the ballast");
            }
        }
        match written {
            Ok((done, effects)) => {
                // Whoever hears that an outcome is kept must not be told of trouble afterwards.
                self.mended();
                self.tell(kept, done, effects);
                self.shared.bells.ring_all();
                Retry::No
            }
            Err(Failure::Command(_)) if !kept.is_empty() => {
                self.mended();
                self.shared.bells.ring_all();
                kept.into_iter().map(|one| self.write(conn, sql, vec![one])).fold(Retry::No, Retry::max)
            }
            Err(Failure::Command(err) | Failure::Storage(err)) => {
                // Before what was kept meanwhile: a delivery's outcomes must be written in their order.
                let later = std::mem::replace(&mut self.kept, kept);
                self.kept.extend(later);
                let full = matches!(err, JournalError::Full(_));
                self.trouble(err);
                if full { Retry::Later } else { Retry::Reopen }
            }
        }
    }

    fn mended(&mut self) {
        // First, so that intake does not open for a moment on a disk that is still full.
        self.look_at_space();
        self.trouble = None;
        *self.shared.trouble.lock().expect("no thread panics with it") = None;
    }

    fn refuse_all(&mut self, batch: Vec<Command>) {
        if let Some((error, _)) = self.trouble.clone() {
            batch.into_iter().for_each(|command| self.keep_or_refuse(command, &error));
        }
    }

    fn keep_or_refuse(&mut self, command: Command, error: &JournalError) {
        match command {
            Command::Settle { mut settle, then } => {
                settle.retried = true;
                settle.along.iter_mut().for_each(|other| other.retried = true);
                self.kept.push(Command::Settle { settle, then });
            }
            other => self.refuse(other, error),
        }
    }

    fn refuse(&mut self, command: Command, error: &JournalError) {
        let error = error.clone();
        match command {
            Command::Append { weight, answer, .. } => {
                self.shared.unwritten.fetch_sub(weight, Ordering::Relaxed);
                let _ = answer.send(Err(error));
            }
            Command::Settle { then, .. } => then(Err(error)),
            Command::Hold { answer, .. } | Command::Close { answer: Some(answer) } => {
                let _ = answer.send(Err(error));
            }
            Command::Reopen { answer, .. } => drop(answer.send(Err(error))),
            Command::Revise { answer, .. } => drop(answer.send(Err(error))),
            // What goes out again is rendered anew then.
            Command::Keep { .. } => {}
            Command::Close { answer: None } | Command::Prune { .. } => {}
        }
    }

    /// A new connection, and what it says of the lanes: a transaction whose fsync failed may have come about all the same.
    fn reopen(&mut self) -> Option<Connection> {
        let identity = self.book.identity.clone();
        let began = Instant::now();
        let in_place = self.is_in_place();
        let opened = in_place.and_then(|()| schema::writer(&self.path)).and_then(|(conn, found)| {
            if *found != *identity {
                let path = self.path.display();
                return Err(JournalError::Storage(format!("{path} is not the journal that was opened: restart")));
            }
            if let Some(whole) = self.chores.suspect {
                health::check(&conn, &self.path, whole)?;
            }
            schema::renew_log(&conn, &self.path)?;
            self.chores.suspect = None;
            let book = Book::read(&conn, identity, &mut self.shared.lanes());
            self.book = book.map_err(|err| schema::storage(&self.path, &err))?;
            self.shared.bells.ring_each(self.shared.lanes().concerned());
            schema::trust(&conn, &self.path)?;
            Ok(conn)
        });
        match opened {
            Ok(conn) => Some(conn),
            Err(err) => {
                self.trouble(err);
                // Reading a large file again and again would only add to the trouble.
                if let Some((_, again)) = &mut self.trouble {
                    *again += began.elapsed() * limits::CHECK_REST;
                }
                None
            }
        }
    }

    /// Ends the readers, folds the log into the database, and gives up the lock.
    fn shut_down(mut self, conn: Option<Connection>, answer: Option<Answer<()>>) {
        self.checking.stop();
        self.readers.iter().for_each(|(reader, _)| reader.stop());
        for (_, thread) in self.readers.drain(..) {
            let _ = thread.join();
        }
        let lost = self.trouble.take().filter(|_| !self.kept.is_empty());
        if let Some(conn) = conn {
            let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = conn.close();
        }
        drop(self.lock);
        if let Some(answer) = answer {
            let _ = answer.send(lost.map_or(Ok(()), |(error, _)| Err(error)));
        }
    }
}

/// What is to be done after an attempt to write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Retry {
    /// Nothing: all is well.
    No,
    /// Wait, then try with the same connection.
    Later,
    /// Wait, then try with a new connection.
    Reopen,
}

fn transact(
    conn: &Connection,
    sql: &mut Statements<'_>,
    book: &mut Book,
    effects: &mut Effects,
    lanes: &Mutex<Lanes>,
    (batch, now): (&[Command], Timestamp),
    touch: bool,
) -> rusqlite::Result<Vec<Done>> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut transaction = Transaction { conn, sql, book, effects, lanes, now: micros(now) };
    let mut done = Vec::with_capacity(batch.len());
    for command in batch {
        done.push(match command {
            Command::Append { batch, .. } => Done::Appended(transaction.append(batch)?),
            Command::Settle { settle, .. } => Done::Settled(transaction.settle(settle)?),
            Command::Reopen { reopen, .. } => Done::Reopened(transaction.reopen(reopen)?),
            Command::Keep { seq, kept } => {
                transaction.keep(*seq, kept)?;
                Done::Kept
            }
            Command::Revise { seqs, revision, now, .. } => Done::Revised(transaction.revise(seqs, revision, *now)?),
            Command::Hold { lane, hold, .. } => {
                transaction.hold(lane, hold.as_ref())?;
                Done::Held
            }
            Command::Prune { step } => Done::Pruned(transaction.prune(step)?),
            Command::Close { .. } => unreachable!("it ends a batch and is not part of it"),
        });
    }
    if touch {
        transaction.touch()?;
    }
    transaction.finish()?;
    conn.execute_batch("COMMIT")?;
    Ok(done)
}
