//! Hooks, events and files as the commands get them that work without a daemon.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::cli::daemon::{Daemon, with_name};
use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, output};
use crate::edges::config::{Keeper, Paths};
use crate::edges::intake;
use crate::edges::secrets::SecretFolders;
use crate::rules::config::Config;
use crate::rules::diagnostic::{Diagnostic, Severity, Source};
use crate::rules::hook::Hook;
use crate::rules::platform::{Platform, Platforms};
use crate::rules::source::SourceScripts;
use crate::words::event::Event;
use crate::words::json::Exact;
use crate::words::limits;

/// A file's bytes.
pub(crate) fn read(file: &Path, limit: usize) -> Result<Vec<u8>, Exit> {
    let opened = std::fs::File::open(file).map_err(|error| unreadable(file, &error))?;
    bounded(opened, &file.display().to_string(), limit)
}

/// All of standard input.
pub(crate) fn read_stdin(limit: usize) -> Result<Vec<u8>, Exit> {
    bounded(std::io::stdin().lock(), "standard input", limit)
}

/// A file's text under the name that was typed.
pub(crate) fn source(file: &Path, limit: usize) -> Result<Source, Exit> {
    text_of(read(file, limit)?, &file.display().to_string())
}

/// Standard input as a hook file.
pub(crate) fn source_from_stdin() -> Result<Source, Exit> {
    // A hook is named after its file, so the name must be one that a hook may have.
    text_of(read_stdin(limits::HOOK_FILE)?, "stdin.yaml")
}

/// The end of a command that could not read a file.
pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Exit {
    let code = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Code::Permission,
        _ => Code::Failed,
    };
    Exit::caused(code, format!("cannot read {}", file.display()), error)
}

fn bounded(input: impl Read, name: &str, limit: usize) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    let read = input.take(limit as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Exit::caused(Code::Failed, format!("cannot read {name}"), &error))?;
    if bytes.len() > limit {
        return Err(Exit::new(Code::BadEvent, format!("{name} is longer than {limit} bytes")));
    }
    Ok(bytes)
}

fn text_of(bytes: Vec<u8>, name: &str) -> Result<Source, Exit> {
    let text =
        String::from_utf8(bytes).map_err(|_| Exit::new(Code::Configuration, format!("{name} is not text (UTF-8)")))?;
    Ok(Source::new(name, text))
}

/// Everything that the folders hold. A broken main file ends the command, a broken hook is one of the problems.
pub(crate) fn load(paths: Paths) -> Result<Config, Exit> {
    Keeper::new(paths, false).load().map_err(|problems| {
        problems.iter().for_each(say);
        Exit::silent(Code::Configuration)
    })
}

/// Says a finding, in colours where there are some.
pub(crate) fn say(problem: &Diagnostic) {
    output::message(problem.render(true).trim_end());
}

/// Reads one file as a hook of this configuration: its secrets are added to those known.
pub(crate) fn parse(source: &Source, config: &mut Config, paths: &Paths) -> (Option<Hook>, Vec<Diagnostic>) {
    let (hook, problems) = Hook::parse(source, &config.platforms, &config.settings.defaults);
    if let Some(hook) = &hook {
        let folders = SecretFolders::new(paths.secrets.clone());
        for (name, _) in hook.secrets() {
            let (value, _) = folders.read(name);
            config.secrets.insert(name, value);
        }
    }
    (hook, problems)
}

/// Whether a person means a file and not the name of a hook.
pub(crate) fn is_file(hook: &str) -> bool {
    hook.contains('/') || [".yaml", ".yml"].iter().any(|end| hook.ends_with(end))
}

/// A hook by its name or its file, with the configuration around it.
pub(crate) fn hook(global: &Global, name: &str) -> Result<(Arc<Hook>, Config), Exit> {
    let paths = global.paths();
    if is_file(name) {
        let source = source(Path::new(name), limits::HOOK_FILE)?;
        let mut config = load(Paths { hooks: Vec::new(), ..paths.clone() })?;
        let (hook, problems) = parse(&source, &mut config, &paths);
        problems.iter().for_each(say);
        return match hook {
            Some(hook) => Ok((Arc::new(hook), config)),
            None => Err(Exit::silent(Code::Configuration)),
        };
    }
    let config = load(paths.clone())?;
    match config.hooks.get(name) {
        Some(hook) => Ok((hook.clone(), config)),
        None => Err(no_hook(name, &config, &paths.hooks)),
    }
}

/// One of the robots of a hook, or the hook as it is where it has none.
pub(crate) fn robot(hook: &Arc<Hook>, number: Option<usize>) -> Result<Arc<Hook>, Exit> {
    hook.robot(number).map_err(|why| match why.split_once('\n') {
        Some((what, help)) => Exit::new(Code::Usage, what).help(help),
        None => Exit::new(Code::Usage, why),
    })
}

fn no_hook(name: &str, config: &Config, folders: &[PathBuf]) -> Exit {
    // A broken file is no hook, and then its error is the answer.
    let broken: Vec<&Diagnostic> = config
        .problems
        .iter()
        .filter(|problem| is_about(problem, name) && problem.severity == Severity::Error)
        .collect();
    if !broken.is_empty() {
        broken.into_iter().for_each(say);
        return Exit::silent(Code::Configuration);
    }
    let exit = Exit::new(Code::Failed, format!("there is no hook {name}"));
    match closest(name, config.hooks.keys().map(AsRef::as_ref)) {
        Some(close) => exit.help(format!("did you mean {close}?")),
        None => {
            let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            exit.help(format!("hooks are the *.yaml files in {}", folders.join(", ")))
        }
    }
}

fn is_about(problem: &Diagnostic, hook: &str) -> bool {
    problem.place.as_ref().and_then(|place| Path::new(&place.file).file_stem()?.to_str()).is_some_and(|stem| {
        let numbered = stem.split_once('-').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        stem == hook || numbered.is_some_and(|(_, rest)| rest == hook)
    })
}

/// The known name that somebody may have meant.
pub(crate) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

/// An event as a person names it: a file or `-` with a native event, the JSON itself, or the id of an event or a
/// delivery that the daemon knows.
pub(crate) async fn event(global: &Global, text: &str) -> Result<Event, Exit> {
    let bytes = match text {
        "-" => read_stdin(limits::EVENT)?,
        text if text.trim_start().starts_with('{') => text.as_bytes().to_vec(),
        text if text.contains('/') || Path::new(text).exists() => read(Path::new(text), limits::EVENT)?,
        id => return known_event(global, id).await,
    };
    intake::native::parse(&bytes, Timestamp::now(), None)
        .map_err(|refusal| Exit::new(Code::BadEvent, refusal.message).help("an event is {\"type\": …, \"data\": …}"))
}

async fn known_event(global: &Global, id: &str) -> Result<Event, Exit> {
    let daemon = Daemon::of(global);
    let (event, delivery) = match daemon.find(&with_name("/v1/events", id)).await? {
        Some(event) => {
            let delivery = output::list(&event, "deliveries").first().map(|row| output::text(row, "delivery"));
            (event, delivery)
        }
        None => (Json::Null, Some(id.to_owned())),
    };
    let shown = match delivery {
        Some(delivery) => daemon.find(&with_name("/v1/deliveries", &delivery)).await?,
        None => None,
    };
    match shown {
        // Only a delivery tells the bytes as they came.
        Some(shown) => Ok(rebuilt(&shown, "event", "event_time", &output::text(&shown, "raw"))),
        None if event.is_object() => Ok(rebuilt(&event, "id", "time", &event["data"].to_string())),
        None => Err(Exit::new(Code::Failed, format!("{id} is neither a file nor an event that the daemon knows"))),
    }
}

fn rebuilt(from: &Json, id: &str, time: &str, raw: &str) -> Event {
    let time = output::text(from, time).parse().unwrap_or_else(|_| Timestamp::now());
    let mut event = Event::new(output::text(from, "type"), Some(output::text(from, id)), raw.to_owned(), time);
    event.source = output::text(from, "source");
    if let Some(content_type) = from["content_type"].as_str() {
        event.content_type = content_type.to_owned();
    }
    if event.data() != &from["data"] {
        event.give_data(Some(from["data"].to_string()));
    }
    event
}

/// The event as it is handed in, with the bytes of its data as they were written.
pub(crate) fn native_text(event: &Event) -> String {
    let mut head = native(event);
    let as_written = std::str::from_utf8(&event.raw).ok().filter(|_| event.given_data().is_none());
    let data = match as_written.filter(|text| Exact::parse(text.as_bytes()).is_some()) {
        Some(raw) => raw.to_owned(),
        None => event.exact().map_or_else(|| event.data().to_string(), Exact::to_string),
    };
    head.as_object_mut().map(|members| members.remove("data"));
    let mut text = head.to_string();
    text.pop(); // the closing brace
    format!("{text},\"data\":{data}}}")
}

/// The event in the form in which it is handed in.
pub(crate) fn native(event: &Event) -> Json {
    let mut native = serde_json::json!({"type": event.kind, "id": event.id, "time": event.time, "data": event.data()});
    if !event.source.is_empty() {
        native["source"] = Json::String(event.source.clone());
    }
    native
}

/// A platform by its name.
pub(crate) fn platform(platforms: &Platforms, name: &str) -> Result<Arc<Platform>, Exit> {
    platforms.get(name).cloned().ok_or_else(|| {
        let exit = Exit::new(Code::Failed, format!("there is no platform {name}"));
        match closest(name, platforms.0.keys().map(String::as_str)) {
            Some(close) => exit.help(format!("did you mean {close}?")),
            None => exit.help("`postrider platforms` lists them"),
        }
    })
}

/// The scripts of this configuration; the built-in ones when the configuration is broken, which is then said.
pub(crate) fn platforms(paths: Paths) -> Config {
    Keeper::new(Paths { hooks: Vec::new(), ..paths }, false).load().unwrap_or_else(|problems| {
        problems.iter().for_each(say);
        Config { platforms: Platforms::built_in(), source_scripts: SourceScripts::built_in(), ..Config::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::diagnostic::Place;

    #[test]
    fn files_and_names_are_told_apart() {
        for file in ["./a", "/etc/postrider/hooks.d/a.yaml", "a.yaml", "a.yml"] {
            assert!(is_file(file), "{file}");
        }
        for name in ["a", "release-to-ops", "a.b"] {
            assert!(!is_file(name), "{name}");
        }
    }

    #[test]
    fn a_mistyped_name_finds_the_one_meant() {
        let known = ["release-to-ops", "ci-mirror", "ops"];
        for (typed, meant) in [
            ("release-to-opps", Some("release-to-ops")),
            ("ci-miror", Some("ci-mirror")),
            ("opz", Some("ops")),
            ("xyz", None),
        ] {
            assert_eq!(closest(typed, known.into_iter()), meant, "{typed}");
        }
    }

    #[test]
    fn a_problem_is_about_the_hook_of_its_file() {
        let place = |file: &str| Place { file: file.into(), line: 1, column: 1, length: 1, text: String::new() };
        let problem = |file: &str| Diagnostic::error("x", "x").at(place(file));
        assert!(is_about(&problem("/etc/postrider/hooks.d/ops.yaml"), "ops"));
        assert!(is_about(&problem("/etc/postrider/hooks.d/10-ops.yaml"), "ops"));
        assert!(!is_about(&problem("/etc/postrider/hooks.d/dev-ops.yaml"), "ops"));
        assert!(!is_about(&Diagnostic::error("x", "x"), "ops"));
    }

    #[test]
    fn an_event_of_the_daemon_keeps_its_bytes() {
        let shown = serde_json::json!({
            "event": "e1", "type": "a.b", "source": "ci", "event_time": "2026-11-22T13:00:00Z",
            "content_type": "application/json", "raw": "{\"n\" :  1.0}", "data": {"n": 1.0},
        });
        let event = rebuilt(&shown, "event", "event_time", shown["raw"].as_str().unwrap());
        assert_eq!(&event.raw[..], b"{\"n\" :  1.0}");
        let expected = serde_json::json!(
            {"type": "a.b", "id": "e1", "time": "2026-11-22T13:00:00Z", "data": {"n": 1.0}, "source": "ci"}
        );
        assert_eq!(native(&event), expected);
    }

    #[test]
    fn a_file_beyond_its_bound_is_not_read() {
        assert_eq!(bounded(&b"12345"[..], "x", 5).unwrap(), b"12345");
        assert!(bounded(&b"123456"[..], "x", 5).is_err());
    }
}
