//! Keys: what must go out one after the other does, what must not go out twice does not, also across a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use postrider::edges::journal::{Append, Appended, Journal, MemoryJournal, SqliteJournal};
use postrider::words::delivery::{Delivery, Key, Outcome, Terms};

use super::{attempt, by_hook, by_id, claim, dead, event, later, owed, retry, seqs, settle};

const HOUR: Duration = Duration::from_secs(3600);

fn key(text: &str) -> Key {
    let mut key = [0; 16];
    key[..text.len()].copy_from_slice(text.as_bytes());
    Key(key)
}

fn ordered(id: &str, by: &str) -> Append {
    Append { terms: vec![(0, Terms { order: Some(key(by)), once: None })], ..owed(event(id), &["lane"]) }
}

fn once(id: &str, by: &str, within: Duration) -> Append {
    // The second hook does not care.
    Append {
        terms: vec![(0, Terms { order: None, once: Some((key(by), within)) })],
        ..owed(event(id), &["lane", "free"])
    }
}

async fn put(journal: &dyn Journal, append: Append) -> Appended {
    journal.append(vec![append]).await.unwrap().remove(0)
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.event.id.as_str()).collect()
}

async fn end(journal: &dyn Journal, delivery: &Delivery, outcome: Outcome) {
    settle(journal, delivery, Some(attempt(1, "retry", "x")), 1, outcome).await;
}

#[tokio::test]
async fn one_key_goes_out_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    one_after_the_other(&SqliteJournal::open(dir.path()).unwrap()).await;
    one_after_the_other(&MemoryJournal::new()).await;
}

async fn one_after_the_other(journal: &dyn Journal) {
    for (id, by) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        assert_eq!(put(journal, ordered(id, by)).await.hooks, [Arc::from("lane")]);
    }
    put(journal, owed(event("c"), &["lane"])).await;
    let first = claim(journal, "lane", 10).await;
    assert_eq!(ids(&first), ["a1", "b1", "c"], "a head blocks its key only");
    let rows = journal.list(by_hook("lane")).await.unwrap();
    assert_eq!((rows[1].why.as_str(), rows[1].due), (format!("order: after {}", first[0].id).as_str(), None));

    // It is tried again: what is behind it goes on waiting.
    end(journal, &first[0], retry(later(-1), "busy")).await;
    let again = claim(journal, "lane", 10).await;
    assert_eq!(ids(&again), ["a1"]);
    end(journal, &again[0], Outcome::Delivered).await;
    let second = claim(journal, "lane", 10).await;
    assert_eq!(ids(&second), ["a2"]);

    // What comes back from the dead goes behind what is on its way and before what came later.
    end(journal, &second[0], dead("no")).await;
    let third = claim(journal, "lane", 10).await;
    assert_eq!(ids(&third), ["a3"]);
    put(journal, ordered("a4", "a")).await;
    journal.reopen(by_id(&second[0].id), later(0)).await.unwrap();
    assert!(claim(journal, "lane", 10).await.is_empty());
    end(journal, &third[0], Outcome::Dropped { why: "by hand".into() }).await;
    let fourth = claim(journal, "lane", 10).await;
    assert_eq!(ids(&fourth), ["a2"]);
    end(journal, &fourth[0], Outcome::Delivered).await;
    assert_eq!(ids(&claim(journal, "lane", 10).await), ["a4"]);
}

#[tokio::test]
async fn the_same_key_goes_out_once_within_its_time() {
    let dir = tempfile::tempdir().unwrap();
    once_within_its_time(&SqliteJournal::open(dir.path()).unwrap()).await;
    once_within_its_time(&MemoryJournal::new()).await;
}

async fn once_within_its_time(journal: &dyn Journal) {
    let lane: Arc<str> = "lane".into();
    assert_eq!(put(journal, once("1", "a", HOUR)).await.hooks, [lane.clone(), "free".into()]);
    assert_eq!(put(journal, once("2", "a", HOUR)).await.hooks, ["free".into()]);
    assert_eq!(put(journal, once("3", "b", HOUR)).await.hooks, [lane.clone(), "free".into()]);
    let again = put(journal, once("2", "a", HOUR)).await;
    assert!(again.duplicate);
    assert_eq!(again.hooks, ["free".into()], "as the first time");
    let rows = journal.list(by_hook("lane")).await.unwrap();
    assert_eq!(rows[1].outcome, "dropped");
    assert_eq!(rows[1].why, format!("duplicate: the same `dedupe` key as {} within 1h", rows[0].delivery));
    assert_eq!(ids(&claim(journal, "free", 10).await), ["1", "2", "3"]);

    // What died never arrived, so another may go.
    let claimed = claim(journal, "lane", 10).await;
    assert_eq!(ids(&claimed), ["1", "3"]);
    end(journal, &claimed[0], dead("refused")).await;
    end(journal, &claimed[1], Outcome::Delivered).await;
    assert_eq!(put(journal, once("4", "a", HOUR)).await.hooks.len(), 2);
    assert_eq!(put(journal, once("5", "b", HOUR)).await.hooks.len(), 1);

    // When its time is over it is a key like any other.
    put(journal, once("6", "c", Duration::from_micros(1))).await;
    assert_eq!(put(journal, once("7", "c", Duration::from_micros(1))).await.hooks.len(), 2);
}

#[tokio::test]
async fn keys_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    put(&journal, ordered("a1", "a")).await;
    put(&journal, ordered("a2", "a")).await;
    put(&journal, once("o1", "o", HOUR)).await;
    let first = claim(&journal, "lane", 10).await;
    end(&journal, &first[0], retry(later(1800), "busy")).await;
    drop(journal);

    let journal = SqliteJournal::open(dir.path()).unwrap();
    assert_eq!(put(&journal, once("o2", "o", HOUR)).await.hooks, ["free".into()]);
    let due_now = journal.claim(&"lane".into(), later(0), 10).await.unwrap();
    assert_eq!(ids(&due_now), ["o1"], "the head is not due, and nothing overtakes it");
    let head = claim(&journal, "lane", 10).await;
    assert_eq!(ids(&head), ["a1"]);
    assert_eq!(head[0].order, Some(key("a")));
    end(&journal, &head[0], Outcome::Delivered).await;
    assert_eq!(ids(&claim(&journal, "lane", 10).await), ["a2"]);
}

/// Both journals in step, with restarts of the one on disk: the same may be claimed, and never two of a key.
#[tokio::test]
async fn both_journals_agree_on_every_order() {
    let seed = std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("POSTRIDER_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut disk, memory) = (SqliteJournal::open(dir.path()).unwrap(), MemoryJournal::new());
    let (mut on_disk, mut in_memory): (Vec<Delivery>, Vec<Delivery>) = Default::default();
    let mut claims = 0;
    for step in 0..400 {
        match chance.u8(0..12) {
            0..5 => {
                let by = ["a", "b", "c"][chance.usize(0..3)];
                let id = format!("e{step}");
                let made = |_| match step % 7 {
                    0 => once(&id, by, HOUR),
                    1 => owed(event(&id), &["lane"]),
                    _ => ordered(&id, by),
                };
                let answers = (put(&disk, made(())).await, put(&memory, made(())).await);
                assert_eq!(answers.0, answers.1, "seed {seed}, step {step}");
            }
            5..7 => {
                let room = chance.usize(1..4);
                // The order of what is due at the same moment is not the point; that all of it comes is.
                on_disk.extend(claim(&disk, "lane", 1000).await);
                in_memory.extend(claim(&memory, "lane", 1000).await);
                on_disk.sort_by_key(|delivery| delivery.seq);
                in_memory.sort_by_key(|delivery| delivery.seq);
                assert_eq!(seqs(&on_disk), seqs(&in_memory), "seed {seed}, step {step}");
                let keys: Vec<_> = on_disk.iter().filter_map(|delivery| delivery.order).collect();
                assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "seed {seed}: two of a key");
                claims += room.min(on_disk.len());
            }
            7..11 if !on_disk.is_empty() => {
                let which = chance.usize(0..on_disk.len());
                let outcome = match chance.u8(0..4) {
                    0 => retry(later(-1), "busy"),
                    1 => dead("no"),
                    _ => Outcome::Delivered,
                };
                end(&disk, &on_disk.remove(which), outcome.clone()).await;
                end(&memory, &in_memory.remove(which), outcome).await;
            }
            11 if chance.bool() => {
                drop(disk);
                disk = SqliteJournal::open(dir.path()).unwrap();
                on_disk.clear();
                in_memory.drain(..).for_each(|delivery| memory.unclaim(delivery));
            }
            _ => {
                let meant = postrider::edges::journal::Filter::default();
                let both = (disk.reopen(meant.clone(), later(0)).await, memory.reopen(meant, later(0)).await);
                assert_eq!(both.0.unwrap().len(), both.1.unwrap().len(), "seed {seed}, step {step}");
            }
        }
    }
    assert!(claims > 10, "seed {seed}: only {claims} were claimed");
}
