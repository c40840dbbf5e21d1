//! Small questions about texts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters, so also `/`: a value is one component and stays one.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One component of a URL.
pub fn component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// The longest beginning of at most so many bytes that does not cut a character.
pub fn truncate_bytes(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// The longest beginning of whole lines of at most so many bytes; of a first line that is longer, what fits.
pub fn truncate_lines(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    match text.as_bytes()[..most.saturating_add(1)].iter().rposition(|byte| *byte == b'\n') {
        Some(end) => text[..end].trim_end_matches('\r'),
        None => truncate_bytes(text, most),
    }
}

/// The first so many characters.
pub fn truncate_chars(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// What is wrong with a JSON text: "line 3, column 18: expected value".
pub fn json_fault(error: &serde_json::Error) -> String {
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    let what = match (error.is_eof(), what) {
        (true, _) => "it ends too early",
        (_, "recursion limit exceeded") => "it is nested too deeply",
        (_, what) => what,
    };
    match error.line() {
        0 => what.to_owned(),
        line => format!("line {line}, column {}: {what}", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_faults_have_a_place() {
        let fault = |text: &str| json_fault(&serde_json::from_str::<serde_json::Value>(text).unwrap_err());
        assert_eq!(fault("{\n \"a\": 'x'}"), "line 2, column 7: expected value");
        assert_eq!(fault("{"), "line 1, column 1: it ends too early");
        assert!(fault(&"[".repeat(200)).ends_with("it is nested too deeply"));
    }

    #[test]
    fn a_component_stays_one() {
        assert_eq!(component("a/b c?&#é应%"), "a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94%25");
        assert_eq!(component("v1.2-rc_3~x"), "v1.2-rc_3~x");
        assert_eq!(component("\\@:\r\n\t"), "%5C%40%3A%0D%0A%09");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(truncate_bytes("应用", 4), "应");
        assert_eq!(truncate_bytes("应用", 2), "");
        assert_eq!(truncate_bytes("ab", 2), "ab");
        assert_eq!(truncate_chars("应用更新", 2), "应用");
        assert_eq!(truncate_chars("应用", 2), "应用");
    }

    #[test]
    fn texts_of_lines_are_cut_between_lines() {
        let cases = [
            (0, ""),
            (2, ""),
            (3, "应"),
            (4, "应"),
            (6, "应\r\nb"),
            (8, "应\r\nb"),
            (9, "应\r\nb\ncd"),
            (99, "应\r\nb\ncd"),
        ];
        for (most, wanted) in cases {
            assert_eq!(truncate_lines("应\r\nb\ncd", most), wanted, "{most}");
        }
        assert_eq!(truncate_lines("one long line", 3), "one");
    }
}
