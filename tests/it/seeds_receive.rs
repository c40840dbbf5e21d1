//! What Pgyer, AppGo, Appery.io, PatchKit and PushPushGo send is received: over real HTTP, stored, and relayed. Named with
//! the number of the feature, as in `seeds`.

use std::fs;

use postrider::edges::sink::SinkHandle;
use postrider::words::event::Event;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, Got, bodies, receiver, test_file, write_hook, write_secret};

/// A daemon with these sources, and a receiver that is sent everything as it came.
struct House {
    daemon: Daemon,
    sink: SinkHandle,
}

impl House {
    async fn new(sources: &str) -> Self {
        let sink = receiver().await;
        let folder = tempfile::tempdir().unwrap();
        write_hook(
            folder.path(),
            "mirror",
            &format!("events: \"*\"\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url("")),
        );
        write_secret(folder.path(), "token", "t0ken");
        fs::write(folder.path().join("postrider.yaml"), format!("sources: {sources}\n")).unwrap();
        Self { daemon: Daemon::start_in(folder).await, sink }
    }

    /// Posts a body, and gives the event that it became once it was relayed.
    async fn take(&self, path: &str, body: &[u8]) -> Event {
        let got = self.daemon.post(path, body).await;
        self.taken(got, body).await
    }

    async fn taken(&self, got: Got, body: &[u8]) -> Event {
        assert_eq!(got.status, 202, "{got:?}");
        let id = got.json()["id"].as_str().expect("an id").to_owned();
        let rows = self
            .daemon
            .until("mirror", |rows| rows.iter().any(|row| row.event == id && row.outcome == "delivered"))
            .await;
        let row = rows.iter().find(|row| row.event == id).unwrap();
        let event = self.daemon.journal.show(&row.delivery).await.unwrap().unwrap().event;
        assert!(event.raw == body && self.sink.records().iter().any(|record| record.request.body == body), "{row:?}");
        (*event).clone()
    }
}

const PGYER: &str = "events/pgyer-updateVersion.json";

#[tokio::test]
async fn pg1_the_sample_is_taken_with_all_its_fields() {
    let house = House::new("{pgyer: {}}").await;
    let event = house.take("/in/pgyer", &test_file(PGYER)).await;
    assert_eq!((event.kind.as_str(), event.source.as_str()), ("pgyer.updateVersion", "pgyer"));
    let data = event.data().as_object().unwrap();
    assert_eq!(data.len(), 13);
    assert_eq!(
        (&data["action"], &data["appsize"], &data["timestamp"]),
        (&json!("应用更新"), &json!("2238036"), &json!(1444361118))
    );
    house.daemon.stop().await;
}

#[tokio::test]
async fn pg6_every_event_is_taken_by_its_own_word() {
    let house = House::new("{pgyer: {}}").await;
    for kind in ["updateVersion", "versionManage", "appSetting", "appMigrate", "appDelete", "whateverComesNext"] {
        let body = json!({"type": kind, "title": "OooPlay"}).to_string();
        assert_eq!(house.take("/in/pgyer", body.as_bytes()).await.kind, format!("pgyer.{kind}"));
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn pg7_times_without_a_zone_are_chinas() {
    let house = House::new("{pgyer: {}, abroad: {script: pgyer, options: {zone: \"+02:00\"}}}").await;
    let event = house.take("/in/pgyer", &test_file(PGYER)).await;
    assert_eq!(event.time.to_string(), "2015-10-09T03:25:18Z", "timestamp, which is exact");
    assert_eq!(event.data()["created"], "2015-10-09 11:25:16", "as it came");
    let only_created = br#"{"type":"updateVersion","created":"2015-10-09 11:25:16"}"#;
    assert_eq!(house.take("/in/pgyer", only_created).await.time.to_string(), "2015-10-09T03:25:16Z");
    assert_eq!(house.take("/in/abroad", only_created).await.time.to_string(), "2015-10-09T09:25:16Z");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ag1_3_updates_feedback_and_crash_logs() {
    let house = House::new("{appgo: {}}").await;
    for kind in ["updateVersion", "feedback", "crashlog"] {
        let event = house.take("/in/appgo", &test_file(&format!("events/appgo-{kind}.json"))).await;
        assert_eq!(event.kind, format!("appgo.{kind}"));
    }
    let mut log: Json = serde_json::from_slice(&test_file("events/appgo-crashlog.json")).unwrap();
    let stack: String =
        (0..2000).map(|frame| format!("{frame} CoreFoundation 0x21edf7f3 <redacted> \"146\"\n")).collect();
    log["notes"] = stack.as_str().into();
    let event = house.take("/in/appgo", log.to_string().as_bytes()).await;
    assert_eq!(event.data()["notes"], stack.as_str(), "unbroken");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ag4_the_documents_own_samples_are_refused_with_their_place_or_kept() {
    let house = House::new("{appgo: {}, lenient: {script: appgo, options: {invalid_json: accept}}}").await;
    for kind in ["updateVersion", "feedback", "crashlog"] {
        let body = test_file(&format!("sources/samples/appgo-{kind}-as-documented.txt"));
        let got = house.daemon.post("/in/appgo", &body).await;
        assert_eq!(got.status, 400);
        let said = got.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.contains("line 13, column 18"), "{said}");
        let event = house.take("/in/lenient", &body).await;
        assert_eq!(event.kind, "appgo.invalid_json");
        assert_eq!(event.data()["raw"], String::from_utf8(body).unwrap());
        assert!(event.data()["parse_error"].as_str().unwrap().starts_with("line 13, column 18"));
    }
    assert_eq!(house.daemon.deliveries("mirror").await.len(), 3, "what was refused is not stored");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ag7_templates_have_the_raw_body() {
    let house = House::new("{appgo: {}}").await;
    let text = format!(
        "events: appgo.*\nplatform: webhook\noptions: {{url: \"{}\", text: \"raw: {{{{ event.raw }}}}\"}}\n",
        house.sink.url("")
    );
    house.daemon.put_hook("raw", &text).await;
    let body = br#"{"type": "feedback",  "n": 1.50}"#;
    house.take("/in/appgo", body).await;
    house.daemon.until_all("raw", "delivered").await;
    assert!(bodies(&house.sink).contains(&"raw: {\"type\": \"feedback\",  \"n\": 1.50}".to_owned()));
    house.daemon.stop().await;
}

/// The event ids of the documentation; four of them share two shapes.
const APPERY: [(&str, bool); 14] = [
    ("PROJECT_VERSION_CREATE", true),
    ("PROJECT_VERSION_RESTORE", true),
    ("PROJECT_PUBLISH_APPERY_SUCCESS", false),
    ("PROJECT_BUILD_ANDROID_START", false),
    ("PROJECT_BUILD_ANDROID_SUCCESS", false),
    ("PROJECT_BUILD_ANDROID_ABORT", false),
    ("PROJECT_BUILD_ANDROID_FAIL", false),
    ("PROJECT_BUILD_IOS_START", false),
    ("PROJECT_BUILD_IOS_SUCCESS", false),
    ("PROJECT_BUILD_IOS_FAIL", false),
    ("PROJECT_PREVIEW_TEST", false),
    ("APPLICATION_VERSION_CREATE", true),
    ("APPLICATION_VERSION_REMOVE", true),
    ("APPLICATION_VERSION_RENAME", false),
];

fn appery(id: &str) -> Vec<u8> {
    test_file(&format!("events/appery-{id}.json"))
}

fn level(id: &str) -> &'static str {
    if id.starts_with("APPLICATION") { "account" } else { "project" }
}

#[tokio::test]
async fn ap1_shapes_that_tell_are_told_apart() {
    let house = House::new("{appery: {}}").await;
    for (id, _) in APPERY.iter().filter(|(_, ambiguous)| !ambiguous) {
        let event = house.take("/in/appery", &appery(id)).await;
        assert_eq!((&event.kind, &event.data()["level"]), (&format!("appery.{id}"), &json!(level(id))));
    }
    let aborted = br#"{"build":{"platform":"ios","status":"aborted"}}"#;
    assert_eq!(house.take("/in/appery", aborted).await.kind, "appery.PROJECT_BUILD_IOS_ABORT");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap2_ambiguous_pairs_are_never_guessed() {
    let house = House::new("{appery: {}}").await;
    for (id, _) in APPERY.iter().filter(|(_, ambiguous)| *ambiguous) {
        let body = appery(id);
        assert_eq!(house.take(&format!("/in/appery/{id}"), &body).await.kind, format!("appery.{id}"));
        assert_eq!(house.take(&format!("/in/appery/{}", level(id)), &body).await.kind, format!("appery.{id}"));
    }
    for (one, other) in [
        ("PROJECT_VERSION_CREATE", "APPLICATION_VERSION_CREATE"),
        ("PROJECT_VERSION_RESTORE", "APPLICATION_VERSION_REMOVE"),
    ] {
        let event = house.take("/in/appery", &appery(one)).await;
        assert_eq!((event.kind.as_str(), &event.data()["candidates"]), ("appery.ambiguous", &json!([one, other])));
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap3_a_project_hook_takes_its_project_and_an_account_hook_all() {
    let house = House::new("{appery: {}}").await;
    let url = house.sink.url("");
    let guid = "04018fec-ba49-4776-bf2e-60ac046f1683";
    let hook = |when: &str| format!("events: appery.*\nwhen: {when}\nplatform: webhook\noptions: {{url: \"{url}\"}}\n");
    house
        .daemon
        .put_hook("project", &hook(&format!("data.level == \"project\" and data.project.guid == \"{guid}\"")))
        .await;
    house.daemon.put_hook("account", &hook("data.level == \"account\"")).await;
    for (id, _) in APPERY {
        house.take(&format!("/in/appery/{id}"), &appery(id)).await;
    }
    let of = async |hook| {
        house.daemon.until_all(hook, "delivered").await.into_iter().map(|row| row.kind).collect::<Vec<_>>()
    };
    assert_eq!(
        of("project").await,
        [
            "appery.PROJECT_PUBLISH_APPERY_SUCCESS",
            "appery.PROJECT_BUILD_ANDROID_SUCCESS",
            "appery.PROJECT_BUILD_IOS_SUCCESS"
        ]
    );
    assert_eq!(of("account").await.len(), 3);
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap5_null_stays_null_and_absent_stays_absent() {
    let house = House::new("{appery: {}}").await;
    for (id, _) in APPERY {
        let body = appery(id);
        let event = house.take(&format!("/in/appery/{id}"), &body).await;
        let mut expected: Json = serde_json::from_slice(&body).unwrap();
        expected["event_id"] = id.into();
        expected["level"] = level(id).into();
        assert_eq!(event.data(), &expected);
        // The order of the keys is kept as well.
        assert_eq!(event.data().to_string(), expected.to_string());
    }
    let started = house.take("/in/appery/PROJECT_BUILD_IOS_START", &appery("PROJECT_BUILD_IOS_START")).await;
    assert_eq!(
        (&started.data()["build"]["file_url"], started.data()["build"].get("finished_at")),
        (&Json::Null, Some(&Json::Null))
    );
    let done = house.take("/in/appery/PROJECT_BUILD_IOS_SUCCESS", &appery("PROJECT_BUILD_IOS_SUCCESS")).await;
    assert_eq!(done.data()["build"].get("started_at"), None);
    house.daemon.stop().await;
}

#[tokio::test]
async fn pk_a_version_is_taken_in_whatever_form_it_was_typed() {
    let house = House::new(
        "{patchkit: {}, guarded: {script: patchkit, options: {token: {secret: token}, token_header: X-Deploy}}}",
    )
    .await;
    let event = house.take("/in/patchkit", &test_file("events/patchkit-version.published.json")).await;
    assert_eq!(
        (event.kind.as_str(), event.id.starts_with("4711-")),
        ("patchkit.version.published", true),
        "{}",
        event.id
    );
    assert_eq!(
        (event.time.to_string().as_str(), &event.data()["app"]["name"]),
        ("2022-03-01T12:30:00Z", &json!("neon-drift"))
    );
    let body = b"label=1.4.0&changes=a%0Ab";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let got = house.daemon.send("PUT", "/in/patchkit", &form, body).await;
    assert_eq!(house.taken(got, body).await.data(), &json!({"label": "1.4.0", "changes": "a\nb"}));
    let got = house.daemon.send("GET", "/in/patchkit?label=1.4.0", &[("host", "127.0.0.1")], b"").await;
    assert_eq!(house.taken(got, b"").await.data(), &json!({"label": "1.4.0"}));
    let message = test_file("sources/samples/patchkit-message.json");
    assert_eq!(house.daemon.post("/in/guarded", &message).await.status, 401);
    for header in [("authorization", "Bearer t0ken"), ("x-deploy", "t0ken")] {
        assert_eq!(house.daemon.send("POST", "/in/guarded", &[header], &message).await.status, 202, "{header:?}");
    }
    house.daemon.stop().await;
}

const PROJECT: &str = "5e1f0c2ab3d4e5f607182930";

/// The request of the published texts, with its signatures under each reading of them, in hex and base64.
const SIGNED: [(&str, &str, &str); 4] = [
    ("body", "f611319f1274dcfab5841d42b0c6e5ebc530f459", "9hExnxJ03Pq1hB1CsMbl68Uw9Fk="),
    ("url+body", "2299752ef2c7794a2566d7cb32a8ce7b19b10c68", "Ipl1LvLHeUolZtfLMqjOexmxDGg="),
    ("url+sorted-params", "008ba95cfdac77b85e64c41982df5ab778e42c5d", "AIupXP2sd7heZMQZgt9at3jkLF0="),
    ("url+form", "74f84438590430c73e8b627cf387189b5d87f724", "dPhEOFkEMMc+i2J884cYm12H9yQ="),
];

async fn clicks(options: &str) -> House {
    House::new(&format!("{{ppg: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], {options}}}}}}}")).await
}

#[tokio::test]
async fn pp1_a_subscriber_with_and_without_an_id_of_ours() {
    let house = House::new("{pushpushgo: {}}").await;
    let with = house.take("/in/pushpushgo/subscribe", &test_file("events/pushpushgo-subscribe.json")).await;
    assert_eq!(with.data()["customId"], "user-42");
    let without = house.take("/in/pushpushgo/unsubscribe", &test_file("events/pushpushgo-unsubscribe.json")).await;
    assert_eq!(without.data().get("customId"), None);
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp2_any_of_the_published_ways_to_sign_verifies() {
    let house = clicks("public_url: \"https://hooks.example.com/ppg\", replay_window: 1s").await;
    let body = test_file("sources/samples/pushpushgo-A.json");
    let mut changed = body.clone();
    changed[20] ^= 1;
    for (way, hex, base64) in SIGNED {
        for signature in [hex, base64] {
            let headers = [("content-type", "application/json"), ("x-ppg-signature", signature)];
            let got = house.daemon.send("POST", "/in/ppg?env=prod", &headers, &body).await;
            assert_eq!(got.status, 202, "{way}: {got:?}");
            let got = house.daemon.send("POST", "/in/ppg?env=prod", &headers, &changed).await;
            assert_eq!(got.status, 401, "{way}: {got:?}");
            if way != "body" {
                let got = house.daemon.send("POST", "/in/ppg?env=test", &headers, &body).await;
                assert_eq!(got.status, 401, "{way}: {got:?}");
            }
        }
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp3_the_url_is_the_public_one_and_never_the_inner_one() {
    let body = test_file("sources/samples/pushpushgo-A.json");
    let (_, signature, _) = SIGNED[1];
    let sent = [("content-type", "application/json"), ("x-ppg-signature", signature)];
    let forwarded = [
        sent[0],
        sent[1],
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hooks.example.com"),
        ("x-forwarded-uri", "/ppg"),
    ];
    let house = clicks("signed: url+body, public_url: \"https://hooks.example.com/ppg\"").await;
    assert_eq!(house.daemon.send("POST", "/in/ppg?env=prod", &sent, &body).await.status, 202);
    // Another order, or another spelling, is another URL.
    for query in ["env=pr%6Fd", "env=prod&", "env=prod&a=b"] {
        assert_eq!(house.daemon.send("POST", &format!("/in/ppg?{query}"), &sent, &body).await.status, 401, "{query}");
    }
    house.daemon.stop().await;
    // What a proxy says counts only where it is trusted.
    let house = clicks("signed: [body, url+body]").await;
    assert_eq!(house.daemon.send("POST", "/in/ppg?env=prod", &forwarded, &body).await.status, 401);
    house.daemon.stop().await;
    let house = clicks("signed: url+body, trust_forwarded: true").await;
    let got = house.daemon.send("POST", "/in/ppg?env=prod", &forwarded, &body).await;
    assert_eq!(got.status, 401, "the proxy said another host and the inner path: {got:?}");
    let (hex, path) = ("59037d08f397402284f1d2abce8b6eb1766e6ed4", "/in/ppg?env=prod");
    let headers = [sent[0], ("x-ppg-signature", hex), forwarded[2], forwarded[3]];
    let got = house.daemon.send("POST", path, &headers, &body).await;
    assert_eq!(got.status, 202, "{got:?}");
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp4_the_key_is_no_secret_and_that_is_said() {
    let house = clicks("signed: body").await;
    let warned = |problems: &Json| problems.to_string().contains("not who sent it");
    let said = house.daemon.reload().await;
    assert!(warned(&said["problems"]), "{said}");
    let options = format!("{{project_ids: [{PROJECT}], token: {{secret: token}}}}");
    let said = house.daemon.put_main(&format!("sources: {{ppg: {{script: pushpushgo, options: {options}}}}}\n")).await;
    assert!(!warned(&said["problems"]), "{said}");
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp5_which_event_it_is_says_the_address() {
    let house = House::new("{pushpushgo: {}}").await;
    let body = test_file("events/pushpushgo-subscribe.json");
    for kind in ["subscribe", "clicked"] {
        assert_eq!(house.take(&format!("/in/pushpushgo/{kind}"), &body).await.kind, format!("pushpushgo.{kind}"));
    }
    assert_eq!(house.take("/in/pushpushgo", &body).await.kind, "pushpushgo.event");
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp6_a_replayed_request_is_no_second_event() {
    let house = clicks("signed: body").await;
    let body = test_file("sources/samples/pushpushgo-A.json");
    let (_, hex, base64) = SIGNED[0];
    let send = async |signature| {
        let headers = [("content-type", "application/json"), ("x-ppg-signature", signature)];
        house.daemon.send("POST", "/in/ppg/clicked", &headers, &body).await.json()["duplicate"].clone()
    };
    assert_eq!(send(hex).await, false);
    // Also in the other spelling, or with a signature of the same key that somebody made from the body alone.
    for signature in [hex, base64] {
        assert_eq!(send(signature).await, true);
    }
    assert_eq!(house.daemon.deliveries("mirror").await.len(), 1);
    house.daemon.stop().await;
}

/// What a hook sends as the vendor does, a source receives as the vendor's: the same event comes out again.
#[tokio::test]
async fn x4_what_is_sent_as_a_vendor_is_received_as_the_vendors() {
    let house = House::new("{pgyer: {}, appgo: {}, appery: {}, patchkit: {}, pushpushgo: {}}").await;
    let http = house.daemon.http.clone();
    let mut tried = 0;
    for (file, path) in [
        ("pgyer-updateVersion", "pgyer"),
        ("appgo-crashlog", "appgo"),
        ("appery-PROJECT_BUILD_IOS_FAIL", "appery/PROJECT_BUILD_IOS_FAIL"),
        ("patchkit-version.published", "patchkit"),
        ("pushpushgo-subscribe", "pushpushgo/subscribe"),
    ] {
        let text = format!("events: out\nplatform: webhook\noptions: {{url: \"http://{http}/in/{path}\"}}\n");
        house.daemon.put_hook("out", &text).await;
        let body = test_file(&format!("events/{file}.json"));
        let client = postrider::edges::client::Client::new(
            &postrider::edges::config::Paths::here(house.daemon.folder.path()).emit,
        );
        let (status, _) = client
            .request(http::Method::POST, &format!("/v1/events?type=out&id={file}"), Some(body.clone()))
            .await
            .unwrap();
        assert_eq!(status, 202, "{file}");
        house.daemon.until_all("out", "delivered").await;
        let vendor = path.split('/').next().unwrap();
        let came = |rows: &[postrider::edges::journal::DeliveryRow]| {
            rows.iter().any(|row| row.kind.starts_with(&format!("{vendor}.")) && row.outcome == "delivered")
        };
        let rows = house.daemon.until("mirror", came).await;
        let row = rows.iter().find(|row| row.kind.starts_with(&format!("{vendor}."))).unwrap();
        let event = house.daemon.journal.show(&row.delivery).await.unwrap().unwrap().event;
        assert!(event.raw == body, "{file} came back otherwise");
        tried += 1;
    }
    assert_eq!(tried, 5);
    house.daemon.stop().await;
}
