//! A small HTTP client over a unix socket, for the commands that talk to the daemon.
