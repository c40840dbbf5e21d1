//! How long commits took, fsync included.

use std::time::Duration;

use crate::words::limits;
use crate::words::tally::{Spread, Times};

/// The commits since the start.
#[derive(Debug)]
pub(super) struct Commits(Times);

impl Default for Commits {
    fn default() -> Self {
        Self(Times::new(&limits::COMMIT_TIMES))
    }
}

impl Commits {
    /// One more.
    pub(super) fn note(&self, took: Duration) {
        self.0.note(took);
    }

    /// All of them.
    pub(super) fn read(&self) -> Spread {
        self.0.read()
    }
}
