//! How far long work is, said to a person at a terminal: in one line that is written over, and gone when the work is done.
//! Nothing is said in a pipe, and nothing of work that is done at once.

use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::cli::Global;

/// Work that takes no longer is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);
/// No eye needs more.
const BETWEEN: Duration = Duration::from_millis(100);

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    shown: bool,
    next: Instant,
    written: bool,
}

impl Line {
    /// A line at the terminal, where one is wanted.
    pub(crate) fn new(global: &Global) -> Self {
        Self::shown(stderr().is_terminal() && !global.json && !global.quiet)
    }

    /// A line, or none.
    pub(crate) fn shown(shown: bool) -> Self {
        Self { shown, next: Instant::now() + PATIENCE, written: false }
    }

    /// Says how far the work is; `what` is asked only when it is time to.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if !self.shown || now < self.next {
            return;
        }
        self.next = now + BETWEEN;
        self.written = true;
        let mut to = stderr();
        let _nobody_looks = write!(to, "\r\x1b[K{}", what()).and_then(|()| to.flush());
    }
}

/// The line goes, so that what is said next does not stand behind it.
impl Drop for Line {
    fn drop(&mut self) {
        if self.written {
            let _nobody_looks = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Does work that blocks, and says meanwhile how far it is.
pub(crate) fn during<T>(global: &Global, what: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    let mut line = Line::new(global);
    if !line.shown {
        return work();
    }
    std::thread::scope(|scope| {
        let (working, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                line.say(&what);
            }
        });
        let done = work();
        drop(working);
        done
    })
}

/// `done` of `all` as a percentage.
pub(crate) fn percent(done: u64, all: u64) -> String {
    format!("{:3} %", done.saturating_mul(100) / all.max(1))
}
