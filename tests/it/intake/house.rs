//! An emit socket with a store behind it, and senders that hide nothing.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postrider::edges::intake::http::serve_tcp;
use postrider::edges::intake::http::sources::Sources;
use postrider::edges::intake::{Accept, Answer, Code, Refusal, socket};
use postrider::words::event::Event;
use postrider::words::secret::Secret;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An emit socket with a store behind it.
pub(super) struct House {
    pub(super) store: Arc<Store>,
    pub(super) path: PathBuf,
    pub(super) stop: CancellationToken,
    pub(super) serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl House {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emit.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (store, stop) = (Arc::new(Store::new()), CancellationToken::new());
        let serving = tokio::spawn(socket::serve(listener, store.clone(), no_sources(), stop.clone()));
        Self { store, path, stop, serving, _folder: folder }
    }

    /// Opens HTTP over TCP as well.
    pub(super) async fn tcp(&self, token: Option<watch::Receiver<Option<Secret>>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let token = token.unwrap_or_else(|| watch::channel(None).1);
        tokio::spawn(serve_tcp(listener, self.store.clone(), no_sources(), token, self.stop.clone()));
        address
    }

    pub(super) async fn session(&self) -> Session {
        Session::new(UnixStream::connect(&self.path).await.unwrap())
    }
}

fn no_sources() -> Arc<Sources> {
    Arc::new(Sources::new(watch::channel(Arc::default()).1))
}

/// One NDJSON connection.
pub(super) struct Session(BufReader<UnixStream>);

impl Session {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    pub(super) async fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    pub(super) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}

/// Keeps events in memory; can refuse, wait and panic.
pub(super) struct Store {
    state: Mutex<State>,
    gate: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    known: HashMap<String, usize>,
    begun: usize,
    calls: usize,
    refused: Vec<&'static str>,
    stalled: bool,
    refusing: Option<Code>,
    panicking: bool,
}

impl Store {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    pub(super) fn stall(&self) {
        self.state.lock().unwrap().stalled = true;
    }

    pub(super) fn go_on(&self) {
        self.state.lock().unwrap().stalled = false;
        self.gate.add_permits(100_000);
    }

    pub(super) fn refuse(&self, code: Option<Code>) {
        self.state.lock().unwrap().refusing = code;
    }

    pub(super) fn panic(&self) {
        self.state.lock().unwrap().panicking = true;
    }

    pub(super) fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }

    /// The refusals that senders heard, as words.
    pub(super) fn refused(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().refused.clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    pub(super) fn kinds(&self) -> Vec<String> {
        self.state.lock().unwrap().events.iter().map(|event| event.kind.clone()).collect()
    }

    pub(super) fn last(&self) -> Event {
        self.state.lock().unwrap().events.last().expect("no event was stored").clone()
    }
}

impl Accept for Store {
    fn accept(&self, events: Vec<Event>) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send>> {
        let mut state = self.state.lock().unwrap();
        state.begun += events.len();
        state.calls += 1;
        let panicking = state.panicking;
        let answers = events.iter().map(|event| match state.refusing {
            Some(code) => Answer::Refused(Refusal::new(code, "come back later")),
            None => Answer::Accepted {
                id: event.id.clone(),
                hooks: vec!["a".into(), "b".into()],
                duplicate: state.known.contains_key(&event.id),
            },
        });
        let mut answers: Vec<Answer> = answers.collect();
        if state.refusing.is_none() {
            for (event, answer) in events.into_iter().zip(&mut answers) {
                let count = state.known.entry(event.id.clone()).or_default();
                *count += 1;
                if *count > 1
                    && let Answer::Accepted { duplicate, .. } = answer
                {
                    *duplicate = true;
                }
                state.events.push(event);
            }
        }
        let gate = state.stalled.then(|| self.gate.clone());
        Box::pin(async move {
            assert!(!panicking, "the store breaks, on purpose");
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            answers
        })
    }

    fn refused(&self, code: Code) {
        self.state.lock().unwrap().refused.push(code.word());
    }
}

#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

pub(super) async fn exchange<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Got {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    // A refusal may come before the body was taken, and close the connection.
    stream.write_all(&[text.as_bytes(), body].concat()).await.ok();
    answer_of(stream).await
}

pub(super) async fn answer_of<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Got {
    let mut bytes = vec![];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break bytes.drain(..end + 4).collect::<Vec<u8>>();
        }
        let read = stream.read_buf(&mut bytes).await.expect("the connection broke");
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.into()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < length {
        assert!(stream.read_buf(&mut bytes).await.expect("the connection broke") > 0, "the body broke off");
    }
    assert_eq!(bytes.len(), length);
    Got { status, headers, body: String::from_utf8(bytes).unwrap() }
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never came to that");
}
