//! What AppGo can send.

use super::*;

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

/// AppGo's own example of an event goes out as it stands on its page.
fn as_on_the_page(event: &str, action: &str) {
    let (hook, event) = (&examples()["appgo-mirror"], sample(&format!("appgo-{event}")));
    assert_eq!(hook.wants(&event), Ok(()));
    let request = render(hook, &event);
    assert_eq!(
        (request.method.as_str(), request.headers["content-type"].as_bytes()),
        ("POST", &b"application/json"[..])
    );
    assert_eq!(request.body, event.raw);
    let data: Json = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(data["action"], action);
    let names: Vec<_> = data.as_object().expect("a map").keys().map(String::as_str).collect();
    let page =
        "action title link message type os_version build_version created updated timestamp appsize device_type notes";
    assert_eq!(names.join(" "), page);
}

#[test]
fn ag1_an_update_goes_out_as_appgo_sends_it() {
    as_on_the_page("updateVersion", "App Update");
}

#[test]
fn ag2_feedback_goes_out_as_appgo_sends_it() {
    as_on_the_page("feedback", "App Feedback");
}

#[test]
fn ag3_a_crash_log_goes_out_as_appgo_sends_it() {
    as_on_the_page("crashlog", "Crash log");
}

#[test]
fn ag3_a_long_crash_log_reaches_every_kind_of_text_unbroken() {
    let line = "CoreFoundation 0x21edf7f3 <redacted> & \"x\" 146";
    let stack = vec![line; 400].join("\n");
    let data =
        json!({"title": "OooPlay", "os_version": "2.4", "build_version": "139", "device_type": "iOS", "notes": stack});
    let event = postrider::words::event::Event::new("crashlog", None, data.to_string(), crate::examples::noon());

    let body: Json = serde_json::from_slice(&render(&examples()["appgo-crash"], &event).body).expect("JSON");
    let text = body["markdown"]["text"].as_str().expect("a text").replace('\u{200b}', "");
    let notes = text.split_once("\n\n").expect("a head and the notes").1.trim_end();
    assert!(stack.starts_with(notes) && notes.len() > 2900 && notes.ends_with(line), "{notes}");

    let json =
        hook("events: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x, json: {log: \"{{ notes }}\"}}\n");
    let body: Json = serde_json::from_slice(&render(&json, &event).body).expect("JSON");
    assert_eq!(body["log"], stack.as_str());

    let xml =
        hook("events: '*'\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x, xml: \"<p>{{ notes }}</p>\"}\n");
    let page = String::from_utf8(render(&xml, &event).body.to_vec()).expect("UTF-8");
    assert!(page.contains("&lt;redacted&gt; &amp; &quot;x&quot;"), "{page}");
}
