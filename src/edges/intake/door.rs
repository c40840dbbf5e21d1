//! Takes connections, as many as the bound allows, until it is told to stop.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::words::limits;

/// A listener of either kind.
pub(super) trait Listen: AsFd {
    /// What it gives.
    type Stream: AsFd + Send + 'static;

    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Writes what fits without waiting.
    fn say(stream: &Self::Stream, text: &[u8]);
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // An answer is one write: waiting for more would only cost time.
        stream.set_nodelay(true).ok();
        Ok(stream)
    }

    fn say(stream: &TcpStream, text: &[u8]) {
        // Whoever does not read it learns the same from the closed connection.
        stream.try_write(text).ok();
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }

    fn say(stream: &UnixStream, text: &[u8]) {
        stream.try_write(text).ok();
    }
}

/// Whether a file descriptor is one of those that are kept free for deliveries and the journal.
fn is_reserved(number: RawFd) -> bool {
    let Some(most) = getrlimit(Resource::Nofile).current else { return false };
    u64::try_from(number).unwrap_or(0) >= most - limits::RESERVED_FILES.min(most / 4)
}

/// Whether a file descriptor is free that is not reserved.
fn has_room(any: &impl AsFd) -> bool {
    fcntl_dupfd_cloexec(any, 0).is_ok_and(|lowest| !is_reserved(lowest.as_raw_fd()))
}

/// Serves each connection in a task of its own. Beyond the bound a connection hears `busy` and is closed. After `stop`,
/// what is going on has `limits::DRAIN` to come to its end.
pub(super) async fn keep<L: Listen, F: Future<Output = ()> + Send + 'static>(
    listener: L,
    busy: &[u8],
    stop: CancellationToken,
    serve: impl Fn(L::Stream) -> F,
) {
    let open = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let tasks = TaskTracker::new();
    let patience_is_over = CancellationToken::new();
    let mut complained = None;
    let mut complain = |why: &str| {
        if complained.is_none_or(|at: Instant| at.elapsed() >= limits::ACCEPT_COMPLAINT) {
            complained = Some(Instant::now());
            tracing::warn!("cannot take a connection: {why}");
        }
    };
    let mut full = false;

    loop {
        if full {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(limits::ACCEPT_PAUSE) => {}
            }
            full = !has_room(&listener);
            if full {
                complain("the file descriptors that are left are for deliveries and the journal; raise LimitNOFILE");
                continue;
            }
        }
        let taken = tokio::select! {
            () = stop.cancelled() => break,
            taken = listener.next() => taken,
        };
        let stream = match taken {
            Ok(stream) => stream,
            Err(error) => {
                complain(&error.to_string());
                // A connection that could not be taken keeps the listener ready: without a rest this loop would spin.
                full = true;
                continue;
            }
        };
        // The kernel gives the lowest number that is free, so a high one says that all below it are in use.
        full = is_reserved(stream.as_fd().as_raw_fd());
        let Ok(permit) = open.clone().try_acquire_owned() else {
            L::say(&stream, busy);
            continue;
        };
        let serving = serve(stream);
        let patience_is_over = patience_is_over.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = patience_is_over.cancelled() => {}
            }
            drop(permit);
        });
    }

    drop(listener);
    tasks.close();
    if timeout(limits::DRAIN, tasks.wait()).await.is_err() {
        patience_is_over.cancel();
        tasks.wait().await;
    }
}
