//! The scripts that come with the program, each compiled when it is first asked for: nobody uses all of them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::rules::diagnostic::{Diagnostic, Source};

/// What a script is compiled to: a platform, or the script of a source.
pub trait Compiled: Sized {
    /// Compiles a script and reads its manifest.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    fn compile(name: &str, source: Source, built_in: bool) -> Result<Self, Vec<Diagnostic>>;

    /// The script's text.
    fn source(&self) -> &Source;
}

/// A script among others: one of the program's, compiled or not yet, or one of the administrator's, which always is.
/// Whoever looks into it has it compiled.
#[derive(Debug)]
pub struct Shelved<T>(Arc<Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    built_in: Option<(&'static str, &'static str)>,
    compiled: OnceLock<Arc<T>>,
}

impl<T: Compiled> Shelved<T> {
    /// The scripts that come with the program: names and texts.
    pub(in crate::rules) fn all(scripts: &[(&'static str, &'static str)]) -> BTreeMap<String, Self> {
        let shelve = |script: &(_, _)| Self(Arc::new(Entry { built_in: Some(*script), compiled: OnceLock::new() }));
        scripts.iter().map(|script| (script.0.to_owned(), shelve(script))).collect()
    }

    /// The script's text; it is not compiled for it.
    pub fn source(&self) -> Source {
        match (self.0.compiled.get(), self.0.built_in) {
            (None, Some((name, text))) => Source::new(format!("{name}.rhai"), text),
            _ => Compiled::source(&***self).clone(),
        }
    }

    /// Whether it came with the program.
    pub fn is_built_in(&self) -> bool {
        self.0.built_in.is_some()
    }
}

/// They are equal when they are one and the same, not when they are alike.
impl<T> PartialEq for Shelved<T> {
    fn eq(&self, other: &Self) -> bool {
        let compiled = (self.0.compiled.get(), other.0.compiled.get());
        Arc::ptr_eq(&self.0, &other.0) || matches!(compiled, (Some(one), Some(two)) if Arc::ptr_eq(one, two))
    }
}

impl<T: Compiled> From<Arc<T>> for Shelved<T> {
    fn from(script: Arc<T>) -> Self {
        Self(Arc::new(Entry { built_in: None, compiled: script.into() }))
    }
}

impl<T> Clone for Shelved<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Compiled> Deref for Shelved<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        self.0.compiled.get_or_init(|| {
            let (name, text) = self.0.built_in.expect("only those of the program are not compiled yet");
            let compiled = T::compile(name, Source::new(format!("{name}.rhai"), text), true);
            Arc::new(compiled.unwrap_or_else(|wrong| panic!("the built-in script {name} is broken: {wrong:?}")))
        })
    }
}

impl<T: Compiled> AsRef<T> for Shelved<T> {
    fn as_ref(&self) -> &T {
        self
    }
}
