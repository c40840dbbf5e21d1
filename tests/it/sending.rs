//! Receivers that lie, hang, flood and break off: each costs its deadline at most, and is called by its name.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use postrider::edges::send::Sender;
use postrider::rules::settings::Network;
use postrider::words::exchange::{Request, Response, SendError};
use postrider::words::limits;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TIMEOUT: Duration = Duration::from_millis(400);
/// For what must not take its time: a busy machine may.
const AMPLE: Duration = Duration::from_secs(20);

/// What a receiver does with one request, step by step.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Say(&'static [u8]),
    /// Says it until nobody listens.
    Flood(&'static [u8]),
    /// Says it a byte at a time, ten a second.
    Drip(&'static [u8]),
    /// Says and does nothing until the other end goes away.
    Hang,
    Close,
}
use Step::{Close, Drip, Flood, Hang, Say};

pub(crate) enum Want {
    /// Status, body, truncated.
    Answer(u16, &'static [u8], bool),
    Timeout,
    /// The connection broke, and the reason contains this.
    Broken(&'static str),
}
use Want::{Answer, Broken, Timeout};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const KILOBYTE: &[u8] = &[b'a'; 1024];

#[rustfmt::skip]
pub(crate) const MODES: &[(&str, &[Step], Want)] = &[
    ("a sound answer", &[Say(OK)], Answer(200, b"ok", false)),
    ("silence", &[Hang], Timeout),
    ("silence after the status line", &[Say(b"HTTP/1.1 200 OK\r\n"), Hang], Timeout),
    ("silence after the head", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), Hang], Timeout),
    ("a head by drops", &[Drip(OK), Hang], Timeout),
    ("a body by drops", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n"), Drip(KILOBYTE), Hang], Timeout),
    ("an endless body by drops", &[Say(b"HTTP/1.1 200 OK\r\n\r\n"), Drip(KILOBYTE), Hang], Timeout),
    ("endless early hints", &[Flood(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")], Timeout),
    ("one early hint", &[Say(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"), Say(OK)], Answer(200, b"ok", false)),
    ("endless headers", &[Say(b"HTTP/1.1 200 OK\r\n"), Flood(b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")], Broken("head of the answer is too large")),
    ("a header without end", &[Say(b"HTTP/1.1 200 OK\r\nX: "), Flood(KILOBYTE)], Broken("head of the answer is too large")),
    ("an endless body without length", &[Say(b"HTTP/1.1 200 OK\r\n\r\n"), Flood(KILOBYTE)], Answer(200, KILOBYTE, true)),
    ("an endless body in chunks", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Flood(b"4\r\naaaa\r\n")], Answer(200, b"aaaa", true)),
    ("a gigantic length", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n"), Flood(KILOBYTE)], Answer(200, KILOBYTE, true)),
    ("a chunk extension without end", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"), Flood(KILOBYTE)], Broken("")),
    ("trailers without end", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"), Flood(b"X: a\r\n")], Broken("")),
    ("a chunk larger than memory", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx"), Hang], Broken("")),
    ("a chunk size that is none", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok"), Hang], Broken("")),
    ("two lengths", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nokxxx"), Hang], Broken("not HTTP")),
    ("a length below zero", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"), Hang], Broken("not HTTP")),
    ("a length and chunks", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")], Answer(200, b"", false)),
    ("NUL in a header", &[Say(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"), Hang], Broken("not HTTP")),
    ("bytes that are no text in a header", &[Say(b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nContent-Length: 0\r\n\r\n")], Answer(200, b"", false)),
    ("line feeds alone", &[Say(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")], Answer(200, b"ok", false)),
    ("TLS", &[Say(b"\x16\x03\x01\x02\x00 hello\r\n\r\n"), Hang], Broken("not HTTP")),
    ("HTTP/0.9", &[Say(b"ok"), Close], Broken("")),
    ("HTTP/2", &[Say(b"HTTP/2 200\r\n\r\n"), Hang], Broken("not HTTP")),
    ("status 999", &[Say(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n")], Broken("999 is not a status")),
    ("status 600", &[Say(b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n")], Broken("600 is not a status")),
    ("status 000", &[Say(b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"), Hang], Broken("not HTTP")),
    ("a change of protocol", &[Say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxxxx"), Hang], Broken("101")),
    ("a body that ends early", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"), Close], Broken("ended early")),
    ("chunks that end early", &[Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), Close], Broken("ended early")),
    ("a head that ends early", &[Say(b"HTTP/1.1 200 OK\r\nContent-"), Close], Broken("before the answer was complete")),
    ("a closed connection", &[Close], Broken("before the answer was complete")),
    ("204 with a body", &[Say(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")], Answer(204, b"", false)),
    ("an answer and another one", &[Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")], Answer(200, b"ok", false)),
    ("an answer, then the end", &[Say(OK), Close], Answer(200, b"ok", false)),
    ("a compressed body", &[Say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08")], Answer(200, b"\x1f\x8b\x08", false)),
    ("an error with words", &[Say(b"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops")], Answer(500, b"oops", false)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_evil_receiver_is_called_by_its_name_within_its_deadline() {
    let mut wrong = vec![];
    for (name, steps, want) in MODES {
        let receiver = Receiver::start(steps).await;
        let sender = Sender::new(Network::default());
        // A busy machine may need longer than the deadline for an answer that is there at once.
        let timeout = if matches!(want, Timeout) { TIMEOUT } else { AMPLE };
        let began = Instant::now();
        let got = sender.send(&receiver.request("/evil"), timeout).await;
        if began.elapsed() > timeout + Duration::from_secs(1) {
            wrong.push(format!("{name}: took {:?}", began.elapsed()));
        }
        let right = match (&got, want) {
            (Ok(response), Answer(status, body, truncated)) => {
                let length = if *truncated { limits::RESPONSE_BODY } else { body.len() };
                response.status == *status
                    && response.body.starts_with(body)
                    && response.body.len() == length
                    && response.truncated == *truncated
            }
            (Err(SendError::Timeout(after)), Timeout) => *after == TIMEOUT,
            (Err(SendError::Broken(why)), Broken(part)) => why.contains(part),
            _ => false,
        };
        let shown = got.map_or_else(|error| error.to_string(), |response| shorten(&response));
        if !right {
            wrong.push(format!("{name}: {shown}"));
        }
        assert!(!shown.contains("SECRET"), "{name}: {shown}");

        // Nothing of it may reach the next request on the same sender.
        let next = sender.send(&receiver.request("/good"), AMPLE).await;
        if !matches!(&next, Ok(response) if response.status == 200 && response.body == "good") {
            wrong.push(format!("after {name}: {:?}", next.map(|response| shorten(&response))));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(MODES.len() >= 28);
}

fn shorten(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body[..response.body.len().min(40)]).into_owned();
    format!("{} {body:?} of {} bytes, truncated: {}", response.status, response.body.len(), response.truncated)
}

#[tokio::test]
async fn a_hundred_headers_are_taken_and_one_more_is_not() {
    for (count, fine) in [(99, true), (101, false)] {
        let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".to_vec();
        for number in 1..count {
            head.extend_from_slice(format!("X-{number}: a\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let receiver = Receiver::start(Box::leak(Box::new([Say(head.leak()), Hang]))).await;
        let got = Sender::new(Network::default()).send(&receiver.request("/evil"), AMPLE).await;
        assert_eq!(got.is_ok(), fine, "{count} headers: {got:?}");
    }
}

#[tokio::test]
async fn redirects_are_answers_and_nobody_follows_them() {
    let elsewhere = Receiver::start(&[Say(OK)]).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://{}/evil\r\nContent-Length: 0\r\n\r\n",
            elsewhere.address
        );
        let receiver = Receiver::start(Box::leak(Box::new([Say(answer.leak().as_bytes())]))).await;
        let got = Sender::new(Network::default()).send(&receiver.request("/evil"), AMPLE).await.unwrap();
        assert_eq!(got.status, status);
        assert!(got.headers.contains_key("location"));
    }
    assert_eq!(elsewhere.hits(), 0);
}

#[tokio::test]
async fn the_request_arrives_as_it_was_made() {
    let receiver = Receiver::start(&[Say(OK)]).await;
    let mut request = receiver.request("/evil?a=%20b");
    request.method = Method::PUT;
    request.body = Bytes::from_static(b"{\"b\": 1, \"a\":  1e2}\n\0\xff");
    request.headers.append("x-one", HeaderValue::from_static("1"));
    request.headers.append("x-one", HeaderValue::from_static("2"));
    let sender = Sender::new(Network::default());
    sender.send(&request, AMPLE).await.unwrap();

    let seen = receiver.seen();
    let (head, body) = seen[0].split_at(seen[0].windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4);
    let head = String::from_utf8(head.to_vec()).unwrap().to_ascii_lowercase();
    assert_eq!(body, &request.body[..]);
    assert!(head.starts_with("put /evil?a=%20b&access_token=secret http/1.1\r\n"), "{head}");
    assert!(head.contains("x-one: 1\r\nx-one: 2\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", receiver.address)), "{head}");
    assert!(head.contains("user-agent: postrider/"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");

    request = receiver.request("/evil");
    request.body = Bytes::new();
    sender.send(&request, AMPLE).await.unwrap();
    let empty = String::from_utf8(receiver.seen()[1].clone()).unwrap();
    assert!(empty.contains("content-length: 0\r\n"), "some receivers answer 411 without it: {empty}");
}

#[tokio::test]
async fn connections_are_kept_and_a_request_that_was_sent_is_never_sent_again() {
    let receiver = Receiver::start(&[Close]).await;
    let sender = Sender::new(Network::default());
    for _ in 0..20 {
        sender.send(&receiver.request("/good"), AMPLE).await.unwrap();
    }
    assert_eq!((receiver.hits(), receiver.connections()), (20, 1));
    // The kept connection takes one more request, and closes without a word.
    let got = sender.send(&receiver.request("/evil"), AMPLE).await;
    assert!(matches!(got, Err(SendError::Broken(_))), "{got:?}");
    assert_eq!((receiver.hits(), receiver.connections()), (21, 1));
}

#[tokio::test]
async fn who_does_not_answer_at_all_is_named() {
    let sender = Sender::new(Network::default());
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let got = sender.send(&post(format!("http://{address}/SECRET")), AMPLE).await.unwrap_err();
    assert_eq!(got.to_string(), format!("cannot connect to {address}: connection refused"));

    // Labels of a name have 63 letters at most, so no resolver is asked.
    let name = "x".repeat(64);
    let got = sender.send(&post(format!("http://{name}.invalid/SECRET")), AMPLE).await.unwrap_err();
    assert!(matches!(&got, SendError::Dns { host, .. } if host.starts_with("xxx")), "{got:?}");
    assert!(!got.to_string().contains("SECRET"), "{got}");
}

#[tokio::test]
async fn the_address_is_judged_however_it_is_written() {
    let receiver = Receiver::start(&[Say(OK)]).await;
    let port = receiver.address.port();
    let closed = Network { deny: vec!["127.0.0.0/8".parse().unwrap()], ..Network::default() };
    let public = Network { public_only: true, ..Network::default() };
    let open = Network::default();
    let mut cases = vec![];
    for host in ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "[::ffff:127.0.0.1]"] {
        cases.extend([(host, &closed), (host, &public)]);
    }
    cases.push(("localhost", &public));
    for host in ["0", "0.0.0.0", "[::]", "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]"] {
        cases.push((host, &open));
    }
    cases.extend([("[64:ff9b::a9fe:a9fe]", &open), ("[fe80::1]", &open), ("[fd00:ec2::254]", &open)]);
    for (host, network) in &cases {
        let sender = Sender::new((*network).clone());
        let got = sender.send(&post(format!("http://{host}:{port}/evil/SECRET")), AMPLE).await;
        let refused = matches!(&got, Err(error @ SendError::Refused { .. }) if !error.to_string().contains("SECRET"));
        assert!(refused, "{host} {network:?}: {got:?}");
    }
    assert_eq!(receiver.connections(), 0);
    assert!(cases.len() > 20);

    let got = Sender::new(open).send(&post(format!("http://2130706433:{port}/good")), AMPLE).await.unwrap();
    assert_eq!(got.body, "good", "loopback is allowed, the administrator wrote the URL");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_and_its_failures_are_explained() {
    let roots = {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(include_bytes!("../tls/ca.pem")).unwrap()).unwrap();
        roots
    };
    let sender = Sender::with_roots(Network::default(), roots);
    let good: &[u8] = include_bytes!("../tls/good.pem");
    for host in ["localhost", "127.0.0.1"] {
        let port = tls_receiver(good);
        let got = sender.send(&post(format!("https://{host}:{port}/SECRET")), AMPLE).await;
        assert!(matches!(&got, Ok(response) if response.body == "ok"), "{host}: {got:?}");
    }

    let explained: [(&str, &[u8], &str); 4] = [
        ("expired", include_bytes!("../tls/expired.pem"), "expired"),
        ("not yet valid", include_bytes!("../tls/future.pem"), "not valid yet"),
        ("for another name", include_bytes!("../tls/other-name.pem"), "another name"),
        ("self-signed", include_bytes!("../tls/self-signed.pem"), "self-signed"),
    ];
    for (name, certificate, part) in explained {
        let port = tls_receiver(certificate);
        let got = sender.send(&post(format!("https://localhost:{port}/SECRET")), AMPLE).await;
        let Err(error @ SendError::Tls { .. }) = got else { panic!("{name}: {got:?}") };
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }

    let stranger = Sender::new(Network::default());
    let got = stranger.send(&post(format!("https://localhost:{}/", tls_receiver(good))), AMPLE).await.unwrap_err();
    assert!(got.to_string().contains("certificate"), "the system does not know our root: {got}");

    let rootless = Sender::with_roots(Network::default(), rustls::RootCertStore::empty());
    let got = rootless.send(&post(format!("https://localhost:{}/", tls_receiver(good))), AMPLE).await.unwrap_err();
    assert!(got.to_string().contains("ca-certificates"), "{got}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_tls_on_a_tls_port_is_explained() {
    let sender = Sender::new(Network::default());
    for (name, answer, part) in [
        ("HTTP", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak TLS"),
        ("TLS 1.0 only", &b"\x15\x03\x01\x00\x02\x02\x46"[..], "refuses TLS 1.2 and 1.3"),
        ("nothing", &b""[..], "hung up"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 4096];
            let _ = stream.read(&mut hello).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        let got = sender.send(&post(format!("https://localhost:{port}/SECRET")), AMPLE).await;
        let Err(error @ SendError::Tls { .. }) = got else { panic!("{name}: {got:?}") };
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let got = sender.send(&post(format!("https://localhost:{port}/")), TIMEOUT).await.unwrap_err();
    assert_eq!(got.to_string(), "TLS with localhost: the receiver did not finish the handshake in time");
}

fn post(url: String) -> Request {
    Request { method: Method::POST, url, headers: HeaderMap::new(), body: Bytes::from_static(b"{\"a\": 1}") }
}

/// A receiver that answers `/good` well and plays its steps for everything else.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    pub(crate) async fn start(steps: &'static [Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicUsize::new(0)));
        let this = Self { address, seen: seen.clone(), connections: connections.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, steps, seen.clone()));
            }
        });
        this
    }

    fn request(&self, path: &str) -> Request {
        let join = if path.contains('?') { '&' } else { '?' };
        post(format!("http://{}{path}{join}access_token=SECRET", self.address))
    }

    fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().clone()
    }

    fn hits(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, steps: &[Step], seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut buffer = vec![];
    while let Some(request) = next_request(&mut stream, &mut buffer).await {
        let good = request.windows(6).any(|part| part == b" /good");
        seen.lock().unwrap().push(request);
        if good {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood").await.is_err() {
                return;
            }
            continue;
        }
        for step in steps {
            let went = match step {
                Say(text) => stream.write_all(text).await,
                Flood(text) => {
                    let block = text.repeat(16);
                    loop {
                        if let Err(error) = stream.write_all(&block).await {
                            break Err(error);
                        }
                    }
                }
                Drip(text) => {
                    for byte in *text {
                        if stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    Ok(())
                }
                Hang => {
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                    return;
                }
                Close => return,
            };
            if went.is_err() {
                return;
            }
        }
    }
}

/// Head and body of the next request.
async fn next_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                return Some(buffer.drain(..end + 4 + length).collect());
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// A receiver with this certificate, for one connection, on a thread of its own.
fn tls_receiver(certificate: &'static [u8]) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(include_bytes!("../tls/leaf.key")).unwrap(),
        )
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, stream);
        if stream.read(&mut [0; 4096]).is_ok() {
            stream.write_all(OK).ok();
            stream.flush().ok();
        }
    });
    port
}
