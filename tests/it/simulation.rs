//! Hours of a day in seconds: many lanes, receivers with moods, reloads, holds, restarts and deaths, in a time that passes
//! only when nothing else happens, and then the books.
//!
//! Everything is chosen by a seed. `POSTRIDER_SEED=7 cargo test --test it simulation` plays one again,
//! `POSTRIDER_SIMULATIONS=1000` plays more of them.

mod books;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use postrider::edges::journal::{Append, Filter, Journal, MemoryJournal};
use postrider::edges::send::Sender;
use postrider::engine::care::Care;
use postrider::engine::clock::Clock;
use postrider::engine::desk::Desk;
use postrider::engine::lanes;
use postrider::engine::troubles::Bell;
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use books::{Books, Held};
use world::{Mood, World};

/// The lanes: name, receiver, and what the file says besides. Receivers are hosts.
pub(crate) const HOOKS: [(&str, &str, &str); 10] = [
    ("healthy", "http://healthy/", "concurrency: 4\n"),
    ("robot-one", "http://robot/", "concurrency: 1\nrate_limit: 20/1m\n"),
    ("robot-two", "http://robot/", "concurrency: 1\nrate_limit: 20/1m\n"),
    ("ordered", "http://ordered/", "concurrency: 8\norder_by: data.key\nbreaker: {failures: 3, probe: 5s, max: 1m}\n"),
    ("ordered-slow", "http://slow/", "concurrency: 2\norder_by: data.key\nrate_limit: {rate: 30/1m, burst: 3}\n"),
    ("few", "http://few/", "concurrency: 4\nretry: {first: 1s, max: 1m, max_attempts: 4}\nbreaker: false\n"),
    ("once", "http://once/", "concurrency: 2\ndedupe: {key: data.key, for: 10m}\n"),
    ("soon", "http://soon/", "concurrency: 2\nretry: {first: 1s, max: 1m, max_age: 10m}\n"),
    ("many", "http://many/{{ data.key }}", "concurrency: 6\nbreaker: {failures: 4, probe: 2s, max: 1m}\n"),
    ("edited", "http://edited/", "concurrency: 3\nbreaker: {failures: 4, probe: 2s, max: 1m}\n"),
];
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// When it begins; any time will do.
const DAWN: i64 = 1_700_000_000;

#[test]
fn whatever_happens_every_delivery_comes_to_one_end_and_nobody_is_wronged() {
    let seeds = match std::env::var("POSTRIDER_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => {
            let count = std::env::var("POSTRIDER_SIMULATIONS").map_or(3, |count| count.parse().expect("a number"));
            let first = fastrand::u64(..u64::MAX / 2);
            (first..first + count).collect()
        }
    };
    let mut sent = 0;
    for seed in &seeds {
        println!("POSTRIDER_SEED={seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        sent += runtime.expect("a runtime").block_on(play(*seed));
    }
    println!("{} simulations, {sent} requests", seeds.len());
    assert!(sent >= 200 * seeds.len(), "only {sent} requests were made");
}

/// One simulated day; returns how many requests were made.
async fn play(seed: u64) -> usize {
    fastrand::seed(seed);
    let mut day = Day::begin(seed);
    for _ in 0..120 {
        day.something_happens().await;
        let pause = day.chance.u64(0..40_000);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        day.look().await;
    }
    day.evening().await
}

struct Day {
    seed: u64,
    chance: fastrand::Rng,
    clock: Clock,
    /// By so many seconds the clock on the wall is wrong.
    wall: &'static AtomicI64,
    journal: Arc<MemoryJournal>,
    world: Arc<Mutex<World>>,
    books: Books,
    /// What the files say now.
    files: BTreeMap<&'static str, String>,
    config: watch::Sender<Arc<Config>>,
    life: Life,
    events: usize,
}

/// The daemon between two restarts.
struct Life {
    desk: Arc<Desk>,
    stop: CancellationToken,
    lanes: JoinHandle<()>,
}

impl Day {
    fn begin(seed: u64) -> Self {
        let wall: &'static AtomicI64 = Box::leak(Box::default());
        let clock = Clock::simulated_and_set(Timestamp::from_second(DAWN).expect("a time"), wall);
        let journal = Arc::new(MemoryJournal::with_clock(move || clock.steady()));
        let world = Arc::new(Mutex::new(World::new(seed, clock)));
        let files: BTreeMap<_, _> = HOOKS.iter().map(|(name, url, more)| (*name, file(url, more))).collect();
        let (config, _) = watch::channel(Arc::new(config_of(&files)));
        let life = Life::begin(&journal, &world, &config, Vec::new(), clock);
        let chance = fastrand::Rng::with_seed(seed);
        Self { seed, chance, clock, wall, journal, world, books: Books::default(), files, config, life, events: 0 }
    }

    async fn something_happens(&mut self) {
        match self.chance.u8(0..20) {
            0..9 => self.events_come().await,
            9..13 => self.a_mood_changes(),
            13..15 => self.a_file_changes(),
            15..17 => self.a_hook_is_held_or_released().await,
            // A restart believes the wall, and what was sent at which time: it is one or the other.
            17 | 18 if self.seed % 2 == 1 => self.somebody_sets_the_clock(),
            17 => self.restart(true).await,
            18 => self.restart(false).await,
            _ => {}
        }
    }

    async fn events_come(&mut self) {
        for _ in 0..self.chance.usize(1..12) {
            self.an_event_comes(false).await;
        }
    }

    /// One that most of the hooks want, or all of them.
    async fn an_event_comes(&mut self, for_all: bool) {
        self.events += 1;
        let key = KEYS[self.chance.usize(0..KEYS.len())];
        let data = format!("{{\"key\": \"{key}\", \"n\": {}}}", self.events);
        let event = Event::new("thing", Some(format!("e{}", self.events)), data, self.clock.steady());
        let config = self.config.borrow().clone();
        let mut hooks = config.route(&event, |hook, why| panic!("{}: {why}", hook.name));
        hooks.retain(|hook| for_all || &**hook == "healthy" || self.chance.u8(0..3) > 0);
        let terms = config.terms(&event, &hooks, |hook, why| panic!("{}: {why}", hook.name));
        let appended = self.journal.append(vec![Append { event: Arc::new(event), hooks, terms }]).await;
        self.books.owed(appended.expect("the journal is open").remove(0), key, self.clock.steady());
    }

    fn a_mood_changes(&mut self) {
        let hosts = ["robot", "ordered", "slow", "few", "once", "soon", "many", "edited"];
        let host = hosts[self.chance.usize(0..hosts.len())];
        let mood = Mood::ALL[self.chance.usize(0..Mood::ALL.len())];
        self.world.lock().expect("no panic").moods.insert(host, mood);
    }

    fn a_file_changes(&mut self) {
        let (_, url, more) = HOOKS[9];
        match self.chance.u8(0..4) {
            0 => _ = self.files.remove("edited"),
            1 => _ = self.files.insert("edited", file(url, &format!("{more}enabled: false\n"))),
            2 => _ = self.files.insert("edited", file(url, more)),
            // Any edit releases a hook that was held for what its receiver said.
            _ => {
                let (name, url, more) = HOOKS[self.chance.usize(1..HOOKS.len() - 1)];
                self.files.insert(name, format!("{}# edit {}\n", file(url, more), self.events));
            }
        }
        self.config.send_replace(Arc::new(config_of(&self.files)));
    }

    async fn a_hook_is_held_or_released(&mut self) {
        let name: Arc<str> = HOOKS[self.chance.usize(1..HOOKS.len() - 1)].0.into();
        if self.chance.bool() {
            let span = Duration::from_secs(self.chance.u64(1..300));
            let until = self.chance.bool().then(|| postrider::rules::backoff::later(self.clock.steady(), span));
            self.life.desk.hold_by_hand(&name, "somebody is at work", until).await;
            self.books.held(&name, Held { from: self.clock.steady(), until });
        } else {
            self.life.desk.release(&name, "done").await;
            self.books.released(&name, self.clock.steady());
        }
    }

    fn somebody_sets_the_clock(&mut self) {
        let step = [-86_400, -3_600, -1, 1, 3_600, 365 * 86_400][self.chance.usize(..6)];
        self.wall.store(step, Ordering::Relaxed);
    }

    /// In good order, or in the middle of everything.
    async fn restart(&mut self, in_order: bool) {
        self.life.stop.cancel();
        if !in_order {
            self.world.lock().expect("no panic").dying = true;
            self.life.lanes.abort();
        }
        let ended = (&mut self.life.lanes).await;
        assert!(ended.is_ok() || ended.is_err_and(|why| why.is_cancelled()), "a lane broke down");
        // Aborted tasks are dropped when the runtime gets to them.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let left = self.world.lock().expect("no panic").abandoned();
        assert!(!in_order || left == 0, "seed {}: the drain left {left} in the air", self.seed);
        self.journal.restart();
        let holds = self.journal.holds().await.expect("the journal is open");
        let clock = Clock::simulated_and_set(self.clock.steady(), self.wall);
        self.life = Life::begin(&self.journal, &self.world, &self.config, holds, clock);
    }

    /// The lane whose receiver is well is not to suffer for the others, ever.
    async fn look(&self) {
        let healthy =
            Filter { hook: Some("healthy".to_owned()), outcome: Some("waiting".to_owned()), ..Filter::default() };
        for row in self.journal.list(healthy).await.expect("the journal is open") {
            let age = self.clock.steady().duration_since(row.time).as_secs_f64();
            assert!(age < 2.0, "seed {}: the healthy lane waits for {age} s: {row:?}", self.seed);
        }
    }

    /// All is well again; everything that is owed must arrive or be given up, within what retries, pauses, paces and
    /// breakers together may take.
    async fn evening(mut self) -> usize {
        self.world.lock().expect("no panic").heal();
        self.files = HOOKS.iter().map(|(name, url, more)| (*name, file(url, more))).collect();
        self.config.send_replace(Arc::new(config_of(&self.files)));
        for (name, ..) in HOOKS {
            self.life.desk.release(&name.into(), "evening").await;
            self.books.released(name, self.clock.steady());
        }
        // A file that was gone all day would otherwise show nothing.
        self.an_event_comes(true).await;
        let begun = self.clock.steady();
        while self.journal.waiting() > 0 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let waited = self.clock.steady().duration_since(begun);
            if waited.as_secs() > 3 * 3600 {
                let waiting = Filter { outcome: Some("waiting".to_owned()), ..Filter::default() };
                panic!("seed {}: these still wait: {:#?}", self.seed, self.journal.list(waiting).await);
            }
        }
        self.life.stop.cancel();
        self.life.lanes.await.expect("no panic");
        let rows = self.journal.list(Filter::default()).await.expect("the journal is open");
        let world = self.world.lock().expect("no panic");
        self.books.close(self.seed, &rows, &world);
        world.requests.len()
    }
}

impl Life {
    fn begin(
        journal: &Arc<MemoryJournal>,
        world: &Arc<Mutex<World>>,
        config: &watch::Sender<Arc<Config>>,
        holds: Vec<(Arc<str>, postrider::edges::journal::Hold)>,
        clock: Clock,
    ) -> Self {
        let sender = Sender::played(world::play(world.clone()));
        let desk = Arc::new(Desk::new(journal.clone(), sender, holds, Care::none(), clock, Bell::new().0));
        let stop = CancellationToken::new();
        let lanes = tokio::spawn(lanes::run(desk.clone(), config.subscribe(), stop.clone()));
        Self { desk, stop, lanes }
    }
}

fn file(url: &str, more: &str) -> String {
    let retry = if more.contains("retry:") { "" } else { "retry: {first: 1s, max: 1m}\n" };
    format!("events: [thing]\nplatform: webhook\ntimeout: 15s\noptions: {{url: \"{url}\"}}\n{retry}{more}")
}

fn config_of(files: &BTreeMap<&'static str, String>) -> Config {
    let platforms = Platforms::built_in();
    let mut config = Config { platforms: platforms.clone(), ..Config::default() };
    for (name, text) in files {
        let (hook, found) =
            Hook::parse(&Source::new(format!("{name}.yaml"), text.as_str()), &platforms, &Defaults::default());
        let hook = Arc::new(hook.unwrap_or_else(|| panic!("{found:?}")));
        config.hooks.insert(hook.name.clone(), hook);
    }
    config
}
