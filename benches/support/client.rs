//! Who sends: posts over keep-alive connections, or NDJSON lines over the socket. Each sender has a thread of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Fallible, events, process};

/// NDJSON lines written at once: about one pipe buffer.
const CHUNK: usize = 64;

/// Tokio's timer may be late by a millisecond and a bit, which is more than is measured here: the rest of a wait is
/// left to the kernel. Nothing else runs on that thread meanwhile.
const TIMER: Duration = Duration::from_millis(3);

/// How fast.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as the other side takes it.
    Full,
    /// One every so often, on a fixed schedule.
    Every(Duration),
}

/// What a sender did.
pub(crate) struct Sent {
    /// Before the first byte.
    pub(crate) began: Instant,
    /// When the last answer had come.
    pub(crate) answered: Instant,
    /// When each event was due to be sent; empty at full speed.
    pub(crate) times: Vec<Instant>,
    /// CPU seconds of the sender itself.
    pub(crate) cpu: f64,
}

/// What a POST carries.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// The bare data of one event, as the sink gets it.
    Data,
    /// One native event.
    Native,
    /// `events::BATCH` native events, as NDJSON.
    Batch,
}

/// Where and how to post.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) body: Body,
    /// Kept open, one request at a time on each.
    pub(crate) connections: usize,
}

/// Posts these events; every answer must be a 2xx.
pub(crate) fn post(target: Target, events: Range<usize>, speed: Speed) -> Fallible<Sent> {
    let job = Arc::new(Post { target, next: AtomicUsize::new(events.start), events, speed });
    on_own_thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(post_all(job))
    })
}

struct Post {
    target: Target,
    events: Range<usize>,
    speed: Speed,
    next: AtomicUsize,
}

async fn post_all(job: Arc<Post>) -> Fallible<Sent> {
    let mut ready = Vec::new();
    for _ in 0..job.target.connections {
        ready.push(connect(job.target.addr).await?);
    }
    let cpu = process::cpu_of_thread();
    let began = Instant::now();
    let senders: Vec<_> = ready.into_iter().map(|sender| tokio::spawn(post_some(job.clone(), sender, began))).collect();
    for sender in senders {
        sender.await??;
    }
    let answered = Instant::now();
    Ok(Sent {
        began,
        answered,
        times: schedule(began, job.events.len(), job.speed),
        cpu: process::cpu_of_thread() - cpu,
    })
}

async fn post_some(job: Arc<Post>, mut sender: SendRequest<Full<Bytes>>, began: Instant) -> Fallible<()> {
    let Target { path, body, .. } = job.target;
    let per_post = if matches!(body, Body::Batch) { events::BATCH } else { 1 };
    loop {
        let from = job.next.fetch_add(per_post, Ordering::Relaxed);
        if from >= job.events.end {
            return Ok(());
        }
        if let Speed::Every(gap) = job.speed {
            let due = began + gap * u32::try_from(from - job.events.start)?;
            tokio::time::sleep_until((due - TIMER).into()).await;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let (kind, body) = match body {
            Body::Data => ("application/json", events::data(from)),
            Body::Native => ("application/json", events::native(from)),
            Body::Batch => ("application/x-ndjson", events::lines(from, job.events.end.min(from + per_post))),
        };
        post_one(&mut sender, path, kind, body.into()).await?;
    }
}

/// A connection to post over.
pub(crate) async fn connect(addr: SocketAddr) -> Fallible<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Posts a body and reads the answer, which must be a 2xx.
pub(crate) async fn post_one(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    kind: &'static str,
    body: Bytes,
) -> Fallible<()> {
    let request = Request::post(path).header(HOST, "localhost").header(CONTENT_TYPE, kind).body(Full::new(body))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    if status.is_success() {
        return Ok(());
    }
    Err(format!("answered {status}: {}", String::from_utf8_lossy(&answer)).into())
}

/// Writes these events to the emit socket without waiting for answers, and reads one answer for each.
pub(crate) fn emit(socket: &Path, events: Range<usize>, speed: Speed) -> Fallible<Sent> {
    let count = events.len();
    let mut stream = UnixStream::connect(socket)?;
    let answers = stream.try_clone()?;
    let reader = std::thread::spawn(move || read_answers(answers, count));
    let sent = on_own_thread(move || {
        let cpu = process::cpu_of_thread();
        let began = Instant::now();
        match speed {
            Speed::Full => {
                for from in events.clone().step_by(CHUNK) {
                    stream.write_all(&events::lines(from, events.end.min(from + CHUNK)))?;
                }
            }
            Speed::Every(_) => {
                for (seq, at) in events.zip(schedule(began, count, speed)) {
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    stream.write_all(&events::lines(seq, seq + 1))?;
                }
            }
        }
        let times = schedule(began, count, speed);
        Ok(Sent { began, answered: began, times, cpu: process::cpu_of_thread() - cpu })
    })?;
    let answered = reader.join().map_err(|_| "the reader of answers broke down")??;
    Ok(Sent { answered, ..sent })
}

fn read_answers(stream: UnixStream, count: usize) -> Fallible<Instant> {
    let mut answers = BufReader::with_capacity(64 * 1024, stream);
    let mut line = Vec::new();
    for seq in 0..count {
        line.clear();
        if answers.read_until(b'\n', &mut line)? == 0 {
            return Err(format!("the socket was closed after {seq} of {count} answers").into());
        }
        if !line.starts_with(br#"{"id":"#) {
            return Err(format!("event {seq} was answered {}", String::from_utf8_lossy(&line)).into());
        }
    }
    Ok(Instant::now())
}

fn schedule(began: Instant, count: usize, speed: Speed) -> Vec<Instant> {
    match speed {
        Speed::Full => Vec::new(),
        Speed::Every(gap) => (0u32..).take(count).map(|number| began + gap * number).collect(),
    }
}

fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> Fallible<T> + Send + 'static) -> Fallible<T> {
    std::thread::spawn(work).join().map_err(|_| "a sender broke down")?
}
