//! One immutable configuration, and its answer to "which hooks want this event, and why not the others".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::rules::diagnostic::Diagnostic;
use crate::rules::hook::{Hook, NotWanted};
use crate::rules::platform::Platforms;
use crate::rules::settings::Settings;
use crate::rules::source::SourceScripts;
use crate::words::delivery::Terms;
use crate::words::event::Event;
use crate::words::secret::{Secret, Secrets};

/// One configuration. Reload builds a new one by the same path and swaps it in.
#[derive(Debug, Default)]
pub struct Config {
    /// The main file.
    pub settings: Settings,
    /// Built-in scripts and those of the administrator.
    pub platforms: Platforms,
    /// The same for sources.
    pub source_scripts: SourceScripts,
    /// By name.
    pub hooks: BTreeMap<Arc<str>, Arc<Hook>>,
    /// Every secret that a hook or a source names, with its value or why it cannot be had.
    pub secrets: Secrets,
    /// What is wrong right now. A broken file's last good version is still in `hooks`.
    pub problems: Vec<Diagnostic>,
    /// Files that were passed over, and why.
    pub ignored: Vec<Ignored>,
    /// Built at the first event from `hooks`, which do not change.
    pub router: OnceLock<Router>,
}

/// Hooks by the type they name, so that an event does not ask each of ten thousand.
#[derive(Debug, Default)]
pub struct Router {
    exact: HashMap<String, Vec<Arc<Hook>>>,
    patterns: Vec<Arc<Hook>>,
    /// Whether any hook asks something of its deliveries.
    terms: bool,
}

/// A file in hooks.d that is not a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its path as the user knows it.
    pub file: String,
    /// Why it was passed over.
    pub why: String,
}

impl Config {
    /// The hooks that want an event. `failed` is told of each hook whose `when` could not be answered, and why.
    pub fn route(&self, event: &Event, mut failed: impl FnMut(&Hook, &str)) -> Vec<Arc<str>> {
        let router = self.router.get_or_init(|| Router::new(self.hooks.values()));
        let exact = router.exact.get(&event.kind).map(Vec::as_slice).unwrap_or_default();
        let wanting = exact.iter().chain(&router.patterns).filter(|hook| match hook.wants(event) {
            Err(NotWanted::WhenFailed(why)) => {
                failed(hook, &why);
                false
            }
            wanted => wanted.is_ok(),
        });
        let mut names: Vec<_> = wanting.map(|hook| hook.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// What the hooks that want an event ask of their deliveries, by their index. `failed` is told of each whose key could
    /// not be made, and why.
    pub fn terms(&self, event: &Event, hooks: &[Arc<str>], mut failed: impl FnMut(&Hook, &str)) -> Vec<(usize, Terms)> {
        if !self.router.get().is_some_and(|router| router.terms) {
            return Vec::new();
        }
        let asking = hooks.iter().enumerate().filter_map(|(index, name)| {
            let hook = self.hooks.get(name).filter(|hook| hook.has_terms())?;
            let terms = hook.terms(event, |why| failed(hook, why));
            (terms != Terms::default()).then_some((index, terms))
        });
        asking.collect()
    }

    /// For every hook, whether it wants the event, or why not.
    pub fn explain(&self, event: &Event) -> Vec<(Arc<str>, Result<(), NotWanted>)> {
        self.hooks.values().map(|hook| (hook.name.clone(), hook.wants(event))).collect()
    }

    /// Changes when the hook's file, its platform's script or one of its secrets changes. Shows none of them.
    pub fn fingerprint(&self, hook: &Hook) -> String {
        let mut hash = Sha256::new();
        hash.update(hook.fingerprint());
        for (name, _) in hook.secrets() {
            hash.update(name);
            hash.update(self.secrets.get(name).map(Secret::expose).unwrap_or_default());
        }
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The secrets of a hook that cannot be had, each with why: its deliveries wait until they can.
    pub fn missing_secret(&self, hook: &Hook) -> Option<String> {
        if let [first, others @ ..] = hook.robots() {
            // One robot that can send is enough.
            let missing = self.missing_secret(first)?;
            return others.iter().all(|robot| self.missing_secret(robot).is_some()).then_some(missing);
        }
        hook.secrets().find_map(|(name, _)| {
            self.secrets.get(name).err().map(|why| format!("secret {name} cannot be read: {why}"))
        })
    }
}

impl Router {
    fn new<'a>(hooks: impl Iterator<Item = &'a Arc<Hook>>) -> Self {
        let mut router = Self::default();
        for hook in hooks {
            router.terms |= hook.has_terms();
            if hook.events.iter().any(|pattern| pattern.contains(['*', '?'])) {
                router.patterns.push(hook.clone());
                continue;
            }
            for kind in hook.events.iter().collect::<std::collections::BTreeSet<_>>() {
                router.exact.entry(kind.clone()).or_default().push(hook.clone());
            }
        }
        router
    }
}
