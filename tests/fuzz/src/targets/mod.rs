//! What is thrown at the parts that read what others wrote, and what must hold of each whatever comes.
//!
//! The same functions run under libFuzzer (`tests/fuzz/run`) and, over the corpus and mutations of it, in
//! `cargo test --test it fuzzing`. Each takes any bytes, and panics when something does not hold.

mod answer;
mod event;
mod framing;
mod hook;
mod intake;
mod template;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider::rules::diagnostic::Diagnostic;
use postrider::rules::explain;

/// One target.
pub(crate) struct Target {
    /// Its name, which is also that of its folder in the corpus.
    pub(crate) name: &'static str,
    /// Takes any bytes.
    pub(crate) run: fn(&[u8]),
}

/// All of them.
pub(crate) const TARGETS: [Target; 6] = [
    Target { name: "framing", run: framing::run },
    Target { name: "event", run: event::run },
    Target { name: "intake", run: intake::run },
    Target { name: "hook", run: hook::run },
    Target { name: "answer", run: answer::run },
    Target { name: "template", run: template::run },
];

/// A secret of the targets: nothing but the wire may show it.
pub(crate) const CANARY: &str = "c4n4ry+s3cret/0123456789=";

/// Whether a text shows the secret, as it is or in a coat.
pub(crate) fn shows_secret(text: &[u8]) -> bool {
    let coats = [
        CANARY.to_owned(),
        STANDARD.encode(CANARY),
        CANARY.bytes().map(|byte| format!("{byte:02x}")).collect(),
        percent_encoding::utf8_percent_encode(CANARY, percent_encoding::NON_ALPHANUMERIC).to_string(),
    ];
    coats.iter().any(|coat| text.windows(coat.len()).any(|part| part == coat.as_bytes()))
}

/// Names of what postrider is made of, which no person is to read.
const INTERNALS: [&str; 6] = ["serde", "minijinja", "rhai::", "saphyr", "Utf8Error", "src/"];

/// Whether words for a person are that: short enough, and nothing of our insides that whoever wrote did not write.
pub(crate) fn is_for_people(words: &str, written: &[u8]) {
    assert!(!words.is_empty(), "nothing is said");
    assert!(words.len() < 16 * 1024, "{} bytes are said", words.len());
    // Whoever wrote the secret may read it.
    assert!(!shows_secret(words.as_bytes()) || shows_secret(written), "a secret is shown: {words}");
    let written = String::from_utf8_lossy(written);
    for internal in INTERNALS {
        assert!(!words.contains(internal) || written.contains(internal), "{words}");
    }
}

/// What must hold of every diagnostic about a text.
pub(crate) fn is_sound(found: &Diagnostic, text: &str) {
    assert!(explain::explain(found.code).is_some(), "nothing explains {}", found.code);
    is_for_people(&found.what, text.as_bytes());
    for words in found.notes.iter().chain(&found.help) {
        is_for_people(words, text.as_bytes());
    }
    if let Some(place) = &found.place {
        let lines = text.matches('\n').count() + 1;
        assert!((1..=lines).contains(&place.line), "line {} of {lines}: {found:?}", place.line);
        assert!(place.column >= 1 && place.length >= 1, "{found:?}");
        assert!(place.column <= place.text.chars().count() + 1 || place.text.is_empty(), "{found:?}");
    }
    let unseen = |c: char| c.is_control() && c != '\n';
    let (shown, line) = (found.render(false), found.one_line());
    assert!(!shown.contains(unseen), "a terminal would be told something: {shown:?}");
    assert!(!line.contains(char::is_control), "not one line: {line:?}");
    found.render(true);
}

/// The first byte, and the rest.
pub(crate) fn split_first(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// Two parts, parted by the first NUL.
pub(crate) fn split_at_nul(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
