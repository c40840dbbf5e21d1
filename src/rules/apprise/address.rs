//! A URL in its pieces. Apprise's are no URLs by the letter: a token with capitals stands where a host would, a channel
//! with `#` in the path, and arguments are marked by the character in front of their name.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What needs no encoding in a piece of a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Its pieces, decoded.
#[derive(Default)]
pub(super) struct Address {
    pub(super) scheme: String,
    /// Host and port, or whatever stands there.
    pub(super) authority: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The pieces of the path that are not empty.
    pub(super) path: Vec<String>,
    pub(super) arguments: Vec<Argument>,
}

/// One of `?name=value&+name=value`.
pub(super) struct Argument {
    /// `+`, `-` or `:` in front of its name.
    pub(super) mark: Option<char>,
    pub(super) name: String,
    pub(super) value: String,
}

impl Address {
    pub(super) fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_scheme = scheme.len() <= 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if scheme.is_empty() || !is_scheme || rest.contains(char::is_control) {
            return None;
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (filled(decoded(user)), filled(decoded(password))),
            None => (None, None),
        };
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            authority: decoded(host),
            user,
            password,
            path: path.split('/').filter(|piece| !piece.is_empty()).map(decoded).collect(),
            arguments: query.split('&').filter(|one| !one.is_empty()).map(Argument::read).collect(),
        })
    }

    /// The value of an argument, which is then done with.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.arguments.iter().position(|one| one.mark.is_none() && one.name.eq_ignore_ascii_case(name))?;
        filled(self.arguments.remove(at).value)
    }

    /// All arguments with this mark.
    pub(super) fn marked(&mut self, mark: char) -> Vec<(String, String)> {
        let (marked, others) = std::mem::take(&mut self.arguments).into_iter().partition(|one| one.mark == Some(mark));
        self.arguments = others;
        let marked: Vec<Argument> = marked;
        marked.into_iter().map(|one| (one.name, one.value)).collect()
    }

    /// The next piece of the path.
    pub(super) fn next(&mut self) -> Option<String> {
        (!self.path.is_empty()).then(|| self.path.remove(0))
    }

    /// The rest of the path, and what an argument lists.
    pub(super) fn targets(&mut self) -> Vec<String> {
        let mut targets = std::mem::take(&mut self.path);
        let to = self.take("to").unwrap_or_default();
        targets.extend(to.split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned));
        targets
    }

    /// The host in small letters, without its port.
    pub(super) fn host(&self) -> String {
        self.authority.split(':').next().unwrap_or_default().to_ascii_lowercase()
    }

    /// `https://HOST:PORT`, with the login if there is one; `secure` is the scheme that stands for https.
    pub(super) fn server(&self, secure: &str) -> Result<String, &'static str> {
        let scheme = if self.scheme == secure { "https" } else { "http" };
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => format!("{}:{}@", encoded(user), encoded(password)),
            _ => String::new(),
        };
        let server = format!("{scheme}://{login}{}", self.authority);
        let good = url::Url::parse(&server).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        if good && !self.authority.is_empty() { Ok(server) } else { Err("there is no host in this URL") }
    }
}

impl Argument {
    fn read(text: &str) -> Self {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let name = decoded(name);
        let mark = name.chars().next().filter(|first| matches!(first, '+' | '-' | ':'));
        let name = name[mark.map_or(0, char::len_utf8)..].to_owned();
        Self { mark, name, value: decoded(&value.replace('+', " ")) }
    }
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
