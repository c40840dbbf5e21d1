//! `postrider status`: what is going on.

use std::time::Duration;

use clap::Args;
use clap::builder::styling::Style;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::history;
use crate::cli::output::{self, BAD, BOLD, Cell, Columns, DIM, WAITS, cell, count, paint, style_of, styled};
use crate::rules::yaml::size;

/// Show what is going on: hooks, what waits, what is wrong
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider status
  postrider status --check || echo 'somebody should look'")]
pub(crate) struct Status {
    /// Exit with 1 when a file is broken, a hook is held or has dead letters, or the journal is in trouble
    #[arg(long)]
    check: bool,
}

impl Status {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let status = Daemon::of(global).get("/v1/status").await?;
        if global.json {
            output::json(&status)?;
        } else if !(global.quiet && self.check) {
            page(&status, global)?;
        }
        let troubles = troubles(&status);
        if !self.check || troubles.is_empty() {
            return Ok(());
        }
        Err(Exit::new(Code::Failed, troubles.join(", ")))
    }
}

fn page(status: &Json, global: &Global) -> Result<(), Exit> {
    let running = output::text(status, "since").parse::<Timestamp>().ok().and_then(|since| {
        let running = Duration::try_from(Timestamp::now().duration_since(since)).ok()?;
        Some(format!(", running for {}", output::rough(running)))
    });
    output::say(format!(
        "{}{}",
        paint(BOLD, &format!("postrider {}", output::text(status, "version"))),
        paint(DIM, &format!("{}, process {}", running.unwrap_or_default(), output::text(status, "pid")))
    ))?;
    output::say(format!(
        "{} accepted since the start; on record: {} delivered, {} waiting, {}",
        count(output::number(status, "accepted"), "event"),
        output::number(status, "delivered"),
        output::number(status, "waiting"),
        count(output::number(status, "dead"), "dead letter"),
    ))?;
    troubles_first(status)?;
    let listen = &status["listen"];
    let listens: Vec<String> =
        ["emit", "http"].iter().map(|key| output::text(listen, key)).filter(|place| !place.is_empty()).collect();
    output::say(paint(DIM, &format!("listens at {}", listens.join(" and "))))?;
    let metrics = output::text(listen, "metrics");
    if !metrics.is_empty() {
        output::say(paint(DIM, &format!("metrics at http://{metrics}/metrics")))?;
    }

    let hooks = output::list(status, "hooks");
    if hooks.is_empty() {
        output::say("there are no hooks")?;
    } else {
        let mut head = vec!["HOOK", "PLATFORM", "STATE", "WAITING", "DEAD", "DELIVERED", "WHY"];
        let mut rows: Vec<Vec<Cell>> = hooks.iter().flat_map(|hook| [vec![row(hook)], robots(hook)].concat()).collect();
        // A picture is for eyes, and words come first where there is little room.
        if output::terminal_width().is_some_and(|width| width >= ROOM_FOR_HISTORY) {
            draw_histories(hooks, &mut head, &mut rows);
        }
        Columns::new(output::terminal_width()).print(&head, &rows)?;
    }

    let ignored = output::list(status, "ignored");
    if !ignored.is_empty() && global.verbose == 0 {
        output::say(paint(DIM, &format!("\n{} ignored; -v names them", count(ignored.len() as u64, "file"))))?;
    } else if !ignored.is_empty() {
        output::say("")?;
        for file in ignored {
            output::say(format!("{} {}: {}", paint(DIM, "ignored"), line(file, "file"), line(file, "why")))?;
        }
    }
    Ok(())
}

/// What somebody should look at, and one thing to do for each.
fn troubles_first(status: &Json) -> Result<(), Exit> {
    let found = to_do(status);
    let problems = output::list(status, "problems");
    if !found.is_empty() || !problems.is_empty() {
        output::say("")?;
    }
    for (style, what, help) in found {
        output::say(format!("{} {}", paint(style, "!"), paint(style, &what)))?;
        output::say(format!("  {} {help}", paint(DIM, "do:")))?;
    }
    for problem in problems {
        output::say(format!("\n{}", rendered(problem)))?;
    }
    output::say("")
}

/// The same as what is wrong and what to do, the worst first.
fn to_do(status: &Json) -> Vec<(Style, String, String)> {
    let mut found = Vec::new();
    if let Some(trouble) = status["storage"]["trouble"].as_str() {
        let path = output::text(&status["storage"], "path");
        let what = format!("nothing is sent or taken: {path}: {}", output::clean_line(trouble));
        let help = "make room, or see `journalctl -u postrider`; it goes on by itself".to_owned();
        found.push((BAD, what, help));
    } else if let Some(why) = status["storage"]["refuses"].as_str() {
        let what = format!("nothing is accepted: {}", output::clean_line(why));
        found.push((BAD, what, "see what fills the disk (`df`, `du`), or lower `journal.min_free`".to_owned()));
    }
    if let Some(what) = too_much_waits(status) {
        found.push((BAD, what, "`postrider queue --shape` says what waits, and why".to_owned()));
    }
    for hook in output::list(status, "hooks") {
        let (name, why, waiting) = (line(hook, "hook"), line(hook, "why"), output::number(hook, "waiting"));
        let waits = format!("{waiting} waiting");
        match output::text(hook, "state").as_str() {
            "held" => {
                let until = output::relative(hook, "until").map(|until| format!(", ends {until}")).unwrap_or_default();
                let help = format!("mend the hook or its secret, or `postrider release {name}`");
                found.push((BAD, format!("{name} is held{until}: {why} ({waits})"), help));
            }
            "secret missing" => {
                let help = "write it to a file of that name in secrets.d".to_owned();
                found.push((BAD, format!("{name}: {why} ({waits})"), help));
            }
            "removed" if waiting > 0 => {
                let help = format!("put the file back, or `postrider drop --hook {name}`");
                found.push((WAITS, format!("{name}: {why} ({waits})"), help));
            }
            "disabled" if waiting > 0 => {
                let help = format!("`enabled: true`, or `postrider drop --hook {name}`");
                found.push((WAITS, format!("{name} is disabled ({waits})"), help));
            }
            "failing" => {
                let until = output::relative(hook, "until").unwrap_or_default();
                let help = format!("`postrider test {name}` tries it now, `postrider flush {name}` sends what waits");
                found.push((WAITS, format!("{name} fails, and is tried again {until}: {why} ({waits})"), help));
            }
            _ => {}
        }
        for robot in held_robots(hook) {
            let (robot, host, why) = (robot_name(robot), line(robot, "host"), line(robot, "why"));
            let help = format!("mend the hook or its secret, or `postrider release {name}`; the others go on");
            found.push((BAD, format!("{name}: {robot} at {host} is held: {why}"), help));
        }
        let dead = output::number(hook, "dead");
        if dead > 0 {
            let help = format!(
                "`postrider log --failed --hook {name}` says why; then `postrider replay --dead --hook {name}`"
            );
            found.push((BAD, format!("{name} has {}", count(dead, "dead letter")), help));
        }
    }
    found
}

fn row(hook: &Json) -> Vec<Cell> {
    let state = output::text(hook, "state");
    let mut why = output::text(hook, "why");
    if hook["until"].is_string() {
        let until = format!("until {}", output::time(hook, "until"));
        why = if why.is_empty() { until } else { format!("{until}: {why}") };
    }
    let dead = output::number(hook, "dead");
    vec![
        cell(output::text(hook, "hook")),
        cell(output::text(hook, "platform")),
        styled(&state, style_of(&state)),
        cell(output::text(hook, "waiting")),
        styled(dead.to_string(), if dead > 0 { BAD } else { output::PLAIN }),
        cell(output::text(hook, "delivered")),
        cell(why),
    ]
}

/// A row below its hook's for each of several robots.
fn robots(hook: &Json) -> Vec<Vec<Cell>> {
    let of_robot = |robot: &Json| {
        let mut row = row(robot);
        row[0] = cell(format!("  {}", robot_name(robot)));
        row[1] = styled(output::text(robot, "host"), DIM);
        [3, 4, 5].into_iter().for_each(|column| row[column] = cell(""));
        row
    };
    output::list(hook, "robots").iter().map(of_robot).collect()
}

/// `robot 2 (dingtalk-2)`.
fn robot_name(robot: &Json) -> String {
    let number = output::number(robot, "robot");
    match robot["secret"].as_str() {
        Some(secret) => format!("robot {number} ({})", output::clean_line(secret)),
        None => format!("robot {number}"),
    }
}

/// The robots of a hook that are held although the hook is not.
fn held_robots(hook: &Json) -> impl Iterator<Item = &Json> {
    let robots = if output::text(hook, "state") == "held" { &[] } else { output::list(hook, "robots") };
    robots.iter().filter(|robot| output::text(robot, "state") == "held")
}

/// Columns of a terminal in which there is room for the histories besides all else.
const ROOM_FOR_HISTORY: usize = 80;

/// Puts what each hook did in the last hour before the last column, if any did something.
fn draw_histories(hooks: &[Json], head: &mut Vec<&str>, rows: &mut [Vec<Cell>]) {
    let plain = history::is_plain();
    let drawn: Vec<String> = hooks.iter().map(|hook| history::draw(hook, plain)).collect();
    if drawn.iter().all(String::is_empty) {
        return;
    }
    head.insert(head.len() - 1, "LAST HOUR");
    for (row, drawn) in rows.iter_mut().zip(drawn) {
        row.insert(row.len() - 1, cell(drawn));
    }
}

fn line(object: &Json, key: &str) -> String {
    output::clean_line(&output::text(object, key))
}

/// The diagnostic as the daemon rendered it.
fn rendered(problem: &Json) -> String {
    match problem["text"].as_str() {
        Some(text) if !text.is_empty() => output::clean(text.trim_end()),
        _ => format!("{}: {}", output::text(problem, "severity"), line(problem, "what")),
    }
}

/// Says every problem of an answer.
pub(crate) fn say_problems(answer: &Json) {
    for problem in output::list(answer, "problems") {
        output::message(rendered(problem));
    }
}

/// Whether a problem of an answer is worse than a warning.
pub(crate) fn has_errors(answer: &Json) -> bool {
    output::list(answer, "problems").iter().any(|problem| output::text(problem, "severity") != "warning")
}

/// What is said when the journal is too large and nothing in it may be removed.
fn too_much_waits(status: &Json) -> Option<String> {
    let storage = &status["storage"];
    storage["waiting_exceeds"].as_bool().unwrap_or_default().then(|| {
        let (used, bound) = (output::number(storage, "used"), output::number(storage, "max_size"));
        format!(
            "the journal holds {}, more than journal.max_size ({}), and only what waits is left: that is never removed",
            size::show(used),
            size::show(bound)
        )
    })
}

/// What somebody should look at.
fn troubles(status: &Json) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(trouble) = status["storage"]["trouble"].as_str() {
        troubles.push(output::clean_line(trouble));
    } else if let Some(why) = status["storage"]["refuses"].as_str() {
        troubles.push(output::clean_line(why));
    }
    troubles.extend(too_much_waits(status));
    let errors = output::list(status, "problems").len() as u64;
    if errors > 0 {
        troubles.push(count(errors, "problem"));
    }
    let hooks = output::list(status, "hooks").iter();
    let held = hooks.filter(|hook| output::text(hook, "state") == "held").map(|hook| output::text(hook, "hook"));
    let robots = output::list(status, "hooks").iter().flat_map(|hook| {
        held_robots(hook).map(|robot| format!("{} of {}", robot_name(robot), output::text(hook, "hook")))
    });
    let held: Vec<String> = held.chain(robots).collect();
    if !held.is_empty() {
        troubles.push(format!("held: {}", held.join(", ")));
    }
    let dead = output::number(status, "dead");
    if dead > 0 {
        troubles.push(count(dead, "dead letter"));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn check_names_what_somebody_should_look_at() {
        let healthy = json!({"hooks": [{"hook": "a", "state": "ready"}, {"hook": "b", "state": "paused"}], "dead": 0,
            "waiting": 9, "problems": [], "storage": {"trouble": null}});
        assert!(troubles(&healthy).is_empty());
        let ill = json!({"hooks": [{"hook": "a", "state": "held"}], "dead": 2, "problems": [{"severity": "error"}],
            "storage": {"trouble": "the disk is full"}});
        assert_eq!(troubles(&ill), ["the disk is full", "1 problem", "held: a", "2 dead letters"]);
        let storage =
            json!({"refuses": "little space", "waiting_exceeds": true, "used": 3_u64 << 30, "max_size": 2_u64 << 30});
        let large = json!({"hooks": [], "dead": 0, "problems": [], "storage": storage});
        let exceeds = "the journal holds 3GiB, more than journal.max_size (2GiB), and only what waits is left: that is never removed";
        assert_eq!(troubles(&large), ["little space", exceeds]);
    }

    #[test]
    fn a_row_says_until_when_and_why() {
        let hook = json!({"hook": "ops", "platform": "dingtalk", "state": "paused", "waiting": 3, "dead": 0,
            "delivered": 7, "until": "not a time", "why": "too fast"});
        let line = Columns::new(None).line(&row(&hook));
        let line = anstream::adapter::strip_str(&line).to_string();
        assert_eq!(line, "ops  dingtalk  paused  3  0  7  until not a time: too fast");
    }

    #[test]
    fn warnings_are_no_errors() {
        assert!(!has_errors(&json!({"problems": [{"severity": "warning"}]})));
        assert!(has_errors(&json!({"problems": [{"severity": "warning"}, {"severity": "error"}]})));
    }
}
