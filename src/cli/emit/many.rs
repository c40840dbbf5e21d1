//! Lines as they come, some ahead of their answers. What has no answer when a connection ends is handed in again, and goes
//! to the spool where no daemon is to be had.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cli::emit::answer::Answer;
use crate::cli::emit::hand_in::{Door, Patience, closed, silent, sound, spooled, unreached};
use crate::cli::emit::with_id;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, count};
use crate::cli::{Global, local};
use crate::edges::client::{ClientError, Emit as Connection};
use crate::words::limits;

/// Lines sent ahead of their answers. With `AHEAD_BYTES` it stays within what the kernel buffers for a socket, so that
/// neither side can end up waiting for the other.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 32 * 1024;

/// Sends every line of a file or of standard input, and reads every answer.
pub(super) async fn many(global: &Global, door: Door, file: &Path) -> Result<(), Exit> {
    let mut lines = lines_of(file)?;
    let mut pipe = Pipe::open(door, Tally { json: global.json, ..Tally::default() }).await?;
    let mut waiting_line: Option<Line> = None;
    let mut ended = false;
    loop {
        let line = match waiting_line.take() {
            Some(line) => Some(line),
            None if ended => None,
            // While answers are due, only a line that is already there goes first.
            None if !pipe.sent.is_empty() => match lines.try_recv() {
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
        match line {
            Some(line) if line.bytes.len() > limits::EVENT => {
                let why = format!("the line is longer than {} bytes", limits::EVENT);
                pipe.tally.refuse(line.number, Code::BadEvent, &why);
            }
            Some(line) if pipe.has_room_for(&line) => pipe.send(line).await?,
            line => {
                waiting_line = line;
                if !pipe.take().await? && ended {
                    break;
                }
            }
        }
    }
    pipe.tally.end(global)
}

/// A connection, and the lines that went over it without an answer so far.
struct Pipe {
    door: Door,
    connection: Option<Connection>,
    sent: VecDeque<Line>,
    /// Since the last answer, how long it is tried to get through.
    patience: Option<Patience>,
    tally: Tally,
}

impl Pipe {
    async fn open(door: Door, tally: Tally) -> Result<Self, Exit> {
        let connection = match Connection::connect(&door.socket).await {
            Ok(connection) => Some(connection),
            Err(error) if error.passes() && door.spool.is_some() => None,
            Err(error) => return Err(unreached(error)),
        };
        Ok(Self { door, connection, sent: VecDeque::new(), patience: None, tally })
    }

    fn has_room_for(&self, line: &Line) -> bool {
        let ahead: usize = self.sent.iter().map(|line| line.bytes.len()).sum();
        self.sent.is_empty() || (self.sent.len() < AHEAD && ahead + line.bytes.len() <= AHEAD_BYTES)
    }

    async fn send(&mut self, line: Line) -> Result<(), Exit> {
        // Without a connection the lines gather here: they go together.
        let sent = match &mut self.connection {
            Some(connection) => connection.send_line(&line.bytes).await,
            None => Ok(()),
        };
        self.sent.push_back(line);
        match sent {
            Ok(()) => Ok(()),
            Err(error) => self.again(error).await,
        }
    }

    /// Takes the answer to the oldest line; `false` when none is due.
    async fn take(&mut self) -> Result<bool, Exit> {
        if self.sent.is_empty() {
            return Ok(false);
        }
        let Some(connection) = &mut self.connection else {
            if let Err(error) = self.resend().await {
                self.give_up(unreached(error))?;
            }
            return Ok(true);
        };
        let trouble = match timeout(limits::EMIT_ANSWER, connection.read_answer()).await {
            Ok(Ok(Some(text))) => {
                let answer = Answer::read(&text)?;
                if !answer.passes() {
                    self.note(answer)?;
                    return Ok(true);
                }
                match self.patience.get_or_insert_with(Patience::new).more().await {
                    true => closed(&self.door.socket),
                    false => {
                        self.note(answer)?;
                        return Ok(true);
                    }
                }
            }
            Ok(Ok(None)) => closed(&self.door.socket),
            Ok(Err(error)) => error,
            Err(_) => {
                self.connection = None;
                self.give_up(silent(&self.door.socket))?;
                return Ok(true);
            }
        };
        self.again(trouble).await.map(|()| true)
    }

    fn note(&mut self, mut answer: Answer) -> Result<(), Exit> {
        self.patience = None;
        if let Some(line) = self.sent.pop_front() {
            answer.again(line.again);
            self.tally.take(line.number, &answer)?;
        }
        Ok(())
    }

    /// Opens the connection anew, and hands in what has no answer, until it gets through or it has been long enough.
    async fn again(&mut self, mut trouble: ClientError) -> Result<(), Exit> {
        self.connection = None;
        while trouble.passes() {
            if !self.patience.get_or_insert_with(Patience::new).more().await {
                return self.give_up(unreached(trouble));
            }
            match self.resend().await {
                Ok(()) => return Ok(()),
                Err(error) => trouble = error,
            }
        }
        Err(self.tally.broken(trouble.into()))
    }

    async fn resend(&mut self) -> Result<(), ClientError> {
        let mut connection = Connection::connect(&self.door.socket).await?;
        for line in &mut self.sent {
            connection.send_line(&line.bytes).await?;
            line.again = line.own;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Leaves what has no answer to the spool, in one file.
    fn give_up(&mut self, why: Exit) -> Result<(), Exit> {
        self.patience = None;
        if self.door.spool.is_none() {
            return Err(self.tally.broken(why));
        }
        let mut good = Vec::new();
        for line in std::mem::take(&mut self.sent) {
            match sound(&line.bytes) {
                Ok(()) => good.push(line),
                Err(exit) => self.tally.refuse(line.number, exit.code(), exit.message().unwrap_or_default()),
            }
        }
        let events: Vec<&[u8]> = good.iter().map(|line| line.bytes.as_slice()).collect();
        if events.is_empty() {
            return Ok(());
        }
        let file = self.door.give_up(&events, why).map_err(|exit| self.tally.broken(exit))?;
        good.iter().try_for_each(|line| self.tally.leave(line, &file))
    }
}

/// What became of the lines so far.
#[derive(Default)]
struct Tally {
    json: bool,
    queued: u64,
    spooled: u64,
    bad: u64,
    busy: u64,
}

impl Tally {
    fn take(&mut self, number: u64, answer: &Answer) -> Result<(), Exit> {
        if self.json {
            output::json(&answer.json)?;
        }
        match answer.refusal() {
            None => self.queued += 1,
            Some(exit) => self.refuse(number, exit.code(), exit.message().unwrap_or_default()),
        }
        Ok(())
    }

    fn leave(&mut self, line: &Line, file: &Path) -> Result<(), Exit> {
        self.spooled += 1;
        if self.json { output::json(&spooled(&line.bytes, file)) } else { Ok(()) }
    }

    fn refuse(&mut self, number: u64, code: Code, message: &str) {
        match code {
            Code::TryAgain => self.busy += 1,
            _ => self.bad += 1,
        }
        output::message(format!("line {number}: {message}"));
    }

    fn broken(&self, exit: Exit) -> Exit {
        let message =
            format!("{} after {}", exit.message().unwrap_or_default(), count(self.queued + self.spooled, "event"));
        Exit::new(Code::TryAgain, message)
    }

    fn end(&self, global: &Global) -> Result<(), Exit> {
        let refused = self.bad + self.busy;
        let taken = self.queued + self.spooled;
        if output::is_terminal() && !self.json && !global.quiet && (self.queued > 0 || self.spooled == 0) {
            output::say(format!("queued {}", count(self.queued, "event")))?;
        }
        if self.spooled > 0 && output::is_terminal() {
            global.note(format!("no daemon answers: {} in the spool until one does", count(self.spooled, "event")));
        }
        let message = format!("{} of {} refused", refused, count(refused + taken, "line"));
        match (self.bad, self.busy) {
            (0, 0) => Ok(()),
            (0, _) => Err(Exit::new(Code::TryAgain, message)),
            _ => Err(Exit::new(Code::BadEvent, message)),
        }
    }
}

/// A line of the input with its number.
struct Line {
    number: u64,
    bytes: Vec<u8>,
    /// Whether its id is of our making.
    own: bool,
    /// Whether it was handed in before, by us and under an id of our making.
    again: bool,
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
                Ok(_) if bytes.trim_ascii().is_empty() => continue,
                Ok(_) => {
                    let text = bytes.trim_ascii();
                    let bytes = if text.len() > limits::EVENT { text.to_vec() } else { with_id(text) };
                    let own = bytes.len() != text.len();
                    Ok(Line { number, bytes, own, again: false })
                }
                Err(error) => Err(Exit::caused(Code::Failed, format!("cannot read {name}"), &error)),
            };
            let failed = line.is_err();
            if lines.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events");
        std::fs::write(&file, "{\"a\":1,\"id\":\"x\"}\r\n\n  \n{\"b\":2}\nnonsense").unwrap();
        let mut lines = lines_of(&file).unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.recv().await {
            let line = line.unwrap();
            seen.push((line.number, line.own, String::from_utf8(line.bytes).unwrap()));
        }
        let [first, second, third] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(*first, (1, false, "{\"a\":1,\"id\":\"x\"}".to_owned()));
        assert!(second.0 == 4 && second.1 && second.2.starts_with("{\"id\":\"") && second.2.ends_with("\",\"b\":2}"));
        assert_eq!(*third, (5, false, "nonsense".to_owned()));
    }
}
