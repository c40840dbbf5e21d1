//! Telegram's Bot API: `sendMessage`, as its server reads it.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Call, Judged, Said, names, telegram_markup};
use crate::edges::sink::bots::State;
use crate::words::limits;

pub(super) fn judge(mut call: Call<'_>) -> Judged {
    let path = call.request.path().strip_prefix("/bot").and_then(|rest| rest.split_once('/'));
    let Some((token, method)) = path.map(|(token, method)| (token.to_owned(), method.to_owned())) else {
        return Err(refused(404, "Not Found", "a bot is called at /botTOKEN/sendMessage"));
    };
    if !token.contains(':') || token.starts_with('0') || token.len() > 80 {
        return Err(refused(401, "Unauthorized: invalid token specified", "this is no token: 123456:ABC…"));
    }
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Ok | State::Disabled | State::Disbanded) => {}
        _ => return Err(refused(401, "Unauthorized", "no bot has this token")),
    }
    if !method.eq_ignore_ascii_case("sendMessage") {
        return Err(refused(404, "Not Found: method not found", format!("this bot knows sendMessage, not {method}")));
    }
    let parameters = parameters(&mut call);
    let text = parameters.get("text").map(word).unwrap_or_default();
    let chat = parameters.get("chat_id").map(word).unwrap_or_default();
    let (plain, entities) = parsed(&text, parameters.get("parse_mode").map(word).as_deref())?;
    if chat.is_empty() {
        return Err(refused(400, "Bad Request: chat_id is empty", "there is no chat_id"));
    }
    match chat.as_str() {
        "unknown" => return Err(refused(400, "Bad Request: chat not found", "there is no such chat")),
        "-1" => {
            let said = refused(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                "the group is another one now",
            );
            let body = json!({"ok": false, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup chat", "parameters": {"migrate_to_chat_id": -1_001_234_567_890_i64}});
            return Err(Said { body: body.to_string(), ..said });
        }
        _ => {}
    }
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Disabled) => {
            return Err(refused(403, "Forbidden: bot was blocked by the user", "the bot is blocked"));
        }
        Some(State::Disbanded) => {
            return Err(refused(403, "Forbidden: the group chat was deleted", "the group is gone"));
        }
        _ => {}
    }
    if parameters.get("message_thread_id").is_some_and(|topic| word(topic) == "404") {
        return Err(refused(400, "Bad Request: message thread not found", "there is no such topic"));
    }
    let place = place(&mut call, &token, &chat);
    if let Err(wait) = call.charge(&place) {
        let description = format!("Too Many Requests: retry after {wait}");
        let body =
            json!({"ok": false, "error_code": 429, "description": description, "parameters": {"retry_after": wait}});
        let said = Said::json(429, &body).code(429).header("retry-after", wait);
        return Err(said.why("more than a chat takes"));
    }
    if let Some(scripted) = call.scripted(&token).filter(|scripted| scripted.code != 0) {
        return Err(refused(super::status_of(scripted.code), &scripted.message, "scripted"));
    }
    for name in names(&plain) {
        call.judgement.mentions.user(&name);
    }
    for id in text.split("<a href=\"tg://user?id=").skip(1) {
        call.judgement.mentions.user(&id.chars().take_while(char::is_ascii_digit).collect::<String>());
    }
    call.judgement.stored = (plain != text).then(|| json!({"text": plain}));
    let message = json!({"message_id": 1, "date": call.now.as_second(), "chat": {"id": chat}, "text": plain, "entities": entities});
    Ok(Said::json(200, &json!({"ok": true, "result": message})).code(200))
}

fn refused(status: u16, description: &str, why: impl Into<String>) -> Said {
    let body = json!({"ok": false, "error_code": status, "description": description});
    Said::json(status, &body).code(status.into()).why(why)
}

/// The text as it is shown, and what stands in it.
fn parsed(text: &str, mode: Option<&str>) -> Result<(String, Vec<Value>), Said> {
    if text.is_empty() {
        return Err(refused(400, "Bad Request: message text is empty", "there is no text"));
    }
    if text.len() > 32_768 {
        return Err(refused(
            400,
            "Bad Request: text is too long",
            format!("the text has {} of 32768 bytes", text.len()),
        ));
    }
    let parsed = match mode.unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "none" => Ok((text.to_owned(), Vec::new())),
        "html" => telegram_markup::html(text),
        "markdownv2" => telegram_markup::markdown_v2(text),
        "markdown" => Ok((text.to_owned(), Vec::new())),
        other => {
            return Err(refused(400, "Bad Request: unsupported parse_mode", format!("there is no parse_mode {other}")));
        }
    };
    let (plain, entities) = parsed.map_err(|why| {
        refused(400, &format!("Bad Request: can't parse entities: {why}"), "the markup is not Telegram's")
    })?;
    if plain.trim().is_empty() {
        return Err(refused(400, "Bad Request: message text is empty", "there is nothing but markup"));
    }
    let count = plain.chars().count();
    if count > 4096 {
        return Err(refused(
            400,
            "Bad Request: message is too long",
            format!("the text has {count} of 4096 characters"),
        ));
    }
    Ok((plain, entities))
}

/// JSON, a form, or the query.
fn parameters(call: &mut Call<'_>) -> serde_json::Map<String, Value> {
    let request = call.request;
    let form = |text: &[u8]| {
        form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect()
    };
    if request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return call.json().and_then(|value| value.as_object().cloned()).unwrap_or_default();
    }
    match request.target.split_once('?') {
        Some((_, query)) if request.body.is_empty() => form(query.as_bytes()),
        _ => form(&request.body),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A chat is counted by itself.
fn place(call: &mut Call<'_>, token: &str, chat: &str) -> String {
    let place = format!("{token} {chat}");
    let full = call.world.bots.count() >= limits::SINK_BOTS;
    match call.world.bots.get(token).map(|bot| bot.options.clone()) {
        Some(options) if !full => {
            if !call.world.bots.has(&place) {
                call.world.bots.insert(&place, options);
            }
            place
        }
        _ => token.to_owned(),
    }
}
