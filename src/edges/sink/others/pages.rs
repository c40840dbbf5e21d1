//! PagerDuty, Alertmanager and GitHub.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Judged, Said, status_of};
use crate::edges::sink::bots::State;
use crate::edges::sink::shape::text;

pub(super) fn pagerduty(mut call: Call<'_>) -> Judged {
    if call.request.path() != "/v2/enqueue" {
        return Err(Said::no_such_path("PagerDuty takes events at /v2/enqueue"));
    }
    if call.request.body.len() > 512 * 1024 {
        return Err(Said::empty(413).why("the event has more than 512 KB"));
    }
    let Some(event) = call.json().filter(Value::is_object) else {
        return Err(invalid(&["JSON cannot be parsed"]));
    };
    let key = text(&event, "routing_key").unwrap_or_default().to_owned();
    if key.len() != 32 {
        return Err(invalid(&["Length of 'routing_key' is incorrect (should be 32 characters)"]));
    }
    match call.bot(&key).map(|(_, state)| state) {
        Some(State::Ok) => {}
        _ => return Err(invalid(&["Invalid routing key"])),
    }
    if let Err(wait) = call.charge(&key) {
        return Err(Said::empty(429).header("retry-after", wait).why("more events than PagerDuty takes now"));
    }
    let errors = wrong_with(&event);
    if !errors.is_empty() {
        return Err(invalid(&errors));
    }
    if let Some(scripted) = call.scripted(&key).filter(|scripted| scripted.code != 0) {
        return Err(Said { status: status_of(scripted.code), ..invalid(&[&scripted.message]) });
    }
    let made = text(&event, "dedup_key").unwrap_or("made-by-pagerduty");
    Ok(Said::json(202, &json!({"status": "success", "message": "Event processed", "dedup_key": made})))
}

fn wrong_with(event: &Value) -> Vec<&'static str> {
    let mut errors = Vec::new();
    let action = text(event, "event_action").unwrap_or_default();
    if !["trigger", "acknowledge", "resolve"].contains(&action) {
        errors.push("'event_action' is invalid (must be one of trigger, acknowledge, resolve)");
    }
    if text(event, "dedup_key").is_some_and(|key| key.chars().count() > 255) {
        errors.push("'dedup_key' is too long (should be at most 255 characters)");
    }
    if action != "trigger" {
        if text(event, "dedup_key").is_none() {
            errors.push("'dedup_key' is missing or blank");
        }
        return errors;
    }
    let payload = event.get("payload").unwrap_or(&Value::Null);
    match text(payload, "summary") {
        None => errors.push("'payload.summary' is missing or blank"),
        Some(summary) if summary.chars().count() > 1024 => {
            errors.push("'payload.summary' is too long (should be at most 1024 characters)");
        }
        Some(_) => {}
    }
    if text(payload, "source").is_none() {
        errors.push("'payload.source' is missing or blank");
    }
    if !["critical", "error", "warning", "info"].contains(&text(payload, "severity").unwrap_or_default()) {
        errors.push("'payload.severity' is invalid (must be one of critical, error, warning, info)");
    }
    errors
}

fn invalid(errors: &[&str]) -> Said {
    let body = json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
    Said::json(400, &body).why(errors.join("; "))
}

pub(super) fn alertmanager(mut call: Call<'_>) -> Judged {
    if call.request.path() != "/api/v2/alerts" {
        return Err(Said::no_such_path("Alertmanager takes alerts at /api/v2/alerts"));
    }
    const SERVER: &str = "alertmanager";
    if !call.has_bearer(SERVER) {
        return Err(Said::text(401, "Unauthorized\n").why("the token is another one"));
    }
    if let Err(wait) = call.charge(SERVER) {
        return Err(Said::text(429, "too many requests\n")
            .header("retry-after", wait)
            .why("more than the proxy lets through"));
    }
    let refused = |why: &str| Err(Said::json(400, &Value::from(why)).why(why));
    let Some(Value::Array(alerts)) = call.json() else {
        return refused(
            "parsing alerts body from \"\" failed, because json: cannot unmarshal into Go value of type models.PostableAlerts",
        );
    };
    for alert in &alerts {
        let labels = alert.get("labels").and_then(Value::as_object);
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
            return refused("at least one label pair required");
        };
        if labels
            .values()
            .chain(alert.get("annotations").and_then(Value::as_object).into_iter().flat_map(|map| map.values()))
            .any(|value| !value.is_string())
        {
            return refused(
                "parsing alerts body from \"\" failed, because json: cannot unmarshal into Go struct field of type string",
            );
        }
        let time = |name: &str| text(alert, name).map(str::parse::<Timestamp>);
        let (starts, ends) = (time("startsAt"), time("endsAt"));
        if [&starts, &ends].into_iter().flatten().any(Result::is_err) {
            return refused("parsing alerts body from \"\" failed, because parsing time failed");
        }
        if let (Some(Ok(starts)), Some(Ok(ends))) = (starts, ends)
            && ends < starts
        {
            return refused("start time must be before end time");
        }
    }
    if let Some(scripted) = call.scripted(SERVER).filter(|scripted| scripted.code != 0) {
        return Err(Said::json(status_of(scripted.code), &Value::from(scripted.message)).why("scripted"));
    }
    Ok(Said::empty(200))
}

pub(super) fn github_dispatch(mut call: Call<'_>) -> Judged {
    let path = call.request.path().strip_prefix("/repos/").and_then(|path| path.strip_suffix("/dispatches"));
    let Some(repository) = path.filter(|path| path.split('/').count() == 2).map(str::to_owned) else {
        return Err(message(404, "Not Found", "events are taken at /repos/OWNER/NAME/dispatches"));
    };
    if call.request.header("user-agent").is_none_or(str::is_empty) {
        return Err(message(403, "Request forbidden by administrative rules.", "there is no User-Agent"));
    }
    if call.request.header("authorization").is_none() || !call.has_bearer(&repository) {
        return Err(message(401, "Bad credentials", "the token is another one"));
    }
    match call.bot(&repository).map(|(_, state)| state) {
        Some(State::Ok) => {}
        Some(State::Disabled) => {
            return Err(message(403, "Resource not accessible by personal access token", "the token may not do this"));
        }
        _ => return Err(message(404, "Not Found", "there is no such repository")),
    }
    if let Err(wait) = call.charge(&repository) {
        let said = message(403, "You have exceeded a secondary rate limit.", "too many").header("retry-after", wait);
        return Err(said.header("x-ratelimit-remaining", 0));
    }
    let Some(event) = call.json().filter(Value::is_object) else {
        return Err(message(400, "Problems parsing JSON", "the body is not JSON"));
    };
    let kind = text(&event, "event_type").unwrap_or_default();
    if kind.is_empty() || kind.chars().count() > 100 {
        return Err(message(422, "Invalid request.", "event_type has 1 to 100 characters"));
    }
    if event.get("client_payload").is_some_and(|payload| payload.as_object().is_none_or(|members| members.len() > 10)) {
        return Err(message(
            422,
            "No more than 10 properties are allowed",
            "client_payload is a map of at most 10 members",
        ));
    }
    if let Some(scripted) = call.scripted(&repository).filter(|scripted| scripted.code != 0) {
        return Err(message(status_of(scripted.code), &scripted.message, "scripted"));
    }
    Ok(Said::empty(204))
}

fn message(status: u16, message: &str, why: &str) -> Said {
    let body =
        json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()});
    Said::json(status, &body).why(why)
}
