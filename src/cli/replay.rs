//! `postrider replay`: once more.

use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::meant::{self, Meant, confirmed};
use crate::cli::output;

/// Let dead letters wait again, as if they had just been accepted
///
/// They are rendered anew, by the hooks as they are now. Named ones may also be delivered or dropped already: their receivers
/// then get them twice, under the same delivery id. A filter means dead letters only; it is shown first what it means, and
/// asked. Without a terminal it needs --yes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider replay 4f2a-1042
  postrider replay --dead --hook release-to-ops
  postrider replay --since 2h --where \"data.app == 'shop' and '410' in why\" --dry-run
  postrider log --failed --json --since 1h | postrider replay --yes -")]
pub(crate) struct Replay {
    #[command(flatten)]
    meant: Meant,
    /// All dead letters
    #[arg(long)]
    dead: bool,
    /// Send the body of the last attempt again instead of rendering it anew; URL, headers and signature are made anew. The dry
    /// run says which cannot and why
    #[arg(long)]
    original: bool,
}

impl Replay {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        let filtered = self.dead || self.meant.is_filter();
        if self.meant.ids.is_empty() && !filtered {
            return Err(Exit::new(Code::Usage, "which deliveries?").help("name them, or say --dead"));
        }
        if self.dead && !self.meant.ids.is_empty() {
            return Err(Exit::new(Code::Usage, "--dead is for all dead letters").help("leave it out, or the ids"));
        }
        let order = self.meant.order(&json!({"dead": self.dead, "original": self.original}))?;
        if self.meant.dry_run {
            let would = order.give(&daemon, "/v1/replay", true).await?;
            return meant::preview(global, &would, "would replay");
        }
        if !self.meant.yes && order.named() != Some(1) {
            meant::must_ask_at_a_terminal()?;
            let would = order.give(&daemon, "/v1/replay", true).await?;
            if output::number(&would, "count") > 0 {
                meant::preview(global, &would, "this would replay")?;
                if !confirmed("replay them?")? {
                    return Err(Exit::new(Code::Failed, "nothing was replayed"));
                }
            }
        }
        let done = meant::replay(&order, &daemon, global).await?;
        let replayed = output::list(&done, "deliveries");
        for id in replayed {
            match global.json {
                true => output::json(&json!({"delivery": id}))?,
                false => output::say(output::clean_line(id.as_str().unwrap_or_default()))?,
            }
        }
        let all = output::number(&done, "count");
        match all {
            0 => global.note("there is nothing to replay"),
            _ if all > replayed.len() as u64 => global.note(format!("… replayed {}", meant::summary(&done))),
            _ if filtered => global.note(format!("replayed {}", meant::summary(&done))),
            _ => {}
        }
        meant::left_alone(&done);
        // Whoever named deliveries wanted all of them to go out.
        let missed = !output::list(&done, "not").is_empty() || (all == 0 && order.named().is_some());
        if missed { Err(Exit::silent(Code::Failed)) } else { Ok(()) }
    }
}
