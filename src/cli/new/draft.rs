//! A hook that is being written: what its options are set to, its file, and the files of its secrets.

use std::sync::Arc;

use crate::cli::new::text;
use crate::rules::apprise;
use crate::rules::diagnostic::{Diagnostic, Source};
use crate::rules::manifest::{Kind, OptionSpec, resolve_message};
use crate::rules::platform::Platform;
use crate::rules::template::Tree;
use crate::rules::yaml::{self, Value as Yaml};
use crate::words::json::Exact;
use crate::words::secret::Secret;

/// What an option is set to.
#[derive(Debug)]
pub(super) enum Answer {
    Given(Exact),
    /// It is kept in a file of its own.
    Secret(Secret),
    /// The key of a signature.
    Key(Secret),
    /// Headers whose values are kept in files of their own.
    Headers(Vec<(String, Secret)>),
    /// Something that can be said of every event.
    Example,
}

/// A hook that is being written.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) platform: Arc<Platform>,
    pub(super) events: Vec<String>,
    pub(super) answers: Vec<(String, Answer)>,
}

impl Draft {
    /// The whole file.
    pub(super) fn text(&self) -> String {
        text::hook(&self.name, &self.platform, &self.events, |option| {
            self.answer(&option.name).map(|answer| answer.text(&self.name, &option.name))
        })
    }

    /// The secrets, by the names of their files.
    pub(super) fn secrets(&self) -> Vec<(String, &Secret)> {
        self.answers.iter().flat_map(|(option, answer)| answer.secrets(&self.name, option)).collect()
    }

    pub(super) fn answer(&self, option: &str) -> Option<&Answer> {
        self.answers.iter().find(|(name, _)| name == option).map(|(_, answer)| answer)
    }
}

impl Answer {
    fn text(&self, hook: &str, option: &str) -> String {
        match self {
            Self::Given(value) => text::flow(value),
            Self::Secret(_) => format!("{{secret: {hook}-{option}}}"),
            Self::Key(_) => format!("{{preset: standard-webhooks, key: {{secret: {hook}-{option}}}}}"),
            Self::Headers(headers) => {
                let one = |(name, _): &(String, Secret)| {
                    format!("{}: {{secret: {}}}", text::quoted(name), secret_of_header(hook, name))
                };
                format!("{{{}}}", headers.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Self::Example => text::EXAMPLE.to_owned(),
        }
    }

    fn secrets(&self, hook: &str, option: &str) -> Vec<(String, &Secret)> {
        match self {
            Self::Secret(value) | Self::Key(value) => vec![(format!("{hook}-{option}"), value)],
            Self::Headers(headers) => {
                headers.iter().map(|(name, value)| (secret_of_header(hook, name), value)).collect()
            }
            Self::Given(_) | Self::Example => Vec::new(),
        }
    }
}

fn secret_of_header(hook: &str, name: &str) -> String {
    format!("{hook}-{}", name.to_ascii_lowercase())
}

/// Whether an option holds what only the receiver and its senders may know. A robot's URL lets everybody write who knows
/// it; the URL of a plain webhook, or of a server whose key is another option, is not special.
pub(super) fn is_secret(platform: &Platform, option: &OptionSpec) -> bool {
    let options = &platform.manifest.options;
    match option.kind {
        Kind::Secret => true,
        Kind::Url if !option.required || platform.name == "webhook" => false,
        Kind::Url => !options.iter().any(|other| other.required && matches!(other.kind, Kind::Secret | Kind::Sign)),
        _ => false,
    }
}

/// What is wrong with an answer, as far as the option's kind says.
pub(super) fn objection(platform: &Platform, option: &OptionSpec, answer: &Answer) -> Option<Diagnostic> {
    if let (Kind::Url, Answer::Secret(value)) = (&option.kind, answer) {
        if let Some(other) = apprise::platform_of(value.expose()).filter(|other| *other != platform.name) {
            return Some(
                Diagnostic::error("url", format!("this is a URL of the platform {other}"))
                    .help(format!("paste the one of {}, or begin again with {other}", platform.name)),
            );
        }
        let url = url::Url::parse(value.expose()).ok();
        let good = url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        return (!good).then(|| {
            Diagnostic::error("url", "this is no URL such as https://HOST/PATH").help("paste the whole of it")
        });
    }
    let source = Source::new("answer", format!("{}: {}\n", option.name, answer.text("answer", &option.name)));
    let root = match yaml::parse(&source) {
        Ok(root) => root,
        Err(found) => return Some(found),
    };
    let Yaml::Map(entries) = &root.value else { return None };
    let kind = resolve_message(&option.kind, false, None);
    match Tree::compile(&source, &entries.first()?.1, &kind) {
        Err(errors) => errors.into_iter().next(),
        Ok(tree) => {
            let wrong = answer.secrets("answer", &option.name).into_iter();
            let mut wrong = wrong.filter_map(|(name, value)| tree.try_key(&name, value).err());
            wrong.next().map(|why| Diagnostic::error("option", format!("this cannot be the key of a signature: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::platform::Platforms;

    #[test]
    fn answers_are_judged_by_their_kind() {
        let platforms = Platforms::built_in();
        let text = |text: &str| Answer::Given(Exact::String(text.to_owned()));
        let secret = |text: &str| Answer::Secret(Secret::new(text));
        for (platform, name, answer, reason) in [
            ("dingtalk", "url", secret("https://h.example/robot"), None),
            ("dingtalk", "url", secret("SECabc"), Some("no URL")),
            ("dingtalk", "url", secret("https://hooks.slack.com/services/T/B/x"), Some("of the platform slack")),
            ("webhook", "url", text("https://h.example/{{ data.x }}"), None),
            ("webhook", "url", text("https://{{ data.x }}/"), Some("may not choose")),
            ("dingtalk", "message", text("{{ nope("), Some("cannot be read")),
            ("gotify", "priority", text("high"), Some("whole number")),
            ("standard-webhooks", "sign", Answer::Key(Secret::new("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtMQ==")), None),
            ("standard-webhooks", "sign", Answer::Key(Secret::new("whsec_ä")), Some("key")),
        ] {
            let platform = &platforms.0[platform];
            let said = objection(platform, platform.manifest.option(name).unwrap(), &answer).map(|found| found.what);
            match reason {
                None => assert_eq!(said, None, "{name} {answer:?}"),
                Some(reason) => assert!(said.as_ref().is_some_and(|said| said.contains(reason)), "{said:?} {answer:?}"),
            }
        }
    }

    #[test]
    fn urls_that_are_credentials_are_secrets() {
        let platforms = Platforms::built_in();
        let secret = |platform: &str| {
            let platform = &platforms.0[platform];
            is_secret(platform, platform.manifest.option("url").unwrap())
        };
        for robot in ["dingtalk", "wecom", "lark", "slack", "discord", "teams", "mattermost", "google-chat"] {
            assert!(secret(robot), "{robot}");
        }
        for server in ["webhook", "gotify", "bark", "ntfy", "telegram", "pagerduty", "standard-webhooks", "pushpushgo"]
        {
            assert!(!secret(server), "{server}");
        }
    }
}
