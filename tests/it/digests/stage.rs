//! A hook, a robot, and everything that the robot was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postrider::edges::journal::{Append, DeliveryRow, Filter, Journal, LogRow, MemoryJournal};
use postrider::edges::send::Sender;
use postrider::edges::sink::{BotOptions, Fake, Platform, Received};
use postrider::engine::care::Care;
use postrider::engine::clock::Clock;
use postrider::engine::desk::Desk;
use postrider::engine::lanes;
use postrider::engine::standing;
use postrider::engine::troubles::Bell;
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::exchange::{Request, Response, SendError};
use serde_json::{Value as Json, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a robot does besides what its platform does: an answer instead of the platform's, or none at all.
pub(crate) type Whim = dyn Fn(usize, &str) -> Option<Result<Json, SendError>> + Send + Sync;

/// One request, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Timestamp,
    /// What people would read.
    pub(crate) text: String,
    /// The header `x-id`, where there is one.
    pub(crate) id: String,
    /// What the robot said; nothing when it did not answer.
    pub(crate) answer: Json,
}

impl Sent {
    pub(crate) fn is_taken(&self) -> bool {
        self.answer["errcode"] == 0
    }
}

pub(crate) struct Stage {
    pub(crate) clock: Clock,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) config: watch::Sender<Arc<Config>>,
    sent: Arc<Mutex<Vec<Sent>>>,
    stop: CancellationToken,
    lanes: JoinHandle<()>,
    events: usize,
}

/// Plays a story in a time of its own.
pub(crate) fn play(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(story);
}

impl Stage {
    /// A hook of this text, and a DingTalk robot that does this besides.
    pub(crate) fn new(hook: &str, whim: Box<Whim>) -> Self {
        let clock = Clock::simulated(Timestamp::from_second(1_700_000_000).expect("a time"));
        let journal = Arc::new(MemoryJournal::with_clock(move || clock.steady()));
        let sent: Arc<Mutex<Vec<Sent>>> = Arc::default();
        let sender = Sender::played(robot(clock, sent.clone(), whim));
        let desk = Arc::new(Desk::new(journal.clone(), sender, Vec::new(), Care::none(), clock, Bell::new().0));
        let (config, _) = watch::channel(Arc::new(config_of(hook)));
        let stop = CancellationToken::new();
        let lanes = tokio::spawn(lanes::run(desk.clone(), config.subscribe(), stop.clone()));
        Self { clock, journal, desk, config, sent, stop, lanes, events: 0 }
    }

    /// Events come, all at once; each says its number and this.
    pub(crate) async fn events(&mut self, says: &[&str]) {
        let batch = says.iter().map(|say| {
            self.events += 1;
            let id = format!("e{}", self.events);
            let data = json!({"message": format!("[{id}] {say}"), "n": self.events, "say": say}).to_string();
            let event = Event::new("thing", Some(id), data, self.clock.steady());
            let hooks = self.config.borrow().route(&event, |hook, why| panic!("{}: {why}", hook.name));
            let terms = self.config.borrow().terms(&event, &hooks, |hook, why| panic!("{}: {why}", hook.name));
            Append { event: Arc::new(event), hooks, terms }
        });
        let batch = batch.collect();
        self.journal.append(batch).await.expect("the journal is open");
    }

    /// Time passes.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits until nothing waits.
    pub(crate) async fn until_done(&self) {
        let begun = self.clock.steady();
        while self.journal.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let rows = self.rows().await;
            let waited = self.clock.steady().duration_since(begun);
            assert!(waited < SignedDuration::from_hours(6), "these still wait: {:#?}", &rows[rows.len() - 5..]);
        }
    }

    pub(crate) async fn rows(&self) -> Vec<DeliveryRow> {
        self.journal.list(Filter::default()).await.expect("the journal is open")
    }

    pub(crate) async fn log(&self) -> Vec<LogRow> {
        self.journal.log(Filter::default()).await.expect("the journal is open")
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("no panic").clone()
    }

    /// Why the first that waits is not there yet.
    pub(crate) async fn reason(&self) -> String {
        let config = self.config.borrow().clone();
        let mut row = self.rows().await.into_iter().find(|row| row.outcome == "waiting").expect("something waits");
        standing::tell(&standing::of_hook(&self.desk, &config, "hook"), &mut row, self.clock.steady());
        row.reason.expect("it waits")
    }

    pub(crate) fn edit(&self, hook: &str) {
        self.config.send_replace(Arc::new(config_of(hook)));
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.lanes.await.expect("no panic");
    }

    /// How often each event stands in what the robot took.
    pub(crate) fn told(&self) -> BTreeMap<usize, usize> {
        let texts: Vec<String> = self.sent().into_iter().filter(Sent::is_taken).map(|sent| sent.text).collect();
        let count = |n: usize| texts.iter().map(|text| text.matches(&format!("[e{n}]")).count()).sum();
        (1..=self.events).map(|n| (n, count(n))).collect()
    }

    /// Everything is delivered, and each event was told once.
    pub(crate) async fn everything_has_arrived(&self) {
        assert!(self.told().values().all(|count| *count == 1), "{:?}", self.told());
        assert!(self.rows().await.iter().all(|row| row.outcome == "delivered"));
    }

    /// Each event stands once in what the robot took, and is recorded so: it says in which delivery it went, and that one
    /// has the attempt.
    pub(crate) async fn everything_arrived_once(&self) {
        self.everything_has_arrived().await;
        let (rows, log) = (self.rows().await, self.log().await);
        assert_eq!(rows.len(), self.events);
        let arrived: Vec<_> = log.iter().filter(|row| row.outcome == "delivered").collect();
        assert_eq!(arrived.len(), self.sent().iter().filter(|sent| sent.is_taken()).count());
        for row in &rows {
            let carrier = row.carrier.as_ref().unwrap_or(&row.delivery);
            assert_eq!(arrived.iter().filter(|attempt| attempt.delivery == *carrier).count(), 1, "{row:?}");
        }
        let lanes = self.journal.lanes().await.expect("the journal is open");
        assert_eq!((lanes[0].1.delivered, lanes[0].1.waiting, lanes[0].1.dead), (self.events as u64, 0, 0));
    }
}

fn robot(clock: Clock, sent: Arc<Mutex<Vec<Sent>>>, whim: Box<Whim>) -> Arc<postrider::edges::send::Play> {
    let fake = Mutex::new(Fake::new(Platform::Dingtalk, BotOptions::default()));
    Arc::new(move |request: &Request| {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let words =
            |key: &str| ["text", "markdown"].iter().find_map(|kind| body[kind][key].as_str()).map(str::to_owned);
        let text = words("text")
            .or_else(|| words("content"))
            .unwrap_or_else(|| String::from_utf8_lossy(&request.body).into_owned());
        let number = sent.lock().expect("no panic").len();
        let answer = whim(number, &text).unwrap_or_else(|| {
            let target = request.url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("a path").1;
            let received = Received::post(format!("/{target}"), request.body.clone());
            let said = fake.lock().expect("no panic").answer(&received, clock.steady());
            Ok(serde_json::from_slice(&said.body).expect("JSON"))
        });
        let id = request.headers.get("x-id").map(|id| id.to_str().expect("text").to_owned()).unwrap_or_default();
        let said = answer.as_ref().cloned().unwrap_or_default();
        sent.lock().expect("no panic").push(Sent { at: clock.steady(), text, id, answer: said });
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(80)).await;
            answer.map(|json| Response { status: 200, body: json.to_string().into(), ..Response::default() })
        })
    })
}

/// A platform whose requests say which delivery they are.
const BOARD: &str = r##"
fn manifest() { #{summary: "a board", receiver: ["url"], text: "note", options: #{
    url: required("url", "where"), note: optional("text", "{{ data.message }}", "what"),
}} }
fn request(delivery) { #{url: delivery.options.url, id_header: "x-id", text: delivery.options.note} }
fn verdict(response) { if response.json.errcode == 0 { delivered() } else { retry("no") } }
"##;

fn config_of(text: &str) -> Config {
    let (platforms, found) = Platforms::with_scripts([("board".to_owned(), Source::new("board.rhai", BOARD))]);
    assert!(found.is_empty(), "{found:?}");
    let mut config = Config { platforms: platforms.clone(), ..Config::default() };
    if !text.is_empty() {
        let (hook, found) = Hook::parse(&Source::new("hook.yaml", text), &platforms, &Defaults::default());
        let hook = Arc::new(hook.unwrap_or_else(|| panic!("{found:?}")));
        config.hooks.insert(hook.name.clone(), hook);
    }
    config
}

/// A hook for a DingTalk group.
pub(crate) fn dingtalk(more: &str) -> String {
    let url = "https://oapi.dingtalk.com/robot/send?access_token=T";
    format!(
        "events: [thing]\nplatform: dingtalk\noptions: {{url: \"{url}\"}}\nretry: {{first: 5s, max: 20s}}\n{more}\n"
    )
}
