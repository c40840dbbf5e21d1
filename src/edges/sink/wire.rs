//! Bodies that come in pieces, late, or never; and connections that end in the middle.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Sleep;

/// The wish of an answer that its connection ends.
#[derive(Debug, Default)]
pub(super) struct HangUp {
    wish: Notify,
    reset: AtomicBool,
}

impl HangUp {
    pub(super) fn now(&self, reset: bool) {
        self.reset.store(reset, Ordering::Relaxed);
        self.wish.notify_one();
    }

    /// Waits for the wish; `true` when the connection is to be reset.
    pub(super) async fn asked(&self) -> bool {
        self.wish.notified().await;
        self.reset.load(Ordering::Relaxed)
    }
}

/// The body of an answer.
pub(super) enum Outgoing {
    /// At once.
    Whole(Option<Bytes>),
    /// Piece by piece.
    Parts(Parts),
}

pub(super) struct Parts {
    left: VecDeque<Bytes>,
    gap: Option<Duration>,
    pause: Option<Pin<Box<Sleep>>>,
    flushed: bool,
    end: End,
}

/// How a body in pieces ends.
pub(super) enum End {
    /// As it should.
    Clean,
    /// Never.
    Stall,
    /// With a connection that ends, or is reset.
    HangUp {
        /// Whom to tell.
        hang_up: Arc<HangUp>,
        /// Whether it is reset.
        reset: bool,
    },
}

impl Outgoing {
    pub(super) fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body))
    }

    pub(super) fn parts(parts: impl IntoIterator<Item = Bytes>, end: End) -> Self {
        Self::Parts(Parts { left: parts.into_iter().collect(), gap: None, pause: None, flushed: false, end })
    }

    /// With a pause before each piece.
    pub(super) fn every(self, gap: Duration) -> Self {
        match self {
            Self::Parts(parts) => Self::Parts(Parts { gap: Some(gap), ..parts }),
            whole @ Self::Whole(_) => whole,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Parts(parts) => parts.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.as_ref().is_none_or(Bytes::is_empty),
            Self::Parts(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Parts(_) => SizeHint::default(),
        }
    }
}

impl Parts {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let (false, Some(gap)) = (self.left.is_empty(), self.gap) {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(gap)));
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if let Some(part) = self.left.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &self.end {
            End::Clean => Poll::Ready(None),
            End::Stall => Poll::Pending,
            End::HangUp { hang_up, reset } => {
                // What was handed over is written to the wire when nothing more comes for now.
                if self.flushed {
                    hang_up.now(*reset);
                } else {
                    self.flushed = true;
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}
