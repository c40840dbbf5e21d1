//! `postrider sign`: the headers of a signature.

use clap::Args;
use serde_json::{Map, json};

use crate::cli::exit::{Code, Exit};
use crate::cli::signing::{Given, Grammar, Keys};
use crate::cli::{Global, output};
use crate::rules::signature;

/// Print the headers that sign a request
///
/// They are what a hook with the same `sign` would send. Nothing is sent.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider sign --preset github --secret ci-sign --body push.json
  postrider sign --preset standard-webhooks --key-file ci.key --body - <build.json >headers
  postrider sign --preset pushpushgo --signed url+body --secret project --url 'https://h.example/in?env=prod' --body b.json")]
pub(crate) struct Sign {
    #[command(flatten)]
    grammar: Grammar,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    given: Given,
    /// The id that is signed; a new one unless said
    #[arg(long, value_name = "ID", help_heading = "The request")]
    id: Option<String>,
}

impl Sign {
    pub(crate) fn run(self, global: &Global) -> Result<(), Exit> {
        let scheme = self.grammar.scheme(&self.keys.read(global)?)?;
        let request = self.given.read(&self.keys)?;
        let id = self.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let signature = signature::sign(&scheme, &request.signed(), &id, request.now)
            .map_err(|why| Exit::new(Code::Failed, format!("the request cannot be signed: {why}")))?;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        if global.json {
            let headers: Map<_, _> =
                signature.headers.iter().map(|(name, value)| (name.to_string(), json!(text(value)))).collect();
            return output::json(&json!({"headers": headers, "url": signature.url.unwrap_or(request.url)}));
        }
        if let Some(url) = signature.url {
            global.note(format!("note: it goes to {url}"));
        }
        signature.headers.iter().try_for_each(|(name, value)| output::say(format!("{name}: {}", text(value))))
    }
}
