//! Questions to a person. Without a terminal the answers are lines of standard input, in the order of the questions, so
//! that a secret never has to be an argument.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::exit::{Code, Exit};
use crate::words::limits;
use crate::words::secret::Secret;

/// What a shell says of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Whether somebody is there to answer.
pub(crate) fn is_a_person_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a secret; what is typed does not show.
///
/// # Errors
/// Nothing was answered.
pub(crate) fn secret(question: &str) -> Result<Secret, Exit> {
    secret_or_nothing(question)?.ok_or_else(|| no_answer(question))
}

/// The same where nothing is an answer.
///
/// # Errors
/// The input has ended.
pub(crate) fn secret_or_nothing(question: &str) -> Result<Option<Secret>, Exit> {
    let silent = if io::stdin().is_terminal() { Silence::begin(question) } else { None };
    let line = read(question);
    drop(silent);
    line.map(|line| (!line.is_empty()).then(|| Secret::new(line)))
}

/// Asks for a line that shows.
///
/// # Errors
/// The input has ended.
pub(crate) fn line(question: &str) -> Result<String, Exit> {
    eprint!("{question}: ");
    read(question).map(|line| line.trim().to_owned())
}

fn read(question: &str) -> Result<String, Exit> {
    let mut line = String::new();
    // An answer that long is none; `take` keeps a mistaken pipe from filling the memory.
    let read = io::Read::take(&mut io::stdin().lock(), limits::SECRET_FILE as u64).read_line(&mut line);
    match read {
        Ok(1..) => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        _ => Err(no_answer(question)),
    }
}

fn no_answer(question: &str) -> Exit {
    let exit = Exit::new(Code::Usage, format!("no answer to: {question}"));
    exit.help("type it, or give one line of standard input for each secret, in their order")
}

/// While it lives, the terminal shows nothing of what is typed.
struct Silence(Termios);

impl Silence {
    fn begin(question: &str) -> Option<Self> {
        let silent = Self::fall();
        eprint!("{question}: ");
        silent
    }

    /// Before the question: whoever answers at once is not heard either.
    fn fall() -> Option<Self> {
        let as_it_was = tcgetattr(io::stdin()).ok()?;
        restore_when_interrupted(&as_it_was);
        let mut silent = as_it_was.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self(as_it_was))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _as_it_was = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        // The line break was not shown either.
        eprintln!();
    }
}

/// Whoever is killed restores nothing: from now on a signal gives the terminal back before it ends the program.
fn restore_when_interrupted(as_it_was: &Termios) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    let _inside = runtime.enter();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    let signals: Vec<Signal> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    let as_it_was = as_it_was.clone();
    drop(_inside);
    let wait = move || {
        runtime.block_on(any(signals));
        let _as_it_was = tcsetattr(io::stdin(), OptionalActions::Flush, &as_it_was);
        eprintln!();
        std::process::exit(INTERRUPTED);
    };
    // A thread that cannot be started is a terminal that is not given back: the question is asked all the same.
    let _started = std::thread::Builder::new().name("interrupted".to_owned()).spawn(wait);
}

async fn any(mut signals: Vec<Signal>) {
    std::future::poll_fn(|context| {
        let mut come = signals.iter_mut().map(|signal| signal.poll_recv(context));
        if come.any(|come| come.is_ready()) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
