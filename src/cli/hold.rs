//! `postrider hold` and `postrider release`: stop a hook, keep its queue, let it go on.

use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::Exit;
use crate::cli::output;

/// Send nothing through a hook until it is released; its events queue up
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider hold release-to-ops --reason 'the ops group moves house'")]
pub(crate) struct Hold {
    /// The hook's name
    hook: String,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Let a held hook send again
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider release release-to-ops")]
pub(crate) struct Release {
    /// The hook's name
    hook: String,
}

impl Hold {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let order = json!({"hook": self.hook, "why": self.reason});
        let answer = Daemon::of(global).post("/v1/hold", &order).await?;
        if global.json {
            return output::json(&answer);
        }
        global.note(format!("{} is held; `postrider release {}` lets it go on", self.hook, self.hook));
        Ok(())
    }
}

impl Release {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let answer = Daemon::of(global).post("/v1/release", &json!({"hook": self.hook})).await?;
        if global.json {
            return output::json(&answer);
        }
        global.note(format!("{} sends again", self.hook));
        Ok(())
    }
}
