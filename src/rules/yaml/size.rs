//! Sizes: `64MiB`, `2GiB`.

use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{Node, Value};

/// The units, from the largest.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizeError {
    /// A bare number.
    NoUnit,
    /// Anything else.
    Nonsense,
}

/// `64MiB`, `64 MB`, `64M`: all of them in steps of 1024, as file systems count.
fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| SizeError::Nonsense)?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    if unit.is_empty() {
        return Err(SizeError::NoUnit);
    }
    let known = UNITS.iter().find(|(name, _)| {
        let name = name.to_ascii_lowercase();
        [name.as_str(), &name[..1], &format!("{}b", &name[..1])].contains(&unit.as_str())
    });
    known.and_then(|(_, bytes)| number.checked_mul(*bytes)).ok_or(SizeError::Nonsense)
}

/// A size as one would write it: `64MiB`, `1.5GiB`.
pub fn show(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{}{name}", bytes / unit),
        Some((name, unit)) => format!("{:.1}{name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

impl Reader<'_> {
    /// A size within bounds.
    pub fn size(&mut self, name: &str, node: &Node, least: u64, most: u64) -> Option<u64> {
        const EXAMPLES: &str = "write for example 64MiB or 2GiB";
        let text = match &node.value {
            Value::String(text) => text.as_str(),
            Value::Number(_) => node.written(self.source),
            _ => {
                self.wrong(name, node, "a size", EXAMPLES);
                return None;
            }
        };
        match parse(text) {
            Ok(size) if (least..=most).contains(&size) => Some(size),
            Ok(size) => {
                let bounds = format!("{} to {}", show(least), show(most));
                let what = format!("`{name}` must be {bounds}, not {}", show(size));
                self.error(node.span, "out-of-bounds", what, format!("write a size from {bounds}"));
                None
            }
            Err(SizeError::NoUnit) => {
                let what = format!("`{name}` needs a unit: {} of what?", text.trim());
                self.error(node.span, "size", what, format!("a size needs a unit, for example {}MiB", text.trim()));
                None
            }
            Err(SizeError::Nonsense) => {
                self.error(node.span, "size", format!("`{name}` is no size: {text:?}"), EXAMPLES);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("1k", 1024), ("3mb", 3 << 20), ("1TiB", 1 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse("64"), Err(SizeError::NoUnit));
        for nonsense in ["", "MiB", "-1MiB", "1.5GiB", "2 gigs", "99999999999TiB"] {
            assert_eq!(parse(nonsense), Err(SizeError::Nonsense), "{nonsense}");
        }
        assert_eq!([show(64 << 20), show(3 << 29), show(17)], ["64MiB", "1.5GiB", "17 bytes"]);
    }
}
