//! What the script of a source declares about itself.
//!
//! ```text
//! #{
//!     summary: "GitHub",                     // one line, required
//!     types: ["github.push", "github.*"],    // the types of its events, for whoever writes a hook
//!     methods: ["POST"],                     // which it takes; unless said, POST
//!     token_header: "x-gitlab-token",        // where this vendor sends a plain token, if it does
//!     replay_window: "10m",                  // after it the same request counts as new; unless said, never
//!     options: #{ secret: optional("secret", (), "…") },
//! }
//! ```

use std::time::Duration;

use http::{HeaderName, Method};
use rhai::{Dynamic, Map};

use crate::rules::diagnostic::Diagnostic;
use crate::rules::manifest::{OptionSpec, options, text, unknown_keys, words, wrong};
use crate::rules::yaml::reader::parse_duration;
use crate::words::keys::SOURCE_OPTIONS;

/// What the script of a source declares about itself.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// One line for `postrider sources`.
    pub summary: String,
    /// Types of the events that it makes, with `*` and `?`, for whoever writes a hook.
    pub types: Vec<String>,
    /// The methods that it takes.
    pub methods: Vec<Method>,
    /// Where this vendor sends a plain token.
    pub token_header: Option<HeaderName>,
    /// After it the same request counts as new.
    pub replay_window: Option<Duration>,
    /// Its options, besides those that every source has.
    pub options: Vec<OptionSpec>,
}

impl Manifest {
    /// Reads what `fn manifest()` returned.
    pub(super) fn read(value: &Dynamic) -> Result<Self, Vec<Diagnostic>> {
        let Some(map) = value.read_lock::<Map>() else {
            return Err(vec![wrong("fn manifest() must return a map").help("return #{ summary: …, options: #{ … } }")]);
        };
        let mut found = Vec::new();
        let keys = ["summary", "types", "methods", "token_header", "replay_window", "options"];
        unknown_keys(&map, &keys, "the manifest", &mut found);
        let manifest = Self {
            summary: text(&map, "summary", &mut found),
            types: map.get("types").map_or_else(Vec::new, |value| words(value, "types", &mut found)),
            methods: map.get("methods").map_or_else(|| vec![Method::POST], |value| methods(value, &mut found)),
            token_header: map.get("token_header").and_then(|value| header(value, &mut found)),
            replay_window: map.get("replay_window").and_then(|value| window(value, &mut found)),
            options: options(&map, &mut found),
        };
        for name in SOURCE_OPTIONS.names() {
            if manifest.options.iter().any(|option| option.name == name) {
                let what = format!("every source has the option `{name}`: the script cannot declare it");
                found.push(wrong(what).help("remove it, or give it another name"));
            }
        }
        if found.is_empty() { Ok(manifest) } else { Err(found) }
    }
}

fn methods(value: &Dynamic, found: &mut Vec<Diagnostic>) -> Vec<Method> {
    let before = found.len();
    let words = words(value, "methods", found);
    if found.len() > before {
        return Vec::new();
    }
    let read = |word: &String| Method::from_bytes(word.as_bytes()).ok().filter(|_| *word == word.to_uppercase());
    let methods: Option<Vec<_>> = words.iter().map(read).collect();
    match methods {
        Some(methods) if !methods.is_empty() => methods,
        _ => {
            found.push(wrong("`methods` must be an array of methods").help("write methods: [\"POST\"]"));
            Vec::new()
        }
    }
}

fn header(value: &Dynamic, found: &mut Vec<Diagnostic>) -> Option<HeaderName> {
    let name = value.clone().into_string().ok().and_then(|name| name.parse().ok());
    if name.is_none() {
        found.push(wrong("`token_header` must be the name of a header").help("write token_header: \"x-shop-token\""));
    }
    name
}

fn window(value: &Dynamic, found: &mut Vec<Diagnostic>) -> Option<Duration> {
    let window = value.clone().into_string().ok().and_then(|text| parse_duration(&text).ok());
    if window.is_none() {
        found.push(wrong("`replay_window` must be a duration").help("write replay_window: \"10m\""));
    }
    window
}
