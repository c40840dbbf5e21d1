//! Whoever writes a script of their own: begins with one that works, is told what is wrong with it in plain words, has its
//! cases filled in and run again at each change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use postrider::rules::cases::{bless, bless_source};
use postrider::rules::diagnostic::Source;
use postrider::rules::platform::Platforms;
use postrider::rules::source::SourceScripts;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::commands::{err, exits, out, postrider, run};
use crate::support::PATIENCE;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn here() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // What `run --here` makes: the other commands find this folder by it.
    fs::create_dir(folder.path().join(".postrider")).expect("a folder");
    fs::write(folder.path().join(".postrider/admin.sock"), "").expect("a file");
    folder
}

const SCRIPT: &str = "scripts/platforms/pager.rhai";
const CASES: &str = "scripts/platforms/pager.cases.yaml";

/// A folder with a script that was just begun.
async fn begun() -> tempfile::TempDir {
    let folder = here();
    exits(&run(folder.path(), &["new", "--script", "pager"]).await, 0);
    folder
}

fn change(folder: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(folder.join(file)).expect("a file");
    assert!(text.contains(from), "{from} is not in\n{text}");
    fs::write(folder.join(file), text.replacen(from, to, 1)).expect("a file");
}

#[tokio::test]
async fn a_script_that_is_begun_works_at_once() {
    let folder = here();
    let done = run(folder.path(), &["new", "--script", "pager"]).await;
    exits(&done, 0);
    assert_eq!(out(&done), format!("./{SCRIPT}\n./{CASES}\n"));
    for next in ["postrider script scripts/platforms/pager.rhai --watch", "--bless", "--platform pager"] {
        assert!(err(&done).contains(next), "{next}: {}", err(&done));
    }
    let cases = run(folder.path(), &["script", SCRIPT]).await;
    exits(&cases, 0);
    assert!(out(&cases).ends_with("8 passed, 0 failed\n"), "{}", out(&cases));
    let checked = run(folder.path(), &["check"]).await;
    exits(&checked, 0);
    assert_eq!((out(&checked).as_str(), err(&checked).as_str()), ("0 hooks fine, 8 tests run\n", ""));
    let hook = ["new", "mine", "--platform", "pager", "-o", "url=https://pager.example.com/", "--events", "a"];
    exits(&crate::commands::piped(folder.path(), &hook, "https://pager.example.com/7\n").await, 0);

    let again = run(folder.path(), &["new", "--script", "pager"]).await;
    exits(&again, 1);
    assert!(err(&again).contains("pager.rhai exists") && err(&again).contains("--force"), "{}", err(&again));
    exits(&run(folder.path(), &["new", "--script", "pager", "--force"]).await, 0);
    for bad in ["../x", "a b", "10-x", "pager.rhai", ""] {
        exits(&run(folder.path(), &["new", "--script", bad]).await, 2);
    }
}

#[tokio::test]
async fn one_that_would_replace_a_built_in_one_is_asked_for_twice() {
    let folder = here();
    let refused = run(folder.path(), &["new", "--script", "gotify"]).await;
    exits(&refused, 1);
    assert!(err(&refused).contains("a script of that name replaces it"), "{}", err(&refused));
    assert!(!folder.path().join("scripts").exists());
    exits(&run(folder.path(), &["new", "--script", "gotify", "--force"]).await, 0);
    let text = fs::read_to_string(folder.path().join("scripts/platforms/gotify.rhai")).expect("a copy");
    assert_eq!(text, fs::read_to_string(root().join("scripts/platforms/gotify.rhai")).expect("the original"));
    exits(&run(folder.path(), &["check"]).await, 0);
}

#[tokio::test]
async fn a_source_is_begun_in_the_same_way() {
    let folder = here();
    exits(&run(folder.path(), &["new", "--script", "shop", "--source"]).await, 0);
    let cases = run(folder.path(), &["script", "scripts/sources/shop.rhai"]).await;
    exits(&cases, 0);
    assert!(out(&cases).ends_with("6 passed, 0 failed\n"), "{}", out(&cases));
    fs::write(folder.path().join("postrider.yaml"), "sources: {shop: {}}\n").expect("a file");
    let checked = run(folder.path(), &["check"]).await;
    exits(&checked, 0);
    assert!(out(&checked).contains("6 tests run"), "{}", out(&checked));
    exits(&run(folder.path(), &["new", "--script", "github", "--source"]).await, 1);
    exits(&run(folder.path(), &["new", "--source"]).await, 2);
}

#[tokio::test]
async fn check_runs_the_cases_beside_a_script() {
    let folder = begun().await;
    change(folder.path(), CASES, "{text: disk full on db1}", "{text: disk empty}");
    for arguments in [&["check"][..], &["check", SCRIPT]] {
        let checked = run(folder.path(), arguments).await;
        exits(&checked, 78);
        for said in ["error[case]", "fails: the event's message, with the token", "json.text is \"disk full on db1\""] {
            assert!(err(&checked).contains(said), "{said}: {}", err(&checked));
        }
        assert!(err(&checked).contains("pager.cases.yaml:6:3"), "{}", err(&checked));
    }
    exits(&run(folder.path(), &["script", SCRIPT]).await, 1);
    let blessed = run(folder.path(), &["script", SCRIPT, "--bless"]).await;
    exits(&blessed, 0);
    exits(&run(folder.path(), &["check"]).await, 0);
    exits(&run(folder.path(), &["check", SCRIPT]).await, 0);
}

#[tokio::test]
async fn what_a_case_expects_is_written_by_the_script() {
    let folder = begun().await;
    let before = fs::read_to_string(folder.path().join(CASES)).expect("cases");
    let nothing = run(folder.path(), &["script", SCRIPT, "--bless"]).await;
    exits(&nothing, 0);
    assert!(out(&nothing).ends_with("8 passed, 0 blessed, 0 failed\n"), "{}", out(&nothing));
    assert_eq!(fs::read_to_string(folder.path().join(CASES)).expect("cases"), before);

    change(folder.path(), CASES, "json: {text: disk full on db1}", "json: {text: another}   # what it says");
    let new =
        "\n# one without\n- name: new\n  event: {data: {message: hi}}\n  options: {url: \"https://x.example/\"}\n";
    let text = fs::read_to_string(folder.path().join(CASES)).expect("cases");
    fs::write(folder.path().join(CASES), text + new).expect("cases");
    exits(&run(folder.path(), &["script", SCRIPT]).await, 78);
    let blessed = run(folder.path(), &["script", SCRIPT, "--bless"]).await;
    exits(&blessed, 0);
    let lines: Vec<String> =
        out(&blessed).lines().filter(|line| line.starts_with("blessed")).map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{}", out(&blessed));
    assert!(lines[0].contains("json.text is \"disk full on db1\", expected \"another\""), "{lines:?}");
    assert!(lines[1].contains("nothing was expected yet"), "{lines:?}");
    let added =
        "  expect: {method: POST, url: \"https://x.example/\", headers: {idempotency-key: case-1}, json: {text: hi}}\n";
    let now = before.replace("json: {text: disk full on db1}", "json: {text: disk full on db1}   # what it says");
    assert_eq!(fs::read_to_string(folder.path().join(CASES)).expect("cases"), now + new + added);

    change(folder.path(), SCRIPT, "let error =", "let error = nowhere(); let other =");
    let refused = run(folder.path(), &["--json", "script", SCRIPT, "--bless"]).await;
    exits(&refused, 1);
    let rows: Vec<Json> = out(&refused).lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let failed = rows.iter().filter(|row| row["passed"] == false && row["blessed"] == false).count();
    assert!(rows.len() == 9 && failed == 2, "{rows:?}");
    let refused = run(folder.path(), &["script", SCRIPT, "--bless"]).await;
    assert!(out(&refused).contains("not blessed: scripts/platforms/pager.rhai:4"), "{}", out(&refused));
}

#[test]
fn blessing_the_cases_of_every_built_in_script_changes_no_byte() {
    let (platforms, sources) = (Platforms::built_in(), SourceScripts::built_in());
    let mut looked = 0;
    for (folder, all) in [("tests/platforms", platforms.0.len()), ("tests/sources", sources.0.len())] {
        let files = files(folder, "yaml");
        assert_eq!(files.len(), all, "{folder}");
        for file in files {
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
            let cases = Source::new(file.display().to_string(), fs::read_to_string(&file).expect("cases"));
            let load = |name: &str| fs::read(root().join(folder).join(name)).map_err(|error| error.to_string());
            let blessed = match platforms.get(name).filter(|_| folder.ends_with("platforms")) {
                Some(platform) => bless(platform, &cases),
                None => bless_source(&Arc::clone(&sources.0[name]), &cases, &load),
            };
            let blessed = blessed.unwrap_or_else(|found| panic!("{}: {found:?}", file.display()));
            assert_eq!(blessed.text, None, "{}: {:?}", file.display(), blessed.cases);
            looked += blessed.cases.len();
        }
    }
    assert!(looked > 600, "only {looked} cases");
}

/// Where the expectation of a case begins and ends in its text: the simplest rule that finds those of our own files.
fn without_expectations(text: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let goes_on = inside && (line.starts_with("    ") || line.trim().is_empty());
        inside = goes_on || line.starts_with("  expect:");
        if !inside {
            kept.push_str(line);
        }
    }
    kept
}

#[test]
fn every_expectation_of_our_own_cases_can_be_made_again() {
    let platforms = Platforms::built_in();
    let mut made = 0;
    for file in files("tests/platforms", "yaml") {
        let platform = &platforms.0[file.file_stem().and_then(|name| name.to_str()).expect("a name")];
        let text = fs::read_to_string(&file).expect("cases");
        let bare = without_expectations(&text);
        let blessed =
            bless(platform, &Source::new("bare.yaml", bare.clone())).unwrap_or_else(|found| panic!("{found:?}"));
        let Some(now) = &blessed.text else { continue };
        made += blessed.cases.iter().filter(|case| !case.differences.is_empty()).count();
        let refused: Vec<_> = blessed
            .cases
            .iter()
            .filter(|case| matches!(&case.fate, postrider::rules::cases::Fate::Refused(why) if !why.contains("error[") && !why.contains("the case has no secret")))
            .collect();
        assert!(refused.is_empty(), "{}: {refused:#?}", file.display());
        // What was not there before is the expectations and nothing else.
        assert_eq!(without_expectations(now), bare, "{}", file.display());
        let again = bless(platform, &Source::new("now.yaml", now.clone())).unwrap_or_else(|found| panic!("{found:?}"));
        assert_eq!(again.text, None, "{}", file.display());
    }
    assert!(made > 200, "only {made} expectations were made");
}

/// A `script --watch` that goes on.
struct Watch {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["script"].iter().chain(arguments).chain(&["--watch"]).copied().collect();
        let mut child =
            postrider(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// Every line up to one that begins so.
    async fn until(&mut self, begin: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line =
                timeout(PATIENCE, self.lines.next_line()).await.unwrap_or_else(|_| panic!("{begin} after {seen:?}"));
            let line = line.expect("a line").unwrap_or_else(|| panic!("it ended: {seen:?}"));
            seen.push(line);
            if seen.last().is_some_and(|line| line.starts_with(begin)) {
                return seen;
            }
        }
    }

    async fn stop(mut self, signal: Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("an id");
        kill_process(id, signal).expect("a signal");
        let end = timeout(PATIENCE, self.child.wait()).await.expect("an end").expect("a status");
        assert_eq!(end.code(), Some(0));
        let rest = timeout(PATIENCE, self.lines.next_line()).await.expect("an end").expect("a line");
        assert_eq!(rest, None, "nothing is said at the end");
    }
}

#[tokio::test]
async fn a_script_is_run_again_at_each_change() {
    let folder = begun().await;
    let folder = folder.path();
    let mut watch = Watch::start(folder, &[SCRIPT]);
    assert_eq!(watch.until("8 passed").await.len(), 9);
    // Written in place, as some editors do.
    change(folder, SCRIPT, "\"Bearer \"", "\"Token \"");
    assert_eq!(watch.until("---").await, ["--- pager.rhai changed"]);
    watch.until("7 passed, 1 failed").await;
    // Renamed over it, as others do.
    let cases = fs::read_to_string(folder.join(CASES)).expect("cases").replace("Bearer s3cret", "Token s3cret");
    fs::write(folder.join("scripts/platforms/.pager.new"), cases).expect("a file");
    fs::rename(folder.join("scripts/platforms/.pager.new"), folder.join(CASES)).expect("a rename");
    assert_eq!(watch.until("---").await, ["--- pager.cases.yaml changed"]);
    watch.until("8 passed, 0 failed").await;
    // Moved away, and written anew; what cannot be read meanwhile is waited for.
    let script = fs::read_to_string(folder.join(SCRIPT)).expect("a script");
    fs::rename(folder.join(SCRIPT), folder.join("scripts/platforms/pager.rhai~")).expect("a rename");
    assert_eq!(watch.until("---").await, ["--- pager.rhai changed"]);
    fs::write(folder.join(SCRIPT), script.replace("fn request", "fn reqest")).expect("a script");
    assert_eq!(watch.until("---").await, ["--- pager.rhai changed"]);
    fs::write(folder.join(SCRIPT), script).expect("a script");
    watch.until("---").await;
    assert_eq!(watch.until("8 passed").await.len(), 9);
    watch.stop(Signal::INT).await;
}

#[tokio::test]
async fn a_request_is_shown_again_when_its_event_changes() {
    let folder = begun().await;
    let folder = folder.path();
    fs::write(folder.join("event.json"), r#"{"type": "t", "data": {"message": "one"}}"#).expect("an event");
    let options = "{url: \"https://pager.example.com/\"}";
    let mut watch = Watch::start(folder, &[SCRIPT, "--event", "event.json", "--options", options]);
    watch.until("{\"text\":\"one\"}").await;
    fs::write(folder.join("event.json"), r#"{"type": "t", "data": {"message": "two"}}"#).expect("an event");
    // The body of a request ends without a line break.
    assert_eq!(watch.until("---").await.len(), 1);
    watch.until("{\"text\":\"two\"}").await;
    watch.stop(Signal::TERM).await;
    exits(&run(folder, &["script", SCRIPT, "--event", "-", "--watch"]).await, 2);
    exits(&run(folder, &["script", SCRIPT, "--bless", "--watch"]).await, 2);
}

#[tokio::test]
async fn the_samples_that_cases_name_are_watched_too() {
    let folder = here();
    let folder = folder.path();
    exits(&run(folder, &["new", "--script", "shop", "--source"]).await, 0);
    fs::create_dir(folder.join("samples")).expect("a folder");
    fs::write(folder.join("samples/sold.json"), r#"{"type": "sold"}"#).expect("a sample");
    let case = "- request: {file: samples/sold.json}\n  expect: {events: [{type: shop.sold}]}\n";
    fs::write(folder.join("cases.yaml"), case).expect("cases");
    let mut watch = Watch::start(folder, &["scripts/sources/shop.rhai", "--cases", "cases.yaml"]);
    watch.until("1 passed, 0 failed").await;
    fs::write(folder.join("samples/sold.json"), r#"{"type": "paid"}"#).expect("a sample");
    assert_eq!(watch.until("---").await, ["--- sold.json changed"]);
    watch.until("0 passed, 1 failed").await;
    watch.stop(Signal::INT).await;
}

#[tokio::test]
async fn an_answer_is_judged_on_the_command_line() {
    let folder = begun().await;
    let folder = folder.path();
    fs::write(folder.join("answer.http"), "HTTP/1.1 429 Too Many Requests\nRetry-After: 7\n\n").expect("a file");
    for (answer, said) in [
        ("401", "hold: 401 Unauthorized: the receiver refuses our credentials\n"),
        ("{\"error\": \"unknown team\"}", "reject: error: unknown team\n"),
        ("{\"ok\": true}", "delivered\n"),
        ("answer.http", "pause: 429 Too Many Requests (wait 7s)\n"),
    ] {
        let judged = run(folder, &["script", SCRIPT, "--answer", answer]).await;
        exits(&judged, 0);
        assert_eq!(out(&judged), said);
    }
    let row = run(folder, &["--json", "script", SCRIPT, "--answer", "answer.http"]).await;
    let row: Json = serde_json::from_str(&out(&row)).expect("an object");
    assert_eq!((&row["verdict"], &row["wait_s"], &row["warning"]), (&"pause".into(), &7.into(), &Json::Null));
}

/// Words of the workshop, which mean nothing to a person who writes a script.
const FOREIGN: [&str; 9] =
    ["getter", "registered", "bool", "i64", "string", "Dynamic", "ImmutableString", "rhai::", "token"];

#[tokio::test]
async fn every_usual_mistake_is_told_with_its_place_and_a_remedy() {
    let folder = root().join("tests/mistakes");
    let blessing = std::env::var_os("BLESS").is_some();
    let files = files("tests/mistakes", "rhai");
    assert!(files.len() >= 30, "only {} mistakes", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let judges = fs::read_to_string(&file).expect("a script").contains("fn verdict");
        let event = ["--event", r#"{"type": "t", "data": {"m": "hi"}}"#, "--options", "{url: \"https://h.example/\"}"];
        let mut arguments = vec!["script", name.as_str()];
        arguments.extend(if judges { &["--answer", "{\"a\": 1}"][..] } else { &event[..] });
        let done = run(&folder, &arguments).await;
        assert_ne!(done.status.code(), Some(0), "{name} is no mistake: {}", out(&done));
        let said = err(&done);
        let place = format!(" --> {name}:");
        if !said.contains(&place) || !said.contains("^") || !said.contains("= help: ") {
            wrong.push(format!("{name} has no place, caret or help:\n{said}"));
        }
        let told: String = said.lines().filter(|line| line.starts_with("error") || line.contains("= ")).collect();
        wrong.extend(
            FOREIGN.iter().filter(|word| told.contains(**word)).map(|word| format!("{name} says {word}:\n{said}")),
        );
        let expected = file.with_extension("expected");
        if blessing {
            fs::write(&expected, &said).expect("a file");
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{name} says otherwise (BLESS=1 writes it):\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
