//! How a kind of receiver wants it: a script with its manifest.
//!
//! A platform script has
//! * `fn manifest()`: see `rules::manifest`;
//! * `fn request(delivery)`: `delivery = #{id, attempt, time, time_s, time_ms, event, options, hook}`, where `time` is
//!   RFC 3339 text, `time_s` and `time_ms` are the same moment in seconds and milliseconds since 1970, and
//!   `event = #{id, type, source, time, data, raw, content_type}`. It gives
//!   `#{url, method?, headers?, id_header?, json? | form? | text? | xml? | body?, sign?}`; without a body the event's
//!   bytes go out as they came. An array of them is a message in parts, which go out one after the other. `id_header` names a header that carries the delivery's id, unless `headers` has it.
//!   `sign` is an option of that kind, or a map in the grammar of `rules::signature`: URL, headers and body are signed as
//!   they leave, with the time of the attempt.
//!   `delivery.plain` is true when `fn verdict` said `plain(why)`: the same is wanted once more, without markup.
//!   A script has no memory: where `delivery.options` and `delivery.hook` are all that it looks at, and no option depends
//!   on the event, what it made once holds for all deliveries of a hook;
//!   A tree among the options (`json: delivery.options.json`) keeps its order and its numbers;
//! * `fn verdict(response)`, optional: `response = #{status, headers, text, json, retry_after}`, header names in lower
//!   case, `json` and `retry_after` (seconds) `()` when there is none. Without it `by_status(response)` decides;
//! * `fn check(options)`, optional: a text that says why these options cannot work together, or `()`. It is called when
//!   a hook is loaded, with `()` for every option that depends on the event, and again before each request.

mod request;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use rhai::{Dynamic, Map};
use serde_json::Value as Json;

pub(crate) use self::request::Made;
pub use crate::rules::answer::Judged;
use crate::rules::answer::{by_status, retry_after};
use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::manifest::{Kind, Manifest, OptionSpec};
pub use crate::rules::script::Signer;
use crate::rules::script::shelf::{Compiled, Shelved};
use crate::rules::script::{Opaque, Script, blob, from_exact, from_json, map, type_word};
use crate::rules::yaml::reader::nearest;
use crate::words::delivery::Body;
use crate::words::event::Event;
use crate::words::exchange::{Request, Response};
use crate::words::json::{Exact, Members};
use crate::words::secret::Secrets;
use crate::words::verdict::Verdict;

/// A compiled platform.
#[derive(Debug)]
pub struct Platform {
    /// Its name: the script's file name.
    pub name: String,
    /// What it asks of a hook.
    pub manifest: Manifest,
    /// The script's text, for `postrider platforms NAME`.
    pub source: Source,
    /// Whether it came with the program.
    pub built_in: bool,
    script: Script,
    uses: Uses,
    /// The latest answer that was judged by nothing but its status and its body: most are the same, and a script says
    /// the same of the same.
    judged: Mutex<Option<(u16, Bytes, Judged)>>,
    /// Whether `fn request` looks at nothing but the options and the hook's name.
    looks_at_options_only: bool,
}

/// What a script looks at: what it never mentions is not prepared for it.
#[derive(Clone, Copy, Debug)]
struct Uses {
    event: bool,
    time: bool,
    headers: bool,
    verdict: bool,
    check: bool,
    plain: bool,
}

/// All platforms of one configuration.
#[derive(Clone, Debug, Default)]
pub struct Platforms(pub BTreeMap<String, Shelved<Platform>>);

/// What one attempt is given. The clock and the attempt's number are arguments: scripts read neither.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The delivery's id.
    pub id: &'a str,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The time of the attempt.
    pub now: Timestamp,
    /// The hook's name.
    pub hook: &'a str,
    /// The event.
    pub event: &'a Event,
    /// The secrets of the configuration.
    pub secrets: &'a Secrets,
}

/// The options of a hook as its script is given them, `()` for those that are not there. Those that are the same for
/// every event are turned into a script's values once.
#[derive(Clone, Debug)]
pub struct Options {
    map: Map,
    /// Shared by all requests of a hook.
    known_url: Arc<request::KnownUrl>,
    /// Whether `check` has nothing against them.
    pub checked: bool,
    /// What goes out instead of the body that the script makes.
    pub original: Option<Arc<Body>>,
    /// Which request of the delivery is wanted.
    pub turn: Turn,
}

/// Which of the requests of a delivery is wanted: most have one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The part of a message in several, from 0.
    pub part: u32,
    /// Without markup, which the receiver refused.
    pub plain: bool,
}

impl Options {
    /// Sets how the request is signed.
    pub fn sign(&mut self, name: &str, signer: Signer) {
        self.map.insert(name.into(), Dynamic::from(signer));
    }
}

/// Why a request could not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenderError {
    /// A secret is missing: the delivery waits until it is there.
    #[error("secret {name} cannot be read: {why}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A template, a script or its result is wrong: trying again does not help.
    #[error("{}", .0.one_line())]
    Wrong(Box<Diagnostic>),
}

impl Compiled for Platform {
    fn compile(name: &str, source: Source, built_in: bool) -> Result<Self, Vec<Diagnostic>> {
        Self::compile(name, source, built_in)
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

impl Platform {
    /// Compiles a script and reads its manifest.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub fn compile(name: &str, source: Source, built_in: bool) -> Result<Self, Vec<Diagnostic>> {
        let optional: [(&str, &[&str]); 2] = [("verdict", &["response"]), ("check", &["options"])];
        let (script, [verdict, check], declared) = Script::declaring(&source, ("request", &["delivery"]), optional)?;
        let manifest = Manifest::read(&declared).map_err(|found| script.in_manifest(found))?;
        let [event, time, headers, plain] = ["event", "time", "headers", "plain"].map(|member| script.reads(member));
        let uses = Uses { event, time, headers, verdict, check, plain };
        let judged = Mutex::default();
        let looks_at_options_only = script.reads_only("request", &[".options", ".remove(\"options\")", ".hook"]);
        Ok(Self { name: name.to_owned(), manifest, source, built_in, script, uses, judged, looks_at_options_only })
    }

    /// Why the constant options of a hook cannot work together, if so. Options that depend on the event are `Null`.
    pub fn check(&self, options: &Members) -> Option<String> {
        self.object(&self.options(options))
            .map(|found| if found.place.is_some() { found.one_line() } else { found.what })
    }

    fn object(&self, options: &Options) -> Option<Box<Diagnostic>> {
        if !self.uses.check {
            return None;
        }
        match self.script.call("check", [options.map.clone().into()]) {
            Ok(said) if said.is_unit() => None,
            Ok(said) => {
                let word = type_word(&said);
                let no_text =
                    || Diagnostic::error("script", format!("fn check gave {word} instead of a text or nothing"));
                Some(Box::new(said.into_string().map_or_else(|_| no_text(), |why| Diagnostic::error("refused", why))))
            }
            Err(found) => Some(found),
        }
    }

    /// The same when the hook is loaded: a script that stumbles over an option that is not known yet has said nothing.
    pub fn check_known(&self, options: impl FnOnce() -> Options) -> Option<String> {
        let said = self.uses.check.then(|| self.script.call("check", [options().map.into()]))?;
        said.ok()?.into_string().ok()
    }

    /// Makes the request from the rendered options. A request without a body carries the event's bytes.
    ///
    /// # Errors
    /// The script failed, or returned something that is no request.
    pub fn request(&self, given: &Given<'_>, options: Options) -> Result<Request, RenderError> {
        self.finish(self.make(given, options)?, given)
    }

    /// Whether what `make` gives is the same for all deliveries of a hook, as far as its options are.
    pub(crate) fn repeats(&self) -> bool {
        self.looks_at_options_only
    }

    /// What the script makes of it.
    ///
    /// # Errors
    /// As `request`.
    pub(crate) fn make(&self, given: &Given<'_>, mut options: Options) -> Result<Made, RenderError> {
        let (original, known_url, part) = (options.original.take(), options.known_url.clone(), options.turn.part);
        let made = self.call(given, options)?;
        let made = request::read(&made, part, &known_url).map_err(|what| self.refused(given, &what))?;
        Ok(match original.as_deref() {
            Some(original) => made.with(original),
            None => made,
        })
    }

    /// All the requests that it makes of it: the parts of a message.
    ///
    /// # Errors
    /// As `request`.
    pub(crate) fn make_parts(&self, given: &Given<'_>, options: Options) -> Result<Vec<Made>, RenderError> {
        let known_url = options.known_url.clone();
        let made = self.call(given, options)?;
        let read = |part| request::read(&made, part, &known_url).map_err(|what| self.refused(given, &what));
        let first = read(0)?;
        let others = 1..first.parts;
        std::iter::once(Ok(first)).chain(others.map(read)).collect()
    }

    fn call(&self, given: &Given<'_>, options: Options) -> Result<Dynamic, RenderError> {
        let objection = if options.checked { None } else { self.object(&options) };
        if let Some(found) = objection {
            return Err(self.failed(given, found));
        }
        let Options { map, turn, .. } = options;
        let made = self.script.call("request", [self.delivery(given, map, turn).into()]);
        made.map_err(|found| self.failed(given, found))
    }

    /// Where the script makes a request, for what is wrong with one and has no place.
    pub fn request_place(&self) -> Place {
        self.script.place_of("request")
    }

    /// The request of one attempt from what the script made.
    ///
    /// # Errors
    /// As `request`.
    pub(crate) fn finish(&self, made: Made, given: &Given<'_>) -> Result<Request, RenderError> {
        made.request(given).map_err(|what| self.refused(given, &what))
    }

    /// The same from what it made for another delivery of the hook.
    ///
    /// # Errors
    /// As `request`.
    pub(crate) fn repeat(
        &self,
        made: &Made,
        signer: Option<Signer>,
        given: &Given<'_>,
    ) -> Result<Request, RenderError> {
        self.finish(made.clone().signed_by(signer), given)
    }

    fn refused(&self, given: &Given<'_>, what: &str) -> RenderError {
        self.failed(given, Box::new(Diagnostic::error("request", what)))
    }

    fn failed(&self, given: &Given<'_>, mut found: Box<Diagnostic>) -> RenderError {
        // What a script says may quote what it was given.
        found.what = given.secrets.redact(&found.what);
        found.notes.push(format!("in the platform {}", self.name));
        let member = found.what.strip_prefix("the map has no member `").and_then(|rest| rest.strip_suffix('`'));
        let options: Vec<&str> = self.manifest.options.iter().map(|option| option.name.as_str()).collect();
        if let Some(near) = member.and_then(|member| nearest(member, &options)) {
            found.help = Some(format!("did you mean `{near}`?"));
        }
        RenderError::Wrong(found)
    }

    /// What an answer means. A verdict that itself fails, perhaps only this time, proves nothing: it counts as a retry.
    pub fn verdict(&self, response: &Response, now: Timestamp) -> Judged {
        if !self.uses.verdict && (200..300).contains(&response.status) {
            return by_status(response.status, None).into();
        }
        let timeless = !self.uses.headers && !response.headers.contains_key(RETRY_AFTER);
        let latest = || self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if timeless
            && let Some((status, body, judged)) = &*latest()
            && (*status, body) == (response.status, &response.body)
        {
            return judged.clone();
        }
        match self.judge(response, now) {
            Ok(judged) => {
                if timeless {
                    // A copy: the body may be a piece of something larger.
                    *latest() = Some((response.status, Bytes::copy_from_slice(&response.body), judged.clone()));
                }
                judged
            }
            Err(found) => {
                let why = if found.place.is_some() { found.one_line() } else { found.what };
                Verdict::retry(format!("the answer could not be judged: {why}")).into()
            }
        }
    }

    /// The same, or how the verdict fails.
    ///
    /// # Errors
    /// The script fails, or gives something that is no verdict.
    pub fn judge(&self, response: &Response, now: Timestamp) -> Result<Judged, Box<Diagnostic>> {
        let json = serde_json::from_slice(&response.body).unwrap_or(Json::Null);
        let wait = retry_after(&response.headers, &json, now);
        if !self.uses.verdict {
            return Ok(by_status(response.status, wait).into());
        }
        let headers = response.headers.iter().filter(|_| self.uses.headers);
        let headers: Map = headers
            .map(|(name, value)| (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into_owned().into()))
            .collect();
        let answer = map([
            ("status", i64::from(response.status).into()),
            ("headers", headers.into()),
            ("text", String::from_utf8_lossy(&response.body).into_owned().into()),
            ("json", from_json(&json)),
            ("retry_after", wait.map_or(Dynamic::UNIT, |wait| i64::try_from(wait.as_secs()).unwrap_or(0).into())),
        ]);
        let judged = self.script.call_placed("verdict", [answer.into()])?;
        let word = type_word(&judged);
        let refused = || {
            let found = Diagnostic::error("script", format!("fn verdict gave {word} instead of a verdict"));
            let help =
                "in every branch it gives one of delivered(), retry(why), pause(why, seconds), hold(why), reject(why)";
            Box::new(found.at(self.script.place_of("verdict")).help(help))
        };
        judged.try_cast::<Judged>().ok_or_else(refused)
    }

    fn delivery(&self, given: &Given<'_>, options: Map, turn: Turn) -> Map {
        let mut delivery = map([
            ("id", given.id.into()),
            ("attempt", i64::from(given.attempt).into()),
            ("time_s", given.now.as_second().into()),
            ("time_ms", given.now.as_millisecond().into()),
            ("hook", given.hook.into()),
            ("options", options.into()),
        ]);
        if self.uses.plain {
            delivery.insert("plain".into(), turn.plain.into());
        }
        if self.uses.time {
            delivery.insert("time".into(), given.now.to_string().into());
        }
        if self.uses.event {
            delivery.insert("event".into(), event(given.event).into());
        }
        delivery
    }

    /// These options of the manifest, and `()` for all others.
    pub fn options(&self, options: &Members) -> Options {
        let value =
            |spec: &OptionSpec| options.get(&spec.name).map_or(Dynamic::UNIT, |value| given_as(spec, value.clone()));
        let map = self.manifest.options.iter().map(|spec| (spec.name.as_str().into(), value(spec)));
        let map = map.collect();
        Options { map, known_url: Arc::default(), checked: false, original: None, turn: Turn::default() }
    }

    /// Sets one of them.
    pub fn set_option(&self, options: &mut Options, name: &str, value: Exact) {
        if let Some(spec) = self.manifest.options.iter().find(|spec| spec.name == name) {
            options.map.insert(name.into(), given_as(spec, value));
        }
    }
}

/// A tree keeps the order and the numbers of its author; a script may look into it and pass it on.
fn given_as(spec: &OptionSpec, value: Exact) -> Dynamic {
    match (&spec.kind, value) {
        (Kind::Tree | Kind::TreeOf(_), tree @ (Exact::List(_) | Exact::Map(_))) => Opaque::dynamic(tree),
        (_, value) => from_exact(&value),
    }
}

fn event(event: &Event) -> Map {
    let raw = match std::str::from_utf8(&event.raw) {
        Ok(text) => text.into(),
        Err(_) => blob(event.raw.to_vec()),
    };
    map([
        ("id", event.id.as_str().into()),
        ("type", event.kind.as_str().into()),
        ("source", event.source.as_str().into()),
        ("time", event.time.to_string().into()),
        ("data", event.exact().map_or_else(|| from_json(event.data()), from_exact)),
        ("raw", raw),
        ("content_type", event.content_type.as_str().into()),
    ])
}

/// The scripts that come with the program: all that stand in `scripts/platforms` (`build.rs`).
const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/platforms.rs"));

static SHELF: LazyLock<BTreeMap<String, Shelved<Platform>>> = LazyLock::new(|| Shelved::all(BUILT_IN));

impl Platforms {
    /// The platforms that come with the program.
    pub fn built_in() -> Self {
        Self(SHELF.clone())
    }

    /// The built-in platforms, and those of these scripts: one of the same name replaces a built-in one, a broken one
    /// leaves it in place.
    pub fn with_scripts(scripts: impl IntoIterator<Item = (String, Source)>) -> (Self, Vec<Diagnostic>) {
        let (mut platforms, mut found) = (Self::built_in(), Vec::new());
        for (name, source) in scripts {
            match Platform::compile(&name, source, false) {
                Ok(platform) => _ = platforms.0.insert(name, Arc::new(platform).into()),
                Err(wrong) => found.extend(wrong),
            }
        }
        (platforms, found)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Arc<Platform>> {
        self.0.get(name).map(|platform| &**platform)
    }
}

#[cfg(test)]
mod tests;
