//! The proving process: bounds itself, reads its work, does it, and says what came of it.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::edges::proof::ScriptFor;
use crate::edges::proof::wire::{Given, Said, Text, Work};
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::fragile;
use crate::rules::hook::{Hook, Shared};
use crate::rules::platform::{Platform, Platforms};
use crate::rules::proof;
use crate::rules::settings::{Defaults, Settings};
use crate::rules::source::SourceScript;
use crate::words::limits;
use crate::words::secret::Secrets;

/// The exit code of a child that cannot do its work at all.
pub(super) const NOT_ABLE: i32 = 4;

/// The whole of `postrider prove`.
pub fn main() -> ExitCode {
    match prove() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(u8::try_from(NOT_ABLE).unwrap_or(1))
        }
    }
}

fn prove() -> Result<(), String> {
    limit()?;
    let mut order = Vec::new();
    std::io::stdin().read_to_end(&mut order).map_err(|error| format!("no work came: {error}"))?;
    let order: Given = serde_json::from_slice(&order).map_err(|error| format!("this is no work: {error}"))?;
    // A stack that is certainly smaller than the daemon's.
    let worker = std::thread::Builder::new().stack_size(limits::PROOF_STACK).spawn(move || work(&order));
    worker.map_err(|error| error.to_string())?.join().map_err(|_| "it panicked".to_owned())?
}

/// Bounds that this process cannot lift again. No descriptor beyond the three standard ones can be had, so neither a
/// file nor a connection.
fn limit() -> Result<(), String> {
    let fixed = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    for (resource, bound) in [
        (Resource::Core, fixed(0)),
        (Resource::Fsize, fixed(0)),
        (Resource::Nofile, fixed(3)),
        (Resource::Data, fixed(limits::PROOF_MEMORY)),
        (Resource::As, fixed(limits::PROOF_SPACE)),
    ] {
        setrlimit(resource, bound).map_err(|error| format!("{resource:?} cannot be bounded: {error}"))?;
    }
    // Nobody else would end it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())
}

/// Processor time for the next piece, in whole seconds from what was used so far.
fn allow_time() -> Result<(), String> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
    let bound = Rlimit { current: Some(used + limits::PROOF_SECONDS), ..getrlimit(Resource::Cpu) };
    setrlimit(Resource::Cpu, bound).map_err(|error| format!("the processor time cannot be bounded: {error}"))
}

fn work(order: &Given) -> Result<(), String> {
    let defaults = defaults(order.main.as_deref());
    let scripts = order.scripts.iter().map(|text| (text.name.clone(), text.source()));
    let (platforms, _broken_ones) = Platforms::with_scripts(scripts);
    let among = Among { platforms, defaults, shared: Shared::default() };
    for piece in &order.work {
        allow_time()?;
        let mut tell = |what: &str, place: Option<Place>| {
            if order.alone {
                // Whoever no longer listens will end this process.
                let _gone = say(&Said::Step(what.to_owned(), place));
            }
        };
        let answer = match piece {
            Work::Script(ScriptFor::Platform, text) => script(text, &mut tell),
            Work::Script(ScriptFor::Source, text) => source_script(text, &mut tell),
            Work::Hook(text) => hook(text, &among, &mut tell, order.alone, None),
            Work::Fragile(text) => fragile(text, &among, &mut tell),
            Work::Event(text, event) => {
                let event = event.event();
                let mut render = |hook: &Hook, tell: &mut proof::Tell<'_>| {
                    proof::render(hook, &event, &hook.with_stand_ins(&Secrets::default()), true, tell);
                    Vec::new()
                };
                hook(text, &among, &mut tell, order.alone, Some(&mut render))
            }
        };
        say(&answer)?;
    }
    Ok(())
}

/// The defaults of the main file, which is good: somebody else has read it.
fn defaults(main: Option<&str>) -> Defaults {
    main.and_then(|text| Settings::defaults_in(&Source::new("postrider.yaml", text))).unwrap_or_default()
}

fn script(text: &Text, tell: &mut proof::Tell<'_>) -> Said {
    let source = text.source();
    tell("the script", Some(Place::of_file(&source.name)));
    match Platform::compile(&text.name, source, false) {
        Ok(platform) => answer(proof::platform(&platform, tell), None),
        Err(found) => unread(found),
    }
}

fn source_script(text: &Text, tell: &mut proof::Tell<'_>) -> Said {
    let source = text.source();
    tell("reading the script", Some(Place::of_file(&source.name)));
    match SourceScript::compile(&text.name, source, false) {
        Ok(script) => answer(proof::source_script(&Arc::new(script), tell), None),
        Err(found) => unread(found),
    }
}

type Try<'a> = &'a mut dyn FnMut(&Hook, &mut proof::Tell<'_>) -> Vec<Diagnostic>;

/// What hooks are read among.
struct Among {
    platforms: Platforms,
    defaults: Defaults,
    shared: Shared,
}

fn hook(text: &Text, among: &Among, tell: &mut proof::Tell<'_>, alone: bool, other: Option<Try<'_>>) -> Said {
    let source = text.source();
    if alone {
        proof::read(&source, tell);
    }
    let (hook, found) = Hook::parse_sharing(&among.shared, &source, &among.platforms, &among.defaults);
    let Some(hook) = hook else { return unread(found) };
    let found = match other {
        Some(other) => other(&hook, tell),
        None => proof::hook(&hook, tell),
    };
    answer(found, Some(hook.platform.name.clone()))
}

fn fragile(text: &Text, among: &Among, tell: &mut proof::Tell<'_>) -> Said {
    let source = text.source();
    tell("values that could break it", Some(Place::of_file(&source.name)));
    match Hook::parse_sharing(&among.shared, &source, &among.platforms, &among.defaults) {
        (Some(hook), _) => Said::warned(fragile::warnings(&hook)),
        (None, _) => Said::Unread,
    }
}

fn answer(found: Vec<Diagnostic>, platform: Option<String>) -> Said {
    if found.is_empty() { Said::Fine(platform) } else { Said::refused(found) }
}

/// Errors of reading. Those about a bound are said here: reading may have taken long.
fn unread(found: Vec<Diagnostic>) -> Said {
    let (beyond, _): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.code == crate::rules::diagnostic::TOO_MUCH);
    if beyond.is_empty() { Said::Unread } else { Said::refused(beyond) }
}

fn say(said: &Said) -> Result<(), String> {
    let mut line = serde_json::to_vec(said).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(|error| error.to_string())
}
