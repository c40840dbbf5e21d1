//! The counting sink: a hyper server on its own thread that says what DingTalk says when it is content.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Fallible;
use super::board::Board;
use super::events;

/// The path of a receiver that takes its time and is not counted.
pub(crate) const SLOW: &str = "/slow";
const SLOWNESS: Duration = Duration::from_secs(1);

/// Starts the sink, which runs until the process ends. Path `/3…` counts for hook 3.
pub(crate) fn start(board: Arc<Board>) -> Fallible<SocketAddr> {
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let _runner_is_gone = tell.send(listener.local_addr()?);
            serve(listener, board).await
        })
    })?;
    Ok(told.recv()?)
}

async fn serve(listener: TcpListener, board: Arc<Board>) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let board = board.clone();
        tokio::spawn(async move {
            let hint = AtomicUsize::new(0);
            let service = service_fn(|request| answer(&board, &hint, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // What was cut short is missed by the board.
            let _ended = connection.await;
        });
    }
}

async fn answer(board: &Board, hint: &AtomicUsize, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let slow = request.uri().path() == SLOW;
    let hook = request.uri().path().as_bytes().get(1).and_then(|digit| char::from(*digit).to_digit(10));
    let body = request.into_body().collect().await?.to_bytes();
    if slow {
        tokio::time::sleep(SLOWNESS).await;
        return Ok(Response::default());
    }
    if board.refuses.load(Ordering::Relaxed) {
        let mut refusal = Response::default();
        *refusal.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refusal);
    }
    board.hit(hook.map(|hook| hook as usize), events::number(&body, hint));
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"errcode":0,"errmsg":"ok"}"#)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
