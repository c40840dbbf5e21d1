//! Dead letters that wait again: those that are meant, and no others, without anybody else noticing.

use std::time::{Duration, Instant};

use postrider::edges::journal::{Append, Filter};
use postrider::edges::sink::Step;
use postrider::words::delivery::Outcome;
use postrider::words::event::Event;
use serde_json::{Value as Json, json};

use super::{does, emit, hook, rows};
use crate::commands::{err, exits, out, piped, run};
use crate::support::{Daemon, bodies, receiver};

/// A daemon with dead letters: three of `one`, two of `two`, of which the last is of another type.
async fn with_dead_letters() -> (Daemon, postrider::edges::sink::SinkHandle) {
    let sink = receiver().await;
    sink.script(Step { body: Some("too long".into()), ..Step::status(400) }.times(5)).expect("a step");
    let daemon =
        Daemon::start(&[("one", &hook("a", &sink.url("/1"), "")), ("two", &hook("\"b*\"", &sink.url("/2"), ""))]).await;
    emit(&daemon, "a", 3).await;
    emit(&daemon, "b", 1).await;
    emit(&daemon, "bb", 1).await;
    daemon.until("one", |rows| rows.iter().filter(|row| row.outcome == "dead").count() == 3).await;
    daemon.until("two", |rows| rows.iter().filter(|row| row.outcome == "dead").count() == 2).await;
    (daemon, sink)
}

#[tokio::test]
async fn a_filter_shows_first_what_it_means() {
    let (daemon, sink) = with_dead_letters().await;
    let folder = daemon.folder.path();
    for (arguments, count) in [
        (&["--dead"][..], 5),
        (&["--all"], 5),
        (&["--hook", "one"], 3),
        (&["--type", "b*"], 2),
        (&["--type", "bb"], 1),
        (&["--where", "data.n > 1"], 2),
        (&["--where", "hook == 'one' and '400' in why and attempts == 1"], 3),
        (&["--where", "event.type == 'bb'"], 1),
        (&["--where", "data.nothing.at.all == 1"], 0),
        (&["--since", "1h"], 5),
        (&["--until", "1h"], 0),
        (&["--dead", "--hook", "two", "--where", "n == 1"], 2),
    ] {
        let arguments: Vec<&str> = ["replay", "--dry-run"].iter().chain(arguments).copied().collect();
        let would = &rows(folder, &arguments).await[0];
        assert_eq!(would["count"], count, "{arguments:?}: {would}");
        assert_eq!(would["first"].as_array().map(Vec::len), Some(count), "{would}");
    }
    let page = out(&does(folder, &["replay", "--dead", "--dry-run"]).await);
    assert!(page.contains("400 Bad Request"), "{page}");
    assert!(page.ends_with("would replay 5 deliveries: 3 of one, 2 of two\n"), "{page}");
    // Nobody is there to be asked.
    let unasked = run(folder, &["replay", "--dead"]).await;
    exits(&unasked, 2);
    assert!(err(&unasked).contains("--yes"), "{}", err(&unasked));
    assert_eq!(sink.count(), 5, "nothing was sent by looking");

    let done = does(folder, &["replay", "--where", "data.n > 1", "--yes"]).await;
    assert_eq!(out(&done).lines().count(), 2);
    assert!(err(&done).contains("replayed 2 deliveries: 2 of one"), "{}", err(&done));
    daemon.until("one", |rows| rows.iter().filter(|row| row.outcome == "delivered").count() == 2).await;
    assert_eq!(daemon.until("two", |rows| rows.len() == 2).await.iter().filter(|row| row.outcome == "dead").count(), 2);
    daemon.stop().await;
}

#[tokio::test]
async fn ids_come_from_the_command_line_or_from_what_other_commands_print() {
    let (daemon, sink) = with_dead_letters().await;
    let folder = daemon.folder.path();
    let failed = run(folder, &["--json", "log", "--failed", "--hook", "one"]).await;
    let replayed = piped(folder, &["replay", "--yes", "-"], &out(&failed)).await;
    exits(&replayed, 0);
    assert_eq!(out(&replayed).lines().count(), 3);
    daemon.until_all("one", "delivered").await;
    assert_eq!(bodies(&sink).len(), 8);

    // One that was delivered goes out again when it is named, under its own id.
    let id = daemon.deliveries("one").await[0].delivery.clone();
    assert_eq!(out(&does(folder, &["replay", &id]).await).trim(), id);
    assert!(sink.wait_for(9, crate::support::PATIENCE).await);
    daemon.until_all("one", "delivered").await;
    let of_it = sink.records().iter().filter(|record| record.request.header("webhook-id") == Some(id.as_str())).count();
    assert_eq!(of_it, 3);

    // What cannot be replayed is named, and the rest is done.
    does(folder, &["hold", "two", "--reason", "wait"]).await;
    let dead = daemon.deliveries("two").await;
    does(folder, &["replay", &dead[0].delivery]).await;
    let some = run(folder, &["replay", "--yes", &dead[0].delivery, &dead[1].delivery, "nonsense-7"]).await;
    exits(&some, 1);
    assert_eq!(out(&some).trim(), dead[1].delivery);
    assert!(
        err(&some).contains("it waits already") && err(&some).contains("nonsense-7: it is not on record"),
        "{}",
        err(&some)
    );
    let wrong = piped(folder, &["replay", "--yes", "-"], "one two\n").await;
    exits(&wrong, 2);
    for (arguments, said) in [
        (&["replay", "--yes"][..], "which deliveries?"),
        (&["replay", "--yes", "x-1", "--hook", "one"], "leave out one of them"),
        (&["replay", "--yes", "--where", "data.app = 1"], "--where:1:"),
        (&["replay", "--yes", "--where", "data.app | frobnicate"], "--where:1:"),
        (&["replay", "--yes", "--since", "2"], "say 1h, 2d"),
    ] {
        let wrong = run(folder, arguments).await;
        exits(&wrong, 2);
        assert!(err(&wrong).contains(said), "{arguments:?}: {}", err(&wrong));
    }
    daemon.stop().await;
}

/// Dead letters of a hook that does not exist, so that they only wait once they are replayed.
async fn bury(daemon: &Daemon, count: usize) {
    let lane = "ghost".into();
    for first in (0..count).step_by(1000) {
        let made = first..(first + 1000).min(count);
        let batch = made.clone().map(|number| {
            let data = json!({"number": number, "filler": "x".repeat(500)}).to_string();
            let event = Event::new("ghostly", Some(format!("g{number}")), data, jiff::Timestamp::now());
            Append::new(event.into(), vec!["ghost".into()])
        });
        daemon.journal.append(batch.collect()).await.expect("a journal");
        let claimed = daemon.journal.claim(&lane, jiff::Timestamp::now(), 1000).await.expect("a journal");
        assert_eq!(claimed.len(), made.len());
        let ends =
            claimed.iter().map(|one| daemon.journal.settle(one, None, 1, Outcome::Dead { why: "410 Gone".into() }));
        for end in ends.collect::<Vec<_>>() {
            end.await.expect("an outcome");
        }
    }
}

/// How long each of some acknowledgements took, in order of time taken.
async fn acknowledgements(daemon: &Daemon, mut goes_on: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut took = Vec::new();
    while goes_on(took.len()) {
        let begun = Instant::now();
        let answer = daemon.emit(&json!({"type": "meanwhile", "data": {"n": took.len()}})).await;
        assert!(answer["id"].is_string(), "{answer}");
        took.push(begun.elapsed());
    }
    took.sort();
    took
}

fn p99(took: &[Duration]) -> Duration {
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// `POSTRIDER_REPLAYS=100000` makes it as long as the promise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_dead_letters_are_replayed_dropped_and_flushed_while_events_come_in() {
    let count: usize = std::env::var("POSTRIDER_REPLAYS").map_or(3000, |count| count.parse().expect("a number"));
    let daemon = Daemon::start(&[]).await;
    let folder = daemon.folder.path();
    bury(&daemon, count).await;
    let quiet = acknowledgements(&daemon, |done| done < 300).await;
    for (arguments, said) in [
        (&["replay", "--dead", "--yes"][..], "replayed"),
        (&["drop", "--hook", "ghost", "--yes", "--reason", "no ghosts"], "dropped"),
    ] {
        let begun = Instant::now();
        let (ended, mut end) = tokio::sync::oneshot::channel();
        let command = crate::commands::postrider(folder, arguments).output();
        let command = tokio::spawn(async move { _ = ended.send(command.await) });
        let mut output = None;
        let took = acknowledgements(&daemon, |_| match end.try_recv() {
            Ok(done) => {
                output = Some(done.expect("the program runs"));
                false
            }
            Err(_) => true,
        })
        .await;
        command.await.expect("no panic");
        let output = output.expect("an end");
        exits(&output, 0);
        assert!(err(&output).contains(&format!("{said} {count} deliveries: {count} of ghost")), "{}", err(&output));
        println!(
            "{said} {count} in {:.1} s; acknowledgements meanwhile: {} with a p99 of {:.1} ms, in quiet {:.1} ms",
            begun.elapsed().as_secs_f64(),
            took.len(),
            p99(&took).as_secs_f64() * 1e3,
            p99(&quiet).as_secs_f64() * 1e3,
        );
        assert!(p99(&took) < Duration::from_millis(500), "{:?}", p99(&took));
    }
    let lanes = daemon.journal.lanes().await.expect("a journal");
    let ghost = lanes.iter().find(|(name, _)| &**name == "ghost").expect("the lane");
    assert_eq!((ghost.1.waiting, ghost.1.dead), (0, 0));
    let filter = Filter { outcome: Some("dropped".to_owned()), limit: Some(1), ..Filter::default() };
    let row: Json = serde_json::to_value(&daemon.journal.list(filter).await.expect("a list")[0]).expect("JSON");
    assert!(
        row["why"].as_str().is_some_and(|why| why.starts_with("dropped by ") && why.ends_with(": no ghosts")),
        "{row}"
    );
    daemon.stop().await;
}
