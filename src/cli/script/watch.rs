//! `script --watch`: again and again, until somebody presses Ctrl-C.

use std::path::{Path, PathBuf};
use std::pin::pin;

use super::Script;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, DIM, paint};
use crate::cli::{Global, report, sink};
use crate::edges::changes::Changes;

/// Runs it now and whenever one of its files changes; what goes wrong is said and waited for.
pub(super) async fn run(script: &Script, global: &Global) -> Result<(), Exit> {
    let files = files(script)?;
    let mut stop = pin!(sink::stop_signal());
    let mut changes = Changes::of(files.iter().cloned());
    global.note(paint(DIM, &format!("watching {}; Ctrl-C ends", names(&files))));
    loop {
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

fn names(files: &[PathBuf]) -> String {
    let name = |file: &PathBuf| file.file_name().unwrap_or(Path::new(file).as_os_str()).to_string_lossy().into_owned();
    files.iter().map(name).collect::<Vec<_>>().join(", ")
}
