//! `postrider sources`: who may send to `/in/NAME`, and which scripts there are to read it.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BOLD, Columns, DIM, cell, paint, styled};
use crate::cli::platforms::default;
use crate::cli::{Global, local};
use crate::rules::config::Config;
use crate::rules::source::SourceScript;
use crate::rules::yaml::reader::show_duration;
use crate::words::keys::SOURCE_OPTIONS;

/// List the scripts for sources, or show what one asks of the main file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider sources
  postrider sources github
  postrider sources github --source > scripts/sources/mine.rhai")]
pub(crate) struct Sources {
    /// One script, or a source of the main file
    name: Option<String>,
    /// Print the script
    #[arg(long, requires = "name")]
    source: bool,
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
        match (self.source, global.json) {
            (true, _) => output::bytes(script.source.text.as_bytes()),
            (_, true) => output::json(&object(script, &config)),
            _ => page(script, &config),
        }
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

fn page(script: &SourceScript, config: &Config) -> Result<(), Exit> {
    let manifest = &script.manifest;
    output::say(format!("{}  {}", paint(BOLD, &script.name), output::clean_line(&manifest.summary)))?;
    let origin = if script.built_in { "built in" } else { &script.source.name };
    let methods: Vec<&str> = manifest.methods.iter().map(http::Method::as_str).collect();
    let facts = [
        ("script", origin.to_owned()),
        ("at", used_as(script, config).join(" ")),
        ("methods", methods.join(" ")),
        (
            "repeats",
            manifest.replay_window.map(|window| format!("within {}", show_duration(window))).unwrap_or_default(),
        ),
    ];
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        output::say(format!("{} {fact}", paint(DIM, &format!("{name:<12}"))))?;
    }
    output::say("")?;
    let own = manifest.options.iter().map(|option| {
        vec![styled(&option.name, BOLD), cell(option.kind.word()), cell(default(option)), cell(&option.about)]
    });
    let common = SOURCE_OPTIONS
        .keys
        .iter()
        .map(|key| vec![styled(key.name, BOLD), cell(key.shape.word()), cell(""), cell(key.about)]);
    let rows: Vec<_> = own.chain(common).collect();
    Columns::new(output::terminal_width()).print(&["OPTION", "KIND", "DEFAULT", "ABOUT"], &rows)
}

fn object(script: &SourceScript, config: &Config) -> Json {
    let manifest = &script.manifest;
    let own = manifest.options.iter().map(|option| {
        json!({
            "name": option.name,
            "kind": option.kind.word(),
            "required": option.required,
            "default": option.default,
            "about": option.about,
        })
    });
    let common = SOURCE_OPTIONS.keys.iter().map(|key| {
        json!({"name": key.name, "kind": key.shape.word(), "required": false, "default": null, "about": key.about})
    });
    json!({
        "source": script.name,
        "summary": manifest.summary,
        "built_in": script.built_in,
        "at": used_as(script, config),
        "methods": manifest.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "replay_window": manifest.replay_window.map(show_duration),
        "options": own.chain(common).collect::<Vec<_>>(),
    })
}
