//! A real daemon among evil receivers: each attempt is judged in its time, the memory stays, and the next delivery is
//! sound. `POSTRIDER_EVIL_ROUNDS=50` makes it longer.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::process::{Process, await_that};
use crate::sending::{MODES, Receiver, Want};
use crate::support::{receiver, write_hook};

/// Of each attempt.
const TIMEOUT: Duration = Duration::from_secs(2);
const AMPLE: Duration = Duration::from_secs(20);
/// How much an attempt may take longer, and a busy machine that runs other tests.
const OVER: Duration = Duration::from_secs(1);
/// What the daemon may grow by, in KiB.
const GROWTH: u64 = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evil_receivers_cost_their_deadline_and_no_memory() {
    let rounds: usize = std::env::var("POSTRIDER_EVIL_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let sound = receiver().await;
    let mut receivers = Vec::new();
    for (number, (_, steps, want)) in MODES.iter().enumerate() {
        let evil = Receiver::start(steps).await;
        // A busy machine may need longer than the deadline for an answer that is there at once.
        let timeout = if matches!(want, Want::Timeout) { TIMEOUT } else { AMPLE };
        let hook = format!(
            "events: [a]\nplatform: webhook\nconcurrency: 1\nbreaker: false\ntimeout: {}s\nretry: {{max_attempts: 1}}\noptions:\n  url: http://{}/evil\n",
            timeout.as_secs(),
            evil.address
        );
        write_hook(folder.path(), &format!("evil{number}"), &hook);
        receivers.push(evil);
    }
    let hook = format!("events: [a]\nplatform: webhook\noptions:\n  url: http://{}/\n", sound.addr);
    write_hook(folder.path(), "sound", &hook);

    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    // One delivery first: what any delivery needs is not counted as growth.
    daemon.emit(&json!({"type": "warm-up", "data": {}})).expect("an answer");
    let before = daemon.peak();
    for round in 1..=rounds {
        daemon.emit(&json!({"type": "a", "data": {"round": round}})).expect("an answer");
        await_that("every delivery has its outcome", || {
            daemon.get("/v1/status").is_some_and(|status| status["waiting"] == 0)
        });
    }
    let grown = daemon.peak().saturating_sub(before);

    let rows = daemon.rows("/v1/log?limit=10000");
    let mut wrong = Vec::new();
    let mut longest = 0;
    for (number, (name, _, want)) in MODES.iter().enumerate() {
        let hook = format!("evil{number}");
        let attempts: Vec<&Json> = rows.iter().filter(|row| row["hook"] == hook.as_str()).collect();
        if attempts.len() != rounds {
            wrong.push(format!("{name}: {} attempts", attempts.len()));
        }
        for attempt in attempts {
            let took = attempt["duration_ms"].as_u64().unwrap();
            let is_late = matches!(want, Want::Timeout) && Duration::from_millis(took) > TIMEOUT + OVER;
            longest = longest.max(if matches!(want, Want::Timeout) { took } else { 0 });
            if is_late {
                wrong.push(format!("{name}: took {took} ms"));
            }
            if let Some(found) = differs(attempt, want) {
                wrong.push(format!("{name}: {found}: {attempt}"));
            }
        }
    }
    println!(
        "{} evil receivers, {rounds} times: all classified, the longest that ran out of time took {longest} ms of {} ms, memory grew by {grown} KiB",
        MODES.len(),
        TIMEOUT.as_millis()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(grown <= GROWTH, "the daemon grew by {grown} KiB");
    assert_eq!(sound.records().len(), rounds);
    assert!(daemon.stop().success(), "{}", daemon.log());
}

fn differs(attempt: &Json, want: &Want) -> Option<String> {
    let why = attempt["why"].as_str().unwrap_or_default();
    let (status, verdict) = (attempt["status"].as_u64(), attempt["verdict"].as_str().unwrap_or_default());
    let right = match want {
        Want::Answer(wanted, ..) => {
            let delivered = (200..300).contains(wanted);
            status == Some(u64::from(*wanted)) && (verdict == "delivered") == delivered
        }
        Want::Timeout => status.is_none() && verdict == "retry" && why.contains("no complete answer within"),
        Want::Broken(part) => status.is_none() && verdict == "retry" && why.contains(part),
    };
    (!right).then(|| format!("{status:?} {verdict} {why:?}"))
}
