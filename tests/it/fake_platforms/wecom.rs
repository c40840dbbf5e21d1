//! WeCom.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Method};
use postrider::edges::sink::{BotOptions, Limit, Platform, Received, Scripted, State, Variants};
use serde_json::{Value, json};
use std::time::Duration;

use super::{Stage, hello};

fn stage() -> Stage {
    Stage::new(Platform::Wecom, BotOptions::default())
}

fn text(content: &str) -> Value {
    json!({"msgtype": "text", "text": {"content": content}})
}

fn markdown(content: &str) -> Value {
    json!({"msgtype": "markdown", "markdown": {"content": content}})
}

#[test]
fn limits_are_in_bytes() {
    let mut stage = stage();
    let longest = "应".repeat(682) + "ab";
    assert_eq!(longest.len(), 2048);
    assert_eq!(stage.send(text(&longest)).code(), 0);
    let said = stage.send(text(&(longest + "c")));
    assert_eq!(said.code(), 40058);
    assert!(said.words().starts_with("text.content exceed max length 2048. invalid Request Parameter, hint: ["));

    let longest = "应".repeat(1365) + "a";
    assert_eq!(longest.len(), 4096);
    assert_eq!(stage.send(markdown(&longest)).code(), 0);
    let said = stage.send(markdown(&(longest.clone() + "b")));
    assert!(said.words().starts_with("markdown.content exceed max length 4096."), "{}", said.text);
    let v2 = json!({"msgtype": "markdown_v2", "markdown_v2": {"content": longest + "b"}});
    assert!(stage.send(v2).words().starts_with("markdown_v2.content exceed max length 4096."));
}

#[test]
fn the_twenty_first_call_of_a_minute_is_refused_in_both_kinds_of_minute() {
    let minute = Duration::from_secs(60);
    // 1,700,000,000 is 20 s into a minute of the clock.
    for (limit, opens_after) in [(Limit::fixed(20, minute), 40.0), (Limit::sliding(20, minute), 60.0)] {
        let mut stage = Stage::new(Platform::Wecom, BotOptions { limits: Some(vec![limit]), ..BotOptions::default() });
        for n in 1..=20 {
            assert_eq!(stage.send(text("x")).code(), 0, "call {n}");
        }
        let said = stage.send(text("x"));
        assert_eq!((said.status, said.code()), (200, 45009));
        assert!(said.words().starts_with("api freq out of limit, hint: ["), "{}", said.text);
        assert!(said.headers.iter().all(|(name, _)| name != "retry-after"));
        stage.wait(opens_after - 0.001);
        assert_eq!(stage.send(text("x")).code(), 45009, "{limit:?}");
        stage.wait(0.001);
        assert_eq!(stage.send(text("x")).code(), 0, "{limit:?}");
    }
}

#[test]
fn refused_messages_count_unless_told_otherwise() {
    for (charge_failed, expected) in [(true, 45009), (false, 0)] {
        let variants = Variants { charge_failed, ..Variants::default() };
        let mut stage = Stage::new(Platform::Wecom, BotOptions { variants, ..BotOptions::default() });
        for _ in 0..20 {
            assert_eq!(stage.send(text("")).code(), 44004);
        }
        assert_eq!(stage.send(text("x")).code(), expected, "charge_failed {charge_failed}");
    }
}

#[test]
fn the_key_and_the_state_of_the_robot_come_first() {
    let mut stage = stage();
    for (key, code) in [("", 93000), ("unknown", 93000), ("removed", 93000), ("disabled", 93004)] {
        let said = stage.send_to(key, "not json");
        assert_eq!((said.status, said.code()), (200, code), "{key}");
    }
    stage.fake.only_known();
    let said = stage.send_to("never-seen", text("x"));
    assert_eq!(said.code(), 93000);
    assert!(said.words().starts_with("invalid webhook url, hint: ["));
    stage.fake.bot("never-seen", BotOptions::default());
    assert_eq!(stage.send_to("never-seen", text("x")).code(), 0);
    stage.fake.bot("gone", BotOptions { state: State::Removed, ..BotOptions::default() });
    assert_eq!(stage.send_to("gone", text("x")).code(), 93000);
}

#[test]
fn what_varies_varies() {
    let mut stage = stage();
    let (first, second) = (stage.send("{}"), stage.send("{}"));
    assert_ne!(first.words(), second.words());
    assert!(
        first
            .words()
            .ends_with("from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=40008")
    );
    let hint = first.words().split_once("hint: [").unwrap().1.split_once(']').unwrap().0;
    assert!(hint.len() >= 19 && hint.bytes().all(|byte| byte.is_ascii_digit()), "{hint}");
}

#[test]
fn a_body_that_is_not_json() {
    let mut stage = stage();
    let said = stage.send("{'msgtype': 'text'}");
    assert_eq!(said.code(), 40008);
    assert!(said.words().contains("Warning: wrong json format."));
    // GBK for 你 inside.
    let request = Received::post(
        "/cgi-bin/webhook/send?key=K",
        &b"{\"msgtype\":\"text\",\"text\":{\"content\":\"\xc4\xe3\"}}"[..],
    );
    let said = stage.request(&request);
    assert_eq!(said.code(), 44004);
    assert!(said.words().contains("Warning: wrong json format."));

    stage.fake.script(Scripted { code: 0, message: "ok. Warning: wrong json format. ".to_owned() });
    let said = stage.send(text("x"));
    assert_eq!(said.text, r#"{"errcode":0,"errmsg":"ok. Warning: wrong json format. "}"#);
    assert_eq!(stage.send(text("x")).text, r#"{"errcode":0,"errmsg":"ok"}"#);
}

#[test]
fn types_and_empty_contents() {
    let mut stage = stage();
    for (body, code) in [
        (json!([]), 40008),
        (json!({"text": {"content": "x"}}), 40008),
        (json!({"msgtype": "post", "post": {}}), 40008),
        (json!({"msgtype": "text"}), 44004),
        (json!({"msgtype": "markdown", "markdown": {"content": ""}}), 44004),
        (json!({"msgtype": "markdown", "text": {"content": "x"}}), 44004),
        (json!({"msgtype": "markdown_v2", "markdown_v2": {"content": "x"}}), 0),
    ] {
        assert_eq!(stage.send(&body).code(), code, "{body}");
    }
}

#[test]
fn a_get_is_refused_in_the_platforms_own_words() {
    let mut request = Received::post("/cgi-bin/webhook/send?key=K", "");
    request.method = Method::GET;
    let said = stage().request(&request);
    assert_eq!((said.status, said.code()), (200, 43002));
}

#[test]
fn mentions_follow_the_type() {
    let mut stage = stage();
    let said = stage.send(json!({"msgtype": "text", "text": {
        "content": "<@zhang> hi", "mentioned_list": ["li", "@all"], "mentioned_mobile_list": ["13800000000"],
    }}));
    let mentions = said.judgement.mentions;
    assert!(mentions.all);
    assert_eq!(
        (mentions.users, mentions.mobiles),
        (vec!["zhang".to_owned(), "li".to_owned()], vec!["13800000000".to_owned()])
    );

    let said = stage
        .send(json!({"msgtype": "markdown", "markdown": {"content": "<@zhang> <@all>", "mentioned_list": ["@all"]}}));
    assert_eq!(said.judgement.mentions.users, ["zhang"]);
    assert!(!said.judgement.mentions.all);
    assert_eq!(said.judgement.ignored_members, ["markdown.mentioned_list"]);

    let said = stage.send(json!({"msgtype": "markdown_v2", "markdown_v2": {"content": "<@zhang>"}}));
    assert!(said.judgement.mentions.is_empty());
    assert_eq!(said.judgement.mentions.unresolved, ["zhang"]);
}

#[test]
fn a_list_at_the_top_calls_nobody() {
    let said = stage().send(json!({"msgtype": "text", "text": {"content": "x"}, "mentioned_list": ["@all"]}));
    assert_eq!(said.code(), 0);
    assert!(said.judgement.mentions.is_empty());
    assert_eq!(said.judgement.ignored_members, ["mentioned_list"]);
}

#[test]
fn news_are_cut_without_a_word() {
    let mut stage = stage();
    let article = |title: &str| json!({"title": title, "url": "https://example.com"});
    let news = |articles: Vec<Value>| json!({"msgtype": "news", "news": {"articles": articles}});
    assert_eq!(stage.send(news(vec![])).code(), 45008);
    assert_eq!(stage.send(news(vec![article("t"); 9])).code(), 45008);
    assert_eq!(stage.send(news(vec![json!({"title": "t"})])).code(), 40058);
    assert_eq!(stage.send(news(vec![article("t"); 8])).code(), 0);
    let said = stage.send(news(vec![article(&"应".repeat(43))]));
    assert_eq!(said.code(), 0);
    let stored = said.judgement.stored.unwrap();
    assert_eq!(stored["news"]["articles"][0]["title"], "应".repeat(42));
}

#[test]
fn images_carry_their_digest() {
    let mut stage = stage();
    let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg==";
    let image = |base64: &str, md5: &str| json!({"msgtype": "image", "image": {"base64": base64, "md5": md5}});
    assert_eq!(stage.send(image(base64, "0b0b49a6089daffae6d2eb6ee4c5a815")).code(), 0);
    assert_eq!(stage.send(image(base64, "0b0b49a6089daffae6d2eb6ee4c5a816")).code(), 40058);
    assert_eq!(stage.send(image("%", "")).code(), 40058);
    assert_eq!(stage.send(image(&BASE64.encode("GIF89a"), "")).code(), 40058);
    let huge = [&b"\xff\xd8\xff"[..], &vec![0; 2 * 1024 * 1024]].concat();
    assert_eq!(stage.send(image(&BASE64.encode(huge), "")).code(), 40009);
}

#[test]
fn cards_have_rules() {
    let mut stage = stage();
    let card = |card: Value| json!({"msgtype": "template_card", "template_card": card});
    let action = json!({"type": 1, "url": "https://example.com"});
    for (body, code) in [
        (json!({"card_type": "text_notice", "main_title": {"title": "t"}, "card_action": action}), 0),
        (json!({"card_type": "text_notice", "sub_title_text": "t", "card_action": action}), 0),
        (json!({"card_type": "text_notice", "card_action": action}), 40058),
        (json!({"card_type": "text_notice", "sub_title_text": "t"}), 40058),
        (
            json!({"card_type": "text_notice", "sub_title_text": "t", "card_action": action, "jump_list": [1, 2, 3, 4]}),
            40058,
        ),
        (
            json!({"card_type": "news_notice", "main_title": {"title": "t"}, "card_image": {"url": "u"}, "card_action": action}),
            0,
        ),
        (json!({"card_type": "news_notice", "main_title": {"title": "t"}, "card_action": action}), 40058),
        (
            json!({"card_type": "news_notice", "main_title": {"title": "t"}, "card_image": {"url": "u"}, "card_action": {"type": 3}}),
            40058,
        ),
        (json!({"card_type": "vote_interaction"}), 40058),
    ] {
        assert_eq!(stage.send(card(body.clone())).code(), code, "{body}");
    }
}

fn form(field: &str, bytes: &[u8]) -> Received {
    let mut body =
        format!("--x\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"a.txt\"\r\n\r\n").into_bytes();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--x--\r\n");
    let mut request = Received::post("/cgi-bin/webhook/upload_media?key=TOKEN&type=file", body);
    request.headers.insert("content-type", HeaderValue::from_static("multipart/form-data; boundary=x"));
    request
}

#[test]
fn a_file_belongs_to_one_robot_for_three_days() {
    let mut stage = stage();
    let said = stage.request(&form("media", b"release notes"));
    assert_eq!((said.code(), said.words()), (0, ""));
    assert_eq!((said.json["type"].as_str(), said.json["created_at"].as_str()), (Some("file"), Some("1700000000")));
    let id = said.json["media_id"].as_str().unwrap().to_owned();
    let file = json!({"msgtype": "file", "file": {"media_id": id}});
    assert_eq!(stage.send(&file).code(), 0);
    assert_eq!(stage.send(json!({"msgtype": "voice", "voice": {"media_id": id}})).code(), 40007);
    let said = stage.send_to("OTHER", &file);
    assert!(said.code() == 40007 && said.words().starts_with("invalid media_id, hint"), "{}", said.text);
    stage.wait(3.0 * 86400.0);
    assert_eq!(stage.send(&file).code(), 0);
    stage.wait(1.0);
    assert_eq!(stage.send(&file).code(), 40007);
}

#[test]
fn uploads_have_sizes() {
    let mut stage = stage();
    assert_eq!(stage.request(&form("media", b"12345")).code(), 40006);
    assert_eq!(stage.request(&form("media", b"123456")).code(), 0);
    assert_eq!(stage.request(&form("file", b"123456")).code(), 41005);
    let mut voice = form("media", &vec![0; 2 * 1024 * 1024 + 1]);
    voice.target = voice.target.replace("type=file", "type=voice");
    assert_eq!(stage.request(&voice).code(), 40006);
    voice.target = voice.target.replace("type=voice", "type=video");
    assert_eq!(stage.request(&voice).code(), 40004);
    assert_eq!(stage.send(hello(Platform::Wecom)).code(), 0);
}
