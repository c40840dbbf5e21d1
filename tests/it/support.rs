//! A real daemon in a temporary folder, in this process, and ways to wait for what it does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider::edges::client::Client;
use postrider::edges::config::{Keeper, Paths};
use postrider::edges::journal::{DeliveryRow, Filter, Journal, JournalError, LogRow, sqlite::SqliteJournal};
use postrider::edges::sink::{Sink, SinkHandle, SinkOptions};
use postrider::engine::admin::About;
use postrider::engine::care::Care;
use postrider::engine::clock::Clock;
use postrider::engine::daemon::{self, Parts};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long any condition is awaited. Only a broken test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) folder: TempDir,
    pub(crate) journal: Arc<dyn Journal>,
    /// Where it listens over TCP.
    pub(crate) http: String,
    /// Where it says over TCP how it is.
    pub(crate) metrics: String,
    stop: CancellationToken,
    running: JoinHandle<Result<(), JournalError>>,
}

impl Daemon {
    /// Starts a daemon with these hooks (name, text).
    pub(crate) async fn start(hooks: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in hooks {
            write_hook(folder.path(), name, text);
        }
        Self::start_in(folder).await
    }

    /// Starts a daemon in a folder that has everything, such as one that another daemon left.
    pub(crate) async fn start_in(folder: TempDir) -> Self {
        let paths = Paths::here(folder.path());
        fs::create_dir_all(paths.emit.parent().expect("sockets stand in a folder")).expect("a folder");
        let clock = Clock::start();
        let journal: Arc<dyn Journal> =
            Arc::new(SqliteJournal::open_by(&paths.state, move || clock.steady()).expect("a journal"));
        let mut keeper = Keeper::new(paths.clone(), true);
        let config = keeper.load().expect("a sound main file");
        for socket in [&paths.emit, &paths.admin] {
            let _none_left = fs::remove_file(socket);
        }
        let stop = CancellationToken::new();
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let http = tcp.local_addr().expect("an address").to_string();
        let watched = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let metrics = watched.local_addr().expect("an address").to_string();
        let parts = Parts {
            keeper,
            config,
            journal: journal.clone(),
            emit: Some(UnixListener::bind(&paths.emit).expect("the emit socket")),
            admin: Some(UnixListener::bind(&paths.admin).expect("the admin socket")),
            http: Some(tcp),
            spool: None,
            metrics: Some(watched),
            care: Care::none(),
            clock,
            about: About::default(),
            reload: mpsc::channel(4),
            drain: Duration::from_secs(5),
            landing: Box::new(|_| {}),
        };
        let running = tokio::spawn(daemon::run(parts, stop.clone()));
        Self { folder, journal, http, metrics, stop, running }
    }

    /// Tells it to stop, and goes on.
    pub(crate) fn begin_to_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it in good order; the folder is left for the next one.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.running.await.expect("no panic").expect("a journal that closes");
        drop(self.journal);
        self.folder
    }

    /// Writes a hook file and has it loaded.
    pub(crate) async fn put_hook(&self, name: &str, text: &str) {
        write_hook(self.folder.path(), name, text);
        self.reload().await;
    }

    /// Removes a hook file and has that noticed.
    pub(crate) async fn remove_hook(&self, name: &str) {
        fs::remove_file(self.folder.path().join("hooks.d").join(format!("{name}.yaml"))).expect("a hook file");
        self.reload().await;
    }

    /// Writes a secret.
    pub(crate) fn put_secret(&self, name: &str, value: &str) {
        write_secret(self.folder.path(), name, value);
    }

    /// Has the files read now.
    pub(crate) async fn reload(&self) -> Json {
        self.admin("POST", "/v1/reload", Some("{}")).await.1
    }

    /// Asks the admin socket.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Json) {
        let client = Client::new(&Paths::here(self.folder.path()).admin);
        let body = body.map(|text| text.as_bytes().to_vec());
        let (status, bytes) =
            client.request(method.parse().expect("a method"), path, body).await.expect("an answer of the admin socket");
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
    }

    /// Sends one native event and returns its answer.
    pub(crate) async fn emit(&self, event: &Json) -> Json {
        let client = Client::new(&Paths::here(self.folder.path()).emit);
        let body = event.to_string().into_bytes();
        let (_, answer) =
            client.request(http::Method::POST, "/v1/events", Some(body)).await.expect("an answer of the emit socket");
        serde_json::from_slice(&answer).expect("a JSON answer")
    }

    /// The deliveries of a hook.
    pub(crate) async fn deliveries(&self, hook: &str) -> Vec<DeliveryRow> {
        let filter = Filter { hook: Some(hook.to_owned()), ..Filter::default() };
        self.journal.list(filter).await.expect("a list")
    }

    /// The attempts of a hook.
    pub(crate) async fn log(&self, hook: &str) -> Vec<LogRow> {
        let filter = Filter { hook: Some(hook.to_owned()), ..Filter::default() };
        self.journal.log(filter).await.expect("a log")
    }

    /// Writes the main file and has it loaded.
    pub(crate) async fn put_main(&self, text: &str) -> Json {
        fs::write(self.folder.path().join("postrider.yaml"), text).expect("a main file");
        self.reload().await
    }

    /// Sends a request over TCP, as a vendor does.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
        send(&self.http, method, target, headers, body).await
    }

    /// Posts JSON over TCP.
    pub(crate) async fn post(&self, target: &str, body: &[u8]) -> Got {
        self.send("POST", target, &[("content-type", "application/json")], body).await
    }

    /// Waits until a hook's deliveries are as wanted.
    pub(crate) async fn until(&self, hook: &str, wanted: impl Fn(&[DeliveryRow]) -> bool) -> Vec<DeliveryRow> {
        let waited = tokio::time::timeout(PATIENCE, async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                let rows = self.deliveries(hook).await;
                if wanted(&rows) {
                    return rows;
                }
            }
        });
        match waited.await {
            Ok(rows) => rows,
            Err(_) => panic!("{hook} never came to it: {:#?}", self.deliveries(hook).await),
        }
    }

    /// Waits until all of a hook's deliveries (at least one) have this outcome.
    pub(crate) async fn until_all(&self, hook: &str, outcome: &str) -> Vec<DeliveryRow> {
        self.until(hook, |rows| !rows.is_empty() && rows.iter().all(|row| row.outcome == outcome)).await
    }
}

/// Writes a hook file into a folder.
pub(crate) fn write_hook(folder: &Path, name: &str, text: &str) {
    let hooks = folder.join("hooks.d");
    fs::create_dir_all(&hooks).expect("a folder");
    fs::write(hooks.join(format!("{name}.yaml")), text).expect("a hook file");
}

/// Writes a secret into a folder.
pub(crate) fn write_secret(folder: &Path, name: &str, value: &str) {
    let secrets = folder.join(".postrider/secrets.d");
    fs::create_dir_all(&secrets).expect("a folder");
    let path = secrets.join(name);
    fs::write(&path, value).expect("a secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// A receiver that takes everything.
pub(crate) async fn receiver() -> SinkHandle {
    Sink::start(SinkOptions::default()).await.expect("a receiver")
}

/// What a receiver was sent, as text, in order.
pub(crate) fn bodies(sink: &SinkHandle) -> Vec<String> {
    sink.records().iter().map(|record| text(&record.request.body)).collect()
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An answer over TCP.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    /// Lines of the head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(address: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    let mut text = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        text.push_str("host: inner.example\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&[text.as_bytes(), body].concat()).await.expect("a reader");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer");
    let answer = String::from_utf8(bytes).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Got { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The names of the files with this ending in a folder, without it and in order.
pub(crate) fn stems(folder: &Path, ending: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let of_kind = files.filter(|path| path.extension().is_some_and(|found| found == ending));
    let mut stems: Vec<_> = of_kind.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    stems.sort();
    stems
}

/// A file of `tests/`.
pub(crate) fn test_file(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
