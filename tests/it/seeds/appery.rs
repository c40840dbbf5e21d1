//! What Appery.io can send.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use postrider::words::json::Exact;

use super::*;

/// The events of the vendor's page, in its order.
pub(super) const EVENTS: [&str; 14] = [
    "PROJECT_VERSION_CREATE",
    "PROJECT_VERSION_RESTORE",
    "PROJECT_PUBLISH_APPERY_SUCCESS",
    "PROJECT_BUILD_ANDROID_START",
    "PROJECT_BUILD_ANDROID_SUCCESS",
    "PROJECT_BUILD_ANDROID_ABORT",
    "PROJECT_BUILD_ANDROID_FAIL",
    "PROJECT_BUILD_IOS_START",
    "PROJECT_BUILD_IOS_SUCCESS",
    "PROJECT_BUILD_IOS_FAIL",
    "PROJECT_PREVIEW_TEST",
    "APPLICATION_VERSION_CREATE",
    "APPLICATION_VERSION_REMOVE",
    "APPLICATION_VERSION_RENAME",
];

fn native(event: &str) -> Json {
    json!({"type": format!("appery.{event}"), "data": sample(&format!("appery-{event}")).data()})
}

#[test]
fn ap3_a_project_hook_hears_of_its_project_and_an_account_hook_of_all() {
    let hooks = examples();
    let mine = sample("appery-PROJECT_BUILD_IOS_START");
    let others = sample("appery-PROJECT_BUILD_IOS_SUCCESS");
    assert_ne!(mine.data()["project"]["guid"], others.data()["project"]["guid"]);
    assert_eq!(hooks["appery-project"].wants(&mine), Ok(()));
    assert_eq!(hooks["appery-project"].wants(&others), Err(NotWanted::When));
    for event in EVENTS {
        let mut event = sample(&format!("appery-{event}"));
        assert_eq!(hooks["appery-account"].wants(&event), Ok(()), "{}", event.kind);
        event.kind = format!("appery.{}", event.kind);
        assert_eq!(hooks["appery-account"].wants(&event), Ok(()), "{}", event.kind);
    }
}

#[tokio::test]
async fn ap4_one_hook_lists_five_of_the_events_and_gets_five() {
    let sink = receiver().await;
    let wanted = &hooks_events("appery-releases");
    assert_eq!(wanted.len(), 5);
    let text = format!("events: [{}]\nplatform: webhook\noptions: {{url: \"{}\"}}\n", wanted.join(", "), sink.url(""));
    let daemon = Daemon::start(&[("releases", &text)]).await;
    for event in EVENTS {
        let answer = daemon.emit(&native(event)).await;
        let owed = if wanted.contains(&format!("appery.{event}")) { json!(["releases"]) } else { json!([]) };
        assert_eq!(answer["hooks"], owed, "{event}");
    }
    let rows =
        daemon.until("releases", |rows| rows.len() == 5 && rows.iter().all(|row| row.outcome == "delivered")).await;
    assert_eq!((rows.len(), sink.count()), (5, 5));
    daemon.stop().await;
}

fn hooks_events(hook: &str) -> Vec<String> {
    examples()[hook].events.clone()
}

#[test]
fn ap5_every_payload_of_the_page_is_built_member_by_member() {
    let hook = &examples()["appery-account"];
    let (mut nulls, mut without_start) = (0, 0);
    for event in EVENTS {
        let event = sample(&format!("appery-{event}"));
        let made = render(hook, &event);
        assert_eq!(
            (made.method.as_str(), &made.headers["content-type"]),
            ("POST", &"application/json".parse().unwrap())
        );
        let (made, page) = (Exact::parse(&made.body).unwrap(), Exact::parse(&event.raw).unwrap());
        // The texts are equal only if the members stand in the same order.
        assert_eq!(made.to_string(), page.to_string(), "{}", event.kind);
        let build = page.get("build");
        nulls += usize::from(build.is_some_and(|build| build.get("file_url").is_some_and(Exact::is_null)));
        without_start += usize::from(build.is_some_and(|build| build.get("started_at").is_none()));
    }
    assert_eq!((nulls, without_start), (5, 2), "explicit nulls, and members that are absent");
}

#[test]
fn ap6_a_text_for_every_build() {
    let hook = &examples()["appery-builds"];
    let mut texts = Vec::new();
    for event in EVENTS.iter().filter(|event| event.contains("BUILD")) {
        let body = body(hook, &format!("appery-{event}"));
        texts.push(body["text"]["content"].as_str().expect("a text").to_owned());
    }
    assert_eq!(texts.len(), 7);
    assert_eq!(texts.iter().filter(|text| text.ends_with("no file")).count(), 5, "{texts:?}");
    assert!(texts.contains(&"My project: ios build failed, no file".to_owned()), "{texts:?}");
    assert!(texts[1].ends_with("My_project-1.1.apk"), "{texts:?}");
}

#[test]
fn ap7_check_warns_of_a_secret_that_everybody_can_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("builds.yaml");
    let text = "events: ['appery.PROJECT_BUILD_*']\nplatform: dingtalk\noptions:\n  url: https://oapi.dingtalk.com/robot/send?access_token=hunter22\n";
    fs::write(&file, text).expect("a hook file");
    let check = |mode: u32, more: &[&str]| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        let run = Command::new(env!("CARGO_BIN_EXE_postrider"));
        let mut run = run;
        let run = run.arg("check").arg(&file).args(more).output().expect("the program runs");
        (run.status.code(), [run.stderr, run.stdout].map(|out| String::from_utf8_lossy(&out).into_owned()).concat())
    };
    let (code, said) = check(0o644, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning[readable-secret]") && said.contains("chmod o-r"), "{said}");
    assert!(said.contains("builds.yaml:4:8") && !said.contains("hunter22"), "{said}");
    assert_eq!(check(0o644, &["--deny-warnings"]).0, Some(78));
    let (code, said) = check(0o640, &["--deny-warnings"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("readable-secret"), "{said}");
}

#[tokio::test]
async fn ap8_the_sink_shows_a_webhook_as_a_request_bin_does() {
    let sink = receiver().await;
    let text = format!("events: '*'\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url("bin"));
    let daemon = Daemon::start(&[("bin", &text)]).await;
    daemon.emit(&native("PROJECT_VERSION_CREATE")).await;
    daemon.until_all("bin", "delivered").await;
    let shown = sink.records()[0].to_json(&postrider::edges::sink::Salt::new()).to_string();
    for part in ["POST", "application/json", "webhook-id", "My one and only project for testing hooks"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    daemon.stop().await;
}
