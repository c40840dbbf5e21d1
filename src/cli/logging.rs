//! Where the daemon's log goes: fields to the system's journal, JSON or lines to everything else.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::Global;
use crate::edges::journald::Journald;
use crate::edges::systemd;

/// Starts the log. `RUST_LOG` says more exactly than `-q` and `-v` what is of interest.
pub(crate) fn start(global: &Global) {
    let level = global.log_level();
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = asked
        .and_then(|asked| asked.parse().ok())
        .unwrap_or_else(|| Targets::new().with_target("postrider", level).with_default(LevelFilter::WARN));
    let log = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    if global.json {
        let _already_set = log.with(lines.json()).try_init();
    } else if systemd::logs_to_journal() {
        match Journald::connect() {
            Ok(journald) => {
                let _already_set = log.with(journald).try_init();
            }
            // The system's journal stamps each line itself.
            Err(_) => {
                let _already_set = log.with(lines.without_time().with_ansi(false)).try_init();
            }
        }
    } else {
        let color = io::stderr().is_terminal() && !global.no_color && std::env::var_os("NO_COLOR").is_none();
        let _already_set = log.with(lines.with_ansi(color)).try_init();
    }
}
