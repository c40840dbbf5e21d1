//! `verdict:` of a hook file: what an answer means to this hook, read before the platform's own verdict.
//!
//! ```text
//! the first rule whose `when` is true of the answer decides; none -> the platform decides
//! a rule that cannot be evaluated is not true, and whoever asks is told of it
//! retry, pause: a Retry-After of the answer wins over the backoff and over the rule's own time
//! ```

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::rules::answer::{retry_after, status_line};
use crate::rules::diagnostic::Place;
use crate::rules::template::answers::{Answer, AnswerCondition, AnswerText};
use crate::rules::yaml::reader::{Map, Reader};
use crate::rules::yaml::{Node, Value};
use crate::words::exchange::Response;
use crate::words::keys::{self, VERDICTS};
use crate::words::limits;
use crate::words::verdict::Verdict;

/// The rules of a hook, in order; its robots share them.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Rule]>);

/// One rule.
#[derive(Debug)]
pub struct Rule {
    when: AnswerCondition,
    then: Then,
    /// Where it stands.
    pub place: Place,
    said: OnceLock<()>,
}

#[derive(Debug)]
enum Then {
    Delivered,
    Retry(Option<AnswerText>),
    Pause(Duration, Option<AnswerText>),
    Hold(AnswerText),
    Reject(AnswerText),
}

const EXAMPLE: &str = "{when: json.code != 0, reject: \"{{ json.msg }}\"}";

impl Rules {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they say of an answer, if they say anything. `failed` is told of each rule that could not be evaluated.
    pub fn judge(&self, response: &Response, now: Timestamp, mut failed: impl FnMut(&Rule, &str)) -> Option<Verdict> {
        if self.0.is_empty() {
            return None;
        }
        let answer = Answer::new(response);
        let rule = self.0.iter().find(|rule| {
            rule.when.holds(&answer).unwrap_or_else(|why| {
                failed(rule, &why);
                false
            })
        })?;
        Some(rule.verdict(response, &answer, now))
    }
}

impl Rule {
    /// True once: whoever complains of a rule complains of it once.
    pub fn first_complaint(&self) -> bool {
        self.said.set(()).is_ok()
    }

    fn verdict(&self, response: &Response, answer: &Answer, now: Timestamp) -> Verdict {
        let asked = || {
            let json = serde_json::from_slice(&response.body).unwrap_or(Json::Null);
            retry_after(&response.headers, &json, now)
        };
        match &self.then {
            Then::Delivered => Verdict::Delivered,
            Then::Retry(why) => Verdict::Retry { why: self.why(why.as_ref(), response, answer), after: asked() },
            Then::Pause(wait, why) => {
                Verdict::Pause { why: self.why(why.as_ref(), response, answer), wait: asked().unwrap_or(*wait) }
            }
            Then::Hold(why) => Verdict::Hold { why: self.why(Some(why), response, answer) },
            Then::Reject(why) => Verdict::Reject { why: self.why(Some(why), response, answer) },
        }
    }

    /// The rule's own words; where they come to nothing, the status and the rule.
    fn why(&self, text: Option<&AnswerText>, response: &Response, answer: &Answer) -> String {
        let mut why = text.and_then(|text| text.render(answer).ok()).unwrap_or_default();
        why.truncate(why.floor_char_boundary(limits::RESPONSE_KEPT.min(why.len())));
        if !why.is_empty() {
            return why;
        }
        format!("{}, by the verdict rule on line {}", status_line(response.status), self.place.line)
    }
}

/// Reads `verdict:`.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Rules {
    let Value::List(entries) = &node.value else {
        let help = match node.value {
            Value::Map(_) => format!("put `- ` in front of each rule: a list entry begins so, as in - {EXAMPLE}"),
            _ => format!("write `- {EXAMPLE}` below it"),
        };
        reader.wrong("verdict", node, "a list of rules", help);
        return Rules::default();
    };
    if entries.is_empty() {
        let help = format!("write `- {EXAMPLE}` below it, or remove the line");
        reader.error(node.span, "no-value", "`verdict` is an empty list", help);
    }
    Rules(entries.iter().filter_map(|entry| read_rule(reader, entry)).collect())
}

fn read_rule(reader: &mut Reader<'_>, node: &Node) -> Option<Rule> {
    let rule = reader.map("verdict", node, EXAMPLE)?;
    const OTHERS: [(&str, &str); 9] = [
        ("if", "when"),
        ("condition", "when"),
        ("ok", "delivered"),
        ("success", "delivered"),
        ("wait", "pause"),
        ("fail", "retry"),
        ("dead", "reject"),
        ("drop", "reject"),
        ("reason", "why"),
    ];
    reader.only_or(&rule, &keys::RULE.names(), &OTHERS);
    let when = match rule.get("when") {
        Some(node) => match AnswerCondition::compile(reader.source, node) {
            Ok(when) => Some(when),
            Err(found) => {
                reader.found.extend(found);
                None
            }
        },
        None => {
            let help = "add `when: …` over status, headers, text and json; `when: true` is every answer";
            reader.error(node.span, "missing-key", "a verdict rule does not say of which answers it speaks", help);
            None
        }
    };
    let then = read_then(reader, node, &rule);
    Some(Rule { when: when?, then: then?, place: reader.source.place(node.span), said: OnceLock::new() })
}

fn read_then(reader: &mut Reader<'_>, node: &Node, rule: &Map<'_>) -> Option<Then> {
    let named: Vec<_> = rule.entries.iter().filter(|(key, _)| VERDICTS.contains(&key.name.as_str())).collect();
    let (key, value) = match named.as_slice() {
        [(key, value)] => (key, value),
        [] => {
            let help = "add one of `delivered: true`, `retry: WHY`, `pause: 60s`, `hold: WHY`, `reject: WHY`";
            reader.error(node.span, "missing-key", "a verdict rule does not say what the answer means", help);
            return None;
        }
        [(first, _), (second, _), ..] => {
            let what = format!("a rule has one verdict, not both `{}` and `{}`", first.name, second.name);
            reader.error(second.span, "two-verdicts", what, "remove one of them, or write two rules");
            return None;
        }
    };
    let why = rule.get("why");
    if let Some(why) = why.filter(|_| key.name != "pause") {
        let help = match key.name.as_str() {
            "delivered" => "remove it".to_owned(),
            verdict => format!("write `{verdict}: WHY`"),
        };
        reader.error(why.span, "misplaced-key", "`why` stands beside `pause` only", help);
        return None;
    }
    let name = rule.path(&key.name);
    Some(match key.name.as_str() {
        "delivered" => match value.value {
            Value::Bool(true) | Value::Null => Then::Delivered,
            _ => {
                reader.wrong(&name, value, "true", "write `delivered: true`, or another verdict such as `retry: WHY`");
                return None;
            }
        },
        "pause" => {
            let wait = reader.duration(&name, value, limits::PAUSE_SHORTEST, limits::RETRY_AFTER_MAX);
            let why = match why {
                Some(node) => Some(read_text(reader, &rule.path("why"), node)?),
                None => None,
            };
            Then::Pause(wait?, why)
        }
        "retry" if value.value == Value::Null => Then::Retry(None),
        "retry" => Then::Retry(Some(read_text(reader, &name, value)?)),
        "hold" => Then::Hold(read_text(reader, &name, value)?),
        _ => Then::Reject(read_text(reader, &name, value)?),
    })
}

fn read_text(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<AnswerText> {
    if let Value::Bool(_) = node.value {
        let verdict = name.rsplit('.').next().unwrap_or(name);
        let help = format!("write why, for whoever reads the log: {verdict}: \"{{{{ json.msg }}}}\"");
        reader.wrong(name, node, "a text that says why", help);
        return None;
    }
    let text = reader.text(name, node)?;
    match AnswerText::compile(reader.source, node, text) {
        Ok(text) => Some(text),
        Err(found) => {
            reader.found.extend(found);
            None
        }
    }
}
