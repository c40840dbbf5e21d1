//! `postrider emit`: hands events in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, GOOD, WAITS, cell, styled};
use crate::cli::{Global, fields, local};
use crate::edges::intake::native;
use crate::rules::yaml::reader::parse_duration;
use crate::words::limits;
use crate::words::trace::{TRACEPARENT, TraceParent};

mod answer;
mod hand_in;
mod many;
mod wait;

use self::answer::Answer;
pub(crate) use self::hand_in::{Door, HandedIn};
use self::wait::Watch;

/// Queue an event
///
/// Exit code 0 means that the event is on disk and will reach every hook that wants it. 65 means that the event is wrong, 75
/// that the queue is full and the same may be tried again. While the daemon is down the event waits in the spool, on disk
/// too; a daemon that restarts is waited for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider emit backup.failed host=web1 size:=1024 disk.name=sda
  postrider emit build.done --data @result.json --id build-4711
  postrider emit deploy.done app=shop --wait 30s      (and see it delivered)
  tail -F events.ndjson | postrider emit --ndjson -")]
pub(crate) struct Emit {
    /// What happened, such as backup.failed
    #[arg(value_name = "TYPE", required_unless_present = "ndjson", conflicts_with = "ndjson")]
    kind: Option<String>,
    /// The event's data: KEY=TEXT or KEY:=JSON; a dot in KEY makes an object
    #[arg(value_name = "KEY=TEXT|KEY:=JSON", conflicts_with_all = ["data", "ndjson"])]
    fields: Vec<String>,
    /// The event's data as JSON: @FILE, - for standard input, or the JSON itself; kept as written
    #[arg(long, value_name = "@FILE|-|JSON", conflicts_with = "ndjson")]
    data: Option<String>,
    /// Many events, one JSON object per line, from a file or - for standard input
    #[arg(long, value_name = "FILE|-")]
    ndjson: Option<PathBuf>,
    /// The event's id: the same id and source is stored once, so trying again is safe
    #[arg(long, conflicts_with = "ndjson")]
    id: Option<String>,
    /// Who says so
    #[arg(long, conflicts_with = "ndjson")]
    source: Option<String>,
    /// When it happened, as 2026-11-22T13:00:00Z; now unless said
    #[arg(long, conflicts_with = "ndjson")]
    time: Option<String>,
    /// The trace that it belongs to, 00-TRACE-SPAN-FLAGS; that of the environment ($TRACEPARENT) unless said
    #[arg(long, conflicts_with = "ndjson")]
    traceparent: Option<String>,
    /// Say which hooks want the event, and why the others do not; nothing is stored
    #[arg(long, conflicts_with = "ndjson")]
    dry_run: bool,
    /// Fail with 69 when there is no daemon, instead of leaving the event in the spool
    #[arg(long, conflicts_with = "dry_run")]
    no_spool: bool,
    /// Wait so long, such as 30s, until every hook that wants it has an outcome: 0 all delivered, 1 one is dead, 75 not yet
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["ndjson", "dry_run"], value_parser = duration)]
    wait: Option<Duration>,
}

impl Emit {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let door = Door::of(global, !self.no_spool);
        if let Some(file) = &self.ndjson {
            return many::many(global, door, file).await;
        }
        let event = self.event()?;
        if self.traceparent.is_some() && self.trace().is_none() {
            global.note("--traceparent is no trace of the W3C's form: it is ignored");
        }
        if self.dry_run {
            return explain(global, event).await;
        }
        let watch = self.wait.map(|patience| Watch::new(global, patience));
        if let Some(watch) = &watch {
            watch.may_ask().await?;
        }
        match (one(global, &door, &with_id(&event)).await?, watch) {
            (Some(answer), Some(watch)) => watch.until_settled(global, &answer.id()).await,
            (None, Some(_)) => {
                Err(Exit::new(Code::TryAgain, "no daemon answers: the event waits for one in the spool"))
            }
            (_, None) => Ok(()),
        }
    }

    fn trace(&self) -> Option<TraceParent> {
        self.traceparent.as_deref().and_then(|text| TraceParent::parse(text.trim()))
    }

    /// The native event, with the bytes of `--data` as they were written.
    fn event(&self) -> Result<Vec<u8>, Exit> {
        let data = match self.data.as_deref() {
            None => fields::object(&self.fields)?.to_string().into_bytes(),
            Some("-" | "@-") => local::read_stdin(limits::EVENT)?,
            Some(text) => match text.strip_prefix('@') {
                Some(file) => local::read(Path::new(file), limits::EVENT)?,
                None => text.as_bytes().to_vec(),
            },
        };
        let data = data.trim_ascii();
        let checked: Result<&RawValue, _> = serde_json::from_slice(data);
        checked.map_err(|error| {
            Exit::new(Code::BadEvent, format!("--data is not JSON (line {}, column {})", error.line(), error.column()))
        })?;

        let mut head = serde_json::Map::new();
        let named = [("type", &self.kind), ("id", &self.id), ("source", &self.source), ("time", &self.time)];
        for (key, value) in named {
            if let Some(value) = value {
                head.insert(key.to_owned(), Json::String(value.clone()));
            }
        }
        if let Some(trace) = self.trace() {
            head.insert(TRACEPARENT.to_owned(), trace.to_string().into());
        }
        let mut event = Json::Object(head).to_string().into_bytes();
        event.pop(); // the closing brace
        event.extend_from_slice(b",\"data\":");
        event.extend_from_slice(data);
        event.push(b'}');
        Ok(event)
    }
}

/// Hands in one event; nothing is returned when it went to the spool.
async fn one(global: &Global, door: &Door, event: &[u8]) -> Result<Option<Answer>, Exit> {
    let answer = match door.hand_in(event).await? {
        HandedIn::Answered(answer) => answer,
        HandedIn::Spooled(file) => {
            if global.json {
                output::json(&hand_in::spooled(event, &file))?;
            }
            if output::is_terminal() {
                global.note(format!("no daemon answers: the event waits for one in {}", file.display()));
            }
            return Ok(None);
        }
    };
    if global.json {
        output::json(&answer.json)?;
    }
    if let Some(exit) = answer.refusal() {
        return Err(exit);
    }
    if output::is_terminal() && !global.json && !global.quiet {
        output::say(answer.in_words())?;
    }
    Ok(Some(answer))
}

async fn explain(global: &Global, event: Vec<u8>) -> Result<(), Exit> {
    let (_, answer) = Daemon::of(global).post_bytes("/v1/explain", event).await?;
    let hooks = output::list(&answer, "hooks");
    if global.json {
        return hooks.iter().try_for_each(output::json);
    }
    if hooks.is_empty() {
        global.note("there are no hooks");
        return Ok(());
    }
    let rows: Vec<_> = hooks
        .iter()
        .map(|hook| match hook["wanted"].as_bool() {
            Some(true) => vec![cell(output::text(hook, "hook")), styled("wants it", GOOD), cell("")],
            _ => vec![cell(output::text(hook, "hook")), styled("does not", WAITS), cell(output::text(hook, "why"))],
        })
        .collect();
    output::Columns::new(output::terminal_width()).print(&["HOOK", "", "WHY"], &rows)
}

/// A duration as hook files write it.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| "write for example 30s or 5m".to_owned())
}

/// The event with an id, made now where its sender gave none: what is handed in again is then stored once. And with the
/// trace of the environment: `otel-cli exec` and build servers set it for what they run.
pub(super) fn with_id(event: &[u8]) -> Vec<u8> {
    let id = uuid::Uuid::now_v7().to_string();
    match trace_of_environment() {
        Some(trace) => native::with_members(event, &[("id", &id), (TRACEPARENT, &trace.to_string())]),
        None => native::with_members(event, &[("id", &id)]),
    }
}

fn trace_of_environment() -> Option<TraceParent> {
    std::env::var("TRACEPARENT").ok().and_then(|text| TraceParent::parse(text.trim()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        emit: Emit,
    }

    fn event(args: &[&str]) -> Result<String, Code> {
        let line = Line::try_parse_from(std::iter::once(&"emit").chain(args)).map_err(|_| Code::Usage)?;
        line.emit.event().map(|event| String::from_utf8(event).unwrap()).map_err(|exit| exit.code())
    }

    #[test]
    fn the_event_is_native() {
        assert_eq!(event(&["a.b"]).as_deref(), Ok(r#"{"type":"a.b","data":{}}"#));
        assert_eq!(event(&["a", "x:=1"]).as_deref(), Ok(r#"{"type":"a","data":{"x":1}}"#));
        let full = event(&["a", "--id", "4\"7", "--source", "ci", "--time", "2026-11-22T13:00:00Z", "x=1"]);
        let expected = r#"{"type":"a","id":"4\"7","source":"ci","time":"2026-11-22T13:00:00Z","data":{"x":"1"}}"#;
        assert_eq!(full.as_deref(), Ok(expected));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let expected = format!(r#"{{"type":"a","traceparent":"{trace}","data":{{}}}}"#);
        assert_eq!(event(&["a", "--traceparent", trace]), Ok(expected));
        assert_eq!(event(&["a", "--traceparent", "nonsense"]).as_deref(), Ok(r#"{"type":"a","data":{}}"#));
    }

    #[test]
    fn data_is_kept_as_written() {
        assert_eq!(
            event(&["a", "--data", "{\"b\" : 1.50,\n \"a\":2}"]).as_deref(),
            Ok("{\"type\":\"a\",\"data\":{\"b\" : 1.50,\n \"a\":2}}")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.json");
        std::fs::write(&file, "[1,  2]\n").unwrap();
        let argument = format!("@{}", file.display());
        assert_eq!(event(&["a", "--data", &argument]).as_deref(), Ok(r#"{"type":"a","data":[1,  2]}"#));
        assert_eq!(event(&["a", "--data", "{\"a\":}"]), Err(Code::BadEvent));
        assert_eq!(event(&["a", "--data", "1} {"]), Err(Code::BadEvent));
    }

    #[test]
    fn what_cannot_go_together_is_a_usage_error() {
        for args in [&[][..], &["a", "x=1", "--data", "1"], &["a", "--ndjson", "-"], &["--ndjson", "-", "--id", "1"]] {
            assert_eq!(event(args), Err(Code::Usage), "{args:?}");
        }
    }
}
