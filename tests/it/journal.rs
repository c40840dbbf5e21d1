//! The journal keeps what it acknowledged. One contract for every journal, then what only the SQLite file can get wrong,
//! then random verbs against a small model.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postrider::edges::journal::{Append, Appended, Filter, Journal};
use postrider::words::delivery::{Attempt, Delivery, Outcome, Why};
use postrider::words::event::Event;

mod contract;
mod damage;
mod file;
mod model;
mod orders;
mod retention;
mod rush;
mod terms;

/// An event of this id.
fn event(id: &str) -> Event {
    Event::new("build.done", Some(id.to_owned()), &b"{\"n\":1}"[..], Timestamp::now())
}

fn owed(event: Event, hooks: &[&str]) -> Append {
    Append::new(Arc::new(event), hooks.iter().map(|hook| Arc::from(*hook)).collect())
}

async fn append(journal: &dyn Journal, id: &str, hooks: &[&str]) -> Appended {
    let mut appended = journal.append(vec![owed(event(id), hooks)]).await.unwrap();
    assert_eq!(appended.len(), 1);
    appended.remove(0)
}

/// Claims with all the time in the world: everything that waits is due.
async fn claim(journal: &dyn Journal, lane: &str, room: usize) -> Vec<Delivery> {
    journal.claim(&lane.into(), later(3600), room).await.unwrap()
}

/// Settles, with a verb behind it that ends the writer's wait for company.
async fn settle(journal: &dyn Journal, delivery: &Delivery, attempt: Option<Attempt>, attempts: u32, outcome: Outcome) {
    let settled = journal.settle(delivery, attempt, attempts, outcome);
    journal.set_hold(&"nobody".into(), None).await.unwrap();
    settled.await.unwrap();
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// A time that survives the journal, which keeps microseconds.
fn kept(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap()
}

fn dead(why: &str) -> Outcome {
    Outcome::Dead { why: why.to_owned() }
}

fn retry(until: Timestamp, why: &str) -> Outcome {
    Outcome::Waiting { until, why: Why::Retry(why.to_owned()) }
}

fn attempt(number: u32, verdict: &str, why: &str) -> Attempt {
    Attempt {
        number,
        started: kept(Timestamp::now()),
        duration: Duration::from_millis(12),
        request: "POST https://example.org/…".to_owned(),
        status: Some(500),
        response: "sorry".to_owned(),
        verdict: verdict.to_owned(),
        why: why.to_owned(),
        along: Vec::new(),
    }
}

fn by_hook(hook: &str) -> Filter {
    Filter { hook: Some(hook.to_owned()), ..Filter::default() }
}

fn by_id(id: &str) -> Filter {
    Filter { ids: vec![id.to_owned()], ..Filter::default() }
}

fn seqs(deliveries: &[Delivery]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.seq).collect()
}
