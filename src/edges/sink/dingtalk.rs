//! DingTalk group robots (钉钉): one quota with a long penalty, and 310000 for four different reasons.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::words::event::JSON;

use super::bots::{Bot, State, World};
use super::judgement::{Answered, Judgement, Mentions, Refused};
use super::limiter::after;
use super::received::Received;
use super::shape::{address_allowed, text, texts, unknown_members};
use super::{reply, strict};

const SEND: &str = "/robot/send";
const JSON_UTF8: &str = "application/json;charset=utf-8";
/// An hour, in the unit of the timestamp.
const WINDOW_MS: i64 = 3_600_000;
const BODY: usize = 20_000;
const MORE: &str = ", more: [https://ding-doc.dingtalk.com/doc#/serverapi2/qf2nxq]";

/// A refusal with the platform's words, or the gate that knows no errcode.
enum No {
    Refused(Refused),
    Gate,
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

pub(super) fn answer(world: &mut World, request: &Received, now: Timestamp) -> Answered {
    if request.path() != SEND {
        return reply::no_such_path("a DingTalk robot is called at /robot/send?access_token=TOKEN");
    }
    let mut judgement = Judgement::default();
    let (code, errmsg) = match judge(world, request, now, &mut judgement) {
        Ok(words) => {
            judgement.accepted = true;
            (0, words)
        }
        Err(No::Refused(refused)) => {
            judgement.why = refused.why;
            (refused.code, refused.message)
        }
        Err(No::Gate) => return flooded(world, judgement),
    };
    judgement.code = Some(code);
    reply::json(200, JSON_UTF8, &json!({"errcode": code, "errmsg": errmsg}), judgement)
}

/// The gate in front of the robots answers with something that is no answer of a robot.
fn flooded(world: &mut World, mut judgement: Judgement) -> Answered {
    judgement.why = "too many calls from this address".to_owned();
    if world.bots.default.variants.flood_html {
        return reply::page(200, "<title>亲，访问被拒绝</title>", judgement);
    }
    let uuid = format!("{:032x}", world.dice.u128(..));
    let body = json!({"status": 1111, "wait": 5, "source": "x5", "punish": "deny", "uuid": uuid});
    reply::json(200, JSON_UTF8, &body, judgement)
}

fn judge(world: &mut World, request: &Received, now: Timestamp, judgement: &mut Judgement) -> Result<String, No> {
    if request.method != Method::POST {
        return Err(Refused::new(43002, "需要POST请求", format!("the method is {}", request.method)).into());
    }
    let token = request.query("access_token").unwrap_or_default();
    if token.is_empty() {
        return Err(Refused::new(40035, "缺少参数 access_token", "the query has no access_token").into());
    }
    if world.bots.get(&token).is_none() {
        let (code, message) = match world.bots.default.variants.unknown_token_400101 {
            true => (400_101, "access_token不存在"),
            false => (300_005, "token is not exist"),
        };
        return Err(Refused::new(code, message, "no robot has this access_token").into());
    }
    let essence = request.header("content-type").and_then(|header| header.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case(JSON) {
        let why = format!("the Content-Type is {essence:?}, not {JSON}");
        return Err(Refused::new(43004, "无效的HTTP HEADER Content-Type", why).into());
    }
    if !world.gate.lets_in(request.ip, now) {
        return Err(No::Gate);
    }
    if let Some(bot) = world.bots.get(&token) {
        let now = bot.clock(now);
        pace(bot, now)?;
        working(bot.options.state)?;
        if !bot.options.ip_allow.is_empty() && !address_allowed(&bot.options.ip_allow, request.ip) {
            let message = format!("ip {} not in whitelist", request.ip);
            return Err(Refused::new(310_000, message, "the robot does not allow this address").into());
        }
        signature(bot, request, now)?;
        content(bot, &request.body, judgement)?;
    }
    Ok(world.verdict(&token, "ok")?)
}

/// The first call too many mutes the robot for ten minutes.
fn pace(bot: &mut Bot, now: Timestamp) -> Result<(), Refused> {
    let variants = bot.options.variants;
    let muted = bot.muted_until.is_some_and(|until| now < until);
    let too_many = !muted && bot.full(now);
    if too_many || (muted && variants.penalty_prolongs) {
        bot.muted_until = Some(after(now, variants.penalty));
    }
    if muted || too_many {
        let why = if muted { "the robot is still mute" } else { "more calls than the robot may take: it is mute now" };
        return Err(match variants.too_fast_410100 {
            true => Refused::new(410_100, "发送速度太快而限流", why),
            false => Refused::new(130_101, "send too fast, exceed 20 times per minute", why),
        });
    }
    bot.charge(now);
    Ok(())
}

fn working(state: State) -> Result<(), Refused> {
    match state {
        State::Ok => Ok(()),
        State::Disabled => Err(Refused::new(400_102, "机器人已停用", "the robot is stopped")),
        State::Removed | State::Unknown => {
            Err(Refused::new(400_106, "机器人不存在", "the robot was removed from the group"))
        }
        State::Disbanded => Err(Refused::new(400_013, "群已被解散", "the group is gone")),
    }
}

/// Secret and time are signed, the body is not. The key is the secret, the message is the time with the secret.
fn signature(bot: &Bot, request: &Received, now: Timestamp) -> Result<(), Refused> {
    let Some(secret) = &bot.options.secret else { return Ok(()) };
    let bad_time = |why: &str| Err(Refused::new(310_000, "invalid timestamp", why));
    let Some(timestamp) = request.query("timestamp") else { return bad_time("the query has no timestamp") };
    let Ok(millis) = timestamp.parse::<i64>() else { return bad_time("the timestamp is not a number") };
    if millis.abs_diff(now.as_millisecond()) > WINDOW_MS as u64 {
        return bad_time("the timestamp, in milliseconds, is more than an hour off");
    }
    let Some(sign) = request.query("sign") else {
        return Err(Refused::new(310_000, "sign not match", "the query has no sign"));
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|_| Refused::new(310_000, "sign not match", "the secret cannot be a key"))?;
    mac.update(format!("{timestamp}\n{}", secret.expose()).as_bytes());
    if BASE64.encode(mac.finalize().into_bytes()) == sign {
        return Ok(());
    }
    // A plus that was not percent-encoded is a space here.
    let why = match sign.contains(' ') {
        true => "the sign was put into the query without percent-encoding",
        false => "the sign does not fit the timestamp and the secret",
    };
    Err(Refused::new(310_000, "sign not match", why))
}

fn content(bot: &Bot, body: &[u8], judgement: &mut Judgement) -> Result<(), Refused> {
    let Some(strict) = strict::parse(body) else {
        return Err(Refused::new(40035, "缺少参数 json", "the body is not JSON in UTF-8"));
    };
    judgement.duplicate_keys = strict.duplicates;
    let message = strict.value;
    let Some(kind) = text(&message, "msgtype") else {
        return Err(Refused::new(40035, "缺少参数 msgtype", "the body has no msgtype"));
    };
    let Some(required) = required_members(kind) else {
        return Err(Refused::new(400_105, "不支持的消息类型", format!("{kind} is not a type of message")));
    };
    note_ignored(&message, kind, &mut judgement.ignored_members);
    let part = message.get(kind).unwrap_or(&Value::Null);
    for member in required {
        if text(part, member).is_none() {
            let why = format!("{kind}.{member} is missing or empty");
            return Err(Refused::new(40035, format!("缺少参数 {kind}.{member}"), why));
        }
    }
    if kind == "feedCard" && part.get("links").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(Refused::new(40035, "缺少参数 feedCard.links", "feedCard.links is missing or empty"));
    }

    let shown = visible_texts(part, kind);
    let keywords = &bot.options.keywords;
    if !keywords.is_empty() && !keywords.iter().any(|keyword| shown.iter().any(|text| text.contains(keyword.as_str())))
    {
        let more = if bot.options.variants.keyword_more { MORE } else { "" };
        let why = format!("no text that the group sees has a keyword ({})", keywords.join(", "));
        return Err(Refused::new(310_000, format!("keywords not in content{more}"), why));
    }
    if body.len() > BODY {
        let why = format!("the body has {} of {BODY} bytes", body.len());
        return Err(Refused::new(460_101, "message too long, exceed 20000 bytes", why));
    }
    judgement.mentions = mentions(&message, part, kind);
    Ok(())
}

/// The texts that a type cannot do without; `None` for a type that does not exist.
fn required_members(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "text" => &["content"],
        "markdown" | "actionCard" => &["title", "text"],
        "link" => &["title", "text", "messageUrl"],
        "feedCard" => &[],
        _ => return None,
    })
}

fn note_ignored(message: &Value, kind: &str, ignored: &mut Vec<String>) {
    match kind {
        "text" | "markdown" => unknown_members(message, "", &["msgtype", kind, "at"], ignored),
        _ => unknown_members(message, "", &["msgtype", kind], ignored),
    }
    let known: &[&str] = match kind {
        "text" => &["content"],
        "markdown" => &["title", "text"],
        "link" => &["title", "text", "messageUrl", "picUrl"],
        "actionCard" => &["title", "text", "btnOrientation", "hideAvatar", "singleTitle", "singleURL", "btns"],
        _ => &["links"],
    };
    unknown_members(&message[kind], kind, known, ignored);
    if matches!(kind, "text" | "markdown") {
        unknown_members(&message["at"], "at", &["atMobiles", "atUserIds", "isAtAll"], ignored);
    }
    for (list, known) in [("links", ["title", "messageURL", "picURL"]), ("btns", ["title", "actionURL", ""])] {
        let entries = message[kind].get(list).and_then(Value::as_array).into_iter().flatten();
        for (n, entry) in entries.enumerate() {
            unknown_members(entry, &format!("{kind}.{list}.{n}"), &known, ignored);
        }
    }
}

fn visible_texts<'a>(part: &'a Value, kind: &str) -> Vec<&'a str> {
    match kind {
        "text" => text(part, "content").into_iter().collect(),
        "feedCard" => {
            let links = part.get("links").and_then(Value::as_array).into_iter().flatten();
            links.filter_map(|link| text(link, "title")).collect()
        }
        _ => ["title", "text"].into_iter().filter_map(|member| text(part, member)).collect(),
    }
}

/// A number or an id is called only if it also stands in the text as `@138…`; everybody needs no text.
fn mentions(message: &Value, part: &Value, kind: &str) -> Mentions {
    let mut mentions = Mentions::default();
    let shown = match kind {
        "text" => text(part, "content"),
        "markdown" => text(part, "text"),
        _ => return mentions,
    };
    let (Some(shown), Some(at)) = (shown, message.get("at")) else { return mentions };
    mentions.all = at.get("isAtAll").and_then(Value::as_bool).unwrap_or(false);
    for number in texts(at, "atMobiles") {
        if calls(shown, number) { mentions.mobile(number) } else { mentions.unresolved(number) }
    }
    for id in texts(at, "atUserIds") {
        if calls(shown, id) { mentions.user(id) } else { mentions.unresolved(id) }
    }
    mentions
}

/// Whether `@value` stands in the text, and not only as the beginning of a longer one.
fn calls(shown: &str, value: &str) -> bool {
    let wanted = format!("@{value}");
    !value.is_empty()
        && shown.match_indices(&wanted).any(|(at, _)| {
            !shown[at + wanted.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
        })
}
