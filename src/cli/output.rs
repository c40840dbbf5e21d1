//! What a person sees: colour, tables, times. Programs read `--json`.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::Value as Json;

use crate::cli::exit::Exit;
pub(crate) use crate::words::plural::count;

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Waits, or is doubtful.
pub(crate) const WAITS: Style = AnsiColor::Yellow.on_default();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// Beside the point.
pub(crate) const DIM: Style = Style::new().dimmed();
/// Headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// No style.
pub(crate) const PLAIN: Style = Style::new();

/// Prints a line of the result. Escapes are left out where nobody would see colours.
pub(crate) fn say(text: impl Display) -> Result<(), Exit> {
    writeln!(anstream::stdout(), "{text}").map_err(|error| Exit::stdout(&error))
}

/// Prints bytes as they are: a request that is piped elsewhere must not be touched.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Exit> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Exit::stdout(&error))
}

/// Prints one object on one line.
pub(crate) fn json(value: &Json) -> Result<(), Exit> {
    bytes(format!("{value}\n").as_bytes())
}

/// Says something beside the result. That nobody reads stderr is no reason to stop.
pub(crate) fn message(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Whether a person reads the result.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// The columns of the terminal; `None` where the result does not go to one, so nothing needs to be cut.
pub(crate) fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let columns = rustix::termios::tcgetwinsize(&stdout).map(|size| usize::from(size.ws_col)).unwrap_or(0);
    // Serial consoles say 0.
    Some(if columns == 0 { 80 } else { columns })
}

/// A text in a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// The colour of an outcome, a verdict or a hook's state.
pub(crate) fn style_of(word: &str) -> Style {
    match word {
        "delivered" | "ready" => GOOD,
        "waiting" | "retry" | "pause" | "paused" | "paced" | "pace" | "breaker" | "failing" | "busy" => WAITS,
        "dead" | "reject" | "hold" | "held" | "dropped" | "secret missing" => BAD,
        _ => PLAIN,
    }
}

/// Foreign text on one line without control characters: a receiver's answer must not drive somebody's terminal.
pub(crate) fn clean_line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '\u{FFFD}',
            c => c,
        })
        .collect()
}

/// The same, with its lines kept.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

/// A member of an object as text; empty when it is not there.
pub(crate) fn text(object: &Json, key: &str) -> String {
    match &object[key] {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// A member of an object as a number; 0 when it is not there.
pub(crate) fn number(object: &Json, key: &str) -> u64 {
    object[key].as_u64().unwrap_or(0)
}

/// A member of an object as a list; empty when it is not there.
pub(crate) fn list<'a>(object: &'a Json, key: &str) -> &'a [Json] {
    object[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A list of names in words: `a, b`.
pub(crate) fn names(object: &Json, key: &str) -> String {
    let names: Vec<&str> = list(object, key).iter().filter_map(Json::as_str).collect();
    names.join(", ")
}

/// A member that is a time, on the clock of the person who reads it.
pub(crate) fn time(object: &Json, key: &str) -> String {
    let text = text(object, key);
    text.parse().map(|time| local_time(time, &TimeZone::system())).unwrap_or(text)
}

/// A member that is a time, seen from now: `in 4m 3s`, `now`.
pub(crate) fn relative(object: &Json, key: &str) -> Option<String> {
    let time: Timestamp = text(object, key).parse().ok()?;
    let ahead = time.duration_since(Timestamp::now());
    Some(match Duration::try_from(ahead) {
        Ok(ahead) if ahead > Duration::from_millis(500) => format!("in {}", rough(ahead.max(Duration::from_secs(1)))),
        _ => "now".to_owned(),
    })
}

fn local_time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A duration in its two largest units: `3d 4h`, `12s`.
pub(crate) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// A point in time as people say it: `1h` (ago), `2026-11-22T13:00:00Z`, `2026-11-22`, `2026-11-22 13:00` (local).
///
/// # Errors
/// What would have been understood.
pub(crate) fn point_in_time(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(local) = text.parse::<jiff::civil::DateTime>() {
        return zone.to_timestamp(local).map_err(|error| error.to_string());
    }
    let ago = text.parse::<Span>().ok().and_then(|ago| ago.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    ago.filter(|ago| !ago.is_negative())
        .and_then(|ago| now.checked_sub(ago).ok())
        .ok_or_else(|| format!("`{text}` is no time: say 1h, 2d, 2026-11-22 or 2026-11-22T13:00:00Z"))
}

/// A text in a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

/// A cell with foreign text made harmless.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    styled(text, PLAIN)
}

/// A cell in a style.
pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Cell {
    Cell { text: clean_line(text.as_ref()), style }
}

/// A table that is printed row by row: a column never shrinks, so rows that come later still line up.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    widths: Vec<usize>,
    limit: Option<usize>,
}

impl Columns {
    /// Columns that are cut at the terminal's width, when there is one.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { widths: Vec::new(), limit }
    }

    /// Makes room for a row that is going to be printed.
    pub(crate) fn measure(&mut self, row: &[Cell]) {
        self.widths.resize(self.widths.len().max(row.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(columns_of(&cell.text));
        }
    }

    /// One line.
    pub(crate) fn line(&mut self, row: &[Cell]) -> String {
        self.measure(row);
        let mut line = String::new();
        let mut used = 0;
        for (index, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            let room = self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(used));
            let text = cut(&cell.text, room);
            let last = row[index + 1..].iter().all(|cell| cell.text.is_empty());
            let padding = if last { 0 } else { (width + 2).min(room).saturating_sub(columns_of(&text)) };
            used += columns_of(&text) + padding;
            line.push_str(&paint(cell.style, &text));
            line.push_str(&" ".repeat(padding));
            if last {
                break;
            }
        }
        line
    }

    /// Prints a whole table.
    pub(crate) fn print(mut self, head: &[&str], rows: &[Vec<Cell>]) -> Result<(), Exit> {
        let head: Vec<Cell> = head.iter().map(|name| styled(name, DIM)).collect();
        self.measure(&head);
        rows.iter().for_each(|row| self.measure(row));
        say(self.line(&head))?;
        rows.iter().try_for_each(|row| say(self.line(row)))
    }
}

/// A text cut to so many columns, with a mark where it was cut.
fn cut(text: &str, room: usize) -> String {
    if columns_of(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += columns_of_char(c);
        if used + 1 > room {
            break;
        }
        kept.push(c);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// A text in lines that are as wide as the terminal, if there is one; all but the first are indented.
pub(crate) fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(room) = width.map(|width| width.saturating_sub(indent).max(20)) else { return text.to_owned() };
    let (mut lines, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let wide = columns_of(word);
        if used > 0 && used + 1 + wide > room {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += wide;
    }
    lines
}

fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

/// Chinese, Japanese and Korean characters and emoji take two columns. Hooks are often named and explained in them.
fn columns_of_char(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_go_on_under_themselves() {
        let text = "in the group: 群机器人 then Add and copy it";
        assert_eq!(wrapped(text, 2, None), text);
        assert_eq!(wrapped(text, 2, Some(24)), "in the group: 群机器人\n  then Add and copy it");
    }

    #[test]
    fn columns_line_up_also_with_wide_characters() {
        let rows =
            [vec![cell("ops"), cell("delivered"), cell("")], vec![cell("应用发布"), cell("retry"), cell("busy")]];
        let mut columns = Columns::new(None);
        rows.iter().for_each(|row| columns.measure(row));
        assert_eq!(columns.line(&rows[0]), "ops       delivered");
        assert_eq!(columns.line(&rows[1]), "应用发布  retry      busy");
    }

    #[test]
    fn a_line_is_cut_to_the_terminal() {
        let row = [cell("ops"), cell("the receiver said no")];
        assert_eq!(Columns::new(Some(12)).line(&row), "ops  the re…");
        assert_eq!(Columns::new(Some(3)).line(&row), "ops");
        assert_eq!(Columns::new(Some(80)).line(&row), "ops  the receiver said no");
        for limit in 0..40 {
            let line = Columns::new(Some(limit)).line(&[cell("应用"), cell("发布成功"), cell("ok")]);
            assert!(columns_of(&line) <= limit, "{limit}: {line}");
        }
    }

    #[test]
    fn colours_take_no_room() {
        let row = [styled("dead", BAD), cell("x")];
        let line = Columns::new(Some(7)).line(&row);
        assert_eq!(anstream::adapter::strip_str(&line).to_string(), "dead  x");
        assert!(line.contains('\u{1b}'));
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(clean_line("a\u{1b}[31mb\r\nc\u{9b}d"), "a\u{FFFD}[31mb  c\u{FFFD}d");
        assert_eq!(clean("a\n\tb\u{7}"), "a\n\tb\u{FFFD}");
    }

    #[test]
    fn durations_are_rough() {
        for (seconds, said) in [(0, "0s"), (59, "59s"), (60, "1m 0s"), (7_260, "2h 1m"), (90_000, "1d 1h")] {
            assert_eq!(rough(Duration::from_secs(seconds)), said);
        }
    }

    #[test]
    fn points_in_time_as_people_say_them() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        for (said, meant) in [
            ("1h", "2026-11-22T11:00:00Z"),
            ("2d", "2026-11-20T12:00:00Z"),
            ("2026-11-22T13:00:00Z", "2026-11-22T13:00:00Z"),
            ("2026-11-22T13:00:00+08:00", "2026-11-22T05:00:00Z"),
            ("2026-11-22", "2026-11-21T16:00:00Z"),
            ("2026-11-22 13:00", "2026-11-22T05:00:00Z"),
        ] {
            assert_eq!(point_in_time(said, now, &zone).map(|time| time.to_string()), Ok(meant.to_owned()), "{said}");
        }
        for wrong in ["", "yesterday", "-1h", "5"] {
            assert!(point_in_time(wrong, now, &zone).is_err(), "{wrong}");
        }
        assert_eq!(local_time(now, &zone), "2026-11-22 20:00:00");
    }
}
