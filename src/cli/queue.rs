//! `postrider queue`: what waits, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value as Json;

use crate::cli::Global;
use crate::cli::daemon::{Daemon, with_query};
use crate::cli::exit::Exit;
use crate::cli::meant::time;
use crate::cli::output::{self, BOLD, Cell, Columns, DIM, cell, style_of, styled};
use crate::engine::queue::{AGES, OLDER};

/// Rows without -n.
const ROWS: usize = 50;

/// Show what waits and why, what is tried next first; with --shape how much, by hook and age
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider queue
  postrider queue --hook release-to-ops --why retry
  postrider queue --shape
  postrider queue --json -n 10000 --since 1h | jq -r .delivery")]
pub(crate) struct Queue {
    /// Count instead: one row for each hook, one column for each age
    #[arg(long, conflicts_with_all = ["why", "since", "until", "kind", "lines"])]
    shape: bool,
    /// Of this hook
    #[arg(long, value_name = "NAME")]
    hook: Option<String>,
    /// For this reason: new, replayed, sending, turn, order, retry, pause, pace, digest, breaker, hold, secret missing,
    /// hook disabled, hook removed, storage
    #[arg(long, value_name = "REASON")]
    why: Option<String>,
    /// Of events whose type matches this pattern
    #[arg(long = "type", value_name = "PATTERN")]
    kind: Option<String>,
    /// Accepted since then: 1h, 2d, 2026-11-22 or 2026-11-22T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Accepted before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// At most so many [default: 50]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
}

impl Queue {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let daemon = Daemon::of(global);
        if self.shape {
            let rows = daemon.rows(&with_query("/v1/shape", &[("hook", self.hook)])).await?;
            return shape(global, &rows);
        }
        let limit = self.lines.unwrap_or(ROWS);
        // One more than is shown tells whether there are more.
        let query = [
            ("hook", self.hook),
            ("why", self.why),
            ("type", self.kind),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("limit", Some(limit.saturating_add(1).to_string())),
        ];
        let mut rows = daemon.rows(&with_query("/v1/queue", &query)).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        if global.json {
            return rows.iter().try_for_each(output::json);
        }
        if rows.is_empty() {
            global.note("nothing waits");
            return Ok(());
        }
        let cells: Vec<Vec<Cell>> = rows.iter().map(row).collect();
        let head = ["DELIVERY", "HOOK", "TYPE", "AGE", "ATTEMPTS", "NEXT", "WHY"];
        Columns::new(output::terminal_width()).print(&head, &cells)?;
        if more {
            global.note(format!("more than {limit} wait: -n shows more, --shape counts them"));
        }
        Ok(())
    }
}

fn row(row: &Json) -> Vec<Cell> {
    let reason = output::text(row, "reason");
    let next = match (output::relative(row, "due"), reason.as_str()) {
        (Some(next), _) => next,
        (None, "sending") => "now".to_owned(),
        (None, "new" | "turn" | "replayed") => "soon".to_owned(),
        (None, _) => String::new(),
    };
    vec![
        cell(output::text(row, "delivery")),
        cell(output::text(row, "hook")),
        cell(output::text(row, "type")),
        styled(age(row), DIM),
        cell(output::text(row, "attempts")),
        cell(next),
        styled(output::text(row, "why"), style_of(&reason)),
    ]
}

fn age(row: &Json) -> String {
    let accepted = output::text(row, "time").parse::<Timestamp>().ok();
    let age = accepted.and_then(|accepted| Duration::try_from(Timestamp::now().duration_since(accepted)).ok());
    output::rough(age.unwrap_or_default())
}

fn shape(global: &Global, rows: &[Json]) -> Result<(), Exit> {
    if global.json {
        return rows.iter().try_for_each(output::json);
    }
    if rows.is_empty() {
        global.note("nothing waits");
        return Ok(());
    }
    let names: Vec<&str> = AGES.iter().map(|(name, _)| *name).chain([OLDER]).collect();
    let mut cells = vec![total(rows, &names)];
    cells.extend(rows.iter().map(|row| counts(row, &names)));
    let mut head = vec!["HOOK".to_owned(), "TOTAL".to_owned()];
    head.extend(AGES.iter().map(|(name, _)| format!("<{name}")));
    head.extend([format!(">{}", AGES[AGES.len() - 1].0), "WHY".to_owned()]);
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    Columns::new(output::terminal_width()).print(&head, &cells)
}

fn counts(row: &Json, names: &[&str]) -> Vec<Cell> {
    let mut cells = vec![cell(output::text(row, "hook")), cell(output::text(row, "waiting"))];
    cells.extend(names.iter().map(|name| number(output::number(&row["ages"], name))));
    cells.push(cell(reasons(row["reasons"].as_object().into_iter().flatten().map(|(why, n)| (&**why, n.as_u64())))));
    cells
}

/// The sum of all rows.
fn total(rows: &[Json], names: &[&str]) -> Vec<Cell> {
    let sum = |count: &dyn Fn(&Json) -> u64| rows.iter().map(count).sum::<u64>();
    let mut cells = vec![styled("TOTAL", BOLD), styled(sum(&|row| output::number(row, "waiting")).to_string(), BOLD)];
    cells.extend(names.iter().map(|name| number(sum(&|row| output::number(&row["ages"], name)))));
    let mut why: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, count) in rows.iter().flat_map(|row| row["reasons"].as_object().into_iter().flatten()) {
        *why.entry(reason).or_default() += count.as_u64().unwrap_or(0);
    }
    cells.push(cell(reasons(why.into_iter().map(|(why, count)| (why, Some(count))))));
    cells
}

fn number(count: u64) -> Cell {
    if count == 0 { styled(".", DIM) } else { cell(count.to_string()) }
}

/// `12 retry, 3 pause`, the most first.
fn reasons<'a>(reasons: impl Iterator<Item = (&'a str, Option<u64>)>) -> String {
    let mut reasons: Vec<(u64, &str)> = reasons.map(|(why, count)| (count.unwrap_or(0), why)).collect();
    reasons.sort_by_key(|(count, why)| (std::cmp::Reverse(*count), *why));
    let words: Vec<String> = reasons.into_iter().map(|(count, why)| format!("{count} {why}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shape_adds_up() {
        let rows = [
            json!({"hook": "a", "waiting": 5, "ages": {"1m": 2, "1h": 3}, "reasons": {"retry": 4, "turn": 1}}),
            json!({"hook": "b", "waiting": 7, "ages": {"1m": 7}, "reasons": {"retry": 7}}),
        ];
        let plain = |cells: &[Cell]| {
            let line = Columns::new(None).line(cells);
            anstream::adapter::strip_str(&line).to_string()
        };
        assert_eq!(plain(&total(&rows, &["1m", "1h", OLDER])), "TOTAL  12  9  3  .  11 retry, 1 turn");
        assert_eq!(plain(&counts(&rows[0], &["1m", "1h", OLDER])), "a  5  2  3  .  4 retry, 1 turn");
    }
}
