//! Questions and orders to a running daemon, over its admin socket.

use std::path::PathBuf;

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use serde_json::Value as Json;

use crate::cli::Global;
use crate::cli::exit::{Code, Exit, code_of_refusal};
use crate::edges::client::{Client, Lines};

/// What stands for itself in a path is left readable.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The daemon at the other end of the admin socket.
pub(crate) struct Daemon {
    client: Client,
}

impl Daemon {
    /// The daemon that this command is for. Nothing is asked yet.
    pub(crate) fn of(global: &Global) -> Self {
        Self { client: Client::new(global.admin_socket()) }
    }

    /// The daemon whose admin socket this is.
    pub(crate) fn at(admin: PathBuf) -> Self {
        Self { client: Client::new(admin) }
    }

    /// Asks for one object.
    pub(crate) async fn get(&self, path: &str) -> Result<Json, Exit> {
        self.find(path).await?.ok_or_else(|| {
            Exit::new(Code::Failed, "the daemon does not know this question").help("is it older than this program?")
        })
    }

    /// Asks for one object that may not exist.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Json>, Exit> {
        match self.client.request(Method::GET, path, None).await? {
            (404, _) => Ok(None),
            (status, body) if status >= 400 => Err(refused(status, &body)),
            (_, body) => object(&body).map(Some),
        }
    }

    /// Asks for rows, one object per line.
    pub(crate) async fn rows(&self, path: &str) -> Result<Vec<Json>, Exit> {
        match self.client.request(Method::GET, path, None).await? {
            (status, body) if status >= 400 => Err(refused(status, &body)),
            (_, body) => body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(object).collect(),
        }
    }

    /// Gives an order.
    pub(crate) async fn post(&self, path: &str, body: &Json) -> Result<Json, Exit> {
        self.post_bytes(path, body.to_string().into_bytes()).await.map(|(_, answer)| answer)
    }

    /// Gives an order that is JSON already. A 422 is an answer too: done, with problems.
    pub(crate) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<(u16, Json), Exit> {
        match self.client.request(Method::POST, path, Some(body)).await? {
            (422, body) if object(&body).is_ok_and(|answer| answer["error"].is_null()) => Ok((422, object(&body)?)),
            (status, body) if status >= 400 => Err(refused(status, &body)),
            (status, body) => object(&body).map(|answer| (status, answer)),
        }
    }

    /// Listens.
    pub(crate) async fn stream(&self, path: &str) -> Result<Lines, Exit> {
        listen(self.client.stream(path).await?).await
    }

    /// Gives an order and listens to what comes of it.
    pub(crate) async fn follow(&self, path: &str, order: &Json) -> Result<Lines, Exit> {
        listen(self.client.follow(path, order.to_string().into_bytes()).await?).await
    }
}

async fn listen((status, mut lines): (u16, Lines)) -> Result<Lines, Exit> {
    match status {
        200 => Ok(lines),
        _ => {
            let body = lines.next_line().await?.unwrap_or_default();
            Err(refused(status, body.as_bytes()))
        }
    }
}

/// A path with the parts of its query that are set.
pub(crate) fn with_query(path: &str, query: &[(&str, Option<String>)]) -> String {
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in query {
        if let Some(value) = value {
            encoded.append_pair(key, value);
        }
    }
    match encoded.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// A path that ends in a name which somebody typed.
pub(crate) fn with_name(path: &str, name: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(name, RESERVED);
    format!("{path}/{name}")
}

/// The end of a command whose request was refused.
pub(crate) fn refused(status: u16, body: &[u8]) -> Exit {
    let answer: Json = serde_json::from_slice(body).unwrap_or_default();
    let (word, message) = match &answer["error"] {
        // Refusals over HTTP may also come as problem+json.
        Json::Null => (&answer["code"], [&answer["detail"], &answer["title"]].into_iter().find_map(Json::as_str)),
        error => (&error["code"], error["message"].as_str()),
    };
    let message = message.map_or_else(|| format!("the daemon answered {status} without saying why"), ToOwned::to_owned);
    let exit = Exit::new(code_of_refusal(word.as_str().unwrap_or_default(), status), message);
    match answer["error"]["help"].as_str().filter(|help| !help.is_empty()) {
        Some(help) => exit.help(help),
        None => exit,
    }
}

fn object(body: &[u8]) -> Result<Json, Exit> {
    serde_json::from_slice(body).map_err(|_| {
        Exit::new(Code::Failed, "the daemon's answer is cut or is not JSON").help("see `journalctl -u postrider`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_hold_what_is_set_and_encoded() {
        assert_eq!(with_query("/v1/log", &[("hook", None), ("limit", None)]), "/v1/log");
        let query = with_query("/v1/log", &[("hook", Some("a b&c".into())), ("x", None), ("limit", Some("20".into()))]);
        assert_eq!(query, "/v1/log?hook=a+b%26c&limit=20");
        assert_eq!(with_name("/v1/events", "a/b ?"), "/v1/events/a%2Fb%20%3F");
        assert_eq!(with_name("/v1/deliveries", "4f2a-1042"), "/v1/deliveries/4f2a-1042");
    }

    #[test]
    fn refusals_are_understood_in_both_forms() {
        for (status, body, code, message) in [
            (400, r#"{"error":{"code":"bad_event","message":"no type"}}"#, Code::BadEvent, "no type"),
            (429, r#"{"error":{"code":"busy","message":"the queue is full"}}"#, Code::TryAgain, "the queue is full"),
            (507, r#"{"title":"Storage","detail":"the disk is full"}"#, Code::TryAgain, "the disk is full"),
            (404, r#"{"error":{"code":"not_found","message":"no hook x"}}"#, Code::Failed, "no hook x"),
            (500, "oops", Code::Failed, "the daemon answered 500 without saying why"),
        ] {
            let exit = refused(status, body.as_bytes());
            assert_eq!((exit.code(), exit.message()), (code, Some(message)));
        }
    }
}
