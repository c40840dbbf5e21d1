//! Reads a tree into plain values, and says everything that is wrong with it at once.

use std::time::Duration;

use crate::rules::diagnostic::{Diagnostic, Source, Span};
use crate::rules::yaml::{Key, Node, Value};
use crate::words::{keys, limits};

/// Collects what is wrong while the rest of the file is still read.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The file.
    pub source: &'a Source,
    /// What was found so far.
    pub found: Vec<Diagnostic>,
}

/// A map whose keys are looked up by name. The name of the map stands before its keys in what is said about them.
#[derive(Clone, Copy, Debug)]
pub struct Map<'n> {
    name: &'n str,
    /// The entries as written.
    pub entries: &'n [(Key, Node)],
}

impl<'n> Map<'n> {
    /// A map; `name` is empty for the whole file.
    pub fn new(name: &'n str, entries: &'n [(Key, Node)]) -> Self {
        Self { name, entries }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(found, _)| found.name == key).map(|(_, node)| node)
    }

    /// The key itself, for its place.
    pub fn key(&self, key: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(found, _)| found.name == key).map(|(key, _)| key)
    }

    /// `retry.first`: how a key of this map is called in what is said.
    pub fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<'a> Reader<'a> {
    /// Nothing found yet.
    pub fn new(source: &'a Source) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Whether an error was found (a warning is none).
    pub fn failed(&self) -> bool {
        self.found.iter().any(Diagnostic::is_error)
    }

    /// What was found, in the order of the file.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| found.place.as_ref().map(|place| (place.line, place.column)));
        self.found
    }

    /// Notes an error with its place and the one thing to do.
    pub fn error(&mut self, span: Span, code: &'static str, what: impl Into<String>, help: impl Into<String>) {
        self.found.push(Diagnostic::error(code, what).at(self.source.place(span)).help(help));
    }

    /// Notes a value of the wrong kind.
    pub fn wrong(&mut self, name: &str, node: &Node, expected: &str, help: impl Into<String>) {
        if node.value == Value::Null {
            let what = format!("`{name}` has no value");
            self.error(
                node_or_before(self.source, node),
                "no-value",
                what,
                "write a value behind it, or remove the line",
            );
        } else {
            let what = format!("`{name}` must be {expected}, not {}", node.describe());
            self.error(node.span, "wrong-kind", what, help);
        }
    }

    /// The entries of a map.
    pub fn map<'n>(&mut self, name: &'n str, node: &'n Node, example: &str) -> Option<Map<'n>> {
        if let Value::Map(entries) = &node.value {
            return Some(Map::new(name, entries));
        }
        self.wrong(name, node, "a map of keys", format!("for example {name}: {example}"));
        None
    }

    /// Says of every key that is not one of `known` that it is not, with the nearest one that is.
    pub fn only(&mut self, map: &Map<'_>, known: &[&str]) {
        self.only_or(map, known, &[]);
    }

    /// The same; `others` are words of other tools, each with ours.
    pub fn only_or(&mut self, map: &Map<'_>, known: &[&str], others: &[(&str, &str)]) {
        for (key, _) in map.entries {
            if !known.contains(&key.name.as_str()) {
                let other = others.iter().find(|(other, _)| *other == key.name).map(|(_, ours)| *ours);
                let help = match other.or_else(|| nearest(&key.name, known)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("remove it, or use one of: {}", known.join(", ")),
                };
                self.error(key.span, "unknown-key", format!("there is no key `{}`", map.path(&key.name)), help);
            }
        }
    }

    /// A text that is not empty.
    pub fn text<'n>(&mut self, name: &str, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) => {
                self.error(
                    node.span,
                    "no-value",
                    format!("`{name}` is an empty text"),
                    "write a text, or remove the line",
                );
                None
            }
            _ => {
                let written = node.written(self.source);
                let help = match node.value {
                    Value::Number(_) | Value::Bool(_) => format!("put it in quotes: \"{written}\""),
                    _ => format!("write one text behind `{name}:`"),
                };
                self.wrong(name, node, "a text", help);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, name: &str, node: &Node) -> Option<bool> {
        if let Value::Bool(yes) = node.value {
            return Some(yes);
        }
        let help = match &node.value {
            Value::String(text) if ["yes", "on", "y"].contains(&text.to_lowercase().as_str()) => {
                "write true".to_owned()
            }
            Value::String(text) if ["no", "off", "n"].contains(&text.to_lowercase().as_str()) => {
                "write false".to_owned()
            }
            _ => "write true or false, without quotes".to_owned(),
        };
        self.wrong(name, node, "true or false", help);
        None
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, name: &str, node: &Node, least: u64, most: u64) -> Option<u64> {
        let help = format!("write a whole number from {least} to {most}, without quotes");
        let Value::Number(number) = &node.value else {
            self.wrong(name, node, "a whole number", help);
            return None;
        };
        match number.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.error(
                    node.span,
                    "out-of-bounds",
                    format!("`{name}` must be {least} to {most}, not {number}"),
                    help,
                );
                None
            }
        }
    }

    /// A duration within bounds.
    pub fn duration(&mut self, name: &str, node: &Node, least: Duration, most: Duration) -> Option<Duration> {
        const EXAMPLES: &str = "write for example 15s, 10m, 2h, 3d or 1h30m";
        let text = match &node.value {
            Value::String(text) => text.as_str(),
            Value::Number(_) => node.written(self.source),
            _ => {
                self.wrong(name, node, "a duration", EXAMPLES);
                return None;
            }
        };
        match parse_duration(text) {
            Ok(duration) if (least..=most).contains(&duration) => Some(duration),
            Ok(duration) => {
                let bounds = format!("{} to {}", show_duration(least), show_duration(most));
                let what = format!("`{name}` must be {bounds}, not {}", show_duration(duration));
                self.error(node.span, "out-of-bounds", what, format!("write a duration from {bounds}"));
                None
            }
            Err(DurationError::NoUnit) => {
                let what = format!("`{name}` needs a unit: {} of what?", text.trim());
                let help = format!("a duration needs a unit, for example {}s", text.trim());
                self.error(node.span, "duration", what, help);
                None
            }
            Err(DurationError::Nonsense) => {
                self.error(node.span, "duration", format!("`{name}` is no duration: {text:?}"), EXAMPLES);
                None
            }
        }
    }

    /// `10/1m`: so many in a window of time; `{rate: 10/1m, burst: 3}`: no more than three of them at once.
    pub fn rate(&mut self, name: &str, node: &Node) -> Option<Rate> {
        if let Value::Map(entries) = &node.value {
            let map = Map::new(name, entries);
            self.only(&map, &keys::RATE.names());
            let Some(node) = map.get("rate") else {
                let what = format!("`{name}` does not say how many");
                self.error(node.span, "missing-key", what, "write for example {rate: 20/1m, burst: 5}");
                return None;
            };
            let rate = self.rate_text(&map.path("rate"), node)?;
            let burst = map.get("burst").map(|node| self.integer(&map.path("burst"), node, 1, rate.count.into()));
            let burst = match burst {
                Some(burst) => Some(u32::try_from(burst?).ok()?),
                None => None,
            };
            return Some(Rate { burst, ..rate });
        }
        self.rate_text(name, node)
    }

    fn rate_text(&mut self, name: &str, node: &Node) -> Option<Rate> {
        const EXAMPLES: &str = "write for example 20/1m: at most 20 in any minute";
        let Value::String(text) = &node.value else {
            self.wrong(name, node, "a number of requests per duration", EXAMPLES);
            return None;
        };
        match parse_rate(text) {
            Ok(rate) => Some(rate),
            Err(why) => {
                self.error(node.span, "rate-limit", format!("`{name}`: {why}"), EXAMPLES);
                None
            }
        }
    }

    /// One text, or a list of texts, each with its place.
    pub fn texts<'n>(&mut self, name: &str, node: &'n Node) -> Vec<(&'n str, Span)> {
        match &node.value {
            Value::List(entries) => {
                entries.iter().filter_map(|entry| Some((self.text(name, entry)?, entry.span))).collect()
            }
            Value::String(_) => self.text(name, node).map(|text| (text, node.span)).into_iter().collect(),
            _ => {
                self.wrong(name, node, "a text or a list of texts", format!("for example {name}: [a, b]"));
                Vec::new()
            }
        }
    }

    /// `{secret: NAME}`. What stands there instead may be the secret itself, so it is not shown.
    pub fn secret<'n>(&mut self, name: &str, node: &'n Node) -> Option<&'n str> {
        if let Value::Map(entries) = &node.value
            && let [(key, value)] = entries.as_slice()
            && key.name == "secret"
        {
            return self.text("secret", value);
        }
        let place = self.source.place(node.span).masked();
        self.found.push(
            Diagnostic::error("wrong-kind", format!("`{name}` must name a secret"))
                .at(place)
                .help(format!("write {name}: {{secret: NAME}} and put the value into secrets.d/NAME")),
        );
        None
    }
}

/// An absent value has no width; its place is shown all the same.
fn node_or_before(source: &Source, node: &Node) -> Span {
    let before = source.text[..node.span.start.min(source.text.len())].trim_end();
    if node.span.end > node.span.start {
        node.span
    } else {
        Span { start: before.len().saturating_sub(1), end: before.len() }
    }
}

/// The word of `known` that was probably meant.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let word = plain(word);
    let scored = known.iter().map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), *known));
    let (distance, near) = scored.min_by_key(|(distance, _)| *distance)?;
    let longer = word.chars().count().max(near.chars().count());
    // One letter may be wrong in a word of two, such as `id`.
    (distance * 3 <= longer.max(3) && distance < longer).then_some(near)
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// A bare number.
    NoUnit,
    /// Anything else.
    Nonsense,
}

/// `15s`, `500ms`, `1h30m`, `1h 30m`, `3d`, `2w`.
///
/// # Errors
/// It is none.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Nonsense);
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(DurationError::NoUnit);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| DurationError::Nonsense)?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let millis = unit_millis(&rest[..letters]).ok_or(DurationError::Nonsense)?;
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or(DurationError::Nonsense)?;
        total = total.checked_add(part).ok_or(DurationError::Nonsense)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1000,
        "m" | "min" | "minute" | "minutes" => 60 * 1000,
        "h" | "hour" | "hours" => 3600 * 1000,
        "d" | "day" | "days" => 24 * 3600 * 1000,
        "w" | "week" | "weeks" => 7 * 24 * 3600 * 1000,
        _ => return None,
    })
}

/// A duration as one would write it: `1h30m`.
pub fn show_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, name) in [(24 * 3600 * 1000, "d"), (3600 * 1000, "h"), (60 * 1000, "m"), (1000, "s"), (1, "ms")] {
        if millis >= unit {
            text.push_str(&format!("{}{name}", millis / unit));
            millis %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// So many in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At most this many …
    pub count: u32,
    /// … in any window of this length.
    pub window: Duration,
    /// No more than this many at once: the rest of the window is shared out evenly.
    pub burst: Option<u32>,
}

impl Rate {
    /// So many in a window, as many of them at once as may be.
    pub fn new(count: u32, window: Duration) -> Self {
        Self { count, window, burst: None }
    }

    /// The burst, and the share of the window in which there is no more than one of it.
    pub fn burst_window(&self) -> Option<(u32, Duration)> {
        let burst = self.burst.filter(|burst| *burst < self.count)?;
        Some((burst, self.window.mul_f64(f64::from(burst) / f64::from(self.count.max(1)))))
    }
}

/// `20/1m`, `20/m`: at most 20 in any minute.
///
/// # Errors
/// What is wrong with it.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let (count, window) = text.split_once('/').ok_or_else(|| format!("{text:?} is not N/duration"))?;
    let (count, window) = (count.trim(), window.trim());
    let count: u32 = count.parse().map_err(|_| format!("{count:?} is not a whole number of requests"))?;
    if count == 0 || count as usize > limits::PACE_WINDOW {
        return Err(format!("the number of requests must be 1 to {}", limits::PACE_WINDOW));
    }
    let window = match unit_millis(window) {
        Some(millis) => Duration::from_millis(millis),
        None => parse_duration(window).map_err(|error| match error {
            DurationError::NoUnit => format!("{window} of what? the duration behind / needs a unit"),
            DurationError::Nonsense => format!("{window:?} is no duration"),
        })?,
    };
    if !(limits::PACE_WINDOW_SHORTEST..=limits::PACE_WINDOW_LONGEST).contains(&window) {
        let (least, most) = (limits::PACE_WINDOW_SHORTEST, limits::PACE_WINDOW_LONGEST);
        return Err(format!("the window must be {} to {}", show_duration(least), show_duration(most)));
    }
    Ok(Rate::new(count, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("15s", seconds(15)),
            ("500ms", Duration::from_millis(500)),
            ("1h30m", seconds(5400)),
            ("1h 30 min", seconds(5400)),
            ("3d", seconds(3 * 86400)),
            ("2w", seconds(14 * 86400)),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for bare in ["15", "1.5", " 3 "] {
            assert_eq!(parse_duration(bare), Err(DurationError::NoUnit), "{bare}");
        }
        for nonsense in ["", "s", "15x", "-3s", "1.5h", "15s 3", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(nonsense), Err(DurationError::Nonsense), "{nonsense}");
        }
        assert_eq!(show_duration(seconds(5400)), "1h30m");
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn rates() {
        let minute = Duration::from_secs(60);
        assert_eq!(parse_rate("10/1m"), Ok(Rate::new(10, minute)));
        assert_eq!(parse_rate("10 / m"), Ok(Rate::new(10, minute)));
        for wrong in ["10", "0/1m", "x/1m", "10/60", "10/", "10001/1m", "1/400d", "10/0s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_word_that_was_meant() {
        let known = ["events", "platform", "rate_limit", "when", "retry"];
        assert_eq!(nearest("event", &known), Some("events"));
        assert_eq!(nearest("ratelimit", &known), Some("rate_limit"));
        assert_eq!(nearest("rate-limit", &known), Some("rate_limit"));
        assert_eq!(nearest("platfrom", &known), Some("platform"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("x", &known), None);
    }
}
