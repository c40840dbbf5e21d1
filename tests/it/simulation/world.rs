//! The receivers, each with a mood, and everything that they were sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::send::Play;
use postrider::engine::clock::Clock;
use postrider::words::exchange::{Request, Response, SendError};

/// How a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Every second request fails.
    Moody,
    Down,
    /// Nobody listens.
    Off,
    /// Slower than any timeout, now and then.
    Slow,
    /// Wants to be left alone.
    Busy,
    /// Refuses some for good.
    Picky,
    /// Wants nothing any more.
    Gone,
}

impl Mood {
    pub(crate) const ALL: [Self; 9] =
        [Self::Well, Self::Well, Self::Moody, Self::Down, Self::Off, Self::Slow, Self::Busy, Self::Picky, Self::Gone];
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    InTheAir,
    Answered(u16),
    /// With 429: nobody is to come before then.
    Paused(Timestamp),
    NoAnswer,
    /// The sender died with it.
    Abandoned,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) host: String,
    pub(crate) delivery: String,
    pub(crate) begun: Timestamp,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) fate: Fate,
}

pub(crate) struct World {
    clock: Clock,
    chance: fastrand::Rng,
    pub(crate) moods: BTreeMap<&'static str, Mood>,
    pub(crate) requests: Vec<Sent>,
    /// The sender is being killed: what is given up now was in the air.
    pub(crate) dying: bool,
    /// Deaths and restarts: what was unrecorded then was not seen by the next life.
    pub(crate) restarts: Vec<Timestamp>,
}

impl World {
    pub(crate) fn new(seed: u64, clock: Clock) -> Self {
        let chance = fastrand::Rng::with_seed(seed ^ 0x5eed);
        Self { clock, chance, moods: BTreeMap::new(), requests: Vec::new(), dying: false, restarts: Vec::new() }
    }

    pub(crate) fn heal(&mut self) {
        self.moods.clear();
    }

    /// The sender is gone, and whatever was in the air with it; says how much that was.
    pub(crate) fn abandoned(&mut self) -> usize {
        self.restarts.push(self.clock.steady());
        self.dying = false;
        assert!(self.requests.iter().all(|sent| sent.fate != Fate::InTheAir), "a flight outlived its lane");
        let last = self.restarts.len().checked_sub(2).map(|index| self.restarts[index]);
        let since = |sent: &&Sent| sent.ended > last && sent.fate == Fate::Abandoned;
        self.requests.iter().filter(since).count()
    }

    /// How long it takes, and what comes of it.
    fn decide(&mut self, host: &str) -> (Duration, Fate) {
        let quick = Duration::from_millis(self.chance.u64(1..80));
        let mood = self.moods.get(host).copied().unwrap_or(Mood::Well);
        let fate = match mood {
            Mood::Well => Fate::Answered(200),
            Mood::Moody => Fate::Answered(if self.chance.bool() { 200 } else { 503 }),
            Mood::Down => Fate::Answered(500),
            Mood::Off => Fate::NoAnswer,
            Mood::Slow if self.chance.bool() => {
                return (Duration::from_secs(self.chance.u64(1..40)), Fate::Answered(200));
            }
            Mood::Slow => Fate::Answered(204),
            Mood::Busy if self.chance.u8(0..3) == 0 => Fate::Answered(200),
            Mood::Busy => {
                let wait = Duration::from_secs(self.chance.u64(1..120));
                Fate::Paused(postrider::rules::backoff::later(self.clock.steady(), quick + wait))
            }
            Mood::Picky => Fate::Answered(if self.chance.u8(0..4) == 0 { 400 } else { 200 }),
            Mood::Gone => Fate::Answered(if self.chance.u8(0..4) == 0 { 410 } else { 200 }),
        };
        (quick, fate)
    }
}

/// The receivers' side of the sender.
pub(crate) fn play(world: Arc<Mutex<World>>) -> Arc<Play> {
    Arc::new(move |request: &Request| {
        let world = world.clone();
        let rest = request.url.split_once("://").expect("a URL").1;
        let (host, path) = rest.split_once('/').expect("a path");
        // Of `many`, every path is a receiver of its own, all in one mood.
        let receiver = if host == "many" { format!("many/{path}") } else { host.to_owned() };
        let delivery = request.headers["webhook-id"].to_str().expect("text").to_owned();
        let mut at_hand = world.lock().expect("no panic");
        let (takes, fate) = at_hand.decide(host);
        let number = at_hand.requests.len();
        let begun = at_hand.clock.steady();
        at_hand.requests.push(Sent { host: receiver, delivery, begun, ended: None, fate: Fate::InTheAir });
        drop(at_hand);
        Box::pin(async move {
            let given_up = GivenUp { world: world.clone(), number };
            tokio::time::sleep(takes).await;
            let mut world = world.lock().expect("no panic");
            let now = world.clock.steady();
            let sent = &mut world.requests[number];
            (sent.fate, sent.ended) = (fate.clone(), Some(now));
            drop(world);
            drop(given_up);
            let mut response = Response::default();
            match fate {
                Fate::Answered(status) => response.status = status,
                Fate::Paused(until) => {
                    response.status = 429;
                    let wait = until.duration_since(now).as_secs_f64().ceil() as u64;
                    response.headers.insert("retry-after", wait.into());
                }
                _ => return Err(SendError::Connect { host: "nobody".into(), why: "connection refused".into() }),
            }
            Ok(response)
        })
    })
}

/// Notes that the sender waited no longer.
struct GivenUp {
    world: Arc<Mutex<World>>,
    number: usize,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        let Ok(mut world) = self.world.lock() else { return };
        let (now, dying) = (world.clock.steady(), world.dying);
        let sent = &mut world.requests[self.number];
        if sent.fate == Fate::InTheAir {
            sent.fate = if dying { Fate::Abandoned } else { Fate::NoAnswer };
            sent.ended = Some(now);
        }
    }
}
