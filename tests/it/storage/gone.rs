//! The journal is moved or deleted under the daemon's feet, or is not there when it starts.

use std::fs;
use std::time::Instant;

use serde_json::json;

use crate::delivering::webhook;
use crate::process::{Process, await_that};
use crate::support::{PATIENCE, receiver, write_hook};

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_taken_away_is_noticed_without_traffic_and_never_begun_anew() {
    let sink = receiver().await;
    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "hook", &webhook(&sink.url(""), ""));
    let state = folder.path().join(".postrider/state");
    let (file, away) = (state.join("journal.db"), state.join("away.db"));
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    assert_eq!(daemon.emit(&json!({"type": "thing", "id": "first"})).unwrap()["id"], "first");
    assert!(sink.wait_for(1, PATIENCE).await);

    let trouble = |daemon: &Process| {
        let status = daemon.get("/v1/status").unwrap();
        (status["storage"]["trouble"].as_str().unwrap_or_default().to_owned(), status["hooks"][0]["state"].clone())
    };
    fs::rename(&file, &away).unwrap();
    let began = Instant::now();
    await_that("it is noticed", || trouble(&daemon).0.contains("was moved or deleted while it was in use"));
    println!("a journal that was moved away was noticed after {:?}", began.elapsed());
    assert_eq!(trouble(&daemon).1, "storage");
    assert_eq!(daemon.get("/readyz").unwrap()["ok"], false);
    let refused = daemon.emit(&json!({"type": "thing", "id": "second"})).unwrap();
    assert_eq!(refused["error"]["code"], "unavailable", "{refused}");
    assert!(!file.exists(), "nothing begins a new one");

    fs::rename(&away, &file).unwrap();
    await_that("it goes on by itself", || daemon.get("/readyz").is_some_and(|health| health["ok"] == true));
    assert_eq!(daemon.emit(&json!({"type": "thing", "id": "second"})).unwrap()["duplicate"], false);
    assert!(sink.wait_for(2, PATIENCE).await);

    fs::remove_file(&file).unwrap();
    await_that("it is noticed again", || !trouble(&daemon).0.is_empty());
    daemon.stop();
    let mut daemon = Process::start(folder.path());
    assert!(!daemon.await_death().success());
    let said = daemon.log();
    assert!(said.contains("journal.db is missing, and a journal was kept here: put it back"), "{said}");
    assert!(said.contains("remove ./.postrider/state/journal.id") || said.contains("state/journal.id"), "{said}");
    assert!(!file.exists(), "nothing begins a new one");
    for name in ["journal.id", "journal.db-wal", "journal.db-shm"] {
        let _may_be_gone = fs::remove_file(state.join(name));
    }
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    assert_eq!(daemon.emit(&json!({"type": "thing", "id": "first"})).unwrap()["duplicate"], false, "as it was told");
}
