//! Whatever happens in whatever order: events, answers, deaths, clocks that are set, edited files, pauses, replays and a
//! disk that fails, on the real journal with the real rules, against a model of a delivery that is too simple to be wrong.
//!
//! ```text
//! accepted              -> waiting, due now (behind the one before it, where the hook has `order_by`)
//! delivered             -> delivered           reject -> dead
//! retry                 -> waiting a backoff, or dead: too many attempts, or too old by then
//! pause                 -> waiting as long; the receiver too
//! death                 -> as it was; what was in the air is sent again
//! replay                -> dead ones wait from now
//! clock set             -> nothing waits longer
//! disk fails            -> nothing is accepted, nothing is forgotten
//! ```
//! `POSTRIDER_SEQUENCES=10000` is the long form. What failed is kept in `sequences.seeds` beside this file, and tried first.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::journal::{Append, Filter, Journal, SqliteJournal};
use postrider::engine::gate::Gate;
use postrider::rules::backoff;
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::delivery::Outcome;
use postrider::words::event::Event;
use postrider::words::verdict::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError, TestRunner};
use tempfile::TempDir;

use super::rounds;

const HOOKS: [&str; 3] = ["plain", "ordered", "few"];
const DAWN: i64 = 1_800_000_000_000_000;
const SECOND: i64 = 1_000_000;
const PAUSE: Duration = Duration::from_secs(60);
/// Most of a sequence's time is the journal's waiting for company.
const AT_ONCE: usize = 8;

#[derive(Clone, Debug)]
enum Act {
    /// An event for one hook, or for all of them; perhaps with an id that was there before.
    Accept {
        hook: Option<usize>,
        key: u8,
        again: bool,
    },
    /// The hook's next delivery is tried, and this is said to it.
    Try {
        hook: usize,
        answer: Answer,
    },
    /// It is sent and heard, and nobody lives to write it down.
    DieInTheAir {
        hook: usize,
    },
    /// The process ends anyhow; meanwhile the clock is set by so many seconds.
    Die {
        set: i64,
    },
    /// Somebody edits the files: `plain` is gone, `few` has other bounds; or they are back.
    Reload,
    Replay {
        hook: usize,
    },
    DiskFails,
    Pass {
        seconds: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Delivered,
    Reject,
    Retry,
    Pause,
}

fn act() -> impl Strategy<Value = Act> {
    let hook = 0..HOOKS.len();
    let answer = prop_oneof![
        3 => Just(Answer::Delivered), 1 => Just(Answer::Reject), 4 => Just(Answer::Retry), 1 => Just(Answer::Pause)
    ];
    let set = prop_oneof![3 => Just(0), 1 => Just(-86_400), 1 => Just(-3_600), 1 => Just(3_600)];
    prop_oneof![
        6 => (proptest::option::of(hook.clone()), 0..3_u8, any::<bool>())
            .prop_map(|(hook, key, again)| Act::Accept { hook, key, again }),
        9 => (hook.clone(), answer).prop_map(|(hook, answer)| Act::Try { hook, answer }),
        2 => hook.clone().prop_map(|hook| Act::DieInTheAir { hook }),
        2 => set.prop_map(|set| Act::Die { set }),
        1 => Just(Act::Reload),
        2 => hook.prop_map(|hook| Act::Replay { hook }),
        1 => Just(Act::DiskFails),
        4 => (0..4_000_i64).prop_map(|seconds| Act::Pass { seconds }),
    ]
}

/// What must be true of one delivery.
#[derive(Debug)]
struct Owed {
    event: String,
    hook: usize,
    key: u8,
    outcome: &'static str,
    attempts: u32,
    created: i64,
    /// `None`: it stands behind another.
    due: Option<i64>,
    id: Option<Arc<str>>,
    /// How often a receiver took it, and how often nobody could write that down, or somebody asked for it again.
    taken: usize,
    excused: usize,
}

struct World {
    folder: TempDir,
    journal: Option<SqliteJournal>,
    now: Arc<AtomicI64>,
    gates: [Gate; 3],
    edited: bool,
    owed: BTreeMap<i64, Owed>,
    events: usize,
    /// When the newest delivery was accepted, or what the clock showed when it was set back behind that.
    newest: i64,
    /// Seconds that passed in all: what is never set.
    passed: i64,
}

static CONFIGS: LazyLock<[Config; 2]> = LazyLock::new(|| {
    let file = |name: &str, more: &str| {
        let text = format!(
            "events: [all, {name}]\nplatform: webhook\nbreaker: false\noptions: {{url: \"http://{name}.example/\"}}\n{more}"
        );
        let (hook, found) =
            Hook::parse(&Source::new(format!("{name}.yaml"), text), &Platforms::built_in(), &Defaults::default());
        Arc::new(hook.unwrap_or_else(|| panic!("{found:?}")))
    };
    let config = |hooks: Vec<Arc<Hook>>| {
        let mut config = Config::default();
        config.hooks.extend(hooks.into_iter().map(|hook| (hook.name.clone(), hook)));
        config
    };
    let ordered = || file("ordered", "order_by: data.key\nretry: {first: 5s, max: 1h, max_age: 3d}\n");
    let few = "retry: {first: 1s, max: 1m, max_attempts: 3}\n";
    let edited = "retry: {first: 10s, max: 30s, max_age: 1h}\n";
    [config(vec![file("plain", ""), ordered(), file("few", few)]), config(vec![ordered(), file("few", edited)])]
});

impl World {
    fn begin() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let now = Arc::new(AtomicI64::new(DAWN));
        let mut world = Self {
            folder,
            journal: None,
            now,
            gates: Default::default(),
            edited: false,
            owed: BTreeMap::new(),
            events: 0,
            newest: 0,
            passed: 0,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let now = self.now.clone();
        let clock = move || Timestamp::from_microsecond(now.load(Ordering::SeqCst)).expect("a time");
        self.journal = Some(SqliteJournal::open_by(self.folder.path(), clock).expect("a journal"));
    }

    fn journal(&self) -> &SqliteJournal {
        self.journal.as_ref().expect("it is open")
    }

    fn micros(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros()).expect("a time")
    }

    fn config(&self) -> &'static Config {
        &CONFIGS[usize::from(self.edited)]
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.passed.unsigned_abs())
    }

    async fn perform(&mut self, act: &Act) {
        match act {
            Act::Accept { hook, key, again } => self.accept(*hook, *key, *again).await,
            Act::Try { hook, answer } => self.attempt(*hook, Some(*answer)).await,
            Act::DieInTheAir { hook } => {
                self.attempt(*hook, None).await;
                self.die(0).await;
            }
            Act::Die { set } => self.die(*set).await,
            Act::Reload => self.edited = !self.edited,
            Act::Replay { hook } => self.replay(*hook).await,
            Act::DiskFails => self.disk_fails().await,
            Act::Pass { seconds } => {
                self.passed += seconds;
                self.now.fetch_add(seconds * SECOND, Ordering::SeqCst);
            }
        }
        self.compare().await;
    }

    async fn accept(&mut self, hook: Option<usize>, key: u8, again: bool) {
        let kind = hook.map_or("all", |hook| HOOKS[hook]);
        let is_known = again && self.events > 0;
        self.events += usize::from(!is_known);
        let id = format!("e{}", self.events);
        let append = self.append_of(kind, &id, key);
        let wanted: Vec<Arc<str>> = append.hooks.clone();
        let answer = self.journal().append(vec![append]).await.expect("stored").remove(0);
        assert_eq!(answer.duplicate, is_known, "{id}");
        if is_known {
            return;
        }
        assert_eq!(answer.hooks, wanted);
        if !wanted.is_empty() {
            self.newest = self.micros();
        }
        for name in wanted {
            let hook = HOOKS.iter().position(|known| *known == &*name).expect("a hook");
            let due = (!self.is_behind(hook, key, i64::MAX)).then(|| self.micros());
            let seq = self.owed.len() as i64 + 1;
            let created = self.micros();
            let owed = Owed {
                event: id.clone(),
                hook,
                key,
                outcome: "waiting",
                attempts: 0,
                created,
                due,
                id: None,
                taken: 0,
                excused: 0,
            };
            self.owed.insert(seq, owed);
        }
    }

    fn append_of(&self, kind: &str, id: &str, key: u8) -> Append {
        let event = Event::new(kind, Some(id.to_owned()), data(id, key), self.now());
        let hooks = self.config().route(&event, |hook, why| panic!("{}: {why}", hook.name));
        let terms = self.config().terms(&event, &hooks, |hook, why| panic!("{}: {why}", hook.name));
        Append { event: Arc::new(event), hooks, terms }
    }

    /// Whether an earlier one of its key still waits.
    fn is_behind(&self, hook: usize, key: u8, seq: i64) -> bool {
        let before = |(_, owed): (&i64, &Owed)| owed.hook == hook && owed.key == key && owed.outcome == "waiting";
        HOOKS[hook] == "ordered" && self.owed.range(..seq).any(before)
    }

    /// One attempt at a hook's next delivery, as a lane makes it. Nothing is said, and nothing recorded, without an answer.
    async fn attempt(&mut self, hook: usize, answer: Option<Answer>) {
        let Some(file) = self.config().hooks.get(HOOKS[hook]).cloned() else { return };
        if self.gates[hook].enter(self.elapsed(), &file, None).is_err() {
            return;
        }
        let now = self.now();
        let claimed = self.journal().claim(&file.name, now, 1).await.expect("a claim");
        let is_due = |owed: &Owed| {
            owed.hook == hook && owed.outcome == "waiting" && owed.due.is_some_and(|due| due <= self.micros())
        };
        let Some(delivery) = claimed.into_iter().next() else {
            assert!(!self.owed.values().any(is_due), "{HOOKS:?} {hook}: something is due and is not handed out");
            return;
        };
        assert!(is_due(&self.owed[&delivery.seq]), "handed out: {:?}", self.owed[&delivery.seq]);
        let owed = self.owed.get_mut(&delivery.seq).expect("it is known");
        assert_eq!(owed.id.get_or_insert_with(|| delivery.id.clone()), &delivery.id);
        assert_eq!((&delivery.event.id, delivery.attempts), (&owed.event, owed.attempts));
        assert_eq!(delivery.event.raw, data(&owed.event, owed.key).as_bytes());
        let Some(answer) = answer else {
            owed.taken += 1;
            owed.excused += 1;
            return;
        };
        owed.taken += usize::from(answer == Answer::Delivered);
        let verdict = match answer {
            Answer::Delivered => Verdict::Delivered,
            Answer::Reject => Verdict::Reject { why: "no".to_owned() },
            Answer::Retry => Verdict::retry("503".to_owned()),
            Answer::Pause => Verdict::Pause { why: "429".to_owned(), wait: PAUSE },
        };
        let (attempts, outcome) = backoff::next(&verdict, &file.retry, delivery.created, delivery.attempts, now, 0.5);
        self.expect(delivery.seq, &file, answer);
        let owed = &self.owed[&delivery.seq];
        assert_eq!((attempts, outcome.word()), (owed.attempts, owed.outcome), "{answer:?}");
        if let Outcome::Waiting { until, .. } = &outcome {
            assert_eq!(Some(until.as_microsecond()), owed.due, "{answer:?}");
        }
        if answer == Answer::Pause {
            self.gates[hook].pause(self.elapsed() + PAUSE, "429");
        }
        self.journal().settle(&delivery, None, attempts, outcome).await.expect("recorded");
    }

    /// The model's own word on what an answer leads to.
    fn expect(&mut self, seq: i64, file: &Hook, answer: Answer) {
        let now = self.micros();
        let owed = self.owed.get_mut(&seq).expect("it is known");
        let micros = |span: Duration| i64::try_from(span.as_micros()).expect("a short span");
        owed.attempts += u32::from(answer != Answer::Pause);
        let wait = match answer {
            Answer::Delivered | Answer::Reject => 0,
            Answer::Pause => micros(PAUSE),
            Answer::Retry => {
                let doubled = (0..owed.attempts - 1)
                    .fold(micros(file.retry.first), |wait, _| (wait * 2).min(micros(file.retry.max)));
                doubled.min(micros(file.retry.max)) / 2
            }
        };
        let too_many = file.retry.max_attempts.is_some_and(|most| owed.attempts >= most);
        let too_old = now + wait > owed.created + micros(file.retry.max_age);
        owed.outcome = match answer {
            Answer::Delivered => "delivered",
            Answer::Reject => "dead",
            Answer::Retry if too_many || too_old => "dead",
            Answer::Retry | Answer::Pause => "waiting",
        };
        owed.due = Some(now + wait);
        if owed.outcome != "waiting" {
            self.let_next(seq);
        }
    }

    /// What stood behind it is due now.
    fn let_next(&mut self, seq: i64) {
        let (hook, key, now) = (self.owed[&seq].hook, self.owed[&seq].key, self.micros());
        if HOOKS[hook] != "ordered" {
            return;
        }
        let same = |owed: &&mut Owed| owed.hook == hook && owed.key == key && owed.outcome == "waiting";
        if let Some(next) = self.owed.values_mut().find(same) {
            next.due.get_or_insert(now);
        }
    }

    /// The files as they are go to the next life; the clock may have been set when it begins.
    async fn die(&mut self, set: i64) {
        let wreck = tempfile::tempdir_in(self.folder.path().parent().expect("a folder")).expect("a folder");
        for name in ["journal.db", "journal.db-wal"] {
            // A log that was just folded in is gone.
            let copied = fs::copy(self.folder.path().join(name), wreck.path().join(name));
            assert!(copied.is_ok() || name.ends_with("-wal"), "{copied:?}");
        }
        self.journal = None;
        self.folder = wreck;
        self.next_life(set).await;
    }

    /// Begins anew with the files that are there.
    async fn next_life(&mut self, set: i64) {
        self.gates = Default::default();
        let now = self.now.fetch_add(set * SECOND, Ordering::SeqCst) + set * SECOND;
        self.open();
        let rows = self.journal().list(Filter::default()).await.expect("a list");
        for (row, owed) in rows.iter().zip(self.owed.values_mut()) {
            let (Some(before), Some(due), "waiting") = (owed.due, row.due, owed.outcome) else { continue };
            let due = due.as_microsecond();
            assert!(due <= before.max(now), "it waits longer than before: {row:?}");
            assert!(set < 0 || due == before, "it waits less than before: {row:?}");
            // Up to a second is what clocks that are kept in order may be off.
            let longest = (before - self.newest).max(0) + SECOND;
            assert!(set >= 0 || due - now <= longest, "set by {set} s: it waits {} µs instead of {longest}", due - now);
            owed.due = Some(due);
        }
        if now < self.newest - SECOND {
            self.newest = now;
        }
    }

    async fn replay(&mut self, hook: usize) {
        // Which place an old one has in its order is told in `journal::terms`.
        if HOOKS[hook] == "ordered" {
            return;
        }
        let dead = Filter { hook: Some(HOOKS[hook].to_owned()), outcome: Some("dead".to_owned()), ..Filter::default() };
        let ids = self.journal().reopen(dead, self.now()).await.expect("reopened");
        let now = self.micros();
        let (mut again, last) = (0, self.owed.len() as i64);
        for (seq, owed) in self.owed.iter_mut().filter(|(_, owed)| owed.hook == hook && owed.outcome == "dead") {
            (owed.outcome, owed.attempts, owed.created, owed.due) = ("waiting", 0, now, Some(now));
            again += 1;
            if *seq == last {
                self.newest = now;
            }
        }
        assert_eq!(ids.len(), again);
    }

    /// The disk fails under an event and an outcome, and is well again at the next start.
    async fn disk_fails(&mut self) {
        let (file, aside) = (self.folder.path().join("journal.db"), self.folder.path().join("aside"));
        fs::rename(&file, &aside).expect("it is there");
        let append = self.append_of("all", "refused", 0);
        assert!(self.journal().append(vec![append]).await.is_err(), "nothing is accepted without a disk");
        assert_eq!(self.journal().claim(&HOOKS[0].into(), self.now(), 9).await.map(|none| none.len()), Ok(0));
        fs::rename(&aside, &file).expect("it is there");
        self.journal = None;
        self.next_life(0).await;
    }

    async fn compare(&self) {
        let rows = self.journal().list(Filter::default()).await.expect("a list");
        assert_eq!(rows.len(), self.owed.len());
        for (row, (seq, owed)) in rows.iter().zip(&self.owed) {
            assert!(row.delivery.ends_with(&format!("-{seq}")), "{row:?}");
            let seen = (row.event.as_str(), row.hook.as_str(), row.outcome.as_str(), row.attempts);
            assert_eq!(seen, (owed.event.as_str(), HOOKS[owed.hook], owed.outcome, owed.attempts));
        }
        let waiting = self.owed.values().filter(|owed| owed.outcome == "waiting").count();
        assert_eq!(self.journal().waiting(), waiting as u64);
    }

    /// Everything is well: what waits is delivered, and nothing was taken more often than deaths excuse.
    async fn end(mut self) {
        self.edited = false;
        for _ in 0..self.owed.len() {
            if self.owed.values().all(|owed| owed.outcome != "waiting") {
                break;
            }
            self.passed += 90_000;
            self.now.fetch_add(90_000 * SECOND, Ordering::SeqCst);
            for hook in 0..HOOKS.len() {
                self.attempt(hook, Some(Answer::Delivered)).await;
            }
        }
        self.compare().await;
        for owed in self.owed.values() {
            assert!(["delivered", "dead"].contains(&owed.outcome), "it never came to an end: {owed:?}");
            assert!(owed.outcome == "dead" || owed.taken >= 1, "delivered, and nobody took it: {owed:?}");
            assert!(owed.taken <= 1 + owed.excused, "taken too often: {owed:?}");
        }
    }
}

fn data(id: &str, key: u8) -> String {
    format!("{{\"key\":  \"{key}\", \"id\": \"{id}\", \"n\": 1e999}}")
}

#[test]
fn any_order_of_events_comes_to_what_the_model_says() {
    let sequences = rounds("POSTRIDER_SEQUENCES", 240);
    let (played, acts) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faults/sequences.seeds");
                let config = ProptestConfig {
                    cases: u32::try_from(sequences.div_ceil(AT_ONCE)).expect("a number"),
                    failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds))),
                    ..ProptestConfig::default()
                };
                let outcome = TestRunner::new(config).run(&proptest::collection::vec(act(), 4..30), |sequence| {
                    played.fetch_add(1, Ordering::Relaxed);
                    acts.fetch_add(sequence.len(), Ordering::Relaxed);
                    play(&sequence)
                });
                outcome.unwrap_or_else(|failure| panic!("{failure}"));
            });
        }
    });
    let (played, acts) = (played.into_inner(), acts.into_inner());
    println!("{played} sequences of {acts} acts, each as the model says");
    assert!(played >= sequences);
}

fn play(sequence: &[Act]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::begin();
        for act in sequence {
            world.perform(act).await;
        }
        world.end().await;
    });
    Ok(())
}
