//! `postrider check`: is everything right, before it matters.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BAD, DIM, GOOD, count, paint};
use crate::cli::progress::{self, Line};
use crate::cli::script::{self, Compiled};
use crate::cli::{Global, local};
use crate::edges::config::{Keeper, Paths, exposed, robots_twice};
use crate::edges::files;
use crate::edges::proof::{Prover, Surroundings, Verdict};
use crate::edges::secrets;
use crate::rules::cases::CaseResult;
use crate::rules::config::{Config, Ignored};
use crate::rules::diagnostic::{Diagnostic, Place, Severity, Source};
use crate::rules::hook::Hook;
use crate::rules::settings::Settings;
use crate::words::limits;
use crate::words::secret::Secrets;

/// Check hook files, scripts, secrets and the main file; nothing is sent
///
/// Reads everything as the daemon would, renders each hook with sample events, runs the `tests:` in the files and the cases
/// that stand beside scripts (NAME.cases.yaml), and says which files were passed over. Exit code 78 means that something is
/// wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider check
  postrider check hooks.d/release-to-ops.yaml --deny-warnings
  postrider check scripts/platforms/pager.rhai
  cat new.yaml | postrider check -")]
pub(crate) struct Check {
    /// Hook files, hooks.d folders, folders of `run --here`, scripts, a main file (postrider.yaml), or - for a hook on
    /// standard input; all that the daemon would read unless said
    #[arg(value_name = "PATH|-")]
    paths: Vec<PathBuf>,
    /// Let warnings fail too
    #[arg(long)]
    deny_warnings: bool,
}

impl Check {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let mut findings = Findings::default();
        let paths = global.paths();
        if self.paths.is_empty() {
            findings.folders(paths.clone(), global);
        }
        for path in &self.paths {
            if path.join(HOOKS).is_dir() {
                findings.folders(global.paths_or(Some(Paths::here(path))), global);
            } else if path.is_dir() {
                findings.folders(Paths { hooks: vec![path.clone()], ..paths.clone() }, global);
            } else if is_main(path, &paths) {
                findings.main_file(&local::source(path, limits::HOOK_FILE)?, &paths);
            } else if path.extension().is_some_and(|extension| extension == "rhai") {
                findings.script(path)?;
            } else if path == Path::new("-") {
                findings.hook_file(&local::source_from_stdin()?, &paths);
            } else {
                findings.hook_file(&local::source(path, limits::HOOK_FILE)?, &paths);
            }
        }
        findings.print(global)?;
        match findings.is_wrong(self.deny_warnings) {
            true => Err(Exit::silent(Code::Configuration)),
            false => Ok(()),
        }
    }
}

/// The folder of hooks in a folder of `run --here`.
const HOOKS: &str = "hooks.d";

fn is_main(path: &Path, paths: &Paths) -> bool {
    path == paths.main || path.file_name().is_some_and(|name| name == "postrider.yaml")
}

#[derive(Default)]
struct Findings {
    /// Folders where hook files were looked for.
    looked: Vec<PathBuf>,
    problems: Vec<Diagnostic>,
    ignored: Vec<Ignored>,
    /// Hook files without and with errors, by path.
    fine: BTreeSet<String>,
    broken: BTreeSet<String>,
    main_files: usize,
    scripts: u64,
    tests: u64,
}

impl Findings {
    /// Everything that the daemon would read.
    fn folders(&mut self, paths: Paths, global: &Global) {
        self.looked.extend(paths.hooks.iter().cloned());
        let main = paths.main.display().to_string();
        let prover = Prover::own().thorough();
        let tried = prover.tried();
        let how_far = || format!("reading: {} tried", count(tried.load(Ordering::Relaxed), "file"));
        let mut keeper = Keeper::new(paths, false).proving(prover);
        let config = match progress::during(global, how_far, || keeper.load()) {
            Ok(config) => config,
            Err(problems) => return problems.into_iter().for_each(|problem| self.add(problem)),
        };
        for problem in &config.problems {
            if let Some(file) = hook_file_of(problem, &main) {
                self.broken.insert(file.to_owned());
            }
            self.add(problem.clone());
        }
        self.ignored.extend(config.ignored.iter().cloned());
        let mut line = Line::new(global);
        for (done, hook) in config.hooks.values().enumerate() {
            line.say(|| format!("testing: {} of {}", done + 1, count(config.hooks.len() as u64, "hook")));
            self.prove(hook, &config.secrets);
        }
        drop(line);
        for platform in config.platforms.0.values().filter(|platform| !platform.is_built_in()) {
            self.cases(&Compiled::Platform(Arc::clone(platform)), &platform.source);
        }
        for script in config.source_scripts.0.values().filter(|script| !script.is_built_in()) {
            self.cases(&Compiled::Source(Arc::clone(script)), &script.source);
        }
    }

    /// A script by itself.
    fn script(&mut self, file: &Path) -> Result<(), Exit> {
        let source = local::source(file, limits::SCRIPT_FILE)?;
        self.scripts += 1;
        match script::compile(file, &source) {
            Ok(script) => self.cases(&script, &source),
            Err(found) => found.into_iter().for_each(|problem| self.add(problem)),
        }
        Ok(())
    }

    /// The cases beside a script, if there are some.
    fn cases(&mut self, script: &Compiled, source: &Source) {
        let file = Path::new(&*source.name).with_extension(script::CASES);
        if !file.exists() {
            return;
        }
        let text = match files::read_text(&file, limits::HOOK_FILE) {
            Ok(found) => Source::new(file.display().to_string(), found.text),
            Err(why) => {
                let place = Place::of_file(&file.display().to_string());
                let problem = Diagnostic::error("unreadable", format!("the file {why}")).at(place);
                return self.add(Diagnostic { help: why.help(), ..problem });
            }
        };
        match script.run_cases(&text, &file) {
            Ok(results) => {
                self.tests += results.len() as u64;
                let failed = results.into_iter().filter(|result| !result.differences.is_empty());
                for CaseResult { name, place, differences } in failed {
                    let what = format!("a case of {} fails: {name}", source.name);
                    let help =
                        "correct the script, or the case: `postrider script FILE --bless` writes what the script does";
                    let problem = Diagnostic::error("case", what).at(place).help(help);
                    self.add(Diagnostic { notes: differences, ..problem });
                }
            }
            Err(found) => found.into_iter().for_each(|problem| self.add(problem)),
        }
    }

    /// One hook file, among the platforms and secrets of the daemon.
    fn hook_file(&mut self, source: &Source, paths: &Paths) {
        let mut config = local::platforms(paths.clone());
        let tried = try_out(source, &config, paths).unwrap_or_else(|against| {
            self.broken.insert(source.name.to_string());
            against
        });
        tried.into_iter().for_each(|problem| self.add(problem));
        if self.broken.contains(&*source.name) {
            return;
        }
        let (hook, problems) = local::parse(source, &mut config, paths);
        problems.into_iter().for_each(|problem| self.add(problem));
        match hook {
            Some(hook) => {
                self.missing_secrets(&hook, &config, paths);
                robots_twice(&hook, &config.secrets).for_each(|problem| self.add(problem));
                exposed(&hook).into_iter().for_each(|problem| self.add(problem));
                self.prove(&hook, &config.secrets);
            }
            None => {
                self.broken.insert(source.name.to_string());
                // A platform of one's own that does not compile is the cause, not the hook that names it.
                config.problems.into_iter().for_each(|problem| self.add(problem));
            }
        }
    }

    fn main_file(&mut self, source: &Source, paths: &Paths) {
        self.main_files += 1;
        let config = local::platforms(Paths { main: PathBuf::new(), ..paths.clone() });
        let problems = match Settings::parse(source, &config.source_scripts) {
            Ok((_, warnings)) => warnings,
            // A script of one's own that does not compile may be the cause.
            Err(errors) => errors.into_iter().chain(config.problems).collect(),
        };
        problems.into_iter().for_each(|problem| self.add(problem));
    }

    fn missing_secrets(&mut self, hook: &Hook, config: &Config, paths: &Paths) {
        for (name, place) in hook.secrets() {
            let Err(why) = config.secrets.get(name) else { continue };
            let (why, remedy) = secrets::remedy(why);
            let problem =
                Diagnostic::error("missing-secret", format!("secret {name} cannot be read: {why}")).at(place.clone());
            let elsewhere = || Some(format!("write it to {}", paths.secrets.last()?.join(name).display()));
            let help = remedy.map(str::to_owned).or_else(elsewhere);
            let problem = Diagnostic { help, ..problem };
            self.broken.insert(hook.source.name.to_string());
            self.add(problem);
        }
    }

    /// A hook that could be read: does it also work?
    fn prove(&mut self, hook: &Hook, secrets: &Secrets) {
        let file = hook.source.name.to_string();
        let now = Timestamp::now();
        self.tests += hook.tests.len() as u64;
        for problem in hook.dry_run(secrets, now) {
            if problem.severity == Severity::Error {
                self.broken.insert(file.clone());
            }
            self.add(problem);
        }
        self.fine.insert(file);
    }

    fn add(&mut self, problem: Diagnostic) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn count(&self, severity: Severity) -> u64 {
        self.problems.iter().filter(|problem| problem.severity == severity).count() as u64
    }

    fn is_wrong(&self, deny_warnings: bool) -> bool {
        self.count(Severity::Error) > 0 || (deny_warnings && self.count(Severity::Warning) > 0)
    }

    fn print(&self, global: &Global) -> Result<(), Exit> {
        if global.json {
            self.problems.iter().try_for_each(|problem| output::json(&problem.to_json()))?;
            return self.ignored.iter().try_for_each(|Ignored { file, why }| {
                output::json(&json!({"severity": "ignored", "code": "ignored", "what": why, "file": file}))
            });
        }
        for problem in &self.problems {
            local::say(problem);
            output::message("");
        }
        for Ignored { file, why } in &self.ignored {
            global.note(format!("{} {file}: {why}", paint(DIM, "ignored")));
        }
        if !self.problems.is_empty() {
            let codes: BTreeSet<_> = self.problems.iter().map(|problem| problem.code).collect();
            let codes: Vec<_> = codes.into_iter().collect();
            global.note(paint(DIM, &format!("`postrider help CODE` explains: {}", codes.join(", "))));
        }
        if self.has_nothing() {
            global.note(self.nothing());
        }
        if global.quiet { Ok(()) } else { output::say(self.summary()) }
    }

    /// Whether there was nothing to check.
    fn has_nothing(&self) -> bool {
        let Self { problems, fine, broken, main_files, scripts, tests, .. } = self;
        problems.is_empty() && fine.is_empty() && broken.is_empty() && (*main_files, *scripts, *tests) == (0, 0, 0)
    }

    /// "0 hooks fine" would calm whoever looked in the wrong place.
    fn nothing(&self) -> String {
        let looked: Vec<String> = self.looked.iter().map(|folder| folder.display().to_string()).collect();
        let nothing = format!("there is no hook file in {}", looked.join(", "));
        let here = Path::new(HOOKS);
        let missed = here.is_dir() && !self.looked.iter().any(|folder| folder.ends_with(here) && folder.is_relative());
        if missed { format!("{nothing}; those of this folder: postrider check .") } else { nothing }
    }

    fn summary(&self) -> String {
        let broken = self.broken.len() as u64;
        let fine = self.fine.difference(&self.broken).count() as u64;
        let errors = self.count(Severity::Error);
        let warnings = self.count(Severity::Warning);
        let mut parts = Vec::new();
        if fine > 0 || (broken == 0 && self.main_files == 0 && self.scripts == 0) {
            parts.push(paint(if fine > 0 { GOOD } else { DIM }, &format!("{} fine", count(fine, "hook"))));
        }
        if broken > 0 {
            let what = if fine > 0 { format!("{broken} broken") } else { format!("{} broken", count(broken, "hook")) };
            parts.push(paint(BAD, &what));
        } else if errors > 0 {
            parts.push(paint(BAD, &count(errors, "error")));
        } else if self.main_files > 0 {
            parts.push(paint(GOOD, "the main file is fine"));
        } else if self.scripts > 0 {
            parts.push(paint(GOOD, &format!("{} fine", count(self.scripts, "script"))));
        }
        if warnings > 0 {
            parts.push(count(warnings, "warning"));
        }
        if self.tests > 0 {
            parts.push(format!("{} run", count(self.tests, "test")));
        }
        parts.join(", ")
    }
}

/// What a hook file does that would end this process, or the daemon's, is an error: that is tried in another one first.
/// Otherwise gives what some value could break.
fn try_out(source: &Source, config: &Config, paths: &Paths) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let main = std::fs::read_to_string(&paths.main).ok();
    let among = Surroundings::new(main.as_deref(), &config.platforms);
    let prover = Prover::own();
    match prover.hooks(&among, [source]).pop() {
        Some(Verdict::Refused(found)) => Err(found),
        Some(Verdict::Unproven(why)) => Err(vec![Diagnostic::error("unproven", why).at(Place::of_file(&source.name))]),
        Some(Verdict::Fine(_)) => Ok(prover.fragile(&among, [source]).pop().unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// The hook file that an error stands in.
fn hook_file_of<'a>(problem: &'a Diagnostic, main: &str) -> Option<&'a str> {
    let file = &problem.place.as_ref().filter(|_| problem.severity == Severity::Error)?.file;
    let is_hook = local::is_file(file) && file != main && !file.ends_with(".rhai");
    is_hook.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::diagnostic::Place;

    fn error(file: &str) -> Diagnostic {
        let place = Place { file: file.to_owned(), line: 1, column: 1, length: 1, text: String::new() };
        Diagnostic::error("x", "x").at(place)
    }

    fn summary(findings: &Findings) -> String {
        anstream::adapter::strip_str(&findings.summary()).to_string()
    }

    #[test]
    fn the_summary_counts_files() {
        let mut findings = Findings::default();
        assert_eq!(summary(&findings), "0 hooks fine");
        assert!(findings.has_nothing());
        findings.looked = vec!["/etc/postrider/hooks.d".into(), "/run/postrider/hooks.d".into()];
        let nothing = "there is no hook file in /etc/postrider/hooks.d, /run/postrider/hooks.d";
        assert!(findings.nothing().starts_with(nothing), "{}", findings.nothing());
        findings.fine.extend(["a.yaml", "b.yaml", "c.yaml", "d.yaml"].map(String::from));
        assert_eq!(summary(&findings), "4 hooks fine");
        findings.broken.insert("d.yaml".to_owned());
        findings.add(error("d.yaml"));
        findings.add(error("d.yaml"));
        assert_eq!(findings.problems.len(), 1, "the same is said once");
        findings.add(Diagnostic::warning("y", "y"));
        findings.tests = 2;
        assert_eq!(summary(&findings), "3 hooks fine, 1 broken, 1 warning, 2 tests run");
        let only_broken = Findings { broken: ["a.yaml".to_owned()].into(), ..Findings::default() };
        assert_eq!(summary(&only_broken), "1 hook broken");
        let main = Findings { main_files: 1, ..Findings::default() };
        assert_eq!(summary(&main), "the main file is fine");
    }

    #[test]
    fn warnings_fail_only_when_denied() {
        let mut findings = Findings::default();
        assert!(!findings.is_wrong(true));
        findings.add(Diagnostic::warning("y", "y"));
        assert!(!findings.is_wrong(false));
        assert!(findings.is_wrong(true));
        findings.add(error("a.yaml"));
        assert!(findings.is_wrong(false));
    }

    #[test]
    fn errors_are_counted_to_the_hook_file_they_stand_in() {
        let main = "/etc/postrider/postrider.yaml";
        assert_eq!(hook_file_of(&error("/etc/postrider/hooks.d/a.yaml"), main), Some("/etc/postrider/hooks.d/a.yaml"));
        assert_eq!(hook_file_of(&error(main), main), None);
        assert_eq!(hook_file_of(&error("/etc/postrider/scripts/platforms/a.rhai"), main), None);
        assert_eq!(hook_file_of(&Diagnostic::error("x", "x"), main), None);
    }
}
