//! What WeCom checks in a message, by its type, and whom the message calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::bots::Bot;
use super::judgement::{Judgement, Mentions, Refused};
use super::shape::{cut, text, texts, unknown_members};

const TYPES: [&str; 8] = ["text", "markdown", "markdown_v2", "image", "news", "file", "voice", "template_card"];
const MEDIA_LIFE: SignedDuration = SignedDuration::from_hours(72);
const IMAGE: usize = 2 * 1024 * 1024;

pub(super) fn check(bot: &Bot, message: &Value, now: Timestamp, judgement: &mut Judgement) -> Result<(), Refused> {
    let kind = match message.get("msgtype").and_then(Value::as_str) {
        Some(kind) if TYPES.contains(&kind) => kind,
        Some(kind) => {
            return Err(Refused::new(40008, "invalid message type", format!("{kind} is none of {}", TYPES.join(", "))));
        }
        None => return Err(Refused::new(40008, "invalid message type", "the body has no msgtype")),
    };
    let content = message.get(kind).unwrap_or(&Value::Null);
    unknown_members(message, "", &["msgtype", kind], &mut judgement.ignored_members);
    unknown_members(content, kind, known_members(kind), &mut judgement.ignored_members);
    match kind {
        "text" => {
            let shown = sized(content, kind, 2048)?;
            judgement.mentions = text_mentions(content, shown);
        }
        "markdown" => {
            let shown = sized(content, kind, 4096)?;
            judgement.mentions = inline_mentions(shown);
        }
        "markdown_v2" => {
            let shown = sized(content, kind, 4096)?;
            for id in inline_ids(shown) {
                judgement.mentions.unresolved(id);
            }
        }
        "image" => image(content)?,
        "news" => judgement.stored = news(content, judgement)?,
        "file" | "voice" => media(bot, content, kind, now)?,
        _ => template_card(content)?,
    }
    Ok(())
}

fn known_members(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &["content", "mentioned_list", "mentioned_mobile_list"],
        "markdown" | "markdown_v2" => &["content"],
        "image" => &["base64", "md5"],
        "news" => &["articles"],
        "file" | "voice" => &["media_id"],
        _ => &[
            "card_type",
            "source",
            "main_title",
            "emphasis_content",
            "quote_area",
            "sub_title_text",
            "horizontal_content_list",
            "vertical_content_list",
            "jump_list",
            "card_action",
            "card_image",
            "image_text_area",
        ],
    }
}

/// The content of a text, which is bounded in bytes and not in characters.
fn sized<'a>(content: &'a Value, kind: &str, max: usize) -> Result<&'a str, Refused> {
    let Some(shown) = text(content, "content") else {
        return Err(Refused::new(44004, "empty content", format!("{kind}.content is missing or empty")));
    };
    if shown.len() > max {
        let message = format!("{kind}.content exceed max length {max}. invalid Request Parameter");
        return Err(Refused::new(40058, message, format!("{kind}.content has {} of {max} bytes", shown.len())));
    }
    Ok(shown)
}

fn text_mentions(content: &Value, shown: &str) -> Mentions {
    let mut mentions = inline_mentions(shown);
    for id in texts(content, "mentioned_list") {
        if id == "@all" { mentions.all = true } else { mentions.user(id) }
    }
    for number in texts(content, "mentioned_mobile_list") {
        if number == "@all" { mentions.all = true } else { mentions.mobile(number) }
    }
    mentions
}

fn inline_mentions(shown: &str) -> Mentions {
    let mut mentions = Mentions::default();
    for id in inline_ids(shown) {
        // Only the lists of a text can call everybody.
        if id == "all" { mentions.unresolved("@all") } else { mentions.user(id) }
    }
    mentions
}

/// The ids in `<@id>`.
fn inline_ids(shown: &str) -> impl Iterator<Item = &str> {
    shown.split("<@").skip(1).filter_map(|rest| {
        let (id, _) = rest.split_once('>')?;
        (!id.is_empty() && !id.contains(char::is_whitespace)).then_some(id)
    })
}

fn image(content: &Value) -> Result<(), Refused> {
    let bad = |name: &str, why: &str| Err(Refused::new(40058, format!("{name} invalid Request Parameter"), why));
    let Ok(bytes) = BASE64.decode(text(content, "base64").unwrap_or_default()) else {
        return bad("image.base64", "image.base64 is not base64");
    };
    if bytes.len() > IMAGE {
        return Err(Refused::new(
            40009,
            "invalid image size",
            format!("the image has {} of {IMAGE} bytes", bytes.len()),
        ));
    }
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") && !bytes.starts_with(b"\xff\xd8\xff") {
        return bad("image.base64", "the image is neither PNG nor JPEG");
    }
    let md5 = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if text(content, "md5").is_none_or(|given| !given.eq_ignore_ascii_case(&md5)) {
        return bad("image.md5", "image.md5 is not the digest of the bytes before base64");
    }
    Ok(())
}

/// Titles and descriptions that are too long are cut without a word: what the group sees then is returned.
fn news(content: &Value, judgement: &mut Judgement) -> Result<Option<Value>, Refused> {
    let articles = content.get("articles").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !(1..=8).contains(&articles.len()) {
        let why = format!("news.articles has {} entries, not 1 to 8", articles.len());
        return Err(Refused::new(45008, "article count out of limit", why));
    }
    let mut stored = articles.to_vec();
    let mut was_cut = false;
    for (n, article) in stored.iter_mut().enumerate() {
        let path = format!("news.articles.{n}");
        unknown_members(article, &path, &["title", "description", "url", "picurl"], &mut judgement.ignored_members);
        for name in ["title", "url"] {
            if text(article, name).is_none() {
                let message = format!("{path}.{name} missing. invalid Request Parameter");
                return Err(Refused::new(40058, message, format!("{path}.{name} is missing")));
            }
        }
        for (name, max) in [("title", 128), ("description", 512)] {
            let Some(Value::String(long)) = article.get_mut(name) else { continue };
            if long.len() > max {
                *long = cut(long, max).to_owned();
                was_cut = true;
                judgement.notes.push(format!("{path}.{name} is cut to {max} bytes"));
            }
        }
    }
    Ok(was_cut.then(|| json!({"msgtype": "news", "news": {"articles": stored}})))
}

fn media(bot: &Bot, content: &Value, kind: &str, now: Timestamp) -> Result<(), Refused> {
    let refused = |why: &str| Err(Refused::new(40007, "invalid media_id", why));
    // Every robot knows its own files only.
    let Some(media) = text(content, "media_id").and_then(|id| bot.media.get(id)) else {
        return refused("this robot has no such file");
    };
    if media.kind != kind {
        return refused("the file was uploaded as another type");
    }
    if now.duration_since(media.created) > MEDIA_LIFE {
        return refused("the file is older than three days");
    }
    Ok(())
}

fn template_card(card: &Value) -> Result<(), Refused> {
    let missing = |member: &str| {
        let message = format!("template_card.{member} missing. invalid Request Parameter");
        Err(Refused::new(40058, message, format!("template_card.{member} is missing")))
    };
    let nested = |outer: &str, inner: &str| card.get(outer).is_some_and(|outer| text(outer, inner).is_some());
    let action = card.get("card_action").and_then(|action| action.get("type")).and_then(Value::as_i64);
    match card.get("card_type").and_then(Value::as_str) {
        Some("text_notice") => {
            if !nested("main_title", "title") && text(card, "sub_title_text").is_none() {
                return missing("main_title.title");
            }
            if action.is_none() {
                return missing("card_action");
            }
        }
        Some("news_notice") => {
            if !nested("main_title", "title") {
                return missing("main_title.title");
            }
            if !nested("card_image", "url") {
                return missing("card_image.url");
            }
            if !action.is_some_and(|action| [1, 2].contains(&action)) {
                return missing("card_action.type");
            }
            let ratio = card["card_image"].get("aspect_ratio").and_then(Value::as_f64);
            if ratio.is_some_and(|ratio| !(1.3..=2.25).contains(&ratio)) {
                let message = "template_card.card_image.aspect_ratio invalid Request Parameter";
                return Err(Refused::new(40058, message, "card_image.aspect_ratio is not from 1.3 to 2.25"));
            }
        }
        _ => return missing("card_type"),
    }
    for (list, max) in [("horizontal_content_list", 6), ("jump_list", 3), ("vertical_content_list", 4)] {
        let count = card.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        if count > max {
            let message = format!("template_card.{list} exceed max length {max}. invalid Request Parameter");
            return Err(Refused::new(40058, message, format!("template_card.{list} has {count} of {max} entries")));
        }
    }
    Ok(())
}
