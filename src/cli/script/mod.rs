//! `postrider script`: a script of a platform or a source, against its cases or against one event, answer or request.

mod answer;
mod cases;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;

use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, local, output};
use crate::edges::secrets::SecretFolders;
use crate::engine::wire;
use crate::rules::diagnostic::{Diagnostic, Source, Span};
use crate::rules::hook::{Shared, read_options};
use crate::rules::platform::{Given, Platform, RenderError};
use crate::rules::source::{Incoming, NamedSource, Outcome, SourceScript, read_source_options};
use crate::rules::yaml::reader::Reader;
use crate::rules::yaml::{self, Value};
use crate::words::event::JSON;
use crate::words::exchange::Request;
use crate::words::json::Members;
use crate::words::limits;
use crate::words::secret::Secrets;

/// Run the script of a platform or a source: its cases, or one event, answer or request
///
/// A case of a platform gives an event and options and expects a request, or gives an answer and expects a verdict; a case of
/// a source gives a request and expects events, or an answer. Unless said otherwise the cases are those in NAME.cases.yaml
/// beside the script. Exit code 1 means that a case failed, 78 that the script or the cases cannot be read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider script scripts/platforms/pager.rhai
  postrider script scripts/platforms/pager.rhai --bless
  postrider script scripts/platforms/pager.rhai --watch
  postrider script scripts/platforms/pager.rhai --event event.json --options '{url: \"https://pager.example.com\"}'
  postrider script scripts/platforms/pager.rhai --answer '{\"error\": 17}'
  postrider script scripts/sources/shop.rhai --cases tests/sources/shop.yaml
  postrider script scripts/sources/shop.rhai --request body.json --options '{zone: \"+01:00\"}'")]
pub(crate) struct Script {
    /// The script, a .rhai file
    #[arg(value_name = "FILE")]
    script: PathBuf,
    /// The cases, a YAML file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event", "request", "answer"])]
    cases: Option<PathBuf>,
    /// Write into the file of the cases what the script does now, where a case expects something else or nothing yet
    #[arg(long, conflicts_with_all = ["event", "request", "answer", "watch"])]
    bless: bool,
    /// Print the request that a platform makes of this event (as in `render`)
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["request", "answer"])]
    event: Option<String>,
    /// Print what a platform makes of this answer: a status, a body, or a file with a body or a whole HTTP answer
    #[arg(long, value_name = "STATUS|BODY|FILE", conflicts_with = "request")]
    answer: Option<String>,
    /// Print the events that a source makes of this request: a file with a body, or with a whole HTTP request
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The options, as YAML
    #[arg(long, value_name = "YAML", default_value = "{}", conflicts_with_all = ["cases", "answer"])]
    options: String,
    /// Run again whenever the script, the cases or the event's file changes
    #[arg(long)]
    watch: bool,
}

/// How the name of the cases ends that stand beside a script.
pub(crate) const CASES: &str = "cases.yaml";

/// A compiled script of either kind.
pub(crate) enum Compiled {
    Platform(Arc<Platform>),
    Source(Arc<SourceScript>),
}

impl Script {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        if self.watch { watch::run(&self, global).await } else { self.once(global).await }
    }

    async fn once(&self, global: &Global) -> Result<(), Exit> {
        let script = compile(&self.script, &local::source(&self.script, limits::SCRIPT_FILE)?).map_err(wrong)?;
        match (script, &self.event, &self.answer, &self.request) {
            (Compiled::Platform(platform), Some(event), ..) => self.make_request(global, &platform, event).await,
            (Compiled::Platform(platform), _, Some(answer), _) => answer::judge(global, &platform, answer),
            (Compiled::Source(script), .., Some(request)) => self.make_events(global, &script, request),
            (script, None, None, None) => cases::run(global, &script, &self.cases_file()?, self.bless),
            (Compiled::Platform(_), ..) => {
                Err(Exit::new(Code::Usage, "this is the script of a platform").help("give it an event: --event EVENT"))
            }
            (Compiled::Source(_), ..) => {
                Err(Exit::new(Code::Usage, "this is the script of a source").help("give it a request: --request FILE"))
            }
        }
    }

    /// The cases that were named, or those beside the script.
    fn cases_file(&self) -> Result<PathBuf, Exit> {
        let beside = || self.script.with_extension(CASES);
        let file = self.cases.clone().unwrap_or_else(beside);
        if self.cases.is_none() && !file.exists() {
            let exit = Exit::new(Code::Usage, format!("there are no cases in {}", file.display()));
            return Err(
                exit.help("write some there, or give --cases FILE, --event EVENT, --answer STATUS or --request FILE")
            );
        }
        Ok(file)
    }

    async fn make_request(&self, global: &Global, platform: &Platform, event: &str) -> Result<(), Exit> {
        let event = local::event(global, event).await?;
        let source = Source::new("--options", format!("options: {}", self.options));
        let root = yaml::parse(&source).map_err(|found| wrong(vec![found]))?;
        let mut reader = Reader::new(&source);
        let trees = match &root.value {
            Value::Map(entries) => {
                let map = yaml::reader::Map::new("", entries);
                read_options(&mut reader, &Shared::default(), &map, Some(platform))
            }
            _ => Vec::new(),
        };
        if reader.failed() {
            return Err(wrong(reader.found));
        }
        let names = trees.iter().flat_map(|(_, tree)| tree.secrets().iter().map(|(name, _)| name.as_str()));
        let secrets = read_secrets(global, names);
        let now = Timestamp::now();
        let given = Given { id: "example-1", attempt: 1, now, hook: "script", event: &event, secrets: &secrets };
        let rendered = trees.iter().map(|(name, tree)| Ok((name.clone(), tree.render(&given)?)));
        let options = rendered.collect::<Result<Members, _>>();
        match options.and_then(|options| requests(platform, &given, &options)) {
            Ok(requests) => requests.iter().enumerate().try_for_each(|(n, request)| {
                if n > 0 {
                    output::say("")?;
                }
                output::bytes(&wire::request(request))
            }),
            Err(RenderError::Wrong(mut found)) => {
                found.what = secrets.redact(&found.what);
                // What a hook's author is told needs no place in the script.
                if found.place.is_none() && found.code == "request" {
                    found.place = Some(platform.request_place());
                }
                local::say(&advised(*found));
                Err(Exit::silent(Code::Failed))
            }
            Err(error @ RenderError::Secret { .. }) => Err(Exit::new(Code::Configuration, error.to_string())
                .help("write it to a file of that name in the secrets.d folder")),
        }
    }

    fn make_events(&self, global: &Global, script: &Arc<SourceScript>, file: &Path) -> Result<(), Exit> {
        let source = self.named(script)?;
        let secrets = read_secrets(global, source.secrets.iter().map(|(name, _)| name.as_str()));
        let incoming = incoming(local::read(file, limits::EVENT + limits::HTTP_HEAD)?)?;
        let now = Timestamp::now();
        let outcome = match source.open(&incoming, &secrets, now) {
            Ok(opened) => {
                let verified = match (&opened.how, opened.verified) {
                    (Some(how), _) => format!("verified: {how}"),
                    (None, true) => "verified: the token".to_owned(),
                    (None, false) => "nothing is verified".to_owned(),
                };
                global.note(verified);
                opened.events(&secrets, now)
            }
            Err(outcome) => outcome,
        };
        match outcome {
            Outcome::Events(events, notes) => {
                notes.into_iter().for_each(|note| global.note(note));
                events.iter().try_for_each(|event| output::json(&local::native(event)))
            }
            Outcome::Respond { status, headers, body } => {
                output::say(status.to_string())?;
                for (name, value) in &headers {
                    output::say(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
                }
                output::bytes(&body)
            }
            Outcome::Refused { status, why } => Err(Exit::new(Code::Failed, format!("refused: {status} {why}"))),
            Outcome::Failed(found) => {
                local::say(&found);
                Err(Exit::silent(Code::Failed))
            }
            Outcome::Missing { secret, why } => {
                Err(Exit::new(Code::Configuration, format!("secret {secret} cannot be read: {why}")))
            }
        }
    }

    fn named(&self, script: &Arc<SourceScript>) -> Result<NamedSource, Exit> {
        let source = Source::new("--options", self.options.clone());
        let node = yaml::parse(&source).map_err(|found| wrong(vec![found]))?;
        let mut reader = Reader::new(&source);
        let named = read_source_options(&mut reader, &script.name, Span::default(), Some(&node), script);
        let failed = reader.failed();
        reader.found.iter().for_each(local::say);
        named.filter(|_| !failed).ok_or_else(|| Exit::silent(Code::Configuration))
    }
}

/// The request, or those of a message in parts.
fn requests(platform: &Platform, given: &Given<'_>, options: &Members) -> Result<Vec<Request>, RenderError> {
    let one = |part| {
        let mut options = platform.options(options);
        options.turn.part = part;
        let made = platform.make(given, options)?;
        let parts = made.parts;
        Ok((platform.finish(made, given)?, parts))
    };
    let (first, parts) = one(0)?;
    std::iter::once(Ok(first)).chain((1..parts).map(|part| one(part).map(|(request, _)| request))).collect()
}

/// Compiles a script, which is named after its file.
pub(crate) fn compile(file: &Path, source: &Source) -> Result<Compiled, Vec<Diagnostic>> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if SourceScript::is_meant(source) {
        return SourceScript::compile(&name, source.clone(), false).map(|script| Compiled::Source(Arc::new(script)));
    }
    Platform::compile(&name, source.clone(), false).map(|platform| Compiled::Platform(Arc::new(platform)))
}

/// A body, or a whole request as it goes over the wire: a line with method and path, headers, an empty line, the body.
fn incoming(bytes: Vec<u8>) -> Result<Incoming, Exit> {
    let first = first_line(&bytes);
    let mut words = first.split(' ');
    let line = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0" | "HTTP/2")) = line else {
        let json = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(JSON))]);
        return Ok(request(Method::POST, "/in/script", json, bytes));
    };
    let odd = |what: String| Exit::new(Code::BadEvent, format!("the request cannot be read: {what}"));
    let (headers, body) = headers_and_body(&bytes).map_err(odd)?;
    let method = method.parse().map_err(|_| odd(format!("{method:?} is no method")))?;
    Ok(request(method, target, headers, body))
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()).trim().to_owned()
}

/// What stands below the first line of an HTTP message.
fn headers_and_body(bytes: &[u8]) -> Result<(HeaderMap, Vec<u8>), String> {
    let ends = [&b"\r\n\r\n"[..], b"\n\n"];
    let end =
        ends.iter().filter_map(|end| Some((bytes.windows(end.len()).position(|at| at == *end)?, end.len()))).min();
    let (end, gap) = end.ok_or("no empty line ends its headers")?;
    let mut headers = HeaderMap::new();
    for line in String::from_utf8_lossy(&bytes[..end]).lines().skip(1) {
        let odd = || format!("{line:?} is no header");
        let (name, value) = line.split_once(':').ok_or_else(odd)?;
        let name: HeaderName = name.trim().parse().map_err(|_| odd())?;
        headers.append(name, value.trim().parse().map_err(|_| odd())?);
    }
    Ok((headers, bytes[end + gap..].to_vec()))
}

fn request(method: Method, target: &str, headers: HeaderMap, body: Vec<u8>) -> Incoming {
    let path = target.split('?').next().unwrap_or_default();
    let event = path.strip_prefix("/in/").and_then(|rest| rest.split_once('/')).map_or("", |(_, event)| event);
    Incoming { method, target: target.to_owned(), event: event.to_owned(), headers, body: body.into() }
}

fn read_secrets<'n>(global: &Global, names: impl Iterator<Item = &'n str>) -> Secrets {
    let folders = SecretFolders::new(global.paths().secrets);
    let mut secrets = Secrets::default();
    for name in names {
        secrets.insert(name, folders.read(name).0);
    }
    secrets
}

/// What a script does wrong, for its author: with one thing to do.
fn advised(mut found: Diagnostic) -> Diagnostic {
    found.help.get_or_insert_with(|| match found.code {
        "request" => "fn request gives #{ url: …, json: … }; `man postrider-rhai` says what else".to_owned(),
        _ => "correct it; `man postrider-rhai` shows whole scripts".to_owned(),
    });
    found
}

fn wrong(problems: Vec<Diagnostic>) -> Exit {
    problems.iter().for_each(local::say);
    Exit::silent(Code::Configuration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_body_or_a_whole_message() {
        let body = incoming(b"{\"a\":1}".to_vec()).expect("a body");
        assert_eq!((body.method.as_str(), &body.body[..]), ("POST", &b"{\"a\":1}"[..]));
        assert_eq!(body.headers["content-type"], JSON);
        for line in ["\n", "\r\n"] {
            let text = format!("PUT /in/shop/sold?x=1 HTTP/1.1{line}X-A:  b{line}{line}the body\n\nof it");
            let whole = incoming(text.into_bytes()).expect("a request");
            assert_eq!((whole.method.as_str(), &*whole.event, whole.query()), ("PUT", "sold", "x=1"));
            assert_eq!(
                (&whole.headers["x-a"], &whole.body[..]),
                (&HeaderValue::from_static("b"), &b"the body\n\nof it"[..])
            );
        }
        assert!(incoming(b"GET / HTTP/1.1\nnonsense\n\n".to_vec()).is_err());
        assert!(incoming(b"GET / HTTP/1.1\na: b\n".to_vec()).is_err());
    }
}
