//! How event text is made harmless, by the kind of text it goes into. Words that the author of a hook wrote never come
//! here.
//!
//! Chat platforms document no escape character, and a visible one would disfigure every other message. What works
//! everywhere is to part the characters of a markup token with a zero-width space: the token is no longer one, and the
//! reader sees the same text.

use std::borrow::Cow;

use crate::rules::manifest::Kind;
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
    /// The same four where a bare `@name` calls somebody.
    ChatAt,
    MarkdownAt,
    HtmlAt,
    MarkdownV2At,
}

impl Escape {
    pub(super) const ALL: [Self; 12] = [
        Self::Text,
        Self::Chat,
        Self::Markdown,
        Self::Html,
        Self::Mrkdwn,
        Self::MarkdownV2,
        Self::Xml,
        Self::Url,
        Self::ChatAt,
        Self::MarkdownAt,
        Self::HtmlAt,
        Self::MarkdownV2At,
    ];

    /// That of a kind of text.
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Chat | Kind::Message => Self::Chat,
            Kind::Markdown => Self::Markdown,
            Kind::Html => Self::Html,
            Kind::Mrkdwn => Self::Mrkdwn,
            Kind::MarkdownV2 => Self::MarkdownV2,
            Kind::At(kind) => match **kind {
                Kind::Markdown => Self::MarkdownAt,
                Kind::Html => Self::HtmlAt,
                Kind::MarkdownV2 => Self::MarkdownV2At,
                _ => Self::ChatAt,
            },
            _ => Self::Text,
        }
    }

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
            Self::ChatAt => "chat@",
            Self::MarkdownAt => "markdown@",
            Self::HtmlAt => "html@",
            Self::MarkdownV2At => "markdownv2@",
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
            Self::ChatAt => names(chat(text)),
            Self::MarkdownAt => names(markdown(text)),
            Self::HtmlAt => names(html(text)),
            Self::MarkdownV2At => names(markdown_v2(text)),
        }
    }
}

/// Parts `@name` behind its `@`, and an `@` at the end, which the next value might complete; not that of a mail address.
fn names(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let calls = |at: usize| {
        let after = text[at + 1..].chars().next();
        !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && after.is_none_or(|c| is_word(c) || c == '\\')
    };
    let calling: Vec<usize> = text.match_indices('@').map(|(at, _)| at).filter(|at| calls(*at)).collect();
    if calling.is_empty() {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 3 * calling.len());
    let mut from = 0;
    for at in calling {
        out.push_str(&text[from..=at]);
        out.push(ZERO_WIDTH_SPACE);
        from = at + 1;
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
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

/// Nothing in the text can begin a link, an image, a heading, a mention, code or a tag, nor end what its author has made bold or
/// struck through. Lists, quotes and a single star are left: release notes use them, and they reach nobody.
fn markdown(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    // Whatever means something is one byte.
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| b"`<]#=-~\\*_|".contains(byte)) {
        let (c, after) = (char::from(byte), &text[at + 1..]);
        let block = begins_line(&text[..at]) && begins_block(c, after);
        let markup = joins(c, after);
        if !block && !markup && c != '`' {
            continue;
        }
        out.push_str(&text[copied..at]);
        if block {
            out.push(ZERO_WIDTH_SPACE);
        }
        // A code span cannot be parted: it may hold anything. A look-alike is no back-tick.
        out.push(if c == '`' { 'ˋ' } else { c });
        if markup {
            out.push(ZERO_WIDTH_SPACE);
        }
        copied = at + 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
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

/// Whether nothing but blanks stands before, on its line.
fn begins_line(before: &str) -> bool {
    before.chars().rev().take_while(|c| !matches!(c, '\n' | '\r')).all(char::is_whitespace)
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
        // Discord hides what stands between two of the last.
        '*' | '_' | '~' | '|' => after.starts_with(c),
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
        assert_eq!(parted("~~~\ncode"), "|~|~|~\ncode");
        assert_eq!(parted("x\\"), "x\\|");
        assert_eq!(parted("no** longer __bold, ~~struck"), "no*|* longer _|_bold, ~|~struck");
        assert_eq!(markdown("||no secret||").matches(ZERO_WIDTH_SPACE).count(), 2);
    }

    #[test]
    fn a_bare_name_calls_nobody_where_it_would() {
        for same in ["a@b.example", "a @ b", "x@2"] {
            assert_eq!(Escape::ChatAt.apply(same), same);
        }
        let parted = |escape: Escape, text: &str| escape.apply(text).replace(ZERO_WIDTH_SPACE, "|");
        assert_eq!(parted(Escape::ChatAt, "hi @all, (@ann) 应@y @"), "hi @|all, (@|ann) 应@|y @|");
        assert_eq!(parted(Escape::MarkdownAt, "@here [x](y)"), "@|here [x]|(y)");
        assert_eq!(parted(Escape::HtmlAt, "<b>@ann"), "&lt;b&gt;@|ann");
        assert_eq!(parted(Escape::MarkdownV2At, "@_x"), "@|\\_x");
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(html("<a href='x'>\"&\""), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;");
    }
}
