//! `postrider sources`: who may send to `/in/NAME`, and which scripts there are to read it.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BOLD, Columns, cell, styled};
use crate::cli::scripts::{Parts, Shown, objects};
use crate::cli::{Global, local};
use crate::rules::config::Config;
use crate::rules::source::SourceScript;
use crate::rules::yaml::reader::show_duration;
use crate::words::keys::SOURCE_OPTIONS;

/// List the scripts for sources, or show what one asks of the main file, and its text
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider sources
  postrider sources github
  postrider sources github --manifest
  postrider sources github --source > scripts/sources/mine.rhai")]
pub(crate) struct Sources {
    /// One script, or a source of the main file
    name: Option<String>,
    #[command(flatten)]
    parts: Parts,
}

impl Sources {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let config = local::platforms(global.paths());
        let Some(name) = &self.name else {
            return list(global, &config);
        };
        let named = config.settings.sources.get(name).map(|source| &source.script);
        let script = named.or_else(|| config.source_scripts.get(name)).ok_or_else(|| {
            let exit = Exit::new(Code::Failed, format!("there is no script {name} for sources"));
            match local::closest(name, config.source_scripts.0.keys().map(String::as_str)) {
                Some(close) => exit.help(format!("did you mean {close}?")),
                None => exit.help("`postrider sources` lists them"),
            }
        })?;
        shown(script, &config).print(global, &self.parts)
    }
}

/// The sources of the main file that use a script.
fn used_as(script: &SourceScript, config: &Config) -> Vec<String> {
    let sources = config.settings.sources.values().filter(|source| source.script.name == script.name);
    sources.map(|source| format!("/in/{}", source.name)).collect()
}

fn list(global: &Global, config: &Config) -> Result<(), Exit> {
    let scripts = config.source_scripts.0.values();
    if global.json {
        return scripts.map(|script| object(script, config)).try_for_each(|script| output::json(&script));
    }
    let rows: Vec<_> = scripts
        .map(|script| {
            let origin = if script.built_in { "" } else { "yours" };
            let used = used_as(script, config).join(" ");
            vec![cell(&script.name), cell(origin), cell(used), cell(&script.manifest.summary)]
        })
        .collect();
    Columns::new(output::terminal_width()).print(&["SOURCE", "", "AT", "WHAT"], &rows)
}

fn shown<'a>(script: &'a SourceScript, config: &Config) -> Shown<'a> {
    let manifest = &script.manifest;
    let methods: Vec<&str> = manifest.methods.iter().map(http::Method::as_str).collect();
    let repeats = manifest.replay_window.map(|window| format!("within {}", show_duration(window)));
    let common = SOURCE_OPTIONS
        .keys
        .iter()
        .map(|key| vec![styled(key.name, BOLD), cell(key.shape.word()), cell(""), cell(key.about)]);
    Shown {
        name: &script.name,
        summary: &manifest.summary,
        source: &script.source,
        built_in: script.built_in,
        facts: vec![
            ("at", used_as(script, config).join(" ")),
            ("types", manifest.types.join(" ")),
            ("methods", methods.join(" ")),
            ("repeats", repeats.unwrap_or_default()),
        ],
        options: &manifest.options,
        more: common.collect(),
        object: object(script, config),
    }
}

fn object(script: &SourceScript, config: &Config) -> Json {
    let manifest = &script.manifest;
    let common = SOURCE_OPTIONS.keys.iter().map(|key| {
        json!({
            "name": key.name, "kind": key.shape.word(), "required": false, "default": null, "about": key.about,
            "where": null,
        })
    });
    json!({
        "source": script.name,
        "summary": manifest.summary,
        "built_in": script.built_in,
        "at": used_as(script, config),
        "types": manifest.types,
        "methods": manifest.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "replay_window": manifest.replay_window.map(show_duration),
        "options": objects(&manifest.options).into_iter().chain(common).collect::<Vec<_>>(),
    })
}
