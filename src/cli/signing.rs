//! What the commands `sign` and `verify` are told: the grammar of signatures, the keys, and a request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, local};
use crate::edges::secrets::SecretFolders;
use crate::rules::signature::{Fault, Outline, Scheme, Signed};
use crate::words::limits;
use crate::words::secret::Secret;

/// How it is signed.
#[derive(Debug, Args)]
#[command(next_help_heading = "How it is signed")]
pub(crate) struct Grammar {
    /// standard-webhooks, gitlab, github, github-sha1, stripe, twilio, grafana or pushpushgo
    #[arg(long, value_name = "VENDOR")]
    preset: Option<String>,
    /// The header of the signature
    #[arg(long, value_name = "NAME")]
    signature_header: Option<String>,
    /// hmac-sha1, hmac-sha256, hmac-sha512 or ed25519
    #[arg(long, value_name = "WORD")]
    algorithm: Option<String>,
    /// body, timestamp.body, timestamp:body, id.timestamp.body, url+body, url+sorted-params or url+form
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    signed: Vec<String>,
    /// hex or base64
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    encoding: Vec<String>,
    /// What stands in front of the signature
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// The header of the timestamp
    #[arg(long, value_name = "NAME")]
    timestamp_header: Option<String>,
    /// The header of the id
    #[arg(long, value_name = "NAME")]
    id_header: Option<String>,
    /// text, base64 or hex
    #[arg(long, value_name = "WORD")]
    key_encoding: Option<String>,
}

/// With which keys. None of them stands on the command line, where everybody on the machine can read it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct Keys {
    /// A file with the key, or - for standard input; may be given again
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
    /// A secret by its name, as a hook finds it; may be given again
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
}

/// The request.
#[derive(Debug, Args)]
#[command(next_help_heading = "The request")]
pub(crate) struct Given {
    /// A header; may be given again
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The whole URL, as the sender has it
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with the body, byte for byte, or - for standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The clock: seconds since 1970, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<Timestamp>,
}

/// A request that was read.
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) now: Timestamp,
}

impl Grammar {
    /// Whether anything was said.
    pub(crate) fn is_said(&self) -> bool {
        !self.map().is_empty()
    }

    /// In the words of a hook file.
    fn map(&self) -> Map<String, Json> {
        let texts = [
            ("preset", &self.preset),
            ("header", &self.signature_header),
            ("algorithm", &self.algorithm),
            ("prefix", &self.prefix),
            ("timestamp_header", &self.timestamp_header),
            ("id_header", &self.id_header),
            ("key_encoding", &self.key_encoding),
        ];
        let texts = texts.into_iter().filter_map(|(field, text)| Some((field.to_owned(), json!(text.as_ref()?))));
        let lists = [("signed", &self.signed), ("encoding", &self.encoding)];
        let lists = lists.into_iter().filter(|(_, words)| !words.is_empty());
        texts.chain(lists.map(|(field, words)| (field.to_owned(), json!(words)))).collect()
    }

    /// With the keys.
    pub(crate) fn scheme(&self, keys: &[Secret]) -> Result<Scheme, Exit> {
        let said = |fault: Fault| {
            let flag = match fault.field.as_deref() {
                Some("header") => Some("--signature-header".to_owned()),
                Some("key") | None => None,
                Some(field) => Some(format!("--{}", field.replace('_', "-"))),
            };
            let what = flag.map_or(fault.what.clone(), |flag| format!("{flag}: {}", fault.what));
            Exit::new(Code::Usage, what).help(fault.help)
        };
        let outline = Outline::read(&self.map()).map_err(|mut faults| said(faults.swap_remove(0)))?;
        Scheme::new(Arc::new(outline), keys).map_err(said)
    }
}

impl Keys {
    /// Whether the first of them comes from standard input.
    fn use_stdin(&self) -> bool {
        self.key_file.iter().any(|file| is_stdin(file))
    }

    /// Reads them.
    pub(crate) fn read(&self, global: &Global) -> Result<Vec<Secret>, Exit> {
        if self.key_file.is_empty() && self.secret.is_empty() {
            return Err(Exit::new(Code::Usage, "a signature needs a key")
                .help("give --secret NAME, or --key-file FILE (- for standard input)"));
        }
        let files = self.key_file.iter().map(|file| {
            let bytes = if is_stdin(file) {
                local::read_stdin(limits::SECRET_FILE)?
            } else {
                local::read(file, limits::SECRET_FILE)?
            };
            let name = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
            let text = String::from_utf8(bytes)
                .map_err(|_| Exit::new(Code::Configuration, format!("the key in {name} is not text (UTF-8)")))?;
            // Editors and `echo` end a file with a line break that nobody means.
            Ok(Secret::new(text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text))))
        });
        let folders = SecretFolders::new(global.paths().secrets.clone());
        let secrets = self.secret.iter().map(|name| {
            let (value, _) = folders.read(name);
            value.map_err(|why| Exit::new(Code::Configuration, format!("secret {name} cannot be read: {why}")))
        });
        files.chain(secrets).collect()
    }
}

impl Given {
    /// Reads it.
    pub(crate) fn read(self, keys: &Keys) -> Result<Request, Exit> {
        let body = match &self.body {
            None => Vec::new(),
            Some(file) if is_stdin(file) && keys.use_stdin() => {
                return Err(Exit::new(Code::Usage, "key and body cannot both come from standard input"));
            }
            Some(file) if is_stdin(file) => local::read_stdin(limits::REQUEST_BODY)?,
            Some(file) => local::read(file, limits::REQUEST_BODY)?,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.header {
            headers.append(name, value);
        }
        let now = self.time.unwrap_or_else(Timestamp::now);
        Ok(Request { url: self.url.unwrap_or_default(), headers, body, now })
    }
}

impl Request {
    pub(crate) fn signed(&self) -> Signed<'_> {
        Signed { method: &Method::POST, url: &self.url, headers: &self.headers, body: &self.body }
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as in 'NAME: VALUE'")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    let value = value.trim().parse().map_err(|_| "this value cannot stand in a header".to_owned())?;
    Ok((name, value))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let time = seconds.or_else(|| text.parse().ok());
    time.ok_or_else(|| "give seconds since 1970, or a time such as 2026-01-31T12:00:00Z".to_owned())
}
