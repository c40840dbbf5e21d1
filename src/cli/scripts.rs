//! A script as `platforms NAME` and `sources NAME` show it: what it declares, and its text.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::Global;
use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, Cell, Columns, DIM, cell, paint, styled};
use crate::rules::diagnostic::Source;
use crate::rules::manifest::{Kind, OptionSpec};

/// How much of it.
#[derive(Debug, Args)]
pub(crate) struct Parts {
    /// Print its script alone, as a file to begin from
    #[arg(long, requires = "name", conflicts_with = "manifest")]
    source: bool,
    /// Print what it declares, without its script
    #[arg(long, requires = "name")]
    manifest: bool,
}

/// One script.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    pub(crate) summary: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) built_in: bool,
    /// What is said above the options, by their names.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) options: &'a [OptionSpec],
    /// Options that the script itself does not declare.
    pub(crate) more: Vec<Vec<Cell>>,
    /// The same for programs.
    pub(crate) object: Json,
}

impl Shown<'_> {
    /// Prints it.
    pub(crate) fn print(self, global: &Global, parts: &Parts) -> Result<(), Exit> {
        let text = &self.source.text;
        if parts.source {
            return output::bytes(text.as_bytes());
        }
        if global.json {
            let mut object = self.object;
            if !parts.manifest {
                object["script"] = Json::from(&**text);
            }
            return output::json(&object);
        }
        self.page()?;
        if parts.manifest {
            return Ok(());
        }
        output::say(paint(DIM, "\nSCRIPT"))?;
        output::say(output::clean(text.trim_end()))
    }

    fn page(&self) -> Result<(), Exit> {
        output::say(format!("{}  {}", paint(BOLD, self.name), output::clean_line(self.summary)))?;
        let origin = if self.built_in { "built in" } else { &self.source.name };
        let facts = [("script", origin.to_owned())].into_iter().chain(self.facts.iter().cloned());
        for (name, fact) in facts.filter(|(_, fact)| !fact.is_empty()) {
            output::say(format!("{} {}", paint(DIM, &format!("{name:<12}")), output::clean_line(&fact)))?;
        }
        output::say("")?;
        let own = self.options.iter().map(|option| {
            vec![styled(&option.name, BOLD), cell(kind(&option.kind)), cell(default(option)), cell(&option.about)]
        });
        let rows: Vec<_> = own.chain(self.more.iter().cloned()).collect();
        let width = output::terminal_width();
        Columns::new(width).print(&["OPTION", "KIND", "DEFAULT", "ABOUT"], &rows)?;
        let origins: Vec<_> = self.options.iter().filter_map(|one| Some((&one.name, one.origin.as_ref()?))).collect();
        if !origins.is_empty() {
            output::say(paint(DIM, "\nWHERE TO GET IT"))?;
        }
        let longest = origins.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, origin) in origins {
            let indent = longest + 2;
            let text = output::wrapped(&output::clean_line(origin), indent, width);
            output::say(format!("{}{text}", paint(BOLD, &format!("{name:<indent$}"))))?;
        }
        Ok(())
    }
}

/// Its options for programs.
pub(crate) fn objects(options: &[OptionSpec]) -> Vec<Json> {
    let object = |option: &OptionSpec| {
        json!({
            "name": option.name,
            "kind": kind(&option.kind),
            "required": option.required,
            "default": option.default,
            "about": option.about,
            "where": option.origin,
        })
    };
    options.iter().map(object).collect()
}

fn default(option: &OptionSpec) -> String {
    match &option.default {
        _ if option.required => "required".to_owned(),
        Json::Null => String::new(),
        Json::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Choice(words) => words.join("|"),
        kind => kind.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_told_from_what_must_be_set() {
        let option = |required, default| OptionSpec {
            name: "x".into(),
            kind: Kind::Text,
            required,
            default,
            about: String::new(),
            origin: None,
        };
        for (required, value, text) in [
            (true, Json::Null, "required"),
            (false, Json::Null, ""),
            (false, json!("POST"), "POST"),
            (false, json!([]), "[]"),
            (false, json!(true), "true"),
        ] {
            assert_eq!(default(&option(required, value)), text);
        }
    }
}
