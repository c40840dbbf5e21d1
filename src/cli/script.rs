//! `postrider script`: a platform script against its cases.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, BAD, GOOD, paint};
use crate::cli::{Global, local};
use crate::rules::cases::{self, CaseResult};
use crate::rules::diagnostic::Diagnostic;
use crate::rules::platform::Platform;
use crate::words::limits;

/// Run a platform script against its cases
///
/// A case gives an event and options and expects a request, or gives an answer and expects a verdict. Exit code 1 means that
/// a case failed, 78 that the script or the cases cannot be read.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postrider script scripts/platforms/pager.rhai --cases tests/platforms/pager.yaml")]
pub(crate) struct Script {
    /// The script, a .rhai file
    #[arg(value_name = "FILE")]
    script: PathBuf,
    /// The cases, a YAML file
    #[arg(long, value_name = "FILE")]
    cases: PathBuf,
}

impl Script {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let name = self.script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = local::source(&self.script, limits::SCRIPT_FILE)?;
        let platform = Platform::compile(&name, source, false).map_err(wrong)?;
        let cases = local::source(&self.cases, limits::HOOK_FILE)?;
        let results = cases::run(&platform, &cases).map_err(wrong)?;
        if results.is_empty() {
            return Err(Exit::new(Code::Configuration, format!("{} holds no cases", self.cases.display())));
        }
        for result in &results {
            print(global, result)?;
        }
        let passed = results.iter().filter(|result| result.differences.is_empty()).count();
        let failed = results.len() - passed;
        if !global.json {
            output::say(format!("{passed} passed, {failed} failed"))?;
        }
        if failed > 0 { Err(Exit::silent(Code::Failed)) } else { Ok(()) }
    }
}

fn wrong(problems: Vec<Diagnostic>) -> Exit {
    problems.iter().for_each(local::say);
    Exit::silent(Code::Configuration)
}

fn print(global: &Global, CaseResult { name, place, differences }: &CaseResult) -> Result<(), Exit> {
    let passed = differences.is_empty();
    if global.json {
        return output::json(&json!({"case": name, "passed": passed, "line": place.line, "differences": differences}));
    }
    if passed {
        return if global.quiet { Ok(()) } else { output::say(format!("{}      {name}", paint(GOOD, "ok"))) };
    }
    output::say(format!("{}  {name} ({}:{})", paint(BAD, "FAILED"), place.file, place.line))?;
    let lines = differences.iter().flat_map(|difference| difference.lines());
    lines.into_iter().try_for_each(|line| output::say(format!("        {line}")))
}
