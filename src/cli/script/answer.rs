//! `script --answer`: what a platform makes of one answer.

use std::path::Path;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;

use super::{advised, first_line, headers_and_body};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, paint, style_of};
use crate::cli::{Global, local};
use crate::rules::answer::Judged;
use crate::rules::platform::Platform;
use crate::rules::yaml::reader::show_duration;
use crate::words::exchange::Response;
use crate::words::limits;
use crate::words::verdict::Verdict;

/// Prints the verdict.
pub(super) fn judge(global: &Global, platform: &Platform, answer: &str) -> Result<(), Exit> {
    let response = response(answer)?;
    let judged = platform.judge(&response, Timestamp::now()).map_err(|found| {
        local::say(&advised(*found));
        Exit::silent(Code::Failed)
    })?;
    let Judged { verdict, warning, plain, rest } = &judged;
    let word = if *plain { "plain" } else { verdict.word() };
    let why = verdict.why().unwrap_or_default();
    let wait = match verdict {
        Verdict::Pause { wait, .. } => Some(*wait),
        Verdict::Retry { after, .. } => *after,
        _ => None,
    };
    if global.json {
        let seconds = |duration: Option<std::time::Duration>| duration.map(|duration| duration.as_secs());
        return output::json(&json!({
            "verdict": word, "why": why, "wait_s": seconds(wait), "rest_s": seconds(*rest), "warning": warning,
        }));
    }
    let mut line = paint(style_of(word), word);
    if !why.is_empty() {
        line.push_str(&format!(": {}", output::clean_line(why)));
    }
    let said = [("wait", wait), ("rest", *rest)];
    for (what, duration) in said.iter().filter_map(|(what, duration)| Some((what, (*duration)?))) {
        line.push_str(&format!(" ({what} {})", show_duration(duration)));
    }
    output::say(line)?;
    match warning {
        Some(warning) => output::say(format!("warning: {}", output::clean_line(warning))),
        None => Ok(()),
    }
}

/// A status, a body (of a 200), or a file with a body or with a whole HTTP answer.
fn response(answer: &str) -> Result<Response, Exit> {
    if let Some(status) = answer.parse().ok().filter(|status| (100..=999).contains(status)) {
        return Ok(Response { status, headers: HeaderMap::new(), body: Vec::new().into(), truncated: false });
    }
    let bytes = match answer {
        "-" => local::read_stdin(limits::RESPONSE_BODY)?,
        body if body.trim_start().starts_with(['{', '[', '<']) => body.as_bytes().to_vec(),
        file => local::read(Path::new(file), limits::RESPONSE_BODY)?,
    };
    let first = first_line(&bytes);
    let mut words = first.split(' ');
    let head = (words.next(), words.next().and_then(|status| status.parse().ok()));
    let (Some("HTTP/1.1" | "HTTP/1.0" | "HTTP/2"), Some(status)) = head else {
        return Ok(Response { status: 200, headers: HeaderMap::new(), body: bytes.into(), truncated: false });
    };
    let odd = |what| Exit::new(Code::BadEvent, format!("the answer cannot be read: {what}"));
    let (headers, body) = headers_and_body(&bytes).map_err(odd)?;
    Ok(Response { status, headers, body: body.into(), truncated: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_a_body_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer");
        std::fs::write(&file, "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\nslow").unwrap();
        let whole = response(&file.display().to_string()).unwrap();
        assert_eq!(
            (whole.status, &whole.body[..], &whole.headers["retry-after"]),
            (429, &b"slow"[..], &"7".parse().unwrap())
        );
        std::fs::write(&file, "{}").unwrap();
        let body = response(&file.display().to_string()).unwrap();
        assert_eq!((body.status, &body.body[..]), (200, &b"{}"[..]));
        assert_eq!((response("503").unwrap().status, response("{\"a\": 1}").unwrap().status), (503, 200));
        assert!(response("1000").is_err() && response("/nowhere").is_err());
    }
}
