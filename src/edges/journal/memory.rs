//! The journal in memory: the same verbs without a disk, for tests and for `demo`-like runs.
