//! Every bound of the program, with its reason. Sizes are bytes unless the name says otherwise.

use std::time::Duration;

// ---- hook files, scripts, secrets ----

/// A hook file or the main file. YAML parsers cost quadratic time on hostile nesting; nobody writes 64 KiB by hand.
pub const HOOK_FILE: usize = 64 * 1024;
/// A platform script; the largest built-in one is a tenth of it.
pub const SCRIPT_FILE: usize = 64 * 1024;
/// A secret: room for a PEM key, not for a file named by mistake.
pub const SECRET_FILE: usize = 64 * 1024;
/// Files looked at in one `hooks.d` folder.
pub const HOOK_FILES: usize = 20_000;
/// Nesting of a YAML document.
pub const YAML_DEPTH: usize = 64;
/// Nodes of one YAML document: an alias bomb stops here.
pub const YAML_NODES: usize = 20_000;
/// Changed last good files that are synced one by one; more are synced all at once, which on a first start with
/// thousands of hooks is the difference between one second and a minute.
pub const SYNC_EACH: usize = 16;

// ---- templates ----

/// minijinja "fuel" for one leaf: about 10 ms of instructions.
pub const TEMPLATE_FUEL: u64 = 100_000;
/// What one leaf may render to. The longest text any platform takes is far below.
pub const TEMPLATE_OUTPUT: usize = 1024 * 1024;
/// One `{{ … }}` or `{% … %}`: thousands of chained operators overflow the stack, which nothing can catch.
pub const TEMPLATE_TAG: usize = 4 * 1024;

// ---- scripts ----

/// Rhai operations of one call: `loop {}` dies in about a millisecond.
pub const SCRIPT_OPERATIONS: u64 = 500_000;
/// Processor time of one call. Not wall time: a machine that is busy may stall a healthy script for seconds.
pub const SCRIPT_PROCESSOR_TIME: Duration = Duration::from_millis(500);
/// Depth of calls inside a script.
pub const SCRIPT_CALL_LEVELS: usize = 32;
/// Depth of an expression inside a script.
pub const SCRIPT_EXPRESSION_DEPTH: usize = 64;
/// A string that a script builds.
pub const SCRIPT_STRING: usize = 4 * 1024 * 1024;
/// Messages that one long text becomes: more than these nobody reads in a chat, and they would use up a robot's minute.
pub const PARTS: usize = 20;
/// Bytes of a link or a tag that is never cut: whoever looked further for its end would do so for each bracket.
pub const MARKUP_SPAN: usize = 2048;
/// An array that a script builds, in elements.
pub const SCRIPT_ARRAY: usize = 100_000;
/// A map that a script builds, in members, with those of everything in it: twenty parts of a Lark post have 714 lines each, and
/// each line two members.
pub const SCRIPT_MAP: usize = 50_000;

/// Deliveries that go in one message unless a hook says otherwise: what a chat shows on two screens.
pub const DIGEST: usize = 50;
/// The most that a hook may say: each is held in memory whole while the message is made, and marked after a death.
pub const DIGEST_MAX: usize = 100;
/// How far `waiting` is counted for a digest: whoever has so many need not know how many more.
pub const DIGEST_COUNT: usize = 1000;
/// The longest: what waits a day for company is not news.
pub const DIGEST_WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Characters of a delivery's own text that stand in a digest that has no template.
pub const DIGEST_LINE: usize = 200;
/// Deliveries that are remembered to go apart because a message with them was refused.
pub const DIGEST_APART: usize = 10_000;

// ---- signatures ----

/// Keys of one signature: the current one and those that are being replaced.
pub const SIGNING_KEYS: usize = 16;
/// Signatures in one header that are looked at; each may cost the time of an elliptic curve.
pub const SIGNATURES: usize = 16;
/// How far a signed time may be from ours: what the libraries of Standard Webhooks and of Stripe allow.
pub const SIGNATURE_TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// The least that can be asked for: clocks are never nearer.
pub const SIGNATURE_TOLERANCE_MIN: Duration = Duration::from_secs(1);
/// The most: so long a request that was seen could be sent again.
pub const SIGNATURE_TOLERANCE_MAX: Duration = Duration::from_secs(24 * 3600);

// ---- intake ----

/// One NDJSON line, and the data of one event.
pub const EVENT: usize = 1024 * 1024;
/// The body of one HTTP request: a batch of events.
pub const HTTP_BODY: usize = 16 * 1024 * 1024;
/// The body of one HTTP request that may always be in memory, for every connection.
pub const HTTP_SMALL: usize = 64 * 1024;
/// Larger bodies in memory at once, per listener.
pub const HTTP_LARGE: usize = 8;
/// Bytes of a body beyond its bound that are read and thrown away, so that its sender lives to see the refusal.
pub const HTTP_DISCARDED: usize = 64 * 1024 * 1024;
/// Events in one HTTP request.
pub const HTTP_BATCH: usize = 10_000;
/// The head of one HTTP request.
pub const HTTP_HEAD: usize = 16 * 1024;
/// Headers of one HTTP request.
pub const HTTP_HEADERS: usize = 64;
/// Connections open at once, per listener.
pub const CONNECTIONS: usize = 512;
/// Answers that one NDJSON connection may wait for; past it we stop reading, which the sender feels.
pub const PIPELINE: usize = 1024;
/// Lines of one NDJSON connection that are stored together, when they came together.
pub const GROUP: usize = 256;
/// How long a listener rests after it could not take a connection, mostly for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log says so.
pub const ACCEPT_COMPLAINT: Duration = Duration::from_secs(5);
/// Time from the first byte of a request's head to its last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence after which an intake connection over TCP is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which a connection on a local socket is closed: a pipe from `tail -f` may be quiet all night.
pub const SOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Length of an event id, type or source.
pub const NAME: usize = 256;
/// Deliveries that may wait before intake answers "busy". `limits.waiting` in the main file changes it.
pub const WAITING: u64 = 5_000_000;
/// Bytes of events accepted but not yet on disk; past it intake answers "busy".
pub const UNWRITTEN: usize = 32 * 1024 * 1024;
/// The largest `limits.waiting`.
pub const WAITING_MAX: u64 = 100_000_000;
/// What a refused sender is told to wait.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Sources in the main file.
pub const SOURCES: usize = 1000;
/// Requests remembered for `replay_window`: about 20 MB at the most.
pub const REPLAYS: usize = 100_000;
/// Longest `replay_window`.
pub const REPLAY_WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

// ---- senders ----

/// How long a sender whose connection ended before the answer tries to hand the same in again: a restart takes a second
/// or two.
pub const EMIT_AGAIN: Duration = Duration::from_secs(10);
/// Its first wait, which doubles …
pub const EMIT_WAIT: Duration = Duration::from_millis(20);
/// … up to this.
pub const EMIT_WAIT_MAX: Duration = Duration::from_millis(500);
/// Silence after which a sender takes the daemon for one that hangs, or that does not come up behind its socket. Disks
/// that are busy take seconds.
pub const EMIT_ANSWER: Duration = Duration::from_secs(30);
/// A file of the spool must have been quiet for so long: whoever writes in its place, instead of renaming, is not read
/// in the middle of it.
pub const SPOOL_SETTLE: Duration = Duration::from_millis(500);
/// How long the spool rests when the queue takes nothing, or a file cannot be opened for now.
pub const SPOOL_REST: Duration = Duration::from_secs(2);
/// Names of the spool that are looked at together, the first in their order.
pub const SPOOL_NAMES: usize = 10_000;
/// Bytes of one file of the spool: as much as one HTTP request.
pub const SPOOL_FILE: usize = HTTP_BODY;
/// Events in one file of the spool: as many as in one HTTP request.
pub const SPOOL_EVENTS: usize = HTTP_BATCH;
/// Files that the spool could not take of which `status` tells; of more it tells how many.
pub const SPOOL_TOLD: usize = 10;
/// Bytes of what is said of such a file that are read.
pub const SPOOL_WHY: usize = 4 * 1024;
/// How long `wrap` waits for the last output of a command that has ended; a process that it left behind may hold on to it.
pub const WRAP_LINGER: Duration = Duration::from_millis(500);
/// Bytes of one line of output that go into the event.
pub const WRAP_LINE: usize = 1024;
/// Bytes of output that go into the event: what a chat message can show, several times over.
pub const WRAP_TAIL: usize = 16 * 1024;

// ---- journal ----

/// Commands taken into one commit. Whatever queued during the last commit is the batch, up to this.
pub const COMMIT_BATCH: usize = 1024;
/// Outcomes ride along with the next commit, or wait this long.
pub const OUTCOME_LINGER: Duration = Duration::from_millis(10);
/// Outcomes that do not wait for more of them: long before `UNSETTLED` of them would keep new deliveries from being sent.
pub const OUTCOMES_AT_ONCE: usize = 256;
/// Fresh deliveries that a lane is handed in memory; the rest it reads from the journal when it gets there, which costs
/// each of them a tenth more. A receiver that is down must not fill what all lanes share.
pub const FRESH_PER_LANE: usize = 8192;
/// Bytes of all events that are handed over in memory.
pub const FRESH_BYTES: usize = 32 * 1024 * 1024;
/// Deliveries read from the journal at once.
pub const CLAIM_WINDOW: usize = 256;
/// Outcomes that may be on their way to the disk; past it nothing new is sent. A crash repeats at most these and
/// what is being sent.
pub const UNSETTLED: usize = 1024;
/// Rows that one operator query may return.
pub const LIST: usize = 10_000;
/// Deliveries that one order of an operator (replay, flush, drop) changes in one transaction: a few milliseconds, so that
/// who sends events meanwhile does not feel it, however many are meant.
pub const ORDER_STEP: usize = 128;
/// The body of a dead letter that is kept for `replay --original`: larger ones fill the journal, and are rendered anew.
pub const KEPT_BODY: usize = 64 * 1024;
/// Rows that are looked at in one short read while an operator's filter is applied.
pub const WALK: usize = 2048;
/// Ids that a command may name at once.
pub const NAMED: usize = 10_000;
/// Bytes of one order of an operator: that many ids.
pub const ADMIN_ORDER: usize = 1024 * 1024;
/// Deliveries that a dry run shows before it only counts.
pub const SHOWN_FIRST: usize = 10;
/// Pages of the journal that `backup` copies in one step: 4 MiB, after which it rests for a moment so that the disk is
/// not its own.
pub const BACKUP_STEP: i32 = 1024;
/// How long it rests.
pub const BACKUP_REST: Duration = Duration::from_millis(5);
/// Characters of a value that `explain` shows.
pub const EXPLAINED_VALUE: usize = 80;
/// One value of one row in the journal: twice the largest body that intake takes.
pub const JOURNAL_VALUE: i32 = 32 * 1024 * 1024;
/// How long a journal that is still locked is waited for before somebody else is said to use it.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How long the journal waits after storage trouble before it tries again.
pub const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// … and so many times longer than the last try took: a check reads everything, and damage does not go away by itself.
pub const CHECK_REST: u32 = 10;
/// How often the journal looks at its file, at the free space, and at what its readers met: what was moved away is
/// noticed within two of them.
pub const JOURNAL_LOOK: Duration = Duration::from_secs(1);
/// Bytes of events after which it looks at the free space all the same: a flood is faster than a clock.
pub const JOURNAL_LOOK_BYTES: usize = 4 * 1024 * 1024;
/// A journal that is not larger is checked whole, rows against indexes, before it is used: that takes some 20 ms.
pub const CHECKED_AT_START: u64 = 4 * 1024 * 1024;
/// A larger one is checked beside the work, first so long after the start: a daemon that is started again and again
/// must not be checked all the time.
pub const CHECK_AFTER: Duration = Duration::from_secs(60);
/// … and then so often.
pub const CHECK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// What is delivered is kept so long, unless `journal.keep_delivered` says otherwise: a week to look back.
pub const KEEP_DELIVERED: Duration = Duration::from_secs(7 * 24 * 3600);
/// What is dead is kept so long, unless `journal.keep_dead` says otherwise: a month to mend and replay it.
pub const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest of these times: what was sent so lately tells a starting daemon how much of a pace is used up.
pub const KEEP_SHORTEST: Duration = RECALL;
/// The longest of these times.
pub const KEEP_LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The journal's database may grow so large before what is delivered, then what is dead, is removed before its time.
pub const JOURNAL_SIZE: u64 = 2 * 1024 * 1024 * 1024;
/// The smallest `journal.max_size`: below it the largest request would push out everything else.
pub const JOURNAL_SIZE_MIN: u64 = 32 * 1024 * 1024;
/// The largest; the pages of a SQLite file allow for more.
pub const JOURNAL_SIZE_MAX: u64 = 1024 * 1024 * 1024 * 1024;
/// Space that intake leaves free: everything that may be accepted and not yet written (`UNWRITTEN`), once in the log and
/// once in the database.
pub const MIN_FREE: u64 = 2 * UNWRITTEN as u64;
/// The smallest `journal.min_free`: room for one event of the largest size, in the log and in the database.
pub const MIN_FREE_MIN: u64 = 2 * EVENT as u64;
/// The largest.
pub const MIN_FREE_MAX: u64 = JOURNAL_SIZE_MAX;
/// Files that intake leaves to be made: the journal's own, and the last good versions of a few hundred hooks.
pub const MIN_FREE_FILES: u64 = 512;
/// Space that is taken beforehand and given back when outcomes find no room: an outcome is an attempt with at most
/// `RESPONSE_KEPT` of text, and at most `UNSETTLED` and what is in the air are on their way. Both in the log and in the
/// database that is less than half of it.
pub const BALLAST: u64 = 8 * 1024 * 1024;
/// … given back in such pieces, so that the next time finds some as well.
pub const BALLAST_STEP: u64 = 1024 * 1024;
/// How long one step of removing or shrinking holds up the commits behind it, but for its fsync.
pub const PRUNE_STEP: Duration = Duration::from_millis(3);
/// While others write, removing rests so many times as long as its last step took.
pub const PRUNE_REST: u32 = 4;
/// Events looked at in one step at the most.
pub const PRUNE_EVENTS: usize = 256;
/// Pages given back to the file system in one step.
pub const VACUUM_PAGES: u32 = 128;
/// Free pages that the database keeps for what comes next: one mebibyte.
pub const FREE_PAGES: i64 = 256;
/// How often it is looked for what is to be removed, at the most; oftener where little is kept.
pub const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// Pages of the log, of 4 KiB, after which it is folded into the database: pages that change again and again, as the ends
/// of the tables do, are then written once for all of them.
pub const LOG_PAGES: u32 = 4000;
/// Silence after which the log is folded into the database and cut.
pub const LOG_IDLE: Duration = Duration::from_secs(2);

// ---- deliveries ----

/// Bytes of a response that are read; the rest is dropped with the connection.
pub const RESPONSE_BODY: usize = 64 * 1024;
/// Bytes of a response body that the journal keeps for `show`.
pub const RESPONSE_KEPT: usize = 1024;
/// Bytes behind those that are looked at too: a secret that begins in what is kept must be known by its whole length.
pub const RESPONSE_BESIDE: usize = 1024;
/// Headers of a response.
pub const RESPONSE_HEADERS: usize = 100;
/// Bytes of a response's head.
pub const RESPONSE_HEAD: usize = 64 * 1024;
/// Bytes of a request body that a platform may build.
pub const REQUEST_BODY: usize = 16 * 1024 * 1024;
/// Total time of an attempt, from the connect to the last byte, unless the hook says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest `timeout` a hook may ask for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Idle connections kept per host: as many as its hooks may use at once, or every other delivery opens a new one.
pub const IDLE_PER_HOST: usize = 512;
/// How long an idle connection is kept. Short: receivers close theirs without a word.
pub const POOL_IDLE: Duration = Duration::from_secs(30);
/// Names looked up at once. A lookup blocks a thread, for ten seconds where DNS is dead, and cannot be called off.
pub const LOOKUPS: usize = 16;
/// A lookup that takes longer is of a name that is lost; sound resolvers answer in a tenth of it.
pub const LOOKUP_SLOW: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried: each gets its share of the deadline.
pub const ADDRESSES: usize = 8;
/// Concurrency of a hook whose platform names none.
pub const CONCURRENCY: usize = 16;
/// The largest `concurrency`.
pub const CONCURRENCY_MAX: usize = 1024;
/// First wait of the backoff.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest wait of the backoff.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Age at which a delivery is given up.
pub const MAX_AGE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Longest wait that a receiver may ask for with Retry-After: an absurd date must not park a delivery for a year.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Shortest `pause` that a verdict rule may ask for: below it a pause is only a retry.
pub const PAUSE_SHORTEST: Duration = Duration::from_secs(1);
/// Shortest wait after any retryable failure.
pub const RETRY_FLOOR: Duration = Duration::from_millis(100);
/// Requests in the largest `rate_limit` window: each is remembered by its time.
pub const PACE_WINDOW: usize = 10_000;
/// Added to a pace window: requests sent 60.0 s apart may arrive 59.9 s apart.
pub const PACE_MARGIN: Duration = Duration::from_millis(250);
/// Receivers remembered without use before they are forgotten.
pub const RECEIVERS: usize = 10_000;
/// Retryable failures in a row after which a receiver is left alone for a while. One that fails every fifth time must
/// not get there by chance, however much it is sent: five in a row would come every few thousand requests.
pub const BREAKER_FAILURES: u32 = 10;
/// The largest `breaker.failures`; more is the same as none.
pub const BREAKER_FAILURES_MAX: u32 = 1_000_000;
/// How long a receiver that fails is left alone at first: no longer than a delivery waits after its first failure.
pub const BREAKER_PROBE: Duration = Duration::from_secs(5);
/// … and at most: a receiver that is back should not wait for us much longer than it was away.
pub const BREAKER_MAX: Duration = Duration::from_secs(600);
/// The shortest wait of a breaker: below it, it is only a backoff.
pub const BREAKER_SHORTEST: Duration = Duration::from_millis(100);
/// Requests at once to a receiver that is just back, before it may have as many as its hooks want.
pub const BREAKER_RAMP: u32 = 32;
/// How often whoever waits for one of those requests looks by itself; it is told, too.
pub const BREAKER_LOOK: Duration = Duration::from_secs(5);
/// Shortest `timeout`: below it even a healthy receiver next door fails.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The largest `max_age`: the journal is not an archive.
pub const MAX_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The largest `max_attempts`; more is the same as none.
pub const MAX_ATTEMPTS: u32 = 1_000_000;
/// Shortest window of a `rate_limit`.
pub const PACE_WINDOW_SHORTEST: Duration = Duration::from_secs(1);
/// Longest window of a `rate_limit`: what was sent is remembered in memory.
pub const PACE_WINDOW_LONGEST: Duration = Duration::from_secs(24 * 3600);

// ---- the daemon ----

/// How long changed files must be quiet before they are read.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// The slow poll that finds what the watch missed.
pub const POLL: Duration = Duration::from_secs(30);
/// However busy somebody is editing, files are read this often.
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(1);
/// The poll when it is all there is, because the kernel has no watches left.
pub const POLL_ALONE: Duration = Duration::from_secs(2);
/// Files that are worth a second thread to read them.
pub const READ_AHEAD: usize = 64;
/// Threads that read files at the same time: each has memory of its own that it does not give back.
pub const READERS: usize = 4;
/// How often files that change while they are read are read again before they are taken as they are.
pub const LOOKS: usize = 4;
/// Ways to sign that hooks hold together; each hook is compared with all of them when it is read, and few are in use.
pub const SHARED_OUTLINES: usize = 32;
/// The path of a Unix socket: `sun_path` of 108 bytes with its final zero.
pub const SOCKET_PATH: usize = 107;
/// How long a stopping daemon waits for deliveries in flight.
pub const DRAIN: Duration = Duration::from_secs(20);
/// Log lines kept for a slow reader of `log -f` before it misses some.
pub const STREAM_BUFFER: usize = 1024;
/// Robots of one hook that take turns: a group has no room for more, and each asks the receiver for its own quota.
pub const ROBOTS: usize = 16;
/// How far a starting daemon looks back for receivers that asked for a pause: DingTalk mutes for ten minutes. An older
/// pause is learnt again from the receiver.
pub const RECALL: Duration = Duration::from_secs(15 * 60);
/// Troubles that may wait to be told; more stand in the log only.
pub const TROUBLES: usize = 1024;
/// How often the daemon tells of the dead letters of one hook: at once, then how many there were since.
pub const TROUBLE_EVERY: Duration = Duration::from_secs(60);
/// Bytes of one field in the system's journal: a datagram must hold them all.
pub const LOG_FIELD: usize = 16 * 1024;
/// How often whoever waits for a daemon to stop is told what is still in the air.
pub const LANDING_LOOK: Duration = Duration::from_millis(200);
/// How long a lane sleeps at most: a clock that was set must be noticed, and what expires while nothing may be sent.
pub const LANE_SLEEP: Duration = Duration::from_secs(60);
/// How much later than that a lane may look at its queue before it counts as stuck: a busy machine is no standstill.
pub const LANE_LATE: Duration = Duration::from_secs(60);
/// How often the service manager is told that the queue makes progress, and what is going on.
pub const PULSE: Duration = Duration::from_secs(5);
/// Hooks that have metrics of their own, the first that there were; the others are `other`. Each is some twenty rows that
/// a scraper keeps, and one answer stays below two megabytes.
pub const METRIC_HOOKS: usize = 500;
/// How long `/metrics` waits for what waits, which is read from the journal; then it goes without.
pub const METRICS_WAIT: Duration = Duration::from_secs(5);
/// Bounds of the histogram of attempts: from a receiver on this machine to the longest timeout that is common.
pub static ATTEMPT_TIMES: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
/// Bounds of the histogram of ages at arrival: from at once to `MAX_AGE`.
pub static AGE_TIMES: [Duration; 12] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(3 * 24 * 3600),
];
/// Bounds of the histogram of commits: from a disk with a battery to one that is in trouble.
pub static COMMIT_TIMES: [Duration; 12] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// One part of the history that `status` draws: `words::tally::SLOTS` of them are an hour.
pub const HISTORY_PART: Duration = Duration::from_secs(3 * 60);
/// How often the daemon looks whether the journal is in trouble, to say so in its log.
pub const STORAGE_LOOK: Duration = Duration::from_secs(1);
/// How often a quiet `log -f` is told that it is still connected.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of one answer that a command reads from the daemon.
pub const ADMIN_ANSWER: usize = 256 * 1024 * 1024;

// ---- traces ----

/// Spans that wait for the collector; while they are so many, new ones are dropped and counted. Each has a dozen short
/// texts, so that all of them are some five megabytes.
pub const SPANS: usize = 4096;
/// Spans in one request: some 500 kB, well below what collectors take (4 MiB and more).
pub const SPAN_BATCH: usize = 512;
/// Bytes of one text in a span: no name is longer, and of a reason the beginning says what it is.
pub const SPAN_TEXT: usize = 256;
/// How long a span waits for company.
pub const SPAN_LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take for one request.
pub const SPAN_TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a collector took nothing, which doubles …
pub const SPAN_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
pub const SPAN_RETRY_MAX: Duration = Duration::from_secs(60);
/// What is left of the spans is handed over within this when the daemon stops: they are no reason to wait longer.
pub const SPAN_FLUSH: Duration = Duration::from_secs(3);

// ---- the sink ----

/// A request body that the sink reads: WeCom takes files of 20 MiB, and the form around them.
pub const SINK_BODY: usize = 21 * 1024 * 1024;
/// Requests that the sink remembers; older ones are forgotten, and it says how many.
pub const SINK_REQUESTS: usize = 50_000;
/// Bytes of remembered bodies.
pub const SINK_BYTES: usize = 256 * 1024 * 1024;
/// Robots that the sink keeps apart: any token makes one.
pub const SINK_BOTS: usize = 10_000;
/// Steps of a script that wait in the sink.
pub const SINK_SCRIPT: usize = 10_000;
/// Bytes of a body that the sink prints on a terminal.
pub const SINK_SHOWN: usize = 8 * 1024;

// ---- proving ----

/// Memory of the process in which hooks and scripts are proven: some twenty times the largest text that they may make.
pub const PROOF_MEMORY: u64 = 96 * 1024 * 1024;
/// Its address space: its memory, its own program and libraries.
pub const PROOF_SPACE: u64 = 1024 * 1024 * 1024;
/// Its stack: half of what rendering has in the daemon, so that what passes here is far from the end there.
pub const PROOF_STACK: usize = 2 * 1024 * 1024;
/// Threads that take events, render and send, unless more are asked for: one alone keeps a core busy while the journal's
/// leaves half of another idle, and more would wait for the journal.
pub const WORKERS: usize = 2;
/// The stack of the daemon's threads. It is address space, not memory, until it is used.
pub const STACK: usize = 4 * 1024 * 1024;
/// Processor seconds for one hook or script; a sound one takes a thousandth of it.
pub const PROOF_SECONDS: u64 = 2;
/// Time without any answer after which the proving process is ended: it gets no processor, or waits for what never comes.
pub const PROOF_SILENCE: Duration = Duration::from_secs(20);
/// Hooks proven by one process: starting one costs as much as proving ten hooks.
pub const PROOF_BATCH: usize = 1024;
/// Bytes of hook files given to one process: what is left of them is given again to the next one after a death.
pub const PROOF_BYTES: usize = 1024 * 1024;
/// Processes that prove at the same time.
pub const PROOF_PROCESSES: usize = 4;
/// How long one look at the files goes on after what kills the proving process. What is left is tried at the next look.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a proving process may say about its own death.
pub const PROOF_WORDS: u64 = 4 * 1024;
/// A made-up text for a field, long enough to be cut everywhere.
pub const PROOF_TEXT: usize = 4 * 1024;
/// How long the very long text is that a new hook is tried with: longer than most platforms take, and than what stands in
/// a field of an event.
pub const FRAGILE_TEXT: usize = 12 * 1024;
/// How many new hooks at most are tried with values that may break them while the daemon loads them: each takes some
/// milliseconds, and a daemon with thousands of new ones is to start all the same. `check` tries every one.
pub const FRAGILE_AT_ONCE: usize = 128;
/// Deliveries remembered as suspected of having killed the process.
pub const SUSPECTS: usize = 1024;
/// Deaths in a row while one delivery was rendered, seen by their marks, after which it is given up although a trial of it
/// came to an end. Fewer would give up what was only hit by an operator's kills.
pub const RENDER_DEATHS: u32 = 3;
/// File descriptors kept free for deliveries and the journal: intake pauses before it takes them.
pub const RESERVED_FILES: u64 = 32;
