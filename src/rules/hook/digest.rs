//! `digest:` of a hook file: when what waits goes out in one message, and what that says.
//!
//! The text stands in the option that the platform's manifest calls its text; every other option is that of the first
//! event. A digest is one request: where the platform would cut its text or send it in parts, it is refused instead, and
//! fewer deliveries go.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use super::{Hook, render_option, varies};
use crate::rules::backoff;
use crate::rules::diagnostic::{Diagnostic, Span};
use crate::rules::digest::Terms;
use crate::rules::manifest::Kind;
use crate::rules::parts::{self, Markup};
use crate::rules::platform::{Given, Platform, RenderError, Turn};
use crate::rules::settings::Retry;
use crate::rules::template::Tree;
use crate::rules::template::digests::{DigestText, QueueCondition, Told, harmless};
use crate::rules::yaml::Node;
use crate::rules::yaml::reader::Reader;
use crate::words::delivery::Delivery;
use crate::words::event::Event;
use crate::words::exchange::Request;
use crate::words::json::Exact;
use crate::words::secret::Secrets;
use crate::words::{keys, limits};

/// When deliveries go together, and what is said then.
#[derive(Debug)]
pub struct Digest {
    when: Option<QueueCondition>,
    window: Option<Duration>,
    /// So many go in one message.
    pub max: usize,
    text: Option<DigestText>,
    /// The option that the text stands in, and its kind.
    option: String,
    kind: Kind,
    /// Whether the platform says anything of the text, with the options of this hook.
    heard: OnceLock<bool>,
}

const EXAMPLE: &str = "{when: \"waiting > 5\", max: 50}";
/// The option of the platforms that says what becomes of a text that is too long.
const OVERFLOW: &str = "overflow";

/// Reads `digest`. `kind` is what the platform's text is in this hook.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: &Node,
    platform: &Platform,
    kind: Option<Kind>,
    retry: &Retry,
) -> Option<Digest> {
    let map = reader.map("digest", node, EXAMPLE)?;
    let others = [
        ("if", "when"),
        ("every", "window"),
        ("for", "window"),
        ("within", "window"),
        ("limit", "max"),
        ("count", "max"),
        ("size", "max"),
        ("text", "template"),
        ("message", "template"),
    ];
    reader.only_or(&map, &keys::DIGEST.names(), &others);
    let when = map
        .get("when")
        .and_then(|node| QueueCondition::compile(reader.source, node).map_err(|found| reader.found.extend(found)).ok());
    let window = map.get("window").and_then(|node| {
        let (least, most) = (limits::PAUSE_SHORTEST, limits::DIGEST_WINDOW_MAX);
        let window = reader.duration("digest.window", node, least, most)?;
        if window >= retry.max_age {
            let (window, age) = (backoff::shown(window), backoff::shown(retry.max_age));
            let what = format!("what waits {window} for company is given up before: `retry.max_age` is {age}");
            reader.error(node.span, "digest", what, "make the window shorter, or `retry.max_age` longer");
        }
        Some(window)
    });
    let max = match map.get("max") {
        Some(node) => usize::try_from(reader.integer("digest.max", node, 2, limits::DIGEST_MAX as u64)?).ok()?,
        None => limits::DIGEST,
    };
    let (Some(option), Some(kind)) = (platform.manifest.text.clone(), kind) else {
        let key = reader.source.place(node.span);
        let what = format!("{} has no text for people, in which a digest could stand", platform.name);
        let found = Diagnostic::error("digest", what).at(key);
        reader.found.push(found.help("remove `digest`, or use a platform for a chat, such as dingtalk or slack"));
        return None;
    };
    let text = match map.get("template") {
        None => None,
        Some(node) => {
            let text = reader.text("digest.template", node)?;
            let compiled = DigestText::compile(reader.source, node, text, &kind);
            Some(compiled.map_err(|found| reader.found.extend(found)).ok()?)
        }
    };
    Some(Digest { when, window, max, text, option, kind, heard: OnceLock::new() })
}

/// Says why a hook cannot send digests although each of its keys can be read.
pub(super) fn object(reader: &mut Reader<'_>, span: Span, hook: &Hook) {
    if !hook.receiver_is_constant() {
        let named = hook.platform.manifest.receiver.join(" and ");
        let what = format!("a digest has one receiver, and here it depends on the event ({named})");
        reader.error(span, "digest", what, "write a hook for each receiver, or remove `digest`");
    } else if hook.says_digests() == Some(false) {
        let what = format!("with these options {} says nothing of a digest", hook.platform.name);
        let help = "choose a `type` of message that has a text, or remove `digest`";
        reader.error(span, "digest", what, help);
    }
}

impl Digest {
    /// What it says of so many that are due, the oldest of which is so old.
    pub fn terms(&self, waiting: usize, oldest: Duration) -> Terms {
        let when = match (&self.when, self.window) {
            (Some(when), _) => when.holds(waiting, oldest.as_secs()),
            (None, Some(_)) => false,
            (None, None) => waiting > 1,
        };
        Terms { when, window: self.window, max: self.max }
    }

    /// The template, if it has one.
    pub fn text(&self) -> Option<&DigestText> {
        self.text.as_ref()
    }

    /// The text about these.
    fn render(&self, hook: &str, told: &[Told]) -> Result<String, RenderError> {
        if let Some(text) = &self.text {
            return text.render(hook, told);
        }
        let markdown = Kind::Markdown;
        let is_list = matches!(&self.kind, kind if *kind == markdown || *kind == Kind::At(Box::new(markdown)));
        let bullet = if is_list { "- " } else { "\u{2022} " };
        let lines: Vec<String> = told.iter().map(|one| [bullet, &one.line].concat()).collect();
        Ok(lines.join("\n"))
    }
}

/// A digest's request, its text, and how many deliveries it holds.
#[derive(Debug)]
pub struct Composed {
    /// The request.
    pub request: Request,
    /// The text, to make the same request again.
    pub text: String,
    /// The first so many of those that were given.
    pub count: usize,
}

impl Hook {
    /// The request that holds as many of these as it can, from the first on; `None` when that is only one, which then is no
    /// digest. `given` is of the first.
    ///
    /// # Errors
    /// A secret is missing: that is nobody's fault.
    pub fn compose(&self, given: &Given<'_>, deliveries: &[Delivery]) -> Result<Option<Composed>, RenderError> {
        let Some(digest) = &self.digest else { return Ok(None) };
        let told: Vec<Result<Told, RenderError>> =
            deliveries.iter().map(|one| self.told(digest, &one.event, one, given)).collect();
        let attempt = |count: usize| -> Result<Composed, RenderError> {
            let told: Vec<Told> = told[..count].iter().cloned().collect::<Result<_, _>>()?;
            let text = digest.render(&self.name, &told)?;
            let request = self.render_digest(given, &text, Turn::default())?;
            Ok(Composed { request, text, count })
        };
        // One more is always too much in the end: between what fits and what does not lies the most.
        let (mut fits, mut not, mut best) = (1, deliveries.len() + 1, None);
        let mut count = deliveries.len();
        while count > fits && count < not {
            match attempt(count) {
                Ok(composed) => {
                    fits = count;
                    best = Some(composed);
                }
                Err(missing @ RenderError::Secret { .. }) => return Err(missing),
                Err(RenderError::Wrong(_)) => not = count,
            }
            count = fits + (not - fits) / 2;
        }
        let heard = |composed: &Composed| *digest.heard.get_or_init(|| self.hears(given, composed).unwrap_or(true));
        Ok(best.filter(heard))
    }

    /// The request of a digest with this text: that of its first delivery but for the text, which is neither cut nor sent in
    /// parts.
    ///
    /// # Errors
    /// As `render`, or it does not fit.
    pub fn render_digest(&self, given: &Given<'_>, text: &str, turn: Turn) -> Result<Request, RenderError> {
        let Some(digest) = &self.digest else { return self.render(given) };
        let mut options = self.known_options(given)?;
        options.turn = turn;
        let others = self.options.iter().filter(|(name, tree)| varies(tree) && *name != digest.option);
        for option in others {
            render_option(&self.platform, &mut options, option, given)?;
        }
        self.platform.set_option(&mut options, &digest.option, Exact::String(text.to_owned()));
        if self.platform.manifest.option(OVERFLOW).is_some() {
            self.platform.set_option(&mut options, OVERFLOW, Exact::String("fail".to_owned()));
        }
        let made = self.platform.make(given, options)?;
        if made.parts > 1 {
            let found = Diagnostic::error("request", "a digest has to fit into one message");
            return Err(RenderError::Wrong(Box::new(found)));
        }
        self.platform.finish(made, given)
    }

    /// Whether a message with more text is another one.
    fn hears(&self, given: &Given<'_>, composed: &Composed) -> Option<bool> {
        let other = self.render_digest(given, &[&composed.text, "x"].concat(), Turn::default()).ok()?;
        Some(other.body != composed.request.body || other.url != composed.request.url)
    }

    /// Whether its platform says anything of a digest, as far as that can be told without a real event.
    fn says_digests(&self) -> Option<bool> {
        let secrets = self.with_stand_ins(&Secrets::default());
        let event = self.filled_event();
        let given = Given {
            id: "test-1",
            attempt: 1,
            now: Timestamp::UNIX_EPOCH,
            hook: &self.name,
            event: &event,
            secrets: &secrets,
        };
        let request = |text: &str| self.render_digest(&given, text, Turn::default()).ok();
        Some(request("one")?.body != request("another")?.body)
    }

    /// What a digest says of one event.
    fn told(&self, digest: &Digest, event: &Arc<Event>, of: &Delivery, given: &Given<'_>) -> Result<Told, RenderError> {
        let line = match &digest.text {
            Some(text) if !text.reads_lines() => String::new(),
            _ => self.line(digest, &Given { id: &of.id, event, ..*given })?,
        };
        Ok(Told { event: event.clone(), delivery: of.id.clone(), line })
    }

    /// The first line of what an event's own message says; its type where it says nothing.
    fn line(&self, digest: &Digest, given: &Given<'_>) -> Result<String, RenderError> {
        let text = self.option(&digest.option).map(|tree| tree.render(given)).transpose()?;
        let text = text.and_then(|text| text.scalar()).unwrap_or_default();
        let line = parts::first_line(&text, markup(&digest.kind), limits::DIGEST_LINE);
        Ok(if line.is_empty() { harmless(&given.event.kind, &digest.kind) } else { line })
    }

    /// What a digest of the events of its `tests:` fails on.
    pub(super) fn digest_mistake(&self, secrets: &Secrets, now: Timestamp) -> Option<Diagnostic> {
        let digest = self.digest.as_ref()?;
        let wanted = self.tests.iter().filter(|test| test.expect.wanted != Some(false) && test.expect.error.is_none());
        let told = wanted.filter_map(|test| test.event.as_ref()).map(|event| {
            let event = event.to_event(now);
            let given = Given { id: "test-1", attempt: 1, now, hook: &self.name, event: &event, secrets };
            let line = self.line(digest, &given).unwrap_or_default();
            Told { event: Arc::new(event), delivery: "test-1".into(), line }
        });
        let told: Vec<Told> = told.collect();
        if told.is_empty() {
            return None;
        }
        match digest.render(&self.name, &told) {
            Err(RenderError::Wrong(found)) => Some(found.note("found with the events of the file's `tests:`")),
            _ => None,
        }
    }

    /// The texts of digests of as many of this event as go in one: for whoever tries them out.
    ///
    /// # Errors
    /// The template fails on it, or goes beyond a bound.
    pub fn try_digest(&self, given: &Given<'_>) -> Result<(), RenderError> {
        let Some(digest) = &self.digest else { return Ok(()) };
        let line = self.line(digest, given).unwrap_or_else(|_| given.event.kind.clone());
        let told = Told { event: Arc::new(given.event.clone()), delivery: given.id.into(), line };
        digest.render(&self.name, &vec![told; digest.max]).map(drop)
    }
}

/// The markup of a kind of text.
fn markup(kind: &Kind) -> Markup {
    match kind {
        Kind::Markdown => Markup::Markdown,
        Kind::Html => Markup::Html,
        Kind::Mrkdwn => Markup::Mrkdwn,
        Kind::MarkdownV2 => Markup::MarkdownV2,
        Kind::At(kind) => markup(kind),
        _ => Markup::Text,
    }
}

impl Hook {
    /// Whether a long text of one event may go out in several messages.
    pub fn may_split(&self) -> bool {
        let says = |(name, tree): &&(String, Arc<Tree>)| {
            name == OVERFLOW && !matches!(tree.fixed(), Some(Exact::String(word)) if word != "split")
        };
        self.options.iter().any(|option| says(&option))
    }
}
