//! What holds for all five vendors: the examples are sound, and what one daemon sends as a vendor another one receives
//! as the same event, also when both are killed meanwhile.

mod killed;

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use postrider::edges::sink::SinkHandle;
use postrider::words::event::Event;
use sha1::Sha1;

use super::*;
use crate::examples::SAMPLES;

/// Every vendor's samples: where each is received, and as what.
pub(super) fn samples() -> Vec<(&'static str, String, Event)> {
    let mut all = Vec::new();
    let mut add = |source: &'static str, path: String, name: String| all.push((source, path, sample(&name)));
    add("pgyer", String::new(), "pgyer-updateVersion".into());
    for kind in ["updateVersion", "feedback", "crashlog"] {
        add("appgo", String::new(), format!("appgo-{kind}"));
    }
    for event in super::appery::EVENTS {
        add("appery", format!("/{event}"), format!("appery-{event}"));
    }
    add("patchkit", String::new(), "patchkit-version.published".into());
    for event in ["subscribe", "unsubscribe"] {
        add("pushpushgo", format!("/{event}"), format!("pushpushgo-{event}"));
    }
    all
}

/// The project whose id signs PushPushGo's samples.
pub(super) const PROJECT: &str = "5f3c0a1b2c3d4e5f60718293";

/// The sources of a daemon that hears all five.
pub(super) fn sources() -> String {
    format!(
        "  pgyer: {{}}\n  appgo: {{}}\n  appery: {{}}\n  patchkit: {{}}\n  pushpushgo: {{options: {{project_ids: [{PROJECT}], signed: [body]}}}}\n"
    )
}

/// Hooks that send every event on as its vendor does.
pub(super) fn senders(to: &str) -> Vec<(&'static str, String)> {
    let hook = |vendor: &'static str, path: &str, more: &str| {
        let text = format!(
            "events: '{vendor}.*'\nplatform: webhook\nretry: {{first: 100ms, max: 500ms}}\noptions:\n  url: \"http://{to}/in/{vendor}{path}\"\n{more}"
        );
        (vendor, text)
    };
    vec![
        hook("pgyer", "", ""),
        hook("appgo", "", ""),
        hook("appery", "/{{ data.event_id }}", ""),
        hook("patchkit", "", ""),
        hook(
            "pushpushgo",
            "/{{ event.type | replace('pushpushgo.', '') }}",
            "  sign: {preset: pushpushgo, key: \"{{ projectId }}\"}\n",
        ),
    ]
}

/// A daemon that hears all five, with a hook that shows everything that it was given.
struct House {
    daemon: Daemon,
    sink: SinkHandle,
}

impl House {
    async fn open() -> Self {
        let sink = receiver().await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("postrider.yaml"), format!("sources:\n{}", sources())).expect("a main file");
        let all = format!(
            "events: '*'\nplatform: webhook\noptions:\n  url: \"{}\"\n  json: {{type: \"{{{{ event.type }}}}\", time: \"{{{{ event.time }}}}\", data: \"{{{{ data }}}}\", raw: \"{{{{ event.raw }}}}\"}}\n",
            sink.url("")
        );
        crate::support::write_hook(folder.path(), "all", &all);
        Self { daemon: Daemon::start_in(folder).await, sink }
    }

    /// What the hook showed of everything so far, once there is so much of it.
    async fn seen(&self, count: u64) -> Vec<Json> {
        assert!(self.sink.wait_for(count, crate::support::PATIENCE).await, "only {} events came", self.sink.count());
        bodies(&self.sink).iter().map(|body| serde_json::from_str(body).expect("JSON")).collect()
    }
}

#[test]
fn x1_examples_and_sources_pass_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let (hooks, own) =
        (folder.path().join("hooks.d"), std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks.d"));
    std::fs::create_dir(&hooks).expect("a folder");
    let mut copied = 0;
    for entry in std::fs::read_dir(own).expect("hooks.d") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), hooks.join(entry.file_name())).expect("a copy");
        copied += 1;
    }
    for (name, value) in crate::examples::secret_values() {
        crate::support::write_secret(folder.path(), &name, &value);
    }
    std::fs::write(folder.path().join("postrider.yaml"), format!("sources:\n{}", sources())).expect("a main file");
    // Commands use this folder once a daemon has been here.
    std::fs::write(folder.path().join(".postrider/admin.sock"), "").expect("a file");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["check"])
        .current_dir(folder.path())
        .output()
        .expect("the program runs");
    let said = [run.stderr, run.stdout].map(|out| String::from_utf8_lossy(&out).into_owned()).concat();
    assert_eq!(run.status.code(), Some(0), "{said}");
    assert!(copied >= 18 && said.contains(&format!("{copied} hooks")), "{copied}: {said}");
}

#[tokio::test]
async fn x2_every_example_is_taken_by_a_receiver_on_this_machine() {
    let mut taken = 0;
    for (name, event) in SAMPLES.iter() {
        let hook = &examples()[name];
        let platform = hook.platform.name.parse().unwrap_or(Platform::Plain);
        let sink = robot(platform, BotOptions::default()).await;
        let config = postrider::rules::config::Config { secrets: crate::examples::secrets(), ..Default::default() };
        let sender = postrider::edges::send::Sender::new(Default::default());
        let to = sink.url("TEST");
        let probed =
            postrider::engine::probe::probe(&sender, &config, hook, &sample(event), Some(&to), crate::examples::noon())
                .await;
        assert_ne!(probed.verdict, "", "{name}: {}", probed.why);
        assert_eq!(sink.count(), 1, "{name} with {event}: {}", probed.why);
        taken += 1;
    }
    assert!(taken >= 30);
}

#[test]
fn x3_every_golden_belongs_to_an_example() {
    let hooks = examples();
    let strays: Vec<_> = SAMPLES.iter().filter(|(hook, _)| !hooks.contains_key(hook)).collect();
    assert!(strays.is_empty(), "goldens of no example: {strays:?}");
    let files = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens"));
    assert_eq!(files.expect("goldens").count(), SAMPLES.len(), "each golden is compared in `examples`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x4_what_is_sent_as_a_vendor_is_received_as_the_same_event() {
    let far = House::open().await;
    let near = House::open().await;
    for (vendor, text) in senders(&far.daemon.http) {
        near.daemon.put_hook(vendor, &text).await;
    }
    let mut sent = 0;
    for (source, path, event) in samples() {
        let target = format!("/in/{source}{path}");
        let signature = ppg_signature(&event.raw);
        let headers = [("content-type", "application/json"), ("x-ppg-signature", signature.as_str())];
        let headers = if source == "pushpushgo" { &headers[..] } else { &headers[..1] };
        let got = near.daemon.send("POST", &target, headers, &event.raw).await;
        assert_eq!(got.status, 202, "{target}: {got:?}");
        sent += 1;
    }
    assert_eq!(sent, 21);
    let (ours, theirs) = (near.seen(sent).await, far.seen(sent).await);
    let sorted = |mut events: Vec<Json>| {
        // PushPushGo says no time: it is that of the arrival.
        let timeless =
            events.iter_mut().filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("pushpushgo")));
        timeless.for_each(|event| event["time"] = Json::Null);
        let mut texts: Vec<String> = events.iter().map(Json::to_string).collect();
        texts.sort();
        texts
    };
    // Type, time, data and the bytes; members in their order.
    assert_eq!(sorted(theirs), sorted(ours));
    let vendors: BTreeSet<_> = samples().into_iter().map(|(source, ..)| source).collect();
    println!("{sent} events of {} vendors, each received as the event that was sent", vendors.len());
    near.daemon.stop().await;
    far.daemon.stop().await;
}

/// As PushPushGo signs a body.
pub(super) fn ppg_signature(body: &[u8]) -> String {
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(PROJECT.as_bytes()).expect("a key");
    mac.update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
