//! `postrider schema`: what editors and programs need to know.

use clap::{Args, ValueEnum};
use serde_json::Value as Json;

use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, local, output};
use crate::rules::platform::Platforms;
use crate::rules::schema::{self, Names};
use crate::rules::source::SourceScripts;
use crate::words::rows;

/// Print the JSON Schema of hook files, of the main file, or of what --json prints
///
/// Of hook files and the main file it is the schema of this machine: with the options of the platforms and sources whose scripts
/// are here. Editors find one without scripts of your own at /usr/share/postrider/schema; a hook file names it in its first line:
///   # yaml-language-server: $schema=/usr/share/postrider/schema/hook.json
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider schema > ~/.config/postrider/hook.json
  postrider schema main
  postrider schema json log | jq .definitions.attempt.properties")]
pub(crate) struct Schema {
    /// Of what
    #[arg(value_enum, default_value = "hook")]
    of: Of,
    /// With `json`: of what this command prints
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Only the scripts that come with postrider, and any name for others: what packages install
    #[arg(long)]
    built_in: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A hook file
    Hook,
    /// The main file, postrider.yaml
    Main,
    /// A line of what --json prints
    Json,
}

impl Schema {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        if self.command.is_some() && self.of != Of::Json {
            return Err(Exit::new(Code::Usage, "only `schema json` takes a command"));
        }
        if self.of == Of::Json {
            return match schema::output(self.command.as_deref()) {
                Some(schema) => print(&schema),
                None => Err(Exit::new(
                    Code::Failed,
                    format!("postrider {} prints no JSON", self.command.unwrap_or_default()),
                )
                .help(format!(
                    "these do: {}",
                    rows::COMMANDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
                ))),
            };
        }
        let (platforms, scripts, names) = if self.built_in {
            (Platforms::built_in(), SourceScripts::built_in(), Names::Open)
        } else {
            let config = local::platforms(global.paths());
            (config.platforms, config.source_scripts, Names::Known)
        };
        print(&match self.of {
            Of::Main => schema::main(&scripts, names),
            _ => schema::hook(&platforms, names),
        })
    }
}

fn print(schema: &Json) -> Result<(), Exit> {
    output::say(serde_json::to_string_pretty(schema).unwrap_or_default())
}
