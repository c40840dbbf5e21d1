//! Takes secrets out of a text, however they are written there.
//!
//! Receivers echo what they were sent: as it came, inside JSON, percent-encoded (all of it or what needs it), as entities
//! in a page of HTML, in hex, in base64 at any alignment, and cut in the middle. So the text is looked at as it is and
//! with such writing undone up to `LEVELS` times, and each look finds the secret itself, its hex and its base64.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter ones are not secrets but switches, and would garble every text.
const SHORTEST: usize = 6;
/// Of a secret that is cut off at the end, so much is enough to be taken out.
const CUT: usize = 8;
/// How often writing is undone: JSON inside JSON inside a form.
const LEVELS: usize = 3;
/// A part of a URL that is no word: identifiers of robots, keys, tokens.
const LONG_PART: usize = 16;
/// Names of parameters and headers whose value opens something, or is signed with what does.
const CREDENTIALS: [&str; 10] =
    ["auth", "token", "secret", "sign", "cookie", "password", "passwd", "api-key", "apikey", "api_key"];

/// What stands in place of a secret.
const MASK: &str = "***";

/// Whether a name of a header or parameter says that its value is a credential.
pub fn names_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "key" | "sig" | "pass" | "pwd") || CREDENTIALS.iter().any(|word| name.contains(word))
}

/// What besides itself gives a secret away: of a URL its login, its path and query and what is long in them; of a login
/// or a key the part behind the word that says what it is.
pub fn parts(secret: &str) -> Vec<Cow<'_, str>> {
    let mut parts = Vec::new();
    for word in ["Bearer ", "Basic ", "whsec_"] {
        parts.extend(secret.strip_prefix(word).map(Cow::from));
    }
    let Some((_, rest)) = secret.split_once("://") else {
        parts.extend(written(secret));
        return parts;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if let Some((login, _)) = authority.rsplit_once('@') {
        parts.push(decoded(login));
        parts.extend(login.split_once(':').map(|(_, password)| decoded(password)));
    }
    // One as short as "/hook" is no credential, and taking it out would garble ordinary words.
    if target.len() >= 12 {
        parts.push(target.into());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    parts.extend(path.split('/').filter(|part| part.len() >= LONG_PART).map(decoded));
    let fields = query.split(['&', '#']).filter_map(|field| field.split_once('='));
    let telling = |(name, value): &(&str, &str)| value.len() >= LONG_PART || names_credential(name);
    parts.extend(fields.filter(telling).map(|(_, value)| decoded(value)));
    parts
}

/// What a body, a form or a URL had to write otherwise: a receiver may put that into base64 or hex as a whole.
fn written(secret: &str) -> Vec<Cow<'_, str>> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let url = utf8_percent_encode(secret, KEPT).to_string();
    [json, form, url].into_iter().filter(|other| other != secret).map(Cow::from).collect()
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

/// The text with each of the secrets replaced by `***`.
pub fn mask<'t>(text: &'t str, secrets: &[Cow<'_, str>]) -> Cow<'t, str> {
    let longest = longest_word(text.as_bytes());
    let long_enough = |secret: &&Cow<'_, str>| secret.len() >= SHORTEST && (secret.len().min(CUT) <= text.len());
    let secrets: Vec<&[u8]> = secrets.iter().filter(long_enough).map(|secret| secret.as_bytes()).collect();
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut hits = Vec::new();
    let mut view = View::of(text);
    for level in 0..=LEVELS {
        for secret in &secrets {
            view.find(secret, longest, &mut hits);
        }
        match view.undone() {
            Some(next) if level < LEVELS => view = next,
            _ => break,
        }
    }
    without(text, hits)
}

/// The longest run of what base64 and hex are written with, also when more writing is about it.
fn longest_word(text: &[u8]) -> usize {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=_-%\\&;#".contains(byte);
    text.split(|byte| !word(byte)).map(<[u8]>::len).max().unwrap_or(0)
}

fn without(text: &str, mut hits: Vec<Range<usize>>) -> Cow<'_, str> {
    if hits.is_empty() {
        return Cow::Borrowed(text);
    }
    hits.sort_by_key(|hit| hit.start);
    let (mut clean, mut at, mut masked) = (String::with_capacity(text.len()), 0, false);
    for hit in hits {
        if hit.start > at || !masked {
            clean.push_str(&text[at.min(hit.start)..hit.start]);
            clean.push_str(MASK);
            masked = true;
        }
        at = at.max(hit.end);
    }
    clean.push_str(&text[at..]);
    Cow::Owned(clean)
}

/// A text as it reads when some writing is undone: each byte knows where it came from.
struct View<'t> {
    bytes: Cow<'t, [u8]>,
    /// Nothing where the text is as it is. Secrets are whole characters, and so is what is found of them.
    from: Option<Vec<(u32, u32)>>,
}

impl<'t> View<'t> {
    fn of(text: &'t str) -> Self {
        Self { bytes: Cow::Borrowed(text.as_bytes()), from: None }
    }

    fn span(&self, found: Range<usize>) -> Range<usize> {
        self.origin(found.start).start..self.origin(found.end - 1).end
    }

    fn origin(&self, at: usize) -> Range<usize> {
        match &self.from {
            None => at..at + 1,
            Some(from) => from[at].0 as usize..from[at].1 as usize,
        }
    }

    fn find(&self, secret: &[u8], longest: usize, hits: &mut Vec<Range<usize>>) {
        for at in 0..self.bytes.len() {
            let rest = &self.bytes[at..];
            if !like(rest[0], secret[0]) {
                continue;
            }
            let alike = rest.iter().zip(secret).take_while(|(one, other)| like(**one, **other)).count();
            let cut = alike >= CUT && is_cut(&rest[alike..]);
            if alike == secret.len() || cut {
                hits.push(self.span(at..at + alike));
            }
        }
        // Six bits a letter, and what stands before it may have a part in its first and last.
        if longest >= secret.len() + secret.len() / 4 {
            self.find_base64(secret, hits);
        }
        if longest >= 2 * secret.len() {
            self.find_hex(secret, hits);
        }
    }

    fn find_hex(&self, secret: &[u8], hits: &mut Vec<Range<usize>>) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let same = |pair: &[u8], byte: u8| {
            digit(pair[0]).zip(digit(pair[1])).is_some_and(|(high, low)| high * 16 + low == u32::from(byte))
        };
        for at in 0..(self.bytes.len() + 1).saturating_sub(2 * secret.len()) {
            let written = &self.bytes[at..at + 2 * secret.len()];
            if written.chunks(2).zip(secret).all(|(pair, byte)| same(pair, *byte)) {
                hits.push(self.span(at..at + written.len()));
            }
        }
    }

    fn find_base64(&self, secret: &[u8], hits: &mut Vec<Range<usize>>) {
        let letters: Vec<u8> = self.bytes.iter().map(|byte| sextet(*byte)).collect();
        for at in 0..letters.len() {
            for shift in [0, 2, 4] {
                let bits = shift + 8 * secret.len();
                let end = at + bits.div_ceil(6);
                if end > letters.len() {
                    continue;
                }
                let same = |(number, byte): (usize, &u8)| {
                    let bit = shift + 8 * number;
                    let (first, second) = (letters[at + bit / 6], letters[at + bit / 6 + 1]);
                    let pair = u16::from(first) << 6 | u16::from(second);
                    first < 64 && second < 64 && (pair >> (4 - bit % 6)) as u8 == *byte
                };
                if secret.iter().enumerate().all(same) {
                    hits.push(self.span(at..end));
                }
            }
        }
    }

    /// The same with writing undone once more, if there is any.
    fn undone(&self) -> Option<View<'static>> {
        if !self.bytes.iter().any(|byte| b"%\\&".contains(byte)) {
            return None;
        }
        let (mut bytes, mut from) = (Vec::with_capacity(self.bytes.len()), Vec::with_capacity(self.bytes.len()));
        let (mut at, mut changed) = (0, false);
        while at < self.bytes.len() {
            let (meant, length) = escaped(&self.bytes[at..]).unwrap_or((Meant::Byte(self.bytes[at]), 1));
            changed |= length > 1;
            let place = self.span(at..at + length);
            let mut buffer = [0; 4];
            let meant = match meant {
                Meant::Byte(byte) => {
                    buffer[0] = byte;
                    &buffer[..1]
                }
                Meant::Char(c) => c.encode_utf8(&mut buffer).as_bytes(),
            };
            bytes.extend_from_slice(meant);
            from.extend(std::iter::repeat_n((place.start as u32, place.end as u32), meant.len()));
            at += length;
        }
        changed.then_some(View { bytes: Cow::Owned(bytes), from: Some(from) })
    }
}

/// In a form a space is a plus.
fn like(written: u8, secret: u8) -> bool {
    written == secret || (secret == b' ' && written == b'+')
}

/// Whether a text stops here: its end, or the mark of whoever cut it.
fn is_cut(rest: &[u8]) -> bool {
    rest.is_empty() || rest.starts_with("…".as_bytes()) || rest.starts_with(b"...")
}

fn sextet(letter: u8) -> u8 {
    match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => 64,
    }
}

enum Meant {
    Byte(u8),
    Char(char),
}

/// What an escape means that stands at the beginning, and how long it is.
fn escaped(text: &[u8]) -> Option<(Meant, usize)> {
    match text {
        [b'%', high, low, ..] => Some((Meant::Byte(number(&[*high, *low], 16)? as u8), 3)),
        [b'\\', b'x', high, low, ..] => Some((Meant::Byte(number(&[*high, *low], 16)? as u8), 4)),
        [b'\\', b'u', rest @ ..] => {
            let first = number(rest.get(..4)?, 16)?;
            match (char::from_u32(first), rest.get(4..10)) {
                (Some(c), _) => Some((Meant::Char(c), 6)),
                (None, Some([b'\\', b'u', low @ ..])) => {
                    let second = number(low, 16)?.checked_sub(0xdc00)?;
                    let c = char::from_u32(0x10000 + ((first & 0x3ff) << 10) + second)?;
                    Some((Meant::Char(c), 12))
                }
                _ => None,
            }
        }
        [b'\\', short, ..] => {
            let meant = match short {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'"' | b'\'' | b'\\' | b'/' => *short,
                _ => return None,
            };
            Some((Meant::Byte(meant), 2))
        }
        [b'&', rest @ ..] => {
            let end = rest.iter().take(9).position(|byte| *byte == b';')?;
            let meant = match &rest[..end] {
                b"amp" => '&',
                b"lt" => '<',
                b"gt" => '>',
                b"quot" => '"',
                b"apos" => '\'',
                [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
                [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
                _ => return None,
            };
            Some((Meant::Char(meant), end + 2))
        }
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, radix).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;

    fn masked(text: &str, secret: &str) -> String {
        mask(text, &[secret.into()]).into_owned()
    }

    #[test]
    fn however_it_is_written() {
        let secret = "hun\"ter/2 2应&";
        for written in [
            secret.to_owned(),
            r#"hun\"ter/2 2应&"#.to_owned(),
            r#"hun\"ter\/2 2\u5e94\u0026"#.to_owned(),
            r#"hun\\\"ter\\/2 2应&"#.to_owned(),
            "hun%22ter%2F2%202%E5%BA%94%26".to_owned(),
            "hun%22ter/2+2%e5%ba%94%26".to_owned(),
            "%68un%2522ter%252F2%25202%25E5%25BA%2594%2526".to_owned(),
            "hun&quot;ter&#x2F;2 2应&amp;".to_owned(),
            STANDARD.encode(secret),
            URL_SAFE.encode(secret),
        ] {
            assert_eq!(masked(&format!("<a>{written}<b>"), secret).replace("***=", "***"), "<a>***<b>", "{written}");
        }
        assert_eq!(masked("a hunter22 b hunter22", "hunter22"), "a *** b ***");
        let body = STANDARD.encode(r#"{"t":"hun\"ter/2"}"#);
        let known = [Cow::from("hun\"ter/2")].into_iter().chain(parts("hun\"ter/2")).collect::<Vec<_>>();
        assert!(mask(&body, &known).contains(MASK), "base64 of JSON");
        assert_eq!(masked("68756E7465723232/68756e7465723232", "hunter22"), "***/***");
    }

    #[test]
    fn a_part_at_the_end_is_taken_out_too() {
        let secret = "0123456789abcdef";
        assert_eq!(masked("token 0123456789a", secret), "token ***");
        assert_eq!(masked("token 01234567… is wrong", secret), "token ***… is wrong");
        assert_eq!(masked("token 012345", secret), "token 012345", "too little to be known by");
        assert_eq!(masked("token 0123456789 is wrong", secret), "token 0123456789 is wrong", "another one");
    }

    #[test]
    fn ordinary_texts_stay() {
        for text in ["", "ok", "{\"errcode\":0,\"errmsg\":\"ok\"}", "100% & \\ %zz \\u12 &nope; &#xffffffff;"] {
            assert_eq!(masked(text, "hunter22"), text);
        }
        assert_eq!(masked("a short one", "short"), "a short one");
    }

    #[test]
    fn a_url_gives_itself_away_in_parts() {
        let url = "https://al%40ice:pa55%2Fword@h.example/services/T0000/aaaabbbbccccdddd?access_token=to%2Bken&v=1.0";
        let text = parts(url).join("|");
        assert_eq!(
            text,
            "al@ice:pa55/word|pa55/word|/services/T0000/aaaabbbbccccdddd?access_token=to%2Bken&v=1.0|\
             aaaabbbbccccdddd|to+ken"
        );
        assert_eq!(parts("https://h.example/hook").len(), 0);
        assert_eq!(parts("Bearer abcdef"), ["abcdef", "Bearer+abcdef", "Bearer%20abcdef"]);
        assert_eq!(parts("plain-token_1.~").len(), 1, "a form writes the tilde otherwise");
    }

    proptest! {
        #[test]
        fn base64_and_hex_at_every_alignment(before in ".{0,7}", secret in "[ -~]{6,40}", after in ".{0,7}") {
            let whole = format!("{before}{secret}{after}");
            for text in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                let clean = masked(&text, &secret);
                prop_assert!(clean.contains(MASK), "{text} {clean}");
            }
            let hex: String = whole.bytes().map(|byte| format!("{byte:02X}")).collect();
            prop_assert!(masked(&hex, &secret).contains(MASK), "{hex}");
        }

        #[test]
        fn nothing_else_is_lost(text in "\\PC{0,60}") {
            prop_assert_eq!(masked(&text, "a secret that is not there"), text);
        }
    }
}
