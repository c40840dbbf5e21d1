//! Why a text is not YAML, in the words of the person who wrote it. The parser's own texts speak of scanners and
//! tokens, and often point at the line after the mistake, so the line itself is looked at as well.

use serde_yaml::Error;

use crate::rules::diagnostic::{Diagnostic, Place, Source, Span};
use crate::words::limits;

/// Turns the parser's error into the mistake that was made.
pub(super) fn explain(source: &Source, error: &Error) -> Diagnostic {
    let error = error.without_snippet();
    let at = error.location().map_or(0, |location| {
        let counted = source.offset(location.line() as usize, location.column() as usize);
        location.span().byte_offset().map_or(counted, |at| at as usize).min(source.text.len())
    });
    let at = (0..=at).rev().find(|at| source.text.is_char_boundary(*at)).unwrap_or(0);
    let scene = Scene { source, at };
    match error {
        Error::DuplicateMappingKey { key, .. } => scene.duplicate_key(key.as_deref().unwrap_or_default()),
        Error::MultipleDocuments { .. } => scene.second_document(),
        Error::UnsupportedTag { tag, .. } => scene.tag(tag),
        Error::UnknownAnchor { .. } => scene.star(),
        Error::Unexpected { .. } => scene.odd_key(),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } | Error::Budget { .. } => {
            scene.too_complex()
        }
        Error::AliasError { error, .. } => explain(source, error),
        other => scene.syntax(&other.to_string()),
    }
}

/// The text and the byte where the parser gave up.
struct Scene<'a> {
    source: &'a Source,
    at: usize,
}

impl<'a> Scene<'a> {
    fn duplicate_key(&self, key: &str) -> Diagnostic {
        let indent = self.at - self.line_start();
        let earlier = self.source.text[..self.line_start()].lines().enumerate().filter(|(_, line)| {
            let trimmed = line.trim_start();
            line.len() - trimmed.len() == indent && trimmed.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
        });
        let found = Diagnostic::error("duplicate-key", format!("the key `{key}` stands here a second time"))
            .at(self.place(self.at, key.len()))
            .help("remove one of the two, or merge what they say");
        match earlier.last() {
            Some((line, _)) => found.note(format!("the first one is on line {}", line + 1)),
            None => found,
        }
    }

    fn second_document(&self) -> Diagnostic {
        // The parser points at the content of the second document; the person sees the dashes.
        let dashes = self.source.text[..self.at].rfind("\n---").map_or(self.at, |at| at + 1);
        Diagnostic::error("second-document", "a second document begins here")
            .at(self.place(dashes, 3))
            .help("one file holds one hook: move what follows `---` into a file of its own")
    }

    fn tag(&self, tag: &str) -> Diagnostic {
        let at = self.source.text[..self.at].rfind(tag).unwrap_or(self.at);
        let found = Diagnostic::error("tag", format!("`{tag}` in front of a value is not understood"))
            .at(self.place(at, tag.len()));
        if tag.contains("secret") || tag.contains("vault") || tag.contains("env") {
            found.help("to use a secret write {secret: NAME}")
        } else {
            found.help(format!("remove `{tag}`, or put the whole value in quotes"))
        }
    }

    /// `events: *.build` is an alias for YAML.
    fn star(&self) -> Diagnostic {
        let at = match self.before().rfind('*') {
            Some(at) if !self.source.text[self.at..].starts_with('*') => self.line_start() + at,
            _ => self.at,
        };
        let word = self.source.text[at..].split([' ', ',', ']', '}', '\n', '\r']).next().unwrap_or("*");
        Diagnostic::error("unquoted", "a value that begins with `*` needs quotes")
            .at(self.place(at, word.len()))
            .note("without quotes `*` refers to another part of the file")
            .help(format!("write {}{}", key_of(&self.source.text[self.line_start().min(at)..at]), quoted(word)))
    }

    fn odd_key(&self) -> Diagnostic {
        self.bare_template().unwrap_or_else(|| {
            Diagnostic::error("odd-key", "a key must be a word, not a list or a map")
                .at(self.here())
                .help("write `key: value`; a value that begins with { or [ needs quotes when it is meant as text")
        })
    }

    fn too_complex(&self) -> Diagnostic {
        let nodes = limits::YAML_NODES;
        Diagnostic::error("too-complex", format!("the file unfolds to more than {nodes} values"))
            .at(self.here())
            .help("write the values out where they are used, without `&` and `*`, and split long lists")
    }

    fn too_deep(&self) -> Diagnostic {
        Diagnostic::error("too-deep", format!("the file is nested deeper than {} levels", limits::YAML_DEPTH))
            .at(self.here())
            .help("look for a bracket [ or { that is opened again and again")
    }

    fn syntax(&self, said: &str) -> Diagnostic {
        if said.contains("recursion limit") || said.contains("nesting") {
            return self.too_deep();
        }
        if said.contains("duplicate") {
            return self.duplicate_key(self.line().trim().split(':').next().unwrap_or_default());
        }
        if let Some(found) = self.tab().or_else(|| self.bare_template()) {
            return found;
        }
        if said.contains("unclosed quote") || said.contains("quoted scalar") && said.contains("indentation") {
            return Diagnostic::error("quote", "the quote that opens here is never closed")
                .at(self.here())
                .help("close it at the end of the value; inside '…' a quote is written twice, inside \"…\" as \\\"");
        }
        if said.contains("unknown escape") || said.contains("escape") {
            return self.escape();
        }
        if said.contains("trailing content") {
            let help = match self.before().contains('"') {
                true => "put the whole value in one pair of quotes; a quote inside \"…\" is written \\\"",
                false => "put the whole value in one pair of quotes; a quote inside '…' is written twice: ''",
            };
            return Diagnostic::error("quote", "the text goes on after the closing quote").at(self.here()).help(help);
        }
        if said.contains("unexpected character") {
            return self.character();
        }
        if said.contains("anchor or alias") {
            return self.star();
        }
        if said.contains("mapping values are not allowed") {
            return self.colon();
        }
        if said.contains("simple key expected") {
            return self.no_colon(self.line_start());
        }
        if said.contains("block scalar") {
            return Diagnostic::error("block-text", "the text of a block begins on the line below its `|` or `>`")
                .at(self.here())
                .help("move the text to the next line and indent it, or put it in quotes");
        }
        if said.contains("sequence entries are not allowed") {
            return Diagnostic::error("indentation", "a list entry cannot stand on the line of its key")
                .at(self.here())
                .help("put `- …` on a line of its own below the key, or write [a, b]");
        }
        if said.contains("'-' indicator") || said.contains("block collection") || said.contains("block sequence") {
            return Diagnostic::error("indentation", "a key stands where the list above expects `- …`")
                .at(self.here_word())
                .help("indent the list below its key, or begin this line with `- `");
        }
        if ["flow", "bracket", "indicator", "unclosed"].iter().any(|word| said.contains(word)) {
            return self.bracket();
        }
        if said.contains("expected key") || said.contains("indent") {
            return Diagnostic::error("indentation", "the indentation of this line fits none of the lines above")
                .at(self.here_word())
                .help("begin it in the same column as the keys it belongs to");
        }
        Diagnostic::error("yaml", "this cannot be read as YAML")
            .at(self.here_word())
            .help("check quotes, colons and indentation on this line and on the one above")
    }

    /// Tabs look like indentation and are not. The parser may have stopped on the line before.
    fn tab(&self) -> Option<Diagnostic> {
        let mut start = self.line_start();
        for line in self.source.text[start..].split_inclusive('\n').take(2) {
            let blank = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
            if let Some(tab) = blank.find('\t') {
                return Some(
                    Diagnostic::error("tab", "this line is indented with a tab")
                        .at(self.place(start + tab, blank.len() - tab))
                        .help("indent with spaces: YAML allows no tabs there"),
                );
            }
            start += line.len();
        }
        None
    }

    /// `title: {{ x }}` without quotes is a map in a map.
    fn bare_template(&self) -> Option<Diagnostic> {
        let line = self.line();
        let begin = ["{{", "{%", "{#"].iter().filter_map(|open| line.find(open)).min()?;
        let before = &line[..begin];
        if before.contains('#') || before.matches('"').count() % 2 == 1 || before.matches('\'').count() % 2 == 1 {
            return None;
        }
        let in_list_or_map = before.contains(['[', '{']);
        let value = match in_list_or_map {
            true => before.rfind([':', ',', '[', '{']).map_or(0, |at| at + 1),
            // Another colon behind that of the key is part of the value.
            false => before.find(": ").or_else(|| before.find("- ")).map_or(0, |at| at + 1),
        };
        let value = value + line[value..].len() - line[value..].trim_start().len();
        let end = if in_list_or_map { end_of_template(line, begin) } else { line.trim_end().len() };
        Some(
            Diagnostic::error("unquoted", "a value with {{ }} or {% %} in it needs quotes")
                .at(self.place(self.line_start() + value, end - value))
                .note("without quotes { begins a map")
                .help(format!("write {}{}", key_of(&before[..value]), quoted(&line[value..end]))),
        )
    }

    fn escape(&self) -> Diagnostic {
        // The parser points at the start of the value.
        let mut rest = self.source.text[self.at..].char_indices();
        let mut at = self.at;
        while let Some((offset, c)) = rest.next() {
            if c == '\\' && rest.next().is_some_and(|(_, next)| !"0abtnvfre \"/\\N_LPxuU\t\r\n".contains(next)) {
                at += offset;
                break;
            }
        }
        Diagnostic::error("quote", "a backslash inside \"…\" begins an escape, and YAML knows no such escape")
            .at(self.place(at, 2))
            .help("use '…', where a backslash is a backslash, or write it twice: \\\\")
    }

    fn character(&self) -> Diagnostic {
        // The parser points at the start of the value.
        if let Some((offset, c)) = self.rest_of_line().char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            return Diagnostic::error(
                "control-character",
                format!("the control character U+{:04X} stands here", u32::from(c)),
            )
            .at(self.place(self.at + offset, c.len_utf8()))
            .help(format!("remove it, or write \\u{:04x} inside \"…\"", u32::from(c)));
        }
        let value = self.rest_of_line();
        let c = value.chars().next().unwrap_or(' ');
        Diagnostic::error("unquoted", format!("a value that begins with `{c}` needs quotes"))
            .at(self.place(self.at, value.len()))
            .help(format!("write {}{}", key_of(self.before()), quoted(value)))
    }

    /// A colon where none may be: inside a value, below a line that has a value already, or below a line without one.
    fn colon(&self) -> Diagnostic {
        let line = self.line();
        let colon = self.at - self.line_start();
        let first = line.find(": ").or_else(|| line.trim_end().strip_suffix(':').map(str::len)).unwrap_or(colon);
        if first < colon {
            let value = first + 1 + line[first + 1..].len() - line[first + 1..].trim_start().len();
            let text = line[value..].trim_end();
            return Diagnostic::error("unquoted", "a value with a colon and a space in it needs quotes")
                .at(self.place(self.line_start() + value, text.len()))
                .help(format!("write {}{}", key_of(&line[..value]), quoted(text)));
        }
        let Some((above_start, above)) = self.line_above() else { return self.no_colon(self.line_start()) };
        let is_key = above.contains(": ") || above.trim_end().ends_with(':');
        if !is_key {
            return self.no_colon(above_start);
        }
        Diagnostic::error("indentation", "this line is indented deeper than the one above, which already has a value")
            .at(self.place(self.line_start() + indent_of(line), line.trim().len()))
            .help("begin it in the same column as the key above")
    }

    fn no_colon(&self, line_start: usize) -> Diagnostic {
        let line = self.source.text[line_start..].lines().next().unwrap_or_default();
        let found = Diagnostic::error("no-colon", "this line is not `key: value`")
            .at(self.place(line_start + indent_of(line), line.trim().len()));
        match line.trim().split_once(':') {
            Some((key, value)) => found.help(format!("put a space after the colon: `{key}: {}`", value.trim())),
            None => found.help("put a colon and a space after the key; text over several lines begins with `key: |`"),
        }
    }

    /// A bracket that is open at the end: the innermost line that opens more than it closes.
    fn bracket(&self) -> Diagnostic {
        let before =
            &self.source.text[..self.at.max(self.line_start() + self.line().len()).min(self.source.text.len())];
        let mut open = Vec::new();
        for (at, c) in before.char_indices() {
            match c {
                '[' | '{' => open.push((at, c)),
                ']' | '}' => {
                    open.pop();
                }
                _ => {}
            }
        }
        match open.last() {
            Some((at, c)) => Diagnostic::error("bracket", format!("the `{c}` that opens here is never closed"))
                .at(self.place(*at, 1))
                .help(format!("close it with `{}`, or put the value in quotes when it is meant as text", closing(*c))),
            None => Diagnostic::error("bracket", "a list or map in brackets is broken here")
                .at(self.here())
                .help("separate entries with commas, write `key: value` with a space, and quote texts with , or :"),
        }
    }

    fn line_start(&self) -> usize {
        self.source.text[..self.at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line(&self) -> &'a str {
        self.source.text[self.line_start()..].lines().next().unwrap_or_default()
    }

    /// The line up to where the parser gave up.
    fn before(&self) -> &'a str {
        &self.source.text[self.line_start()..self.at]
    }

    fn line_above(&self) -> Option<(usize, &'a str)> {
        let mut end = self.line_start();
        while end > 0 {
            let start = self.source.text[..end - 1].rfind('\n').map_or(0, |at| at + 1);
            let line = self.source.text[start..end].trim_end();
            if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                return Some((start, line));
            }
            end = start;
        }
        None
    }

    fn rest_of_line(&self) -> &'a str {
        self.source.text[self.at..].lines().next().unwrap_or_default().trim_end()
    }

    fn place(&self, start: usize, length: usize) -> Place {
        self.source.place(Span { start, end: start + length })
    }

    fn here(&self) -> Place {
        self.place(self.at, 1)
    }

    fn here_word(&self) -> Place {
        self.place(self.at, self.rest_of_line().len())
    }
}

/// The value as it would stand in quotes.
fn quoted(value: &str) -> String {
    if value.contains(['"', '\\']) { format!("'{}'", value.replace('\'', "''")) } else { format!("\"{value}\"") }
}

/// `  title: ` → `title: `, to show the whole corrected line.
fn key_of(before: &str) -> String {
    let before = before.trim_start();
    if before.contains(['{', '[']) || !before.ends_with(": ") { String::new() } else { before.to_owned() }
}

fn closing(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn end_of_template(line: &str, begin: usize) -> usize {
    let end = ["}}", "%}", "#}"].iter().filter_map(|close| line[begin..].find(close)).min();
    end.map_or(line.trim_end().len(), |at| begin + at + 2)
}
