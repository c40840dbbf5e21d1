//! Why a delivery is not there yet, told from what is known of its hook, its receiver and itself.
//!
//! ```text
//! it is being sent                               -> sending
//! nothing of its hook may be sent (the storage,
//!   no file, disabled, held, a secret)           -> that, until it ends by itself, if it does
//! it is behind another one with its key          -> order
//! its own time comes after the receiver's        -> what was recorded with its own time
//! the receiver's gate is shut (pause, breaker)   -> that, until it opens
//! its time has not come                          -> what was recorded with it
//! the receiver's pace                            -> pace, until its window has room
//! its hook waits for more to go with it          -> digest, until its window is over
//! every slot of its hook is used, or it was
//!   tried before and its time has come           -> turn
//! else                                           -> what was recorded: new, replayed
//! ```
//! What a gate does is recorded once, where the gate is (a hold in the journal, a pause and a failure with the attempt
//! that met it, a file in its folder), and not in each of the million rows that wait behind it. It is joined here, when
//! somebody asks.

use jiff::Timestamp;

use crate::words::delivery::Why;

/// What keeps a hook from sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Nothing of it may be sent.
    pub shut: Option<(Why, Option<Timestamp>)>,
    /// Its receiver may not be used before then: a pause, a breaker, the pace; or its digest waits for company.
    pub gate: Option<(Why, Timestamp)>,
    /// How many of it are being sent.
    pub flying: usize,
    /// How many may be.
    pub slots: usize,
}

/// What is recorded of a delivery that waits.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Why.
    pub why: &'a Why,
    /// Not before then; nothing when it waits for another one.
    pub due: Option<Timestamp>,
    /// Whether it is handed out.
    pub claimed: bool,
}

impl Standing {
    /// Whether what comes due before its gate opens waits for that, and not for a time of its own.
    pub fn keeps_all(&self) -> bool {
        self.gate.as_ref().is_some_and(|(why, _)| !matches!(why, Why::Pace | Why::Digest))
    }

    /// Why a delivery is not there yet, and when that ends, where that is known.
    pub fn tell(&self, recorded: Recorded<'_>, now: Timestamp) -> (Why, Option<Timestamp>) {
        if recorded.claimed && self.flying > 0 {
            return (Why::Sending, None);
        }
        if let Some((why, until)) = &self.shut {
            return (why.clone(), *until);
        }
        let Some(due) = recorded.due else { return (recorded.why.clone(), None) };
        let later = due > now;
        match &self.gate {
            Some((why, until)) if self.keeps_all() && (!later || due <= *until) => return (why.clone(), Some(*until)),
            _ if later => return (recorded.why.clone(), Some(due)),
            Some((why, until)) => return (why.clone(), Some(*until)),
            None => {}
        }
        let waits_its_turn = !matches!(recorded.why, Why::New | Why::Replayed) || self.flying >= self.slots.max(1);
        (if waits_its_turn { Why::Turn } else { recorded.why.clone() }, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds")
    }

    fn gate(why: Why, until: i64) -> Standing {
        Standing { gate: Some((why, at(until))), slots: 1, ..Standing::default() }
    }

    #[test]
    fn the_reason_that_binds_is_told() {
        let free = Standing { slots: 2, ..Standing::default() };
        let full = Standing { slots: 2, flying: 2, ..Standing::default() };
        let held = Standing { shut: Some((Why::Hold("h".into()), Some(at(500)))), ..free.clone() };
        let retry = Why::Retry("503".into());
        let (pause, breaker) = (Why::Pause("slow".into()), Why::Breaker("503".into()));
        // Standing, recorded why and due (None: parked), claimed; then what is told at second 100.
        let cases = [
            (&free, Why::New, Some(90), false, Why::New, None),
            (&free, Why::Replayed, Some(90), false, Why::Replayed, None),
            (&free, retry.clone(), Some(110), false, retry.clone(), Some(110)),
            (&free, retry.clone(), Some(90), false, Why::Turn, None),
            (&full, Why::New, Some(90), false, Why::Turn, None),
            (&full, Why::New, Some(90), true, Why::Sending, None),
            (&held, Why::New, Some(90), false, Why::Hold("h".into()), Some(500)),
            (&held, Why::New, Some(90), true, Why::Hold("h".into()), Some(500)),
            (&held, Why::Order("after 7".into()), None, false, Why::Hold("h".into()), Some(500)),
            (&free, Why::Order("after 7".into()), None, false, Why::Order("after 7".into()), None),
        ];
        for (standing, why, due, claimed, told, until) in cases {
            let recorded = Recorded { why: &why, due: due.map(at), claimed };
            assert_eq!(standing.tell(recorded, at(100)), (told, until.map(at)), "{why} {due:?} {claimed}");
        }
        for (shut, why, due, told, until) in [
            (pause.clone(), Why::New, 90, pause.clone(), 200),
            (pause.clone(), retry.clone(), 110, pause.clone(), 200),
            (pause, retry.clone(), 210, retry.clone(), 210),
            (breaker.clone(), Why::New, 90, breaker, 200),
            (Why::Pace, Why::New, 90, Why::Pace, 200),
            (Why::Pace, retry.clone(), 110, retry.clone(), 110),
            (Why::Digest, Why::New, 90, Why::Digest, 200),
            (Why::Digest, retry.clone(), 110, retry.clone(), 110),
        ] {
            let recorded = Recorded { why: &why, due: Some(at(due)), claimed: false };
            assert_eq!(gate(shut, 200).tell(recorded, at(100)), (told, Some(at(until))));
        }
    }
}
