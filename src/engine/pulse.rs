//! Whether the queue makes progress, said to the service manager: as long as it does, and no longer. A process that is
//! alive and delivers nothing is what a watchdog is for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::edges::journal::JournalError;
use crate::edges::systemd;
use crate::engine::desk::Desk;
use crate::rules::config::Config;
use crate::words::limits;
use crate::words::plural::count;

/// Until `stop`: looks, and tells what it saw.
pub async fn beat(desk: Arc<Desk>, mut config: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    let watchdog = systemd::watchdog();
    if watchdog.is_none() && !systemd::is_listening() {
        return;
    }
    // A third of the time, so that a look that came late is no death.
    let every = watchdog.map_or(limits::PULSE, |within| (within / 3).min(limits::PULSE));
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    let mut stuck = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            changed = config.changed() => if changed.is_err() { return },
        }
        let wrong = progress(&desk, watchdog.unwrap_or(limits::PULSE)).await;
        match &wrong {
            None => systemd::alive(),
            Some(why) if stuck.is_none() => {
                tracing::error!(
                    why,
                    "the queue makes no progress; the service manager is told nothing more and may restart"
                );
            }
            Some(_) => {}
        }
        let line = match &wrong {
            Some(why) => format!("no progress: {why}"),
            None => summary(&desk, &config.borrow_and_update()),
        };
        stuck = wrong;
        if line != said {
            systemd::status(&line);
            said = line;
        }
    }
}

/// What stands still, if something does. Storage that fails and says so is trouble, not standstill: a restart would not
/// mend it.
pub async fn progress(desk: &Desk, patience: Duration) -> Option<String> {
    // Nothing to append: only whoever writes must come to it.
    match timeout(patience, desk.journal.append(Vec::new())).await {
        Err(_) => return Some("the journal's writer does not answer".to_owned()),
        Ok(Err(JournalError::Closed)) => return Some("the journal is closed".to_owned()),
        Ok(_) => {}
    }
    let lane = desk.unwatched(desk.clock.elapsed(), limits::LANE_SLEEP + limits::LANE_LATE)?;
    Some(format!("the lane of {lane} does not look at its queue"))
}

/// One line for `systemctl status`.
fn summary(desk: &Desk, config: &Config) -> String {
    let mut parts = vec![format!("{}, {} waiting", count(config.hooks.len() as u64, "hook"), desk.journal.waiting())];
    if let Some(trouble) = desk.journal.trouble() {
        parts.insert(0, format!("storage trouble: {trouble}"));
    }
    let held: Vec<&str> = config.hooks.keys().filter(|hook| desk.held(hook).is_some()).map(AsRef::as_ref).collect();
    match held.as_slice() {
        [] => {}
        [one] => parts.push(format!("{one} is held")),
        [one, others @ ..] => parts.push(format!("{one} and {} others are held", others.len())),
    }
    let broken = config.problems.iter().filter(|problem| problem.is_error()).count();
    if broken > 0 {
        parts.push(format!("{} in the configuration", count(broken as u64, "error")));
    }
    parts.join("; ")
}
