//! One file in hooks.d: which events go where, and how.

pub mod digest;
mod inline;
pub mod keys;
pub mod pool;
mod prepared;
pub use self::prepared::Prepared;
pub(crate) use self::prepared::render_option;
use self::prepared::{fixed_options, varies};
mod read;
pub(crate) use self::read::read_options;
mod shared;
pub use self::shared::Shared;
pub mod trial;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::rules::breaker;
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::hook::trial::HookTest;
use crate::rules::manifest::Rate;
use crate::rules::platform::{Given, Judged, Platform, Platforms, RenderError, Turn};
use crate::rules::settings::Defaults;
pub use crate::rules::settings::Retry;
use crate::rules::template::key::KeyText;
use crate::rules::template::{Condition, Tree};
use crate::words::delivery::Body;
use crate::words::event::Event;
use crate::words::exchange::{Request, Response};
use crate::words::json::Exact;

/// A checked hook: every value present, every template compiled. There may be ten thousand, most of which see no event
/// for days: what few hooks have lies in a box, and what only a delivery needs is made by the first one.
#[derive(Debug)]
pub struct Hook {
    /// The file's name without `NN-` and `.yaml`; the lane's name.
    pub name: Arc<str>,
    /// The file.
    pub source: Source,
    /// For people.
    pub description: Option<String>,
    /// Whom to ask, for people.
    pub owner: Option<String>,
    /// `false`: nothing is sent, recorded as not wanted.
    pub enabled: bool,
    /// Patterns on the event's type.
    pub events: Vec<String>,
    /// A condition on the event.
    pub when: Option<Box<Condition>>,
    /// Hooks of one scope are counted together by `limits.hooks_per_scope`.
    pub scope: Option<String>,
    /// Where `scope` stands.
    pub scope_place: Option<Box<Place>>,
    /// How the receiver wants it.
    pub platform: Arc<Platform>,
    /// What the file says under `options`, and the defaults of what it does not say.
    pub options: Vec<(String, Arc<Tree>)>,
    /// What of them is the same for every event, made ready by the first.
    pub prepared: Prepared,
    /// Where several robots take turns: who they are, or which of them this is.
    pub pooled: Option<Box<pool::Pooled>>,
    /// What answers mean to this hook, before its platform is asked.
    pub verdict: verdict::Rules,
    /// The pace towards the receiver: the hook's own, else the platform's.
    pub pace: Option<Rate>,
    /// When the receiver is left alone for a while; `None` never.
    pub breaker: Option<breaker::Terms>,
    /// Deliveries at once.
    pub concurrency: usize,
    /// Deliveries with the same key go out one after the other.
    pub order_by: Option<Box<KeyText>>,
    /// Deliveries with the same key within a time are made once.
    pub dedupe: Option<Box<keys::Dedupe>>,
    /// When what waits goes out in one message.
    pub digest: Option<Box<digest::Digest>>,
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// When again, and until when.
    pub retry: Retry,
    /// Where a secret stands in the file itself, if one does.
    pub inline_secret: Option<Box<Place>>,
    /// What its author wants to be true of it.
    pub tests: Vec<HookTest>,
}

/// Why a hook does not want an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotWanted {
    /// `enabled: false`.
    Disabled,
    /// No pattern of `events` matches its type.
    Type,
    /// `when` is false.
    When,
    /// `when` itself failed, in words.
    WhenFailed(String),
}

impl fmt::Display for NotWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("the hook is disabled (`enabled: false`)"),
            Self::Type => f.write_str("none of its `events` matches the type"),
            Self::When => f.write_str("its `when` is false"),
            Self::WhenFailed(why) => write!(f, "its `when` failed: {why}"),
        }
    }
}

impl Hook {
    /// Reads and checks a hook file. Everything that can be said is said at once: a hook with warnings, or no hook and
    /// at least one error.
    pub fn parse(source: &Source, platforms: &Platforms, defaults: &Defaults) -> (Option<Self>, Vec<Diagnostic>) {
        Self::parse_sharing(&Shared::default(), source, platforms, defaults)
    }

    /// The same, sharing with other hooks what is alike.
    pub fn parse_sharing(
        shared: &Shared,
        source: &Source,
        platforms: &Platforms,
        defaults: &Defaults,
    ) -> (Option<Self>, Vec<Diagnostic>) {
        read::parse(shared, source, platforms, defaults)
    }

    /// Changes when the file or its platform's script changes: a held hook is released by it.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.source.text.as_bytes());
        hash.update([0]);
        hash.update(self.platform.source.text.as_bytes());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it wants an event.
    ///
    /// # Errors
    /// Why not.
    pub fn wants(&self, event: &Event) -> Result<(), NotWanted> {
        if self.enabled { self.matches(event) } else { Err(NotWanted::Disabled) }
    }

    /// Whether it would want an event if it were enabled.
    fn matches(&self, event: &Event) -> Result<(), NotWanted> {
        if !self.events.iter().any(|pattern| glob(pattern, &event.kind)) {
            return Err(NotWanted::Type);
        }
        match self.when.as_ref().map_or(Ok(true), |when| when.holds(event, &self.name)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotWanted::When),
            Err(why) => Err(NotWanted::WhenFailed(why)),
        }
    }

    /// The request of one attempt.
    ///
    /// # Errors
    /// A secret is missing, or a template or the script fails on this event.
    pub fn render(&self, given: &Given<'_>) -> Result<Request, RenderError> {
        self.render_with(given, None)
    }

    /// The same with a body of an earlier attempt: URL, headers and signature are made anew around it.
    ///
    /// # Errors
    /// As `render`.
    pub fn render_with(&self, given: &Given<'_>, original: Option<&Arc<Body>>) -> Result<Request, RenderError> {
        self.render_turn(given, original, Turn::default()).map(|(request, _)| request)
    }

    /// One of the requests of a delivery, and how many parts its message has.
    ///
    /// # Errors
    /// As `render`.
    pub fn render_turn(
        &self,
        given: &Given<'_>,
        original: Option<&Arc<Body>>,
        turn: Turn,
    ) -> Result<(Request, u32), RenderError> {
        if original.is_none()
            && let Some(made) = self.prepared.made.get()
        {
            let sign = self.options.iter().find(|(_, tree)| varies(tree));
            let signer = sign.map(|(_, tree)| tree.signer(given)).transpose()?.flatten();
            return Ok((self.platform.repeat(made, signer, given)?, 1));
        }
        let mut options = self.options_for(given)?;
        options.original = original.cloned();
        options.turn = turn;
        let made = self.platform.make(given, options)?;
        if self.prepared.constant {
            // What the platform has nothing against once it has nothing against later.
            let _set_already = self.prepared.checked.set(());
        }
        // A body of an earlier attempt is whole.
        let parts = if original.is_none() { made.parts } else { 1 };
        if self.prepared.repeats && original.is_none() && parts == 1 {
            let _set_already = self.prepared.made.set(Box::new(made.clone()));
        }
        Ok((self.platform.finish(made, given)?, parts))
    }

    /// All the requests of a delivery: one, or one for each part of its message.
    ///
    /// # Errors
    /// As `render`.
    pub fn render_parts(&self, given: &Given<'_>) -> Result<Vec<Request>, RenderError> {
        let made = self.platform.make_parts(given, self.options_for(given)?)?;
        made.into_iter().map(|made| self.platform.finish(made, given)).collect()
    }

    /// What names the receiver, hashed: hooks with the same key share its pace. Cheap when no template stands in it.
    ///
    /// # Errors
    /// As `render`.
    pub fn receiver(&self, given: &Given<'_>) -> Result<ReceiverKey, RenderError> {
        let named_by = &self.platform.manifest.receiver;
        if named_by.is_empty() {
            return Ok(ReceiverKey::of(&format!("hook\0{}", self.name)));
        }
        let mut key = self.platform.name.clone();
        for name in named_by {
            let value = match self.option(name) {
                Some(tree) => tree.render(given)?,
                None => Exact::Null,
            };
            key.push('\0');
            key.push_str(&value.to_string());
        }
        Ok(ReceiverKey::of(&key))
    }

    /// Whether `receiver` is the same for every event.
    pub fn receiver_is_constant(&self) -> bool {
        let named_by = &self.platform.manifest.receiver;
        named_by.iter().all(|name| self.option(name).is_none_or(|tree| tree.is_constant()))
    }

    /// What an answer means: by the hook's own rules, else by its platform. `failed` is told of each rule that could
    /// not be evaluated, and why.
    pub fn verdict(&self, response: &Response, now: Timestamp, failed: impl FnMut(&verdict::Rule, &str)) -> Judged {
        match self.verdict.judge(response, now, failed) {
            Some(verdict) => verdict.into(),
            None => self.platform.verdict(response, now),
        }
    }

    /// Every secret that the file names, with its place.
    pub fn secrets(&self) -> impl Iterator<Item = &(String, Place)> {
        self.trees().flat_map(|(_, tree)| tree.secrets())
    }

    fn option(&self, name: &str) -> Option<&Arc<Tree>> {
        self.options.iter().find(|(option, _)| option == name).map(|(_, tree)| tree)
    }
}

/// Who is at the other end, as it counts us. A hash: URLs are secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiverKey(pub [u8; 16]);

impl ReceiverKey {
    fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// The hook's name that a file's name gives: without folder, `NN-` and `.yaml`.
///
/// # Errors
/// It has characters that a hook's name must not have.
pub fn name_of(file: &str) -> Result<&str, Diagnostic> {
    let base = file.rsplit('/').next().unwrap_or(file);
    let stem = base.strip_suffix(".yaml").or_else(|| base.strip_suffix(".yml")).unwrap_or(base);
    let name = match stem.split_once('-') {
        Some((order, name)) if !order.is_empty() && order.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => stem,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins_well && name.chars().all(allowed) && name.len() <= crate::words::limits::NAME {
        return Ok(name);
    }
    Err(Diagnostic::error("file-name", format!("{name:?} is no name for a hook"))
        .at(Place::of_file(file))
        .note("the hook is named after its file, and the name appears in commands and logs")
        .help("rename the file: letters, digits, - _ and . only, beginning with a letter, and .yaml at the end"))
}

/// Whether a pattern (`*` any run of characters, `?` one) matches the whole text. Linear but for one step back per
/// character: the last `*` is the only one that can be asked to take more.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Which hooks are one too many of their scope: in the order of their names the first `most` stay, each further one is
/// refused by an error that names them all. Returns the errors and the names to leave out.
pub fn over_scope(hooks: &BTreeMap<Arc<str>, Arc<Hook>>, most: usize) -> (Vec<Diagnostic>, BTreeSet<Arc<str>>) {
    let mut scopes: BTreeMap<&str, Vec<&Hook>> = BTreeMap::new();
    for hook in hooks.values() {
        if let Some(scope) = &hook.scope {
            scopes.entry(scope).or_default().push(hook);
        }
    }
    let (mut found, mut refused) = (Vec::new(), BTreeSet::new());
    for (scope, members) in scopes {
        for extra in members.iter().skip(most) {
            let files: Vec<_> = members.iter().map(|hook| &*hook.source.name).collect();
            let place = extra.scope_place.as_deref().cloned().unwrap_or_else(|| Place::of_file(&extra.source.name));
            let what = format!("`{}` is one hook too many for the scope {scope:?}, which may have {most}", extra.name);
            found.push(
                Diagnostic::error("scope-full", what)
                    .at(place)
                    .note(format!("hooks of this scope: {}", files.join(", ")))
                    .help("remove one of these files, or raise limits.hooks_per_scope in the main file"),
            );
            refused.insert(extra.name.clone());
        }
    }
    (found, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "a.b"),
            ("a.*", "a.b.c"),
            ("*.build", "ios.build"),
            ("a*b*c", "aXbYbZc"),
            ("?.b", "应.b"),
            ("a**", "a"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ab"), ("a", "A"), ("", "a"), ("a.*", "a"), ("*.build", "build"), ("?", ""), ("a*b", "aXbY")]
        {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_glob_is_not_exponential() {
        assert!(!glob(&"*a".repeat(100), &"a".repeat(99)));
        assert!(!glob(&format!("{}b", "*a".repeat(50)), &"a".repeat(256)));
    }

    #[test]
    fn names_come_from_files() {
        for (file, name) in [
            ("/etc/postrider/hooks.d/10-ci-mirror.yaml", "ci-mirror"),
            ("ci-mirror.yml", "ci-mirror"),
            ("hooks.d/007-x.y_z.yaml", "x.y_z"),
            ("2fa.yaml", "2fa"),
            ("v2-x.yaml", "v2-x"),
        ] {
            assert_eq!(name_of(file), Ok(name), "{file}");
        }
        for file in ["a b.yaml", "应用.yaml", "10-.yaml", ".yaml", "-x.yaml", "a:b.yaml"] {
            let error = name_of(file).unwrap_err();
            assert_eq!(error.code, "file-name");
            assert_eq!(error.place.unwrap().file, file);
        }
    }
}
