//! What Pgyer, AppGo and PatchKit can send, feature by feature, sent by hooks: `pg`, `ag` and `pk` with the number of
//! the feature.

use std::collections::BTreeSet;

use postrider::edges::sink::{BotOptions, Platform, Sink, SinkHandle, SinkOptions, Step};
use postrider::rules::diagnostic::{Diagnostic, Source};
use postrider::rules::hook::{Hook, NotWanted};
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::secret::Secret;
use serde_json::{Value as Json, json};

use crate::examples::{examples, render, sample};
use crate::support::{Daemon, bodies, receiver};

fn parse(name: &str, text: &str) -> (Option<Hook>, Vec<Diagnostic>) {
    Hook::parse(&Source::new(format!("{name}.yaml"), text), &Platforms::built_in(), &Defaults::default())
}

fn hook(text: &str) -> Hook {
    let (hook, found) = parse("hook", text);
    hook.unwrap_or_else(|| panic!("{}", found.iter().map(|one| one.render(false)).collect::<String>()))
}

fn body(hook: &Hook, event: &str) -> Json {
    serde_json::from_slice(&render(hook, &sample(event)).body).expect("a JSON body")
}

async fn robot(platform: Platform, default: BotOptions) -> SinkHandle {
    Sink::start(SinkOptions { platform, default, ..SinkOptions::default() }).await.expect("a robot")
}

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
    assert_eq!(explained["hooks"][0], json!({"hook": "off", "wanted": false, "why": "disabled"}));
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

#[test]
fn ag5_the_fourth_hook_of_a_scope_is_refused_by_name() {
    let hooks: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let text = "scope: app\nevents: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x}\n";
            parse(name, text).0.expect("a hook")
        })
        .into();
    let hooks = hooks.into_iter().map(|hook| (hook.name.clone(), std::sync::Arc::new(hook))).collect();
    let (found, left_out) = postrider::rules::hook::over_scope(&hooks, 3);
    let text: String = found.iter().map(|one| one.render(false)).collect();
    for file in ["a.yaml", "b.yaml", "c.yaml", "d.yaml"] {
        assert!(text.contains(file), "{text}");
    }
    assert_eq!(left_out.into_iter().map(|name| name.to_string()).collect::<Vec<_>>(), ["d"]);
}

#[tokio::test]
async fn ag6_the_sink_shows_what_it_got() {
    let sink = receiver().await;
    let text = format!("events: '*'\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    let daemon = Daemon::start(&[("hook", &text)]).await;
    let event = json!({"type": "feedback", "data": sample("appgo-feedback").data()});
    daemon.emit(&event).await;
    daemon.until_all("hook", "delivered").await;
    let records = sink.records();
    let shown = records[0].to_json(&postrider::edges::sink::Salt::new());
    assert_eq!((&shown["method"], &shown["status"]), (&json!("POST"), &json!(200)));
    assert!(shown.to_string().contains("App Feedback"), "{shown}");
    daemon.stop().await;
}

#[test]
fn ag7_the_raw_body_is_there_for_templates() {
    let event = sample("appgo-crashlog");
    let request = render(&examples()["appgo-support"], &event);
    assert_eq!(request.body, event.raw);
}

#[test]
fn pk1_one_event_one_request() {
    let hooks = examples();
    let event = sample("patchkit-version.published");
    assert_eq!(hooks["patchkit-ci"].wants(&event), Ok(()));
    assert_eq!(render(&hooks["patchkit-ci"], &event).method, "PUT");
}

#[tokio::test]
async fn pk2_any_method_arrives_as_such_and_get_and_head_carry_no_body() {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    for method in methods {
        let sink = receiver().await;
        let text = format!(
            "events: '*'\nplatform: webhook\noptions: {{url: \"{}\", method: {method}, json: {{a: 1}}}}\n",
            sink.url("")
        );
        let text = if method == "GET" || method == "HEAD" { text.replace(", json: {a: 1}", "") } else { text };
        let daemon = Daemon::start(&[("hook", &text)]).await;
        daemon.emit(&json!({"type": "version.published", "data": {"b": 2}})).await;
        daemon.until_all("hook", "delivered").await;
        let record = &sink.records()[0];
        assert_eq!(record.request.method, method);
        let wanted = if method == "GET" || method == "HEAD" { "" } else { r#"{"a":1}"# };
        assert_eq!(record.request.body, wanted, "{method}");
        daemon.stop().await;
    }
}

#[test]
fn pk3_a_variable_is_one_path_segment_and_never_the_host() {
    let hook =
        hook("events: '*'\nplatform: webhook\noptions: {url: \"https://ci.example.org/apps/{{ app.name }}/x\"}\n");
    let raw = json!({"app": {"name": "a/b c?&#é应"}}).to_string();
    let event = postrider::words::event::Event::new("e", None, raw, crate::examples::noon());
    assert_eq!(render(&hook, &event).url, "https://ci.example.org/apps/a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94/x");
}

#[test]
fn pk4_headers_in_json_with_variables() {
    let text = r#"{"events": "*", "platform": "webhook", "options": {"url": "http://127.0.0.1:1/x",
        "headers": {"Authorization": "Bearer {{ secret('ci-token') }}", "X-Label": "{{ version.label }}"}}}"#;
    let request = render(&hook(text), &sample("patchkit-version.published"));
    assert_eq!(request.headers["authorization"], "Bearer t0ken");
    assert_eq!(request.headers["x-label"], "1.4.0");

    let text = "events: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x, headers: {X: \"{{ v }}\"}}\n";
    let secrets = crate::examples::secrets();
    for hostile in ["a\r\nSet-Cookie: x", "a\nb", "a\0b", "é"] {
        let raw = json!({"v": hostile}).to_string();
        let event = postrider::words::event::Event::new("e", None, raw, crate::examples::noon());
        let given = postrider::rules::platform::Given {
            id: "i-1",
            attempt: 1,
            now: crate::examples::noon(),
            hook: "hook",
            event: &event,
            secrets: &secrets,
        };
        assert!(hook(text).render(&given).is_err(), "{hostile:?}");
    }
}

#[test]
fn pk5_the_format_and_its_content_type() {
    let hooks = examples();
    let event = sample("patchkit-version.published");
    for (name, media) in [
        ("patchkit-ci", "application/json"),
        ("patchkit-form", "application/x-www-form-urlencoded"),
        ("patchkit-xml", "application/xml"),
    ] {
        let request = render(&hooks[name], &event);
        let found = request.headers["content-type"].to_str().expect("a header");
        assert!(found.starts_with(media), "{name}: {found}");
    }
    let text = hook("events: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x, text: hello}\n");
    let request = render(&text, &event);
    assert!(request.headers["content-type"].to_str().expect("a header").starts_with("text/plain"));
    assert_eq!(request.body, "hello");
}

#[test]
fn pk6_the_payload_of_the_vendors_page_works_unchanged_and_values_arrive_exactly() {
    let payload = r#"{"msg": "Application {{app.display_name}} version {{version.label}} has been published!"}"#;
    let hook =
        hook(&format!("events: '*'\nplatform: webhook\noptions:\n  url: http://127.0.0.1:1/x\n  json: {payload}\n"));
    let hostile = "q\" n\n b\\ {{ braces }} 🎮 \u{7}";
    let raw = json!({"app": {"display_name": hostile}, "version": {"label": "1"}}).to_string();
    let event = postrider::words::event::Event::new("e", None, raw, crate::examples::noon());
    let body: Json = serde_json::from_slice(&render(&hook, &event).body).expect("JSON");
    assert_eq!(body["msg"], format!("Application {hostile} version 1 has been published!"));
}

#[test]
fn pk7_all_eleven_variables_and_a_typo() {
    let variables = [
        "app.name",
        "app.display_name",
        "app.group_name",
        "app.download_url",
        "app.direct_download_url",
        "version.id",
        "version.label",
        "version.published_at",
        "version.humanized_content_size",
        "version.humanized_diff_size",
        "version.changes",
    ];
    let event = sample("patchkit-version.published");
    for variable in variables {
        let text = format!(
            "events: '*'\nplatform: webhook\noptions: {{url: http://127.0.0.1:1/x, json: {{v: \"{{{{ {variable} }}}}\"}}}}\n"
        );
        let body: Json = serde_json::from_slice(&render(&hook(&text), &event).body).expect("JSON");
        let wanted = event.data().pointer(&format!("/{}", variable.replace('.', "/"))).expect("the variable");
        assert_eq!(&body["v"], wanted, "{variable}");
    }
    let used: BTreeSet<_> = variables.into_iter().collect();
    assert_eq!(used.len(), 11);
    let typo = refused("{{ version.lable }}", &event);
    assert!(typo.contains("lable") && typo.contains("label"), "{typo}");
}

fn refused(template: &str, event: &postrider::words::event::Event) -> String {
    let text = format!(
        "events: '*'\nplatform: webhook\noptions: {{url: http://127.0.0.1:1/x, json: {{v: \"{template}\"}}}}\n"
    );
    let (hook, secrets) = (hook(&text), crate::examples::secrets());
    let given = postrider::rules::platform::Given {
        id: "i-1",
        attempt: 1,
        now: crate::examples::noon(),
        hook: "hook",
        event,
        secrets: &secrets,
    };
    hook.render(&given).expect_err("an error").to_string()
}

#[test]
fn pk8_changes_of_many_lines_survive_every_format() {
    let hooks = examples();
    let event = sample("patchkit-version.published");
    let changes = event.data()["version"]["changes"].as_str().expect("changes").to_owned();
    let json: Json = serde_json::from_slice(&render(&hooks["patchkit-ci"], &event).body).expect("JSON");
    assert_eq!(json["changes"], changes.as_str());
    let form = render(&hooks["patchkit-form"], &event).body;
    let pairs: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
    assert!(pairs.contains(&("changes".to_owned(), changes.clone())), "{pairs:?}");
    let url = url::Url::parse(&render(&hooks["patchkit-ping"], &event).url).expect("a URL");
    assert!(url.query_pairs().any(|(key, value)| key == "changes" && value == changes), "{url}");
    let markdown = hook(
        "events: '*'\nplatform: dingtalk\noptions: {url: http://127.0.0.1:1/x, title: t, message: \"{{ version.changes | safe }}\"}\n",
    );
    assert_eq!(body(&markdown, "patchkit-version.published")["markdown"]["text"], changes.as_str());
}

#[tokio::test]
async fn pk9_the_test_button() {
    let sink = receiver().await;
    let text = format!(
        "enabled: false\nevents: [version.published]\nplatform: webhook\noptions: {{url: \"{}\", json: {{a: 1}}}}\n",
        sink.url("")
    );
    let daemon = Daemon::start(&[("ci", &text)]).await;
    let (status, probed) = daemon.admin("POST", "/v1/test", Some(r#"{"hook": "ci"}"#)).await;
    assert_eq!((status, &probed["verdict"]), (200, &json!("delivered")));
    assert_eq!(bodies(&sink), [r#"{"a":1}"#]);
    daemon.stop().await;
}

#[test]
fn pk10_an_absent_group_name() {
    let mut event = sample("patchkit-version.published");
    let mut data = event.data().clone();
    data["app"].as_object_mut().expect("a map").remove("group_name");
    event = postrider::words::event::Event::new("e", None, data.to_string(), crate::examples::noon());
    let body: Json = serde_json::from_slice(&render(&examples()["patchkit-ci"], &event).body).expect("JSON");
    assert_eq!(body["channel"], "stable");
    let without = refused("{{ app.group_name }}", &event);
    assert!(without.contains("group_name"), "{without}");
}
