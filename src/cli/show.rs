//! `postrider show`: one delivery, or one event, whole.

use clap::Args;
use serde_json::Value as Json;

use crate::cli::Global;
use crate::cli::daemon::{Daemon, with_name};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BOLD, Columns, DIM, cell, count, paint, style_of, styled};

/// Show one delivery with its attempts, or one event with its deliveries
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider show 4f2a-1042
  postrider show 1042
  postrider show 0197a3c2-5b1e-7c3a-9d1f-2f8a6c1b0e4d      (an event)")]
pub(crate) struct Show {
    /// The id of a delivery, its number, or the id of an event
    id: String,
}

impl Show {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        if let Some(delivery) = daemon.find(&with_name("/v1/deliveries", &self.id)).await? {
            return if global.json { output::json(&delivery) } else { show_delivery(&delivery) };
        }
        if let Some(event) = daemon.find(&with_name("/v1/events", &self.id)).await? {
            return if global.json { output::json(&event) } else { show_event(&event) };
        }
        Err(Exit::new(Code::Failed, format!("there is no delivery and no event {}", self.id))
            .help("it may be older than the journal keeps, see `postrider log`"))
    }
}

fn show_delivery(delivery: &Json) -> Result<(), Exit> {
    let outcome = output::text(delivery, "outcome");
    let mut state = paint(style_of(&outcome), &outcome);
    let due = output::text(delivery, "due").parse::<jiff::Timestamp>();
    if due.is_ok_and(|due| due > jiff::Timestamp::now()) {
        state.push_str(&format!(" until {}", output::time(delivery, "due")));
    }
    fact("delivery", &paint(BOLD, &line(delivery, "delivery")))?;
    fact("hook", &line(delivery, "hook"))?;
    fact("outcome", &state)?;
    fact("why", &line(delivery, "why"))?;
    fact("in", &line(delivery, "in"))?;
    fact("accepted", &output::time(delivery, "time"))?;
    fact("event", &line(delivery, "event"))?;
    fact("type", &line(delivery, "type"))?;
    fact("source", &line(delivery, "source"))?;
    fact("happened", &output::time(delivery, "event_time"))?;
    fact("trace", &line(delivery, "trace"))?;

    let attempts = output::list(delivery, "attempts");
    let carrier = line(delivery, "in");
    if attempts.is_empty() {
        let beside = format!("\nit went in a digest: `postrider show {carrier}` has the attempt");
        output::say(if carrier.is_empty() { "\nno attempt yet".to_owned() } else { beside })?;
    }
    for attempt in attempts {
        output::say("")?;
        show_attempt(attempt)?;
    }
    show_data(&delivery["data"])
}

fn show_attempt(attempt: &Json) -> Result<(), Exit> {
    let verdict = output::text(attempt, "verdict");
    let verdict = if verdict.is_empty() { "not sent".to_owned() } else { verdict };
    output::say(format!(
        "{}  {}  {} {}",
        paint(BOLD, &format!("attempt {}", output::text(attempt, "attempt"))),
        output::time(attempt, "time"),
        paint(style_of(&verdict), &verdict),
        paint(DIM, &format!("({} ms)", output::number(attempt, "duration_ms"))),
    ))?;
    let indented = |name: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => output::say(format!("  {} {text}", paint(DIM, &format!("{name:<9}")))),
    };
    indented("request", &line(attempt, "request"))?;
    indented("status", &line(attempt, "status"))?;
    let response = output::clean(output::text(attempt, "response").trim_end());
    indented("response", &response.replace('\n', "\n            "))?;
    indented("why", &line(attempt, "why"))?;
    let along: Vec<String> =
        output::list(attempt, "along").iter().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
    indented("along", &output::clean_line(&along.join(" ")))
}

fn show_event(event: &Json) -> Result<(), Exit> {
    fact("event", &paint(BOLD, &line(event, "id")))?;
    fact("type", &line(event, "type"))?;
    fact("source", &line(event, "source"))?;
    fact("happened", &output::time(event, "time"))?;
    output::say("")?;
    let deliveries = output::list(event, "deliveries");
    if deliveries.is_empty() {
        output::say("no hook wanted it")?;
    } else {
        let rows: Vec<_> = deliveries
            .iter()
            .map(|row| {
                let outcome = output::text(row, "outcome");
                vec![
                    cell(output::text(row, "delivery")),
                    cell(output::text(row, "hook")),
                    styled(&outcome, style_of(&outcome)),
                    cell(count(output::number(row, "attempts"), "attempt")),
                    cell(output::text(row, "why")),
                ]
            })
            .collect();
        Columns::new(output::terminal_width()).print(&["DELIVERY", "HOOK", "OUTCOME", "", "WHY"], &rows)?;
    }
    show_data(&event["data"])
}

fn show_data(data: &Json) -> Result<(), Exit> {
    // JSON escapes control characters, all but those from U+007F on.
    let pretty = serde_json::to_string_pretty(data).unwrap_or_default();
    output::say(format!("\n{}\n{}", paint(DIM, "data"), output::clean(&pretty)))
}

fn fact(name: &str, text: &str) -> Result<(), Exit> {
    match text.is_empty() {
        true => Ok(()),
        false => output::say(format!("{} {text}", paint(DIM, &format!("{name:<9}")))),
    }
}

fn line(object: &Json, key: &str) -> String {
    output::clean_line(&output::text(object, key))
}
