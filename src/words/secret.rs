//! Values that refuse to be printed.

use std::collections::HashMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::words::redact;

/// A secret text. `Debug` and `Display` show `***`; the memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text itself, for the signer and for the wire only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Compares without telling by its duration where the two differ.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |all, (left, right)| std::hint::black_box(all | (left ^ right)));
    left.len() == right.len() && differing == 0
}

/// The secrets of one configuration: each name that a hook uses, with its value or why it cannot be had.
#[derive(Clone, Debug, Default)]
pub struct Secrets(HashMap<String, Result<Secret, String>>);

impl Secrets {
    /// Sets what is known of a name.
    pub fn insert(&mut self, name: impl Into<String>, value: Result<Secret, String>) {
        self.0.insert(name.into(), value);
    }

    /// The value, or why it cannot be had.
    pub fn get(&self, name: &str) -> Result<&Secret, &str> {
        match self.0.get(name) {
            Some(Ok(secret)) => Ok(secret),
            Some(Err(why)) => Err(why),
            None => Err("it was not loaded with the configuration"),
        }
    }

    /// The same names with other values, as near to the real ones as can be: what differs when it is made with these
    /// depends on a secret.
    pub fn others(&self) -> Self {
        let other = |value: &Result<Secret, String>| match value {
            Ok(secret) => Ok(other(secret.expose())),
            Err(why) => Err(why.clone()),
        };
        Self(self.0.iter().map(|(name, value)| (name.clone(), other(value))).collect())
    }

    /// Takes every known secret out of a text that is going to be kept or shown, however it is written there.
    pub fn redact(&self, text: &str) -> String {
        let known: Vec<&str> = self.0.values().flatten().map(Secret::expose).collect();
        redact(text, known)
    }
}

/// Takes these secrets, and what gives them away, out of a text that is going to be kept or shown. Receivers echo what
/// they were sent.
pub fn redact<'s>(text: &str, secrets: impl IntoIterator<Item = &'s str>) -> String {
    let all = |secret: &'s str| std::iter::once(secret.into()).chain(redact::parts(secret));
    redact::mask(text, &secrets.into_iter().flat_map(all).collect::<Vec<_>>()).into_owned()
}

/// Another secret of the same kind: a letter or digit from its middle is another one, so that a URL stays a URL and a key
/// in hex or base64 a key.
fn other(value: &str) -> Secret {
    let plain: Vec<usize> = value.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    let Some(at) = plain.get(plain.len() / 2) else { return Secret::new(format!("{value}x")) };
    let next = match value.as_bytes()[*at] {
        b'9' => '0',
        b'f' | b'z' => 'a',
        b'F' | b'Z' => 'A',
        c => char::from(c + 1),
    };
    Secret::new(format!("{}{next}{}", &value[..*at], &value[at + 1..]))
}

/// A URL as it may be shown: scheme, host and port. On chat platforms path and query are the credential.
pub fn shown_url(url: &str) -> String {
    if let Some(origin) = plain_origin(url) {
        return [origin, "/…"].concat();
    }
    match url::Url::parse(url) {
        Ok(parsed) => match parsed.host_str() {
            Some(host) => {
                let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{host}{port}/…", parsed.scheme())
            }
            None => format!("{}:…", parsed.scheme()),
        },
        Err(_) => "(not a URL)".to_owned(),
    }
}

/// Scheme, host and port of a URL that was brought into form, which nearly all were: nothing is left to parse then.
fn plain_origin(url: &str) -> Option<&str> {
    let from = ["http://", "https://"].iter().find(|scheme| url.starts_with(**scheme))?.len();
    let end = from + url[from..].find('/')?;
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b':');
    (end > from && url.as_bytes()[from..end].iter().all(|c| plain(*c))).then_some(&url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_refuses_to_be_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn another_secret_is_of_the_same_kind() {
        for (value, expected) in [
            ("00ff", "00af"),
            ("https://oapi.dingtalk.com/robot", "https://oapi.dinhtalk.com/robot"),
            ("z", "a"),
            ("应用", "应用x"),
        ] {
            assert_eq!(other(value).expose(), expected);
        }
    }

    #[test]
    fn a_url_shows_scheme_and_host() {
        assert_eq!(shown_url("https://u:p@oapi.dingtalk.com/robot/send?access_token=T"), "https://oapi.dingtalk.com/…");
        assert_eq!(shown_url("http://127.0.0.1:8471/x"), "http://127.0.0.1:8471/…");
        assert_eq!(shown_url("SECabc"), "(not a URL)");
    }
}
