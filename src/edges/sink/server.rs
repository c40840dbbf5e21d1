//! A fake behind a listener: what came is kept, and the wire breaks on demand.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::words::limits;

use super::bots::BotOptions;
use super::control;
use super::fake::{Fake, Platform};
use super::faults::{Behaviour, Fault, Script, Step};
use super::judgement::{Answered, Judgement};
use super::received::{Received, Record, Salt};
use super::state::{Clock, Kept, Observer, Shared, lock};
use super::wire::{End, HangUp, Outgoing};

/// What a sink is told when it starts.
#[derive(Clone)]
pub struct SinkOptions {
    /// Whom it plays.
    pub platform: Platform,
    /// The settings of every robot that is not named in `bots`.
    pub default: BotOptions,
    /// Robots with their own settings, by token.
    pub bots: Vec<(String, BotOptions)>,
    /// A token that is not in `bots` is unknown.
    pub only_known: bool,
    /// What goes wrong with every request.
    pub behaviour: Behaviour,
    /// `false` only counts: no request is looked at or kept. For measuring senders; only where nobody is played.
    pub record: bool,
    /// The clock of windows and signatures; the system's unless a test has its own.
    pub clock: Clock,
    /// Who is told of each request, before it is answered. While it works, this sink's thread waits.
    pub observer: Option<Observer>,
    /// What hides the secrets of the records.
    pub salt: Salt,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            platform: Platform::Plain,
            default: BotOptions::default(),
            bots: Vec::new(),
            only_known: false,
            behaviour: Behaviour::default(),
            record: true,
            clock: Arc::new(Timestamp::now),
            observer: None,
            salt: Salt::new(),
        }
    }
}

/// A local receiver.
#[derive(Debug)]
pub struct Sink;

impl Sink {
    /// Starts a sink on a free port of this machine.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(options: SinkOptions) -> io::Result<SinkHandle> {
        Self::serve(TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0)).await?, options)
    }

    /// Starts a sink on this listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve(listener: TcpListener, options: SinkOptions) -> io::Result<SinkHandle> {
        let addr = listener.local_addr()?;
        let mut fake = Fake::new(options.platform, options.default);
        for (token, bot) in options.bots {
            fake.bot(&token, bot);
        }
        if options.only_known {
            fake.only_known();
        }
        let shared = Arc::new(Shared {
            platform: options.platform,
            fake: Mutex::new(fake),
            kept: Mutex::new(Kept::default()),
            script: Mutex::new(Script::default()),
            dice: Mutex::new(fastrand::Rng::new()),
            behaviour: options.behaviour,
            count_only: !options.record && options.platform == Platform::Plain,
            clock: options.clock,
            observer: options.observer,
            began: Instant::now(),
            salt: options.salt,
            arrived: AtomicU64::new(0),
            decided: AtomicU64::new(0),
            news: Notify::new(),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        // Whoever stops wants no new connections either.
        let last_call = stop.child_token();
        tasks.spawn(accept(listener, shared.clone(), last_call.clone(), stop.clone(), tasks.clone()));
        tasks.close();
        Ok(SinkHandle { addr, shared, last_call, stop, tasks })
    }
}

/// A running sink. It stops when this is dropped.
pub struct SinkHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    last_call: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SinkHandle {
    /// The URL of the robot of this token; where nobody is played, the root.
    pub fn url(&self, token: &str) -> String {
        format!("http://{}{}", self.addr, self.shared.platform.path(token))
    }

    /// What came and is not forgotten, oldest first.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.shared.kept).records.iter().cloned().collect()
    }

    /// How many requests were decided on since the start.
    pub fn count(&self) -> u64 {
        self.shared.decided.load(Ordering::Acquire)
    }

    /// Waits until so many requests were decided on.
    pub async fn reached(&self, count: u64) {
        self.shared.reached(count).await;
    }

    /// Waits until `count` requests were decided on; `false` when that took longer than `timeout`.
    pub async fn wait_for(&self, count: u64, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.shared.reached(count)).await.is_ok()
    }

    /// Says what happens to the next requests.
    ///
    /// # Errors
    /// When a step cannot be played.
    pub fn script(&self, step: Step) -> Result<(), String> {
        self.shared.script(step)
    }

    /// Forgets requests and script. The robots keep their memory: what was used up stays used up.
    pub fn clear(&self) {
        self.shared.clear();
    }

    /// Closes the listener and every connection.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }

    /// Closes the listener, lets answers that are on their way arrive, but waits no longer than this for them.
    pub async fn finish(self, within: Duration) {
        self.last_call.cancel();
        let _ = tokio::time::timeout(within, self.tasks.wait()).await;
        self.stop().await;
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    last_call: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = last_call.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tasks.spawn(connection(stream, peer.ip(), shared.clone(), last_call.clone(), stop.clone()));
            }
            // Out of file descriptors: others have to end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn connection(
    stream: TcpStream,
    ip: IpAddr,
    shared: Arc<Shared>,
    last_call: CancellationToken,
    stop: CancellationToken,
) {
    stream.set_nodelay(true).ok();
    let hang_up = Arc::new(HangUp::default());
    let service = service_fn(|request| {
        let (shared, hang_up) = (shared.clone(), hang_up.clone());
        async move { Ok::<_, Infallible>(respond(&shared, hang_up, ip, request).await) }
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // What breaks a connection is the sender's affair.
    tokio::select! {
        _ = &mut serving => {}
        reset = hang_up.asked() => {
            let stream = serving.into_parts().io.into_inner();
            if reset {
                stream.set_zero_linger().ok();
            }
        }
        () = last_call.cancelled() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            tokio::select! {
                _ = &mut serving => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn respond(
    shared: &Shared,
    hang_up: Arc<HangUp>,
    ip: IpAddr,
    request: http::Request<Incoming>,
) -> http::Response<Outgoing> {
    if shared.count_only {
        return counted(shared, request).await;
    }
    if request.uri().path().starts_with(control::PREFIX) {
        return control::respond(shared, request).await;
    }
    let (time, elapsed) = ((shared.clock)(), shared.began.elapsed());
    let number = shared.arrived.fetch_add(1, Ordering::Relaxed) + 1;
    let step = next_step(shared, number);
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut received = Received { method: head.method, target, headers: head.headers, body: Bytes::new(), ip };

    if step.fault != Some(Fault::CloseBeforeBody) {
        match read(body).await {
            Ok(bytes) => received.body = bytes,
            Err(why) => {
                let judgement = Judgement { why: why.to_owned(), ..Judgement::default() };
                let answered = Answered { status: 413, headers: Vec::new(), body: Bytes::new(), judgement };
                keep(shared, Record::new(number, received, time, elapsed, &answered, None));
                return outgoing(&answered, Outgoing::whole(Bytes::new()));
            }
        }
    }
    let answered = decide(shared, &step, &received, time);
    keep(shared, Record::new(number, received, time, elapsed, &answered, step.fault));

    let delay = shared.behaviour.delay + Duration::from_millis(step.delay_ms);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    break_or_answer(step.fault, &answered, hang_up).await
}

/// The least that can be done with a request, so that measuring a sender does not measure the sink.
async fn counted(shared: &Shared, request: http::Request<Incoming>) -> http::Response<Outgoing> {
    let number = shared.arrived.fetch_add(1, Ordering::Relaxed) + 1;
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = http::Response::new(Outgoing::whole(Bytes::from_static(b"ok\n")));
    if shared.behaviour.failing.is_some() {
        let status = next_step(shared, number).status.and_then(|status| StatusCode::from_u16(status).ok());
        *response.status_mut() = status.unwrap_or_default();
    }
    if !shared.behaviour.delay.is_zero() {
        tokio::time::sleep(shared.behaviour.delay).await;
    }
    shared.done();
    response
}

fn next_step(shared: &Shared, number: u64) -> Step {
    let scripted = lock(&shared.script).next();
    scripted.or_else(|| shared.behaviour.fails(number, &mut lock(&shared.dice)).cloned()).unwrap_or_default()
}

async fn read(mut body: Incoming) -> Result<Bytes, &'static str> {
    let mut bytes = BytesMut::with_capacity(body.size_hint().lower().min(64 * 1024) as usize);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err("the body broke off") };
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limits::SINK_BODY {
                return Err("the body is larger than any platform takes");
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.freeze())
}

/// The answer: a step's own, or the platform's.
fn decide(shared: &Shared, step: &Step, request: &Received, now: Timestamp) -> Answered {
    let added = step.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    if let Some(status) = step.status {
        let body = step.body.clone().unwrap_or_default();
        let why = "told to answer so, in place of the platform".to_owned();
        let judgement = Judgement { accepted: (200..300).contains(&status), why, ..Judgement::default() };
        return Answered { status, headers: added.collect(), body: body.into(), judgement };
    }
    if step.fault.is_some_and(|fault| !fault.reaches_platform()) {
        let judgement = Judgement { why: "broken before the platform saw it".to_owned(), ..Judgement::default() };
        let page = "<!DOCTYPE html><html><title>Gateway</title><p>nothing to see here</html>\n";
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        return Answered { status: 200, headers, body: Bytes::from_static(page.as_bytes()), judgement };
    }
    let mut answered = lock(&shared.fake).answer(request, now);
    answered.headers.extend(added);
    answered
}

fn keep(shared: &Shared, record: Record) {
    if let Some(observer) = &shared.observer {
        observer(&record);
    }
    lock(&shared.kept).push(record);
    shared.done();
}

async fn break_or_answer(fault: Option<Fault>, answered: &Answered, hang_up: Arc<HangUp>) -> http::Response<Outgoing> {
    let body = answered.body.clone();
    let half = body.slice(..body.len() / 2);
    let broken = match fault {
        None | Some(Fault::Html) => return outgoing(answered, Outgoing::whole(body)),
        Some(Fault::CloseBeforeBody | Fault::CloseAfterBody | Fault::AcceptAndDrop) => {
            hang_up.now(false);
            std::future::pending().await
        }
        Some(Fault::Reset) => {
            hang_up.now(true);
            std::future::pending().await
        }
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::TruncatedJson) => return outgoing(answered, Outgoing::whole(half)),
        Some(Fault::StallAfterHeaders) => Outgoing::parts([], End::Stall),
        Some(Fault::ResetMidAnswer) => Outgoing::parts([half], End::HangUp { hang_up, reset: true }),
        Some(Fault::WrongLength) => {
            let mut response =
                outgoing(answered, Outgoing::parts([body.clone()], End::HangUp { hang_up, reset: false }));
            response.headers_mut().insert(http::header::CONTENT_LENGTH, (body.len() + 100).into());
            return response;
        }
        Some(Fault::Oversized) => Outgoing::parts([body.clone(), Bytes::from(vec![b' '; 1024 * 1024])], End::Clean),
        Some(Fault::Drip) => {
            let bytes = (0..body.len()).map(|at| body.slice(at..=at));
            Outgoing::parts(bytes, End::Clean).every(Duration::from_millis(50))
        }
    };
    let mut response = outgoing(answered, broken);
    if fault != Some(Fault::Oversized) {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, body.len().into());
    }
    response
}

fn outgoing(answered: &Answered, body: Outgoing) -> http::Response<Outgoing> {
    let mut response = http::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answered.status).unwrap_or_default();
    for (name, value) in &answered.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

impl Record {
    fn new(
        number: u64,
        request: Received,
        time: Timestamp,
        elapsed: Duration,
        answered: &Answered,
        fault: Option<Fault>,
    ) -> Self {
        let silent = matches!(
            fault,
            Some(Fault::CloseBeforeBody | Fault::CloseAfterBody | Fault::AcceptAndDrop | Fault::Reset | Fault::Stall)
        );
        Self {
            number,
            request,
            time,
            elapsed,
            status: (!silent).then_some(answered.status),
            answer: if silent { Bytes::new() } else { answered.body.clone() },
            judgement: answered.judgement.clone(),
            fault: fault.map(|fault| fault.word().to_owned()),
        }
    }
}
