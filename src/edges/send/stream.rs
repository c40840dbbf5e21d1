//! A connection whose reader stops for breath.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::poll_proceed;

/// What one read takes of the budget that a task has before the others get their turn. hyper reads on for as long as
/// there is something to read, and a receiver that sends early hints without end sees to that: no deadline would be
/// looked at meanwhile.
const READ_COSTS: usize = 32;

/// A TCP connection.
pub(super) struct Breathing(pub(super) TcpStream);

impl AsyncRead for Breathing {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.0).poll_read(context, buf))?;
        for _ in 1..READ_COSTS {
            // What was read is there in any case; what is used up counts for the next read.
            if let Poll::Ready(unit) = poll_proceed(context) {
                unit.made_progress();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Breathing {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// What hyper-rustls asks of a stream.
impl Connection for Breathing {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
