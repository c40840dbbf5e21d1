//! One event on its way to the daemon, seen through: a connection that ends before the answer is opened again and the
//! same id handed in, which is stored once; and where no daemon is to be had, the event goes to the spool.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep, timeout};

use crate::cli::Global;
use crate::cli::daemon::refused;
use crate::cli::emit::answer::Answer;
use crate::cli::exit::{Code, Exit, code_of_refusal};
use crate::edges::client::{Client, ClientError, Emit as Connection};
use crate::edges::config::Paths;
use crate::edges::intake::native;
use crate::edges::spool::Spool;
use crate::words::limits;

/// Where events go.
pub(crate) struct Door {
    pub(super) socket: PathBuf,
    pub(super) spool: Option<Spool>,
}

/// What became of an event that was not refused.
pub(crate) enum HandedIn {
    /// The daemon answered.
    Answered(Answer),
    /// It waits in this file for a daemon.
    Spooled(PathBuf),
}

impl Door {
    /// The daemon's socket, and the spool beside it unless that is not wanted.
    pub(crate) fn of(global: &Global, spool: bool) -> Self {
        let paths = global.paths();
        let (socket, folder) = match &global.socket {
            // Somebody else's socket has somebody else's spool.
            Some(socket) if *socket != paths.emit => (socket.clone(), spool_beside(socket)),
            _ => (paths.emit, paths.spool),
        };
        Self { socket, spool: spool.then(|| Spool::at(&folder)).flatten() }
    }

    /// Hands in one event. It should have an id: without, what is handed in again may be stored again.
    pub(crate) async fn hand_in(&self, event: &[u8]) -> Result<HandedIn, Exit> {
        let mut patience: Option<Patience> = None;
        loop {
            let trouble = match timeout(limits::EMIT_ANSWER, exchange(&self.socket, event)).await {
                Ok(Ok(mut answer)) => {
                    if !answer.passes() || !patience.get_or_insert_with(Patience::new).more().await {
                        answer.again(patience.is_some());
                        return Ok(HandedIn::Answered(answer));
                    }
                    continue;
                }
                Ok(Err(Trouble::Passes(error))) => error,
                Ok(Err(Trouble::Stays(exit))) => return Err(exit),
                Err(_) => return self.give_up(&[event], silent(&self.socket)).map(HandedIn::Spooled),
            };
            // Where nobody listened from the start nobody is expected in a moment.
            let nobody = matches!(trouble, ClientError::NoDaemon(_)) && patience.is_none();
            if nobody || !patience.get_or_insert_with(Patience::new).more().await {
                return self.give_up(&[event], unreached(trouble)).map(HandedIn::Spooled);
            }
        }
    }

    /// Leaves events that cannot be handed in to the spool.
    pub(super) fn give_up(&self, events: &[&[u8]], why: Exit) -> Result<PathBuf, Exit> {
        let Some(spool) = &self.spool else { return Err(why) };
        let now = Timestamp::now();
        let mut text = Vec::new();
        for event in events {
            sound(event)?;
            // It happened now, whenever it is read.
            text.extend(native::with_members(event, &[("time", &now.to_string())]));
            text.push(b'\n');
        }
        spool.put(&text).map_err(|error| {
            let message = format!("{}, and the spool cannot be written: {error}", why.message().unwrap_or_default());
            Exit::new(why.code(), message)
        })
    }
}

/// What the daemon would refuse is refused here, where there is still somebody to tell.
pub(super) fn sound(event: &[u8]) -> Result<(), Exit> {
    match native::parse(event, Timestamp::UNIX_EPOCH, None) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Exit::new(code_of_refusal(refusal.code.word(), refusal.code.status()), refusal.message)),
    }
}

/// Sends the event and reads its answer.
async fn exchange(socket: &Path, event: &[u8]) -> Result<Answer, Trouble> {
    let answer = if event.contains(&b'\n') {
        // A line of NDJSON cannot hold data that was written over several lines; a body can.
        let (status, body) = Client::new(socket).request(Method::POST, "/v1/events", Some(event.to_vec())).await?;
        if status >= 400 {
            let told: Json = serde_json::from_slice(&body).unwrap_or_default();
            // Refusals over HTTP may come as problem+json.
            let code = [&told["error"]["code"], &told["code"]].into_iter().find_map(Json::as_str).unwrap_or("failed");
            let message = refused(status, &body).message().unwrap_or_default().to_owned();
            return Ok(Answer::of(json!({"error": {"code": code, "message": message}}), status));
        }
        String::from_utf8_lossy(&body).into_owned()
    } else {
        let mut connection = Connection::connect(socket).await?;
        connection.send_line(event).await?;
        connection.read_answer().await?.ok_or_else(|| closed(socket))?
    };
    Answer::read(&answer).map_err(Trouble::Stays)
}

/// Why there is no answer.
enum Trouble {
    Passes(ClientError),
    Stays(Exit),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        if error.passes() { Self::Passes(error) } else { Self::Stays(error.into()) }
    }
}

pub(super) fn closed(socket: &Path) -> ClientError {
    ClientError::Other { path: socket.to_owned(), why: "it closed the connection before it answered".to_owned() }
}

pub(super) fn silent(socket: &Path) -> Exit {
    let seconds = limits::EMIT_ANSWER.as_secs();
    let message = format!("the daemon at {} has said nothing for {seconds} s", socket.display());
    Exit::new(Code::TryAgain, message).help("with --id the same may be sent again without harm: it is stored once")
}

/// A connection that breaks before the answer leaves open whether the event is stored.
pub(super) fn unreached(error: ClientError) -> Exit {
    let exit = Exit::from(error);
    match exit.code() {
        Code::Failed => Exit::new(Code::TryAgain, exit.message().unwrap_or_default())
            .help("with an id of your own the same may be sent again without harm: it is stored once"),
        _ => exit,
    }
}

/// The spool of a daemon whose socket was named.
fn spool_beside(socket: &Path) -> PathBuf {
    let system = Paths::system();
    match socket.parent() {
        _ if socket == system.emit => system.spool,
        Some(folder) => folder.join("spool"),
        None => PathBuf::from("spool"),
    }
}

/// How long it is tried again, and how often.
pub(super) struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + limits::EMIT_AGAIN, wait: limits::EMIT_WAIT }
    }

    /// Waits a moment; `false` when it has been long enough.
    pub(super) async fn more(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(limits::EMIT_WAIT_MAX);
        true
    }
}

/// The answer to an event that went to the spool.
pub(super) fn spooled(event: &[u8], file: &Path) -> Json {
    json!({"id": native::member(event, "id"), "file": file.display().to_string()})
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;
    use tokio::sync::mpsc;

    use super::*;

    const EVENT: &[u8] = br#"{"id":"7","type":"x","data":1}"#;

    /// A door whose daemon answers its connections with these lines, one each; an empty one is a connection that ends
    /// without. What it was handed in comes over the channel.
    fn door(folder: &Path, answers: &'static [&'static str]) -> (Door, mpsc::UnboundedReceiver<String>) {
        let socket = folder.join("emit.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (heard, hears) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                heard.send(line).unwrap();
                if *answer == "silence" {
                    std::future::pending::<()>().await;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        std::fs::create_dir(folder.join("spool")).unwrap();
        (Door { socket, spool: Spool::at(&folder.join("spool")) }, hears)
    }

    #[tokio::test]
    async fn the_same_is_handed_in_again_until_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let answers = &[
            "",
            "{\"id\":\"7\",\"ho",
            "{\"error\":{\"code\":\"unavailable\",\"message\":\"stopping\"}}\n",
            "{\"id\":\"7\",\"hooks\":[],\"duplicate\":true}\n",
        ];
        let (door, mut hears) = door(folder.path(), answers);
        let Ok(HandedIn::Answered(answer)) = door.hand_in(EVENT).await else { panic!("no answer") };
        assert_eq!(answer.json, json!({"id": "7", "hooks": [], "duplicate": false}), "it is its own duplicate");
        for _ in answers {
            assert_eq!(hears.recv().await.unwrap().trim_end().as_bytes(), EVENT);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_says_nothing_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (mut door, _hears) = door(folder.path(), &["silence"]);
        let Ok(HandedIn::Spooled(file)) = door.hand_in(EVENT).await else { panic!("it is not in the spool") };
        let spooled = std::fs::read(file).unwrap();
        assert_eq!(native::member(&spooled, "id").as_deref(), Some("7"));
        assert!(native::member(&spooled, "time").is_some());
        door.spool = None;
        let Err(exit) = door.hand_in(EVENT).await else { panic!("it is lost") };
        assert_eq!(exit.code(), Code::TryAgain);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_gets_through_goes_to_the_spool_within_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        // It is there once, and then nobody is.
        let (door, _hears) = door(folder.path(), &[""]);
        let begun = Instant::now();
        let Ok(HandedIn::Spooled(_)) = door.hand_in(EVENT).await else { panic!("it is not in the spool") };
        let took = begun.elapsed();
        assert!(took >= limits::EMIT_AGAIN && took < limits::EMIT_AGAIN + limits::EMIT_ANSWER, "{took:?}");
    }

    #[test]
    fn a_named_socket_has_the_spool_beside_it() {
        assert_eq!(spool_beside(Path::new("/run/postrider/emit.sock")), Path::new("/var/spool/postrider"));
        assert_eq!(spool_beside(Path::new("/srv/a/emit.sock")), Path::new("/srv/a/spool"));
        assert_eq!(spool_beside(Path::new("emit.sock")), Path::new("spool"));
    }
}
