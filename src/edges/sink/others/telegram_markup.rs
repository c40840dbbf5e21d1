//! What Telegram reads in a text: enough of HTML and MarkdownV2 to refuse what it refuses, in its words.

use serde_json::{Value, json};

type Parsed = Result<(String, Vec<Value>), String>;

const TAGS: [(&str, &str); 17] = [
    ("b", "bold"),
    ("strong", "bold"),
    ("i", "italic"),
    ("em", "italic"),
    ("u", "underline"),
    ("ins", "underline"),
    ("s", "strikethrough"),
    ("strike", "strikethrough"),
    ("del", "strikethrough"),
    ("a", "text_link"),
    ("span", "spoiler"),
    ("tg-spoiler", "spoiler"),
    ("tg-emoji", "custom_emoji"),
    ("tg-time", "date_time"),
    ("code", "code"),
    ("pre", "pre"),
    ("blockquote", "blockquote"),
];

/// Something that was opened.
struct Open {
    name: &'static str,
    mark: String,
    /// Where it begins, in UTF-16 units of the shown text, and in bytes of the text.
    begins: usize,
    at: usize,
}

#[derive(Default)]
struct Shown {
    text: String,
    units: usize,
    entities: Vec<Value>,
    open: Vec<Open>,
}

impl Shown {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.units += c.len_utf16();
    }

    fn begin(&mut self, name: &'static str, mark: &str, at: usize) {
        self.open.push(Open { name, mark: mark.to_owned(), begins: self.units, at });
    }

    fn end(&mut self) {
        if let Some(Open { name, begins, .. }) = self.open.pop()
            && self.units > begins
        {
            self.entities.push(json!({"type": name, "offset": begins, "length": self.units - begins}));
        }
    }
}

/// Tags from a short list, each closed in its turn.
pub(super) fn html(text: &str) -> Parsed {
    let mut shown = Shown::default();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c == '<' {
            let end = rest.find('>').ok_or_else(|| format!("Unclosed start tag at byte offset {at}"))?;
            let inner = &rest[1..end];
            match inner.strip_prefix('/') {
                Some(name) => {
                    let name = name.trim().to_ascii_lowercase();
                    match shown.open.last() {
                        Some(open) if open.mark == name || name.is_empty() => shown.end(),
                        Some(open) => {
                            return Err(format!(
                                "Unmatched end tag at byte offset {at}, expected \"</{}>\", found \"</{name}>\"",
                                open.mark
                            ));
                        }
                        None => return Err(format!("Unexpected end tag at byte offset {at}")),
                    }
                }
                None => {
                    let name = inner.split([' ', '\n', '\t']).next().unwrap_or_default().to_ascii_lowercase();
                    let Some((_, kind)) = TAGS.iter().find(|(known, _)| *known == name) else {
                        return Err(format!("Unsupported start tag \"{name}\" at byte offset {at}"));
                    };
                    shown.begin(kind, &name, at);
                }
            }
            at += end + 1;
            continue;
        }
        let (c, len) = entity(rest).unwrap_or((c, c.len_utf8()));
        shown.push(c);
        at += len;
    }
    match shown.open.last() {
        Some(open) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", open.mark)),
        None => Ok((shown.text, shown.entities)),
    }
}

fn entity(rest: &str) -> Option<(char, usize)> {
    let inner = rest.strip_prefix('&')?;
    let end = inner.find(';').filter(|end| *end < 10)?;
    let c = match &inner[..end] {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        number => {
            let digits = number.strip_prefix('#')?;
            let code =
                digits.strip_prefix('x').map_or_else(|| digits.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            char::from_u32(code?)?
        }
    };
    Some((c, end + 2))
}

/// Every mark that is not escaped opens or closes something, or is a mistake.
pub(super) fn markdown_v2(text: &str) -> Parsed {
    const MARKS: [(&str, &str); 7] = [
        ("```", "pre"),
        ("`", "code"),
        ("__", "underline"),
        ("||", "spoiler"),
        ("*", "bold"),
        ("_", "italic"),
        ("~", "strikethrough"),
    ];
    let mut shown = Shown::default();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(escaped) =
            rest.strip_prefix('\\').and_then(|after| after.chars().next()).filter(|c| c.is_ascii() && *c != '\0')
        {
            shown.push(escaped);
            at += 1 + escaped.len_utf8();
            continue;
        }
        let in_code = shown.open.last().is_some_and(|open| open.mark.starts_with('`'));
        let mark = MARKS.iter().find(|(mark, _)| rest.starts_with(mark));
        if let Some((mark, kind)) =
            mark.filter(|(mark, _)| !in_code || shown.open.last().is_some_and(|open| open.mark == *mark))
        {
            if shown.open.last().is_some_and(|open| open.mark == *mark) {
                shown.end()
            } else {
                shown.begin(kind, mark, at)
            }
            at += mark.len();
            continue;
        }
        if in_code {
            shown.push(c);
            at += c.len_utf8();
            continue;
        }
        match c {
            '[' => {
                shown.begin("text_link", "[", at);
                at += 1;
            }
            ']' if shown.open.last().is_some_and(|open| open.mark == "[") => {
                shown.end();
                at += 1;
                if text[at..].starts_with('(') {
                    at += target(&text[at..]).ok_or_else(|| format!("Can't find end of a URL at byte offset {at}"))?;
                }
            }
            '!' if rest.starts_with("![") => at += 1,
            '>' if at == 0 || text[..at].ends_with('\n') => at += 1,
            '>' | '#' | '+' | '-' | '=' | '|' | '{' | '}' | '.' | '!' | '(' | ')' | ']' => {
                return Err(format!("Character '{c}' is reserved and must be escaped with the preceding '\\'"));
            }
            c => {
                shown.push(c);
                at += c.len_utf8();
            }
        }
    }
    match shown.open.last() {
        Some(open) => Err(format!("Can't find end of {} entity at byte offset {}", open.name, open.at)),
        None => Ok((shown.text, shown.entities)),
    }
}

/// `(…)` with what is escaped in it: how many bytes.
fn target(rest: &str) -> Option<usize> {
    let mut escaped = false;
    rest.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == ')' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_read_as_telegram_does() {
        let shown = |text: &str| markdown_v2(text).map(|(text, entities)| (text, entities.len()));
        assert_eq!(
            shown("*a* _b_ __c__ `d.e` [x](https://h.example/a\\)b) 1\\.2"),
            Ok(("a b c d.e x 1.2".to_owned(), 5))
        );
        assert_eq!(shown("```sh\nx.y\n```"), Ok(("sh\nx.y\n".to_owned(), 1)));
        assert!(shown("1.2").unwrap_err().starts_with("Character '.' is reserved and must be escaped"));
        assert!(shown("*a").unwrap_err().starts_with("Can't find end of bold entity at byte offset 0"));
        assert_eq!(shown("> quote\n> more").map(|(text, _)| text), Ok(" quote\n more".to_owned()));
    }

    #[test]
    fn html_is_read_as_telegram_does() {
        let shown = |text: &str| html(text).map(|(text, entities)| (text, entities.len()));
        assert_eq!(
            shown("<b>1 &lt; 2</b> <a href=\"https://h.example\">x</a> &amp; &#128512;"),
            Ok(("1 < 2 x & 😀".to_owned(), 2))
        );
        assert!(shown("<blink>x</blink>").unwrap_err().starts_with("Unsupported start tag \"blink\" at byte offset 0"));
        assert!(shown("<b>x</i>").unwrap_err().starts_with("Unmatched end tag at byte offset 4"));
        assert!(shown("<b>x").unwrap_err().starts_with("Can't find end tag"));
        let (_, entities) = html("😀<b>x</b>").unwrap();
        assert_eq!(entities[0]["offset"], 2, "in UTF-16 units");
    }
}
