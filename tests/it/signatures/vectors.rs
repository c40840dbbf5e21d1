//! Every published and computed value, in a real request that a receiver really verifies.

use postrider::edges::sink::{BotOptions, Platform};
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::text::{truncate_bytes, truncate_chars};
use serde_json::Map;
use url::Url;

use super::*;

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    Url::parse(url).expect("a URL")[..url::Position::BeforePath].to_owned()
}

fn event(vector: &Json) -> Event {
    let request = &vector["request"];
    let mut event = Event::new("t", Some("e-1".into()), text(request, "body").to_owned(), at(0));
    event.content_type = text(&request["headers"], "content-type").to_owned();
    event
}

#[tokio::test]
async fn every_vector_in_a_real_request_is_really_verified() {
    let vectors = vectors();
    let (mut signed, mut pushpushgo) = (0, 0);
    for vector in vectors["signatures"].as_array().expect("vectors") {
        let (name, expect) = (text(vector, "name"), &vector["expect"]);
        let url = expect["url"].as_str().unwrap_or(text(&vector["request"], "url"));
        let (mut sign, secrets) = with_secrets(&vector["sign"]);
        let mut options = json!({"url": text(&vector["request"], "url"), "headers": {}});
        // A request never says the port that its scheme has anyway, so this one carries the signature as it was published.
        let by_itself = Url::parse(url).expect("a URL").as_str() == url;
        if !by_itself {
            options["headers"] = expect["headers"].clone();
            sign = Json::Null;
        }
        if let Some(id) = vector["id"].as_str() {
            options["headers"]["Webhook-Id"] = json!(id);
        }
        if !sign.is_null() {
            options["sign"] = sign;
        }
        let mut scheme = vector["sign"].clone();
        scheme["public_url"] = json!(origin(url));
        let sink = verifier(&scheme, time_of(vector)).await;
        let probed = send(&hook("webhook", &options), secrets, &event(vector), &sink, time_of(vector)).await;
        assert_eq!((probed.verdict.as_str(), probed.status), ("delivered", Some(200)), "{name}: {probed:?}");
        let record = &sink.records()[0];
        assert!(record.judgement.notes[0].starts_with("the signature is right: "), "{name}: {:?}", record.judgement);
        for (header, value) in expect["headers"].as_object().expect("headers") {
            assert_eq!(record.request.header(header), value.as_str(), "{name}: {header}");
        }
        assert_eq!(
            format!("{}{}", origin(url), record.request.target),
            Url::parse(url).expect("a URL").as_str(),
            "{name}"
        );
        assert_eq!(record.request.body, text(&vector["request"], "body"), "{name}");
        signed += usize::from(by_itself);
        if vector["sign"]["preset"] == "pushpushgo" {
            // What matched is what was asked for, of all that this preset tries.
            let matched = ["signed", "encoding"].map(|field| text(&vector["sign"], field));
            // The members of that body are not sorted, so every reading is another signature.
            assert!(record.judgement.notes[0].contains(matched[0]) && record.judgement.notes[0].ends_with(matched[1]));
            let all = json!({"preset": "pushpushgo", "key": vector["sign"]["key"], "public_url": origin(url)});
            let any = verifier(&all, time_of(vector)).await;
            let (sign, secrets) = with_secrets(&vector["sign"]);
            options["sign"] = sign;
            send(&hook("webhook", &options), secrets, &event(vector), &any, time_of(vector)).await;
            assert_eq!(any.records()[0].judgement.notes, record.judgement.notes, "{name}");
            pushpushgo += 1;
        }
        if let Some(public) = vector["public_key"].as_str() {
            scheme["key"] = json!(public);
            let stranger = verifier(&scheme, time_of(vector)).await;
            let (_, secrets) = with_secrets(&vector["sign"]);
            let probed = send(&hook("webhook", &options), secrets, &event(vector), &stranger, time_of(vector)).await;
            assert_eq!(probed.verdict, "delivered", "{name}: {probed:?}");
        }
    }
    assert_eq!((signed, pushpushgo), (22, 8), "all but the one with a port, and each reading in each encoding");
}

#[tokio::test]
async fn robots_take_the_signatures_of_their_vectors() {
    let vectors = vectors();
    let robots = vectors["robots"].as_array().expect("robots");
    for robot in robots {
        let (name, platform) = (text(robot, "name"), text(robot, "platform"));
        let now = Timestamp::from_millisecond(robot["time_ms"].as_i64().expect("a time")).expect("a time");
        let url = match platform {
            "dingtalk" => "https://oapi.dingtalk.com/robot/send?access_token=TOKEN",
            _ => "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN",
        };
        let known = BotOptions { secret: Some(Secret::new(text(robot, "secret"))), ..BotOptions::default() };
        let sink = sink(platform.parse().expect("a platform"), known, now).await;
        let options = json!({"url": url, "secret": {"secret": "robot"}, "message": "hello"});
        let secrets = vec![("robot".to_owned(), text(robot, "secret").to_owned())];
        let event = Event::new("t", Some("e-1".into()), "{}", now);
        let probed = send(&hook(platform, &options), secrets, &event, &sink, now).await;
        assert_eq!(probed.verdict, "delivered", "{name}: {probed:?}");
        let request = &sink.records()[0].request;
        if let Some(query) = robot["query"].as_str() {
            assert_eq!(request.target.split_once('?').map(|(_, query)| query), Some(query), "{name}");
            assert_eq!(request.query("sign").as_deref(), robot["sign"].as_str(), "{name}");
        } else {
            let body: Json = serde_json::from_slice(&request.body).expect("JSON");
            for (field, value) in robot["body"].as_object().expect("fields") {
                assert_eq!(&body[field], value, "{name}: {field}");
            }
            assert_eq!(body["sign"], robot["sign"], "{name}");
        }
    }
    assert_eq!(robots.len(), 4);
}

#[tokio::test]
async fn lark_refuses_what_is_signed_as_for_dingtalk() {
    let confused = &vectors()["refused"]["lark_signed_as_dingtalk"];
    let seconds = confused["time_s"].as_i64().expect("a time");
    for (sign, code) in [("right", 0), ("wrong", 19021)] {
        let known = BotOptions { secret: Some(Secret::new(text(confused, "secret"))), ..BotOptions::default() };
        let sink = sink(Platform::Lark, known, at(seconds)).await;
        let body = json!({
            "timestamp": seconds.to_string(), "sign": text(confused, sign),
            "msg_type": "text", "content": {"text": "hello"},
        });
        let options = json!({"url": "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN", "json": body});
        send(&hook("webhook", &options), Vec::new(), &Event::new("t", None, "{}", at(0)), &sink, at(seconds)).await;
        assert_eq!(sink.records()[0].judgement.code, Some(code), "{sign}: {:?}", sink.records()[0].judgement);
    }
}

#[tokio::test]
async fn the_example_in_the_specification_is_refused() {
    let vectors = vectors();
    let example = &vectors["refused"]["example_of_the_specification"];
    let of_preset = vectors["signatures"].as_array().expect("vectors").iter().map(|vector| &vector["sign"]);
    let known: Vec<_> = of_preset.filter(|sign| sign["preset"] == "standard-webhooks").flat_map(keys).collect();
    assert!(known.len() >= 4, "{known:?}");
    let now = at(example["timestamp"].as_i64().expect("a time"));
    let sink = verifier(&json!({"preset": "standard-webhooks", "key": known}), now).await;
    let headers = json!({
        "webhook-id": text(example, "id"), "webhook-timestamp": example["timestamp"].to_string(),
        "webhook-signature": text(example, "signature"),
    });
    // The body of the vector whose ed25519 signature was copied into the example.
    let event = Event::new("t", None, r#"{"test": 2432232314}"#, at(0));
    let options = json!({"url": "https://hooks.example.com/in", "headers": headers});
    let probed = send(&hook("webhook", &options), Vec::new(), &event, &sink, now).await;
    assert_eq!((probed.status, probed.verdict.as_str()), (Some(401), "hold"), "{probed:?}");
    assert!(sink.records()[0].judgement.why.contains("fits neither key nor content"));
}

#[test]
fn each_attempt_is_signed_anew_with_the_same_id() {
    let sign = json!({"preset": "standard-webhooks", "key": {"secret": "k"}});
    let text = hook("webhook", &json!({"url": "https://h.example/", "sign": sign}));
    let source = Source::new("hooks.d/a.yaml", text);
    let hook = Hook::parse(&source, &Platforms::built_in(), &Defaults::default()).0.expect("a hook");
    let event = Event::new("t", Some("e-1".into()), "{}", at(0));
    let mut secrets = Secrets::default();
    let mut seen = Vec::new();
    for (attempt, key, seconds) in [(1, "c2VjcmV0", 1_000), (2, "c2VjcmV0", 5_000), (3, "b3RoZXI=", 5_000)] {
        // The third with a key that was changed meanwhile.
        secrets.insert("k", Ok(Secret::new(key)));
        let given = Given { id: "d-1", attempt, now: at(seconds), hook: "a", event: &event, secrets: &secrets };
        let headers = hook.render(&given).expect("a request").headers;
        assert_eq!(headers["webhook-id"], "d-1");
        assert_eq!(headers["webhook-timestamp"], seconds.to_string().as_str());
        seen.push(headers["webhook-signature"].clone());
    }
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "{seen:?}");
}

#[tokio::test]
async fn lengths_and_sizes_are_counted_as_the_vectors_count_them() {
    let texts = &vectors()["texts"];
    let lengths = texts["lengths"].as_array().expect("lengths");
    for length in lengths {
        let (text, count) = (text(length, "text"), |unit: &str| length[unit].as_u64().expect("a count") as usize);
        assert_eq!((text.len(), text.encode_utf16().count()), (count("bytes"), count("utf16")));
        assert_eq!(truncate_bytes(text, count("bytes")), text);
        assert_ne!(truncate_bytes(text, count("bytes") - 1), text);
        assert_eq!(truncate_chars(text, count("characters")), text);
        assert_ne!(truncate_chars(text, count("characters") - 1), text);
    }
    assert_eq!(lengths.len(), 3);
    let sizes = texts["wecom_sizes"].as_array().expect("sizes");
    for size in sizes {
        let kind = text(size, "kind");
        let unit = text(size, "unit").repeat(size["times"].as_u64().expect("a count") as usize);
        let fits = unit + text(size, "tail");
        assert_eq!(Some(fits.len() as u64), size["bytes"].as_u64());
        for (message, accepted) in [(fits.clone(), true), (fits.clone() + "x", false)] {
            let sink = sink(Platform::Wecom, BotOptions::default(), at(0)).await;
            let url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=K";
            let mut content = Map::new();
            content.insert("msgtype".to_owned(), json!(kind));
            content.insert(kind.to_owned(), json!({"content": message}));
            let options = json!({"url": url, "json": content});
            send(&hook("webhook", &options), Vec::new(), &Event::new("t", None, "{}", at(0)), &sink, at(0)).await;
            let judged = &sink.records()[0].judgement;
            assert_eq!(
                (judged.accepted, judged.code),
                (accepted, Some(if accepted { 0 } else { 40058 })),
                "{judged:?}"
            );
            // Our own platform knows before it sends.
            let options = json!({"url": url, "type": kind, "message": message, "overflow": "fail"});
            let probed =
                send(&hook("wecom", &options), Vec::new(), &Event::new("t", None, "{}", at(0)), &sink, at(0)).await;
            assert_eq!(probed.verdict == "delivered", accepted, "{probed:?}");
        }
    }
    assert_eq!(sizes.len(), 2);
}

#[tokio::test]
async fn a_picture_has_the_digest_of_its_bytes() {
    let picture = &vectors()["texts"]["wecom_image"];
    let sink = sink(Platform::Wecom, BotOptions::default(), at(0)).await;
    let url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=K";
    let options = json!({"url": url, "type": "image", "image": text(picture, "base64")});
    let event = Event::new("t", None, "{}", at(0));
    let probed = send(&hook("wecom", &options), Vec::new(), &event, &sink, at(0)).await;
    assert_eq!(probed.verdict, "delivered", "{probed:?}");
    let body: Json = serde_json::from_slice(&sink.records()[0].request.body).expect("JSON");
    assert_eq!(body["image"], json!({"base64": text(picture, "base64"), "md5": text(picture, "md5")}));
}
