//! A good and a bad URL for each scheme.

use serde_json::{Value as Json, json};

use super::*;

/// What the tokens of the table are: nothing that is said of a URL may contain one.
const SECRETS: [&str; 2] = ["geheim", "s3cr3t"];

fn shown(setting: &Setting) -> Json {
    match setting {
        Setting::Value(value) => value.plain(),
        Setting::Secret(secret) => json!({"secret": secret.expose()}),
        Setting::Headers(headers) => {
            headers.iter().map(|(name, value)| (name.clone(), json!({"secret": value.expose()}))).collect()
        }
    }
}

/// URL, platform, options, what is lost.
fn good() -> Vec<(&'static str, &'static str, Json, &'static [&'static str])> {
    let secret = |text: &str| json!({"secret": text});
    vec![
        (
            "dingtalk://SECgeheim@s3cr3t/13800000000/?to=13900000000&overflow=split&format=markdown",
            "dingtalk",
            json!({
                "url": secret("https://oapi.dingtalk.com/robot/send?access_token=s3cr3t"), "secret": secret("SECgeheim"),
                "mention": ["13800000000", "13900000000"], "overflow": "split",
            }),
            &["`format`"],
        ),
        (
            "https://oapi.dingtalk.com/robot/send?access_token=geheim&timestamp=1&sign=s3cr3t",
            "dingtalk",
            json!({"url": secret("https://oapi.dingtalk.com/robot/send?access_token=geheim")}),
            &["`timestamp` and `sign`, which are made anew each time: give --secret secret"],
        ),
        (
            "wecombot://geheim-1-2",
            "wecom",
            json!({"url": secret("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=geheim-1-2")}),
            &[],
        ),
        (
            "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=geheim",
            "wecom",
            json!({"url": secret("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=geheim")}),
            &[],
        ),
        (
            "lark://geheim",
            "lark",
            json!({"url": secret("https://open.larksuite.com/open-apis/bot/v2/hook/geheim")}),
            &[],
        ),
        ("feishu://geheim", "lark", json!({"url": secret("https://open.feishu.cn/open-apis/bot/v2/hook/geheim")}), &[]),
        (
            "slack://bot@T1geheim/B2/s3cr3t/#general",
            "slack",
            json!({"url": secret("https://hooks.slack.com/services/T1geheim/B2/s3cr3t")}),
            &["the name of the bot, which Slack takes from the app", "the channel, which Slack takes from the webhook"],
        ),
        (
            "discord://ci {{ x }}@4174216298/geheim-J?tts=yes&thread=99",
            "discord",
            json!({
                "url": secret("https://discord.com/api/webhooks/4174216298/geheim-J"),
                "username": "{% raw %}ci {{ x }}{% endraw %}", "thread_id": "99",
            }),
            &["`tts`"],
        ),
        (
            "https://discordapp.com/api/webhooks/1/geheim",
            "discord",
            json!({"url": secret("https://discordapp.com/api/webhooks/1/geheim")}),
            &[],
        ),
        (
            "tgram://123456:geheim_-x/-1001234:7/98765/?silent=yes&preview=no&format=html",
            "telegram",
            json!({
                "token": secret("123456:geheim_-x"), "chat": "-1001234", "topic": 7, "silent": true, "previews": false,
                "type": "html",
            }),
            &["1 more chats: each needs a hook of its own"],
        ),
        (
            "https://api.telegram.org/bot123456:geheim/sendMessage?chat_id=@news&parse_mode=HTML",
            "telegram",
            json!({"token": secret("123456:geheim"), "chat": "@news"}),
            &["`parse_mode`"],
        ),
        (
            "workflows://prod-1.westus.logic.azure.com:443/geheim/s3c-r3t/?image=no",
            "teams",
            json!({"url": secret(
                "https://prod-1.westus.logic.azure.com:443/workflows/geheim/triggers/manual/paths/invoke\
                 ?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3c-r3t"
            )}),
            &["`image`"],
        ),
        (
            "https://x.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/1?sig=geheim%2B",
            "teams",
            json!({"url": secret(
                "https://x.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/1?sig=geheim%2B"
            )}),
            &[],
        ),
        (
            "mmosts://bot@chat.example.com:8443/team/geheim?channel=%23ops,dev",
            "mattermost",
            json!({
                "url": secret("https://chat.example.com:8443/team/hooks/geheim"), "username": "bot", "channel": "ops",
            }),
            &["1 more channels: each needs a hook of its own"],
        ),
        (
            "mmost://chat.example.com/geheim",
            "mattermost",
            json!({"url": secret("http://chat.example.com/hooks/geheim")}),
            &[],
        ),
        (
            "gchat://AAAA/geheim/s3cr3t?thread=builds",
            "google-chat",
            json!({
                "url": secret("https://chat.googleapis.com/v1/spaces/AAAA/messages?key=geheim&token=s3cr3t"),
                "thread_key": "builds",
            }),
            &[],
        ),
        (
            "ntfys://tk_geheim@push.example.com/ops/dev?priority=high&tags=warning,skull&click=https://a.example/",
            "ntfy",
            json!({
                "token": secret("tk_geheim"), "url": "https://push.example.com", "topic": "ops", "priority": 4,
                "tags": ["warning", "skull"], "link": "https://a.example/",
            }),
            &["1 more topics: each needs a hook of its own"],
        ),
        (
            "ntfy://ann:geheim@push.example.com/ops",
            "ntfy",
            json!({"url": secret("http://ann:geheim@push.example.com"), "topic": "ops"}),
            &[],
        ),
        ("ntfy://ops-1", "ntfy", json!({"topic": "ops-1"}), &[]),
        (
            "gotifys://push.example.com/sub/geheim?priority=emergency&format=markdown",
            "gotify",
            json!({
                "url": "https://push.example.com/sub", "token": secret("geheim"), "priority": 10, "type": "markdown",
            }),
            &[],
        ),
        (
            "barks://api.day.app/geheim/s3cr3t?level=timesensitive&sound=bell&volume=3",
            "bark",
            json!({
                "url": "https://api.day.app", "key": secret("geheim,s3cr3t"), "level": "timeSensitive", "sound": "bell",
            }),
            &["`volume`"],
        ),
        (
            "pagerduty://geheim@s3cr3t/web-1/nginx?region=eu&class=disk&+rack=12",
            "pagerduty",
            json!({
                "routing_key": secret("geheim"), "source": "web-1", "component": "nginx", "kind": "disk",
                "url": "https://events.eu.pagerduty.com/v2/enqueue", "details": {"rack": "12"},
            }),
            &["the API key, which events do not need"],
        ),
        (
            "jsons://ann:geheim@ci.example.com:8443/in/x?+X-Key=s3cr3t&-v=1&:message=text&:team=ops&:type=&method=put&verify=no",
            "webhook",
            json!({
                "url": secret("https://ann:geheim@ci.example.com:8443/in/x?v=1"), "method": "PUT",
                "headers": {"X-Key": secret("s3cr3t")},
                "json": {
                    "version": "1.0", "title": "{{ event.type }}", "text": "{{ event.type }} {{ data }}",
                    "attachments": [], "team": "ops",
                },
            }),
            &["`verify`"],
        ),
        (
            "form://ci.example.com",
            "webhook",
            json!({
                "url": "http://ci.example.com/",
                "form": {
                    "version": "1.0", "title": "{{ event.type }}", "message": "{{ event.type }} {{ data }}", "type": "info",
                },
            }),
            &[],
        ),
        (
            "xmls://ci.example.com/soap",
            "webhook",
            json!({"url": "https://ci.example.com/soap", "xml": {"soapenv:Envelope": {
                "@xmlns:soapenv": "http://schemas.xmlsoap.org/soap/envelope/",
                "soapenv:Body": {"Notification": {
                    "Version": "1.1", "Subject": "{{ event.type }}", "MessageType": "info",
                    "Message": "{{ event.type }} {{ data }}",
                }},
            }}}),
            &[],
        ),
        ("https://ntfy.sh/ops?priority=5", "ntfy", json!({"topic": "ops"}), &["`priority`"]),
        ("https://api.day.app/geheim/a%20title", "bark", json!({"key": secret("geheim")}), &["the text in its path"]),
        (
            "https://webexapis.com/v1/webhooks/incoming/geheim",
            "webex",
            json!({"url": secret("https://webexapis.com/v1/webhooks/incoming/geheim")}),
            &[],
        ),
        ("https://ci.example.com/hooks/1", "webhook", json!({"url": "https://ci.example.com/hooks/1"}), &[]),
        (
            "http://ci.example.com/hooks?token=geheim",
            "webhook",
            json!({"url": secret("http://ci.example.com/hooks?token=geheim")}),
            &[],
        ),
        (
            "https://chat.example.com/hooks/geheimgeheimgeheimgeheim12",
            "mattermost",
            json!({"url": secret("https://chat.example.com/hooks/geheimgeheimgeheimgeheim12")}),
            &[],
        ),
    ]
}

/// URL, what is said, and the help.
const BAD: [(&str, &str, &str); 26] = [
    ("dingtalk://", "there is no token", "dingtalk://[SECRET@]TOKEN"),
    ("wecombot:///", "there is no token", "wecombot://KEY"),
    ("lark://", "there is no token", "lark://TOKEN"),
    ("feishu://?token=", "there is no token", "feishu://TOKEN"),
    ("slack://T1geheim/B2", "three tokens", "slack://T…/B…/TOKEN"),
    ("slack://xoxb-geheim/#general", "token of a bot", "slack://"),
    ("discord://geheim", "an id and a token", "discord://[NAME@]ID/TOKEN"),
    ("tgram://geheim/123", "no token of a bot", "tgram://TOKEN/CHAT"),
    ("tgram://123456:geheim/", "no chat", "tgram://TOKEN/CHAT"),
    ("msteams://geheim/s3cr3t/x", "ended the connectors", "workflows://HOST"),
    ("workflows://h.example/geheim", "no signature", "workflows://HOST"),
    ("mmosts://chat.example.com", "no key", "mmosts://"),
    ("mmost:///geheim", "no host", "mmosts://"),
    ("gchat://AAAA/geheim", "a space, a key and a token", "gchat://SPACE/KEY/TOKEN"),
    ("ntfy://", "no topic", "ntfy://TOPIC"),
    ("ntfys://tk_geheim@/", "no topic", "ntfys://[TOKEN@]HOST/TOPIC"),
    ("gotify://push.example.com", "no token", "gotifys://HOST"),
    ("barks://api.day.app", "no key of a device", "barks://HOST/KEY"),
    ("pagerduty://geheim", "no integration key", "pagerduty://INTEGRATIONKEY@APIKEY"),
    ("jsons:///geheim", "no host", "jsons://"),
    ("form://h.example/?+a b=geheim", "no name of one", "forms://"),
    ("xml://", "no host", "xmls://"),
    ("https://", "no URL such as", "paste the whole of it"),
    ("https://x.webhook.office.com/webhookb2/geheim", "ended its connectors", "paste the whole of it"),
    ("dingtak://geheim", "begin with dingtak://", "did you mean dingtalk://?"),
    ("geheim", "no URL such as SCHEME://", "dingtalk wecombot"),
];

#[test]
fn good_urls_are_read_whole() {
    let mut schemes: Vec<&str> = Vec::new();
    for (url, platform, options, lost) in good() {
        let found = read(url).unwrap_or_else(|found| panic!("{url}: {found:?}"));
        assert_eq!(found.platform, platform, "{url}");
        let said: serde_json::Map<String, Json> =
            found.options.iter().map(|(name, setting)| ((*name).to_owned(), shown(setting))).collect();
        assert_eq!(Json::Object(said), options, "{url}");
        assert_eq!(found.lost, lost, "{url}");
        assert!(!SECRETS.iter().any(|secret| found.lost.join(" ").contains(secret)), "{url}");
        let known = crate::rules::platform::Platforms::built_in();
        let manifest = &known.0[platform].manifest;
        assert!(found.options.iter().all(|(name, _)| manifest.option(name).is_some()), "{url}");
        schemes.push(url.split("://").next().unwrap());
    }
    for form in FORMS.iter().filter(|form| form.schemes != ["msteams"]) {
        assert!(form.schemes.iter().any(|scheme| schemes.contains(scheme)), "no good URL for {:?}", form.schemes);
    }
}

#[test]
fn bad_urls_are_refused_without_quoting_them() {
    for (url, what, help) in BAD {
        let found = read(url).expect_err(url);
        let text = found.render(false);
        assert!(found.what.contains(what), "{url}: {text}");
        assert!(found.help.as_deref().is_some_and(|said| said.contains(help)), "{url}: {text}");
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{url}: {text}");
    }
    for form in &FORMS {
        let of = |url: &str| form.schemes.contains(&url.split("://").next().unwrap());
        assert!(BAD.iter().any(|(url, ..)| of(url)), "no bad URL for {:?}", form.schemes);
    }
    let unknown = read("mailto://geheim@h.example").unwrap_err();
    assert_eq!((unknown.code, unknown.notes.len()), ("unknown-scheme", 1), "{unknown:?}");
}
