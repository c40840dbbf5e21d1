//! What is sent: the payload that Pgyer posts for a new version, padded to 1 KB, each with its own number.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of one event's data.
pub(crate) const SIZE: usize = 1024;
/// Events in one request of the batched HTTP case.
pub(crate) const BATCH: usize = 100;
/// The number stands behind this mark, letters only: no platform escapes them in what it builds.
const MARK: &[u8] = b"seqno";
const DIGITS: usize = 8;

const SAMPLE: &str = r#"{"seq":"seqno00000000","action":"应用更新","title":"OooPlay","link":"https://www.pgyer.com/oooplay_test","message":"您的应用OooPlay有了新的版本(2.4)更新。","type":"updateVersion","os_version":"2.4","build_version":"139","created":"2015-10-09 11:25:16","updated":"2015-10-09 11:25:16","timestamp":1444361118,"appsize":"2238036","device_type":"iOS","notes":"修复了若干已知问题"#;

/// The bytes of the data of event `seq`.
pub(crate) fn data(seq: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(SIZE);
    push_data(&mut data, seq);
    data
}

/// Event `seq` as a native event on one line, without the line's end.
pub(crate) fn native(seq: usize) -> Vec<u8> {
    let mut line = Vec::with_capacity(SIZE + 64);
    push_native(&mut line, seq);
    line
}

/// Events `from` up to `to` as NDJSON.
pub(crate) fn lines(from: usize, to: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity((to - from) * (SIZE + 64));
    for seq in from..to {
        push_native(&mut lines, seq);
        lines.push(b'\n');
    }
    lines
}

/// The number in a body that was built from an event. The hint remembers where the last one was found.
pub(crate) fn number(body: &[u8], hint: &AtomicUsize) -> Option<usize> {
    let here = |at: usize| {
        let rest = body.get(at..)?.strip_prefix(MARK)?;
        std::str::from_utf8(rest.get(..DIGITS)?).ok()?.parse().ok()
    };
    here(hint.load(Ordering::Relaxed)).or_else(|| {
        let at = body.windows(MARK.len()).position(|window| window == MARK)?;
        hint.store(at, Ordering::Relaxed);
        here(at)
    })
}

fn push_data(out: &mut Vec<u8>, seq: usize) {
    let from = out.len();
    out.extend_from_slice(SAMPLE.as_bytes());
    out.resize(from + SIZE - 2, b'.');
    out.extend_from_slice(b"\"}");
    let at = from + SAMPLE.find("seqno").unwrap_or_default() + MARK.len();
    out[at..at + DIGITS].copy_from_slice(digits(seq).as_bytes());
}

fn push_native(out: &mut Vec<u8>, seq: usize) {
    out.extend_from_slice(b"{\"type\":\"bench\",\"id\":\"e");
    out.extend_from_slice(digits(seq).as_bytes());
    out.extend_from_slice(b"\",\"data\":");
    push_data(out, seq);
    out.push(b'}');
}

fn digits(seq: usize) -> String {
    format!("{seq:0DIGITS$}")
}
