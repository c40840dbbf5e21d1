//! I/O, each kind at one edge.

pub mod changes;
pub mod client;
pub mod config;
pub mod files;
pub mod intake;
pub mod journal;
pub mod journald;
pub mod marker;
pub mod process;
pub mod proof;
pub mod secrets;
pub mod send;
pub mod sink;
pub mod spool;
pub mod systemd;
pub mod users;
