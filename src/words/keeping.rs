//! What the journal keeps, and how much of the disk it may have.

use std::time::Duration;

use crate::words::limits;

/// What the journal keeps, and how much of the disk it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// What is delivered, or was dropped, or matched no hook, for so long.
    pub delivered: Duration,
    /// What is dead for so long.
    pub dead: Duration,
    /// The attempts at what is delivered or dead for so long, where that is shorter.
    pub attempts: Option<Duration>,
    /// Bytes of the database. Above it what is delivered goes, then what is dead, oldest first.
    pub max_size: u64,
    /// Bytes of the disk that intake leaves free.
    pub min_free: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            delivered: limits::KEEP_DELIVERED,
            dead: limits::KEEP_DEAD,
            attempts: None,
            max_size: limits::JOURNAL_SIZE,
            min_free: limits::MIN_FREE,
        }
    }
}
