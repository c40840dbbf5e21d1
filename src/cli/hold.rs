//! `postrider hold` and `postrider release`: stop a hook, keep its queue, let it go on.

use clap::Args;
use serde_json::json;

use crate::cli::Global;
use crate::cli::daemon::Daemon;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::rules::yaml::reader::{DurationError, parse_duration};

/// Send nothing through a hook until it is released; its events queue up
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider hold release-to-ops --reason 'the ops group moves house'
  postrider hold ci-mirror --for 2h --reason 'the CI is being upgraded'")]
pub(crate) struct Hold {
    /// The hook's name
    hook: String,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Let it go on by itself after this time, such as 2h or 1d12h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<String>,
}

/// Let a held hook send again
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider release release-to-ops")]
pub(crate) struct Release {
    /// The hook's name
    hook: String,
}

/// A duration as hook files write it; it goes to the daemon as it was written.
fn duration(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(DurationError::NoUnit) => Err(format!("{text} of what? write for example {text}h")),
        Err(DurationError::Nonsense) => Err("write for example 2h, 30m or 1d12h".to_owned()),
    }
}

impl Hold {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let order = json!({"hook": self.hook, "why": self.reason, "for": self.duration});
        let answer = Daemon::of(global).post("/v1/hold", &order).await?;
        if global.json {
            return output::json(&answer);
        }
        let until = match &self.duration {
            Some(duration) => format!(" for {duration}"),
            None => String::new(),
        };
        global.note(format!("{} is held{until}; `postrider release {}` lets it go on", self.hook, self.hook));
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
