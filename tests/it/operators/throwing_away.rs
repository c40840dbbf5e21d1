//! What is dropped is not sent, what is being sent is not dropped, and who did it stays on record.

use postrider::edges::sink::Step;
use serde_json::json;

use super::{does, emit, hook, rows};
use crate::commands::{err, exits, out, piped, run};
use crate::support::{Daemon, PATIENCE, bodies, receiver};

#[tokio::test]
async fn what_waits_is_dropped_by_name_by_hook_and_by_reason() {
    let sink = receiver().await;
    let daemon =
        Daemon::start(&[("one", &hook("a", &sink.url("/1"), "")), ("two", &hook("b", &sink.url("/2"), ""))]).await;
    let folder = daemon.folder.path();
    for name in ["one", "two"] {
        does(folder, &["hold", name, "--reason", "we move house"]).await;
    }
    emit(&daemon, "a", 4).await;
    emit(&daemon, "b", 4).await;
    exits(&run(folder, &["drop", "--hook", "one"]).await, 2);
    exits(&run(folder, &["drop", "--yes"]).await, 2);
    let would = &rows(folder, &["drop", "--why", "hold", "--where", "n <= 2", "--dry-run"]).await[0];
    assert_eq!((&would["count"], &would["hooks"]), (&json!(4), &json!({"one": 2, "two": 2})));

    let first = daemon.deliveries("one").await[0].delivery.clone();
    let done = does(folder, &["drop", "--yes", &first, "--reason", "was a test"]).await;
    assert!(err(&done).contains("dropped 1 delivery: 1 of one"), "{}", err(&done));
    let shown = &rows(folder, &["show", &first]).await[0];
    assert_eq!(shown["outcome"], "dropped");
    let me = String::from_utf8(std::process::Command::new("id").arg("-un").output().expect("id").stdout).expect("text");
    assert_eq!(shown["why"], format!("dropped by {}: was a test", me.trim()));
    let again = run(folder, &["drop", "--yes", &first]).await;
    exits(&again, 1);
    assert!(err(&again).contains("it is dropped"), "{}", err(&again));

    let waiting = run(folder, &["--json", "queue", "--hook", "one", "-n", "2"]).await;
    exits(&piped(folder, &["drop", "--yes", "-"], &out(&waiting)).await, 0);
    does(folder, &["drop", "--hook", "two", "--yes"]).await;
    for name in ["one", "two"] {
        does(folder, &["release", name]).await;
    }
    daemon.until("one", |rows| rows.iter().any(|row| row.outcome == "delivered")).await;
    let outcomes: Vec<_> = daemon.deliveries("one").await.into_iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, ["dropped", "dropped", "dropped", "delivered"]);
    assert_eq!(bodies(&sink), [r#"{"n":4}"#]);

    // By its id it may still go out.
    does(folder, &["replay", &first]).await;
    assert!(sink.wait_for(2, PATIENCE).await);
    assert_eq!(bodies(&sink)[1], r#"{"n":1}"#);
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_being_sent_ends_as_it_ends_and_what_is_behind_it_may_go() {
    let sink = receiver().await;
    sink.script(Step { delay_ms: 1500, ..Step::default() }).expect("a step");
    let orderly = hook("a", &sink.url(""), "order_by: \"k{{ event.type }}\"\nconcurrency: 2\n");
    let daemon = Daemon::start(&[("orderly", &orderly)]).await;
    let folder = daemon.folder.path();
    emit(&daemon, "a", 4).await;
    assert!(sink.wait_for(1, PATIENCE).await);
    // The second is dropped from behind the first: the third goes next, and not before the first has arrived.
    let rows = daemon.deliveries("orderly").await;
    let both = run(folder, &["drop", "--yes", &rows[0].delivery, &rows[1].delivery]).await;
    exits(&both, 1);
    assert!(
        err(&both).contains("dropped 1 delivery") && err(&both).contains("it is being sent right now"),
        "{}",
        err(&both)
    );
    daemon.until("orderly", |rows| rows.iter().all(|row| row.outcome != "waiting")).await;
    let outcomes: Vec<_> = daemon.deliveries("orderly").await.into_iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, ["delivered", "dropped", "delivered", "delivered"]);
    assert_eq!(bodies(&sink), [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":4}"#]);
    daemon.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_file_that_is_gone_can_be_dropped() {
    let sink = receiver().await;
    let daemon = Daemon::start(&[("gone", &hook("a", &sink.url(""), ""))]).await;
    let folder = daemon.folder.path();
    does(folder, &["hold", "gone", "--reason", "soon"]).await;
    emit(&daemon, "a", 3).await;
    daemon.remove_hook("gone").await;
    let page = out(&does(folder, &["status"]).await);
    assert!(page.contains("postrider drop --hook gone"), "{page}");
    does(folder, &["drop", "--hook", "gone", "--yes", "--reason", "no such robot"]).await;
    daemon.until_all("gone", "dropped").await;
    assert!(err(&does(folder, &["queue"]).await).contains("nothing waits"));
    daemon.stop().await;
}
