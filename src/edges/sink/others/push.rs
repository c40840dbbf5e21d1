//! ntfy, Gotify and Bark.

use serde_json::{Value, json};

use super::{Call, Judged, Said, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::{text, unknown_members};

pub(super) fn ntfy(mut call: Call<'_>) -> Judged {
    const KNOWN: [&str; 17] = [
        "topic",
        "message",
        "title",
        "priority",
        "tags",
        "click",
        "icon",
        "actions",
        "delay",
        "markdown",
        "attach",
        "filename",
        "email",
        "call",
        "cache",
        "firebase",
        "sequence_id",
    ];
    if call.request.path() != "/" {
        return Err(Said::no_such_path("ntfy takes JSON at its root, with the topic in it"));
    }
    if call.request.body.len() > 64 * 1024 {
        return Err(limited(413, 41_303, "JSON body too large"));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(limited(400, 40_024, "invalid request: request body must be valid JSON"));
    };
    let topic = text(&message, "topic").unwrap_or_default().to_owned();
    if topic.is_empty() || !topic.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
        return Err(limited(400, 40_009, "invalid request: topic invalid"));
    }
    match call.bot(&topic).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(limited(429, 42_909, "limit reached: too many auth failures")),
        _ => return Err(limited(403, 40_301, "forbidden")),
    }
    if !call.has_bearer(&topic) {
        return Err(limited(401, 40_101, "unauthorized"));
    }
    if call.charge(&topic).is_err() {
        return Err(limited(429, 42_901, "limit reached: too many requests"));
    }
    unknown_members(&message, "", &KNOWN, &mut call.judgement.ignored_members);
    if message.get("priority").is_some_and(|priority| !priority.as_i64().is_some_and(|n| (1..=5).contains(&n))) {
        return Err(limited(400, 40_007, "invalid request: priority parameter is invalid"));
    }
    if let Some(scripted) = call.scripted(&topic).filter(|scripted| scripted.code != 0) {
        return Err(limited(status_of(scripted.code / 100), scripted.code, &scripted.message));
    }
    let shown = text(&message, "message").unwrap_or("triggered");
    if shown.len() > 4096 {
        call.judgement.notes.push("the message has more than 4096 bytes: it becomes a file".to_owned());
        call.judgement.stored = Some(json!({"message": "You received a file: attachment.txt"}));
    }
    let body =
        json!({"id": "sPs71M8A2T", "time": call.now.as_second(), "event": "message", "topic": topic, "message": shown});
    Ok(Said::json(200, &body))
}

fn limited(http: u16, code: i64, error: &str) -> Said {
    let body = json!({"code": code, "http": http, "error": error, "link": "https://ntfy.sh/docs/publish/"});
    Said::json(http, &body).code(code).why(error)
}

pub(super) fn gotify(mut call: Call<'_>) -> Judged {
    if call.request.path() != "/message" {
        return Err(Said::no_such_path("Gotify takes messages at /message"));
    }
    let bearer = call.request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let given = call.request.header("x-gotify-key").or(bearer).map(str::to_owned);
    let token = given.or_else(|| call.request.query("token")).unwrap_or_default();
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(wrong(403, "Forbidden", "you are not allowed to access this api")),
        _ => {
            return Err(wrong(
                401,
                "Unauthorized",
                "you need to provide a valid access token or user credentials to access this api",
            ));
        }
    }
    if let Err(wait) = call.charge(&token) {
        return Err(Said::text(429, "too many requests\n")
            .header("retry-after", wait)
            .why("more than the proxy lets through"));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(wrong(400, "Bad Request", "the body is not JSON"));
    };
    unknown_members(
        &message,
        "",
        &["message", "title", "priority", "extras", "appid"],
        &mut call.judgement.ignored_members,
    );
    let Some(shown) = text(&message, "message") else {
        return Err(wrong(400, "Bad Request", "Field 'message' is required"));
    };
    if let Some(scripted) = call.scripted(&token).filter(|scripted| scripted.code != 0) {
        return Err(wrong(status_of(scripted.code), "Error", &scripted.message));
    }
    Ok(Said::json(
        200,
        &json!({"id": 25, "appid": 5, "message": shown, "title": message.get("title"), "date": call.now.to_string()}),
    ))
}

fn wrong(status: u16, error: &str, description: &str) -> Said {
    Said::json(status, &json!({"error": error, "errorCode": status, "errorDescription": description})).why(description)
}

/// What Apple takes of one notification.
const APPLE: usize = 4096;

/// What a Bark server sends to Apple: what it knows in a place of its own, all else as it came, and `<`, `>` and `&` escaped.
fn apple(message: &Value) -> String {
    let shown = |name: &str| text(message, name).unwrap_or_default();
    let alert = json!({"title": shown("title"), "subtitle": shown("subtitle"), "body": shown("body")});
    let mut pushed = json!({"aps": {
        "alert": alert, "badge": message.get("badge"), "category": "myNotificationCategory",
        "interruption-level": message.get("level"), "mutable-content": 1,
        "sound": format!("{}.caf", shown("sound")), "thread-id": shown("group"),
    }});
    let own = ["title", "subtitle", "body", "badge", "sound", "device_key", "device_keys"];
    for (name, value) in message.as_object().into_iter().flatten().filter(|(name, _)| !own.contains(&name.as_str())) {
        pushed[name.as_str()] = value.clone();
    }
    let escape = |text: String, (mark, code)| text.replace(mark, code);
    let escapes =
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
    escapes.into_iter().fold(pushed.to_string(), escape)
}

pub(super) fn bark(mut call: Call<'_>) -> Judged {
    if call.request.path() != "/push" {
        return Err(Said::no_such_path("Bark takes messages at /push"));
    }
    let Some(message) = call.json().filter(Value::is_object) else {
        return Err(said(400, "request bind failed: bad JSON"));
    };
    let many = message.get("device_keys").and_then(Value::as_array).cloned();
    let keys: Vec<String> = match &many {
        Some(keys) => keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => text(&message, "device_key").map(str::to_owned).into_iter().collect(),
    };
    let Some(first) = keys.first().cloned() else { return Err(said(400, "device key is empty")) };
    if let Err(wait) = call.charge(&first) {
        return Err(Said::text(429, "too many requests\n")
            .header("retry-after", wait)
            .why("more than the proxy lets through"));
    }
    let pushed = apple(&message);
    if pushed.len() > APPLE {
        let why = format!("{} bytes go to Apple, which takes {APPLE}", pushed.len());
        return Err(said(500, "push failed: APNs push failed: PayloadTooLarge").why(why));
    }
    let mut rows = Vec::new();
    for key in &keys {
        rows.push(match call.bot(key).map(|(_, state)| state) {
            Some(State::Ok) => (200, "success".to_owned(), key),
            Some(State::Disabled) => (500, "push failed: BadDeviceToken".to_owned(), key),
            _ => (400, "failed to get device token: failed to get device token from database".to_owned(), key),
        });
    }
    if let Some(scripted) = call.scripted(&first).filter(|scripted| scripted.code != 0) {
        return Err(said(status_of(scripted.code), &scripted.message));
    }
    if many.is_some() {
        let rows: Vec<Value> = rows
            .iter()
            .map(|(code, message, key)| json!({"code": code, "message": message, "device_key": key}))
            .collect();
        return Ok(Said::json(
            200,
            &json!({"code": 200, "message": "success", "data": rows, "timestamp": call.now.as_second()}),
        )
        .code(200));
    }
    match rows.pop() {
        Some((200, ..)) | None => {
            Ok(Said::json(200, &json!({"code": 200, "message": "success", "timestamp": call.now.as_second()}))
                .code(200))
        }
        Some((code, message, _)) => Err(said(code, &message)),
    }
}

fn said(code: u16, message: &str) -> Said {
    Said::json(code, &json!({"code": code, "message": message, "timestamp": 0})).code(code.into()).why(message)
}
