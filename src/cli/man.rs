//! `postrider man`: the manual pages, for packages. Pages of commands come from the parser, lists of keys and functions from
//! the tables that files and scripts are read by; the rest is prose in `packaging/man`.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;
use roff::{Inline, Roff, bold, italic, roman};

use crate::cli::exit::{Code, Exit};
use crate::cli::{Cli, output};
use crate::rules::explain;
use crate::rules::platform::Platforms;
use crate::rules::script::manual;
use crate::rules::source::SourceScripts;
use crate::words::keys::{self, Key, Table, Unless};
use crate::words::rows::{COMMANDS, Field, Holds, Row};

/// When the prose was last gone over.
const DATE: &str = "2026-11-25";

const PROSE: [(&str, &str); 4] = [
    ("postrider.8", include_str!("../../packaging/man/postrider.8")),
    ("postrider-hook.5", include_str!("../../packaging/man/postrider-hook.5")),
    ("postrider.yaml.5", include_str!("../../packaging/man/postrider.yaml.5")),
    ("postrider-rhai.7", include_str!("../../packaging/man/postrider-rhai.7")),
];

/// Write the manual pages into a folder
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder; it is made when it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<(), Exit> {
        let failed = |error: std::io::Error| {
            Exit::caused(Code::Failed, format!("cannot write to {}", self.folder.display()), &error)
        };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        for (name, text) in pages().map_err(failed)? {
            std::fs::write(self.folder.join(&name), text).map_err(failed)?;
            output::say(self.folder.join(name).display())?;
        }
        Ok(())
    }
}

/// Every page by its file's name.
fn pages() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut pages: Vec<_> =
        PROSE.iter().map(|(name, text)| ((*name).to_owned(), expanded(text).into_bytes())).collect();
    let mut whole = Cli::command();
    whole.build();
    for command in whole.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages.push((format!("postrider-{}.8", command.get_name()), of_command(command)?));
    }
    Ok(pages)
}

fn of_command(command: &Command) -> std::io::Result<Vec<u8>> {
    let name = command.get_name();
    let version = format!("postrider {}", env!("CARGO_PKG_VERSION"));
    let page = Page::new(command.clone())
        .title(format!("POSTRIDER-{}", name.to_uppercase()))
        .section("8")
        .date(DATE)
        .source(version)
        .manual("System Manager's Manual");
    // What every command understands is told once, among the options.
    let own = command.clone().mut_args(|argument| match argument.is_global_set() {
        true => argument.hide(true),
        false => argument,
    });
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    Page::new(own).render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let mut rest = Roff::new();
    let rows = COMMANDS.iter().find(|(known, _)| *known == name).map(|(_, rows)| *rows);
    if let Some(rows) = rows {
        rest.control("SH", ["JSON"]);
        let what =
            "With --json each line is one object; its members are these. `postrider schema json` prints the schema.";
        rest.text(words(what));
        rows.iter().for_each(|row| of_row(&mut rest, row));
    }
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
    if !examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]);
        rest.control("nf", []);
        examples.iter().for_each(|line| {
            rest.text([roman(*line)]);
        });
        rest.control("fi", []);
    }
    rest.control("SH", ["EXIT STATUS"]);
    rest.text([roman("0 when it is done; the other codes are those of "), bold("postrider"), roman("(8).")]);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("postrider"), roman("(8), "), bold("postrider-hook"), roman("(5)")]);
    text.extend_from_slice(rest.to_roff().as_bytes());
    Ok(smoothed(&String::from_utf8_lossy(&text)).into_bytes())
}

/// There is one form of help, and no room is made twice.
fn smoothed(page: &str) -> String {
    page.replace(" (see a summary with \\*(Aq\\-h\\*(Aq)", "").replace(".br\n\n.br\n", ".br\n")
}

fn of_row(page: &mut Roff, row: &'static Row) {
    page.control("SS", [row.about]);
    for field in row.fields {
        page.control("TP", []);
        page.text([bold(field.name), roman(format!(" ({})", holds(&field.holds)))]);
        page.text(words(&meaning(field)));
    }
}

/// The members of an object inside are told with it.
fn meaning(field: &'static Field) -> String {
    match inner(&field.holds) {
        Some(row) => {
            let members: Vec<_> = row.fields.iter().map(|field| format!("`{}`", field.name)).collect();
            format!("{} It has {}.", field.about, members.join(", "))
        }
        None => field.about.to_owned(),
    }
}

fn inner(what: &'static Holds) -> Option<&'static Row> {
    match what {
        Holds::One(row) | Holds::Many(row) => Some(row),
        Holds::OrNull(one) | Holds::Maybe(one) => inner(one),
        _ => None,
    }
}

fn holds(what: &Holds) -> String {
    match what {
        Holds::Text => "text".to_owned(),
        Holds::Word(words) => {
            words.iter().map(|word| if word.is_empty() { "\"\"" } else { *word }).collect::<Vec<_>>().join(" | ")
        }
        Holds::Count | Holds::Whole => "number".to_owned(),
        Holds::Bool => "true or false".to_owned(),
        Holds::Time => "time".to_owned(),
        Holds::Texts => "list of texts".to_owned(),
        Holds::Pairs => "list of pairs".to_owned(),
        Holds::Map | Holds::One(_) => "object".to_owned(),
        Holds::Counts => "object of numbers".to_owned(),
        Holds::Any => "any value".to_owned(),
        Holds::Many(_) => "list of objects".to_owned(),
        Holds::OrNull(one) => format!("{} or null", holds(one)),
        Holds::Maybe(one) => format!("{}; may be missing", holds(one)),
    }
}

/// Prose with its lists written out. A list stands where a comment names it: `.\" @keys hook`.
fn expanded(prose: &str) -> String {
    let mut text = String::new();
    for line in prose.lines() {
        match line.strip_prefix(".\\\" @") {
            Some(list) => text.push_str(&listed(list.trim())),
            None => {
                text.push_str(&line.replace("@date@", DATE).replace("@version@", env!("CARGO_PKG_VERSION")));
                text.push('\n');
            }
        }
    }
    text
}

fn listed(list: &str) -> String {
    let mut page = Roff::new();
    match list {
        "functions" => manual::GROUPS.iter().for_each(|group| of_functions(&mut page, group)),
        "codes" => {
            let codes: Vec<_> = explain::codes().collect();
            page.text([roman(codes.join(", "))]);
        }
        "platforms" => {
            for platform in Platforms::built_in().0.values() {
                entry(&mut page, &platform.name, "", &platform.manifest.summary);
            }
        }
        "sources" => {
            for script in SourceScripts::built_in().0.values() {
                entry(&mut page, &script.name, "", &script.manifest.summary);
            }
        }
        keys => {
            let table = table(keys.trim_start_matches("keys "));
            table.iter().flat_map(|table| table.keys).for_each(|key| of_key(&mut page, key));
        }
    }
    page.to_roff()
}

fn table(name: &str) -> Option<&'static Table> {
    Some(match name {
        "hook" => &keys::HOOK,
        "retry" => &keys::RETRY,
        "breaker" => &keys::BREAKER,
        "dedupe" => &keys::DEDUPE,
        "digest" => &keys::DIGEST,
        "rate_limit" => &keys::RATE,
        "verdict" => &keys::RULE,
        "tests" => &keys::TEST,
        "event" => &keys::TEST_EVENT,
        "response" => &keys::TEST_RESPONSE,
        "expect" => &keys::EXPECT,
        "sign" => &keys::SIGN,
        "main" => &keys::MAIN,
        "listen" => &keys::LISTEN,
        "journal" => &keys::JOURNAL,
        "defaults" => &keys::DEFAULTS,
        "limits" => &keys::LIMITS,
        "network" => &keys::NETWORK,
        "traces" => &keys::TRACES,
        "source" => &keys::SOURCE,
        "source-options" => &keys::SOURCE_OPTIONS,
        _ => return None,
    })
}

fn of_key(page: &mut Roff, key: &Key) {
    let unless = match key.unless {
        Unless::Required => "; required".to_owned(),
        Unless::Default(value) => format!("; {value} unless said"),
        Unless::Otherwise("") => String::new(),
        Unless::Otherwise(what) => format!("; {what} unless said").replace("required elsewhere", "none"),
    };
    entry(page, key.name, &format!(" ({}{unless})", key.shape.word()), key.about);
}

fn entry(page: &mut Roff, name: &str, more: &str, about: &str) {
    page.control("TP", []);
    page.text([bold(name), roman(more)]);
    page.text(words(about));
}

fn of_functions(page: &mut Roff, group: &manual::Group) {
    page.control("SS", [group.title]);
    for function in group.functions {
        page.control("TP", []);
        page.text([bold(function.usage)]);
        page.text(words(function.about));
        let gives = if function.gives.is_empty() { String::new() } else { format!(" == {}", function.gives) };
        page.control("nf", []);
        page.text([italic(format!("{}{gives}", function.example))]);
        page.control("fi", []);
    }
}

/// A sentence; what stands in backticks is bold.
fn words(text: &str) -> Vec<Inline> {
    text.split('`')
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .map(|(number, part)| if number % 2 == 1 { bold(part) } else { roman(part) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_of_the_prose_is_there() {
        let mut lists = 0;
        for (name, text) in PROSE {
            for line in text.lines().filter_map(|line| line.strip_prefix(".\\\" @")) {
                assert!(!listed(line.trim()).is_empty(), "{name}: {line}");
                lists += 1;
            }
        }
        assert!(lists > 15, "only {lists} lists");
    }
}
