mod exact;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::words::secret::Secrets;

/// Compiles the one key `v` of a YAML text.
fn compile(yaml: &str, kind: &Kind) -> Result<Tree, Vec<Diagnostic>> {
    let source = Source::new("hook.yaml", yaml);
    Tree::compile(&source, &value_of(&source), kind)
}

fn value_of(source: &Source) -> Node {
    match yaml::parse(source).unwrap().value {
        yaml::Value::Map(mut entries) => entries.remove(0).1,
        other => panic!("{other:?}"),
    }
}

fn event(data: &Json) -> Event {
    let mut event = Event::new("version.published", Some("e-1".into()), data.to_string(), Timestamp::UNIX_EPOCH);
    event.source = "patchkit".into();
    event
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.insert("token", Ok(Secret::new("tok/en+1")));
    secrets.insert("robot", Ok(Secret::new("https://oapi.example.com/robot?access_token=1")));
    secrets
}

fn render(yaml: &str, kind: &Kind, data: &Json) -> Result<Json, RenderError> {
    let tree = compile(yaml, kind).unwrap_or_else(|found| panic!("{yaml}: {found:?}"));
    let (event, secrets) = (event(data), secrets());
    let now = Timestamp::UNIX_EPOCH;
    let given = Given { id: "1-1", attempt: 3, now, hook: "release", event: &event, secrets: &secrets };
    tree.render(&given).map(|exact| exact.plain())
}

fn text(yaml: &str, kind: &Kind, data: &Json) -> String {
    match render(yaml, kind, data).unwrap_or_else(|error| panic!("{yaml}: {error}")) {
        Json::String(text) => text,
        other => panic!("{yaml}: {other}"),
    }
}

/// The error of rendering, in its long form.
fn refusal(yaml: &str, kind: &Kind, data: &Json) -> Diagnostic {
    match render(yaml, kind, data) {
        Err(RenderError::Wrong(found)) => *found,
        other => panic!("{yaml}: {other:?}"),
    }
}

fn sample() -> Json {
    json!({"app": {"name": "a b/c", "n": 3, "on": true, "none": null, "list": [1, "x", null]}, "version": {"label": "2.4"}, "message": "hello", "type": "x"})
}

#[test]
fn what_a_template_sees() {
    let see = |leaf: &str| text(&format!("v: \"{leaf} \""), &Kind::Text, &sample());
    assert_eq!(
        see("{{ event.id }} {{ event.type }} {{ event.source }} {{ event.time }}"),
        "e-1 version.published patchkit 1970-01-01T00:00:00Z "
    );
    assert_eq!(see("{{ data.app.n }} {{ app.n }} {{ event.data.app.n }} {{ hook }} {{ attempt }}"), "3 3 3 release 3 ");
    assert_eq!(see("{{ secret('token') }}"), "tok/en+1 ");
    assert_eq!(see("{{ type }} {{ event.raw | length }}"), format!("x {} ", sample().to_string().len()));
    assert_eq!(see("{{ data | length }}{% for k in data.app %}{{ k }},{% endfor %}"), "4name,n,on,none,list, ");
    let own_wins = text("v: '{{ hook }} '", &Kind::Text, &json!({"hook": "theirs"}));
    assert_eq!(own_wins, "release ");
    let bare = render("v: '{{ data }}'", &Kind::Tree, &json!("just text")).unwrap();
    assert_eq!(bare, json!("just text"));
}

#[test]
fn values_print_as_json_prints_them() {
    let printed = text(
        "v: '{{ app.on }} {{ app.none }} {{ app.list }} {{ app.n }} {{ 1.0 }} {{ version }}'",
        &Kind::Text,
        &sample(),
    );
    assert_eq!(printed, r#"true null [1,"x",null] 3 1.0 {"label":"2.4"}"#);
}

#[test]
fn one_expression_keeps_its_type() {
    let yaml = "v:\n  n: '{{ app.n }}'\n  on: '{{ app.on }}'\n  none: '{{ app.none }}'\n  list: '{{ app.list }}'\n  app: '{{ app }}'\n  text: 'n={{ app.n }}'\n  space: '{{ app.n }} '\n  fixed: 1.50\n  secret: {secret: token}\n  absent: \"{{ 'x' if false }}\"\n";
    let made = render(yaml, &Kind::Tree, &sample()).unwrap();
    assert_eq!(
        made.to_string(),
        r#"{"n":3,"on":true,"none":null,"list":[1,"x",null],"app":{"name":"a b/c","n":3,"on":true,"none":null,"list":[1,"x",null]},"text":"n=3","space":"3 ","fixed":1.5,"secret":{"secret":"token"},"absent":null}"#
    );
    let big = json!({"n": u64::MAX});
    assert_eq!(render("v: '{{ n }}'", &Kind::Tree, &big).unwrap(), json!(u64::MAX));
}

#[test]
fn the_payload_of_a_vendor_page_works_unchanged() {
    let data = json!({"app": {"display_name": "a \"b\"\n\\ {{ x }} 😀 \u{7}"}, "version": {"label": "2"}});
    let made = render(
        "v:\n  msg: \"Application {{ app.display_name }} version {{ version.label }} has been published!\"\n",
        &Kind::Tree,
        &data,
    )
    .unwrap();
    assert_eq!(made["msg"], "Application a \"b\"\n\\ {{ x }} 😀 \u{7} version 2 has been published!");
}

#[test]
fn an_undefined_field_is_an_error_that_names_it() {
    let found = refusal(
        "a: 1\nb: 2\nv: 'x {{ versoin.label }}'\n".replace("a: 1\nb: 2\n", "").as_str(),
        &Kind::Text,
        &sample(),
    );
    assert_eq!(found.what, "`versoin` is not in this event");
    assert_eq!(found.help.as_deref(), Some("did you mean `version`?"));
    let found = refusal("v: |\n  one\n  two {{ version.lable }}\n", &Kind::Markdown, &sample());
    assert_eq!(
        (found.what.as_str(), found.help.as_deref()),
        ("`version.lable` is not in this event", Some("did you mean `version.label`?"))
    );
    let place = found.place.unwrap();
    assert_eq!((place.line, place.column, place.text.as_str()), (3, 10, "  two {{ version.lable }}"));
    let found = refusal("v: '{{ version.group_name }}'", &Kind::Tree, &sample());
    assert_eq!(found.what, "`version.group_name` is not in this event");
    assert!(found.help.unwrap().contains("default"));
    let found = refusal("v: '{{ data.mesage | upper }}'", &Kind::Chat, &sample());
    assert_eq!(
        (found.what.as_str(), found.help.as_deref()),
        ("`data.mesage` is not in this event", Some("did you mean `data.message`?"))
    );
    let found = refusal("v: '{{ event.typ }}'", &Kind::Chat, &sample());
    assert_eq!(found.help.as_deref(), Some("did you mean `event.type`?"));
}

#[test]
fn a_default_or_an_if_makes_a_field_optional() {
    let rendered = |leaf: &str| text(&format!("v: \"{leaf}\""), &Kind::Text, &sample());
    assert_eq!(rendered("{{ version.group_name | default('-') }}"), "-");
    assert_eq!(rendered("{% if version.group_name %}x{% endif %}y"), "y");
    assert_eq!(rendered("{% if nothing %}x{% endif %}y"), "y");
    assert_eq!(rendered("{{ app.none.deeper | default('-') }}"), "-");
    assert_eq!(rendered("{{ 'x' if version.group_name }}."), ".");
}

#[test]
fn a_line_break_at_the_end_is_dropped_from_messages_only() {
    for (kind, expected) in
        [(Kind::Text, "hello\n"), (Kind::Chat, "hello"), (Kind::Markdown, "hello"), (Kind::Secret, "hello")]
    {
        assert_eq!(text("v: |\n  {{ message }}\n", &kind, &sample()), expected);
        assert_eq!(text("v: |\n  hello\n", &kind, &sample()), expected);
    }
    let ends = json!({"message": "two\n\n"});
    assert_eq!(text("v: '{{ message }}'", &Kind::Chat, &ends), "two\n\n");
}

#[test]
fn the_kind_escapes_what_is_interpolated_and_safe_opts_out() {
    let hostile = json!({"x": "<@all> [a](https://evil.example) <b>"});
    assert_eq!(
        text("v: '<@wang> {{ x }}'", &Kind::Chat, &hostile),
        "<@wang> <\u{200b}@all> [a](https://evil.example) <b>"
    );
    assert_eq!(
        text("v: '[b](https://ok.example) {{ x }}'", &Kind::Markdown, &hostile),
        "[b](https://ok.example) <\u{200b}@all> [a]\u{200b}(https://evil.example) <\u{200b}b>"
    );
    assert_eq!(
        text("v: '<i>{{ x }}</i>'", &Kind::Html, &hostile),
        "<i>&lt;@all&gt; [a](https://evil.example) &lt;b&gt;</i>"
    );
    assert_eq!(text("v: '{{ x | safe }}'", &Kind::Chat, &hostile), "<@all> [a](https://evil.example) <b>");
    let captured = "v: '{% set y %}{{ x }}{% endset %}{{ y }}'";
    assert_eq!(text(captured, &Kind::Html, &hostile), "&lt;@all&gt; [a](https://evil.example) &lt;b&gt;");
    assert_eq!(text("v: '{{ x | upper }}'", &Kind::Html, &hostile), "&lt;@ALL&gt; [A](HTTPS://EVIL.EXAMPLE) &lt;B&gt;");
}

#[test]
fn urls() {
    let hostile = json!({"x": "a/b c?&#é应", "up": "..", "host": "evil.example"});
    let url = |leaf: &str| text(&format!("v: \"{leaf}\""), &Kind::Url, &hostile);
    assert_eq!(
        url("https://ci.example.org/apps/{{ x }}/r?v={{ x }}"),
        "https://ci.example.org/apps/a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94/r?v=a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94"
    );
    assert_eq!(
        url("https://ci.example.org/{{ x | urlencode }}"),
        "https://ci.example.org/a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94"
    );
    assert_eq!(
        url("https://ci.example.org/bot{{ secret('token') }}/send"),
        "https://ci.example.org/bottok%2Fen%2B1/send"
    );
    assert_eq!(url("{{ secret('robot') }}"), "https://oapi.example.com/robot?access_token=1");
    assert_eq!(text("v: {secret: robot}", &Kind::Url, &hostile), "https://oapi.example.com/robot?access_token=1");
    assert_eq!(url("https://h.example?x={{ x }}"), "https://h.example?x=a%2Fb%20c%3F%26%23%C3%A9%E5%BA%94");
    let climbing = refusal("v: 'https://h.example/apps/{{ up }}/admin'", &Kind::Url, &hostile);
    assert!(climbing.what.contains("dots"), "{}", climbing.what);
    for host in [
        "{{ x }}",
        "https://{{ host }}/x",
        "https://{{ host }}",
        "https://ci.example.org{{ x }}",
        "https://{{ x }}@ci.example.org/",
        "{{ secret('robot') }}/{{ x }}",
        "{% if x %}https://a.example/{% endif %}",
        "https://ci.example.org:{{ x }}/",
        "ftp://h.example/{{ x }}",
        "https:/{{ x }}",
        "{{ secret('robot') ~ x }}",
        "https:///{{ x }}",
    ] {
        let found = compile(&format!("v: \"{host}\""), &Kind::Url).expect_err(host);
        assert!(found[0].place.as_ref().is_some_and(|place| place.line == 1 && place.column >= 4), "{host}: {found:?}");
    }
    assert!(compile("v: ftp://h.example/", &Kind::Url).is_err());
    assert!(compile("v: ci.example.org/x", &Kind::Url).is_err());
}

#[test]
fn headers_stay_in_their_line() {
    let data = json!({"x": "ok", "lines": "a\r\nX-Evil: 1", "zero": "a\u{0}", "umlaut": "größe", "bell": "\u{7}"});
    let header = |leaf: &str| render(&format!("v: {{X-A: \"{leaf}\"}}"), &Kind::Headers, &data);
    assert_eq!(header("a {{ x }} {{ secret('token') }}").unwrap(), json!({"x-a": "a ok tok/en+1"}));
    for name in ["lines", "zero", "umlaut", "bell"] {
        assert!(matches!(header(&format!("{{{{ {name} }}}}")), Err(RenderError::Wrong(_))), "{name}");
    }
    assert!(refusal("v: {X-A: '{{ umlaut }}'}", &Kind::Headers, &data).help.unwrap().contains("8187"));
    assert_eq!(header("{{ umlaut | urlencode }}").unwrap(), json!({"x-a": "gr%C3%B6%C3%9Fe"}));
    for wrong in ["v: {X-A: größe}", "v: {\"X A\": x}", "v: [a]", "v: text", "v: {X-A: [a]}", "v: {X-A: \"a\\nb\"}"] {
        assert!(compile(wrong, &Kind::Headers).is_err(), "{wrong}");
    }
    assert_eq!(
        render("v: {X-Number: 1.50, X-Secret: {secret: token}}", &Kind::Headers, &data).unwrap(),
        json!({"x-number": "1.50", "x-secret": "tok/en+1"})
    );
}

#[test]
fn lists_numbers_words_and_truth() {
    let data = json!({"who": ["a", 2], "one": "x", "n": "12", "yes": true, "word": "red"});
    let list = |yaml: &str| render(yaml, &Kind::List, &data).unwrap();
    assert_eq!(list("v: all"), json!(["all"]));
    assert_eq!(list("v: [13800000000, \"{{ one }}\", {secret: token}]"), json!(["13800000000", "x", "tok/en+1"]));
    assert_eq!(list("v: '{{ who }}'"), json!(["a", "2"]));
    assert_eq!(list("v: []"), json!([]));
    assert_eq!(render("v: '{{ yes }}'", &Kind::Bool, &data).unwrap(), json!(true));
    assert_eq!(render("v: false", &Kind::Bool, &data).unwrap(), json!(false));
    assert_eq!(render("v: '{{ n }}'", &Kind::Integer, &data).unwrap(), json!(12));
    let words = Kind::Choice(vec!["red".into(), "blue".into()]);
    assert_eq!(render("v: '{{ word }}'", &words, &data).unwrap(), json!("red"));
    for (yaml, kind) in [
        ("v: yes", &Kind::Bool),
        ("v: 1.5", &Kind::Integer),
        ("v: {a: b}", &Kind::List),
        ("v: reed", &words),
        ("v: [red]", &words),
    ] {
        assert!(compile(yaml, kind).is_err(), "{yaml}");
    }
    assert_eq!(compile("v: reed", &words).unwrap_err()[0].help.as_deref(), Some("did you mean `red`?"));
    for (yaml, kind) in
        [("v: '{{ one }}'", &Kind::Bool), ("v: '{{ one }}'", &Kind::Integer), ("v: '{{ one }}'", &words)]
    {
        refusal(yaml, kind, &data);
    }
}

#[test]
fn numbers_are_texts_as_they_are_written() {
    assert_eq!(text("v: 1.10", &Kind::Text, &Json::Null), "1.10");
    assert_eq!(text("v: 42", &Kind::Markdown, &Json::Null), "42");
    assert_eq!(text("v: true", &Kind::Text, &Json::Null), "true");
    assert!(compile("v:", &Kind::Text).is_err());
    assert!(compile("v: [a]", &Kind::Text).is_err());
}

#[test]
fn what_would_fail_is_found_before_an_event_comes() {
    let found = |leaf: &str| {
        let found = compile(&format!("v: |\n  first\n  {leaf}\n"), &Kind::Text).expect_err(leaf).remove(0);
        let place = found.place.clone().unwrap();
        assert_eq!(place.line, 3, "{leaf}: {found:?}");
        (found.what, found.help.unwrap_or_default(), place.column)
    };
    assert_eq!(found("x {{ a | uper }}"), ("there is no filter `uper`".into(), "did you mean `upper`?".into(), 12));
    assert_eq!(found("{% for i in a %}{{ i | lenght }}{% endfor %}").1, "did you mean `length`?");
    assert_eq!(found("{{ a is definde }}").1, "did you mean `defined`?");
    assert_eq!(found("{{ rang(3) }}").1, "did you mean `range`?");
    assert!(found("{{ secret(a) }}").1.contains("secret('NAME')"));
    assert!(found("{{ secret('a' if b else 'c') }}").0.contains("in quotes"));
    assert!(found("{% set s = secret %}{{ s('a') }}").0.contains("function"));
    assert!(found("{{ secret }}").0.contains("function"));
    assert!(found("{% include 'x' %}").0.contains("alone"));
    assert!(found("{{ a").0.contains("cannot be read"));
    assert!(found("{% if a %}x").1.contains("endif"));
    assert!(found(&format!("{{{{ a{} }}}}", "|upper".repeat(1000))).0.contains("longer"));
    for ok in [
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1) }}",
        "{% set n = namespace(x=1) %}{{ n.x }}",
        "{{ a == 1 and b is not none }}",
        "{% for i in a recursive %}{{ loop(i) }}{% endfor %}",
    ] {
        assert!(
            compile(&format!("v: \"{ok}\""), &Kind::Text).is_ok(),
            "{ok}: {:?}",
            compile(&format!("v: \"{ok}\""), &Kind::Text)
        );
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let found = compile("v:\n  a: '{{ x | uper }}'\n  b: ['{{ y', '{{ z | lowr }}']\n", &Kind::Tree).unwrap_err();
    let lines: Vec<_> = found.iter().map(|found| found.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [2, 3, 3]);
}

#[test]
fn secrets_are_known_before_they_are_used() {
    let tree = compile(
        "v:\n  a: \"{{ secret('token') }}\"\n  b: \"{{ secret('gone') }} {{ secret('token') }}\"\n",
        &Kind::Tree,
    )
    .unwrap();
    let named: Vec<_> = tree.secrets().iter().map(|(name, place)| (name.as_str(), place.line)).collect();
    assert_eq!(named, [("token", 2), ("gone", 3)]);
    assert!(tree.is_constant());
    assert!(!compile("v: '{{ event.id }}'", &Kind::Text).unwrap().is_constant());
    assert!(!compile("v: '{{ attempt }}'", &Kind::Text).unwrap().is_constant());
    assert!(!compile("v: '{{ x }}'", &Kind::Text).unwrap().is_constant());
    assert!(compile("v: '{{ hook }} {{ range(3) | list }}'", &Kind::Text).unwrap().is_constant());
    let missing = render("v: \"{% if false %}{{ secret('gone') }}{% endif %}\"", &Kind::Text, &Json::Null);
    assert!(matches!(missing, Err(RenderError::Secret { name, .. }) if name == "gone"));
    assert_eq!(text("v: {secret: token}", &Kind::Secret, &Json::Null), "tok/en+1");
}

#[test]
fn an_error_never_shows_a_secret() {
    let found = refusal("v: \"{{ secret('token') | filesize }}\"", &Kind::Text, &Json::Null);
    assert!(!format!("{found:?}").contains("tok/en+1"));
    let found = refusal("v: \"{{ secret('token') | int }}\"", &Kind::Tree, &Json::Null);
    assert!(!format!("{found:?}").contains("tok/en+1"), "{found:?}");
    let found = refusal("v: \"{{ nothing.at_all ~ secret('token') }}\"", &Kind::Text, &json!({}));
    assert!(!format!("{found:?}").contains("tok/en+1"), "{found:?}");
}

#[test]
fn templates_are_bounded() {
    let long = json!({"x": "y".repeat(1000)});
    let steps = refusal("v: '{% for i in range(100000) %}{{ i }}{% endfor %}'", &Kind::Text, &long);
    assert!(steps.what.contains("steps"), "{}", steps.what);
    let size = refusal("v: '{% for i in range(5000) %}{{ x }}{% endfor %}'", &Kind::Text, &long);
    assert!(size.what.contains("grows"), "{}", size.what);
}

#[test]
fn defaults_have_no_place_but_a_name() {
    let tree = Tree::compile_default("wecom", "message", &json!("{{ data.message }}"), &Kind::Chat).unwrap();
    let (event, secrets) = (event(&json!({"other": 1})), Secrets::default());
    let given = Given { id: "1", attempt: 1, now: Timestamp::UNIX_EPOCH, hook: "h", event: &event, secrets: &secrets };
    let Err(RenderError::Wrong(found)) = tree.render(&given) else { panic!() };
    assert_eq!(found.place, None);
    assert!(
        found.notes.iter().any(|note| note.contains("the default of `message` in the platform wecom")),
        "{found:?}"
    );
    let nothing = Tree::compile_default("wecom", "title", &Json::Null, &Kind::Markdown).unwrap();
    assert_eq!(nothing.render(&given).unwrap(), Exact::Null);
    assert!(Tree::compile_default("p", "o", &json!("{{ x | uper }}"), &Kind::Text).is_err());
}

#[test]
fn conditions() {
    let holds = |when: &str| {
        let source = Source::new("hook.yaml", format!("v: '{when}'\n"));
        let condition =
            Condition::compile(&source, &value_of(&source)).unwrap_or_else(|found| panic!("{when}: {found:?}"));
        condition.holds(&event(&sample()), "release")
    };
    for (when, expected) in [
        ("data.app.n == 3", true),
        ("app.n > 3", false),
        ("version.label is startingwith \"2\"", true),
        ("missing", false),
        ("missing.deeper.still == 1", false),
        ("not missing.deeper", true),
        ("event.type == \"version.published\" and hook == \"release\"", true),
        ("\"x\" in app.list", true),
        ("event.data.message == message", true),
        ("data | length == 4", true),
        ("data[\"type\"] == \"x\"", true),
        ("event.type[:7] == \"version\"", true),
        ("data.app.list[:1] == [1]", true),
    ] {
        assert_eq!(holds(when), Ok(expected), "{when}");
    }
    assert!(holds("app.n + \"x\"").is_err());
    let refused = |when: &str| {
        let source = Source::new("hook.yaml", format!("v: '{when}'\n"));
        Condition::compile(&source, &value_of(&source)).expect_err(when).remove(0)
    };
    assert!(refused("{{ a }}").what.contains("without"));
    assert_eq!(refused("a | uper").help.as_deref(), Some("did you mean `upper`?"));
    assert_eq!(refused("a | uper").place.unwrap().column, 9);
    assert!(refused("a ==").what.contains("cannot be read"));
    assert!(refused("secret(\"x\") == a").what.contains("secrets"));
    assert!(refused("a }} {{ b").what.contains("without"));
}

#[test]
fn only_what_is_used_is_converted() {
    let needs = |paths: &[&str]| {
        let mut needs = Needs::default();
        needs.add(paths.iter().map(|path| (*path).to_owned()));
        needs
    };
    assert_eq!(needs(&["data.a.b", "a.c"]), needs(&["a"]));
    assert_eq!(needs(&["event.data.a"]), needs(&["a", "event.id"]));
    assert!(!needs(&["hook", "range"]).varies());
    assert!(needs(&["event.id"]).varies());
    // Every way to reach all of the data sees all of it.
    for leaf in [
        "{{ data | length }}",
        "{{ event.data | length }}",
        "{% set d = data %}{{ d | length }}",
        "{{ event['data'] | length }}",
        "{{ data.items() | list | length if false else data | length }}",
    ] {
        assert_eq!(text(&format!("v: \"{leaf} \""), &Kind::Text, &sample()), "4 ", "{leaf}");
    }
    for leaf in [
        "{{ data['app'].n }}",
        "{% set k = 'app' %}{{ data[k].n }}",
        "{% set e = event %}{{ e.data.app.n }}",
        "{{ (data).app['n'] }}",
        "{{ event['data']['app'].n }}",
        "{{ [data][0].app.n }}",
        "{% with d = data.app %}{{ d.n }}{% endwith %}",
        "{% macro m() %}{{ app.n }}{% endmacro %}{{ m() }}",
        "{{ data | attr('app') | attr('n') }}",
        "{{ app.list[:1] | length + 2 }}",
        "{{ event.id[:1] | length + 2 }}",
        "{% for x in data.app.list[0:3] %}{{ loop.index if loop.last }}{% endfor %}",
        "{{ event.type[:3] | length }}",
    ] {
        assert_eq!(text(&format!("v: \"{leaf} \""), &Kind::Text, &sample()), "3 ", "{leaf}");
    }
}

proptest! {
    #[test]
    fn event_text_never_leaves_its_place_in_a_url(value in any::<String>()) {
        prop_assume!(!matches!(value.as_str(), "." | ".."));
        let made = text("v: 'https://user@ci.example.org:8443/a/{{ x }}/b?q={{ x }}'", &Kind::Url, &json!({"x": value}));
        let parsed = url::Url::parse(&made).unwrap();
        prop_assert_eq!((parsed.scheme(), parsed.host_str(), parsed.port()), ("https", Some("ci.example.org"), Some(8443)));
        prop_assert_eq!(parsed.username(), "user");
        prop_assert_eq!(parsed.fragment(), None);
        let segments: Vec<_> = parsed.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 3);
        let decoded = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), value.as_str());
        let pairs: Vec<_> = parsed.query_pairs().collect();
        prop_assert_eq!(pairs.len(), 1);
        prop_assert_eq!(pairs[0].1.as_ref(), value.as_str());
    }

    #[test]
    fn event_text_in_a_tree_arrives_as_it_is(value in any::<String>()) {
        let made = render("v: {alone: '{{ x }}', within: 'a {{ x }} b'}", &Kind::Tree, &json!({"x": value})).unwrap();
        let parsed: Json = serde_json::from_str(&made.to_string()).unwrap();
        prop_assert_eq!(parsed["alone"].as_str(), Some(value.as_str()));
        let within = format!("a {value} b");
        prop_assert_eq!(parsed["within"].as_str(), Some(within.as_str()));
    }

    #[test]
    fn event_text_never_makes_a_second_header(value in any::<String>()) {
        if let Ok(made) = render("v: {X-A: 'a {{ x }}'}", &Kind::Headers, &json!({"x": value})) {
            let text = made["x-a"].as_str().unwrap();
            prop_assert_eq!(text, format!("a {value}"));
            prop_assert!(http::HeaderValue::from_str(text).is_ok() && text.is_ascii());
        } else {
            prop_assert!(!value.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t'));
        }
    }

    #[test]
    fn event_text_never_mentions(value in any::<String>(), tag in "(<@all>|<at user_id=\"all\">|</at>|<AT id=all>|<)", rest in "[@a-z>]{0,5}") {
        let data = json!({"x": format!("{value}{tag}"), "y": rest});
        for kind in [Kind::Chat, Kind::Markdown] {
            let made = text("v: '{{ x }}{{ y }}'", &kind, &data).to_lowercase();
            prop_assert!(!["<@", "<at ", "<at>", "</at"].iter().any(|live| made.contains(live)), "{}", made);
        }
    }

    #[test]
    fn ordinary_chat_text_stays_byte_for_byte(value in "[^<]*") {
        prop_assert_eq!(text("v: '{{ data.message }}'", &Kind::Chat, &json!({"message": value.clone()})), value);
    }
}
