//! One form for each scheme: where a URL has what the platform asks for.

use super::address::{Address, encoded};
use super::{Found, Setting, literal, map, template};
use crate::words::json::{Exact, Members};
use crate::words::secret::Secret;

/// How URLs of some schemes are written.
pub(super) struct Form {
    pub(super) schemes: &'static [&'static str],
    pub(super) platform: &'static str,
    /// For people.
    pub(super) shape: &'static str,
    /// Reads what stands before the `?`, or says what is missing.
    pub(super) read: fn(&mut Address, &mut Found) -> Result<(), &'static str>,
    /// Their arguments, our options.
    pub(super) arguments: &'static [(&'static str, &'static str, As)],
}

/// How the value of an argument is read.
#[derive(Clone, Copy)]
pub(super) enum As {
    Text,
    Url,
    List,
    Integer,
    Yes,
    /// Their words, ours.
    Word(&'static [(&'static str, &'static str)]),
    /// Their words, our numbers; or a number.
    Level(&'static [(&'static str, i64)]),
}

const OVERFLOW: (&str, &str, As) = ("overflow", "overflow", As::Word(&[("split", "split"), ("truncate", "truncate")]));
const MARKDOWN: (&str, &str, As) = ("format", "type", As::Word(&[("markdown", "markdown"), ("text", "text")]));

pub(super) const FORMS: [Form; 17] = [
    Form {
        schemes: &["dingtalk"],
        platform: "dingtalk",
        shape: "dingtalk://[SECRET@]TOKEN[/PHONE…]",
        read: dingtalk,
        arguments: &[OVERFLOW],
    },
    Form { schemes: &["wecombot"], platform: "wecom", shape: "wecombot://KEY", read: wecom, arguments: &[OVERFLOW] },
    Form {
        schemes: &["lark", "feishu"],
        platform: "lark",
        shape: "lark://TOKEN, or feishu://TOKEN",
        read: lark,
        arguments: &[OVERFLOW],
    },
    Form {
        schemes: &["slack"], platform: "slack", shape: "slack://T…/B…/TOKEN", read: slack, arguments: &[OVERFLOW]
    },
    Form {
        schemes: &["discord"],
        platform: "discord",
        shape: "discord://[NAME@]ID/TOKEN",
        read: discord,
        arguments: &[OVERFLOW, ("avatar_url", "avatar", As::Url), ("thread", "thread_id", As::Text)],
    },
    Form {
        schemes: &["tgram"],
        platform: "telegram",
        shape: "tgram://TOKEN/CHAT, as in tgram://123456:ABC-…/-1001234/",
        read: telegram,
        arguments: &[
            OVERFLOW,
            ("silent", "silent", As::Yes),
            ("preview", "previews", As::Yes),
            ("topic", "topic", As::Integer),
            ("thread", "topic", As::Integer),
            ("format", "type", As::Word(&[("html", "html"), ("markdown", "markdownv2"), ("text", "text")])),
        ],
    },
    Form {
        schemes: &["workflows", "workflow"],
        platform: "teams",
        shape: "workflows://HOST:PORT/WORKFLOW/SIGNATURE",
        read: workflow,
        arguments: &[OVERFLOW],
    },
    Form {
        schemes: &["msteams"],
        platform: "teams",
        shape: "workflows://HOST:PORT/WORKFLOW/SIGNATURE",
        read: |_, _| Err("Teams has ended the connectors that msteams:// is for: make a workflow in the channel"),
        arguments: &[],
    },
    Form {
        schemes: &["mmosts", "mmost"],
        platform: "mattermost",
        shape: "mmosts://[NAME@]HOST[:PORT][/PATH]/KEY",
        read: mattermost,
        arguments: &[OVERFLOW, ("icon_url", "icon", As::Url)],
    },
    Form {
        schemes: &["gchat"],
        platform: "google-chat",
        shape: "gchat://SPACE/KEY/TOKEN[/THREAD]",
        read: google_chat,
        arguments: &[OVERFLOW, ("thread", "thread_key", As::Text)],
    },
    Form {
        schemes: &["ntfys", "ntfy"],
        platform: "ntfy",
        shape: "ntfys://[TOKEN@]HOST/TOPIC, or ntfy://TOPIC",
        read: ntfy,
        arguments: &[
            OVERFLOW,
            MARKDOWN,
            (
                "priority",
                "priority",
                As::Level(&[("min", 1), ("low", 2), ("default", 3), ("normal", 3), ("high", 4), ("max", 5)]),
            ),
            ("tags", "tags", As::List),
            ("click", "link", As::Url),
            ("avatar_url", "icon", As::Url),
            ("icon", "icon", As::Url),
            ("delay", "delay", As::Text),
        ],
    },
    Form {
        schemes: &["gotifys", "gotify"],
        platform: "gotify",
        shape: "gotifys://HOST[:PORT][/PATH]/TOKEN",
        read: gotify,
        arguments: &[
            MARKDOWN,
            (
                "priority",
                "priority",
                As::Level(&[("low", 0), ("moderate", 3), ("normal", 5), ("high", 8), ("emergency", 10)]),
            ),
        ],
    },
    Form {
        schemes: &["barks", "bark"],
        platform: "bark",
        shape: "barks://HOST/KEY[/KEY…]",
        read: bark,
        arguments: &[
            ("sound", "sound", As::Text),
            (
                "level",
                "level",
                As::Word(&[
                    ("active", "active"),
                    ("timesensitive", "timeSensitive"),
                    ("passive", "passive"),
                    ("critical", "critical"),
                ]),
            ),
            ("group", "group", As::Text),
            ("badge", "badge", As::Integer),
            ("icon", "icon", As::Url),
            ("click", "link", As::Url),
            ("copy", "copy", As::Text),
            ("call", "rings", As::Yes),
        ],
    },
    Form {
        schemes: &["pagerduty"],
        platform: "pagerduty",
        shape: "pagerduty://INTEGRATIONKEY@APIKEY[/SOURCE[/COMPONENT]]",
        read: pagerduty,
        arguments: &[
            ("group", "group", As::Text),
            ("class", "kind", As::Text),
            ("click", "client_url", As::Url),
            (
                "severity",
                "severity",
                As::Word(&[("critical", "critical"), ("error", "error"), ("warning", "warning"), ("info", "info")]),
            ),
        ],
    },
    Form {
        schemes: &["jsons", "json"],
        platform: "webhook",
        shape: "jsons://[USER:PASSWORD@]HOST[:PORT][/PATH]",
        read: |address, found| {
            let body = body(address, [("attachments", Exact::List(Vec::new()))]);
            found.set("json", Setting::Value(body));
            plain(address, found, "jsons")
        },
        arguments: &[],
    },
    Form {
        schemes: &["forms", "form"],
        platform: "webhook",
        shape: "forms://[USER:PASSWORD@]HOST[:PORT][/PATH]",
        read: |address, found| {
            let body = body(address, []);
            found.set("form", Setting::Value(body));
            plain(address, found, "forms")
        },
        arguments: &[],
    },
    Form {
        schemes: &["xmls", "xml"],
        platform: "webhook",
        shape: "xmls://[USER:PASSWORD@]HOST[:PORT][/PATH]",
        read: |address, found| {
            found.set("xml", Setting::Value(envelope()));
            plain(address, found, "xmls")
        },
        arguments: &[],
    },
];

/// The one thing that the whole place of a URL is.
fn token(address: &mut Address, argument: &str) -> Result<String, &'static str> {
    let given = address.take(argument);
    let token = given.or_else(|| (!address.authority.is_empty()).then(|| std::mem::take(&mut address.authority)));
    token.ok_or("there is no token in this URL")
}

fn dingtalk(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let token = token(address, "token")?;
    found.secret("url", &format!("https://oapi.dingtalk.com/robot/send?access_token={}", encoded(&token)));
    if let Some(secret) = address.take("secret").or_else(|| address.user.take()) {
        found.secret("secret", &secret);
    }
    let phones = address.targets();
    found.list("mention", phones);
    Ok(())
}

fn wecom(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let key = token(address, "key")?;
    found.secret("url", &format!("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={}", encoded(&key)));
    Ok(())
}

fn lark(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let host = if address.scheme == "feishu" { "open.feishu.cn" } else { "open.larksuite.com" };
    let token = token(address, "token")?;
    found.secret("url", &format!("https://{host}/open-apis/bot/v2/hook/{}", encoded(&token)));
    Ok(())
}

fn slack(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    if address.authority.starts_with("xox") {
        return Err("this is the token of a bot: postrider writes to incoming webhooks");
    }
    let pieces = (token(address, "token")?, address.next(), address.next());
    let (a, Some(b), Some(c)) = pieces else { return Err("an incoming webhook of Slack has three tokens") };
    found.secret("url", &format!("https://hooks.slack.com/services/{}/{}/{}", encoded(&a), encoded(&b), encoded(&c)));
    if address.user.is_some() {
        found.lose("the name of the bot, which Slack takes from the app");
    }
    if !address.targets().is_empty() {
        found.lose("the channel, which Slack takes from the webhook");
    }
    Ok(())
}

fn discord(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let (id, Some(token)) = (token(address, "id")?, address.next()) else {
        return Err("a webhook of Discord has an id and a token");
    };
    found.secret("url", &format!("https://discord.com/api/webhooks/{}/{}", encoded(&id), encoded(&token)));
    if let Some(name) = address.user.take() {
        found.text("username", &name);
    }
    Ok(())
}

fn telegram(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let token = token(address, "token")?;
    let token = token.strip_prefix("bot").unwrap_or(&token);
    let is_token = token
        .split_once(':')
        .is_some_and(|(id, key)| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && !key.is_empty());
    if !is_token {
        return Err("there is no token of a bot in this URL, such as 123456:ABC-…");
    }
    found.secret("token", token);
    let chats = address.targets();
    let chat = found.only(chats, "chats").ok_or("there is no chat in this URL")?;
    match chat.split_once(':') {
        Some((chat, topic)) if topic.parse::<i64>().is_ok() => {
            found.text("chat", chat);
            found.set("topic", As::Integer.read(topic.to_owned()).ok_or("the topic is no number")?);
        }
        _ => found.text("chat", &chat),
    }
    Ok(())
}

fn workflow(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let id = address.take("id").or_else(|| address.next()).ok_or("there is no workflow in this URL")?;
    let signature = address.take("signature").or_else(|| address.next()).ok_or("there is no signature in this URL")?;
    let version = address.take("ver").or_else(|| address.take("api-version"));
    let automate = ["pa", "powerautomate"].iter().filter_map(|name| address.take(name)).next();
    let automate = automate.is_some_and(|text| matches!(text.as_str(), "yes" | "true" | "1"));
    let place = if automate { "powerautomate/automations/direct/workflows" } else { "workflows" };
    let version = version.unwrap_or_else(|| if automate { "1".to_owned() } else { "2016-06-01".to_owned() });
    address.user = None;
    let scheme = address.scheme.clone();
    let url = format!(
        "{}/{place}/{}/triggers/manual/paths/invoke?api-version={}&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={}",
        address.server(&scheme)?,
        encoded(&id),
        encoded(&version),
        encoded(&signature),
    );
    found.secret("url", &url);
    Ok(())
}

fn mattermost(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let key = address.path.pop().ok_or("there is no key in this URL")?;
    address.path.retain(|piece| piece != "hooks");
    if let Some(name) = address.user.take() {
        found.text("username", &name);
    }
    let path: String = address.path.drain(..).map(|piece| format!("/{}", encoded(&piece))).collect();
    found.secret("url", &format!("{}{path}/hooks/{}", address.server("mmosts")?, encoded(&key)));
    let named = ["channel", "channels"].iter().filter_map(|name| address.take(name)).collect::<Vec<_>>().join(",");
    let mut channels: Vec<String> = named.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    channels.extend(address.targets());
    if let Some(channel) = found.only(channels, "channels") {
        found.text("channel", channel.trim_start_matches('#'));
    }
    Ok(())
}

fn google_chat(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let space = address.take("workspace").or_else(|| token(address, "space").ok());
    let key = address.take("key").or_else(|| address.next());
    let token = address.take("token").or_else(|| address.next());
    let (Some(space), Some(key), Some(token)) = (space, key, token) else {
        return Err("a webhook of Google Chat has a space, a key and a token");
    };
    let url = format!(
        "https://chat.googleapis.com/v1/spaces/{}/messages?key={}&token={}",
        encoded(&space),
        encoded(&key),
        encoded(&token)
    );
    found.secret("url", &url);
    if let Some(thread) = address.next() {
        found.text("thread_key", &thread);
    }
    Ok(())
}

fn ntfy(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let given = address.take("token");
    let user = || address.user.clone().filter(|user| address.password.is_none() || user.starts_with("tk_"));
    if let Some(token) = given.or_else(user) {
        found.secret("token", &token);
        (address.user, address.password) = (None, None);
    }
    let mut topics = address.targets();
    let is_server = !topics.is_empty();
    if !is_server {
        // ntfy://TOPIC is one of the public server.
        topics.push(std::mem::take(&mut address.authority));
    }
    let topic = found.only(topics, "topics").filter(|topic| !topic.is_empty());
    found.text("topic", &topic.ok_or("there is no topic in this URL")?);
    match (is_server, address.host().as_str(), address.password.is_some()) {
        (false, ..) | (true, "ntfy.sh", false) => {}
        (true, _, false) => found.text("url", &address.server("ntfys")?),
        (true, _, true) => found.secret("url", &address.server("ntfys")?),
    }
    Ok(())
}

fn gotify(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let token = address.take("token").or_else(|| address.path.pop()).ok_or("there is no token in this URL")?;
    found.secret("token", &token);
    let path: String = address.path.drain(..).map(|piece| format!("/{}", encoded(&piece))).collect();
    found.text("url", &format!("{}{path}", address.server("gotifys")?));
    Ok(())
}

fn bark(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let keys = address.targets();
    if keys.is_empty() {
        return Err("there is no key of a device in this URL");
    }
    found.secret("key", &keys.join(","));
    let server = address.server("barks")?;
    match address.password {
        Some(_) => found.secret("url", &server),
        None => found.text("url", &server),
    }
    Ok(())
}

fn pagerduty(address: &mut Address, found: &mut Found) -> Result<(), &'static str> {
    let key = address.take("integrationkey").or_else(|| address.user.take());
    found.secret("routing_key", &key.ok_or("there is no integration key in this URL")?);
    found.lose("the API key, which events do not need");
    _ = address.take("apikey");
    let source = address.take("source").or_else(|| address.next());
    let component = address.take("component").or_else(|| address.next());
    for (option, text) in [("source", source), ("component", component)] {
        if let Some(text) = text {
            found.text(option, &text);
        }
    }
    if address.take("region").is_some_and(|region| region.eq_ignore_ascii_case("eu")) {
        found.text("url", "https://events.eu.pagerduty.com/v2/enqueue");
    }
    let details = address.marked('+');
    if !details.is_empty() {
        let details = details.into_iter().map(|(name, value)| (name, literal(&value)));
        found.set("details", Setting::Value(Exact::Map(details.collect::<Members>())));
    }
    Ok(())
}

/// Where a plain request goes, and its headers.
fn plain(address: &mut Address, found: &mut Found, secure: &str) -> Result<(), &'static str> {
    let path: String = address.path.drain(..).map(|piece| format!("/{}", encoded(&piece))).collect();
    let more = address.marked('-');
    let query: Vec<String> = more.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    let url = format!("{}{path}{mark}{}", address.server(secure)?, query.join("&"));
    match address.password.is_some() || !query.is_empty() {
        true => found.secret("url", &url),
        false => found.text("url", &url),
    }
    if let Some(method) = address.take("method") {
        found.text("method", &method.to_uppercase());
    }
    let headers = address.marked('+').into_iter().map(|(name, value)| (name, Secret::new(value)));
    let headers: Vec<_> = headers.collect();
    if headers.iter().any(|(name, _)| http::HeaderName::from_bytes(name.as_bytes()).is_err()) {
        return Err("a + in front of a name means a header, and this is no name of one");
    }
    if !headers.is_empty() {
        found.set("headers", Setting::Headers(headers));
    }
    Ok(())
}

const MESSAGE: &str = "{{ event.type }} {{ data }}";

/// What Apprise sends as JSON and as a form; an argument with `:` in front renames a member, takes it out, or adds one.
fn body<const N: usize>(address: &mut Address, more: [(&str, Exact); N]) -> Exact {
    let mut members = vec![
        ("version".to_owned(), literal("1.0")),
        ("title".to_owned(), template("{{ event.type }}")),
        ("message".to_owned(), template(MESSAGE)),
        ("type".to_owned(), literal("info")),
    ];
    members.extend(more.map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in address.marked(':') {
        match members.iter().position(|(known, _)| *known == name) {
            Some(at) if value.is_empty() => _ = members.remove(at),
            Some(at) => members[at].0 = value,
            None => members.push((name, literal(&value))),
        }
    }
    Exact::Map(members.into_iter().collect::<Members>())
}

/// What Apprise sends as XML.
fn envelope() -> Exact {
    let notification = map([
        ("Version", literal("1.1")),
        ("Subject", template("{{ event.type }}")),
        ("MessageType", literal("info")),
        ("Message", template(MESSAGE)),
    ]);
    let envelope = map([
        ("@xmlns:soapenv", literal("http://schemas.xmlsoap.org/soap/envelope/")),
        ("soapenv:Body", map([("Notification", notification)])),
    ]);
    map([("soapenv:Envelope", envelope)])
}
