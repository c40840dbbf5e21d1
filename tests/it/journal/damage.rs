//! Bits that flip, logs that are cut, files that are another's: refused with what to do, or everything acknowledged is
//! there and right. Nothing is ever changed, begun anew, or sent otherwise than it came.
//!
//! `POSTRIDER_FLIPS=200` is the long form; `POSTRIDER_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use postrider::edges::journal::{Filter, Journal, JournalError, SqliteJournal};
use postrider::words::delivery::Outcome;

use super::{append, claim, event, owed};

const FILES: [&str; 4] = ["journal.db", "journal.db-wal", "journal.db-shm", "journal.id"];
const EVENTS: usize = 60;

/// The bytes of a journal's files.
type Files = BTreeMap<&'static str, Vec<u8>>;

fn take(dir: &Path) -> Files {
    FILES.into_iter().filter_map(|name| Some((name, fs::read(dir.join(name)).ok()?))).collect()
}

fn put(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn body(id: &str) -> String {
    format!("{{\"id\": \"{id}\", \"pad\": \"{}\"}}", id.repeat(40))
}

/// A journal with events of which every third is delivered, as a stop leaves it and as a crash does.
async fn journals() -> [Files; 2] {
    let dir = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(dir.path()).unwrap();
    for number in 0..EVENTS {
        let id = format!("event-{number}");
        let mut event = event(&id);
        event.raw = body(&id).into();
        journal.append(vec![owed(event, &["lane"])]).await.unwrap();
        if number % 3 == 0 {
            let delivery = claim(&journal, "lane", 1).await.remove(0);
            let settled = journal.settle(&delivery, None, 1, Outcome::Delivered);
            append(&journal, &format!("nobody-{number}"), &[]).await;
            settled.await.unwrap();
        }
    }
    let crashed = take(dir.path());
    assert!(crashed["journal.db-wal"].len() > 100 * 4096, "the log is long");
    journal.close().await.unwrap();
    let stopped = take(dir.path());
    assert!(!stopped.contains_key("journal.db-wal") && stopped["journal.db"].len() > 10 * 4096);
    [stopped, crashed]
}

/// What became of a journal that was tampered with.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Refused,
    NoticedAtWork,
    EventMarked,
    AllRight,
}

/// Opens it, and compares what it has with what was acknowledged.
async fn look(dir: &Path, what: &str) -> Found {
    let before = take(dir);
    let journal = match SqliteJournal::open(dir) {
        Ok(journal) => journal,
        Err(error) => {
            let said = error.to_string();
            assert!(said.contains(dir.to_str().unwrap()), "{what}: no path: {said}");
            if let JournalError::Damaged { remedy, .. } = &error {
                assert!(remedy.contains("restore") || remedy.contains("put "), "{what}: no remedy: {said}");
            }
            assert!(before.get("journal.db") == take(dir).get("journal.db"), "{what}: it was changed: {said}");
            return Found::Refused;
        }
    };
    let noticed = |error: &JournalError| {
        assert!(error.to_string().contains("damaged"), "{what}: {error}");
        Found::NoticedAtWork
    };
    let rows = match journal.list(Filter::default()).await {
        Ok(rows) => rows,
        Err(error) => return noticed(&error),
    };
    let owed = match journal.claim(&"lane".into(), super::later(3600), 9999).await {
        Ok(owed) => owed,
        Err(error) => return noticed(&error),
    };
    let marked = owed.iter().filter(|delivery| delivery.event.damaged).count();
    let right = |delivery: &&postrider::words::delivery::Delivery| {
        let event = &delivery.event;
        !event.damaged && event.raw == body(&event.id) && event.kind == "build.done" && event.source.is_empty()
    };
    let right: BTreeSet<&str> = owed.iter().filter(right).map(|delivery| delivery.event.id.as_str()).collect();
    assert_eq!(right.len() + marked, owed.len(), "{what}: an event is wrong and nothing says so");
    // The oldest were delivered first: a third of all.
    let delivered = EVENTS / 3;
    let missing: Vec<usize> = (delivered..EVENTS).filter(|n| !right.contains(format!("event-{n}").as_str())).collect();
    assert!(missing.len() <= marked, "{what}: lost without a word: {missing:?}");
    assert_eq!(rows.len(), EVENTS, "{what}: deliveries are missing");
    if marked > 0 { Found::EventMarked } else { Found::AllRight }
}

#[tokio::test]
async fn a_bit_that_flips_is_noticed_or_harmless() {
    let flips: usize = std::env::var("POSTRIDER_FLIPS").map_or(40, |flips| flips.parse().unwrap());
    let seed = std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("POSTRIDER_SEED={seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let journals = journals().await;
    for (files, name) in journals.iter().zip(["stopped", "crashed"]) {
        assert_eq!(look(put(files).path(), name).await, Found::AllRight, "untouched");
    }
    let mut found: BTreeMap<Found, usize> = BTreeMap::new();
    for _ in 0..flips {
        let mut files = journals[chance.usize(..2)].clone();
        let names: Vec<_> = files.keys().copied().filter(|name| *name != "journal.id").collect();
        let name = names[chance.usize(..names.len())];
        let bytes = files.get_mut(name).unwrap();
        let (at, bit) = (chance.usize(..bytes.len()), chance.u8(..8));
        bytes[at] ^= 1 << bit;
        let what = format!("bit {bit} of byte {at} of {name}, seed {seed}");
        *found.entry(look(put(&files).path(), &what).await).or_default() += 1;
    }
    println!("{flips} flips, 0 panics, 0 silent losses: {found:?}");
    assert!(found.contains_key(&Found::Refused) && found.len() > 1, "{found:?}");
}

/// The schema is text in the file: a name in it that is another one is nothing that a check of pages finds.
#[tokio::test]
async fn a_column_that_lost_its_name_is_damage() {
    let [stopped, _] = journals().await;
    let places = |name: &str| stopped["journal.db"].windows(name.len()).position(|bytes| bytes == name.as_bytes());
    for name in ["peer_uid INTEGER", "content_type TEXT", "kept_body BLOB", "attempts INTEGER"] {
        let at = places(name).expect("a column of the schema");
        let mut files = stopped.clone();
        files.get_mut("journal.db").unwrap()[at] ^= 2;
        let found = look(put(&files).path(), name).await;
        assert!(matches!(found, Found::Refused | Found::NoticedAtWork), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn a_log_that_lost_something_is_refused_and_an_unfinished_end_is_not() {
    let [_, crashed] = journals().await;
    let frame = 4096 + 24;
    let log = crashed["journal.db-wal"].clone();
    let whole = (log.len() - 32) / frame;
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = crashed.clone();
        change(&mut files);
        put(&files)
    };
    let cut = |at: usize| with(&move |files| files.get_mut("journal.db-wal").unwrap().truncate(at));
    for (what, dir) in [
        ("cut in the middle", cut(32 + whole / 2 * frame)),
        ("cut by a page", cut(log.len() - frame)),
        ("cut by a byte", cut(log.len() - 1)),
        ("cut to its head", cut(32)),
        ("emptied", cut(0)),
        ("gone", with(&|files| drop(files.remove("journal.db-wal")))),
        ("its head is wrong", with(&|files| files.get_mut("journal.db-wal").unwrap()[17] ^= 1)),
        ("its last page is wrong", with(&|files| *files.get_mut("journal.db-wal").unwrap().last_mut().unwrap() ^= 1)),
        (
            "a page is wrong and there is no index",
            with(&|files| {
                files.remove("journal.db-shm");
                files.get_mut("journal.db-wal").unwrap()[32 + 20 * frame + 100] ^= 1;
            }),
        ),
    ] {
        let refused = SqliteJournal::open(dir.path()).expect_err(what);
        let JournalError::Damaged { path, remedy, .. } = &refused else { panic!("{what}: {refused}") };
        assert!(path.ends_with("journal.db-wal") && remedy.contains("journal.db-shm"), "{what}: {refused}");
    }
    // What was being written when it died: part of a transaction behind the last whole one.
    let half = with(&|files| files.get_mut("journal.db-wal").unwrap().extend_from_slice(&log[32..32 + frame]));
    assert_eq!(look(half.path(), "an unfinished end").await, Found::AllRight);
}

#[tokio::test]
async fn an_event_that_was_changed_on_disk_is_marked() {
    let [stopped, _] = journals().await;
    let dir = put(&stopped);
    let path = dir.path().join("journal.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE events SET raw = x'7b7d' WHERE id = 'event-50'", []).unwrap();
    drop(conn);
    assert_eq!(look(dir.path(), "a body was changed").await, Found::EventMarked);
}

#[tokio::test]
async fn another_journal_is_not_taken_for_this_one() {
    let [stopped, _] = journals().await;
    let (dir, other) = (put(&stopped), tempfile::tempdir().unwrap());
    drop(SqliteJournal::open(other.path()).unwrap());
    fs::copy(other.path().join("journal.db"), dir.path().join("journal.db")).unwrap();
    let refused = SqliteJournal::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("and the one that was kept here is"), "{refused}");
    fs::remove_file(dir.path().join("journal.id")).unwrap();
    drop(SqliteJournal::open(dir.path()).unwrap());
}

#[tokio::test]
async fn damage_that_a_reader_meets_stops_everything_until_it_is_mended() {
    let [stopped, _] = journals().await;
    let dir = put(&stopped);
    let path = dir.path().join("journal.db");
    let journal = SqliteJournal::open(dir.path()).unwrap();
    // All but the first pages are lost under its feet.
    let sound = fs::read(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0x55; sound.len() - 2 * 4096], 2 * 4096).unwrap();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while journal.trouble().is_none() {
        assert!(std::time::Instant::now() < deadline, "nobody noticed");
        let _may_fail = journal.show("30").await;
        let _may_fail = journal.list(Filter::default()).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(journal.claim(&"lane".into(), super::later(3600), 9).await.map_or(true, |owed| owed.is_empty()));
    std::os::unix::fs::FileExt::write_all_at(&file, &sound[2 * 4096..], 2 * 4096).unwrap();
    while journal.trouble().is_some() {
        assert!(std::time::Instant::now() < deadline, "it does not heal: {:?}", journal.trouble());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), EVENTS);
}
