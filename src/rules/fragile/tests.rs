//! What breaks is warned of where it stands; what cannot break is not.

use super::*;
use crate::rules::diagnostic::Source;
use crate::rules::platform::Platforms;
use crate::rules::settings::Defaults;

fn hook(head: &str, options: &str) -> Hook {
    let text = format!("{head}\noptions:\n{options}");
    let (hook, found) = Hook::parse(&Source::new("h.yaml", text), &Platforms::built_in(), &Defaults::default());
    hook.unwrap_or_else(|| panic!("{options}: {found:?}"))
}

const WEBHOOK: &str = "events: [a]\nplatform: webhook";

/// The beginning of a hook and its options, and what is said: code, place, words.
type Broken = (&'static str, &'static str, &'static str, (usize, usize), &'static str);

const BREAKS: [Broken; 12] = [
    (
        WEBHOOK,
        "  url: https://h.example/\n  text: '{\"title\": \"{{ data.title }}\", \"n\": {{ data.n }}}'\n",
        "fragile-json",
        (5, 21),
        "a quote in `data.title` would break the JSON in `text`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  form: {payload: '{\"text\": \"{{ note }}\"}'}\n",
        "fragile-json",
        (5, 30),
        "a quote in `note` would break the JSON in `form`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  text: |\n    {\n      \"a\": \"{{ data.a | replace('\"', '') }}\"\n    }\n",
        "fragile-json",
        (7, 13),
        "in `data.a` would break the JSON in `text`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  text: <build><name>{{ data.name }}</name></build>\n",
        "fragile-xml",
        (5, 22),
        "an angle bracket or an ampersand in `data.name` would break the XML in `text`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  headers: {X-Title: \"{{ data.title }}\"}\n",
        "fragile-header",
        (5, 23),
        "a line break in `data.title` would break a header of `headers`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  headers: {X-Title: \"{{ data.title | replace('\\n', ' ') | replace('\\r', ' ') }}\"}\n",
        "fragile-header",
        (5, 22),
        "Chinese or an emoji in `data.title` would break a header of `headers`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/{{ data.path | safe }}/x\n",
        "fragile-url",
        (4, 26),
        "a / or ? in `data.path` would make another URL of `url`",
    ),
    (
        "events: [\"*\"]\nplatform: webhook",
        "  url: https://h.example/\n  json: {text: \"{{ data.title }} is there\"}\n",
        "fragile-field",
        (5, 20),
        "`json` takes `data.title` for granted, and this hook wants every event",
    ),
    (
        "events: [a]\nplatform: github-dispatch",
        "  repository: o/n\n  token: {secret: t}\n  event_type: \"built {{ data.what }}\"\n",
        "fragile-message",
        (6, 22),
        "a very long text in `data.what` would be refused: `event_type` could not be sent",
    ),
    (
        "events: [a]\nplatform: slack",
        "  url: {secret: u}\n  blocks: '[{\"type\": \"section\", \"text\": \"{{ data.x }}\"}]'\n",
        "fragile-json",
        (5, 42),
        "a quote in `data.x` would break the JSON in `blocks`",
    ),
    (
        "events: [a]\ntests:\n  - event: {type: a, data: {n: 1, t: x}}\n    expect: {wanted: true}\nplatform: webhook",
        "  url: https://h.example/\n  text: '{\"n\": {{ n }}, \"t\": \"{{ t }}\"}'\n",
        "fragile-json",
        (8, 31),
        "a quote in `t` would break the JSON in `text`",
    ),
    (
        WEBHOOK,
        "  url: https://h.example/\n  text: '[\"{{ list | join(\", \") }}\"]'\n",
        "fragile-json",
        (5, 12),
        "a quote in `list` would break the JSON in `text`",
    ),
];

#[test]
fn what_a_value_breaks_is_warned_of_at_its_place() {
    for (head, options, code, place, words) in BREAKS {
        let found = warnings(&hook(head, options));
        let shown: Vec<String> = found.iter().map(|found| found.render(false)).collect();
        let [one] = found.as_slice() else { panic!("{options}: {shown:#?}") };
        assert_eq!(one.code, code, "{shown:#?}");
        assert!(one.what.contains(words), "{words}: {shown:#?}");
        let at = one.place.as_ref().map(|place| (place.line, place.column));
        assert_eq!(at, Some(place), "{shown:#?}");
        assert!(!one.is_error() && one.help.is_some(), "{shown:#?}");
        assert!(CODES.contains(&one.code));
    }
    let told: std::collections::BTreeSet<&str> = BREAKS.iter().map(|(_, _, code, ..)| *code).collect();
    assert!(CODES.iter().all(|code| told.contains(code)), "{told:?}");
}

#[test]
fn what_cannot_break_is_left_alone() {
    for (head, options) in [
        (WEBHOOK, "  url: https://h.example/{{ data.path }}/{{ data.x }}?v={{ data.v }}\n"),
        (WEBHOOK, "  url: https://h.example/\n  json: {a: \"{{ data.a }}\", b: [\"{{ data.b }} x\"]}\n"),
        (
            WEBHOOK,
            "  url: https://h.example/\n  text: '{\"a\": {{ data.a | tojson }}, \"all\": {{ data | tojson }}}'\n",
        ),
        (WEBHOOK, "  url: https://h.example/\n  text: '[{{ data.kind }}] {{ data.title }}'\n"),
        (WEBHOOK, "  url: https://h.example/\n  text: '<3 {{ data.title }}'\n"),
        (WEBHOOK, "  url: https://h.example/\n  xml: <a b=\"{{ data.b }}\">{{ data.c }}</a>\n"),
        (
            WEBHOOK,
            "  url: https://h.example/\n  headers: {X-A: \"{{ data.a | urlencode }}\", X-Id: \"{{ event.id }}\"}\n",
        ),
        (WEBHOOK, "  url: https://h.example/\n  json: {n: \"{{ data.items[0].price * 2 }}\"}\n"),
        (WEBHOOK, "  url: https://h.example/\n  text: \"{% for one in data.list %}{{ one.name }}{% endfor %}\"\n"),
        (
            "events: [\"*\"]\nplatform: webhook",
            "  url: https://h.example/\n  text: \"{{ data.a | default('') }} {{ data }}\"\n",
        ),
        (
            "events: [\"*\"]\nwhen: data.title is defined\nplatform: webhook",
            "  url: https://h.example/\n  text: \"{{ data.title }}\"\n",
        ),
        (
            "events: [a]\nplatform: dingtalk",
            "  url: {secret: u}\n  title: \"{{ data.t }}\"\n  message: \"{{ data.m }}\"\n",
        ),
        ("events: [a]\nplatform: discord", "  url: {secret: u}\n  message: \"{{ data.m }}\"\n  overflow: fail\n"),
        (
            "events: [a]\nplatform: telegram",
            "  token: {secret: t}\n  chat: \"1\"\n  type: html\n  message: <b>{{ data.m }}</b>\n",
        ),
        ("events: [a]\nplatform: ntfy", "  topic: t\n  priority: \"{{ data.level }}\"\n  message: \"{{ data.m }}\"\n"),
    ] {
        let found: Vec<String> = warnings(&hook(head, options)).iter().map(|found| found.render(false)).collect();
        assert!(found.is_empty(), "{options}: {}", found.join("\n"));
    }
}
