//! `replay --original`: the body as it was, everything else anew; and no secret is kept for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postrider::edges::config::Paths;
use postrider::edges::sink::{Record, Step};
use serde_json::json;

use super::{does, rows};
use crate::commands::{err, exits, out, run};
use crate::support::{Daemon, bodies, receiver, write_hook, write_secret};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn hook(url: &str, options: &str) -> String {
    format!("events: [thing]\nplatform: webhook\noptions:\n  url: \"{url}\"\n{options}")
}

/// Whether a request is signed as Standard Webhooks demands.
fn is_signed(record: &Record) -> bool {
    let header = |name: &str| record.request.header(name).expect("a header").to_owned();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("a key");
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(&record.request.body);
    header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn the_same_body_goes_out_again_signed_anew() {
    let sink = receiver().await;
    sink.script(Step::status(400).times(4)).expect("a step");
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(folder.path(), "word", "hunter2hunter2");
    write_secret(folder.path(), "sign", &format!("whsec_{}", STANDARD.encode(KEY)));
    let signed = "  sign: {preset: standard-webhooks, key: {secret: sign}}\n";
    let first = format!("  json: {{said: \"first {{{{ data.n }}}}\", attempt: \"{{{{ attempt }}}}\"}}\n{signed}");
    write_hook(folder.path(), "one", &hook(&sink.url(""), &first));
    write_hook(folder.path(), "telltale", &hook(&sink.url(""), "  json: {token: \"{{ secret('word') }}\"}\n"));
    write_hook(folder.path(), "long", &hook(&sink.url(""), "  json: {text: \"{{ data.long }}\"}\n"));
    let lark = format!(
        "events: [thing]\nplatform: lark\noptions: {{url: \"{}\", secret: {{secret: word}}, message: hello}}\n",
        sink.url("")
    );
    write_hook(folder.path(), "lark", &lark);
    let daemon = Daemon::start_in(folder).await;
    let folder = daemon.folder.path();
    daemon.emit(&json!({"type": "thing", "id": "e1", "data": {"n": 1, "long": "y".repeat(70_000)}})).await;
    for name in ["one", "telltale", "long", "lark"] {
        daemon.until_all(name, "dead").await;
    }
    daemon
        .put_hook(
            "one",
            &hook(&sink.url(""), &format!("  json: {{said: second}}\n  headers: {{X-New: here}}\n{signed}")),
        )
        .await;

    let would = &rows(folder, &["replay", "--dead", "--original", "--dry-run"]).await[0];
    assert_eq!((&would["count"], &would["not_kept"], &would["hooks"]), (&json!(1), &json!(3), &json!({"one": 1})));
    let said = err(&does(folder, &["replay", "--dead", "--original", "--dry-run"]).await);
    assert_eq!(said.matches("a secret, or what is signed with one, stands in its body").count(), 2, "{said}");
    assert!(said.contains("its body has 70011 bytes, more than the 65536 that are kept"), "{said}");

    let done = run(folder, &["replay", "--dead", "--original", "--yes"]).await;
    exits(&done, 1);
    assert_eq!(out(&done).lines().count(), 1);
    daemon.until_all("one", "delivered").await;
    let records = sink.records();
    assert_eq!(records.len(), 5);
    let again = &records[4];
    let before = records.iter().find(|record| record.request.body.starts_with(b"{\"said\"")).expect("the first");
    assert_eq!(again.request.body, before.request.body);
    assert_eq!(before.request.body, br#"{"said":"first 1","attempt":1}"#[..]);
    assert_eq!(again.request.header("x-new"), Some("here"), "headers are those of today");
    assert_eq!(again.request.header("content-type"), Some("application/json"));
    assert_eq!(again.request.header("webhook-id"), before.request.header("webhook-id"));
    assert!(is_signed(before) && is_signed(again));

    // Without it the hook as it is now renders it; and it is so for the next time too.
    let id = daemon.deliveries("one").await[0].delivery.clone();
    does(folder, &["replay", &id]).await;
    assert!(sink.wait_for(6, crate::support::PATIENCE).await);
    assert_eq!(bodies(&sink)[5], r#"{"said":"second"}"#);
    daemon.until_all("one", "delivered").await;

    // Nothing secret is on disk.
    let state = Paths::here(folder).state;
    let files = std::fs::read_dir(&state).expect("a folder").map(|file| file.expect("a file").path());
    let journals: Vec<_> = files.filter(|file| file.to_string_lossy().contains("journal.db")).collect();
    assert!(journals.len() >= 2, "{journals:?}");
    for file in journals {
        let bytes = std::fs::read(&file).expect("a file");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds("hunter2") && !holds(&STANDARD.encode(KEY)), "{}", file.display());
        assert!(!holds("webhook-signature"), "{}", file.display());
    }
    daemon.stop().await;
}
