//! JSON with its numbers as they were written.
//!
//! serde_json keeps a number in 64 bits: `1.10` becomes `1.1`, thirty digits become an approximation, and `1e400` is
//! refused. What an event says must reach a receiver as the sender wrote it, so a number here is its text.

use std::fmt;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep lists and maps may be nested; serde_json's own bound.
const DEPTH: usize = 128;

/// A JSON value. Members keep their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Exact {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// A map.
    Map(Members),
}

/// The members of a map in their order.
pub type Members = IndexMap<String, Exact>;

/// A number as it was written, by the grammar of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// The number that a text is.
    pub fn read(text: &str) -> Option<Self> {
        let begins = |byte: u8| byte.is_ascii_digit() || byte == b'-';
        let is_number = text.bytes().next().is_some_and(begins)
            && text.bytes().next_back().is_some_and(|byte| byte.is_ascii_digit())
            && serde_json::from_str::<&RawValue>(text).is_ok();
        is_number.then(|| Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a whole number of 64 bits, when it is written as one.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The nearest float; infinite beyond the largest.
    pub fn as_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// Whether it is written as a whole number.
    pub fn is_whole(&self) -> bool {
        !self.0.contains(['.', 'e', 'E'])
    }

    /// The same digits whatever the spelling: `1.10`, `1.1` and `11e-1` have one value.
    pub fn has_value_of(&self, other: &Self) -> bool {
        self.0 == other.0 || Decimal::of(&self.0) == Decimal::of(&other.0)
    }

    /// The nearest number that serde_json can hold. Its own reader is quick rather than right in the last digit.
    fn plain(&self) -> serde_json::Number {
        let nearest = || serde_json::Number::from_f64(self.as_f64().clamp(f64::MIN, f64::MAX));
        let whole = if self.is_whole() { serde_json::from_str(&self.0).ok() } else { None };
        whole.or_else(nearest).unwrap_or_else(|| 0.into())
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        Self(number.to_string().into())
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

/// A number's value: its significant digits and the place of the last one.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    /// `None` for an exponent beyond all reason, which equals nothing.
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i64 = exponent.parse().ok()?;
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        let moved = i64::try_from(digits.len() - kept.len()).ok()? - i64::try_from(fraction.len()).ok()?;
        let exponent = if kept.is_empty() { 0 } else { exponent.checked_add(moved)? };
        Some(Self { negative, digits: kept.to_owned(), exponent })
    }
}

impl Exact {
    /// Reads a JSON text. `None`: it is none, or is nested too deep.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &RawValue = serde_json::from_slice(text).ok()?;
        let mut cursor = Cursor { text: text.get(), at: 0 };
        cursor.value(DEPTH)
    }

    /// The nearest value that serde_json can hold.
    pub fn plain(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(yes) => Value::Bool(*yes),
            Self::Number(number) => Value::Number(number.plain()),
            Self::String(text) => Value::String(text.clone()),
            Self::List(values) => values.iter().map(Self::plain).collect(),
            Self::Map(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), value.plain())).collect())
            }
        }
    }

    /// A member of a map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.get(name),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A text, number or truth value as text.
    pub fn scalar(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            Self::Number(number) => Some(number.as_str().to_owned()),
            Self::Bool(yes) => Some(yes.to_string()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// JSON text over several lines, each level indented by so many spaces.
    pub fn indented(&self, width: usize) -> String {
        let mut out = String::new();
        // Writing into a text does not fail.
        let _written = self.write(&mut out, Some(width), 0);
        out
    }

    fn write(&self, out: &mut impl fmt::Write, width: Option<usize>, level: usize) -> fmt::Result {
        let line = |out: &mut dyn fmt::Write, level: usize| match width {
            Some(width) => write!(out, "\n{:1$}", "", width * level),
            None => Ok(()),
        };
        match self {
            Self::Null => out.write_str("null"),
            Self::Bool(yes) => write!(out, "{yes}"),
            Self::Number(number) => out.write_str(number.as_str()),
            Self::String(text) => quoted(text, out),
            Self::List(values) if values.is_empty() => out.write_str("[]"),
            Self::Map(members) if members.is_empty() => out.write_str("{}"),
            Self::List(values) => {
                out.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.write_char(',')?;
                    }
                    line(out, level + 1)?;
                    value.write(out, width, level + 1)?;
                }
                line(out, level)?;
                out.write_char(']')
            }
            Self::Map(members) => {
                out.write_char('{')?;
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.write_char(',')?;
                    }
                    line(out, level + 1)?;
                    quoted(name, out)?;
                    out.write_str(if width.is_some() { ": " } else { ":" })?;
                    value.write(out, width, level + 1)?;
                }
                line(out, level)?;
                out.write_char('}')
            }
        }
    }
}

/// Writes a text as JSON does.
pub(crate) fn quoted(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

/// JSON text in one line.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None, 0)
    }
}

impl From<&Value> for Exact {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Bool(*yes),
            Value::Number(number) => Self::Number(number.into()),
            Value::String(text) => Self::String(text.clone()),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(map) => Self::Map(map.iter().map(|(name, value)| (name.clone(), value.into())).collect()),
        }
    }
}

impl From<String> for Exact {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// Reads JSON that is known to be well-formed, except that an escape may stand for half a character.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Option<Exact> {
        match self.peek()? {
            b'{' => {
                let mut members = Members::new();
                self.entries(b'}', depth, |cursor, depth| {
                    let name = cursor.string()?;
                    cursor.skip(b':')?;
                    members.insert(name, cursor.value(depth)?);
                    Some(())
                })?;
                Some(Exact::Map(members))
            }
            b'[' => {
                let mut values = Vec::new();
                self.entries(b']', depth, |cursor, depth| {
                    values.push(cursor.value(depth)?);
                    Some(())
                })?;
                Some(Exact::List(values))
            }
            b'"' => self.string().map(Exact::String),
            _ => Some(match self.token(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
                "null" => Exact::Null,
                "true" => Exact::Bool(true),
                "false" => Exact::Bool(false),
                number => Exact::Number(Number(number.into())),
            }),
        }
    }

    /// Everything between an opening bracket and its closing one.
    fn entries(
        &mut self,
        close: u8,
        depth: usize,
        mut entry: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        loop {
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Some(());
                }
                _ => entry(self, depth)?,
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.peek()?;
        let start = self.at;
        self.at = string_end(self.text.as_bytes(), start);
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn token(&mut self, belongs: impl Fn(u8) -> bool) -> &str {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(|byte| belongs(*byte)) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The place behind a text that begins with a quote here.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether serde_json writes every number of this JSON text as it is written here. Nearly all texts are so, and one
/// look over the bytes tells.
pub fn is_plain(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at),
            b'-' | b'0'..=b'9' => {
                let length = text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
                let end = at + length.count();
                if !number_is_plain(&text[at..end]) {
                    return false;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    true
}

fn number_is_plain(token: &[u8]) -> bool {
    // Eighteen digits fit into any integer.
    if token.len() <= 18 && token.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let same = |number: serde_json::Number| number.to_string().as_bytes() == token;
    serde_json::from_slice(token).is_ok_and(same)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBERS: [&str; 16] = [
        "0",
        "-0",
        "-1",
        "1.10",
        "1.0",
        "0.1",
        "1e5",
        "1E+5",
        "1.5e-7",
        "1e400",
        "-1e400",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.12345678901234567890123",
        "9007199254740993",
    ];

    #[test]
    fn numbers_stay_as_they_are_written() {
        for number in NUMBERS {
            assert_eq!(Exact::parse(number.as_bytes()).unwrap().to_string(), number);
            assert_eq!(Number::read(number).unwrap().as_str(), number);
            let text = format!("{{\"b\":[{number},{{}},[]],\"a\":\"{number}\"}}");
            assert_eq!(Exact::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for not in ["", "1.", ".5", "+1", "01", "1e", "0x10", "NaN", "true", "1 2", " 1", "1 ", "\"1\""] {
            assert_eq!(Number::read(not), None, "{not}");
        }
    }

    #[test]
    fn what_serde_json_writes_otherwise_is_found() {
        let plain = |text: &str| is_plain(text.as_bytes());
        for same in
            ["{}", "[0,-1,1.5,18446744073709551615,1e-7]", "{\"a 1.10\": \"1.10\\\" 1e400\", \"b\": 1}", "\"1.10"]
        {
            assert!(plain(same), "{same}");
        }
        for other in ["-0", "[1.10]", "{\"a\":1e5}", "[1,1e400]", "18446744073709551616", "{\"\\\"\":1.0e2}"] {
            assert!(!plain(other), "{other}");
        }
    }

    #[test]
    fn one_value_has_many_spellings() {
        let same = |one: &str, other: &str| Number::read(one).unwrap().has_value_of(&Number::read(other).unwrap());
        for (one, other) in [("1.10", "1.1"), ("11e-1", "1.1"), ("100", "1e2"), ("0.0", "0"), ("1.0E+2", "100.000")] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [("1.1", "1.11"), ("1", "-1"), ("1e400", "1e401"), ("10", "1"), ("0.1", "1")] {
            assert!(!same(one, other), "{one} {other}");
        }
        assert!(same("1e99999999999999999999", "1e99999999999999999999"));
    }

    #[test]
    fn the_nearest_value_is_within_reach() {
        let plain = |text: &str| Exact::parse(text.as_bytes()).unwrap().plain();
        assert_eq!(plain("1e400"), f64::MAX);
        assert_eq!(plain("-1e400"), f64::MIN);
        assert_eq!(plain("[1.10, 7]"), serde_json::json!([1.1, 7]));
        assert_eq!(plain("1234567890123456789012"), 1234567890123456789012.0);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for wrong in ["", "{", "[1,]", "{'a':1}", "\"\\ud800\"", "nul", "[1] 2", "\"\u{1}\""] {
            assert_eq!(Exact::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Exact::parse(b"\"\xff\""), None);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Exact::parse(nested(DEPTH - 1).as_bytes()).is_some());
        assert!(Exact::parse(nested(DEPTH + 1).as_bytes()).is_none());
        assert!(Exact::parse(nested(1_000_000).as_bytes()).is_none());
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_a_name_counts() {
        let exact = Exact::parse(br#"{"z":1,"a":2,"z":3}"#).unwrap();
        assert_eq!(exact.to_string(), r#"{"z":3,"a":2}"#);
        assert_eq!(exact.indented(2), "{\n  \"z\": 3,\n  \"a\": 2\n}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_reads_and_writes_what_serde_json_does(value in value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let exact = Exact::parse(text.as_bytes()).unwrap();
                prop_assert_eq!(exact.plain(), value.clone());
                prop_assert_eq!(exact.to_string(), value.to_string());
                prop_assert_eq!(exact.indented(2), serde_json::to_string_pretty(&value).unwrap());
                prop_assert_eq!(Exact::from(&value), exact);
            }
        }
    }
}
