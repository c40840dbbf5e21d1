//! How event text is made harmless, by the kind of text it goes into. Words that the author of a hook wrote never come
//! here.
//!
//! Chat platforms document no escape character, and a visible one would disfigure every other message. What works
//! everywhere is to part the characters of a markup token with a zero-width space: the token is no longer one, and the
//! reader sees the same text.

use std::borrow::Cow;

use crate::rules::text::component;
use crate::rules::xml;

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    Text,
    Chat,
    Markdown,
    Html,
    Mrkdwn,
    MarkdownV2,
    Xml,
    Url,
}

impl Escape {
    pub(super) const ALL: [Self; 8] =
        [Self::Text, Self::Chat, Self::Markdown, Self::Html, Self::Mrkdwn, Self::MarkdownV2, Self::Xml, Self::Url];

    /// Under this name the template engine knows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Chat => "chat",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Mrkdwn => "mrkdwn",
            Self::MarkdownV2 => "markdownv2",
            Self::Xml => "xml",
            Self::Url => "url",
        }
    }

    pub(super) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Text => Cow::Borrowed(text),
            Self::Chat => chat(text),
            Self::Markdown => markdown(text),
            Self::Html => html(text),
            Self::Mrkdwn => mrkdwn(text),
            Self::MarkdownV2 => markdown_v2(text),
            Self::Xml => xml::escape(text),
            Self::Url => Cow::Owned(component(text)),
        }
    }
}

/// Parts `<@…>` (WeCom), `<at …>` and `</at>` (Lark) after the `<`. A text that merely ends in the beginning of one is
/// parted too: the next value might complete it. All other text stays byte for byte.
fn chat(text: &str) -> Cow<'_, str> {
    if !text.contains('<') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        out.push(c);
        if c == '<' && begins_mention(&text[at + 1..]) {
            out.push(ZERO_WIDTH_SPACE);
        }
    }
    Cow::Owned(out)
}

fn begins_mention(after: &str) -> bool {
    let name = after.strip_prefix('/').unwrap_or(after);
    if after.starts_with('@') || name.is_empty() || name.eq_ignore_ascii_case("a") {
        return true;
    }
    let is_at = name.get(..2).is_some_and(|tag| tag.eq_ignore_ascii_case("at"));
    is_at && name[2..].chars().next().is_none_or(|c| c.is_whitespace() || c == '>' || c == '/')
}

/// Nothing in the text can begin a link, an image, a heading, a mention, code or a tag. Emphasis, lists and quotes are
/// left: release notes use them, and they reach nobody.
fn markdown(text: &str) -> Cow<'_, str> {
    if !text.contains(['`', '<', ']', '#', '=', '-', '~', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut line_begins = true;
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        if line_begins && begins_block(c, after) {
            out.push(ZERO_WIDTH_SPACE);
        }
        line_begins = matches!(c, '\n' | '\r') || (line_begins && c.is_whitespace());
        match c {
            // A code span cannot be parted: it may hold anything. A look-alike is no back-tick.
            '`' => out.push('ˋ'),
            _ => out.push(c),
        }
        if joins(c, after) {
            out.push(ZERO_WIDTH_SPACE);
        }
    }
    Cow::Owned(out)
}

/// Slack wants these three characters escaped and no others: `<` begins every link and mention.
fn mrkdwn(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// Telegram refuses a message with one of these unescaped, even where it would mean nothing.
fn markdown_v2(text: &str) -> Cow<'_, str> {
    const RESERVED: &str = "_*[]()~`>#+-=|{}.!\\";
    if !text.contains(|c| RESERVED.contains(c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if RESERVED.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Cow::Owned(out)
}

/// A heading, the line under a heading, or a fence.
fn begins_block(c: char, after: &str) -> bool {
    match c {
        '#' => true,
        '=' | '-' => {
            let line = after.lines().next().unwrap_or_default().trim_end();
            line.chars().all(|next| next == c)
        }
        '~' => after.starts_with("~~"),
        _ => false,
    }
}

/// Characters that make markup together with what follows, which may be the next value.
fn joins(c: char, after: &str) -> bool {
    match c {
        '<' => after.chars().next().is_none_or(|next| next.is_alphabetic() || "@/!?".contains(next)),
        ']' => after.chars().next().is_none_or(|next| "([:".contains(next)),
        '\\' => after.is_empty(),
        _ => false,
    }
}

fn html(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_parts_mentions_and_nothing_else() {
        for same in
            ["", "2.4 (139)", "a < b", "<b>bold</b>", "<attention>", "a <= b && c > d", "应用 <更新>", "`x` [y](z)"]
        {
            assert_eq!(chat(same), same);
        }
        for live in
            ["<@all>", "<@wang>", "<at user_id=\"all\">x</at>", "<AT id=all></AT>", "<at\tid=x>", "a<", "a</", "a<a"]
        {
            let parted = chat(live);
            assert_ne!(parted, live);
            assert_eq!(parted.replace(ZERO_WIDTH_SPACE, ""), live);
            for token in ["<@", "<at", "</at", "<AT", "</AT"] {
                assert!(!parted.contains(token), "{parted}");
            }
        }
        assert!(chat("x<").ends_with(ZERO_WIDTH_SPACE), "the next value might begin with @all>");
    }

    #[test]
    fn markdown_leaves_ordinary_text_readable() {
        for same in [
            "2.4 (139)",
            "fixed *two* bugs",
            "- one\n- two",
            "> said",
            "a_b*c",
            "1. one",
            "5 < 6",
            "https://a.example/x?y",
        ] {
            assert_eq!(markdown(same), same);
        }
    }

    #[test]
    fn markdown_parts_what_would_be_markup() {
        let parted = |text: &str| markdown(text).replace(ZERO_WIDTH_SPACE, "|");
        assert_eq!(parted("[click](https://evil.example)"), "[click]|(https://evil.example)");
        assert_eq!(parted("![x](https://evil.example/p.png)"), "![x]|(https://evil.example/p.png)");
        assert_eq!(parted("[a][b]"), "[a]|[b]|");
        assert_eq!(parted("# big\n  ## bigger #3"), "|# big\n  |## bigger #3");
        assert_eq!(parted("title\n===\nx\n---"), "title\n|===\nx\n|---");
        assert_eq!(
            parted("<@all> <font color=\"info\">x</font> <https://evil.example>"),
            "<|@all> <|font color=\"info\">x<|/font> <|https://evil.example>"
        );
        assert_eq!(parted("`rm -rf`"), "ˋrm -rfˋ");
        assert_eq!(parted("~~~\ncode"), "|~~~\ncode");
        assert_eq!(parted("x\\"), "x\\|");
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(html("<a href='x'>\"&\""), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;");
    }
}
