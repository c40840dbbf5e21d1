//! What was proven: a file is proven once, also across restarts, until it, its platform's script or the program changes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::edges::proof::{Prover, ScriptFor, Surroundings, Verdict};
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::platform::Platforms;

/// The first line of the file: what another version has proven is proven anew.
const HEAD: &str = concat!("postrider ", env!("CARGO_PKG_VERSION"));

/// Proves what is not proven yet, and remembers what is.
#[derive(Debug)]
pub(super) struct Proofs {
    /// Nothing is proven without one: commands that load for a look only.
    prover: Option<Prover>,
    /// Where it is remembered across restarts.
    file: Option<PathBuf>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the digest of a file, the name and the digest of its platform's script; a script has none.
    known: BTreeMap<Digest, (Arc<str>, Option<Digest>)>,
    /// Those of them that were asked for in this look.
    used: BTreeSet<Digest>,
    changed: bool,
    /// What values could break, of files that are proven.
    warned: HashMap<Digest, Vec<Diagnostic>>,
    /// What else came of this look.
    refused: HashMap<Digest, Vec<Diagnostic>>,
    /// Whether something could not be tried: the next look tries again.
    unproven: bool,
    /// Of the scripts of platforms, by their names.
    digests: HashMap<Arc<str>, Digest>,
    among: Surroundings,
}

impl Proofs {
    pub(super) fn none() -> Self {
        Self { prover: None, file: None, state: RefCell::default() }
    }

    /// Proves by this prover, and reads what an earlier run has left in the folder.
    pub(super) fn open(prover: Prover, folder: Option<PathBuf>) -> Self {
        let file = folder.map(|folder| folder.join("proven"));
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let mut lines = text.lines();
        let known = if lines.next() == Some(HEAD) { read(lines) } else { BTreeMap::new() };
        Self { prover: Some(prover), file, state: RefCell::new(State { known, ..State::default() }) }
    }

    /// A new look begins.
    pub(super) fn begin(&self) {
        let mut state = self.state.borrow_mut();
        state.refused.clear();
        state.used.clear();
        state.unproven = false;
    }

    /// Tries these scripts, by their names, as far as they are not proven yet.
    pub(super) fn try_scripts<'a>(&self, of: ScriptFor, scripts: impl Iterator<Item = (&'a str, Source)>) {
        let Some(prover) = &self.prover else { return };
        let unknown: Vec<_> = scripts.filter(|(_, source)| !self.knows(&digest(source), None)).collect();
        if unknown.is_empty() {
            return;
        }
        let verdicts = prover.scripts(of, unknown.iter().map(|(name, source)| (*name, source)));
        for ((_, source), verdict) in unknown.iter().zip(verdicts) {
            self.remember(source, verdict, None);
        }
    }

    /// Tries these hook files among these platforms, as far as they are not proven yet.
    pub(super) fn try_hooks(&self, platforms: &Platforms, hooks: impl Iterator<Item = Source>) {
        let Some(prover) = &self.prover else { return };
        let unknown: Vec<_> = hooks.filter(|source| !self.knows(&digest(source), Some(platforms))).collect();
        if unknown.is_empty() {
            return;
        }
        let verdicts = prover.hooks(&self.state.borrow().among, &unknown);
        let mut fine = Vec::new();
        for (source, verdict) in unknown.iter().zip(verdicts) {
            if matches!(verdict, Verdict::Fine(_)) {
                fine.push(source);
            }
            self.remember(source, verdict, Some(platforms));
        }
        if !fine.is_empty() && prover.looks_for_breaks(fine.len()) {
            let warnings = prover.fragile(&self.state.borrow().among, fine.iter().copied());
            let found = fine.into_iter().map(digest).zip(warnings).filter(|(_, found)| !found.is_empty());
            self.state.borrow_mut().warned.extend(found);
        }
    }

    /// What values could break of a hook file that is proven.
    pub(super) fn warnings(&self, source: &Source) -> Vec<Diagnostic> {
        let state = self.state.borrow();
        if state.warned.is_empty() {
            return Vec::new();
        }
        state.warned.get(&digest(source)).cloned().unwrap_or_default()
    }

    /// What hooks are proven among from now on.
    pub(super) fn among(&self, main: Option<&str>, platforms: &Platforms) {
        if self.prover.is_none() {
            return;
        }
        let mut state = self.state.borrow_mut();
        state.among = Surroundings::new(main, platforms);
        state.digests = platforms.0.iter().map(|(name, it)| (name.as_str().into(), digest(&it.source()))).collect();
    }

    /// Why a script must not be loaded.
    pub(super) fn against_script(&self, of: ScriptFor, name: &str, source: &Source) -> Option<Vec<Diagnostic>> {
        self.prover.as_ref()?;
        let key = digest(source);
        if !self.knows(&key, None) && !self.state.borrow().refused.contains_key(&key) {
            self.try_scripts(of, std::iter::once((name, source.clone())));
        }
        self.against(&key)
    }

    /// Why a hook file must not be loaded.
    pub(super) fn against_hook(&self, source: &Source, platforms: &Platforms) -> Option<Vec<Diagnostic>> {
        self.prover.as_ref()?;
        let key = digest(source);
        if !self.knows(&key, Some(platforms)) && !self.state.borrow().refused.contains_key(&key) {
            self.try_hooks(platforms, std::iter::once(source.clone()));
        }
        self.against(&key)
    }

    /// What stays in use without being asked for.
    pub(super) fn keep(&self, source: &Source) {
        if self.prover.is_some() {
            self.state.borrow_mut().used.insert(digest(source));
        }
    }

    /// Whether something waits for the next look.
    pub(super) fn is_open(&self) -> bool {
        self.state.borrow().unproven
    }

    /// Writes down what is proven and in use. That it cannot be written costs time at the next start and nothing else.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let mut state = self.state.borrow_mut();
        let State { known, used, warned, .. } = &mut *state;
        let before = known.len();
        known.retain(|key, _| used.contains(key));
        warned.retain(|key, _| used.contains(key));
        if !state.changed && state.known.len() == before {
            return;
        }
        let mut text = format!("{HEAD}\n");
        // What is warned of is tried again at the next start, so that it is warned of again.
        for (key, (platform, script)) in state.known.iter().filter(|(key, _)| !state.warned.contains_key(*key)) {
            let script = script.as_ref().map_or_else(|| "-".to_owned(), written);
            text.push_str(&format!("{} {platform} {script}\n", written(key)));
        }
        let beside = file.with_extension("new");
        let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let written =
            written.and_then(|mut new| new.write_all(text.as_bytes())).and_then(|()| fs::rename(&beside, file));
        state.changed = written.is_err();
    }

    fn against(&self, key: &Digest) -> Option<Vec<Diagnostic>> {
        self.state.borrow().refused.get(key).cloned()
    }

    /// Whether a file is proven, with its platform as it is now.
    fn knows(&self, key: &Digest, platforms: Option<&Platforms>) -> bool {
        let mut state = self.state.borrow_mut();
        let Some((platform, script)) = state.known.get(key) else { return false };
        let known = platforms.is_none() || (script.is_some() && state.digests.get(platform) == script.as_ref());
        if known {
            state.used.insert(*key);
        }
        known
    }

    fn remember(&self, source: &Source, verdict: Verdict, platforms: Option<&Platforms>) {
        let mut state = self.state.borrow_mut();
        let key = digest(source);
        let refused = match verdict {
            Verdict::Fine(platform) => {
                let name = platform.filter(|_| platforms.is_some()).unwrap_or_else(|| "-".to_owned());
                let found = state.digests.get_key_value(name.as_str());
                let found = found.map(|(name, script)| (name.clone(), Some(*script)));
                state.known.insert(key, found.unwrap_or_else(|| (name.into(), None)));
                state.used.insert(key);
                state.changed = true;
                return;
            }
            // Its errors are found by whoever reads it; if none are, it is not loaded all the same.
            Verdict::Unread | Verdict::Warned(_) => Vec::new(),
            Verdict::Refused(found) => found,
            Verdict::Unproven(why) => {
                state.unproven = true;
                let found = Diagnostic::error("unproven", format!("it could not be tried before it is loaded: {why}"))
                    .at(Place::of_file(&source.name))
                    .help(
                        "it is tried again soon; for now look at the limits of the service: systemctl show postrider",
                    );
                vec![found]
            }
        };
        state.refused.insert(key, refused);
    }
}

/// The first half of a SHA-256.
type Digest = [u8; 16];

fn digest(source: &Source) -> Digest {
    let mut half = Digest::default();
    half.copy_from_slice(&Sha256::digest(source.text.as_bytes())[..16]);
    half
}

fn written(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_digest(word: &str) -> Option<Digest> {
    Some(u128::from_str_radix(word, 16).ok().filter(|_| word.len() == 32)?.to_be_bytes())
}

/// What `save` has written; a line that is anything else proves nothing.
fn read<'l>(lines: impl Iterator<Item = &'l str>) -> BTreeMap<Digest, (Arc<str>, Option<Digest>)> {
    let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut name = |word: &str| {
        names.get(word).cloned().unwrap_or_else(|| {
            let name: Arc<str> = word.into();
            names.insert(name.clone());
            name
        })
    };
    let read = lines.filter_map(|line| {
        let [key, platform, script] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let script = if script == "-" { None } else { Some(read_digest(script)?) };
        Some((read_digest(key)?, (name(platform), script)))
    });
    read.collect()
}
