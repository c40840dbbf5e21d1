//! `postrider verify`: whether a signature is right, and which way of signing it is.

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::cli::Global;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, GOOD, paint};
use crate::cli::signing::{Given, Grammar, Keys, Request};
use crate::rules::signature::{self, Match, Verified};
use crate::words::secret::Secret;

/// Say whether the signature of a request is right
///
/// When nothing says how it is signed, every way is tried, and the one that fits is printed as a hook or a source takes it.
/// Exit code 1 means that the signature is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider verify --preset github --secret ci-sign -H 'X-Hub-Signature-256: sha256=…' --body push.json
  postrider verify --key-file key -H 'X-Signature: …' -H 'X-Time: 1700000000' --url https://h.example/in --body - <body")]
pub(crate) struct Verify {
    #[command(flatten)]
    grammar: Grammar,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    given: Given,
}

impl Verify {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let keys = self.keys.read(global)?;
        let scheme = if self.grammar.is_said() { Some(self.grammar.scheme(&keys)?) } else { None };
        let request = self.given.read(&self.keys)?;
        let Some(scheme) = scheme else { return search(global, &request, &keys) };
        match signature::verify(&scheme, &request.signed(), request.now) {
            Ok(verified) => print(global, &verified, None),
            Err(refused) => Err(refused_because(&refused, &request, &keys)),
        }
    }
}

fn search(global: &Global, request: &Request, keys: &[Secret]) -> Result<(), Exit> {
    let Some(found) = signature::search(&request.signed(), keys) else {
        let exit = Exit::new(Code::Failed, "no way of signing fits: another key, another body, or a header is missing");
        return Err(match request.url.is_empty() {
            true => exit.help("give --url too: some senders sign it"),
            false => exit.help("give the body byte for byte as it came, and every header with -H"),
        });
    };
    print(global, &found.verified, Some(&found))
}

/// The reason; and what would fit, if something does.
fn refused_because(refused: &signature::Refused, request: &Request, keys: &[Secret]) -> Exit {
    let exit = Exit::new(Code::Failed, refused.to_string());
    if matches!(refused, signature::Refused::Stale(_)) {
        return exit.help("--time says which clock to go by");
    }
    match signature::search(&request.signed(), keys) {
        Some(found) => {
            let after = found.after.map(|after| format!(", after {after}")).unwrap_or_default();
            exit.help(format!("this fits{after}: {}", yaml(&found.map)))
        }
        None => exit,
    }
}

fn print(global: &Global, verified: &Verified, found: Option<&Match>) -> Result<(), Exit> {
    let after = found.and_then(|found| found.after);
    if global.json {
        return output::json(&json!({
            "signed": verified.signed,
            "algorithm": verified.algorithm,
            "encoding": verified.encoding,
            "key": verified.key,
            "id": verified.id,
            "timestamp": verified.timestamp,
            "sign": found.map(|found| &found.map),
            "after": after,
        }));
    }
    output::say(format!("{} {} (key {})", paint(GOOD, "right:"), verified.how, verified.key))?;
    if let Some(after) = after {
        global.note(format!("note: it fits only after {after}"));
    }
    match found {
        Some(found) => {
            let yaml = yaml(&found.map);
            output::say(format!(
                "a hook signs so with\n  sign: {yaml}\nand the source generic verifies it with\n  verify: {yaml}"
            ))
        }
        None => Ok(()),
    }
}

/// As a hook file takes it: JSON is YAML, and most of its quotes are not needed.
fn yaml(map: &Map<String, Json>) -> String {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
    };
    let value = |value: &Json| match value.as_str() {
        Some(text) if plain(text) => text.to_owned(),
        _ => value.to_string(),
    };
    let fields: Vec<_> = map.iter().map(|(field, found)| format!("{field}: {}", value(found))).collect();
    format!("{{{}, key: {{secret: NAME}}}}", fields.join(", "))
}
