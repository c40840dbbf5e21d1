//! A receiver that says everything back, each time another way, and remembers what it was sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How often it answers "try again", each time with the next way to write; then it refuses.
pub(super) const WAYS: usize = 8;

#[derive(Default)]
struct Heard {
    requests: Vec<u8>,
    /// What was said to each path.
    turns: HashMap<String, usize>,
}

/// The receiver, for as long as the process lives.
#[derive(Clone)]
pub(super) struct Echo {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

impl Echo {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo = Self { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let served = echo.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        echo
    }

    /// Everything that it was sent.
    pub(super) fn requests(&self) -> Vec<u8> {
        self.heard.lock().unwrap().requests.clone()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let target = head.split(' ').nth(1)?.to_owned();
        let path = target.split('?').next()?.to_owned();
        let turn = {
            let mut heard = self.heard.lock().unwrap();
            heard.requests.extend_from_slice(head.as_bytes());
            heard.requests.extend_from_slice(&body);
            heard.requests.push(b'\n');
            let turn = heard.turns.entry(path).or_default();
            *turn += 1;
            *turn - 1
        };
        // What tells most stands first: only the beginning is kept. The framing is of no interest.
        let dull = ["host:", "content-", "user-agent:", "accept"];
        let lines = head.lines().skip(1).filter(|line| !dull.iter().any(|name| line.starts_with(name)));
        let said = format!("{target}\n{}{}", lines.collect::<Vec<_>>().join("\n"), String::from_utf8_lossy(&body));
        stream.write_all(&answer(&target, turn, &said)).ok()
    }
}

fn answer(target: &str, turn: usize, said: &str) -> Vec<u8> {
    let hex = || said.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let percent = |all: bool| {
        let one = |byte: u8| match all || !byte.is_ascii_alphanumeric() {
            true => format!("%{byte:02X}"),
            false => char::from(byte).to_string(),
        };
        said.bytes().map(one).collect::<String>()
    };
    let json = || serde_json::json!({"errcode": 310_000, "errmsg": said, "code": 19_021, "msg": said}).to_string();
    let body = match turn {
        0 => said.to_owned(),
        1 => json(),
        2 => STANDARD.encode(said),
        3 => STANDARD.encode(format!("a{said}")),
        4 => hex(),
        5 => percent(false),
        6 => percent(true),
        // The bound of what is kept goes right through it.
        7 => format!("{}{said}", " ".repeat(1024 - said.find("4nArY").unwrap_or(0).min(1000) - 8)),
        _ => json(),
    };
    if target.starts_with("/garbage") {
        return format!("SMTP/1.0 {said}\r\n\r\n").into_bytes();
    }
    let status = match turn {
        _ if target.starts_with("/held") => "418 x",
        _ if target.starts_with("/paused") => "429 x",
        _ if target.starts_with("/moved") => "307 x",
        _ if target.starts_with("/fine") => "200 x",
        _ if turn < WAYS => "503 x",
        _ => "422 x",
    };
    let more = format!("location: {target}\r\nx-said: {}\r\nconnection: close", percent(false));
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{more}\r\n\r\n{body}", body.len()).into_bytes()
}
