//! The receiver: takes everything at `/mirror-…`, refuses a fifth at `/flaky`, and writes down each hit.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::ledger::Hit;
use super::{await_that, data_of, number_of};

/// What the sink shares with the story.
pub(crate) struct Sink {
    pub(crate) addr: SocketAddr,
    book: Arc<Book>,
}

struct Book {
    hits: Mutex<Vec<Hit>>,
    /// The ids of the deliveries that were answered with a 2xx, by number.
    taken: Mutex<HashMap<i64, String>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    chance: Mutex<fastrand::Rng>,
}

impl Sink {
    /// Starts a sink on a thread of its own, which ends with the tests.
    pub(crate) fn start(seed: u64) -> Self {
        let book = Arc::new(Book {
            hits: Mutex::default(),
            taken: Mutex::default(),
            accepted: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            chance: Mutex::new(fastrand::Rng::with_seed(seed)),
        });
        let (tell, told) = mpsc::channel();
        let shared = book.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, shared).await;
            });
        });
        Self { addr: told.recv().unwrap(), book }
    }

    /// Deliveries taken.
    pub(crate) fn taken(&self) -> usize {
        self.book.taken.lock().unwrap().len()
    }

    /// Those of these deliveries, given by number, that were taken.
    pub(crate) fn took(&self, numbers: &[i64]) -> BTreeSet<String> {
        let taken = self.book.taken.lock().unwrap();
        numbers.iter().filter_map(|number| taken.get(number).cloned()).collect()
    }

    /// How many of these deliveries were taken by a hit after so many others.
    pub(crate) fn took_after(&self, hits: usize, deliveries: &BTreeSet<String>) -> usize {
        let all = self.book.hits.lock().unwrap();
        let late = all[hits..].iter().filter(|hit| hit.taken && deliveries.contains(&hit.delivery));
        late.map(|hit| &hit.delivery).collect::<BTreeSet<_>>().len()
    }

    /// How many hits there were so far.
    pub(crate) fn count(&self) -> usize {
        self.book.hits.lock().unwrap().len()
    }

    /// Every hit so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        self.book.hits.lock().unwrap().clone()
    }

    /// Waits until nothing of a dead daemon is under way any more. Connections are accepted in order, so once our own
    /// is in, all of the dead one's are, and end as soon as what they still hold has been read.
    pub(crate) fn settle(&self) {
        let before = self.book.accepted.load(Ordering::SeqCst);
        drop(TcpStream::connect(self.addr).unwrap());
        await_that("the sink is quiet", Duration::from_secs(20), || {
            let accepted = self.book.accepted.load(Ordering::SeqCst);
            accepted > before && accepted == self.book.ended.load(Ordering::SeqCst)
        });
    }
}

async fn serve(listener: TcpListener, book: Arc<Book>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        book.accepted.fetch_add(1, Ordering::SeqCst);
        let book = book.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&book, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _cut_short = connection.await;
            book.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

async fn answer(book: &Book, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let event = serde_json::from_slice::<serde_json::Value>(&body).unwrap()["n"].as_str().unwrap().to_owned();
    assert_eq!(body, data_of(&event), "the body is not the event's data byte for byte");
    let hook = head.uri.path().trim_start_matches('/').to_owned();
    let delivery = head.headers["webhook-id"].to_str().unwrap().to_owned();
    let mut digest = DefaultHasher::new();
    body.hash(&mut digest);
    let taken = hook != "flaky" || book.chance.lock().unwrap().f64() >= 0.2;
    if taken {
        book.taken.lock().unwrap().insert(number_of(&delivery), delivery.clone());
    }
    book.hits.lock().unwrap().push(Hit { delivery, hook, event, body: digest.finish(), taken });
    let mut response = Response::new(Full::default());
    if !taken {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}
