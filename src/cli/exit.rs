//! How a command ends. The codes are those of sysexits.h where it has one.

use std::error::Error;

use crate::edges::client::ClientError;

/// Why a command ended. The numbers are a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Nothing is wrong, there is just nobody left to print for.
    Done = 0,
    /// The thing tried did not work.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The event cannot be accepted, now or later.
    BadEvent = 65,
    /// Nobody listens at the socket.
    NoDaemon = 69,
    /// The same may work later.
    TryAgain = 75,
    /// Not allowed.
    Permission = 77,
    /// A file of the configuration is wrong.
    Configuration = 78,
}

/// The end of a command that did not go well: its code, and what there is to say.
#[derive(Debug)]
pub(crate) struct Exit {
    code: Code,
    message: Option<String>,
    help: Option<String>,
}

impl Exit {
    /// Ends with a message.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), help: None }
    }

    /// Ends with a message and the whole chain of causes behind it.
    pub(crate) fn caused(code: Code, message: impl Into<String>, cause: &dyn Error) -> Self {
        let mut message = message.into();
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors repeat their cause in their own text.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            next = cause.source();
        }
        Self::new(code, message)
    }

    /// Ends without a message: everything was said already.
    pub(crate) fn silent(code: Code) -> Self {
        Self { code, message: None, help: None }
    }

    /// Adds the one thing to do.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// The message, when there is one.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The end of a write to stdout. `postrider log | head` is nothing to complain about.
    pub(crate) fn stdout(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::silent(Code::Done),
            _ => Self::caused(Code::Failed, "cannot write to standard output", error),
        }
    }

    /// The one thing to do, when there is one.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::NoDaemon(path) => Self::new(
                Code::NoDaemon,
                format!("no daemon listens at {}", path.display()),
            )
            .help(
                "start it with `systemctl start postrider`, or with `postrider run --here` in the folder of your hooks",
            ),
            ClientError::Permission { path, group } => Self::new(
                Code::Permission,
                format!("{} is for the group {group}, and you are not in it", path.display()),
            )
            .help(format!("`sudo usermod -aG {group} $USER`, then log in again")),
            ClientError::Other { .. } | ClientError::TooLong(_) => Self::new(Code::Failed, error.to_string()),
        }
    }
}

/// What the daemon's word for a refusal means for the exit code.
pub(crate) fn code_of_refusal(word: &str, status: u16) -> Code {
    match word {
        "bad_event" | "too_large" | "unsupported_media_type" => Code::BadEvent,
        "busy" | "unavailable" | "storage_full" => Code::TryAgain,
        "unauthorized" | "forbidden" => Code::Permission,
        // An order that makes no sense; an event that makes none is a bad event.
        "bad_request" => Code::Usage,
        // A word of a newer daemon: the status says enough.
        _ => match status {
            400 | 413 | 415 => Code::BadEvent,
            401 | 403 => Code::Permission,
            429 | 503 | 507 => Code::TryAgain,
            _ => Code::Failed,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::edges::intake;

    #[test]
    fn the_codes_are_those_promised() {
        let promised = [
            (Code::Done, 0),
            (Code::Failed, 1),
            (Code::Usage, 2),
            (Code::BadEvent, 65),
            (Code::NoDaemon, 69),
            (Code::TryAgain, 75),
            (Code::Permission, 77),
            (Code::Configuration, 78),
        ];
        for (code, number) in promised {
            assert_eq!(code as u8, number);
        }
    }

    #[test]
    fn trouble_with_the_socket_has_its_own_codes() {
        let path = PathBuf::from("/run/postrider/emit.sock");
        let exit = Exit::from(ClientError::NoDaemon(path.clone()));
        assert_eq!(exit.code(), Code::NoDaemon);
        assert!(exit.message().unwrap().contains("/run/postrider/emit.sock"));
        assert!(exit.help.unwrap().contains("systemctl start postrider"));
        let exit = Exit::from(ClientError::Permission { path, group: "postrider" });
        assert_eq!(exit.code(), Code::Permission);
        assert!(exit.message().unwrap().contains("group postrider"));
    }

    #[test]
    fn every_refusal_has_a_code_and_word_and_status_agree() {
        use intake::Code as Refused;
        for (refused, code) in [
            (Refused::BadEvent, Code::BadEvent),
            (Refused::TooLarge, Code::BadEvent),
            (Refused::UnsupportedMediaType, Code::BadEvent),
            (Refused::Busy, Code::TryAgain),
            (Refused::Unavailable, Code::TryAgain),
            (Refused::StorageFull, Code::TryAgain),
            (Refused::Unauthorized, Code::Permission),
            (Refused::Forbidden, Code::Permission),
            (Refused::NotFound, Code::Failed),
        ] {
            assert_eq!(code_of_refusal(refused.word(), refused.status()), code, "{refused:?}");
            assert_eq!(code_of_refusal("a new word", refused.status()), code, "{refused:?}");
        }
    }

    #[test]
    fn the_chain_of_causes_is_told_once() {
        let cause = std::io::Error::other("the disk is gone");
        let exit = Exit::caused(Code::Failed, "cannot read x.yaml", &cause);
        assert_eq!(exit.message(), Some("cannot read x.yaml: the disk is gone"));
        assert_eq!(Exit::caused(Code::Failed, "the disk is gone", &cause).message(), Some("the disk is gone"));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let exit = Exit::stdout(&std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(exit.code(), Code::Done);
        assert!(exit.message().is_none());
    }
}
