//! One POST, as `curl` would send it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::exit::{Code, Exit};

/// Posts a body as an event of this type; answers status and body.
pub(super) async fn event(address: SocketAddr, kind: &str, body: &[u8]) -> Result<(u16, String), Exit> {
    let cannot = |error: std::io::Error| Exit::caused(Code::Failed, "cannot post the event", &error);
    let mut stream = TcpStream::connect(address).await.map_err(cannot)?;
    let head = format!(
        "POST /v1/events?type={kind} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.map_err(cannot)?;
    stream.write_all(body).await.map_err(cannot)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(cannot)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    status.zip(body).ok_or_else(|| Exit::new(Code::Failed, "the daemon's answer is no HTTP"))
}
