//! The disk fails: it is full, slow, gives errors, or the journal is taken away. What was acknowledged is never lost,
//! nothing is sent that could not be recorded, it says so, and goes on by itself.
//!
//! System calls are made to fail with strace, disks are made small with tmpfs; where either is missing a test says so.
//! `POSTRIDER_FSYNC_FAILURES=50` is the long form.

mod full;
mod gone;
mod traced;
