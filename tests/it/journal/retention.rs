//! What is old goes, what waits stays, and the file becomes small again; nobody waits long for it.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postrider::edges::journal::{Append, Filter, Journal, SqliteJournal};
use postrider::words::delivery::{Key, Outcome, Terms};
use postrider::words::keeping::Keeping;
use postrider::words::limits;
use rusqlite::Connection;

use super::{append, attempt, by_hook, claim, dead, event, later, owed, retry};
use crate::support::PATIENCE;

/// Everything goes at once, but for what is said.
fn nothing_kept() -> Keeping {
    Keeping { delivered: Duration::ZERO, dead: Duration::ZERO, ..Keeping::default() }
}

fn ask(dir: &Path, sql: &str) -> i64 {
    Connection::open(dir.join("journal.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it never came to this: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The events of a lane, oldest first.
async fn events(journal: &SqliteJournal, lane: &str) -> Vec<String> {
    journal.list(by_hook(lane)).await.unwrap().into_iter().map(|row| row.event).collect()
}

#[tokio::test]
async fn each_kind_goes_when_its_time_is_over_and_what_waits_never() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    for id in ["delivered", "dead", "tried", "waits", "shared"] {
        append(&journal, id, if id == "shared" { &["lane", "other"] } else { &["lane"] }).await;
    }
    append(&journal, "nobody's", &[]).await;
    let claimed = claim(&journal, "lane", 9).await;
    for delivery in &claimed {
        let (attempts, outcome) = match delivery.event.id.as_str() {
            "delivered" | "shared" => (1, Outcome::Delivered),
            "dead" => (2, dead("no")),
            "tried" => (1, retry(later(600), "x")),
            _ => continue,
        };
        journal.settle(delivery, Some(attempt(attempts, "", "")), attempts, outcome).await.unwrap();
    }
    append(&journal, "newest", &["lane"]).await;
    let newest = claim(&journal, "lane", 1).await.remove(0);
    assert_eq!(newest.event.id, "newest");
    journal.settle(&newest, Some(attempt(1, "delivered", "")), 1, Outcome::Delivered).await.unwrap();
    assert_eq!(journal.lanes().await.unwrap()[0].1.delivered, 3);

    // Dead letters are kept longer.
    journal.keep(Keeping { dead: Duration::from_secs(3600), ..nothing_kept() });
    until("what is delivered is gone", async || journal.usage().removed_delivered == 2).await;
    assert_eq!(events(&journal, "lane").await, ["dead", "tried", "waits", "newest"]);
    assert_eq!(events(&journal, "other").await, ["shared"], "it waits for somebody else");
    assert_eq!(ask(dir.path(), "SELECT count(*) FROM events WHERE id = 'nobody''s'"), 0);
    assert_eq!(ask(dir.path(), "SELECT count(*) FROM attempts"), 3, "an attempt goes with its delivery");
    assert_eq!(ask(dir.path(), "SELECT count(*) FROM events"), 5, "and an event with its last delivery");

    journal.keep(nothing_kept());
    until("what is dead is gone", async || journal.usage().removed_dead == 1).await;
    assert_eq!(events(&journal, "lane").await, ["tried", "waits", "newest"], "the newest keeps its number");
    let lane = journal.lanes().await.unwrap()[0].1.clone();
    assert_eq!((lane.waiting, lane.delivered, lane.dead), (2, 1, 0));
    assert_eq!(journal.waiting(), 3);
    journal.close().await.unwrap();

    let journal = SqliteJournal::open(dir.path()).unwrap();
    let lane = journal.lanes().await.unwrap()[0].1.clone();
    assert_eq!((lane.waiting, lane.delivered, lane.dead), (2, 1, 0), "the counts are on disk");
    append(&journal, "next", &["lane"]).await;
    let seqs: Vec<i64> = claim(&journal, "lane", 9).await.iter().map(|one| one.seq).collect();
    assert_eq!(seqs, [4, 8, 3], "no number is given twice");
}

#[tokio::test]
async fn attempts_may_go_before_their_deliveries() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    for id in ["a", "b", "c"] {
        append(&journal, id, &["lane"]).await;
    }
    let claimed = claim(&journal, "lane", 2).await;
    journal.settle(&claimed[0], Some(attempt(1, "delivered", "")), 1, Outcome::Delivered).await.unwrap();
    journal.settle(&claimed[1], Some(attempt(1, "retry", "")), 1, retry(Timestamp::now(), "x")).await.unwrap();
    journal.keep(Keeping { attempts: Some(Duration::ZERO), ..Keeping::default() });
    until("the attempt is gone", async || journal.log(Filter::default()).await.unwrap().len() == 1).await;
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 3);
    assert_eq!(journal.log(Filter::default()).await.unwrap()[0].event, "b", "those of what waits stay");
}

#[tokio::test]
async fn keys_go_with_their_time_and_a_dead_letter_takes_its_own_along() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let once = async |id: &str, key: u8, within: Duration| {
        let mut append = owed(event(id), &["lane"]);
        append.terms = vec![(0, Terms { once: Some((Key([key; 16]), within)), ..Terms::default() })];
        journal.append(vec![append]).await.unwrap().remove(0).hooks.len()
    };
    let hour = Duration::from_secs(3600);
    assert_eq!((once("a", 1, hour).await, once("b", 2, hour).await, once("c", 3, Duration::ZERO).await), (1, 1, 1));
    append(&journal, "newest", &["lane"]).await;
    let claimed = claim(&journal, "lane", 2).await;
    journal.settle(&claimed[0], None, 1, dead("no")).await.unwrap();
    journal.settle(&claimed[1], None, 1, Outcome::Delivered).await.unwrap();
    journal.keep(nothing_kept());
    until("both are gone", async || journal.usage().removed_dead == 1 && journal.usage().removed_delivered == 1).await;
    until("the old key is gone", async || ask(dir.path(), "SELECT count(*) FROM once") == 1).await;
    assert_eq!(once("d", 1, hour).await, 1, "the dead one does not count");
    assert_eq!(once("e", 2, hour).await, 0, "the delivered one does, gone or not");
}

/// Rows of a journal that has been at work: all delivered, accepted long ago, a kilobyte each.
fn fill(dir: &Path, rows: u32) {
    drop(SqliteJournal::open(dir).unwrap());
    let conn = Connection::open(dir.join("journal.db")).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA synchronous = OFF; BEGIN;
         INSERT INTO lanes (id, name, delivered) VALUES (1, 'old', {rows});
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {rows})
         INSERT INTO events (seq, id, source, type, time, accepted, content_type, raw)
         SELECT n, printf('%08x', n), '', 't', n, n, 'application/json', zeroblob(600) FROM n;
         INSERT INTO deliveries (seq, event, lane, created, due, attempts, outcome, why, detail)
         SELECT seq, seq, 1, seq, seq, 1, 'delivered', '', '' FROM events;
         INSERT INTO attempts (delivery, number, started, duration_ms, request, status, response, verdict, why, outcome)
         SELECT seq, 1, seq, 5, 'POST https://example.org/hook', 200, 'ok', 'delivered', '', 'delivered' FROM events;
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);"
    ))
    .unwrap();
}

#[tokio::test]
async fn the_file_becomes_small_again_and_so_does_its_log() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20_000);
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).map_or(0, |found| found.len());
    let before = size("journal.db");
    let journal = SqliteJournal::open(dir.path()).unwrap();
    append(&journal, "waits", &["lane"]).await;
    journal.keep(nothing_kept());
    let bound = (limits::FREE_PAGES as u64 + 64) * 4096;
    until("the file is small", async || size("journal.db") < bound && size("journal.db-wal") == 0).await;
    println!("20,000 deliveries removed: journal.db {before} → {} bytes, its log 0", size("journal.db"));
    until("it says so", async || journal.usage().removed_delivered == 20_000).await;
    assert_eq!(claim(&journal, "lane", 9).await.len(), 1);
    drop(journal);
    assert_eq!(ask(dir.path(), "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
}

#[tokio::test]
async fn a_database_that_is_too_large_loses_the_oldest_and_says_when_only_what_waits_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let large = |id: String| {
        let mut event = event(&id);
        event.raw = vec![b'x'; 20_000].into();
        event
    };
    for lane in ["waiting", "delivered", "dead"] {
        let batch: Vec<Append> = (0..20).map(|n| owed(large(format!("{lane}-{n}")), &[lane])).collect();
        journal.append(batch).await.unwrap();
    }
    for delivery in claim(&journal, "delivered", 99).await {
        journal.settle(&delivery, None, 1, Outcome::Delivered).await.unwrap();
    }
    for delivery in claim(&journal, "dead", 99).await {
        journal.settle(&delivery, None, 1, dead("no")).await.unwrap();
    }
    // Of some 1.2 MB a fifth must go: the oldest of what is delivered.
    let bounded = |max_size: u64| Keeping { max_size, ..Keeping::default() };
    journal.keep(bounded(1_000_000));
    until("it is small enough", async || journal.usage().max_size == 1_000_000 && journal.usage().used <= 1_000_000)
        .await;
    let left = events(&journal, "delivered").await;
    assert!((1..20).contains(&left.len()), "{left:?}");
    assert_eq!(left.last().unwrap(), "delivered-19", "the oldest went");
    assert_eq!(events(&journal, "dead").await.len(), 20, "dead letters go last");
    assert!(!journal.usage().waiting_exceeds);

    journal.keep(bounded(700_000));
    until("it is smaller", async || journal.usage().max_size == 700_000 && journal.usage().used <= 700_000).await;
    assert_eq!(events(&journal, "delivered").await, [""; 0]);
    assert!((1..20).contains(&events(&journal, "dead").await.len()));

    journal.keep(bounded(100_000));
    until("it says so", async || journal.usage().waiting_exceeds).await;
    assert_eq!(events(&journal, "waiting").await.len(), 20, "what waits is never touched");
    assert_eq!(events(&journal, "dead").await, ["dead-19"], "the newest keeps its number");
    assert_eq!(journal.refuses(), None, "that is no trouble");
}

#[tokio::test]
async fn nobody_waits_long_while_half_a_million_rows_are_removed() {
    let rows: u32 = std::env::var("POSTRIDER_PRUNED").map_or(20_000, |rows| rows.parse().unwrap());
    let dir = tempfile::Builder::new().prefix("r").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fill(dir.path(), rows);
    let journal = SqliteJournal::open(dir.path()).unwrap();
    let mut number = 0;
    let mut acks = async |until: &dyn Fn(usize) -> bool| {
        let mut took = Vec::new();
        while !until(took.len()) {
            number += 1;
            let began = Instant::now();
            append(&journal, &format!("new-{number}"), &["lane"]).await;
            took.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.sort();
        (took.len(), took[took.len() / 2], took[took.len() * 99 / 100])
    };
    let quiet = acks(&|done| done >= 1000).await;
    let began = Instant::now();
    journal.keep(nothing_kept());
    let removed = || journal.usage().removed_delivered >= u64::from(rows);
    let busy = acks(&|done| done >= 200 && removed()).await;
    println!(
        "{rows} deliveries removed in {:?} meanwhile; acks p50 {:?} p99 {:?} ({}), quiet p50 {:?} p99 {:?} ({})",
        began.elapsed(),
        busy.1,
        busy.2,
        busy.0,
        quiet.1,
        quiet.2,
        quiet.0
    );
    // A step, its fsync, and what a machine that does other things takes.
    let bound = quiet.2 * 4 + limits::PRUNE_STEP * 8;
    assert!(busy.2 <= bound, "p99 {:?} while rows are removed, {:?} without, bound {bound:?}", busy.2, quiet.2);
}
