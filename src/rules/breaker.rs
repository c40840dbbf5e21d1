//! Whether a receiver may be used at all: after failures in a row it is left alone, tried now and then, and when it is
//! back it is met with more and more requests instead of all at once.
//!
//! ```text
//! closed          alive  -> failures = 0
//!                 failed -> failures + 1; as many as `failures` -> open for `probe`
//! open(until)     begin: before until -> not before then; later -> probing, go
//!                 alive (a request from before it opened) -> ramping(1)
//! probing         begin: -> wait for the probe
//!                 alive  -> ramping(1)
//!                 failed -> open for twice as long, at most `max`
//! ramping(slots)  begin: as many as slots are on their way -> wait for one of them; else go
//!                 alive  -> slots + 1; more than RAMP -> closed
//!                 failed -> slots / 2, at least 1; as many as `failures` in a row -> open for twice as long
//! in all of them: what began before the last change of state and failed says nothing; what never was sent is taken back
//! ```
//! It belongs to the receiver, as the pace does: two hooks that post to one dead robot try it once, not twice. Each
//! hook holds it to its own `breaker`. Only failures that are worth another try count: a receiver that refuses, asks
//! for a pause or must be mended is alive. A wait that the receiver itself asked for is respected. Nothing that waits
//! here uses up an attempt. `now` is time on the clock that is never set.

use std::time::Duration;

use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{Node, Value};
use crate::words::limits;
use crate::words::verdict::Verdict;

/// What a hook asks of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Opens after so many failures in a row.
    pub failures: u32,
    /// The first wait before the receiver is tried again.
    pub probe: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { failures: limits::BREAKER_FAILURES, probe: limits::BREAKER_PROBE, max: limits::BREAKER_MAX }
    }
}

/// The breaker of one receiver.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    failures: u32,
    /// How often it opened since it was closed.
    opened: u32,
    /// Counts the changes of state.
    epoch: u32,
    why: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    Probing {
        since: Duration,
    },
    Ramping {
        slots: u32,
        flying: u32,
    },
}

/// A permission to send one request, by the state that gave it. The default is that of a breaker which never opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun(u32);

/// Not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Not before this, unless a request that is on its way ends well earlier.
    pub until: Duration,
    /// What the receiver did last.
    pub why: String,
}

/// What one request says of the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is there, whatever it said.
    Alive,
    /// It failed, in words, perhaps with a wait that it asked for.
    Failed(String, Option<Duration>),
}

/// What has changed for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It opened, until then.
    Opened(Duration),
    /// More may be sent than before.
    Eased,
    /// It is closed again.
    Closed,
}

impl From<&Verdict> for Sign {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Retry { why, after } => Self::Failed(why.clone(), *after),
            _ => Self::Alive,
        }
    }
}

impl Breaker {
    /// Whether any number of requests may begin at once.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether forgetting it would change nothing.
    pub fn is_calm(&self) -> bool {
        self.is_closed() && self.failures == 0
    }

    /// Begins one request.
    ///
    /// # Errors
    /// When to ask again; nothing was noted.
    pub fn begin(&mut self, now: Duration, terms: &Terms) -> Result<Begun, Broken> {
        match &mut self.state {
            State::Closed => {}
            State::Open { until } if now < *until => {
                let until = *until;
                return Err(self.broken(until));
            }
            State::Open { .. } => self.enter(State::Probing { since: now }),
            // A probe that never ended is not waited for for ever.
            State::Probing { since } if now < *since + limits::TIMEOUT_MAX => {
                return Err(self.broken(now + terms.probe));
            }
            State::Probing { .. } => self.enter(State::Probing { since: now }),
            State::Ramping { slots, flying } if *flying >= *slots => {
                return Err(self.broken(now + limits::BREAKER_LOOK));
            }
            State::Ramping { flying, .. } => *flying += 1,
        }
        Ok(Begun(self.epoch))
    }

    /// A request that began was never sent.
    pub fn take_back(&mut self, begun: Begun) {
        if begun.0 != self.epoch {
            return;
        }
        match &mut self.state {
            State::Probing { since } => {
                let until = *since;
                self.enter(State::Open { until });
            }
            State::Ramping { flying, .. } => *flying = flying.saturating_sub(1),
            State::Closed | State::Open { .. } => {}
        }
    }

    /// A request ended.
    pub fn end(&mut self, now: Duration, begun: Begun, sign: &Sign, terms: Option<&Terms>) -> Option<Change> {
        let current = begun.0 == self.epoch;
        if let State::Ramping { flying, .. } = &mut self.state
            && current
        {
            *flying = flying.saturating_sub(1);
        }
        match sign {
            Sign::Alive => self.alive(),
            Sign::Failed(why, after) if current => self.failed(now, why, *after, terms?),
            Sign::Failed(..) => None,
        }
    }

    /// It need not wait any longer: the next request is the probe. Answers whether it was open.
    pub fn hurry(&mut self, now: Duration) -> bool {
        let waits = matches!(self.state, State::Open { until } if now < until);
        if waits {
            self.state = State::Open { until: now };
        }
        waits
    }

    /// Until when it is open, and why.
    pub fn open(&self, now: Duration) -> Option<(Duration, &str)> {
        match self.state {
            State::Open { until } => Some((until.max(now), &self.why)),
            State::Probing { .. } => Some((now, &self.why)),
            State::Closed | State::Ramping { .. } => None,
        }
    }

    fn alive(&mut self) -> Option<Change> {
        self.failures = 0;
        match &mut self.state {
            State::Closed => return None,
            State::Open { .. } | State::Probing { .. } => self.enter(State::Ramping { slots: 1, flying: 0 }),
            State::Ramping { slots, .. } if *slots < limits::BREAKER_RAMP => *slots += 1,
            State::Ramping { .. } => {
                self.enter(State::Closed);
                self.opened = 0;
                return Some(Change::Closed);
            }
        }
        Some(Change::Eased)
    }

    fn failed(&mut self, now: Duration, why: &str, after: Option<Duration>, terms: &Terms) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        let probed = matches!(self.state, State::Probing { .. });
        if let State::Ramping { slots, .. } = &mut self.state {
            *slots = (*slots / 2).max(1);
        }
        if !probed && self.failures < terms.failures {
            return None;
        }
        let doubled = terms.probe.saturating_mul(1 << self.opened.min(20)).min(terms.max);
        let until = now + doubled.max(after.unwrap_or_default().min(limits::RETRY_AFTER_MAX));
        self.opened = self.opened.saturating_add(1);
        why.clone_into(&mut self.why);
        self.enter(State::Open { until });
        Some(Change::Opened(until))
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.failures = 0;
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn broken(&self, until: Duration) -> Broken {
        Broken { until, why: self.why.clone() }
    }
}

impl Terms {
    /// Reads `{failures, probe, max}`, or `false` for no breaker.
    pub fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        let base = Self::default();
        if node.value == Value::Bool(false) {
            return None;
        }
        if let Value::Bool(true) = node.value {
            return Some(base);
        }
        let Some(map) = reader.map("breaker", node, "{failures: 10, probe: 5s, max: 10m}, or breaker: false") else {
            return Some(base);
        };
        let others = [
            ("threshold", "failures"),
            ("errors", "failures"),
            ("timeout", "probe"),
            ("wait", "probe"),
            ("after", "failures"),
        ];
        reader.only_or(&map, &["failures", "probe", "max"], &others);
        let failures = map
            .get("failures")
            .and_then(|node| reader.integer("breaker.failures", node, 1, limits::BREAKER_FAILURES_MAX.into()));
        let mut read = |key: &str| {
            let node = map.get(key)?;
            reader.duration(&map.path(key), node, limits::BREAKER_SHORTEST, limits::RETRY_AFTER_MAX)
        };
        let (probe, max) = (read("probe"), read("max"));
        if let (Some(probe), Some(max), Some(node)) = (probe, max, map.get("probe"))
            && probe > max
        {
            let what = "`breaker.probe` is longer than `breaker.max`";
            reader.error(node.span, "out-of-bounds", what, "probe ≤ max: change one of the two");
        }
        let max = max.unwrap_or_else(|| base.max.max(probe.unwrap_or_default()));
        Some(Self {
            failures: failures.and_then(|count| u32::try_from(count).ok()).unwrap_or(base.failures),
            probe: probe.unwrap_or(base.probe).min(max),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const TERMS: Terms = Terms { failures: 3, probe: Duration::from_secs(30), max: Duration::from_secs(100) };

    /// What happens, at a second of the clock.
    #[derive(Clone, Copy, Debug)]
    enum Do {
        /// A request may begin and takes this place …
        Go(usize),
        /// … or may not, before this second.
        Wait(u64),
        Alive(usize),
        Fails(usize),
        Busy(usize, u64),
        Back(usize),
    }
    use Do::{Alive, Back, Busy, Fails, Go, Wait};

    fn run(story: &[(u64, Do, Option<Change>)]) -> Breaker {
        let mut breaker = Breaker::default();
        let mut begun = vec![None; 64];
        for (line, (second, what, change)) in story.iter().enumerate() {
            let now = S(*second);
            let failed = |after| Sign::Failed("down".to_owned(), after);
            let mut end = |place: usize, sign: &Sign, breaker: &mut Breaker| {
                breaker.end(now, Option::take(&mut begun[place]).expect("it began"), sign, Some(&TERMS))
            };
            let found = match *what {
                Go(place) => {
                    let began = breaker.begin(now, &TERMS);
                    begun[place] = Some(began.unwrap_or_else(|wait| panic!("line {line}: {wait:?}")));
                    None
                }
                Wait(until) => {
                    let refused = breaker.begin(now, &TERMS).expect_err("line {line}");
                    assert_eq!((refused.until, refused.why.as_str()), (S(until), "down"), "line {line}");
                    None
                }
                Alive(place) => end(place, &Sign::Alive, &mut breaker),
                Fails(place) => end(place, &failed(None), &mut breaker),
                Busy(place, after) => end(place, &failed(Some(S(after))), &mut breaker),
                Back(place) => {
                    breaker.take_back(begun[place].take().expect("it began"));
                    None
                }
            };
            assert_eq!(found, *change, "line {line}: {second} {what:?}");
        }
        breaker
    }

    const OPENED: fn(u64) -> Option<Change> = |until| Some(Change::Opened(S(until)));
    const EASED: Option<Change> = Some(Change::Eased);

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        run(&[
            (0, Go(0), None),
            (0, Go(1), None),
            (0, Go(2), None),
            (0, Go(3), None),
            (1, Fails(0), None),
            (1, Fails(1), None),
            (2, Alive(2), None),
            (2, Fails(3), None),
            (3, Go(0), None),
            (3, Go(1), None),
            (4, Fails(0), None),
            (5, Fails(1), OPENED(35)),
            (5, Wait(35), None),
            (34, Wait(35), None),
        ]);
    }

    #[test]
    fn one_probe_at_a_time_and_each_failed_one_doubles_the_wait_up_to_its_bound() {
        run(&[
            (0, Go(0), None),
            (0, Go(1), None),
            (0, Go(2), None),
            (0, Go(9), None),
            (0, Fails(0), None),
            (0, Fails(1), None),
            (0, Fails(2), OPENED(30)),
            // It began while all was well: what it says is known already.
            (1, Fails(9), None),
            (30, Go(0), None),
            (30, Wait(60), None),
            (31, Fails(0), OPENED(91)),
            (91, Go(0), None),
            (92, Fails(0), OPENED(192)),
            (192, Go(0), None),
            (192, Back(0), None),
            (192, Go(0), None),
            (193, Fails(0), OPENED(293)),
            (293, Go(0), None),
            // A probe of which nobody hears again is made again.
            (293 + 600, Go(1), None),
            (293 + 601, Busy(1, 3600), OPENED(293 + 601 + 3600)),
        ]);
    }

    #[test]
    fn a_receiver_that_is_back_is_met_with_more_and_more_and_not_with_all_at_once() {
        let look = limits::BREAKER_LOOK.as_secs();
        run(&[
            (0, Go(0), None),
            (0, Go(1), None),
            (0, Go(2), None),
            (0, Fails(0), None),
            (0, Fails(1), None),
            (0, Fails(2), OPENED(30)),
            (30, Go(0), None),
            (31, Alive(0), EASED),
            (31, Go(0), None),
            (31, Wait(31 + look), None),
            (32, Alive(0), EASED),
            (32, Go(0), None),
            (32, Go(1), None),
            (32, Wait(32 + look), None),
            (33, Alive(0), EASED),
            (33, Alive(1), EASED),
            (34, Go(0), None),
            (34, Go(1), None),
            (34, Go(2), None),
            (34, Go(3), None),
            (34, Wait(34 + look), None),
            // It stumbles: half as many.
            (35, Fails(0), None),
            (35, Alive(1), EASED),
            (35, Back(2), None),
            (35, Go(0), None),
            (35, Go(1), None),
            (35, Wait(35 + look), None),
            // It falls: the wait has not been forgotten.
            (36, Fails(0), None),
            (36, Fails(1), None),
            (36, Fails(3), OPENED(96)),
        ]);
    }

    #[test]
    fn it_closes_after_a_ramp_and_begins_anew() {
        let mut story = vec![
            (0, Go(0), None),
            (0, Go(1), None),
            (0, Go(2), None),
            (0, Go(3), None),
            (0, Fails(0), None),
            (0, Fails(1), None),
            (0, Fails(2), OPENED(30)),
            // Proof of life from before: no probe is needed.
            (1, Alive(3), EASED),
        ];
        for slot in 1..limits::BREAKER_RAMP {
            story.extend([(u64::from(slot), Go(0), None), (u64::from(slot), Alive(0), EASED)]);
        }
        story.extend([(90, Go(0), None), (90, Alive(0), Some(Change::Closed))]);
        story.extend((0..40).map(|place| (91, Go(place), None)));
        story.extend([(92, Fails(0), None), (92, Fails(1), None), (92, Fails(2), OPENED(122))]);
        let breaker = run(&story);
        assert!(!breaker.is_closed() && !breaker.is_calm());
        assert_eq!(breaker.open(S(100)), Some((S(122), "down")));
    }

    #[test]
    fn a_hook_without_a_breaker_counts_its_successes_only() {
        let mut breaker = Breaker::default();
        let down = Sign::Failed("down".into(), None);
        for _ in 0..9 {
            let begun = breaker.begin(S(0), &TERMS).expect("closed");
            assert_eq!(breaker.end(S(0), begun, &down, None), None);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn only_what_is_worth_another_try_is_a_failure() {
        let why = || "w".to_owned();
        for alive in [
            Verdict::Delivered,
            Verdict::Reject { why: why() },
            Verdict::Hold { why: why() },
            Verdict::Pause { why: why(), wait: S(1) },
        ] {
            assert_eq!(Sign::from(&alive), Sign::Alive);
        }
        let busy = Verdict::Retry { why: why(), after: Some(S(3)) };
        assert_eq!(Sign::from(&busy), Sign::Failed(why(), Some(S(3))));
    }

    proptest! {
        /// Whatever happens: nobody is told to wait longer than `max`, and whoever waits as told may go in the end.
        #[test]
        fn it_never_shuts_for_good(steps in prop::collection::vec((0u8..5, 0u64..40), 1..300)) {
            let mut breaker = Breaker::default();
            let mut flying = Vec::new();
            let mut now = S(0);
            for (what, seconds) in steps {
                now += S(seconds);
                match what {
                    0 | 1 => match breaker.begin(now, &TERMS) {
                        Ok(begun) => flying.push(begun),
                        Err(wait) => prop_assert!(wait.until <= now + TERMS.max && wait.until > now),
                    },
                    2 => if let Some(begun) = flying.pop() { breaker.take_back(begun) },
                    3 => if let Some(begun) = flying.pop() { breaker.end(now, begun, &Sign::Alive, Some(&TERMS)); },
                    _ => if !flying.is_empty() {
                        let begun = flying.remove(0);
                        breaker.end(now, begun, &Sign::Failed("down".into(), None), Some(&TERMS));
                    },
                }
            }
            for begun in flying.drain(..) {
                breaker.end(now, begun, &Sign::Failed("down".into(), None), Some(&TERMS));
            }
            let mut rounds = 0;
            while !breaker.is_closed() {
                rounds += 1;
                prop_assert!(rounds < 200, "{breaker:?}");
                match breaker.begin(now, &TERMS) {
                    Ok(begun) => _ = breaker.end(now, begun, &Sign::Alive, Some(&TERMS)),
                    Err(wait) => now = wait.until,
                }
            }
        }
    }
}
