//! What the sink does wrong, on purpose.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::words::limits;

use super::bots::Scripted;

/// What is done with one of the next requests (or `times` of them), as `POST /__fake/script` takes it.
///
/// `status` answers in place of the platform, which then never sees the request. `code` is the platform's own word on
/// a message that passed every check. A `fault` breaks the wire; [`Fault`] says which of them the platform sees.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// For how many requests; 1 when absent.
    pub times: Option<u32>,
    /// How long the answer is held back.
    pub delay_ms: u64,
    /// What breaks.
    pub fault: Option<Fault>,
    /// A status in place of the platform's answer: 503, or 307 with a `location` among the headers.
    pub status: Option<u16>,
    /// Headers that go with `status`, or are added to the platform's answer.
    pub headers: BTreeMap<String, String>,
    /// The body that goes with `status`.
    pub body: Option<String>,
    /// The platform's code for the next message that passes every check; 0 with other words than usual is a success.
    pub code: Option<i64>,
    /// The words that go with `code`.
    pub message: Option<String>,
}

/// Ways to break the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection is closed before the body is read. The platform sees nothing.
    CloseBeforeBody,
    /// The connection is closed when the body was read. The platform sees nothing.
    CloseAfterBody,
    /// The connection is reset when the body was read. The platform sees nothing.
    Reset,
    /// No answer, ever. The platform sees nothing.
    Stall,
    /// A page of some proxy, with status 200. The platform sees nothing.
    Html,
    /// The platform takes the message, and the connection is closed before its answer. A sender that tries again
    /// makes a second copy.
    AcceptAndDrop,
    /// The platform's headers, and never its body.
    StallAfterHeaders,
    /// Half of the platform's answer, then a reset.
    ResetMidAnswer,
    /// Half of the platform's answer, as if it were whole.
    TruncatedJson,
    /// A Content-Length that is 100 bytes too large; the connection is closed where the body ends.
    WrongLength,
    /// The platform's answer with a mebibyte of spaces behind it.
    Oversized,
    /// The platform's answer, one byte every 50 ms.
    Drip,
}

impl Fault {
    /// Whether the platform sees the request.
    pub(super) fn reaches_platform(self) -> bool {
        !matches!(self, Self::CloseBeforeBody | Self::CloseAfterBody | Self::Reset | Self::Stall | Self::Html)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CloseBeforeBody => "closed before the body was read",
            Self::CloseAfterBody => "closed without an answer",
            Self::Reset => "reset without an answer",
            Self::Stall => "never answered",
            Self::Html => "answered with a page",
            Self::AcceptAndDrop => "accepted, and closed without an answer",
            Self::StallAfterHeaders => "stalled after the headers",
            Self::ResetMidAnswer => "reset in the middle of the answer",
            Self::TruncatedJson => "answer cut in half",
            Self::WrongLength => "answer with a wrong Content-Length",
            Self::Oversized => "answer with a mebibyte of spaces",
            Self::Drip => "answer one byte at a time",
        }
    }
}

impl Step {
    /// A step that breaks the wire.
    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// A step that answers with this status in place of the platform.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// A step in which the platform has its own word on a message that passes every check.
    pub fn code(code: i64, message: &str) -> Self {
        Self { code: Some(code), message: Some(message.to_owned()), ..Self::default() }
    }

    /// The same for so many requests.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same with a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn repeats(&self) -> usize {
        self.times.unwrap_or(1) as usize
    }

    pub(super) fn scripted(&self) -> Option<Scripted> {
        Some(Scripted { code: self.code?, message: self.message.clone().unwrap_or_default() })
    }

    /// What cannot be sent is found when the script is given, and not when it is played.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(status) = self.status
            && !(StatusCode::from_u16(status).is_ok() && (200..1000).contains(&status))
        {
            return Err(format!("{status} is not the status of an answer: give one from 200 to 999"));
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(format!("the header {name} cannot be sent"));
            }
        }
        if self.code.is_some() && (self.fault.is_some() || self.status.is_some() || self.delay_ms > 0) {
            return Err("code stands alone: give status, fault and delay_ms as steps of their own".to_owned());
        }
        if self.repeats() == 0 || self.repeats() > limits::SINK_SCRIPT {
            return Err(format!("times is from 1 to {}", limits::SINK_SCRIPT));
        }
        Ok(())
    }
}

/// What the sink does with every request, besides what a script says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// How long every answer is held back.
    pub delay: Duration,
    /// Which requests go wrong, and how.
    pub failing: Option<Failing>,
}

/// Which requests go wrong, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Failing {
    /// The first so many do.
    pub first: u64,
    /// Of the others this part does, from 0 to 1.
    pub rate: f64,
    /// How.
    pub step: Step,
}

impl Behaviour {
    /// What goes wrong with the request of this number, which counts from 1.
    pub(super) fn fails(&self, number: u64, dice: &mut fastrand::Rng) -> Option<&Step> {
        let failing = self.failing.as_ref()?;
        (number <= failing.first || dice.f64() < failing.rate).then_some(&failing.step)
    }
}

/// Steps that wait for their request.
#[derive(Debug, Default)]
pub(super) struct Script(VecDeque<Step>);

impl Script {
    pub(super) fn push(&mut self, step: Step) -> Result<(), String> {
        if self.0.len() >= limits::SINK_SCRIPT {
            return Err(format!("the script is full: {} steps wait", self.0.len()));
        }
        self.0.push_back(step);
        Ok(())
    }

    /// The step for the next request.
    pub(super) fn next(&mut self) -> Option<Step> {
        let left = self.0.front()?.repeats();
        if left > 1 {
            let step = self.0.front_mut()?;
            step.times = Some(left as u32 - 1);
            return Some(step.clone());
        }
        self.0.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_played_in_order() {
        let mut script = Script::default();
        script.push(Step::status(503).times(2)).unwrap();
        script.push(Step::fault(Fault::Reset)).unwrap();
        let played: Vec<_> = std::iter::from_fn(|| script.next()).map(|step| (step.status, step.fault)).collect();
        assert_eq!(played, [(Some(503), None), (Some(503), None), (None, Some(Fault::Reset))]);
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        for bad in [
            Step::status(100),
            Step::status(1000),
            Step::status(503).times(0),
            Step::status(200).header("a b", "c"),
            Step::status(200).header("a", "b\nc"),
            Step { code: Some(1), ..Step::status(200) },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        Step::status(307).header("location", "http://127.0.0.1:1/").check().unwrap();
    }

    #[test]
    fn the_first_fail_and_then_a_part() {
        let mut dice = fastrand::Rng::with_seed(7);
        let behaviour = Behaviour {
            delay: Duration::ZERO,
            failing: Some(Failing { first: 3, rate: 0.25, step: Step::status(503) }),
        };
        let failed: Vec<u64> = (1..=1003).filter(|n| behaviour.fails(*n, &mut dice).is_some()).collect();
        assert_eq!(&failed[..3], [1, 2, 3]);
        assert!((200..300).contains(&(failed.len() - 3)), "{}", failed.len());
    }
}
