//! The robots of a hook that take turns, as everybody but their lane sees them: who is held, what keeps each of them, how
//! they stand in the status.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::edges::journal::Hold;
use crate::engine::desk::Desk;
use crate::engine::gate::Gate;
use crate::rules::backoff;
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::rules::platform::Given;
use crate::words::delivery::{Delivery, Outcome, Why};
use crate::words::event::Event;
use crate::words::secret::shown_url;
use crate::words::verdict::Verdict;

/// Which robot of the file it is, from 1; 0 for a hook that is none.
pub fn number(robot: &Hook) -> usize {
    robot.as_robot().map_or(0, |robot| robot.number)
}

/// The reason, as that of this robot.
pub fn says(robot: &Hook, why: Why) -> Why {
    match robot.as_robot() {
        Some(robot) => robot.says(why),
        None => why,
    }
}

/// Why a robot is held, if it is.
pub fn held(desk: &Desk, robot: &Hook) -> Option<Hold> {
    desk.held(&robot.as_robot()?.hold)
}

/// Why a robot is out until somebody acts, if it is.
fn out(desk: &Desk, config: &Config, robot: &Hook) -> Option<Why> {
    match held(desk, robot) {
        Some(hold) => Some(Why::Hold(hold.why)),
        None => config.missing_secret(robot).map(Why::SecretMissing),
    }
}

/// The gates of a hook: that of its receiver, or one for each robot that is not out.
pub fn gates<'h>(desk: &Desk, config: &Config, hook: &'h Hook) -> Vec<(&'h Hook, Gate)> {
    let gate = |hook: &'h Hook| Some((hook, desk.constant_gate(config, hook)?));
    match hook.robots() {
        [] => gate(hook).into_iter().collect(),
        robots => robots.iter().filter(|robot| held(desk, robot).is_none()).filter_map(|robot| gate(robot)).collect(),
    }
}

/// What keeps a hook from using its receiver, and until when: of several robots the one that may go first says it.
pub fn shut(desk: &Desk, config: &Config, hook: &Hook) -> Option<(Why, Timestamp)> {
    let elapsed = desk.clock.elapsed();
    let mut first = None;
    for (robot, gate) in gates(desk, config, hook) {
        let (until, why) = gate.shut(elapsed, robot)?;
        if first.as_ref().is_none_or(|(earliest, _)| until < *earliest) {
            first = Some((until, says(robot, why)));
        }
    }
    first.map(|(until, why)| (why, backoff::later(desk.clock.steady(), until.saturating_sub(elapsed))))
}

/// Why all robots of a hook are out, if they are.
pub fn all_out(desk: &Desk, config: &Config, hook: &Hook) -> Option<Why> {
    let mut robots = hook.robots().iter().map(|robot| out(desk, config, robot).map(|why| says(robot, why)));
    let first = robots.next()??;
    robots.all(|why| why.is_some()).then_some(first)
}

/// Takes a robot out of its pool for what an answer said. With the last one the hook is held.
pub async fn hold(desk: &Desk, config: &Config, hook: &Hook, why: &str, event: &Event) {
    let Some(robot) = hook.as_robot() else { return };
    desk.hold_robot(robot, why, config.fingerprint(hook)).await;
    let Some(whole) = config.hooks.get(&hook.name) else { return };
    let left = whole.robots().iter().filter(|robot| out(desk, config, robot).is_none()).count();
    desk.tell_held_robot(&hook.name, robot, why, left, event);
    if left == 0 && desk.held(&hook.name).is_none() {
        let why = format!("none of its {} robots is left: {}: {why}", robot.of, robot.name());
        desk.hold_for(&hook.name, &why, config.fingerprint(whole), event).await;
    }
}

/// Lets a robot take part again once its file, its script or a secret of it has changed: somebody has acted.
pub async fn release_if_changed(desk: &Desk, config: &Config, robot: &Hook) {
    if let (Some(hold), Some(which)) = (held(desk, robot), robot.as_robot())
        && hold.fingerprint != config.fingerprint(robot)
    {
        desk.release_robot(&robot.name, which, "its file or a secret changed").await;
    }
}

/// Lets all robots of a hook take part again. Answers whether one was held.
pub async fn release(desk: &Desk, hook: &Hook, because: &str) -> bool {
    let mut any = false;
    for robot in hook.robots().iter().filter_map(|robot| robot.as_robot()) {
        any |= desk.release_robot(&hook.name, robot, because).await;
    }
    any
}

/// What an attempt by a robot leads to: where only this robot is to wait, another one may go at once.
pub fn goes_on(hook: &Hook, verdict: &Verdict, delivery: &Delivery, outcome: Outcome) -> Outcome {
    match (hook.as_robot(), verdict, outcome) {
        (Some(robot), Verdict::Pause { .. } | Verdict::Hold { .. }, Outcome::Waiting { why, .. }) => {
            Outcome::Waiting { until: delivery.due, why: robot.says(why) }
        }
        (_, _, outcome) => outcome,
    }
}

/// Why an attempt went as it did, and by which robot, if there are several.
pub fn signed(hook: &Hook, verdict: &Verdict, why: String) -> String {
    let Some(robot) = hook.as_robot() else { return why };
    let rests = match verdict {
        Verdict::Pause { wait, .. } => Some(wait.as_millis().div_ceil(1000) as u64),
        _ => None,
    };
    robot.signs(&why, rests)
}

/// How each robot of a hook stands, for the status.
pub fn status(desk: &Desk, config: &Config, hook: &Hook) -> Vec<Json> {
    let of_robot = |robot: &std::sync::Arc<Hook>| {
        let which = robot.as_robot()?;
        let (state, until, why) = stands(desk, config, robot);
        Some(json!({
            "robot": which.number, "secret": which.secret, "host": host(config, robot),
            "state": state, "until": until, "why": why,
        }))
    };
    hook.robots().iter().filter_map(of_robot).collect()
}

fn stands(desk: &Desk, config: &Config, robot: &Hook) -> (&'static str, Option<Timestamp>, String) {
    match out(desk, config, robot) {
        Some(Why::SecretMissing(why)) => return ("secret missing", None, why),
        Some(why) => return ("held", None, why.detail().to_owned()),
        None => {}
    }
    let elapsed = desk.clock.elapsed();
    let shut = desk.constant_gate(config, robot).and_then(|gate| gate.shut(elapsed, robot));
    let Some((until, why)) = shut else { return ("ready", None, String::new()) };
    let until = Some(backoff::later(desk.clock.steady(), until.saturating_sub(elapsed)));
    match why {
        Why::Pace => ("paced", until, "its rate_limit is used up".to_owned()),
        Why::Breaker(why) => ("failing", until, why),
        why => ("paused", until, why.detail().to_owned()),
    }
}

/// The host that a robot is at: never more of its URL.
fn host(config: &Config, robot: &Hook) -> Option<String> {
    let event = Event::new("", Some(String::new()), "null", Timestamp::UNIX_EPOCH);
    let (now, secrets) = (Timestamp::UNIX_EPOCH, &config.secrets);
    let given = Given { id: "", attempt: 0, now, hook: &robot.name, event: &event, secrets };
    let (_, url) = robot.options.iter().find(|(name, tree)| name == "url" && tree.is_constant())?;
    let url = url.render(&given).ok()?;
    let shown = shown_url(url.as_str()?);
    url::Url::parse(&shown).ok()?.host_str().map(str::to_owned)
}
