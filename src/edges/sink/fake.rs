//! A whole platform: its robots behind its paths, over a clock that is handed in.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::bots::{BotOptions, Bots, Scripted, World};
use super::judgement::Answered;
use super::limiter::{Gate, Limit};
use super::received::Received;
use super::{dingtalk, lark, plain, wecom};

/// Whom the sink plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// Somebody who takes everything.
    #[default]
    Plain,
    /// WeCom group robots.
    Wecom,
    /// DingTalk group robots.
    Dingtalk,
    /// Lark (Feishu) group robots.
    Lark,
}

impl Platform {
    /// Its name in hooks and on the command line; `plain` for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wecom => "wecom",
            Self::Dingtalk => "dingtalk",
            Self::Lark => "lark",
        }
    }

    /// The path, with its query, under which the robot of this token is called.
    pub fn path(self, token: &str) -> String {
        match self {
            Self::Plain => "/".to_owned(),
            Self::Wecom => format!("/cgi-bin/webhook/send?key={token}"),
            Self::Dingtalk => format!("/robot/send?access_token={token}"),
            Self::Lark => format!("/open-apis/bot/v2/hook/{token}"),
        }
    }

    fn limits(self) -> Vec<Limit> {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            Self::Plain => Vec::new(),
            // Whether WeCom's minute is the clock's or the last one is not known; the last one is stricter.
            Self::Wecom | Self::Dingtalk => vec![Limit::sliding(20, MINUTE)],
            Self::Lark => vec![Limit::sliding(5, Duration::from_secs(1)), Limit::sliding(100, MINUTE)],
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Plain, Self::Wecom, Self::Dingtalk, Self::Lark]
            .into_iter()
            .find(|platform| platform.name() == name)
            .ok_or_else(|| format!("nobody here plays {name}: wecom, dingtalk, lark or plain"))
    }
}

/// A platform that decides on requests. It reads no clock: every window and every signature goes by `now`.
#[derive(Debug)]
pub struct Fake {
    platform: Platform,
    world: World,
}

impl Fake {
    /// A platform on which any token is a robot with these settings (see [`Fake::only_known`]).
    pub fn new(platform: Platform, default: BotOptions) -> Self {
        let bots = Bots::new(default, platform.limits());
        // DingTalk's gate, which counts what one address calls over all robots.
        let gate = Gate::new(Limit::sliding(10_000, Duration::from_secs(20)), Duration::from_secs(300));
        let dice = fastrand::Rng::with_seed(0);
        Self { platform, world: World { bots, gate, dice, scripted: VecDeque::new() } }
    }

    /// Sets up one robot.
    pub fn bot(&mut self, token: &str, options: BotOptions) {
        self.world.bots.insert(token, options);
    }

    /// From now on a token that was not set up is unknown.
    pub fn only_known(&mut self) {
        self.world.bots.only_named = true;
    }

    /// Sets the gate that counts calls by address (DingTalk).
    pub fn gate(&mut self, limit: Limit, ban: Duration) {
        self.world.gate = Gate::new(limit, ban);
    }

    /// What is answered to the next message that passes every check.
    pub fn script(&mut self, scripted: Scripted) {
        self.world.scripted.push_back(scripted);
    }

    /// Forgets what was scripted.
    pub fn unscript(&mut self) {
        self.world.scripted.clear();
    }

    /// Decides on one request, which arrived at `now`.
    pub fn answer(&mut self, request: &Received, now: Timestamp) -> Answered {
        match self.platform {
            Platform::Plain => plain::answer(&mut self.world, request, now),
            Platform::Wecom => wecom::answer(&mut self.world, request, now),
            Platform::Dingtalk => dingtalk::answer(&mut self.world, request, now),
            Platform::Lark => lark::answer(&mut self.world, request, now),
        }
    }
}
