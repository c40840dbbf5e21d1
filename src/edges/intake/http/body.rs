//! The body of a request, within its bounds.

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::edges::intake::{Code, Refusal};
use crate::words::limits;

/// The whole body, within its bounds. Of a body that is too large some is read all the same: a sender that is still
/// sending when the connection closes sees a reset, and not the refusal.
pub(super) async fn read<'a>(
    head: &Parts,
    body: Incoming,
    large: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Refusal> {
    let length = body.size_hint().lower();
    let waits = head.headers.contains_key(header::EXPECT);
    if length > limits::HTTP_DISCARDED as u64 || (waits && length > limits::HTTP_BODY as u64) {
        return Err(body_too_large());
    }
    match timeout(limits::BODY_TIMEOUT, collect(body, large)).await {
        Ok(read) => read,
        Err(_) => {
            let message = format!("the body did not come within {:?}", limits::BODY_TIMEOUT);
            Err(Refusal::new(Code::BadEvent, message))
        }
    }
}

async fn collect(mut body: Incoming, large: &Semaphore) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
    let mut permit = None;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::new(Code::BadEvent, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > limits::HTTP_SMALL && permit.is_none() {
            // Closed never; and the body's time runs while this one waits for its turn.
            permit = large.acquire().await.ok();
        }
        if length > limits::HTTP_DISCARDED {
            break;
        } else if length > limits::HTTP_BODY {
            whole = BytesMut::new();
        } else if length == data.len() {
            // Most bodies are one short frame: it is kept as it is.
            first = data;
        } else {
            if whole.is_empty() {
                whole.reserve(first.len() + data.len());
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    match length {
        too_much if too_much > limits::HTTP_BODY => Err(body_too_large()),
        _ if whole.is_empty() => Ok((first, permit)),
        _ => Ok((whole.freeze(), permit)),
    }
}

fn body_too_large() -> Refusal {
    let message = format!("one request may have at most {} bytes; send several", limits::HTTP_BODY);
    Refusal::new(Code::TooLarge, message)
}
