//! Discord webhooks: limits announced in headers, and one that is not.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Judged, Said};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::{text, texts, unknown_members};

const KNOWN: [&str; 16] = [
    "content",
    "username",
    "avatar_url",
    "tts",
    "embeds",
    "allowed_mentions",
    "components",
    "files",
    "payload_json",
    "attachments",
    "flags",
    "thread_name",
    "applied_tags",
    "poll",
    "nonce",
    "sticker_ids",
];

pub(super) fn judge(mut call: Call<'_>) -> Judged {
    let path = call.request.path().strip_prefix("/api/").unwrap_or_default();
    let path = path.find("webhooks/").map(|at| &path[at..]);
    let Some((id, token)) = path.and_then(|path| path.strip_prefix("webhooks/")?.split_once('/')) else {
        return Err(Said::no_such_path("a Discord webhook is called at /api/webhooks/ID/TOKEN"));
    };
    let (id, token) = (id.to_owned(), token.trim_end_matches('/').to_owned());
    let only_named = call.world.bots.only_named;
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disbanded) => {
            return Err(refused(
                400,
                220_001,
                "Webhooks posted to forum channels must have a thread_name or thread_id",
                "the channel is a forum",
            ));
        }
        None if only_named => return Err(refused(401, 50_027, "Invalid Webhook Token", "the token is another one")),
        _ => return Err(refused(404, 10_015, "Unknown Webhook", format!("there is no webhook {id}"))),
    }
    if call.request.header("user-agent").is_none_or(str::is_empty) {
        let page = "<!DOCTYPE html><html><title>Access denied</title></html>";
        return Err(Said::text(403, page).why("no User-Agent: the gate in front of Discord refuses that"));
    }
    if let Err(wait) = call.charge(&token) {
        let said = refused(429, 0, "", "more than the webhook or the channel takes");
        let body = json!({"message": "You are being rate limited.", "retry_after": wait as f64, "global": false});
        let said = Said { body: body.to_string(), code: None, ..said };
        let scope = announced(&mut call, &token, said.header("retry-after", wait)).header("x-ratelimit-scope", "user");
        return Err(scope);
    }
    let judged = content(&mut call, &token);
    match judged {
        Ok(said) => Ok(announced(&mut call, &token, said)),
        Err(said) => Err(announced(&mut call, &token, said)),
    }
}

fn content(call: &mut Call<'_>, token: &str) -> Judged {
    if !call.request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(refused(400, 50_035, "Invalid Form Body", "the Content-Type is not application/json"));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(refused(400, 50_109, "The request body contains invalid JSON.", "the body is not JSON"));
    };
    unknown_members(&message, "", &KNOWN, &mut call.judgement.ignored_members);
    let embeds = message.get("embeds").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let shown = text(&message, "content").unwrap_or_default().trim();
    if shown.is_empty() && embeds.is_empty() {
        return Err(refused(400, 50_006, "Cannot send an empty message", "there is neither content nor an embed"));
    }
    if let Some((path, most)) = too_long(&message, embeds) {
        let why = format!("{path} is longer than {most}");
        let said = refused(400, 50_035, "Invalid Form Body", why);
        let wrong = json!({"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": format!("Must be {most} or fewer in length.")}]});
        let body = json!({"message": "Invalid Form Body", "code": 50_035, "errors": {path: wrong}});
        return Err(Said { body: body.to_string(), ..said });
    }
    if let Some(scripted) = call.scripted(token).filter(|scripted| scripted.code != 0) {
        let status = match scripted.code {
            10_015 => 404,
            50_027 => 401,
            40_005 => 413,
            50_001 | 50_013 => 403,
            _ => 400,
        };
        return Err(refused(status, scripted.code, &scripted.message, "scripted"));
    }
    mentions(call, &message, shown);
    if call.request.query("wait").as_deref() != Some("true") {
        return Ok(Said::empty(204));
    }
    let number = call.now.as_millisecond().to_string();
    Ok(Said::json(200, &json!({"id": number, "channel_id": "1", "content": shown, "timestamp": call.now.to_string()})))
}

fn refused(status: u16, code: i64, message: &str, why: impl Into<String>) -> Said {
    Said::json(status, &json!({"message": message, "code": code})).code(code).why(why)
}

/// The first window as headers; the channel's is announced nowhere.
fn announced(call: &mut Call<'_>, token: &str, said: Said) -> Said {
    let now = call.now;
    let Some((limit, left, free)) = call.world.bots.get(token).and_then(|bot| bot.first_window(now)) else {
        return said;
    };
    let after = free.duration_since(now).as_secs_f64().max(0.0);
    let epoch = |time: Timestamp| time.as_millisecond() as f64 / 1000.0;
    said.header("x-ratelimit-limit", limit)
        .header("x-ratelimit-remaining", left)
        .header("x-ratelimit-reset", format!("{:.3}", epoch(free)))
        .header("x-ratelimit-reset-after", format!("{after:.3}"))
        .header("x-ratelimit-bucket", "5c4f2b7a")
}

/// What is longer than it may be, in characters.
fn too_long(message: &Value, embeds: &[Value]) -> Option<(String, usize)> {
    let size = |value: &Value, name: &str| text(value, name).unwrap_or_default().trim().chars().count();
    if size(message, "content") > 2000 {
        return Some(("content".to_owned(), 2000));
    }
    if embeds.len() > 10 {
        return Some(("embeds".to_owned(), 10));
    }
    let mut sum = 0;
    for (n, embed) in embeds.iter().enumerate() {
        for (name, most) in [("title", 256), ("description", 4096)] {
            let size = size(embed, name);
            sum += size;
            if size > most {
                return Some((format!("embeds.{n}.{name}"), most));
            }
        }
        let fields = embed.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if fields.len() > 25 {
            return Some((format!("embeds.{n}.fields"), 25));
        }
        for field in fields {
            for (name, most) in [("name", 256), ("value", 1024)] {
                let size = size(field, name);
                sum += size;
                if size > most {
                    return Some((format!("embeds.{n}.fields.{name}"), most));
                }
            }
        }
        for (part, name, most) in [("footer", "text", 2048), ("author", "name", 256)] {
            let size = size(&embed[part], name);
            sum += size;
            if size > most {
                return Some((format!("embeds.{n}.{part}.{name}"), most));
            }
        }
    }
    (sum > 6000).then(|| ("embeds".to_owned(), 6000))
}

/// Who stands in the text and may be called.
fn mentions(call: &mut Call<'_>, message: &Value, shown: &str) {
    let allowed = message.get("allowed_mentions");
    let parses = |what: &str| match allowed {
        None => what == "users",
        Some(allowed) => texts(allowed, "parse").any(|word| word == what),
    };
    let named = |what: &str, id: &str| allowed.is_some_and(|allowed| texts(allowed, what).any(|one| one == id));
    let mentions = &mut call.judgement.mentions;
    if ["@everyone", "@here"].iter().any(|word| shown.contains(word)) {
        if parses("everyone") { mentions.all = true } else { mentions.unresolved("@everyone") }
    }
    for rest in shown.split("<@").skip(1) {
        let Some((id, _)) = rest.split_once('>') else { continue };
        let (what, id) = id.strip_prefix('&').map_or(("users", id.trim_start_matches('!')), |role| ("roles", role));
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        if parses(what) || named(what, id) { mentions.user(id) } else { mentions.unresolved(id) }
    }
}
