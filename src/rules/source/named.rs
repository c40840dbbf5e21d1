//! A source of the main file: a script with its options, under a name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use rhai::{Dynamic, Map as ScriptMap};
use serde_json::Value as Json;

use super::events::{self, Outcome};
use super::options::{self, Setting};
use super::request::{Incoming, Read};
use super::verify::{self, Token};
use super::{SourceScript, SourceScripts};
use crate::rules::diagnostic::{Diagnostic, Place, Span};
use crate::rules::host;
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::script::{Opaque, from_json};
use crate::rules::yaml::reader::{Map, Reader, nearest};
use crate::rules::yaml::{Key, Node, Value};
use crate::words::json::Exact;
use crate::words::secret::Secrets;
use crate::words::{keys, limits};

/// A source of the main file.
#[derive(Clone, Debug)]
pub struct NamedSource {
    /// Its name: it is reached at `/in/NAME`.
    pub name: String,
    /// How it reads its requests.
    pub script: Arc<SourceScript>,
    /// Where it stands in the main file.
    pub place: Place,
    /// Every secret that it names, with its place.
    pub secrets: Vec<(String, Place)>,
    /// After it the same request counts as new.
    pub replay_window: Option<Duration>,
    options: Vec<(String, Setting)>,
    token: Option<Setting>,
    token_header: Option<HeaderName>,
    public_url: Option<String>,
    trust_forwarded: bool,
}

/// Places move when a line is added above; that changes nothing.
impl PartialEq for NamedSource {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && Arc::ptr_eq(&self.script, &other.script)
            && self.replay_window == other.replay_window
            && self.options == other.options
            && self.token == other.token
            && self.token_header == other.token_header
            && self.public_url == other.public_url
            && self.trust_forwarded == other.trust_forwarded
    }
}

/// A request that has passed whatever its source verifies.
pub struct Opened<'a> {
    /// Whether anything was verified: else whoever keeps the door must know the sender.
    pub verified: bool,
    /// What the signature covered, for the log.
    pub how: Option<String>,
    source: &'a NamedSource,
    incoming: &'a Incoming,
    request: ScriptMap,
    read: Read,
}

impl std::fmt::Debug for Opened<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The request holds the options, and they hold secrets.
        write!(f, "Opened({}, verified: {})", self.source.name, self.verified)
    }
}

impl NamedSource {
    /// Whether a request names the host at which this source is called: this machine, or that of its `public_url`.
    pub fn is_called(&self, headers: &HeaderMap) -> bool {
        host::is_this_machine(headers) || self.public_url.as_deref().is_some_and(|url| host::is_of(headers, url))
    }

    /// Verifies a request, as far as this source verifies at all.
    ///
    /// # Errors
    /// The request ends here, and so.
    pub fn open<'a>(
        &'a self,
        incoming: &'a Incoming,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Opened<'a>, Outcome> {
        let methods = &self.script.manifest.methods;
        if !methods.contains(&incoming.method) {
            let methods: Vec<_> = methods.iter().map(http::Method::as_str).collect();
            let why = format!("the source {} takes {}", self.name, methods.join(", "));
            return Err(Outcome::Refused { status: 405, why });
        }
        let token = self.token(secrets)?;
        if let Some(token) = &token {
            token.check(incoming).map_err(|why| Outcome::Refused { status: 401, why })?;
        }
        let read = incoming.json();
        let request = incoming.for_script(&read, self.options_map(secrets)?, token.is_some());
        let how = self.verify(incoming, &request, secrets, now)?;
        Ok(Opened { verified: token.is_some() || how.is_some(), how, source: self, incoming, request, read })
    }

    /// What is wrong with the way it verifies, as far as that can be said before there is a request.
    pub fn prove(&self, secrets: &Secrets, now: Timestamp) -> Option<Diagnostic> {
        let incoming = Incoming {
            method: http::Method::POST,
            target: format!("/in/{}", self.name),
            event: String::new(),
            headers: HeaderMap::new(),
            body: bytes::Bytes::from_static(b"{}"),
        };
        let request = incoming.for_script(&incoming.json(), self.options_map(secrets).ok()?, false);
        match self.verify(&incoming, &request, secrets, now) {
            Err(Outcome::Failed(found)) => {
                let mut found = *found;
                let at = found.place.replace(self.place.clone());
                found.notes.extend(at.map(|at| format!("it was noticed at {at}")));
                Some(found)
            }
            _ => None,
        }
    }

    fn verify(
        &self,
        incoming: &Incoming,
        request: &ScriptMap,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Option<String>, Outcome> {
        if !self.script.verifies {
            return Ok(None);
        }
        let made = self
            .script
            .script
            .call_placed("verify", [request.clone().into()])
            .map_err(|found| self.failed(*found, secrets))?;
        let url = verify::public_url(self.public_url.as_deref(), self.trust_forwarded, incoming);
        match verify::verify(&made, incoming, url.as_deref(), now) {
            Ok(how) => Ok(how),
            Err(verify::Refusal::Sender { status, why }) => Err(Outcome::Refused { status, why: secrets.redact(&why) }),
            Err(verify::Refusal::Script(why)) => Err(self.failed(self.script_error("verify", why), secrets)),
        }
    }

    fn failed(&self, mut found: Diagnostic, secrets: &Secrets) -> Outcome {
        // What a script says may quote what it was given.
        found.what = secrets.redact(&found.what);
        found.notes.push(format!("in the source {}", self.name));
        Outcome::Failed(Box::new(found))
    }

    /// An error in what a function returned.
    fn script_error(&self, function: &str, why: String) -> Diagnostic {
        let text = &self.script.source.text;
        let start = text.find(&format!("fn {function}")).unwrap_or(0);
        let place = self.script.source.place(Span { start, end: start + "fn ".len() + function.len() });
        Diagnostic::error("script", why).at(place)
    }

    fn token(&self, secrets: &Secrets) -> Result<Option<Token>, Outcome> {
        let Some(setting) = &self.token else { return Ok(None) };
        let resolve = |part: &Setting| part.resolve(secrets).map(|value| value.as_str().unwrap_or_default().to_owned());
        let tokens = setting.parts().iter().map(resolve).collect::<Result<Vec<_>, _>>().map_err(missing)?;
        Ok(Some(Token { tokens, header: self.token_header.clone() }))
    }

    fn options_map(&self, secrets: &Secrets) -> Result<ScriptMap, Outcome> {
        let specs = &self.script.manifest.options;
        let value = |spec: &OptionSpec| match self.options.iter().find(|(name, _)| *name == spec.name) {
            Some((_, setting)) => setting.resolve(secrets).map(|value| given_as(spec, value)),
            None => Ok(Dynamic::UNIT),
        };
        let members = specs.iter().map(|spec| Ok((spec.name.as_str().into(), value(spec)?)));
        members.collect::<Result<_, _>>().map_err(missing)
    }

    /// What `fn check` is asked about: everything but the values of secrets.
    fn known_options(&self) -> ScriptMap {
        let specs = &self.script.manifest.options;
        let known = |spec: &OptionSpec| match self.options.iter().find(|(name, _)| *name == spec.name) {
            Some((_, setting)) => given_as(spec, setting.known()),
            None => Dynamic::UNIT,
        };
        let mut map: ScriptMap = specs.iter().map(|spec| (spec.name.as_str().into(), known(spec))).collect();
        map.insert("public_url".into(), self.public_url.as_deref().map_or(Dynamic::UNIT, Into::into));
        map.insert("trust_forwarded".into(), self.trust_forwarded.into());
        map.insert("token".into(), self.token.is_some().into());
        map
    }
}

impl Opened<'_> {
    /// What the script makes of the request.
    pub fn events(self, secrets: &Secrets, now: Timestamp) -> Outcome {
        let Self { source, incoming, request, read, .. } = self;
        let made = match source.script.script.call_placed("events", [request.into()]) {
            Ok(made) => made,
            Err(found) => return source.failed(*found, secrets),
        };
        match events::read(made, incoming, &read, &source.name, now) {
            Ok(Outcome::Refused { status, why }) => Outcome::Refused { status, why: secrets.redact(&why) },
            Ok(outcome) => outcome,
            Err(why) => source.failed(source.script_error("events", why), secrets),
        }
    }
}

fn missing((secret, why): (String, String)) -> Outcome {
    Outcome::Missing { secret, why }
}

/// A tree keeps the order and the numbers of its author; a script may look into it and pass it on.
fn given_as(spec: &OptionSpec, value: Json) -> Dynamic {
    match (&spec.kind, value) {
        (Kind::Tree | Kind::TreeOf(_) | Kind::Sign, tree @ (Json::Array(_) | Json::Object(_))) => {
            Opaque::dynamic(Exact::from(&tree))
        }
        (_, value) => from_json(&value),
    }
}

/// The sources of the main file.
pub fn read_sources(
    reader: &mut Reader<'_>,
    node: &Node,
    scripts: &SourceScripts,
) -> BTreeMap<String, Arc<NamedSource>> {
    let mut sources = BTreeMap::new();
    let Some(map) = reader.map("sources", node, "{pgyer: {}}") else { return sources };
    if map.entries.len() > limits::SOURCES {
        reader.error(
            node.span,
            "out-of-bounds",
            format!("there are more than {} sources", limits::SOURCES),
            "remove some",
        );
    }
    for (key, node) in map.entries {
        if let Some(source) = read_source(reader, key, node, scripts) {
            sources.insert(key.name.clone(), Arc::new(source));
        }
    }
    sources
}

fn read_source(reader: &mut Reader<'_>, key: &Key, node: &Node, scripts: &SourceScripts) -> Option<NamedSource> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = key.name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || !key.name.chars().all(allowed) || key.name.len() > limits::NAME {
        let help = format!("it is reached at /in/NAME: use letters, digits, - _ and . only, not {:?}", key.name);
        reader.error(key.span, "source-name", format!("{:?} is no name for a source", key.name), help);
        return None;
    }
    let path = format!("sources.{}", key.name);
    let map = match &node.value {
        Value::Null => Map::new(&path, &[]),
        _ => reader.map(&path, node, "{script: pgyer, options: {}}")?,
    };
    let script = match map.get("script") {
        Some(node) => (reader.text(&map.path("script"), node)?, node.span),
        None => (key.name.as_str(), key.span),
    };
    let Some(known) = scripts.get(script.0) else {
        unknown_script(reader, script, map.get("script").is_some(), scripts);
        return None;
    };
    for (found, _) in map.entries.iter().filter(|(found, _)| keys::SOURCE.key(&found.name).is_none()) {
        let what = format!("there is no key `{}`", map.path(&found.name));
        if option_names(known).contains(&found.name.as_str()) {
            let what = format!("`{}` is an option of the source", found.name);
            reader.error(found.span, "misplaced-option", what, format!("move `{}` under `options:`", found.name));
        } else {
            let help = match nearest(&found.name, &keys::SOURCE.names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a source has `script` and `options`".to_owned(),
            };
            reader.error(found.span, "unknown-key", what, help);
        }
    }
    read_source_options(reader, &key.name, key.span, map.get("options"), known)
}

fn unknown_script(reader: &mut Reader<'_>, (name, span): (&str, Span), said: bool, scripts: &SourceScripts) {
    let known = scripts.names();
    let help = match nearest(name, &known) {
        Some(near) if said => format!("did you mean `{near}`?"),
        Some(near) => {
            format!("did you mean `{near}`? A source of another name says which script it uses: script: {near}")
        }
        None => "write `script:` and one of these, or put a script of that name into scripts/sources".to_owned(),
    };
    let found = Diagnostic::error("unknown-source", format!("there is no script {name:?} for sources"))
        .at(reader.source.place(span))
        .note(format!("there are: {}", known.join(", ")))
        .help(help);
    reader.found.push(found);
}

fn option_names(script: &SourceScript) -> Vec<&str> {
    let own = script.manifest.options.iter().map(|spec| spec.name.as_str());
    own.chain(keys::SOURCE_OPTIONS.names()).collect()
}

/// A source of this name and script from its options.
pub fn read_source_options(
    reader: &mut Reader<'_>,
    name: &str,
    at: Span,
    node: Option<&Node>,
    script: &Arc<SourceScript>,
) -> Option<NamedSource> {
    let before = reader.found.iter().filter(|found| found.is_error()).count();
    let map = match node {
        Some(Node { value: Value::Null, .. }) | None => Map::new("options", &[]),
        Some(node) => reader.map("options", node, "{token: {secret: NAME}}")?,
    };
    for (key, _) in map.entries {
        let known = option_names(script);
        if !known.contains(&key.name.as_str()) {
            let what = format!("{} has no option `{}`", script.name, key.name);
            let help = match nearest(&key.name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it, or use one of: {}", known.join(", ")),
            };
            reader.error(key.span, "unknown-option", what, help);
        }
    }
    let mut source = NamedSource {
        name: name.to_owned(),
        script: script.clone(),
        place: reader.source.place(at),
        secrets: Vec::new(),
        replay_window: script.manifest.replay_window,
        options: Vec::new(),
        token: None,
        token_header: script.manifest.token_header.clone(),
        public_url: None,
        trust_forwarded: false,
    };
    source.read_common(reader, &map);
    for spec in &script.manifest.options {
        match map.get(&spec.name) {
            Some(node) => {
                let setting = options::read(reader, spec, node, &mut source.secrets);
                source.options.extend(setting.map(|setting| (spec.name.clone(), setting)));
            }
            None if spec.required => {
                let what = format!("{} needs the option `{}`: {}", script.name, spec.name, spec.about);
                reader.error(at, "missing-option", what, format!("add options: {{{}: …}}", spec.name));
            }
            None => source.options.push((spec.name.clone(), Setting::Plain(spec.default.clone()))),
        }
    }
    if reader.found.iter().filter(|found| found.is_error()).count() > before {
        return None;
    }
    let (wrong, doubt) = script.check(source.known_options());
    let help = format!("`postrider sources {}` says what each option is for", script.name);
    if let Some(why) = wrong {
        reader.error(at, "options", format!("these options do not go together: {why}"), help);
        return None;
    }
    if let Some(why) = doubt {
        reader.found.push(Diagnostic::warning("options", why).at(reader.source.place(at)).help(help));
    }
    Some(source)
}

impl NamedSource {
    fn read_common(&mut self, reader: &mut Reader<'_>, map: &Map<'_>) {
        if let Some(node) = map.get("token") {
            let about = keys::SOURCE_OPTIONS.key("token").map(|key| key.about.to_owned()).unwrap_or_default();
            let token = OptionSpec {
                origin: None,
                name: "token".to_owned(),
                kind: Kind::Secret,
                required: false,
                default: Json::Null,
                about,
            };
            self.token = options::read(reader, &token, node, &mut self.secrets);
        }
        if let Some(node) = map.get("token_header")
            && let Some(text) = reader.text("options.token_header", node)
        {
            match text.parse() {
                Ok(name) => self.token_header = Some(name),
                Err(_) => {
                    let what = format!("{text:?} cannot be the name of a header");
                    reader.error(node.span, "wrong-kind", what, "write for example token_header: X-Token");
                }
            }
        }
        if let Some(node) = map.get("public_url") {
            self.public_url = options::url(reader, "options.public_url", node).map(str::to_owned);
        }
        if let Some(node) = map.get("trust_forwarded") {
            self.trust_forwarded = reader.boolean("options.trust_forwarded", node).unwrap_or_default();
        }
        if let Some(node) = map.get("replay_window") {
            let (least, most) = (Duration::from_secs(1), limits::REPLAY_WINDOW_MAX);
            self.replay_window = reader.duration("options.replay_window", node, least, most);
        }
    }
}
