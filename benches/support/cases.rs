//! What is measured: each case runs one system from the first byte sent to the last delivery counted.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::{Board, Latency};
use super::client::{self, Body, Sent, Speed, Target};
use super::daemon::{Daemon, UNPACED};
use super::relay::Relay;
use super::{Fallible, process, sink};

/// Connections of the client that measures the limit of the machine, and of a hook that is alone.
const BARE_CONNECTIONS: usize = 32;
/// Connections of a sender over HTTP.
const HTTP_CONNECTIONS: usize = 64;
/// Connections of a sender of batches: each waits for its answer, so a few are needed to keep the line full.
const BATCH_CONNECTIONS: usize = 4;
/// Sent ahead of each measurement, so that connections are open and pages are touched.
pub(super) const WARM_UP: usize = 200;
/// Outcomes linger a little before they are written; the CPU that this takes is counted.
pub(super) const SETTLING: Duration = Duration::from_millis(100);

/// How events reach the system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// A hyper client straight to the sink: the limit.
    Bare,
    /// Through the relay: the yardstick.
    Relay,
    /// NDJSON to the daemon's socket.
    Socket,
    /// One event per POST to the daemon.
    Http,
    /// Batches of events per POST to the daemon.
    Batch,
}

/// Which receiver the daemon's hooks are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Platform {
    /// The event's bytes as they came, with a signature.
    Webhook,
    /// A signed, rendered message, without the pace of a robot; success is read from the body.
    DingTalk,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) platform: Platform,
    /// Endpoints that each event goes to.
    pub(crate) hooks: usize,
}

/// What one run of a case came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Deliveries per second, from the first byte sent to the last arrival.
    pub(crate) deliveries: f64,
    /// Events per second that were answered for.
    pub(crate) answered: f64,
    /// CPU seconds per 10,000 deliveries of what stands between sender and sink (of bare: the sender itself).
    pub(crate) cpu: f64,
    /// MiB before the load, after it began at its peak; nothing for bare.
    pub(crate) memory: Option<(f64, f64)>,
    /// Milliseconds from exec to the first answered status.
    pub(crate) start: Option<f64>,
}

/// Every throughput case.
pub(crate) const THROUGHPUT: [Case; 9] = [
    Case { name: "bare", way: Way::Bare, platform: Platform::Webhook, hooks: 1 },
    Case { name: "relay", way: Way::Relay, platform: Platform::Webhook, hooks: 1 },
    Case { name: "relay, fan-out 10", way: Way::Relay, platform: Platform::Webhook, hooks: 10 },
    Case { name: "socket", way: Way::Socket, platform: Platform::Webhook, hooks: 1 },
    Case { name: "socket, dingtalk signed", way: Way::Socket, platform: Platform::DingTalk, hooks: 1 },
    Case { name: "http, one per POST", way: Way::Http, platform: Platform::Webhook, hooks: 1 },
    Case { name: "http, 100 per POST", way: Way::Batch, platform: Platform::Webhook, hooks: 1 },
    Case { name: "socket, fan-out 10", way: Way::Socket, platform: Platform::Webhook, hooks: 10 },
    Case { name: "socket, 10 dingtalk signed", way: Way::Socket, platform: Platform::DingTalk, hooks: 10 },
];

/// The cases that are also measured calmly, one event at a time.
pub(crate) const LATENCY: [Case; 4] = [THROUGHPUT[0], THROUGHPUT[1], THROUGHPUT[3], THROUGHPUT[5]];

/// The sink, its board, and the systems between.
pub(crate) struct Ground {
    pub(super) board: Arc<Board>,
    pub(super) sink: SocketAddr,
}

enum System {
    Bare,
    Relay(Relay),
    Daemon(Daemon),
}

impl Ground {
    /// Starts the sink.
    pub(crate) fn new() -> Fallible<Self> {
        let board = Arc::new(Board::default());
        Ok(Self { sink: sink::start(board.clone())?, board })
    }

    /// Runs a case at full speed; fails unless every delivery arrived exactly once.
    pub(crate) fn throughput(&self, case: &Case, events: usize) -> Fallible<Measured> {
        let mut system = self.start(case)?;
        let idle = system.memory("VmRSS")?;
        self.pass(case, &mut system, 0..WARM_UP, Speed::Full)?;
        let before = system.cpu()?;
        let (sent, done) = self.pass(case, &mut system, WARM_UP..WARM_UP + events, Speed::Full)?;
        let deliveries = (events * case.hooks) as f64;
        let cpu = match (before, system.cpu()?) {
            (Some(before), Some(after)) => after - before,
            _ => sent.cpu,
        };
        Ok(Measured {
            deliveries: deliveries / (done - sent.began).as_secs_f64(),
            answered: events as f64 / (sent.answered - sent.began).as_secs_f64(),
            cpu: cpu * 10_000.0 / deliveries,
            memory: idle.zip(system.memory("VmHWM")?),
            start: system.start(),
        })
    }

    /// Runs a case at so many events per second.
    pub(crate) fn latency(&self, case: &Case, events: usize, per_second: u32) -> Fallible<Latency> {
        let mut system = self.start(case)?;
        self.pass(case, &mut system, 0..WARM_UP, Speed::Full)?;
        let speed = Speed::Every(Duration::from_secs(1) / per_second);
        let (sent, _) = self.pass(case, &mut system, WARM_UP..WARM_UP + events, speed)?;
        self.board.latency(&sent.times)
    }

    fn start(&self, case: &Case) -> Fallible<System> {
        Ok(match case.way {
            Way::Bare => System::Bare,
            Way::Relay => System::Relay(Relay::start(self.sink, case.hooks)?),
            Way::Socket | Way::Http | Way::Batch => {
                let mut hooks: Vec<_> = (0..case.hooks).map(|hook| self.hook(case.platform, hook)).collect();
                if let [(_, alone)] = &mut hooks[..] {
                    alone.push_str(&format!("concurrency: {BARE_CONNECTIONS}\n"));
                }
                System::Daemon(Daemon::start(&hooks)?)
            }
        })
    }

    /// Sends events and waits until each has arrived everywhere and the system has nothing left to do.
    fn pass(&self, case: &Case, system: &mut System, events: Range<usize>, speed: Speed) -> Fallible<(Sent, Instant)> {
        let full = speed == Speed::Full;
        let connections = |many| if full { many } else { 1 };
        let event = Target { addr: self.sink, path: "/v1/events", body: Body::Native, connections: 0 };
        self.board.expect(case.hooks, events.clone());
        let sent = match (&*system, case.way) {
            (System::Daemon(daemon), Way::Socket) => client::emit(&daemon.emit_socket(), events, speed),
            (System::Daemon(daemon), Way::Batch) => {
                let connections = connections(BATCH_CONNECTIONS);
                let batches = Target { addr: daemon.http()?, body: Body::Batch, connections, ..event };
                client::post(batches, events, speed)
            }
            (System::Daemon(daemon), _) => {
                let connections = connections(HTTP_CONNECTIONS);
                client::post(Target { addr: daemon.http()?, connections, ..event }, events, speed)
            }
            (System::Relay(relay), _) => {
                let connections = connections(HTTP_CONNECTIONS);
                client::post(Target { addr: relay.addr, body: Body::Data, connections, ..event }, events, speed)
            }
            (System::Bare, _) => {
                let connections = connections(BARE_CONNECTIONS);
                client::post(Target { path: "/0", body: Body::Data, connections, ..event }, events, speed)
            }
        };
        let done = if sent.is_ok() { self.board.complete() } else { Err("nothing was awaited".into()) };
        let (sent, done) = match (sent, done, &*system) {
            (Ok(sent), Ok(done), _) => (sent, done),
            (sent, done, System::Daemon(daemon)) => {
                let why = sent.err().or(done.err()).map(|error| error.to_string()).unwrap_or_default();
                return Err(format!("{}: {why}\n{}", case.name, daemon.log()).into());
            }
            (sent, done, _) => (sent?, done?),
        };
        std::thread::sleep(SETTLING);
        if let System::Daemon(daemon) = system {
            daemon.drained()?;
        }
        self.board.exact().map_err(|error| format!("{}: {error}", case.name))?;
        Ok((sent, done))
    }

    pub(super) fn hook(&self, platform: Platform, number: usize) -> (String, String) {
        let url = format!("http://{}/{number}", self.sink);
        let text = match platform {
            Platform::Webhook => webhook(&url),
            Platform::DingTalk => format!(
                "events: [bench]\nplatform: {UNPACED}\noptions:\n  \
                 url: {url}?access_token=bench\n  secret: {{secret: robot}}\n  title: \"{{{{ data.title }}}}\"\n  \
                 message: |\n    {{{{ data.action }}}} {{{{ data.seq }}}}: {{{{ data.title }}}} {{{{ data.os_version }}}} \
                 ({{{{ data.build_version }}}})\n    {{{{ data.notes }}}}\n    {{{{ data.link }}}}\n"
            ),
        };
        (format!("hook-{number}"), text)
    }
}

/// A hook file that passes the event's bytes on, signed.
pub(super) fn webhook(url: &str) -> String {
    let sign = "{preset: standard-webhooks, key: {secret: receiver}}";
    format!("events: [bench]\nplatform: webhook\noptions:\n  url: {url}\n  sign: {sign}\n")
}

impl System {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Bare => None,
            Self::Relay(relay) => Some(relay.pid()),
            Self::Daemon(daemon) => Some(daemon.pid()),
        }
    }

    fn cpu(&self) -> Fallible<Option<f64>> {
        self.pid().map(process::cpu_of).transpose()
    }

    fn memory(&self, field: &str) -> Fallible<Option<f64>> {
        self.pid().map(|pid| process::memory_of(pid, field)).transpose()
    }

    fn start(&self) -> Option<f64> {
        match self {
            Self::Daemon(daemon) => Some(daemon.start.as_secs_f64() * 1000.0),
            _ => None,
        }
    }
}
