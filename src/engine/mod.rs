//! The daemon: accept, lanes, admin, wiring.
