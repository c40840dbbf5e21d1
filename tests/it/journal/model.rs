//! Random verbs against a model that is too simple to be wrong: every delivery has one outcome, what is claimed is not
//! handed out, and what comes out next is what is due first.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use postrider::edges::journal::{Along, Due, Filter, Journal, MemoryJournal, SqliteJournal};
use postrider::words::delivery::{Delivery, Outcome, Why};
use proptest::prelude::*;

use super::{attempt, dead, event, kept, owed, seqs, settle};

const LANES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Verb {
    /// An event of one of few ids, for the lanes of these bits.
    Append {
        id: u8,
        lanes: u8,
    },
    /// So many at once.
    AppendMany {
        count: u16,
        lane: usize,
    },
    Claim {
        lane: usize,
        minutes: i64,
        room: usize,
    },
    Unclaim {
        which: usize,
    },
    Settle {
        which: usize,
        how: How,
    },
    /// One, and so many others of its lane that went in its request.
    SettleAll {
        which: usize,
        others: usize,
        how: How,
    },
    Reopen {
        lane: Option<usize>,
        which: Option<usize>,
        limit: Option<usize>,
    },
    Hold {
        lane: usize,
        held: bool,
    },
    /// The process ends and begins again.
    Restart,
}

#[derive(Clone, Debug)]
enum How {
    Wait { minutes: i64 },
    Delivered,
    Dead,
    Dropped,
}

fn verb() -> impl Strategy<Value = Verb> {
    let lane = 0..LANES.len();
    let how = prop_oneof![
        (-9..60_i64).prop_map(|minutes| How::Wait { minutes }),
        Just(How::Delivered),
        Just(How::Dead),
        Just(How::Dropped),
    ];
    prop_oneof![
        4 => (0..12_u8, 0..8_u8).prop_map(|(id, lanes)| Verb::Append { id, lanes }),
        1 => (1..600_u16, lane.clone()).prop_map(|(count, lane)| Verb::AppendMany { count, lane }),
        4 => (lane.clone(), -10..70_i64, 0..300_usize).prop_map(|(lane, minutes, room)| Verb::Claim { lane, minutes, room }),
        2 => (0..99_usize).prop_map(|which| Verb::Unclaim { which }),
        5 => (0..99_usize, how.clone()).prop_map(|(which, how)| Verb::Settle { which, how }),
        3 => (0..99_usize, 0..60_usize, how)
            .prop_map(|(which, others, how)| Verb::SettleAll { which, others, how }),
        2 => (proptest::option::of(lane.clone()), proptest::option::of(0..99_usize), proptest::option::of(0..3_usize))
            .prop_map(|(lane, which, limit)| Verb::Reopen { lane, which, limit }),
        1 => (lane, any::<bool>()).prop_map(|(lane, held)| Verb::Hold { lane, held }),
        1 => Just(Verb::Restart),
    ]
}

/// What must be true of one delivery.
#[derive(Clone, Debug)]
struct Owed {
    event: String,
    lane: usize,
    outcome: &'static str,
    created: Timestamp,
    due: Timestamp,
    attempts: u32,
    claimed: Option<Delivery>,
    /// In whose request it went, where that is another one's.
    carrier: Option<i64>,
}

struct Model {
    owed: BTreeMap<i64, Owed>,
    events: BTreeMap<String, Vec<usize>>,
    base: Timestamp,
    fresh_ids: u32,
}

impl Model {
    fn at(&self, minutes: i64) -> Timestamp {
        kept(self.base + SignedDuration::from_mins(minutes))
    }

    fn claimed(&self, which: usize) -> Option<Delivery> {
        let claimed: Vec<_> = self.owed.values().filter_map(|owed| owed.claimed.clone()).collect();
        (!claimed.is_empty()).then(|| claimed[which % claimed.len()].clone())
    }

    /// What waits in a lane unclaimed, in its order.
    fn free(&self, lane: usize) -> Vec<(Timestamp, i64)> {
        let free = self
            .owed
            .iter()
            .filter(|(_, owed)| owed.lane == lane && owed.outcome == "waiting" && owed.claimed.is_none());
        let mut free: Vec<_> = free.map(|(seq, owed)| (owed.due, *seq)).collect();
        free.sort();
        free
    }

    /// Notes what becomes of one, and says it.
    fn settled(&mut self, delivery: &Delivery, how: &How, carrier: Option<i64>) -> (u32, Outcome) {
        let outcome = match how {
            How::Wait { minutes } => Outcome::Waiting { until: self.at(*minutes), why: Why::Pace },
            How::Delivered => Outcome::Delivered,
            How::Dead => dead("x"),
            How::Dropped => Outcome::Dropped { why: "x".into() },
        };
        let owed = self.owed.get_mut(&delivery.seq).unwrap();
        (owed.outcome, owed.attempts, owed.claimed) = (outcome.word(), delivery.attempts + 1, None);
        owed.carrier = carrier;
        if let Outcome::Waiting { until, .. } = &outcome {
            owed.due = *until;
        }
        (owed.attempts, outcome)
    }

    /// What could be handed out of a lane.
    fn due(&self, lane: usize, now: Timestamp, most: usize) -> Due {
        let due = self.free(lane).into_iter().filter(|(due, _)| *due <= now).take(most);
        let created: Vec<_> = due.map(|(_, seq)| self.owed[&seq].created).collect();
        Due { count: created.len(), oldest: created.into_iter().min() }
    }

    async fn append(&mut self, journal: &dyn Journal, ids: Vec<String>, lanes: Vec<usize>) {
        let names: Vec<&str> = lanes.iter().map(|lane| LANES[*lane]).collect();
        let batch = ids.iter().map(|id| owed(event(id), &names)).collect();
        let answers = journal.append(batch).await.unwrap();
        assert_eq!(answers.len(), ids.len());
        let stored = Filter { limit: Some(ids.len() * lanes.len()), ..Filter::default() };
        let stored = journal.list(stored).await.unwrap();
        let stored: BTreeMap<_, _> = stored.iter().map(|row| (seq(&row.delivery), row)).collect();
        for (id, answer) in ids.iter().zip(answers) {
            let known = self.events.get(id).cloned();
            assert_eq!(answer.duplicate, known.is_some());
            let hooks = known.clone().unwrap_or_else(|| lanes.clone());
            assert_eq!(answer.hooks, hooks.iter().map(|lane| Arc::from(LANES[*lane])).collect::<Vec<_>>());
            if known.is_none() {
                for lane in &lanes {
                    let seq = self.owed.last_key_value().map_or(1, |(last, _)| last + 1);
                    let row = stored[&seq];
                    let due = row.due.expect("it waits");
                    assert_eq!(due, row.time);
                    let (event, lane, outcome) = (id.clone(), *lane, "waiting");
                    let (attempts, claimed, carrier) = (0, None, None);
                    let fresh = Owed { event, lane, outcome, created: due, due, attempts, claimed, carrier };
                    self.owed.insert(seq, fresh);
                }
                self.events.insert(id.clone(), lanes.clone());
            }
        }
    }

    async fn step(&mut self, journal: &dyn Journal, verb: &Verb) {
        match verb {
            Verb::Append { id, lanes } => {
                let lanes = (0..LANES.len()).filter(|lane| lanes & (1 << lane) != 0).collect();
                self.append(journal, vec![format!("event {id}")], lanes).await;
            }
            Verb::AppendMany { count, lane } => {
                let ids = (0..*count).map(|number| format!("{}: {number}", self.fresh_ids)).collect();
                self.fresh_ids += 1;
                self.append(journal, ids, vec![*lane]).await;
            }
            Verb::Claim { lane, minutes, room } => {
                let now = self.at(*minutes);
                let due = self.free(*lane).into_iter().filter(|(due, _)| *due <= now).take(*room);
                let expected: Vec<i64> = due.map(|(_, seq)| seq).collect();
                let claimed = journal.claim(&LANES[*lane].into(), now, *room).await.unwrap();
                assert_eq!(seqs(&claimed), expected);
                for delivery in claimed {
                    let owed = self.owed.get_mut(&delivery.seq).unwrap();
                    assert_eq!((&*delivery.hook, &delivery.event.id), (LANES[owed.lane], &owed.event));
                    assert_eq!((delivery.due, delivery.attempts), (owed.due, owed.attempts));
                    owed.claimed = Some(delivery);
                }
            }
            Verb::Unclaim { which } => {
                if let Some(delivery) = self.claimed(*which) {
                    self.owed.get_mut(&delivery.seq).unwrap().claimed = None;
                    journal.unclaim(delivery);
                }
            }
            Verb::Settle { which, how } => {
                let Some(delivery) = self.claimed(*which) else { return };
                let (attempts, outcome) = self.settled(&delivery, how, None);
                settle(journal, &delivery, Some(attempt(attempts, "x", "")), attempts, outcome).await;
            }
            Verb::SettleAll { which, others, how } => {
                let Some(first) = self.claimed(*which) else { return };
                let of_lane = self.owed.values().filter_map(|owed| owed.claimed.clone());
                let others: Vec<_> =
                    of_lane.filter(|other| other.hook == first.hook && other.seq != first.seq).take(*others).collect();
                let (attempts, outcome) = self.settled(&first, how, None);
                let mut tried = attempt(attempts, "x", "");
                tried.along = seqs(&others);
                let along = others.into_iter().map(|delivery| {
                    let (attempts, outcome) = self.settled(&delivery, how, Some(first.seq));
                    Along { delivery, attempts, outcome }
                });
                let (told, tells) = tokio::sync::oneshot::channel();
                let then = Box::new(move |recorded| drop(told.send(recorded)));
                journal.settle_all_then(&first, Some(tried), attempts, outcome, along.collect(), then);
                // Somebody who hurries.
                journal.set_hold(&"nobody".into(), None).await.unwrap();
                tells.await.unwrap().unwrap();
            }
            Verb::Reopen { lane, which, limit } => {
                let named = which.and_then(|which| self.owed.keys().nth(which)).copied();
                let meant = |(seq, owed): &(&i64, &Owed)| {
                    lane.is_none_or(|lane| owed.lane == lane)
                        && match named {
                            Some(named) => named == **seq && owed.outcome != "waiting",
                            None => owed.outcome == "dead",
                        }
                };
                let mut expected: Vec<i64> = self.owed.iter().filter(meant).map(|(seq, _)| *seq).collect();
                expected.drain(..expected.len().saturating_sub(limit.unwrap_or(usize::MAX)));
                let filter = Filter {
                    ids: named.iter().map(i64::to_string).collect(),
                    hook: lane.map(|lane| LANES[lane].to_owned()),
                    limit: *limit,
                    ..Filter::default()
                };
                // Not ahead of the wall: a journal that is opened takes that for a clock that was set back.
                let now = self.at(0);
                let ids = journal.reopen(filter, now).await.unwrap();
                let numbers = ids.iter().map(|id| seq(id));
                assert_eq!(numbers.collect::<Vec<_>>(), expected);
                for seq in expected {
                    let owed = self.owed.get_mut(&seq).unwrap();
                    (owed.outcome, owed.attempts, owed.due) = ("waiting", 0, now);
                    (owed.created, owed.carrier) = (now, None);
                }
            }
            Verb::Hold { lane, held } => {
                let hold = postrider::edges::journal::Hold {
                    why: "x".into(),
                    since: self.base,
                    fingerprint: "".into(),
                    until: None,
                };
                journal.set_hold(&LANES[*lane].into(), held.then_some(hold)).await.unwrap();
            }
            Verb::Restart => self.owed.values_mut().for_each(|owed| owed.claimed = None),
        }
    }

    async fn compare(&self, journal: &dyn Journal) {
        let count = |lane: usize, outcome: &str| {
            self.owed.values().filter(|owed| owed.lane == lane && owed.outcome == outcome).count() as u64
        };
        let waiting: u64 = (0..LANES.len()).map(|lane| count(lane, "waiting")).sum();
        assert_eq!(journal.waiting(), waiting);
        let lanes: BTreeMap<_, _> = journal.lanes().await.unwrap().into_iter().collect();
        for (lane, name) in LANES.iter().enumerate() {
            let next = self.free(lane).first().map(|(due, _)| *due);
            assert_eq!(journal.next_due(&(*name).into()).await.unwrap(), next, "lane {name}");
            for (minutes, most) in [(-5, 3), (20, 1000)] {
                let found = journal.due(&(*name).into(), self.at(minutes), most).await.unwrap();
                assert_eq!(found, self.due(lane, self.at(minutes), most), "lane {name} after {minutes} minutes");
            }
            let found = lanes.get(*name).cloned().unwrap_or_default();
            let expected = (count(lane, "waiting"), count(lane, "delivered"), count(lane, "dead"));
            assert_eq!((found.waiting, found.delivered, found.dead), expected, "lane {name}");
        }
    }

    async fn compare_rows(&self, journal: &dyn Journal) {
        let rows = journal.list(Filter::default()).await.unwrap();
        assert_eq!(rows.len(), self.owed.len());
        for (row, (seq, owed)) in rows.iter().zip(&self.owed) {
            assert_eq!(super::model::seq(&row.delivery), *seq);
            assert_eq!((&row.event, &*row.hook, &*row.outcome), (&owed.event, LANES[owed.lane], owed.outcome));
            let carrier = owed.carrier.map(|carrier| format!("-{carrier}"));
            assert_eq!(row.carrier.is_some(), carrier.is_some());
            assert!(row.carrier.iter().zip(&carrier).all(|(said, seq)| said.ends_with(seq)), "{row:?} {carrier:?}");
            assert_eq!((row.attempts, row.due), (owed.attempts, (owed.outcome == "waiting").then_some(owed.due)));
        }
    }
}

fn seq(id: &str) -> i64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

fn model() -> Model {
    let base = kept(Timestamp::now());
    Model { owed: BTreeMap::new(), events: BTreeMap::new(), base, fresh_ids: 0 }
}

/// Thousands of commits whose fsync is not the question here: in memory, where the system has such a place.
fn memory_disk() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_does_what_the_model_does(verbs in proptest::collection::vec(verb(), 1..40)) {
        let dir = memory_disk();
        block_on(async {
            let (mut journal, mut model) = (SqliteJournal::open(dir.path()).unwrap(), model());
            for verb in &verbs {
                if matches!(verb, Verb::Restart) {
                    drop(journal);
                    journal = SqliteJournal::open(dir.path()).unwrap();
                }
                model.step(&journal, verb).await;
                model.compare(&journal).await;
            }
            model.compare_rows(&journal).await;
        });
    }

    #[test]
    fn memory_does_what_the_model_does(verbs in proptest::collection::vec(verb(), 1..40)) {
        block_on(async {
            let (journal, mut model) = (MemoryJournal::new(), model());
            for verb in verbs.iter().filter(|verb| !matches!(verb, Verb::Restart)) {
                model.step(&journal, verb).await;
                model.compare(&journal).await;
            }
            model.compare_rows(&journal).await;
        });
    }
}
