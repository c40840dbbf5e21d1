//! Scripts of platforms and of sources: one's own beside and instead of the built-in ones, each with its last good version.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::edges::config::folders::Scripts;
use crate::edges::config::last_good::{Kind, LastGood};
use crate::edges::config::{guarded, same};
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::platform::Platform;
use crate::rules::source::SourceScript;

/// A compiled script of either kind.
pub(super) trait Compiled: Sized {
    /// Under which its last good version is kept.
    const KIND: Kind;

    fn compile(name: &str, source: Source) -> Result<Self, Vec<Diagnostic>>;

    fn source(&self) -> &Source;
}

impl Compiled for Platform {
    const KIND: Kind = Kind::Script;

    fn compile(name: &str, source: Source) -> Result<Self, Vec<Diagnostic>> {
        Self::compile(name, source, false)
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

impl Compiled for SourceScript {
    const KIND: Kind = Kind::SourceScript;

    fn compile(name: &str, source: Source) -> Result<Self, Vec<Diagnostic>> {
        Self::compile(name, source, false)
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

/// Puts what was found among the built-in ones. `own` is what the files were compiled to last time: what did not change
/// stays the same Arc, so that its users see whether it changed.
pub(super) fn load<T: Compiled>(
    found: &Scripts,
    good: &mut LastGood,
    all: &mut BTreeMap<String, Arc<T>>,
    own: &mut HashMap<String, Arc<T>>,
    problems: &mut Vec<Diagnostic>,
) {
    let last = std::mem::take(own);
    let mut take = |name: &str, (script, said): (Option<Arc<T>>, Vec<Diagnostic>)| {
        problems.extend(said);
        // A script that never was good replaces nothing: what ran before it goes on, if only the built-in one.
        if let Some(script) = script {
            own.insert(name.to_owned(), script.clone());
            all.insert(name.to_owned(), script);
        }
    };
    for (name, file) in &found.files {
        take(name, good.transact(T::KIND, name, file, |source| compile(name, source, last.get(name))));
    }
    if let Some(folder) = &found.closed {
        for name in good.names(T::KIND).iter().filter(|name| !found.files.contains_key(*name)) {
            let shown = folder.join(format!("{name}.rhai"));
            take(name, good.recall(T::KIND, name, &shown, |source| compile(name, source, last.get(name))));
        }
    } else {
        good.forget_others(T::KIND, |name| found.files.contains_key(name));
    }
}

fn compile<T: Compiled>(name: &str, source: &Source, last: Option<&Arc<T>>) -> (Option<Arc<T>>, Vec<Diagnostic>) {
    if let Some(last) = last.filter(|last| same(last.source(), source)) {
        return (Some(last.clone()), Vec::new());
    }
    guarded(source, || match T::compile(name, source.clone()) {
        Ok(script) => (Some(Arc::new(script)), Vec::new()),
        Err(errors) => (None, errors),
    })
}
