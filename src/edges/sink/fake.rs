//! A whole platform: its robots behind its paths, over a clock that is handed in.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::bots::{BotOptions, Bots, Scripted, World};
use super::judgement::Answered;
use super::limiter::{Gate, Limit};
use super::received::Received;
use super::{dingtalk, lark, others, plain, wecom};

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
    /// Slack incoming webhooks.
    Slack,
    /// Discord webhooks.
    Discord,
    /// Telegram's Bot API.
    Telegram,
    /// Microsoft Teams workflows.
    Teams,
    /// Mattermost incoming webhooks.
    Mattermost,
    /// Google Chat incoming webhooks.
    GoogleChat,
    /// An ntfy server.
    Ntfy,
    /// A Gotify server.
    Gotify,
    /// A Bark server.
    Bark,
    /// PagerDuty's Events API.
    Pagerduty,
    /// An Alertmanager.
    Alertmanager,
    /// GitHub's repository_dispatch.
    GithubDispatch,
    /// A receiver that verifies as Standard Webhooks says.
    StandardWebhooks,
    /// A receiver of PushPushGo's webhooks.
    Pushpushgo,
    /// A receiver of CloudEvents.
    Cloudevents,
    /// Webex incoming webhooks.
    Webex,
}

impl Platform {
    /// All of them with their names in hooks and on the command line.
    pub const ALL: [(Self, &'static str); 20] = [
        (Self::Plain, "plain"),
        (Self::Wecom, "wecom"),
        (Self::Dingtalk, "dingtalk"),
        (Self::Lark, "lark"),
        (Self::Slack, "slack"),
        (Self::Discord, "discord"),
        (Self::Telegram, "telegram"),
        (Self::Teams, "teams"),
        (Self::Mattermost, "mattermost"),
        (Self::GoogleChat, "google-chat"),
        (Self::Ntfy, "ntfy"),
        (Self::Gotify, "gotify"),
        (Self::Bark, "bark"),
        (Self::Pagerduty, "pagerduty"),
        (Self::Alertmanager, "alertmanager"),
        (Self::GithubDispatch, "github-dispatch"),
        (Self::StandardWebhooks, "standard-webhooks"),
        (Self::Pushpushgo, "pushpushgo"),
        (Self::Cloudevents, "cloudevents"),
        (Self::Webex, "webex"),
    ];

    /// Its name in hooks and on the command line; `plain` for none.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(platform, _)| *platform == self).map_or("plain", |(_, name)| name)
    }

    /// Whether it compares something with a secret: a signature, or a token.
    pub fn has_secret(self) -> bool {
        !matches!(
            self,
            Self::Wecom
                | Self::Slack
                | Self::Discord
                | Self::Telegram
                | Self::Teams
                | Self::Mattermost
                | Self::GoogleChat
                | Self::Gotify
                | Self::Bark
                | Self::Pagerduty
                | Self::Webex
        )
    }

    /// Whether its robots can want a keyword.
    pub fn has_keywords(self) -> bool {
        matches!(self, Self::Dingtalk | Self::Lark)
    }

    /// The path, with its query, under which the robot of this token is called.
    pub fn path(self, token: &str) -> String {
        match self {
            Self::Plain => "/".to_owned(),
            Self::Wecom => format!("/cgi-bin/webhook/send?key={token}"),
            Self::Dingtalk => format!("/robot/send?access_token={token}"),
            Self::Lark => format!("/open-apis/bot/v2/hook/{token}"),
            Self::Slack => format!("/services/T0/B0/{token}"),
            Self::Discord => format!("/api/webhooks/1/{token}"),
            Self::Telegram if token.contains(':') => format!("/bot{token}/sendMessage"),
            Self::Telegram => format!("/bot123456:{token}/sendMessage"),
            Self::Teams => {
                let asked = "api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0";
                format!("/workflows/{token}/triggers/manual/paths/invoke?{asked}&sig=sig-{token}")
            }
            Self::Mattermost => format!("/hooks/{token}"),
            Self::GoogleChat => format!("/v1/spaces/S/messages?key=K&token={token}"),
            Self::Webex => format!("/v1/webhooks/incoming/{token}"),
            Self::Gotify => "/message".to_owned(),
            Self::Bark => "/push".to_owned(),
            Self::Pagerduty => "/v2/enqueue".to_owned(),
            Self::Alertmanager => "/api/v2/alerts".to_owned(),
            Self::GithubDispatch => format!("/repos/{token}/dispatches"),
            Self::Ntfy | Self::StandardWebhooks | Self::Pushpushgo | Self::Cloudevents => "/".to_owned(),
        }
    }

    fn limits(self) -> Vec<Limit> {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            // Whether WeCom's minute is the clock's or the last one is not known; the last one is stricter.
            Self::Wecom | Self::Dingtalk => vec![Limit::sliding(20, MINUTE)],
            Self::Lark => vec![Limit::sliding(5, Duration::from_secs(1)), Limit::sliding(100, MINUTE)],
            // One a second, and some at once: how many is not published.
            Self::Slack => vec![Limit::sliding(5, Duration::from_secs(5))],
            // The webhook's, which is announced, and the channel's, which is not.
            Self::Discord => vec![Limit::sliding(5, Duration::from_secs(2)), Limit::sliding(30, MINUTE)],
            // One a second to a chat, three at once; and what a group takes in a minute.
            Self::Telegram => vec![Limit::sliding(3, Duration::from_secs(3)), Limit::sliding(20, MINUTE)],
            Self::GoogleChat => vec![Limit::sliding(60, MINUTE)],
            // Sixty, then one every five seconds.
            Self::Ntfy => vec![Limit::sliding(60, Duration::from_secs(300))],
            // No rate is documented.
            _ => Vec::new(),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name).map(|(platform, _)| *platform);
        let names = || Self::ALL.map(|(_, name)| name).join(", ");
        found.ok_or_else(|| format!("nobody here plays {name}, but {}", names()))
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
            other => others::answer(other, &mut self.world, request, now),
        }
    }
}
