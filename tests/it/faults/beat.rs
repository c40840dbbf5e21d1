//! A healthy hook whose deliveries are timed: events at an even pace, a receiver that takes its usual time, and how long
//! each took from its sender to the end of the receiver's answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::process::await_that;
use crate::support::PATIENCE;

/// The receiver, and what it has seen.
pub(crate) struct Beat {
    pub(crate) address: SocketAddr,
    begun: Instant,
    took: Arc<Mutex<Vec<Duration>>>,
}

impl Beat {
    /// A receiver that answers after this time, and may close each connection, so that the next one begins with its name.
    pub(crate) fn start(takes: Duration, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, begun, took) = (listener.local_addr().expect("an address"), Instant::now(), Arc::default());
        let book: Arc<Mutex<Vec<Duration>>> = took;
        let shared = book.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, book) = (stream.expect("a connection"), shared.clone());
                std::thread::spawn(move || serve(stream, takes, closes, begun, &book));
            }
        });
        Self { address, begun, took: book }
    }

    /// The text of its hook; the receiver is called by this name.
    pub(crate) fn hook(&self, host: &str) -> String {
        format!("events: [beat]\nplatform: webhook\noptions: {{url: \"http://{host}:{}/\"}}\n", self.address.port())
    }

    /// So many events, one every so often; how long each took, in order of length.
    pub(crate) fn measure(&self, folder: &Path, count: usize, every: Duration) -> Vec<Duration> {
        self.took.lock().expect("no panic").clear();
        let stream = UnixStream::connect(folder.join(".postrider/emit.sock")).expect("the emit socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        let mut line = BufReader::new(stream);
        let mut next = Instant::now();
        for _ in 0..count {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += every;
            let sent = self.begun.elapsed().as_nanos();
            let text = format!("{{\"type\":\"beat\",\"data\":{{\"sent\":{sent}}}}}\n");
            line.get_mut().write_all(text.as_bytes()).expect("it is read");
            let mut answer = String::new();
            line.read_line(&mut answer).expect("an answer");
            assert!(answer.contains("\"hooks\":["), "{answer}");
        }
        await_that("every beat arrives", || self.took.lock().expect("no panic").len() >= count);
        let mut took = self.took.lock().expect("no panic").clone();
        took.sort();
        took
    }
}

fn serve(mut stream: TcpStream, takes: Duration, closes: bool, begun: Instant, book: &Mutex<Vec<Duration>>) {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let Some(head) = text.windows(4).position(|end| end == b"\r\n\r\n") else {
            match stream.read(&mut piece) {
                Ok(length @ 1..) => text.extend_from_slice(&piece[..length]),
                _ => return,
            }
            continue;
        };
        let words = String::from_utf8_lossy(&text[..head]).to_lowercase();
        let length: usize = words
            .split("content-length:")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        while text.len() < head + 4 + length {
            match stream.read(&mut piece) {
                Ok(length @ 1..) => text.extend_from_slice(&piece[..length]),
                _ => return,
            }
        }
        let body = String::from_utf8_lossy(&text[head + 4..head + 4 + length]).into_owned();
        std::thread::sleep(takes);
        let sent: Option<u64> = body.split("\"sent\":").nth(1).and_then(|rest| rest.trim_end_matches('}').parse().ok());
        let close = if closes { "connection: close\r\n" } else { "" };
        if stream.write_all(format!("HTTP/1.1 200 OK\r\n{close}content-length: 0\r\n\r\n").as_bytes()).is_err() {
            return;
        }
        if let Some(sent) = sent {
            book.lock().expect("no panic").push(begun.elapsed() - Duration::from_nanos(sent));
        }
        if closes {
            return;
        }
        text.drain(..head + 4 + length);
    }
}
