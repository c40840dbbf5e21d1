//! DingTalk.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Method};
use jiff::Timestamp;
use postrider::edges::sink::{BotOptions, Limit, Platform, Received, Scripted, Variants};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{Said, Stage, hello, with_keyword, with_secret};

/// Secret, time in milliseconds, signature. The first was published with a client's source, the second takes the secret
/// of the vendor's own sample.
const SIGNED: [(&str, i64, &str); 2] = [
    (
        "SECb90923e19e58b466481e9e7b7a5b4f108a4531abde590ad3967fb29f0eae5c68",
        1_582_163_555_000,
        "BQKsG+QOCl+bYJOLc6pxDHxjVquzlZPWgvRzeN2J5zY=",
    ),
    ("this is secret", 1_700_000_000_000, "sSFWELbV2YwjdDQhWZwTcWlX5BWUx5J6TPpsZmuPii0="),
];

fn stage(options: BotOptions) -> Stage {
    Stage::new(Platform::Dingtalk, options)
}

fn send_signed(stage: &mut Stage, timestamp: &str, sign: &str, body: &Value) -> Said {
    let target = format!("/robot/send?access_token=TOKEN&timestamp={timestamp}&sign={sign}");
    stage.request(&Received::post(target, body.to_string()))
}

fn encoded(sign: &str) -> String {
    byte_serialize(sign.as_bytes()).collect()
}

#[test]
fn known_signatures_are_taken_and_nothing_near_them() {
    for (secret, millis, sign) in SIGNED {
        let mut stage = stage(with_secret(secret));
        stage.now = Timestamp::from_millisecond(millis).unwrap();
        let hello = hello(Platform::Dingtalk);
        let time = millis.to_string();
        assert_eq!(send_signed(&mut stage, &time, &encoded(sign), &hello).text, r#"{"errcode":0,"errmsg":"ok"}"#);
        // The body is not signed.
        let other = json!({"msgtype": "text", "text": {"content": "another body"}});
        assert_eq!(send_signed(&mut stage, &time, &encoded(sign), &other).code(), 0);

        let wrong = encoded(&sign.replacen(|c: char| c.is_ascii_lowercase(), "A", 1));
        let earlier = (millis - 1).to_string();
        for (time, sign) in [(&time, wrong), (&earlier, encoded(sign)), (&time, String::new())] {
            let said = send_signed(&mut stage, time, &sign, &hello);
            assert_eq!((said.status, said.code(), said.words()), (200, 310_000, "sign not match"));
        }
        let said = stage.request(&Received::post(format!("/robot/send?access_token=T&timestamp={time}"), "{}"));
        assert_eq!(said.words(), "sign not match");
    }
}

#[test]
fn a_plus_that_was_not_encoded_is_a_space() {
    let (secret, millis, sign) = SIGNED[0];
    assert!(sign.contains('+'));
    let mut stage = stage(with_secret(secret));
    stage.now = Timestamp::from_millisecond(millis).unwrap();
    let said = send_signed(&mut stage, &millis.to_string(), sign, &hello(Platform::Dingtalk));
    assert_eq!((said.code(), said.words()), (310_000, "sign not match"));
    assert!(said.judgement.why.contains("percent-encoding"), "{}", said.judgement.why);
}

#[test]
fn a_timestamp_lives_one_hour_in_milliseconds() {
    let (secret, millis, sign) = SIGNED[0];
    let hello = hello(Platform::Dingtalk);
    for (off, words) in
        [(3_600_000, "ok"), (3_600_001, "invalid timestamp"), (-3_600_000, "ok"), (-3_600_001, "invalid timestamp")]
    {
        let mut stage = stage(with_secret(secret));
        stage.now = Timestamp::from_millisecond(millis + off).unwrap();
        let said = send_signed(&mut stage, &millis.to_string(), &encoded(sign), &hello);
        assert_eq!(said.words(), words, "{off} ms");
    }
    let mut stage = stage(with_secret(secret));
    stage.now = Timestamp::from_millisecond(millis).unwrap();
    for time in ["", "soon", &(millis / 1000).to_string()] {
        let said = send_signed(&mut stage, time, &encoded(sign), &hello);
        assert_eq!((said.code(), said.words()), (310_000, "invalid timestamp"), "{time:?}");
    }
    let skewed = BotOptions { clock_skew: jiff::SignedDuration::from_secs(3601), ..with_secret(secret) };
    stage.fake.bot("TOKEN", skewed);
    assert_eq!(send_signed(&mut stage, &millis.to_string(), &encoded(sign), &hello).words(), "invalid timestamp");
}

#[test]
fn the_first_call_too_many_mutes_the_robot_for_ten_minutes() {
    let mut stage = stage(BotOptions::default());
    let hello = hello(Platform::Dingtalk);
    for n in 1..=20 {
        assert_eq!(stage.send(&hello).code(), 0, "call {n}");
        stage.wait(0.1);
    }
    let said = stage.send(&hello);
    assert_eq!((said.status, said.code()), (200, 130_101));
    assert_eq!(said.words(), "send too fast, exceed 20 times per minute");
    assert!(said.headers.iter().all(|(name, _)| name != "retry-after"));
    for _ in 0..5 {
        stage.wait(119.0);
        assert_eq!(stage.send(&hello).code(), 130_101);
    }
    stage.wait(4.999);
    assert_eq!(stage.send(&hello).code(), 130_101);
    stage.wait(0.001);
    assert_eq!(stage.send(&hello).code(), 0);
}

#[test]
fn the_penalty_may_grow_while_it_lasts() {
    let variants = Variants { penalty_prolongs: true, too_fast_410100: true, ..Variants::default() };
    let mut stage = stage(BotOptions { variants, ..BotOptions::default() });
    let hello = hello(Platform::Dingtalk);
    let codes: Vec<i64> = (0..21).map(|_| stage.send(&hello).code()).collect();
    assert_eq!(codes.last(), Some(&410_100));
    stage.wait(599.0);
    assert_eq!(stage.send(&hello).code(), 410_100);
    stage.wait(599.0);
    assert_eq!(stage.send(&hello).code(), 410_100);
    stage.wait(600.0);
    assert_eq!(stage.send(&hello).code(), 0);
}

#[test]
fn one_address_may_not_flood_all_robots() {
    let mut stage = stage(BotOptions::default());
    stage.fake.gate(Limit::sliding(3, Duration::from_secs(20)), Duration::from_secs(300));
    let hello = hello(Platform::Dingtalk);
    for robot in ["A", "B", "C"] {
        assert_eq!(stage.send_to(robot, &hello).code(), 0);
    }
    let said = stage.send_to("D", &hello);
    assert_eq!(said.status, 200);
    assert!(said.json.get("errcode").is_none());
    assert_eq!(
        (&said.json["status"], &said.json["wait"], &said.json["punish"]),
        (&json!(1111), &json!(5), &json!("deny"))
    );
    assert_ne!(said.json["uuid"], stage.send_to("D", &hello).json["uuid"]);
    let mut elsewhere = Received::post("/robot/send?access_token=D", hello.to_string());
    elsewhere.ip = IpAddr::from([10, 0, 0, 9]);
    assert_eq!(stage.request(&elsewhere).code(), 0);
    stage.wait(299.0);
    assert!(stage.send_to("D", &hello).json.get("errcode").is_none());
    stage.wait(1.0);
    assert_eq!(stage.send_to("D", &hello).code(), 0);

    let variants = Variants { flood_html: true, ..Variants::default() };
    let mut stage = self::stage(BotOptions { variants, ..BotOptions::default() });
    stage.fake.gate(Limit::sliding(1, Duration::from_secs(20)), Duration::from_secs(300));
    stage.send(&hello);
    let page = stage.send(&hello);
    assert!(page.text.starts_with("<!DOCTYPE html>") && page.json.is_null());
}

#[test]
fn checks_come_in_their_order() {
    let mut stage = stage(BotOptions { ip_allow: vec!["10.0.0.0/8".to_owned()], ..with_secret("SECx") });
    let mut request = Received::post("/robot/send", "not json");
    request.method = Method::GET;
    request.headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let mut expect = |request: &Received, code: i64, words: &str| {
        let said = stage.request(request);
        assert_eq!((said.status, said.code(), said.words()), (200, code, words));
    };
    expect(&request, 43002, "需要POST请求");
    request.method = Method::POST;
    expect(&request, 40035, "缺少参数 access_token");
    request.target = "/robot/send?access_token=unknown".to_owned();
    expect(&request, 300_005, "token is not exist");
    request.target = "/robot/send?access_token=disabled".to_owned();
    expect(&request, 43004, "无效的HTTP HEADER Content-Type");
    request.headers.insert("content-type", HeaderValue::from_static("Application/JSON"));
    expect(&request, 400_102, "机器人已停用");
    request.target = "/robot/send?access_token=removed".to_owned();
    expect(&request, 400_106, "机器人不存在");
    request.target = "/robot/send?access_token=disbanded".to_owned();
    expect(&request, 400_013, "群已被解散");
    request.target = "/robot/send?access_token=T".to_owned();
    expect(&request, 310_000, "ip 127.0.0.1 not in whitelist");
    request.ip = IpAddr::from([10, 1, 1, 1]);
    expect(&request, 310_000, "invalid timestamp");
    request.target = "/robot/send?access_token=T&timestamp=1700000000000".to_owned();
    expect(&request, 310_000, "sign not match");
}

#[test]
fn the_keyword_stands_in_a_text_that_the_group_sees() {
    let at_end = with_keyword("应用");
    for (body, code) in [
        (json!({"msgtype": "text", "text": {"content": "新应用"}}), 0),
        (json!({"msgtype": "text", "text": {"content": "new", "应用": "应用"}}), 310_000),
        (json!({"msgtype": "markdown", "markdown": {"title": "应用", "text": "x"}}), 0),
        (json!({"msgtype": "link", "link": {"title": "t", "text": "x", "messageUrl": "https://应用/"}}), 310_000),
        (json!({"msgtype": "link", "link": {"title": "t", "text": "应用", "messageUrl": "https://x/"}}), 0),
        (json!({"msgtype": "actionCard", "actionCard": {"title": "t", "text": "x", "singleTitle": "应用"}}), 310_000),
        (
            json!({"msgtype": "feedCard", "feedCard": {"links": [{"title": "应用", "messageURL": "u", "picURL": "p"}]}}),
            0,
        ),
    ] {
        let said = stage(at_end.clone()).send(&body);
        assert_eq!(said.code(), code, "{body}");
        assert!(code == 0 || said.words() == "keywords not in content");
    }
    let variants = Variants { keyword_more: true, ..Variants::default() };
    let said = stage(BotOptions { variants, ..at_end }).send(json!({"msgtype": "text", "text": {"content": "x"}}));
    assert!(said.words().starts_with("keywords not in content, more: [https://"), "{}", said.words());
}

#[test]
fn types_members_and_size() {
    let mut stage = stage(BotOptions::default());
    for (body, code, words) in [
        (json!({"text": {"content": "x"}}), 40035, "缺少参数 msgtype"),
        (json!({"msgtype": "image"}), 400_105, "不支持的消息类型"),
        (json!({"msgtype": "text"}), 40035, "缺少参数 text.content"),
        (json!({"msgtype": "markdown", "markdown": {"text": "x"}}), 40035, "缺少参数 markdown.title"),
        (
            json!({"msgtype": "link", "link": {"title": "t", "text": "x", "messageURL": "u"}}),
            40035,
            "缺少参数 link.messageUrl",
        ),
        (json!({"msgtype": "feedCard", "feedCard": {"links": []}}), 40035, "缺少参数 feedCard.links"),
    ] {
        let said = stage.send(&body);
        assert_eq!((said.code(), said.words()), (code, words), "{body}");
    }
    let empty = json!({"msgtype": "text", "text": {"content": ""}}).to_string().len();
    let sized = |bytes: usize| json!({"msgtype": "text", "text": {"content": "a".repeat(bytes - empty)}}).to_string();
    assert_eq!(sized(20_000).len(), 20_000);
    assert_eq!(stage.send(sized(20_000)).code(), 0);
    let said = stage.send(sized(20_001));
    assert_eq!((said.code(), said.words()), (460_101, "message too long, exceed 20000 bytes"));
}

#[test]
fn the_content_may_be_refused_on_request() {
    let mut stage = stage(BotOptions::default());
    let refusal = Scripted { code: 430_102, message: "含有不合适的文本".to_owned() };
    stage.fake.bot("TOKEN", BotOptions { scripted: [refusal].into(), ..BotOptions::default() });
    // Earlier checks come first, and do not use the refusal up.
    assert_eq!(stage.send("{}").code(), 40035);
    assert_eq!(stage.send_to("OTHER", hello(Platform::Dingtalk)).code(), 0);
    assert_eq!(stage.send(hello(Platform::Dingtalk)).code(), 430_102);
    assert_eq!(stage.send(hello(Platform::Dingtalk)).code(), 0);
}

#[test]
fn a_mention_must_also_stand_in_the_text() {
    let mut stage = stage(BotOptions::default());
    let at = json!({"atMobiles": ["138", "139"], "atUserIds": ["u1", "u2"], "isAtAll": false});
    let said = stage.send(json!({"msgtype": "text", "text": {"content": "@138 @1390 @u1"}, "at": at}));
    let mentions = said.judgement.mentions;
    assert_eq!(
        (mentions.all, mentions.mobiles, mentions.users),
        (false, vec!["138".to_owned()], vec!["u1".to_owned()])
    );
    assert_eq!(mentions.unresolved, ["139", "u2"]);

    let all = json!({"isAtAll": true, "atMobiles": []});
    let said = stage.send(json!({"msgtype": "markdown", "markdown": {"title": "t", "text": "x"}, "at": all}));
    assert!(said.judgement.mentions.all);
    let said = stage.send(json!({"msgtype": "text", "text": {"content": "x"}, "At": all}));
    assert!(said.judgement.mentions.is_empty());
    assert_eq!(said.judgement.ignored_members, ["At"]);
    let link = json!({"title": "t", "text": "x", "messageUrl": "u"});
    let said = stage.send(json!({"msgtype": "link", "link": link, "at": all}));
    assert!(said.judgement.mentions.is_empty());
    assert_eq!(said.judgement.ignored_members, ["at"]);
}

#[test]
fn the_other_known_code_of_an_unknown_token() {
    let variants = Variants { unknown_token_400101: true, ..Variants::default() };
    let mut stage = stage(BotOptions { variants, ..BotOptions::default() });
    assert_eq!(stage.send_to("unknown", hello(Platform::Dingtalk)).code(), 400_101);
}
