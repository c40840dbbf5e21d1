//! `script --watch`: again and again, until somebody presses Ctrl-C.

use std::path::{Path, PathBuf};
use std::pin::pin;

use super::Script;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, DIM, paint};
use crate::cli::{Global, local, report, sink};
use crate::edges::changes::Changes;
use crate::rules::yaml;
use crate::words::limits;

/// Runs it now and whenever one of its files changes; what goes wrong is said and waited for.
pub(super) async fn run(script: &Script, global: &Global) -> Result<(), Exit> {
    let files = files(script)?;
    let mut stop = pin!(sink::stop_signal());
    let mut changes = Changes::of(files.iter().cloned());
    global.note(paint(DIM, &format!("watching {}; Ctrl-C ends", names(&files))));
    loop {
        changes.also(samples(script));
        // Polled first, so that the signals are ours from now on.
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            done = script.once(global) => match done {
                Err(exit) if exit.code() == Code::Done => return Err(exit),
                Err(exit) => _ = report(&exit),
                Ok(()) => {}
            },
        }
        let changed = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            changed = changes.next() => changed,
        };
        let line = paint(DIM, &format!("--- {} changed", names(&changed)));
        if global.json { global.note(line) } else { output::say(line)? }
    }
}

/// What is to be watched.
fn files(script: &Script) -> Result<Vec<PathBuf>, Exit> {
    let mut files = vec![script.script.clone()];
    match (&script.event, &script.answer, &script.request) {
        (None, None, None) => files.push(script.cases_file()?),
        (Some(given), ..) | (_, Some(given), _) => {
            if given == "-" {
                let exit = Exit::new(Code::Usage, "standard input cannot be read again at each change");
                return Err(exit.help("give a file"));
            }
            files.extend(Some(PathBuf::from(given)).filter(|file| file.is_file()));
        }
        (.., Some(request)) => files.push(request.clone()),
    }
    Ok(files)
}

/// The files that the cases of a source name beside them.
fn samples(script: &Script) -> Vec<PathBuf> {
    let Ok(file) = script.cases_file() else { return Vec::new() };
    let cases = local::source(&file, limits::HOOK_FILE).ok().and_then(|source| yaml::parse(&source).ok());
    let cases = cases.map(|cases| cases.to_json());
    let names =
        cases.iter().flat_map(|cases| cases.as_array()).flatten().filter_map(|case| case["request"]["file"].as_str());
    let folder = file.parent().unwrap_or(Path::new("."));
    names.map(|name| folder.join(name)).collect()
}

fn names(files: &[PathBuf]) -> String {
    let name = |file: &PathBuf| file.file_name().unwrap_or(Path::new(file).as_os_str()).to_string_lossy().into_owned();
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}
