//! Mattermost, Google Chat and Webex.

use serde_json::{Value, json};

use super::{Call, Judged, Said, names, outside_code, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::{text, unknown_members};

pub(super) fn mattermost(mut call: Call<'_>) -> Judged {
    const KNOWN: [&str; 10] =
        ["text", "channel", "username", "icon_url", "icon_emoji", "attachments", "props", "type", "priority", "silent"];
    let Some(key) = call.request.path().strip_prefix("/hooks/").map(str::to_owned) else {
        return Err(Said::no_such_path("a Mattermost webhook is called at /hooks/KEY"));
    };
    match call.bot(&key).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => {
            return Err(trouble(501, "disabled", "Incoming webhooks have been disabled by the system admin."));
        }
        Some(State::Disbanded) => return Err(trouble(404, "channel", "Couldn't find the channel.")),
        _ => return Err(trouble(400, "invalid", "Invalid webhook.")),
    }
    if let Err(wait) = call.charge(&key) {
        let said = Said::text(429, "limit exceeded\n").header("retry-after", wait).header("x-ratelimit-remaining", 0);
        return Err(said.why("more than the server's limiter lets through"));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(trouble(400, "parse", "Unable to parse incoming data."));
    };
    unknown_members(&message, "", &KNOWN, &mut call.judgement.ignored_members);
    let shown = text(&message, "text").unwrap_or_default().to_owned();
    if shown.is_empty() && message.get("attachments").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(trouble(400, "text", "No text specified."));
    }
    if let Some(scripted) = call.scripted(&key).filter(|scripted| scripted.code != 0) {
        return Err(trouble(status_of(scripted.code), &scripted.message, "scripted"));
    }
    let posts = shown.chars().count().div_ceil(16_383);
    if posts > 1 {
        call.judgement.notes.push(format!("the text is split into {posts} posts"));
    }
    let code = outside_code(&shown);
    for name in names(&code) {
        match name.as_str() {
            "channel" | "all" | "here" => call.judgement.mentions.all = true,
            name => call.judgement.mentions.user(name),
        }
    }
    call.judgement.mentions.all |= ["<!channel>", "<!here>", "<!all>"].iter().any(|tag| code.contains(tag));
    Ok(Said::text(200, "ok"))
}

fn trouble(status: u16, what: &str, message: &str) -> Said {
    let id = format!("web.incoming_webhook.{what}.app_error");
    let body = json!({"id": id, "message": message, "detailed_error": "", "request_id": "r1", "status_code": status});
    Said::json(status, &body).why(message)
}

pub(super) fn google_chat(mut call: Call<'_>) -> Judged {
    if !(call.request.path().starts_with("/v1/spaces/") && call.request.path().ends_with("/messages")) {
        return Err(Said::no_such_path("a Google Chat webhook is called at /v1/spaces/SPACE/messages?key=…&token=…"));
    }
    let token = call.request.query("token").unwrap_or_default();
    if call.request.query("key").is_none_or(|key| key.is_empty()) {
        return Err(error(403, "PERMISSION_DENIED", "The request is missing a valid API key."));
    }
    let only_named = call.world.bots.only_named;
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(error(403, "PERMISSION_DENIED", "This Chat app is disabled.")),
        None if only_named || token.is_empty() => return Err(error(401, "UNAUTHENTICATED", "Invalid token.")),
        _ => return Err(error(404, "NOT_FOUND", "Space not found.")),
    }
    if call.charge(&token).is_err() {
        return Err(error(429, "RESOURCE_EXHAUSTED", "Quota exceeded for write requests per minute per space."));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(error(400, "INVALID_ARGUMENT", "Invalid JSON payload received."));
    };
    const KNOWN: [&str; 6] = ["text", "cardsV2", "thread", "accessoryWidgets", "fallbackText", "formattedText"];
    if let Some(unknown) =
        message.as_object().and_then(|members| members.keys().find(|name| !KNOWN.contains(&name.as_str())))
    {
        return Err(error(
            400,
            "INVALID_ARGUMENT",
            &format!("Invalid JSON payload received. Unknown name \"{unknown}\": Cannot find field."),
        ));
    }
    if text(&message, "text").is_none() && message.get("cardsV2").is_none() {
        return Err(error(400, "INVALID_ARGUMENT", "Message cannot be empty."));
    }
    if call.request.body.len() > 32_000 {
        return Err(error(400, "INVALID_ARGUMENT", "Message is too long: at most 32000 bytes."));
    }
    if let Some(scripted) = call.scripted(&token).filter(|scripted| scripted.code != 0) {
        return Err(error(status_of(scripted.code), "UNKNOWN", &scripted.message));
    }
    let shown = outside_code(text(&message, "text").unwrap_or_default());
    for rest in shown.split("<users/").skip(1) {
        match rest.split_once('>').map(|(id, _)| id) {
            Some("all") => call.judgement.mentions.all = true,
            Some(id) if id.bytes().all(|byte| byte.is_ascii_digit()) => call.judgement.mentions.user(id),
            Some(id) => call.judgement.mentions.unresolved(id),
            None => {}
        }
    }
    let space = call.request.path().trim_start_matches("/v1/").to_owned();
    Ok(Said::json(200, &json!({"name": format!("{space}/M1"), "text": shown, "createTime": call.now.to_string()})))
}

fn error(status: u16, word: &str, message: &str) -> Said {
    Said::json(status, &json!({"error": {"code": status, "message": message, "status": word}})).why(message)
}

pub(super) fn webex(mut call: Call<'_>) -> Judged {
    let refused = |status: u16, message: &str| {
        Said::json(status, &json!({"message": message, "errors": [{"description": message}], "trackingId": "T1"}))
            .why(message)
    };
    let Some(key) = call.request.path().strip_prefix("/v1/webhooks/incoming/").map(str::to_owned) else {
        return Err(Said::no_such_path("a Webex webhook is called at /v1/webhooks/incoming/KEY"));
    };
    match call.bot(&key).map(|(_, state)| state) {
        Some(State::Ok) => {}
        _ => return Err(refused(404, "The requested webhook could not be found.")),
    }
    if let Err(wait) = call.charge(&key) {
        return Err(refused(429, "Too Many Requests").header("retry-after", wait));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(refused(400, "The request could not be understood by the server due to malformed syntax."));
    };
    unknown_members(&message, "", &["text", "markdown", "attachments"], &mut call.judgement.ignored_members);
    let shown = text(&message, "markdown").or_else(|| text(&message, "text")).unwrap_or_default().to_owned();
    if shown.is_empty() && message.get("attachments").is_none() {
        return Err(refused(400, "Message text or file must be specified."));
    }
    if shown.len() > 7439 {
        return Err(refused(400, "Message length is limited to 7439 bytes."));
    }
    if let Some(scripted) = call.scripted(&key).filter(|scripted| scripted.code != 0) {
        return Err(refused(status_of(scripted.code), &scripted.message));
    }
    let code = outside_code(&shown);
    for rest in code.split("<@").skip(1) {
        let Some((whom, _)) = rest.split_once('>') else { continue };
        match whom.split_once(':') {
            None if whom == "all" => call.judgement.mentions.all = true,
            Some(("personEmail" | "personId", who)) => {
                call.judgement.mentions.user(who.split('|').next().unwrap_or_default());
            }
            _ => call.judgement.mentions.unresolved(whom),
        }
    }
    Ok(Said::text(204, ""))
}
