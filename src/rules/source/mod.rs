//! How a vendor's HTTP request becomes events: a script with its manifest, and the sources of the main file that use it.
//!
//! A source script has
//! * `fn manifest()`: see `manifest`;
//! * `fn events(request)`: `request = #{method, path, event, query, headers, body, json, tree, json_error, form, options}`.
//!   Header names are in lower case; `event` is the path behind `/in/NAME/`; `body` is a text, or bytes when it is not
//!   UTF-8; `json` is `()` when it is not JSON, and `json_error` says why; `tree` is the same as `json`, but keeps the
//!   order of its keys; `form` holds the fields of a form. It gives an array of
//!   `#{type, id?, time?, source?, data?, body?, content_type?}` (or one of them), `refuse(status, why)`, or
//!   `respond(status, headers, body)`. Without `data` the body is what the event says, without `body` its bytes are those
//!   of the request. `time` is RFC 3339 text, or seconds or milliseconds since 1970. Without `id` the same request is stored once;
//! * `fn verify(request)`, optional: how the request is signed, as a map in the grammar of `signature`, an array of them
//!   (any will do), `()` when nothing is to be verified, or `refuse(status, why)`. What it names is verified on the raw
//!   bytes before `events` is called;
//! * `fn check(options)`, optional: a text that says why these options cannot work together, `#{warning: …}`, or `()`. It
//!   is called when the main file is loaded, with `()` for what is a secret.
//!
//! An error in a script is our own trouble: the sender is told to send again.

mod events;
mod manifest;
mod named;
mod options;
mod replay;
mod request;
mod verify;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use rhai::{Dynamic, Map};

pub use self::events::Outcome;
pub use self::manifest::Manifest;
pub use self::named::{NamedSource, Opened, read_source_options, read_sources};
pub use self::options::Setting;
pub use self::replay::Replays;
pub use self::request::Incoming;
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::script::Script;
use crate::rules::script::shelf::{Compiled, Shelved};

/// A compiled script of a source.
#[derive(Debug)]
pub struct SourceScript {
    /// Its name: the script's file name.
    pub name: String,
    /// What it declares.
    pub manifest: Manifest,
    /// The script's text, for `postrider sources NAME --source`.
    pub source: Source,
    /// Whether it came with the program.
    pub built_in: bool,
    script: Script,
    verifies: bool,
    checks: bool,
}

/// All scripts of sources in one configuration.
#[derive(Clone, Debug, Default)]
pub struct SourceScripts(pub BTreeMap<String, Shelved<SourceScript>>);

impl Compiled for SourceScript {
    fn compile(name: &str, source: Source, built_in: bool) -> Result<Self, Vec<Diagnostic>> {
        Self::compile(name, source, built_in)
    }

    fn source(&self) -> &Source {
        &self.source
    }
}

impl SourceScript {
    /// Compiles a script and reads its manifest.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub fn compile(name: &str, source: Source, built_in: bool) -> Result<Self, Vec<Diagnostic>> {
        let optional: [(&str, &[&str]); 2] = [("verify", &["request"]), ("check", &["options"])];
        let (script, [verifies, checks], declared) = Script::declaring(&source, ("events", &["request"]), optional)?;
        let manifest = Manifest::read(&declared).map_err(|found| script.in_manifest(found))?;
        Ok(Self { name: name.to_owned(), manifest, source, built_in, script, verifies, checks })
    }

    /// Whether a script means to be one of a source, and not of a platform.
    pub fn is_meant(source: &Source) -> bool {
        Script::compile(source).is_ok_and(|script| script.parameters("events").is_some())
    }

    /// What `fn check` says to these options: an error and a warning.
    fn check(&self, options: Map) -> (Option<String>, Option<String>) {
        if !self.checks {
            return (None, None);
        }
        match self.script.call("check", [options.into()]) {
            Err(found) => (Some(found.one_line()), None),
            Ok(said) if said.is_unit() => (None, None),
            Ok(said) => {
                let warning = said.read_lock::<Map>().map(|map| map.get("warning").cloned());
                match warning {
                    Some(warning) => (None, Some(text_of(warning.unwrap_or(Dynamic::UNIT)))),
                    None => (Some(text_of(said)), None),
                }
            }
        }
    }
}

fn text_of(said: Dynamic) -> String {
    said.into_string().unwrap_or_else(|_| "check gave something that is no text".to_owned())
}

/// The scripts that come with the program: all that stand in `scripts/sources` (`build.rs`).
const BUILT_IN: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/sources.rs"));

static SHELF: LazyLock<BTreeMap<String, Shelved<SourceScript>>> = LazyLock::new(|| Shelved::all(BUILT_IN));

impl SourceScripts {
    /// The scripts that come with the program.
    pub fn built_in() -> Self {
        Self(SHELF.clone())
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Arc<SourceScript>> {
        self.0.get(name).map(|script| &**script)
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
