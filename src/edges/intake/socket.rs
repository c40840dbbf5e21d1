//! The emit socket: the first byte tells NDJSON from HTTP/1.1.
//!
//! NDJSON: one event per line, one answer line each, in order. Lines may be sent without waiting for answers; those
//! that came together are stored together, but each is taken or refused on its own.

use std::io::{self, BufRead};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::edges::intake::http::server::{Handler, Patience, peer, serve_connection};
use crate::edges::intake::http::sources::Sources;
use crate::edges::intake::http::{Routes, lost};
use crate::edges::intake::{Accept, Answer, Code, Refusal, door, native};
use crate::words::event::{Event, Peer};
use crate::words::limits;

const READ_FIRST: usize = 8 * 1024;
const READ_MORE: usize = 64 * 1024;

/// Serves the emit socket until `stop`: then no further line is read, and what is outstanding is answered.
pub async fn serve(listener: UnixListener, accept: Arc<dyn Accept>, sources: Arc<Sources>, stop: CancellationToken) {
    let routes: Arc<dyn Handler> = Arc::new(Routes::local(accept.clone(), sources));
    let refusal = Refusal::new(Code::Busy, "too many connections are open; try again later");
    let mut busy = native::answer_json(&Answer::Refused(refusal));
    busy.push(b'\n');
    door::keep(listener, &busy, stop.clone(), |stream| {
        connection(stream, accept.clone(), routes.clone(), stop.clone())
    })
    .await;
}

async fn connection(
    mut stream: UnixStream,
    accept: Arc<dyn Accept>,
    routes: Arc<dyn Handler>,
    stop: CancellationToken,
) {
    let peer = peer(&stream);
    let mut begun = BytesMut::with_capacity(READ_FIRST);
    let read = tokio::select! {
        () = stop.cancelled() => return,
        read = timeout(limits::SOCKET_IDLE_TIMEOUT, stream.read_buf(&mut begun)) => read,
    };
    if !matches!(read, Ok(Ok(1..))) {
        return;
    }
    // Methods are written in capitals, and no JSON text begins with one.
    if begun[0].is_ascii_uppercase() {
        let stream = Rewound { begun: begun.freeze(), stream };
        serve_connection(stream, routes, peer, Patience::LOCAL, stop).await;
    } else {
        let (from, to) = stream.split();
        let outstanding = Arc::new(Semaphore::new(limits::PIPELINE));
        let (groups, answered) = mpsc::channel(limits::PIPELINE);
        let reader = Reader { from, lines: Lines::new(begun), peer, accept: accept.clone(), outstanding, groups };
        tokio::join!(reader.run(stop), write(to, answered, &*accept));
    }
}

/// Lines that came together, on their way to their answers.
struct Group {
    /// One per line: its refusal, or nothing where the answer comes from `stored`.
    lines: Vec<Option<Refusal>>,
    stored: Option<JoinHandle<Vec<Answer>>>,
    _outstanding: OwnedSemaphorePermit,
}

struct Reader<'a> {
    from: ReadHalf<'a>,
    lines: Lines,
    peer: Option<Peer>,
    accept: Arc<dyn Accept>,
    outstanding: Arc<Semaphore>,
    groups: mpsc::Sender<Group>,
}

impl Reader<'_> {
    async fn run(mut self, stop: CancellationToken) {
        let reading = async {
            loop {
                while self.hand_over(false).await {}
                match timeout(limits::SOCKET_IDLE_TIMEOUT, self.lines.fill(&mut self.from)).await {
                    Ok(Ok(1..)) => {}
                    // A last line without its line break is an event too. A reset is an end: the sender left without
                    // reading its answers.
                    Ok(_) => {
                        while self.hand_over(true).await {}
                        break;
                    }
                    Err(_) => break,
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    }

    /// Hands over what has come, up to `limits::GROUP` lines; says whether there was any. Waits while too many answers
    /// are outstanding: the sender who does not read them is not read either.
    async fn hand_over(&mut self, ended: bool) -> bool {
        let now = Timestamp::now();
        let (mut lines, mut events) = (vec![], vec![]);
        while lines.len() < limits::GROUP
            && let Some(line) = self.lines.next(ended)
        {
            let parsed = line.and_then(|line| native::parse(line, now, self.peer));
            lines.push(parsed.map(|event: Event| events.push(event)).err());
        }
        if lines.is_empty() {
            return false;
        }
        let Ok(outstanding) = self.outstanding.clone().acquire_many_owned(lines.len() as u32).await else {
            return false;
        };
        // A task of its own: what was handed over is stored even when this connection ends meanwhile.
        let stored = (!events.is_empty()).then(|| tokio::spawn(self.accept.accept(events)));
        // There is always room: a group has a line at least, and lines are bounded. Waiting could lose its answers.
        self.groups.try_send(Group { lines, stored, _outstanding: outstanding }).is_ok()
    }
}

/// Writes the answers in the order of the lines. Goes on without a reader: the lines still count.
async fn write(mut to: WriteHalf<'_>, mut answered: mpsc::Receiver<Group>, accept: &dyn Accept) {
    let mut text = vec![];
    let mut heard = true;
    while let Some(group) = answered.recv().await {
        let stored = match group.stored {
            Some(task) => task.await.unwrap_or_default(),
            None => vec![],
        };
        let mut stored = stored.into_iter();
        for line in group.lines {
            let answer = match line {
                Some(refusal) => Answer::Refused(refusal),
                None => stored.next().unwrap_or_else(|| Answer::Refused(lost())),
            };
            if let Answer::Refused(refusal) = &answer {
                accept.refused(refusal.code);
            }
            native::write_answer(&mut text, &answer);
            text.push(b'\n');
        }
        heard = heard && to.write_all(&text).await.is_ok();
        text.clear();
    }
    to.shutdown().await.ok();
}

/// Cuts a stream of bytes into lines.
struct Lines {
    buffer: BytesMut,
    /// Bytes at the front of the buffer that were the line handed out last.
    used: usize,
    /// Bytes after `used` that hold no line break.
    searched: usize,
    /// Whether the line now coming is too long, and was answered already.
    skipping: bool,
    room: usize,
}

impl Lines {
    fn new(buffer: BytesMut) -> Self {
        Self { buffer, used: 0, searched: 0, skipping: false, room: READ_FIRST }
    }

    async fn fill(&mut self, from: &mut ReadHalf<'_>) -> io::Result<usize> {
        self.let_go();
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * READ_MORE {
            // One long line must not cost a silent connection a megabyte for the rest of its life.
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(self.room);
        let read = from.read_buf(&mut self.buffer).await?;
        self.room = if read >= READ_FIRST { READ_MORE } else { READ_FIRST };
        Ok(read)
    }

    /// The next line that is not empty, or the refusal of one that is too long. `ended`: the rest is a line.
    fn next(&mut self, ended: bool) -> Option<Result<&[u8], Refusal>> {
        loop {
            self.let_go();
            let mut rest = &self.buffer[self.searched..];
            let length = self.searched + rest.skip_until(b'\n').unwrap_or_default();
            let complete = length > self.searched && self.buffer[length - 1] == b'\n';
            if !complete && (!ended || length == 0) {
                self.searched = length;
                if self.skipping {
                    (self.used, self.searched) = (length, 0);
                    self.let_go();
                } else if length > limits::EVENT {
                    self.skipping = true;
                    (self.used, self.searched) = (length, 0);
                    return Some(Err(native::too_large()));
                }
                return None;
            }
            (self.used, self.searched) = (length, 0);
            let rest_of_a_long_line = std::mem::take(&mut self.skipping);
            let text = length - usize::from(complete);
            if rest_of_a_long_line {
                continue;
            }
            // The bound first: how a line came in pieces does not change its answer, not even that of a million blanks.
            if text > limits::EVENT {
                return Some(Err(native::too_large()));
            }
            if self.buffer[..text].trim_ascii().is_empty() {
                continue;
            }
            return Some(Ok(&self.buffer[..text]));
        }
    }

    fn let_go(&mut self) {
        self.buffer.advance(std::mem::take(&mut self.used));
    }
}

/// A stream whose first bytes were read already.
struct Rewound {
    begun: Bytes,
    stream: UnixStream,
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let now = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(now));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
