//! Lark.

use postrider::edges::sink::{BotOptions, Platform, Received, Variants};
use serde_json::{Value, json};

use super::{Stage, at, hello, with_keyword, with_secret};

/// Secret, time in seconds, signature. The first was published with a client's source, the second takes the inputs of
/// the vendor's own sample.
const SIGNED: [(&str, i64, &str); 2] = [
    ("xxx", 1_661_860_880, "QnWVTSBe6FmQDE0bG6X0mURbI+DnvVyu1h+j5dHOjrU="),
    ("demo", 1_599_360_473, "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="),
];
/// Of the second, with key and message the other way round.
const DINGTALK_STYLE: &str = "DkEDUyVoOOJ539qBvUgMyzkzIdRWlf4e/V3Rq+ONJnQ=";

fn stage(options: BotOptions) -> Stage {
    Stage::new(Platform::Lark, options)
}

fn signed(timestamp: impl Into<Value>, sign: &str) -> Value {
    json!({"timestamp": timestamp.into(), "sign": sign, "msg_type": "text", "content": {"text": "x"}})
}

#[test]
fn known_signatures_are_taken() {
    for (secret, second, sign) in SIGNED {
        let mut stage = stage(with_secret(secret));
        stage.now = at(second);
        let said = stage.send(signed(second.to_string(), sign));
        assert_eq!(said.text, r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#);
        let said = stage.send(signed(second, sign));
        assert_eq!(said.code(), 0);
        assert!(said.judgement.notes[0].contains("a number"));
    }
}

#[test]
fn signatures_that_are_only_near_are_refused() {
    let (secret, second, sign) = SIGNED[1];
    let text = second.to_string();
    let mut stage = stage(with_secret(secret));
    stage.now = at(second);
    for body in [
        signed(text.clone(), DINGTALK_STYLE),
        signed(text.clone(), "sign"),
        signed((second * 1000).to_string(), sign),
        signed("soon", sign),
        json!({"sign": sign, "msg_type": "text", "content": {"text": "x"}}),
        json!({"timestamp": text, "msg_type": "text", "content": {"text": "x"}}),
    ] {
        let said = stage.send(&body);
        assert_eq!((said.status, said.code()), (200, 19021), "{body}");
        assert_eq!(said.words(), "sign match fail or timestamp is not within one hour from current time");
    }
    for (off, code) in [(3600, 0), (3601, 19021), (-3600, 0), (-3601, 19021)] {
        stage.now = at(second + off);
        assert_eq!(stage.send(signed(text.clone(), sign)).code(), code, "{off} s");
    }
}

#[test]
fn five_a_second_and_a_hundred_a_minute() {
    let mut stage = stage(BotOptions::default());
    let hello = hello(Platform::Lark);
    for n in 1..=5 {
        assert_eq!(stage.send(&hello).code(), 0, "call {n}");
    }
    let said = stage.send(&hello);
    assert_eq!((said.status, said.code()), (200, 11232));
    assert_eq!(said.words(), "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]");
    assert!(said.headers.iter().all(|(name, _)| name != "retry-after"));
    for n in 6..=100 {
        stage.wait(0.2);
        if n == 6 {
            stage.wait(0.8);
        }
        assert_eq!(stage.send(&hello).code(), 0, "call {n}");
    }
    stage.wait(1.0);
    assert_eq!(stage.send(&hello).code(), 11232);
    stage.wait(60.0);
    assert_eq!(stage.send(&hello).code(), 0);
}

#[test]
fn busy_hours_refuse_at_random() {
    let variants = Variants { busy_hours: true, ..Variants::default() };
    let mut stage = stage(BotOptions { variants, ..BotOptions::default() });
    let mut refused = |second: i64| {
        let answers = (0..60).map(|n| {
            stage.now = at(second + n);
            stage.send(hello(Platform::Lark)).code()
        });
        answers.filter(|code| *code == 11232).count()
    };
    // A whole hour, and ten minutes later.
    let some = refused(1_699_999_200);
    assert!((10..50).contains(&some), "{some}");
    assert_eq!(refused(1_699_999_800), 0);
}

#[test]
fn the_keyword_is_never_found_in_a_link() {
    let post = |text: &str, href: &str| {
        json!({"msg_type": "post", "content": {"post": {"zh_cn": {"title": "t", "content": [[
            {"tag": "a", "text": text, "href": href},
        ]]}}}})
    };
    let card = |content: &str, url: &str| {
        json!({"msg_type": "interactive", "card": {"header": {"title": {"tag": "plain_text", "content": content}},
            "card_link": {"url": url}, "elements": []}})
    };
    for (body, code) in [
        (post("应用", "https://example.com"), 0),
        (post("x", "https://example.com/应用"), 19024),
        (card("应用", "https://example.com"), 0),
        (card("x", "https://example.com/应用"), 19024),
        (json!({"msg_type": "text", "content": {"text": "x"}, "应用": "应用"}), 19024),
    ] {
        let said = stage(with_keyword("应用")).send(&body);
        assert_eq!(said.code(), code, "{body}");
        assert!(code == 0 || said.words() == "Key Words Not Found");
    }
}

#[test]
fn shapes_and_sizes() {
    let mut stage = stage(BotOptions::default());
    for (body, code, words) in [
        ("{'msg_type'", 9499, "Bad Request"),
        ("[]", 9499, "Bad Request"),
        (r#"{"content":{"text":"x"}}"#, 19002, "params error, msg_type need"),
        (r#"{"msg_type":"markdown","content":{"text":"x"}}"#, 19002, "params error, msg_type need"),
        (r#"{"msg_type":"text","content":"{\"text\":\"x\"}"}"#, 9499, "Bad Request"),
        (r#"{"msg_type":"text","content":{}}"#, 9499, "Bad Request"),
        (r#"{"msg_type":"post","content":{"post":{"de_de":{"content":[[]]}}}}"#, 9499, "Bad Request"),
        (r#"{"msg_type":"post","content":{"post":{"zh_cn":{"content":[{}]}}}}"#, 9499, "Bad Request"),
    ] {
        stage.wait(1.0);
        let said = stage.send(body);
        assert_eq!((said.status, said.code(), said.words()), (200, code, words), "{body}");
        assert_eq!(said.json["data"], json!({}));
    }
    for body in [r#"{"msg_type":"interactive","content":{"header":{}}}"#, r#"{"msg_type":"interactive","card":"{}"}"#] {
        let said = stage.send(body);
        assert_eq!(said.code(), 11246, "{body}");
        assert!(said.words().contains("ErrCode: 200621; ErrMsg: parse card json err"));
    }
    let sized = |bytes: usize| {
        let empty = r#"{"msg_type":"text","content":{"text":""}}"#.len();
        json!({"msg_type": "text", "content": {"text": "a".repeat(bytes - empty)}}).to_string()
    };
    stage.wait(1.0);
    assert_eq!(stage.send(sized(20_480)).code(), 0);
    assert_eq!(stage.send(sized(20_481)).code(), 9499);
    let variants = Variants { size_150_kib: true, bad_request_400: true, ..Variants::default() };
    let mut stage = self::stage(BotOptions { variants, ..BotOptions::default() });
    assert_eq!(stage.send(sized(20_481)).code(), 0);
    assert_eq!(stage.send(sized(150 * 1024 + 1)).code(), 19036);
    let said = stage.send("[]");
    assert_eq!((said.status, said.code()), (400, 9499));
}

#[test]
fn tokens_and_addresses() {
    let mut stage = stage(BotOptions::default());
    for token in ["unknown", "removed"] {
        let said = stage.send_to(token, hello(Platform::Lark));
        let words = "param invalid: incoming webhook access token invalid";
        assert_eq!(said.json, json!({"code": 19001, "data": {}, "msg": words}), "{token}");
    }
    let slash = Received::post("/open-apis/bot/v2/hook/TOKEN/", hello(Platform::Lark).to_string());
    assert_eq!(stage.request(&slash).code(), 0);
    stage.fake.bot("FENCED", BotOptions { ip_allow: vec!["10.0.0.*".to_owned()], ..with_secret("x") });
    let said = stage.send_to("FENCED", hello(Platform::Lark));
    assert_eq!((said.code(), said.words()), (19022, "Ip Not Allowed"));
}

#[test]
fn the_old_success_has_no_code() {
    let variants = Variants { old_success: true, ..Variants::default() };
    let said = stage(BotOptions { variants, ..BotOptions::default() }).send(hello(Platform::Lark));
    assert_eq!(said.text, r#"{"Extra":null,"StatusCode":0,"StatusMessage":"success"}"#);
    assert!(said.judgement.accepted);
}

#[test]
fn mentions_need_an_id_of_the_group() {
    let mut stage = stage(BotOptions::default());
    let text =
        r#"<at user_id="ou_1">Tom</at> <at user_id="all">all</at> <at user_id="13800000000">x</at> <at id=ou_9></at>"#;
    let said = stage.send(json!({"msg_type": "text", "content": {"text": text}}));
    let mentions = said.judgement.mentions;
    assert!(mentions.all);
    assert_eq!(mentions.users, ["ou_1"]);
    assert_eq!(mentions.unresolved, ["13800000000", "<at id=ou_9>"]);

    stage.fake.bot("SMALL", BotOptions { members: Some(vec!["ou_1".to_owned()]), ..BotOptions::default() });
    let tag = |id: &str| json!({"tag": "at", "user_id": id});
    let post = json!({"zh_cn": {"title": "", "content": [[tag("ou_1"), tag("ou_2")], [tag("all")]]}});
    let said = stage.send_to("SMALL", json!({"msg_type": "post", "content": {"post": post}}));
    let mentions = said.judgement.mentions;
    assert_eq!(
        (mentions.all, mentions.users, mentions.unresolved),
        (true, vec!["ou_1".to_owned()], vec!["ou_2".to_owned()])
    );

    let card = json!({"elements": [
        {"tag": "div", "text": {"tag": "lark_md", "content": "<at id=ou_1></at>"}},
        {"tag": "div", "text": {"tag": "plain_text", "content": "<at id=all></at>"}},
    ]});
    let said = stage.send(json!({"msg_type": "interactive", "card": card}));
    let mentions = said.judgement.mentions;
    assert_eq!((mentions.all, mentions.users), (false, vec!["ou_1".to_owned()]));
}
