//! The recipes of `examples/`: each is run with what its tool gives it, and its event arrives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use postrider::edges::sink::SinkHandle;
use serde_json::{Value as Json, json};
use tokio::process::Command;

use crate::commands::{err, exits, out};
use crate::support::{Daemon, PATIENCE, receiver, send, test_file};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn read(recipe: &str) -> String {
    fs::read_to_string(examples().join(recipe)).unwrap_or_else(|error| panic!("{recipe}: {error}"))
}

/// A daemon whose only receiver gets type and data of everything, and a folder for programs.
struct House {
    daemon: Daemon,
    sink: SinkHandle,
}

impl House {
    async fn new() -> Self {
        let sink = receiver().await;
        let body = "json: {type: \"{{ event.type }}\", id: \"{{ event.id }}\", data: \"{{ data }}\"}";
        let hook = format!("events: [\"*\"]\nplatform: webhook\noptions:\n  url: \"{}\"\n  {body}\n", sink.url(""));
        let daemon = Daemon::start(&[("all", &hook)]).await;
        fs::create_dir(daemon.folder.path().join("bin")).expect("a folder");
        Self { daemon, sink }
    }

    fn folder(&self) -> &Path {
        self.daemon.folder.path()
    }

    fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.folder().join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// Runs it where the daemon is found, with nothing in the environment but this.
    async fn run(&self, program: impl AsRef<Path>, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let ours = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().expect("a folder");
        let path = format!("{}:{}:/usr/bin:/bin", self.folder().join("bin").display(), ours.display());
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(self.folder()).env_clear().env("PATH", path);
        command.envs(environment.iter().copied()).output().await.expect("it runs")
    }

    /// What arrived as the event of this number.
    async fn arrived(&self, number: usize) -> Json {
        assert!(self.sink.wait_for(number as u64, PATIENCE).await, "event {number} never arrived");
        let body = &self.sink.records()[number - 1].request.body;
        serde_json::from_slice(body).expect("JSON")
    }
}

#[tokio::test]
async fn shell_functions_tell_of_a_script_that_fails() {
    let house = House::new().await;
    let file = examples().join("shell/on-failure.sh").display().to_string();
    let script = |end: &str| format!("set -eu\n. '{file}'\npostrider_on_failure nightly.failed\n{end}");
    for shell in ["sh", "bash"] {
        let fine = house.program("fine", &script("echo fine"));
        exits(&house.run(shell, &[&fine.display().to_string()], &[]).await, 0);
    }
    let bad = house.program("bad", &script("echo begun; false; echo never"));
    let done = house.run(&bad, &[], &[]).await;
    exits(&done, 1);
    assert_eq!((out(&done), err(&done)), ("begun\n".to_owned(), String::new()));
    let event = house.arrived(1).await;
    assert_eq!(event["type"], "nightly.failed");
    assert_eq!(event["data"]["exit_code"], 1);
    assert!(event["data"]["script"].as_str().expect("text").ends_with("bin/bad"), "{event}");
    assert_eq!(house.sink.records().len(), 1, "what went well is not told");
}

#[tokio::test]
async fn cron_tells_of_a_job_that_fails() {
    let house = House::new().await;
    house.program("nightly", "echo 'the disk is full' >&2; exit 28");
    let table = read("cron/postrider-nightly");
    let line = table.lines().find(|line| line.contains("postrider wrap")).expect("a line of cron");
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(&fields[..6], ["17", "3", "*", "*", "*", "root"]);
    assert!(table.contains("SHELL=/bin/sh\n") && table.contains("PATH="), "{table}");
    // The sixth field of a system's table is the user, what follows is for the shell.
    let command = fields[6..].join(" ").replace("/usr/local/sbin/nightly", "nightly");
    let done = house.run("/bin/sh", &["-c", &command], &[("HOME", "/root"), ("LOGNAME", "root")]).await;
    exits(&done, 28);
    assert_eq!(err(&done), "the disk is full\n");
    let event = house.arrived(1).await;
    assert_eq!((&event["type"], &event["data"]["output_tail"]), (&json!("cron.failed"), &json!("the disk is full")));
}

#[tokio::test]
async fn certbot_tells_of_a_renewed_certificate() {
    let house = House::new().await;
    let given =
        [("RENEWED_LINEAGE", "/etc/letsencrypt/live/example.org"), ("RENEWED_DOMAINS", "example.org www.example.org")];
    exits(&house.run(examples().join("certbot/postrider"), &[], &given).await, 0);
    let event = house.arrived(1).await;
    assert_eq!(event["type"], "certbot.renewed");
    assert_eq!(event["data"]["certificate"], "example.org");
    assert_eq!(event["data"]["domains"], "example.org www.example.org");
}

#[tokio::test]
async fn restic_is_itself_and_tells_how_it_ended() {
    let house = House::new().await;
    house.program("restic", "echo \"snapshot of $2\"; echo 'cannot read secret' >&2; exit 3");
    let done = house.run(examples().join("restic/restic-told"), &["backup", "/home dir"], &[]).await;
    exits(&done, 3);
    assert_eq!((out(&done).as_str(), err(&done).as_str()), ("snapshot of /home dir\n", "cannot read secret\n"));
    let event = house.arrived(1).await;
    assert_eq!((&event["type"], &event["data"]["exit_code"]), (&json!("restic.backup"), &json!(3)));
    assert_eq!(event["data"]["command"], "restic backup '/home dir'");
}

#[tokio::test]
async fn smartd_tells_of_a_disk_once() {
    let house = House::new().await;
    let message = "Device: /dev/sda [SAT], 8 Currently unreadable (pending) \"sectors\"";
    let given = [
        ("SMARTD_DEVICE", "/dev/sda"),
        ("SMARTD_DEVICETYPE", "sat"),
        ("SMARTD_DEVICEINFO", "WDC WD40EFRX, S/N:WD-1, 4.00 TB"),
        ("SMARTD_FAILTYPE", "CurrentPendingSector"),
        ("SMARTD_MESSAGE", message),
        ("SMARTD_TFIRST", "Sun Nov 22 03:00:00 2026 UTC"),
        ("SMARTD_TFIRSTEPOCH", "1795316400"),
        ("SMARTD_PREVCNT", "0"),
    ];
    let recipe = examples().join("smartd/postrider");
    exits(&house.run(&recipe, &[], &given).await, 0);
    exits(&house.run(&recipe, &[], &given).await, 0);
    let mut reminder = given;
    reminder[7].1 = "1";
    exits(&house.run(&recipe, &[], &reminder).await, 0);
    let event = house.arrived(1).await;
    assert_eq!(event["type"], "smartd.CurrentPendingSector");
    assert_eq!(event["data"]["message"], message);
    assert_eq!(house.arrived(2).await["data"]["told_before"], 1, "the same warning again is no other event");
    // A test of the set-up has little to say.
    exits(&house.run(&recipe, &[], &[("SMARTD_FAILTYPE", "EmailTest"), ("SMARTD_DEVICE", "/dev/sda")]).await, 0);
    assert_eq!(house.arrived(3).await["type"], "smartd.EmailTest");
}

/// The sections of an ini file: a line that is indented goes on with the one before.
fn ini(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no key in {line}"));
        let known = sections.entry(section.clone()).or_default().insert(key.trim().to_owned(), value.trim().to_owned());
        assert_eq!(known, None, "{key} is there twice");
    }
    sections
}

#[tokio::test]
async fn fail2ban_tells_of_bans() {
    let house = House::new().await;
    let action = ini(&read("fail2ban/postrider.conf"));
    let definition = &action["Definition"];
    assert_eq!(definition["norestored"], "1");
    assert_eq!(action["Init"]["name"], "default");
    let tags =
        [("name", "sshd"), ("ip", "2001:db8::7"), ("failures", "5"), ("bantime", "600"), ("time", "1795316400.25")];
    for key in ["actionban", "actionunban"] {
        let mut command = definition[key].clone();
        for (tag, value) in tags {
            command = command.replace(&format!("<{tag}>"), value);
        }
        assert!(!command.contains('<') && !command.contains('%'), "{command}");
        exits(&house.run("/bin/sh", &["-c", &command], &[]).await, 0);
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let ban = house.arrived(1).await;
    assert_eq!((&ban["type"], &ban["id"]), (&json!("fail2ban.ban"), &json!("fail2ban-sshd-2001:db8::7-1795316400.25")));
    let data = json!({"jail": "sshd", "ip": "2001:db8::7", "failures": 5, "seconds": 600, "host": host.trim()});
    assert_eq!(ban["data"], data);
    assert_eq!(house.arrived(2).await["type"], "fail2ban.unban");
}

/// The main file that a recipe shows in its comments.
fn main_file(recipe: &str) -> String {
    let shown = recipe.lines().filter_map(|line| line.strip_prefix("#   "));
    let text: String = shown.map(|line| format!("{line}\n")).collect();
    text.replace("listen: {http: 127.0.0.1:8470}\n", "")
}

fn yaml(text: &str) -> Json {
    serde_yaml::from_str(text).expect("YAML")
}

#[tokio::test]
async fn alertmanager_is_a_source() {
    let house = House::new().await;
    let recipe = read("alertmanager/alertmanager.yml");
    house.daemon.put_secret("alertmanager", "al3rt");
    house.daemon.put_main(&main_file(&recipe)).await;
    let config = yaml(&recipe);
    assert_eq!(config["route"]["receiver"], config["receivers"][0]["name"]);
    let receiver = &config["receivers"][0]["webhook_configs"][0];
    assert_eq!(receiver["send_resolved"], true);
    let target = receiver["url"].as_str().and_then(|url| url.strip_prefix("http://127.0.0.1:8470")).expect("a URL");
    assert_eq!(receiver["http_config"]["authorization"]["type"], "Bearer");
    let body = test_file("events/alertmanager-firing.json");
    let headers = |token| [("content-type", "application/json"), ("authorization", token)];
    assert_eq!(send(&house.daemon.http, "POST", target, &headers("Bearer guess"), &body).await.status, 401);
    assert_eq!(send(&house.daemon.http, "POST", target, &headers("Bearer al3rt"), &body).await.status, 202);
    assert_eq!(house.arrived(1).await["type"], "alertmanager.firing");
}

#[tokio::test]
async fn grafana_is_a_source_that_signs() {
    let house = House::new().await;
    let recipe = read("grafana/contact-point.yaml");
    house.daemon.put_secret("grafana-hmac", "hm4c");
    house.daemon.put_main(&main_file(&recipe)).await;
    let receiver = &yaml(&recipe)["contactPoints"][0]["receivers"][0];
    assert_eq!((&receiver["type"], &receiver["settings"]["httpMethod"]), (&json!("webhook"), &json!("POST")));
    let url = receiver["settings"]["url"].as_str().expect("a URL");
    let target = url.strip_prefix("http://127.0.0.1:8470").expect("the address of the main file");
    let header = receiver["settings"]["hmacConfig"]["header"].as_str().expect("a header");
    let body = test_file("events/grafana-firing.json");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"hm4c");
    let signature: String = ring::hmac::sign(&key, &body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = |signature| [("content-type", "application/json"), (header, signature)];
    assert_eq!(send(&house.daemon.http, "POST", target, &headers("00"), &body).await.status, 401);
    assert_eq!(send(&house.daemon.http, "POST", target, &headers(&signature), &body).await.status, 202);
    assert_eq!(house.arrived(1).await["type"], "grafana.firing");
}

/// Nobody adds a recipe that nothing runs.
#[test]
fn every_recipe_is_run() {
    let here = include_str!("recipes.rs");
    let mut found = 0;
    for folder in fs::read_dir(examples()).expect("a folder") {
        for file in fs::read_dir(folder.expect("an entry").path()).expect("a folder") {
            let path = file.expect("an entry").path();
            let name = path.strip_prefix(examples()).expect("a recipe").display().to_string();
            assert!(here.contains(&format!("\"{name}\"")), "{name} is run by no test");
            found += 1;
        }
    }
    assert!(found >= 8, "{found} recipes");
}
