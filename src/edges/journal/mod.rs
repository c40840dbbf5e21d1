//! The durable record, behind a handful of verbs. Everything the promise rests on is here: `append` answers after
//! fsync, `settle` records exactly one outcome, and a claim does not survive the process.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::rules::hook::glob;
use crate::words::delivery::{Attempt, Delivery, Kept, Outcome, Terms};
use crate::words::event::Event;
use crate::words::keeping::Keeping;
use crate::words::limits;
use crate::words::tally::Spread;

pub mod bells;
pub mod lanes;
pub mod memory;
pub mod sqlite;
pub mod walk;

pub use bells::Bells;
pub use lanes::{Along, Due};
pub use memory::MemoryJournal;
pub use sqlite::SqliteJournal;
pub use walk::{After, Among, Found, NotCopied, Progress, Revised, Revision, Shape, Walk};

/// Base32 without the letters that are mistaken for digits or for each other.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What is done once an outcome is on disk, or could not be written. It must not block: everybody else waits for it.
pub type Then = Box<dyn FnOnce(Result<(), JournalError>) + Send + 'static>;

/// What a verb promises.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'static>>;

/// Why a verb could not be carried out. None of them is the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk is full.
    #[error("the journal's disk is full: {0}")]
    Full(String),
    /// It is not full yet, and nothing more should be accepted.
    #[error("too little space: {0}")]
    Low(String),
    /// Any other trouble of the storage.
    #[error("the journal cannot be written: {0}")]
    Storage(String),
    /// Another process owns the state directory.
    #[error("{path} is in use by another postrider (process {pid})")]
    Locked {
        /// The lock file.
        path: String,
        /// Who holds it, or "unknown".
        pid: String,
    },
    /// The file was written by a newer version.
    #[error("{path} was written by a newer postrider (format {found}, this one knows {known})")]
    Newer {
        /// The database.
        path: String,
        /// Its `user_version`.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is damaged, or not the one that it should be.
    #[error("{path} {what}: {remedy}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
        /// What a person can do.
        remedy: String,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// An event with the hooks it matched.
#[derive(Clone, Debug)]
pub struct Append {
    /// The event.
    pub event: Arc<Event>,
    /// The names of the hooks that want it.
    pub hooks: Vec<Arc<str>>,
    /// What some of them ask besides, by their index in `hooks`.
    pub terms: Vec<(usize, Terms)>,
}

impl Append {
    /// An event for hooks that ask for nothing else.
    pub fn new(event: Arc<Event>, hooks: Vec<Arc<str>>) -> Self {
        Self { event, hooks, terms: Vec::new() }
    }

    fn terms(&self, hook: usize) -> Terms {
        let found = self.terms.iter().find(|(index, _)| *index == hook);
        found.map(|(_, terms)| *terms).unwrap_or_default()
    }
}

/// What became of an `Append`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The event's id.
    pub id: String,
    /// The hooks it is owed to: for a duplicate, those of the first time. Hooks that had one with the same key lately
    /// (`Terms::once`) are not among them.
    pub hooks: Vec<Arc<str>>,
    /// Whether an event of this source and id was known already; then nothing was stored.
    pub duplicate: bool,
}

/// Why a whole hook does not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why, in words for a person.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// The hook's fingerprint when it was held: a changed hook or secret releases it. Empty: that does not.
    pub fingerprint: String,
    /// Then it ends by itself.
    pub until: Option<Timestamp>,
}

/// Which deliveries an operator means. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// These deliveries: `JOURNAL-SEQ` or just the number.
    pub ids: Vec<String>,
    /// Deliveries of the event with this id.
    pub event: Option<String>,
    /// Of this hook.
    pub hook: Option<String>,
    /// With this outcome: `waiting`, `delivered`, `dead`, `dropped`.
    pub outcome: Option<String>,
    /// Of events whose type matches this pattern (`*` and `?`).
    pub kind: Option<String>,
    /// Attempts only: those whose verdict is not `delivered`.
    pub failed: bool,
    /// `reopen` only: those whose last body was kept, and it goes out again.
    pub original: bool,
    /// Attempts only: those that were answered with a status between these.
    pub status: Option<(u16, u16)>,
    /// Accepted (deliveries) or begun (attempts) at or after this.
    pub since: Option<Timestamp>,
    /// … and before this.
    pub until: Option<Timestamp>,
    /// At most so many, the newest; never more than `limits::LIST`.
    pub limit: Option<usize>,
}

impl Filter {
    /// The numbers of the deliveries that are named; `None` when none is. An id of another journal names nothing.
    fn numbers(&self, identity: &str) -> Option<Vec<i64>> {
        let named = !self.ids.is_empty();
        named.then(|| self.ids.iter().filter_map(|id| number(identity, id)).collect())
    }

    /// Whether an event's type and an answer's status are meant.
    pub fn means(&self, kind: &str, status: Option<u16>) -> bool {
        self.kind.as_ref().is_none_or(|pattern| glob(pattern, kind))
            && self.status.is_none_or(|(from, to)| status.is_some_and(|status| (from..=to).contains(&status)))
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(limits::LIST).min(limits::LIST)
    }
}

/// A delivery as operators see it. The field names are a promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryRow {
    /// When it was accepted.
    pub time: Timestamp,
    /// The event's id.
    pub event: String,
    /// Its own id.
    pub delivery: String,
    /// The hook.
    pub hook: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// waiting, delivered, dead, dropped.
    pub outcome: String,
    /// Attempts that counted.
    pub attempts: u32,
    /// Not before this, while it waits.
    pub due: Option<Timestamp>,
    /// Why it is not there yet, or why it is dead.
    pub why: String,
    /// The word of why it is not there yet; nothing when it does not wait.
    pub reason: Option<String>,
    /// In which other delivery it went the last time: a digest.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// Whether it is handed out: most likely it is being sent.
    #[serde(skip)]
    pub claimed: bool,
}

/// An attempt as operators see it. The field names are a promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogRow {
    /// When it began.
    pub time: Timestamp,
    /// The event's id.
    pub event: String,
    /// The delivery's id.
    pub delivery: String,
    /// The hook.
    pub hook: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The delivery's outcome after this attempt.
    pub outcome: String,
    /// delivered, retry, pause, hold, reject; empty when no request could be made.
    pub verdict: String,
    /// The attempt's number.
    pub attempt: u32,
    /// HTTP status.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_ms: u64,
    /// Why.
    pub why: String,
}

/// One delivery whole.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The delivery.
    pub row: DeliveryRow,
    /// Its event.
    pub event: Arc<Event>,
    /// Its attempts, oldest first, each with the outcome it led to.
    pub attempts: Vec<(Attempt, String)>,
}

/// Counts of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneCount {
    /// Deliveries that wait.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Delivered and still on record.
    pub delivered: u64,
    /// The oldest that waits was accepted then.
    pub oldest: Option<Timestamp>,
}

/// How much of the disk the journal takes, and what was removed to keep it so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes of the database.
    pub size: u64,
    /// Bytes of its log.
    pub log: u64,
    /// Bytes in the database that are in use.
    pub used: u64,
    /// … of how many that may be (`journal.max_size`).
    pub max_size: u64,
    /// Bytes that are free on the disk.
    pub free: u64,
    /// … of how many that intake leaves (`journal.min_free`).
    pub min_free: u64,
    /// Bytes of the ballast.
    pub ballast: u64,
    /// Whether it is larger than `journal.max_size` although all that may be removed is: what waits is not.
    pub waiting_exceeds: bool,
    /// Deliveries that retention removed since the start: delivered or dropped …
    pub removed_delivered: u64,
    /// … and dead.
    pub removed_dead: u64,
}

/// An event that was accepted, as far as a source asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
    /// When it was accepted.
    pub time: Timestamp,
}

/// The durable record. All verbs may be called from any task; a future that is dropped does not undo its verb.
pub trait Journal: Send + Sync + 'static {
    /// Stores events with their deliveries, all of them in one transaction, and resolves after fsync. An event whose
    /// source and id are known is answered as before and stored once, also within one call.
    ///
    /// A delivery with `Terms::order` cannot be claimed while an earlier one of its lane and key waits: it becomes due
    /// in the transaction that records what became of that one. A delivery with `Terms::once` whose key its lane had
    /// within that time, and which is not dead or dropped, is recorded as dropped.
    fn append(&self, batch: Vec<Append>) -> Pending<Vec<Appended>>;

    /// Takes up to `room` deliveries of a lane that are due, oldest due first. None of them is handed out again until
    /// it is settled or unclaimed.
    fn claim(&self, lane: &Arc<str>, now: Timestamp, room: usize) -> Pending<Vec<Delivery>>;

    /// Takes one delivery as `claim` does, if memory has it. Nothing is no answer: only `claim` knows.
    fn claim_one(&self, lane: &Arc<str>, now: Timestamp) -> Option<Delivery>;

    /// Gives a claimed delivery back untouched: it is due as before, at the head of its lane.
    fn unclaim(&self, delivery: Delivery);

    /// Records an attempt and what it led to, and ends the claim. `attempts` is the delivery's new count. Calls `then`
    /// when it is on disk, which may take `limits::OUTCOME_LINGER` longer than a commit.
    fn settle_then(&self, delivery: &Delivery, attempt: Option<Attempt>, attempts: u32, outcome: Outcome, then: Then) {
        self.settle_all_then(delivery, attempt, attempts, outcome, Vec::new(), then);
    }

    /// The same, and in the same transaction what became of those that went along in its request.
    fn settle_all_then(
        &self,
        delivery: &Delivery,
        attempt: Option<Attempt>,
        attempts: u32,
        outcome: Outcome,
        along: Vec<Along>,
        then: Then,
    );

    /// The same for who waits for it.
    fn settle(&self, delivery: &Delivery, attempt: Option<Attempt>, attempts: u32, outcome: Outcome) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        let then = Box::new(move |recorded| drop(answer.send(recorded)));
        self.settle_then(delivery, attempt, attempts, outcome, then);
        promise(pending)
    }

    /// How much of a lane could be handed out, counted no further than `most`.
    fn due(&self, lane: &Arc<str>, now: Timestamp, most: usize) -> Pending<Due>;

    /// When the lane's next unclaimed delivery is due; `None` when nothing waits.
    fn next_due(&self, lane: &Arc<str>) -> Pending<Option<Timestamp>>;

    /// What rings when something may have become due in a lane: fresh work, reopened work. A journal that was just opened
    /// calls for every lane in which something waits, and for every one that is held.
    fn bells(&self) -> &Arc<Bells>;

    /// Every lane that has deliveries on record, with its counts.
    fn lanes(&self) -> Pending<Vec<(Arc<str>, LaneCount)>>;

    /// Events that an earlier life accepted at or after this, oldest first, and no more than the newest so many. A journal
    /// that ends with its process knows of none.
    fn accepted_since(&self, since: Timestamp, most: usize) -> Pending<Vec<Accepted>> {
        let _ = (since, most);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Deliveries that wait, in all lanes; cheap.
    fn waiting(&self) -> u64;

    /// Bytes of events handed to `append` and not yet on disk; cheap.
    fn unwritten(&self) -> usize;

    /// Why storage does not work right now, if so; cheap.
    fn trouble(&self) -> Option<JournalError>;

    /// Why no event should be handed to `append` right now, if so: trouble, or too little space to be sure of what comes
    /// after it; cheap.
    fn refuses(&self) -> Option<JournalError>;

    /// How long its commits took since the start, until they were on disk; cheap.
    fn commit_times(&self) -> Spread;

    /// Says what is to be kept from now on.
    fn keep(&self, keeping: Keeping);

    /// How much of the disk it takes, and what was removed; cheap.
    fn usage(&self) -> Usage;

    /// Deliveries, oldest first (with a limit: the newest so many).
    fn list(&self, filter: Filter) -> Pending<Vec<DeliveryRow>>;

    /// Attempts, oldest first (with a limit: the newest so many).
    fn log(&self, filter: Filter) -> Pending<Vec<LogRow>>;

    /// One delivery whole, by its id or its number.
    fn show(&self, id: &str) -> Pending<Option<Shown>>;

    /// The newest event with this id, of whichever source.
    fn event(&self, id: &str) -> Pending<Option<Arc<Event>>>;

    /// One short step through a lane, in the order of the index that it has.
    fn walk(&self, walk: Walk) -> Pending<Vec<Found>>;

    /// Counts what waits, lane by lane; `ages` are bounds from young to old, as times of acceptance.
    fn shape(&self, lane: Option<Arc<str>>, ages: Vec<Timestamp>, now: Timestamp) -> Pending<Vec<(Arc<str>, Shape)>>;

    /// Changes what waits of these, due or not, in one transaction and by the path of `settle`: what comes after a dropped
    /// one of the same key may go. What is handed out is left alone, so that nothing is settled twice.
    fn revise(&self, seqs: Vec<i64>, revision: Revision, now: Timestamp) -> Pending<Revised>;

    /// Keeps the body of the last request of a delivery that is about to be settled as dead.
    fn keep_body(&self, delivery: &Delivery, kept: Kept);

    /// Why the last request of each of these cannot go out again as it was; those that can are left out.
    fn not_kept(&self, seqs: Vec<i64>) -> Pending<Vec<(i64, String)>>;

    /// The number behind a delivery's id, or behind the bare number.
    fn number(&self, id: &str) -> Option<i64>;

    /// Copies the whole journal into a file, at one moment and without stopping anything. Resolves with its bytes. The
    /// file appears under its name when it is whole and on disk; one that is there already is replaced only if that is
    /// wanted and it is a journal's.
    fn backup(&self, to: PathBuf, replace: bool, progress: Progress) -> Pending<Result<u64, NotCopied>>;

    /// Makes every delivery meant by the filter wait again from now, with no attempt counted and its age begun anew.
    /// Only dead letters, and delivered or dropped ones that are named by id. Resolves with their ids.
    fn reopen(&self, filter: Filter, now: Timestamp) -> Pending<Vec<String>>;

    /// Records that a lane is held, or (`None`) released.
    fn set_hold(&self, lane: &Arc<str>, hold: Option<Hold>) -> Pending<()>;

    /// The lanes that are held.
    fn holds(&self) -> Pending<Vec<(Arc<str>, Hold)>>;

    /// Writes everything that is on its way and closes. Later verbs answer `Closed`.
    fn close(&self) -> Pending<()>;
}

/// What makes this journal's delivery ids unique across machines: ten random letters.
fn new_identity() -> String {
    let mut bytes = [0_u8; 10];
    SystemRandom::new().fill(&mut bytes).expect("the system gives random bytes");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// The id of a delivery in the journal of this identity.
fn delivery_id(identity: &str, seq: i64) -> Arc<str> {
    format!("{identity}-{seq}").into()
}

/// What a thread will answer; it drops the answer when it is closed.
fn promise<T: Send + 'static>(pending: oneshot::Receiver<Result<T, JournalError>>) -> Pending<T> {
    Box::pin(async move { pending.await.unwrap_or(Err(JournalError::Closed)) })
}

/// Outcomes are recorded once: whoever settles what does not wait has made a mistake.
fn not_waiting(seq: i64) -> JournalError {
    JournalError::Storage(format!("delivery {seq} does not wait, so nothing can become of it"))
}

/// The number behind a delivery id, or behind the bare number.
fn number(identity: &str, id: &str) -> Option<i64> {
    let digits = match id.rsplit_once('-') {
        Some((journal, digits)) if journal == identity => digits,
        Some(_) => return None,
        None => id,
    };
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A time as it is stored. The journal keeps microseconds.
fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// The due time of what waits for an earlier delivery with the same `order_by`.
const PARKED: i64 = i64::MAX;

/// Why nothing was kept of a delivery of which no request was made, or an older version did.
const NOTHING_KEPT: &str = "nothing was kept of its last request, if there was one: only those of dead letters are";

/// Why a delivery waits for another.
fn after(before: &str) -> String {
    format!("after {before}")
}

/// A time span as it is stored.
fn micros_of(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Why a delivery was not made: its lane had one with the same key.
fn same_as(first: &str, within: std::time::Duration) -> String {
    format!("duplicate: the same `dedupe` key as {first} within {}", crate::rules::backoff::shown(within))
}

/// The reverse of `micros`; a number that is no time reads as the end of time.
fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// Cuts the event's time to what is kept of it, so that the first attempt, which may be made from memory, sends the
/// same bytes as the second, which is made from the disk.
fn keep_micros(event: &mut Arc<Event>) {
    let kept = timestamp(micros(event.time));
    if event.time != kept {
        Arc::make_mut(event).time = kept;
    }
}
