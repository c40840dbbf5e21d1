//! Proving hooks and scripts before they are loaded, in a process of its own.
//!
//! Memory that cannot be had, and a stack that is used up, end a process: nothing can catch that. So whatever is to be
//! loaded is first tried in a child: this same program, told `prove`, with little memory, processor time and stack, no
//! environment, and so few file descriptors that it can open neither a file nor a connection. It reads its work from
//! its input, answers each piece in a line of its own, and dies of what would kill the daemon.
//!
//! Many pieces share a child, because starting one costs more than proving a hook. When it dies, the first piece without
//! an answer did it; that one is tried again alone, telling each step, which gives the place in the file.

pub mod child;
mod wire;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::edges::proof::wire::{Order, Said, Text, Work};
use crate::rules::diagnostic::{Diagnostic, Place, Source, TOO_MUCH};
use crate::rules::platform::Platforms;
use crate::words::event::Event;
use crate::words::limits;

/// Proves by a program.
#[derive(Clone, Debug)]
pub struct Prover {
    program: PathBuf,
    /// How long it goes on after a death.
    patience: Duration,
    /// Whether every hook is tried with values that could break it, however many there are.
    thorough: bool,
    /// What it tried, for whoever waits.
    tried: Arc<AtomicU64>,
}

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptFor {
    /// It makes requests.
    Platform,
    /// It reads them.
    Source,
}

/// What the pieces of work are proven among.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    main: Option<String>,
    scripts: Vec<Text>,
}

/// What came of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be loaded. A hook's platform is named.
    Fine(Option<String>),
    /// It has ordinary errors, which whoever reads it will find as well.
    Unread,
    /// It goes beyond a bound, or kills the process.
    Refused(Vec<Diagnostic>),
    /// What values could break of it.
    Warned(Vec<Diagnostic>),
    /// It could not be tried; why.
    Unproven(String),
}

impl Surroundings {
    /// The main file, and the scripts of the administrator among these.
    pub fn new(main: Option<&str>, platforms: &Platforms) -> Self {
        let own = platforms.0.iter().filter(|(_, platform)| !platform.is_built_in());
        let scripts = own.map(|(name, platform)| Text::new(name, &platform.source())).collect();
        Self { main: main.map(str::to_owned), scripts }
    }
}

/// What a child said, and how it ended.
struct Ended {
    verdicts: Vec<Verdict>,
    /// What it was about to do last.
    step: Option<(String, Option<Place>)>,
    /// How it died, if it did before its work was done.
    death: Option<String>,
}

impl Prover {
    /// Proves by this very program, also when its file has been replaced since.
    pub fn own() -> Self {
        Self::program("/proc/self/exe")
    }

    /// Proves by another program, for tests.
    pub fn program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), patience: limits::PROOF_PATIENCE, thorough: false, tried: Arc::default() }
    }

    /// Counts what was tried, for whoever waits for it.
    pub fn tried(&self) -> Arc<AtomicU64> {
        self.tried.clone()
    }

    /// One that looks for what could break every hook, however many are new.
    #[must_use]
    pub fn thorough(self) -> Self {
        Self { thorough: true, ..self }
    }

    /// Whether so many new hooks are tried with values that could break them.
    pub fn looks_for_breaks(&self, new: usize) -> bool {
        self.thorough || new <= limits::FRAGILE_AT_ONCE
    }

    /// One that goes on for longer although processes die.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Tries scripts of one kind, by their names.
    pub fn scripts<'a>(&self, of: ScriptFor, scripts: impl IntoIterator<Item = (&'a str, &'a Source)>) -> Vec<Verdict> {
        let work = scripts.into_iter().map(|(name, source)| Work::Script(of, Text::new(name, source))).collect();
        self.prove(&Surroundings::default(), work)
    }

    /// Tries hook files.
    pub fn hooks<'a>(&self, among: &Surroundings, hooks: impl IntoIterator<Item = &'a Source>) -> Vec<Verdict> {
        let work = hooks.into_iter().map(|source| Work::Hook(Text::new("", source))).collect();
        self.prove(among, work)
    }

    /// Which values could break hooks that were proven. One that takes too long here is none the worse for it.
    pub fn fragile<'a>(
        &self,
        among: &Surroundings,
        hooks: impl IntoIterator<Item = &'a Source>,
    ) -> Vec<Vec<Diagnostic>> {
        let work = hooks.into_iter().map(|source| Work::Fragile(Text::new("", source))).collect();
        let warnings = |verdict| if let Verdict::Warned(found) = verdict { found } else { Vec::new() };
        self.prove(among, work).into_iter().map(warnings).collect()
    }

    /// Renders one event by one hook.
    pub fn event(&self, among: &Surroundings, hook: &Source, event: &Event) -> Verdict {
        let work = Work::Event(Text::new("", hook), wire::EventText::of(event));
        self.alone(among, &work)
    }

    fn prove(&self, among: &Surroundings, work: Vec<Work>) -> Vec<Verdict> {
        let began = Instant::now();
        let batches: Mutex<VecDeque<Range<usize>>> = Mutex::new(batches(&work).into());
        let done = Mutex::new(vec![None; work.len()]);
        let processes = std::thread::available_parallelism().map_or(1, usize::from).min(limits::PROOF_PROCESSES);
        let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let run = || {
            while let Some(batch) = next() {
                let verdicts = self.batch(among, &work[batch.clone()], began);
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                batch.zip(verdicts).for_each(|(at, verdict)| done[at] = Some(verdict));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..processes {
                // A thread that cannot be started is one that does not help.
                let _helps = std::thread::Builder::new().spawn_scoped(scope, run);
            }
            run();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.into_iter().map(|verdict| verdict.unwrap_or_else(|| Verdict::Unproven("nobody tried it".into()))).collect()
    }

    fn batch(&self, among: &Surroundings, work: &[Work], began: Instant) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(work.len());
        while verdicts.len() < work.len() {
            let ended = match self.child(among, &work[verdicts.len()..], false) {
                Ok(ended) => ended,
                Err(why) => {
                    verdicts.resize(work.len(), Verdict::Unproven(why));
                    break;
                }
            };
            verdicts.extend(ended.verdicts);
            if verdicts.len() < work.len() {
                if began.elapsed() > self.patience {
                    let why = "too many others broke down before it; it is tried again later".to_owned();
                    verdicts.resize(work.len(), Verdict::Unproven(why));
                    break;
                }
                verdicts.push(self.alone(among, &work[verdicts.len()]));
            }
        }
        verdicts
    }

    /// One piece in a child of its own that tells each step.
    fn alone(&self, among: &Surroundings, work: &Work) -> Verdict {
        let ended = match self.child(among, std::slice::from_ref(work), true) {
            Ok(ended) => ended,
            Err(why) => return Verdict::Unproven(why),
        };
        match (ended.verdicts.into_iter().next(), ended.death) {
            (Some(verdict), _) => verdict,
            (None, death) => {
                let how = death.unwrap_or_else(|| "ended without a word".to_owned());
                let (step, place) = ended.step.unwrap_or_else(|| ("reading it".to_owned(), None));
                let found = Diagnostic::error(TOO_MUCH, format!("{step} {how}"))
                    .at(place.unwrap_or_else(|| Place::of_file(work.shown())))
                    .help("look there for what grows without end: a text that is doubled in a loop, thousands of operators");
                Verdict::Refused(vec![found])
            }
        }
    }

    fn child(&self, among: &Surroundings, work: &[Work], alone: bool) -> Result<Ended, String> {
        let order = Order { main: &among.main, scripts: &among.scripts, work, alone };
        let order = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        let mut child = self.spawn()?;
        let (input, output, words) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (say, said) = channel::<Said>();
        let mut ended = Ended { verdicts: Vec::new(), step: None, death: None };
        let mut silent = false;
        let mut last_words = String::new();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It may die before it has read everything.
                let _died = input.map(|mut input| input.write_all(&order));
            });
            scope.spawn(move || {
                let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
                for line in lines.map_while(Result::ok) {
                    let Ok(answer) = serde_json::from_str(&line) else { break };
                    if say.send(answer).is_err() {
                        break;
                    }
                }
            });
            let reader = scope.spawn(move || {
                let mut text = Vec::new();
                let _cut = words.map(|words| words.take(limits::PROOF_WORDS).read_to_end(&mut text));
                String::from_utf8_lossy(&text).into_owned()
            });
            while ended.verdicts.len() < work.len() {
                match said.recv_timeout(limits::PROOF_SILENCE) {
                    Ok(Said::Step(what, place)) => ended.step = Some((what, place)),
                    Ok(answer) => {
                        self.tried.fetch_add(1, Ordering::Relaxed);
                        ended.verdicts.push(answer.into_verdict());
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        silent = true;
                        break;
                    }
                }
            }
            drop(said);
            // It has nothing more to say: who did its work is about to end anyway.
            let _gone = child.kill();
            last_words = reader.join().unwrap_or_default();
        });
        let status = child.wait().map_err(|error| error.to_string())?;
        if ended.verdicts.len() < work.len() {
            ended.death = Some(how_it_died(status, silent, &last_words)?);
        }
        Ok(ended)
    }

    fn spawn(&self) -> Result<Child, String> {
        let pipes = || Stdio::piped();
        let mut command = Command::new(&self.program);
        command.arg("prove").env_clear().current_dir("/").stdin(pipes()).stdout(pipes()).stderr(pipes());
        command.spawn().map_err(|error| format!("a process to prove it in cannot be started: {error}"))
    }
}

/// Pieces in the order given, each batch with few enough of them.
fn batches(work: &[Work]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, piece) in work.iter().enumerate() {
        bytes += piece.size();
        match batches.last_mut() {
            Some(last) if last.len() < limits::PROOF_BATCH && bytes <= limits::PROOF_BYTES => last.end = at + 1,
            _ => {
                bytes = piece.size();
                batches.push(at..at + 1);
            }
        }
    }
    batches
}

/// How it died, in words that follow what it was about to do; an error when that says nothing about its work.
fn how_it_died(status: ExitStatus, silent: bool, words: &str) -> Result<String, String> {
    const CPU_TIME: i32 = 24;
    if silent {
        return Ok(format!("does not come to an end within {} s", limits::PROOF_SILENCE.as_secs()));
    }
    if status.signal() == Some(CPU_TIME) {
        return Ok(format!("takes more than {} s of processor time", limits::PROOF_SECONDS));
    }
    if words.contains("memory allocation of") {
        return Ok(format!("needs more than {} MiB of memory", limits::PROOF_MEMORY / (1024 * 1024)));
    }
    if words.contains("overflowed its stack") {
        return Ok("is nested too deep".to_owned());
    }
    match status.code() {
        Some(child::NOT_ABLE) => Err(format!("the proving process could not begin: {}", words.trim())),
        _ => Ok(format!("breaks the program down ({status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_number_and_by_size() {
        let piece = |size: usize| Work::Hook(Text::new("", &Source::new("a.yaml", "x".repeat(size))));
        let many: Vec<Work> = (0..limits::PROOF_BATCH * 2 + 1).map(|_| piece(1)).collect();
        let cut = batches(&many);
        assert_eq!(cut.iter().map(Range::len).collect::<Vec<_>>(), [limits::PROOF_BATCH, limits::PROOF_BATCH, 1]);
        let large: Vec<Work> = (0..5).map(|_| piece(limits::PROOF_BYTES / 2 - 100)).collect();
        assert_eq!(batches(&large).iter().map(Range::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(batches(&[]).is_empty());
    }

    #[test]
    fn who_cannot_be_started_proves_nothing() {
        let prover = Prover::program("/nonexistent/postrider");
        let verdicts = prover.hooks(&Surroundings::default(), [&Source::new("a.yaml", "events: [a]")]);
        assert!(matches!(&verdicts[..], [Verdict::Unproven(why)] if why.contains("cannot be started")), "{verdicts:?}");
    }
}
