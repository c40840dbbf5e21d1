//! `postrider wrap`: runs a command and reports what became of it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::emit::{Door, HandedIn, with_id};
use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, output};
use crate::edges::intake::native;
use crate::edges::users;
use crate::words::limits;

/// Run a command, and queue an event that says how it ended
///
/// Its streams and its exit code are passed through as they are (128 and the number for a signal), whatever becomes of the
/// event; SIGTERM, SIGHUP and SIGINT are handed on. The event's data is command, exit_code, signal, duration_ms, host, user and
/// output_tail. While the daemon is down the event waits in the spool.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider wrap backup.done -- restic backup /home
  postrider wrap --only-failure cron.failed -- /usr/local/bin/nightly --all
  postrider wrap --tail 0 deploy.done -- ./deploy.sh      (the command keeps the terminal)")]
pub(crate) struct Wrap {
    /// The type of the event, such as backup.done
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Say nothing of a command that ended with 0
    #[arg(long)]
    only_failure: bool,
    /// Lines of its output that go into the event; with 0 its output is not looked at
    #[arg(long, value_name = "LINES", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=1000))]
    tail: u16,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Wrap {
    /// Runs until the command has ended and its event is handed in.
    pub(crate) async fn run(self, global: &Global) -> Result<ExitCode, Exit> {
        // What is wrong with the event is said before anything is done.
        native::check_name("type", &self.kind).map_err(|refusal| Exit::new(Code::Usage, refusal.message))?;
        // Before there is a command: from its first moment on, what is meant for it must not end us instead.
        let signals = Signals::listen()?;
        let begun = Instant::now();
        let (end, tail, streams) = match start(&self.command, usize::from(self.tail)) {
            Ok(mut running) => {
                let status = signals.pass(running.child.id(), move || running.child.wait()).await?;
                (End::from(status), running.tail, running.streams)
            }
            Err(error) => {
                let why = format!("cannot run {}: {}", self.command[0].display(), crate::edges::files::plain(&error));
                output::message(format!("postrider: {why}"));
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                let tail = Tail::new(1);
                tail.lock().take(why.as_bytes());
                (End { code: Some(code), signal: None }, tail, Vec::new())
            }
        };
        let duration = begun.elapsed();
        // A background process may keep the streams for long; the event does not wait for it.
        let patience = Instant::now();
        while streams.iter().any(|stream| !stream.is_finished()) && patience.elapsed() < limits::WRAP_LINGER {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if end.code != Some(0) || !self.only_failure {
            let data = json!({
                "command": shown(&self.command),
                "exit_code": end.code,
                "signal": end.signal.map(name_of),
                "duration_ms": u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
                "host": host(),
                "user": users::name_of(rustix::process::geteuid().as_raw()),
                "output_tail": tail.lock().text(),
            });
            report(global, &json!({"type": self.kind, "data": data})).await;
        }
        for stream in streams {
            // What such a process still writes is passed on, as by any pipe.
            let _ended = tokio::task::spawn_blocking(move || stream.join()).await;
        }
        Ok(ExitCode::from(end.as_code()))
    }
}

/// Queues the event; what goes wrong with that is only said.
async fn report(global: &Global, event: &Json) {
    let handed_in = Door::of(global, true).hand_in(&with_id(event.to_string().as_bytes())).await;
    let trouble = match handed_in {
        Ok(HandedIn::Spooled(_)) => None,
        Ok(HandedIn::Answered(answer)) => answer.refusal(),
        Err(exit) => Some(exit),
    };
    if let Some(exit) = trouble {
        let why = exit.message().unwrap_or_default();
        output::message(format!("postrider: the event {} is not queued: {why}", event["type"]));
    }
}

/// How a command ended.
struct End {
    code: Option<i32>,
    signal: Option<i32>,
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

impl End {
    /// As a shell says it.
    fn as_code(&self) -> u8 {
        let code = self.code.unwrap_or_else(|| 128 + self.signal.unwrap_or(0));
        u8::try_from(code).unwrap_or(1)
    }
}

struct Running {
    child: Child,
    tail: Tail,
    streams: Vec<JoinHandle<()>>,
}

fn start(command: &[OsString], lines: usize) -> io::Result<Running> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]);
    if lines > 0 {
        child.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = child.spawn()?;
    let tail = Tail::new(lines);
    let mut streams = Vec::new();
    if let Some(from) = child.stdout.take() {
        streams.push(pass_on(from, io::stdout(), tail.clone()));
    }
    if let Some(from) = child.stderr.take() {
        streams.push(pass_on(from, io::stderr(), tail.clone()));
    }
    Ok(Running { child, tail, streams })
}

/// Copies a stream, and notes its last lines. When nobody reads us any more we read no more either, so that the command
/// meets a broken pipe as it would without us.
fn pass_on(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static, tail: Tail) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut piece = [0; 16 * 1024];
        let mut line = Vec::new();
        loop {
            let length = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if to.write_all(&piece[..length]).and_then(|()| to.flush()).is_err() {
                break;
            }
            for part in piece[..length].split_inclusive(|byte| *byte == b'\n') {
                let room = limits::WRAP_LINE.saturating_sub(line.len());
                line.extend_from_slice(&part[..part.len().min(room)]);
                if part.ends_with(b"\n") {
                    tail.lock().take(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            tail.lock().take(&line);
        }
    })
}

/// What is meant for the command and comes to us.
struct Signals {
    term: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Exit> {
        let listen = |kind| signal(kind).map_err(|error| cannot_wait(&error));
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            int: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the command, and hands them on.
    async fn pass(
        mut self,
        pid: u32,
        wait: impl FnOnce() -> io::Result<ExitStatus> + Send + 'static,
    ) -> Result<ExitStatus, Exit> {
        // What is typed on a terminal goes to the command as well, without us.
        let typed = io::stdin().is_terminal() || io::stderr().is_terminal();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let mut ended = tokio::task::spawn_blocking(wait);
        loop {
            let sent = tokio::select! {
                biased;
                status = &mut ended => {
                    return match status {
                        Ok(status) => status.map_err(|error| cannot_wait(&error)),
                        Err(error) => Err(cannot_wait(&error)),
                    };
                }
                _ = self.term.recv() => Signal::TERM,
                _ = self.hup.recv() => Signal::HUP,
                _ = self.int.recv() => {
                    if typed {
                        continue;
                    }
                    Signal::INT
                }
            };
            if let Some(pid) = pid {
                // It may have ended in this moment.
                let _perhaps_gone = kill_process(pid, sent);
            }
        }
    }
}

fn cannot_wait(error: &dyn std::error::Error) -> Exit {
    Exit::caused(Code::Failed, "cannot wait for the command", error)
}

/// The last lines of both streams, in the order in which they came.
#[derive(Clone)]
struct Tail(Arc<Mutex<Lines>>);

struct Lines {
    room: usize,
    lines: VecDeque<Vec<u8>>,
}

impl Tail {
    fn new(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Lines { room, lines: VecDeque::new() })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn take(&mut self, line: &[u8]) {
        self.lines.push_back(line.trim_ascii_end().to_vec());
        while self.lines.len() > self.room {
            self.lines.pop_front();
        }
    }

    fn text(&self) -> String {
        let mut size = 0;
        let fits = |line: &&Vec<u8>| {
            size += line.len() + 1;
            size <= limits::WRAP_TAIL
        };
        let mut kept: Vec<_> =
            self.lines.iter().rev().take_while(fits).map(|line| String::from_utf8_lossy(line)).collect();
        kept.reverse();
        kept.join("\n")
    }
}

/// The command as a shell takes it.
fn shown(command: &[OsString]) -> String {
    let words = command.iter().map(|word| crate::edges::files::quoted(word.as_ref()));
    let mut text = words.collect::<Vec<_>>().join(" ");
    let end = text.floor_char_boundary(limits::WRAP_LINE);
    text.truncate(end);
    text
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// A signal as `kill -l` calls it; one without a name by its number.
fn name_of(signal: i32) -> String {
    let named = [
        (1, "HUP"),
        (2, "INT"),
        (3, "QUIT"),
        (4, "ILL"),
        (6, "ABRT"),
        (7, "BUS"),
        (8, "FPE"),
        (9, "KILL"),
        (11, "SEGV"),
        (13, "PIPE"),
        (14, "ALRM"),
        (15, "TERM"),
        (24, "XCPU"),
        (25, "XFSZ"),
        (31, "SYS"),
    ];
    named
        .iter()
        .find(|(number, _)| *number == signal)
        .map_or_else(|| signal.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_the_last_lines_within_its_bounds() {
        let tail = Tail::new(3);
        for n in 0..10 {
            tail.lock().take(format!("line {n}\r\n").as_bytes());
        }
        assert_eq!(tail.lock().text(), "line 7\nline 8\nline 9");
        tail.lock().take(&vec![b'x'; limits::WRAP_TAIL - 8]);
        assert!(!tail.lock().text().contains("line 8"), "the bound on bytes");
        assert!(tail.lock().text().len() <= limits::WRAP_TAIL);
    }

    #[test]
    fn a_command_is_shown_as_it_may_be_typed() {
        let command = ["sh", "-c", "echo 'a b'"].map(OsString::from);
        assert_eq!(shown(&command), r"sh -c 'echo '\''a b'\'''");
    }

    #[test]
    fn a_signal_is_an_exit_code_as_in_a_shell() {
        let code = |code, signal| End { code, signal }.as_code();
        assert_eq!((code(Some(0), None), code(Some(77), None), code(None, Some(15))), (0, 77, 143));
    }
}
