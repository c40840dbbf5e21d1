//! A lane is there while there is something to do, and nothing is missed while it comes or goes.

use std::time::Duration;

use jiff::SignedDuration;
use postrider::edges::journal::Journal;

use crate::digests::stage::{Stage, dingtalk, play};

fn stage() -> Stage {
    Stage::new(&dingtalk(""), Box::new(|_, _| None))
}

#[test]
fn a_hook_without_events_has_no_lane() {
    play(async {
        let mut stage = stage();
        stage.pass(1).await;
        assert_eq!((stage.journal.bells().attended(), stage.desk.pulses().len()), (0, 0));
        stage.events(&["first"]).await;
        stage.until_done().await;
        assert_eq!(stage.journal.bells().attended(), 1);
        stage.pass(120).await;
        assert_eq!(stage.journal.bells().attended(), 0);
        // Nobody misses one that has left.
        stage.pass(600).await;
        assert_eq!(stage.desk.unwatched(stage.clock.elapsed(), Duration::from_secs(120)), None);
        stage.events(&["second"]).await;
        stage.until_done().await;
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn what_comes_while_it_leaves_is_not_missed() {
    play(async {
        let mut stage = stage();
        let mut left = 0;
        // It leaves a minute after its last look, which comes with the answer, some time within these.
        for millis in (0..400).map(|step| 59_000 + step * 5) {
            stage.events(&["one more"]).await;
            tokio::time::sleep(Duration::from_millis(millis)).await;
            left += usize::from(stage.journal.bells().attended() == 0);
        }
        assert!((20..380).contains(&left), "it had left {left} times of 400");
        stage.pass(1).await;
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn a_hold_ends_although_nothing_waits() {
    play(async {
        let stage = stage();
        let name = "hook".into();
        let until = stage.clock.steady() + SignedDuration::from_mins(10);
        stage.desk.hold_by_hand(&name, "a visit", Some(until)).await;
        stage.pass(9 * 60).await;
        assert!(stage.desk.held("hook").is_some());
        stage.pass(2 * 60).await;
        assert!(stage.desk.held("hook").is_none(), "its time is over");
        stage.pass(120).await;
        assert_eq!(stage.journal.bells().attended(), 0);
        stage.end().await;
    });
}
