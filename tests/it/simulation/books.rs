//! What must be true at the end of the day, whatever it was like.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::journal::{Appended, DeliveryRow};
use postrider::rules::backoff::later;

use super::HOOKS;
use super::world::{Fate, Sent, World};

/// A hold by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) from: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Each event's key, and what is owed to which hooks.
    owed: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Of the `once` lane: when each key was accepted and owed, and by which event.
    once: BTreeMap<String, Vec<(Timestamp, String)>>,
    held: BTreeMap<String, Vec<Held>>,
}

impl Books {
    pub(crate) fn owed(&mut self, appended: Appended, key: &str, now: Timestamp) {
        assert!(!appended.duplicate);
        let hooks: BTreeSet<String> = appended.hooks.iter().map(|hook| hook.to_string()).collect();
        if hooks.contains("once") {
            self.once.entry(key.to_owned()).or_default().push((now, appended.id.clone()));
        }
        self.owed.insert(appended.id, (key.to_owned(), hooks));
    }

    pub(crate) fn held(&mut self, hook: &str, held: Held) {
        self.released(hook, held.from);
        self.held.entry(hook.to_owned()).or_default().push(held);
    }

    pub(crate) fn released(&mut self, hook: &str, now: Timestamp) {
        if let Some(last) = self.held.get_mut(hook).and_then(|held| held.last_mut()) {
            last.until = Some(last.until.map_or(now, |until| until.min(now)));
        }
    }

    /// Compares what was owed, what the journal says and what the receivers saw.
    pub(crate) fn close(&self, seed: u64, rows: &[DeliveryRow], world: &World) {
        let mut sent: BTreeMap<&str, Vec<&Sent>> = BTreeMap::new();
        for one in &world.requests {
            sent.entry(one.delivery.as_str()).or_default().push(one);
        }
        self.one_end_each(seed, rows, &sent);
        for (name, url, more) in HOOKS {
            let rows: Vec<_> = rows.iter().filter(|row| row.hook == name).collect();
            let of_hook: Vec<_> =
                rows.iter().flat_map(|row| sent.get(row.delivery.as_str()).into_iter().flatten()).copied().collect();
            assert!(!of_hook.is_empty(), "seed {seed}: {name} was never used");
            if more.contains("order_by") {
                self.in_order(seed, name, &rows, &sent);
            }
            if more.contains("max_attempts: 4") {
                attempts_are_bounded(seed, &rows, &sent, 4);
            }
            self.nothing_while_held(seed, name, &of_hook);
            let most = more.split("concurrency: ").nth(1).and_then(|rest| rest.split('\n').next()).expect("a number");
            never_more_at_once(seed, name, &of_hook, most.parse().expect("a number"));
            let host = url.trim_start_matches("http://").trim_end_matches('/');
            let of_receiver: Vec<_> = world.requests.iter().filter(|one| one.host == host).collect();
            if more.contains("20/1m") {
                pace_is_kept(seed, host, &of_receiver, 20, Duration::from_secs(60), world);
            }
            if more.contains("30/1m") {
                pace_is_kept(seed, host, &of_receiver, 30, Duration::from_secs(60), world);
                pace_is_kept(seed, host, &of_receiver, 3, Duration::from_secs(6), world);
            }
        }
        let receivers: BTreeSet<&str> = world.requests.iter().map(|one| one.host.as_str()).collect();
        for host in receivers {
            let of_receiver: Vec<_> = world.requests.iter().filter(|one| one.host == host).collect();
            pauses_are_kept(seed, host, &of_receiver, world);
        }
        self.once_is_once(seed, rows);
    }

    /// What was owed is on record exactly once, with one end, and what is called delivered was answered so.
    fn one_end_each(&self, seed: u64, rows: &[DeliveryRow], sent: &BTreeMap<&str, Vec<&Sent>>) {
        let mut owed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.outcome != "dropped") {
            assert!(owed.entry(&row.event).or_default().insert(&row.hook), "seed {seed}: twice on record: {row:?}");
            let of_delivery = sent.get(row.delivery.as_str()).map(Vec::as_slice).unwrap_or_default();
            let good = |one: &&&Sent| matches!(one.fate, Fate::Answered(200..=299));
            let taken = of_delivery.iter().filter(good).count();
            let abandoned = of_delivery.iter().filter(|one| one.fate == Fate::Abandoned).count();
            match row.outcome.as_str() {
                "delivered" => assert_eq!(taken, 1, "seed {seed}: {row:?}: {of_delivery:#?}"),
                "dead" => assert_eq!(taken, 0, "seed {seed}: {row:?}: {of_delivery:#?}"),
                other => panic!("seed {seed}: {other}: {row:?}"),
            }
            let last = of_delivery.last();
            let after = last.is_none_or(|last| row.outcome == "dead" || good(&last) || last.fate == Fate::Abandoned);
            assert!(after, "seed {seed}: sent again after its end, {abandoned} abandoned: {row:?}: {of_delivery:#?}");
        }
        for (event, (_, hooks)) in &self.owed {
            let found = owed.get(event.as_str()).cloned().unwrap_or_default();
            assert_eq!(found, hooks.iter().map(String::as_str).collect(), "seed {seed}: {event}");
        }
    }

    /// Of one key, nothing of a later delivery before the end of an earlier one.
    fn in_order(&self, seed: u64, name: &str, rows: &[&DeliveryRow], sent: &BTreeMap<&str, Vec<&Sent>>) {
        let mut before: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for row in rows {
            let (key, _) = &self.owed[&row.event];
            let Some(of_delivery) = sent.get(row.delivery.as_str()) else { continue };
            let (first, last) = (of_delivery[0].begun, of_delivery.last().and_then(|one| one.ended).expect("it ended"));
            if let Some(before) = before.insert(key, last) {
                assert!(
                    first >= before,
                    "seed {seed}: {name} overtakes in {key}: {row:?} begun {first}, the one before ended {before}"
                );
            }
        }
    }

    fn nothing_while_held(&self, seed: u64, name: &str, of_hook: &[&Sent]) {
        for held in self.held.get(name).into_iter().flatten() {
            let within = |one: &&&Sent| one.begun > held.from && held.until.is_none_or(|until| one.begun < until);
            let found = of_hook.iter().find(within);
            assert!(found.is_none(), "seed {seed}: {name} sends while it is held, {held:?}: {found:?}");
        }
    }

    /// A key is owed again only after its time, unless what had it died.
    fn once_is_once(&self, seed: u64, rows: &[DeliveryRow]) {
        let outcome = |event: &str| {
            let row = rows.iter().find(|row| row.hook == "once" && row.event == event);
            row.map_or("", |row| row.outcome.as_str())
        };
        for owed in self.once.values() {
            for two in owed.windows(2) {
                let apart = two[1].0 > later(two[0].0, Duration::from_secs(600));
                assert!(apart || outcome(&two[0].1) == "dead", "seed {seed}: owed twice: {two:?}");
            }
        }
        let dropped = rows.iter().filter(|row| row.hook == "once" && row.outcome == "dropped").count();
        assert!(dropped > 0, "seed {seed}: nothing came twice");
    }
}

fn attempts_are_bounded(seed: u64, rows: &[&DeliveryRow], sent: &BTreeMap<&str, Vec<&Sent>>, most: usize) {
    for row in rows {
        let of_delivery = sent.get(row.delivery.as_str()).map(Vec::as_slice).unwrap_or_default();
        let counted = |one: &&&Sent| !matches!(one.fate, Fate::Paused(_) | Fate::Abandoned);
        let count = of_delivery.iter().filter(counted).count();
        assert!(
            count <= most && row.attempts as usize <= most,
            "seed {seed}: {count} attempts: {row:?}: {of_delivery:#?}"
        );
        if row.why.starts_with("gave up after 4") {
            assert_eq!(count, most, "seed {seed}: {row:?}");
        }
    }
}

fn never_more_at_once(seed: u64, name: &str, of_hook: &[&Sent], most: usize) {
    let mut changes: Vec<(Timestamp, i32)> = Vec::new();
    for one in of_hook {
        changes.push((one.begun, 1));
        changes.push((one.ended.expect("it ended"), -1));
    }
    // What ends makes room for what begins at the same moment.
    changes.sort();
    let mut now = 0;
    for (at, change) in changes {
        now += change;
        assert!(now <= i32::try_from(most).expect("few"), "seed {seed}: {now} of {name} at once at {at}");
    }
}

/// In no window more than its count; what a death left unrecorded the next life could not know of.
fn pace_is_kept(seed: u64, host: &str, requests: &[&Sent], count: usize, window: Duration, world: &World) {
    for (index, first) in requests.iter().enumerate() {
        let end = later(first.begun, window);
        let inside: Vec<_> = requests[index..].iter().filter(|one| one.begun < end).collect();
        let unknown = inside.iter().filter(|one| one.fate == Fate::Abandoned).count();
        let spans_a_death = world.restarts.iter().any(|at| *at >= first.begun && *at <= end);
        let most = if spans_a_death { count + unknown } else { count };
        assert!(
            inside.len() <= most,
            "seed {seed}: {} requests to {host} within {window:?}: {inside:#?}",
            inside.len()
        );
    }
}

/// After 429 nobody comes before its time, but for who was on the way already.
fn pauses_are_kept(seed: u64, host: &str, requests: &[&Sent], world: &World) {
    for one in requests {
        let (Fate::Paused(until), Some(told)) = (&one.fate, one.ended) else { continue };
        let early = requests.iter().find(|other| other.begun > told && other.begun < *until);
        let forgotten = host.starts_with("many/") && world.restarts.iter().any(|at| *at >= told && at < until);
        assert!(early.is_none() || forgotten, "seed {seed}: {host} asked for a pause {one:?} and got {early:?}");
    }
}
