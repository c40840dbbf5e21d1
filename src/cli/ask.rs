//! Questions to a person. Without a terminal the answers are lines of standard input, in the order of the questions, so
//! that a secret never has to be an argument.

use std::io::{self, BufRead, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::exit::{Code, Exit};
use crate::words::limits;
use crate::words::secret::Secret;

/// Asks for a secret; what is typed does not show.
///
/// # Errors
/// Nothing was answered.
pub(crate) fn secret(question: &str) -> Result<Secret, Exit> {
    let stdin = io::stdin();
    let silent = if stdin.is_terminal() { Silence::begin(question) } else { None };
    let mut line = String::new();
    // A secret that long is none; `take` keeps a mistaken pipe from filling the memory.
    let read = io::Read::take(&mut stdin.lock(), limits::SECRET_FILE as u64).read_line(&mut line);
    drop(silent);
    let value = line.trim_end_matches(['\n', '\r']);
    if read.is_err() || value.is_empty() {
        let exit = Exit::new(Code::Usage, format!("no answer to: {question}"));
        return Err(exit.help("type it, or give one line of standard input for each secret, in their order"));
    }
    Ok(Secret::new(value))
}

/// While it lives, the terminal shows nothing of what is typed.
struct Silence(rustix::termios::Termios);

impl Silence {
    fn begin(question: &str) -> Option<Self> {
        eprint!("{question}: ");
        let as_it_was = tcgetattr(io::stdin()).ok()?;
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
