//! The journal in one SQLite file: `journal.db` in the state directory, in WAL mode, with an fsync for every commit.
//!
//! One thread writes, one reads for the lanes, one reads for people. What was just appended is handed to its lane in
//! memory; the database is read when a lane has more than fits there, after a restart, and when a retry comes due.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::oneshot;

use self::chores::Chores;
use self::commits::Commits;
use self::health::Checking;
use self::lanes::{Lanes, Plan};
use self::queue::{Commands, queue};
use self::reader::Reader;
use self::space::Space;
use self::transaction::{Book, Reopen};
use self::writer::{Command, Writer};
use super::{
    Accepted, Along, Append, Appended, Bells, DeliveryRow, Due, Filter, Found, Hold, Journal, JournalError, LaneCount,
    LogRow, NotCopied, Pending, Progress, Revised, Revision, Shape, Shown, Then, Usage, Walk, keep_micros, micros,
    number, promise,
};
use crate::words::delivery::{Attempt, Delivery, Kept, Outcome};
use crate::words::event::Event;
use crate::words::keeping::Keeping;
use crate::words::limits;
use crate::words::tally::Spread;

mod backup;
mod chores;
mod commits;
mod dues;
mod health;
mod lanes;
mod log;
mod prune;
mod query;
mod queue;
mod reader;
mod revise;
mod schema;
mod space;
mod sum;
mod terms;
mod times;
mod transaction;
mod walk;
mod writer;

/// The file in the state directory.
const FILE: &str = "journal.db";

/// The journal in one SQLite file.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    identity: Arc<str>,
    clock: Clock,
    shared: Arc<Shared>,
    commands: Commands,
    /// Reads windows for the lanes.
    claims: Reader,
    /// Reads lists, which may take a while, for people.
    operators: Reader,
    writer: Option<JoinHandle<()>>,
}

/// What is accepted is accepted at its time.
#[derive(Clone)]
struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Clock")
    }
}

/// What the threads share.
#[derive(Debug, Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    bells: Arc<Bells>,
    waiting: AtomicU64,
    unwritten: AtomicUsize,
    commits: Commits,
    trouble: Mutex<Option<JournalError>>,
    /// Why intake must stop although all is well: little space.
    low: Mutex<Option<JournalError>>,
    /// What readers met that may be damage, and whether only a whole check can tell.
    doubt: Mutex<Option<(JournalError, bool)>>,
    keeping: Mutex<Keeping>,
    keeping_changed: AtomicBool,
    usage: Mutex<Usage>,
    closed: AtomicBool,
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().expect("no thread panics with it")
    }

    fn keeping(&self) -> Keeping {
        *self.keeping.lock().expect("no thread panics with it")
    }

    /// Has the writer look whether there is damage.
    fn doubt(&self, error: JournalError, whole: bool) {
        *self.doubt.lock().expect("no thread panics with it") = Some((error, whole));
    }

    /// Plans a read without keeping the lanes locked for its duration, as a `let` on the guard would.
    fn plan(&self, plan: impl FnOnce(&mut Lanes) -> Option<Plan>) -> Option<Plan> {
        plan(&mut self.lanes())
    }

    fn read_window(
        &self,
        conn: &rusqlite::Connection,
        identity: &str,
        lane: &Arc<str>,
        plan: &Plan,
    ) -> rusqlite::Result<()> {
        let (read, result) = match query::window(conn, identity, lane, plan) {
            Ok(read) => (Some(read), Ok(())),
            Err(err) => (None, Err(err)),
        };
        self.lanes().merge(lane, read);
        result
    }
}

impl SqliteJournal {
    /// Opens the journal of a state directory, which is made if need be, and holds it until it is closed or dropped.
    /// Blocks for some milliseconds. A damaged file is reported and left as it is.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        Self::open_by(dir, Timestamp::now)
    }

    /// The same with a clock to go by. It may begin anywhere: what would wait longer than anything may is due then, and
    /// a clock that was set back before this start makes nothing wait longer.
    pub fn open_by(dir: &Path, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Result<Self, JournalError> {
        let clock = Clock(Arc::new(clock));
        let lock = schema::lock(dir)?;
        let path = dir.join(FILE);
        let space = Space::new(dir);
        // The files beside the database must be made even where nothing else can be.
        if space.free().bytes.is_some_and(|bytes| bytes < limits::BALLAST_STEP) {
            space.release();
        }
        let known = health::known(dir)?;
        if known.is_some() && !path.exists() {
            return Err(health::missing(&path, dir));
        }
        log::inspect(&path)?;
        schema::create_if_missing(&path)?;
        let (conn, identity) = schema::writer(&path)?;
        health::at_start(&conn, &path, dir, &identity, known.as_deref())?;
        let identity: Arc<str> = identity.into();
        times::mend(&conn, clock.now()).map_err(|err| schema::storage(&path, &err))?;
        let shared = Arc::new(Shared::default());
        let book = {
            let mut lanes = shared.lanes();
            let book = Book::read(&conn, identity.clone(), &mut lanes).map_err(|err| schema::storage(&path, &err))?;
            shared.waiting.store(lanes.waiting(), Ordering::Relaxed);
            shared.bells.ring_each(lanes.concerned());
            book
        };
        schema::trust(&conn, &path)?;
        let claims = Reader::start("journal-claims", path.clone(), shared.clone())?;
        let operators = Reader::start("journal-lists", path.clone(), shared.clone())?;
        let checking = Checking::start(path.clone(), shared.clone())?;
        let (commands, todo) = queue();
        let readers = (claims.0.clone(), operators.0.clone());
        let writer = Writer {
            file: schema::file(&path),
            path: path.clone(),
            clock: clock.clone(),
            commands: todo,
            shared: shared.clone(),
            book,
            readers: vec![claims, operators],
            lock,
            checking,
            chores: Chores::new(space),
            kept: Vec::new(),
            again: std::collections::VecDeque::new(),
            trouble: None,
        };
        let thread = std::thread::Builder::new().name("journal-writer".to_owned());
        let thread = thread
            .spawn(move || writer.run(conn))
            .map_err(|err| JournalError::Storage(format!("cannot start a thread: {err}")))?;
        Ok(Self {
            path,
            identity,
            clock,
            shared,
            commands,
            claims: readers.0,
            operators: readers.1,
            writer: Some(thread),
        })
    }

    /// The first part of this journal's delivery ids.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Commits since the start.
    pub fn commits(&self) -> u64 {
        self.shared.commits.read().count()
    }

    fn is_open(&self) -> Result<(), JournalError> {
        if self.shared.closed.load(Ordering::Acquire) { Err(JournalError::Closed) } else { Ok(()) }
    }

    /// Sends a command at once, whether or not its answer is ever awaited.
    fn command<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Pending<T> {
        if let Err(err) = self.is_open() {
            return ready(Err(err));
        }
        let (answer, pending) = oneshot::channel();
        // A writer that is gone drops the answer, which reads as `Closed`.
        self.commands.send(command(answer));
        promise(pending)
    }

    fn ask<T: Send + 'static>(
        &self,
        reader: &Reader,
        question: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        match self.is_open() {
            Ok(()) => reader.ask(question),
            Err(err) => ready(Err(err)),
        }
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // As if closed: the queue is finite, and trouble is given one more try only.
        self.commands.send(Command::Close { answer: None });
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Journal for SqliteJournal {
    fn append(&self, mut batch: Vec<Append>) -> Pending<Vec<Appended>> {
        batch.iter_mut().for_each(|append| keep_micros(&mut append.event));
        let weight = batch.iter().map(|append| append.event.weight()).sum();
        self.command(|answer| {
            self.shared.unwritten.fetch_add(weight, Ordering::Relaxed);
            Command::Append { batch, weight, answer }
        })
    }

    fn claim(&self, lane: &Arc<str>, now: Timestamp, room: usize) -> Pending<Vec<Delivery>> {
        if let Err(err) = self.is_open() {
            return ready(Err(err));
        }
        // What is sent while outcomes cannot be stored would be sent again for ever.
        if room == 0 || self.trouble().is_some() {
            return ready(Ok(Vec::new()));
        }
        let now = micros(now);
        {
            let mut lanes = self.shared.lanes();
            if !lanes.must_read(lane, now, room) {
                return ready(Ok(lanes.take(lane, now, room)));
            }
        }
        let (shared, identity, lane) = (self.shared.clone(), self.identity.clone(), lane.clone());
        self.claims.ask(move |conn| {
            // A window may turn out to be known already, to the last row, when a commit came between; a few of them in
            // a row would be a wonder.
            for _ in 0..4 {
                let Some(plan) = shared.plan(|lanes| lanes.plan_claim(&lane, now, room)) else { break };
                shared.read_window(conn, &identity, &lane, &plan)?;
            }
            Ok(shared.lanes().take(&lane, now, room))
        })
    }

    fn claim_one(&self, lane: &Arc<str>, now: Timestamp) -> Option<Delivery> {
        if self.is_open().is_err() || self.trouble().is_some() {
            return None;
        }
        self.shared.lanes().take_one(lane, micros(now))
    }

    fn unclaim(&self, delivery: Delivery) {
        self.shared.lanes().unclaim(delivery);
    }

    fn settle_all_then(
        &self,
        delivery: &Delivery,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
        along: Vec<Along>,
        then: Then,
    ) {
        self.hand_in(delivery, (attempt, attempts, outcome), along, then);
    }

    fn due(&self, lane: &Arc<str>, now: Timestamp, most: usize) -> Pending<Due> {
        self.due_of(lane, now, most)
    }

    fn next_due(&self, lane: &Arc<str>) -> Pending<Option<Timestamp>> {
        self.next_due_of(lane)
    }

    fn bells(&self) -> &Arc<Bells> {
        &self.shared.bells
    }

    fn lanes(&self) -> Pending<Vec<(Arc<str>, LaneCount)>> {
        let shared = self.shared.clone();
        self.ask(&self.operators, move |conn| {
            let tallies = shared.lanes().tallies();
            let waits = tallies.iter().any(|(_, _, tally)| tally.waiting > 0);
            let oldest = if waits { query::oldest(conn)? } else { Default::default() };
            let count = |count: i64| count.max(0).unsigned_abs();
            let mut lanes: Vec<_> = tallies
                .into_iter()
                .map(|(name, row, tally)| {
                    let oldest = row.and_then(|row| oldest.get(&row)).copied().filter(|_| tally.waiting > 0);
                    let (waiting, dead, delivered) = (count(tally.waiting), count(tally.dead), count(tally.delivered));
                    (name, LaneCount { waiting, dead, delivered, oldest })
                })
                .collect();
            lanes.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(lanes)
        })
    }

    fn waiting(&self) -> u64 {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    fn unwritten(&self) -> usize {
        self.shared.unwritten.load(Ordering::Relaxed)
    }

    fn trouble(&self) -> Option<JournalError> {
        self.shared.trouble.lock().expect("no thread panics with it").clone()
    }

    fn refuses(&self) -> Option<JournalError> {
        self.trouble().or_else(|| self.shared.low.lock().expect("no thread panics with it").clone())
    }

    fn commit_times(&self) -> Spread {
        self.shared.commits.read()
    }

    fn keep(&self, keeping: Keeping) {
        *self.shared.keeping.lock().expect("no thread panics with it") = keeping;
        self.shared.keeping_changed.store(true, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        *self.shared.usage.lock().expect("no thread panics with it")
    }

    fn list(&self, filter: Filter) -> Pending<Vec<DeliveryRow>> {
        let (identity, shared) = (self.identity.clone(), self.shared.clone());
        self.ask(&self.operators, move |conn| {
            let mut rows = query::list(conn, &identity, &filter)?;
            let lanes = shared.lanes();
            for row in rows.iter_mut().filter(|row| row.outcome == "waiting") {
                let seq = number(&identity, &row.delivery).unwrap_or_default();
                row.claimed = lanes.is_claimed(&row.hook.as_str().into(), seq);
            }
            Ok(rows)
        })
    }

    fn log(&self, filter: Filter) -> Pending<Vec<LogRow>> {
        let identity = self.identity.clone();
        self.ask(&self.operators, move |conn| query::log(conn, &identity, &filter))
    }

    fn show(&self, id: &str) -> Pending<Option<Shown>> {
        let (identity, seq) = (self.identity.clone(), number(&self.identity, id));
        let shared = self.shared.clone();
        self.ask(&self.operators, move |conn| {
            let Some(seq) = seq else { return Ok(None) };
            let mut shown = query::show(conn, &identity, seq)?;
            if let Some(shown) = &mut shown {
                shown.row.claimed = shared.lanes().is_claimed(&shown.row.hook.as_str().into(), seq);
            }
            Ok(shown)
        })
    }

    fn event(&self, id: &str) -> Pending<Option<Arc<Event>>> {
        let id = id.to_owned();
        self.ask(&self.operators, move |conn| walk::event(conn, &id))
    }

    fn walk(&self, walk: Walk) -> Pending<Vec<Found>> {
        let (identity, shared) = (self.identity.clone(), self.shared.clone());
        self.ask(&self.operators, move |conn| {
            let mut found = walk::walk(conn, &identity, &walk)?;
            let lanes = shared.lanes();
            found.iter_mut().for_each(|one| one.row.claimed = lanes.is_claimed(&walk.lane, one.seq));
            Ok(found)
        })
    }

    fn shape(&self, lane: Option<Arc<str>>, ages: Vec<Timestamp>, now: Timestamp) -> Pending<Vec<(Arc<str>, Shape)>> {
        self.ask(&self.operators, move |conn| {
            let lanes = walk::waiting_lanes(conn, lane.as_deref())?;
            let shapes = lanes.into_iter().map(|(name, row)| Ok((name, walk::shape(conn, row, &ages, now)?)));
            shapes.collect()
        })
    }

    fn revise(&self, seqs: Vec<i64>, revision: Revision, now: Timestamp) -> Pending<Revised> {
        self.command(|answer| Command::Revise { seqs, revision, now, answer })
    }

    fn keep_body(&self, delivery: &Delivery, kept: Kept) {
        // A writer that is gone keeps nothing.
        self.commands.send(Command::Keep { seq: delivery.seq, kept });
    }

    fn not_kept(&self, seqs: Vec<i64>) -> Pending<Vec<(i64, String)>> {
        self.ask(&self.operators, move |conn| query::not_kept(conn, &seqs))
    }

    fn number(&self, id: &str) -> Option<i64> {
        number(&self.identity, id)
    }

    fn backup(&self, to: PathBuf, replace: bool, progress: Progress) -> Pending<Result<u64, NotCopied>> {
        if let Err(err) = self.is_open() {
            return ready(Err(err));
        }
        let (answer, pending) = oneshot::channel();
        let from = self.path.clone();
        // It may take minutes: nobody else's questions wait behind it.
        let thread = std::thread::Builder::new().name("journal-backup".to_owned());
        let started = thread.spawn(move || _ = answer.send(Ok(backup::copy(&from, &to, replace, &progress))));
        match started {
            Ok(_) => promise(pending),
            Err(err) => ready(Err(JournalError::Storage(format!("cannot start a thread: {err}")))),
        }
    }

    fn reopen(&self, filter: Filter, now: Timestamp) -> Pending<Vec<String>> {
        let reopen = Box::new(Reopen { filter, now, after: 0, ids: Vec::new() });
        self.command(|answer| Command::Reopen { reopen, answer })
    }

    fn set_hold(&self, lane: &Arc<str>, hold: Option<Hold>) -> Pending<()> {
        let lane = lane.clone();
        self.command(|answer| Command::Hold { lane, hold, answer })
    }

    fn accepted_since(&self, since: Timestamp, most: usize) -> Pending<Vec<Accepted>> {
        self.ask(&self.operators, move |conn| query::accepted_since(conn, since, most))
    }

    fn holds(&self) -> Pending<Vec<(Arc<str>, Hold)>> {
        self.ask(&self.operators, query::holds)
    }

    fn close(&self) -> Pending<()> {
        if self.shared.closed.swap(true, Ordering::AcqRel) {
            return ready(Err(JournalError::Closed));
        }
        let (answer, pending) = oneshot::channel();
        self.commands.send(Command::Close { answer: Some(answer) });
        promise(pending)
    }
}

fn ready<T: Send + 'static>(result: Result<T, JournalError>) -> Pending<T> {
    Box::pin(std::future::ready(result))
}
