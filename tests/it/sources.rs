//! Vendors' requests over real HTTP: what is verified, what is stored, and what goes on to a receiver.

mod door;
mod groups;

use std::fs;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use postrider::edges::client::Client;
use postrider::edges::config::Paths;
use postrider::rules::signature::{Scheme, Signed, sign};
use postrider::rules::source::SourceScripts;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, bodies, receiver, test_file, write_hook, write_secret};

/// Every source, with what it verifies.
const MAIN: &str = r#"
sources:
  alertmanager: {}
  appery: {}
  appgo: {}
  cloudevents: {}
  ci: {script: generic, options: {type: "header:X-Kind", verify: {key: {secret: key}, header: X-Signature, signed: body}}}
  github: {options: {secret: {secret: key}}}
  gitlab: {options: {signing_token: {secret: whsec}}}
  grafana: {options: {secret: {secret: key}, timestamp_header: X-Time}}
  patchkit: {options: {token: {secret: key}}}
  pgyer: {}
  clicks:
    script: pushpushgo
    options: {project_ids: [5e1f0c2ab3d4e5f607182930], signed: [url+body], public_url: "https://hooks.example.com/ppg"}
  standard-webhooks: {options: {secret: [{secret: whsec}]}}
  stripe: {options: {secret: {secret: key}}}
"#;

const KEY: &str = "a shared secret";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A daemon with these sources, and a hook that mirrors everything to a receiver.
async fn house(main: &str, url: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    write_hook(
        folder.path(),
        "mirror",
        &format!("events: \"*\"\nwhen: event.source != 'postrider'\nplatform: webhook\noptions: {{url: \"{url}\"}}\n"),
    );
    write_secret(folder.path(), "key", KEY);
    write_secret(folder.path(), "whsec", WHSEC);
    fs::write(folder.path().join("postrider.yaml"), main).unwrap();
    let daemon = Daemon::start_in(folder).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    let problems = status["problems"].as_array().expect("a list").clone();
    let errors: Vec<_> = problems.iter().filter(|problem| problem["severity"] == "error").collect();
    assert!(errors.is_empty(), "{errors:#?}");
    daemon
}

/// A vendor's request.
struct Sent {
    source: &'static str,
    /// Behind `/in/`.
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How it is signed, and under which URL.
    scheme: Option<(Json, &'static str)>,
    kind: &'static str,
}

impl Sent {
    fn new(source: &'static str, path: &'static str, file: &str, kind: &'static str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { source, path, headers, body: test_file(file), scheme: None, kind }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn signed(mut self, scheme: Json, url: &'static str) -> Self {
        self.scheme = Some((scheme, url));
        self
    }

    /// The headers with the signature of now.
    fn all_headers(&self) -> Vec<(String, String)> {
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        if let Some((scheme, url)) = &self.scheme {
            let given = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let method = "POST".parse().unwrap();
            let request = Signed { method: &method, url, headers: &given, body: &self.body };
            let scheme = Scheme::from_json(scheme).unwrap();
            let signature = sign(&scheme, &request, "msg_1", Timestamp::now()).unwrap();
            headers.extend(
                signature.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())),
            );
        }
        headers
    }
}

fn vendors() -> Vec<Sent> {
    let standard = json!({"preset": "standard-webhooks", "key": WHSEC});
    vec![
        Sent::new("alertmanager", "alertmanager", "events/alertmanager-firing.json", "alertmanager.firing"),
        Sent::new(
            "appery",
            "appery/project",
            "events/appery-PROJECT_VERSION_CREATE.json",
            "appery.PROJECT_VERSION_CREATE",
        ),
        Sent::new("appgo", "appgo", "events/appgo-crashlog.json", "appgo.crashlog"),
        Sent::new("cloudevents", "cloudevents", "events/pgyer-updateVersion.json", "com.example.build")
            .header("ce-id", "1")
            .header("ce-source", "/builds")
            .header("ce-type", "com.example.build")
            .header("ce-specversion", "1.0"),
        Sent::new("generic", "ci", "sources/samples/patchkit-message.json", "built")
            .header("x-kind", "built")
            .signed(json!({"key": KEY, "header": "x-signature"}), ""),
        Sent::new("github", "github", "events/github-push.json", "github.push")
            .header("x-github-event", "push")
            .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .signed(json!({"preset": "github", "key": KEY}), ""),
        Sent::new("gitlab", "gitlab", "events/gitlab-pipeline-failed.json", "gitlab.pipeline")
            .signed(json!({"preset": "gitlab", "key": WHSEC}), ""),
        Sent::new("grafana", "grafana", "events/grafana-firing.json", "grafana.firing")
            .signed(json!({"preset": "grafana", "key": KEY, "timestamp_header": "x-time"}), ""),
        Sent::new("patchkit", "patchkit", "sources/samples/patchkit-version.json", "patchkit.version.published")
            .header("authorization", &format!("Bearer {KEY}")),
        Sent::new("pgyer", "pgyer", "events/pgyer-updateVersion.json", "pgyer.updateVersion"),
        Sent::new("pushpushgo", "clicks/clicked?env=prod", "sources/samples/pushpushgo-A.json", "pushpushgo.clicked")
            .signed(
                json!({"preset": "pushpushgo", "key": "5e1f0c2ab3d4e5f607182930", "signed": "url+body"}),
                "https://hooks.example.com/ppg/clicked?env=prod",
            ),
        Sent::new(
            "standard-webhooks",
            "standard-webhooks/order.paid",
            "sources/samples/pushpushgo-A.json",
            "order.paid",
        )
        .signed(standard, ""),
        Sent::new("stripe", "stripe", "events/stripe-invoice.paid.json", "stripe.invoice.paid")
            .signed(json!({"preset": "stripe", "key": KEY}), ""),
    ]
}

async fn send(daemon: &Daemon, sent: &Sent, target: &str, body: &[u8]) -> crate::support::Got {
    let headers = sent.all_headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    daemon.send("POST", target, &headers, body).await
}

#[tokio::test]
async fn each_vendors_sample_goes_on_byte_for_byte() {
    let vendors = vendors();
    let all: Vec<_> = SourceScripts::built_in().0.keys().cloned().collect();
    assert_eq!(vendors.iter().map(|sent| sent.source).collect::<Vec<_>>(), all, "each source once");
    let sink = receiver().await;
    let daemon = house(MAIN, &sink.url("")).await;
    for (number, sent) in vendors.iter().enumerate() {
        let got = send(&daemon, sent, &format!("/in/{}", sent.path), &sent.body).await;
        assert_eq!(got.status, 202, "{}: {got:?}", sent.source);
        assert_eq!((&got.json()["hooks"], &got.json()["duplicate"]), (&json!(["mirror"]), &json!(false)), "{got:?}");
        let rows =
            daemon.until("mirror", |rows| rows.iter().filter(|row| row.outcome == "delivered").count() > number).await;
        assert!(rows.iter().any(|row| row.kind == sent.kind), "{}: {rows:?}", sent.source);
        let record = sink.records().pop().expect("it was delivered");
        assert_eq!(record.request.body, sent.body, "{}", sent.source);
        assert_eq!(record.request.header("content-type"), Some("application/json"), "{}", sent.source);
        // The same request again is the same event.
        let again = send(&daemon, sent, &format!("/in/{}", sent.path), &sent.body).await;
        assert_eq!((again.status, &again.json()["duplicate"]), (202, &json!(true)), "{}: {again:?}", sent.source);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn one_changed_byte_is_refused_and_nothing_is_stored() {
    let sink = receiver().await;
    let daemon = house(MAIN, &sink.url("")).await;
    let mut tried = 0;
    for sent in vendors().iter().filter(|sent| sent.scheme.is_some()) {
        let target = format!("/in/{}", sent.path);
        for at in [0, sent.body.len() / 2, sent.body.len() - 1] {
            let mut body = sent.body.clone();
            body[at] ^= 1;
            let got = send(&daemon, sent, &target, &body).await;
            assert_eq!(got.status, 401, "{}, byte {at}: {got:?}", sent.source);
            assert!(!got.body.contains(KEY) && !got.body.contains("MfKQ9r"), "{got:?}");
            tried += 1;
        }
        let signed = sent.all_headers();
        let name =
            signed.iter().map(|(name, _)| name.as_str()).find(|name| name.contains("signature")).unwrap().to_owned();
        let headers: Vec<_> = signed
            .iter()
            .map(|(known, value)| match *known == name {
                // The first of its last digits, since the very last ones of base64 may be padding.
                true => (known.as_str(), flipped(value)),
                false => (known.as_str(), value.clone()),
            })
            .collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let got = daemon.send("POST", &target, &headers, &sent.body).await;
        assert_eq!(got.status, 401, "{}: {got:?}", sent.source);
        let headers: Vec<_> = headers.into_iter().filter(|(known, _)| *known != name).collect();
        let got = daemon.send("POST", &target, &headers, &sent.body).await;
        assert_eq!(got.status, 401, "{}: {got:?}", sent.source);
    }
    let clicks = vendors().into_iter().find(|sent| sent.source == "pushpushgo").unwrap();
    for target in ["/in/clicks/clicked?env=test", "/in/clicks/other?env=prod", "/in/clicks/clicked"] {
        assert_eq!(send(&daemon, &clicks, target, &clicks.body).await.status, 401, "{target}");
    }
    assert!(tried >= 15, "only {tried} bytes changed");
    assert!(daemon.deliveries("mirror").await.is_empty());
    assert_eq!((sink.count(), daemon.journal.waiting()), (0, 0));
    daemon.stop().await;
}

/// The tenth character from the end, changed to another one of the same alphabet.
fn flipped(value: &str) -> String {
    let at = value.len() - 10;
    let other = if &value[at..=at] == "1" { "2" } else { "1" };
    format!("{}{other}{}", &value[..at], &value[at + 1..])
}

#[tokio::test]
async fn an_old_signature_says_how_far_the_clocks_are_apart() {
    let daemon = house(MAIN, "http://127.0.0.1:9/").await;
    let body = br#"{"type":"t"}"#;
    let scheme = Scheme::from_json(&json!({"preset": "standard-webhooks", "key": WHSEC})).unwrap();
    let (method, headers) = ("POST".parse().unwrap(), http::HeaderMap::new());
    let request = Signed { method: &method, url: "", headers: &headers, body };
    for (offset, word) in [(-3600, "behind"), (3600, "ahead of")] {
        let then = Timestamp::from_second(Timestamp::now().as_second() + offset).unwrap();
        let signature = sign(&scheme, &request, "msg_1", then).unwrap();
        let headers: Vec<_> =
            signature.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let got = daemon.send("POST", "/in/standard-webhooks", &headers, body).await;
        assert_eq!(got.status, 401);
        let said = got.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(said.contains(word) && said.contains("our clock"), "{said}");
    }
    assert!(daemon.deliveries("mirror").await.is_empty());
    daemon.stop().await;
}

const SHOP: &str = r#"
fn manifest() { #{ summary: "a shop of our own", options: #{ prefix: optional("text", "shop", "in front of types") } } }
fn events(request) { [#{ type: request.options.prefix + ".sold", data: #{ n: request.json.n } }] }
"#;

#[tokio::test]
async fn sources_are_added_mended_and_replaced_while_it_runs() {
    let sink = receiver().await;
    let daemon = house("sources: {pgyer: {}}\n", &sink.url("")).await;
    let scripts = daemon.folder.path().join("scripts/sources");
    fs::create_dir_all(&scripts).unwrap();
    assert_eq!(daemon.post("/in/shop", b"{\"n\":1}").await.status, 404);

    fs::write(scripts.join("shop.rhai"), SHOP).unwrap();
    daemon.put_main("sources: {pgyer: {}, shop: {options: {prefix: store}}}\n").await;
    assert_eq!(daemon.post("/in/shop", b"{\"n\":1}").await.status, 202);
    daemon.until("mirror", |rows| rows.len() == 1 && rows[0].kind == "store.sold").await;

    // A mistake in the main file: everything goes on as it was, and the mistake has its place.
    let said = daemon.put_main("sources: {pgyer: {}, shop: {options: {prefx: store}}}\n").await;
    let problem = said["problems"].as_array().unwrap().iter().find(|one| one["code"] == "unknown-option").unwrap();
    assert_eq!((problem["line"].as_u64(), &problem["help"]), (Some(1), &json!("did you mean `prefix`?")));
    assert_eq!(daemon.post("/in/shop", b"{\"n\":2}").await.status, 202);

    // A mistake in the script: its last good version goes on.
    daemon.put_main("sources: {pgyer: {}, shop: {}}\n").await;
    fs::write(scripts.join("shop.rhai"), SHOP.replace("[#{", "[#{{")).unwrap();
    let said = daemon.reload().await.to_string();
    assert!(said.contains("shop.rhai") && said.contains("its last good version"), "{said}");
    assert_eq!(daemon.post("/in/shop", b"{\"n\":3}").await.status, 202);
    fs::write(scripts.join("shop.rhai"), SHOP.replace("sold", "bought")).unwrap();
    daemon.reload().await;
    assert_eq!(daemon.post("/in/shop", b"{\"n\":4}").await.status, 202);
    let rows = daemon.until("mirror", |rows| rows.len() == 4).await;
    let kinds: Vec<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["store.sold", "store.sold", "shop.sold", "shop.bought"]);

    // One of a built-in name replaces it.
    fs::write(scripts.join("pgyer.rhai"), SHOP).unwrap();
    daemon.reload().await;
    assert_eq!(daemon.post("/in/pgyer", b"{\"n\":5}").await.status, 202);
    daemon.until("mirror", |rows| rows.len() == 5 && rows[4].kind == "shop.sold").await;
    daemon.put_main("sources: {}\n").await;
    assert_eq!(daemon.post("/in/shop", b"{\"n\":6}").await.status, 404);
    daemon.stop().await;
}

#[tokio::test]
async fn our_own_trouble_is_what_senders_try_again_on() {
    let sink = receiver().await;
    let daemon = house("sources: {pgyer: {}}\n", &sink.url("")).await;
    let scripts = daemon.folder.path().join("scripts/sources");
    fs::create_dir_all(&scripts).unwrap();
    let manifest = "fn manifest() { #{ summary: \"x\", options: #{ key: optional(\"secret\", (), \"a key\") } } }\n";
    for (name, text) in [
        ("typo", "fn events(request) { request.jsn }"),
        ("endless", "fn events(request) { if request.body != \"\" { loop {} } [] }"),
        ("thrown", "fn events(request) { throw \"with \" + request.options.key; }"),
        ("useless", "fn events(request) { 7 }"),
        ("locked", "fn events(request) { [] }"),
    ] {
        fs::write(scripts.join(format!("{name}.rhai")), format!("{manifest}{text}\n")).unwrap();
    }
    let keyed = "thrown: {options: {key: {secret: key}}}, locked: {options: {key: {secret: nowhere}}}";
    let said = daemon.put_main(&format!("sources: {{typo: {{}}, endless: {{}}, useless: {{}}, {keyed}}}\n")).await;
    assert!(said.to_string().contains("who sends to these sources is told to send again: locked"), "{said}");
    let local = Client::new(&Paths::here(daemon.folder.path()).emit);
    for (name, detail) in [
        ("typo", "typo.rhai:2:"),
        ("endless", "endless.rhai:"),
        ("thrown", "with ***"),
        ("useless", "fn events gave a number"),
        ("locked", "secret nowhere cannot be read"),
    ] {
        let got = daemon.post(&format!("/in/{name}"), b"{}").await;
        assert_eq!((got.status, &got.json()["error"]["code"]), (500, &json!("failed")), "{name}: {got:?}");
        assert!(got.head.contains("retry-after: 1"), "{name}: {got:?}");
        assert!(!got.body.contains(".rhai") && !got.body.contains(KEY), "strangers hear no more: {got:?}");
        let body = Some(b"{}".to_vec());
        let (status, body) = local.request(http::Method::POST, &format!("/in/{name}"), body).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(status == 500 && body.contains(detail) && !body.contains(KEY), "{name}: {body}");
    }
    assert!(daemon.deliveries("mirror").await.is_empty());
    daemon.stop().await;
}

#[tokio::test]
async fn a_full_queue_is_503_because_some_vendors_try_again_on_nothing_else() {
    let daemon = house("sources: {alertmanager: {}}\nlimits: {waiting: 1}\n", "http://127.0.0.1:9/").await;
    let body = test_file("events/alertmanager-firing.json");
    assert_eq!(daemon.post("/in/alertmanager", &body).await.status, 202);
    let got = daemon.post("/in/alertmanager", &test_file("events/alertmanager-resolved.json")).await;
    assert_eq!(got.status, 503, "{got:?}");
    assert!(got.head.contains("retry-after: 1"), "{got:?}");
    assert_eq!(daemon.post("/v1/events", br#"{"type":"t"}"#).await.status, 429);
    daemon.stop().await;
}

#[tokio::test]
async fn several_events_of_one_request_are_stored_as_one() {
    let sink = receiver().await;
    let main = "sources: {alertmanager: {options: {split: true}}}\n";
    let daemon = house(main, &sink.url("")).await;
    let got = daemon.post("/in/alertmanager", &test_file("events/alertmanager-firing.json")).await;
    let answers = got.json();
    assert_eq!((got.status, answers.as_array().map(Vec::len)), (202, Some(2)), "{got:?}");
    assert_ne!(answers[0]["id"], answers[1]["id"]);
    let got = daemon.post("/in/alertmanager", br#"{"alerts":[]}"#).await;
    assert_eq!((got.status, got.body.as_str()), (202, "[]"));
    daemon.until("mirror", |rows| rows.len() == 2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn the_same_again_counts_as_new_after_its_window() {
    let sink = receiver().await;
    let daemon = house("sources: {patchkit: {options: {replay_window: 2s}}}\n", &sink.url("")).await;
    let body = test_file("sources/samples/patchkit-message.json");
    let first = daemon.post("/in/patchkit", &body).await.json();
    assert_eq!(first["duplicate"], false);
    let again = daemon.post("/in/patchkit", &body).await.json();
    assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &first["id"]));
    let waiting = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            tick.tick().await;
            let later = daemon.post("/in/patchkit", &body).await.json();
            if later["duplicate"] == false {
                return later;
            }
        }
    };
    let later = tokio::time::timeout(crate::support::PATIENCE, waiting).await.expect("a new event");
    assert_ne!(later["id"], first["id"]);
    daemon.until("mirror", |rows| rows.len() == 2).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("postrider.yaml"), "sources: {pgyer: {}}\n").unwrap();
    write_hook(folder.path(), "mirror", "events: \"*\"\nplatform: webhook\noptions: {url: \"http://127.0.0.1:9/\"}\n");
    let body = test_file("events/pgyer-updateVersion.json");
    let (paths, mut ids) = (Paths::here(folder.path()), Vec::new());
    for round in 0..3 {
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_postrider"))
            .args(["run", "--here"])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sent = async {
            loop {
                let body = [&body[..body.len() - 1], format!(",\"round\":{round}}}").as_bytes()].concat();
                let client = Client::new(&paths.emit);
                if let Ok((202, answer)) = client.request(http::Method::POST, "/in/pgyer", Some(body)).await {
                    return serde_json::from_slice::<Json>(&answer).unwrap()["id"].as_str().unwrap().to_owned();
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        ids.push(tokio::time::timeout(crate::support::PATIENCE, sent).await.expect("an answer"));
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let daemon = Daemon::start_in(folder).await;
    let stored: Vec<_> = daemon.deliveries("mirror").await.into_iter().map(|row| row.event).collect();
    assert_eq!(stored, ids);
    let shown = daemon.journal.show("1").await.unwrap().unwrap();
    assert!(shown.event.raw.ends_with(b",\"round\":0}") && shown.event.kind == "pgyer.updateVersion");
    daemon.stop().await;
}

#[tokio::test]
async fn what_a_source_made_of_a_body_is_the_same_in_memory_and_from_the_disk() {
    let sink = receiver().await;
    let main = "sources: {patchkit: {}}\n";
    let daemon = house(main, "http://127.0.0.1:9/").await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(daemon.send("POST", "/in/patchkit", &form, b"label=1.4&name=Space+Miner").await.status, 202);
    let folder = daemon.stop().await;
    let hook = format!(
        "events: \"*\"\nplatform: webhook\noptions: {{url: \"{}\", json: {{n: \"{{{{ data.name }}}} {{{{ event.raw }}}}\"}}}}\nretry: {{first: 1s}}\n",
        sink.url("")
    );
    write_hook(folder.path(), "mirror", &hook);
    let daemon = Daemon::start_in(folder).await;
    daemon.until_all("mirror", "delivered").await;
    assert_eq!(bodies(&sink), [r#"{"n":"Space Miner label=1.4&name=Space+Miner"}"#]);
    daemon.stop().await;
}
