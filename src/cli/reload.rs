//! `postrider reload`: read everything again, now.

use clap::Args;

use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, count};
use crate::cli::{Global, status};

/// Let the daemon read its files again, and say what changed
///
/// Changed files are found without it; this waits until they are in use. A broken file keeps its last good version, is printed,
/// and makes the exit code 78.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider reload && postrider test release-to-ops")]
pub(crate) struct Reload {}

impl Reload {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let (answered, result) = Daemon::of(global).post_bytes("/v1/reload", b"{}".to_vec()).await?;
        if global.json {
            output::json(&result)?;
        } else {
            let changes: Vec<String> = ["added", "changed", "removed"]
                .into_iter()
                .filter(|key| !output::list(&result, key).is_empty())
                .map(|key| format!("{key} {}", output::names(&result, key)))
                .collect();
            let changes = if changes.is_empty() { "nothing changed".to_owned() } else { changes.join("; ") };
            if !global.quiet {
                output::say(format!("{}: {changes}", count(output::number(&result, "hooks"), "hook")))?;
            }
            status::say_problems(&result);
        }
        match answered == 422 || status::has_errors(&result) {
            true => Err(Exit::silent(Code::Configuration)),
            false => Ok(()),
        }
    }
}
