//! Web pages: whoever has one open must not have it hand in events, nor read what is measured. A page can send to
//! loopback, and through a name of its own to any address; vendors' webhooks come all the same.

use std::fs;

use crate::support::{Daemon, Got, receiver, send, write_hook, write_secret};

const MAIN: &str = "
listen: {http: 127.0.0.1:1}
sources:
  open: {script: generic, options: {type: \"literal:opened\"}}
  named: {script: generic, options: {type: \"literal:named\", public_url: https://hooks.example.com}}
  tokened: {script: generic, options: {type: \"literal:tokened\", token: {secret: key}}}
  pgyer: {}
";

const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ORIGIN: (&str, &str) = ("origin", "https://evil.example");
const PREFLIGHT: (&str, &str) = ("access-control-request-method", "POST");
const HOME: (&str, &str) = ("host", "127.0.0.1:8470");
const REBOUND: (&str, &str) = ("host", "evil.example:8470");
const PROXIED: (&str, &str) = ("host", "hooks.example.com");

/// Who sends it, method, target, headers, body, status.
type Row<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16);

const EVENT: &str = r#"{"type": "native", "data": {}}"#;

#[rustfmt::skip]
const TABLE: &[Row<'_>] = &[
    // A page of another site, with what browsers send by themselves.
    ("fetch", "POST", "/v1/events", &[HOME, JSON, ORIGIN], EVENT, 403),
    ("a preflight", "OPTIONS", "/v1/events", &[HOME, ORIGIN, PREFLIGHT], "", 403),
    ("a preflight of a source", "OPTIONS", "/in/open", &[HOME, ORIGIN, PREFLIGHT], "", 403),
    ("a preflight for a private network", "OPTIONS", "/in/pgyer", &[HOME, ORIGIN, ("access-control-request-private-network", "true")], "", 403),
    ("a simple request", "POST", "/v1/events?type=t", &[HOME, TEXT, ORIGIN], EVENT, 403),
    ("a form", "POST", "/v1/events?type=t", &[HOME, FORM, ORIGIN], "a=b", 403),
    ("a form in a frame without an origin", "POST", "/v1/events?type=t", &[HOME, FORM, ("origin", "null")], "a=b", 403),
    ("a form for a source", "POST", "/in/open", &[HOME, FORM, ORIGIN], "a=b", 403),
    ("a beacon", "POST", "/in/pgyer", &[HOME, TEXT, ORIGIN], "{}", 403),
    ("an image", "GET", "/in/open?a=b", &[HOME, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], "", 403),
    ("a link that is clicked", "GET", "/in/open?a=b", &[HOME, ("sec-fetch-mode", "navigate")], "", 403),
    ("an address that is typed", "GET", "/in/open?a=b", &[HOME, ("sec-fetch-site", "none")], "", 403),
    ("fetch, with the token", "POST", "/in/tokened?token=the-key-of-it", &[HOME, JSON, ORIGIN], "{}", 403),
    // A page whose host leads here: it is at home, and browsers say less.
    ("fetch after rebinding", "POST", "/v1/events", &[REBOUND, JSON, ("origin", "http://evil.example:8470")], EVENT, 403),
    ("a GET after rebinding", "GET", "/in/open?a=b", &[REBOUND], "", 403),
    ("a GET after rebinding to a source with a host", "GET", "/in/named?a=b", &[REBOUND], "", 403),
    ("a name that only begins like ours", "GET", "/in/open?a=b", &[("host", "localhost.evil.example")], "", 403),
    ("a name that says the address", "GET", "/in/open?a=b", &[("host", "127.0.0.1.nip.example")], "", 403),
    ("no host at all", "GET", "/in/open?a=b", &[("host", "")], "", 403),
    // Programs, and vendors through a proxy that keeps the host they called.
    ("curl", "POST", "/v1/events", &[HOME, JSON], EVENT, 202),
    ("curl by name", "POST", "/v1/events", &[("host", "localhost:8470"), JSON], EVENT, 202),
    ("curl with any body", "POST", "/v1/events?type=t", &[HOME, TEXT], "x", 202),
    ("curl with a GET", "GET", "/in/open?a=1", &[HOME], "", 202),
    ("curl over IPv6", "GET", "/in/open?a=2", &[("host", "[::1]:8470")], "", 202),
    ("a vendor", "POST", "/in/pgyer", &[PROXIED, JSON], r#"{"a": "1"}"#, 202),
    ("a vendor with a form", "POST", "/in/open", &[PROXIED, FORM], "a=3", 202),
    ("a vendor with a GET and a token", "GET", "/in/tokened?token=the-key-of-it&a=4", &[PROXIED], "", 202),
    ("a vendor with a GET where its host is known", "GET", "/in/named?a=5", &[PROXIED], "", 202),
    ("a vendor that names a referer", "POST", "/in/open", &[PROXIED, FORM, ("referer", "https://panel.example/")], "a=6", 202),
    ("a monitor", "GET", "/healthz", &[PROXIED], "", 200),
    // What is no event is nobody's, whoever asks.
    ("text that nobody named", "POST", "/v1/events", &[HOME, TEXT], EVENT, 415),
    ("a question", "OPTIONS", "/v1/events", &[HOME], "", 405),
];

async fn house() -> (Daemon, postrider::edges::sink::SinkHandle) {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    write_secret(folder.path(), "key", "the-key-of-it");
    write_hook(
        folder.path(),
        "all",
        &format!("events: \"*\"\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url("")),
    );
    fs::write(folder.path().join("postrider.yaml"), MAIN).unwrap();
    (Daemon::start_in(folder).await, sink)
}

/// No answer allows a page anything.
fn allows_nothing(got: &Got, who: &str) {
    for header in ["access-control-", "cross-origin-resource-policy", "timing-allow-origin"] {
        assert!(!got.head.contains(header), "{who}: {got:?}");
    }
}

#[tokio::test]
async fn pages_are_refused_and_programs_are_not() {
    let (daemon, _sink) = house().await;
    let mut taken = 0;
    for (who, method, target, headers, body, status) in TABLE {
        let got = daemon.send(method, target, headers, body.as_bytes()).await;
        assert_eq!(got.status, *status, "{who}: {got:?}");
        allows_nothing(&got, who);
        if *status == 403 {
            assert_eq!(got.json()["error"]["code"], "forbidden", "{who}: {got:?}");
            assert!(got.body.contains("web pages"), "{who}: {got:?}");
        }
        taken += usize::from(*status == 202);
    }
    assert!(TABLE.iter().filter(|row| row.5 == 403).count() >= 19 && taken == 10, "{taken}");
    // Nothing of a page was stored.
    daemon.until("all", |rows| rows.len() == taken).await;
    daemon.stop().await;
}

#[tokio::test]
async fn pages_do_not_read_what_is_measured() {
    let (daemon, _sink) = house().await;
    for (who, path, headers, status) in [
        ("prometheus", "/metrics", &[("host", "localhost:9470")][..], 200),
        ("prometheus by address", "/metrics", &[("host", "127.0.0.1:9470")], 200),
        ("a page", "/metrics", &[("host", "127.0.0.1:9470"), ORIGIN], 403),
        ("an image", "/metrics", &[("host", "127.0.0.1:9470"), ("sec-fetch-site", "cross-site")], 403),
        ("a page after rebinding", "/metrics", &[("host", "evil.example:9470")], 403),
        ("a monitor with a name of its own", "/healthz", &[("host", "node-7.example")], 200),
        ("a monitor with a name of its own", "/readyz", &[("host", "node-7.example")], 200),
    ] {
        let got = send(&daemon.metrics, "GET", path, headers, b"").await;
        assert_eq!(got.status, status, "{who}: {got:?}");
        allows_nothing(&got, who);
    }
    daemon.stop().await;
}
