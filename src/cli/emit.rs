//! `postrider emit`: hands events in.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::cli::daemon::{Daemon, refused};
use crate::cli::exit::{Code, Exit, code_of_refusal};
use crate::cli::output::{self, GOOD, WAITS, cell, count, styled};
use crate::cli::{Global, fields, local};
use crate::edges::client::{Client, Emit as Connection};
use crate::words::limits;

/// Lines sent ahead of their answers. With `AHEAD_BYTES` it stays within what the kernel buffers for a socket, so that
/// neither side can end up waiting for the other.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 32 * 1024;

/// Queue an event
///
/// Exit code 0 means that the event is on disk and will reach every hook that wants it. 65 means that the event is wrong, 75
/// that the queue is full and the same may be tried again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider emit backup.failed host=web1 size:=1024 disk.name=sda
  postrider emit build.done --data @result.json --id build-4711
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
    /// Say which hooks want the event, and why the others do not; nothing is stored
    #[arg(long, conflicts_with = "ndjson")]
    dry_run: bool,
}

impl Emit {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        if let Some(file) = &self.ndjson {
            return many(global, file).await;
        }
        let event = self.event()?;
        if self.dry_run { explain(global, event).await } else { one(global, event).await }
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
        let mut event = Json::Object(head).to_string().into_bytes();
        event.pop(); // the closing brace
        event.extend_from_slice(b",\"data\":");
        event.extend_from_slice(data);
        event.push(b'}');
        Ok(event)
    }
}

async fn one(global: &Global, event: Vec<u8>) -> Result<(), Exit> {
    let answer = if event.contains(&b'\n') {
        // A line of NDJSON cannot hold data that was written over several lines; a body can.
        match Client::new(global.emit_socket())
            .request(Method::POST, "/v1/events", Some(event))
            .await
            .map_err(interrupted)?
        {
            (status, body) if status >= 400 => {
                let exit = refused(status, &body);
                if global.json {
                    output::json(&serde_json::from_slice(&body).unwrap_or_default())?;
                }
                return Err(exit);
            }
            (_, body) => String::from_utf8_lossy(&body).into_owned(),
        }
    } else {
        let mut connection = Connection::connect(&global.emit_socket()).await.map_err(interrupted)?;
        connection.send_line(&event).await.map_err(interrupted)?;
        connection.read_answer().await.map_err(interrupted)?.ok_or_else(|| unanswered(0))?
    };
    let answer = Answer::read(&answer)?;
    if global.json {
        output::json(&answer.0)?;
    }
    if let Some(exit) = answer.refusal() {
        return Err(exit);
    }
    if output::is_terminal() && !global.json && !global.quiet {
        output::say(answer.in_words())?;
    }
    Ok(())
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

/// Sends lines as they come, some ahead of their answers, and reads every answer.
async fn many(global: &Global, file: &Path) -> Result<(), Exit> {
    let mut lines = lines_of(file)?;
    let mut connection = Connection::connect(&global.emit_socket()).await.map_err(interrupted)?;
    let mut tally = Tally { json: global.json, ..Tally::default() };
    let mut sent: std::collections::VecDeque<(u64, usize)> = std::collections::VecDeque::new();
    let mut waiting_line: Option<Line> = None;
    let mut ended = false;

    loop {
        let line = match waiting_line.take() {
            Some(line) => Some(line),
            None if ended => None,
            // While answers are due, only a line that is already there goes first.
            None if !sent.is_empty() => match lines.try_recv() {
                Ok(line) => Some(line?),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    ended = true;
                    None
                }
            },
            None => match lines.recv().await {
                Some(line) => Some(line?),
                None => break,
            },
        };
        let ahead: usize = sent.iter().map(|(_, bytes)| bytes).sum();
        match line {
            Some(line) if line.bytes.len() > limits::EVENT => {
                tally.refuse(line.number, Code::BadEvent, &format!("the line is longer than {} bytes", limits::EVENT));
            }
            Some(line) if sent.is_empty() || (sent.len() < AHEAD && ahead + line.bytes.len() <= AHEAD_BYTES) => {
                connection.send_line(&line.bytes).await.map_err(|error| tally.broken(error.into()))?;
                sent.push_back((line.number, line.bytes.len()));
            }
            line => {
                waiting_line = line;
                let Some((number, _)) = sent.pop_front() else { break };
                let answer = connection.read_answer().await.map_err(|error| tally.broken(error.into()))?;
                let answer = answer.ok_or_else(|| unanswered(number))?;
                tally.take(number, &Answer::read(&answer)?)?;
            }
        }
    }
    tally.end(global)
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    json: bool,
    queued: u64,
    bad: u64,
    busy: u64,
}

impl Tally {
    fn take(&mut self, number: u64, answer: &Answer) -> Result<(), Exit> {
        if self.json {
            output::json(&answer.0)?;
        }
        match answer.refusal() {
            None => self.queued += 1,
            Some(exit) => self.refuse(number, exit.code(), exit.message().unwrap_or_default()),
        }
        Ok(())
    }

    fn refuse(&mut self, number: u64, code: Code, message: &str) {
        match code {
            Code::TryAgain => self.busy += 1,
            _ => self.bad += 1,
        }
        output::message(format!("line {number}: {message}"));
    }

    fn broken(&self, exit: Exit) -> Exit {
        let message = format!("{} after {}", exit.message().unwrap_or_default(), count(self.queued, "event"));
        Exit::new(Code::TryAgain, message)
    }

    fn end(&self, global: &Global) -> Result<(), Exit> {
        let refused = self.bad + self.busy;
        if output::is_terminal() && !self.json && !global.quiet {
            output::say(format!("queued {}", count(self.queued, "event")))?;
        }
        let message = format!("{} of {} refused", refused, count(refused + self.queued, "line"));
        match (self.bad, self.busy) {
            (0, 0) => Ok(()),
            (0, _) => Err(Exit::new(Code::TryAgain, message)),
            _ => Err(Exit::new(Code::BadEvent, message)),
        }
    }
}

/// The answer to one event.
struct Answer(Json);

impl Answer {
    fn read(line: &str) -> Result<Self, Exit> {
        let answer: Json = serde_json::from_str(line)
            .map_err(|_| Exit::new(Code::TryAgain, "what answers at the emit socket is not postrider"))?;
        Ok(Self(match answer {
            Json::Array(mut answers) if answers.len() == 1 => answers.remove(0),
            answer => answer,
        }))
    }

    fn refusal(&self) -> Option<Exit> {
        let error = self.0.get("error")?;
        let code = code_of_refusal(&output::text(error, "code"), 400);
        Some(Exit::new(code, output::text(error, "message")))
    }

    fn in_words(&self) -> String {
        let id = output::clean_line(&output::text(&self.0, "id"));
        let hooks = output::names(&self.0, "hooks");
        let number = output::list(&self.0, "hooks").len() as u64;
        let duplicate = self.0["duplicate"].as_bool().unwrap_or(false);
        match (duplicate, number) {
            (true, _) => format!("{id} was queued before, nothing is sent twice"),
            (false, 0) => format!("stored {id}, which no hook wants"),
            (false, _) => format!("queued {id} for {}: {hooks}", count(number, "hook")),
        }
    }
}

/// A line of the input with its number.
struct Line {
    number: u64,
    bytes: Vec<u8>,
}

/// Reads on a thread: standard input may be a pipe that is quiet for hours. Empty lines count and are passed over.
fn lines_of(file: &Path) -> Result<mpsc::Receiver<Result<Line, Exit>>, Exit> {
    let name = file.display().to_string();
    let input: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(|error| local::unreadable(file, &error))?)
    };
    let (lines, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut input = BufReader::new(input);
        for number in 1.. {
            let mut bytes = Vec::new();
            let line = match input.read_until(b'\n', &mut bytes) {
                Ok(0) => return,
                Ok(_) => Ok(Line { number, bytes: bytes.trim_ascii().to_vec() }),
                Err(error) => Err(Exit::caused(Code::Failed, format!("cannot read {name}"), &error)),
            };
            let empty = matches!(&line, Ok(line) if line.bytes.is_empty());
            let failed = line.is_err();
            if (!empty && lines.blocking_send(line).is_err()) || failed {
                return;
            }
        }
    });
    Ok(receiver)
}

/// A connection that breaks before the answer leaves open whether the event is stored; with an id it is safe to repeat.
fn interrupted(error: crate::edges::client::ClientError) -> Exit {
    let exit = Exit::from(error);
    match exit.code() {
        Code::Failed => Exit::new(Code::TryAgain, exit.message().unwrap_or_default()),
        _ => exit,
    }
}

fn unanswered(line: u64) -> Exit {
    let which = if line == 0 { String::new() } else { format!(" line {line}") };
    Exit::new(Code::TryAgain, format!("the daemon closed the connection before it answered{which}"))
        .help("events with an id may be sent again without harm: each is stored once")
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

    #[test]
    fn answers_in_words_and_codes() {
        let answer = |line: &str| Answer::read(line).unwrap();
        assert_eq!(
            answer(r#"{"id":"1","hooks":["a","b"],"duplicate":false}"#).in_words(),
            "queued 1 for 2 hooks: a, b"
        );
        assert_eq!(answer(r#"{"id":"1","hooks":[],"duplicate":false}"#).in_words(), "stored 1, which no hook wants");
        assert_eq!(
            answer(r#"[{"id":"1","hooks":["a"],"duplicate":true}]"#).in_words(),
            "1 was queued before, nothing is sent twice"
        );
        let busy = answer(r#"{"error":{"code":"busy","message":"the queue is full"}}"#).refusal().unwrap();
        assert_eq!((busy.code(), busy.message()), (Code::TryAgain, Some("the queue is full")));
        assert!(Answer::read("HTTP/1.1 400").is_err());
    }

    #[tokio::test]
    async fn lines_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events");
        std::fs::write(&file, "{\"a\":1}\r\n\n  \n{\"b\":2}").unwrap();
        let mut lines = lines_of(&file).unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.recv().await {
            let line = line.unwrap();
            seen.push((line.number, String::from_utf8(line.bytes).unwrap()));
        }
        assert_eq!(seen, [(1, "{\"a\":1}".to_owned()), (4, "{\"b\":2}".to_owned())]);
    }
}
