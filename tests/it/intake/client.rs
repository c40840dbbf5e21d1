//! Both protocols on one socket, and the commands' client.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use postrider::edges::client::{Client, ClientError, Emit};
use postrider::edges::intake::http::server::{Answering, Body, Handler, serve_unix};
use postrider::words::event::Peer;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::house::{House, answer_of, exchange};

#[tokio::test]
async fn the_first_byte_tells_http_from_lines() {
    let house = House::start().await;
    for line in ["{\"type\":\"t\"}", "  {\"type\":\"t\"}", "\n{\"type\":\"t\"}", "\t{\"type\":\"t\"}"] {
        let mut session = house.session().await;
        session.send(format!("{line}\n").as_bytes()).await;
        assert_eq!(session.answer().await["duplicate"], false, "{line}");
    }
    for line in ["[", "null", "-", "\u{feff}{\"type\":\"t\"}", "\u{1}"] {
        let mut session = house.session().await;
        session.send(format!("{line}\n").as_bytes()).await;
        assert_eq!(session.answer().await["error"]["code"], "bad_event", "{line}");
    }
    let mut curl = UnixStream::connect(&house.path).await.unwrap();
    let sent = exchange(&mut curl, "POST", "/v1/events", &["content-type: application/json"], b"{\"type\":\"curl\"}");
    assert_eq!(sent.await.status, 202);
    assert_eq!(house.store.last().peer.unwrap().pid, Some(std::process::id() as i32));
    // Byte by byte, and kept alive.
    for byte in b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" {
        curl.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(answer_of(&mut curl).await.status, 200);
}

#[tokio::test]
async fn whoever_closes_its_half_after_the_request_is_answered() {
    let house = House::start().await;
    let mut nc = UnixStream::connect(&house.path).await.unwrap();
    nc.write_all(b"POST /v1/events?type=t HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    nc.shutdown().await.unwrap();
    assert_eq!(answer_of(&mut nc).await.status, 202);
}

#[tokio::test]
async fn the_client_speaks_both() {
    let house = House::start().await;
    let client = Client::new(&house.path);
    let body = br#"{"type":"t","id":"one"}"#.to_vec();
    let (status, answer) = client.request(Method::POST, "/v1/events", Some(body)).await.unwrap();
    assert_eq!(status, 202);
    assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["id"], "one");
    let (status, _) = client.request(Method::GET, "/nowhere", None).await.unwrap();
    assert_eq!(status, 404);

    let mut emit = Emit::connect(&house.path).await.unwrap();
    emit.send_line(br#"{"type":"t","id":"two"}"#).await.unwrap();
    assert!(emit.read_answer().await.unwrap().unwrap().contains("\"two\""));
    let Emit { mut events, mut answers } = emit;
    for _ in 0..3 {
        events.send_line(b"{\"type\":\"t\"}\n").await.unwrap();
    }
    events.finish().await.unwrap();
    for _ in 0..3 {
        assert!(answers.next().await.unwrap().unwrap().contains("\"id\""));
    }
    assert_eq!(answers.next().await.unwrap(), None);
}

#[tokio::test]
async fn the_client_says_why_it_cannot_talk() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("admin.sock");
    let error = Client::new(&missing).request(Method::GET, "/", None).await.unwrap_err();
    assert!(matches!(&error, ClientError::NoDaemon(path) if *path == missing), "{error:?}");
    assert!(error.to_string().starts_with(&format!("no daemon at {}", missing.display())), "{error}");

    let left_over = folder.path().join("emit.sock");
    drop(UnixListener::bind(&left_over).unwrap());
    let error = Emit::connect(&left_over).await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon(_)), "a socket file that a killed daemon left: {error:?}");

    if rustix::process::geteuid().is_root() {
        return; // root may use any socket
    }
    for (name, group) in [("emit.sock", "group postrider "), ("admin.sock", "group postrider-admin ")] {
        let closed = folder.path().join("closed");
        std::fs::create_dir_all(&closed).unwrap();
        let _listener = UnixListener::bind(closed.join(name)).unwrap();
        std::fs::set_permissions(closed.join(name), std::fs::Permissions::from_mode(0o000)).unwrap();
        let error = Client::new(closed.join(name)).request(Method::GET, "/", None).await.unwrap_err();
        assert!(error.to_string().contains(group), "{error}");
    }
}

#[tokio::test]
async fn a_streamed_answer_comes_line_by_line_and_ends_with_its_reader() {
    struct Ticker(Mutex<Option<mpsc::Receiver<Bytes>>>);
    impl Handler for Ticker {
        fn handle(&self, request: Request<Incoming>, peer: Option<Peer>) -> Answering {
            assert!(peer.is_some() && request.uri().path() == "/v1/stream");
            let pieces = self.0.lock().unwrap().take().unwrap();
            Box::pin(async { Response::new(Body::stream(pieces)) })
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (pieces, stream) = mpsc::channel(1);
    let handler = Arc::new(Ticker(Mutex::new(Some(stream))));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_unix(UnixListener::bind(&path).unwrap(), handler, stop.clone()));

    let (status, mut lines) = Client::new(&path).stream("/v1/stream").await.unwrap();
    assert_eq!(status, 200);
    pieces.send("data: 1\n\ndata".into()).await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("data: 1"));
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(""));
    pieces.send(": 2\r\n".into()).await.unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("data: 2"));
    drop(lines);
    pieces.closed().await;
    stop.cancel();
    serving.await.unwrap();
}
