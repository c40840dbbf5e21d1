//! A lane whose hook has several robots that take turns: each is a receiver of its own, with the gate that it has for every
//! hook that posts to it, and whoever is held is passed over.
//!
//! ```text
//! a delivery is due     the robot whose turn it is among those that may go now takes it (`rules::rota`); where none may, the
//!                       lane waits for the one that may go first
//! its next part         goes by the robot of the part before, as long as that one may go; while it is busy it is waited for
//! asked for a pause     the robot rests, and the delivery is due at once: another one may go
//! held by an answer     the robot is out until it is released; when all are, the hook is held
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::edges::journal::JournalError;
use crate::engine::attempt::deliver;
use crate::engine::desk::Desk;
use crate::engine::gate::{Gate, Pass, Passes, Wait};
use crate::engine::lane::{Flight, Lane, Rest};
use crate::engine::{robots, turns};
use crate::rules::config::Config;
use crate::rules::hook::{Hook, ReceiverKey};
use crate::rules::rota::{Not, Rota};
use crate::words::delivery::{Delivery, Why};

/// The robots of a hook at work.
pub(super) struct Pool {
    robots: Vec<Robot>,
    rota: Mutex<Rota>,
    /// Rings when one of them has ended what it did.
    freed: Notify,
}

struct Robot {
    hook: Arc<Hook>,
    key: ReceiverKey,
    gate: Gate,
    /// How many deliveries it has in hand; it goes with the robot into the next configuration.
    busy: Arc<AtomicUsize>,
    /// How many deliveries wait for this one and no other.
    wanted: AtomicUsize,
}

/// A robot that was taken for one delivery.
pub(super) struct Seat {
    pool: Arc<Pool>,
    robot: usize,
    passes: Option<Passes>,
}

impl Pool {
    /// The robots that can be used in this configuration; what is in the air from `before` still counts.
    async fn new(desk: &Desk, config: &Config, hook: &Hook, before: Option<&Self>) -> Arc<Self> {
        let mut members = Vec::new();
        for robot in hook.robots() {
            robots::release_if_changed(desk, config, robot).await;
            let Some(key) = robot.constant_receiver(&config.secrets) else { continue };
            let known = before.and_then(|before| before.robots.iter().find(|known| known.key == key));
            let busy = known.map(|known| known.busy.clone()).unwrap_or_default();
            members.push(Robot { hook: robot.clone(), key, gate: desk.gate(key), busy, wanted: AtomicUsize::new(0) });
        }
        let rota = Mutex::new(before.map(|before| *before.rota()).unwrap_or_default());
        Arc::new(Self { robots: members, rota, freed: Notify::new() })
    }

    fn rota(&self) -> MutexGuard<'_, Rota> {
        self.rota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the robot whose turn it is among those that may go.
    fn enter(self: &Arc<Self>, desk: &Desk, bell: Option<&Arc<Notify>>) -> Result<Seat, Option<Wait>> {
        let now = desk.clock.elapsed();
        let taken = self.rota().take(self.robots.len(), |n| self.ask(n, desk, now, bell));
        match taken {
            Ok((robot, passes)) => Ok(self.seat(robot, passes)),
            Err(first) => Err(first.map(|(until, why)| Wait { until, why })),
        }
    }

    fn ask(&self, robot: usize, desk: &Desk, now: Duration, bell: Option<&Arc<Notify>>) -> Result<Passes, Not<Why>> {
        let Robot { hook, gate, busy, wanted, .. } = &self.robots[robot];
        let taken = busy.load(Ordering::Relaxed) + wanted.load(Ordering::Relaxed);
        if taken >= hook.concurrency || robots::held(desk, hook).is_some() {
            return Err(Not::AtAll);
        }
        gate.enter(now, hook, bell).map_err(|Wait { until, why }| Not::Before(until, robots::says(hook, why)))
    }

    fn seat(self: &Arc<Self>, robot: usize, passes: Passes) -> Seat {
        self.robots[robot].busy.fetch_add(1, Ordering::Relaxed);
        Seat { pool: self.clone(), robot, passes: Some(passes) }
    }

    /// The robot of this number in the file, if it may go now.
    fn this_one(self: &Arc<Self>, desk: &Desk, number: usize) -> ThisOne {
        let Some(robot) = self.robots.iter().position(|robot| robots::number(&robot.hook) == number) else {
            return ThisOne::No;
        };
        let Robot { hook, gate, busy, .. } = &self.robots[robot];
        let now = desk.clock.elapsed();
        if robots::held(desk, hook).is_some() || gate.shut(now, hook).is_some() {
            return ThisOne::No;
        }
        if busy.load(Ordering::Relaxed) >= hook.concurrency {
            return ThisOne::Busy(robot);
        }
        gate.enter(now, hook, None).map_or(ThisOne::No, |passes| ThisOne::Seat(self.seat(robot, passes)))
    }

    /// The same, once it has ended what it does: whoever has it in hand ends at the latest when its time is over.
    async fn wait_for(self: &Arc<Self>, desk: &Desk, robot: usize) -> Option<Seat> {
        let number = robots::number(&self.robots[robot].hook);
        let _wanted = Counted::new(&self.robots[robot].wanted);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.this_one(desk, number) {
                ThisOne::Seat(seat) => return Some(seat),
                ThisOne::No => return None,
                ThisOne::Busy(_) => freed.await,
            }
        }
    }
}

/// Whether a certain robot may go.
enum ThisOne {
    Seat(Seat),
    Busy(usize),
    No,
}

/// Counts as long as it lives.
struct Counted<'c>(&'c AtomicUsize);

impl<'c> Counted<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seat {
    fn hook(&self) -> Arc<Hook> {
        self.pool.robots[self.robot].hook.clone()
    }

    /// Nothing is sent after all.
    fn give_back(mut self) {
        if let Some(passes) = self.passes.take() {
            passes.none();
        }
        self.pool.rota().give_back(self.robot);
    }

    fn pass(&mut self) -> Option<Pass> {
        self.passes.take().map(Passes::single)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.robots[self.robot].busy.fetch_sub(1, Ordering::Relaxed);
        self.pool.freed.notify_waiters();
    }
}

impl Lane {
    /// Starts what may start by the robots of this hook, and says what to wait for.
    pub(super) async fn fill_pool(
        &mut self,
        config: &Arc<Config>,
        hook: &Arc<Hook>,
        flights: &mut JoinSet<()>,
    ) -> Result<Rest, JournalError> {
        let pool = self.pool(config, hook).await;
        loop {
            if flights.len() >= hook.concurrency {
                return Ok(Rest::Full);
            }
            let seat = match pool.enter(&self.desk, Some(&self.bell)) {
                Ok(seat) => seat,
                // Who is busy may be free before.
                Err(Some(wait)) => return self.outside(hook, &wait).await,
                Err(None) if !flights.is_empty() => return Ok(Rest::Full),
                Err(None) => return self.expire(hook.retry.max_age, "none of its robots could send").await,
            };
            let now = self.desk.clock.steady();
            let Some(delivery) = self.desk.journal.claim(&self.name, now, 1).await?.pop() else {
                seat.give_back();
                return self.idle().await;
            };
            let flight = self.flight(config, hook, None);
            match flight.in_time(delivery, now) {
                Some(delivery) => drop(flights.spawn(flight.fly_by_turns(pool.clone(), delivery, seat))),
                None => seat.give_back(),
            }
        }
    }

    async fn pool(&mut self, config: &Arc<Config>, hook: &Hook) -> Arc<Pool> {
        if let Some((of, pool)) = &self.pool
            && Arc::ptr_eq(of, config)
        {
            return pool.clone();
        }
        let pool = Pool::new(&self.desk, config, hook, self.pool.as_ref().map(|(_, pool)| pool.as_ref())).await;
        self.pool = Some((config.clone(), pool.clone()));
        pool
    }
}

impl Flight {
    async fn fly_by_turns(self, pool: Arc<Pool>, first: Delivery, seat: Seat) {
        let mut next = Some((first, seat));
        while let Some((delivery, seat)) = next {
            let Some(mut seat) = self.of_the_part_before(&pool, &delivery, seat).await else {
                return self.desk.journal.unclaim(delivery);
            };
            let (robot, pass) = (seat.hook(), seat.pass());
            deliver(&self.desk, &self.config, &robot, &self.pulse, delivery, pass).await;
            drop(seat);
            next = self.next_by_turns(&pool);
        }
    }

    /// The robot that began a message goes on with it, if it may. Nothing: it could have, and then could not.
    async fn of_the_part_before(&self, pool: &Arc<Pool>, delivery: &Delivery, seat: Seat) -> Option<Seat> {
        let number = turns::robot_of_the_part_before(&self.desk, delivery).await;
        let Some(number) = number.filter(|number| *number != robots::number(&seat.hook())) else { return Some(seat) };
        match pool.this_one(&self.desk, number) {
            ThisOne::No => Some(seat),
            ThisOne::Seat(other) => {
                seat.give_back();
                Some(other)
            }
            // Nobody waits for one robot with another one in hand: two that did so would wait for each other.
            ThisOne::Busy(robot) => {
                seat.give_back();
                pool.wait_for(&self.desk, robot).await
            }
        }
    }

    /// The next delivery, where nothing stands in its way and it is at hand. In every other case the lane looks.
    fn next_by_turns(&self, pool: &Arc<Pool>) -> Option<(Delivery, Seat)> {
        if self.must_look() {
            return None;
        }
        let seat = pool.enter(&self.desk, None).ok()?;
        let now = self.desk.clock.steady();
        let claimed = self.desk.journal.claim_one(&self.hook.name, now);
        match claimed.and_then(|delivery| self.in_time(delivery, now)) {
            Some(delivery) => Some((delivery, seat)),
            None => {
                seat.give_back();
                None
            }
        }
    }
}
