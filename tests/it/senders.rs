//! Senders on the daemon's machine: an event that they were told is taken is there, whatever becomes of the daemon.

mod recipes;
mod restarts;
mod spool;
mod waits;
mod wraps;
