//! How often: a sliding window that can also be paused.
