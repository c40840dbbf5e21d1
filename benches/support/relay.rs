//! The yardstick: hyper in, hyper out, from memory on one thread. What it costs to pass an event on at all, with
//! nothing kept, nothing rendered and nothing tried again. It runs as a process of its own, as the daemon does.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

use super::{Fallible, client};

/// The word on our own command line that makes this process the relay.
pub(crate) const WORD: &str = "as-relay";
/// Connections to the sink.
const CONNECTIONS: usize = 32;

/// A running relay; it ends with this value.
pub(crate) struct Relay {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl Relay {
    /// Starts a relay that posts whatever it gets to so many paths of the sink.
    pub(crate) fn start(sink: SocketAddr, paths: usize) -> Fallible<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([WORD, &sink.to_string(), &paths.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the relay has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self { child, addr: line.trim().parse()? })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The relay's own main: never returns unless something breaks.
pub(crate) fn run(sink: SocketAddr, paths: usize) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut queues = Vec::new();
        for _ in 0..CONNECTIONS {
            let (queue, work) = unbounded_channel();
            spawn_local(pass_on(sink, work));
            queues.push(queue);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let relayed = Rc::new(Fan { queues, next: Cell::new(0), paths });
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let fan = relayed.clone();
            spawn_local(async move {
                let service = service_fn(|request| take(&fan, request));
                let server = hyper::server::conn::http1::Builder::new();
                let _ended = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

struct Fan {
    queues: Vec<UnboundedSender<(usize, Bytes)>>,
    next: Cell<usize>,
    paths: usize,
}

async fn take(fan: &Fan, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    for path in 0..fan.paths {
        let next = fan.next.replace(fan.next.get().wrapping_add(1));
        let _sender_is_gone = fan.queues[next % fan.queues.len()].send((path, body.clone()));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

async fn pass_on(sink: SocketAddr, mut work: UnboundedReceiver<(usize, Bytes)>) -> Fallible<()> {
    let mut sender = client::connect(sink).await?;
    while let Some((path, body)) = work.recv().await {
        client::post_one(&mut sender, &format!("/{path}"), "application/json", body).await?;
    }
    Ok(())
}
