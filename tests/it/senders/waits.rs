//! `emit --wait` says what became of the event.

use postrider::edges::sink::Step;
use serde_json::Value as Json;

use crate::commands::{err, exits, out, run};
use crate::support::{Daemon, receiver};

#[tokio::test]
async fn it_waits_until_every_hook_has_an_outcome() {
    let sink = receiver().await;
    let hook = format!("events: [thing]\nplatform: webhook\noptions: {{url: \"{}\"}}\n", sink.url(""));
    let daemon = Daemon::start(&[("one", &hook), ("two", &hook)]).await;
    let folder = daemon.folder.path();

    // Each hook's first try fails: it is there at the second.
    sink.script(Step::status(503)).expect("a step");
    let slow = format!("{hook}retry: {{first: 1s, max: 1s}}\n");
    daemon.put_hook("two", &slow).await;
    let done = run(folder, &["--json", "emit", "thing", "--id", "a b/c", "--wait", "20s"]).await;
    exits(&done, 0);
    let rows: Vec<Json> = out(&done).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 3, "the answer, and a row for each hook: {rows:?}");
    assert!(rows[1..].iter().all(|row| row["outcome"] == "delivered" && row["event"] == "a b/c"), "{rows:?}");
    assert_eq!(sink.records().len(), 3);

    daemon.remove_hook("two").await;
    sink.script(Step::status(400)).expect("a step");
    let dead = run(folder, &["emit", "thing", "--wait", "20s"]).await;
    exits(&dead, 1);
    assert!(err(&dead).contains("one is dead") && err(&dead).contains("400"), "{}", err(&dead));

    sink.script(Step { headers: [("retry-after".to_owned(), "60".to_owned())].into(), ..Step::status(503) })
        .expect("a step");
    let late = run(folder, &["emit", "thing", "--wait", "300ms"]).await;
    exits(&late, 75);
    assert!(err(&late).contains("one still waits"), "{}", err(&late));

    exits(&run(folder, &["emit", "nobody.wants.it", "--wait", "20s"]).await, 0);
    exits(&run(folder, &["emit", "thing", "--wait", "20"]).await, 2);
    daemon.stop().await;
    // It is safe in the spool, and that is not what was asked.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join(".postrider/spool")).expect("a folder");
    let spooled = run(folder.path(), &["emit", "thing", "--wait", "20s"]).await;
    exits(&spooled, 75);
    assert!(err(&spooled).contains("spool"), "{}", err(&spooled));
}
