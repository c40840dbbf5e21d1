//! What PatchKit can send.

use std::collections::BTreeSet;

use super::*;

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
