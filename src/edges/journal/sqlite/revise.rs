//! What an operator changes of what waits: it is taken out of every lane's reach, and then settled as everything is.

use std::sync::PoisonError;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::transaction::{Settle, Transaction};
use crate::edges::journal::{PARKED, Revised, Revision, micros, timestamp};
use crate::words::delivery::{Kept, Key, Outcome, Why};

/// A delivery, if it waits.
pub(super) const WAITS: &str =
    "SELECT lane, due, attempts, why, detail, order_key FROM deliveries WHERE seq = ?1 AND outcome = 'waiting'";

/// What is kept of the last request of a delivery.
pub(super) const KEEP: &str =
    "UPDATE deliveries SET kept_not = ?2, kept_type = ?3, kept_body = ?4 WHERE seq = ?1 AND outcome = 'waiting'";

impl Transaction<'_, '_> {
    /// Keeps the body of a request, or why it is not kept.
    pub(super) fn keep(&mut self, seq: i64, kept: &Kept) -> rusqlite::Result<()> {
        let (body, not) = (kept.as_ref().ok(), kept.as_ref().err());
        let (kind, bytes) = (body.map(|body| &body.content_type), body.map(|body| &body.bytes[..]));
        self.sql.keep.execute(params![seq, not, kind, bytes]).map(drop)
    }

    /// Changes what waits of these. One that is handed out is left alone.
    pub(super) fn revise(&mut self, seqs: &[i64], how: &Revision, now: Timestamp) -> rusqlite::Result<Revised> {
        let mut revised = Revised::default();
        for &seq in seqs {
            let found = self.sql.waits.query_row(params![seq], |row| {
                let why = Why::from_words(&row.get::<_, String>(3)?, &row.get::<_, String>(4)?);
                let order = row.get::<_, Option<[u8; 16]>>(5)?.map(Key);
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get(2)?, why, order))
            });
            let Some((lane, due, attempts, why, order)) = found.optional()? else { continue };
            let Some(outcome) = how.of(&why, timestamp(due), due == PARKED, now) else { continue };
            let hook = self.book.names[&lane].clone();
            if !self.lanes.lock().unwrap_or_else(PoisonError::into_inner).reserve(&hook, (due, seq)) {
                revised.in_flight.push(seq);
                continue;
            }
            self.effects.reserved.push((hook.clone(), (due, seq)));
            if let Outcome::Waiting { until, .. } = &outcome {
                // Its lane is told.
                self.effects.reopened.push((hook.clone(), (micros(*until), seq)));
            }
            // Whoever waits behind another lets nobody go: the one ahead of both still does.
            let order = order.filter(|_| due != PARKED);
            let (attempt, retried, carrier, along) = (None, false, None, Vec::new());
            self.settle(&Settle { seq, hook, attempt, attempts, outcome, retried, order, carrier, along })?;
            revised.done.push(seq);
        }
        Ok(revised)
    }
}
