//! What operators change of what waits, and how they walk through it: never two outcomes, never one that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postrider::edges::journal::{
    After, Among, Append, Filter, Found, Journal, MemoryJournal, Revision, SqliteJournal, Walk,
};
use postrider::words::delivery::{Delivery, Key, Outcome, Terms, Why};
use proptest::prelude::*;

use super::{append, attempt, by_hook, claim, dead, event, kept, later, owed, retry, seqs, settle};

fn dropped() -> Revision {
    Revision::Drop { why: "dropped by kim: a test".to_owned() }
}

fn ordered(id: &str, by: u8) -> Append {
    let terms = Terms { order: Some(Key([by; 16])), once: None };
    Append { terms: vec![(0, terms)], ..owed(event(id), &["lane"]) }
}

async fn walk(journal: &dyn Journal, lane: &str, among: Among, rows: usize) -> Vec<Found> {
    let (mut all, mut after) = (Vec::new(), After::default());
    loop {
        let step = Walk { lane: lane.into(), among, after, rows, events: true };
        let found = journal.walk(step).await.unwrap();
        assert!(found.len() <= rows);
        let Some(last) = found.last() else { return all };
        after = last.place;
        all.extend(found);
    }
}

macro_rules! on_both {
    ($($story:ident)*) => {$(
        #[tokio::test]
        async fn $story() {
            let dir = tempfile::tempdir().unwrap();
            stories::$story(&SqliteJournal::open(dir.path()).unwrap()).await;
            stories::$story(&MemoryJournal::new()).await;
        }
    )*};
}

on_both! {
    a_dropped_one_lets_the_next_of_its_key_go
    what_is_handed_out_is_left_alone
    what_is_flushed_is_due_now_and_nothing_else_changes
    a_walk_comes_past_everything_once
    a_shape_counts_everything_once
    every_reason_is_recorded_and_read_again
}

mod stories {
    use super::*;

    pub(super) async fn a_dropped_one_lets_the_next_of_its_key_go(journal: &dyn Journal) {
        for id in ["a1", "a2", "a3"] {
            journal.append(vec![ordered(id, 1)]).await.unwrap();
        }
        let rows = journal.list(by_hook("lane")).await.unwrap();
        let numbers: Vec<i64> = rows.iter().map(|row| journal.number(&row.delivery).unwrap()).collect();
        // One from the middle: the head still waits, and what is behind goes on waiting.
        assert_eq!(journal.revise(vec![numbers[1]], dropped(), later(0)).await.unwrap().done, [numbers[1]]);
        assert_eq!(seqs(&claim(journal, "lane", 9).await), [numbers[0]]);
        let alone = journal.revise(vec![numbers[0]], dropped(), later(0)).await.unwrap();
        assert_eq!((alone.done.len(), alone.in_flight), (0, vec![numbers[0]]));
        let row = &journal.show(&rows[1].delivery).await.unwrap().unwrap().row;
        assert_eq!((row.outcome.as_str(), row.why.as_str()), ("dropped", "dropped by kim: a test"));

        // The head, given back: now the last one may go, and its lane is told.
        let bell = journal.bells().attend(&"lane".into());
        let head = journal.list(by_hook("lane")).await.unwrap().remove(0);
        assert!(head.claimed);
        let claimed = Delivery { seq: numbers[0], ..delivery(journal, &rows[0].delivery).await };
        journal.unclaim(claimed);
        assert_eq!(journal.revise(vec![numbers[0]], dropped(), later(0)).await.unwrap().done, [numbers[0]]);
        tokio::time::timeout(Duration::from_secs(9), bell.notified()).await.expect("the bell");
        assert_eq!(seqs(&claim(journal, "lane", 9).await), [numbers[2]]);
        assert_eq!(journal.waiting(), 1);
    }

    /// As it was handed out.
    async fn delivery(journal: &dyn Journal, id: &str) -> Delivery {
        let shown = journal.show(id).await.unwrap().unwrap();
        let due = shown.row.due.unwrap();
        Delivery {
            seq: 0,
            id: id.into(),
            event: shown.event,
            hook: shown.row.hook.as_str().into(),
            created: shown.row.time,
            due,
            attempts: shown.row.attempts,
            order: Some(Key([1; 16])),
            original: None,
        }
    }

    pub(super) async fn what_is_handed_out_is_left_alone(journal: &dyn Journal) {
        for id in ["1", "2", "3"] {
            append(journal, id, &["lane"]).await;
        }
        let flying = claim(journal, "lane", 1).await.remove(0);
        let all: Vec<i64> = (1..=3).chain([77]).collect();
        let revised = journal.revise(all.clone(), dropped(), later(0)).await.unwrap();
        assert_eq!((revised.done, revised.in_flight), (vec![2, 3], vec![flying.seq]));
        settle(journal, &flying, Some(attempt(1, "delivered", "")), 1, Outcome::Delivered).await;
        let again = journal.revise(all, dropped(), later(0)).await.unwrap();
        assert_eq!((again.done.len(), again.in_flight.len()), (0, 0), "what has an outcome keeps it");
        let outcomes: Vec<_> =
            journal.list(by_hook("lane")).await.unwrap().into_iter().map(|row| row.outcome).collect();
        assert_eq!(outcomes, ["delivered", "dropped", "dropped"]);
        assert!(claim(journal, "lane", 9).await.is_empty());
        assert_eq!((journal.waiting(), journal.next_due(&"lane".into()).await.unwrap()), (0, None));
        // By its id it may come back.
        let back = Filter { ids: vec!["2".to_owned()], ..Filter::default() };
        assert_eq!(journal.reopen(back, later(0)).await.unwrap().len(), 1);
        assert_eq!(seqs(&claim(journal, "lane", 9).await), [2]);
    }

    pub(super) async fn what_is_flushed_is_due_now_and_nothing_else_changes(journal: &dyn Journal) {
        for id in ["1", "2", "3"] {
            append(journal, id, &["lane"]).await;
        }
        for delivery in claim(journal, "lane", 2).await {
            settle(journal, &delivery, Some(attempt(1, "retry", "503")), 1, retry(later(1800), "503")).await;
        }
        let now = kept(later(0));
        let revised = journal.revise(vec![1, 2, 3], Revision::DueNow, now).await.unwrap();
        assert_eq!(revised.done, [1, 2], "the third was due already");
        let claimed = journal.claim(&"lane".into(), later(1), 9).await.unwrap();
        let mut numbers = seqs(&claimed);
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
        for delivery in claimed.iter().filter(|delivery| delivery.seq < 3) {
            assert_eq!((delivery.due, delivery.attempts), (now, 1));
        }
        let shown = journal.show("1").await.unwrap().unwrap();
        assert_eq!((shown.row.why.as_str(), shown.attempts.len()), ("retry: 503", 1));
    }

    pub(super) async fn a_walk_comes_past_everything_once(journal: &dyn Journal) {
        let batch = (0..30).map(|number| owed(event(&format!("e{number}")), &["lane", "other"])).collect();
        journal.append(batch).await.unwrap();
        for (index, delivery) in claim(journal, "lane", 20).await.into_iter().enumerate() {
            let outcome = match index % 3 {
                0 => dead("no"),
                1 => retry(later(1000 - index as i64), "503"),
                _ => Outcome::Delivered,
            };
            settle(journal, &delivery, None, 1, outcome).await;
        }
        for rows in [1, 4, 100] {
            let dead = walk(journal, "lane", Among::Dead, rows).await;
            let waiting = walk(journal, "lane", Among::Waiting, rows).await;
            assert_eq!((dead.len(), waiting.len()), (7, 17));
            let order: Vec<_> = waiting.iter().map(|found| (found.row.due, found.seq)).collect();
            assert!(order.is_sorted(), "{order:?}");
            let numbers: BTreeSet<i64> = dead.iter().chain(&waiting).map(|found| found.seq).collect();
            assert_eq!(numbers.len(), 24);
            assert!(dead.iter().all(|found| found.row.why == "no" && found.event.is_some()));
        }
        assert!(walk(journal, "nobody", Among::Waiting, 9).await.is_empty());
        assert_eq!(journal.event("e7").await.unwrap().map(|event| event.id.clone()), Some("e7".to_owned()));
        assert_eq!(journal.event("nothing").await.unwrap().map(|event| event.id.clone()), None);
    }

    pub(super) async fn a_shape_counts_everything_once(journal: &dyn Journal) {
        for number in 0..5 {
            journal.append(vec![ordered(&format!("o{number}"), 1)]).await.unwrap();
            append(journal, &format!("e{number}"), &["lane", "other"]).await;
        }
        for delivery in claim(journal, "lane", 3).await {
            settle(journal, &delivery, None, 1, retry(later(1000), "503")).await;
        }
        let ages = vec![later(-60), later(-600)];
        let shapes: BTreeMap<_, _> = journal.shape(None, ages, later(1)).await.unwrap().into_iter().collect();
        let lane = &shapes["lane"];
        assert_eq!(lane.ages, [10, 0, 0]);
        assert_eq!((lane.due, lane.parked, lane.later.clone()), (3, 4, BTreeMap::from([("retry".to_owned(), 3)])));
        assert_eq!(shapes["other"].ages, [5, 0, 0]);
        let only = journal.shape(Some("other".into()), vec![later(60)], later(1)).await.unwrap();
        assert_eq!((only.len(), &only[0].1.ages), (1, &vec![0, 5]), "nothing was accepted in the future");
    }

    pub(super) async fn every_reason_is_recorded_and_read_again(journal: &dyn Journal) {
        for (number, why) in Why::all().into_iter().enumerate() {
            let why = Why::from_words(why.word(), "a: detail");
            append(journal, &number.to_string(), &["lane"]).await;
            let claimed = claim(journal, "lane", 1).await.remove(0);
            settle(journal, &claimed, None, 0, Outcome::Waiting { until: later(1800), why: why.clone() }).await;
            let row = journal.show(&claimed.id).await.unwrap().unwrap().row;
            assert_eq!((row.reason.as_deref(), Why::from_text(&row.why)), (Some(why.word()), why));
            journal.revise(vec![claimed.seq], dropped(), later(0)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_is_whole_while_others_write_and_another_journal_opens_it() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = Arc::new(SqliteJournal::open(dir.path()).unwrap());
    let filler = "x".repeat(20_000);
    for number in 0..300 {
        let mut event = event(&format!("before {number}"));
        event.raw = format!("\"{filler}\"").into();
        journal.append(vec![owed(event, &["lane"])]).await.unwrap();
    }
    let writes = {
        let journal = journal.clone();
        tokio::spawn(async move {
            let mut number = 0;
            loop {
                append(&*journal, &format!("meanwhile {number}"), &["lane"]).await;
                number += 1;
            }
        })
    };
    let (told, said) = std::sync::mpsc::channel();
    let to = copy.path().join("journal.db");
    let tell = move |done, of| told.send((done, of)).is_ok();
    let bytes = journal.backup(to.clone(), false, Box::new(tell)).await.unwrap().expect("a copy");
    writes.abort();
    let metadata = std::fs::metadata(&to).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
    let said: Vec<(u64, u64)> = said.try_iter().collect();
    assert!(said.len() > 1 && said.last().is_some_and(|(done, of)| done == of), "{said:?}");
    assert_eq!(std::fs::read_dir(copy.path()).unwrap().count(), 1, "nothing is left beside it");

    // It is not overwritten unless that is wanted, and nothing but a journal is.
    let again = |to: &std::path::Path, replace| journal.backup(to.to_owned(), replace, Box::new(|_, _| true));
    assert!(again(&to, false).await.unwrap().unwrap_err().help.contains("--force"));
    assert!(again(&to, true).await.unwrap().is_ok());
    let letter = copy.path().join("letter");
    std::fs::write(&letter, "dear all").unwrap();
    assert!(again(&letter, true).await.unwrap().unwrap_err().what.contains("no copy of a journal"));
    let own = dir.path().join("journal.db");
    assert!(again(&own, true).await.unwrap().unwrap_err().what.contains("the journal itself"));
    assert!(again(&copy.path().join("no/such"), false).await.unwrap().unwrap_err().help.contains("folder"));
    let stopped = journal.backup(copy.path().join("b"), false, Box::new(|_, _| false)).await.unwrap();
    assert!(stopped.unwrap_err().what.contains("stopped"));
    assert!(!copy.path().join("b.new").exists());
    assert_eq!(std::fs::read_to_string(&letter).unwrap(), "dear all");

    let opened = SqliteJournal::open(copy.path()).unwrap();
    assert_eq!(opened.identity(), journal.identity());
    let rows = opened.list(by_hook("lane")).await.unwrap();
    assert!(rows.len() >= 300, "{}", rows.len());
    assert_eq!(claim(&opened, "lane", 10_000).await.len(), rows.len());
}

/// What operators and lanes do to one lane, at random.
#[derive(Clone, Debug)]
enum Verb {
    Append(Option<u8>),
    Claim(usize),
    Unclaim(usize),
    Settle(usize, u8),
    Drop(Vec<usize>),
    Flush(Vec<usize>),
    Replay(Vec<usize>),
    Restart,
}

fn verb() -> impl Strategy<Value = Verb> {
    let some = || proptest::collection::vec(0..40_usize, 1..6);
    prop_oneof![
        5 => proptest::option::of(0..3_u8).prop_map(Verb::Append),
        4 => (1..5_usize).prop_map(Verb::Claim),
        1 => (0..9_usize).prop_map(Verb::Unclaim),
        4 => (0..9_usize, 0..4_u8).prop_map(|(which, how)| Verb::Settle(which, how)),
        2 => some().prop_map(Verb::Drop),
        2 => some().prop_map(Verb::Flush),
        2 => some().prop_map(Verb::Replay),
        1 => Just(Verb::Restart),
    ]
}

/// The books of one lane: what each delivery's outcome is, and how often it got one.
#[derive(Default)]
struct Books {
    keys: Vec<Option<u8>>,
    outcomes: Vec<&'static str>,
    ends: Vec<u32>,
    reopened: Vec<u32>,
    flying: Vec<Delivery>,
}

impl Books {
    fn end(&mut self, index: usize, outcome: &'static str) {
        assert_eq!(self.outcomes[index], "waiting", "delivery {} got a second outcome", index + 1);
        self.outcomes[index] = outcome;
        self.ends[index] += 1;
    }

    fn numbers(&self, which: &[usize]) -> Vec<i64> {
        let numbers = which.iter().filter(|_| !self.keys.is_empty()).map(|which| (which % self.keys.len()) as i64 + 1);
        numbers.collect::<BTreeSet<_>>().into_iter().collect()
    }

    async fn step(&mut self, journal: &dyn Journal, verb: &Verb, now: Timestamp) {
        match verb {
            Verb::Append(key) => {
                let id = format!("e{}", self.keys.len());
                let made = key.map_or_else(|| owed(event(&id), &["lane"]), |key| ordered(&id, key));
                journal.append(vec![made]).await.unwrap();
                self.keys.push(*key);
                self.outcomes.push("waiting");
                self.ends.push(0);
                self.reopened.push(0);
            }
            Verb::Claim(room) => self.flying.extend(journal.claim(&"lane".into(), now, *room).await.unwrap()),
            Verb::Unclaim(which) if !self.flying.is_empty() => {
                let which = which % self.flying.len();
                journal.unclaim(self.flying.remove(which));
            }
            Verb::Settle(which, how) if !self.flying.is_empty() => {
                let which = which % self.flying.len();
                let delivery = self.flying.remove(which);
                let (outcome, word) = match how {
                    0 => (retry(now + SignedDuration::from_mins(30), "503"), None),
                    1 => (dead("no"), Some("dead")),
                    _ => (Outcome::Delivered, Some("delivered")),
                };
                settle(journal, &delivery, Some(attempt(1, "x", "")), 1, outcome).await;
                if let Some(word) = word {
                    self.end(delivery.seq as usize - 1, word);
                }
            }
            Verb::Drop(which) | Verb::Flush(which) => {
                let revision = if matches!(verb, Verb::Drop(_)) { dropped() } else { Revision::DueNow };
                let numbers = self.numbers(which);
                let revised = journal.revise(numbers.clone(), revision.clone(), now).await.unwrap();
                let flying: BTreeSet<i64> = self.flying.iter().map(|delivery| delivery.seq).collect();
                assert!(revised.done.iter().all(|seq| !flying.contains(seq)), "what flies was changed: {revised:?}");
                assert!(revised.in_flight.iter().all(|seq| flying.contains(seq)), "{revised:?}");
                if revision != Revision::DueNow {
                    let free = |seq: &&i64| self.outcomes[**seq as usize - 1] == "waiting" && !flying.contains(seq);
                    assert_eq!(revised.done, numbers.iter().filter(free).copied().collect::<Vec<_>>());
                    revised.done.iter().for_each(|seq| self.end(*seq as usize - 1, "dropped"));
                }
            }
            Verb::Replay(which) => {
                let numbers = self.numbers(which);
                let ids = numbers.iter().map(i64::to_string).collect();
                let reopened = journal.reopen(Filter { ids, ..Filter::default() }, now).await.unwrap_or_default();
                for id in reopened.iter().filter(|_| !numbers.is_empty()) {
                    let index = journal.number(id).unwrap() as usize - 1;
                    assert_ne!(self.outcomes[index], "waiting");
                    self.outcomes[index] = "waiting";
                    self.reopened[index] += 1;
                }
            }
            _ => {}
        }
        // Of each key at most one is in the air, and it is the first that waits or one that was ahead of it.
        let keys: Vec<Key> = self.flying.iter().filter_map(|delivery| delivery.order).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "two of a key");
    }

    async fn compare(&self, journal: &dyn Journal) {
        let rows = journal.list(Filter::default()).await.unwrap();
        let found: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
        assert_eq!(found, self.outcomes);
        for (index, outcome) in self.outcomes.iter().enumerate() {
            let ended = u32::from(*outcome != "waiting");
            assert_eq!(self.ends[index], self.reopened[index] + ended, "delivery {}", index + 1);
        }
        assert_eq!(journal.waiting(), self.outcomes.iter().filter(|outcome| **outcome == "waiting").count() as u64);
    }

    /// In the end everything that waits can be sent: nothing was forgotten behind another.
    async fn drain(&mut self, journal: &dyn Journal, end: Timestamp) {
        for delivery in std::mem::take(&mut self.flying) {
            settle(journal, &delivery, None, 1, Outcome::Delivered).await;
            self.end(delivery.seq as usize - 1, "delivered");
        }
        loop {
            let claimed = journal.claim(&"lane".into(), end, 100).await.unwrap();
            if claimed.is_empty() {
                break;
            }
            for delivery in claimed {
                settle(journal, &delivery, None, 1, Outcome::Delivered).await;
                self.end(delivery.seq as usize - 1, "delivered");
            }
        }
        assert_eq!(journal.waiting(), 0, "something waits for ever");
    }
}

async fn keep_the_books(verbs: &[Verb], dir: Option<&std::path::Path>) {
    let open = || dir.map(|dir| SqliteJournal::open(dir).unwrap());
    let (mut disk, memory) = (open(), MemoryJournal::new());
    let mut books = Books::default();
    for verb in verbs {
        if matches!(verb, Verb::Restart) {
            match disk.take() {
                Some(journal) => drop(journal),
                None => memory.restart(),
            }
            disk = open();
            books.flying.clear();
        }
        let journal: &dyn Journal = disk.as_ref().map_or(&memory, |disk| disk as &dyn Journal);
        books.step(journal, verb, later(1)).await;
        books.compare(journal).await;
    }
    let journal: &dyn Journal = disk.as_ref().map_or(&memory, |disk| disk as &dyn Journal);
    books.drain(journal, later(7200)).await;
    books.compare(journal).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operators_and_lanes_never_give_two_outcomes(verbs in proptest::collection::vec(verb(), 1..50)) {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            keep_the_books(&verbs, None).await;
            keep_the_books(&verbs, Some(dir.path())).await;
        });
    }
}
