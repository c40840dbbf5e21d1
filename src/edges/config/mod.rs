//! Folders to Config: loads, watches, keeps the last good version of each file, publishes the next Config.

mod ahead;
mod folders;
mod last_good;
mod paths;
mod proofs;
mod scripts;
mod stamp;
mod watch;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::edges::config::folders::Seen;
use crate::edges::config::last_good::{Kind, LastGood};
pub use crate::edges::config::paths::Paths;
use crate::edges::config::proofs::Proofs;
use crate::edges::files;
use crate::edges::proof::Prover;
use crate::edges::secrets::{self, SecretFolders};
use crate::rules::config::Config;
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::hook::{Hook, Shared, over_scope, pool};
use crate::rules::platform::{Platform, Platforms};
use crate::rules::settings::{Defaults, Settings};
use crate::rules::source::{NamedSource, SourceScript, SourceScripts};
use crate::words::secret::{Secret, Secrets};

/// The name under which the main file is remembered.
const MAIN: &str = "postrider";

/// What a reload did, for the person who asked for it.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// Hooks now running.
    pub hooks: usize,
    /// Names of hooks that are new.
    pub added: Vec<String>,
    /// Names of hooks whose file, script or secret changed.
    pub changed: Vec<String>,
    /// Names of hooks that are gone.
    pub removed: Vec<String>,
    /// What is wrong now.
    pub problems: Vec<Diagnostic>,
}

/// Asks for a reload now; answered when the new Config is published.
pub type ReloadRequest = oneshot::Sender<Reloaded>;

/// Loads configurations and remembers the last good version of each file, also across restarts.
#[derive(Debug)]
pub struct Keeper {
    paths: Paths,
    secrets: SecretFolders,
    good: LastGood,
    proofs: Proofs,
    /// Whether the kernel is asked to report changes.
    reported: bool,
    /// The main file in use, once there was one.
    settings: Option<Settings>,
    /// What the scripts and hook files in use were parsed to: what did not change is not parsed again, and stays the
    /// same Arc, so that a lane sees whether its hook changed.
    platforms: HashMap<String, Arc<Platform>>,
    source_scripts: HashMap<String, Arc<SourceScript>>,
    hooks: HashMap<Arc<str>, Parsed>,
    /// The defaults that those hooks were read with.
    defaults: Defaults,
    /// What those hooks have in common.
    shared: Shared,
    /// The secrets in use.
    names: BTreeSet<String>,
    /// The state of the folders, and of the secrets' files, when they were last read.
    stamps: (u64, u64),
}

#[derive(Clone, Debug)]
struct Parsed {
    hook: Arc<Hook>,
    warnings: Vec<Diagnostic>,
}

impl Keeper {
    /// A keeper of these paths; with `remember` it keeps last good versions in `paths.state`, else (for `check`,
    /// `render`, `test`) nowhere.
    pub fn new(paths: Paths, remember: bool) -> Self {
        let good = LastGood::open(remember.then(|| paths.state.join("last-good")));
        Self {
            secrets: SecretFolders::new(paths.secrets.clone()),
            paths,
            good,
            proofs: Proofs::none(),
            reported: true,
            settings: None,
            platforms: HashMap::new(),
            source_scripts: HashMap::new(),
            hooks: HashMap::new(),
            defaults: Defaults::default(),
            shared: Shared::default(),
            names: BTreeSet::new(),
            stamps: (0, 0),
        }
    }

    /// Asks the kernel for no reports and looks at the files now and then instead: network file systems report
    /// nothing.
    #[must_use]
    pub fn without_reports(mut self) -> Self {
        self.reported = false;
        self
    }

    /// Has each hook and script proven before it is loaded. What was proven is remembered where last good versions are.
    #[must_use]
    pub fn proving(mut self, prover: Prover) -> Self {
        self.proofs = Proofs::open(prover, self.good.folder());
        self
    }

    /// Reads everything once and builds a Config. A broken hook file, script or secret is a problem of the Config, not
    /// an error.
    ///
    /// # Errors
    /// The main file is broken and no earlier version of it was good.
    pub fn load(&mut self) -> Result<Config, Vec<Diagnostic>> {
        self.read(true)
    }

    /// The same for a daemon that starts. Where very many files are newly good, it need not wait until they are written
    /// down: `watch` does that first.
    ///
    /// # Errors
    /// As for `load`.
    pub fn start(&mut self) -> Result<Config, Vec<Diagnostic>> {
        self.read(false)
    }

    fn read(&mut self, keep_many: bool) -> Result<Config, Vec<Diagnostic>> {
        let mut seen = folders::look(&self.paths, &|name| self.hooks.get(name).map(|last| &last.hook.source));
        self.stamps.0 = seen.stamp;
        let mut problems = std::mem::take(&mut seen.problems);
        let ignored = std::mem::take(&mut seen.ignored);
        self.proofs.begin();
        let (mut platforms, mut source_scripts) = (Platforms::built_in(), SourceScripts::built_in());
        let mut load = scripts::Loading { good: &mut self.good, proofs: &self.proofs, problems: &mut problems };
        load.scripts(&seen.platforms, &mut platforms.0, &mut self.platforms);
        load.scripts(&seen.sources, &mut source_scripts.0, &mut self.source_scripts);
        let settings = self.load_settings(&seen, &source_scripts, &mut problems)?;
        let mut hooks = self.load_hooks(&seen, &platforms, &settings.defaults, &mut problems);
        if let Some(most) = settings.hooks_per_scope {
            let (found, refused) = over_scope(&hooks, most);
            problems.extend(found);
            hooks.retain(|name, _| !refused.contains(name));
        }
        problems.extend(hooks.values().filter_map(|hook| exposed(hook)));
        let secrets = self.load_secrets(&hooks, &settings, &mut problems);
        self.settings = Some(settings.clone());
        if keep_many || !self.good.has_many_unsaved() {
            self.keep();
        }
        problems.extend(self.good.trouble());
        problems.extend(settings.sources.values().filter_map(|source| source.prove(&secrets, Timestamp::now())));
        Ok(Config { settings, platforms, source_scripts, hooks, secrets, problems, ignored, ..Config::default() })
    }

    /// Watches the folders until `stop`, and publishes a new Config whenever their content changed or somebody asks.
    pub async fn watch(
        self,
        publish: channel::Sender<Arc<Config>>,
        reload: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        watch::run(self, publish, reload, stop).await;
    }

    /// Writes down what is newly good and proven.
    fn keep(&mut self) {
        self.good.save();
        self.proofs.save();
    }

    fn load_settings(
        &mut self,
        seen: &Seen,
        scripts: &SourceScripts,
        problems: &mut Vec<Diagnostic>,
    ) -> Result<Settings, Vec<Diagnostic>> {
        let Some(file) = &seen.main else {
            self.good.forget_others(Kind::Main, |_| false);
            return Ok(Settings::default());
        };
        let (settings, found) = self.good.transact(Kind::Main, MAIN, file, |source| {
            guarded(source, || match Settings::parse(source, scripts) {
                Ok((settings, warnings)) => (Some(settings), warnings),
                Err(errors) => (None, errors),
            })
        });
        // Without a last good version there may still be the defaults that the daemon started with.
        match settings.or_else(|| self.settings.clone()) {
            Some(settings) => {
                problems.extend(found);
                Ok(settings)
            }
            None => Err(found),
        }
    }

    fn load_hooks(
        &mut self,
        seen: &Seen,
        platforms: &Platforms,
        defaults: &Defaults,
        problems: &mut Vec<Diagnostic>,
    ) -> BTreeMap<Arc<str>, Arc<Hook>> {
        let mut used = HashMap::new();
        let mut take = |(parsed, found): (Option<Parsed>, Vec<Diagnostic>)| {
            problems.extend(found);
            problems.extend(parsed.iter().flat_map(|parsed| self.proofs.warnings(&parsed.hook.source)));
            used.extend(parsed.map(|parsed| (parsed.hook.name.clone(), parsed)));
        };
        self.proofs.among(self.good.text(Kind::Main, MAIN), platforms);
        let unchanged = |name: &str, source: &Source| {
            self.defaults == *defaults && self.hooks.get(name).is_some_and(|last| still_right(last, source, platforms))
        };
        let new = seen.hooks.iter().filter_map(|(name, file)| Some((name.as_str(), file.source()?)));
        let new: Vec<Source> = new.filter(|(name, new)| !unchanged(name, new)).map(|(_, new)| new).collect();
        self.proofs.try_hooks(platforms, new.iter().cloned());
        let sound = new.into_iter().filter(|new| self.proofs.against_hook(new, platforms).is_none()).collect();
        let read = RefCell::new(ahead::read(sound, |source| parse_hook(&self.shared, source, platforms, defaults)));
        let parse = |name: &str, source: &Source| {
            if let Some(parsed) = read.borrow_mut().take(source) {
                return parsed;
            }
            if let Some(last) = self.hooks.get(name).filter(|_| unchanged(name, source)) {
                self.proofs.keep(source);
                return (Some(last.clone()), last.warnings.clone());
            }
            match self.proofs.against_hook(source, platforms) {
                Some(against) => refused(against, || parse_hook(&self.shared, source, platforms, defaults)),
                None => parse_hook(&self.shared, source, platforms, defaults),
            }
        };
        for (name, file) in &seen.hooks {
            let parse = |source: &Source| parse(name, source);
            take(self.good.transact(Kind::Hook, name, file, parse));
        }
        if let Some(folder) = &seen.closed_hooks {
            let unseen = |name: &&String| !seen.hooks.contains_key(*name) && !seen.masked.contains(*name);
            for name in self.good.names(Kind::Hook).iter().filter(unseen) {
                let shown = folder.join(format!("{name}.yaml"));
                let parse = |source: &Source| parse(name, source);
                take(self.good.recall(Kind::Hook, name, &shown, parse));
            }
        } else {
            self.good.forget_others(Kind::Hook, |name| seen.hooks.contains_key(name));
        }
        (self.hooks, self.defaults) = (used, *defaults);
        self.hooks.values().map(|parsed| (parsed.hook.name.clone(), parsed.hook.clone())).collect()
    }

    fn load_secrets(
        &mut self,
        hooks: &BTreeMap<Arc<str>, Arc<Hook>>,
        settings: &Settings,
        problems: &mut Vec<Diagnostic>,
    ) -> Secrets {
        let mut wanted: BTreeMap<&str, Vec<&Arc<Hook>>> = BTreeMap::new();
        for source in settings.sources.values() {
            source.secrets.iter().for_each(|(name, _)| _ = wanted.entry(name).or_default());
        }
        if let Some(name) = &settings.http_token {
            wanted.entry(name).or_default();
        }
        if let Some(name) = token_of_traces(settings) {
            wanted.entry(name).or_default();
        }
        for hook in hooks.values() {
            for (name, _) in hook.secrets() {
                let users = wanted.entry(name).or_default();
                if users.last().is_none_or(|last| last.name != hook.name) {
                    users.push(hook);
                }
            }
        }
        self.names = wanted.keys().map(|name| (*name).to_owned()).collect();
        // Taken before the files are read: what changes meanwhile shows at the next look.
        self.stamps.1 = self.stamp_secrets();
        let mut secrets = Secrets::default();
        for (name, users) in wanted {
            let (value, warning) = self.secrets.read(name);
            problems.extend(warning);
            let value = value.and_then(|secret| match is_url_of(name, &users) && !holds_url(&secret) {
                true => Err("it holds no URL such as https://HOST/PATH".to_owned()),
                false => Ok(secret),
            });
            let value = value.and_then(|secret| signs(name, &users, &secret).map(|()| secret));
            if let Err(why) = &value {
                problems.push(missing_secret(name, why, &users, settings));
            }
            secrets.insert(name, value);
        }
        problems.extend(hooks.values().flat_map(|hook| robots_twice(hook, &secrets)));
        secrets
    }

    /// Whether a look at the files' names, sizes and times says that something changed since `load`.
    fn differs(&self) -> bool {
        self.proofs.is_open() || self.stamps != (stamp::of_folders(&self.paths), self.stamp_secrets())
    }

    fn stamp_secrets(&self) -> u64 {
        stamp::of_files(self.names.iter().flat_map(|name| self.secrets.candidates(name)))
    }

    /// The folders whose whole content matters.
    fn watched_folders(&self) -> Vec<PathBuf> {
        let hooks = self.paths.hooks.iter().cloned();
        let scripts = |kind| folders::script_folders(&self.paths, kind);
        let scripts = scripts(folders::PLATFORMS).chain(scripts(folders::SOURCES));
        hooks.chain(scripts).chain(self.secrets.folders().map(Path::to_owned)).collect()
    }

    /// The single files that matter.
    fn watched_files(&self) -> Vec<PathBuf> {
        let absolute = self.names.iter().filter(|name| name.starts_with('/')).map(PathBuf::from);
        std::iter::once(self.paths.main.clone()).chain(absolute).collect()
    }
}

/// What was not proven is not loaded. A file with ordinary errors has nothing else against it than those.
fn refused<T>(
    against: Vec<Diagnostic>,
    read: impl FnOnce() -> (Option<T>, Vec<Diagnostic>),
) -> (Option<T>, Vec<Diagnostic>) {
    if !against.is_empty() {
        return (None, against);
    }
    match read() {
        (None, errors) => (None, errors),
        (Some(_), warnings) => {
            let odd =
                Diagnostic::error("unproven", "it can be read here and could not be read where it is tried first")
                    .help("this is a bug: please report it with the file");
            (None, warnings.into_iter().chain([odd]).collect())
        }
    }
}

/// Whether nothing that a hook was read from has changed.
fn still_right(last: &Parsed, source: &Source, platforms: &Platforms) -> bool {
    let platform = &last.hook.platform;
    same(&last.hook.source, source) && platforms.get(&platform.name).is_some_and(|now| Arc::ptr_eq(now, platform))
}

fn parse_hook(
    shared: &Shared,
    source: &Source,
    platforms: &Platforms,
    defaults: &Defaults,
) -> (Option<Parsed>, Vec<Diagnostic>) {
    guarded(source, || {
        let (hook, found) = Hook::parse_sharing(shared, source, platforms, defaults);
        let parsed = hook.map(|hook| Parsed { hook: Arc::new(hook), warnings: found.clone() });
        (parsed, found)
    })
}

fn same(one: &Source, other: &Source) -> bool {
    one.name == other.name && one.text == other.text
}

/// A file that makes the program itself fail must not stop the others.
fn guarded<T>(source: &Source, parse: impl FnOnce() -> (Option<T>, Vec<Diagnostic>)) -> (Option<T>, Vec<Diagnostic>) {
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        let what = format!("postrider itself failed while it read {}", source.name);
        (None, vec![Diagnostic::error("bug", what).help("this is a bug: please report it with the file")])
    })
}

/// Whether a hook uses the secret as its whole URL: a slip in it then keeps the hook waiting, not each delivery dying.
fn is_url_of(name: &str, users: &[&Arc<Hook>]) -> bool {
    users.iter().flat_map(|hook| hook.trees()).any(|(_, tree)| tree.url_secret() == Some(name))
}

/// Whether a secret that is the key of a signature can be used as one.
fn signs(name: &str, users: &[&Arc<Hook>], secret: &Secret) -> Result<(), String> {
    users.iter().flat_map(|hook| hook.trees()).try_for_each(|(_, tree)| tree.try_key(name, secret))
}

fn holds_url(secret: &Secret) -> bool {
    url::Url::parse(secret.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// A warning about a file that everybody may read although a secret stands in it.
pub fn exposed(hook: &Hook) -> Option<Diagnostic> {
    let place = hook.inline_secret.as_ref()?;
    let path = Path::new(&*hook.source.name);
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        Diagnostic::warning("readable-secret", "a secret stands in a file that everybody on this machine can read")
            .at(Place::clone(place))
            .note("put the secret into a file in secrets.d and write {secret: NAME} here")
            .help(format!("chmod o-r {}", files::quoted(path)))
    })
}

/// Robots of a hook that are one, by what their secrets hold.
pub fn robots_twice(hook: &Hook, secrets: &Secrets) -> impl Iterator<Item = Diagnostic> {
    let place = Place::of_file(&hook.source.name);
    pool::same_robots(hook, secrets)
        .into_iter()
        .map(move |(first, second)| pool::twice(first, second).at(place.clone()))
}

fn missing_secret(name: &str, why: &str, users: &[&Arc<Hook>], settings: &Settings) -> Diagnostic {
    let (why, remedy) = secrets::remedy(why);
    let mut problem = Diagnostic::error("secret", format!("secret {name} cannot be read: {why}"));
    problem.help = remedy.map(str::to_owned);
    let used = |(used, _): &&(String, Place)| used == name;
    let sources: Vec<&NamedSource> = settings
        .sources
        .values()
        .map(AsRef::as_ref)
        .filter(|source| source.secrets.iter().any(|one| used(&one)))
        .collect();
    let mut places =
        users.iter().flat_map(|hook| hook.secrets()).chain(sources.iter().flat_map(|source| &source.secrets));
    problem.place = places.find(used).map(|(_, place)| place.clone());
    if settings.http_token.as_deref() == Some(name) {
        problem = problem.note("it is the http_token of the main file: nobody can send over HTTP");
    }
    if token_of_traces(settings) == Some(name) {
        problem = problem.note("it is the token of the collector of traces: until it is there, none are handed over");
    }
    if !sources.is_empty() {
        let sources: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        problem = problem.note(format!("who sends to these sources is told to send again: {}", sources.join(", ")));
    }
    if !users.is_empty() {
        let users: Vec<&str> = users.iter().map(|hook| &*hook.name).collect();
        problem = problem.note(format!("what these hooks owe waits for it: {}", users.join(", ")));
    }
    problem
}

/// The secret that the collector of traces asks for.
fn token_of_traces(settings: &Settings) -> Option<&str> {
    settings.traces.as_ref()?.token.as_deref()
}

/// What became of the hooks from one Config to the next.
fn changes(old: &Config, new: &Config) -> Reloaded {
    let mut reloaded = Reloaded { hooks: new.hooks.len(), problems: new.problems.clone(), ..Reloaded::default() };
    for (name, hook) in &new.hooks {
        let secret_changed = || hook.secrets().any(|(name, _)| old.secrets.get(name) != new.secrets.get(name));
        match old.hooks.get(name) {
            None => reloaded.added.push(name.to_string()),
            Some(before) if !Arc::ptr_eq(before, hook) || secret_changed() => reloaded.changed.push(name.to_string()),
            Some(_) => {}
        }
    }
    let gone = old.hooks.keys().filter(|name| !new.hooks.contains_key(*name));
    reloaded.removed = gone.map(|name| name.to_string()).collect();
    reloaded
}

/// Whether anything at all is different.
fn differ(old: &Config, new: &Config, hooks: &Reloaded) -> bool {
    // Those of the hooks were compared already.
    let secrets = |config: &Config| {
        let of_sources =
            config.settings.sources.values().flat_map(|source| source.secrets.iter().map(|(name, _)| name));
        let names = of_sources.map(String::as_str).chain(config.settings.http_token.as_deref());
        let names = names.chain(token_of_traces(&config.settings));
        names.map(|name| config.secrets.get(name).cloned().map_err(str::to_owned)).collect::<Vec<_>>()
    };
    !(hooks.added.is_empty() && hooks.changed.is_empty() && hooks.removed.is_empty())
        || old.settings != new.settings
        || old.platforms.0 != new.platforms.0
        || old.source_scripts.0 != new.source_scripts.0
        || secrets(old) != secrets(new)
        || old.problems != new.problems
        || old.ignored != new.ignored
}
