//! The sink's own paths, beside those of the platform: what came, and what is to happen next.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::words::limits;

use super::faults::Step;
use super::state::Shared;
use super::wire::Outgoing;

pub(super) const PREFIX: &str = "/__fake/";

/// `GET /__fake/requests`, `DELETE /__fake/requests`, `POST /__fake/script` (a step, or a list of them).
pub(super) async fn respond(shared: &Shared, request: http::Request<Incoming>) -> http::Response<Outgoing> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/__fake/requests") => {
            let (records, forgotten) = {
                let kept = shared.kept();
                (kept.records.clone(), kept.forgotten)
            };
            let rows: Vec<Value> = records.iter().map(|record| record.to_json(&shared.salt)).collect();
            answer(StatusCode::OK, &json!({"requests": rows, "forgotten": forgotten}))
        }
        (&Method::DELETE, "/__fake/requests") => {
            shared.clear();
            answer(StatusCode::OK, &json!({}))
        }
        (&Method::POST, "/__fake/script") => match script(shared, body).await {
            Ok(steps) => answer(StatusCode::OK, &json!({"steps": steps})),
            Err(why) => answer(StatusCode::BAD_REQUEST, &json!({"error": why})),
        },
        _ => answer(StatusCode::NOT_FOUND, &json!({"error": "there are /__fake/requests and /__fake/script"})),
    }
}

async fn script(shared: &Shared, body: Incoming) -> Result<usize, String> {
    let bytes = Limited::new(body, limits::EVENT).collect().await.map_err(|_| "the script did not arrive whole")?;
    let value: Value = serde_json::from_slice(&bytes.to_bytes()).map_err(|_| "the script is not JSON")?;
    let steps = match value {
        Value::Array(steps) => steps,
        step => vec![step],
    };
    let mut checked = Vec::with_capacity(steps.len());
    for (n, step) in steps.into_iter().enumerate() {
        let step: Step = serde_json::from_value(step).map_err(|why| format!("step {}: {why}", n + 1))?;
        step.check().map_err(|why| format!("step {}: {why}", n + 1))?;
        checked.push(step);
    }
    let count = checked.len();
    for step in checked {
        shared.script(step)?;
    }
    Ok(count)
}

fn answer(status: StatusCode, body: &Value) -> http::Response<Outgoing> {
    let mut response = http::Response::new(Outgoing::whole(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
