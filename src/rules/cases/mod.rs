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

mod bless;
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

use self::bless::Looked;
pub use self::bless::{Blessed, BlessedCase, Fate};
use self::read::{Expect, Sent};
pub use self::source::{Load, bless_source, run_source};

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
    let results = each(cases, |reader, case, node| {
        if case.get("response").is_some() {
            let answer = read::answer(reader, case, false)?;
            Some(compare::verdict(&answer, &platform.verdict(&answer.response, answer.now)))
        } else {
            let sent = read::sent(reader, case);
            let expect = read::expected(reader, case, node)?;
            Some(differences(&expect, &request(platform, cases, case, &sent)))
        }
    })?;
    Ok(results.into_iter().map(CaseResult::of).collect())
}

/// Looks at all cases of a file, and says what the file would be if every case expected what the script does now.
///
/// # Errors
/// The file cannot be read as cases.
pub fn bless(platform: &Platform, cases: &Source) -> Result<Blessed, Vec<Diagnostic>> {
    bless::bless(cases, &|cases| {
        each(cases, |reader, case, node| {
            let now = if case.get("response").is_some() {
                bless::answer(platform, &read::answer(reader, case, true)?)
            } else {
                let sent = read::sent(reader, case);
                let old = read::expectation(case);
                let expect = old.map(|_| read::expected(reader, case, node).ok_or(())).transpose().ok()?;
                let expect = expect.as_ref().zip(old.map(|node| node.to_exact(cases)));
                bless::request(&sent, expect, request(platform, cases, case, &sent))
            };
            Some(Looked::new(cases, node, now))
        })
    })
}

/// What came of the case of this name at this place.
type Each<T> = (String, Place, T);

impl CaseResult {
    fn of((name, place, differences): Each<Vec<String>>) -> Self {
        Self { name, place, differences }
    }
}

/// Does something with each case of a file; it gives nothing for one that cannot be read.
fn each<T>(
    cases: &Source,
    mut run: impl FnMut(&mut Reader<'_>, &Entries<'_>, &Node) -> Option<T>,
) -> Result<Vec<Each<T>>, Vec<Diagnostic>> {
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
        if let Some(result) = run(&mut reader, &case, node) {
            results.push((name, cases.place(node.span), result));
        }
    }
    if reader.failed() { Err(reader.into_sorted()) } else { Ok(results) }
}

fn differences(expect: &Expect, made: &Result<(Request, u32), Failure>) -> Vec<String> {
    match (made, &expect.error) {
        (Ok((request, parts)), None) => compare::request(expect, request, *parts),
        (Ok(_), Some(part)) => vec![format!("a request was made, expected an error with {part:?}")],
        (Err(failure), Some(part)) if failure.in_full().contains(part.as_str()) => Vec::new(),
        (Err(failure), Some(part)) => vec![format!("the error is {:?}, expected one with {part:?}", failure.in_full())],
        (Err(failure), None) => vec![format!("no request was made: {}", failure.in_full())],
    }
}

/// Why there is no request.
enum Failure {
    /// The options cannot be read.
    Options(Vec<Diagnostic>),
    Render(RenderError),
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::Render(error)
    }
}

impl Failure {
    /// The error with its help, so that a case can expect either.
    fn in_full(&self) -> String {
        match self {
            Self::Options(found) => found.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("; "),
            Self::Render(RenderError::Wrong(found)) => match &found.help {
                Some(help) => format!("{}; {help}", found.one_line()),
                None => found.one_line(),
            },
            Self::Render(error @ RenderError::Secret { .. }) => error.to_string(),
        }
    }
}

/// The request, as a hook with these options makes it.
fn request(platform: &Platform, cases: &Source, case: &Entries<'_>, sent: &Sent) -> Result<(Request, u32), Failure> {
    let mut reader = Reader::new(cases);
    let trees = read_options(&mut reader, &Shared::default(), case, Some(platform));
    if reader.failed() {
        return Err(Failure::Options(reader.found));
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
        render_option(platform, &mut options, option, &given)?;
    }
    options.turn = sent.turn;
    let made = platform.make(&given, options)?;
    let parts = made.parts;
    Ok((platform.finish(made, &given)?, parts))
}

fn event(sent: &Sent) -> Event {
    let mut event = Event::new(sent.kind.as_str(), Some("case".to_owned()), sent.raw.clone(), sent.now);
    event.content_type.clone_from(&sent.content_type);
    event
}

#[cfg(test)]
mod tests;
