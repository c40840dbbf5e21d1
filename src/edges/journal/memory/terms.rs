//! Keys in the journal in memory: one after the other, or none twice.

use std::sync::Arc;

use jiff::Timestamp;

use super::State;
use crate::edges::journal::{after, delivery_id, micros, micros_of, same_as, timestamp};
use crate::words::delivery::{Key as Order, Outcome, Terms, Why};

impl State {
    /// Where a new delivery goes, as an outcome; notes its key.
    pub(super) fn place(
        &mut self,
        hook: &Arc<str>,
        terms: &Terms,
        seq: i64,
        now: Timestamp,
        identity: &str,
    ) -> Outcome {
        let head = Outcome::Waiting { until: now, why: Why::New };
        if let Some((key, within)) = terms.once {
            let known = self.once.get(&(hook.clone(), key)).filter(|(until, _)| *until > now).map(|(_, seq)| *seq);
            let stands =
                |seq: &i64| !matches!(self.deliveries[seq].outcome, Outcome::Dead { .. } | Outcome::Dropped { .. });
            if let Some(first) = known.filter(stands) {
                return Outcome::Dropped { why: same_as(&delivery_id(identity, first), within) };
            }
            self.once.retain(|_, (until, _)| *until > now);
            let until = timestamp(micros(now).saturating_add(micros_of(within)));
            self.once.insert((hook.clone(), key), (until, seq));
        }
        let Some(key) = terms.order else { return head };
        let waiting = self.lanes.entry(hook.clone()).or_default().ordered.entry(key).or_default();
        let before = waiting.iter().next_back().copied();
        waiting.insert(seq);
        match before {
            None => head,
            Some(before) => {
                Outcome::Waiting { until: Timestamp::MAX, why: Why::Order(after(&delivery_id(identity, before))) }
            }
        }
    }

    /// A delivery with a key waits no longer: the next one may go, unless it waited behind another itself.
    pub(super) fn let_next(&mut self, hook: &Arc<str>, key: Order, seq: i64, now: Timestamp, parked: bool) {
        let lane = self.lanes.entry(hook.clone()).or_default();
        let Some(waiting) = lane.ordered.get_mut(&key) else { return };
        waiting.remove(&seq);
        let Some(next) = waiting.first().copied() else {
            lane.ordered.remove(&key);
            return;
        };
        let row = self.deliveries.get_mut(&next).expect("it waits");
        if row.due == Timestamp::MAX && !parked {
            lane.free.remove(&(row.due, next));
            row.due = now;
            row.outcome = Outcome::Waiting { until: now, why: Why::New };
            lane.free.insert((now, next));
            self.bells.ring(hook);
        }
    }
}
