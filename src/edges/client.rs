//! A small HTTP client over a unix socket, for the commands that talk to the daemon.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::words::limits;

/// Why a command could not talk to the daemon.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error(
        "no daemon at {}; start one with `systemctl start postrider`, or name its socket with --socket",
        .0.display()
    )]
    NoDaemon(PathBuf),
    /// The socket is there, and this user may not use it.
    #[error(
        "no permission for {}; it takes a member of the group {group} (`usermod -aG {group} USER`, then log in again)",
        .path.display()
    )]
    Permission {
        /// The socket.
        path: PathBuf,
        /// The group whose members may.
        group: &'static str,
    },
    /// No socket can be there.
    #[error("the path {} is longer than {} bytes, which no socket's may be", .0.display(), limits::SOCKET_PATH)]
    TooLong(PathBuf),
    /// The connection broke, or the answer was none.
    #[error("talking to the daemon at {} failed: {why}", .path.display())]
    Other {
        /// The socket.
        path: PathBuf,
        /// What happened.
        why: String,
    },
}

impl ClientError {
    /// Whether it may be otherwise in a moment: a daemon restarts.
    pub fn passes(&self) -> bool {
        matches!(self, Self::NoDaemon(_) | Self::Other { .. })
    }
}

/// Talks HTTP to one socket, with a connection for each request.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// A client of the socket at `path`; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Sends one request, its body as JSON, and reads the whole answer: its status and body.
    ///
    /// # Errors
    /// When no answer came; any status is an answer.
    pub async fn request(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(u16, Bytes), ClientError> {
        let (status, answer) = self.open(method, path_and_query, body).await?;
        let whole = Limited::new(answer, limits::ADMIN_ANSWER).collect().await;
        let whole = whole.map_err(|error| self.other(error.to_string()))?;
        Ok((status, whole.to_bytes()))
    }

    /// Sends a GET and hands back the answer line by line, for as long as it comes.
    ///
    /// # Errors
    /// When no answer came; any status is an answer.
    pub async fn stream(&self, path_and_query: &str) -> Result<(u16, Lines), ClientError> {
        self.lines(Method::GET, path_and_query, None).await
    }

    /// The same for an order, its body as JSON.
    ///
    /// # Errors
    /// As `stream`.
    pub async fn follow(&self, path_and_query: &str, order: Vec<u8>) -> Result<(u16, Lines), ClientError> {
        self.lines(Method::POST, path_and_query, Some(order)).await
    }

    async fn lines(
        &self,
        method: Method,
        path_and_query: &str,
        order: Option<Vec<u8>>,
    ) -> Result<(u16, Lines), ClientError> {
        let (status, body) = self.open(method, path_and_query, order).await?;
        Ok((status, Lines { path: self.path.clone(), body, buffer: BytesMut::new(), searched: 0, ended: false }))
    }

    async fn open(
        &self,
        method: Method,
        path_and_query: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(u16, Incoming), ClientError> {
        let stream = connect(&self.path).await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.other(error.to_string()))?;
        // It ends with the answer's last byte, or when the answer is dropped.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(header::HOST, "postrider")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| self.other(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|error| self.other(error.to_string()))?;
        Ok((answer.status().as_u16(), answer.into_body()))
    }

    fn other(&self, why: String) -> ClientError {
        ClientError::Other { path: self.path.clone(), why }
    }
}

/// The lines of an answer that goes on.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
    ended: bool,
}

impl Lines {
    /// The next line without its line break; `None` when the answer has ended. May be dropped while it waits without
    /// losing anything.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(length) = found.map(|at| self.searched + at) {
                let line = self.buffer.split_to(length);
                self.buffer.advance(1);
                self.searched = 0;
                return Ok(Some(text(&line)));
            }
            self.searched = self.buffer.len();
            if self.ended {
                let rest = std::mem::take(&mut self.buffer);
                self.searched = 0;
                return Ok((!rest.is_empty()).then(|| text(&rest)));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    return Err(ClientError::Other { path: self.path.clone(), why: error.to_string() });
                }
                None => self.ended = true,
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

/// A connection to the emit socket: events go in as lines, and come back as answers in the same order.
#[derive(Debug)]
pub struct Emit {
    /// Where the lines go.
    pub events: EmitEvents,
    /// Where the answers come from.
    pub answers: EmitAnswers,
}

impl Emit {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there, or this user may not.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let (from, to) = connect(path).await?.into_split();
        let path = path.to_owned();
        Ok(Self {
            events: EmitEvents { path: path.clone(), to: BufWriter::with_capacity(64 * 1024, to) },
            answers: EmitAnswers { path, from: BufReader::new(from) },
        })
    }

    /// Sends one event, which must not contain a line break.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send_line(&mut self, line: &[u8]) -> Result<(), ClientError> {
        self.events.send_line(line).await?;
        self.events.flush().await
    }

    /// The next answer as JSON text; `None` when the daemon closed the connection.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn read_answer(&mut self) -> Result<Option<String>, ClientError> {
        self.answers.next().await
    }
}

/// The sending half. Whoever sends many lines must read the answers meanwhile, or the daemon stops reading.
#[derive(Debug)]
pub struct EmitEvents {
    path: PathBuf,
    to: BufWriter<OwnedWriteHalf>,
}

impl EmitEvents {
    /// Adds one event, which must not contain a line break. It may wait in memory until `flush`.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send_line(&mut self, line: &[u8]) -> Result<(), ClientError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let sent = async {
            self.to.write_all(line).await?;
            self.to.write_all(b"\n").await
        };
        sent.await.map_err(|error| trouble(&self.path, &error))
    }

    /// Sends what waits in memory.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        self.to.flush().await.map_err(|error| trouble(&self.path, &error))
    }

    /// Says that no further event comes; the answers still outstanding do.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn finish(&mut self) -> Result<(), ClientError> {
        self.to.shutdown().await.map_err(|error| trouble(&self.path, &error))
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct EmitAnswers {
    path: PathBuf,
    from: BufReader<OwnedReadHalf>,
}

impl EmitAnswers {
    /// The next answer as JSON text; `None` when the daemon closed the connection.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        let mut line = vec![];
        let mut bounded = (&mut self.from).take(limits::ADMIN_ANSWER as u64);
        let read = bounded.read_until(b'\n', &mut line).await.map_err(|error| trouble(&self.path, &error))?;
        // A line without its end was cut off, and is no answer.
        Ok(line.strip_suffix(b"\n").filter(|_| read > 0).map(text))
    }
}

async fn connect(path: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(path).await.map_err(|error| trouble(path, &error))
}

fn trouble(path: &Path, error: &io::Error) -> ClientError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon(path),
        io::ErrorKind::PermissionDenied => {
            let admin = path.file_name().is_some_and(|name| name == "admin.sock");
            ClientError::Permission { path, group: if admin { "postrider-admin" } else { "postrider" } }
        }
        io::ErrorKind::InvalidInput => ClientError::TooLong(path),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            ClientError::Other { path, why: "it closed the connection".to_owned() }
        }
        _ => ClientError::Other { path, why: error.to_string().split(" (os error").next().unwrap_or_default().into() },
    }
}
