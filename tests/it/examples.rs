//! Every file in hooks.d parses, passes the tests written in it, and renders to its reviewed golden request.
//!
//! `BLESS=1 cargo test --test it examples` writes the goldens anew; look at the difference before it is kept. A new one begins
//! as an empty file whose name says which example it is of and with which sample: `tests/goldens/HOOK+EVENT.http`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::Timestamp;
use postrider::rules::diagnostic::{Severity, Source};
use postrider::rules::fragile;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::exchange::Request;
use postrider::words::secret::{Secret, Secrets};

use crate::support::stems;

/// Which example is rendered with which sample: what the goldens are called.
pub(crate) static SAMPLES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let names = stems(&root("tests/goldens"), "http").into_iter();
    names.map(|name| name.split_once('+').map(|(hook, event)| (hook.into(), event.into())).expect(&name)).collect()
});

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The examples by hook name.
pub(crate) fn examples() -> BTreeMap<String, Hook> {
    let platforms = Platforms::built_in();
    let mut hooks = BTreeMap::new();
    for entry in fs::read_dir(root("hooks.d")).expect("hooks.d") {
        let path = entry.expect("an entry").path();
        let name = format!("hooks.d/{}", path.file_name().expect("a name").to_string_lossy());
        let source = Source::new(name.as_str(), fs::read_to_string(&path).expect("text").as_str());
        let (hook, found) = Hook::parse(&source, &platforms, &Defaults::default());
        let found: Vec<_> = found.iter().map(|one| one.render(false)).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
        let hook = hook.expect("a hook without diagnostics");
        hooks.insert(hook.name.to_string(), hook);
    }
    assert!(hooks.len() >= 18, "only {} examples found", hooks.len());
    hooks
}

/// A value for every secret that an example names.
pub(crate) fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in secret_values() {
        secrets.insert(&name, Ok(Secret::new(value)));
    }
    secrets
}

/// The same as names and texts: what stands in `KNOWN`, or an address, which is what most robots are known by.
pub(crate) fn secret_values() -> BTreeMap<String, String> {
    let hooks = examples();
    let names = hooks.values().flat_map(|hook| hook.secrets().map(|(name, _)| name.to_owned()).collect::<Vec<_>>());
    let value = |name: &str| {
        let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        known.unwrap_or_else(|| format!("https://chat.example.com/{name}/TOKEN"))
    };
    names
        .map(|name| {
            let value = value(&name);
            (name, value)
        })
        .collect()
}

const KNOWN: [(&str, &str); 25] = [
    ("wecom-release", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=KEY"),
    ("dingtalk-release", "https://oapi.dingtalk.com/robot/send?access_token=TOKEN"),
    ("dingtalk-release-sign", "this is secret"),
    ("lark-release", "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN"),
    ("lark-release-sign", "demo"),
    ("ci-token", "t0ken"),
    ("mirror-sign", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("mirror-sign-old", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
    ("pushpushgo-project", "5e1f0c2ab3d4e5f607182930"),
    ("dingtalk-dev", "https://oapi.dingtalk.com/robot/send?access_token=TOKEN"),
    ("dingtalk-ops", "https://oapi.dingtalk.com/robot/send?access_token=TOKEN"),
    ("wecom-dev", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=KEY"),
    ("lark-ops", "https://open.feishu.cn/open-apis/bot/v2/hook/TOKEN"),
    ("slack-dev", "https://hooks.slack.com/services/T0/B0/TOKEN"),
    ("discord-dev", "https://discord.com/api/webhooks/1/TOKEN"),
    ("telegram-bot", "123456:TOKEN"),
    ("teams-dev", "https://prod-1.westeurope.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=TOKEN"),
    ("mattermost-support", "https://mattermost.example.com/hooks/TOKEN"),
    ("google-chat-games", "https://chat.googleapis.com/v1/spaces/S/messages?key=K&token=TOKEN"),
    ("ntfy", "tk_TOKEN"),
    ("gotify-builds", "A.TOKEN"),
    ("bark-phones", "KEY1,KEY2"),
    ("pagerduty", "R0123456789012345678901234567890"),
    ("github-dispatch", "github_pat_TOKEN"),
    ("partner-sign", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
];

pub(crate) fn sample(name: &str) -> Event {
    let raw = fs::read(root("tests/events").join(format!("{name}.json"))).expect("a sample");
    let kind = name.split_once('-').expect("vendor-type").1;
    Event::new(kind, Some("sample-1".to_owned()), raw, noon())
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

pub(crate) fn render(hook: &Hook, event: &Event) -> Request {
    let secrets = secrets();
    let given = Given { id: "k3m9x7q2fa-1", attempt: 1, now: noon(), hook: &hook.name, event, secrets: &secrets };
    hook.render(&given).unwrap_or_else(|error| panic!("{}: {error}", hook.name))
}

pub(crate) fn shown(request: &Request) -> String {
    let mut text = format!("{} {}\n", request.method, request.url);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().expect("a readable header")));
    }
    format!("{text}\n{}\n", String::from_utf8_lossy(&request.body))
}

#[test]
fn every_example_has_a_sample() {
    let hooks = examples();
    for name in hooks.keys() {
        assert!(SAMPLES.iter().any(|(hook, _)| hook == name), "{name} has no sample");
    }
}

#[test]
fn the_tests_inside_the_examples_pass() {
    let mut ran = 0;
    for hook in examples().values() {
        for result in hook.run_tests(&secrets(), noon()) {
            ran += 1;
            assert_eq!(result.difference, None, "{}: {}", hook.name, result.name);
        }
        let found: Vec<_> =
            hook.dry_run(&secrets(), noon()).into_iter().filter(|one| one.severity == Severity::Error).collect();
        assert!(found.is_empty(), "{}: {found:?}", hook.name);
        let fragile: Vec<_> = fragile::warnings(hook).iter().map(|found| found.render(false)).collect();
        assert!(fragile.is_empty(), "{}", fragile.join("\n"));
    }
    assert!(ran >= 3, "only {ran} tests found");
}

#[test]
fn the_examples_render_to_their_goldens() {
    let hooks = examples();
    assert!(SAMPLES.len() >= 70, "only {} goldens", SAMPLES.len());
    for (name, event) in SAMPLES.iter() {
        let found = shown(&render(&hooks[name], &sample(event)));
        let golden = root("tests/goldens").join(format!("{name}+{event}.http"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &found).expect("a golden file");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{}", golden.display());
    }
}
