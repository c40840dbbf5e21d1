//! The platforms that answer with a status: chats, push services, pagers and receivers of standards.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use postrider::edges::sink::{BotOptions, Limit, Platform, Received, Scripted, State};
use serde_json::{Value, json};

use super::{Said, Stage, with_secret};

fn stage(platform: Platform) -> Stage {
    Stage::new(platform, BotOptions::default())
}

/// A request with the headers that senders add.
fn post(platform: Platform, token: &str, body: impl ToString) -> Received {
    let mut request = Received::post(platform.path(token), body.to_string());
    request.headers.insert("user-agent", HeaderValue::from_static("postrider"));
    request
}

fn said(stage: &mut Stage, platform: Platform, body: impl ToString) -> Said {
    stage.request(&post(platform, "TOKEN", body))
}

fn with(mut request: Received, name: &'static str, value: &str) -> Received {
    request.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    request
}

fn header<'a>(said: &'a Said, name: &str) -> Option<&'a str> {
    said.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// What each platform takes.
fn message(platform: Platform, text: &str) -> Value {
    match platform {
        Platform::Slack | Platform::Mattermost | Platform::GoogleChat => json!({"text": text}),
        Platform::Discord => json!({"content": text}),
        Platform::Webex => json!({"markdown": text}),
        Platform::Telegram => json!({"chat_id": 1, "text": text}),
        Platform::Teams => {
            let card = json!({"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": text}]});
            json!({"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]})
        }
        Platform::Ntfy => json!({"topic": "TOKEN", "message": text}),
        Platform::Gotify => json!({"message": text}),
        Platform::Bark => json!({"device_key": "TOKEN", "body": text}),
        other => panic!("{other:?} takes no text"),
    }
}

const CHATS: [Platform; 7] = [
    Platform::Webex,
    Platform::Slack,
    Platform::Discord,
    Platform::Telegram,
    Platform::Teams,
    Platform::Mattermost,
    Platform::GoogleChat,
];

#[test]
fn a_success_has_its_own_words_everywhere() {
    for (platform, status, word) in [
        (Platform::Slack, 200, "ok"),
        (Platform::Mattermost, 200, "ok"),
        (Platform::Teams, 202, ""),
        (Platform::Telegram, 200, "\"ok\":true"),
        (Platform::GoogleChat, 200, "\"name\":\"spaces/S/messages/M1\""),
        (Platform::Discord, 204, ""),
        (Platform::Webex, 204, ""),
    ] {
        let said = said(&mut stage(platform), platform, message(platform, "hi"));
        assert_eq!(said.status, status, "{platform:?}: {}", said.text);
        assert!(said.judgement.accepted && said.text.contains(word), "{platform:?}: {}", said.text);
    }
}

#[test]
fn whoever_is_not_there_is_not_there_in_the_platforms_words() {
    for (platform, status, word) in [
        (Platform::Slack, 404, "no_service"),
        (Platform::Discord, 404, "10015"),
        (Platform::Teams, 404, "WorkflowNotFound"),
        (Platform::Webex, 404, "could not be found"),
        (Platform::Mattermost, 400, "web.incoming_webhook.invalid.app_error"),
        (Platform::GoogleChat, 404, "NOT_FOUND"),
        (Platform::Telegram, 401, "Unauthorized"),
    ] {
        let said = stage(platform).request(&post(platform, "unknown", message(platform, "hi")));
        assert_eq!(said.status, status, "{platform:?}: {}", said.text);
        assert!(!said.judgement.accepted && said.text.contains(word), "{platform:?}: {}", said.text);
    }
    for (platform, status, word) in [(Platform::Slack, 403, "invalid_token"), (Platform::Discord, 401, "50027")] {
        let mut stage = stage(platform);
        stage.fake.only_known();
        let said = said(&mut stage, platform, message(platform, "hi"));
        assert_eq!((said.status, said.text.contains(word)), (status, true), "{}", said.text);
    }
}

#[test]
fn what_is_not_json_is_refused_everywhere() {
    for platform in CHATS.into_iter().filter(|platform| *platform != Platform::Telegram) {
        let said = said(&mut stage(platform), platform, "{'text': 'hi'");
        assert_eq!((said.status, said.judgement.accepted), (400, false), "{platform:?}: {}", said.text);
    }
}

#[test]
fn too_many_are_told_how_long_to_wait() {
    for platform in CHATS {
        let limits = Some(vec![Limit::sliding(2, Duration::from_secs(10))]);
        let mut stage = Stage::new(platform, BotOptions { limits, ..BotOptions::default() });
        for _ in 0..2 {
            assert!(said(&mut stage, platform, message(platform, "hi")).judgement.accepted, "{platform:?}");
        }
        stage.wait(3.0);
        let refused = said(&mut stage, platform, message(platform, "hi"));
        assert_eq!(refused.status, 429, "{platform:?}: {}", refused.text);
        // Google names no time.
        let wait = if platform == Platform::GoogleChat { None } else { Some("7") };
        assert_eq!(header(&refused, "retry-after"), wait, "{platform:?}");
        stage.wait(7.0);
        assert!(said(&mut stage, platform, message(platform, "hi")).judgement.accepted, "{platform:?} after the wait");
    }
}

#[test]
fn discord_announces_one_of_its_two_limits() {
    let mut stage = stage(Platform::Discord);
    for left in (0..5).rev() {
        let said = said(&mut stage, Platform::Discord, message(Platform::Discord, "hi"));
        assert_eq!((said.status, header(&said, "x-ratelimit-remaining")), (204, Some(left.to_string().as_str())));
    }
    let refused = said(&mut stage, Platform::Discord, message(Platform::Discord, "hi"));
    assert_eq!((refused.status, refused.json["retry_after"].as_f64()), (429, Some(2.0)), "{}", refused.text);
    // Thirty a minute in the channel are announced nowhere.
    for _ in 0..5 {
        stage.wait(2.1);
        for _ in 0..5 {
            assert_eq!(said(&mut stage, Platform::Discord, message(Platform::Discord, "hi")).status, 204);
        }
    }
    stage.wait(2.1);
    assert_eq!(said(&mut stage, Platform::Discord, message(Platform::Discord, "hi")).status, 429);
}

#[test]
fn discord_counts_characters_and_says_what_is_wrong() {
    let mut stage = stage(Platform::Discord);
    let longest = "应".repeat(2000);
    assert!(said(&mut stage, Platform::Discord, message(Platform::Discord, &longest)).judgement.accepted);
    let refused = said(&mut stage, Platform::Discord, message(Platform::Discord, &(longest + "x")));
    assert_eq!((refused.status, &refused.json["code"]), (400, &json!(50_035)));
    assert_eq!(refused.json["errors"]["content"]["_errors"][0]["code"], "BASE_TYPE_MAX_LENGTH");
    let empty = said(&mut stage, Platform::Discord, json!({"content": "  "}));
    assert_eq!(empty.json["code"], 50_006);
    let sum = json!({"embeds": (0..2).map(|_| json!({"description": "x".repeat(4000)})).collect::<Vec<_>>()});
    assert_eq!(said(&mut stage, Platform::Discord, sum).json["code"], 50_035);
    let bare = Received::post(Platform::Discord.path("TOKEN"), "{}");
    assert_eq!(stage.request(&bare).status, 403, "no User-Agent");
}

#[test]
fn discord_calls_whom_it_is_allowed_to_call() {
    let mut stage = stage(Platform::Discord);
    let mut calls = |allowed: Value| {
        let mut body = json!({"content": "@everyone <@1> <@&2>"});
        if !allowed.is_null() {
            body["allowed_mentions"] = allowed;
        }
        stage.wait(10.0);
        said(&mut stage, Platform::Discord, body).judgement.mentions
    };
    let usual = calls(Value::Null);
    assert!(!usual.all && usual.users == ["1"], "{usual:?}");
    assert!(calls(json!({"parse": []})).is_empty());
    let all = calls(json!({"parse": ["everyone"], "roles": ["2"]}));
    assert!(all.all && all.users == ["2"], "{all:?}");
}

#[test]
fn telegram_reads_the_markup() {
    let mut stage = stage(Platform::Telegram);
    let mut send = |mode: &str, text: &str| {
        stage.wait(30.0);
        said(&mut stage, Platform::Telegram, json!({"chat_id": -100, "text": text, "parse_mode": mode}))
    };
    let bad = send("MarkdownV2", "1.2");
    assert_eq!(bad.status, 400);
    assert_eq!(
        bad.json["description"],
        "Bad Request: can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'"
    );
    let good = send("markdownv2", "*1\\.2*");
    assert_eq!(
        (&good.json["result"]["text"], &good.json["result"]["entities"][0]["type"]),
        (&json!("1.2"), &json!("bold"))
    );
    assert!(send("HTML", "<blink>x</blink>").text.contains("Unsupported start tag \\\"blink\\\" at byte offset 0"));
    assert_eq!(send("bbcode", "x").json["description"], "Bad Request: unsupported parse_mode");
    // The limit counts what is shown, in characters.
    assert_eq!(send("HTML", &format!("<b>{}</b>", "😀".repeat(4096))).status, 200);
    assert_eq!(
        send("HTML", &format!("<b>{}</b>", "x".repeat(4097))).json["description"],
        "Bad Request: message is too long"
    );
    assert_eq!(send("", &"应".repeat(11_000)).json["description"], "Bad Request: text is too long");
}

#[test]
fn telegram_knows_chats_and_counts_each_by_itself() {
    let mut stage = stage(Platform::Telegram);
    let mut send = |chat: Value| said(&mut stage, Platform::Telegram, json!({"chat_id": chat, "text": "x"}));
    assert_eq!(send(json!("")).json["description"], "Bad Request: chat_id is empty");
    assert_eq!(send(json!("unknown")).json["description"], "Bad Request: chat not found");
    assert_eq!(send(json!(-1)).json["parameters"]["migrate_to_chat_id"], -1_001_234_567_890_i64);
    for _ in 0..3 {
        assert_eq!(send(json!(7)).status, 200);
    }
    let refused = send(json!(7));
    assert_eq!((refused.status, &refused.json["parameters"]["retry_after"]), (429, &json!(3)));
    assert_eq!(send(json!(8)).status, 200, "another chat");
    let mut get = Received::post("/bot123456:TOKEN/sendmessage?chat_id=9&text=hi", "");
    get.method = Method::GET;
    get.headers.clear();
    assert_eq!(stage.request(&get).json["result"]["text"], "hi");
    let malformed = Received::post("/botTOKEN/sendMessage", "{}");
    assert_eq!(stage.request(&malformed).json["description"], "Unauthorized: invalid token specified");
    for (state, word) in [(State::Disabled, "blocked"), (State::Disbanded, "deleted")] {
        stage.fake.bot("123456:TOKEN", BotOptions { state, ..BotOptions::default() });
        let said = said(&mut stage, Platform::Telegram, message(Platform::Telegram, "x"));
        assert_eq!((said.status, said.text.contains(word)), (403, true), "{}", said.text);
    }
}

#[test]
fn slack_takes_words_and_blocks() {
    let mut stage = stage(Platform::Slack);
    let mut send = |body: Value| {
        stage.wait(10.0);
        said(&mut stage, Platform::Slack, body)
    };
    assert_eq!(send(json!({})).text, "no_text");
    assert_eq!(send(json!({"blocks": [{"type": "nonsense"}]})).text, "invalid_blocks");
    let long = json!({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(3001)}}]});
    assert_eq!(send(long).text, "invalid_blocks");
    assert_eq!(send(json!({"attachments": vec![json!({}); 101]})).text, "too_many_attachments");
    let cut = send(json!({"text": "x".repeat(40_001)}));
    assert_eq!(cut.text, "ok");
    assert_eq!(cut.judgement.stored.unwrap()["text"].as_str().unwrap().len(), 40_000);
    let called = send(json!({"text": "<@U1> <!here> <!subteam^S1> `<@U2>` &lt;@U3&gt;"})).judgement.mentions;
    assert!(called.all && called.users == ["U1", "S1"], "{called:?}");
    stage.fake.script(Scripted { code: 410, message: "channel_is_archived".to_owned() });
    let archived = said(&mut stage, Platform::Slack, message(Platform::Slack, "x"));
    assert_eq!((archived.status, archived.text.as_str()), (410, "channel_is_archived"));
}

#[test]
fn teams_compares_the_signature_and_counts_what_it_adds() {
    let mut stage = stage(Platform::Teams);
    let wrong = Received::post("/workflows/TOKEN/triggers/manual/paths/invoke?sig=other", "{}");
    assert_eq!(stage.request(&wrong).status, 401);
    assert_eq!(said(&mut stage, Platform::Teams, json!({"text": "a card of old"})).status, 400);
    assert_eq!(said(&mut stage, Platform::Teams, message(Platform::Teams, &"x".repeat(25_000))).status, 413);
    let mut body = message(Platform::Teams, "<at>Ann</at> <at>Bob</at>");
    body["attachments"][0]["content"]["msteams"] =
        json!({"entities": [{"type": "mention", "text": "<at>Ann</at>", "mentioned": {"id": "ann@example.com"}}]});
    let mentions = said(&mut stage, Platform::Teams, body).judgement.mentions;
    assert_eq!((mentions.users, mentions.unresolved), (vec!["ann@example.com".to_owned()], vec!["Bob".to_owned()]));
}

#[test]
fn mattermost_and_google_chat_call_by_their_own_rules() {
    let mentions =
        |platform, text: &str| said(&mut stage(platform), platform, message(platform, text)).judgement.mentions;
    let called = mentions(Platform::Mattermost, "@ann a@b.example `@bob` @channel");
    assert!(called.all && called.users == ["ann"], "{called:?}");
    let called = mentions(Platform::GoogleChat, "<users/12> <users/all> <users/ann>");
    assert!(called.all && called.users == ["12"] && called.unresolved == ["ann"], "{called:?}");
    let odd = said(&mut stage(Platform::GoogleChat), Platform::GoogleChat, json!({"text": "x", "txt": "y"}));
    assert_eq!((odd.status, odd.json["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")));
    let long = said(
        &mut stage(Platform::GoogleChat),
        Platform::GoogleChat,
        message(Platform::GoogleChat, &"应".repeat(10_700)),
    );
    assert_eq!(long.status, 400);
}

#[test]
fn push_services_want_their_tokens() {
    let mut ntfy = Stage::new(Platform::Ntfy, with_secret("tk_1"));
    let body = message(Platform::Ntfy, "hi");
    let said = ntfy.request(&post(Platform::Ntfy, "", &body));
    assert_eq!((said.status, &said.json["code"]), (401, &json!(40_101)));
    let said = ntfy.request(&with(post(Platform::Ntfy, "", &body), "authorization", "Bearer tk_1"));
    assert_eq!((said.status, &said.json["event"]), (200, &json!("message")));
    let long =
        with(post(Platform::Ntfy, "", message(Platform::Ntfy, &"x".repeat(4097))), "authorization", "Bearer tk_1");
    assert!(ntfy.request(&long).judgement.notes[0].contains("becomes a file"));

    let mut gotify = stage(Platform::Gotify);
    let body = message(Platform::Gotify, "hi");
    assert_eq!(gotify.request(&post(Platform::Gotify, "", &body)).status, 401);
    let said = gotify.request(&with(post(Platform::Gotify, "", &body), "x-gotify-key", "TOKEN"));
    assert_eq!((said.status, &said.json["message"]), (200, &json!("hi")));
    let empty = gotify.request(&with(post(Platform::Gotify, "", json!({"title": "t"})), "x-gotify-key", "TOKEN"));
    assert_eq!(empty.json["errorDescription"], "Field 'message' is required");

    let mut bark = stage(Platform::Bark);
    assert_eq!(said_code(&bark.request(&post(Platform::Bark, "", message(Platform::Bark, "hi")))), 200);
    let several = json!({"device_keys": ["TOKEN", "disabled"], "body": "hi"});
    let said = bark.request(&post(Platform::Bark, "", several));
    assert_eq!((said.status, &said.json["data"][1]["code"]), (200, &json!(500)), "a success, with a failure inside");
    assert_eq!(said_code(&bark.request(&post(Platform::Bark, "", json!({"body": "hi"})))), 400);
}

fn said_code(said: &Said) -> i64 {
    said.json["code"].as_i64().unwrap()
}

#[test]
fn pagers_and_machines_check_what_they_are_told() {
    const KEY: &str = "R0123456789012345678901234567890";
    let mut pager = stage(Platform::Pagerduty);
    let mut page = |body: Value| pager.request(&post(Platform::Pagerduty, "", body));
    let sound = json!({"routing_key": KEY, "event_action": "trigger", "payload": {"summary": "s", "source": "h", "severity": "error"}});
    let said = page(sound.clone());
    assert_eq!((said.status, &said.json["status"]), (202, &json!("success")));
    let mut bad = sound.clone();
    bad["payload"]["severity"] = json!("bad");
    assert!(page(bad).json["errors"][0].as_str().unwrap().contains("severity"));
    let mut bad = sound;
    bad["routing_key"] = json!("short");
    assert!(page(bad).json["errors"][0].as_str().unwrap().contains("routing_key"));
    assert!(
        page(json!({"routing_key": KEY, "event_action": "resolve"})).json["errors"][0]
            .as_str()
            .unwrap()
            .contains("dedup_key")
    );

    let mut alerts = stage(Platform::Alertmanager);
    let mut alert = |body: Value| alerts.request(&post(Platform::Alertmanager, "", body)).status;
    assert_eq!(alert(json!([{"labels": {"alertname": "A"}}])), 200);
    assert_eq!(alert(json!({"labels": {"alertname": "A"}})), 400);
    assert_eq!(alert(json!([{"labels": {}}])), 400);
    assert_eq!(alert(json!([{"labels": {"n": 1}}])), 400);
    assert_eq!(
        alert(json!([{"labels": {"a": "b"}, "startsAt": "2026-01-02T00:00:00Z", "endsAt": "2026-01-01T00:00:00Z"}])),
        400
    );

    let mut github = Stage::new(Platform::GithubDispatch, with_secret("gh"));
    let mut dispatch = |body: Value, token: &str| {
        github.request(&with(post(Platform::GithubDispatch, "example/app", body), "authorization", token)).status
    };
    assert_eq!(dispatch(json!({"event_type": "x"}), "Bearer gh"), 204);
    assert_eq!(dispatch(json!({"event_type": "x"}), "Bearer other"), 401);
    assert_eq!(dispatch(json!({"event_type": "x".repeat(101)}), "Bearer gh"), 422);
    let eleven: serde_json::Map<String, Value> = (0..11).map(|n| (format!("m{n}"), json!(n))).collect();
    assert_eq!(dispatch(json!({"event_type": "x", "client_payload": eleven}), "Bearer gh"), 422);
}

#[test]
fn receivers_of_standards_check_them() {
    let mut hooks = Stage::new(Platform::StandardWebhooks, with_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let published = |body: &str| {
        let request = post(Platform::StandardWebhooks, "", body);
        let request = with(request, "webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let request = with(request, "webhook-timestamp", "1614265330");
        with(request, "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    };
    hooks.now = super::at(1_614_265_330);
    assert_eq!(hooks.request(&published("{\"test\": 2432232314}")).status, 204);
    assert_eq!(hooks.request(&published("{\"test\": 2432232315}")).status, 401, "another body");
    hooks.wait(301.0);
    assert_eq!(hooks.request(&published("{\"test\": 2432232314}")).status, 401, "too old");
    assert_eq!(hooks.request(&post(Platform::StandardWebhooks, "", "{}")).status, 400, "no headers");

    let mut events = stage(Platform::Cloudevents);
    let structured =
        |body: Value| with(post(Platform::Cloudevents, "", body), "content-type", "application/cloudevents+json");
    let sound = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    assert_eq!(events.request(&structured(sound)).status, 204);
    assert_eq!(events.request(&structured(json!({"specversion": "1.0", "id": "1"}))).status, 400);
    events.fake.bot("/", BotOptions { state: State::Removed, ..BotOptions::default() });
    assert_eq!(events.request(&structured(json!({}))).status, 410);
}

#[test]
fn each_keeps_its_secrets_to_itself() {
    use postrider::edges::sink::Salt;
    let salt = Salt::new();
    for platform in CHATS {
        let token = if platform == Platform::Mattermost { "abcdefghijklmnopqrstuvwxyz" } else { "S3CRET" };
        let shown = Received::post(platform.path(token), "{}").shown_target(&salt);
        // The number of a workflow is no secret, its signature is.
        let secret = if platform == Platform::Teams { "sig-S3CRET" } else { token };
        assert!(!shown.contains(secret), "{shown}");
    }
    let page = Received::post("/v2/enqueue", r#"{"routing_key":"S3CRET"}"#).shown_body(&salt).unwrap();
    let bark = Received::post("/push", r#"{"device_keys":["S3CRET","b"]}"#).shown_body(&salt).unwrap();
    assert!(!page.contains("S3CRET") && !bark.contains("S3CRET"), "{page} {bark}");
}
