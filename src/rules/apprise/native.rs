//! URLs as vendors give them out: whose they are, by host and path.

use super::address::{Address, encoded};
use super::{Found, Setting, literal};

/// Host, beginning of the path, platform. A host that begins with a dot is the end of one.
const VENDORS: [(&str, &str, &str); 12] = [
    ("oapi.dingtalk.com", "robot/send", "dingtalk"),
    ("qyapi.weixin.qq.com", "cgi-bin/webhook/send", "wecom"),
    ("open.feishu.cn", "open-apis/bot/v2/hook/", "lark"),
    ("open.larksuite.com", "open-apis/bot/v2/hook/", "lark"),
    ("hooks.slack.com", "services/", "slack"),
    ("hooks.slack-gov.com", "services/", "slack"),
    ("discord.com", "api/", "discord"),
    ("discordapp.com", "api/", "discord"),
    (".logic.azure.com", "", "teams"),
    (".environment.api.powerplatform.com", "powerautomate/", "teams"),
    ("chat.googleapis.com", "v1/spaces/", "google-chat"),
    ("webexapis.com", "v1/webhooks/incoming/", "webex"),
];

pub(super) fn platform_of(address: &Address) -> Option<&'static str> {
    let (host, path) = (address.host(), address.path.join("/"));
    let whose = |(of, _, _): &&(&str, &str, &str)| match of.strip_prefix('.') {
        Some(_) => host.ends_with(of),
        None => host == *of || host.ends_with(&format!(".{of}")),
    };
    let vendor = VENDORS.iter().filter(whose).find(|(_, begin, _)| path.starts_with(begin));
    let mattermost = || {
        let [.., hooks, key] = address.path.as_slice() else { return None };
        let is_key = key.len() == 26 && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        (hooks == "hooks" && is_key).then_some("mattermost")
    };
    let other = || match (host.as_str(), address.path.as_slice()) {
        ("api.telegram.org", [bot, ..]) if bot.starts_with("bot") => Some("telegram"),
        ("ntfy.sh", [_]) => Some("ntfy"),
        ("api.day.app", [_, ..]) => Some("bark"),
        _ => None,
    };
    vendor.map(|(_, _, platform)| *platform).or_else(mattermost).or_else(other)
}

pub(super) fn read(url: &str, mut address: Address) -> Result<Found, &'static str> {
    if !url::Url::parse(url).is_ok_and(|url| url.has_host()) {
        return Err("this is no URL such as https://HOST/PATH");
    }
    if address.host().ends_with(".webhook.office.com") {
        return Err("Teams has ended its connectors, and this URL is of one: make a workflow in the channel");
    }
    let platform = platform_of(&address).unwrap_or("webhook");
    let mut found = Found { platform, ..Found::default() };
    match platform {
        "dingtalk" => {
            let token = address.take("access_token").ok_or("there is no access_token in this URL")?;
            found.secret("url", &format!("https://{}/robot/send?access_token={}", address.authority, encoded(&token)));
            let signed = address.take("sign").is_some();
            if address.take("timestamp").is_some() || signed {
                found.lose("`timestamp` and `sign`, which are made anew each time: give --secret secret");
            }
        }
        "telegram" => {
            let token = address.next().unwrap_or_default();
            found.secret("token", token.trim_start_matches("bot"));
            let chat = address.take("chat_id").ok_or("there is no chat in this URL: add ?chat_id=…")?;
            found.text("chat", &chat);
        }
        "ntfy" => found.text("topic", &address.next().unwrap_or_default()),
        "bark" => {
            found.secret("key", &address.next().unwrap_or_default());
            if !address.path.is_empty() {
                found.lose("the text in its path");
            }
        }
        "webhook"
            if address.password.is_none() && address.arguments.is_empty() && literal(url).as_str() == Some(url) =>
        {
            found.text("url", url);
        }
        // To the last character: what looks like an argument is a part of the credential.
        _ => found.secret("url", url),
    }
    if !found.options.iter().any(|(option, setting)| *option == "url" && holds_all(setting, url)) {
        let left = address.arguments.iter().map(|argument| format!("`{}`", argument.name));
        found.lost.extend(left);
    }
    Ok(found)
}

/// Whether the URL went over as it is.
fn holds_all(setting: &Setting, url: &str) -> bool {
    match setting {
        Setting::Value(value) => value.as_str() == Some(url),
        Setting::Secret(secret) => secret.expose() == url,
        Setting::Headers(_) => false,
    }
}
