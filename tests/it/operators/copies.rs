//! A copy of the journal, made while it is in use, is a journal.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use postrider::edges::config::Paths;
use serde_json::json;

use super::{does, emit, hook, rows};
use crate::commands::{err, exits, run};
use crate::support::{Daemon, bodies, receiver, write_hook};

#[tokio::test]
async fn another_daemon_goes_on_from_a_copy() {
    let sink = receiver().await;
    let text = hook("a", &sink.url(""), "");
    let daemon = Daemon::start(&[("one", &text)]).await;
    let folder = daemon.folder.path();
    emit(&daemon, "a", 3).await;
    daemon.until_all("one", "delivered").await;
    does(folder, &["hold", "one", "--reason", "we move house"]).await;
    daemon.emit(&json!({"type": "a", "id": "last", "data": {"n": 4}})).await;

    let other = tempfile::tempdir().expect("a folder");
    let state = Paths::here(other.path()).state;
    fs::create_dir_all(&state).expect("a folder");
    let to = state.join("journal.db");
    let to = to.to_str().expect("text");
    let copied = &rows(folder, &["backup", to]).await[0];
    assert_eq!(
        (copied["file"].as_str(), copied["bytes"].as_u64()),
        (Some(to), fs::metadata(to).ok().map(|file| file.len()))
    );
    assert_eq!(fs::metadata(to).expect("a file").permissions().mode() & 0o777, 0o600);
    let again = run(folder, &["backup", to]).await;
    exits(&again, 1);
    assert!(err(&again).contains("is there already") && err(&again).contains("--force"), "{}", err(&again));
    let forced = does(folder, &["backup", "--force", to]).await;
    assert!(err(&forced).contains("MiB") && !err(&forced).contains('%'), "progress is for terminals: {}", err(&forced));
    let nowhere = run(folder, &["backup", "no/such/folder/x"]).await;
    exits(&nowhere, 1);
    assert!(err(&nowhere).contains("make the folder first"), "{}", err(&nowhere));
    let own = Paths::here(folder).state.join("journal.db");
    let own = run(folder, &["backup", "--force", own.to_str().expect("text")]).await;
    exits(&own, 1);
    assert!(err(&own).contains("is the journal itself"), "{}", err(&own));
    let left = daemon.deliveries("one").await;
    drop(daemon.stop().await);

    // Everything is there: what was delivered, what waits, and the hold.
    write_hook(other.path(), "one", &text);
    let daemon = Daemon::start_in(other).await;
    let found = daemon.deliveries("one").await;
    assert_eq!(found.len(), 4);
    for (before, after) in left.iter().zip(&found) {
        assert_eq!((&before.delivery, &before.outcome, before.time), (&after.delivery, &after.outcome, after.time));
    }
    does(daemon.folder.path(), &["release", "one"]).await;
    daemon.until_all("one", "delivered").await;
    assert_eq!(bodies(&sink), [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":4}"#]);
    daemon.stop().await;
}
