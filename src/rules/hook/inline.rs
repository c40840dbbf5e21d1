//! Secrets that stand in a hook file itself instead of in a file of their own.

use crate::rules::diagnostic::{Place, Source};
use crate::rules::manifest::Kind;
use crate::rules::platform::Platform;
use crate::rules::yaml::reader::Map;
use crate::rules::yaml::{Node, Value};

/// Headers that carry a secret, and parts of the names of others.
const HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
const HEADER_PARTS: [&str; 4] = ["token", "secret", "api-key", "apikey"];
/// Parameters of a URL that carry one.
const PARAMETERS: [&str; 9] =
    ["access_token", "token", "key", "secret", "api_key", "apikey", "password", "sign", "signature"];
/// Paths whose rest is one: Lark's and Slack's robots.
const PATHS: [&str; 2] = ["/bot/v2/hook/", "hooks.slack.com/services/"];

/// Where the first one stands. The place does not show it.
pub(super) fn secret(source: &Source, options: &Map<'_>, platform: &Platform) -> Option<Place> {
    let found = options.entries.iter().find_map(|(key, node)| {
        let kind = &platform.manifest.option(&key.name)?.kind;
        match (kind, &node.value) {
            // A list of them: robots that take turns.
            (Kind::Secret, Value::List(nodes)) => nodes.iter().find(|node| literal(node).is_some()),
            (Kind::Url, Value::List(nodes)) => nodes.iter().find(|node| literal(node).is_some_and(url_holds_secret)),
            (Kind::Secret, _) => literal(node).map(|_| node),
            (Kind::Url, _) => literal(node).filter(|url| url_holds_secret(url)).map(|_| node),
            (Kind::Headers, Value::Map(headers)) => {
                let secret =
                    headers.iter().find(|(name, value)| header_is_secret(&name.name) && literal(value).is_some());
                secret.map(|(_, value)| value)
            }
            _ => None,
        }
    });
    found.map(|node| source.place(node.span).masked())
}

/// A text without templates.
fn literal(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) if !text.is_empty() && !text.contains("{{") => Some(text),
        _ => None,
    }
}

fn header_is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HEADERS.contains(&name.as_str()) || HEADER_PARTS.iter().any(|part| name.contains(part))
}

fn url_holds_secret(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let has_parameter = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) && !value.is_empty()
    };
    url.password().is_some()
        || url.query_pairs().any(has_parameter)
        || PATHS.iter().any(|path| text.split_once(path).is_some_and(|(_, rest)| !rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use crate::rules::diagnostic::Source;
    use crate::rules::hook::Hook;
    use crate::rules::platform::Platforms;
    use crate::rules::settings::Defaults;

    fn found(platform: &str, options: &str) -> Option<(usize, String)> {
        let text = format!("events: t\nplatform: {platform}\noptions:\n  {options}\n");
        let source = Source::new("hook.yaml", text.as_str());
        let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
        let place = hook.unwrap_or_else(|| panic!("{text}: {found:?}")).inline_secret?;
        Some((place.line, place.text))
    }

    #[test]
    fn secrets_in_the_file_are_found_and_not_shown() {
        for (platform, options) in [
            ("dingtalk", "url: {secret: robot}\n  secret: SEChunter22"),
            ("dingtalk", "url: https://oapi.dingtalk.com/robot/send?access_token=hunter22"),
            ("wecom", "url: https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter22"),
            ("lark", "url: https://open.feishu.cn/open-apis/bot/v2/hook/hunter22"),
            ("dingtalk", "url: [{secret: a}, \"https://oapi.dingtalk.com/robot/send?access_token=hunter22\"]"),
            ("telegram", "chat: '1'\n  token: [{secret: a}, hunter22]"),
            ("webhook", "url: https://me:hunter22@h.example/"),
            ("webhook", "url: https://h.example/\n  headers: {X-A: b, Authorization: Bearer hunter22}"),
            ("webhook", "url: https://h.example/\n  headers: {X-Gitlab-Token: hunter22}"),
        ] {
            let (line, text) = found(platform, options).unwrap_or_else(|| panic!("{options}"));
            assert!(line >= 4 && text.ends_with("***") && !text.contains("hunter22"), "{text}");
        }
        for (platform, options) in [
            ("dingtalk", "url: {secret: robot}\n  secret: {secret: sign}"),
            ("webhook", "url: https://h.example/x?v=1&key="),
            (
                "webhook",
                "url: https://h.example/\n  headers: {Authorization: \"Bearer {{ secret('t') }}\", X-A: {secret: a}}",
            ),
        ] {
            assert_eq!(found(platform, options), None, "{options}");
        }
    }
}
