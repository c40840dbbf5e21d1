//! The same vendors as senders: their requests at `/in/…` of a real daemon, over TCP.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use postrider::edges::sink::SinkHandle;
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// A daemon with sources, and a hook that shows everything that it was given.
pub(super) struct House {
    pub(super) daemon: Daemon,
    address: SocketAddr,
    sink: SinkHandle,
}

impl House {
    pub(super) async fn with(sources: &str) -> Self {
        let sink = receiver().await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("postrider.yaml"), format!("sources:\n{sources}")).expect("a main file");
        let all = format!(
            "events: '*'\nplatform: webhook\noptions:\n  url: \"{}\"\n  json: {{type: \"{{{{ event.type }}}}\", time: \"{{{{ event.time }}}}\", data: \"{{{{ data }}}}\", raw: \"{{{{ event.raw }}}}\"}}\n",
            sink.url("")
        );
        crate::support::write_hook(folder.path(), "all", &all);
        let (daemon, address) = Daemon::start_listening(folder).await;
        Self { daemon, address, sink }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The status and the answer.
    pub(super) async fn post(&self, target: &str, headers: &str, body: &[u8]) -> (u16, Json) {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("it is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// What the hook showed of everything so far, once there is so much of it.
    pub(super) async fn seen(&self, count: u64) -> Vec<Json> {
        assert!(self.sink.wait_for(count, crate::support::PATIENCE).await, "only {} events came", self.sink.count());
        bodies(&self.sink).iter().map(|body| serde_json::from_str(body).expect("JSON")).collect()
    }

    /// What one request became.
    async fn becomes(&self, target: &str, body: &[u8]) -> Json {
        let before = self.sink.count();
        let (status, answer) = self.post(target, "content-type: application/json\r\n", body).await;
        assert_eq!((status, &answer["duplicate"]), (202, &json!(false)), "{target}: {answer}");
        self.seen(before + 1).await.pop().expect("an event")
    }
}

#[tokio::test]
async fn pg1_what_pgyer_posts_goes_on_with_its_fields_and_its_bytes() {
    let house = House::with("  pgyer: {}\n").await;
    let raw = sample(PGYER).raw;
    let event = house.becomes("/in/pgyer", &raw).await;
    assert_eq!(event["type"], "pgyer.updateVersion");
    assert_eq!(event["raw"], std::str::from_utf8(&raw).expect("text"));
    let fields = event["data"].as_object().expect("a map");
    assert_eq!(fields.len(), 13);
    assert_eq!((&fields["timestamp"], &fields["appsize"]), (&json!(1444361118), &json!("2238036")));
    house.daemon.stop().await;
}

const PGYER: &str = "pgyer-updateVersion";

#[tokio::test]
async fn pg6_a_word_that_nobody_documented_is_a_type_of_its_own() {
    let house = House::with("  pgyer: {}\n").await;
    for word in ["versionManage", "appDelete", "somethingNew"] {
        let event = house.becomes("/in/pgyer", json!({"type": word}).to_string().as_bytes()).await;
        assert_eq!(event["type"], format!("pgyer.{word}"));
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn pg7_times_without_a_zone_are_those_of_china() {
    let house = House::with("  pgyer: {}\n").await;
    let event = house.becomes("/in/pgyer", &sample(PGYER).raw).await;
    assert_eq!(event["time"], "2015-10-09T03:25:18Z");
    let event = house.becomes("/in/pgyer", br#"{"type":"x","created":"2015-10-09 11:25:16"}"#).await;
    assert_eq!(event["time"], "2015-10-09T03:25:16Z");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ag1_updates_feedback_and_crash_logs_have_their_types() {
    let house = House::with("  appgo: {}\n").await;
    for kind in ["updateVersion", "feedback", "crashlog"] {
        let sample = sample(&format!("appgo-{kind}"));
        let event = house.becomes("/in/appgo", &sample.raw).await;
        assert_eq!(event["type"], format!("appgo.{kind}"));
        assert_eq!(&event["data"], sample.data());
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn ag4_a_body_that_is_no_json_is_refused_with_its_place_or_kept() {
    let documented =
        std::fs::read_to_string(sample_path("appgo-feedback")).expect("a sample").replace("\"iOS\"", "'iOS'");
    let house =
        House::with("  strict: {script: appgo}\n  mild: {script: appgo, options: {invalid_json: accept}}\n").await;
    let (status, answer) = house.post("/in/strict", "", documented.as_bytes()).await;
    assert_eq!(status, 400);
    assert!(answer.to_string().contains("line 13, column 18"), "{answer}");
    assert_eq!(house.daemon.deliveries("all").await.len(), 0, "nothing is stored");
    let event = house.becomes("/in/mild", documented.as_bytes()).await;
    assert_eq!((&event["type"], &event["raw"]), (&json!("appgo.invalid_json"), &json!(documented)));
    assert_eq!(event["data"]["raw"], documented);
    assert!(event["data"]["parse_error"].as_str().expect("a reason").contains("line 13"), "{event}");
    house.daemon.stop().await;
}

fn sample_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/events/{name}.json"))
}

/// The two pairs that look alike.
const ALIKE: [[&str; 2]; 2] = [
    ["PROJECT_VERSION_CREATE", "APPLICATION_VERSION_CREATE"],
    ["PROJECT_VERSION_RESTORE", "APPLICATION_VERSION_REMOVE"],
];

#[tokio::test]
async fn ap1_the_shapes_that_tell_are_told_apart() {
    let house = House::with("  appery: {}\n").await;
    let mut told = 0;
    for event in super::appery::EVENTS.iter().filter(|event| !ALIKE.as_flattened().contains(event)) {
        let sample = sample(&format!("appery-{event}"));
        assert_eq!(house.becomes("/in/appery", &sample.raw).await["type"], format!("appery.{event}"));
        told += 1;
    }
    assert_eq!(told, 10);
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap2_the_path_tells_the_pairs_apart_and_without_it_nothing_is_guessed() {
    let house = House::with("  appery: {}\n").await;
    for [project, account] in ALIKE {
        let raw = sample(&format!("appery-{project}")).raw;
        for (path, kind) in [("project", project), ("account", account), (project, project), (account, account)] {
            // Each request is one of its own: the same bytes at the same place are one event.
            let body = [&raw[..], format!(" {}", "\n".repeat(path.len())).as_bytes()].concat();
            assert_eq!(house.becomes(&format!("/in/appery/{path}"), &body).await["type"], format!("appery.{kind}"));
        }
        let event = house.becomes("/in/appery", &raw).await;
        assert_eq!(
            (&event["type"], &event["data"]["candidates"]),
            (&json!("appery.ambiguous"), &json!([project, account]))
        );
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap3_the_level_is_in_the_data() {
    let house = House::with("  appery: {}\n").await;
    let level = |event: Json| event["data"]["level"].clone();
    let build = house.becomes("/in/appery", &sample("appery-PROJECT_BUILD_IOS_FAIL").raw).await;
    assert_eq!(level(build), "project");
    let renamed = house.becomes("/in/appery", &sample("appery-APPLICATION_VERSION_RENAME").raw).await;
    assert_eq!(level(renamed), "account");
    house.daemon.stop().await;
}

#[tokio::test]
async fn ap5_null_stays_null_and_times_stay_as_they_are() {
    let house = House::with("  appery: {}\n").await;
    let started = house.becomes("/in/appery", &sample("appery-PROJECT_BUILD_IOS_START").raw).await;
    let build = started["data"]["build"].as_object().expect("a map");
    assert_eq!((&build["finished_at"], &build["started_at"]), (&Json::Null, &json!("2013-11-30T05:07:26-08:00")));
    let done = house.becomes("/in/appery", &sample("appery-PROJECT_BUILD_IOS_SUCCESS").raw).await;
    assert!(done["data"]["build"].get("started_at").is_none(), "{done}");
    house.daemon.stop().await;
}

const PROJECT: &str = "5f3c0a1b2c3d4e5f60718293";
const SUBSCRIBER: &str = r#"{"projectId":"5f3c0a1b2c3d4e5f60718293","ppgId":"6177f1b2a1d2c3e4f5a6b7c8"}"#;

/// What a signature may be made over: the members in the order of their names are the same as in the body's here.
fn signed_text(signed: &str, url: &str, body: &str) -> String {
    let members: Json = serde_json::from_str(body).expect("JSON");
    let mut pairs: Vec<_> = members
        .as_object()
        .expect("a map")
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    match signed {
        "body" => body.to_owned(),
        "url+body" => format!("{url}{body}"),
        _ => {
            if signed == "url+sorted-params" {
                pairs.sort();
            }
            let joined: String = pairs.into_iter().map(|(name, value)| format!("{name}{value}")).collect();
            format!("{url}{joined}")
        }
    }
}

pub(super) fn signature(text: &str, encoding: &str) -> String {
    use base64::Engine as _;
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(PROJECT.as_bytes()).expect("a key");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    match encoding {
        "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => base64::engine::general_purpose::STANDARD.encode(bytes),
    }
}

const PUBLIC: &str = "https://hooks.example.com/in/ppg";

#[tokio::test]
async fn pp2_every_published_way_to_sign_is_verified_and_a_changed_byte_is_not() {
    let source =
        format!("  ppg: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], public_url: {PUBLIC}}}}}\n");
    let house = House::with(&source).await;
    let mut stored = 0;
    for signed in ["body", "url+body", "url+sorted-params", "url+form"] {
        for encoding in ["hex", "base64"] {
            let body = format!(r#"{{"projectId":"{PROJECT}","customId":"{signed} {encoding}","ppgId":"6177"}}"#);
            let sign = |url: &str| signature(&signed_text(signed, url, &body), encoding);
            let header =
                |signature: &str| format!("content-type: application/json\r\nx-ppg-signature: {signature}\r\n");
            let right = header(&sign(&format!("{PUBLIC}/subscribe?a=1&b=2")));
            let changed = body.replace("6177", "6178");
            let other_url = header(&sign(&format!("{PUBLIC}/subscribe?a=1&b=3")));
            let refused = [
                ("/in/ppg/subscribe?a=1&b=2", &right, &changed, true),
                ("/in/ppg/subscribe?b=2&a=1", &right, &body, signed != "body"),
                ("/in/ppg/subscribe?a=1&b=2", &other_url, &body, signed != "body"),
                ("/in/ppg/subscribe?a=1&b=2", &String::new(), &body, true),
            ];
            for (target, headers, body, applies) in refused {
                if applies {
                    let (status, answer) = house.post(target, headers, body.as_bytes()).await;
                    assert_eq!(status, 401, "{signed} {encoding} {target}: {answer}");
                }
            }
            assert_eq!(house.daemon.deliveries("all").await.len(), stored, "nothing that is refused is stored");
            let (status, answer) = house.post("/in/ppg/subscribe?a=1&b=2", &right, body.as_bytes()).await;
            assert_eq!(status, 202, "{signed} {encoding}: {answer}");
            stored += 1;
            assert_eq!(house.daemon.deliveries("all").await.len(), stored);
        }
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp3_the_url_is_the_one_that_the_sender_knows() {
    let source = format!(
        "  named: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], signed: [url+body], public_url: {PUBLIC}}}}}\n  \
           forwarded: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], signed: [url+body], trust_forwarded: true}}}}\n"
    );
    let house = House::with(&source).await;
    let header = |url: &str| format!("x-ppg-signature: {}\r\n", signature(&format!("{url}{SUBSCRIBER}"), "hex"));
    // The order of the query is untouched, and the path in front of ours is the public one.
    let right = header(&format!("{PUBLIC}/subscribe?z=1&a=%2F"));
    assert_eq!(house.post("/in/named/subscribe?z=1&a=%2F", &right, SUBSCRIBER.as_bytes()).await.0, 202);
    let inner = header(&format!("http://{}/in/named/subscribe", house.address));
    assert_eq!(house.post("/in/named/subscribe", &inner, SUBSCRIBER.as_bytes()).await.0, 401);
    let outer = header("https://edge.example.com/in/forwarded/subscribe");
    let forwarded = format!("{outer}x-forwarded-proto: https\r\nx-forwarded-host: edge.example.com\r\n");
    assert_eq!(house.post("/in/forwarded/subscribe", &forwarded, SUBSCRIBER.as_bytes()).await.0, 202);
    let elsewhere = format!("{outer}x-forwarded-proto: https\r\nx-forwarded-host: evil.example.com\r\n");
    assert_eq!(house.post("/in/forwarded/subscribe", &elsewhere, SUBSCRIBER.as_bytes()).await.0, 401);
    house.daemon.stop().await;
}

#[test]
fn pp4_check_says_that_the_key_is_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("hooks.d")).expect("a folder");
    let main =
        format!("sources:\n  ppg: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], signed: [body]}}}}\n");
    std::fs::write(folder.path().join("postrider.yaml"), main).expect("a main file");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["check", "postrider.yaml"])
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    let said = [run.stderr, run.stdout].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
    assert!(said.contains("warning") && said.contains("stands in every body"), "{said}");
}

#[tokio::test]
async fn pp5_the_path_says_which_event_it_is() {
    let house = House::with("  ppg: {script: pushpushgo}\n").await;
    for event in ["subscribe", "unsubscribe"] {
        let received = house.becomes(&format!("/in/ppg/{event}"), SUBSCRIBER.as_bytes()).await;
        assert_eq!(received["type"], format!("pushpushgo.{event}"));
    }
    house.daemon.stop().await;
}

#[tokio::test]
async fn pp6_a_request_that_is_sent_again_is_one_event() {
    let house =
        House::with(&format!("  ppg: {{script: pushpushgo, options: {{project_ids: [{PROJECT}], signed: [body]}}}}\n"))
            .await;
    let header = format!("x-ppg-signature: {}\r\n", signature(SUBSCRIBER, "hex"));
    for again in [false, true, true] {
        let (status, answer) = house.post("/in/ppg/subscribe", &header, SUBSCRIBER.as_bytes()).await;
        assert_eq!((status, &answer["duplicate"]), (202, &json!(again)), "{answer}");
    }
    assert_eq!(house.daemon.until_all("all", "delivered").await.len(), 1);
    house.daemon.stop().await;
}

#[tokio::test]
async fn pk1_a_published_version_is_an_event() {
    let house = House::with("  patchkit: {}\n").await;
    let sample = sample("patchkit-version.published");
    let event = house.becomes("/in/patchkit", &sample.raw).await;
    assert_eq!(
        (&event["type"], &event["time"]),
        (&json!("patchkit.version.published"), &json!("2022-03-01T12:30:00Z"))
    );
    assert_eq!(&event["data"], sample.data());
    house.daemon.stop().await;
}
