//! URLs in which other notifiers keep a receiver, as Apprise writes them, and those that vendors give out: which platform
//! they are for, and its options. Such a URL is made of secrets: no diagnostic quotes more of it than its scheme.

mod address;
mod forms;
mod native;

use crate::rules::apprise::address::Address;
use crate::rules::apprise::forms::{As, FORMS, Form};
use crate::rules::diagnostic::Diagnostic;
use crate::rules::yaml::reader::nearest;
use crate::words::json::{Exact, Members, Number};
use crate::words::secret::Secret;

/// What such a URL says.
#[derive(Debug, Default)]
pub struct Found {
    /// The platform.
    pub platform: &'static str,
    /// Its options.
    pub options: Vec<(&'static str, Setting)>,
    /// What the hook does without, in words that name no value.
    pub lost: Vec<String>,
}

/// What an option is set to.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// It stands in the hook file.
    Value(Exact),
    /// It belongs into a file of its own.
    Secret(Secret),
    /// Headers whose values belong into files of their own.
    Headers(Vec<(String, Secret)>),
}

/// Reads a URL.
///
/// # Errors
/// Nobody knows its scheme, or something is missing in it.
pub fn read(url: &str) -> Result<Found, Diagnostic> {
    let url = url.trim();
    let Some(mut address) = Address::read(url) else {
        return Err(wrong("this is no URL such as SCHEME://…").help(format!("the schemes are {}", schemes().join(" "))));
    };
    if matches!(address.scheme.as_str(), "http" | "https") {
        return native::read(url, address).map_err(|what| wrong(what).help("paste the whole of it, in quotes"));
    }
    let Some(form) = FORMS.iter().find(|form| form.schemes.contains(&address.scheme.as_str())) else {
        let known = schemes();
        let what = format!("there is no reading URLs that begin with {}://", address.scheme);
        let found = Diagnostic::error("unknown-scheme", what);
        return Err(match nearest(&address.scheme, &known) {
            Some(near) => found.help(format!("did you mean {near}://?")),
            None => found
                .note(format!("the schemes are {}", known.join(" ")))
                .help("choose a platform: `postrider platforms` lists them"),
        });
    };
    let mut found = Found { platform: form.platform, ..Found::default() };
    (form.read)(&mut address, &mut found)
        .map_err(|what| wrong(what).help(format!("such a URL is written {}", form.shape)))?;
    arguments(form, &mut address, &mut found);
    Ok(found)
}

/// The platform of a vendor's own URL, if it is one.
pub fn platform_of(url: &str) -> Option<&'static str> {
    native::platform_of(&Address::read(url.trim())?)
}

fn schemes() -> Vec<&'static str> {
    FORMS.iter().flat_map(|form| form.schemes).copied().chain(["https", "http"]).collect()
}

fn wrong(what: impl Into<String>) -> Diagnostic {
    Diagnostic::error("from-url", what)
}

/// What stands behind the `?`, as far as the form knows it; the rest is lost.
fn arguments(form: &Form, address: &mut Address, found: &mut Found) {
    for (theirs, ours, shape) in form.arguments {
        let Some(text) = address.take(theirs) else { continue };
        match shape.read(text) {
            Some(value) => found.set(ours, value),
            None => found.lost.push(format!("`{theirs}`")),
        }
    }
    let left = address.arguments.drain(..).map(|argument| format!("`{}`", argument.name));
    found.lost.extend(left);
}

impl As {
    fn read(self, text: String) -> Option<Setting> {
        let value = match self {
            Self::Text => literal(&text),
            Self::Url => return url::Url::parse(&text).is_ok().then(|| Setting::Value(literal(&text))),
            Self::List => words(&text),
            Self::Integer => Exact::Number(Number::from(text.parse::<i64>().ok()?)),
            Self::Yes => Exact::Bool(match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "1" | "on" | "enable" => true,
                "no" | "false" | "0" | "off" | "disable" => false,
                _ => return None,
            }),
            Self::Word(known) => {
                let word = text.to_ascii_lowercase();
                literal(known.iter().find(|(theirs, _)| *theirs == word)?.1)
            }
            Self::Level(known) => {
                let word = text.to_ascii_lowercase();
                let named = known.iter().find(|(theirs, _)| *theirs == word).map(|(_, level)| *level);
                Exact::Number(Number::from(named.or_else(|| word.parse().ok())?))
            }
        };
        Some(Setting::Value(value))
    }
}

impl Found {
    fn set(&mut self, option: &'static str, setting: Setting) {
        self.options.retain(|(known, _)| *known != option);
        self.options.push((option, setting));
    }

    fn text(&mut self, option: &'static str, text: &str) {
        self.set(option, Setting::Value(literal(text)));
    }

    fn secret(&mut self, option: &'static str, text: &str) {
        self.set(option, Setting::Secret(Secret::new(text)));
    }

    /// A list, unless it is empty.
    fn list(&mut self, option: &'static str, texts: Vec<String>) {
        if !texts.is_empty() {
            self.set(option, Setting::Value(Exact::List(texts.iter().map(|text| literal(text)).collect())));
        }
    }

    fn lose(&mut self, what: &str) {
        self.lost.push(what.to_owned());
    }

    /// The first of several; a hook has one receiver.
    fn only(&mut self, mut all: Vec<String>, what: &str) -> Option<String> {
        if all.len() > 1 {
            self.lost.push(format!("{} more {what}: each needs a hook of its own", all.len() - 1));
        }
        (!all.is_empty()).then(|| all.swap_remove(0))
    }
}

/// A text that is no template, whatever stands in it.
fn literal(text: &str) -> Exact {
    let is_template = ["{{", "{%", "{#"].iter().any(|open| text.contains(open));
    let text = if is_template { format!("{{% raw %}}{text}{{% endraw %}}") } else { text.to_owned() };
    Exact::String(text)
}

fn words(text: &str) -> Exact {
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    Exact::List(words.map(literal).collect())
}

fn map<const N: usize>(members: [(&str, Exact); N]) -> Exact {
    Exact::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Members>())
}

fn template(text: &str) -> Exact {
    Exact::String(text.to_owned())
}

#[cfg(test)]
mod tests;
