//! `new --from URL`: the platform and its options out of a URL that another notifier uses.

use crate::cli::exit::{Code, Exit};
use crate::cli::new::draft::Answer;
use crate::cli::{ask, local};
use crate::rules::apprise::{self, Setting};
use crate::rules::diagnostic::Diagnostic;

/// What the URL says.
#[derive(Default)]
pub(super) struct From {
    pub(super) platform: Option<&'static str>,
    pub(super) answers: Vec<(String, Answer)>,
    pub(super) lost: Vec<String>,
}

/// Reads the argument; `-` asks for the URL, so that it never is an argument.
pub(super) fn read(argument: &str) -> Result<From, Exit> {
    let asked = if argument == "-" { Some(ask::secret("the URL")?) } else { None };
    let url = asked.as_ref().map_or(argument, |secret| secret.expose());
    let found = apprise::read(url).map_err(|problem| {
        local::say(&problem);
        Exit::silent(Code::Usage)
    })?;
    let answer = |setting| match setting {
        Setting::Value(value) => Answer::Given(value),
        Setting::Secret(value) => Answer::Secret(value),
        Setting::Headers(headers) => Answer::Headers(headers),
    };
    let answers = found.options.into_iter().map(|(option, setting)| (option.to_owned(), answer(setting)));
    Ok(From { platform: Some(found.platform), answers: answers.collect(), lost: found.lost })
}

/// Says what the hook does without.
pub(super) fn say_lost(lost: &[String]) {
    if !lost.is_empty() {
        let what = format!("not taken over from the URL: {}", lost.join("; "));
        local::say(&Diagnostic::warning("not-carried-over", what).help("say it in the hook file where you need it"));
    }
}
