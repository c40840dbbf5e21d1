//! A delivery that kills the daemon does not kill it for ever, and nobody else suffers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::process::{Process, await_that};
use crate::support::{bodies, receiver, write_hook};
use postrider::edges::sink::SinkHandle;
use postrider::words::limits;

/// So little that a text which doubles is soon more.
const LITTLE: &str = "ulimit -d 262144";

/// Renders any event but one; that one is not among the events that a hook is tried with.
fn poison(sink: &SinkHandle) -> String {
    format!(
        "events: [a]\nplatform: webhook\noptions:\n  url: http://{}/poison\n  text: >-\n    poison {{{{ data.n }}}}\n    \
         {{% if data.word == 'now' %}}{{% set ns = namespace(s='x') %}}\
         {{% for i in range(60) %}}{{% set ns.s = ns.s ~ ns.s %}}{{% endfor %}}{{{{ ns.s | length }}}}{{% endif %}}\n",
        sink.addr
    )
}

fn healthy(sink: &SinkHandle) -> String {
    format!(
        "events: [a]\nplatform: webhook\noptions:\n  url: http://{}/healthy\n  text: \"healthy {{{{ data.n }}}}\"\n",
        sink.addr
    )
}

fn deliveries(daemon: &Process, hook: &str) -> Vec<Json> {
    daemon.rows(&format!("/v1/deliveries?hook={hook}"))
}

fn outcomes(daemon: &Process, hook: &str) -> Vec<String> {
    let mut rows = deliveries(daemon, hook);
    rows.sort_by_key(|row| row["delivery"].to_string());
    rows.iter().map(|row| row["outcome"].as_str().unwrap_or_default().to_owned()).collect()
}

fn start(folder: &Path) -> Process {
    Process::start_after(folder, LITTLE)
}

async fn folder() -> (TempDir, SinkHandle) {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "poison", &poison(&sink));
    write_hook(folder.path(), "healthy", &healthy(&sink));
    (folder, sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_kills_twice_is_dead_and_the_others_arrive() {
    let (folder, sink) = folder().await;
    let marker = folder.path().join(".postrider/state/rendering");
    let arrived = |text: &str| bodies(&sink).iter().any(|body| body.starts_with(text));

    let mut daemon = start(folder.path());
    daemon.await_ready();
    daemon.emit(&json!({"type": "a", "id": "e1", "data": {"n": 1, "word": "later"}})).expect("an answer");
    await_that("an ordinary event goes through both", || arrived("poison 1") && arrived("healthy 1"));
    let _killed_before_it_could_answer =
        daemon.emit(&json!({"type": "a", "id": "e2", "data": {"n": 2, "word": "now"}}));
    let death = daemon.await_death();
    assert!(!death.success(), "{death}");
    assert!(marker.exists(), "a death leaves its mark");

    // Nobody saw who did it, so it does it once more; what else is owed is not held up by it for ever.
    let mut daemon = start(folder.path());
    let death = daemon.await_death();
    assert!(!death.success(), "{death}");

    let mut daemon = start(folder.path());
    daemon.await_ready();
    await_that("the delivery is given up", || outcomes(&daemon, "poison") == ["delivered", "dead"]);
    await_that("the other hook has it", || outcomes(&daemon, "healthy") == ["delivered", "delivered"]);
    assert!(arrived("healthy 2"));
    let rows = deliveries(&daemon, "poison");
    let dead = rows.iter().find(|row| row["outcome"] == "dead").unwrap();
    let why = dead["why"].as_str().unwrap();
    assert!(why.contains("the process died twice before this was rendered"), "{dead}");
    assert!(why.contains("`text` needs more than 96 MiB of memory"), "{dead}");
    assert!(daemon.log().contains("given up so that the daemon lives"), "{}", daemon.log());
    let named = daemon.log().lines().any(|line| line.contains("given up") && line.contains("poison"));
    assert!(named, "the hook is named: {}", daemon.log());
    daemon.emit(&json!({"type": "a", "id": "e3", "data": {"n": 3, "word": "later"}})).expect("an answer");
    await_that("life goes on", || arrived("poison 3") && arrived("healthy 3"));

    // A new chance, and the same end: seen at once this time.
    let replayed = daemon.post("/v1/replay", &json!({"ids": [dead["delivery"]]}));
    assert!(replayed.is_none_or(|answer| answer["deliveries"].as_array().is_some_and(|ids| ids.len() == 1)));
    daemon.await_death();
    let mut daemon = start(folder.path());
    daemon.await_ready();
    await_that("it is given up again", || outcomes(&daemon, "poison") == ["delivered", "dead", "delivered"]);

    assert!(daemon.stop().success());
    assert!(!marker.exists(), "a good end leaves none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_that_kills_is_not_made_again_and_each_of_it_arrives_alone() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let hook = format!(
        "events: [b]\nplatform: mattermost\noptions: {{url: \"http://{}/\", message: \"n {{{{ data.n }}}}\"}}\n\
         verdict: [{{when: status == 200, delivered: true}}]\ndigest:\n  when: waiting > 1\n  template: >-\n    \
         {{% for e in events %}}n {{{{ e.data.n }}}};{{% if e.data.word == 'now' %}}{{% set ns = namespace(s='x') %}}\
         {{% for i in range(60) %}}{{% set ns.s = ns.s ~ ns.s %}}{{% endfor %}}{{{{ ns.s | length }}}}{{% endif %}}\
         {{% endfor %}}\n",
        sink.addr
    );
    write_hook(folder.path(), "digest", &hook);
    let mut daemon = start(folder.path());
    daemon.await_ready();
    daemon.post("/v1/hold", &json!({"hook": "digest", "why": "to collect some"})).expect("an answer");
    for (n, word) in [(1, "later"), (2, "now"), (3, "later")] {
        daemon.emit(&json!({"type": "b", "data": {"n": n, "word": word}})).expect("an answer");
    }
    let _killed_before_it_could_answer = daemon.post("/v1/release", &json!({"hook": "digest"}));
    daemon.await_death();
    // Nobody saw who did it; then all of them are suspects, and none of them is to blame alone.
    let mut daemon = start(folder.path());
    daemon.await_death();
    let mut daemon = start(folder.path());
    daemon.await_ready();
    await_that("each arrives", || outcomes(&daemon, "digest") == ["delivered", "delivered", "delivered"]);
    let said: std::collections::BTreeSet<String> = bodies(&sink).into_iter().collect();
    assert_eq!(said, [1, 2, 3].map(|n| format!("{{\"text\":\"n {n}\"}}")).into());
    assert!(daemon.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_hook_delivers_what_killed_the_daemon() {
    let (folder, sink) = folder().await;
    let mut daemon = start(folder.path());
    daemon.await_ready();
    let _killed = daemon.emit(&json!({"type": "a", "id": "e1", "data": {"n": 1, "word": "now"}}));
    daemon.await_death();
    write_hook(folder.path(), "poison", &healthy(&sink).replace("healthy {{", "mended {{"));
    let mut daemon = start(folder.path());
    daemon.await_ready();
    await_that("it is delivered", || outcomes(&daemon, "poison") == ["delivered"]);
    assert!(bodies(&sink).iter().any(|body| body == "mended 1"), "{:?}", bodies(&sink));
    assert!(daemon.stop().success());
}

/// A rule about answers that takes three long texts.
fn rule(when: &str) -> String {
    let long = |letter: char| format!("('{letter}' * (90000000 * status // 200))");
    format!("{when} and ({} ~ {} ~ {}) | length > 1", long('x'), long('y'), long('z'))
}

#[test]
fn a_rule_about_answers_that_takes_too_much_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hook = format!(
        "events: [a]\nplatform: webhook\nverdict:\n  - when: {}\n    delivered: true\noptions: {{url: http://h.example/}}\n",
        rule("status == 200")
    );
    write_hook(folder.path(), "judged", &hook);
    let mut daemon = start(folder.path());
    daemon.await_ready();
    let problems = daemon.get("/v1/status").unwrap()["problems"].clone();
    assert!(problems.to_string().contains("`verdict` needs more than 96 MiB of memory"), "{problems}");
    assert!(daemon.stop().success());
}

#[test]
fn an_answer_that_kills_whoever_judges_it_does_so_four_times() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = receiver.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in receiver.incoming().map_while(Result::ok) {
            // The request is small and comes at once.
            let mut stream = stream;
            let _read = stream.read(&mut [0; 4096]);
            let _said = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nboom");
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let hook = format!(
        "events: [a]\nplatform: webhook\nverdict:\n  - when: {}\n    delivered: true\noptions: {{url: \"http://{address}/\"}}\n",
        rule("text == 'boom'")
    );
    write_hook(folder.path(), "judged", &hook);
    let mut daemon = start(folder.path());
    daemon.await_ready();
    let _killed = daemon.emit(&json!({"type": "a", "id": "e1", "data": {}}));
    // Once unseen, then seen: no trial can repeat what a receiver says.
    for _ in 0..limits::RENDER_DEATHS {
        daemon.await_death();
        daemon = start(folder.path());
    }
    daemon.await_death();
    let mut daemon = start(folder.path());
    daemon.await_ready();
    await_that("it is given up", || outcomes(&daemon, "judged") == ["dead"]);
    let rows = deliveries(&daemon, "judged");
    assert_eq!(rows[0]["why"], "the process died 3 times while this was rendered or its answer judged");
    assert!(daemon.stop().success());
}
