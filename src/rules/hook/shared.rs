//! What many hooks have in common, held once: with ten thousand of them, the defaults of their platform's options and the
//! same few ways to sign would be most of what they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::platform::Platform;
use crate::rules::signature::Outline;
use crate::rules::template::Tree;
use crate::words::limits;

/// What the hooks that were read with it share.
#[derive(Debug, Default)]
pub struct Shared(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the platform's name: the script that the defaults are of, and each default by its option and kind.
    defaults: HashMap<String, (Source, Vec<Unsaid>)>,
    outlines: Vec<Arc<Outline>>,
}

/// An option that a file does not say.
#[derive(Debug)]
struct Unsaid {
    option: String,
    kind: Kind,
    tree: Arc<Tree>,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The default of an option, compiled for the kind that it has in this hook.
    pub(super) fn default_of(
        &self,
        platform: &Platform,
        spec: &OptionSpec,
        kind: &Kind,
    ) -> Result<Arc<Tree>, Vec<Diagnostic>> {
        let mut known = self.known();
        let fresh = || (platform.source.clone(), Vec::new());
        let (of, defaults) = known.defaults.entry(platform.name.clone()).or_insert_with(fresh);
        if !Arc::ptr_eq(&of.text, &platform.source.text) {
            (*of, *defaults) = fresh();
        }
        if let Some(found) = defaults.iter().find(|known| known.option == spec.name && known.kind == *kind) {
            return Ok(found.tree.clone());
        }
        let tree = Arc::new(Tree::compile_default(&platform.name, &spec.name, &spec.default, kind)?);
        defaults.push(Unsaid { option: spec.name.clone(), kind: kind.clone(), tree: tree.clone() });
        Ok(tree)
    }

    /// The tree, which signs as others do that sign alike.
    pub(super) fn tree(&self, mut tree: Tree) -> Arc<Tree> {
        if let Some(outline) = tree.outline_mut() {
            let mut known = self.known();
            match known.outlines.iter().find(|known| **known == *outline) {
                Some(same) => *outline = same.clone(),
                None if known.outlines.len() < limits::SHARED_OUTLINES => known.outlines.push(outline.clone()),
                None => {}
            }
        }
        Arc::new(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::hook::Hook;
    use crate::rules::platform::Platforms;
    use crate::rules::settings::Defaults;

    #[test]
    fn hooks_share_what_is_alike_and_nothing_else() {
        let (shared, platforms) = (Shared::default(), Platforms::built_in());
        let hook = |name: &str, more: &str| {
            let text = format!("events: [t]\nplatform: webhook\noptions:\n  url: https://h.example/x\n{more}");
            let source = Source::new(format!("{name}.yaml"), text);
            let (hook, found) = Hook::parse_sharing(&shared, &source, &platforms, &Defaults::default());
            hook.unwrap_or_else(|| panic!("{name}: {found:?}"))
        };
        let sign = |preset: &str| format!("  sign: {{preset: {preset}, key: {{secret: s}}}}\n");
        let (one, two, other) = (hook("a", &sign("github")), hook("b", &sign("github")), hook("c", &sign("stripe")));
        let tree = |hook: &Hook, name: &str| hook.option(name).map(Arc::as_ptr);
        let outline = |hook: &Hook| hook.option("sign").and_then(|tree| tree.outline_of()).map(Arc::as_ptr);
        assert!(outline(&one).is_some());
        assert_eq!(outline(&one), outline(&two));
        assert_ne!(outline(&one), outline(&other));
        let set = ["url", "sign"];
        let defaults: Vec<_> = one.options.iter().filter(|(name, _)| !set.contains(&name.as_str())).collect();
        assert!(!defaults.is_empty(), "the platform has a default");
        for (name, default) in defaults {
            assert_eq!(tree(&two, name), Some(Arc::as_ptr(default)), "{name}");
        }
        for name in set {
            assert_ne!(tree(&one, name), tree(&two, name), "{name} is its own: its places are in its file");
        }
    }
}
