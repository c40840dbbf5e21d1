//! Lark (Feishu 飞书) group robots: the signature stands in the body, and its key and message are the other way round
//! than DingTalk's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::bots::{Bot, State, Variants, World};
use super::judgement::{Answered, Judgement, Mentions, Refused};
use super::received::Received;
use super::shape::{address_allowed, text, unknown_members};
use super::{reply, strict};

const HOOK: &str = "/open-apis/bot/v2/hook/";
const JSON_UTF8: &str = "application/json; charset=utf-8";
const WINDOW_S: u64 = 3600;

pub(super) fn answer(world: &mut World, request: &Received, now: Timestamp) -> Answered {
    let Some(token) = request.path().strip_prefix(HOOK) else {
        return reply::no_such_path("a Lark robot is called at /open-apis/bot/v2/hook/TOKEN");
    };
    let token = token.strip_suffix('/').unwrap_or(token);
    let variants = world.bots.get(token).map_or(Variants::default(), |bot| bot.options.variants);
    let mut judgement = Judgement::default();
    let judged = judge(world, token, request, now, &mut judgement);
    match judged {
        Ok(words) => {
            judgement.accepted = true;
            judgement.code = Some(0);
            let body = match variants.old_success {
                true => json!({"Extra": null, "StatusCode": 0, "StatusMessage": words}),
                false => json!({"StatusCode": 0, "StatusMessage": words, "code": 0, "data": {}, "msg": words}),
            };
            reply::json(200, JSON_UTF8, &body, judgement)
        }
        Err(refused) => {
            judgement.code = Some(refused.code);
            judgement.why = refused.why;
            let status = if refused.code == 9499 && variants.bad_request_400 { 400 } else { 200 };
            // No StatusCode: a client that reads only that one, and takes an absent one for 0, loses this message.
            let body = json!({"code": refused.code, "data": {}, "msg": refused.message});
            reply::json(status, JSON_UTF8, &body, judgement)
        }
    }
}

fn judge(
    world: &mut World,
    token: &str,
    request: &Received,
    now: Timestamp,
    judgement: &mut Judgement,
) -> Result<String, Refused> {
    let Some(bot) = world.bots.get(token).filter(|bot| bot.options.state == State::Ok) else {
        let message = "param invalid: incoming webhook access token invalid";
        return Err(Refused::new(19001, message, "no working robot has this token"));
    };
    let now = bot.clock(now);
    let message = read(request, judgement)?;
    size(request.body.len(), bot.options.variants)?;
    if !bot.options.ip_allow.is_empty() && !address_allowed(&bot.options.ip_allow, request.ip) {
        return Err(Refused::new(19022, "Ip Not Allowed", format!("the robot does not allow {}", request.ip)));
    }
    signature(bot, &message, now, judgement)?;
    pace(bot, &mut world.dice, now)?;
    keyword(bot, &message)?;
    content(&message)?;
    judgement.mentions = mentions(bot, &message);
    world.verdict(token, "success")
}

fn bad_request(why: impl Into<String>) -> Refused {
    Refused::new(9499, "Bad Request", why)
}

/// The body, if it has the outer shape of a message.
fn read(request: &Received, judgement: &mut Judgement) -> Result<Value, Refused> {
    if request.method != Method::POST {
        return Err(bad_request(format!("the method is {}", request.method)));
    }
    let Some(strict) = strict::parse(&request.body) else {
        return Err(bad_request("the body is not JSON in UTF-8"));
    };
    judgement.duplicate_keys = strict.duplicates;
    let message = strict.value;
    if !message.is_object() {
        return Err(bad_request("the body is not a JSON object"));
    }
    let need = |why: String| Err(Refused::new(19002, "params error, msg_type need", why));
    let member = match message.get("msg_type") {
        None => return need("the body has no msg_type".to_owned()),
        Some(kind) => match kind.as_str() {
            Some("text") => "text",
            Some("post") => "post",
            Some("image") => "image_key",
            Some("share_chat") => "share_chat_id",
            Some("interactive") => "card",
            _ => return need(format!("{kind} is not a type of message")),
        },
    };
    let ignored = &mut judgement.ignored_members;
    if member == "card" {
        unknown_members(&message, "", &["msg_type", "card", "timestamp", "sign"], ignored);
        return Ok(message);
    }
    unknown_members(&message, "", &["msg_type", "content", "timestamp", "sign"], ignored);
    let Some(content) = message.get("content").filter(|content| content.is_object()) else {
        return Err(bad_request("content is not an object"));
    };
    unknown_members(content, "content", &[member], ignored);
    if member != "post" && text(content, member).is_none() {
        return Err(bad_request(format!("content.{member} is missing or empty")));
    }
    Ok(message)
}

fn size(bytes: usize, variants: Variants) -> Result<(), Refused> {
    let max = if variants.size_150_kib { 150 * 1024 } else { 20 * 1024 };
    if bytes <= max {
        return Ok(());
    }
    let why = format!("the body has {bytes} of {max} bytes");
    Err(if variants.size_150_kib { Refused::new(19036, "request body too large", why) } else { bad_request(why) })
}

/// The key is the time with the secret, and the message is empty.
fn signature(bot: &Bot, message: &Value, now: Timestamp, judgement: &mut Judgement) -> Result<(), Refused> {
    let Some(secret) = &bot.options.secret else { return Ok(()) };
    let fails = |why: &str| {
        let words = "sign match fail or timestamp is not within one hour from current time";
        Err(Refused::new(19021, words, why))
    };
    let timestamp = match message.get("timestamp") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            judgement.notes.push("the timestamp is a number; the documents say a string".to_owned());
            number.to_string()
        }
        _ => return fails("the body has no timestamp"),
    };
    let Ok(seconds) = timestamp.parse::<i64>() else { return fails("the timestamp is not a number") };
    if seconds.abs_diff(now.as_second()) > WINDOW_S {
        return fails("the timestamp, in seconds, is more than an hour off");
    }
    let Some(sign) = message.get("sign").and_then(Value::as_str) else { return fails("the body has no sign") };
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(format!("{timestamp}\n{}", secret.expose()).as_bytes()) else {
        return fails("the secret cannot be a key");
    };
    if BASE64.encode(mac.finalize().into_bytes()) == sign {
        return Ok(());
    }
    fails("the sign does not fit the timestamp and the secret")
}

fn pace(bot: &mut Bot, dice: &mut fastrand::Rng, now: Timestamp) -> Result<(), Refused> {
    let words = "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]";
    if bot.full(now) {
        return Err(Refused::new(11232, words, "more calls than a robot may take"));
    }
    // Everybody's alarm clock is set to the whole hour.
    let into_half_hour = now.as_second().rem_euclid(1800);
    if bot.options.variants.busy_hours && !(60..1740).contains(&into_half_hour) && dice.bool() {
        return Err(Refused::new(11232, words, "a busy minute: refused at random"));
    }
    bot.charge(now);
    Ok(())
}

/// Only texts that the group sees count, never the target of a link.
fn keyword(bot: &Bot, message: &Value) -> Result<(), Refused> {
    let keywords = &bot.options.keywords;
    if keywords.is_empty() {
        return Ok(());
    }
    let mut shown = Vec::new();
    for member in ["content", "card"] {
        visible_texts(message.get(member).unwrap_or(&Value::Null), &mut shown);
    }
    if keywords.iter().any(|keyword| shown.iter().any(|text| text.contains(keyword.as_str()))) {
        return Ok(());
    }
    let why = format!("no text that the group sees has a keyword ({})", keywords.join(", "));
    Err(Refused::new(19024, "Key Words Not Found", why))
}

fn visible_texts<'a>(value: &'a Value, shown: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(text) if ["text", "title", "content"].contains(&name.as_str()) => shown.push(text),
                    Some(_) => {}
                    None => visible_texts(member, shown),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visible_texts(item, shown)),
        _ => {}
    }
}

fn content(message: &Value) -> Result<(), Refused> {
    match message["msg_type"].as_str() {
        Some("post") => {
            let post = &message["content"]["post"];
            let languages = ["zh_cn", "en_us", "ja_jp"].map(|language| post.get(language));
            let Some(body) = languages.into_iter().flatten().next() else {
                return Err(bad_request("content.post has neither zh_cn nor en_us"));
            };
            let paragraphs = body.get("content").and_then(Value::as_array);
            if paragraphs.is_none_or(|paragraphs| !paragraphs.iter().all(Value::is_array)) {
                return Err(bad_request("the content of a post is a list of lists"));
            }
        }
        Some("interactive") if !message.get("card").is_some_and(Value::is_object) => {
            let why = match message.get("content") {
                Some(_) => "a card stands in card, not in content",
                None => "card is not an object",
            };
            let words =
                "Failed to create card content, ext=ErrCode: 200621; ErrMsg: parse card json err; ErrorValue: ; ";
            return Err(Refused::new(11246, words, why));
        }
        _ => {}
    }
    Ok(())
}

fn mentions(bot: &Bot, message: &Value) -> Mentions {
    let mut found = Vec::new();
    match message["msg_type"].as_str() {
        Some("text") => at_tags(message["content"]["text"].as_str().unwrap_or_default(), &["user_id"], &mut found),
        Some("post") => post_tags(&message["content"]["post"], &mut found),
        Some("interactive") => card_tags(&message["card"], &mut found),
        _ => {}
    }
    let mut mentions = Mentions::default();
    for id in found {
        match id.as_str() {
            "all" => mentions.all = true,
            id if known(bot, id) => mentions.user(id),
            id => mentions.unresolved(id),
        }
    }
    mentions
}

/// Without a list of members anything may be one, except what Lark never takes: numbers and mail addresses.
fn known(bot: &Bot, id: &str) -> bool {
    match &bot.options.members {
        Some(members) => members.iter().any(|member| member == id),
        None => {
            let digits = id.trim_start_matches('+');
            let phone = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
            // Which also leaves out mail addresses, and tags that have no id at all.
            let id_like = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            !id.is_empty() && id_like && !phone
        }
    }
}

/// The ids in `<at user_id="…">`, quoted or not. A tag without one of the wanted attributes calls nobody.
fn at_tags(shown: &str, wanted: &[&str], found: &mut Vec<String>) {
    for rest in shown.split("<at ").skip(1) {
        let Some((tag, _)) = rest.split_once('>') else { continue };
        let id = tag.split_whitespace().find_map(|attribute| {
            let (name, value) = attribute.split_once('=')?;
            wanted.contains(&name).then(|| value.trim_end_matches('/').trim_matches(['"', '\'']).to_owned())
        });
        // Shown under the whole tag, so that whoever wrote `email=` sees what became of it.
        found.push(id.unwrap_or_else(|| format!("<at {tag}>")));
    }
}

fn post_tags(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if members.get("tag").and_then(Value::as_str) == Some("at") => {
            found.push(text(value, "user_id").unwrap_or_default().to_owned());
        }
        Value::Object(members) => members.values().for_each(|member| post_tags(member, found)),
        Value::Array(items) => items.iter().for_each(|item| post_tags(item, found)),
        _ => {}
    }
}

/// Tags live only in the markdown of a card.
fn card_tags(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if matches!(members.get("tag").and_then(Value::as_str), Some("markdown" | "lark_md")) {
                at_tags(text(value, "content").unwrap_or_default(), &["id", "user_id"], found);
            }
            members.values().for_each(|member| card_tags(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| card_tags(item, found)),
        _ => {}
    }
}
