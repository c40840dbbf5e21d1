//! What only a file can get wrong: crashes, damage, other versions, other processes, a storage that fails.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::journal::{Filter, Hold, Journal, JournalError, SqliteJournal};
use postrider::words::delivery::Outcome;
use rusqlite::Connection;

use super::{append, attempt, by_id, claim, dead, event, kept, later, owed, retry, seqs, settle};

fn open(dir: &Path) -> SqliteJournal {
    SqliteJournal::open(dir).unwrap()
}

/// An administrator's own look at the file.
fn ask<T: rusqlite::types::FromSql>(dir: &Path, sql: &str) -> T {
    let conn = Connection::open(dir.join("journal.db")).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn an_opened_journal_calls_for_what_waits_or_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for (id, lane) in [("a", "done"), ("b", "waits"), ("c", "held and done"), ("d", "waits for long")] {
        append(&journal, id, &[lane]).await;
        let claimed = claim(&journal, lane, 1).await.remove(0);
        let outcome = if lane == "waits for long" { retry(later(900), "x") } else { Outcome::Delivered };
        if lane != "waits" {
            settle(&journal, &claimed, Some(attempt(1, outcome.word(), "")), 1, outcome).await;
        }
    }
    for lane in ["held and done", "held and never used", "robot#2"] {
        let hold =
            Hold { why: "by root".into(), since: kept(Timestamp::now()), fingerprint: String::new(), until: None };
        journal.set_hold(&lane.into(), Some(hold)).await.unwrap();
    }
    journal.close().await.unwrap();

    let journal = open(dir.path());
    let called: Vec<String> = journal.bells().called().await.iter().map(ToString::to_string).collect();
    assert_eq!(called, ["held and done", "held and never used", "robot#2", "waits", "waits for long"]);
}

#[tokio::test]
async fn everything_is_there_after_a_crash() {
    let (dir, wreck) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(dir.path());
    for id in ["a", "b", "c", "d"] {
        append(&journal, id, &["lane", "other"]).await;
    }
    let claimed = claim(&journal, "lane", 3).await;
    settle(&journal, &claimed[0], Some(attempt(1, "delivered", "")), 1, Outcome::Delivered).await;
    let until = kept(later(600));
    settle(&journal, &claimed[1], Some(attempt(1, "retry", "x")), 1, retry(until, "x")).await;
    let hold = Hold { why: "by root".into(), since: kept(Timestamp::now()), fingerprint: String::new(), until: None };
    journal.set_hold(&"other".into(), Some(hold.clone())).await.unwrap();
    let mut before = journal.list(Filter::default()).await.unwrap();
    // Nobody has anything in hand then.
    before.iter_mut().for_each(|row| row.claimed = false);

    // What a crash leaves: the files as they are, unfolded.
    for file in ["journal.db", "journal.db-wal"] {
        let copied = Command::new("cp").arg(dir.path().join(file)).arg(wreck.path()).status().unwrap();
        assert!(copied.success());
    }
    assert!(std::fs::metadata(wreck.path().join("journal.db-wal")).unwrap().len() > 0);
    drop(journal);

    let journal = open(wreck.path());
    assert_eq!(journal.list(Filter::default()).await.unwrap(), before);
    assert_eq!(journal.waiting(), 7);
    assert_eq!(journal.holds().await.unwrap(), [("other".into(), hold)]);
    assert_eq!(journal.log(Filter::default()).await.unwrap().len(), 2);
    let lanes = journal.lanes().await.unwrap();
    assert_eq!((lanes[0].1.waiting, lanes[0].1.delivered, lanes[1].1.waiting), (3, 1, 4));
    let due = journal.next_due(&"lane".into()).await.unwrap().expect("the claims of the dead process are free");
    assert_eq!(due, before[4].time);
    let again = claim(&journal, "lane", 9).await;
    assert_eq!(again.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["c", "d", "b"]);
    assert_eq!((again[2].due, again[2].attempts), (until, 1));
    assert_eq!(again[0].id, claimed[2].id, "the delivery id never changes");
    append(&journal, "e", &["lane"]).await;
    assert_eq!(seqs(&claim(&journal, "lane", 9).await), [9], "no number is given twice");
}

#[tokio::test]
async fn it_knows_what_was_accepted_lately() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let begun = kept(Timestamp::now());
    for id in ["a", "b", "c"] {
        append(&journal, id, &[]).await;
    }
    drop(journal);
    let journal = open(dir.path());
    let since = |since, most| {
        let journal = &journal;
        async move {
            let found = journal.accepted_since(since, most).await.unwrap();
            found.into_iter().map(|one| one.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(since(begun, 10).await, ["a", "b", "c"], "oldest first");
    assert_eq!(since(begun, 2).await, ["b", "c"], "the newest");
    assert_eq!(since(later(60), 10).await, Vec::<String>::new());
    let found = journal.accepted_since(begun, 1).await.unwrap();
    assert!(found[0].time >= begun && found[0].source == event("c").source, "{found:?}");
}

/// The body of the process that `what_was_acknowledged_survives_kill_9` kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn acknowledges_until_it_is_killed() {
    let Some(dir) = std::env::var_os("JOURNAL_TO_CRASH") else { return };
    let journal = open(Path::new(&dir));
    for number in 0.. {
        append(&journal, &format!("event-{number}"), &["lane"]).await;
        println!("acknowledged event-{number}");
        if number % 3 == 0 {
            for delivery in claim(&journal, "lane", 1).await {
                // Not awaited: most of them are on their way when the end comes.
                drop(journal.settle(&delivery, None, 1, Outcome::Delivered));
            }
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::file::acknowledges_until_it_is_killed", "--ignored", "--nocapture"])
        .env("JOURNAL_TO_CRASH", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The test harness writes its own words on the first line.
        if let Some((_, id)) = line.split_once("acknowledged ") {
            acknowledged.push(id.to_owned());
        }
        if acknowledged.len() == 100 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= 100);

    let journal = open(dir.path());
    let rows = journal.list(Filter::default()).await.unwrap();
    for id in &acknowledged {
        assert_eq!(rows.iter().filter(|row| row.event == *id).count(), 1, "{id}");
    }
    let waiting = rows.iter().filter(|row| row.outcome == "waiting").count();
    assert_eq!(claim(&journal, "lane", 9999).await.len(), waiting);
    assert_eq!(journal.waiting(), waiting as u64);
    assert_eq!(ask::<String>(dir.path(), "PRAGMA integrity_check"), "ok");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("a").join("b");
    let journal = open(&state);
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(state.join("journal.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = SqliteJournal::open(&state).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&refused, JournalError::Locked { pid: by, .. } if *by == pid), "{refused}");
    journal.close().await.unwrap();
    let second = open(&state);
    append(&second, "a", &["lane"]).await;
    drop(second);
    assert_eq!(open(&state).waiting(), 1);
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    Connection::open(dir.path().join("journal.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = SqliteJournal::open(dir.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 99, known: 7, .. }), "{refused}");
    assert_eq!(ask::<i64>(dir.path(), "PRAGMA user_version"), 99);
}

#[tokio::test]
async fn a_journal_of_the_first_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, "old", &["lane"]).await;
    journal.close().await.unwrap();
    let conn = Connection::open(dir.path().join("journal.db")).unwrap();
    conn.execute_batch(
        "ALTER TABLE events DROP COLUMN traceparent; ALTER TABLE events DROP COLUMN sum; ALTER TABLE events DROP COLUMN data; DROP TABLE once; DROP INDEX deliveries_order;
                        ALTER TABLE deliveries DROP COLUMN order_key; ALTER TABLE deliveries DROP COLUMN kept_not;
                        ALTER TABLE deliveries DROP COLUMN kept_type; ALTER TABLE deliveries DROP COLUMN kept_body;
                        ALTER TABLE deliveries DROP COLUMN original; ALTER TABLE lanes DROP COLUMN hold_until;
                        ALTER TABLE deliveries DROP COLUMN carrier; ALTER TABLE attempts DROP COLUMN along;
                        PRAGMA user_version = 1",
    )
    .unwrap();
    drop(conn);

    let journal = open(dir.path());
    let mut new = event("new");
    new.give_data(Some("{}".to_owned()));
    journal.append(vec![owed(new, &["lane"])]).await.unwrap();
    journal.close().await.unwrap();
    assert_eq!(ask::<i64>(dir.path(), "PRAGMA user_version"), 7);
    let claimed = claim(&open(dir.path()), "lane", 9).await;
    let said: Vec<_> = claimed.iter().map(|one| (one.event.id.as_str(), one.event.given_data())).collect();
    assert_eq!(said, [("old", None), ("new", Some("{}"))]);
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let journal = open(dir.path());
    for number in 0..50 {
        append(&journal, &number.to_string(), &["lane"]).await;
    }
    journal.close().await.unwrap();
    let sound = std::fs::read(&path).unwrap();
    assert!(sound.len() > 8 * 4096);

    let mut head = sound.clone();
    head[..64].fill(0x55);
    let mut schema = sound.clone();
    schema[100..4096].fill(0x55);
    let foreign = dir.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let cases = [
        ("head", head),
        ("schema", schema),
        ("cut", sound[..sound.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("text", b"this is not a database".repeat(300)),
        ("foreign", std::fs::read(&foreign).unwrap()),
    ];
    for (what, bytes) in cases {
        std::fs::write(&path, &bytes).unwrap();
        let refused = SqliteJournal::open(dir.path()).expect_err(what).to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{what}: {refused}");
        assert!(std::fs::read(&path).unwrap() == bytes, "{what} was changed");
    }
    std::fs::remove_file(&path).unwrap();
    let mark = dir.path().join("journal.id");
    let refused = SqliteJournal::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("is missing, and a journal was kept here"), "{refused}");
    assert!(refused.ends_with(&format!("remove {}", mark.display())), "{refused}");
    assert!(!path.exists(), "nothing begins a new one");
    std::fs::remove_file(mark).unwrap();
    std::fs::write(dir.path().join("journal.db-wal"), b"what is left of a journal").unwrap();
    let refused = SqliteJournal::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("is missing although"), "{refused}");
    assert!(!path.exists());
    std::fs::remove_file(dir.path().join("journal.db-wal")).unwrap();

    std::fs::write(&path, &sound).unwrap();
    assert_eq!(open(dir.path()).waiting(), 50);
}

#[tokio::test]
async fn outcomes_ride_along_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, "a", &["lane"]).await;
    let claimed = claim(&journal, "lane", 1).await.remove(0);
    let before = journal.commits();
    let settled = journal.settle(&claimed, None, 1, Outcome::Delivered);
    append(&journal, "b", &["lane"]).await;
    assert_eq!(journal.commits(), before + 1, "one commit for both");
    settled.await.unwrap();
    let claimed = claim(&journal, "lane", 1).await.remove(0);
    journal.settle(&claimed, None, 1, Outcome::Delivered).await.expect("without company it is written as well");
}

#[tokio::test]
async fn one_bad_event_does_not_harm_its_neighbours() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    append(&journal, "0", &["lane"]).await;
    let claimed = claim(&journal, "lane", 1).await.remove(0);
    let mut huge = event("huge");
    huge.raw = vec![b'x'; 33 * 1024 * 1024].into();
    // The outcome waits for company, so all of them share a transaction.
    let settled = journal.settle(&claimed, None, 1, dead("no"));
    let batch = vec![owed(event("1"), &["new lane"]), owed(huge, &["new lane", "newer lane"])];
    let refused = journal.append(batch);
    let good = journal.append(vec![owed(event("2"), &["newer lane"])]);
    let refused = refused.await.unwrap_err();
    assert!(refused.to_string().contains("too big"), "{refused}");
    settled.await.unwrap();
    good.await.unwrap();
    assert_eq!(journal.trouble(), None);
    assert_eq!(journal.show(&claimed.id).await.unwrap().unwrap().row.outcome, "dead");
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 2, "nothing of the refused call is stored");
    assert_eq!(claim(&journal, "newer lane", 9).await.len(), 1);
    assert!(!append(&journal, "1", &["new lane"]).await.duplicate);
    assert_eq!(journal.unwritten(), 0);
}

#[tokio::test]
async fn a_file_that_is_gone_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("journal.db"), dir.path().join("aside"));
    let journal = open(dir.path());
    append(&journal, "a", &["lane"]).await;
    std::fs::rename(&path, &aside).unwrap();
    let refused = journal.append(vec![owed(event("b"), &["lane"])]).await;
    let Err(JournalError::Storage(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("was moved or deleted while it was in use"), "{why}");
    assert!(!path.exists(), "nothing begins a new one");

    std::fs::rename(&aside, &path).unwrap();
    let mended = tokio::time::timeout(Duration::from_secs(30), async {
        while journal.append(vec![owed(event("c"), &["lane"])]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    mended.await.expect("it mends itself");
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn trouble_refuses_events_keeps_outcomes_and_mends_itself() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let bell = journal.bells().attend(&"lane".into());
    for id in ["a", "b", "c"] {
        append(&journal, id, &["lane"]).await;
    }
    let claimed = claim(&journal, "lane", 2).await;
    bell.notified().await;

    let foreign = Connection::open(dir.path().join("journal.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = journal.settle(&claimed[0], Some(attempt(1, "retry", "")), 1, retry(Timestamp::now(), "first"));
    let refused = journal.append(vec![owed(event("d"), &["lane"])]).await;
    assert!(matches!(refused, Err(JournalError::Storage(_))), "{refused:?}");
    let trouble = journal.trouble().expect("it says so");
    assert!(trouble.to_string().contains("locked"), "{trouble}");
    let second = journal.settle(&claimed[1], None, 1, dead("second"));
    assert!(claim(&journal, "lane", 9).await.is_empty(), "nothing is sent while outcomes cannot be kept");
    assert!(journal.next_due(&"lane".into()).await.unwrap().unwrap() > Timestamp::now(), "nor is it asked for");
    assert!(journal.append(vec![owed(event("e"), &["lane"])]).await.is_err());
    assert!(journal.set_hold(&"lane".into(), None).await.is_err());
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 3, "reading goes on");
    assert_eq!(journal.unwritten(), 0);

    foreign.execute_batch("ROLLBACK").unwrap();
    first.await.unwrap();
    second.await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), bell.notified()).await.expect("the bell rings when it is over");
    assert_eq!(journal.trouble(), None);
    let rows = journal.list(Filter::default()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.why.as_str()).collect::<Vec<_>>(), ["retry: first", "second", "new"]);
    assert_eq!(journal.log(by_id(&claimed[0].id)).await.unwrap().len(), 1);
    assert!(!append(&journal, "d", &["lane"]).await.duplicate, "what was refused was not stored");
    let again = claim(&journal, "lane", 9).await;
    assert_eq!(again.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["c", "a", "d"]);
    assert_eq!(journal.waiting(), 3);
    let lane = &journal.lanes().await.unwrap()[0].1;
    assert_eq!((lane.waiting, lane.dead), (3, 1));
}
