//! Who is woken when something may have become due in a lane: the lane itself, or, where there is none, whoever makes
//! lanes. Of ten thousand hooks few have anything to do, and only those need a lane.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The bells of all lanes of one journal. A ring may be for nothing, and is lost by a restart without harm: what waits
/// then is called for when the journal is opened.
#[derive(Debug, Default)]
pub struct Bells {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Of the lanes that somebody attends to.
    bells: HashMap<Arc<str>, Arc<Notify>>,
    /// Those that were rung for and that nobody attends to.
    unattended: BTreeSet<Arc<str>>,
}

impl Bells {
    /// Takes the bell of a lane: from now on whoever rings it is heard there.
    pub fn attend(&self, lane: &Arc<str>) -> Arc<Notify> {
        let mut state = self.state();
        state.unattended.remove(lane);
        state.bells.entry(lane.clone()).or_default().clone()
    }

    /// Lets go of it. Whoever rang before this may not have been heard; whoever rings later is heard by `called`.
    pub fn leave(&self, lane: &Arc<str>) {
        self.state().bells.remove(lane);
    }

    /// Something may have become due.
    pub fn ring(&self, lane: &Arc<str>) {
        self.ring_each([lane]);
    }

    /// The same in several lanes.
    pub fn ring_each<'a>(&self, lanes: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut state = self.state();
        let mut calls = false;
        for lane in lanes {
            if let Some(bell) = state.bells.get(lane) {
                bell.notify_one();
            } else if !state.unattended.contains(lane) {
                state.unattended.insert(lane.clone());
                calls = true;
            }
        }
        drop(state);
        if calls {
            self.called.notify_one();
        }
    }

    /// Everybody shall look.
    pub fn ring_all(&self) {
        self.state().bells.values().for_each(|bell| bell.notify_one());
    }

    /// Nobody attends to any lane any more, as after a restart.
    pub(super) fn forget(&self) {
        *self.state() = State::default();
    }

    /// The next lanes that were rung for and that nobody attends to, each once. Not for two who wait at the same time.
    pub async fn called(&self) -> BTreeSet<Arc<str>> {
        loop {
            let lanes = std::mem::take(&mut self.state().unattended);
            if !lanes.is_empty() {
                return lanes;
            }
            self.called.notified().await;
        }
    }

    /// How many lanes somebody attends to.
    pub fn attended(&self) -> usize {
        self.state().bells.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rung(bell: &Notify) -> bool {
        tokio::time::timeout(std::time::Duration::ZERO, bell.notified()).await.is_ok()
    }

    async fn called(bells: &Bells) -> Vec<String> {
        let called = tokio::time::timeout(std::time::Duration::ZERO, bells.called()).await;
        called.unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn each_ring_is_heard_once_by_one() {
        let (bells, a, b) = (Bells::default(), Arc::from("a"), Arc::from("b"));
        bells.ring_each([&b, &a, &b]);
        assert_eq!(called(&bells).await, ["a", "b"]);
        assert!(called(&bells).await.is_empty());
        let bell = bells.attend(&a);
        assert!(!rung(&bell).await, "that was told already");
        bells.ring(&a);
        bells.ring_all();
        assert!(rung(&bell).await && !rung(&bell).await);
        // Rung for between the call and the answer to it.
        bells.ring(&b);
        let late = bells.attend(&b);
        assert!(called(&bells).await.is_empty() && !rung(&late).await, "who attends looks first");
        bells.leave(&a);
        bells.ring(&a);
        assert_eq!(called(&bells).await, ["a"]);
        assert!(!rung(&bell).await);
        assert_eq!(bells.attended(), 1);
        bells.forget();
        assert_eq!(bells.attended(), 0);
        bells.ring(&b);
        assert_eq!(called(&bells).await, ["b"]);
    }
}
