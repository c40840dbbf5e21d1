//! A hook file to a checked Hook.

use std::sync::Arc;

use crate::rules::breaker;
use crate::rules::diagnostic::{Diagnostic, Place, Source, Span};
use crate::rules::hook::{Hook, Prepared, Shared, digest, fixed_options, inline, keys, name_of, pool, trial, verdict};
use crate::rules::manifest::{Kind, OptionSpec, resolve_message};
use crate::rules::platform::{Platform, Platforms};
use crate::rules::settings::{Defaults, Retry, read_timeout};
use crate::rules::template::{Condition, Tree};
use crate::rules::yaml::reader::{Map, Reader, nearest};
use crate::rules::yaml::{self, Key, Node, Value};
use crate::words::{keys as words, limits};

/// What people write who come from other tools.
const OTHER_WORDS: [(&str, &str); 16] = [
    ("on", "events"),
    ("event", "events"),
    ("types", "events"),
    ("triggers", "events"),
    ("if", "when"),
    ("filter", "when"),
    ("condition", "when"),
    ("with", "options"),
    ("params", "options"),
    ("config", "options"),
    ("type", "platform"),
    ("provider", "platform"),
    ("retries", "retry"),
    ("throttle", "rate_limit"),
    ("order", "order_by"),
    ("circuit_breaker", "breaker"),
];

/// What a reader of a new file needs to see first.
const SKELETON: &str =
    "write at least `events`, `platform` and `options`; `postrider new NAME --platform webhook` makes one";

pub(super) fn parse(
    shared: &Shared,
    source: &Source,
    platforms: &Platforms,
    defaults: &Defaults,
) -> (Option<Hook>, Vec<Diagnostic>) {
    let mut reader = Reader::new(source);
    let name = match name_of(&source.name) {
        Ok(name) => Arc::from(name),
        Err(error) => {
            reader.found.push(error);
            Arc::from("")
        }
    };
    match yaml::parse(source) {
        Ok(root) => {
            let hook = read(&mut reader, shared, name, &root, platforms, defaults);
            let hook = if reader.failed() { None } else { hook };
            (hook, reader.into_sorted())
        }
        Err(error) => {
            reader.found.push(error);
            (None, reader.found)
        }
    }
}

/// Reads everything, also behind an error; `None` when there is no platform to build a hook on.
fn read(
    reader: &mut Reader<'_>,
    shared: &Shared,
    name: Arc<str>,
    root: &Node,
    platforms: &Platforms,
    defaults: &Defaults,
) -> Option<Hook> {
    let file = match &root.value {
        Value::Map(entries) => Map::new("", entries),
        Value::Null => {
            reader.error(Span::default(), "empty-file", "the file says nothing", SKELETON);
            return None;
        }
        _ => {
            let what = format!("a hook file is a map of keys, not {}", root.describe());
            reader.error(root.span, "wrong-kind", what, SKELETON);
            return None;
        }
    };
    let platform = read_platform(reader, &file, platforms);
    check_keys(reader, &file, platform.as_deref());
    let text =
        |reader: &mut Reader<'_>, key: &str| file.get(key).and_then(|node| reader.text(key, node)).map(str::to_owned);
    let description = text(reader, "description");
    let owner = text(reader, "owner");
    let scope = text(reader, "scope");
    let enabled = file.get("enabled").and_then(|node| reader.boolean("enabled", node)).unwrap_or(true);
    let events = read_events(reader, &file);
    let when = file.get("when").and_then(|node| read_when(reader, node)).map(Box::new);
    let verdict = file.get("verdict").map(|node| verdict::read(reader, node)).unwrap_or_default();
    let pace = file.get("rate_limit").and_then(|node| reader.rate("rate_limit", node));
    let concurrency = file.get("concurrency").and_then(|node| {
        let read = reader.integer("concurrency", node, 1, limits::CONCURRENCY_MAX as u64)?;
        usize::try_from(read).ok()
    });
    let timeout = file.get("timeout").and_then(|node| read_timeout(reader, "timeout", node));
    let retry = file.get("retry").map(|node| Retry::read(reader, "retry", node, defaults.retry));
    let breaker = match file.get("breaker") {
        Some(node) => breaker::Terms::read(reader, node),
        None => Some(breaker::Terms::default()),
    };
    let order_by = file.get("order_by").and_then(|node| keys::read_order(reader, node)).map(Box::new);
    let dedupe = file.get("dedupe").and_then(|node| keys::read_dedupe(reader, node)).map(Box::new);
    let options_and_platform = options_of(&file).zip(platform.as_deref());
    let robots = options_and_platform.and_then(|(options, platform)| pool::lists(reader, &options, platform));
    let options = read_options_of(reader, shared, &file, platform.as_deref(), robots.as_ref());
    let others = match (&robots, &platform) {
        (Some(robots), Some(platform)) => robots.others(reader, shared, &options, platform),
        _ => Vec::new(),
    };
    let tests = file.get("tests").map(|node| trial::read(reader, node)).unwrap_or_default();
    let platform = platform.clone()?;
    let retry = retry.unwrap_or(defaults.retry);
    let digest = file.get("digest").and_then(|node| {
        let text = platform.manifest.text.as_deref().and_then(|name| platform.manifest.option(name));
        let given = options_of(&file).unwrap_or_else(|| Map::new("options", &[]));
        let kind = text.map(|spec| kind_in(&spec.kind, &given, &platform));
        digest::read(reader, node, &platform, kind, &retry).map(Box::new)
    });
    let inline_secret = options_of(&file).and_then(|options| inline::secret(reader.source, &options, &platform));
    let mut hook = Hook {
        name,
        source: reader.source.clone(),
        description,
        owner,
        enabled,
        events,
        when,
        scope,
        scope_place: file.get("scope").map(|node| Box::new(reader.source.place(node.span))),
        verdict,
        order_by,
        dedupe,
        breaker,
        pace: pace.or(platform.manifest.rate_limit),
        concurrency: concurrency.unwrap_or(platform.manifest.concurrency),
        timeout: timeout.unwrap_or(defaults.timeout),
        retry,
        digest,
        prepared: Prepared::new(&platform, &options),
        options,
        pooled: None,
        inline_secret: inline_secret.map(Box::new),
        tests,
        platform,
    };
    if let (Some(node), Some(_), false) = (file.get("digest"), &hook.digest, reader.failed()) {
        digest::object(reader, node.span, &hook);
        if robots.is_some() {
            let help = "give the hook one robot, or remove `digest`: several robots have several quotas";
            reader.error(node.span, "digest", "a digest is what one robot says, and here several take turns", help);
        }
    }
    if let Some(robots) = robots.filter(|_| !reader.failed()) {
        robots.gather(reader, &mut hook, others, concurrency.is_some());
    }
    Some(hook)
}

/// The map under `options`, if it is one.
fn options_of<'n>(file: &Map<'n>) -> Option<Map<'n>> {
    match &file.get("options")?.value {
        Value::Map(entries) => Some(Map::new("options", entries)),
        _ => None,
    }
}

/// What a kind is beside these options: whether a message is plain text or markdown depends on what else the hook says.
fn kind_in(kind: &Kind, options: &Map<'_>, platform: &Platform) -> Kind {
    let specs = &platform.manifest.options;
    let message_type = match options.get("type").map(|node| &node.value) {
        Some(Value::String(word)) => Some(word.as_str()),
        Some(_) => None,
        None => specs.iter().find(|spec| spec.name == "type").and_then(|spec| spec.default.as_str()),
    };
    resolve_message(kind, options.get("title").is_some(), message_type)
}

fn check_keys(reader: &mut Reader<'_>, file: &Map<'_>, platform: Option<&Platform>) {
    for (key, _) in file.entries {
        let name = key.name.as_str();
        if words::HOOK.key(name).is_none() {
            unknown_key(reader, key, platform);
        }
    }
}

fn unknown_key(reader: &mut Reader<'_>, key: &Key, platform: Option<&Platform>) {
    let name = key.name.as_str();
    if name == "on" {
        let error = Diagnostic::error("on-key", "the key is called `events`")
            .at(reader.source.place(key.span))
            .note("many YAML tools read `on` as `true`, so it is no key here")
            .help("write `events:` instead of `on:`");
        return reader.found.push(error);
    }
    if let Some(platform) = platform
        && platform.manifest.options.iter().any(|spec| spec.name == name)
    {
        let what = format!("`{name}` is an option of {}, not a key of the hook", platform.name);
        return reader.error(key.span, "misplaced-option", what, format!("move `{name}` under `options:`, indented"));
    }
    let help = match (name, meant(name)) {
        ("name" | "id", _) => "remove it: a hook is named after its file".to_owned(),
        ("disabled", _) => "write `enabled: false`".to_owned(),
        (_, Some(near)) => format!("did you mean `{near}`?"),
        (_, None) => format!("remove it, or use one of: {}", words::HOOK.names().join(", ")),
    };
    reader.error(key.span, "unknown-key", format!("there is no key `{name}`"), help);
}

/// The key that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    let other = OTHER_WORDS.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    let misspelt = || {
        let near = nearest(name, &OTHER_WORDS.map(|(other, _)| other))?;
        OTHER_WORDS.iter().find(|(other, _)| *other == near).map(|(_, ours)| *ours)
    };
    other.or_else(|| nearest(name, &words::HOOK.names())).or_else(misspelt)
}

/// Whether a missing key stands there under another name: then that is the error, and it is said once.
fn misspelt(file: &Map<'_>, key: &str) -> bool {
    file.entries.iter().any(|(found, _)| words::HOOK.key(&found.name).is_none() && meant(&found.name) == Some(key))
}

fn read_platform(reader: &mut Reader<'_>, file: &Map<'_>, platforms: &Platforms) -> Option<Arc<Platform>> {
    let Some(node) = file.get("platform") else {
        if misspelt(file, "platform") {
            return None;
        }
        let known = names(platforms).join(", ");
        let help = format!("add a line `platform: NAME`, for example `platform: webhook`; there are: {known}");
        reader.error(first_key(file), "missing-key", "the hook does not say how its receiver wants it", help);
        return None;
    };
    let name = reader.text("platform", node)?;
    if let Some(platform) = platforms.get(name) {
        return Some(platform.clone());
    }
    let known = names(platforms);
    let help = match nearest(name, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "use one of these, or put a script of that name into scripts/platforms".to_owned(),
    };
    let error = Diagnostic::error("unknown-platform", format!("there is no platform {name:?}"))
        .at(reader.source.place(node.span))
        .note(format!("there are: {}", known.join(", ")))
        .help(help);
    reader.found.push(error);
    None
}

fn names(platforms: &Platforms) -> Vec<&str> {
    platforms.0.keys().map(String::as_str).collect()
}

fn first_key(file: &Map<'_>) -> Span {
    file.entries.first().map(|(key, _)| key.span).unwrap_or_default()
}

fn read_events(reader: &mut Reader<'_>, file: &Map<'_>) -> Vec<String> {
    const EXAMPLE: &str = "write for example `events: [version.published, \"build.*\"]`, or `events: \"*\"` for all";
    let Some(node) = file.get("events") else {
        if !misspelt(file, "events") {
            reader.error(first_key(file), "missing-key", "the hook does not say which events it wants", EXAMPLE);
        }
        return Vec::new();
    };
    if matches!(&node.value, Value::List(entries) if entries.is_empty()) {
        reader.error(node.span, "no-value", "`events` is an empty list: the hook would want nothing", EXAMPLE);
    }
    let mut patterns = Vec::new();
    for (pattern, span) in reader.texts("events", node) {
        if pattern.len() > limits::NAME {
            let what = format!("a pattern of more than {} bytes matches nothing", limits::NAME);
            reader.error(span, "out-of-bounds", what, "shorten it, with `*` for what may vary");
        } else if pattern.contains(['^', '$', '(', '|', '[', '\\', ' ']) {
            let warning =
                Diagnostic::warning("odd-pattern", format!("the pattern {pattern:?} will hardly match a type"))
                    .at(reader.source.place(span))
                    .note("`*` stands for any characters, `?` for one, everything else for itself")
                    .help("list several patterns instead: [a, \"b.*\"]");
            reader.found.push(warning);
        }
        patterns.push(pattern.to_owned());
    }
    patterns.shrink_to_fit();
    patterns
}

fn read_when(reader: &mut Reader<'_>, node: &Node) -> Option<Condition> {
    const EXAMPLE: &str = "write one expression, for example when: data.device_type == \"iOS\"";
    let Value::String(text) = &node.value else {
        reader.wrong("when", node, "an expression", EXAMPLE);
        return None;
    };
    if text.trim().is_empty() {
        reader.error(node.span, "no-value", "`when` is an empty text", "write an expression, or remove the line");
        return None;
    }
    let say = |mut error: Diagnostic| {
        error.help = error.help.or_else(|| Some(EXAMPLE.to_owned()));
        error
    };
    Condition::compile(reader.source, node).map_err(|errors| reader.found.extend(errors.into_iter().map(say))).ok()
}

/// The options of a platform, from the map that has the key `options`.
pub(crate) fn read_options(
    reader: &mut Reader<'_>,
    shared: &Shared,
    file: &Map<'_>,
    platform: Option<&Platform>,
) -> Vec<(String, Arc<Tree>)> {
    read_options_of(reader, shared, file, platform, None)
}

/// The same; of what is a list for several robots, those of the first.
fn read_options_of(
    reader: &mut Reader<'_>,
    shared: &Shared,
    file: &Map<'_>,
    platform: Option<&Platform>,
    robots: Option<&pool::Lists<'_>>,
) -> Vec<(String, Arc<Tree>)> {
    let options = match file.get("options") {
        Some(node) => match reader.map("options", node, "{url: https://example.com/hook}") {
            Some(map) => map,
            None => return Vec::new(),
        },
        None => Map::new("options", &[]),
    };
    let Some(platform) = platform else { return Vec::new() };
    let specs = &platform.manifest.options;
    for (key, _) in options.entries {
        if !specs.iter().any(|spec| spec.name == key.name) {
            unknown_option(reader, key, platform);
        }
    }
    let missing_at =
        reader.source.place(file.key("options").or(file.key("platform")).map_or(first_key(file), |key| key.span));
    let mut trees = Vec::new();
    for spec in specs {
        let kind = kind_in(&spec.kind, &options, platform);
        let own = robots.and_then(|robots| Some((robots, robots.of(&spec.name, 0)?)));
        let tree = match options.get(&spec.name) {
            Some(_) if own.is_some() => own.and_then(|(robots, node)| match node {
                Some(node) => compile_option(reader, spec, node, &kind).map(|tree| shared.tree(tree)),
                None if robots.robots == 0 => None,
                None => robots.unsaid(reader, shared, spec, platform),
            }),
            // What is wrong with it has been said.
            Some(node) if is_refused_list(spec, node, platform) => None,
            Some(node) => compile_option(reader, spec, node, &kind).map(|tree| shared.tree(tree)),
            None if spec.required && stands_elsewhere(file, &options, platform, &spec.name) => None,
            None if spec.required => {
                reader.found.push(missing_option(platform, spec, missing_at.clone()));
                None
            }
            None if spec.default.is_null() => None,
            None => shared.default_of(platform, spec, &kind).map_err(|errors| reader.found.extend(errors)).ok(),
        };
        trees.extend(tree.map(|tree| (spec.name.clone(), tree)));
    }
    // Options that are not yet known, and secrets, it is asked about before each request.
    if let Some(why) = platform.check_known(|| fixed_options(platform, &trees)) {
        let help = format!("`postrider platforms {}` says what each option is for", platform.name);
        reader.found.push(
            Diagnostic::error("options", format!("these options do not go together: {why}")).at(missing_at).help(help),
        );
    }
    trees.shrink_to_fit();
    trees
}

fn is_refused_list(spec: &OptionSpec, node: &Node, platform: &Platform) -> bool {
    let names_it = platform.manifest.receiver.contains(&spec.name);
    names_it && matches!(node.value, Value::List(_)) && !spec.kind.takes_lists()
}

pub(super) fn compile_option(reader: &mut Reader<'_>, spec: &OptionSpec, node: &Node, kind: &Kind) -> Option<Tree> {
    if node.value == Value::Null && !matches!(kind, Kind::Tree | Kind::TreeOf(_)) {
        reader.wrong(&format!("options.{}", spec.name), node, "", "");
        return None;
    }
    let tree = Tree::compile(reader.source, node, kind);
    let say = |mut error: Diagnostic| {
        if *kind == Kind::Secret {
            // What stands there may be the secret itself.
            error.place = error.place.map(Place::masked);
        }
        error.help =
            error.help.or_else(|| Some(format!("`{}` is {}: write {}", spec.name, spec.about, example_of(kind))));
        error
    };
    let tree = tree.map_err(|errors| reader.found.extend(errors.into_iter().map(say))).ok()?;
    reader.found.extend(tree.warnings().iter().cloned());
    Some(tree)
}

/// Whether a missing option stands in the first column, or under a name like its own: then that is the error.
fn stands_elsewhere(file: &Map<'_>, options: &Map<'_>, platform: &Platform, name: &str) -> bool {
    let known: Vec<&str> = platform.manifest.options.iter().map(|spec| spec.name.as_str()).collect();
    let is_misspelt = |key: &Key| !known.contains(&key.name.as_str()) && nearest(&key.name, &known) == Some(name);
    file.get(name).is_some() || options.entries.iter().any(|(key, _)| is_misspelt(key))
}

fn missing_option(platform: &Platform, spec: &OptionSpec, place: Place) -> Diagnostic {
    Diagnostic::error("missing-option", format!("{} needs the option `{}`", platform.name, spec.name))
        .at(place)
        .note(format!("`{}` is {}", spec.name, spec.about))
        .help(format!("add under `options:` a line `{}: {}`", spec.name, example_of(&spec.kind)))
}

fn example_of(kind: &Kind) -> String {
    match kind {
        Kind::Secret => "{secret: NAME}".to_owned(),
        Kind::Url => "https://… or {secret: NAME}".to_owned(),
        Kind::List => "[…]".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer => "a whole number".to_owned(),
        Kind::Choice(words) => words.join(" or "),
        Kind::Headers => "{Name: value}".to_owned(),
        Kind::Sign => "{preset: standard-webhooks, key: {secret: NAME}}".to_owned(),
        _ => "\"…\"".to_owned(),
    }
}

fn unknown_option(reader: &mut Reader<'_>, key: &Key, platform: &Platform) {
    let specs = &platform.manifest.options;
    let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let what = format!("{} has no option `{}`", platform.name, key.name);
    let mut error = Diagnostic::error("unknown-option", what).at(reader.source.place(key.span));
    error = match nearest(&key.name, &known) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None if words::HOOK.key(&key.name).is_some() => {
            error.help(format!("`{}` is a key of the hook: move it out of `options:`, to the first column", key.name))
        }
        None => {
            for spec in specs {
                error = error.note(format!("{}: {}", spec.name, spec.about));
            }
            error.help("remove it, or use one of these options")
        }
    };
    reader.found.push(error);
}
