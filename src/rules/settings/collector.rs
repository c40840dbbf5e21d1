//! `traces:` in the main file.

use http::HeaderName;
use url::Url;

use crate::rules::diagnostic::Diagnostic;
use crate::rules::yaml::Node;
use crate::rules::yaml::reader::{Map, Reader};
use crate::words::keys;

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// The whole URL.
    pub endpoint: String,
    /// The name of the secret that the collector asks for.
    pub token: Option<String>,
    /// The header that carries it as it is; without, it is a bearer token.
    pub token_header: Option<HeaderName>,
}

const PATH: &str = "v1/traces";

impl Collector {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        let map = reader.map("traces", node, "{endpoint: \"http://127.0.0.1:4318\"}")?;
        reader.only_or(&map, &keys::TRACES.names(), &[("url", "endpoint"), ("headers", "token_header")]);
        let token = map.get("token").and_then(|node| reader.secret("token", node)).map(str::to_owned);
        let token_header = map.get("token_header").and_then(|node| header(reader, &map, node));
        if let Some(key) = map.key("token_header").filter(|_| map.get("token").is_none()) {
            let what = "`traces.token_header` names a header, and nothing says what stands in it";
            reader.error(key.span, "missing-key", what, "add token: {secret: NAME}, or remove the line");
        }
        let Some(endpoint) = map.get("endpoint") else {
            let what = "`traces` does not say where they go";
            reader.error(node.span, "missing-key", what, "add endpoint: \"http://127.0.0.1:4318\"");
            return None;
        };
        Some(Self { endpoint: url(reader, endpoint)?, token, token_header })
    }
}

fn header(reader: &mut Reader<'_>, map: &Map<'_>, node: &Node) -> Option<HeaderName> {
    let name = map.path("token_header");
    let text = reader.text(&name, node)?;
    let read = text.parse().ok();
    if read.is_none() {
        let what = format!("`{name}` cannot be the name of a header: {text:?}");
        reader.error(node.span, "header", what, "write for example X-Api-Key");
    }
    read
}

/// The URL that spans are posted to. What is given is its beginning, as `OTEL_EXPORTER_OTLP_ENDPOINT` is.
fn url(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let (name, help) = ("traces.endpoint", "write for example http://127.0.0.1:4318");
    let text = reader.text(name, node)?;
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => {
            reader.error(node.span, "url", format!("`{name}` is no URL"), help);
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let help = "take it out, put `Basic …` into secrets.d/NAME, and add token: {secret: NAME} and \
                    token_header: Authorization";
        let found = Diagnostic::error("url", format!("a password stands in `{name}`")).help(help);
        reader.found.push(found.at(reader.source.place(node.span).masked()));
        return None;
    }
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(PATH) {
        url.set_path(&format!("{path}/{PATH}"));
    }
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use crate::rules::diagnostic::Source;
    use crate::rules::settings::Settings;
    use crate::rules::source::SourceScripts;

    #[test]
    fn the_endpoint_is_the_beginning_of_a_url() {
        for (given, whole) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
            ("https://otlp.example.com/otlp", "https://otlp.example.com/otlp/v1/traces"),
            ("https://otlp.example.com/otlp/?tenant=a#x", "https://otlp.example.com/otlp/v1/traces?tenant=a"),
        ] {
            let text = format!("traces: {{endpoint: \"{given}\", token: {{secret: k}}, token_header: X-Key}}\n");
            let read = Settings::parse(&Source::new("postrider.yaml", text), &SourceScripts::built_in());
            let collector = read.expect("it is sound").0.traces.expect("a collector");
            assert_eq!(collector.endpoint, whole, "{given}");
            assert_eq!(collector.token.as_deref(), Some("k"));
            assert_eq!(collector.token_header.as_ref().map(|name| name.as_str()), Some("x-key"));
        }
    }
}
