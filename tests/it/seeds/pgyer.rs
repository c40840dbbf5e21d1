//! What Pgyer can send.

use super::*;

const PGYER: &str = "pgyer-updateVersion";
const MESSAGE: &str = "您的应用OooPlay有了新的版本(2.4)更新。";

#[test]
fn pg1_the_raw_json_goes_out_as_it_came() {
    let request = render(&examples()["pgyer-mirror"], &sample(PGYER));
    assert_eq!(request.method, "POST");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.body, sample(PGYER).raw);
    let text = String::from_utf8(request.body.to_vec()).expect("UTF-8, not escapes");
    let fields = [
        "action",
        "title",
        "link",
        "message",
        "type",
        "os_version",
        "build_version",
        "created",
        "updated",
        "timestamp",
        "appsize",
        "device_type",
        "notes",
    ];
    let places: Vec<_> = fields.iter().map(|field| text.find(&format!("\"{field}\"")).expect("the field")).collect();
    assert!(places.is_sorted(), "{places:?}");
    let data: Json = serde_json::from_str(&text).expect("JSON");
    assert!(data["timestamp"].is_i64() && data["appsize"].is_string() && text.contains("应用更新"));
}

/// One answer of a robot and what it must lead to: (code, words, outcome, beginning of the reason).
type Answer = (i64, &'static str, &'static str, &'static str);

async fn robot_rows(platform: Platform, name: &str, answers: &[Answer]) {
    assert!(!answers.is_empty());
    for (code, words, outcome, why) in answers {
        let sink = robot(platform, BotOptions::default()).await;
        if *code != 0 {
            sink.script(Step::code(*code, words)).expect("a step");
        }
        let text = format!("events: [updateVersion]\nplatform: {name}\noptions: {{url: \"{}\"}}\n", sink.url("T"));
        let daemon = Daemon::start(&[("robot", &text)]).await;
        let event = json!({"type": "updateVersion", "data": sample(PGYER).data()});
        daemon.emit(&event).await;
        let rows =
            daemon.until("robot", |rows| !rows.is_empty() && !rows[0].why.starts_with("new") && sink.count() > 0).await;
        assert_eq!(rows[0].outcome, *outcome, "{name} {code}: {}", rows[0].why);
        assert!(rows[0].why.starts_with(why), "{name} {code}: {}", rows[0].why);
        assert!(rows[0].why.contains(words), "{name} {code}: {}", rows[0].why);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn pg2_wecom() {
    let answers = [
        (0, "", "delivered", ""),
        (93000, "invalid webhook url", "waiting", "hold"),
        (40058, "text.content exceed max length 2048", "dead", ""),
        (45009, "api freq out of limit", "waiting", "pause"),
    ];
    robot_rows(Platform::Wecom, "wecom", &answers).await;
    let body = body(&examples()["pgyer-wecom"], PGYER);
    assert_eq!(body["msgtype"], "text");
    assert_eq!(body["text"]["content"], MESSAGE);
}

#[tokio::test]
async fn pg3_dingtalk() {
    let answers = [
        (0, "", "delivered", ""),
        (310000, "keywords not in content", "dead", ""),
        (310000, "sign not match", "waiting", ""),
        (130101, "send too fast, exceed 20 times per minute", "waiting", "pause"),
    ];
    robot_rows(Platform::Dingtalk, "dingtalk", &answers).await;
    let request = render(&examples()["pgyer-dingtalk"], &sample(PGYER));
    assert!(request.url.contains("timestamp=1700000000000&sign=sSFWELbV2YwjdDQhWZwTcWlX5BWUx5J6TPpsZmuPii0%3D"));
}

#[tokio::test]
async fn pg4_lark() {
    let answers = [
        (0, "", "delivered", ""),
        (19024, "Key Words Not Found", "dead", ""),
        (19021, "sign match fail", "waiting", ""),
        (11232, "frequency limited", "waiting", "pause"),
        (9499, "too many request", "waiting", "pause"),
    ];
    robot_rows(Platform::Lark, "lark", &answers).await;
    let body = body(&examples()["pgyer-lark"], PGYER);
    assert_eq!(body["timestamp"], "1700000000");
    assert!(body["sign"].is_string());
}

#[test]
fn pg5_the_default_text_is_the_message() {
    for (platform, pointer) in [("wecom", "/text/content"), ("dingtalk", "/text/content"), ("lark", "/content/text")] {
        let hook = hook(&format!("events: '*'\nplatform: {platform}\noptions: {{url: http://127.0.0.1:1/x}}\n"));
        assert_eq!(body(&hook, PGYER).pointer(pointer), Some(&json!(MESSAGE)), "{platform}");
    }
}

#[test]
fn pg6_any_subset_of_events_may_be_selected() {
    let mirror = &examples()["pgyer-mirror"];
    for wanted in ["updateVersion", "versionManage", "appSetting", "appMigrate", "appDelete"] {
        let mut event = sample(PGYER);
        event.kind = wanted.into();
        assert_eq!(mirror.wants(&event), Ok(()));
    }
    let only = hook("events: [appDelete]\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x}\n");
    assert_eq!(only.wants(&sample(PGYER)), Err(NotWanted::Type));
}

#[test]
fn pg7_a_size_in_bytes_becomes_readable() {
    let body = body(&examples()["pgyer-dingtalk"], PGYER);
    assert!(body["markdown"]["text"].as_str().expect("a text").contains("2.1 MiB"), "{body}");
}

#[test]
fn pg8_the_mention_switch() {
    let on = [("wecom", "/text/mentioned_list", json!(["@all"])), ("dingtalk", "/at/isAtAll", json!(true))];
    for (platform, pointer, wanted) in on {
        let text = format!("events: '*'\nplatform: {platform}\noptions: {{url: http://127.0.0.1:1/x, mention: all}}\n");
        assert_eq!(body(&hook(&text), PGYER).pointer(pointer), Some(&wanted), "{platform}");
    }
    let text = "events: '*'\nplatform: lark\noptions: {url: http://127.0.0.1:1/x, mention: all}\n";
    let lark = body(&hook(text), PGYER);
    assert!(lark["content"]["text"].as_str().expect("a text").contains("<at user_id=\"all\">"), "{lark}");

    for platform in ["wecom", "dingtalk", "lark"] {
        let text = format!("events: '*'\nplatform: {platform}\noptions: {{url: http://127.0.0.1:1/x}}\n");
        let off = body(&hook(&text), PGYER).to_string();
        for trace in ["@all", "isAtAll\":true", "<at ", "mentioned_list"] {
            assert!(!off.contains(trace), "{platform}: {off}");
        }
    }
    let (_, found) =
        parse("hook", "events: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x, mention: all}\n");
    assert!(found.iter().any(|one| one.render(false).contains("mention")), "{found:?}");
}

#[tokio::test]
async fn pg9_a_switched_off_hook_sends_nothing_and_owes_nothing() {
    let sink = receiver().await;
    let text = format!("enabled: false\nevents: '*'\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    let daemon = Daemon::start(&[("off", &text)]).await;
    assert_eq!(daemon.emit(&json!({"type": "updateVersion"})).await["hooks"], json!([]));
    let (_, explained) = daemon.admin("POST", "/v1/explain", Some(r#"{"type": "updateVersion"}"#)).await;
    let off = &explained["hooks"][0];
    assert_eq!((&off["hook"], &off["wanted"], &off["reason"]), (&json!("off"), &json!(false), &json!("disabled")));
    assert_eq!(sink.count(), 0);
    daemon.stop().await;
}

#[test]
fn pg11_a_text_without_the_keyword_is_refused_or_gets_it_in_front() {
    for (platform, pointer) in [("dingtalk", "/text/content"), ("lark", "/content/text")] {
        let with = |more: &str| {
            hook(&format!(
                "events: '*'\nplatform: {platform}\noptions: {{url: http://127.0.0.1:1/x, keyword: 应用, message: news{more}}}\n"
            ))
        };
        let prepended = body(&with(", keyword_mode: prepend"), PGYER);
        let text = prepended.pointer(pointer).and_then(Json::as_str).expect("a text");
        assert_eq!(text.matches("应用").count(), 1, "{text}");
        assert!(text.ends_with("news"), "{text}");

        let text = format!(
            "events: '*'\nplatform: {platform}\noptions: {{url: http://127.0.0.1:1/x, keyword: 应用, message: news}}\n"
        );
        let (refused, mut found) = parse("hook", &text);
        if let Some(hook) = refused {
            found.extend(hook.dry_run(&crate::examples::secrets(), crate::examples::noon()));
        }
        assert!(found.iter().any(|one| one.render(false).contains("应用")), "{platform}: {found:?}");
    }
}

#[tokio::test]
async fn pg12_name_and_url_can_be_edited() {
    let (old, new) = (receiver().await, receiver().await);
    let text = |sink: &SinkHandle| {
        format!(
            "events: '*'\nplatform: webhook\noptions: {{url: \"{}\"}}\nretry: {{first: 100ms, max: 100ms}}\n",
            sink.url("")
        )
    };
    old.script(Step::status(503).times(1000)).expect("a step");
    let daemon = Daemon::start(&[("10-mirror", &text(&old))]).await;
    daemon.emit(&json!({"type": "updateVersion", "data": 1})).await;
    assert!(old.wait_for(1, crate::support::PATIENCE).await);
    daemon.put_hook("20-mirror", &text(&new)).await;
    daemon.remove_hook("10-mirror").await;
    daemon.until_all("mirror", "delivered").await;
    assert_eq!(bodies(&new), ["1"]);
    daemon.stop().await;
}

#[tokio::test]
async fn pg13_one_post_becomes_four_requests_with_fates_of_their_own() {
    let mirror = receiver().await;
    let wecom = robot(Platform::Wecom, BotOptions::default()).await;
    let signed = |secret: &str| BotOptions { secret: Some(Secret::new(secret)), ..BotOptions::default() };
    let dingtalk = robot(Platform::Dingtalk, signed("SECdemo")).await;
    let lark = robot(Platform::Lark, signed("other")).await;
    let text = |platform: &str, sink: &SinkHandle, more: &str| {
        format!("events: [updateVersion]\nplatform: {platform}\noptions: {{url: \"{}\"{more}}}\n", sink.url("T"))
    };
    let daemon = Daemon::start(&[
        ("mirror", &text("webhook", &mirror, "")),
        ("wecom", &text("wecom", &wecom, "")),
        ("dingtalk", &text("dingtalk", &dingtalk, ", secret: SECdemo")),
        ("lark", &text("lark", &lark, ", secret: wrong")),
    ])
    .await;
    let event = json!({"type": "updateVersion", "data": sample(PGYER).data()});
    assert_eq!(daemon.emit(&event).await["hooks"], json!(["dingtalk", "lark", "mirror", "wecom"]));
    for hook in ["mirror", "wecom", "dingtalk"] {
        daemon.until_all(hook, "delivered").await;
    }
    daemon.until("lark", |rows| rows[0].why.contains("sign match fail")).await;
    daemon.stop().await;
}

#[tokio::test]
async fn pg10_three_hooks_for_an_app_and_a_fourth_is_refused() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("postrider.yaml"), "limits: {hooks_per_scope: 3}\n").expect("a main file");
    let text =
        format!("scope: pgyer/oooplay\nevents: '*'\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    for name in ["a", "b", "c"] {
        crate::support::write_hook(folder.path(), name, &text);
    }
    let daemon = Daemon::start_in(folder).await;
    daemon.put_hook("d", &text).await;
    assert_eq!(daemon.emit(&json!({"type": "updateVersion"})).await["hooks"], json!(["a", "b", "c"]));
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    let problems = status["problems"].to_string();
    for file in ["a.yaml", "b.yaml", "c.yaml", "d.yaml"] {
        assert!(problems.contains(file), "{file} is not in {problems}");
    }
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["check"])
        .current_dir(daemon.folder.path())
        .output()
        .expect("the program runs");
    assert_eq!(run.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&run.stderr).contains("scope-full"), "{}", String::from_utf8_lossy(&run.stderr));
    daemon.remove_hook("b").await;
    assert_eq!(daemon.emit(&json!({"type": "updateVersion"})).await["hooks"], json!(["a", "c", "d"]));
    daemon.stop().await;
}
