//! A crash never loops: what was being rendered when the process died is not rendered again and again.
//!
//! A daemon that follows one which stopped in good order does nothing of this, so a delivery costs nothing more. One that
//! follows a death is careful with whatever was owed before it began:
//!
//! ```text
//! before rendering or judging   write the delivery's id into a slot of the file, after it take it away
//! at the start, an id in a slot its deaths += 1: a suspect
//! a suspect with three deaths   dead: "the process died 3 times while this was rendered …"
//! a suspect with fewer          first rendered in a process of its own, with the bounds of proving:
//!                                 dies there or goes beyond a bound → dead
//!                                 comes to an end → rendered here as any other
//! rendered and judged           no suspect any more
//! ```
//!
//! So a delivery that kills whoever renders it kills the daemon twice: once unseen, once seen. One that dies of its
//! answer, which no trial can repeat, kills it four times: whoever kills the daemon from outside may hit the same delivery
//! twice in a row, and it must not be given up for that. `replay` gives either a new chance.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::edges::journal::{DeliveryRow, Filter, Journal};
use crate::edges::marker::{Mark, Marker};
use crate::edges::proof::{Prover, Surroundings, Verdict};
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::words::delivery::Delivery;
use crate::words::limits;

/// How careful this daemon is.
#[derive(Debug, Default)]
pub struct Care {
    marker: Option<Marker>,
    watch: Option<Watch>,
}

/// What a daemon that follows a death watches over.
#[derive(Debug)]
struct Watch {
    /// The newest delivery that was owed when it began: what is newer cannot have killed the one before.
    newest: i64,
    suspects: Mutex<BTreeMap<String, u32>>,
    prover: Prover,
}

impl Care {
    /// For a daemon that cannot die alone, such as one inside a test.
    pub fn none() -> Self {
        Self::default()
    }

    /// Begins a run, and looks how the last one ended.
    pub fn begin(state: &Path, prover: Prover) -> Self {
        let (marker, left) = match Marker::begin(state) {
            Ok(begun) => begun,
            Err(error) => {
                tracing::warn!(%error, "a delivery that kills the daemon cannot be found out: its mark cannot be kept");
                return Self::none();
            }
        };
        if let Some(left) = &left {
            let suspects: Vec<&str> = left.keys().map(String::as_str).collect();
            tracing::warn!(suspects = suspects.join(" "), "the daemon before this one died; being careful");
        }
        let watch = left.map(|suspects| Watch { newest: i64::MAX, suspects: Mutex::new(suspects), prover });
        Self { marker: Some(marker), watch }
    }

    /// Learns from the journal which deliveries there are; until then it is careful with all.
    pub async fn look_at(&mut self, journal: &dyn Journal) {
        let Some(watch) = &mut self.watch else { return };
        let newest = Filter { limit: Some(1), ..Filter::default() };
        if let Ok(rows) = journal.list(newest).await {
            let number = |row: &DeliveryRow| row.delivery.rsplit('-').next()?.parse().ok();
            watch.newest = rows.first().map_or(0, |row| number(row).unwrap_or(i64::MAX));
        }
    }

    /// The run ends in good order.
    pub fn end(&self) {
        if let Some(marker) = &self.marker {
            marker.end();
        }
    }

    /// Whether this daemon follows one that died.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Why a delivery must not be rendered, if so. Takes time for a suspect only.
    pub async fn against(&self, config: &Config, hook: &Hook, delivery: &Delivery) -> Option<String> {
        let watch = self.watch.as_ref()?;
        let deaths = watch.take(&delivery.id)?;
        if deaths >= limits::RENDER_DEATHS {
            self.acquit(&delivery.id);
            return Some(format!("the process died {deaths} times while this was rendered or its answer judged"));
        }
        let (prover, among) = (watch.prover.clone(), Surroundings::new(None, &config.platforms));
        let (source, event) = (hook.source.clone(), delivery.event.clone());
        let trial = tokio::task::spawn_blocking(move || prover.event(&among, &source, &event)).await;
        match trial {
            Ok(Verdict::Refused(found)) => {
                self.acquit(&delivery.id);
                let why = found.first().map(|found| found.what.clone()).unwrap_or_default();
                Some(format!("the process died twice before this was rendered, and a trial of it failed: {why}"))
            }
            Ok(Verdict::Unproven(why)) => {
                tracing::warn!(delivery = %delivery.id, why, "a suspect could not be tried apart");
                None
            }
            _ => None,
        }
    }

    /// Whether a delivery was being rendered when a daemon died, and was not since.
    pub fn suspects(&self, id: &str) -> bool {
        let suspects = self.watch.as_ref().map(|watch| watch.suspects.lock().unwrap_or_else(PoisonError::into_inner));
        suspects.is_some_and(|suspects| suspects.contains_key(id))
    }

    /// Renders several deliveries as one, each of them marked meanwhile.
    pub fn watching_all<T>(&self, deliveries: &[Delivery], work: impl FnOnce() -> T) -> T {
        let _marks: Vec<_> = deliveries.iter().filter_map(|delivery| self.mark(delivery)).collect();
        work()
    }

    /// Renders or judges a delivery, marked meanwhile.
    pub fn watching<T>(&self, delivery: &Delivery, work: impl FnOnce() -> T) -> T {
        let _mark = self.mark(delivery);
        work()
    }

    /// It was rendered and its answer judged: it is no suspect any more.
    pub fn survived(&self, delivery: &Delivery) {
        if self.watch.is_some() {
            self.acquit(&delivery.id);
        }
    }

    fn mark(&self, delivery: &Delivery) -> Option<Mark<'_>> {
        let watch = self.watch.as_ref()?;
        watch.concerns(delivery).then(|| self.marker.as_ref()?.mark(&delivery.id)).flatten()
    }

    /// What happens to it later is another matter.
    fn acquit(&self, id: &str) {
        if let Some(marker) = &self.marker {
            marker.clear(id);
        }
    }
}

impl Watch {
    /// The deaths of a suspect; it is asked about once.
    fn take(&self, id: &str) -> Option<u32> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    /// Whether it was owed before this daemon began.
    fn concerns(&self, delivery: &Delivery) -> bool {
        delivery.seq <= self.newest
    }
}
