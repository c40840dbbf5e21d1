//! The cases of a platform script: a YAML list, each entry a delivery with the request that comes of it, or an answer
//! with its verdict.
//!
//! ```yaml
//! - name: a text
//!   event: {type: t, data: {message: hi}}        # optional; also raw: and content_type:
//!   options: {url: https://h.example/x}          # as in a hook: templates, {secret: NAME}
//!   secrets: {NAME: value}                       # optional, as are time, id, attempt, part (from 1), plain
//!   expect: {method: POST, json: {text: hi}}     # url, headers, form, text, bytes, parts, error
//! - response: {status: 200, json: {errcode: 45009}}    # or body: and headers:
//!   verdict: pause
//!   wait: 60s                                    # optional, as are rest:, why: and warning:
//! ```
//!
//! `json` and `text` are the whole body, `headers` and `form` some of theirs. `bytes` counts UTF-8: `{text.content:
//! 2048}` for one member, `{body: 20000}` for all. `error`, `why` and `warning` must stand in what is said.

mod compare;
mod read;
mod source;

use jiff::Timestamp;

use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::hook::{Shared, read_options, render_option};
use crate::rules::platform::{Given, Platform, RenderError};
use crate::rules::yaml::reader::{Map as Entries, Reader};
use crate::rules::yaml::{self, Node, Value};
use crate::words::event::Event;
use crate::words::exchange::Request;
use crate::words::json::Members;
use crate::words::secret::{Secret, Secrets};

use self::read::{Answer, Sent};
pub use self::source::{Load, run_source};

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// Its name, or its number.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What was otherwise than expected; empty when it passed.
    pub differences: Vec<String>,
}

/// The time of a case that names none.
const TIME: Timestamp = Timestamp::UNIX_EPOCH;

/// Runs all cases of a file.
///
/// # Errors
/// The file cannot be read as cases.
pub fn run(platform: &Platform, cases: &Source) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    each(cases, |reader, case, node| {
        if case.get("response").is_some() {
            read::answer(reader, case).map(|answer| judge(platform, &answer))
        } else {
            read::sent(reader, case, node).map(|sent| send(platform, cases, case, &sent))
        }
    })
}

/// Runs each case of a file: what it gives is what was otherwise than expected, or nothing for one that cannot be read.
fn each(
    cases: &Source,
    mut run: impl FnMut(&mut Reader<'_>, &Entries<'_>, &Node) -> Option<Vec<String>>,
) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let document = yaml::parse(cases).map_err(|found| vec![found])?;
    let mut reader = Reader::new(cases);
    let Value::List(entries) = &document.value else {
        reader.wrong("cases", &document, "a list", "begin each case with `- name: …`");
        return Err(reader.found);
    };
    let mut results = Vec::new();
    for (number, node) in entries.iter().enumerate() {
        let Some(case) = reader.map("case", node, "{name: …, options: {…}, expect: {…}}") else { continue };
        let name = case.get("name").and_then(|node| reader.text("name", node));
        let name = name.map_or_else(|| format!("case {}", number + 1), str::to_owned);
        if let Some(differences) = run(&mut reader, &case, node) {
            results.push(CaseResult { name, place: cases.place(node.span), differences });
        }
    }
    if reader.failed() { Err(reader.into_sorted()) } else { Ok(results) }
}

fn judge(platform: &Platform, answer: &Answer) -> Vec<String> {
    compare::verdict(answer, &platform.verdict(&answer.response, answer.now))
}

fn send(platform: &Platform, cases: &Source, case: &Entries<'_>, sent: &Sent) -> Vec<String> {
    match (request(platform, cases, case, sent), &sent.expect.error) {
        (Ok((request, parts)), None) => compare::request(&sent.expect, &request, parts),
        (Ok(_), Some(part)) => vec![format!("a request was made, expected an error with {part:?}")],
        (Err(said), Some(part)) if said.contains(part.as_str()) => Vec::new(),
        (Err(said), Some(part)) => vec![format!("the error is {said:?}, expected one with {part:?}")],
        (Err(said), None) => vec![format!("no request was made: {said}")],
    }
}

/// The request, as a hook with these options makes it.
fn request(platform: &Platform, cases: &Source, case: &Entries<'_>, sent: &Sent) -> Result<(Request, u32), String> {
    let mut reader = Reader::new(cases);
    let trees = read_options(&mut reader, &Shared::default(), case, Some(platform));
    if reader.failed() {
        return Err(reader.found.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("; "));
    }
    let mut secrets = Secrets::default();
    for (name, value) in &sent.secrets {
        secrets.insert(name.clone(), Ok(Secret::new(value.clone())));
    }
    let event = event(sent);
    let given =
        Given { id: &sent.id, attempt: sent.attempt, now: sent.now, hook: "case", event: &event, secrets: &secrets };
    let mut options = platform.options(&Members::new());
    for option in &trees {
        render_option(platform, &mut options, option, &given).map_err(in_full)?;
    }
    options.turn = sent.turn;
    let made = platform.make(&given, options).map_err(in_full)?;
    let parts = made.parts;
    platform.finish(made, &given).map(|request| (request, parts)).map_err(in_full)
}

fn event(sent: &Sent) -> Event {
    let mut event = Event::new(sent.kind.as_str(), Some("case".to_owned()), sent.raw.clone(), sent.now);
    event.content_type.clone_from(&sent.content_type);
    event
}

/// The error with its help, so that a case can expect either.
fn in_full(error: RenderError) -> String {
    match &error {
        RenderError::Wrong(found) => match &found.help {
            Some(help) => format!("{error}; {help}"),
            None => error.to_string(),
        },
        RenderError::Secret { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
