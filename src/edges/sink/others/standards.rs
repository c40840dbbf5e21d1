//! Receivers that follow a standard: Standard Webhooks, PushPushGo's signature, CloudEvents.

use serde_json::{Value, json};

use super::{Call, Judged, Said, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::text;
use crate::rules::cloudevents::{self, Fault};
use crate::rules::signature::{self, Scheme, Signed};

/// All requests are for one receiver.
const RECEIVER: &str = "/";

pub(super) fn standard_webhooks(mut call: Call<'_>) -> Judged {
    open(&mut call)?;
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        if call.request.header(name).is_none() {
            return Err(
                Said::json(400, &json!({"error": format!("missing header {name}")})).why(format!("there is no {name}"))
            );
        }
    }
    verify(&mut call, "standard-webhooks", None)?;
    close(&mut call, Said::empty(204))
}

pub(super) fn pushpushgo(mut call: Call<'_>) -> Judged {
    open(&mut call)?;
    let body = call.json().unwrap_or_default();
    let (Some(project), Some(_)) = (text(&body, "projectId"), text(&body, "ppgId")) else {
        return Err(Said::text(400, "bad request\n").why("projectId and ppgId must stand in the body"));
    };
    verify(&mut call, "pushpushgo", Some(project))?;
    close(&mut call, Said::text(200, "ok\n"))
}

pub(super) fn cloudevents(mut call: Call<'_>) -> Judged {
    open(&mut call)?;
    if !call.has_bearer(RECEIVER) {
        return Err(Said::empty(401).why("the token is another one"));
    }
    match cloudevents::read(&call.request.headers, &call.request.body) {
        Ok(events) => {
            let ids: Vec<Value> = events.iter().map(|event| json!({"id": event.id, "type": event.kind})).collect();
            call.judgement.stored = Some(Value::Array(ids));
        }
        Err(Fault::Bad(why)) => return Err(Said::text(400, format!("{why}\n")).why(why)),
        Err(Fault::Unsupported(why)) => return Err(Said::text(415, format!("{why}\n")).why(why)),
    }
    close(&mut call, Said::empty(204))
}

fn open(call: &mut Call<'_>) -> Result<(), Said> {
    match call.bot(RECEIVER).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => return Err(Said::empty(403).why("the endpoint is disabled")),
        _ => return Err(Said::empty(410).why("the endpoint wants nothing more")),
    }
    call.charge(RECEIVER).map_err(|wait| Said::empty(429).header("retry-after", wait).why("more than the rate allows"))
}

fn close(call: &mut Call<'_>, said: Said) -> Judged {
    match call.scripted(RECEIVER).filter(|scripted| scripted.code != 0) {
        Some(scripted) => Err(Said::text(status_of(scripted.code), scripted.message).why("scripted")),
        None => Ok(said),
    }
}

/// With the secret that it was given, else with the key that it can know.
fn verify(call: &mut Call<'_>, preset: &str, known: Option<&str>) -> Result<(), Said> {
    let secret = call.world.bots.get(RECEIVER).and_then(|bot| bot.options.secret.clone());
    let Some(key) = secret.as_ref().map(|secret| secret.expose()).or(known) else {
        call.judgement.notes.push("nothing is verified without --secret".to_owned());
        return Ok(());
    };
    let refused = |why: String| Said::text(401, "the signature is not right\n").why(why);
    let scheme = Scheme::from_json(&json!({"preset": preset, "key": key})).map_err(refused)?;
    let url = format!("http://{}{}", call.request.header("host").unwrap_or_default(), call.request.target);
    let signed =
        Signed { method: &call.request.method, url: &url, headers: &call.request.headers, body: &call.request.body };
    let verified = signature::verify(&scheme, &signed, call.now).map_err(|why| refused(why.to_string()))?;
    call.judgement.notes.push(format!("the signature is right: {}", verified.how));
    Ok(())
}
