//! What a sink remembers: its platform, its script, and what came.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::words::limits;

use super::fake::{Fake, Platform};
use super::faults::{Behaviour, Script, Step};
use super::received::{Record, Salt};

/// What time it is, for every window and signature.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Is told of each request when its answer is decided.
pub type Observer = Arc<dyn Fn(&Record) + Send + Sync>;

/// Everything that the connections of one sink share.
pub(super) struct Shared {
    pub(super) platform: Platform,
    pub(super) fake: Mutex<Fake>,
    pub(super) kept: Mutex<Kept>,
    pub(super) script: Mutex<Script>,
    pub(super) dice: Mutex<fastrand::Rng>,
    pub(super) behaviour: Behaviour,
    pub(super) count_only: bool,
    pub(super) clock: Clock,
    pub(super) observer: Option<Observer>,
    pub(super) began: Instant,
    pub(super) salt: Salt,
    pub(super) arrived: AtomicU64,
    pub(super) decided: AtomicU64,
    pub(super) news: Notify,
}

/// The newest requests, within their bounds.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) records: VecDeque<Record>,
    pub(super) forgotten: u64,
    bytes: usize,
}

impl Kept {
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.request.body.len();
        self.records.push_back(record);
        while self.records.len() > limits::SINK_REQUESTS || self.bytes > limits::SINK_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= oldest.request.body.len();
            self.forgotten += 1;
        }
    }
}

impl Shared {
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    pub(super) fn script(&self, step: Step) -> Result<(), String> {
        step.check()?;
        if self.count_only {
            return Err("a sink that only counts plays no script".to_owned());
        }
        match step.scripted() {
            Some(_) if self.platform == Platform::Plain => Err("code needs a platform: see --as".to_owned()),
            Some(scripted) => {
                let mut fake = lock(&self.fake);
                (0..step.repeats()).for_each(|_| fake.script(scripted.clone()));
                Ok(())
            }
            None => lock(&self.script).push(step),
        }
    }

    pub(super) fn clear(&self) {
        *lock(&self.kept) = Kept::default();
        lock(&self.script).clear();
        lock(&self.fake).unscript();
    }

    /// Waits until so many requests were decided on.
    pub(super) async fn reached(&self, count: u64) {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            if self.decided.load(Ordering::Acquire) >= count {
                return;
            }
            news.await;
        }
    }

    pub(super) fn done(&self) {
        self.decided.fetch_add(1, Ordering::Release);
        self.news.notify_waiters();
    }
}

/// A panic elsewhere does not make the memory of a fake useless.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
