//! The bytes of one HTTP connection, at the guarded door or at the local one: every answer is HTTP with a status that is
//! promised, refusals are problem documents, what is acknowledged is handed over, nobody gets in without the token, and
//! no secret comes out.
//!
//! The first byte chooses the door, the rest is what is sent.

use std::sync::Arc;

use postrider::edges::intake::http::Routes;
use postrider::edges::intake::http::server::{Handler, Patience, serve_connection};
use postrider::edges::intake::http::sources::Sources;
use postrider::edges::intake::{Code, native};
use postrider::rules::config::Config;
use postrider::rules::diagnostic::Source;
use postrider::rules::settings::Settings;
use postrider::rules::source::SourceScripts;
use postrider::words::limits;
use postrider::words::secret::{Secret, Secrets};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::framing::Store;
use super::{CANARY, shows_secret, split_first};

/// The sources: such as verify nothing, such as verify a signature or a token.
const MAIN: &str = r#"
sources:
  pgyer: {}
  appgo: {options: {invalid_json: accept}}
  appery: {}
  patchkit: {}
  alertmanager: {options: {split: true}}
  grafana: {}
  cloudevents: {}
  subscribers: {script: pushpushgo, options: {project_ids: [p1]}}
  anything: {script: generic, options: {type: [header.x-kind, body.type, query.type], id: [body.id], time: [body.time], data: data}}
  github: {options: {secret: {secret: K}}}
  gitlab: {options: {token: {secret: K}}}
  stripe: {options: {secret: {secret: W}}}
  standard-webhooks: {options: {secret: {secret: W}}}
  signed: {script: generic, options: {type: [body.type], verify: {preset: github, key: {secret: K}}}}
  keyless: {script: github, options: {secret: {secret: MISSING}}}
"#;

/// What may be answered: intake's own, and those of the scripts and of hyper.
const STATUSES: [u16; 19] =
    [100, 200, 202, 204, 207, 400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 431, 500, 503];

struct House {
    runtime: Runtime,
    store: Arc<Store>,
    local: Arc<dyn Handler>,
    guarded: Arc<dyn Handler>,
    _config: watch::Sender<Arc<Config>>,
    _token: watch::Sender<Option<Secret>>,
}

impl House {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let main = Source::new("postrider.yaml", MAIN);
        let (settings, _) = Settings::parse(&main, &SourceScripts::built_in()).expect("a sound main file");
        let mut secrets = Secrets::default();
        secrets.insert("K", Ok(Secret::new(CANARY)));
        secrets.insert("W", Ok(Secret::new("whsec_YzRuNHJ5K3MzY3JldC8wMTIzNDU2Nzg5PQ==")));
        let config = Config { settings, secrets, source_scripts: SourceScripts::built_in(), ..Config::default() };
        let (config, configs) = watch::channel(Arc::new(config));
        let (token, tokens) = watch::channel(Some(Secret::new(CANARY)));
        let (store, sources) = (Arc::new(Store::default()), Arc::new(Sources::new(configs)));
        let local = Arc::new(Routes::local(store.clone(), sources.clone()));
        let guarded = Arc::new(Routes::guarded(store.clone(), sources, tokens));
        Self { runtime, store, local, guarded, _config: config, _token: token }
    }

    fn exchange(&self, handler: &Arc<dyn Handler>, sent: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (mut from, mut to) = tokio::io::split(ours);
            let stop = CancellationToken::new();
            let serving = serve_connection(theirs, handler.clone(), None, Patience::TCP, stop);
            let sending = async {
                to.write_all(sent).await.ok();
                to.shutdown().await.ok();
            };
            let mut answers = vec![];
            let reading = async { from.read_to_end(&mut answers).await.ok() };
            tokio::join!(serving, sending, reading);
            answers
        })
    }
}

thread_local! {
    static HOUSE: House = House::new();
}

pub(crate) fn run(data: &[u8]) {
    let (door, sent) = split_first(data);
    let guarded = door % 2 == 1;
    let (answers, taken) = HOUSE.with(|house| {
        let handler = if guarded { &house.guarded } else { &house.local };
        (house.exchange(handler, sent), house.store.take())
    });
    assert!(!shows_secret(&answers) || shows_secret(sent), "{:?}", String::from_utf8_lossy(&answers));
    let answers = read(&answers);
    for answer in &answers {
        is_sound(answer);
    }
    let acknowledged: usize = answers.iter().map(Answer::acknowledged).sum();
    assert_eq!(acknowledged, taken.len(), "what is acknowledged is what is handed over: {answers:?}");
    for event in &taken {
        assert!(event.raw.len() <= limits::EVENT && event.weight() <= 2 * limits::EVENT + 1024);
        for (name, text) in [("type", &event.kind), ("id", &event.id)] {
            native::check_name(name, text).unwrap_or_else(|refusal| panic!("{refusal}: {text:?}"));
        }
        event.data();
    }
    // Nothing but the token, or what is made with a key, opens the guarded door; the corpus has some signatures.
    let has = |word: &str| sent.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    if guarded && !has(CANARY) && !has("signature") {
        assert!(taken.is_empty(), "{taken:?} came in without the token");
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    media_type: String,
    body: Vec<u8>,
}

impl Answer {
    /// How many events it acknowledges.
    fn acknowledged(&self) -> usize {
        if !matches!(self.status, 202 | 207) {
            return 0;
        }
        let is_id = |answer: &Json| answer["id"].is_string() && answer["duplicate"].is_boolean();
        let lines = serde_json::Deserializer::from_slice(&self.body).into_iter::<Json>();
        let answers = lines.map(|line| line.expect("an answer is JSON"));
        answers
            .map(|answer| match answer {
                Json::Array(all) => all.iter().filter(|one| is_id(one)).count(),
                one => usize::from(is_id(&one)),
            })
            .sum()
    }
}

fn is_sound(answer: &Answer) {
    assert!(STATUSES.contains(&answer.status), "{answer:?}");
    if answer.media_type == "application/problem+json" {
        let problem: Json = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
        assert_eq!(problem["status"], answer.status);
        assert_eq!(problem["type"], "about:blank");
        let code = problem["error"]["code"].as_str().unwrap_or_default();
        assert!(Code::WORDS.contains(&code), "{answer:?}");
        assert_eq!(problem["detail"], problem["error"]["message"]);
    }
}

/// The answers of a connection. One to HEAD has no body, whatever its length says.
fn read(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = vec![];
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
        bytes = &bytes[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("HTTP/1."), "{first:?}");
        let status = first[9..12].parse().expect("a status");
        let (mut length, mut media_type) = (0, String::new());
        for line in lines {
            let (name, value) = line.split_once(':').expect("a header");
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "content-type" => media_type = value.trim().to_owned(),
                "transfer-encoding" => panic!("{first}: a body in pieces"),
                _ => {}
            }
        }
        let bodiless = bytes.is_empty() || bytes.starts_with(b"HTTP/1.");
        let body = if bodiless { vec![] } else { bytes.get(..length).expect("a whole body").to_vec() };
        bytes = &bytes[body.len()..];
        let media_type = if bodiless { String::new() } else { media_type };
        answers.push(Answer { status, media_type, body });
    }
    answers
}
