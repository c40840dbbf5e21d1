//! A checksum of what is sent of an event, kept beside it: SQLite has none for the content of a row, and a disk that
//! flips a bit in a body would have us send what nobody said.

use ring::digest::{Context, SHA256};

use crate::edges::journal::micros;
use crate::words::event::Event;

/// The first eight bytes of a digest over everything that a request can be made of. Not against forgers, who could
/// write the column as well; a digest because the processor has instructions for it. Not over the trace: a wrong one
/// misleads who looks for it, which is no reason to send nothing.
pub(super) fn sum(event: &Event) -> i64 {
    let mut digest = Context::new(&SHA256);
    let time = micros(event.time).to_le_bytes();
    let given = event.given_data().unwrap_or_default().as_bytes();
    let texts = [&event.id, &event.source, &event.kind, &event.content_type].map(|text| text.as_bytes());
    for part in texts.into_iter().chain([&time[..], &event.raw, given]) {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest = digest.finish();
    i64::from_le_bytes(digest.as_ref()[..8].try_into().expect("a digest has 32 bytes"))
}
