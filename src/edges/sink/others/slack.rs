//! Slack incoming webhooks: plain words for answers.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Call, Judged, Said, outside_code, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::{text, unknown_members};

const TEXT: usize = 40_000;
const KNOWN: [&str; 14] = [
    "text",
    "blocks",
    "attachments",
    "thread_ts",
    "unfurl_links",
    "unfurl_media",
    "mrkdwn",
    "channel",
    "username",
    "icon_url",
    "icon_emoji",
    "link_names",
    "reply_broadcast",
    "metadata",
];

pub(super) fn judge(mut call: Call<'_>) -> Judged {
    let path = call.request.path().strip_prefix("/services/");
    let Some(token) = path.and_then(|path| path.splitn(3, '/').nth(2)).map(str::to_owned) else {
        return Err(Said::no_such_path("a Slack webhook is called at /services/T…/B…/TOKEN"));
    };
    let only_named = call.world.bots.only_named;
    match call.bot(&token).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(Said::text(403, "team_disabled").why("the workspace is disabled")),
        Some(State::Disbanded) => return Err(Said::text(410, "channel_is_archived").why("the channel is archived")),
        None if only_named => return Err(Said::text(403, "invalid_token").why("no webhook has this token")),
        _ => return Err(Said::text(404, "no_service").why("the webhook was removed")),
    }
    if let Err(wait) = call.charge(&token) {
        return Err(Said::text(429, "rate_limited")
            .header("retry-after", wait)
            .why("more than Slack takes in a second"));
    }
    let Some(message) = read(&mut call) else {
        return Err(Said::text(400, "invalid_payload").why("the body is neither JSON nor a form with a payload"));
    };
    unknown_members(&message, "", &KNOWN, &mut call.judgement.ignored_members);
    let list = |name: &str| message.get(name).and_then(Value::as_array);
    if text(&message, "text").is_none() && list("blocks").is_none() && list("attachments").is_none() {
        return Err(Said::text(400, "no_text").why("there is no text, no block and no attachment"));
    }
    if list("attachments").is_some_and(|list| list.len() > 100) {
        return Err(Said::text(400, "too_many_attachments").why("more than 100 attachments"));
    }
    if let Some(why) = list("blocks").and_then(|blocks| bad_blocks(blocks)) {
        return Err(Said::text(400, "invalid_blocks").why(why));
    }
    if let Some(scripted) = call.scripted(&token) {
        let said = Said::text(status_of(scripted.code), scripted.message);
        return if scripted.code == 0 { Ok(Said { status: 200, ..said }) } else { Err(said.why("scripted")) };
    }
    let shown = text(&message, "text").unwrap_or_default();
    if shown.chars().count() > TEXT {
        let cut: String = shown.chars().take(TEXT).collect();
        call.judgement.notes.push(format!("the text is cut to {TEXT} characters"));
        call.judgement.stored = Some(json!({"text": cut}));
    }
    mentions(&mut call, &format!("{shown}{}", message.get("blocks").unwrap_or(&Value::Null)));
    Ok(Said::text(200, "ok"))
}

fn read(call: &mut Call<'_>) -> Option<Value> {
    let is_form = call.request.header("content-type").is_some_and(|kind| kind.contains("x-www-form-urlencoded"));
    if !is_form {
        return call.json().filter(Value::is_object);
    }
    let (_, payload) = form_urlencoded::parse(&call.request.body).find(|(name, _)| name == "payload")?;
    serde_json::from_str(&payload).ok()
}

fn bad_blocks(blocks: &[Value]) -> Option<String> {
    const TYPES: [&str; 9] =
        ["section", "header", "divider", "context", "actions", "image", "rich_text", "video", "input"];
    if blocks.len() > 50 {
        return Some(format!("{} of 50 blocks", blocks.len()));
    }
    blocks.iter().find_map(|block| {
        let kind = text(block, "type").unwrap_or_default();
        let length = text(&block["text"], "text").unwrap_or_default().chars().count();
        match kind {
            _ if !TYPES.contains(&kind) => Some(format!("there is no block {kind}")),
            "section" if length > 3000 => Some(format!("a section has {length} of 3000 characters")),
            "header" if length > 150 => Some(format!("a header has {length} of 150 characters")),
            _ => None,
        }
    })
}

/// `<@U…>`, `<!subteam^S…>` and the three that call everybody.
fn mentions(call: &mut Call<'_>, shown: &str) {
    for rest in outside_code(shown).split('<').skip(1) {
        let Some((tag, _)) = rest.split_once('>') else { continue };
        let tag = tag.split('|').next().unwrap_or_default();
        let mentions = &mut call.judgement.mentions;
        match (tag.strip_prefix('@'), tag.strip_prefix('!')) {
            (Some(user), _) => mentions.user(user),
            (_, Some("here" | "channel" | "everyone")) => mentions.all = true,
            (_, Some(group)) => match group.strip_prefix("subteam^") {
                Some(group) => mentions.user(group),
                None => mentions.unresolved(tag),
            },
            _ => {}
        }
    }
}
