//! Which deliveries a command means: named ones, ids that come over standard input, or a filter; and asking before it acts.

use std::io::{IsTerminal, Write};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};

use crate::cli::daemon::{Daemon, refused};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, Columns, DIM, cell, count, paint, styled};
use crate::cli::progress::Line;
use crate::cli::{Global, local};
use crate::rules::template::select::Selection;
use crate::words::limits;

/// The deliveries that are meant.
#[derive(Debug, Args)]
pub(crate) struct Meant {
    /// Ids or numbers of deliveries; `-` reads them from standard input, one per line, also as `queue --json` and `log --json`
    /// print them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Of this hook
    #[arg(long, value_name = "NAME")]
    pub(crate) hook: Option<String>,
    /// Of events whose type matches this pattern
    #[arg(long = "type", value_name = "PATTERN")]
    pub(crate) kind: Option<String>,
    /// Accepted since then: 1h, 2d, 2026-11-22 or 2026-11-22T13:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Accepted before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// Of which this is true: an expression over the event as in `when`, and why, attempts, outcome
    #[arg(long = "where", value_name = "EXPRESSION")]
    pub(crate) selection: Option<String>,
    /// All of them, when nothing else is said
    #[arg(long)]
    pub(crate) all: bool,
    /// Print which, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// A point in time as people say it.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    output::point_in_time(text, Timestamp::now(), &TimeZone::system())
}

impl Meant {
    /// Whether a filter says which are meant.
    pub(crate) fn is_filter(&self) -> bool {
        let limited = self.hook.is_some() || self.kind.is_some() || self.selection.is_some();
        limited || self.since.is_some() || self.until.is_some() || self.all
    }

    /// The order, and whether deliveries are named in it. `more` is what a command adds to it.
    pub(crate) fn order(&self, more: &Json) -> Result<Order, Exit> {
        if let Some(Err(found)) = self.selection.as_deref().map(Selection::compile) {
            local::say(&found);
            return Err(Exit::silent(Code::Usage));
        }
        if !self.ids.is_empty() && self.is_filter() {
            return Err(Exit::new(Code::Usage, "deliveries are named, and a filter says which are meant")
                .help("leave out one of them"));
        }
        let mut ids = Vec::new();
        for id in &self.ids {
            match id.as_str() {
                "-" => ids.extend(ids_of(&String::from_utf8_lossy(&local::read_stdin(limits::HTTP_BODY)?))?),
                id => ids.push(id.to_owned()),
            }
        }
        let mut body = json!({
            "hook": self.hook, "type": self.kind, "since": self.since, "until": self.until, "where": self.selection,
            "all": self.all,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        Ok(Order { body, named: !self.ids.is_empty(), ids })
    }
}

/// One id per line: by itself, or in an object that has it.
fn ids_of(text: &str) -> Result<Vec<String>, Exit> {
    let mut ids = Vec::new();
    for (index, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let id = match line.starts_with('{') {
            false => Some(line.to_owned()),
            true => serde_json::from_str::<Json>(line).ok().and_then(|row| Some(row["delivery"].as_str()?.to_owned())),
        };
        let id = id.filter(|id| !id.contains(char::is_whitespace)).ok_or_else(|| {
            Exit::new(Code::Usage, format!("line {} of standard input names no delivery", index + 1))
                .help("one id per line, or the lines that `queue --json` and `log --json` print")
        })?;
        ids.push(id);
    }
    Ok(ids)
}

/// An order that is ready to be given.
pub(crate) struct Order {
    body: Json,
    named: bool,
    ids: Vec<String>,
}

impl Order {
    /// How many deliveries are named; `None` when a filter says which.
    pub(crate) fn named(&self) -> Option<usize> {
        self.named.then_some(self.ids.len())
    }

    /// Gives it, in as many parts as the daemon takes at once, and adds up the answers.
    pub(crate) async fn give(&self, daemon: &Daemon, path: &str, dry: bool) -> Result<Json, Exit> {
        let mut order = self.body.clone();
        order["dry_run"] = dry.into();
        if !self.named {
            return daemon.post(path, &order).await;
        }
        let mut sum = json!({"count": 0, "hooks": {}, "deliveries": [], "first": [], "in_flight": 0, "not": []});
        for ids in self.ids.chunks(limits::NAMED) {
            order["ids"] = json!(ids);
            add(&mut sum, &daemon.post(path, &order).await?);
        }
        Ok(sum)
    }
}

/// Gives an order to replay that a filter describes, and says at a terminal how far it is.
pub(crate) async fn replay(order: &Order, daemon: &Daemon, global: &Global) -> Result<Json, Exit> {
    if order.named || !std::io::stderr().is_terminal() {
        return order.give(daemon, "/v1/replay", false).await;
    }
    let mut body = order.body.clone();
    body["progress"] = true.into();
    let mut lines = daemon.follow("/v1/replay", &body).await?;
    let (mut shown, mut last) = (Line::new(global), Json::Null);
    while let Some(line) = lines.next_line().await? {
        last = serde_json::from_str(&line).unwrap_or_default();
        shown.say(|| format!("{} wait again", count(output::number(&last, "done"), "delivery")));
    }
    match (last["error"].is_object(), last["count"].is_u64()) {
        (true, _) => Err(refused(500, last.to_string().as_bytes())),
        (false, true) => Ok(last),
        (false, false) => Err(Exit::new(Code::Failed, "the daemon stopped before all were replayed")
            .help("begin again: what waits already is left alone")),
    }
}

fn add(sum: &mut Json, part: &Json) {
    for key in ["count", "in_flight", "not_kept"] {
        sum[key] = (output::number(sum, key) + output::number(part, key)).into();
    }
    for key in ["deliveries", "first", "not", "receivers"] {
        let both: Vec<Json> = output::list(sum, key).iter().chain(output::list(part, key)).cloned().collect();
        sum[key] = both.into();
    }
    for (hook, count) in part["hooks"].as_object().into_iter().flatten() {
        sum["hooks"][hook] = (output::number(&sum["hooks"], hook) + count.as_u64().unwrap_or(0)).into();
    }
}

/// What is asked before something is done to all of these; without a terminal nobody can answer.
pub(crate) fn must_ask_at_a_terminal() -> Result<(), Exit> {
    match std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        true => Ok(()),
        false => {
            Err(Exit::new(Code::Usage, "there is no terminal to ask at")
                .help("add --yes, or look first with --dry-run"))
        }
    }
}

/// Asks a person.
pub(crate) fn confirmed(question: &str) -> Result<bool, Exit> {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    read.map_err(|error| Exit::caused(Code::Failed, "cannot read the answer", &error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What an order would do: how many by hook, and the first of them. With `--json` one object.
pub(crate) fn preview(global: &Global, answer: &Json, would: &str) -> Result<(), Exit> {
    if global.json {
        return output::json(answer);
    }
    let (first, all) = (output::list(answer, "first"), output::number(answer, "count"));
    let rows: Vec<_> = first
        .iter()
        .map(|row| {
            let text = |key| cell(output::text(row, key));
            let time = styled(output::time(row, "time"), DIM);
            vec![text("delivery"), text("hook"), text("type"), time, text("attempts"), text("why")]
        })
        .collect();
    if !rows.is_empty() {
        let head = ["DELIVERY", "HOOK", "TYPE", "ACCEPTED", "ATTEMPTS", "WHY"];
        Columns::new(output::terminal_width()).print(&head, &rows)?;
        let more = all.saturating_sub(rows.len() as u64);
        if more > 0 {
            output::say(paint(DIM, &format!("… and {more} more")))?;
        }
    }
    output::say(format!("{would} {}", summary(answer)))?;
    left_alone(answer);
    Ok(())
}

/// `3 deliveries: 2 of ops, 1 of mirror`.
pub(crate) fn summary(answer: &Json) -> String {
    let all = count(output::number(answer, "count"), "delivery");
    let hooks: Vec<String> = answer["hooks"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(hook, count)| format!("{} of {}", count, output::clean_line(hook)))
        .collect();
    if hooks.is_empty() { all } else { format!("{all}: {}", hooks.join(", ")) }
}

/// Says which named ones were left alone, and why.
pub(crate) fn left_alone(answer: &Json) {
    for not in output::list(answer, "not") {
        let (delivery, why) = (output::text(not, "delivery"), output::text(not, "why"));
        output::message(format!("{}: {}", output::clean_line(&delivery), output::clean_line(&why)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_bare_or_in_rows() {
        let text = "x-1\n\n  x-2 \n{\"delivery\": \"x-3\", \"hook\": \"a\"}\n";
        assert_eq!(ids_of(text).unwrap(), ["x-1", "x-2", "x-3"]);
        for wrong in ["two words", "{\"event\": \"e\"}", "{"] {
            let exit = ids_of(&format!("x-1\n{wrong}\n")).unwrap_err();
            assert_eq!(exit.code(), Code::Usage);
            assert!(exit.message().unwrap().contains("line 2"), "{exit:?}");
        }
    }

    #[test]
    fn parts_of_an_order_add_up() {
        let mut sum = json!({"count": 0, "hooks": {}, "deliveries": [], "in_flight": 0});
        for hook in ["a", "b", "a"] {
            add(&mut sum, &json!({"count": 2, "hooks": {hook: 2}, "deliveries": ["x"], "in_flight": 1}));
        }
        assert_eq!(summary(&sum), "6 deliveries: 4 of a, 2 of b");
        assert_eq!((output::number(&sum, "in_flight"), output::list(&sum, "deliveries").len()), (3, 3));
    }
}
