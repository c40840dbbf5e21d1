//! Platforms that say with an HTTP status what they think: chats, push services, pagers and receivers of standards.
//!
//! Each file has a function for each platform that goes through its checks in the platform's order; the first that fails
//! answers. The frame around them stands here.

mod chat;
mod discord;
mod pages;
mod push;
mod slack;
mod standards;
mod teams;
mod telegram;
mod telegram_markup;

use jiff::Timestamp;
use serde_json::Value;

use super::bots::{Bot, Scripted, State, World};
use super::fake::Platform;
use super::judgement::{Answered, Judgement};
use super::received::Received;
use super::strict;

/// What a platform says, yes or no.
pub(super) struct Said {
    status: u16,
    /// The platform's own code, where it has one.
    code: Option<i64>,
    headers: Vec<(String, String)>,
    body: String,
    /// Ours, for whoever reads the sink's output; empty for a yes.
    why: String,
}

type Judged = Result<Said, Said>;

/// Everything that one request may need.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) request: &'a Received,
    pub(super) now: Timestamp,
    pub(super) judgement: &'a mut Judgement,
}

pub(super) fn answer(platform: Platform, world: &mut World, request: &Received, now: Timestamp) -> Answered {
    let mut judgement = Judgement::default();
    let call = Call { world, request, now, judgement: &mut judgement };
    let judged = match platform {
        Platform::Slack => slack::judge(call),
        Platform::Discord => discord::judge(call),
        Platform::Telegram => telegram::judge(call),
        Platform::Teams => teams::judge(call),
        Platform::Mattermost => chat::mattermost(call),
        Platform::GoogleChat => chat::google_chat(call),
        Platform::Webex => chat::webex(call),
        Platform::Ntfy => push::ntfy(call),
        Platform::Gotify => push::gotify(call),
        Platform::Bark => push::bark(call),
        Platform::Pagerduty => pages::pagerduty(call),
        Platform::Alertmanager => pages::alertmanager(call),
        Platform::GithubDispatch => pages::github_dispatch(call),
        Platform::Pushpushgo => standards::pushpushgo(call),
        Platform::Cloudevents => standards::cloudevents(call),
        // The others have files of their own.
        _ => standards::standard_webhooks(call),
    };
    judgement.accepted = judged.is_ok();
    let (Ok(said) | Err(said)) = judged;
    judgement.code = said.code;
    judgement.why = said.why;
    Answered { status: said.status, headers: said.headers, body: said.body.into(), judgement }
}

impl Said {
    fn text(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        Self { status, code: None, headers, body: body.into(), why: String::new() }
    }

    fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, code: None, headers, body: body.to_string(), why: String::new() }
    }

    fn empty(status: u16) -> Self {
        Self { status, code: None, headers: Vec::new(), body: String::new(), why: String::new() }
    }

    fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    fn code(self, code: i64) -> Self {
        Self { code: Some(code), ..self }
    }

    fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    fn no_such_path(where_it_is: &str) -> Self {
        Self::text(404, format!("404 page not found: {where_it_is}\n"))
            .why(format!("nobody is at this path: {where_it_is}"))
    }
}

impl Call<'_> {
    /// The robot of a token, and its state.
    fn bot(&mut self, token: &str) -> Option<(&mut Bot, State)> {
        let bot = self.world.bots.get(token)?;
        let state = bot.options.state;
        Some((bot, state))
    }

    /// Counts the call; how many seconds to wait if it is one too many.
    fn charge(&mut self, token: &str) -> Result<(), u64> {
        let now = self.now;
        let Some(bot) = self.world.bots.get(token) else { return Ok(()) };
        if bot.full(now) {
            // Rounded up: a sender that obeys it must not be refused again.
            let wait = bot.free_at(now).duration_since(now).as_millis().max(1);
            return Err(u64::try_from(wait).unwrap_or(1).div_ceil(1000));
        }
        bot.charge(now);
        Ok(())
    }

    /// The body as JSON; nothing if it is none. Members that came twice are noted.
    fn json(&mut self) -> Option<Value> {
        let strict = strict::parse(&self.request.body)?;
        self.judgement.duplicate_keys = strict.duplicates;
        Some(strict.value)
    }

    /// What was told in advance for the next message that passes every check.
    fn scripted(&mut self, token: &str) -> Option<Scripted> {
        let own = self.world.bots.get(token).and_then(|bot| bot.options.scripted.pop_front());
        own.or_else(|| self.world.scripted.pop_front())
    }

    /// Whether the `Authorization: Bearer` is the one that is wanted, if one is.
    fn has_bearer(&mut self, token: &str) -> bool {
        let wanted = self.world.bots.get(token).and_then(|bot| bot.options.secret.clone());
        let given = self.request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        wanted.is_none_or(|wanted| given == Some(wanted.expose()))
    }
}

/// A status as a script tells it; anything else is a 400.
fn status_of(code: i64) -> u16 {
    u16::try_from(code).ok().filter(|status| (200..1000).contains(status)).unwrap_or(400)
}

/// Texts between marks do not call anybody.
fn outside_code(text: &str) -> String {
    let blocks = text.split("```").step_by(2).collect::<Vec<_>>().join(" ");
    blocks.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// The words behind `@` that stand at the beginning of a word.
fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@') {
        let before = text[..at].chars().next_back();
        let name: String =
            text[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).collect();
        if !name.is_empty() && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            found.push(name.trim_end_matches(['.', '-']).to_owned());
        }
    }
    found
}
