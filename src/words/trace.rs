//! Which trace something belongs to: the W3C's `traceparent`, in and out.

use std::fmt;

/// A trace, and the span in it that comes before: `00-TRACE-SPAN-FLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never all zero.
    pub trace: [u8; 16],
    /// The span that this is a child of; never all zero.
    pub span: [u8; 8],
    /// What is known of it; of the bits only those that are defined.
    flags: u8,
}

/// The name of the header, of the member of an event and of the attribute of a CloudEvent.
pub const TRACEPARENT: &str = "traceparent";

/// The length of version 00.
const LENGTH: usize = 55;
/// Somebody records the trace.
const SAMPLED: u8 = 1;
/// The trace's id is chance at least in its right half; whoever keeps the id keeps the flag.
const RANDOM: u8 = 2;

impl TraceParent {
    /// A trace that is recorded.
    pub fn sampled(trace: [u8; 16], span: [u8; 8]) -> Self {
        Self { trace, span, flags: SAMPLED }
    }

    /// Reads it as the W3C says: what is not quite right is as if it were not there. Of a later version, what this one
    /// defines is read.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let rest = bytes.get(LENGTH..)?;
        let [version] = hex(&bytes[..2])?;
        let follows = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        if !follows || [2, 35, 52].iter().any(|dash| bytes[*dash] != b'-') {
            return None;
        }
        let (trace, span, [flags]) = (hex(&bytes[3..35])?, hex(&bytes[36..52])?, hex(&bytes[53..LENGTH])?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, flags: flags & (SAMPLED | RANDOM) })
    }

    /// Whether somebody records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, for a child of another span.
    pub fn under(self, span: [u8; 8]) -> Self {
        Self { span, ..self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", Hex(&self.trace), Hex(&self.span), self.flags)
    }
}

/// Bytes as hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Twice as many lower-case digits, as bytes.
fn hex<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_the_w3c_takes_is_taken() {
        for (text, written) in [
            (GOOD, GOOD),
            // Not recorded.
            (&GOOD.replace("-01", "-00"), &*GOOD.replace("-01", "-00")),
            // Flags that nobody has defined do not go on.
            (&GOOD.replace("b7-01", "b7-ff"), &*GOOD.replace("b7-01", "b7-03")),
            (&GOOD.replace("b7-01", "b7-08"), &*GOOD.replace("b7-01", "b7-00")),
            // Later versions may say more.
            (&GOOD.replacen("00", "01", 1), GOOD),
            (&GOOD.replacen("00", "cc", 1), GOOD),
            (&format!("{}-what-the-future-will-be-like", GOOD.replacen("00", "cc", 1)), GOOD),
            (&format!("{}-", GOOD.replacen("00", "fe", 1)), GOOD),
        ] {
            let read = TraceParent::parse(text).unwrap_or_else(|| panic!("{text} is one"));
            assert_eq!(read.to_string(), written, "{text}");
            assert_eq!(read.is_sampled(), !written.ends_with("-00"), "{text}");
        }
    }

    #[test]
    fn what_the_w3c_ignores_is_ignored() {
        let shifted = |at: usize| format!("{}.{}", &GOOD[..at], &GOOD[at + 1..]);
        for text in [
            "",
            "00",
            "nonsense",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replace("4bf9", "4bF9"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("b7-01", "b7-0A"),
            &GOOD.replace("b7-01", "b7-0x"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &GOOD.replacen("00", "CC", 1),
            &format!("{GOOD}-"),
            &format!("{GOOD}-extra"),
            &format!("{GOOD} "),
            &format!(" {GOOD}"),
            &format!("{}.what", GOOD.replacen("00", "cc", 1)),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &shifted(2),
            &shifted(35),
            &shifted(52),
            &GOOD.replace("4bf9", "4b\u{ff19}"),
            "00-4bf92f3577b34da6a3ce929d0e0e47-3600f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), other in any::<[u8; 8]>(), flags in any::<u8>()
        ) {
            let text = format!("00-{}-{}-{flags:02x}", Hex(&trace), Hex(&span));
            let read = TraceParent::parse(&text);
            prop_assert_eq!(read.is_some(), trace != [0; 16] && span != [0; 8]);
            if let Some(read) = read {
                prop_assert_eq!((read.trace, read.span, read.is_sampled()), (trace, span, flags & 1 == 1));
                prop_assert_eq!(TraceParent::parse(&read.to_string()), Some(read));
                prop_assert_eq!(read.under(other).under(span), read);
            }
        }

        #[test]
        fn nothing_breaks_the_reader(text in any::<String>(), at in 0..55usize, put in any::<char>()) {
            TraceParent::parse(&text);
            let mut near: String = GOOD.to_owned();
            near.replace_range(at..=at, &put.to_string());
            if let Some(read) = TraceParent::parse(&near) {
                prop_assert!(put.is_ascii_hexdigit() || put == '-', "{near}");
                prop_assert_eq!(read.to_string().len(), 55);
            }
        }
    }
}
