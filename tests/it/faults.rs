//! A real daemon on a machine that fails: power, disk, clock, names, network, memory, floods, and the wrong neighbours.
//! `docs/faults.md` has the whole table. What a test needs besides (root, `strace`, …) it says, and passes without; with
//! `POSTRIDER_FAULTS=all` it must be there. `tests/long.sh` runs the long forms.

mod beat;
mod clock;
mod crash_states;
mod edits;
mod floods;
mod isolation;
mod names;
mod network;
mod power;
mod sequences;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often, from the environment.
pub(crate) fn rounds(variable: &str, short: usize) -> usize {
    std::env::var(variable).map_or(short, |count| count.parse().expect("a number"))
}

/// Whether a program is there.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Whether we may do what only root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says aloud that this machine cannot show it.
pub(crate) fn not_shown(what: &str, why: &str) {
    assert!(std::env::var_os("POSTRIDER_FAULTS").is_none(), "{what} must be shown: {why}");
    println!("{what} is not shown: {why}");
}

/// Runs a command that must work.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let said = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match said {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&said.stderr).trim())),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Repeats what may fail for a moment, such as to unmount what was just in use.
pub(crate) fn insist(mut attempt: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = attempt() {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// That share of sorted times.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Ends the load when it is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
