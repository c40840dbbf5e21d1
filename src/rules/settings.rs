//! The main file, `postrider.yaml`: every key optional.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::source::{NamedSource, SourceScripts, read_sources};
use crate::rules::yaml::reader::{Map, Reader, show_duration};
use crate::rules::yaml::{self, Node, Value};
use crate::words::keeping::Keeping;
use crate::words::{keys, limits};

mod collector;

pub use collector::Collector;

/// The checked main file.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where HTTP over TCP is taken, if at all.
    pub http: Option<SocketAddr>,
    /// The name of the secret that senders over TCP must present as a bearer token.
    pub http_token: Option<String>,
    /// Where `/metrics`, `/healthz` and `/readyz` are served over TCP, if at all.
    pub metrics: Option<SocketAddr>,
    /// Who sends to `/in/NAME`, by name.
    pub sources: BTreeMap<String, Arc<NamedSource>>,
    /// What hooks are given when they do not say.
    pub defaults: Defaults,
    /// At most this many hook files of one scope.
    pub hooks_per_scope: Option<usize>,
    /// Deliveries that may wait before intake answers "busy".
    pub waiting: u64,
    /// Which addresses may be dialled.
    pub network: Network,
    /// What the journal keeps.
    pub journal: Keeping,
    /// Where traces go, if anywhere.
    pub traces: Option<Collector>,
}

/// What hooks are given when they do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Total deadline of one attempt.
    pub timeout: Duration,
    /// When again, and until when.
    pub retry: Retry,
}

/// When again, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// First wait.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Given up at this age.
    pub max_age: Duration,
    /// Given up after this many attempts.
    pub max_attempts: Option<u32>,
}

/// Which addresses may be dialled, decided on the address after DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Refused besides link-local and metadata addresses.
    pub deny: Vec<IpNet>,
    /// Allowed all the same; the narrower of two matches wins.
    pub allow: Vec<IpNet>,
    /// `network: public-only`: loopback and private networks are refused too.
    pub public_only: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            timeout: limits::TIMEOUT,
            retry: Retry {
                first: limits::RETRY_FIRST,
                max: limits::RETRY_MAX,
                max_age: limits::MAX_AGE,
                max_attempts: None,
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: None,
            http_token: None,
            metrics: None,
            sources: BTreeMap::new(),
            defaults: Defaults::default(),
            hooks_per_scope: None,
            waiting: limits::WAITING,
            network: Network::default(),
            journal: Keeping::default(),
            traces: None,
        }
    }
}

impl Settings {
    /// Reads and checks the main file; its sources use these scripts.
    ///
    /// # Errors
    /// Every error found.
    pub fn parse(source: &Source, scripts: &SourceScripts) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let root = yaml::parse(source).map_err(|error| vec![error])?;
        let mut reader = Reader::new(source);
        let mut settings = Self::default();
        match &root.value {
            Value::Null => {}
            Value::Map(entries) => settings.read(&mut reader, &Map::new("", entries), scripts),
            _ => {
                let what = format!("the main file is a map of keys, not {}", root.describe());
                reader.error(root.span, "wrong-kind", what, "write for example limits: {hooks_per_scope: 3}");
            }
        }
        if reader.failed() { Err(reader.into_sorted()) } else { Ok((settings, reader.found)) }
    }

    /// What hooks are given, whatever else stands in the main file.
    pub fn defaults_in(source: &Source) -> Option<Defaults> {
        let root = yaml::parse(source).ok()?;
        let Value::Map(entries) = &root.value else { return None };
        let (mut reader, mut settings) = (Reader::new(source), Self::default());
        settings.read_defaults(&mut reader, &Map::new("", entries));
        (!reader.failed()).then_some(settings.defaults)
    }

    fn read(&mut self, reader: &mut Reader<'_>, file: &Map<'_>, scripts: &SourceScripts) {
        reader.only(file, &keys::MAIN.names());
        if let Some(listen) = file.get("listen").and_then(|node| reader.map("listen", node, "{http: 127.0.0.1:8470}")) {
            self.read_listen(reader, &listen);
        }
        if let Some(node) = file.get("sources") {
            self.sources = read_sources(reader, node, scripts);
        }
        self.read_defaults(reader, file);
        if let Some(bounds) = file.get("limits").and_then(|node| reader.map("limits", node, "{hooks_per_scope: 3}")) {
            reader.only(&bounds, &keys::LIMITS.names());
            if let Some(node) = bounds.get("hooks_per_scope") {
                let most = limits::HOOK_FILES as u64;
                let read = reader.integer("limits.hooks_per_scope", node, 1, most);
                self.hooks_per_scope = read.and_then(|count| usize::try_from(count).ok());
            }
            if let Some(node) = bounds.get("waiting") {
                let read = reader.integer("limits.waiting", node, 1, limits::WAITING_MAX);
                self.waiting = read.unwrap_or(self.waiting);
            }
        }
        if let Some(node) = file.get("network") {
            self.read_network(reader, node);
        }
        if let Some(node) = file.get("journal") {
            self.read_journal(reader, node);
        }
        self.traces = file.get("traces").and_then(|node| Collector::read(reader, node));
    }

    fn read_defaults(&mut self, reader: &mut Reader<'_>, file: &Map<'_>) {
        let example = "{timeout: 15s}";
        let Some(defaults) = file.get("defaults").and_then(|node| reader.map("defaults", node, example)) else {
            return;
        };
        reader.only(&defaults, &keys::DEFAULTS.names());
        if let Some(node) = defaults.get("timeout") {
            self.defaults.timeout = read_timeout(reader, "defaults.timeout", node).unwrap_or(self.defaults.timeout);
        }
        if let Some(node) = defaults.get("retry") {
            self.defaults.retry = Retry::read(reader, "defaults.retry", node, self.defaults.retry);
        }
    }

    fn read_listen(&mut self, reader: &mut Reader<'_>, listen: &Map<'_>) {
        reader.only(listen, &keys::LISTEN.names());
        if let Some(node) = listen.get("http_token") {
            self.http_token = reader.secret("http_token", node).map(str::to_owned);
        }
        if let Some((node, address)) = read_address(reader, listen, "http", 8470) {
            self.http = Some(address);
            if !address.ip().is_loopback() && listen.get("http_token").is_none() {
                let what = format!("{address} can be reached from other machines, and nothing says who may send");
                let help = "add http_token: {secret: NAME} below it, or listen on 127.0.0.1 behind a proxy";
                reader.error(node.span, "http-token", what, help);
            }
        }
        if let Some((node, address)) = read_address(reader, listen, "metrics", 9470) {
            self.metrics = Some(address);
            if !address.ip().is_loopback() {
                let what =
                    format!("{address} can be reached from other machines, and /metrics asks nobody who they are");
                let help =
                    format!("listen on 127.0.0.1:{}, and put a proxy before it that knows its clients", address.port());
                reader.error(node.span, "metrics-address", what, help);
            }
        }
    }

    fn read_journal(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let example = "{keep_delivered: 7d, keep_dead: 30d, max_size: 2GiB}";
        let Some(journal) = reader.map("journal", node, example) else { return };
        reader.only(&journal, &keys::JOURNAL.names());
        let mut time = |key: &str| {
            let node = journal.get(key)?;
            reader.duration(&journal.path(key), node, limits::KEEP_SHORTEST, limits::KEEP_LONGEST)
        };
        let (delivered, dead) = (time("keep_delivered"), time("keep_dead"));
        self.journal.attempts = time("keep_attempts");
        self.journal.delivered = delivered.unwrap_or(self.journal.delivered);
        self.journal.dead = dead.unwrap_or(self.journal.dead);
        let mut size = |key: &str, least, most| reader.size(&journal.path(key), journal.get(key)?, least, most);
        let max_size = size("max_size", limits::JOURNAL_SIZE_MIN, limits::JOURNAL_SIZE_MAX);
        let min_free = size("min_free", limits::MIN_FREE_MIN, limits::MIN_FREE_MAX);
        self.journal.max_size = max_size.unwrap_or(self.journal.max_size);
        self.journal.min_free = min_free.unwrap_or(self.journal.min_free);
    }

    fn read_network(&mut self, reader: &mut Reader<'_>, node: &Node) {
        if matches!(node.value, Value::String(_)) {
            return self.read_policy(reader, "network", node);
        }
        let Some(network) = reader.map("network", node, "{deny: [10.0.0.0/8]}") else { return };
        reader.only(&network, &keys::NETWORK.names());
        if let Some(node) = network.get("policy") {
            self.read_policy(reader, "network.policy", node);
        }
        if let Some(node) = network.get("deny") {
            self.network.deny = read_networks(reader, "network.deny", node);
        }
        if let Some(node) = network.get("allow") {
            self.network.allow = read_networks(reader, "network.allow", node);
        }
        if let Some(node) = network.get("proxy").filter(|node| node.value != Value::Null) {
            let help = "remove `proxy`; requests go out directly";
            reader.error(node.span, "not-yet", "this version of postrider cannot use a proxy yet", help);
        }
    }

    fn read_policy(&mut self, reader: &mut Reader<'_>, name: &str, node: &Node) {
        match reader.text(name, node) {
            Some("public-only") => self.network.public_only = true,
            Some(other) => {
                let what = format!("`{name}` knows no policy {other:?}");
                reader.error(node.span, "wrong-word", what, "write public-only, or remove the line");
            }
            None => {}
        }
    }
}

/// The address and port at `listen.KEY`, with where it stands.
fn read_address<'n>(
    reader: &mut Reader<'_>,
    listen: &Map<'n>,
    key: &str,
    usual: u16,
) -> Option<(&'n Node, SocketAddr)> {
    let (node, name) = (listen.get(key)?, listen.path(key));
    let example = format!("write address and port, for example 127.0.0.1:{usual} or \"[::1]:{usual}\"");
    let Value::String(text) = &node.value else {
        reader.wrong(&name, node, "an address with a port", &example);
        return None;
    };
    if let Ok(address) = text.parse() {
        return Some((node, address));
    }
    let help = match text.rsplit_once(':') {
        Some(("" | "*", port)) if key == "http" => {
            format!("write 0.0.0.0:{port} for every address, or 127.0.0.1:{port} for this machine only")
        }
        Some(("" | "*" | "localhost", port)) => format!("write 127.0.0.1:{port}"),
        _ => example,
    };
    reader.error(node.span, "address", format!("`{name}` is no address with a port: {text:?}"), help);
    None
}

/// The total deadline of one attempt.
pub(super) fn read_timeout(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Duration> {
    reader.duration(name, node, limits::TIMEOUT_MIN, limits::TIMEOUT_MAX)
}

/// Networks in CIDR notation; a bare address is a network of one.
fn read_networks(reader: &mut Reader<'_>, name: &str, node: &Node) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (text, span) in reader.texts(name, node) {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => {
                let what = format!("`{name}` is no network or address: {text:?}");
                reader.error(span, "address", what, "write for example 10.0.0.0/8, 192.0.2.7 or \"fd00::/8\"");
            }
        }
    }
    networks
}

impl Retry {
    /// Reads `{first, max, max_age, max_attempts}`; what is not said is as in `base`, shortened to fit what is.
    pub(super) fn read(reader: &mut Reader<'_>, name: &str, node: &Node, base: Self) -> Self {
        let Some(map) = reader.map(name, node, "{first: 5s, max: 30m, max_age: 6h}") else { return base };
        let others = [("max_retries", "max_attempts"), ("attempts", "max_attempts"), ("retries", "max_attempts")];
        reader.only_or(&map, &keys::RETRY.names(), &others);
        let mut read = |key: &str| {
            let node = map.get(key)?;
            reader.duration(&map.path(key), node, limits::RETRY_FLOOR, limits::MAX_AGE_MAX)
        };
        let (first, max, max_age) = (read("first"), read("max"), read("max_age"));
        for (shorter, longer, (low, high)) in
            [(first, max, ("first", "max")), (max, max_age, ("max", "max_age")), (first, max_age, ("first", "max_age"))]
        {
            if let (Some(shorter), Some(longer), Some(node)) = (shorter, longer, map.get(low))
                && shorter > longer
            {
                let (shorter, longer) = (show_duration(shorter), show_duration(longer));
                let what = format!("`{}` is {shorter}, longer than `{}` of {longer}", map.path(low), map.path(high));
                reader.error(node.span, "out-of-bounds", what, "first ≤ max ≤ max_age: change one of the two");
            }
        }
        let max_attempts = map
            .get("max_attempts")
            .and_then(|node| reader.integer(&map.path("max_attempts"), node, 1, limits::MAX_ATTEMPTS.into()));
        let max_age = max_age.unwrap_or_else(|| base.max_age.max(max.or(first).unwrap_or_default()));
        let max = max.unwrap_or_else(|| base.max.max(first.unwrap_or_default())).min(max_age);
        Self {
            first: first.unwrap_or(base.first).min(max),
            max,
            max_age,
            max_attempts: max_attempts.and_then(|count| u32::try_from(count).ok()).or(base.max_attempts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Settings, Vec<Diagnostic>), Vec<Diagnostic>> {
        Settings::parse(&Source::new("postrider.yaml", text), &SourceScripts::built_in())
    }

    fn good(text: &str) -> Settings {
        match parse(text) {
            Ok((settings, warnings)) => {
                assert_eq!(warnings, []);
                settings
            }
            Err(found) => panic!("{}", found[0].render(false)),
        }
    }

    #[test]
    fn every_key_is_optional() {
        assert_eq!(good(""), Settings::default());
        assert_eq!(good("# nothing yet\n"), Settings::default());
    }

    #[test]
    fn all_keys() {
        let settings = good(
            "listen:\n  http: 0.0.0.0:8470\n  http_token: {secret: emit-token}\n\
             defaults: {timeout: 20s, retry: {first: 1s, max: 10m, max_age: 1d, max_attempts: 7}}\n\
             limits: {hooks_per_scope: 3, waiting: 1000}\n\
             network: {policy: public-only, deny: [10.0.0.0/8, \"2001:db8::1\"], allow: 10.1.0.0/16, proxy: null}\n\
             journal: {keep_delivered: 1d, keep_dead: 2w, keep_attempts: 1h, max_size: 1GiB, min_free: 100 MB}\n",
        );
        let (day, hour) = (Duration::from_secs(86400), Duration::from_secs(3600));
        let keeping =
            Keeping { delivered: day, dead: 14 * day, attempts: Some(hour), max_size: 1 << 30, min_free: 100 << 20 };
        assert_eq!(settings.journal, keeping);
        assert_eq!(settings.http, Some("0.0.0.0:8470".parse().unwrap()));
        assert_eq!(settings.http_token.as_deref(), Some("emit-token"));
        assert_eq!(settings.defaults.timeout, Duration::from_secs(20));
        assert_eq!(settings.defaults.retry.max_attempts, Some(7));
        assert_eq!(settings.defaults.retry.max_age, Duration::from_secs(86400));
        assert_eq!((settings.hooks_per_scope, settings.waiting), (Some(3), 1000));
        assert!(settings.network.public_only);
        assert_eq!(settings.network.deny, ["10.0.0.0/8".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]);
        assert_eq!(settings.network.allow, ["10.1.0.0/16".parse().unwrap()]);
        assert!(good("network: public-only\n").network.public_only);
        assert_eq!(good("listen: {http: 127.0.0.1:0}\n").http, Some("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn what_is_not_said_fits_what_is() {
        let retry = good("defaults: {retry: {max_age: 30m}}\n").defaults.retry;
        assert_eq!((retry.max, retry.max_age), (Duration::from_secs(1800), Duration::from_secs(1800)));
        let retry = good("defaults: {retry: {max: 1s}}\n").defaults.retry;
        assert_eq!((retry.first, retry.max), (Duration::from_secs(1), Duration::from_secs(1)));
        let retry = good("defaults: {retry: {first: 2h}}\n").defaults.retry;
        assert_eq!((retry.first, retry.max), (Duration::from_secs(7200), Duration::from_secs(7200)));
    }

    #[test]
    fn a_token_that_stands_in_the_file_is_not_shown() {
        let found = parse("listen: {http: 127.0.0.1:1, http_token: hunter2hunter2}\n").unwrap_err();
        assert_eq!(found.len(), 1);
        assert!(!found[0].render(false).contains("hunter2"), "{}", found[0].render(false));
    }

    #[test]
    fn all_errors_are_found_at_once() {
        let found = parse("listne: {}\nlimits: {waiting: 0}\njournal: {max_size: 3}\nnetwork: {deny: [x], proxy: p}\n")
            .unwrap_err();
        let codes: Vec<_> = found.iter().map(|found| found.code).collect();
        assert_eq!(codes, ["unknown-key", "out-of-bounds", "size", "address", "not-yet"]);
        assert!(found.iter().all(|found| found.place.is_some() && found.help.is_some()));
    }
}
