//! `new` at a terminal: one question after the other, each answer judged at once.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::exit::{Code, Exit};
use crate::cli::new::draft::{Answer, Draft, is_secret, objection};
use crate::cli::new::text;
use crate::cli::output::{self, BAD, BOLD, DIM, count, paint};
use crate::cli::{ask, local};
use crate::engine::wire;
use crate::rules::config::Config;
use crate::rules::diagnostic::Source;
use crate::rules::hook::Hook;
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::platform::{Given, Platform, Turn};
use crate::rules::proof;
use crate::words::json::Exact;
use crate::words::secret::Secrets;

/// Something for a person, beside what the command prints.
fn tell(text: impl AsRef<str>) {
    output::message(text.as_ref());
}

fn object(reason: &str, help: Option<&str>) {
    let help = help.map(|help| format!(": {help}")).unwrap_or_default();
    tell(format!("  {} {}{}", paint(BAD, "no:"), output::clean_line(reason), output::clean_line(&help)));
}

/// Asks until the answer is good.
fn until<T>(question: &str, mut judge: impl FnMut(String) -> Result<T, (String, Option<String>)>) -> Result<T, Exit> {
    loop {
        match judge(ask::line(question)?) {
            Ok(good) => return Ok(good),
            Err((reason, help)) => object(&reason, help.as_deref()),
        }
    }
}

/// Who is at the other end.
pub(super) fn platform(config: &Config) -> Result<std::sync::Arc<Platform>, Exit> {
    tell(paint(BOLD, "Who is at the other end?"));
    let longest = config.platforms.0.keys().map(String::len).max().unwrap_or(0);
    for (name, platform) in &config.platforms.0 {
        tell(format!("  {name:<longest$}  {}", paint(DIM, &output::clean_line(&platform.manifest.summary))));
    }
    until("platform", |word| {
        local::platform(&config.platforms, &word)
            .map_err(|exit| (exit.message().unwrap_or_default().to_owned(), exit.advice().map(str::to_owned)))
    })
}

/// What the hook is called: `free` says whether it may be.
pub(super) fn name(platform: &str, free: impl Fn(&str) -> Result<(), Exit>) -> Result<String, Exit> {
    let offered = free(platform).is_ok().then_some(platform);
    tell(format!("\n{} {}", paint(BOLD, "What is the hook called?"), paint(DIM, "its file is named after it")));
    until(&with_default("name", offered), |word| {
        let word = if word.is_empty() { offered.unwrap_or_default().to_owned() } else { word };
        let refused = |exit: Exit| (exit.message().unwrap_or_default().to_owned(), exit.advice().map(str::to_owned));
        free(&word).map_err(refused).map(|()| word)
    })
}

/// Which events it wants. Those that the sources of this machine make are offered, else those of every vendor that is known.
pub(super) fn events(config: &Config) -> Result<Vec<String>, Exit> {
    tell(format!(
        "\n{} {}",
        paint(BOLD, "Which events does it want?"),
        paint(DIM, "types with commas between them; * and ? stand for anything")
    ));
    let used = config.settings.sources.values().map(|source| &source.script.manifest.types);
    let mut types: Vec<&String> = used.flatten().collect();
    let all = config.source_scripts.0.values().flat_map(|script| &script.manifest.types);
    let whose = if types.is_empty() { "vendors send" } else { "your sources make" };
    if types.is_empty() {
        types.extend(all);
    }
    types.sort();
    types.dedup();
    let offered: Vec<&str> = types.iter().map(|kind| kind.as_str()).chain(["postrider.*"]).collect();
    let text = format!("{whose} {}", offered.join(" "));
    tell(format!("  {}", paint(DIM, &output::wrapped(&text, 2, output::terminal_width()))));
    until(&with_default("events", Some("*")), |line| {
        let kinds: Vec<String> = line.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match kinds.iter().find(|kind| kind.contains(['"', '\'', '{', '[', ':'])) {
            Some(odd) => Err((format!("{odd} is no type"), Some("as in build.failed, deploy.*".to_owned()))),
            None if kinds.is_empty() => Ok(vec!["*".to_owned()]),
            None => Ok(kinds),
        }
    })
}

/// One option: what it is, where to get it, and its value. Nothing is an answer where it may be left out.
pub(super) fn option(platform: &Platform, spec: &OptionSpec) -> Result<Option<Answer>, Exit> {
    explain(spec);
    let secret = is_secret(platform, spec);
    loop {
        let answer = match (secret, &spec.kind) {
            (true, _) => ask::secret_or_nothing(&spec.name)?.map(Answer::Secret),
            (false, Kind::Sign) => ask::secret_or_nothing(&format!("{}: the key", spec.name))?.map(Answer::Key),
            (false, _) => {
                let begins = text::begins_by_itself(spec).then(|| text::EXAMPLE.trim_matches('"'));
                let line = ask::line(&with_default(&spec.name, begins))?;
                match (line.is_empty(), begins) {
                    (true, Some(_)) => return Ok(Some(Answer::Example)),
                    (true, None) => None,
                    (false, _) => Some(Answer::Given(typed(&spec.kind, line))),
                }
            }
        };
        match answer {
            None if spec.required => object("it is needed", None),
            None => return Ok(None),
            Some(answer) => match objection(platform, spec, &answer) {
                None => return Ok(Some(answer)),
                Some(found) => object(&found.what, found.help.as_deref()),
            },
        }
    }
}

fn explain(spec: &OptionSpec) {
    let needed = if spec.required { "" } else { " (Enter leaves it out)" };
    let needed = if text::begins_by_itself(spec) { " (Enter takes what stands there)" } else { needed };
    let about = output::clean_line(&spec.about);
    tell(format!("\n{} {about}{}", paint(BOLD, &spec.name), paint(DIM, needed)));
    if let Some(origin) = &spec.origin {
        let text = output::wrapped(&format!("where: {}", output::clean_line(origin)), 2, output::terminal_width());
        tell(format!("  {}", paint(DIM, &text)));
    }
}

/// What somebody typed as a value of this kind.
fn typed(kind: &Kind, line: String) -> Exact {
    match kind {
        Kind::List => Exact::List(line.split(',').map(|word| Exact::String(word.trim().to_owned())).collect()),
        Kind::Bool => match line.as_str() {
            "yes" | "y" | "true" => Exact::Bool(true),
            "no" | "n" | "false" => Exact::Bool(false),
            _ => Exact::String(line),
        },
        Kind::Integer | Kind::Tree | Kind::TreeOf(_) | Kind::Headers => {
            Exact::parse(line.as_bytes()).unwrap_or(Exact::String(line))
        }
        _ => Exact::String(line),
    }
}

fn with_default(question: &str, default: Option<&str>) -> String {
    match default {
        Some(default) => format!("{question} [{default}]"),
        None => question.to_owned(),
    }
}

/// Shows the file and what it sends, and asks whether it is right.
pub(super) fn confirm(draft: &Draft, file: &Path, text: &str, config: &Config) -> Result<(), Exit> {
    tell(format!("\n{}", paint(BOLD, &file.display().to_string())));
    text.lines().for_each(|line| tell(format!("  {}", output::clean_line(line))));
    let kept = draft.secrets();
    if !kept.is_empty() {
        let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
        tell(format!("with {} kept apart: {}", count(kept.len() as u64, "secret"), names.join(", ")));
    }
    let source = Source::new(file.display().to_string(), text.to_owned());
    if let (Some(hook), _) = Hook::parse(&source, &config.platforms, &config.settings.defaults) {
        show_request(draft, &hook);
    }
    tell("");
    let answer = ask::line("write it? [Y/n]")?;
    match answer.to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => Err(Exit::new(Code::Failed, "nothing was written")),
    }
}

fn show_request(draft: &Draft, hook: &Hook) {
    let mut secrets = Secrets::default();
    for (name, value) in draft.secrets() {
        secrets.insert(name, Ok(value.clone()));
    }
    let event = proof::example(hook);
    let given = Given {
        id: "example-1",
        attempt: 1,
        now: Timestamp::now(),
        hook: &hook.name,
        event: &event,
        secrets: &secrets,
    };
    match hook.render_turn(&given, None, Turn::default()) {
        Ok((request, _)) => {
            tell(format!("\n{}", paint(BOLD, &format!("What it sends for an event {}", event.kind))));
            let shown = wire::request(&wire::Mask::new(hook, &secrets).request(&request));
            let text = output::clean(String::from_utf8_lossy(&shown).trim_end());
            text.lines().for_each(|line| tell(format!("  {line}")));
        }
        Err(error) => tell(format!("\n{}", output::clean_line(&secrets.redact(&error.to_string())))),
    }
}
