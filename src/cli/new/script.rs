//! `new --script`: the script of a platform or a source that works at once, with its cases beside it.

use std::path::Path;

use super::{cannot_write, last, put};
use crate::cli::exit::{Code, Exit};
use crate::cli::script::CASES;
use crate::cli::{Global, output};
use crate::rules::hook::name_of;
use crate::rules::platform::Platforms;
use crate::rules::source::SourceScripts;

const PLATFORM: [&str; 2] = [include_str!("skeletons/platform.rhai"), include_str!("skeletons/platform.cases.yaml")];
const SOURCE: [&str; 2] = [include_str!("skeletons/source.rhai"), include_str!("skeletons/source.cases.yaml")];

/// Writes both files, and says what to type next.
pub(super) fn write(global: &Global, name: &str, source: bool, force: bool) -> Result<(), Exit> {
    if !name_of(&format!("{name}.yaml")).is_ok_and(|read| read == name) || name.contains('.') {
        let exit = Exit::new(Code::Usage, format!("{name} cannot be the name of a script"));
        return Err(exit.help("letters, digits, - and _; no number in front, and no .rhai behind"));
    }
    let (kind, folder) = if source { ("source", "sources") } else { ("platform", "platforms") };
    let own = built_in(name, source);
    if own.is_some() && !force {
        let exit = Exit::new(
            Code::Failed,
            format!("the {kind} {name} comes with postrider: a script of that name replaces it"),
        );
        return Err(exit.help("choose another name, or --force to begin with a copy of it"));
    }
    let folder = last(&global.paths().scripts).join(folder);
    let (script, cases) = (folder.join(format!("{name}.rhai")), folder.join(format!("{name}.{CASES}")));
    if let Some(there) = [&script, &cases].into_iter().find(|file| file.exists() && !force) {
        let exit = Exit::new(Code::Failed, format!("{} exists", there.display()));
        return Err(exit.help("choose another name, or --force to write over it"));
    }
    let typed = typed(&script);
    let [text, its_cases] = if source { SOURCE } else { PLATFORM };
    match own {
        // Whoever replaces one wants what it does, and a little more.
        Some(own) => keep(&script, &own)?,
        None => {
            keep(&script, &text.replace("NAME", name))?;
            keep(&cases, &its_cases.replace("NAME", name).replace("SCRIPT", &typed))?;
        }
    }
    global.note(format!("run its cases      postrider script {typed}"));
    global.note(format!("at each change     postrider script {typed} --watch"));
    global.note(format!("fill in cases      postrider script {typed} --bless"));
    if source {
        global.note(format!("use it             sources: {{{name}: {{}}}} in postrider.yaml, and post to /in/{name}"));
    } else {
        global.note(format!("use it in a hook   postrider new my-{name} --platform {name}"));
    }
    Ok(())
}

fn keep(file: &Path, text: &str) -> Result<(), Exit> {
    put(file, text.as_bytes(), 0o644).map_err(|error| cannot_write(file, &error))?;
    output::say(file.display())
}

/// The text of one that comes with the program.
fn built_in(name: &str, source: bool) -> Option<String> {
    if source {
        SourceScripts::built_in().get(name).map(|script| script.source.text.to_string())
    } else {
        Platforms::built_in().get(name).map(|platform| platform.source.text.to_string())
    }
}

/// A path as one types it.
fn typed(file: &Path) -> String {
    file.strip_prefix(".").unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::cases;
    use crate::rules::diagnostic::Source;
    use crate::rules::platform::Platform;
    use crate::rules::source::SourceScript;

    #[test]
    fn skeletons_work_at_once() {
        let texts = |[script, cases]: [&str; 2]| {
            let named = |text: &str| text.replace("NAME", "pager").replace("SCRIPT", "pager.rhai");
            (Source::new("pager.rhai", named(script)), Source::new("pager.cases.yaml", named(cases)))
        };
        let (script, cases) = texts(PLATFORM);
        let platform = Platform::compile("pager", script, false).unwrap();
        let mut results = cases::run(&platform, &cases).unwrap();
        assert_eq!(cases::bless(&platform, &cases).unwrap().text, None);
        let (script, cases) = texts(SOURCE);
        let source = Arc::new(SourceScript::compile("pager", script, false).unwrap());
        results.extend(cases::run_source(&source, &cases, &|_| Err("there is none".to_owned())).unwrap());
        assert_eq!(results.len(), 14);
        let failed: Vec<_> = results.iter().filter(|result| !result.differences.is_empty()).collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}
