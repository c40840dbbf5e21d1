//! A checksum of what is sent of an event, kept beside it: SQLite has none for the content of a row, and a disk that
//! flips a bit in a body would have us send what nobody said.

use crc32fast::Hasher;

use crate::edges::journal::micros;
use crate::words::event::Event;

/// CRC-32 over everything that a request can be made of. Not against forgers, who could write the column as well. Not over
/// the trace: a wrong one misleads who looks for it, which is no reason to send nothing.
pub(super) fn sum(event: &Event) -> i64 {
    let mut hasher = Hasher::new();
    let time = micros(event.time).to_le_bytes();
    let given = event.given_data().unwrap_or_default().as_bytes();
    let texts = [&event.id, &event.source, &event.kind, &event.content_type].map(|text| text.as_bytes());
    for part in texts.into_iter().chain([&time[..], &event.raw, given]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    i64::from(hasher.finalize())
}

/// Whether an event is what this was the sum of. What is no CRC-32 is of a build before there were any, and says nothing.
pub(super) fn fits(kept: i64, event: &Event) -> bool {
    u32::try_from(kept).is_err() || kept == sum(event)
}
