//! Connections that are kept, by receiver.
//!
//! A connection is driven by the request that uses it and not by a task of its own: each step of an exchange would
//! otherwise wake one task to wake the other. Nobody drives one that is kept, so it is looked at before it is used.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use bytes::Bytes;
use http::Uri;
use http::uri::{Authority, Scheme};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use crate::edges::send::stream::Breathing;
use crate::words::limits;

type Body = Full<Bytes>;
type Stream = MaybeHttpsStream<TokioIo<Breathing>>;

/// One connection, used by one request at a time.
pub(super) struct Wire {
    requests: SendRequest<Body>,
    connection: Connection<Stream, Body>,
    ended: bool,
}

impl Wire {
    /// Begins to speak HTTP. In a box: it is a large thing that changes hands often.
    pub(super) async fn open(stream: Stream) -> hyper::Result<Box<Self>> {
        let mut builder = Builder::new();
        builder.max_buf_size(limits::RESPONSE_HEAD).max_headers(limits::RESPONSE_HEADERS);
        let (requests, connection) = builder.handshake(stream).await?;
        Ok(Box::new(Self { requests, connection, ended: false }))
    }

    /// Sends a request and waits for the head of its answer. The request comes back with the error if nothing of it was
    /// sent.
    pub(super) async fn request(
        &mut self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, TrySendError<http::Request<Body>>> {
        let answer = self.requests.try_send_request(request);
        drive(&mut self.connection, &mut self.ended, answer).await
    }

    /// Waits for something that comes over the connection.
    pub(super) async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        drive(&mut self.connection, &mut self.ended, work).await
    }

    /// Whether it can take a request now: the last answer is complete, and the receiver has not hung up.
    async fn is_ready(&mut self) -> bool {
        let Self { requests, connection, ended } = self;
        poll_fn(|context| {
            *ended = *ended || Pin::new(&mut *connection).poll(context).is_ready();
            Poll::Ready(!*ended && requests.is_ready())
        })
        .await
    }
}

async fn drive<T>(connection: &mut Connection<Stream, Body>, ended: &mut bool, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // Whatever ends it is told to the work as well.
        *ended = *ended || Pin::new(&mut *connection).poll(context).is_ready();
        work.as_mut().poll(context)
    })
    .await
}

/// Who is at the other end.
pub(super) type Receiver = (Scheme, Authority);

/// The receiver that a URI names.
pub(super) fn receiver(uri: &Uri) -> Option<Receiver> {
    Some((uri.scheme()?.clone(), uri.authority()?.clone()))
}

/// The connections that nobody uses.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    wires: HashMap<Receiver, Vec<(Instant, Box<Wire>)>>,
    /// Whether somebody lets go of those that are kept for too long.
    swept: bool,
}

impl Pool {
    /// The connection that was kept last, if one of them still stands.
    pub(super) async fn take(&self, receiver: &Receiver) -> Option<Box<Wire>> {
        loop {
            let (since, mut wire) = lock(&self.0).wires.get_mut(receiver)?.pop()?;
            if since.elapsed() < limits::POOL_IDLE && wire.is_ready().await {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end, if it can be used again.
    pub(super) async fn keep(&self, receiver: Receiver, mut wire: Box<Wire>) {
        if !wire.is_ready().await {
            return;
        }
        let mut kept = lock(&self.0);
        let wires = kept.wires.entry(receiver).or_default();
        if wires.len() < limits::IDLE_PER_HOST {
            wires.push((Instant::now(), wire));
        }
        if !std::mem::replace(&mut kept.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }
}

/// Closes what was kept for too long, as long as anything is kept.
async fn sweep(pool: Weak<Mutex<Kept>>) {
    loop {
        sleep(limits::POOL_IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut kept = lock(&pool);
        kept.wires.retain(|_, wires| {
            wires.retain(|(since, _)| since.elapsed() < limits::POOL_IDLE);
            !wires.is_empty()
        });
        kept.swept = !kept.wires.is_empty();
        if !kept.swept {
            return;
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
