//! Whose turn it is among robots that share the work of one hook.
//!
//! ```text
//! take:       each is asked, from the one whose turn it is on:
//!               it may go now        -> it goes, and the one behind it is next
//!               it may go later      -> the next one is asked; the earliest of these times is remembered
//!               it is out or busy    -> the next one is asked
//!             nobody may go          -> the earliest time, if there is one
//! give_back:  nothing was sent after all: it is its turn still
//! ```
//! Whether one may go now its own gate says (`pace`, `breaker`), which others may use as well. So nobody is asked for more
//! than its quota, and whoever may go comes within one round: no robot starves, and n of them do n times as much.

use std::time::Duration;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rota {
    next: usize,
}

/// Why a robot does not go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Not<W> {
    /// Not before then, and why.
    Before(Duration, W),
    /// For as long as nobody does something about it.
    AtAll,
}

impl Rota {
    /// The first of `robots`, in turn, that may go, and what it was given.
    ///
    /// # Errors
    /// When the first of them may, and why it may not now; nothing where no time is known.
    pub fn take<T, W>(
        &mut self,
        robots: usize,
        mut ask: impl FnMut(usize) -> Result<T, Not<W>>,
    ) -> Result<(usize, T), Option<(Duration, W)>> {
        let mut earliest = None;
        for step in 0..robots {
            let robot = (self.next + step) % robots;
            match ask(robot) {
                Ok(given) => {
                    self.next = (robot + 1) % robots;
                    return Ok((robot, given));
                }
                Err(Not::Before(until, why)) if earliest.as_ref().is_none_or(|(first, _)| until < *first) => {
                    earliest = Some((until, why));
                }
                Err(_) => {}
            }
        }
        Err(earliest)
    }

    /// It did not go after all.
    pub fn give_back(&mut self, robot: usize) {
        self.next = robot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::manifest::Rate;
    use crate::rules::pace::Pace;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn robots_go_in_turn_and_those_that_may_not_are_passed_over() {
        use Not::{AtAll, Before};
        type Answers = [Result<(), Not<char>>; 3];
        type Taken = Result<usize, Option<(u64, char)>>;
        let mut rota = Rota::default();
        let cases: [(Answers, Taken); 8] = [
            ([Ok(()), Ok(()), Ok(())], Ok(0)),
            ([Ok(()), Ok(()), Ok(())], Ok(1)),
            ([Ok(()), Ok(()), Ok(())], Ok(2)),
            ([Ok(()), Ok(()), Ok(())], Ok(0)),
            ([Ok(()), Err(Before(S(9), 'b')), Ok(())], Ok(2)),
            ([Err(Before(S(9), 'a')), Err(AtAll), Ok(())], Ok(2)),
            ([Err(Before(S(9), 'a')), Err(AtAll), Err(Before(S(3), 'c'))], Err(Some((3, 'c')))),
            ([Err(AtAll), Err(AtAll), Err(AtAll)], Err(None)),
        ];
        for (n, (answers, expected)) in cases.into_iter().enumerate() {
            let taken = rota.take(3, |robot| answers[robot].clone()).map(|(robot, ())| robot);
            assert_eq!(taken, expected.map_err(|first| first.map(|(until, why)| (S(until), why))), "case {n}");
        }
        let mut rota = Rota::default();
        let anyone = |_| Ok::<_, Not<()>>(());
        assert_eq!(rota.take(2, anyone), Ok((0, ())));
        rota.give_back(0);
        assert_eq!(rota.take(2, anyone), Ok((0, ())), "nothing was sent: it is its turn still");
        assert_eq!(rota.take(2, anyone), Ok((1, ())));
        assert_eq!(rota.take(0, anyone), Err(None));
    }

    /// Robots at work: each with a pace of its own, one delivery at a time, and some time for each.
    struct World {
        rota: Rota,
        paces: Vec<Pace>,
        busy: Vec<Duration>,
        went: Vec<Vec<Duration>>,
        /// How often in a row another one went although it was free.
        passed: Vec<usize>,
        rate: Rate,
    }

    impl World {
        fn new(robots: usize, rate: Rate) -> Self {
            let paces = (0..robots).map(|_| Pace::default()).collect();
            let (busy, went, passed) = (vec![S(0); robots], vec![Vec::new(); robots], vec![0; robots]);
            Self { rota: Rota::default(), paces, busy, went, passed, rate }
        }

        /// Sends once, or says when that may be.
        fn send(&mut self, now: Duration, takes: Duration) -> Result<usize, Duration> {
            let Self { rota, paces, busy, rate, .. } = self;
            let taken = rota.take(paces.len(), |robot| {
                if busy[robot] > now {
                    let full = paces[robot].full(busy[robot], Some(*rate)).unwrap_or_default();
                    return Err(Not::Before(busy[robot].max(full), ()));
                }
                paces[robot].take(now, Some(*rate)).map_err(|wait| Not::Before(wait.until, ()))
            });
            let (robot, ()) = taken.map_err(|first| first.expect("a time").0)?;
            for other in 0..self.paces.len() {
                let free = self.busy[other] <= now && self.paces[other].full(now, Some(self.rate)).is_none();
                self.passed[other] = if free && other != robot { self.passed[other] + 1 } else { 0 };
            }
            self.busy[robot] = now + takes;
            self.went[robot].push(now);
            Ok(robot)
        }
    }

    #[test]
    fn n_robots_do_n_times_the_quota_in_each_window() {
        for robots in 1..=6 {
            let rate = Rate::new(20, S(60));
            let mut world = World::new(robots, rate);
            let (mut now, mut sent) = (S(0), 0);
            while now < S(300) {
                match world.send(now, Duration::from_millis(50)) {
                    Ok(_) => sent += 1,
                    Err(until) => now = until,
                }
            }
            // Five windows, of which the margin between two takes nothing away that shows.
            assert_eq!(sent, robots * 20 * 5, "{robots} robots");
            let each: Vec<_> = world.went.iter().map(Vec::len).collect();
            assert!(each.iter().all(|count| *count == 100), "{each:?}");
        }
    }

    proptest! {
        /// Whenever something comes, and however long it takes: nobody goes over its quota, nobody does two at once, what
        /// waits waits until the one that is free first and no longer, and none that may go is left out for a round.
        #[test]
        fn nobody_goes_over_its_quota_and_nobody_starves(
            steps in prop::collection::vec((0u64..4_000, 1u64..3_000), 1..150),
            robots in 1usize..6,
            count in 1u32..6,
        ) {
            let rate = Rate::new(count, S(10));
            let mut world = World::new(robots, rate);
            let mut now = Duration::ZERO;
            for (after, takes) in steps {
                now += Duration::from_millis(after);
                let takes = Duration::from_millis(takes);
                if let Err(until) = world.send(now, takes) {
                    prop_assert!(until > now);
                    now = until;
                    prop_assert!(world.send(now, takes).is_ok(), "the one that is free first is free then");
                }
                prop_assert!(world.passed.iter().all(|passed| *passed < robots), "{:?}", world.passed);
            }
            for went in &world.went {
                for (index, first) in went.iter().enumerate() {
                    let inside = went[index..].iter().filter(|at| **at < *first + rate.window).count();
                    prop_assert!(inside <= count as usize);
                }
            }
        }
    }
}
