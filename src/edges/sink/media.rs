//! WeCom's `upload_media`: one file in a form, kept for three days for the robot that took it.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::words::limits;

use super::bots::{Bot, Media};
use super::judgement::Refused;
use super::received::Received;

const MIB: usize = 1024 * 1024;

pub(super) fn upload(
    bot: &mut Bot,
    dice: &mut fastrand::Rng,
    request: &Received,
    now: Timestamp,
) -> Result<Value, Refused> {
    let kind = request.query("type").unwrap_or_default();
    let max = match kind.as_str() {
        "file" => 20 * MIB,
        "voice" => 2 * MIB,
        _ => return Err(Refused::new(40004, "invalid media type", "the query's type is neither file nor voice")),
    };
    let parts = boundary(request).map(|boundary| parts(&request.body, &boundary)).unwrap_or_default();
    let Some(part) = parts.into_iter().find(|part| part.name == "media") else {
        return Err(Refused::new(41005, "media data missing", "the form has no field named media"));
    };
    if !part.has_filename {
        return Err(Refused::new(41005, "media data missing", "the field media has no filename"));
    }
    if part.bytes.len() <= 5 || part.bytes.len() > max {
        let why = format!("a {kind} has more than 5 and at most {max} bytes; this has {}", part.bytes.len());
        return Err(Refused::new(40006, "invalid media size", why));
    }
    if bot.media.len() >= limits::SINK_BOTS {
        bot.media.clear();
    }
    let id = std::iter::once('3').chain(std::iter::repeat_with(|| dice.alphanumeric()).take(63)).collect::<String>();
    bot.media.insert(id.clone(), Media { kind: kind.clone(), created: now });
    Ok(json!({
        "errcode": 0, "errmsg": "", "type": kind, "media_id": id, "created_at": now.as_second().to_string(),
    }))
}

struct Part<'a> {
    name: String,
    has_filename: bool,
    bytes: &'a [u8],
}

fn boundary(request: &Received) -> Option<String> {
    let content_type = request.header("content-type")?;
    if !content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        return None;
    }
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// `name=value` or `name="value"` among the parameters of a header.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The parts of a form. What is not well-formed is left out.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let marker = format!("--{boundary}");
    let mut between: VecDeque<&[u8]> = split(body, marker.as_bytes()).into();
    // Before the first marker stands a preamble, behind the last one `--`.
    between.pop_front();
    let last = between.pop_back();
    if last.is_none_or(|last| !last.starts_with(b"--")) {
        return Vec::new();
    }
    between.into_iter().filter_map(part).collect()
}

fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let bytes = bytes.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let disposition =
        head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?.to_owned();
    Some(Part {
        name: parameter(&disposition, "name")?,
        has_filename: parameter(&disposition, "filename").is_some_and(|name| !name.is_empty()),
        bytes: &bytes[end + 4..],
    })
}

fn split<'a>(mut body: &'a [u8], marker: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = body.windows(marker.len()).position(|window| window == marker) {
        pieces.push(&body[..at]);
        body = &body[at + marker.len()..];
    }
    pieces.push(body);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_apart() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
            content-disposition: form-data; name=\"media\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n\
            two\r\n\r\nlines\r\n--b--\r\n";
        let parts = parts(body, "b");
        assert_eq!(parts.len(), 2);
        assert!(!parts[0].has_filename && parts[0].bytes == b"1");
        assert!(parts[1].has_filename && parts[1].name == "media" && parts[1].bytes == b"two\r\n\r\nlines");
        assert!(super::parts(&body[..body.len() - 4], "b").is_empty(), "the end is missing");
    }
}
