//! The robots of a platform: what each was told, and what each remembers. No two share anything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::rules::signature::Scheme;
use crate::words::limits;
use crate::words::secret::Secret;

use super::judgement::Refused;
use super::limiter::{Gate, Limit, Window};

/// What one robot is set to, as its owner does in the group's settings, and how its platform behaves towards it.
#[derive(Clone, Debug, Default)]
pub struct BotOptions {
    /// The signing secret; none for a robot that does not check signatures. WeCom has none.
    pub secret: Option<Secret>,
    /// How requests are signed, where nobody in particular is played; none takes all.
    pub verify: Option<Arc<Scheme>>,
    /// What nobody in particular answers to what it takes; `ok` unless said.
    pub reply: Option<Arc<str>>,
    /// One of them must stand in a text that the group sees; empty for no such rule. WeCom has none.
    pub keywords: Vec<String>,
    /// Addresses that may call: `10.1.2.3`, `10.0.0.0/8`, `123.12.1.*`; empty for everybody.
    pub ip_allow: Vec<String>,
    /// `None` for the platform's own limits.
    pub limits: Option<Vec<Limit>>,
    /// Whether the robot still works.
    pub state: State,
    /// How far the platform's clock is ahead of the caller's.
    pub clock_skew: SignedDuration,
    /// The ids in the group (Lark); `None` takes everything that looks like an id as one.
    pub members: Option<Vec<String>>,
    /// What it answers to the next messages that pass every check, in order.
    pub scripted: VecDeque<Scripted>,
    /// Which of the known ways it behaves where the real servers vary.
    pub variants: Variants,
}

/// Whether a robot still works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It does.
    #[default]
    Ok,
    /// Stopped by its owner.
    Disabled,
    /// Taken out of the group.
    Removed,
    /// The group is gone.
    Disbanded,
    /// It never was.
    Unknown,
}

/// An answer told in advance, in place of the success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripted {
    /// The platform's code; 0 is a success with other words.
    pub code: i64,
    /// The platform's words.
    pub message: String,
}

/// Where the real servers vary, or nobody outside knows. The default is what the documents say, or what is stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variants {
    /// WeCom: a message that is refused by a later check counts too.
    pub charge_failed: bool,
    /// DingTalk: how long a robot is mute after the first excess.
    pub penalty: Duration,
    /// DingTalk: a call while mute makes it longer.
    pub penalty_prolongs: bool,
    /// DingTalk: 410100 in place of 130101.
    pub too_fast_410100: bool,
    /// DingTalk: 400101 in place of 300005.
    pub unknown_token_400101: bool,
    /// DingTalk: the keyword refusal ends with a link.
    pub keyword_more: bool,
    /// DingTalk: the flood gate answers with a page in place of JSON without an errcode.
    pub flood_html: bool,
    /// Lark: the success that has no `code`.
    pub old_success: bool,
    /// Lark: 9499 comes with HTTP 400.
    pub bad_request_400: bool,
    /// Lark: the body may have 150 KiB, and more is 19036.
    pub size_150_kib: bool,
    /// Lark: near the whole and the half hour calls are refused at random.
    pub busy_hours: bool,
}

impl Default for Variants {
    fn default() -> Self {
        Self {
            charge_failed: true,
            penalty: Duration::from_secs(600),
            penalty_prolongs: false,
            too_fast_410100: false,
            unknown_token_400101: false,
            keyword_more: false,
            flood_html: false,
            old_success: false,
            bad_request_400: false,
            size_150_kib: false,
            busy_hours: false,
        }
    }
}

/// One robot.
#[derive(Debug)]
pub(super) struct Bot {
    pub(super) options: BotOptions,
    pub(super) muted_until: Option<Timestamp>,
    pub(super) media: HashMap<String, Media>,
    windows: Vec<Window>,
}

/// A file that was uploaded.
#[derive(Debug)]
pub(super) struct Media {
    pub(super) kind: String,
    pub(super) created: Timestamp,
}

impl Bot {
    fn new(options: BotOptions, platform_limits: &[Limit]) -> Self {
        let windows = options.limits.as_deref().unwrap_or(platform_limits).iter().copied().map(Window::new).collect();
        Self { options, muted_until: None, media: HashMap::new(), windows }
    }

    pub(super) fn full(&mut self, now: Timestamp) -> bool {
        self.windows.iter_mut().any(|window| window.full(now))
    }

    pub(super) fn charge(&mut self, now: Timestamp) {
        for window in &mut self.windows {
            window.charge(now);
        }
    }

    pub(super) fn free_at(&self, now: Timestamp) -> Timestamp {
        self.windows.iter().filter(|window| window.is_full()).map(|window| window.free_at(now)).max().unwrap_or(now)
    }

    /// The first window: how many it takes, how many more it takes now, and when it takes one more or is empty again.
    pub(super) fn first_window(&mut self, now: Timestamp) -> Option<(u32, u32, Timestamp)> {
        self.windows.first_mut().map(|window| window.announced(now))
    }

    /// The platform's own clock.
    pub(super) fn clock(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.options.clock_skew).unwrap_or(now)
    }
}

/// Everything that a platform remembers.
#[derive(Debug)]
pub(super) struct World {
    pub(super) bots: Bots,
    pub(super) gate: Gate,
    /// For what varies from answer to answer, and for nothing else.
    pub(super) dice: fastrand::Rng,
    /// What is answered to the next messages that pass every check, whoever's robot they are for.
    pub(super) scripted: VecDeque<Scripted>,
}

impl World {
    /// The end of every chain of checks: the words of the success, unless a script says otherwise.
    pub(super) fn verdict(&mut self, token: &str, success: &str) -> Result<String, Refused> {
        let own = self.bots.get(token).and_then(|bot| bot.options.scripted.pop_front());
        match own.or_else(|| self.scripted.pop_front()) {
            None => Ok(success.to_owned()),
            Some(Scripted { code: 0, message }) => Ok(message),
            Some(Scripted { code, message }) => Err(Refused::new(code, message, "scripted")),
        }
    }
}

/// The robots by their token.
#[derive(Debug)]
pub(super) struct Bots {
    named: HashMap<String, Bot>,
    limits: Vec<Limit>,
    pub(super) default: BotOptions,
    pub(super) only_named: bool,
}

impl Bots {
    pub(super) fn new(default: BotOptions, limits: Vec<Limit>) -> Self {
        Self { named: HashMap::new(), limits, default, only_named: false }
    }

    pub(super) fn insert(&mut self, token: &str, options: BotOptions) {
        self.named.insert(token.to_owned(), Bot::new(options, &self.limits));
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.named.len()
    }

    /// Whether there is one of this token already.
    pub(super) fn has(&self, token: &str) -> bool {
        self.named.contains_key(token)
    }

    /// The robot of this token. Any token makes one, unless only named ones are known; the tokens `unknown`, `removed`,
    /// `disabled` and `disbanded` make one in that state.
    pub(super) fn get(&mut self, token: &str) -> Option<&mut Bot> {
        if !self.named.contains_key(token) && !self.make(token) {
            return None;
        }
        self.named.get_mut(token).filter(|bot| bot.options.state != State::Unknown)
    }

    fn make(&mut self, token: &str) -> bool {
        if token.is_empty() || self.only_named || self.named.len() >= limits::SINK_BOTS {
            return false;
        }
        let state = match token.rsplit([':', '/']).next().unwrap_or(token) {
            "unknown" => State::Unknown,
            "removed" => State::Removed,
            "disabled" => State::Disabled,
            "disbanded" => State::Disbanded,
            _ => self.default.state,
        };
        self.insert(token, BotOptions { state, ..self.default.clone() });
        true
    }
}
