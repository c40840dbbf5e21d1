//! Requests and answers as text, with the secrets taken out.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::rules::hook::Hook;
use crate::words::exchange::{Request, Response};
use crate::words::redact::{self, names_credential};
use crate::words::secret::{Secrets, shown_url};

/// Takes out what must not be shown: the secrets of one hook, and the credentials in one request of it.
pub struct Mask<'a> {
    known: Vec<Cow<'a, str>>,
}

impl<'a> Mask<'a> {
    /// For the secrets of one hook.
    pub fn new(hook: &Hook, secrets: &'a Secrets) -> Self {
        let values = hook.secrets().filter_map(|(name, _)| secrets.get(name).ok());
        Self::of(values.map(|secret| secret.expose()))
    }

    /// For the same and what a request carries: its URL is a credential, and so are some headers, wherever they are from.
    pub fn of_request(hook: &Hook, secrets: &'a Secrets, request: &'a Request) -> Self {
        let mut mask = Self::new(hook, secrets);
        mask.know(&request.url);
        for (name, value) in &request.headers {
            if names_credential(name.as_str())
                && let Ok(value) = value.to_str()
            {
                mask.know(value);
            }
        }
        mask
    }

    fn of(values: impl Iterator<Item = &'a str>) -> Self {
        let mut mask = Self { known: Vec::new() };
        values.for_each(|value| mask.know(value));
        mask
    }

    fn know(&mut self, value: &'a str) {
        self.known.push(value.into());
        self.known.extend(redact::parts(value));
    }

    /// The text without them.
    pub fn text(&self, text: &str) -> String {
        redact::mask(text, &self.known).into_owned()
    }

    /// The request without them: of the URL stays the host, for on chat platforms the rest is the password.
    pub fn request(&self, request: &Request) -> Request {
        let mut masked = request.clone();
        masked.url = shown_url(&request.url);
        for (name, value) in &mut masked.headers {
            let shown = match value.to_str() {
                _ if names_credential(name.as_str()) => "***".to_owned(),
                Ok(text) => self.text(text),
                Err(_) => continue,
            };
            *value = shown.parse().unwrap_or_else(|_| http::HeaderValue::from_static("***"));
        }
        let body = String::from_utf8_lossy(&request.body);
        if let Cow::Owned(clean) = redact::mask(&body, &self.known) {
            masked.body = clean.into();
        }
        masked
    }
}

/// The request as it goes over the wire, readable.
pub fn request(request: &Request) -> Vec<u8> {
    let mut text = format!("{} {}\n", request.method, request.url).into_bytes();
    write_headers(&mut text, &request.headers);
    write_body(&mut text, &request.body);
    text
}

/// An answer, readable.
pub fn response(response: &Response) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason());
    let mut text = format!("{} {}", response.status, reason.unwrap_or_default()).trim_end().to_owned().into_bytes();
    text.push(b'\n');
    write_headers(&mut text, &response.headers);
    write_body(&mut text, &response.body);
    if response.truncated {
        text.extend_from_slice("(cut: there was more)\n".as_bytes());
    }
    text
}

fn write_headers(text: &mut Vec<u8>, headers: &http::HeaderMap) {
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
}

fn write_body(text: &mut Vec<u8>, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    text.push(b'\n');
    text.extend_from_slice(body);
    if !body.ends_with(b"\n") {
        text.push(b'\n');
    }
}

/// A command that sends the same request.
pub fn curl(request: &Request) -> String {
    let mut command = format!("curl --globoff -X {} {}", request.method, quoted(&request.url));
    for (name, value) in &request.headers {
        // What is not ASCII is given to curl as it is.
        let value = String::from_utf8_lossy(value.as_bytes());
        // curl drops a header whose value is empty, unless it ends in a semicolon.
        let header = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        command.push_str(&format!(" \\\n  -H {}", quoted(&header)));
    }
    if request.body.is_empty() {
        return command;
    }
    if !request.headers.contains_key(http::header::CONTENT_TYPE) {
        // Without it curl would call the body a form.
        command.push_str(" \\\n  -H 'content-type:'");
    }
    match std::str::from_utf8(&request.body) {
        Ok(body) if !body.contains('\0') && !body.starts_with('@') => {
            format!("{command} \\\n  --data-binary {}", quoted(body))
        }
        _ => format!(
            "printf %s {} | base64 -d |\n{command} \\\n  --data-binary @-",
            quoted(&BASE64.encode(&request.body))
        ),
    }
}

/// One word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;

    fn sample(body: &'static [u8]) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter22"));
        headers.insert("x-note", HeaderValue::from_static("key hunter22 here"));
        Request {
            method: Method::POST,
            url: "https://chat.example.com/send?access_token=hunter22".to_owned(),
            headers,
            body: bytes::Bytes::from_static(body),
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let value = "hun\"ter/22";
        let mask = Mask::of([value, "hunter22"].into_iter());
        let shown = mask.request(&sample(br#"{"t":"hunter22","j":"hun\"ter/22","u":"hun%22ter%2F22"}"#));
        let text = String::from_utf8(request(&shown)).unwrap();
        assert_eq!(
            text,
            "POST https://chat.example.com/…\ncontent-type: application/json\nauthorization: ***\nx-note: key *** here\n\n\
             {\"t\":\"***\",\"j\":\"***\",\"u\":\"***\"}\n"
        );
    }

    #[test]
    fn a_request_is_shown_as_it_is_sent() {
        let text = String::from_utf8(request(&sample(b"{}"))).unwrap();
        assert!(text.starts_with("POST https://chat.example.com/send?access_token=hunter22\n"));
        assert!(text.ends_with("\n\n{}\n"));
    }

    #[test]
    fn curl_is_told_everything() {
        let command = curl(&sample(b"{\"a\":\"it's\"}"));
        assert!(command.starts_with("curl --globoff -X POST 'https://chat.example.com/send?access_token=hunter22'"));
        assert!(command.contains("-H 'authorization: Bearer hunter22'"));
        assert!(command.ends_with(r#"--data-binary '{"a":"it'\''s"}'"#), "{command}");
        assert!(curl(&sample(b"\xff\x00")).starts_with("printf %s '/wA=' | base64 -d |\ncurl"));
        assert!(curl(&sample(b"@/etc/passwd")).starts_with("printf"));
        let mut bare = sample(b"x");
        bare.headers.clear();
        assert!(curl(&bare).contains("-H 'content-type:'"));
        assert!(!curl(&sample(b"")).contains("--data"));
    }

    #[test]
    fn the_shell_reads_what_was_meant() {
        let text = "it's $HOME `id` \\ \"x\"\n!";
        let output =
            std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(text))).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
    }
}
