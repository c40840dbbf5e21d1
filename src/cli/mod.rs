//! The command line: parse, run, print, exit code.
//!
//! One file per command. Each holds a `clap::Args` struct with
//!
//! * `fn run(self, global: &Global) -> Result<(), Exit>` for `run` and `demo`, which build a runtime of their own, and for
//!   the commands that do no network I/O,
//! * `async fn run(self, global: &Global) -> Result<(), Exit>` for the others (`sink` too), which are given a
//!   single-threaded runtime.
//!
//! What a command found goes to stdout, what it has to say about it to stderr.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::exit::{Code, Exit};
use crate::edges::config::Paths;
use crate::edges::proof;

mod ask;
mod backup;
mod check;
mod completions;
mod daemon;
mod demo;
mod drop;
mod emit;
mod exit;
mod explain;
mod fields;
mod flush;
mod help;
mod history;
mod hold;
mod local;
mod log;
mod logging;
mod man;
mod meant;
mod new;
mod output;
mod panics;
mod platforms;
mod progress;
mod queue;
mod reload;
mod render;
mod replay;
mod run;
mod schema;
mod script;
mod scripts;
mod show;
mod sign;
mod signing;
mod sink;
mod sources;
mod status;
mod test;
mod verify;
mod wrap;

/// Sendmail for webhooks: takes events, keeps them, and delivers each to the hooks that want it until it arrives.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Use this main file instead of the found postrider.yaml
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Talk to the daemon over this socket
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(crate) socket: Option<PathBuf>,
    /// Print JSON, one object per line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// No colours
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_color: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Say more; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    Emit(emit::Emit),
    Wrap(wrap::Wrap),
    Test(test::Test),
    New(new::New),
    Check(check::Check),
    Render(render::Render),
    Script(script::Script),
    Platforms(platforms::Platforms),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Sources(sources::Sources),
    Status(status::Status),
    Log(log::Log),
    Queue(queue::Queue),
    Show(show::Show),
    Explain(explain::Explain),
    Replay(replay::Replay),
    Flush(flush::Flush),
    Drop(drop::Drop),
    Hold(hold::Hold),
    Release(hold::Release),
    Backup(backup::Backup),
    Run(run::Run),
    Reload(reload::Reload),
    Sink(sink::Sink),
    Demo(demo::Demo),
    Schema(schema::Schema),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
    /// Try hooks and scripts that come over standard input; the daemon starts this itself
    #[command(hide = true)]
    Prove,
    /// Print this overview, the help of a command, or what a diagnostic means
    #[command(
        after_help = "Examples:\n  postrider help emit\n  postrider help unknown-key\n  postrider help 'error[script]'"
    )]
    Help {
        /// A command, or the code of a diagnostic
        #[arg(value_name = "COMMAND|CODE")]
        command: Option<String>,
    },
}

/// The overview's headings. clap prints one flat list, which sorts nothing by what it is for.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Send", &["emit", "wrap", "test"]),
    ("Hooks", &["new", "check", "render", "script", "platforms", "sources", "sign", "verify"]),
    ("Look", &["status", "log", "queue", "show", "explain"]),
    ("Act", &["replay", "flush", "drop", "hold", "release", "backup"]),
    ("Run", &["run", "reload", "sink", "demo"]),
    ("Learn", &["schema", "completions", "help"]),
];

const EXIT_CODES: &str = "Exit codes:
  0 done                         69 no daemon at the socket
  1 the thing tried did not work 75 try again later
  2 usage                        77 permission
 65 bad event                    78 configuration";

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(Style::new().dimmed());

/// Runs the program: the whole of `main`.
pub fn main() -> ExitCode {
    panics::install();
    completions::answer();
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(usage) => usage.exit(),
    };
    if cli.global.no_color {
        anstream::ColorChoice::Never.write_global();
    }
    match dispatch(cli) {
        Ok(code) => code,
        Err(exit) => report(&exit),
    }
}

/// Says why a command ended, and gives the code to the shell.
fn report(exit: &Exit) -> ExitCode {
    if let Some(message) = exit.message() {
        output::message(format!("{} {message}", output::paint(AnsiColor::Red.on_default().bold(), "error:")));
    }
    if let Some(help) = exit.advice() {
        output::message(format!("{} {help}", output::paint(AnsiColor::Cyan.on_default(), "help:")));
    }
    ExitCode::from(exit.code() as u8)
}

fn dispatch(Cli { global, command }: Cli) -> Result<ExitCode, Exit> {
    let global = &global;
    match command {
        Command::Prove => return Ok(proof::child::main()),
        Command::Wrap(wrap) => return wait(wrap.run(global)),
        Command::Emit(emit) => wait(emit.run(global)),
        Command::Test(test) => wait(test.run(global)),
        Command::New(new) => new.run(global),
        Command::Check(check) => check.run(global),
        Command::Render(render) => wait(render.run(global)),
        Command::Script(script) => wait(script.run(global)),
        Command::Platforms(platforms) => platforms.run(global),
        Command::Sign(sign) => sign.run(global),
        Command::Verify(verify) => verify.run(global),
        Command::Sources(sources) => sources.run(global),
        Command::Status(status) => wait(status.run(global)),
        Command::Log(log) => wait(log.run(global)),
        Command::Queue(queue) => wait(queue.run(global)),
        Command::Show(show) => wait(show.run(global)),
        Command::Explain(explain) => wait(explain.run(global)),
        Command::Replay(replay) => wait(replay.run(global)),
        Command::Flush(flush) => wait(flush.run(global)),
        Command::Drop(drop) => wait(drop.run(global)),
        Command::Backup(backup) => wait(backup.run(global)),
        Command::Hold(hold) => wait(hold.run(global)),
        Command::Release(release) => wait(release.run(global)),
        Command::Run(run) => run.run(global),
        Command::Reload(reload) => wait(reload.run(global)),
        Command::Sink(sink) => wait(sink.run(global)),
        Command::Demo(demo) => demo.run(global),
        Command::Schema(schema) => schema.run(global),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Help { command } => help::run(command.as_deref()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// One thread is enough for a command that asks and prints.
fn wait<T>(work: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::caused(Code::Failed, "cannot start", &error))?;
    let done = runtime.block_on(work);
    // A thread may still be waiting for standard input; nobody waits for it.
    runtime.shutdown_background();
    done
}

/// The parser, with the overview grouped by purpose.
fn command() -> clap::Command {
    let command = Cli::command().styles(STYLES);
    let mut list = String::new();
    for (group, names) in GROUPS {
        list.push_str(&format!("{}\n", output::paint(Style::new().bold(), &format!("{group}:"))));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
            let name = output::paint(AnsiColor::Cyan.on_default(), &format!("{name:<11}"));
            list.push_str(&format!("  {name} {}\n", about.unwrap_or_default()));
        }
        list.push('\n');
    }
    let page = format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}{{options}}{{after-help}}");
    // One page for -h and --help: clap's long form puts every option into a paragraph of its own.
    let command = command.mut_subcommands(|subcommand| match subcommand.get_long_about().cloned() {
        Some(about) => subcommand.about(about).long_about(None),
        None => subcommand,
    });
    command.help_template(page).after_help(EXIT_CODES)
}

impl Global {
    /// Where everything is, as far as the user did not say otherwise.
    pub(crate) fn paths(&self) -> Paths {
        self.paths_or(None)
    }

    /// The same, when a command knows better than to look around.
    pub(crate) fn paths_or(&self, known: Option<Paths>) -> Paths {
        let mut paths = known.unwrap_or_else(Paths::find);
        if let Some(main) = &self.config {
            paths.main = main.clone();
        }
        paths
    }

    /// How much the daemon's log says.
    pub(crate) fn log_level(&self) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::WARN,
            (_, 0) => LevelFilter::INFO,
            (_, 1) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }

    /// The socket for questions and orders.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.paths().admin)
    }

    /// Says something that is not the result; `--quiet` swallows it.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            output::message(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_stands_in_one_group_and_has_an_example() {
        let command = command();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        grouped.sort_unstable();
        let shown = |command: &&clap::Command| !command.is_hide_set();
        let mut known: Vec<&str> = command.get_subcommands().filter(shown).map(clap::Command::get_name).collect();
        known.sort_unstable();
        assert!(known.len() > 10);
        assert_eq!(grouped, known);
        for subcommand in command.get_subcommands().filter(shown) {
            let name = subcommand.get_name();
            let after = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains(&format!("  postrider {name}")), "{name} has no example");
            assert!(subcommand.get_about().is_some(), "{name} does not say what it does");
        }
    }

    #[test]
    fn a_mistyped_command_is_a_usage_error() {
        let error = command().try_get_matches_from(["postrider", "emitt"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("emit"));
    }
}
