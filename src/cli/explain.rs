//! `postrider explain`: one event, and every hook.

use std::path::Path;

use clap::Args;
use serde_json::Value as Json;

use crate::cli::daemon::{Daemon, with_name};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BOLD, DIM, GOOD, PLAIN, WAITS, count, paint, style_of};
use crate::cli::{Global, local};

/// Say for every hook what became of an event there, or why it was not wanted
///
/// For an event that is on record: delivered when, waiting until when and why, dead and why. Hooks that have no delivery of it
/// are asked as they are today. For an event that was not sent yet, a file, `-` or the JSON itself, it says what would happen.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider explain build-4711
  postrider explain 4f2a-1042                      (the event of a delivery)
  echo '{\"type\": \"deploy.done\", \"data\": {}}' | postrider explain -")]
pub(crate) struct Explain {
    /// The id of an event or of a delivery, or an event as JSON, in a file or on standard input (-)
    event: String,
}

impl Explain {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        let text = self.event.as_str();
        let told =
            if text == "-" || text.trim_start().starts_with('{') || text.contains('/') || Path::new(text).exists() {
                let event = local::event(global, text).await?;
                daemon.post_bytes("/v1/explain", local::native_text(&event).into_bytes()).await?.1
            } else {
                daemon.find(&with_name("/v1/explain", text)).await?.ok_or_else(|| {
                    Exit::new(Code::Failed, format!("there is no event and no delivery {text}"))
                        .help("it may be older than the journal keeps, see `postrider log`")
                })?
            };
        if global.json { output::json(&told) } else { page(global, &told) }
    }
}

fn page(global: &Global, told: &Json) -> Result<(), Exit> {
    let line = |key: &str| output::clean_line(&output::text(told, key));
    output::say(format!("{}  {}  {}", paint(BOLD, &line("event")), line("type"), output::time(told, "time")))?;
    let hooks = output::list(told, "hooks");
    if hooks.is_empty() {
        return output::say("there are no hooks");
    }
    let known = told["known"] == true;
    // What became of it first, then who did not want it.
    let (owed, others): (Vec<&Json>, Vec<&Json>) =
        hooks.iter().partition(|hook| hook["outcome"].is_string() || hook["wanted"] == true);
    output::say("")?;
    if owed.is_empty() {
        output::say(if known { "no hook wanted it" } else { "no hook would want it" })?;
    }
    owed.iter().try_for_each(|hook| entry(hook, known))?;
    if !others.is_empty() {
        output::say(paint(DIM, "\nnot wanted, by today's hooks"))?;
    }
    others.iter().try_for_each(|hook| entry(hook, known))?;
    if global.verbose == 0 && owed.iter().any(|hook| hook["delivery"].is_string()) {
        global.note(paint(DIM, "`postrider show DELIVERY` has every attempt"));
    }
    Ok(())
}

fn entry(hook: &Json, known: bool) -> Result<(), Exit> {
    let line = |key: &str| output::clean_line(&output::text(hook, key));
    let (state, style) = state(hook, known);
    let delivery = line("delivery");
    let beside = if delivery.is_empty() { String::new() } else { paint(DIM, &format!("  {delivery}")) };
    output::say(format!("  {}  {}{beside}", paint(BOLD, &line("hook")), paint(style, &state)))?;
    let why = line("why");
    if !why.is_empty() {
        output::say(format!("      {why}"))?;
    }
    let carrier = line("in");
    if !carrier.is_empty() {
        output::say(format!("      in the digest {carrier}"))?;
    }
    for value in output::list(hook, "values") {
        let name = output::clean_line(&output::text(value, "name"));
        match value["value"].as_str() {
            Some(value) => output::say(format!("      {name} = {}", output::clean_line(value)))?,
            None => output::say(format!("      {name} is not in this event"))?,
        }
    }
    let note = line("note");
    if note.is_empty() { Ok(()) } else { output::say(paint(DIM, &format!("      note: {note}"))) }
}

/// What became of it there, in words.
fn state(hook: &Json, known: bool) -> (String, clap::builder::styling::Style) {
    let outcome = output::text(hook, "outcome");
    let attempts = count(output::number(hook, "attempts"), "attempt");
    match outcome.as_str() {
        "" if hook["wanted"] == true => ("would be sent".to_owned(), GOOD),
        "" if known => ("not wanted".to_owned(), PLAIN),
        "" => ("would not want it".to_owned(), WAITS),
        "waiting" => {
            let until = output::relative(hook, "due").map(|due| format!(", next try {due}")).unwrap_or_default();
            (format!("waiting{until} ({attempts})"), style_of("waiting"))
        }
        "delivered" => (format!("delivered after {attempts}"), GOOD),
        outcome => (format!("{outcome} ({attempts})"), style_of(outcome)),
    }
}
