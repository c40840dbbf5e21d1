//! `postrider platforms`: which kinds of receiver there are, and what they ask of a hook.

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cli::exit::Exit;
use crate::cli::output::{self, Columns, cell};
use crate::cli::scripts::{Parts, Shown, objects};
use crate::cli::{Global, local};
use crate::rules::manifest::Rate;
use crate::rules::platform::Platform;

/// List the platforms, or show what one asks of a hook, where to get it, and its script
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider platforms
  postrider platforms dingtalk
  postrider platforms dingtalk --manifest
  postrider platforms dingtalk --source > scripts/platforms/mine.rhai")]
pub(crate) struct Platforms {
    /// One platform
    name: Option<String>,
    #[command(flatten)]
    parts: Parts,
}

impl Platforms {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let config = local::platforms(global.paths());
        let platforms = &config.platforms;
        let Some(name) = &self.name else {
            return list(global, platforms.0.values().map(AsRef::as_ref));
        };
        let platform = local::platform(platforms, name)?;
        let manifest = &platform.manifest;
        let shown = Shown {
            name: &platform.name,
            summary: &manifest.summary,
            source: &platform.source,
            built_in: platform.built_in,
            facts: vec![
                ("receiver", manifest.receiver.join(" + ")),
                ("pool", manifest.pool.join(", ")),
                ("rate limit", manifest.rate_limit.map(rate).unwrap_or_default()),
                ("concurrency", manifest.concurrency.to_string()),
            ],
            options: &manifest.options,
            more: Vec::new(),
            object: object(&platform),
        };
        shown.print(global, &self.parts)
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

fn object(platform: &Platform) -> Json {
    let manifest = &platform.manifest;
    json!({
        "platform": platform.name,
        "summary": manifest.summary,
        "built_in": platform.built_in,
        "receiver": manifest.receiver,
        "pool": manifest.pool,
        "rate_limit": manifest.rate_limit.map(rate),
        "concurrency": manifest.concurrency,
        "options": objects(&manifest.options),
    })
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
}
