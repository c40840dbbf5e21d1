//! The commands `sign` and `verify`, and a receiver on this machine that verifies.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use postrider::rules::signature::{Outline, Signed, verify};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;
use crate::commands::{err, exits, out, piped, postrider, run};
use crate::support::{Daemon, receiver, write_secret};

/// Puts keys and body of a vector into a folder, and gives the arguments that name them.
fn arguments(folder: &Path, vector: &Json) -> Vec<String> {
    let mut arguments = Vec::new();
    for (n, key) in keys(&vector["sign"]).iter().enumerate() {
        fs::write(folder.join(format!("key-{n}")), format!("{key}\n")).expect("a file");
        arguments.extend(["--key-file".to_owned(), format!("key-{n}")]);
    }
    fs::write(folder.join("body"), text(&vector["request"], "body")).expect("a file");
    arguments.extend(["--body".to_owned(), "body".to_owned()]);
    for (name, value) in vector["request"]["headers"].as_object().expect("headers") {
        arguments.extend(["-H".to_owned(), format!("{name}: {}", value.as_str().expect("a text"))]);
    }
    arguments
}

fn flags(sign: &Json) -> Vec<String> {
    let flag = |(field, value): (&String, &Json)| {
        let flag =
            if field == "header" { "--signature-header".to_owned() } else { format!("--{}", field.replace('_', "-")) };
        [flag, value.as_str().expect("a word").to_owned()]
    };
    sign.as_object().expect("a map").iter().filter(|(field, _)| *field != "key").flat_map(flag).collect()
}

async fn command(folder: &Path, command: &str, arguments: &[String]) -> Output {
    let arguments: Vec<_> = [command].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    run(folder, &arguments).await
}

#[tokio::test]
async fn sign_prints_what_the_vectors_say_and_verify_finds_out_how() {
    let folder = tempfile::tempdir().expect("a folder");
    let vectors = vectors();
    let vectors = vectors["signatures"].as_array().expect("vectors");
    for vector in vectors {
        let (name, expect) = (text(vector, "name"), &vector["expect"]);
        let given = arguments(folder.path(), vector);
        let url = ["--url".to_owned(), text(&vector["request"], "url").to_owned()];
        let time = ["--time".to_owned(), time_of(vector).as_second().to_string()];
        let id = vector["id"].as_str().map(|id| ["--id".to_owned(), id.to_owned()]);
        let all: Vec<_> = [&flags(&vector["sign"])[..], &given, &url, &time].concat();
        let signed = command(folder.path(), "sign", &[all.clone(), id.into_iter().flatten().collect()].concat()).await;
        exits(&signed, 0);
        let mut lines: Vec<_> = out(&signed).lines().map(str::to_owned).collect();
        lines.sort();
        let wanted = expect["headers"].as_object().expect("headers").iter();
        let mut wanted: Vec<_> =
            wanted.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default())).collect();
        wanted.sort();
        assert_eq!(lines, wanted, "{name}");
        if let Some(url) = expect["url"].as_str() {
            assert!(err(&signed).contains(url), "{name}: {}", err(&signed));
        }

        let headers = lines.iter().flat_map(|line| ["-H".to_owned(), line.clone()]).collect::<Vec<_>>();
        let url = ["--url".to_owned(), expect["url"].as_str().unwrap_or(&url[1]).to_owned()];
        let right =
            command(folder.path(), "verify", &[&flags(&vector["sign"])[..], &given, &url, &time, &headers].concat())
                .await;
        exits(&right, 0);
        assert!(out(&right).starts_with("right: "), "{name}: {}", out(&right));

        // Without a word about how, and whenever.
        let found =
            command(folder.path(), "verify", &[&given[..], &url, &headers, &["--json".to_owned()]].concat()).await;
        exits(&found, 0);
        let found: Json = serde_json::from_slice(&found.stdout).expect("JSON");
        let map = found["sign"].as_object().expect("a map");
        let outline = Outline::read(map).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let secrets: Vec<_> = keys(&vector["sign"]).into_iter().map(Secret::new).collect();
        let scheme = Scheme::new(outline.into(), &secrets).expect("a scheme");
        let mut sent = http::HeaderMap::new();
        for line in &lines {
            let (name, value) = line.split_once(": ").expect("a header");
            sent.insert(name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let content_type = text(&vector["request"]["headers"], "content-type");
        sent.insert("content-type", content_type.parse().expect("a value"));
        let body = text(&vector["request"], "body").as_bytes();
        let request = Signed { method: &http::Method::POST, url: &url[1], headers: &sent, body };
        verify(&scheme, &request, time_of(vector)).unwrap_or_else(|why| panic!("{name}: {why}"));
        if vector["sign"]["preset"].is_string() {
            assert_eq!(map.get("preset"), Some(&vector["sign"]["preset"]), "{name}: {map:?}");
        }
    }
    assert_eq!(vectors.len(), 23);
}

#[tokio::test]
async fn what_is_found_can_be_pasted_into_a_hook() {
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(folder.path(), "vendor", "s3cret key");
    let secret = folder.path().join(".postrider/secrets.d/vendor").display().to_string();
    fs::create_dir_all(folder.path().join("hooks.d")).expect("a folder");
    let words = "--signature-header X-Sig --algorithm hmac-sha512 --signed timestamp:body --timestamp-header X-Time \
                 --encoding base64 --prefix v9= --time 1700000000 --body -";
    let mut sign: Vec<_> = vec!["sign", "--secret", &secret];
    sign.extend(words.split_whitespace());
    let signed = piped(folder.path(), &sign, "{\"a\":1}").await;
    exits(&signed, 0);
    let headers: Vec<_> = out(&signed).lines().map(str::to_owned).collect();
    assert_eq!(headers.len(), 2, "{headers:?}");
    // The body as an editor saves it.
    let mut verify = vec!["verify", "--secret", &secret, "--body", "-"];
    headers.iter().for_each(|header| verify.extend(["-H", header]));
    let found = piped(folder.path(), &verify, "{\"a\":1}\n").await;
    exits(&found, 0);
    assert!(
        err(&found).contains("it fits only after the line break at the end of the body was taken away"),
        "{}",
        err(&found)
    );
    let sign =
        out(&found).lines().find_map(|line| line.trim().strip_prefix("sign: ").map(str::to_owned)).expect("a line");
    let options = format!("{{url: https://h.example/, sign: {}}}", sign.replace("NAME", &secret));
    let file = folder.path().join("hooks.d/a.yaml");
    fs::write(&file, format!("events: [t]\nplatform: webhook\noptions: {options}\n")).expect("a file");
    let checked = run(folder.path(), &["check", "hooks.d/a.yaml"]).await;
    exits(&checked, 0);
    let rendered =
        run(folder.path(), &["render", "hooks.d/a.yaml", "{\"type\": \"t\", \"data\": {}}", "--show-secrets"]).await;
    exits(&rendered, 0);
    assert!(out(&rendered).contains("x-sig: v9=") && out(&rendered).contains("x-time: "), "{}", out(&rendered));
    let masked = run(folder.path(), &["render", "hooks.d/a.yaml", "{\"type\": \"t\", \"data\": {}}"]).await;
    assert!(!out(&masked).contains("s3cret key"), "{}", out(&masked));
}

#[tokio::test]
async fn what_is_wrong_has_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("key"), "k").expect("a file");
    fs::write(folder.path().join("body"), "x").expect("a file");
    let signed = run(
        folder.path(),
        &["sign", "--preset", "stripe", "--key-file", "key", "--body", "body", "--time", "1700000000"],
    )
    .await;
    let header = out(&signed).trim_end().to_owned();
    for (arguments, code, said) in [
        (vec!["verify", "--preset", "stripe"], 2, "a signature needs a key"),
        (vec!["verify", "--preset", "strype", "--key-file", "key"], 2, "did you mean `stripe`?"),
        (vec!["verify", "--preset", "stripe", "--key-file", "key"], 1, "there is no header stripe-signature"),
        (
            vec!["verify", "--preset", "stripe", "--key-file", "key", "-H", &header, "--body", "body"],
            1,
            "behind our clock",
        ),
        (
            vec!["verify", "--preset", "github", "--key-file", "key", "-H", &header, "--body", "body"],
            1,
            "this fits: {preset: stripe,",
        ),
        (vec!["verify", "--key-file", "key", "-H", &header], 1, "no way of signing fits"),
        (vec!["verify", "--key-file", "-", "--body", "-", "-H", &header], 2, "cannot both come from standard input"),
        (vec!["verify", "--secret", "nothing", "-H", &header], 78, "secret nothing cannot be read"),
        (vec!["verify", "--key-file", "nothing", "-H", &header], 1, "cannot read nothing"),
        (vec!["verify", "--key-file", "key", "-H", "nonsense"], 2, "NAME: VALUE"),
        (
            vec!["sign", "--preset", "standard-webhooks", "--key-file", "key", "--body", "body"],
            2,
            "the key is not base64",
        ),
        (
            vec!["sign", "--preset", "pushpushgo", "--signed", "url+form", "--key-file", "key", "--body", "body"],
            1,
            "neither a form nor a JSON object",
        ),
    ] {
        let done = run(folder.path(), &arguments).await;
        exits(&done, code);
        assert!(err(&done).contains(said), "{arguments:?}: {}", err(&done));
    }
}

#[tokio::test]
async fn a_sink_takes_only_what_is_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    write_secret(folder.path(), "k", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let sign =
        format!(", sign: {{preset: gitlab, key: {{secret: {}/.postrider/secrets.d/k}}}}", folder.path().display());
    let words =
        "sink --listen 127.0.0.1:0 --verify preset=standard-webhooks --secret-file .postrider/secrets.d/k --once 2";
    let mut child = postrider(folder.path(), &words.split(' ').collect::<Vec<_>>())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut greeting = String::new();
    BufReader::new(child.stderr.take().expect("a pipe")).read_line(&mut greeting).await.expect("a greeting");
    let url = greeting.split_whitespace().last().expect("a URL").to_owned();
    fs::create_dir_all(folder.path().join("hooks.d")).expect("a folder");
    for (name, sign, code) in [("signed", sign.as_str(), 0), ("plain", "", 1)] {
        let file = format!("hooks.d/{name}.yaml");
        let text = format!("events: [t]\nplatform: webhook\noptions: {{url: \"{url}\"{sign}}}\n");
        fs::write(folder.path().join(&file), text).expect("a file");
        exits(&run(folder.path(), &["test", &file]).await, code);
    }
    let printed = out(&child.wait_with_output().await.expect("an end"));
    assert!(printed.contains("note: the signature is right: id.timestamp.body, hmac-sha256, base64"), "{printed}");
    assert!(printed.contains("refused: there is no header webhook-signature"), "{printed}");
}

#[tokio::test]
async fn a_slip_in_a_key_is_waited_for_and_a_new_key_applies_at_once() {
    let sink = receiver().await;
    let hook =
        hook("webhook", &json!({"url": sink.url(""), "sign": {"preset": "standard-webhooks", "key": {"secret": "k"}}}));
    let daemon = Daemon::start(&[]).await;
    daemon.put_secret("k", "no base64, but hunter2");
    daemon.put_hook("hook", &hook).await;
    daemon.emit(&json!({"type": "thing", "data": {"n": 1}})).await;
    let (_, status) = daemon.admin("GET", "/v1/status", None).await;
    assert_eq!(status["hooks"][0]["state"], "secret missing");
    let said = status["problems"].to_string();
    assert!(said.contains("the key is not base64") && !said.contains("hunter2"), "{said}");
    for (n, key) in [(1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), (2, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")] {
        daemon.put_secret("k", key);
        daemon.reload().await;
        if n > 1 {
            daemon.emit(&json!({"type": "thing", "data": {"n": n}})).await;
        }
        daemon.until("hook", |rows| rows.len() == n && rows.iter().all(|row| row.outcome == "delivered")).await;
        let request = sink.records()[n - 1].request.clone();
        let scheme = Scheme::from_json(&json!({"preset": "standard-webhooks", "key": key})).expect("a scheme");
        let (url, method) = (sink.url(""), &request.method);
        let signed = Signed { method, url: &url, headers: &request.headers, body: &request.body };
        let verified = verify(&scheme, &signed, Timestamp::now()).expect("signed with the key of the moment");
        assert_eq!(verified.id.as_deref(), Some(daemon.deliveries("hook").await[n - 1].delivery.as_str()));
    }
    daemon.stop().await;
}
