//! The daemon in hard circumstances: cores that are busy with something else, a dead and a slow receiver beside healthy
//! ones, ten thousand hooks, a million deliveries that wait. Each is compared with the same daemon at ease.

use std::ops::Range;
use std::os::unix::process::parent_id;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::aims::{Aim, aim};
use super::board::Latency;
use super::cases::{Ground, Platform, SETTLING, THROUGHPUT, WARM_UP, webhook};
use super::client::{self, Sent, Speed};
use super::daemon::{self, Daemon};
use super::{Fallible, process, sink};

/// The word on our own command line that makes this process eat a core.
pub(crate) const BURN: &str = "as-burner";
/// Hooks that want the event among the many that do not.
const WANTED: usize = 3;
/// Healthy hooks beside the dead and the slow one.
const HEALTHY: usize = 8;
const CALM: Speed = Speed::Every(Duration::from_millis(20));

/// How much of everything.
pub(crate) struct Load {
    /// Events of a measurement at full speed.
    pub(crate) events: usize,
    calm: usize,
    hooks: usize,
    backlog: usize,
}

/// What the aims speak of.
pub(crate) const FULL: Load = Load { events: 10_000, calm: 250, hooks: 10_000, backlog: 1_000_000 };
/// Enough to see that it works.
pub(crate) const SMALL: Load = Load { events: 300, calm: 50, hooks: 300, backlog: 3_000 };

/// A figure beside its aim.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) is: f64,
    pub(crate) aim: Aim,
    /// Whether more is better.
    pub(crate) more: bool,
}

/// A daemon that was put under load.
struct Run {
    sent: Sent,
    done: Instant,
    cpu: f64,
}

impl Ground {
    /// Every hard circumstance once, or those whose name contains `only`.
    pub(crate) fn hard(&self, load: &Load, only: Option<&str>) -> Fallible<Vec<Figure>> {
        type Circumstance = fn(&Ground, &Load) -> Fallible<Vec<Figure>>;
        let known: [(&str, Circumstance); 4] = [
            ("busy cores", Self::busy_cores),
            ("neighbours", Self::bad_neighbours),
            ("many hooks", Self::many_hooks),
            ("many waiting", Self::backlog),
        ];
        let mut all = Vec::new();
        for (_, measure) in known.iter().filter(|(name, _)| only.is_none_or(|part| name.contains(part))) {
            all.extend(measure(self, load)?);
        }
        let size = std::fs::metadata(daemon::binary())?.len() as f64 / 1e6;
        all.push(at_most("size of the binary, MB", size, aim(13.0, 10.0)));
        Ok(all)
    }

    fn busy_cores(&self, load: &Load) -> Fallible<Vec<Figure>> {
        let mut daemon = Daemon::start(&[self.hook(Platform::Webhook, 0)])?;
        self.load(&daemon, 1, 0..WARM_UP, Speed::Full)?;
        let burners = Burners::start()?;
        let latency = self.calm(&daemon, 1, load)?;
        drop(burners);
        daemon.drained()?;
        Ok(vec![at_most("all cores busy: p99 ms", latency.p99, aim(40.0, 20.0))])
    }

    fn bad_neighbours(&self, load: &Load) -> Fallible<Vec<Figure>> {
        let healthy: Vec<_> = (0..HEALTHY).map(|number| self.hook(Platform::Webhook, number)).collect();
        let mut troubled = healthy.clone();
        // Port 9 is "discard": nobody listens there any more.
        troubled.push(("dead".to_owned(), webhook("http://127.0.0.1:9/")));
        troubled.push(("slow".to_owned(), webhook(&format!("http://{}{}", self.sink, sink::SLOW))));
        let mut measured = Vec::new();
        for hooks in [healthy, troubled] {
            let daemon = Daemon::start(&hooks)?;
            self.load(&daemon, HEALTHY, 0..WARM_UP, Speed::Full)?;
            let run = self.load(&daemon, HEALTHY, WARM_UP..WARM_UP + load.events, Speed::Full)?;
            let rate = load.events as f64 / (run.done - run.sent.began).as_secs_f64();
            measured.push((rate, self.calm(&daemon, HEALTHY, load)?));
        }
        let [(alone, calm), (beside, troubled)] = measured[..] else { return Err("two runs are compared".into()) };
        Ok(vec![
            at_least("beside a dead and a slow hook: share of rate", beside / alone, aim(0.9, 0.97)),
            at_most("beside a dead and a slow hook: p99 ratio", troubled.p99 / calm.p99, aim(2.0, 1.0)),
        ])
    }

    fn many_hooks(&self, load: &Load) -> Fallible<Vec<Figure>> {
        let mut measured = Vec::new();
        for count in [10, load.hooks] {
            let mut hooks: Vec<_> = (0..WANTED).map(|number| self.hook(Platform::Webhook, number)).collect();
            hooks.extend((WANTED..count).map(|number| {
                let text = webhook(&format!("http://{}/", self.sink)).replace("[bench]", &format!("[other.{number}]"));
                (format!("other-{number}"), text)
            }));
            let mut daemon = Daemon::start(&hooks)?;
            daemon.at_rest()?;
            let idle = process::memory_of(daemon.pid(), "VmRSS")?;
            self.load(&daemon, WANTED, 0..WARM_UP, Speed::Full)?;
            let run = self.load(&daemon, WANTED, WARM_UP..WARM_UP + load.events, Speed::Full)?;
            daemon.drained()?;
            measured.push((run.cpu, daemon.start.as_secs_f64(), idle));
        }
        let [(few, ..), (many, start, idle)] = measured[..] else { return Err("two runs are compared".into()) };
        Ok(vec![
            at_most("many hooks: CPU per event, of 10 hooks", many / few, aim(1.10, 1.02)),
            at_most("many hooks: start, s", start, aim(1.5, 0.5)),
            at_most("many hooks: MiB", idle, aim(64.0, 40.0)),
        ])
    }

    /// A receiver refuses our key, so its hook is held; a mended file ends that, and everything is due at once.
    fn backlog(&self, load: &Load) -> Fallible<Vec<Figure>> {
        let bare = self.throughput(&THROUGHPUT[0], load.events)?.deliveries;
        let (name, text) = self.hook(Platform::Webhook, 0);
        self.board.refuses.store(true, Ordering::Relaxed);
        let mut daemon = Daemon::start(&[(name.clone(), text.clone())])?;
        client::emit(&daemon.emit_socket(), 0..1, Speed::Full)?;
        daemon.held()?;
        client::emit(&daemon.emit_socket(), 1..load.backlog, Speed::Full)?;
        self.board.refuses.store(false, Ordering::Relaxed);
        self.board.expect(1, 0..load.backlog);
        let mut daemon = daemon.restart_with(&name, &format!("description: the key was renewed\n{text}"))?;
        let done = self.board.complete()?;
        let first = self.board.first().ok_or("nothing arrived")?;
        let drained = load.backlog as f64 / (done - first).as_secs_f64();
        let peak = process::memory_of(daemon.pid(), "VmHWM")?;
        daemon.drained()?;
        self.board.exact()?;
        Ok(vec![
            at_most(
                "many waiting: ms to the first delivery",
                (first - daemon.began).as_secs_f64() * 1000.0,
                aim(150.0, 50.0),
            ),
            at_least("many waiting: drained, share of bare", drained / bare, aim(0.40, 0.55)),
            at_most("many waiting: MiB", peak, aim(96.0, 64.0)),
        ])
    }

    fn calm(&self, daemon: &Daemon, hooks: usize, load: &Load) -> Fallible<Latency> {
        let from = WARM_UP + load.events;
        let run = self.load(daemon, hooks, from..from + load.calm, CALM)?;
        self.board.latency(&run.sent.times)
    }

    /// Emits events and waits until the counted hooks have them; others may be late.
    fn load(&self, daemon: &Daemon, hooks: usize, events: Range<usize>, speed: Speed) -> Fallible<Run> {
        self.board.expect(hooks, events.clone());
        let cpu = process::cpu_of(daemon.pid())?;
        let sent = client::emit(&daemon.emit_socket(), events, speed)?;
        let done = self.board.complete().map_err(|error| format!("{error}\n{}", daemon.log()))?;
        std::thread::sleep(SETTLING);
        self.board.exact()?;
        Ok(Run { sent, done, cpu: process::cpu_of(daemon.pid())? - cpu })
    }
}

fn at_most(what: &'static str, is: f64, aim: Aim) -> Figure {
    Figure { what, is, aim, more: false }
}

fn at_least(what: &'static str, is: f64, aim: Aim) -> Figure {
    Figure { what, is, aim, more: true }
}

/// One process per core that does nothing but compute.
struct Burners(Vec<Child>);

impl Burners {
    fn start() -> Fallible<Self> {
        let mut burners = Self(Vec::new());
        for _ in 0..std::thread::available_parallelism()?.get() {
            burners.0.push(Command::new(std::env::current_exe()?).arg(BURN).spawn()?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for burner in &mut self.0 {
            let _gone = burner.kill();
            let _reaped = burner.wait();
        }
    }
}

/// The burner's own main: it does not outlive whoever started it.
pub(crate) fn burn() {
    let parent = parent_id();
    while parent_id() == parent {
        (0..1_000_000).for_each(|_| std::hint::spin_loop());
    }
}
