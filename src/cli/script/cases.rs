//! The cases of a script: run, or blessed.

use std::path::Path;

use serde_json::json;

use super::{Compiled, wrong};
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BAD, GOOD, WAITS, paint};
use crate::cli::{Global, local};
use crate::edges::files;
use crate::rules::cases::{self, Blessed, BlessedCase, CaseResult, Fate};
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::words::limits;

/// Runs the cases of a file. With `bless` the file then says what the script does.
pub(super) fn run(global: &Global, script: &Compiled, file: &Path, bless: bool) -> Result<(), Exit> {
    let source = local::source(file, limits::HOOK_FILE)?;
    let Blessed { text, cases } =
        if bless { blessed(script, &source, file) } else { ran(script, &source, file) }.map_err(wrong)?;
    if cases.is_empty() {
        return Err(Exit::new(Code::Configuration, format!("{} holds no cases", file.display())));
    }
    if let Some(text) = text {
        files::replace(file, text.as_bytes()).map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::PermissionDenied => Code::Permission,
                _ => Code::Failed,
            };
            Exit::caused(code, format!("cannot write {}", file.display()), &error)
        })?;
    }
    cases.iter().try_for_each(|case| print(global, case, bless))?;
    let count = |fate: fn(&Fate) -> bool| cases.iter().filter(|case| fate(&case.fate)).count();
    let failed = count(|fate| matches!(fate, Fate::Refused(_)));
    if !global.json {
        let blessed = if bless { format!("{} blessed, ", count(|fate| *fate == Fate::Blessed)) } else { String::new() };
        output::say(format!("{} passed, {blessed}{failed} failed", count(|fate| *fate == Fate::Passed)))?;
    }
    if failed > 0 { Err(Exit::silent(Code::Failed)) } else { Ok(()) }
}

impl Compiled {
    /// What came of all cases of a file.
    pub(crate) fn run_cases(&self, cases: &Source, file: &Path) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
        match self {
            Self::Platform(platform) => cases::run(platform, cases),
            Self::Source(script) => cases::run_source(script, cases, &beside(file)),
        }
    }
}

fn ran(script: &Compiled, cases: &Source, file: &Path) -> Result<Blessed, Vec<Diagnostic>> {
    let cases = script.run_cases(cases, file)?.into_iter().map(|CaseResult { name, place, differences }| {
        let fate = if differences.is_empty() { Fate::Passed } else { Fate::Refused(String::new()) };
        BlessedCase { name, place, differences, fate }
    });
    Ok(Blessed { text: None, cases: cases.collect() })
}

fn blessed(script: &Compiled, cases: &Source, file: &Path) -> Result<Blessed, Vec<Diagnostic>> {
    match script {
        Compiled::Platform(platform) => cases::bless(platform, cases),
        Compiled::Source(script) => cases::bless_source(script, cases, &beside(file)),
    }
}

/// Reads what stands beside the cases.
fn beside(file: &Path) -> impl Fn(&str) -> Result<Vec<u8>, String> {
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    move |name| std::fs::read(folder.join(name)).map_err(|error| files::plain(&error))
}

fn print(global: &Global, case: &BlessedCase, bless: bool) -> Result<(), Exit> {
    let BlessedCase { name, place, differences, fate } = case;
    if global.json {
        let mut row =
            json!({"case": name, "passed": *fate == Fate::Passed, "line": place.line, "differences": differences});
        if bless {
            row["blessed"] = (*fate == Fate::Blessed).into();
        }
        return output::json(&row);
    }
    match fate {
        Fate::Passed if global.quiet => Ok(()),
        Fate::Passed => output::say(format!("{}      {name}", paint(GOOD, "ok"))),
        Fate::Blessed => {
            let said = output::clean_line(&differences.join("; "));
            output::say(format!("{} {name} ({}:{}): {said}", paint(WAITS, "blessed"), place.file, place.line))
        }
        Fate::Refused(why) => {
            output::say(format!("{}  {name} ({}:{})", paint(BAD, "FAILED"), place.file, place.line))?;
            let why = (!why.is_empty()).then(|| format!("not blessed: {why}"));
            let lines = differences.iter().map(String::as_str).chain(why.as_deref());
            lines.flat_map(str::lines).try_for_each(|line| output::say(format!("        {line}")))
        }
    }
}
