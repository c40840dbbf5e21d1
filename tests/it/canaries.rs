//! Secrets that are planted wherever one can stand, and looked for wherever something comes out.
//!
//! Each place has a secret of its own (`places`), and each output says by a mark that is no secret that the search would
//! have found one there. A receiver says back whatever it is sent, each time in another writing (`echo`); `forms` knows
//! the writings that are looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::support::PATIENCE;

mod echo;
mod forms;
mod places;

use echo::Echo;
use places::{COMMON, PLACES};

/// What is no secret and stands in the event.
const MARK: &str = "mark-of-no-secret";
/// What is no secret and stands in the environment.
const IN_ENVIRONMENT: &str = "CANARY_MARK=mark-of-the-environment";

/// The mark of what may say nothing at all.
const SILENT: &str = "silent";

/// A folder with all the places in it, and the daemon that lives there.
struct House {
    folder: tempfile::TempDir,
    echo: Echo,
    /// Where the daemon's own troubles go.
    troubles: Echo,
    /// Who is told of every event and attempt.
    collector: Echo,
    http: u16,
    metrics: u16,
    daemon: Option<Child>,
    /// What came out, by where: each with a mark that is no secret and stands there.
    outputs: BTreeMap<String, (Vec<u8>, String)>,
}

impl House {
    fn build() -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, metrics] = ports.map(|port| port.local_addr().unwrap().port());
        let folder = tempfile::tempdir().unwrap();
        let (echo, troubles, collector) = (Echo::start(), Echo::start(), Echo::start());
        let house = Self { folder, echo, troubles, collector, http, metrics, daemon: None, outputs: BTreeMap::new() };
        for (number, place) in PLACES.iter().enumerate() {
            for (path, text) in place.files {
                let text = text.replace("CANARY", &place.canary(number));
                house.write(path, &text);
            }
        }
        house.write(
            "hooks.d/troubles.yaml",
            "events: \"postrider.*\"\nplatform: webhook\noptions: {url: \"http://TROUBLES/fine\"}\n",
        );
        house.write(
            "postrider.yaml",
            &format!(
                "listen: {{http: 127.0.0.1:{http}, http_token: {{secret: listener}}, metrics: 127.0.0.1:{metrics}}}\n\
                 sources:\n  tokened: {{script: pgyer, options: {{token: {{secret: source-token}}}}}}\n  \
                 signed: {{script: github, options: {{secret: {{secret: source-key}}}}}}\n\
                 traces: {{endpoint: \"http://COLLECTOR/fine\"}}\n"
            ),
        );
        house
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let whole = self.path().join(path);
        fs::create_dir_all(whole.parent().unwrap()).unwrap();
        let text = match path.ends_with(".yaml") && path.starts_with("hooks.d") && !text.starts_with("events") {
            true => format!("{COMMON}{text}"),
            false => text.to_owned(),
        };
        let text = text.replace("ECHO", &self.echo.address.to_string());
        let text = text.replace("TROUBLES", &self.troubles.address.to_string());
        let text = text.replace("COLLECTOR", &self.collector.address.to_string());
        let text = text.replace("FOLDER", &self.path().display().to_string());
        let bytes: Vec<u8> = match text.split_once("\0BYTE") {
            Some((text, _)) => [text.as_bytes(), b"\xff"].concat(),
            None => text.into_bytes(),
        };
        fs::write(&whole, bytes).unwrap();
        fs::set_permissions(&whole, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The secret of the place of this name.
    fn secret(&self, name: &str) -> String {
        let number = PLACES.iter().position(|place| place.name == name).unwrap_or_else(|| panic!("no place {name}"));
        PLACES[number].canary(number)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env(variable, self.path());
        }
        let (name, value) = IN_ENVIRONMENT.split_once('=').unwrap();
        command.env(name, value).env("CREDENTIALS_DIRECTORY", self.path().join("credentials"));
        command
    }

    fn start(&mut self, log: &str, arguments: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.path().join(log)).unwrap();
        let mut command = self.command(arguments);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.daemon = Some(child);
        self.until("it answers", |house| house.run(&["status"]).status.code() == Some(0));
    }

    fn stop(&mut self) {
        let mut child = self.daemon.take().unwrap();
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "never came to pass: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a command and keeps what it says.
    fn keep(&mut self, arguments: &[&str], mark: &str) -> Output {
        let output = self.run(arguments);
        let said = [&output.stdout[..], &output.stderr].concat();
        self.kept(format!("postrider {}", arguments.join(" ")), said, mark);
        output
    }

    fn kept(&mut self, name: String, said: Vec<u8>, mark: &str) {
        self.outputs.insert(name, (said, mark.to_owned()));
    }

    /// One request over TCP, its answer kept.
    fn ask(&mut self, port: u16, request: &str, mark: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let length = format!("host: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{}\r\n{length}{body}", head.replace('\n', "\r\n")).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        self.kept(format!("the answer to {}", head.lines().next().unwrap()), answer.clone().into_bytes(), mark);
        answer
    }

    /// The admin socket's answer, kept.
    fn admin(&mut self, target: &str, mark: &str) -> String {
        let mut stream = std::os::unix::net::UnixStream::connect(self.path().join(".postrider/admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        self.kept(format!("GET {target}"), answer.clone().into_bytes(), mark);
        answer
    }

    fn rows(&self, arguments: &[&str]) -> Vec<Json> {
        let output = self.run(arguments);
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _gone = daemon.kill();
            let _reaped = daemon.wait();
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.path())).collect()
}

/// What was seen of each file of /proc.
type Seen = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Looks at the command lines and environments of our processes, the proving ones too, for as long as it lives.
struct Watcher {
    seen: Arc<Mutex<Seen>>,
    enough: Arc<AtomicBool>,
    watching: std::thread::JoinHandle<()>,
}

impl Watcher {
    fn start() -> Self {
        let (seen, enough) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (kept, end) = (seen.clone(), enough.clone());
        let watching = std::thread::spawn(move || {
            let program = fs::canonicalize(env!("CARGO_BIN_EXE_postrider")).unwrap();
            while !end.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let process = entry.path();
                    if fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program) {
                        for file in ["cmdline", "environ"] {
                            let mut kept = kept.lock().unwrap();
                            let all = kept.entry(file).or_default();
                            let found = fs::read(process.join(file)).unwrap_or_default();
                            all.insert(found);
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { seen, enough, watching }
    }

    fn end(self) -> Seen {
        self.enough.store(true, Ordering::Relaxed);
        self.watching.join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[test]
fn no_secret_comes_out_anywhere() {
    let mut house = House::build();
    let watcher = Watcher::start();
    house.start("text.log", &["-vv", "run", "--here"]);
    house.keep(&["check"], "mistyped.yaml");
    house.keep(&["check", "--json"], "mistyped.yaml");
    assert_eq!(house.run(&["emit", "canary", &format!("text={MARK}"), "--id", "first"]).status.code(), Some(0));
    knock(&mut house);
    house.until("every hook has tried and given up, or waits for a person", |house| {
        let waits = house.rows(&["queue", "--json", "-n", "100"]);
        let pending =
            |row: &Json| matches!(row["reason"].as_str(), Some("new" | "sending" | "retry" | "turn" | "pace"));
        let tried = |name: &str| house.rows(&["log", "--json", "--hook", name]).len() > echo::WAYS;
        !waits.iter().any(|row| pending(row) && row["hook"] != "garbage" && row["hook"] != "moved")
            && tried("garbage")
            && tried("moved")
    });
    look(&mut house);
    house.stop();
    // Once more, with the other log, and the files as another start finds them.
    house.start("json.log", &["-vv", "--json", "run", "--here"]);
    house.keep(&["status", "--json"], "url-query");
    house.keep(&["reload"], "hooks");
    house.stop();
    house.keep(
        &["render", "url-path", &format!("{{\"type\": \"canary\", \"data\": {{\"text\": \"{MARK}\"}}}}")],
        "POST",
    );

    let program = watcher.end();
    let again = house.path().join("text.log");
    for (name, mark) in [("text.log", "ready"), ("json.log", "\"ready\"")] {
        house.kept(format!("the log {name}"), fs::read(house.path().join(name)).unwrap(), mark);
    }
    assert!(fs::read_to_string(again).unwrap().contains("DEBUG"), "everything is asked for");
    for (name, mark) in [("cmdline", "prove"), ("environ", IN_ENVIRONMENT)] {
        house.kept(format!("/proc/*/{name}"), program[name].iter().cloned().collect::<Vec<_>>().join(&b'\n'), mark);
    }
    let troubles = house.troubles.requests();
    house.kept("what is told of troubles".to_owned(), troubles, "cannot be rendered");
    let spans = house.collector.requests();
    house.kept("what is told of events and attempts".to_owned(), spans, "deliver troubles");
    let state = house.path().join(".postrider/state");
    let all = |wanted: &dyn Fn(&Path) -> bool| {
        let chosen = files(&state).into_iter().filter(|file| wanted(file));
        chosen.map(|file| fs::read(file).unwrap()).collect::<Vec<_>>().join(&b'\n')
    };
    let last_good = |file: &Path| file.starts_with(state.join("last-good"));
    let (journal, kept) = (all(&|file| !last_good(file)), all(&last_good));
    house.kept("the files of the journal".to_owned(), journal, MARK);
    house.kept("the last good versions".to_owned(), kept, "url-query");

    search(&house);
}

/// As text, without the zeros of empty pages.
fn lossy(said: &[u8]) -> String {
    let said: Vec<u8> = said.iter().copied().filter(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&said).into_owned()
}

fn hmac_of(body: &str, key: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What comes to the doors: right tokens, wrong ones, and what a stranger might try.
fn knock(house: &mut House) {
    let [listener, token, wrong] =
        ["the token of the listener", "the token of a source", "a wrong token that somebody sends"]
            .map(|name| house.secret(name));
    let port = house.http;
    let body = format!("{{\"type\": \"posted\", \"data\": {{\"text\": \"{MARK}\"}}}}");
    #[rustfmt::skip]
    let table = [
        (format!("POST /v1/events HTTP/1.1\nauthorization: Bearer {listener}\ncontent-type: application/json\n\n{body}"), "202", "hooks"),
        (format!("POST /v1/events?type=a HTTP/1.1\nauthorization: Bearer {wrong}\n\n{body}"), "401", "http_token"),
        (format!("POST /v1/events?type=b HTTP/1.1\nauthorization: {wrong}\n\n{body}"), "401", "Bearer"),
        (format!("POST /in/tokened HTTP/1.1\nauthorization: Bearer {token}\ncontent-type: application/json\n\n{{\"a\": \"{MARK}\"}}"), "202", "hooks"),
        (format!("POST /in/tokened?again=1 HTTP/1.1\nauthorization: Bearer {wrong}\n\n{body}"), "401", "token"),
        ("POST /in/signed HTTP/1.1\nx-github-event: push\nx-hub-signature-256: sha256=00\n\n{}".to_owned(), "401", "signature"),
        (format!("POST /in/signed?b=1 HTTP/1.1\nx-github-event: push\nx-hub-signature-256: {wrong}\n\n{{}}"), "401", "signature"),
        (format!("POST /in/nobody HTTP/1.1\nauthorization: Bearer {wrong}\n\n{{}}"), "401", "http_token"),
        (format!("POST /in/signed?c=1 HTTP/1.1\nx-github-event: push\nx-hub-signature-256: sha256={}\ncontent-type: application/json\n\n{{}}", hmac_of("{}", &house.secret("the key of a source"))), "202", "hooks"),
        ("GET /healthz HTTP/1.1".to_owned(), "200", "ok\n"),
    ];
    for (request, status, mark) in &table {
        let answer = house.ask(port, request, &mark.replace("ok\n", "200 OK"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    // In the URL it is part of what is asked for, and so not of the name of the answer.
    for (name, value, status) in
        [("the right token in a URL", &token, "202"), ("a wrong token in a URL", &wrong, "401")]
    {
        let request =
            format!("POST /in/tokened?token={value} HTTP/1.1\ncontent-type: application/json\n\n{{\"b\": \"{MARK}\"}}");
        let answer = house.ask(port, &request, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        let said = house.outputs.remove(&format!("the answer to {}", request.lines().next().unwrap())).unwrap();
        house.kept(format!("the answer to {name}"), said.0, "HTTP/1.1");
    }
}

/// Everything that somebody may ask for.
fn look(house: &mut House) {
    let metrics = house.metrics;
    house.ask(metrics, "GET /metrics HTTP/1.1", "postrider_");
    house.ask(metrics, "GET /readyz HTTP/1.1", "ok");
    for (target, mark) in [
        ("/metrics", "url-query"),
        ("/healthz", "ok"),
        ("/readyz", "ok"),
        ("/v1/status", "url-query"),
        ("/v1/queue", "held"),
        ("/v1/shape", "held"),
        ("/v1/deliveries", "url-query"),
        ("/v1/log", "url-query"),
        ("/v1/events/first", MARK),
        ("/v1/explain/first", "url-query"),
    ] {
        let answer = house.admin(target, mark);
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    }
    for arguments in [&["status"][..], &["log", "-n", "1000"], &["log", "--json", "-n", "1000"], &["explain", "first"]]
    {
        house.keep(arguments, "url-query");
    }
    for arguments in [&["queue"][..], &["queue", "--json"], &["queue", "--shape"], &["explain", "first", "--json"]] {
        house.keep(arguments, "held");
    }
    house.keep(&["show", "first"], MARK);
    let rows = house.rows(&["log", "--json", "-n", "1000"]);
    let ids: BTreeSet<String> = rows.iter().map(|row| row["delivery"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() >= 20, "{ids:?}");
    for id in &ids {
        house.admin(&format!("/v1/deliveries/{id}"), id);
        house.keep(&["show", id], id);
    }
    let named = |path: &str| Some(path.strip_prefix("hooks.d/")?.strip_suffix(".yaml")?.to_owned());
    let hooks: Vec<String> = PLACES.iter().flat_map(|place| place.files).filter_map(|(path, _)| named(path)).collect();
    for hook in &hooks {
        let event = format!("{{\"type\": \"canary\", \"data\": {{\"text\": \"{MARK}\"}}}}");
        house.keep(&["test", hook], "");
        house.keep(&["test", hook, "--json"], "");
        house.keep(&["render", hook, &event], "");
        house.keep(&["render", hook, &event, "--curl"], "");
        house.keep(&["check", &format!("hooks.d/{hook}.yaml")], "");
    }
    house.keep(&["replay", "--dead", "--hook", "url-query", "--yes"], "1");
    house.keep(&["replay", "--dead", "--hook", "body", "--original", "--yes", "--json"], "stands in its body");
    house.keep(&["drop", "--hook", "held", "--yes"], "1");
    house.keep(&["hold", "fine", "--for", "1h", "--reason", MARK], "fine");
    house.keep(&["release", "held"], "held");
    house.keep(&["flush"], SILENT);
    house.keep(&["backup", "copy.db"], "copy.db");
    let copy = fs::read(house.path().join("copy.db")).unwrap();
    house.kept("a copy of the journal".to_owned(), copy, MARK);
}

/// What every secret has in its middle.
const COMMON_CORE: &str = "4nArY";

fn search(house: &House) {
    let seen = String::from_utf8_lossy(&house.echo.requests()).into_owned();
    let (mut found, mut exempt) = (Vec::new(), 0);
    let outputs: Vec<(&String, String)> =
        house.outputs.iter().map(|(output, (said, _))| (output, lossy(said))).collect();
    // Most hold none at all.
    let suspect: Vec<&(&String, String)> =
        outputs.iter().filter(|(_, said)| forms::search(said, COMMON_CORE).is_some()).collect();
    for (number, place) in PLACES.iter().enumerate() {
        let canary = place.canary(number);
        let core = format!("k{number:02}4nArY{number:02}");
        assert!(canary.starts_with(&core) && core.contains(COMMON_CORE));
        if place.sent {
            let sent = forms::search(&seen, &canary).or_else(|| forms::search(&seen, &core));
            let login = forms::search(&seen, &format!("alice:{canary}"));
            assert!(sent.or(login).is_some(), "{} was never sent: it is not where a secret stands", place.name);
        }
        for (output, said) in &suspect {
            // A part of it is one too many.
            let Some(form) = forms::search(said, &canary).or_else(|| forms::search(said, &core)) else { continue };
            if place.inline && *output == "the last good versions" {
                exempt += 1;
                continue;
            }
            let at = said.find(&core).unwrap_or(0);
            let around: String = said[said.floor_char_boundary(at.saturating_sub(120))..].chars().take(220).collect();
            found.push(format!("{}: {form} in {output}: …{around}…", place.name));
        }
    }
    assert!(found.is_empty(), "{} secrets came out:\n{}", found.len(), found.join("\n"));
    let inline = PLACES.iter().filter(|place| place.inline).count();
    assert_eq!(exempt, inline, "a secret that stands in a hook file is in its last good version, and only there");
    for file in files(&house.path().join(".postrider/state/last-good")) {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "{}", file.display());
    }
    let blind = |(output, (said, mark)): (&String, &(Vec<u8>, String))| {
        let sees = match mark.as_str() {
            SILENT => true,
            "" => !said.is_empty(),
            mark => String::from_utf8_lossy(said).contains(mark),
        };
        (!sees).then(|| format!("{output} lacks {mark:?}: {}", String::from_utf8_lossy(said)))
    };
    let blind: Vec<String> = house.outputs.iter().filter_map(blind).collect();
    assert!(blind.is_empty(), "the search does not see what it searches:\n{}", blind.join("\n"));
    let counted = (PLACES.len(), house.outputs.len());
    assert!(counted.0 >= 35 && counted.1 >= 200, "{counted:?}");
    println!(
        "{} places, {} outputs, {} bytes",
        counted.0,
        counted.1,
        house.outputs.values().map(|(said, _)| said.len()).sum::<usize>()
    );
}
