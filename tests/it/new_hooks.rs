//! `new` writes hook files that load, keeps secrets where they belong, and never half of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::commands::{err, exits, out, piped, run};

const ROBOT: &str = "https://oapi.dingtalk.com/robot/send?access_token=geheim-1";

async fn check(folder: &Path) -> Output {
    run(folder, &["check", "hooks.d"]).await
}

fn here() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // What `run --here` makes: the other commands find this folder by it.
    fs::create_dir(folder.path().join(".postrider")).expect("a folder");
    fs::write(folder.path().join(".postrider/admin.sock"), "").expect("a file");
    folder
}

#[tokio::test]
async fn a_robot_with_its_secrets() {
    let folder = here();
    let arguments = ["new", "ops", "--platform", "dingtalk", "--secret", "secret", "--events", "build.*,deploy"];
    let done = piped(folder.path(), &arguments, &format!("{ROBOT}\nSEC-geheim-2\n")).await;
    exits(&done, 0);
    assert_eq!(out(&done).trim(), "./hooks.d/ops.yaml");
    let text = fs::read_to_string(folder.path().join("hooks.d/ops.yaml")).expect("a hook");
    for line in [
        "# yaml-language-server: $schema=/usr/share/postrider/schema/hook.json",
        "events: [\"build.*\", \"deploy\"]",
        "platform: dingtalk",
        "  url: {secret: ops-url}",
        "  secret: {secret: ops-secret}",
        "  message: \"{{ event.type }} {{ data }}\"",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("# mention: "), "{text}");
    assert_eq!(crate::schema::refuses_hook(&text), None);
    assert!(!text.contains("geheim") && !out(&done).contains("geheim") && !err(&done).contains("geheim"));
    let secrets = folder.path().join(".postrider/secrets.d");
    for (name, value) in [("ops-url", ROBOT), ("ops-secret", "SEC-geheim-2")] {
        assert_eq!(fs::read_to_string(secrets.join(name)).expect("a secret").trim(), value);
        let mode = fs::metadata(secrets.join(name)).expect("a secret").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let checked = check(folder.path()).await;
    exits(&checked, 0);
    assert!(!err(&checked).contains("warning"), "{}", err(&checked));
}

#[tokio::test]
async fn options_of_every_shape_survive_yaml() {
    let folder = here();
    let arguments = [
        "new",
        "mirror",
        "--platform",
        "webhook",
        "-o",
        "url=https://ci.example.com/in/{{ data.name }}",
        "-o",
        "headers.X-Note=a: b # \"c\" {{ event.id }}",
        "-o",
        "json:={\"n\": 1.10, \"list\": [true, null], \"t\": \"a\\nb\"}",
    ];
    exits(&run(folder.path(), &arguments).await, 0);
    exits(&check(folder.path()).await, 0);
    let event = "{\"type\": \"x\", \"id\": \"7\", \"data\": {\"name\": \"p/q\"}}";
    let shown = piped(folder.path(), &["render", "mirror", "-", "--show-secrets"], event).await;
    exits(&shown, 0);
    let request = out(&shown);
    assert!(request.contains("POST https://ci.example.com/in/p%2Fq"), "{request}");
    assert!(request.to_lowercase().contains("x-note: a: b # \"c\" 7"), "{request}");
    assert!(request.contains("1.10") && request.contains("a\\nb"), "{request}");
}

#[tokio::test]
async fn what_would_not_load_is_not_written() {
    let folder = here();
    let nothing = |why: &str| {
        let written = fs::read_dir(folder.path().join("hooks.d")).map_or(0, Iterator::count);
        let kept = fs::read_dir(folder.path().join(".postrider/secrets.d")).map_or(0, Iterator::count);
        assert_eq!((written, kept), (0, 0), "{why}");
    };
    let new = |arguments: &'static [&'static str]| {
        let all: Vec<&str> = ["new"].into_iter().chain(arguments.iter().copied()).collect();
        let folder = folder.path();
        async move { piped(folder, &all, &format!("{ROBOT}\n")).await }
    };
    let cases: [(&[&str], i32, &str); 7] = [
        (&["ops", "--platform", "dingtak"], 1, "did you mean dingtalk?"),
        (&["ops", "--platform", "dingtalk", "-o", "mesage=x"], 2, "did you mean message?"),
        (&["ops", "--platform", "dingtalk", "-o", "message={{ nope("], 78, "nothing was written"),
        (&["ops", "--platform", "dingtalk", "--secret", "secret"], 2, "no answer to: secret"),
        (&["../ops", "--platform", "dingtalk"], 2, "cannot be the name of a hook"),
        (&["ops", "--platform", "webhook"], 2, "needs the option url"),
        (&["ops"], 2, "--platform"),
    ];
    for (arguments, code, words) in cases {
        let refused = new(arguments).await;
        exits(&refused, code);
        assert!(err(&refused).contains(words), "{arguments:?}: {}", err(&refused));
        assert!(!err(&refused).contains("geheim"), "{}", err(&refused));
        nothing(words);
    }
}

#[tokio::test]
async fn nothing_is_written_over() {
    let folder = here();
    let arguments = ["new", "mirror", "--platform", "webhook", "-o", "url=https://a.example/"];
    exits(&run(folder.path(), &arguments).await, 0);
    let again = run(folder.path(), &arguments).await;
    exits(&again, 1);
    assert!(err(&again).contains("hooks.d/mirror.yaml exists"), "{}", err(&again));
    let forced = ["new", "mirror", "--platform", "webhook", "-o", "url=https://b.example/", "--force"];
    exits(&run(folder.path(), &forced).await, 0);
    assert!(fs::read_to_string(folder.path().join("hooks.d/mirror.yaml")).expect("a hook").contains("b.example"));
}

#[tokio::test]
async fn units_that_fail_are_reported_but_not_in_a_circle() {
    let folder = here();
    let system = folder.path().join("system");
    let target = system.to_str().expect("a path");
    let arguments = [
        "new",
        "failures",
        "--platform",
        "webhook",
        "-o",
        "url=https://a.example/",
        "--systemd-failures",
        "--systemd-folder",
        target,
    ];
    exits(&run(folder.path(), &arguments).await, 0);
    let hook = fs::read_to_string(folder.path().join("hooks.d/failures.yaml")).expect("a hook");
    assert!(hook.contains("events: [\"systemd.unit.failed\"]"), "{hook}");
    let read = |name: &str| fs::read_to_string(system.join(name)).unwrap_or_else(|_| panic!("no {name}"));
    assert!(read("service.d/10-report-failures.conf").contains("OnFailure=postrider-failure@%n.service"));
    for exempt in ["postrider-failure@.service.d", "postrider.service.d"] {
        let text = read(&format!("{exempt}/10-report-failures.conf"));
        assert!(text.lines().any(|line| line == "OnFailure="), "{text}");
    }
}
