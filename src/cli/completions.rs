//! `postrider completions`: what a shell needs to complete words, and what it is told when it asks.
//!
//! The script of a shell is short and never changes with the commands: at each TAB it runs postrider with `VARIABLE` set,
//! which answers with commands, options and the names of hooks, platforms and sources that are there now.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use crate::cli::exit::{Code, Exit};
use crate::cli::{command, output};
use crate::edges::config::Paths;
use crate::rules::explain;
use crate::rules::hook::name_of;
use crate::rules::platform::Platforms;
use crate::rules::source::SourceScripts;
use crate::words::rows;

const VARIABLE: &str = "POSTRIDER_COMPLETE";

/// Print the script that completes commands, options and the names of hooks in a shell
///
/// Packages install it. By hand: put `source <(postrider completions bash)` into ~/.bashrc, the output of `completions zsh` into
/// a file _postrider in $fpath, or that of `completions fish` into ~/.config/fish/completions/postrider.fish.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider completions bash >/etc/bash_completion.d/postrider")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// zsh loads the file at the first TAB, as the function that is to complete: then that must happen as well.
const ZSH_FIRST: &str = r#"
if [ "$funcstack[1]" = "_postrider" ]; then
    _clap_dynamic_completer_postrider "$@"
fi
"#;

impl Completions {
    pub(crate) fn run(self) -> Result<(), Exit> {
        let name = match self.shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(name).ok_or_else(|| Exit::new(Code::Usage, format!("{name} is not known")))?;
        shell
            .write_registration(VARIABLE, "postrider", "postrider", "postrider", &mut script)
            .map_err(|error| Exit::caused(Code::Failed, "cannot write the script", &error))?;
        if matches!(self.shell, Shell::Zsh) {
            script.extend_from_slice(ZSH_FIRST.as_bytes());
        }
        output::bytes(script.trim_ascii())?;
        output::bytes(b"\n")
    }
}

/// Answers a shell that asks, and ends the process then.
pub(crate) fn answer() {
    CompleteEnv::with_factory(completing).var(VARIABLE).bin("postrider").completer("postrider").complete();
}

/// The parser, knowing which argument is the name of what.
fn completing() -> clap::Command {
    command().mut_subcommands(|subcommand| {
        let of = subcommand.get_name().to_owned();
        subcommand.mut_args(|argument| {
            if !argument.get_action().takes_values() || !argument.get_possible_values().is_empty() {
                return argument;
            }
            let names: fn() -> Vec<String> = match (of.as_str(), argument.get_id().as_str()) {
                (_, "hook") => hooks,
                ("platforms", "name") | (_, "platform") => platforms,
                ("sources", "name") => sources,
                ("schema", "command") => || rows::COMMANDS.iter().map(|(name, _)| (*name).to_owned()).collect(),
                ("help", "command") => topics,
                _ => return argument,
            };
            argument.add(ArgValueCompleter::new(move |typed: &OsStr| matching(names(), typed)))
        })
    })
}

fn matching(names: Vec<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut names: Vec<_> = names.into_iter().filter(|name| name.starts_with(&*typed)).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0))
}

/// The hooks by the names of their files: nothing is read.
fn hooks() -> Vec<String> {
    let is_hook = |path: &PathBuf| {
        let visible = path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
        visible && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let name = |path: PathBuf| name_of(&path.to_string_lossy()).ok().map(str::to_owned);
    Paths::find().hooks.iter().flat_map(|folder| files(folder)).filter(is_hook).filter_map(name).collect()
}

fn platforms() -> Vec<String> {
    let built_in = Platforms::built_in().0.into_keys();
    built_in.chain(scripts("platforms")).collect()
}

fn sources() -> Vec<String> {
    let built_in = SourceScripts::built_in().0.into_keys();
    built_in.chain(scripts("sources")).collect()
}

fn scripts(kind: &str) -> Vec<String> {
    let is_script = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rhai");
    let found = Paths::find().scripts.into_iter().flat_map(|folder| files(&folder.join(kind)).collect::<Vec<_>>());
    found.filter(is_script).filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
}

/// What `help` explains.
fn topics() -> Vec<String> {
    let command = command();
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands.map(|command| command.get_name().to_owned()).chain(explain::codes().map(str::to_owned)).collect()
}
