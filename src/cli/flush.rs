//! `postrider flush`: what waits for another try is tried now.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};

/// Try now what waits for a retry, and probe receivers that are left alone
///
/// What waits for company in a digest goes now. A pause that a receiver asked for, its pace, a hold and a missing secret stay
/// as they are; it says which hooks wait for one. No attempt is counted and none is forgotten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider flush
  postrider flush ci-mirror")]
pub(crate) struct Flush {
    /// The hook; all of them, when none is named
    hook: Option<String>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Flush {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let order = json!({"hook": self.hook, "dry_run": self.dry_run});
        let done = Daemon::of(global).post("/v1/flush", &order).await?;
        if global.json {
            return output::json(&done);
        }
        let due = if self.dry_run { "would be due now" } else { "due now" };
        output::say(format!("{} {due}", count(output::number(&done, "count"), "delivery")))?;
        output::list(&done, "receivers").iter().try_for_each(|receiver| output::say(waits(receiver)))
    }
}

/// What keeps one hook waiting all the same.
fn waits(receiver: &Json) -> String {
    let (hook, why) = (output::text(receiver, "hook"), output::text(receiver, "why"));
    let until = output::relative(receiver, "until").map(|until| format!(", {until}")).unwrap_or_default();
    let because = if why.is_empty() { String::new() } else { format!(": {}", output::clean_line(&why)) };
    match output::text(receiver, "reason").as_str() {
        "breaker" => format!("{hook} was left alone, and is probed now{because}"),
        "digest" => format!("{hook} does not wait for company any longer"),
        reason => format!("{hook} waits all the same ({reason}){until}{because}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told() {
        let paused = json!({"hook": "ops", "reason": "pause", "why": "too fast", "until": null});
        assert_eq!(waits(&paused), "ops waits all the same (pause): too fast");
        let collecting = json!({"hook": "ops", "reason": "digest", "why": "", "until": null});
        assert_eq!(waits(&collecting), "ops does not wait for company any longer");
        let broken = json!({"hook": "ops", "reason": "breaker", "why": "503", "until": null});
        assert_eq!(waits(&broken), "ops was left alone, and is probed now: 503");
    }
}
