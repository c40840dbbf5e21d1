//! `postrider log`: the attempts.

use std::collections::HashSet;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::cli::Global;
use crate::cli::daemon::{Daemon, with_query};
use crate::cli::exit::{Code, Exit};
use crate::cli::meant::time;
use crate::cli::output::{self, Cell, Columns, DIM, cell, style_of, styled};
use crate::words::limits;

/// Rows without -n and --since.
const TAIL: usize = 20;

/// Show the latest attempts, and follow them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider log -f
  postrider log --failed --since 1h --hook release-to-ops
  postrider log --status 5xx --type 'build.*'
  postrider log --json --since 2026-11-22 | jq .duration_ms")]
pub(crate) struct Log {
    /// Go on with each new attempt
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// At most so many, the latest [default: 20, or all with --since]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Of this hook
    #[arg(long)]
    hook: Option<String>,
    /// Of the event with this id
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Of events whose type matches this pattern
    #[arg(long = "type", value_name = "PATTERN")]
    kind: Option<String>,
    /// Answered with this status: 503, or 5xx for all of them
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Those that did not deliver
    #[arg(long)]
    failed: bool,
    /// From then on: 1h, 2d, 2026-11-22 or 2026-11-22T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl Log {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        // Listening begins first, so that nothing falls between the past and the present.
        let stream = match self.follow {
            true => Some(daemon.stream(&with_query("/v1/stream", &self.filter())).await?),
            false => None,
        };
        let rows = match self.lines {
            Some(0) => Vec::new(),
            _ => daemon.rows(&self.past()).await?,
        };
        let mut printer = Printer::new(global);
        printer.past(&rows)?;
        let Some(mut stream) = stream else { return Ok(()) };

        let mut seen: HashSet<String> = rows.iter().map(identity).collect();
        // A daemon that stops may cut the last line: an end as good as any.
        while let Ok(Some(line)) = stream.next_line().await {
            let Some(row) = line.strip_prefix("data:") else { continue };
            let Ok(row) = serde_json::from_str::<Json>(row) else { continue };
            if !seen.remove(&identity(&row)) {
                printer.row(&row)?;
            }
        }
        Err(Exit::new(Code::NoDaemon, "the daemon stopped, or closed the connection"))
    }

    fn filter(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("hook", self.hook.clone()),
            ("event", self.event.clone()),
            ("type", self.kind.clone()),
            ("status", self.status.clone()),
            ("failed", self.failed.then(|| "1".to_owned())),
        ]
    }

    fn past(&self) -> String {
        let limit = self.lines.unwrap_or(if self.since.is_some() { limits::LIST } else { TAIL });
        let mut query = self.filter().to_vec();
        query.push(("since", self.since.map(|time| time.to_string())));
        query.push(("until", self.until.map(|time| time.to_string())));
        query.push(("limit", Some(limit.to_string())));
        with_query("/v1/log", &query)
    }
}

/// The same attempt in the past and in the stream. A pause does not count as an attempt, so the number is not enough.
fn identity(row: &Json) -> String {
    format!("{} {} {}", row["delivery"], row["attempt"], row["time"])
}

struct Printer {
    json: bool,
    head: bool,
    columns: Columns,
}

impl Printer {
    fn new(global: &Global) -> Self {
        let mut columns = Columns::new(output::terminal_width());
        // Room for the longest, or the first dead letter would push the rest aside.
        columns.measure(&["", "", "", "", "retry, dead"].map(cell));
        Self { json: global.json, head: !global.quiet, columns }
    }

    fn past(&mut self, rows: &[Json]) -> Result<(), Exit> {
        rows.iter().for_each(|row| self.columns.measure(&cells(row)));
        rows.iter().try_for_each(|row| self.row(row))
    }

    fn row(&mut self, row: &Json) -> Result<(), Exit> {
        if self.json {
            return output::json(row);
        }
        let cells = cells(row);
        if std::mem::take(&mut self.head) {
            let head =
                ["TIME", "DELIVERY", "HOOK", "TYPE", "VERDICT", "STATUS", "MS", "WHY"].map(|name| styled(name, DIM));
            self.columns.measure(&cells);
            output::say(self.columns.line(&head))?;
        }
        output::say(self.columns.line(&cells))
    }
}

fn cells(row: &Json) -> Vec<Cell> {
    let outcome = output::text(row, "outcome");
    let mut verdict = output::text(row, "verdict");
    if verdict.is_empty() {
        verdict.push_str("not sent");
    }
    // A last retry leaves a dead letter, and that is the news.
    let style = style_of(if outcome == "dead" { &outcome } else { &verdict });
    if outcome == "dead" {
        verdict = format!("{verdict}, dead");
    }
    vec![
        styled(output::time(row, "time"), DIM),
        cell(output::text(row, "delivery")),
        cell(output::text(row, "hook")),
        cell(output::text(row, "type")),
        styled(verdict, style),
        cell(output::text(row, "status")),
        cell(output::text(row, "duration_ms")),
        cell(output::text(row, "why")),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        log: Log,
    }

    fn past(args: &[&str]) -> String {
        Line::try_parse_from(std::iter::once(&"log").chain(args)).unwrap().log.past()
    }

    #[test]
    fn what_is_asked_of_the_daemon() {
        assert_eq!(past(&[]), "/v1/log?limit=20");
        assert_eq!(past(&["-n", "5", "--failed", "--hook", "a b"]), "/v1/log?hook=a+b&failed=1&limit=5");
        assert_eq!(past(&["--since", "2026-11-22T13:00:00Z"]), "/v1/log?since=2026-11-22T13%3A00%3A00Z&limit=10000");
        assert!(Line::try_parse_from(["log", "--since", "yesterday"]).is_err());
    }

    #[test]
    fn a_row_shows_when_a_retry_was_the_last() {
        let row = json!({"time": "?", "event": "e", "delivery": "d-1", "hook": "ops", "type": "a.b", "outcome": "dead",
            "verdict": "retry", "attempt": 9, "status": 503, "duration_ms": 12, "why": "503\nbusy"});
        let line = Columns::new(None).line(&cells(&row));
        assert_eq!(anstream::adapter::strip_str(&line).to_string(), "?  d-1  ops  a.b  retry, dead  503  12  503 busy");
        let mut unsent = row.clone();
        unsent["verdict"] = json!("");
        unsent["outcome"] = json!("waiting");
        unsent["status"] = Json::Null;
        let line = Columns::new(None).line(&cells(&unsent));
        assert!(anstream::adapter::strip_str(&line).to_string().contains("not sent"));
        let mut paused = row.clone();
        paused["time"] = json!("later");
        assert_ne!(identity(&row), identity(&paused));
    }
}
