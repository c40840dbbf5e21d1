//! The log as the system's journal takes it natively: the line that a person reads, and its fields beside it, so that
//! `journalctl POSTRIDER_HOOK=release-to-ops` finds what was said of one hook.

use std::fmt::{Debug, Write};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::words::limits;

/// Where the system's journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes each event as one datagram.
#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
}

impl Journald {
    /// # Errors
    /// The system has no such journal.
    pub fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self { socket })
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let datagram = entry.datagram(*event.metadata().level());
        if self.socket.send(&datagram).is_err() {
            // The journal restarts, or is gone; the stream that it gave us may still be there.
            eprintln!("{}{}", entry.message, entry.tail);
        }
    }
}

/// One event of the log.
#[derive(Default)]
struct Entry {
    message: String,
    /// The fields as a person reads them.
    tail: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn datagram(&self, level: Level) -> Vec<u8> {
        // As in syslog(3).
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        };
        let mut bytes = Vec::new();
        put(&mut bytes, "MESSAGE", &format!("{}{}", self.message, self.tail));
        put(&mut bytes, "PRIORITY", priority);
        put(&mut bytes, "SYSLOG_IDENTIFIER", "postrider");
        for (name, value) in &self.fields {
            put(&mut bytes, name, value);
        }
        bytes
    }

    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
            return;
        }
        // Writing into a String cannot fail.
        let _ = write!(self.tail, " {}={value}", field.name());
        self.fields.push((format!("POSTRIDER_{}", field.name().to_ascii_uppercase().replace('.', "_")), value));
    }
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

/// One field, in the form that may hold anything: the name, the length in eight bytes, the value.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.floor_char_boundary(limits::LOG_FIELD)];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn a_line_for_people_and_fields_for_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(&path).unwrap();
        let log = tracing_subscriber::registry().with(Journald { socket });
        tracing::subscriber::with_default(log, || {
            let error = "two\nlines";
            tracing::warn!(hook = "release-to-ops", attempts = 3, %error, until = None::<u8>, "hook is held");
        });
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        let mut fields = Vec::new();
        let mut rest = &buffer[..length];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let name = std::str::from_utf8(&rest[..end]).unwrap();
            let (size, tail) = rest[end + 1..].split_at(8);
            let size = usize::try_from(u64::from_le_bytes(size.try_into().unwrap())).unwrap();
            fields.push((name.to_owned(), std::str::from_utf8(&tail[..size]).unwrap().to_owned()));
            assert_eq!(tail[size], b'\n');
            rest = &tail[size + 1..];
        }
        let wanted = [
            ("MESSAGE", "hook is held hook=release-to-ops attempts=3 error=two\nlines"),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "postrider"),
            ("POSTRIDER_HOOK", "release-to-ops"),
            ("POSTRIDER_ATTEMPTS", "3"),
            ("POSTRIDER_ERROR", "two\nlines"),
        ];
        assert_eq!(fields, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
