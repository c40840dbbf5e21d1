//! Who is let in, over TCP and locally.

use std::fs;

use postrider::edges::client::Client;
use postrider::edges::config::Paths;
use serde_json::json;

use super::{KEY, house};
use crate::support::{Daemon, Got, receiver, write_secret};

const MAIN: &str = r#"
listen: {http: 127.0.0.1:1, http_token: {secret: listener}}
sources:
  open: {script: pgyer}
  tokened: {script: pgyer, options: {token: [{secret: key}, {secret: next}]}}
  signed: {script: github, options: {secret: {secret: key}}}
  both: {script: github, options: {secret: {secret: key}, token: {secret: key}}}
  events: {script: cloudevents}
  form: {script: patchkit}
"#;

/// Method, target, headers, status, and what the answer says.
type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);

async fn closed_house(url: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("listener", "the-listeners-token"), ("key", KEY), ("next", "the next one")] {
        write_secret(folder.path(), name, value);
    }
    crate::support::write_hook(
        folder.path(),
        "mirror",
        &format!("events: \"*\"\nplatform: webhook\noptions: {{url: \"{url}\"}}\n"),
    );
    fs::write(folder.path().join("postrider.yaml"), MAIN).unwrap();
    Daemon::start_in(folder).await
}

#[tokio::test]
async fn each_sender_has_its_key() {
    let sink = receiver().await;
    let daemon = closed_house(&sink.url("")).await;
    const BEARER: (&str, &str) = ("authorization", "Bearer the-listeners-token");
    const PUSH: (&str, &str) = ("x-github-event", "push");
    // HMAC-SHA256 of {} with the key.
    let mac = format!("sha256={}", hex_of_empty_object());
    let right = ("x-hub-signature-256", mac.as_str());
    let wrong = ("x-hub-signature-256", "sha256=00");
    let origin = ("webhook-request-origin", "a.example");
    let token = "the%20next%20one";
    let query = format!("/in/tokened?token={token}");
    let both = format!("/in/both?token={}", KEY.replace(' ', "+"));
    #[rustfmt::skip]
    let table: &[Row<'_>] = &[
        // Nothing is verified: the listener's token opens, and only it.
        ("POST", "/in/open", &[], 401, "send the token"),
        ("POST", "/in/open", &[("authorization", "Bearer other")], 401, "listen.http_token"),
        ("POST", "/in/open?token=the-listeners-token", &[], 401, "send the token"),
        ("POST", "/in/open", &[BEARER], 202, "duplicate"),
        // A token of its own, wherever the vendor can put one.
        ("POST", "/in/tokened", &[], 401, "the token is missing"),
        ("POST", "/in/tokened", &[BEARER], 401, "this is not the token of the source"),
        ("POST", &query, &[], 202, "duplicate"),
        ("POST", "/in/tokened?token=the+next", &[], 401, "this is not the token"),
        // A signature is enough, and must be right whoever sends.
        ("POST", "/in/signed", &[PUSH, right], 202, "duplicate"),
        ("POST", "/in/signed", &[PUSH, wrong], 401, "x-hub-signature-256"),
        ("POST", "/in/signed", &[PUSH, wrong, BEARER], 401, "x-hub-signature-256"),
        ("POST", "/in/signed", &[PUSH, BEARER], 401, "x-hub-signature-256"),
        // Both must be right where both are asked for.
        ("POST", "/in/both", &[PUSH, right], 401, "the token is missing"),
        ("POST", &both, &[PUSH, wrong], 401, "x-hub-signature-256"),
        ("POST", &both, &[PUSH, right], 202, "duplicate"),
        // A question may be asked by anybody; an event may not.
        ("OPTIONS", "/in/events", &[origin], 200, ""),
        ("GET", "/in/form?label=1", &[], 401, "send the token"),
        ("GET", "/in/form?label=1", &[BEARER], 202, "duplicate"),
        // Strangers learn nothing of what there is.
        ("POST", "/in/opn", &[], 401, "send the token"),
        ("POST", "/in/opn", &[BEARER], 404, "there is no source \\\"opn\\\"\","),
        ("PUT", "/in/open", &[BEARER], 405, "takes POST"),
        ("POST", "/in/open", &[BEARER, ("origin", "https://evil.example")], 403, "web pages"),
        ("POST", "/in/%ff", &[BEARER], 400, "UTF-8"),
        ("POST", "/in/", &[BEARER], 404, "there is no source"),
    ];
    for (method, target, headers, status, part) in table {
        let got: Got = daemon.send(method, target, headers, b"{}").await;
        assert_eq!(got.status, *status, "{method} {target} {headers:?}: {got:?}");
        assert!(got.body.contains(part), "{method} {target} {headers:?}: {got:?}");
        for secret in ["the-listeners-token", KEY, "the next one"] {
            assert!(!got.body.contains(secret), "{got:?}");
        }
    }
    let got = daemon.send("OPTIONS", "/in/events", &[origin], b"").await;
    for line in ["allow: post", "webhook-allowed-origin: *", "webhook-allowed-rate: *"] {
        assert!(got.head.contains(line), "{got:?}");
    }
    let got = daemon.send("PUT", "/in/form", &[BEARER], b"{}").await;
    assert_eq!(got.status, 202, "{got:?}");
    let got = daemon.send("DELETE", "/in/open", &[BEARER], b"").await;
    assert!(got.status == 405 && got.head.contains("allow: post"), "{got:?}");
    daemon.stop().await;
}

/// What GitHub would sign.
fn hex_of_empty_object() -> String {
    use postrider::rules::signature::{Scheme, Signed, sign};
    let scheme = Scheme::from_json(&json!({"preset": "github", "key": KEY})).unwrap();
    let (method, headers) = ("POST".parse().unwrap(), http::HeaderMap::new());
    let request = Signed { method: &method, url: "", headers: &headers, body: b"{}" };
    let signature = sign(&scheme, &request, "", jiff::Timestamp::UNIX_EPOCH).unwrap();
    signature.headers[0].1.to_str().unwrap().trim_start_matches("sha256=").to_owned()
}

#[tokio::test]
async fn the_local_socket_needs_no_token_and_is_told_more() {
    let sink = receiver().await;
    let daemon = closed_house(&sink.url("")).await;
    let local = Client::new(&Paths::here(daemon.folder.path()).emit);
    let post = async |path: &str| {
        let (status, body) = local.request(http::Method::POST, path, Some(b"{\"type\":\"x\"}".to_vec())).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(post("/in/open").await.0, 202);
    let (status, said) = post("/in/opn").await;
    assert!(status == 404 && said.contains("did you mean open?"), "{said}");
    let (status, said) = post("/in/something").await;
    assert!(status == 404 && said.contains("the main file lists them"), "{said}");
    assert_eq!(post("/in/signed").await.0, 401, "what is signed is verified there too");
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_is_never_shown_to_scripts_or_kept() {
    let sink = receiver().await;
    let main = "sources: {form: {script: patchkit, options: {token: {secret: key}}}}\n";
    let daemon = house(main, &sink.url("")).await;
    let target = format!("/in/form?label=1&token={}", KEY.replace(' ', "%20"));
    assert_eq!(daemon.send("GET", &target, &[], b"").await.status, 202);
    daemon.until_all("mirror", "delivered").await;
    let shown = daemon.journal.show("1").await.unwrap().unwrap();
    assert_eq!(shown.event.data(), &json!({"label": "1"}));
    daemon.stop().await;
}
