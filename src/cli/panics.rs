//! What is said when the program itself fails: where, and never what it was working on.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, Location};
use std::thread;

/// From now on a panic says where it happened. Its message may quote a text that was being cut, or a value that was no
/// number, and such a text may be a secret: only words that stand in the program are repeated.
pub(super) fn install() {
    panic::set_hook(Box::new(|info| {
        let trace = Backtrace::capture();
        let told = words(info.payload(), info.location(), thread::current().name());
        match trace.status() {
            BacktraceStatus::Captured => eprintln!("{told}\n{trace}"),
            _ => eprintln!("{told}"),
        }
    }));
}

fn words(payload: &(dyn Any + Send), at: Option<&Location<'_>>, thread: Option<&str>) -> String {
    let at = at.map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = thread.map(|name| format!(" in the thread {name}")).unwrap_or_default();
    let what = payload.downcast_ref::<&'static str>().copied();
    let what = what.unwrap_or("the message is left out, for it may quote a secret");
    format!("postrider itself failed at {at}{thread} ({what}); please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_program_are_repeated() {
        let told = |payload: &(dyn Any + Send)| words(payload, Some(Location::caller()), Some("main"));
        let literal = told(&"there is always one");
        assert!(literal.contains("panics.rs:") && literal.contains("in the thread main"), "{literal}");
        assert!(literal.contains("(there is always one)"), "{literal}");
        let made = told(&"byte index 3 is not a char boundary of `hunter22`".to_owned());
        assert!(!made.contains("hunter22") && made.contains("left out"), "{made}");
    }

    /// What the test below starts in a process of its own.
    #[test]
    #[ignore = "panics"]
    fn breaks_down() {
        install();
        let secret = "应用-hunter22";
        assert!(secret[1..].is_empty(), "never reached: this is no place to cut");
    }

    #[test]
    fn a_process_that_fails_does_not_quote_what_it_held() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--ignored", "--nocapture", "--exact", "cli::panics::tests::breaks_down"]);
        let output = again.env_remove("RUST_BACKTRACE").output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(text.contains("postrider itself failed at src/cli/panics.rs:"), "{text}");
        assert!(!text.contains("hunter22"), "{text}");
    }
}
