//! What is kept of the last request of a dead letter, so that `replay --original` can send the same again: its body, where
//! that is safe. Never a URL, a header or a signature, and nothing that a secret had a part in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::engine::wire::Mask;
use crate::rules::config::Config;
use crate::rules::hook::Hook;
use crate::rules::platform::Given;
use crate::words::delivery::{Body, Delivery, Kept};
use crate::words::exchange::Request;
use crate::words::limits;
use crate::words::secret::Secrets;

/// The body of a request, or why it is not kept.
pub fn of(config: &Config, hook: &Hook, given: &Given<'_>, delivery: &Delivery, request: &Request) -> Kept {
    if request.body.len() > limits::KEPT_BODY {
        return Err(format!(
            "its body has {} bytes, more than the {} that are kept",
            request.body.len(),
            limits::KEPT_BODY
        ));
    }
    let clean =
        std::str::from_utf8(&request.body).is_ok_and(|text| Mask::new(hook, &config.secrets).text(text) == text);
    let binary = std::str::from_utf8(&request.body).is_err();
    if !(clean || binary) || depends_on_a_secret(config, hook, given, delivery, request) {
        return Err("a secret, or what is signed with one, stands in its body".to_owned());
    }
    let content_type = request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    Ok(Body { content_type, bytes: request.body.clone() })
}

/// Whether the body is another one when every secret is: Lark's signature stands in it, for one.
fn depends_on_a_secret(
    config: &Config,
    hook: &Hook,
    given: &Given<'_>,
    delivery: &Delivery,
    request: &Request,
) -> bool {
    if hook.secrets().next().is_none() {
        return false;
    }
    let others: Secrets = config.secrets.others();
    let given = Given { secrets: &others, ..*given };
    match catch_unwind(AssertUnwindSafe(|| hook.render_with(&given, delivery.original.as_ref()))) {
        Ok(Ok(other)) => other.body != request.body,
        // A secret that may not be another one is one that nothing is known of.
        _ => true,
    }
}
