//! Values that somebody with bad intentions, or with bad luck, may put into an event.

/// What hostile texts are made of.
const PIECES: [&str; 62] = [
    "\"",
    "'",
    "`",
    "\\",
    "\\\\\"",
    "\r\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{7}",
    "\u{8}",
    "\u{b}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "{{ 7*7 }}",
    "{{",
    "}}",
    "{% raw %}",
    "{% for x in y %}",
    "{# c #}",
    "{{ secret('ci-token') }}",
    "<",
    ">",
    "&",
    "&amp;",
    "&#10;",
    "]]>",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE x>",
    "</r>",
    "%2F",
    "%00",
    "%",
    "%zz",
    "../",
    "/..",
    "//evil.example",
    "\\\\evil.example",
    "@evil.example",
    ":8080",
    "#",
    "?",
    ";",
    "=",
    "&b=c",
    "a[b]=c",
    "\r\nX-Evil: 1\r\n\r\n",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "e\u{301}",
    "\u{d7ff}\u{e000}",
];

/// Texts that are hostile only as a whole.
const WHOLE: [&str; 22] = [
    "",
    " ",
    ".",
    "..",
    "...",
    "%2e%2e",
    "null",
    "true",
    "0",
    "-1",
    "1e400",
    "NaN",
    "应用更新",
    "🎮👩‍👩‍👧",
    "__proto__",
    "constructor",
    "javascript:alert(1)",
    "http://evil.example/",
    "data:text/html,<script>",
    "\u{10000}\u{10ffff}",
    "\\ud800\\udc00",
    " leading and trailing ",
];

const NUMBERS: [&str; 12] = [
    "0",
    "-0",
    "1.10",
    "1e5",
    "-7",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "1e400",
    "0.1234567890123456789",
    "9007199254740993",
    "2.50E-3",
];

/// An endless supply.
pub(super) struct Source {
    chance: fastrand::Rng,
    longest: usize,
}

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: fastrand::Rng::with_seed(seed), longest: 60_000 }
    }

    /// Texts that still fit into a request line.
    pub(super) fn shorter(mut self) -> Self {
        self.longest = 2_000;
        self
    }

    /// The data of an event as JSON text: `{"v": …}`.
    pub(super) fn data(&mut self) -> String {
        format!("{{\"v\":{}}}", self.value(0))
    }

    fn value(&mut self, depth: usize) -> String {
        match self.chance.u32(..100) {
            0..3 => "null".to_owned(),
            3..5 => self.chance.bool().to_string(),
            5..13 => NUMBERS[self.chance.usize(..NUMBERS.len())].to_owned(),
            13..19 if depth < 3 => {
                let values: Vec<_> = (0..self.chance.usize(..4)).map(|_| self.value(depth + 1)).collect();
                format!("[{}]", values.join(","))
            }
            19..25 if depth < 3 => {
                let members = (0..self.chance.usize(..4)).map(|number| {
                    // A number in front: two members of one name are no member too many.
                    let name = format!("{number}{}", self.text());
                    format!("{}:{}", self.quoted(&name), self.value(depth + 1))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            _ => {
                let text = self.text();
                self.quoted(&text)
            }
        }
    }

    fn text(&mut self) -> String {
        match self.chance.u32(..100) {
            0..12 => WHOLE[self.chance.usize(..WHOLE.len())].to_owned(),
            12..14 => {
                let piece = PIECES[self.chance.usize(..PIECES.len())];
                let longest = if self.chance.u32(..20) == 0 { self.longest } else { 1_000 };
                piece.repeat(self.chance.usize(1..=longest / piece.len()))
            }
            14..34 => (0..self.chance.usize(1..12)).map(|_| self.chance.char(' '..='~')).collect(),
            34..44 => (0..self.chance.usize(1..12)).map(|_| self.chance.char(..)).collect(),
            _ => {
                let piece = |chance: &mut fastrand::Rng| match chance.u32(..4) {
                    0 => chance.char('a'..='z').to_string(),
                    _ => PIECES[chance.usize(..PIECES.len())].to_owned(),
                };
                (0..self.chance.usize(1..7)).map(|_| piece(&mut self.chance)).collect()
            }
        }
    }

    /// As JSON, now and then with an escape for every unit.
    fn quoted(&mut self, text: &str) -> String {
        if self.chance.u32(..5) > 0 {
            return serde_json::to_string(text).expect("a text");
        }
        let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{escapes}\"")
    }
}

/// For a person who looks for the mistake.
pub(super) fn shown(data: &str) -> String {
    let start: String = data.chars().take(2_000).collect();
    format!("{start:?}")
}
