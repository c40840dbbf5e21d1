//! Bytes on the emit socket, in pieces of any size: each line has one answer, in order, and what was taken is what a
//! plain reader finds in the same bytes.
//!
//! The first byte is the size of the pieces, the rest is what is sent. 0xFE stands for 600,000 `x`, so that lines beyond
//! the bound are near.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use postrider::edges::intake::http::sources::Sources;
use postrider::edges::intake::{Accept, Answer, Code, native, socket};
use postrider::words::event::Event;
use postrider::words::limits;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::split_first;

/// Takes everything, and remembers it.
#[derive(Default)]
pub(super) struct Store(Mutex<Vec<Event>>);

impl Store {
    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Accept for Store {
    fn accept(&self, events: Vec<Event>) -> Pin<Box<dyn Future<Output = Vec<Answer>> + Send>> {
        let accepted = |event: &Event| Answer::Accepted { id: event.id.clone(), hooks: vec![], duplicate: false };
        let answers = events.iter().map(accepted).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        Box::pin(std::future::ready(answers))
    }

    fn refused(&self, code: Code) {
        assert!(Code::WORDS.contains(&code.word()));
    }
}

struct House {
    runtime: Runtime,
    store: Arc<Store>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Store::default());
        let sources = Arc::new(Sources::new(watch::channel(Arc::default()).1));
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join("emit.sock")).expect("a socket")
        };
        runtime.spawn(socket::serve(listener, store.clone(), sources, CancellationToken::new()));
        Self { runtime, store, folder }
    }

    /// Sends bytes in pieces, and gives what is answered.
    fn exchange(&self, bytes: &[u8], piece: usize) -> Vec<u8> {
        self.runtime.block_on(async {
            let path = self.folder.path().join("emit.sock");
            let (mut from, mut to) = UnixStream::connect(path).await.expect("a connection").into_split();
            let sending = async {
                for piece in bytes.chunks(piece) {
                    // Whoever is cut off in the middle sees that in the answers.
                    if to.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(to);
            };
            let mut answers = vec![];
            let reading = async { from.read_to_end(&mut answers).await.ok() };
            tokio::join!(sending, reading);
            answers
        })
    }
}

thread_local! {
    static HOUSE: House = House::new();
}

pub(crate) fn run(data: &[u8]) {
    let (size, rest) = split_first(data);
    let mut sent = Vec::new();
    for byte in rest {
        match byte {
            0xFE if sent.len() < 3 * limits::EVENT => sent.resize(sent.len() + 600_000, b'x'),
            byte => sent.push(*byte),
        }
    }
    // Small pieces of a large text would take for ever.
    let piece = (usize::from(size) * usize::from(size) + 1).max(sent.len() / 500);
    let (answers, taken) = HOUSE.with(|house| (house.exchange(&sent, piece), house.store.take()));
    if sent.first().is_some_and(u8::is_ascii_uppercase) {
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(&answers));
        return;
    }

    let mut taken = taken.into_iter();
    let text = String::from_utf8(answers).expect("answers in UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "half an answer: {text:?}");
    let mut answers = text.lines();
    for line in sent.split(|byte| *byte == b'\n') {
        let long = line.len() > limits::EVENT;
        if line.trim_ascii().is_empty() && !long {
            continue;
        }
        let answer = answers.next().unwrap_or_else(|| panic!("no answer to {:?}", String::from_utf8_lossy(line)));
        let answer: Json = serde_json::from_str(answer).expect("an answer is JSON");
        match native::parse(line, Timestamp::UNIX_EPOCH, None) {
            Ok(expected) => {
                let event = taken.next().expect("what is acknowledged is handed over");
                assert_eq!(answer["id"], event.id.as_str());
                assert_eq!((&event.kind, &event.source, &event.raw), (&expected.kind, &expected.source, &expected.raw));
                assert!(event.peer.is_some(), "the kernel says who sent it");
            }
            Err(refusal) => {
                assert_eq!(answer["error"]["code"], refusal.code.word());
                assert_eq!(answer["error"]["message"], refusal.message.as_str());
                assert_eq!(long, refusal.code == Code::TooLarge);
            }
        }
    }
    assert_eq!(answers.next(), None, "an answer to nothing");
    assert_eq!(taken.count(), 0, "an event that nobody sent");
}
