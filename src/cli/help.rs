//! `postrider help`: the overview, the page of a command, what the code of a diagnostic means.

use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BAD, BOLD, DIM, GOOD, paint};
use crate::cli::{command, local};
use crate::rules::explain::{self, Part};

/// Prints the help of a command or of a code.
pub(crate) fn run(name: Option<&str>) -> Result<(), Exit> {
    let mut overview = command();
    overview.build();
    let Some(name) = name else {
        return output::say(overview.render_help().ansi().to_string().trim_end());
    };
    let explained = explain::explain(name);
    if let Some(found) = overview.find_subcommand_mut(name) {
        output::say(found.render_help().ansi().to_string().trim_end())?;
        return match explained {
            Some(_) => output::say(format!("\nOf the finding error[{name}]: postrider help 'error[{name}]'")),
            None => Ok(()),
        };
    }
    match explained {
        Some(parts) => page(name, &parts),
        None => Err(unknown(name, overview.get_subcommands().map(clap::Command::get_name))),
    }
}

fn page(name: &str, parts: &[Part]) -> Result<(), Exit> {
    output::say(paint(BOLD, name))?;
    for part in parts {
        output::say("")?;
        match part {
            Part::Text(text) => output::say(text)?,
            Part::Example(kind, text) => {
                let mut words = kind.split(' ').skip(1);
                match words.next() {
                    Some("wrong") => output::say(paint(BAD, "wrong"))?,
                    Some("right") => output::say(paint(GOOD, "right"))?,
                    _ => {}
                }
                if words.next() == Some("main") {
                    output::say(paint(DIM, "  # postrider.yaml"))?;
                }
                text.lines().try_for_each(|line| output::say(format!("  {line}")))?;
            }
        }
    }
    Ok(())
}

fn unknown<'a>(name: &str, commands: impl Iterator<Item = &'a str>) -> Exit {
    let exit = Exit::new(Code::Usage, format!("there is no command and no diagnostic {name}"));
    let mut known: Vec<&str> = commands.collect();
    for code in explain::codes() {
        known.push(code);
    }
    match local::closest(name, known.into_iter()) {
        Some(close) => exit.help(format!("did you mean {close}?")),
        None => exit.help("`postrider help` lists the commands"),
    }
}
