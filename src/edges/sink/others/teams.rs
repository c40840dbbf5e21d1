//! A Teams workflow: it says that it has begun, and nothing of what comes of it.

use serde_json::{Value, json};

use super::{Call, Judged, Said, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::{text, unknown_members};

/// What Teams adds to a request before it counts.
const ADDED: usize = 4444;
const MOST: usize = 28_672;

pub(super) fn judge(mut call: Call<'_>) -> Judged {
    let path = call.request.path().strip_prefix("/workflows/");
    let Some(id) = path.and_then(|path| path.strip_suffix("/triggers/manual/paths/invoke")).map(str::to_owned) else {
        return Err(Said::no_such_path("a workflow is called at /workflows/ID/triggers/manual/paths/invoke?…&sig=…"));
    };
    match call.bot(&id).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(refused(404, "WorkflowTriggerIsNotEnabled", "the workflow is turned off")),
        _ => return Err(refused(404, "WorkflowNotFound", "there is no such workflow")),
    }
    if call.request.query("sig") != Some(format!("sig-{id}")) {
        return Err(refused(401, "DirectApiAuthorizationRequired", "the signature in the query is another one"));
    }
    if let Err(wait) = call.charge(&id) {
        return Err(refused(429, "WorkflowTriggerRequestsThrottled", "too many").header("retry-after", wait));
    }
    let Some(message) = call.json() else {
        return Err(refused(400, "InvalidRequestContent", "the body is not JSON"));
    };
    if call.request.body.len() + ADDED > MOST {
        let size = call.request.body.len();
        return Err(refused(
            413,
            "RequestEntityTooLarge",
            format!("{size} bytes, and Teams adds some before it counts {MOST}"),
        ));
    }
    unknown_members(&message, "", &["type", "attachments", "summary"], &mut call.judgement.ignored_members);
    let card = message.get("attachments").and_then(|list| list.get(0));
    let adaptive = |card: &&Value| text(card, "contentType") == Some("application/vnd.microsoft.card.adaptive");
    let Some(card) = card
        .filter(adaptive)
        .and_then(|card| card.get("content"))
        .filter(|card| text(card, "type") == Some("AdaptiveCard"))
    else {
        return Err(refused(400, "TriggerInputSchemaMismatch", "there is no Adaptive Card among the attachments"));
    };
    if let Some(scripted) = call.scripted(&id).filter(|scripted| scripted.code != 0) {
        return Err(refused(status_of(scripted.code), &scripted.message, "scripted"));
    }
    mentions(&mut call, card);
    Ok(Said::empty(202))
}

fn refused(status: u16, code: &str, why: impl Into<String>) -> Said {
    let why = why.into();
    Said::json(status, &json!({"error": {"code": code, "message": why}})).why(why)
}

/// Each `<at>` needs an entity of the same text.
fn mentions(call: &mut Call<'_>, card: &Value) {
    let entities = card["msteams"]["entities"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown = Vec::new();
    texts(card.get("body").unwrap_or(&Value::Null), &mut shown);
    for rest in shown.iter().flat_map(|shown| shown.split("<at>").skip(1)) {
        let Some((name, _)) = rest.split_once("</at>") else { continue };
        let tag = format!("<at>{name}</at>");
        match entities.iter().find(|entity| text(entity, "text") == Some(tag.as_str())) {
            Some(entity) => call.judgement.mentions.user(text(&entity["mentioned"], "id").unwrap_or_default()),
            None => call.judgement.mentions.unresolved(name),
        }
    }
}

fn texts<'a>(value: &'a Value, shown: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            shown.extend(members.get("text").and_then(Value::as_str));
            members.values().for_each(|member| texts(member, shown));
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, shown)),
        _ => {}
    }
}
