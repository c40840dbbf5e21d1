//! `postrider replay`: once more.

use std::io::{IsTerminal, Write};

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, count};

/// Let deliveries wait again, as if they had just been accepted
///
/// Named ones may also be delivered already: their receivers then get them twice, under the same delivery id. More than one
/// asks first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider replay 4f2a-1042
  postrider replay --dead --hook release-to-ops
  postrider replay --dead --yes")]
pub(crate) struct Replay {
    /// Ids or numbers of deliveries
    #[arg(value_name = "ID", required_unless_present = "dead", conflicts_with = "dead")]
    ids: Vec<String>,
    /// All dead letters
    #[arg(long)]
    dead: bool,
    /// Of this hook only
    #[arg(long, requires = "dead")]
    hook: Option<String>,
    /// Print which, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Replay {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        if !self.dry_run && !self.yes && (self.dead || self.ids.len() > 1) {
            if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
                return Err(Exit::new(Code::Usage, "there is no terminal to ask at")
                    .help("add --yes, or look first with --dry-run"));
            }
            let meant = self.order(&daemon, true).await?.len() as u64;
            if meant > 1 && !confirmed(&format!("replay {}?", count(meant, "delivery")))? {
                return Err(Exit::new(Code::Failed, "nothing was replayed"));
            }
        }
        let replayed = self.order(&daemon, self.dry_run).await?;
        if replayed.is_empty() {
            global.note("there is nothing to replay");
        }
        for id in &replayed {
            match global.json {
                true => output::json(&json!({"delivery": id}))?,
                false => output::say(output::clean_line(id))?,
            }
        }
        // Whoever named deliveries wanted them to go out.
        match replayed.is_empty() && !self.ids.is_empty() {
            true => Err(Exit::silent(Code::Failed)),
            false => Ok(()),
        }
    }

    async fn order(&self, daemon: &Daemon, dry_run: bool) -> Result<Vec<String>, Exit> {
        let order = json!({"ids": self.ids, "dead": self.dead, "hook": self.hook, "dry_run": dry_run});
        let answer = daemon.post("/v1/replay", &order).await?;
        let ids = output::list(&answer, "deliveries").iter().filter_map(Json::as_str);
        Ok(ids.map(ToOwned::to_owned).collect())
    }
}

fn confirmed(question: &str) -> Result<bool, Exit> {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Exit::caused(Code::Failed, "cannot read the answer", &error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
