//! The pieces of a text that must stay whole, and what opens and closes in it.

use std::str::FromStr;

use crate::words::limits;

/// What a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// Plain text; `<…>` is a mention on some platforms and stays whole.
    Text,
    /// Markdown.
    Markdown,
    /// Slack's mrkdwn, also Google Chat's.
    Mrkdwn,
    /// HTML.
    Html,
    /// Telegram's MarkdownV2.
    MarkdownV2,
}

impl FromStr for Markup {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "text" => Ok(Self::Text),
            "markdown" => Ok(Self::Markdown),
            "mrkdwn" => Ok(Self::Mrkdwn),
            "html" => Ok(Self::Html),
            "markdownv2" => Ok(Self::MarkdownV2),
            _ => Err(format!("a markup is text, markdown, mrkdwn, html or markdownv2, not {word}")),
        }
    }
}

/// Something that stays whole.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// Whether it belongs to the one before it, as a combining mark does.
    joins_before: bool,
    /// … or to the one behind it.
    joins_after: bool,
    change: Change,
}

/// What it does to what is open.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Open(Box<Open>),
    Close,
}

/// Something that is open: how it is closed, and opened again in the next part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) close: String,
    pub(super) again: String,
}

impl Token<'_> {
    /// Whether a piece may end behind it. Behind what opens, and before what closes, would stand an empty pair.
    pub(super) fn may_end(&self, next: Option<&Token<'_>>) -> bool {
        let inside = matches!(self.change, Change::Open(_)) || self.joins_after;
        next.is_none_or(|next| !inside && !next.joins_before && !matches!(next.change, Change::Close))
    }

    pub(super) fn change(&self, open: &mut Vec<Open>) {
        match &self.change {
            Change::Nothing => {}
            Change::Open(one) => open.push((**one).clone()),
            Change::Close => drop(open.pop()),
        }
    }
}

/// Reads the first `until` bytes of a text; what begins there is read to its end. The tokens together are the text. A span
/// of more bytes than `most` is not whole: it would not fit anywhere, so it is opened and closed, as fences are.
pub(super) fn read(text: &str, until: usize, markup: Markup, most: usize) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut at = 0;
    while at < until {
        let rest = &text[at..text.floor_char_boundary(at.saturating_add(most).saturating_add(8))];
        let line_begins = at == 0 || text.as_bytes()[at - 1] == b'\n';
        let (len, change) = match markup {
            Markup::Text => (tag(rest, most).unwrap_or(0), Change::Nothing),
            Markup::Markdown | Markup::Mrkdwn => match spans(rest, line_begins, markup, most, &mut open) {
                (0, Change::Nothing) if open.is_empty() => long_span(text, at, markup, &mut open),
                found => found,
            },
            Markup::Html => html(rest, &mut open),
            Markup::MarkdownV2 => markdown_v2(rest, most, &mut open),
        };
        let len = if len == 0 { rest.chars().next().map_or(1, char::len_utf8) } else { len };
        let first = rest.chars().next().unwrap_or_default();
        // What closes must not stand behind a backslash, which would take its meaning.
        let joins_after = first == '\u{200d}' || (&rest[..len] == "\\" && markup != Markup::Text);
        tokens.push(Token { text: &rest[..len], joins_before: joins(first), joins_after, change });
        at += len;
    }
    tokens
}

/// Marks, variation selectors, skin tones and joiners belong to the character before them.
fn joins(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{20d0}'..='\u{20ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}')
}

/// `<…>` on one line.
fn tag(rest: &str, most: usize) -> Option<usize> {
    let inner = rest.strip_prefix('<')?;
    let end = inner.find(['>', '\n', '<']).filter(|end| *end < most)?;
    inner[end..].starts_with('>').then_some(end + 2)
}

/// `&…;`
fn entity(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('&')?;
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '#').filter(|end| *end < 10)?;
    inner[end..].starts_with(';').then_some(end + 2)
}

/// Markdown and mrkdwn: a stray star is no markup there, so spans count only when they end on their line.
fn spans<'a>(
    rest: &'a str,
    line_begins: bool,
    markup: Markup,
    most: usize,
    open: &mut Vec<&'a str>,
) -> (usize, Change) {
    if line_begins && rest.starts_with("```") {
        let line = rest.find('\n').map_or("```", |end| &rest[..=end]);
        if open.pop().is_some() {
            return (line.len().min(3), Change::Close);
        }
        open.push("```");
        let again = format!("{}\n", line.trim_end_matches('\n'));
        return (line.len(), Change::Open(Box::new(Open { close: "\n```".to_owned(), again })));
    }
    let known =
        || tag(rest, most).or_else(|| entity(rest)).or_else(|| escape(rest, markup)).or_else(|| link(rest, most));
    match open.last() {
        Some(&"```") => (0, Change::Nothing),
        Some(mark) if rest.starts_with(mark) => {
            let len = mark.len();
            open.pop();
            (len, Change::Close)
        }
        Some(&"`") => (0, Change::Nothing),
        Some(_) => (known().unwrap_or(0), Change::Nothing),
        None => {
            let span = || MARKS.iter().find_map(|mark| span(rest, mark, markup, most));
            (known().or_else(span).unwrap_or(0), Change::Nothing)
        }
    }
}

/// What stands around spans; the longer ones first.
const MARKS: [&str; 8] = ["**", "__", "~~", "||", "`", "*", "_", "~"];

/// A mark that closes on its line, but too far away to stay whole. Each is looked for once: what is found is open until then,
/// and what is not found does not stand on the line again.
fn long_span<'a>(text: &'a str, at: usize, markup: Markup, open: &mut Vec<&'a str>) -> (usize, Change) {
    let rest = &text[at..];
    let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) else { return (0, Change::Nothing) };
    let inner = &rest[mark.len()..];
    // `a_b` and `2 * 3` are no markup.
    let begins = text[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() || mark.len() == 2);
    let begins = begins && inner.starts_with(|first: char| !first.is_whitespace());
    if !begins || closes(inner, mark, markup).is_none_or(|end| end == 0) {
        return (0, Change::Nothing);
    }
    open.push(mark);
    let one = Open { close: (*mark).to_owned(), again: (*mark).to_owned() };
    (mark.len(), Change::Open(Box::new(one)))
}

/// Where a mark stands again on the same line; one that a backslash makes a character of is none.
fn closes(inner: &str, mark: &str, markup: Markup) -> Option<usize> {
    let (bytes, escapes) = (inner.as_bytes(), markup != Markup::Mrkdwn && mark != "`");
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'\n' {
        if escapes && bytes[at] == b'\\' && bytes.get(at + 1).is_some_and(u8::is_ascii_punctuation) {
            at += 2;
        } else if bytes[at..].starts_with(mark.as_bytes()) {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// A backslash and what it escapes.
fn escape(rest: &str, markup: Markup) -> Option<usize> {
    let escaped = rest.strip_prefix('\\').filter(|_| markup != Markup::Mrkdwn)?.chars().next()?;
    escaped.is_ascii_punctuation().then(|| 1 + escaped.len_utf8())
}

/// `[…](…)`, `![…](…)`
fn link(rest: &str, most: usize) -> Option<usize> {
    let text = rest.strip_prefix('!').unwrap_or(rest).strip_prefix('[')?;
    let middle = text.find("](").filter(|end| *end < most / 2 && !text[..*end].contains('\n'))?;
    let target = &text[middle + 2..];
    let end = target.find([')', '\n']).filter(|end| *end < most / 2 && target[*end..].starts_with(')'))?;
    Some(rest.len() - target.len() + end + 1)
}

/// From one mark to the next on the same line.
fn span(rest: &str, mark: &str, markup: Markup, most: usize) -> Option<usize> {
    let inner = rest.strip_prefix(mark)?;
    let end = closes(inner, mark, markup).filter(|end| *end > 0 && *end < most)?;
    Some(mark.len() + end + mark.len())
}

fn html<'a>(rest: &'a str, open: &mut Vec<&'a str>) -> (usize, Change) {
    if let Some(len) = entity(rest) {
        return (len, Change::Nothing);
    }
    let Some(end) = rest.strip_prefix('<').and_then(|inner| inner.find('>')) else { return (0, Change::Nothing) };
    let whole = &rest[..end + 2];
    let name = |text: &'a str| text.split([' ', '\n', '/', '>']).next().unwrap_or_default();
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !is_name(name(whole[1..].trim_start_matches('/'))) {
        return (0, Change::Nothing);
    }
    match whole[1..].strip_prefix('/') {
        Some(closed) if open.last() == Some(&name(closed)) => {
            open.pop();
            (whole.len(), Change::Close)
        }
        Some(_) => (whole.len(), Change::Nothing),
        None if whole.ends_with("/>") => (whole.len(), Change::Nothing),
        None => {
            let name = name(&whole[1..]);
            open.push(name);
            let one = Open { close: format!("</{name}>"), again: whole.to_owned() };
            (whole.len(), Change::Open(Box::new(one)))
        }
    }
}

/// In MarkdownV2 every mark that is not escaped opens or closes something.
fn markdown_v2<'a>(rest: &'a str, most: usize, open: &mut Vec<&'a str>) -> (usize, Change) {
    if let Some(escaped) = rest.strip_prefix('\\').and_then(|after| after.chars().next()) {
        return (1 + escaped.len_utf8(), Change::Nothing);
    }
    let in_code = open.last().is_some_and(|mark| mark.starts_with('`'));
    let marks: &[&str] = if in_code { &["```", "`"] } else { &["```", "`", "__", "||", "*", "_", "~"] };
    let Some(mark) = marks.iter().find(|mark| rest.starts_with(**mark)) else {
        let whole = if in_code { None } else { link(rest, most) };
        return (whole.unwrap_or(0), Change::Nothing);
    };
    if in_code && open.last() != Some(mark) {
        return (mark.len(), Change::Nothing);
    }
    if open.last() == Some(mark) {
        open.pop();
        return (mark.len(), Change::Close);
    }
    open.push(mark);
    (mark.len(), Change::Open(Box::new(Open { close: (*mark).to_owned(), again: (*mark).to_owned() })))
}

/// The words of a text without its markup, for a platform that refuses it.
pub fn plain(text: &str, markup: Markup) -> String {
    let mut out = String::with_capacity(text.len());
    for token in read(text, text.len(), markup, limits::MARKUP_SPAN) {
        match (markup, &token.change) {
            (Markup::Html | Markup::MarkdownV2, Change::Open(_) | Change::Close) => {}
            (Markup::Html, _) if token.text.starts_with('<') && token.text.len() > 1 => {}
            (Markup::Html, _) if token.text.starts_with('&') => out.push_str(entity_text(token.text)),
            (Markup::MarkdownV2, _) if token.text.starts_with('\\') => out.push_str(&token.text[1..]),
            (Markup::MarkdownV2, _) if token.text.ends_with(')') && token.text.contains("](") => {
                let shown = token.text.trim_start_matches('!').trim_start_matches('[').trim_end_matches(')');
                let (name, target) = shown.split_once("](").unwrap_or((shown, ""));
                out.push_str(&format!("{} ({})", plain(name, markup), target.replace('\\', "")));
            }
            _ => out.push_str(token.text),
        }
    }
    out
}

fn entity_text(entity: &str) -> &str {
    match entity {
        "&lt;" => "<",
        "&gt;" => ">",
        "&amp;" => "&",
        "&quot;" => "\"",
        "&#39;" | "&apos;" => "'",
        other => other,
    }
}
