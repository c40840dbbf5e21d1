//! What waits for another try is tried now; what the receiver asked for stays.

use postrider::edges::sink::Step;

use super::{does, emit, hook, rows};
use crate::commands::out;
use crate::support::{Daemon, PATIENCE, receiver};

const LATER: &str = "retry: {first: 1h, max: 1h}\n";

#[tokio::test]
async fn a_flush_tries_again_and_probes_but_keeps_pauses_and_holds() {
    let (late, broken, paused, held) = (receiver().await, receiver().await, receiver().await, receiver().await);
    late.script(Step::status(503).times(3)).expect("a step");
    broken.script(Step::status(503)).expect("a step");
    paused.script(Step::status(429).header("retry-after", "600")).expect("a step");
    held.script(Step::status(410)).expect("a step");
    let one_by_one = format!("{LATER}concurrency: 1\n");
    let daemon = Daemon::start(&[
        ("late", &hook("late", &late.url(""), &format!("{LATER}breaker: false\n"))),
        ("broken", &hook("broken", &broken.url(""), &format!("{one_by_one}breaker: {{failures: 1, probe: 10m}}\n"))),
        ("paused", &hook("paused", &paused.url(""), &one_by_one)),
        ("held", &hook("held", &held.url(""), &one_by_one)),
    ])
    .await;
    let folder = daemon.folder.path();
    for kind in ["late", "broken", "paused", "held"] {
        emit(&daemon, kind, 3).await;
    }
    daemon.until("late", |rows| rows.iter().all(|row| row.attempts == 1)).await;
    daemon.until("broken", |rows| rows.iter().any(|row| row.attempts == 1)).await;
    daemon.until("paused", |rows| rows.iter().any(|row| row.why.starts_with("pause"))).await;
    daemon.until("held", |rows| rows.iter().any(|row| row.why.starts_with("hold"))).await;
    assert_eq!(out(&does(folder, &["flush", "late", "--dry-run"]).await), "3 deliveries would be due now\n");
    assert_eq!(late.count(), 3);

    let said = out(&does(folder, &["flush"]).await);
    assert!(said.starts_with("4 deliveries due now\n"), "{said}");
    assert!(said.contains("broken was left alone, and is probed now"), "{said}");
    daemon.until_all("late", "delivered").await;
    assert_eq!(late.count(), 6);
    for row in daemon.deliveries("late").await {
        assert_eq!(row.attempts, 2, "an attempt was forgotten: {row:?}");
    }
    daemon.until_all("broken", "delivered").await;
    let said = out(&does(folder, &["flush", "paused"]).await);
    assert!(said.starts_with("0 deliveries due now\npaused waits all the same (pause), in 9m"), "{said}");
    let said = out(&does(folder, &["flush", "held"]).await);
    assert!(said.contains("held waits all the same (hold)"), "{said}");
    assert_eq!((paused.count(), held.count()), (1, 1));
    let done = &rows(folder, &["flush"]).await[0];
    assert_eq!(done["count"], 0, "{done}");
    daemon.stop().await;
    drop((late, broken));
}

#[tokio::test]
async fn a_flush_of_one_hook_leaves_the_others_alone() {
    let sink = receiver().await;
    sink.script(Step::status(503).times(2)).expect("a step");
    let more = format!("{LATER}breaker: false\n");
    let daemon =
        Daemon::start(&[("one", &hook("a", &sink.url("/1"), &more)), ("two", &hook("a", &sink.url("/2"), &more))])
            .await;
    emit(&daemon, "a", 1).await;
    for hook in ["one", "two"] {
        daemon.until(hook, |rows| rows.iter().any(|row| row.attempts == 1)).await;
    }
    does(daemon.folder.path(), &["flush", "one"]).await;
    daemon.until_all("one", "delivered").await;
    assert!(sink.wait_for(3, PATIENCE).await);
    assert_eq!((daemon.deliveries("two").await[0].outcome.as_str(), sink.count()), ("waiting", 3));
    daemon.stop().await;
}
