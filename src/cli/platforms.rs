//! `postrider platforms`: which kinds of receiver there are, and what they ask of a hook.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::exit::Exit;
use crate::cli::output::{self, BOLD, Columns, DIM, cell, paint, styled};
use crate::cli::{Global, local};
use crate::rules::manifest::{Kind, OptionSpec, Rate};
use crate::rules::platform::Platform;

/// List the platforms, or show what one asks of a hook
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider platforms
  postrider platforms dingtalk
  postrider platforms dingtalk --source > scripts/platforms/mine.rhai")]
pub(crate) struct Platforms {
    /// One platform
    name: Option<String>,
    /// Print its script
    #[arg(long, requires = "name")]
    source: bool,
}

impl Platforms {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let config = local::platforms(global.paths());
        let platforms = &config.platforms;
        let Some(name) = &self.name else {
            return list(global, platforms.0.values().map(AsRef::as_ref));
        };
        let platform = local::platform(platforms, name)?;
        match (self.source, global.json) {
            (true, _) => output::bytes(platform.source.text.as_bytes()),
            (_, true) => output::json(&object(&platform)),
            _ => page(&platform),
        }
    }
}

fn list<'a>(global: &Global, platforms: impl Iterator<Item = &'a Platform>) -> Result<(), Exit> {
    if global.json {
        return platforms.map(object).try_for_each(|platform| output::json(&platform));
    }
    let rows: Vec<_> = platforms
        .map(|platform| {
            let origin = if platform.built_in { "" } else { "yours" };
            vec![cell(&platform.name), cell(origin), cell(&platform.manifest.summary)]
        })
        .collect();
    Columns::new(output::terminal_width()).print(&["PLATFORM", "", "WHAT"], &rows)
}

fn page(platform: &Platform) -> Result<(), Exit> {
    let manifest = &platform.manifest;
    output::say(format!("{}  {}", paint(BOLD, &platform.name), output::clean_line(&manifest.summary)))?;
    let origin = if platform.built_in { "built in" } else { &platform.source.name };
    let facts = [
        ("script", origin.to_owned()),
        ("receiver", manifest.receiver.join(" + ")),
        ("pool", manifest.pool.join(", ")),
        ("rate limit", manifest.rate_limit.map(rate).unwrap_or_default()),
        ("concurrency", manifest.concurrency.to_string()),
    ];
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        output::say(format!("{} {fact}", paint(DIM, &format!("{name:<12}"))))?;
    }
    output::say("")?;
    let rows: Vec<_> = manifest
        .options
        .iter()
        .map(|option| {
            vec![styled(&option.name, BOLD), cell(kind(&option.kind)), cell(default(option)), cell(&option.about)]
        })
        .collect();
    Columns::new(output::terminal_width()).print(&["OPTION", "KIND", "DEFAULT", "ABOUT"], &rows)
}

fn object(platform: &Platform) -> Json {
    let manifest = &platform.manifest;
    let options: Vec<Json> = manifest
        .options
        .iter()
        .map(|option| {
            json!({
                "name": option.name,
                "kind": kind(&option.kind),
                "required": option.required,
                "default": option.default,
                "about": option.about,
            })
        })
        .collect();
    json!({
        "platform": platform.name,
        "summary": manifest.summary,
        "built_in": platform.built_in,
        "receiver": manifest.receiver,
        "pool": manifest.pool,
        "rate_limit": manifest.rate_limit.map(rate),
        "concurrency": manifest.concurrency,
        "options": options,
    })
}

pub(crate) fn default(option: &OptionSpec) -> String {
    match &option.default {
        _ if option.required => "required".to_owned(),
        Json::Null => String::new(),
        Json::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

/// As a hook file would write it.
fn rate(rate: Rate) -> String {
    let seconds = rate.window.as_secs();
    let window = match seconds {
        0 => format!("{}ms", rate.window.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    };
    format!("{}/{window}", rate.count)
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Choice(words) => words.join("|"),
        kind => kind.word(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_as_a_hook_file_writes_them() {
        for (count, seconds, text) in
            [(20, 60, "20/1m"), (1, 1, "1/1s"), (5, 7200, "5/2h"), (9, 86_400, "9/1d"), (3, 90, "3/90s")]
        {
            assert_eq!(rate(Rate::new(count, Duration::from_secs(seconds))), text);
        }
    }

    #[test]
    fn defaults_are_told_from_what_must_be_set() {
        let option = |required, default| OptionSpec {
            name: "x".into(),
            kind: Kind::Text,
            required,
            default,
            about: String::new(),
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
