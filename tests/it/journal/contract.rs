//! What every journal promises.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::journal::{Along, Due, Filter, Hold, Journal, JournalError, MemoryJournal, SqliteJournal};
use postrider::words::delivery::{Outcome, Why};
use postrider::words::event::{Event, Peer};
use postrider::words::trace::TraceParent;

use super::{append, attempt, by_hook, by_id, claim, dead, event, kept, later, owed, retry, seqs, settle};

macro_rules! contract {
    ($($clause:ident)*) => {
        mod in_sqlite {
            $(#[tokio::test]
            async fn $clause() {
                let dir = tempfile::tempdir().unwrap();
                super::$clause(&super::SqliteJournal::open(dir.path()).unwrap()).await;
            })*
        }
        mod in_memory {
            $(#[tokio::test(start_paused = true)]
            async fn $clause() {
                super::$clause(&super::MemoryJournal::new()).await;
            })*
        }
    };
}

contract! {
    an_event_is_stored_once
    what_goes_in_comes_out
    a_claim_is_handed_out_once_and_in_order
    what_waits_comes_back_when_it_is_due
    each_outcome_is_recorded
    an_outcome_is_recorded_once
    what_went_in_one_request_is_settled_at_once
    the_bell_rings
    dead_letters_are_reopened
    others_are_reopened_only_by_id
    lists_are_filtered
    the_log_is_filtered
    holds_are_kept
    lanes_are_counted
    a_closed_journal_says_so
}

async fn an_event_is_stored_once(journal: &dyn Journal) {
    let first = append(journal, "a", &["one", "two"]).await;
    assert_eq!((first.id.as_str(), first.duplicate), ("a", false));
    let again = append(journal, "a", &["three"]).await;
    assert!(again.duplicate);
    assert_eq!(again.hooks, first.hooks, "the hooks of the first time");

    let mut other = event("a");
    other.source = "elsewhere".to_owned();
    let batch =
        vec![owed(event("b"), &["one"]), owed(event("b"), &["two"]), owed(other, &["one"]), owed(event("a"), &[])];
    let answers = journal.append(batch).await.unwrap();
    assert_eq!(answers.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(answers[1].hooks, [Arc::from("one")]);

    assert!(!append(journal, "unwanted", &[]).await.duplicate);
    assert!(append(journal, "unwanted", &["one"]).await.duplicate, "also when no hook wanted it");
    assert_eq!(journal.waiting(), 4);
    assert_eq!(journal.list(Filter::default()).await.unwrap().len(), 4);
    assert_eq!(journal.unwritten(), 0);
}

async fn what_goes_in_comes_out(journal: &dyn Journal) {
    let binary: Vec<u8> = (0..=255).collect();
    let large = vec![b'x'; 1024 * 1024];
    let given = Some("{\"b\":1,\"a\":1.50,\"应\":null}".to_owned());
    for (id, raw, given) in [
        ("binary", binary.clone(), None),
        ("empty", Vec::new(), None),
        ("large", large, None),
        ("given", binary, given),
    ] {
        let time: Timestamp = "2026-02-03T04:05:06.123456789Z".parse().unwrap();
        let mut event = Event::new("some.type", Some(id.to_owned()), raw.clone(), time);
        event.source = "a source, 应用".to_owned();
        event.content_type = "application/octet-stream".to_owned();
        event.peer = Some(Peer { uid: 1000, gid: u32::MAX, pid: None });
        event.give_data(given.clone());
        let trace = (id == "given").then(|| TraceParent::sampled([1; 16], [2; 8]));
        event.trace = trace;
        journal.append(vec![owed(event, &["lane"])]).await.unwrap();
        let claimed = claim(journal, "lane", 1).await.remove(0);
        let shown = journal.show(&claimed.id).await.unwrap().expect("it is on record");
        for event in [&claimed.event, &shown.event] {
            assert!(event.raw == raw, "{id}: {} bytes came back as {}", raw.len(), event.raw.len());
            assert_eq!(
                (event.id.as_str(), event.kind.as_str(), event.source.as_str()),
                (id, "some.type", "a source, 应用")
            );
            // The first attempt must not send other digits than the second.
            assert_eq!(event.time, kept(time));
            assert_eq!(event.content_type, "application/octet-stream");
            assert_eq!(event.given_data(), given.as_deref(), "in memory and from the disk alike");
            assert_eq!(event.peer, Some(Peer { uid: 1000, gid: u32::MAX, pid: None }));
            assert_eq!(event.trace, trace);
        }
        assert_eq!((&*claimed.hook, claimed.attempts, claimed.due), ("lane", 0, claimed.created));
        assert_eq!(shown.row.time, claimed.created);
        assert!(shown.attempts.is_empty());
        assert!(!claimed.id.contains('.'), "a dot would break signatures");
        assert_eq!(claimed.id.rsplit_once('-').unwrap().1, claimed.seq.to_string());
        let by_number = journal.show(&claimed.seq.to_string()).await.unwrap().expect("the number is enough");
        assert_eq!(by_number.row, shown.row);
    }
    for wrong in ["", "x", "9", "-1", "+1", "otherxxxxx-1", "'"] {
        assert!(journal.show(wrong).await.unwrap().is_none(), "{wrong}");
    }
}

async fn a_claim_is_handed_out_once_and_in_order(journal: &dyn Journal) {
    let lane: Arc<str> = "lane".into();
    for id in ["a", "b", "c", "d"] {
        append(journal, id, &["lane", "other"]).await;
    }
    assert!(journal.claim(&lane, later(-3600), 10).await.unwrap().is_empty(), "nothing is due yet");
    assert!(claim(journal, "lane", 0).await.is_empty());
    assert!(claim(journal, "unheard of", 9).await.is_empty());

    let first = claim(journal, "lane", 2).await;
    assert_eq!(first.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    journal.unclaim(first[0].clone());
    journal.unclaim(first[0].clone());
    let second = claim(journal, "lane", 2).await;
    assert_eq!(second.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["a", "c"], "back at the head");
    assert_eq!(claim(journal, "lane", 9).await.len(), 1);
    assert!(claim(journal, "lane", 9).await.is_empty());
    assert_eq!(journal.next_due(&lane).await.unwrap(), None, "all are claimed");
    assert_eq!(claim(journal, "other", 9).await.len(), 4, "lanes do not share claims");
    assert_eq!(journal.waiting(), 8, "a claim changes nothing about what waits");
}

async fn what_waits_comes_back_when_it_is_due(journal: &dyn Journal) {
    let lane: Arc<str> = "lane".into();
    assert_eq!(journal.next_due(&lane).await.unwrap(), None);
    for id in ["a", "b", "c"] {
        append(journal, id, &["lane"]).await;
    }
    let claimed = claim(journal, "lane", 9).await;
    let (soon, late) = (kept(later(60)), kept(later(600)));
    settle(journal, &claimed[0], None, 1, retry(late, "a")).await;
    assert_eq!(journal.next_due(&lane).await.unwrap(), Some(late));
    settle(journal, &claimed[1], None, 1, retry(soon, "b")).await;
    settle(journal, &claimed[2], None, 1, retry(soon, "c")).await;
    assert_eq!(journal.next_due(&lane).await.unwrap(), Some(soon));
    assert!(journal.claim(&lane, Timestamp::now(), 9).await.unwrap().is_empty());

    append(journal, "d", &["lane"]).await;
    assert!(journal.next_due(&lane).await.unwrap().unwrap() < soon);
    let now = journal.claim(&lane, later(1), 9).await.unwrap();
    assert_eq!(now.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["d"]);
    let back = journal.claim(&lane, soon, 1).await.unwrap();
    assert_eq!((back[0].event.id.as_str(), back[0].attempts, back[0].due), ("b", 1, soon));
    assert_eq!(back[0].created, claimed[1].created, "its age goes on");
    let rest = journal.claim(&lane, late, 9).await.unwrap();
    assert_eq!(seqs(&rest), [claimed[2].seq, claimed[0].seq]);
    assert_eq!(journal.next_due(&lane).await.unwrap(), None);
}

async fn each_outcome_is_recorded(journal: &dyn Journal) {
    let until = kept(later(60));
    let whys =
        [Why::New, Why::Pace, Why::Pause("busy".into()), Why::Hold("h".into()), Why::HookRemoved, Why::HookDisabled];
    let waits = whys.map(|why| Outcome::Waiting { until, why });
    let ends = [Outcome::Delivered, dead("gone"), Outcome::Dropped { why: "by root".into() }, retry(until, "HTTP 500")];
    for (number, outcome) in waits.into_iter().chain(ends).enumerate() {
        append(journal, &number.to_string(), &["lane"]).await;
        let claimed = claim(journal, "lane", 1).await.remove(0);
        let tried = attempt(3, "retry", "HTTP 500");
        settle(journal, &claimed, Some(tried.clone()), 3, outcome.clone()).await;
        let shown = journal.show(&claimed.id).await.unwrap().unwrap();
        assert_eq!((shown.row.outcome.as_str(), shown.row.why), (outcome.word(), outcome.why()));
        assert_eq!(shown.row.due, matches!(outcome, Outcome::Waiting { .. }).then_some(until));
        assert_eq!(shown.row.attempts, 3);
        assert_eq!(shown.attempts, [(tried, outcome.word().to_owned())]);
    }
    assert_eq!(journal.waiting(), 7);
}

async fn what_went_in_one_request_is_settled_at_once(journal: &dyn Journal) {
    for id in ["a", "b", "c", "d"] {
        append(journal, id, &["lane", "other"]).await;
    }
    let lane: Arc<str> = "lane".into();
    let oldest = journal.list(by_hook("lane")).await.unwrap()[0].time;
    assert_eq!(journal.due(&lane, later(1), 9).await.unwrap(), Due { count: 4, oldest: Some(oldest) });
    assert_eq!(journal.due(&lane, later(1), 3).await.unwrap().count, 3, "it counts no further");
    assert_eq!(journal.due(&lane, later(-60), 9).await.unwrap(), Due::default());
    let claimed = claim(journal, "lane", 3).await;
    assert_eq!(journal.due(&lane, later(1), 9).await.unwrap().count, 1, "what is handed out is not due");

    let mut tried = attempt(1, "delivered", "a digest of 3");
    tried.along = seqs(&claimed[1..]);
    let until = kept(later(60));
    let along = vec![
        Along { delivery: claimed[1].clone(), attempts: 1, outcome: Outcome::Delivered },
        Along { delivery: claimed[2].clone(), attempts: 7, outcome: retry(until, "late") },
    ];
    let (told, tells) = tokio::sync::oneshot::channel();
    let then = Box::new(move |recorded| drop(told.send(recorded)));
    journal.settle_all_then(&claimed[0], Some(tried.clone()), 1, Outcome::Delivered, along, then);
    journal.set_hold(&"nobody".into(), None).await.unwrap();
    tells.await.unwrap().unwrap();

    let rows = journal.list(by_hook("lane")).await.unwrap();
    let carrier = Some(rows[0].delivery.clone());
    let said: Vec<_> = rows.iter().map(|row| (row.outcome.as_str(), row.attempts, row.carrier.clone())).collect();
    let waits = ("waiting", 7, carrier.clone());
    assert_eq!(said, [("delivered", 1, None), ("delivered", 1, carrier), waits, ("waiting", 0, None)]);
    assert_eq!(rows[2].due, Some(until));
    let lanes = journal.lanes().await.unwrap();
    assert_eq!((lanes[0].1.waiting, lanes[0].1.delivered), (2, 2));
    // One attempt, which names them, and which the log of each event finds.
    assert_eq!(journal.show(&claimed[0].id).await.unwrap().unwrap().attempts, [(tried, "delivered".to_owned())]);
    assert!(journal.show(&claimed[1].id).await.unwrap().unwrap().attempts.is_empty());
    assert_eq!(journal.log(Filter::default()).await.unwrap().len(), 1);
    for event in ["a", "b", "c", "d"] {
        let of_event = Filter { event: Some(event.to_owned()), ..Filter::default() };
        assert_eq!(journal.log(of_event).await.unwrap().len(), usize::from(event != "d"), "{event}");
    }
    // What goes by itself after that says so.
    let again = journal.claim(&lane, until, 9).await.unwrap();
    let third = again.iter().find(|one| one.seq == claimed[2].seq).unwrap();
    settle(journal, third, Some(attempt(8, "delivered", "")), 8, Outcome::Delivered).await;
    assert_eq!(journal.list(by_hook("lane")).await.unwrap()[2].carrier, None);
    let reopened = journal.reopen(by_id(&claimed[1].id), Timestamp::now()).await.unwrap();
    assert_eq!(reopened.len(), 1);
    assert_eq!(journal.list(by_hook("lane")).await.unwrap()[1].carrier, None);
}

async fn an_outcome_is_recorded_once(journal: &dyn Journal) {
    append(journal, "a", &["lane"]).await;
    let claimed = claim(journal, "lane", 1).await.remove(0);
    settle(journal, &claimed, None, 1, Outcome::Delivered).await;
    let second = journal.settle(&claimed, Some(attempt(2, "reject", "")), 2, dead("no"));
    assert!(matches!(second.await, Err(JournalError::Storage(_))));
    let row = journal.show(&claimed.id).await.unwrap().unwrap();
    assert_eq!((row.row.outcome.as_str(), row.row.attempts, row.attempts.len()), ("delivered", 1, 0));
    assert_eq!(journal.waiting(), 0);
    assert!(claim(journal, "lane", 1).await.is_empty());
}

async fn the_bell_rings(journal: &dyn Journal) {
    let bell = journal.bells().attend(&"lane".into());
    append(journal, "a", &["lane"]).await;
    rings(&bell).await;
    let claimed = claim(journal, "lane", 1).await.remove(0);
    settle(journal, &claimed, None, 1, dead("no")).await;
    journal.reopen(Filter::default(), Timestamp::now()).await.unwrap();
    rings(&journal.bells().attend(&"lane".into())).await;
}

async fn rings(bell: &tokio::sync::Notify) {
    tokio::time::timeout(Duration::from_secs(5), bell.notified()).await.expect("the bell rings");
}

async fn dead_letters_are_reopened(journal: &dyn Journal) {
    for (id, outcome) in [("a", dead("x")), ("b", dead("y")), ("c", dead("z")), ("d", Outcome::Delivered)] {
        append(journal, id, &["lane", "other"]).await;
        for lane in ["lane", "other"] {
            let claimed = claim(journal, lane, 1).await.remove(0);
            settle(journal, &claimed, Some(attempt(1, "reject", "")), 5, outcome.clone()).await;
        }
    }
    append(journal, "e", &["lane"]).await;
    let waiting = claim(journal, "lane", 1).await.remove(0);
    assert_eq!(journal.waiting(), 1);

    let now = kept(later(7));
    let newest = Filter { limit: Some(1), ..by_hook("lane") };
    let ids = journal.reopen(newest, now).await.unwrap();
    assert_eq!(ids.len(), 1, "the newest one");
    let ids = [ids, journal.reopen(by_hook("lane"), now).await.unwrap()].concat();
    assert_eq!(ids.len(), 3);
    assert!(journal.reopen(by_hook("lane"), now).await.unwrap().is_empty(), "they wait now");
    assert_eq!(journal.waiting(), 4);
    assert_eq!(journal.next_due(&"lane".into()).await.unwrap(), Some(now));
    let claimed = claim(journal, "lane", 9).await;
    assert_eq!(claimed.iter().map(|one| one.event.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(ids.contains(&claimed[0].id.to_string()));
    for again in &claimed {
        assert_eq!((again.attempts, again.created, again.due), (0, now, now), "its age begins anew");
        assert_ne!(again.seq, waiting.seq, "what is claimed was left alone");
        assert_eq!(journal.show(&again.id).await.unwrap().unwrap().attempts.len(), 1, "its history stays");
    }
    let row = journal.show(&ids[0]).await.unwrap().unwrap().row;
    assert_eq!((row.outcome.as_str(), row.why.as_str(), row.time), ("waiting", "replayed", now));
    assert_eq!(journal.reopen(Filter::default(), now).await.unwrap().len(), 3, "those of the other lane");
}

async fn others_are_reopened_only_by_id(journal: &dyn Journal) {
    let now = Timestamp::now();
    let mut ids = Vec::new();
    for (id, outcome) in [("a", Outcome::Delivered), ("b", Outcome::Dropped { why: "by root".into() })] {
        append(journal, id, &["lane"]).await;
        let claimed = claim(journal, "lane", 1).await.remove(0);
        settle(journal, &claimed, None, 1, outcome).await;
        ids.push(claimed.id.to_string());
    }
    for outcome in ["delivered", "dropped", "waiting"] {
        let filter = Filter { outcome: Some(outcome.into()), ..by_hook("lane") };
        assert!(journal.reopen(filter, now).await.unwrap().is_empty(), "{outcome}");
    }
    assert!(journal.reopen(by_id("no-such-id"), now).await.unwrap().is_empty(), "what is unknown means nothing");
    assert!(journal.reopen(Filter { event: Some("b".into()), ..by_id(&ids[0]) }, now).await.unwrap().is_empty());
    let number = ids[1].rsplit_once('-').unwrap().1;
    let both = Filter { ids: vec![ids[0].clone(), number.to_owned()], ..Filter::default() };
    assert_eq!(journal.reopen(both.clone(), now).await.unwrap(), ids);
    assert!(journal.reopen(both, now).await.unwrap().is_empty());
    assert_eq!(claim(journal, "lane", 9).await.len(), 2);
}

async fn lists_are_filtered(journal: &dyn Journal) {
    for id in ["a", "b", "c"] {
        append(journal, id, &["lane", "other"]).await;
    }
    let claimed = claim(journal, "lane", 2).await;
    settle(journal, &claimed[0], None, 1, Outcome::Delivered).await;
    settle(journal, &claimed[1], None, 1, dead("no")).await;
    let all = journal.list(Filter::default()).await.unwrap();
    assert_eq!(all.len(), 6);
    let numbers = |rows: &[postrider::edges::journal::DeliveryRow]| -> Vec<i64> {
        rows.iter().map(|row| row.delivery.rsplit_once('-').unwrap().1.parse().unwrap()).collect()
    };
    assert_eq!(numbers(&all), [1, 2, 3, 4, 5, 6], "oldest first");
    let outcome = |outcome: &str| Filter { outcome: Some(outcome.to_owned()), ..Filter::default() };
    let event = |id: &str| Filter { event: Some(id.to_owned()), ..Filter::default() };
    let cases = [
        (Filter { limit: Some(2), ..Filter::default() }, vec![5, 6]),
        (Filter { limit: Some(0), ..Filter::default() }, vec![]),
        (by_hook("lane"), vec![1, 3, 5]),
        (by_hook("nobody"), vec![]),
        (event("b"), vec![3, 4]),
        (Filter { hook: Some("other".into()), ..event("b") }, vec![4]),
        (outcome("waiting"), vec![2, 4, 5, 6]),
        (Filter { limit: Some(1), ..outcome("waiting") }, vec![6]),
        (Filter { hook: Some("lane".into()), ..outcome("waiting") }, vec![5]),
        (outcome("delivered"), vec![1]),
        (outcome("dead"), vec![3]),
        (Filter { event: Some("a".into()), ..outcome("dead") }, vec![]),
        (outcome("dropped"), vec![]),
        (by_id("2"), vec![2]),
        (
            Filter { ids: vec![all[0].delivery.clone(), "6".into(), "99".into(), "x-1".into()], ..Filter::default() },
            vec![1, 6],
        ),
        (by_id("garbage"), vec![]),
        (Filter { since: Some(all[2].time), ..Filter::default() }, (3..=6).collect()),
        (Filter { until: Some(all[2].time), ..Filter::default() }, vec![1, 2]),
        (Filter { since: Some(all[2].time), until: Some(all[4].time), ..Filter::default() }, vec![3, 4]),
        (Filter { since: Some(all[2].time), ..outcome("waiting") }, vec![4, 5, 6]),
    ];
    for (filter, expected) in cases {
        let rows = journal.list(filter.clone()).await.unwrap();
        assert_eq!(numbers(&rows), expected, "{filter:?}");
    }
    assert_eq!((all[2].why.as_str(), all[2].due), ("no", None));
    assert_eq!((all[3].why.as_str(), all[3].due), ("new", Some(all[3].time)));
    assert_eq!((all[3].event.as_str(), all[3].hook.as_str(), all[3].kind.as_str()), ("b", "other", "build.done"));
}

async fn the_log_is_filtered(journal: &dyn Journal) {
    append(journal, "a", &["lane", "other"]).await;
    let (one, two) = (claim(journal, "lane", 1).await.remove(0), claim(journal, "other", 1).await.remove(0));
    let start = Timestamp::now();
    let tried = |number: u32, verdict: &str| {
        let mut tried = attempt(number, verdict, "why");
        tried.started = kept(start + Duration::from_secs(number.into()));
        tried
    };
    settle(journal, &one, Some(tried(1, "retry")), 1, retry(Timestamp::now(), "x")).await;
    settle(journal, &two, Some(tried(2, "delivered")), 1, Outcome::Delivered).await;
    let one = claim(journal, "lane", 1).await.remove(0);
    settle(journal, &one, Some(tried(3, "reject")), 2, dead("x")).await;
    let at = |seconds: u64| Some(kept(start + Duration::from_secs(seconds)));
    let cases = [
        (Filter::default(), vec![1, 2, 3]),
        (Filter { limit: Some(2), ..Filter::default() }, vec![2, 3]),
        (by_hook("lane"), vec![1, 3]),
        (by_id(&two.id), vec![2]),
        (by_id("x"), vec![]),
        (Filter { event: Some("a".into()), ..Filter::default() }, vec![1, 2, 3]),
        (Filter { event: Some("b".into()), ..Filter::default() }, vec![]),
        (Filter { failed: true, ..Filter::default() }, vec![1, 3]),
        (Filter { outcome: Some("dead".into()), ..Filter::default() }, vec![3]),
        (Filter { since: at(2), ..Filter::default() }, vec![2, 3]),
        (Filter { until: at(2), ..Filter::default() }, vec![1]),
    ];
    for (filter, expected) in cases {
        let rows = journal.log(filter.clone()).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.attempt).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let row = journal.log(by_id(&two.id)).await.unwrap().remove(0);
    assert_eq!((row.time, row.event.as_str(), row.delivery.as_str()), (at(2).unwrap(), "a", &*two.id));
    assert_eq!((row.hook.as_str(), row.kind.as_str(), row.outcome.as_str()), ("other", "build.done", "delivered"));
    assert_eq!((row.verdict.as_str(), row.status, row.duration_ms), ("delivered", Some(500), 12));
    assert_eq!(row.why, "why");
}

async fn holds_are_kept(journal: &dyn Journal) {
    let hold = |why: &str| Hold {
        why: why.into(),
        since: kept(Timestamp::now()),
        fingerprint: "f".into(),
        until: Some(kept(later(60))),
    };
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    assert!(journal.holds().await.unwrap().is_empty());
    append(journal, "1", &["a"]).await;
    let (first, second, third) = (hold("robot removed"), hold("by root"), hold("token revoked"));
    journal.set_hold(&a, Some(first.clone())).await.unwrap();
    journal.set_hold(&b, Some(second.clone())).await.unwrap();
    assert_eq!(journal.holds().await.unwrap(), [(a.clone(), first), (b.clone(), second)]);
    journal.set_hold(&b, None).await.unwrap();
    journal.set_hold(&a, Some(third.clone())).await.unwrap();
    assert_eq!(journal.holds().await.unwrap(), [(a.clone(), third)]);
    append(journal, "2", &["a"]).await;
    assert_eq!(claim(journal, "a", 9).await.len(), 2, "whether a held lane sends is not the journal's business");
}

async fn lanes_are_counted(journal: &dyn Journal) {
    assert!(journal.lanes().await.unwrap().is_empty());
    let _bell = journal.bells().attend(&"nothing was ever owed here".into());
    journal.bells().ring(&"nor here".into());
    for id in ["a", "b", "c", "d", "e"] {
        append(journal, id, &["lane"]).await;
    }
    append(journal, "f", &["other"]).await;
    let claimed = claim(journal, "lane", 9).await;
    settle(journal, &claimed[0], None, 1, Outcome::Delivered).await;
    settle(journal, &claimed[1], None, 1, dead("x")).await;
    settle(journal, &claimed[2], None, 1, retry(later(900), "x")).await;
    settle(journal, &claimed[3], None, 1, Outcome::Dropped { why: "x".into() }).await;
    let lanes = journal.lanes().await.unwrap();
    assert_eq!(lanes.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["lane", "other"]);
    let count = &lanes[0].1;
    assert_eq!((count.waiting, count.dead, count.delivered), (2, 1, 1));
    assert_eq!(count.oldest, Some(claimed[2].created), "by age, not by what is due next");
    assert_eq!(journal.waiting(), 3);
    let other = claim(journal, "other", 1).await.remove(0);
    settle(journal, &other, None, 1, Outcome::Delivered).await;
    let count = &journal.lanes().await.unwrap()[1].1;
    assert_eq!((count.waiting, count.delivered, count.oldest), (0, 1, None));
}

async fn a_closed_journal_says_so(journal: &dyn Journal) {
    append(journal, "a", &["lane"]).await;
    let claimed = claim(journal, "lane", 1).await.remove(0);
    let settled = journal.settle(&claimed, None, 1, Outcome::Delivered);
    journal.close().await.unwrap();
    settled.await.expect("what was on its way is written");
    assert!(matches!(journal.append(vec![owed(event("b"), &["lane"])]).await, Err(JournalError::Closed)));
    assert!(matches!(journal.claim(&"lane".into(), later(1), 1).await, Err(JournalError::Closed)));
    assert!(matches!(journal.list(Filter::default()).await, Err(JournalError::Closed)));
    assert!(matches!(journal.close().await, Err(JournalError::Closed)));
}
