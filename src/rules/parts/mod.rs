//! A long text as messages of at most so much: cut, or in numbered parts, never inside a character or markup.
//!
//! A limit counts what its platform counts: bytes, characters, UTF-16 units, or bytes as JSON writes them. What is open
//! where a part ends (a fence, bold) is closed there and opened again in the next one. Cuts are made behind a line if that
//! leaves no half-empty part, else behind a word, else between two tokens of the markup (`tokens`).

mod tokens;

use std::str::FromStr;

use self::tokens::{Open, Token};
use crate::words::limits;

pub use self::tokens::{Markup, plain};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of UTF-8.
    Bytes,
    /// Characters (code points).
    Chars,
    /// UTF-16 code units.
    Utf16,
    /// Bytes of UTF-8 once JSON has escaped it, and what a line break weighs besides.
    Json(usize),
    /// The same by a writer of JSON that makes escapes of `<`, `>` and `&` as well.
    JsonHtml,
}

/// What is done with a text that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It goes out in several messages.
    Split,
    /// Its end is cut off.
    Truncate,
    /// It is refused.
    Fail,
}

/// How a text has to be.
#[derive(Clone, Copy, Debug)]
pub struct Fit<'a> {
    /// How much one message takes.
    pub limit: usize,
    /// Of what.
    pub unit: Unit,
    /// What must not be cut.
    pub markup: Markup,
    /// What is done with a text that is too long.
    pub overflow: Overflow,
    /// What stands in front of each part: a keyword.
    pub head: &'a str,
    /// What stands at the end of the last one: mentions.
    pub tail: &'a str,
    /// Whose limit it is.
    pub of: &'a str,
}

const ELLIPSIS: &str = "…";
const EMPTY: &str = "the message is empty: this event has no data.message, so write the option message";

/// The text as messages; at least one.
///
/// # Errors
/// It is too long and is to be refused, or the limit leaves no room for anything.
pub fn parts(text: &str, fit: &Fit<'_>) -> Result<Vec<String>, String> {
    let Fit { limit, unit, head, tail, .. } = *fit;
    if text.is_empty() {
        return Err(EMPTY.to_owned());
    }
    let size = unit.of(head) + unit.of(text) + unit.of(tail);
    if size <= limit {
        return Ok(vec![[head, text, tail].concat()]);
    }
    // What cannot go out is not looked at: a character weighs something in every unit.
    let most = limit.saturating_mul(if fit.overflow == Overflow::Split { limits::PARTS } else { 1 });
    // What begins there may end a little later, and is whole only with its end.
    let most = most.saturating_add(limits::MARKUP_SPAN + 8);
    let until = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
    let tokens = tokens::read(text, until, fit.markup, (limit / 4).min(limits::MARKUP_SPAN));
    match fit.overflow {
        Overflow::Fail => Err(format!("the text has {size} {}, {} takes {limit}", unit.name(), fit.of)),
        Overflow::Truncate => {
            let room = room(limit, unit.of(head) + unit.of(ELLIPSIS) + unit.of(tail))?;
            let mut open = Vec::new();
            let piece = cut(&tokens, 0, &mut open, room, unit).text;
            Ok(vec![[head, &piece, tail].concat()])
        }
        Overflow::Split => split(&tokens, fit),
    }
}

/// The first line of a text on which something is said, with what is open in it closed; a longer one ends in `…`.
pub fn first_line(text: &str, markup: Markup, most: usize) -> String {
    let text = &text[..text.floor_char_boundary((most + limits::MARKUP_SPAN) * 4)];
    let tokens = tokens::read(text, text.len(), markup, limits::MARKUP_SPAN);
    let says = |line: &&[Token<'_>]| line.iter().any(|token| token.text.contains(char::is_alphanumeric));
    let mut lines = tokens.split(|token| token.text.ends_with('\n'));
    let line = lines.find(says).map(|line| cut(line, 0, &mut Vec::new(), most, Unit::Chars).text);
    let line = line.unwrap_or_default();
    let line = line.trim();
    // A line of a list is neither a heading nor a quotation.
    let bare = if markup == Markup::Markdown { line.trim_start_matches(['#', '>', ' ']) } else { line };
    bare.to_owned()
}

/// The tokens as numbered parts; what is too much even for the last one is cut off.
fn split(tokens: &[Token<'_>], fit: &Fit<'_>) -> Result<Vec<String>, String> {
    let Fit { limit, unit, head, tail, .. } = *fit;
    let numbered = unit.of(&number(limits::PARTS, limits::PARTS)) + unit.of(head) + unit.of("\n");
    let room_of_all = room(limit, numbered)?;
    let room_of_last = room(limit, numbered + unit.of(ELLIPSIS) + unit.of(tail))?;
    let mut pieces = Vec::new();
    let (mut at, mut open) = (0, Vec::new());
    loop {
        let before = open.clone();
        let last = cut(tokens, at, &mut open, room_of_last, unit);
        if last.end == tokens.len() || pieces.len() + 1 == limits::PARTS {
            pieces.push(last.text);
            break;
        }
        open = before;
        let next = cut(tokens, at, &mut open, room_of_all, unit);
        if next.end == tokens.len() {
            // It fits, but not beside the tail: the tail goes alone.
            pieces.push(next.whole);
            pieces.push(String::new());
            break;
        }
        at = next.end;
        pieces.push(next.whole);
    }
    let count = pieces.len();
    let numbered = pieces.into_iter().enumerate().map(|(n, piece)| {
        // A fence is one only at the beginning of a line.
        let between = if piece.starts_with("```") && !head.is_empty() { "\n" } else { "" };
        let mut part = [head, between, &piece].concat();
        let line = number(n + 1, count);
        part.push_str(if part.ends_with('\n') { line.trim_start() } else { &line });
        if n + 1 == count {
            part.push_str(tail);
        }
        part
    });
    Ok(numbered.collect())
}

/// How a part is numbered: in words that are no markup anywhere.
fn number(n: usize, count: usize) -> String {
    format!("\n— {n}/{count}")
}

fn room(limit: usize, taken: usize) -> Result<usize, String> {
    let room = limit.checked_sub(taken).filter(|room| *room > 0);
    room.ok_or_else(|| "what stands around the text leaves no room for it".to_owned())
}

/// A piece of a text.
struct Piece {
    /// Where the next one begins.
    end: usize,
    /// The piece with what is open in it closed.
    whole: String,
    /// The same, with an ellipsis if the text goes on.
    text: String,
}

/// The longest piece from `from` on that fits; `open` is what is open there, and then what is open at its end.
fn cut(tokens: &[Token<'_>], from: usize, open: &mut Vec<Open>, room: usize, unit: Unit) -> Piece {
    let around: usize = open.iter().map(|one| unit.of(&one.again) + unit.of(&one.close)).sum();
    if around > room / 2 {
        // Nobody nests so deep on purpose, and nothing would fit in between.
        open.clear();
    }
    let begin: String = open.iter().map(|one| one.again.as_str()).collect();
    let mut size = unit.of(&begin);
    let mut now = open.clone();
    // Where the piece may end, from the best kind of place to the worst: (token, size, what is open).
    let mut ends: [Option<(usize, usize, Vec<Open>)>; 3] = [None, None, None];
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        size += unit.of(token.text);
        if size > room {
            break;
        }
        token.change(&mut now);
        at += 1;
        let closing: usize = now.iter().rev().map(|one| unit.of(&one.close)).sum();
        if size + closing > room || !token.may_end(tokens.get(at)) {
            continue;
        }
        // Blanks before a mark are taken away, and a backslash before it would take its meaning.
        let says = |token: &&Token<'_>| !token.text.trim().is_empty();
        if !now.is_empty() && tokens[from..at].iter().rev().find(says).is_some_and(|last| last.text == "\\") {
            continue;
        }
        let kind = match token.text {
            "\n" => 0,
            text if text.ends_with(char::is_whitespace) => 1,
            _ => 2,
        };
        for end in &mut ends[kind..] {
            *end = Some((at, size, now.clone()));
        }
        if at == tokens.len() {
            ends = [Some((at, size, now.clone())), None, None];
        }
    }
    let enough = [room / 2, room / 4 * 3, 0];
    let found = ends
        .into_iter()
        .zip(enough)
        .find_map(|(end, least)| end.filter(|(at, size, _)| *at == tokens.len() || *size >= least));
    // Nothing fits: a limit that small is nobody's. One token keeps it going, cut to what there is.
    let (end, _, now) = found.unwrap_or_else(|| (from + 1, 0, open.clone()));
    let body: String = tokens[from..end.min(tokens.len())].iter().map(|token| token.text).collect();
    let close: String = now.iter().rev().map(|one| one.close.as_str()).collect();
    let body = unit.cut(&body, room.saturating_sub(unit.of(&begin) + unit.of(&close)));
    // A mark beside a space is no markup.
    let is_mark = |mark: &str| !mark.is_empty() && mark.bytes().all(|byte| b"*_~|`".contains(&byte)) && mark != "```";
    let body = if now.last().is_some_and(|one| is_mark(&one.close)) { body.trim_end() } else { body };
    let body = if is_mark(&begin) { body.trim_start() } else { body };
    let ellipsis = if end < tokens.len() { ELLIPSIS } else { "" };
    *open = now;
    Piece { end, whole: [&begin, body, &close].concat(), text: [&begin, body, ellipsis, &close].concat() }
}

impl Unit {
    /// How much a text is.
    pub fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Chars => text.chars().count(),
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
            Self::Json(line) => text.chars().map(|c| json_len(c) + if c == '\n' { line } else { 0 }).sum(),
            Self::JsonHtml => text.chars().map(json_html_len).sum(),
        }
    }

    fn cut(self, text: &str, room: usize) -> &str {
        let mut size = 0;
        let end = text.char_indices().find(|(_, c)| {
            size += self.of(c.encode_utf8(&mut [0; 4]));
            size > room
        });
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Chars => "characters",
            Self::Utf16 => "UTF-16 units",
            Self::Json(_) | Self::JsonHtml => "bytes in JSON",
        }
    }
}

/// How many bytes a character has in a JSON text.
fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        c => c.len_utf8(),
    }
}

fn json_html_len(c: char) -> usize {
    match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{8}' | '\u{c}' | '\u{7f}' => 6,
        c => json_len(c),
    }
}

impl FromStr for Unit {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "bytes" => Ok(Self::Bytes),
            "chars" => Ok(Self::Chars),
            "utf16" => Ok(Self::Utf16),
            "json" => Ok(Self::Json(0)),
            "json-html" => Ok(Self::JsonHtml),
            _ => Err(format!("a limit counts bytes, chars, utf16, json or json-html, not {word}")),
        }
    }
}

impl FromStr for Overflow {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "split" => Ok(Self::Split),
            "truncate" => Ok(Self::Truncate),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("overflow is split, truncate or fail, not {word}")),
        }
    }
}

#[cfg(test)]
mod tests;
