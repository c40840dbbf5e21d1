//! The stories.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use postrider::edges::journal::{Filter, Journal};
use postrider::words::exchange::SendError;
use serde_json::json;

use super::stage::{Sent, Stage, dingtalk, play};

fn as_the_platform_does(_: usize, _: &str) -> Option<Result<serde_json::Value, SendError>> {
    None
}

/// No window of a minute holds more than DingTalk takes.
fn within_the_quota(sent: &[Sent]) {
    for (index, first) in sent.iter().enumerate() {
        let minute = sent[index..].iter().filter(|one| one.at < first.at + SignedDuration::from_secs(60));
        let count = minute.count();
        assert!(count <= 20, "{count} requests in a minute from {}", first.at);
    }
    let refused = sent.iter().filter(|one| !one.is_taken()).count();
    assert_eq!(refused, 0, "the robot was muted");
}

#[test]
fn five_hundred_events_fit_through_a_robot_of_twenty_a_minute() {
    play(async {
        let mut stage = Stage::new(&dingtalk("digest: {when: waiting > 5, max: 50}"), Box::new(as_the_platform_does));
        // One after the other, then a flood, then one after the other.
        for _ in 0..30 {
            stage.events(&["quiet"]).await;
            stage.pass(4).await;
        }
        for _ in 0..44 {
            stage.events(&["flood"; 10]).await;
            stage.pass(1).await;
        }
        for _ in 0..30 {
            stage.events(&["quiet again"]).await;
            stage.pass(4).await;
        }
        stage.until_done().await;
        stage.everything_arrived_once().await;
        let sent = stage.sent();
        within_the_quota(&sent);
        assert!(sent.len() <= 90, "{} requests", sent.len());
        // While there was room each went by itself, as it was.
        assert_eq!((&*sent[0].text, &*sent[1].text), ("[e1] quiet", "[e2] quiet"));
        let fullest = sent.iter().map(|one| one.text.matches("[e").count()).max();
        assert!(fullest > Some(20) && fullest <= Some(50), "{fullest:?}");
        let digest = sent.iter().find(|one| one.text.matches("[e").count() > 1).expect("a digest");
        assert!(digest.text.starts_with("\u{2022} [e") && digest.text.contains("\n\u{2022} [e"), "{}", digest.text);
        println!("500 events, {} requests, {fullest:?} in the fullest", sent.len());
        stage.end().await;
    });
}

#[test]
fn a_window_collects_and_then_sends_all_of_it_once() {
    play(async {
        let hook = dingtalk("digest: {window: 60s, max: 4}");
        let mut stage = Stage::new(&hook, Box::new(as_the_platform_does));
        stage.events(&["a"]).await;
        stage.pass(20).await;
        stage.events(&["b", "c"]).await;
        stage.pass(39).await;
        assert_eq!((stage.sent().len(), stage.reason().await.as_str()), (0, "digest"));
        stage.pass(2).await;
        let sent = stage.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].text, "\u{2022} [e1] a\n\u{2022} [e2] b\n\u{2022} [e3] c");
        // As many as may go together wait for nothing; one alone is not a digest.
        stage.events(&["d", "e", "f", "g", "h"]).await;
        stage.pass(1).await;
        assert_eq!(stage.sent().len(), 2);
        stage.pass(61).await;
        assert_eq!(stage.sent()[2].text, "[e8] h");
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn with_both_the_first_that_is_so_decides() {
    play(async {
        let hook = dingtalk("digest: {when: waiting >= 3, window: 60s}");
        let mut stage = Stage::new(&hook, Box::new(as_the_platform_does));
        stage.events(&["a", "b"]).await;
        stage.pass(10).await;
        assert_eq!(stage.sent().len(), 0);
        stage.events(&["c"]).await;
        stage.pass(1).await;
        assert_eq!(stage.sent().len(), 1);
        stage.events(&["d"]).await;
        stage.pass(61).await;
        assert_eq!(stage.sent().len(), 2);
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn whoever_is_in_a_hurry_ends_the_window() {
    play(async {
        let mut stage = Stage::new(&dingtalk("digest: {window: 1h}"), Box::new(as_the_platform_does));
        stage.events(&["a", "b"]).await;
        stage.pass(10).await;
        stage.desk.pulse(&"hook".into()).hurry(true);
        stage.journal.bells().ring(&"hook".into());
        stage.until_done().await;
        assert_eq!(stage.sent().len(), 1);
        // That was it: the next ones wait again.
        stage.events(&["c"]).await;
        stage.pass(60).await;
        assert_eq!(stage.sent().len(), 1);
        stage.pass(3600).await;
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn one_that_is_refused_takes_no_other_with_it() {
    play(async {
        let picky = |_: usize, text: &str| {
            text.contains("poison").then(|| Ok(json!({"errcode": 430_104, "errmsg": "the content is refused"})))
        };
        let mut stage = Stage::new(&dingtalk("digest: {when: waiting > 1}"), Box::new(picky));
        let says: Vec<&str> = (1..=100).map(|n| if n == 17 || n == 60 { "poison" } else { "sound" }).collect();
        stage.events(&says).await;
        stage.until_done().await;
        let told = stage.told();
        for (n, count) in &told {
            assert_eq!(*count, usize::from(*n != 17 && *n != 60), "event {n}");
        }
        let rows = stage.rows().await;
        let dead: Vec<&str> = rows.iter().filter(|row| row.outcome == "dead").map(|row| row.event.as_str()).collect();
        assert_eq!(dead, ["e17", "e60"]);
        assert!(rows[16].why.contains("430104") && rows[16].carrier.is_none(), "{:?}", rows[16]);
        assert!(rows.iter().filter(|row| row.outcome == "delivered").all(|row| row.attempts == 1));
        let log = stage.log().await;
        let refused: Vec<_> = log.iter().filter(|row| row.verdict == "reject" && row.outcome == "waiting").collect();
        assert!(refused[0].why.starts_with("a digest of 50: errcode 430104"), "{}", refused[0].why);
        assert!(stage.sent().len() < 30, "{} requests", stage.sent().len());
        stage.end().await;
    });
}

#[test]
fn what_fails_goes_again_together_with_the_same_id_and_counts_for_each() {
    play(async {
        let hook = "events: [thing]\nplatform: board\noptions: {url: \"https://board/\"}\nconcurrency: 1\n\
                    retry: {first: 5s, max: 5s}\ndigest: {when: waiting > 1}\n";
        let moody = |number: usize, _: &str| match number {
            0 => Some(Err(SendError::Timeout(Duration::from_secs(15)))),
            1 => Some(Ok(json!({"errcode": 1}))),
            _ => Some(Ok(json!({"errcode": 0}))),
        };
        let mut stage = Stage::new(hook, Box::new(moody));
        stage.events(&["a", "b", "c"]).await;
        stage.until_done().await;
        let (sent, rows) = (stage.sent(), stage.rows().await);
        assert_eq!(sent.len(), 3);
        let ids: BTreeSet<&str> = sent.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, BTreeSet::from([rows[0].delivery.as_str()]));
        assert!(sent.iter().all(|one| one.text == sent[0].text));
        assert_eq!(rows.iter().map(|row| row.attempts).collect::<Vec<_>>(), [3, 3, 3]);
        let log = stage.log().await;
        assert_eq!(log.iter().map(|row| row.verdict.as_str()).collect::<Vec<_>>(), ["retry", "retry", "delivered"]);
        let of_follower = stage.journal.log(Filter { event: Some("e3".to_owned()), ..Filter::default() }).await;
        assert_eq!(of_follower.expect("the journal is open"), log, "the log of an event shows where it went");
        let shown = stage.journal.show(&rows[0].delivery).await.expect("the journal is open").expect("it is there");
        assert!(shown.attempts.iter().all(|(attempt, _)| attempt.along == [2, 3]));
        stage.everything_arrived_once().await;
        stage.end().await;
    });
}

#[test]
fn as_many_go_together_as_fit_and_none_is_cut() {
    play(async {
        let digest = "digest:\n  when: waiting > 1\n  template: |\n    {{ count }} of {{ hook }}\n    \
                      {% for event in events %}{{ event.data.message }}\n    {% endfor %}";
        let mut stage = Stage::new(&dingtalk(digest), Box::new(as_the_platform_does));
        let long = "x".repeat(1500) + " end";
        stage.events(&vec![long.as_str(); 40]).await;
        stage.until_done().await;
        stage.everything_arrived_once().await;
        let sent = stage.sent();
        // 13 of them weigh less than 20,000 bytes, 14 do not.
        assert_eq!(sent.len(), 4, "{:?}", sent.iter().map(|one| one.text.len()).collect::<Vec<_>>());
        assert!(sent[0].text.starts_with("13 of hook\n[e1]"), "{}", &sent[0].text[..40]);
        assert_eq!(sent.iter().map(|one| one.text.matches(" end").count()).sum::<usize>(), 40);
        stage.end().await;
    });
}

#[test]
fn what_has_arrived_in_part_arrives_in_all_its_parts() {
    play(async {
        let hook = dingtalk("digest: {when: waiting > 1}").replace("T\"}", "T\", overflow: split}");
        let mut stage = Stage::new(&hook, Box::new(as_the_platform_does));
        let long = "word ".repeat(9000);
        stage.events(&[long.as_str()]).await;
        stage.pass(0).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        stage.events(&["b", "c"]).await;
        stage.until_done().await;
        stage.everything_has_arrived().await;
        let texts: Vec<String> = stage.sent().into_iter().map(|one| one.text).collect();
        let words: usize = texts.iter().map(|text| text.matches("word").count()).sum();
        assert_eq!(words, 9000);
        let parts = texts.iter().filter(|text| text.contains("\u{2014} ")).count();
        assert!(parts >= 3, "{parts}");
        assert_eq!(
            texts.iter().filter(|text| text.contains("[e2] b\n\u{2022} [e3] c")).count(),
            1,
            "they went together"
        );
        stage.end().await;
    });
}

#[test]
fn an_event_that_the_template_fails_on_goes_by_itself() {
    play(async {
        let digest = "digest:\n  when: waiting > 1\n  template: \"{% for e in events %}{{ e.data.message }} \
                      {{ 10 // (e.data.n - 3) }}\\n{% endfor %}\"";
        let mut stage = Stage::new(&dingtalk(digest), Box::new(as_the_platform_does));
        stage.events(&["a", "b", "c", "d", "e"]).await;
        stage.until_done().await;
        stage.everything_arrived_once().await;
        let counts: Vec<usize> = stage.sent().iter().map(|one| one.text.matches("[e").count()).collect();
        assert_eq!(counts, [2, 1, 2]);
        stage.end().await;
    });
}

#[test]
fn what_events_say_is_harmless_in_a_digest() {
    play(async {
        let options = "  title: news\n  type: markdown\n";
        let hook = dingtalk("digest: {when: waiting > 1}")
            .replace("options: {", "options:\n  ")
            .replace("}\nretry", &format!("\n{options}retry"));
        let mut stage = Stage::new(&hook, Box::new(as_the_platform_does));
        stage.events(&["[x](https://evil.example)", "## **bold**\n- second", "\n\n"]).await;
        stage.until_done().await;
        stage.everything_arrived_once().await;
        let text = &stage.sent()[0].text;
        assert!(!text.contains("](https"), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text:?}");
        assert!(text.lines().all(|line| line.starts_with("- [")), "{text:?}");
        stage.end().await;
    });
}

#[test]
fn keys_go_in_order_and_a_head_that_waits_holds_up_its_own() {
    play(async {
        let hook = dingtalk("order_by: data.say\ndigest: {when: waiting > 1, max: 10}");
        let mut stage = Stage::new(&hook, Box::new(as_the_platform_does));
        stage.events(&["a", "b", "a", "b", "a", "c"]).await;
        stage.until_done().await;
        stage.everything_arrived_once().await;
        let all: String = stage.sent().iter().map(|one| format!("{}\n", one.text)).collect();
        let at = |n: usize| all.find(&format!("[e{n}]")).expect("it was told");
        assert!(at(1) < at(3) && at(3) < at(5) && at(2) < at(4), "{all}");
        // Of each key the first that waits: a, b and c; then a and b; then a.
        let counts: Vec<usize> = stage.sent().iter().map(|one| one.text.matches("[e").count()).collect();
        assert_eq!(counts, [3, 2, 1]);
        stage.end().await;
    });
}

#[test]
fn holds_edits_and_a_file_that_goes_change_nothing_of_it() {
    play(async {
        let with = dingtalk("digest: {when: waiting > 1, window: 30s}");
        let mut stage = Stage::new(&with, Box::new(as_the_platform_does));
        let name = "hook".into();
        stage.desk.hold_by_hand(&name, "somebody is at work", None).await;
        stage.events(&["a", "b", "c"]).await;
        stage.pass(100).await;
        stage.edit("");
        stage.desk.release(&name, "done").await;
        stage.pass(100).await;
        assert_eq!(stage.sent().len(), 0);
        stage.edit(&with);
        stage.until_done().await;
        assert_eq!(stage.sent().len(), 1);
        // Without `digest` what is collected goes by itself.
        stage.events(&["d"]).await;
        stage.pass(5).await;
        stage.edit(&dingtalk(""));
        stage.pass(2).await;
        assert_eq!(stage.sent().last().map(|one| one.text.clone()), Some("[e4] d".to_owned()));
        stage.everything_arrived_once().await;
        // One that is replayed goes again, and says no more that it went in another.
        let rows = stage.rows().await;
        let named = Filter { ids: vec![rows[1].delivery.clone()], ..Filter::default() };
        stage.journal.reopen(named, stage.clock.steady()).await.expect("the journal is open");
        stage.until_done().await;
        let row = &stage.rows().await[1];
        assert_eq!((row.outcome.as_str(), row.carrier.as_deref(), row.attempts), ("delivered", None, 1));
        stage.end().await;
    });
}
