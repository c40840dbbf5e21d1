//! More than fits in memory, and everybody at once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use postrider::edges::journal::{Filter, Journal, SqliteJournal};
use postrider::words::delivery::Outcome;
use postrider::words::limits;

use super::{append, claim, dead, event, owed, retry};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_comes_out_once_and_in_order() {
    const BEFORE: usize = 10_000;
    const MEANWHILE: usize = 2_000;
    const { assert!(BEFORE > limits::FRESH_PER_LANE) };
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(dir.path()).unwrap());
    let batch = |from: usize, to: usize| {
        (from..to).map(|number| owed(event(&number.to_string()), &["lane"])).collect::<Vec<_>>()
    };
    for from in (0..BEFORE).step_by(500) {
        journal.append(batch(from, from + 500)).await.unwrap();
    }
    assert_eq!(journal.waiting(), BEFORE as u64);
    let appends = tokio::spawn({
        let journal = journal.clone();
        async move {
            for from in (BEFORE..BEFORE + MEANWHILE).step_by(10) {
                journal.append(batch(from, from + 10)).await.unwrap();
            }
        }
    });
    let (mut seen, mut settled) = (Vec::new(), Vec::new());
    while seen.len() < BEFORE + MEANWHILE {
        let claimed = claim(&*journal, "lane", 16).await;
        if claimed.is_empty() {
            tokio::task::yield_now().await;
        }
        for delivery in claimed {
            seen.push(delivery.event.id.parse::<usize>().unwrap());
            settled.push(journal.settle(&delivery, None, 1, Outcome::Delivered));
        }
    }
    assert_eq!(seen, (0..BEFORE + MEANWHILE).collect::<Vec<_>>());
    appends.await.unwrap();
    for settled in settled {
        settled.await.unwrap();
    }
    assert_eq!(journal.waiting(), 0);
    assert_eq!(journal.next_due(&"lane".into()).await.unwrap(), None);
    assert!(claim(&*journal, "lane", 16).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_leave_memory_alone_and_still_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let size = 1024 * 1024;
    let many = limits::FRESH_BYTES / size + 8;
    for number in 0..many {
        let mut event = event(&number.to_string());
        event.raw = vec![b'x'; size].into();
        journal.append(vec![owed(event, &["lane"])]).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let claimed = claim(&journal, "lane", 3).await;
        seen.extend(claimed.iter().map(|one| one.event.id.parse::<usize>().unwrap()));
        if claimed.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (0..many).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_held_lane_waits_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let hold = postrider::edges::journal::Hold {
        why: "x".into(),
        since: Timestamp::now(),
        fingerprint: String::new(),
        until: None,
    };
    append(&journal, "a", &["lane"]).await;
    journal.set_hold(&"lane".into(), Some(hold)).await.unwrap();
    append(&journal, "b", &["lane"]).await;
    journal.set_hold(&"lane".into(), None).await.unwrap();
    append(&journal, "c", &["lane"]).await;
    let ids: Vec<_> = claim(&journal, "lane", 9).await.iter().map(|one| one.event.id.clone()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(dir.path()).unwrap());
    let before = journal.commits();
    let pending: Vec<_> = (0..1000)
        .map(|number| tokio::spawn(journal.append(vec![owed(event(&number.to_string()), &["lane"])])))
        .collect();
    for pending in pending {
        pending.await.unwrap().unwrap();
    }
    let commits = journal.commits() - before;
    assert!(commits <= 250, "{commits} commits for 1000 events");
    assert_eq!(journal.waiting(), 1000);
}

/// Several tasks claim, give back, settle every which way and reopen, while others append. Whoever holds a delivery
/// must hold it alone, and in the end each is delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_holds_what_another_holds() {
    const EVENTS: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(SqliteJournal::open(dir.path()).unwrap());
    let held: Arc<Mutex<HashSet<i64>>> = Arc::default();
    let tries: Arc<Mutex<HashMap<i64, u32>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for worker in 0..4_u64 {
        let (journal, held, tries, over) = (journal.clone(), held.clone(), tries.clone(), over.clone());
        tasks.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(worker);
            let mut pending = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let lane: Arc<str> = ["one", "two"][random.usize(..2)].into();
                let claimed = journal.claim(&lane, Timestamp::now(), random.usize(1..400)).await.unwrap();
                if claimed.is_empty() {
                    tokio::task::yield_now().await;
                }
                for delivery in claimed {
                    assert!(held.lock().unwrap().insert(delivery.seq), "{} is held already", delivery.seq);
                    let outcome = match random.u8(..10) {
                        0..2 => {
                            held.lock().unwrap().remove(&delivery.seq);
                            journal.unclaim(delivery);
                            continue;
                        }
                        2..4 => retry(Timestamp::now(), "again"),
                        4 => dead("for now"),
                        _ => Outcome::Delivered,
                    };
                    let count = {
                        let mut tries = tries.lock().unwrap();
                        let count = tries.entry(delivery.seq).or_default();
                        *count += 1;
                        *count
                    };
                    held.lock().unwrap().remove(&delivery.seq);
                    pending.push(journal.settle(&delivery, Some(super::attempt(count, "x", "")), count, outcome));
                }
                if random.u8(..4) == 0 {
                    journal.reopen(Filter::default(), Timestamp::now()).await.unwrap();
                }
            }
            for settled in pending {
                settled.await.expect("each is settled once per claim");
            }
        }));
    }
    for from in (0..EVENTS).step_by(10) {
        let batch = (from..from + 10).map(|number| owed(event(&number.to_string()), &["one", "two"])).collect();
        journal.append(batch).await.unwrap();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let lanes = journal.lanes().await.unwrap();
        assert!(!lanes.is_empty());
        if lanes.iter().all(|(_, count)| count.delivered == EVENTS as u64) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{lanes:?}");
        tokio::task::yield_now().await;
    }
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(journal.waiting(), 0);
    let attempts: u32 = tries.lock().unwrap().values().sum();
    assert!(attempts as usize > 2 * EVENTS, "some were tried twice");
    let recorded: i64 = rusqlite::Connection::open(dir.path().join("journal.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM attempts", [], |row| row.get(0))
        .unwrap();
    assert_eq!(recorded, i64::from(attempts));
}
