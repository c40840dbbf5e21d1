//! Cases that expect what the script does now: the text of their file, with nothing else changed.
//!
//! What a case names of a request, of an event or of a verdict is what it goes on to name; one that names nothing yet gets
//! all that matters. A case is not blessed when it is the script that fails, and when its text cannot be changed by a rule:
//! each new text is read again, and must say the same as before but for what was blessed.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};

use super::read::{Answer, Expect, Sent};
use super::{Each, Failure, compare};
use crate::rules::diagnostic::{Diagnostic, Place, Source, TOO_MUCH};
use crate::rules::platform::{Platform, RenderError};
use crate::rules::yaml::edit::{self, Edit};
use crate::rules::yaml::reader::show_duration;
use crate::rules::yaml::{self, Node, Value, write};
use crate::words::conceal;
use crate::words::event::JSON;
use crate::words::exchange::Request;
use crate::words::json::{Exact, Members};
use crate::words::verdict::Verdict;

/// A body that is longer is described by the lengths of its texts: nobody reads it in a case.
const LONG_BODY: usize = 2000;
/// A text of a long body that is so long is one of them.
const LONG_TEXT: usize = 200;

/// What came of blessing a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blessed {
    /// The new text; `None` when nothing changes.
    pub text: Option<String>,
    /// Its cases.
    pub cases: Vec<BlessedCase>,
}

/// What came of blessing one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlessedCase {
    /// Its name, or its number.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What was otherwise than expected.
    pub differences: Vec<String>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passed before.
    Passed,
    /// It passes now.
    Blessed,
    /// It fails, and stays as it is.
    Refused(String),
}

/// What a case says, beside what it is about.
pub(super) type Wanted = Vec<(&'static str, Option<Exact>)>;

/// How the script does what a case is about.
pub(super) enum Now {
    AsExpected,
    Otherwise { differences: Vec<String>, wanted: Wanted },
    Wrong { differences: Vec<String>, why: String },
}

/// A case that was looked at, with the ways to change its text.
pub(super) struct Looked {
    now: Now,
    ways: Vec<Vec<Edit>>,
}

impl Looked {
    pub(super) fn new(cases: &Source, node: &Node, now: Now) -> Self {
        let mut ways = Vec::new();
        if let Now::Otherwise { wanted, .. } = &now {
            ways.extend(edit::members(cases, node, wanted));
            let whole = wanted.iter().map(|(key, value)| edit::member_whole(cases, node, key, value.as_ref()?).ok());
            ways.extend(whole.collect::<Option<Vec<_>>>().map(|edits| edits.concat()));
        }
        Self { now, ways }
    }
}

type Look<'l> = &'l dyn Fn(&Source) -> Result<Vec<Each<Looked>>, Vec<Diagnostic>>;

/// Which cases are changed, and how.
type Changes = BTreeMap<usize, Vec<Edit>>;

/// Blesses what can be blessed.
pub(super) fn bless(cases: &Source, look: Look<'_>) -> Result<Blessed, Vec<Diagnostic>> {
    let mut looked = look(cases)?;
    let ways = looked.iter_mut().map(|(.., case)| std::mem::take(&mut case.ways)).enumerate();
    let ways: Vec<(usize, Vec<Vec<Edit>>)> = ways.filter(|(_, ways)| !ways.is_empty()).collect();
    // All at once is nearly always right; else each by itself, in the way that is.
    let mut changes: Changes = ways.iter().map(|(at, ways)| (*at, ways[0].clone())).collect();
    let mut text = changed(cases, look, &changes);
    if text.is_none() && !changes.is_empty() {
        let alone = |at: usize, way: Vec<Edit>| {
            Some(Changes::from([(at, way)])).filter(|one| changed(cases, look, one).is_some())
        };
        changes = ways
            .into_iter()
            .filter_map(|(at, ways)| ways.into_iter().find_map(|way| alone(at, way)))
            .flatten()
            .collect();
        text = changed(cases, look, &changes);
    }
    let fate = |at: usize, now: Now| match now {
        Now::AsExpected => (Vec::new(), Fate::Passed),
        Now::Wrong { differences, why } => (differences, Fate::Refused(why)),
        Now::Otherwise { differences, .. } if text.is_some() && changes.contains_key(&at) => {
            (differences, Fate::Blessed)
        }
        Now::Otherwise { differences, .. } => {
            (differences, Fate::Refused("its text cannot be changed by a rule: write it".to_owned()))
        }
    };
    let cases = looked.into_iter().enumerate().map(|(at, (name, place, Looked { now, .. }))| {
        let (differences, fate) = fate(at, now);
        BlessedCase { name, place, differences, fate }
    });
    let cases = cases.collect();
    Ok(Blessed { text: text.filter(|_| !changes.is_empty()), cases })
}

/// The text after these changes, if the cases that are changed pass then, and nothing else says anything else.
fn changed(cases: &Source, look: Look<'_>, changes: &Changes) -> Option<String> {
    let text = edit::apply(&cases.text, changes.values().flatten().cloned().collect()).ok()?;
    let changed = Source::new(cases.name.clone(), text);
    let entries = |source: &Source| match yaml::parse(source).ok()?.value {
        Value::List(entries) => Some(entries.iter().map(|entry| entry.to_exact(source)).collect::<Vec<_>>()),
        _ => None,
    };
    let (before, after) = (entries(cases)?, entries(&changed)?);
    let same = |at: usize| match changes.contains_key(&at) {
        true => without_answer(&before[at]) == without_answer(&after[at]),
        false => before[at] == after[at],
    };
    let pass = |all: Vec<Each<Looked>>| {
        changes.keys().all(|at| matches!(all.get(*at), Some((.., Looked { now: Now::AsExpected, .. }))))
    };
    let right = before.len() == after.len() && (0..before.len()).all(same) && look(&changed).is_ok_and(pass);
    right.then(|| changed.text.to_string())
}

/// What a case is about.
fn without_answer(case: &Exact) -> Exact {
    let Exact::Map(members) = case else { return case.clone() };
    let answers = ["expect", "verdict", "wait", "rest", "why", "warning"];
    let about = members.iter().filter(|(key, _)| !answers.contains(&key.as_str()));
    Exact::Map(about.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// How a platform makes the request of a case; `old` is what it expects, read and as it stands there.
pub(super) fn request(sent: &Sent, old: Option<(&Expect, Exact)>, made: Result<(Request, u32), Failure>) -> Now {
    let differences = match &old {
        Some((expect, _)) => super::differences(expect, &made),
        None => vec!["nothing was expected yet".to_owned()],
    };
    if differences.is_empty() {
        return Now::AsExpected;
    }
    let expect = match made {
        Ok((request, parts)) => {
            let named = match old {
                Some((expect, Exact::Map(old))) if expect.error.is_none() => named(old, &request, parts),
                _ => Members::new(),
            };
            if named.is_empty() { all_of(&request, parts) } else { named }
        }
        Err(failure) => match error(&failure, sent) {
            Ok(error) => Members::from_iter([("error".to_owned(), error.into())]),
            Err(why) => return Now::Wrong { differences, why },
        },
    };
    Now::Otherwise { differences, wanted: vec![("expect", Some(Exact::Map(expect)))] }
}

/// The error that a case may expect, or why it may not: the script, or the case itself, is wrong.
fn error(failure: &Failure, sent: &Sent) -> Result<String, String> {
    let found = match failure {
        Failure::Options(found) => found.iter().find(|found| found.is_error()).ok_or("the options are wrong")?,
        Failure::Render(RenderError::Wrong(found)) => found,
        Failure::Render(error @ RenderError::Secret { name, .. }) => {
            // One that is there cannot be used, which may be what the case is about.
            if sent.secrets.iter().any(|(known, _)| known == name) {
                return Ok(error.to_string());
            }
            return Err(format!("the case has no secret {name}: add secrets: {{{name}: …}}"));
        }
    };
    if ["script", TOO_MUCH, "request", "unknown-option", "unknown-key"].contains(&found.code) {
        return Err(found.one_line());
    }
    Ok(conceal::sentence(&found.what).chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// What was named, as it is now. What is not there any more goes; nothing is left where the body is of another sort.
fn named(old: Members, made: &Request, parts: u32) -> Members {
    let body = String::from_utf8_lossy(&made.body);
    let json = Exact::parse(&made.body);
    let mut now = Members::new();
    for (key, old) in old {
        let value = match key.as_str() {
            "method" => Some(made.method.as_str().to_owned().into()),
            "url" => Some(made.url.clone().into()),
            "text" => Some(body.clone().into_owned().into()),
            "json" => match &json {
                Some(json) => Some(json.clone()),
                None => return Members::new(),
            },
            "headers" => picked(old, |name, _| {
                let value = made.headers.get(name)?;
                Some(String::from_utf8_lossy(value.as_bytes()).into_owned().into())
            }),
            "form" => picked(old, |name, old| {
                let came = url::form_urlencoded::parse(&made.body).filter(|(field, _)| field == name);
                let came: Vec<String> = came.map(|(_, value)| value.into_owned()).collect();
                // A field that comes more than once is named by any of its values.
                let kept = came.iter().find(|value| Some(value.as_str()) == old.scalar().as_deref());
                Some(kept.or(came.first())?.clone().into())
            }),
            "bytes" => picked(old, |path, _| {
                let size = compare::size(&made.body, json.as_ref(), path)?;
                Some(Exact::Number(i64::try_from(size).ok()?.into()))
            }),
            "parts" => Some(Exact::Number(i64::from(parts).into())),
            _ => None,
        };
        now.extend(value.map(|value| (key, value)));
    }
    if parts > 1 && !now.is_empty() {
        now.entry("parts".to_owned()).or_insert_with(|| Exact::Number(i64::from(parts).into()));
    }
    now
}

fn picked(old: Exact, now: impl Fn(&str, &Exact) -> Option<Exact>) -> Option<Exact> {
    let Exact::Map(old) = old else { return None };
    let now: Members = old.into_iter().filter_map(|(name, old)| Some((name.clone(), now(&name, &old)?))).collect();
    (!now.is_empty()).then_some(Exact::Map(now))
}

/// Everything about a request that its script chose.
fn all_of(made: &Request, parts: u32) -> Members {
    let mut all = Members::new();
    let mut say = |key: &str, value: Exact| _ = all.insert(key.to_owned(), value);
    say("method", made.method.as_str().to_owned().into());
    say("url", made.url.clone().into());
    let media_type = made.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (usual, body) = body(made, media_type);
    let chosen = made.headers.iter().filter(|(name, _)| *name != USER_AGENT && !(usual && *name == CONTENT_TYPE));
    let headers: Members = chosen
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
        .collect();
    if !headers.is_empty() {
        say("headers", Exact::Map(headers));
    }
    if let Some((key, body)) = body {
        say(key, body);
    }
    if parts > 1 {
        say("parts", Exact::Number(i64::from(parts).into()));
    }
    all
}

/// The body as a case says it, and whether its media type goes without saying.
fn body(made: &Request, media_type: &str) -> (bool, Option<(&'static str, Exact)>) {
    let size = |size: usize| Exact::Number(i64::try_from(size).unwrap_or(i64::MAX).into());
    let json = Exact::parse(&made.body);
    if made.body.len() > LONG_BODY {
        let mut lengths = Members::new();
        if let Some(json) = &json {
            long_texts("", json, &mut lengths);
        }
        if lengths.is_empty() {
            lengths.insert("body".to_owned(), size(made.body.len()));
        }
        return (media_type == JSON, Some(("bytes", Exact::Map(lengths))));
    }
    match (std::str::from_utf8(&made.body), json) {
        (Ok(""), _) => (false, None),
        (Ok(_), Some(json)) if media_type == JSON && can_be_written(&json) => (true, Some(("json", json))),
        (Ok(_), _) if media_type == "application/x-www-form-urlencoded" => {
            let fields = url::form_urlencoded::parse(&made.body);
            let fields = fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
            (true, Some(("form", Exact::Map(fields))))
        }
        (Ok(text), _) => (media_type.starts_with("text/plain"), Some(("text", text.to_owned().into()))),
        (Err(_), _) => {
            (false, Some(("bytes", Exact::Map([("body".to_owned(), size(made.body.len()))].into_iter().collect()))))
        }
    }
}

/// Whether a file can say it: some numbers of JSON are none for YAML.
fn can_be_written(json: &Exact) -> bool {
    let source = Source::new("case", format!("- {}\n", write::flow(json)));
    yaml::parse(&source).is_ok_and(|node| edit::same(&node.to_exact(&source), &Exact::List(vec![json.clone()])))
}

fn long_texts(path: &str, value: &Exact, lengths: &mut Members) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Exact::Map(map) => map.iter().for_each(|(key, value)| long_texts(&below(key), value, lengths)),
        Exact::List(list) => {
            list.iter().enumerate().for_each(|(at, value)| long_texts(&below(&at.to_string()), value, lengths));
        }
        Exact::String(text) if text.len() > LONG_TEXT && !path.is_empty() => {
            lengths.insert(path.to_owned(), Exact::Number(i64::try_from(text.len()).unwrap_or(i64::MAX).into()));
        }
        _ => {}
    }
}

/// How a platform judges the answer of a case.
pub(super) fn answer(platform: &Platform, old: &Answer) -> Now {
    let is_new = old.verdict.is_empty();
    let differences = match compare::verdict(old, &platform.verdict(&old.response, old.now)) {
        differences if differences.is_empty() => return Now::AsExpected,
        _ if is_new => vec!["nothing was expected yet".to_owned()],
        differences => differences,
    };
    let judged = match platform.judge(&old.response, old.now) {
        Ok(judged) => judged,
        Err(found) => return Now::Wrong { differences, why: found.one_line() },
    };
    let word = if judged.plain { "plain" } else { judged.verdict.word() };
    let mut wanted: Wanted = vec![("verdict", Some(word.to_owned().into()))];
    let wait = match &judged.verdict {
        Verdict::Pause { wait, .. } => Some(*wait),
        Verdict::Retry { after, .. } => *after,
        _ => None,
    };
    let duration = |duration: Duration| show_duration(duration).into();
    if (is_new || old.wait.is_some()) && old.wait != wait {
        wanted.push(("wait", wait.map(duration)));
    }
    if old.rest != judged.rest {
        wanted.push(("rest", judged.rest.map(duration)));
    }
    let why = judged.verdict.why().filter(|why| !why.trim().is_empty());
    if is_new || old.why.as_deref().is_some_and(|part| !why.unwrap_or_default().contains(part)) {
        wanted.push(("why", why.map(|why| why.to_owned().into())));
    }
    let warned = judged.warning.as_deref().unwrap_or_default();
    if old.warning.as_deref().map_or(!warned.is_empty(), |part| !warned.contains(part)) {
        wanted.push(("warning", judged.warning.map(Exact::from)));
    }
    Now::Otherwise { differences, wanted }
}

#[cfg(test)]
mod tests;
