//! The signs by which a bad fake is known, each turned into a test of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use postrider::edges::sink::{BotOptions, Limit, Platform, Received, Sink, SinkOptions, State, Variants};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

use super::{Stage, hello, with_keyword, with_secret};

const ALL: [Platform; 3] = [Platform::Wecom, Platform::Dingtalk, Platform::Lark];

fn hmac(key: &str, message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    BASE64.encode(mac.finalize().into_bytes())
}

/// A hello with this signature, made for the stage's time.
fn signed(platform: Platform, time: &str, sign: &str) -> Received {
    let mut body = hello(platform);
    if platform == Platform::Lark {
        body["timestamp"] = time.into();
        body["sign"] = sign.into();
        return Received::post(platform.path("TOKEN"), body.to_string());
    }
    let sign: String = url::form_urlencoded::byte_serialize(sign.as_bytes()).collect();
    Received::post(format!("{}&timestamp={time}&sign={sign}", platform.path("TOKEN")), body.to_string())
}

#[test]
fn no_limit_answers_with_an_http_error() {
    for platform in ALL {
        let mut stage = Stage::new(platform, BotOptions::default());
        let refused: Vec<_> = (0..30).map(|_| stage.send(hello(platform))).filter(|said| said.code() != 0).collect();
        assert!(!refused.is_empty());
        for said in refused {
            assert_eq!(said.status, 200, "{platform:?}");
            assert!(said.headers.iter().all(|(name, _)| name != "retry-after"), "{platform:?}");
        }
    }
}

#[test]
fn sizes_count_bytes_and_not_characters() {
    for (platform, bytes) in [(Platform::Wecom, 2048), (Platform::Dingtalk, 20_000), (Platform::Lark, 20_480)] {
        let mut stage = Stage::new(platform, BotOptions::default());
        // Fewer characters than bytes are allowed, and more bytes.
        let long = "应".repeat(bytes / 3 + 1);
        let body = hello(platform).to_string().replace("应用 hello", &long);
        assert_ne!(stage.send(body).code(), 0, "{platform:?}");
    }
}

#[test]
fn a_signature_with_key_and_message_swapped_is_refused() {
    let mut dingtalk = Stage::new(Platform::Dingtalk, with_secret("SECx"));
    let millis = dingtalk.now.as_millisecond().to_string();
    let text = format!("{millis}\nSECx");
    assert_eq!(dingtalk.request(&signed(Platform::Dingtalk, &millis, &hmac("SECx", &text))).code(), 0);
    let said = dingtalk.request(&signed(Platform::Dingtalk, &millis, &hmac(&text, "")));
    assert_eq!(said.words(), "sign not match");

    let mut lark = Stage::new(Platform::Lark, with_secret("SECx"));
    let second = lark.now.as_second().to_string();
    let text = format!("{second}\nSECx");
    assert_eq!(lark.request(&signed(Platform::Lark, &second, &hmac(&text, ""))).code(), 0);
    assert_eq!(lark.request(&signed(Platform::Lark, &second, &hmac("SECx", &text))).code(), 19021);
}

#[test]
fn timestamps_have_an_age_and_a_unit() {
    for platform in [Platform::Dingtalk, Platform::Lark] {
        let mut stage = Stage::new(platform, with_secret("SECx"));
        let unit = if platform == Platform::Lark { 1 } else { 1000 };
        let mut signed_at = |second: i64, unit: i64| {
            let time = (second * unit).to_string();
            let text = format!("{time}\nSECx");
            let sign = if platform == Platform::Lark { hmac(&text, "") } else { hmac("SECx", &text) };
            stage.request(&signed(platform, &time, &sign)).code()
        };
        let now = 1_700_000_000;
        assert_eq!(signed_at(now, unit), 0);
        for second in [now - 3601, now + 3601, 0] {
            assert_ne!(signed_at(second, unit), 0, "{platform:?} at {second}");
        }
        assert_ne!(signed_at(now, 1001 - unit), 0, "{platform:?} in the other's unit");
    }
}

#[test]
fn the_keyword_is_not_looked_for_in_the_whole_json() {
    let link = json!({"msgtype": "link", "应用": 1, "link": {
        "title": "t", "text": "x", "messageUrl": "https://example.com/应用", "picUrl": "应用"}});
    let post = json!({"msg_type": "post", "content": {"post": {"zh_cn": {"title": "t", "应用": 1, "content": [[
        {"tag": "a", "text": "x", "href": "https://example.com/应用"}]]}}}});
    for (platform, body, code) in [(Platform::Dingtalk, link, 310_000), (Platform::Lark, post, 19024)] {
        assert_eq!(Stage::new(platform, with_keyword("应用")).send(body).code(), code);
    }
}

#[test]
fn mentions_are_not_an_echo_of_what_the_sender_meant() {
    let meant: [(Platform, Value); 3] = [
        (Platform::Wecom, json!({"msgtype": "text", "text": {"content": "x"}, "mentioned_list": ["@all", "u"]})),
        (Platform::Dingtalk, json!({"msgtype": "text", "text": {"content": "x"}, "at": {"atMobiles": ["138"]}})),
        (Platform::Lark, json!({"msg_type": "text", "content": {"text": "x"}, "at": {"user_id": "all"}})),
    ];
    for (platform, body) in meant {
        let said = Stage::new(platform, BotOptions::default()).send(body);
        assert!(said.judgement.accepted && said.judgement.mentions.is_empty(), "{platform:?}");
        let noticed = said.judgement.ignored_members.len() + said.judgement.mentions.unresolved.len();
        assert_eq!(noticed, 1, "{platform:?}: and it is noticed");
    }
}

#[test]
fn robots_share_no_limit() {
    for platform in ALL {
        let mut stage = Stage::new(platform, BotOptions::default());
        while stage.send_to("BUSY", hello(platform)).code() == 0 {}
        assert_eq!(stage.send_to("QUIET", hello(platform)).code(), 0, "{platform:?}");
        assert_ne!(stage.send_to("BUSY", hello(platform)).code(), 0, "{platform:?}");
    }
}

#[test]
fn the_penalty_outlives_the_window() {
    let mut stage = Stage::new(Platform::Dingtalk, BotOptions::default());
    while stage.send(hello(Platform::Dingtalk)).code() == 0 {}
    for _ in 0..9 {
        stage.wait(61.0);
        assert_eq!(stage.send(hello(Platform::Dingtalk)).code(), 130_101);
    }
    stage.wait(61.0);
    assert_eq!(stage.send(hello(Platform::Dingtalk)).code(), 0);
}

#[test]
fn windows_go_by_the_given_clock() {
    // A whole day of calls, one every three seconds, in no time: none is too fast.
    let limits = Some(vec![Limit::sliding(20, Duration::from_secs(60))]);
    let mut stage = Stage::new(Platform::Lark, BotOptions { limits, ..BotOptions::default() });
    let hello = hello(Platform::Lark).to_string();
    for _ in 0..28_800 {
        assert_eq!(stage.send(&hello).code(), 0);
        stage.wait(3.0);
    }
}

#[test]
fn lark_has_two_successes_and_no_error_looks_like_either() {
    let mut shapes = Vec::new();
    for old_success in [false, true] {
        let variants = Variants { old_success, ..Variants::default() };
        let options = BotOptions { variants, ..with_keyword("应用") };
        let mut stage = Stage::new(Platform::Lark, options);
        shapes.push(stage.send(hello(Platform::Lark)).text);
        let text = json!({"msg_type": "text", "content": {"text": "x"}}).to_string();
        for body in ["[]".to_owned(), "{}".to_owned(), text] {
            let said = stage.send(body);
            assert!(said.code() != 0 && said.json.get("StatusCode").is_none(), "{}", said.text);
        }
        let removed = BotOptions { state: State::Removed, variants, ..BotOptions::default() };
        stage.fake.bot("REMOVED", removed);
        assert!(stage.send_to("REMOVED", hello(Platform::Lark)).json.get("StatusCode").is_none());
    }
    assert_ne!(shapes[0], shapes[1]);
}

#[tokio::test]
async fn what_was_refused_is_remembered() {
    for platform in ALL {
        let sink = Sink::start(SinkOptions { platform, ..SinkOptions::default() }).await.unwrap();
        super::wire::post(sink.addr, &platform.path("unknown"), "not json at all").await;
        let records = sink.records();
        assert_eq!(records.len(), 1);
        assert!(!records[0].judgement.accepted);
        assert_eq!(records[0].request.body, "not json at all");
        sink.stop().await;
    }
}
