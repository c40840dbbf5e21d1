//! The books of both ends: what was acknowledged, what arrived, and what the journal did not know at each death.

use std::collections::{BTreeMap, BTreeSet};

/// One request that reached the sink whole.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The delivery id that it carried.
    pub(crate) delivery: String,
    /// The hook, by its path at the sink.
    pub(crate) hook: String,
    /// The event, by what its data says.
    pub(crate) event: String,
    /// A digest of the body.
    pub(crate) body: u64,
    /// Whether it was answered with a 2xx.
    pub(crate) taken: bool,
}

/// Everything that was seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Acknowledged events with the hooks that the answer named.
    pub(crate) acked: BTreeMap<String, BTreeSet<String>>,
    /// In the order of arrival.
    pub(crate) hits: Vec<Hit>,
    /// For each death of the daemon: the deliveries that the sink had taken and the journal still called waiting.
    pub(crate) unrecorded: Vec<BTreeSet<String>>,
}

/// What the books say when they are compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged for a hook and never taken there.
    pub(crate) lost: Vec<(String, String)>,
    /// Deliveries whose requests had different bodies.
    pub(crate) changed: Vec<String>,
    /// Delivery ids that stood for more than one event and hook.
    pub(crate) shared: Vec<String>,
    /// Events and hooks that had more than one delivery id.
    pub(crate) renamed: Vec<(String, String)>,
    /// Deliveries that were taken again though the journal knew of the first time.
    pub(crate) excess: Vec<String>,
    /// Deliveries taken at least once.
    pub(crate) deliveries: usize,
    /// Times that a delivery was taken beyond its first.
    pub(crate) duplicates: usize,
    /// How many duplicates the deaths account for.
    pub(crate) bound: usize,
}

impl Ledger {
    /// Compares the books.
    pub(crate) fn findings(&self) -> Findings {
        let mut found = Findings { bound: self.unrecorded.iter().map(BTreeSet::len).sum(), ..Findings::default() };
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        let mut bodies: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let mut subjects: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        let mut names: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        let mut reached: BTreeSet<(&str, &str)> = BTreeSet::new();
        for hit in &self.hits {
            let (delivery, subject) = (hit.delivery.as_str(), (hit.event.as_str(), hit.hook.as_str()));
            bodies.entry(delivery).or_default().insert(hit.body);
            subjects.entry(delivery).or_default().insert(subject);
            names.entry(subject).or_default().insert(delivery);
            if hit.taken {
                *taken.entry(delivery).or_default() += 1;
                reached.insert(subject);
            }
        }
        let several = |count: usize| count > 1;
        let owned = |(event, hook): (&str, &str)| (event.to_owned(), hook.to_owned());
        found.changed = bodies.iter().filter(|(_, all)| several(all.len())).map(|(id, _)| (*id).to_owned()).collect();
        found.shared = subjects.iter().filter(|(_, all)| several(all.len())).map(|(id, _)| (*id).to_owned()).collect();
        found.renamed =
            names.iter().filter(|(_, all)| several(all.len())).map(|(subject, _)| owned(*subject)).collect();
        for (event, hooks) in &self.acked {
            let missed =
                hooks.iter().map(|hook| (event.as_str(), hook.as_str())).filter(|owed| !reached.contains(owed));
            found.lost.extend(missed.map(owned));
        }
        for (delivery, times) in &taken {
            let again = times - 1;
            found.duplicates += again;
            if again > self.unrecorded.iter().filter(|set| set.contains(*delivery)).count() {
                found.excess.push((*delivery).to_owned());
            }
        }
        found.deliveries = taken.len();
        found
    }
}

fn hit(delivery: &str, hook: &str, event: &str, taken: bool) -> Hit {
    Hit { delivery: delivery.to_owned(), hook: hook.to_owned(), event: event.to_owned(), body: 7, taken }
}

/// Two events for two hooks: one delivery failed once, one was repeated because of a death.
fn sound() -> Ledger {
    let hooks = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    Ledger {
        acked: BTreeMap::from([("e1".to_owned(), hooks.clone()), ("e2".to_owned(), hooks)]),
        hits: vec![
            hit("j-1", "a", "e1", true),
            hit("j-2", "b", "e1", false),
            hit("j-2", "b", "e1", true),
            hit("j-3", "a", "e2", true),
            hit("j-4", "b", "e2", true),
            hit("j-3", "a", "e2", true),
        ],
        unrecorded: vec![BTreeSet::from(["j-3".to_owned(), "j-4".to_owned()])],
    }
}

#[test]
fn sound_books_have_no_findings() {
    let expected = Findings { deliveries: 4, duplicates: 1, bound: 2, ..Findings::default() };
    assert_eq!(sound().findings(), expected);
}

#[test]
fn a_lost_delivery_is_found() {
    let mut never_sent = sound();
    never_sent.hits.retain(|hit| hit.delivery != "j-4");
    assert_eq!(never_sent.findings().lost, [("e2".to_owned(), "b".to_owned())]);
    let mut never_taken = sound();
    never_taken.hits.retain(|hit| hit.delivery != "j-2" || !hit.taken);
    assert_eq!(never_taken.findings().lost, [("e1".to_owned(), "b".to_owned())]);
}

#[test]
fn a_duplicate_that_no_death_explains_is_found() {
    let mut recorded = sound();
    recorded.hits.push(hit("j-1", "a", "e1", true));
    assert_eq!(recorded.findings().excess, ["j-1"], "there is room in the sum, but not for this one");
    let mut too_often = sound();
    too_often.hits.push(hit("j-3", "a", "e2", true));
    assert_eq!(too_often.findings().excess, ["j-3"]);
}

#[test]
fn changed_bodies_and_ids_are_found() {
    let mut books = sound();
    books.hits[2].body = 8;
    books.hits[5].delivery = "j-9".to_owned();
    books.hits.push(hit("j-1", "b", "e1", false));
    let found = books.findings();
    assert_eq!(found.changed, ["j-2"]);
    assert_eq!(found.shared, ["j-1"]);
    let renamed = [("e1", "b"), ("e2", "a")].map(|(event, hook)| (event.to_owned(), hook.to_owned()));
    assert_eq!(found.renamed, renamed);
}
