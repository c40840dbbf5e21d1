//! The grammar, read from JSON: everything but the keys.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};

use super::key::Reading;
use super::words::{Algorithm, Content, Encoding, KeyEncoding, Preset, Word};
use crate::rules::yaml::reader::{nearest, parse_duration, show_duration};
use crate::words::keys::SIGN;
use crate::words::limits;

/// What people write who come from other tools.
const OTHER_WORDS: [(&str, &str); 7] = [
    ("secret", "key"),
    ("keys", "key"),
    ("token", "key"),
    ("algo", "algorithm"),
    ("format", "encoding"),
    ("content", "signed"),
    ("scheme", "preset"),
];

/// Something wrong with one key of the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key it is about; `None` for the map as a whole.
    pub field: Option<String>,
    /// What is wrong. No part of a signing key stands in it.
    pub what: String,
    /// The one thing to do.
    pub help: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

/// How the header of a signature is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// A prefix and one signature.
    Plain,
    /// `v1,SIGNATURE v1a,SIGNATURE`: several, with their versions.
    Versions,
    /// `t=SECONDS,v1=SIGNATURE,v1=SIGNATURE`: the timestamp and several signatures.
    Stripe,
}

/// How something is signed, without the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    pub(super) layout: Layout,
    pub(super) header: HeaderName,
    pub(super) keys: Reading,
    /// At least one. Who signs takes the first, who verifies any.
    pub(super) signed: Vec<Content>,
    /// The same.
    pub(super) encodings: Vec<Encoding>,
    /// `None`: the layout says it.
    pub(super) prefix: Option<String>,
    pub(super) tolerance: Duration,
    /// Set whenever a timestamp is signed and does not stand beside the signature.
    pub(super) timestamp_header: Option<HeaderName>,
    pub(super) id_header: HeaderName,
    /// Without a slash at its end.
    pub(super) public_url: Option<String>,
    /// What is no form is covered by `bodySHA256` in the URL.
    pub(super) body_in_url: bool,
}

/// What a preset says.
struct Defaults {
    layout: Layout,
    header: Option<&'static str>,
    algorithm: Option<Algorithm>,
    signed: &'static [Content],
    encodings: &'static [Encoding],
    key_encoding: Option<KeyEncoding>,
}

impl Defaults {
    fn of(preset: Option<Preset>, timestamp_header: bool, algorithm: Option<Algorithm>) -> Self {
        use Content::{Body, IdTimestampBody, TimestampColonBody, TimestampDotBody, UrlBody, UrlForm, UrlSortedParams};
        use Encoding::{Base64, Hex};
        let plain = Self {
            layout: Layout::Plain,
            header: None,
            algorithm: Some(Algorithm::HmacSha256),
            signed: &[Body],
            encodings: &[Hex],
            key_encoding: None,
        };
        let Some(preset) = preset else { return plain };
        match preset {
            Preset::StandardWebhooks => Self {
                layout: Layout::Versions,
                header: Some("webhook-signature"),
                algorithm: None,
                signed: &[IdTimestampBody],
                encodings: &[Base64],
                key_encoding: Some(KeyEncoding::Base64),
            },
            Preset::Github if algorithm == Some(Algorithm::HmacSha1) => {
                Self { header: Some("x-hub-signature"), ..plain }
            }
            Preset::Github => Self { header: Some("x-hub-signature-256"), ..plain },
            Preset::GithubSha1 => {
                Self { header: Some("x-hub-signature"), algorithm: Some(Algorithm::HmacSha1), ..plain }
            }
            Preset::Stripe => {
                Self { layout: Layout::Stripe, header: Some("stripe-signature"), signed: &[TimestampDotBody], ..plain }
            }
            Preset::Twilio => Self {
                header: Some("x-twilio-signature"),
                algorithm: Some(Algorithm::HmacSha1),
                signed: &[UrlSortedParams],
                encodings: &[Base64],
                ..plain
            },
            Preset::Grafana => Self {
                header: Some("x-grafana-alerting-signature"),
                signed: if timestamp_header { &[TimestampColonBody] } else { &[Body] },
                ..plain
            },
            // The vendor has published two texts and no example: the newer one is signed, any reading verifies.
            Preset::PushPushGo => Self {
                header: Some("x-ppg-signature"),
                algorithm: Some(Algorithm::HmacSha1),
                signed: &[Body, UrlBody, UrlSortedParams, UrlForm],
                encodings: &[Hex, Base64],
                ..plain
            },
        }
    }
}

impl Outline {
    /// Reads the map. What stands under `key` is not looked at.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(map: &Map<String, Json>) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { map, found: Vec::new() };
        reader.unknown_keys();
        let outline = reader.outline();
        match outline {
            Some(outline) if reader.found.is_empty() => Ok(outline),
            _ => Err(reader.found),
        }
    }

    /// The same for a request that we send: it is signed in one way, and nothing in it is about verifying.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read_to_sign(map: &Map<String, Json>) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { map, found: Vec::new() };
        for field in ["signed", "encoding"] {
            if matches!(reader.get(field), Some(Json::Array(words)) if words.len() > 1) {
                let what = format!("a request is signed in one way: `{field}` takes one word here");
                reader.wrong(Some(field), what, "keep the one that the receiver expects");
            }
        }
        for field in ["tolerance", "public_url"] {
            if reader.get(field).is_some() {
                let what = format!("`{field}` is for who verifies, and says nothing about a request that is sent");
                reader.wrong(Some(field), what, "remove it");
            }
        }
        let mut found = reader.found;
        match Self::read(map) {
            Ok(outline) if found.is_empty() => return Ok(outline),
            Ok(_) => {}
            Err(faults) => {
                // One fault for one key.
                let new = |fault: &Fault| fault.field.is_none() || found.iter().all(|known| known.field != fault.field);
                let new: Vec<_> = faults.into_iter().filter(new).collect();
                found.extend(new);
            }
        }
        Err(found)
    }

    /// Whether keys are written in hexadecimal digits.
    pub fn takes_hex_keys(&self) -> bool {
        self.keys.encoding == KeyEncoding::Hex
    }

    /// Whether what is signed is taken from the fields of the body, so that only a form or a JSON object will do.
    pub fn signs_fields(&self) -> bool {
        self.signed.iter().any(|content| content.has_fields())
    }

    pub(super) fn has_timestamp(&self) -> bool {
        self.signed.iter().any(|content| content.has_timestamp())
    }

    pub(super) fn has_id(&self) -> bool {
        self.signed.iter().any(|content| content.has_id())
    }
}

struct Reader<'m> {
    map: &'m Map<String, Json>,
    found: Vec<Fault>,
}

impl Reader<'_> {
    fn outline(&mut self) -> Option<Outline> {
        let preset = self.word::<Preset>("preset");
        let algorithm = self.word::<Algorithm>("algorithm");
        let timestamp_header = self.header("timestamp_header");
        let defaults = Defaults::of(preset, timestamp_header.is_some(), algorithm);
        let header = self.header("header");
        // A misspelt key is the reason then, and has been said.
        let unsaid = ["header", "preset"].iter().all(|field| self.get(field).is_none());
        if unsaid && self.found.is_empty() {
            self.wrong(None, "nothing says in which header the signature stands", "add `header: NAME`, or a `preset`");
        }
        let signed = self.words::<Content>("signed").unwrap_or_else(|| defaults.signed.to_vec());
        let encodings = self.words::<Encoding>("encoding").unwrap_or_else(|| defaults.encodings.to_vec());
        let said_key_encoding = self.word::<KeyEncoding>("key_encoding");
        let algorithm = algorithm.or(defaults.algorithm);
        let fallback = if algorithm == Some(Algorithm::Ed25519) { KeyEncoding::Base64 } else { KeyEncoding::Text };
        let key_encoding = said_key_encoding.or(defaults.key_encoding).unwrap_or(fallback);
        if algorithm == Some(Algorithm::Ed25519) && key_encoding == KeyEncoding::Text {
            let help = "write `key_encoding: base64` or `hex`";
            self.wrong(Some("key_encoding"), "a key for ed25519 is bytes, and cannot be any text", help);
        }
        let mut outline = Outline {
            layout: defaults.layout,
            header: header.or_else(|| Some(HeaderName::from_static(defaults.header?)))?,
            keys: Reading { encoding: key_encoding, algorithm },
            signed,
            encodings,
            prefix: self.prefix(preset, algorithm),
            tolerance: self.tolerance().unwrap_or(limits::SIGNATURE_TOLERANCE),
            timestamp_header,
            id_header: self.header("id_header").unwrap_or(HeaderName::from_static("webhook-id")),
            public_url: self.public_url(),
            body_in_url: preset == Some(Preset::Twilio),
        };
        self.together(&mut outline);
        Some(outline)
    }

    /// What only makes sense beside something else.
    fn together(&mut self, outline: &mut Outline) {
        let timed = outline.has_timestamp();
        if outline.layout == Layout::Stripe {
            if !outline.signed.iter().all(|content| content.has_timestamp()) {
                let what = "the header of stripe carries a timestamp, which must be signed too";
                self.wrong(Some("signed"), what, "remove `signed`, or write `signed: timestamp.body`");
            }
            if outline.prefix.is_some() {
                let what = "the header of stripe is t=…,v1=… and has no other prefix";
                self.wrong(Some("prefix"), what, "remove `prefix`");
            }
            if outline.timestamp_header.is_some() {
                let what = "the timestamp of stripe stands in the header of the signature";
                self.wrong(Some("timestamp_header"), what, "remove `timestamp_header`");
            }
        } else if timed && outline.timestamp_header.is_none() {
            if outline.has_id() || outline.layout == Layout::Versions {
                outline.timestamp_header = Some(HeaderName::from_static("webhook-timestamp"));
            } else {
                let what = "a timestamp is signed, and nothing says in which header it stands";
                self.wrong(Some("signed"), what, "add `timestamp_header: NAME`");
            }
        }
        let unused = [("timestamp_header", timed), ("tolerance", timed), ("id_header", outline.has_id())];
        for (field, used) in unused {
            if self.get(field).is_some() && !used {
                let part = if field == "id_header" { "id" } else { "timestamp" };
                let what = format!("`{field}` says nothing here: what is signed has no {part}");
                self.wrong(Some(field), what, format!("remove it, or sign an {part} too: `signed: id.timestamp.body`"));
            }
        }
    }

    /// GitHub writes the algorithm in front.
    fn prefix(&mut self, preset: Option<Preset>, algorithm: Option<Algorithm>) -> Option<String> {
        if let Some(prefix) = self.text("prefix") {
            if HeaderValue::from_str(&prefix).is_err() || !prefix.is_ascii() || prefix.starts_with([' ', '\t']) {
                let what = "a prefix stands in a header: ASCII without control characters, no space in front";
                self.wrong(Some("prefix"), what, "write it as in `prefix: \"sha256=\"`");
            }
            return Some(prefix);
        }
        matches!(preset, Some(Preset::Github | Preset::GithubSha1))
            .then(|| format!("{}=", algorithm.map_or("", Word::word).trim_start_matches("hmac-")))
    }

    fn tolerance(&mut self) -> Option<Duration> {
        let text = self.text("tolerance")?;
        let (least, most) = (limits::SIGNATURE_TOLERANCE_MIN, limits::SIGNATURE_TOLERANCE_MAX);
        match parse_duration(&text) {
            Ok(tolerance) if (least..=most).contains(&tolerance) => Some(tolerance),
            Ok(_) => {
                let what = format!(
                    "a tolerance of {text} is not between {} and {}",
                    show_duration(least),
                    show_duration(most)
                );
                self.wrong(Some("tolerance"), what, "`tolerance: 5m` is what most senders expect");
                None
            }
            Err(_) => {
                self.wrong(Some("tolerance"), format!("`{text}` is no duration"), "write it as in `tolerance: 5m`");
                None
            }
        }
    }

    fn public_url(&mut self) -> Option<String> {
        let text = self.text("public_url")?;
        let url = url::Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url {
            Some(url) if url.query().is_none() && url.fragment().is_none() => {
                Some(text.trim_end_matches('/').to_owned())
            }
            _ => {
                let what = "`public_url` is the beginning of the URL as the sender knows it";
                self.wrong(Some("public_url"), what, "write it as in `public_url: https://hooks.example.com`");
                None
            }
        }
    }

    fn header(&mut self, field: &str) -> Option<HeaderName> {
        let text = self.text(field)?;
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        if name.is_none() {
            let what = format!("{text:?} cannot be the name of a header");
            self.wrong(Some(field), what, "use letters, digits and - only");
        }
        name
    }

    fn word<W: Word>(&mut self, field: &str) -> Option<W> {
        let text = self.text(field)?;
        W::read(&text).map_err(|(what, help)| self.wrong(Some(field), what, help)).ok()
    }

    /// One word or a list of them.
    fn words<W: Word>(&mut self, field: &str) -> Option<Vec<W>> {
        let Some(Json::Array(entries)) = self.get(field) else { return self.word(field).map(|word| vec![word]) };
        let mut words = Vec::new();
        for entry in entries.clone() {
            match entry.as_str().map(W::read) {
                Some(Ok(word)) if words.contains(&word) => {
                    self.wrong(Some(field), format!("`{}` stands there twice", word.word()), "remove one");
                }
                Some(Ok(word)) => words.push(word),
                Some(Err((what, help))) => self.wrong(Some(field), what, help),
                None => self.wrong(Some(field), format!("`{field}` is a word or a list of words"), "write [a, b]"),
            }
        }
        Some(words)
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let text = self.get(field)?.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(Some(field), format!("`{field}` must be a text"), "write one word or put it into quotes");
        }
        text.filter(|text| {
            let empty = text.is_empty();
            if empty {
                self.wrong(Some(field), format!("`{field}` is empty"), "remove it, or give it a value");
            }
            !empty
        })
    }

    /// What a script leaves out it may also give as `()` or as an empty list.
    fn get(&self, field: &str) -> Option<&Json> {
        self.map.get(field).filter(|value| !value.is_null() && !matches!(value, Json::Array(list) if list.is_empty()))
    }

    fn unknown_keys(&mut self) {
        for key in self.map.keys().filter(|key| SIGN.key(key).is_none()) {
            let other = OTHER_WORDS.iter().find(|(other, _)| *other == key.as_str()).map(|(_, ours)| *ours);
            let help = match other.or_else(|| nearest(key, &SIGN.names())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its keys are {}", SIGN.names().join(", ")),
            };
            self.found.push(Fault { field: Some(key.clone()), what: format!("a signature has no key `{key}`"), help });
        }
    }

    fn wrong(&mut self, field: Option<&str>, what: impl Into<String>, help: impl Into<String>) {
        self.found.push(Fault { field: field.map(str::to_owned), what: what.into(), help: help.into() });
    }
}
