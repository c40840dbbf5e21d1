//! Scripts of platforms and of sources: one's own beside and instead of the built-in ones, each with its last good version.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::edges::config::folders::Scripts;
use crate::edges::config::last_good::{Kind, LastGood};
use crate::edges::config::proofs::Proofs;
use crate::edges::config::{guarded, refused, same};
use crate::edges::proof::ScriptFor;
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::platform::Platform;
use crate::rules::script::shelf::{Compiled, Shelved};
use crate::rules::source::SourceScript;

/// What the two kinds of script differ in.
pub(super) trait Loaded: Compiled {
    /// Under which its last good version is kept.
    const KIND: Kind;
    /// As what it is proven.
    const FOR: ScriptFor;
}

impl Loaded for Platform {
    const KIND: Kind = Kind::Script;
    const FOR: ScriptFor = ScriptFor::Platform;
}

impl Loaded for SourceScript {
    const KIND: Kind = Kind::SourceScript;
    const FOR: ScriptFor = ScriptFor::Source;
}

/// What loading needs besides the scripts.
pub(super) struct Loading<'l> {
    pub(super) good: &'l mut LastGood,
    pub(super) proofs: &'l Proofs,
    pub(super) problems: &'l mut Vec<Diagnostic>,
}

impl Loading<'_> {
    /// Puts what was found among the built-in ones. `own` is what the files were compiled to last time: what did not
    /// change stays the same Arc, so that its users see whether it changed.
    pub(super) fn scripts<T: Loaded>(
        &mut self,
        found: &Scripts,
        all: &mut BTreeMap<String, Shelved<T>>,
        own: &mut HashMap<String, Arc<T>>,
    ) {
        let (proofs, last) = (self.proofs, std::mem::take(own));
        let unchanged = |name: &str, source: &Source| last.get(name).is_some_and(|it| same(it.source(), source));
        let new = found.files.iter().filter_map(|(name, file)| Some((name.as_str(), file.source()?)));
        proofs.try_scripts(T::FOR, new.filter(|(name, source)| !unchanged(name, source)));
        let parse = |name: &str, source: &Source| {
            if unchanged(name, source) {
                proofs.keep(source);
            } else if let Some(against) = proofs.against_script(T::FOR, name, source) {
                return refused(against, || compile(name, source, None));
            }
            compile(name, source, last.get(name))
        };
        let mut take = |name: &str, (script, said): (Option<Arc<T>>, Vec<Diagnostic>)| {
            self.problems.extend(said);
            // A script that never was good replaces nothing: what ran before it goes on, if only the built-in one.
            if let Some(script) = script {
                own.insert(name.to_owned(), script.clone());
                all.insert(name.to_owned(), script.into());
            }
        };
        for (name, file) in &found.files {
            take(name, self.good.transact(T::KIND, name, file, |source| parse(name, source)));
        }
        if let Some(folder) = &found.closed {
            for name in self.good.names(T::KIND).iter().filter(|name| !found.files.contains_key(*name)) {
                let shown = folder.join(format!("{name}.rhai"));
                take(name, self.good.recall(T::KIND, name, &shown, |source| parse(name, source)));
            }
        } else {
            self.good.forget_others(T::KIND, |name| found.files.contains_key(name));
        }
    }
}

fn compile<T: Loaded>(name: &str, source: &Source, last: Option<&Arc<T>>) -> (Option<Arc<T>>, Vec<Diagnostic>) {
    if let Some(last) = last.filter(|last| same(last.source(), source)) {
        return (Some(last.clone()), Vec::new());
    }
    guarded(source, || match T::compile(name, source.clone(), false) {
        Ok(script) => (Some(Arc::new(script)), Vec::new()),
        Err(errors) => (None, errors),
    })
}
