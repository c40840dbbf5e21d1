//! `postrider sink`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::cli::Global;
use crate::cli::exit::{Code, Exit};
use crate::cli::output;
use crate::edges::sink::{
    Behaviour, BotOptions, Failing, Fault, Judgement, Limit, Platform, Record, Salt, SinkHandle, SinkOptions, Step,
};
use crate::rules::signature::{Outline, Scheme};
use crate::words::limits;
use crate::words::secret::Secret;

/// Receive and print, as a platform would
///
/// Prints every request with the answer it was given and the reason. With --as it answers as the robots of that
/// platform do: the same checks in the same order, the same words, the same limits. Any token is a robot, unless
/// --token names the known ones; the tokens unknown, removed, disabled and disbanded are robots in that state. Tokens
/// and signatures in a URL are shown as hashes.
///
/// GET and DELETE /__fake/requests show and forget what came; POST /__fake/script takes what is to happen next, such as
/// {"status":503,"times":2} or {"fault":"reset"}.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  postrider sink --as dingtalk --keyword app\n  postrider sink --verify preset=standard-webhooks --secret-file ci.key\n  postrider sink --status 503 --fail-first 2\n  postrider sink --body '{\"ok\": false, \"error\": 17}'"
)]
pub(crate) struct Sink {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8471")]
    listen: SocketAddr,
    /// Whom to play; without it everything is taken
    #[arg(long = "as", value_name = "PLATFORM", group = "checker", value_parser = PossibleValuesParser::new(Platform::ALL[1..].iter().map(|(_, name)| *name)))]
    platform: Option<String>,
    /// A known token; any other is unknown then
    #[arg(long, value_name = "TOKEN", requires = "platform")]
    token: Vec<String>,
    /// Take only what is signed so, such as preset=github or signed=url+body; may be given again
    #[arg(long, value_name = "KEY=VALUE", group = "checker", value_parser = pair)]
    verify: Vec<(String, String)>,
    /// The signing secret (others on this machine can read a command line: see --secret-file)
    #[arg(long, value_name = "SECRET", value_parser = secret, requires = "checker")]
    secret: Option<Secret>,
    /// A file with the signing secret
    #[arg(long, value_name = "PATH", conflicts_with = "secret", requires = "checker")]
    secret_file: Option<PathBuf>,
    /// A keyword of the robot; one of them must stand in the text
    #[arg(long, value_name = "WORD", requires = "platform")]
    keyword: Vec<String>,
    /// Answer with this status, in place of the platform
    #[arg(long, value_name = "STATUS", conflicts_with_all = ["hang", "reset"], value_parser = clap::value_parser!(u16).range(200..=999))]
    status: Option<u16>,
    /// The body of its answers: of those with --status, else of a 200 in place of ok
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["platform", "hang", "reset"])]
    body: Option<String>,
    /// Only this part of the requests goes wrong, from 0 to 1 (with 503, unless --status, --hang or --reset say how)
    #[arg(long, value_name = "PART", value_parser = part)]
    fail_rate: Option<f64>,
    /// Only the first N requests go wrong
    #[arg(long, value_name = "N")]
    fail_first: Option<u64>,
    /// Hold every answer back for so long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    delay: Option<Duration>,
    /// Never answer
    #[arg(long, conflicts_with = "reset")]
    hang: bool,
    /// Reset the connection in place of an answer
    #[arg(long)]
    reset: bool,
    /// Let so many requests through in so long, such as 5/1m; above it refuse as the platform does, else with 429
    #[arg(long, value_name = "N/DURATION", value_parser = rate)]
    rate: Option<Limit>,
    /// Exit after N requests
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    once: Option<u64>,
}

impl Sink {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let (mut options, platform) = self.options()?;
        let printer = Arc::new(Printer {
            json: global.json,
            only_refused: global.quiet,
            salt: options.salt.clone(),
            refused: AtomicU64::new(0),
            broken: Mutex::new(None),
            stop: Notify::new(),
        });
        let printing = printer.clone();
        options.observer = Some(Arc::new(move |record: &Record| printing.print(record)));
        let listener = TcpListener::bind(self.listen).await.map_err(|error| {
            Exit::caused(Code::Failed, format!("cannot listen on {}", self.listen), &error)
                .help("choose another port with --listen, or port 0 for any free one")
        })?;
        let sink = crate::edges::sink::Sink::serve(listener, options)
            .map_err(|error| Exit::caused(Code::Failed, "cannot listen", &error))?;
        global.note(self.greeting(platform, &sink));

        tokio::select! {
            () = sink.reached(self.once.unwrap_or(u64::MAX)) => {}
            () = stop_signal() => {}
            () = printer.stop.notified() => {}
        }
        let seen = sink.count();
        // The last answer is still on its way.
        sink.finish(self.delay.unwrap_or_default() + Duration::from_secs(1)).await;
        if let Some(exit) = printer.broken().take() {
            return Err(exit);
        }
        global.note(format!("{seen} requests, {} of them not taken", printer.refused.load(Ordering::Relaxed)));
        Ok(())
    }

    fn options(&self) -> Result<(SinkOptions, Platform), Exit> {
        let platform = match &self.platform {
            None => Platform::Plain,
            Some(name) => name.parse().map_err(|why: String| Exit::new(Code::Usage, why))?,
        };
        let secret = match &self.secret_file {
            None => self.secret.clone(),
            Some(path) => Some(read_secret(path)?),
        };
        if !platform.has_secret() && secret.is_some() {
            let what = format!("a {} receiver has no signing secret", platform.name());
            return Err(Exit::new(Code::Usage, what)
                .help("what stands in its URL or its body is the whole secret; --token names it"));
        }
        if !platform.has_keywords() && !self.keyword.is_empty() {
            let what = format!("a {} receiver has no keywords", platform.name());
            return Err(Exit::new(Code::Usage, what).help("those of dingtalk and lark have; leave --keyword out"));
        }
        let verify = if self.verify.is_empty() { None } else { Some(Arc::new(self.scheme(secret.as_ref())?)) };
        let default = BotOptions {
            verify,
            secret,
            keywords: self.keyword.clone(),
            limits: self.rate.map(|limit| vec![limit]),
            reply: self.body.as_deref().filter(|_| self.status.is_none()).map(Into::into),
            ..BotOptions::default()
        };
        let options = SinkOptions {
            platform,
            bots: self.token.iter().map(|token| (token.clone(), default.clone())).collect(),
            only_known: !self.token.is_empty(),
            default,
            behaviour: Behaviour { delay: self.delay.unwrap_or_default(), failing: self.failing() },
            ..SinkOptions::default()
        };
        Ok((options, platform))
    }

    /// How requests must be signed, in the words of a hook file.
    fn scheme(&self, secret: Option<&Secret>) -> Result<Scheme, Exit> {
        let Some(secret) = secret else {
            return Err(Exit::new(Code::Usage, "--verify needs a key").help("add --secret-file PATH"));
        };
        let map = self.verify.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let outline = Outline::read(&map).map_err(|mut faults| faults.swap_remove(0));
        let scheme = outline.and_then(|outline| Scheme::new(outline.into(), std::slice::from_ref(secret)));
        scheme.map_err(|fault| Exit::new(Code::Usage, format!("--verify: {}", fault.what)).help(fault.help))
    }

    /// `--status`, `--hang` and `--reset` say how, `--fail-rate` and `--fail-first` say which: without them, all.
    fn failing(&self) -> Option<Failing> {
        let step = match (self.hang, self.reset, self.status) {
            (true, ..) => Step::fault(Fault::Stall),
            (_, true, _) => Step::fault(Fault::Reset),
            (_, _, Some(status)) => Step { body: self.body.clone(), ..Step::status(status) },
            _ if self.fail_rate.is_none() && self.fail_first.is_none() => return None,
            _ => Step::status(503),
        };
        let all = self.fail_rate.is_none() && self.fail_first.is_none();
        let rate = self.fail_rate.unwrap_or(if all { 1.0 } else { 0.0 });
        Some(Failing { first: self.fail_first.unwrap_or(0), rate, step })
    }

    fn greeting(&self, platform: Platform, sink: &SinkHandle) -> String {
        let url = sink.url(self.token.first().map_or("TEST", String::as_str));
        match platform {
            Platform::Plain => format!("listening at {url}"),
            _ => format!("a {} robot listens at {url}", platform.name()),
        }
    }
}

/// Prints requests as they come. Whoever reads slowly slows the sink down, and nothing piles up.
struct Printer {
    json: bool,
    only_refused: bool,
    salt: Salt,
    refused: AtomicU64,
    /// Why nothing can be printed any more.
    broken: Mutex<Option<Exit>>,
    stop: Notify,
}

impl Printer {
    fn print(&self, record: &Record) {
        let accepted = record.judgement.accepted;
        self.refused.fetch_add(u64::from(!accepted), Ordering::Relaxed);
        let printed = match (self.json, self.only_refused && accepted) {
            (true, _) => output::json(&record.to_json(&self.salt)),
            (false, true) => Ok(()),
            (false, false) => output::say(shown(record, &self.salt)),
        };
        if let Err(exit) = printed {
            *self.broken() = Some(exit);
            self.stop.notify_one();
        }
    }

    fn broken(&self) -> MutexGuard<'_, Option<Exit>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ctrl-C, or what systemd sends.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn read_secret(path: &PathBuf) -> Result<Secret, Exit> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limits::SECRET_FILE as u64).read_to_string(&mut text))
        .map_err(|error| Exit::caused(Code::Configuration, format!("cannot read {}", path.display()), &error))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write it as in preset=github".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|part| (0.0..=1.0).contains(part)).ok_or_else(|| "give a part from 0 to 1".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "give a number with its unit, such as 200ms or 5s".to_owned())
}

fn rate(text: &str) -> Result<Limit, String> {
    let bad = || "give N/duration, such as 5/1m".to_owned();
    let (count, window) = text.split_once('/').ok_or_else(bad)?;
    let count = count.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?;
    let window =
        if window.starts_with(|c: char| c.is_ascii_digit()) { window.to_owned() } else { format!("1{window}") };
    let window = duration(&window).ok().filter(|window| !window.is_zero()).ok_or_else(bad)?;
    Ok(Limit::sliding(count, window))
}

/// One request for a person: what came, what was answered, and why.
fn shown(record: &Record, salt: &Salt) -> String {
    let request = &record.request;
    let time = record.time.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f");
    let head = format!("{} {}", request.method, request.shown_target(salt));
    let mut text = format!("{time} {}\n", output::paint(output::BOLD, &output::clean_line(&head)));
    for (name, value) in request.shown_headers(salt) {
        line(&mut text, "", &format!("{name}: {value}"));
    }
    if !request.body.is_empty() {
        text.push('\n');
        for body_line in shown_body(record, salt).lines() {
            let _ = writeln!(text, "  {}", output::clean_line(body_line));
        }
    }
    text.push('\n');
    let style = if record.judgement.accepted { output::GOOD } else { output::BAD };
    let answer = match record.status {
        Some(status) => format!("-> {status} {}", cut(String::from_utf8_lossy(&record.answer).trim_end())),
        None => "-> no answer".to_owned(),
    };
    line(&mut text, "", &output::paint(style, &output::clean_line(&answer)));
    if let Some(fault) = &record.fault {
        line(&mut text, "broken on purpose: ", fault);
    }
    reasons(&mut text, &record.judgement);
    text
}

fn reasons(text: &mut String, judgement: &Judgement) {
    if !judgement.why.is_empty() {
        line(text, if judgement.accepted { "note: " } else { "refused: " }, &judgement.why);
    }
    let mentions = &judgement.mentions;
    let mut called: Vec<&str> = if mentions.all { vec!["everybody"] } else { Vec::new() };
    called.extend(mentions.users.iter().chain(&mentions.mobiles).map(String::as_str));
    for (label, list) in [
        ("mentions: ", called),
        ("mentions nobody: ", mentions.unresolved.iter().map(String::as_str).collect()),
        ("ignored without a word: ", judgement.ignored_members.iter().map(String::as_str).collect()),
        ("came twice: ", judgement.duplicate_keys.iter().map(String::as_str).collect()),
        ("note: ", judgement.notes.iter().map(String::as_str).collect()),
    ] {
        if !list.is_empty() {
            line(text, label, &list.join(", "));
        }
    }
}

fn line(text: &mut String, label: &str, value: &str) {
    // What is painted was cleaned before.
    let value = if value.starts_with('\u{1b}') { value.to_owned() } else { output::clean_line(value) };
    let _ = writeln!(text, "  {label}{value}");
}

fn shown_body(record: &Record, salt: &Salt) -> String {
    let Some(body) = record.request.shown_body(salt) else {
        return format!("({} bytes that are not text)", record.request.body.len());
    };
    let pretty = serde_json::from_str::<Json>(&body).ok().and_then(|json| serde_json::to_string_pretty(&json).ok());
    cut(&pretty.unwrap_or(body))
}

fn cut(text: &str) -> String {
    if text.len() <= limits::SINK_SHOWN {
        return text.to_owned();
    }
    let mut end = limits::SINK_SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes in all)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sink: Sink,
    }

    fn parse(arguments: &str) -> Result<Sink, clap::Error> {
        Cli::try_parse_from(std::iter::once("sink").chain(arguments.split_whitespace())).map(|cli| cli.sink)
    }

    #[test]
    fn what_goes_wrong_and_when() {
        for (arguments, expected) in [
            ("", None),
            ("--status 204", Some((0, 1.0, Step::status(204)))),
            ("--status 200 --body {}", Some((0, 1.0, Step { body: Some("{}".to_owned()), ..Step::status(200) }))),
            ("--body {}", None),
            ("--fail-first 2", Some((2, 0.0, Step::status(503)))),
            ("--fail-rate 0.2 --status 429", Some((0, 0.2, Step::status(429)))),
            ("--hang", Some((0, 1.0, Step::fault(Fault::Stall)))),
            ("--reset --fail-first 3 --fail-rate 0.5", Some((3, 0.5, Step::fault(Fault::Reset)))),
        ] {
            let failing = parse(arguments).unwrap().failing();
            assert_eq!(failing.map(|failing| (failing.first, failing.rate, failing.step)), expected, "{arguments}");
        }
    }

    #[test]
    fn durations_and_rates_need_a_unit() {
        assert_eq!(parse("--delay 200ms").unwrap().delay, Some(Duration::from_millis(200)));
        assert_eq!(parse("--rate 5/1m").unwrap().rate, Some(Limit::sliding(5, Duration::from_secs(60))));
        assert_eq!(parse("--rate 5/s").unwrap().rate, Some(Limit::sliding(5, Duration::from_secs(1))));
        for bad in ["--delay 200", "--delay -1s", "--rate 5", "--rate 0/1m", "--rate 5/60", "--fail-rate 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_on_the_command_line_is_not_printed() {
        let sink = parse("--as dingtalk --secret SECabcdef").unwrap();
        assert_eq!(sink.secret.as_ref().map(Secret::expose), Some("SECabcdef"));
        assert!(!format!("{sink:?}").contains("SECabcdef"));
        assert!(parse("--as wecom --secret SECabcdef").unwrap().options().is_err());
        assert!(parse("--secret SECabcdef").is_err(), "nobody to check it");
        assert!(parse("--verify preset=github --secret k").unwrap().options().is_ok());
        assert!(parse("--verify preset=github").unwrap().options().is_err(), "no key");
        assert!(parse("--verify preset=guthub --secret k").unwrap().options().is_err());
    }
}
