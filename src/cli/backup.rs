//! `postrider backup`: a copy of the journal while it is in use.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::Global;
use crate::cli::daemon::{Daemon, refused};
use crate::cli::exit::{Code, Exit};
use crate::cli::{output, progress};

/// Copy the journal to a file, while it is in use
///
/// The copy is the journal at one moment, whole and on disk when this ends, and appears under its name only then. The daemon
/// writes it, so its user must be allowed to. To use it, name it journal.db in an empty state directory; a daemon started
/// there sends what waited in it, under the same ids.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider backup /var/lib/postrider/backup.db
  postrider backup --force ./journal.db")]
pub(crate) struct Backup {
    /// Where to
    file: PathBuf,
    /// Replace an older copy
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let file = std::path::absolute(&self.file)
            .map_err(|error| Exit::caused(Code::Usage, format!("{} is no file", self.file.display()), &error))?;
        let order = json!({"file": file, "force": self.force});
        let mut lines = Daemon::of(global).follow("/v1/backup", &order).await?;
        let mut shown = progress::Line::new(global);
        let mut last = Json::Null;
        while let Some(line) = lines.next_line().await? {
            last = serde_json::from_str(&line).unwrap_or_default();
            if last["pages"].is_u64() {
                shown.say(|| progress::percent(output::number(&last, "pages"), output::number(&last, "of")));
            }
        }
        drop(shown);
        if last["error"].is_object() {
            return Err(refused(500, last.to_string().as_bytes()));
        }
        if !last["file"].is_string() {
            return Err(Exit::new(Code::Failed, "the daemon stopped before the copy was whole").help("begin again"));
        }
        if global.json {
            return output::json(&last);
        }
        let mebibytes = output::number(&last, "bytes") as f64 / 1_048_576.0;
        global.note(format!("{}: {mebibytes:.1} MiB", output::clean_line(&output::text(&last, "file"))));
        Ok(())
    }
}
