use std::sync::Arc;

use super::*;
use crate::rules::cases;
use crate::rules::source::SourceScript;

const SCRIPT: &str = r#"
fn manifest() {
    #{summary: "s", options: #{url: required("url", "u"), message: optional("text", "{{ data.m }}", "m"), key: optional("secret", (), "k")}}
}
fn request(delivery) {
    let o = delivery.options;
    if o.message == "no" { throw "the message is empty"; }
    if o.message == "broken" { return #{url: nowhere(o)}; }
    if o.message == "unit" { return; }
    if o.message == "form" { return #{url: o.url, form: #{a: "x", b: "1"}}; }
    if o.message == "two" { return [#{url: o.url, text: "1"}, #{url: o.url, text: "2"}]; }
    #{url: o.url, headers: #{"X-Id": delivery.id, "X-Key": o.key}, json: #{m: o.message, list: [1, #{n: delivery.attempt}]}}
}
fn verdict(response) {
    switch response.status {
        200 => delivered(),
        201 => delivered("a doubt").rest(5),
        429 => pause("slow down", 90),
        400 => plain("markup"),
        500 => response.json.nothing,
        _ => reject("no: " + response.text),
    }
}
"#;

fn blessed(cases: &str) -> Blessed {
    let platform = Platform::compile("p", Source::new("p.rhai", SCRIPT), false).unwrap();
    cases::bless(&platform, &Source::new("p.yaml", cases)).unwrap_or_else(|found| panic!("{found:?}"))
}

/// The new text of one case in braces, between two others; every other byte stays.
fn one(case: &str) -> String {
    let before = "# the first\n- {name: a, response: {status: 200}, verdict: delivered}   # fine\n";
    let after = "\n\n# the last\n- name: z\n  response: {status: 429}\n  verdict: pause\n";
    let all = blessed(&format!("{before}- {case}{after}"));
    assert_eq!(all.cases.len(), 3);
    match (&all.cases[1].fate, &all.text) {
        (Fate::Blessed, Some(text)) => {
            let rest = text.strip_prefix(&format!("{before}- ")).unwrap_or_else(|| panic!("{text}"));
            rest.strip_suffix(after).unwrap_or_else(|| panic!("{text}")).to_owned()
        }
        (Fate::Passed, None) => "passed".to_owned(),
        (Fate::Refused(why), None) => format!("refused: {why}"),
        other => panic!("{other:?}"),
    }
}

const OPTIONS: &str = "options: {url: \"https://h.example/x\", key: k}";

#[test]
fn what_a_case_names_is_what_it_names_now() {
    for (wanted, now) in [
        ("{json: {m: hi, list: [1, {n: 2}]}}", "{json: {m: hi, list: [1, {n: 1}]}}"),
        ("{json: {m: ho, x: 1}, method: POST}", "{json: {m: hi, list: [1, {n: 1}]}, method: POST}"),
        ("{headers: {x-id: case-2, x-gone: 1}}", "{headers: {x-id: case-1}}"),
        (
            "{url: \"https://h.example/y\", bytes: {m: 3, body: 1, nothing: 1}}",
            "{url: \"https://h.example/x\", bytes: {m: 2, body: 29}}",
        ),
        ("{method: PUT, parts: 2}", "{method: POST, parts: 1}"),
        ("{text: hello}", "{text: \"{\\\"list\\\":[1,{\\\"n\\\":1}],\\\"m\\\":\\\"hi\\\"}\"}"),
        ("{json: {m: hi, list: [1, {n: 1}]}}", "passed"),
    ] {
        let case = |expect: &str| format!("{{name: b, event: {{data: {{m: hi}}}}, {OPTIONS}, expect: {expect}}}");
        let expected = if now == "passed" { now.to_owned() } else { case(now) };
        assert_eq!(one(&case(wanted)), expected, "{wanted}");
    }
}

#[test]
fn a_case_that_expects_nothing_yet_gets_all_that_the_script_chose() {
    for (message, expect) in [
        (
            "hi",
            "{method: POST, url: \"https://h.example/x\", headers: {x-id: case-1, x-key: k}, json: {list: [1, {n: 1}], m: hi}}",
        ),
        ("no", "{error: the message is empty}"),
        ("form", "{method: POST, url: \"https://h.example/x\", form: {a: x, b: \"1\"}}"),
        ("two", "{method: POST, url: \"https://h.example/x\", text: \"1\", parts: 2}"),
    ] {
        let case = format!("event: {{data: {{m: {message}}}}}, {OPTIONS}");
        assert_eq!(one(&format!("{{{case}}}")), format!("{{{case}, expect: {expect}}}"), "{message}");
        let block = format!("event: {{data: {{m: {message}}}}}\n  {OPTIONS}   # as always");
        for nothing in ["", "\n  expect:", "\n  expect: {}"] {
            let text = one(&format!("{block}{nothing}"));
            let rest = text.strip_prefix(&format!("{block}\n  expect:")).unwrap_or_else(|| panic!("{text}"));
            let flat = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            let parts = expect.trim_matches(['{', '}']).split(", ").filter(|part| !part.contains('{'));
            assert!(
                parts.count() > 0
                    && expect.split(", ").all(|part| {
                        let words = part.split(['{', '}', '[', ']']).map(str::trim).filter(|word| !word.is_empty());
                        words.into_iter().all(|word| flat.contains(word))
                    }),
                "{rest}"
            );
        }
    }
}

#[test]
fn a_long_body_is_its_lengths() {
    let case = format!("{{options: {{url: \"https://h.example/\", message: {}}}}}", "x".repeat(3000));
    assert!(one(&case).ends_with("bytes: {m: 3000}}}"), "{}", one(&case));
}

#[test]
fn verdicts_are_blessed_with_what_they_name() {
    for (case, now) in [
        ("{response: {status: 429}, verdict: hold}", "{response: {status: 429}, verdict: pause}"),
        (
            "{response: {status: 429}, verdict: pause, wait: 1s}",
            "{response: {status: 429}, verdict: pause, wait: 1m30s}",
        ),
        ("{response: {status: 429}}", "{response: {status: 429}, verdict: pause, wait: 1m30s, why: slow down}"),
        (
            "{response: {status: 429}, verdict: }",
            "{response: {status: 429}, verdict: pause, wait: 1m30s, why: slow down }",
        ),
        (
            "{response: {status: 200}, verdict: pause, wait: 5s, why: x}",
            "{response: {status: 200}, verdict: delivered}",
        ),
        (
            "{response: {status: 201}, verdict: delivered}",
            "{response: {status: 201}, verdict: delivered, rest: 5s, warning: a doubt}",
        ),
        ("{response: {status: 400}, verdict: retry}", "{response: {status: 400}, verdict: plain}"),
        (
            "{response: {status: 418, body: tea}, verdict: reject, why: coffee}",
            "{response: {status: 418, body: tea}, verdict: reject, why: \"no: tea\"}",
        ),
        ("{response: {status: 418, body: tea}, verdict: reject, why: tea}", "passed"),
    ] {
        assert_eq!(one(case), now, "{case}");
    }
}

#[test]
fn an_error_of_the_script_is_never_what_is_right() {
    let case = |message: &str| format!("{{event: {{data: {{m: {message}}}}}, {OPTIONS}}}");
    for (case, said) in [
        ("{response: {status: 500}, verdict: delivered}".to_owned(), "p.rhai:20:30"),
        ("{response: {status: 500, json: {a: 1}}}".to_owned(), "the map has no member `nothing`"),
        (case("broken"), "there is no function nowhere"),
        (case("unit"), "fn request gave nothing instead of a map"),
        ("{options: {url: \"https://h.example/\", mesage: x}}".to_owned(), "did you mean `message`?"),
        (
            "{options: {url: \"https://h.example/\", key: {secret: k}, message: x}}".to_owned(),
            "no secret k: add secrets: {k: …}",
        ),
    ] {
        let now = one(&case);
        assert!(now.starts_with("refused: ") && now.contains(said), "{case}: {now}");
    }
    // One that expects it, because it is like that, may.
    assert_eq!(one("{response: {status: 500}, verdict: retry, why: could not be judged}"), "passed");
}

#[test]
fn what_no_rule_can_change_is_left_to_a_person() {
    let text = "- {response: {status: 200}, verdict: &v hold}\n- {response: {status: 429}, verdict: pause}\n";
    let all = blessed(text);
    assert_eq!((all.text, &all.cases[1].fate), (None, &Fate::Passed));
    assert!(matches!(&all.cases[0].fate, Fate::Refused(why) if why.contains("write it")), "{:?}", all.cases[0]);
}

const SOURCE: &str = r#"
fn manifest() { #{summary: "s", options: #{key: optional("secret", (), "k")}} }
fn verify(request) { if request.options.key != () { #{preset: "github", key: request.options.key} } }
fn events(request) {
    if request.event == "hello" { return respond(203, #{"X-A": "b"}, "hi"); }
    if request.event == "broken" { return [#{type: request.json.nothing}]; }
    if request.json == () { return refuse(400, "not JSON"); }
    [#{type: "shop." + request.event, id: request.json.get("id"), time: request.json.get("at"), data: request.tree}]
}
"#;

#[test]
fn cases_of_sources_are_blessed_too() {
    let script = SourceScript::compile("s", Source::new("s.rhai", SOURCE), false).unwrap();
    let script = Arc::new(script);
    for (case, now) in [
        (
            "{request: {event: sold, json: {id: o-1, at: 5}}}",
            "{request: {event: sold, json: {id: o-1, at: 5}}, expect: {events: [{type: shop.sold, id: o-1, time: \"1970-01-01T00:00:05Z\", data: {id: o-1, at: 5}}]}}",
        ),
        (
            "{request: {event: sold, json: {}}, expect: {events: [{type: x, source: case}]}}",
            "{request: {event: sold, json: {}}, expect: {events: [{type: shop.sold, source: case}]}}",
        ),
        (
            "{request: {event: sold, json: {}}, expect: {events: []}}",
            "{request: {event: sold, json: {}}, expect: {events: [{type: shop.sold, data: {}}]}}",
        ),
        ("{request: {body: x}}", "{request: {body: x}, expect: {status: 400, why: not JSON}}"),
        ("{request: {body: x}, expect: {status: 401}}", "{request: {body: x}, expect: {status: 400}}"),
        (
            "{request: {event: hello}, expect: {status: 200, body: ho}}",
            "{request: {event: hello}, expect: {status: 203, body: hi}}",
        ),
        ("{request: {event: hello}}", "{request: {event: hello}, expect: {status: 203, headers: {x-a: b}, body: hi}}"),
        ("{request: {event: broken, json: {}}}", "refused: s.rhai:6:"),
        ("{request: {json: {}}, options: {key: {secret: k}}}", "refused: the case has no secret k"),
    ] {
        let cases = Source::new("s.yaml", format!("# top\n- {case}   # tail\n"));
        let all = cases::bless_source(&script, &cases, &|_| Err("there are no files".to_owned())).unwrap();
        match (&all.cases[0].fate, now.strip_prefix("refused: ")) {
            (Fate::Refused(why), Some(said)) => assert!(why.contains(said) && all.text.is_none(), "{case}: {why}"),
            _ => assert_eq!(all.text.as_deref(), Some(&*format!("# top\n- {now}   # tail\n")), "{case}: {all:?}"),
        }
    }
}
