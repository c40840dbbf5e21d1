//! Answers in the few shapes that the platforms have.

use bytes::Bytes;
use serde_json::Value;

use super::judgement::{Answered, Judgement};

pub(super) fn json(status: u16, content_type: &str, body: &Value, judgement: Judgement) -> Answered {
    whole(status, content_type, body.to_string(), judgement)
}

pub(super) fn page(status: u16, body: &str, judgement: Judgement) -> Answered {
    whole(status, "text/html; charset=utf-8", format!("<!DOCTYPE html><html>{body}</html>"), judgement)
}

/// No robot lives there: the platform's web server says so, not a robot.
pub(super) fn no_such_path(where_it_is: &str) -> Answered {
    let why = format!("no robot at this path: {where_it_is}");
    let body = format!("404 page not found: {where_it_is}\n");
    whole(404, "text/plain; charset=utf-8", body, Judgement { why, ..Judgement::default() })
}

fn whole(status: u16, content_type: &str, body: String, judgement: Judgement) -> Answered {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Answered { status, headers, body: Bytes::from(body), judgement }
}
