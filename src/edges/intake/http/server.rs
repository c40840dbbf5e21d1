//! HTTP/1.1 on any connection: bounds, timeouts, streaming answers. Routes are behind `Handler`.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::edges::intake::door;
use crate::words::event::Peer;
use crate::words::limits;

/// What a full house says over HTTP.
pub(crate) const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The answer that is on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// One request. `peer` is who sent it, on a local socket.
    fn handle(&self, request: Request<Incoming>, peer: Option<Peer>) -> Answering;
}

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Between requests, and for a receiver of answers that does not read.
    pub idle: Duration,
    /// Whether whoever has said all it will say (`nc -N` closes its half of the connection) is still answered. A reader
    /// of a stream who says so has left.
    pub half_closed: bool,
}

impl Patience {
    /// With whoever comes over TCP.
    pub const TCP: Self = Self { head: limits::HEAD_TIMEOUT, idle: limits::IDLE_TIMEOUT, half_closed: true };
    /// With local programs.
    pub const LOCAL: Self = Self { head: limits::HEAD_TIMEOUT, idle: limits::SOCKET_IDLE_TIMEOUT, half_closed: true };
    /// With operators, who also follow streams.
    pub const OPERATORS: Self = Self { half_closed: false, ..Self::LOCAL };
}

/// Serves HTTP to operators on a local socket until `stop`.
pub async fn serve_unix(listener: UnixListener, handler: Arc<dyn Handler>, stop: CancellationToken) {
    door::keep(listener, BUSY, stop.clone(), |stream| {
        let peer = peer(&stream);
        serve_connection(stream, handler.clone(), peer, Patience::OPERATORS, stop.clone())
    })
    .await;
}

/// Serves HTTP over TCP until `stop`.
pub async fn serve_tcp(listener: TcpListener, handler: Arc<dyn Handler>, stop: CancellationToken) {
    door::keep(listener, BUSY, stop.clone(), |stream| {
        serve_connection(stream, handler.clone(), None, Patience::TCP, stop.clone())
    })
    .await;
}

/// The process at the other end, by the kernel's word.
pub(crate) fn peer(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    Some(Peer { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
}

/// Serves HTTP on one connection until it ends. After `stop` the request in hand is answered, and no other is read.
pub async fn serve_connection<IO>(
    io: IO,
    handler: Arc<dyn Handler>,
    peer: Option<Peer>,
    patience: Patience,
    stop: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = Arc::new(Requests::default());
    let io = Watched::new(TokioIo::new(io), patience, requests.clone());
    let service = service_fn(move |request| {
        let open = Open::new(&requests);
        let answering = handler.handle(request, peer);
        async move {
            let mut response = answering.await;
            response.body_mut().open = Some(open);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .max_headers(limits::HTTP_HEADERS)
        .max_buf_size(limits::HTTP_HEAD)
        .half_close(patience.half_closed)
        // hyper's own clock also runs between requests: `Watched` tells the two apart.
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("an intake connection ended: {error}");
    }
}

/// The body of an answer: whole, or piece by piece.
#[derive(Debug)]
pub struct Body {
    content: Content,
    open: Option<Open>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Stream(mpsc::Receiver<Bytes>),
}

impl Body {
    /// A whole body.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(bytes.into()), open: None }
    }

    /// A body that ends when every sender of `pieces` is gone. A reader that has left is seen as a closed channel.
    pub fn stream(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { content: Content::Stream(pieces), open: None }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.content {
            Content::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Content::Stream(pieces) => ready!(pieces.poll_recv(cx)),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// Requests of one connection, so that the watch knows whose turn it is.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU32,
    ended: AtomicU32,
}

/// A request in hand, until the last piece of its answer is handed to the connection.
#[derive(Debug)]
struct Open(Arc<Requests>);

impl Open {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        Self(requests.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection that gives up when the other end is silent too long while it is the other end's turn. While a request
/// is in hand it is ours, and the handler bounds the time for the body.
struct Watched<IO> {
    io: IO,
    patience: Patience,
    requests: Arc<Requests>,
    /// Requests begun when the head now being read was not there yet.
    begun: u32,
    /// When the first byte of a head came.
    head: Option<Instant>,
    /// When something last moved, either way.
    moved: Instant,
    /// One timer for the whole connection: it is set anew when it fires early, not with each request.
    alarm: Pin<Box<Sleep>>,
}

impl<IO> Watched<IO> {
    fn new(io: IO, patience: Patience, requests: Arc<Requests>) -> Self {
        let now = Instant::now();
        let alarm = Box::pin(sleep_until(now + patience.idle));
        Self { io, patience, requests, begun: 0, head: None, moved: now, alarm }
    }

    /// Whether a request is in hand. Notes when a head has become a request.
    fn in_hand(&mut self) -> bool {
        let begun = self.requests.begun.load(Ordering::Relaxed);
        if begun != self.begun {
            self.begun = begun;
            self.head = None;
        }
        begun != self.requests.ended.load(Ordering::Relaxed)
    }

    fn note_read(&mut self) {
        self.moved = Instant::now();
        if !self.in_hand() && self.head.is_none() {
            self.head = Some(self.moved);
        }
    }

    /// What a wait means: nothing yet, or that patience is over.
    fn waiting<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.in_hand() {
            return Poll::Pending;
        }
        let deadline = match self.head {
            Some(head) => head + self.patience.head,
            None => self.moved + self.patience.idle,
        };
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl<IO: hyper::rt::Read + Unpin> hyper::rt::Read for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.note_read();
                Poll::Ready(read)
            }
            Poll::Pending => self.waiting(cx),
        }
    }
}

impl<IO: hyper::rt::Write + Unpin> hyper::rt::Write for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_write(wrote, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_write(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<IO> Watched<IO> {
    fn note_write(&mut self, wrote: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(wrote) => {
                self.moved = Instant::now();
                Poll::Ready(wrote)
            }
            Poll::Pending => self.waiting(cx),
        }
    }
}
