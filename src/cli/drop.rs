//! `postrider drop`: what waits is not wanted any more.

use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::meant::{self, Meant, confirmed};
use crate::cli::output;

/// Throw away what waits; who did it, and why, stays on record
///
/// What is being sent right now is left alone, and ends as it ends. What was dropped can be replayed by its id. It is shown
/// first what is meant, and asked. Without a terminal it needs --yes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider drop 4f2a-1042 --reason 'was a test'
  postrider drop --hook ci-mirror --since 2d --reason 'the CI is gone'
  postrider queue --json --why retry | postrider drop --yes -")]
pub(crate) struct Drop {
    #[command(flatten)]
    meant: Meant,
    /// Those that wait for this reason, such as retry, hold or pause
    #[arg(long, value_name = "REASON")]
    why: Option<String>,
    /// Why, for whoever looks later
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: Option<String>,
}

impl Drop {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        if self.meant.ids.is_empty() && !self.meant.is_filter() && self.why.is_none() {
            return Err(Exit::new(Code::Usage, "which deliveries?").help("name them, or say --hook NAME, or --all"));
        }
        let order = self.meant.order(&json!({"why": self.why, "reason": self.reason}))?;
        if self.meant.dry_run {
            let would = order.give(&daemon, "/v1/drop", true).await?;
            return meant::preview(global, &would, "would drop");
        }
        if !self.meant.yes {
            meant::must_ask_at_a_terminal()?;
            let would = order.give(&daemon, "/v1/drop", true).await?;
            if output::number(&would, "count") > 0 {
                meant::preview(global, &would, "this would drop")?;
                if !confirmed("throw them away?")? {
                    return Err(Exit::new(Code::Failed, "nothing was dropped"));
                }
            }
        }
        let done = order.give(&daemon, "/v1/drop", false).await?;
        match global.json {
            true => output::json(&done)?,
            false => {
                global.note(format!("dropped {}", meant::summary(&done)));
                let in_flight = output::number(&done, "in_flight");
                if in_flight > 0 {
                    global.note(format!("{in_flight} being sent right now: left alone"));
                }
            }
        }
        if order.named().is_some() && !global.json {
            meant::left_alone(&done);
        }
        let missed = order.named().is_some() && !output::list(&done, "not").is_empty();
        if missed { Err(Exit::silent(Code::Failed)) } else { Ok(()) }
    }
}
