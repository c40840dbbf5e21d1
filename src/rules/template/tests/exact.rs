//! Numbers arrive as they were sent, and what is left out is left out.

use super::*;

fn made(yaml: &str, kind: &Kind, data: &str) -> Result<String, String> {
    let event = Event::new("t", Some("e".into()), data.to_owned(), Timestamp::UNIX_EPOCH);
    let secrets = secrets();
    let given = Given { id: "1", attempt: 1, now: Timestamp::UNIX_EPOCH, hook: "h", event: &event, secrets: &secrets };
    let tree = compile(yaml, kind).unwrap_or_else(|found| panic!("{yaml}: {found:?}"));
    tree.render(&given).map(|exact| exact.to_string()).map_err(|error| error.to_string())
}

const EVENT: &str = r#"{"price":1.10,"same":1.1,"id":123456789012345678901234567890,"big":1e400,"small":1E-5,
    "zero":-0,"near":0.30000000000000000001,"nearer":0.30000000000000000002,"long":12345678901234567890123456789012345678901234567890,
    "u64":18446744073709551615,"list":[2.50,{"x":3.0}],"items":[{"p":7.10},{"p":8.20}]}"#;

#[test]
fn a_number_alone_is_the_number_of_the_event() {
    let tree = |leaf: &str| made(&format!("v: {{a: \"{leaf}\"}}"), &Kind::Tree, EVENT).unwrap();
    for (path, number) in [
        ("price", "1.10"),
        ("same", "1.1"),
        ("data.id", "123456789012345678901234567890"),
        ("event.data.big", "1e400"),
        ("small", "1E-5"),
        ("zero", "-0"),
        ("near", "0.30000000000000000001"),
        ("nearer", "0.30000000000000000002"),
        ("long", "12345678901234567890123456789012345678901234567890"),
        ("u64", "18446744073709551615"),
        ("list", r#"[2.50,{"x":3.0}]"#),
        ("list[1].x", "3.0"),
        ("data['list'][0]", "2.50"),
    ] {
        assert_eq!(tree(&format!("{{{{ {path} }}}}")), format!("{{\"a\":{number}}}"), "{path}");
    }
    let whole = made("v: '{{ data }}'", &Kind::Tree, EVENT).unwrap();
    assert_eq!(whole, Exact::parse(EVENT.as_bytes()).unwrap().to_string());
}

#[test]
fn a_number_in_a_text_is_written_as_in_the_event() {
    let text = |template: &str| made(&format!("v: \"{template}\""), &Kind::Text, EVENT);
    for (template, wanted) in [
        (
            "{{ id }} {{ small }} {{ big }} {{ long }}",
            "123456789012345678901234567890 1E-5 1e400 12345678901234567890123456789012345678901234567890",
        ),
        ("{% for item in items %}{{ item.p }};{% endfor %}", "7.10;8.20;"),
        ("{{ list }} {{ list | json }}", "[2.50,{\\\"x\\\":3.0}] [2.50,{\\\"x\\\":3.0}]"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(items[0].p) }}", "<7.10>"),
        ("{{ items | map(attribute='p') | join(' ') }} ", "7.1 8.2 "),
        ("{{ items[0].p * 2 }} {{ 'dear' if items[0].p > 7 else 'cheap' }} ", "14.2 dear "),
        ("{{ id + 1 }} ", "123456789012345678901234567891 "),
        // One number in two spellings is one number.
        ("{{ price }} {{ same }} ", "1.1 1.1 "),
    ] {
        assert_eq!(text(template).unwrap(), format!("\"{wanted}\""), "{template}");
    }
    assert!(text("{{ near }} ").unwrap_err().contains("exactly one"));
    assert!(text("{{ big * 2 }} ").is_ok(), "what is beyond the largest float stays there");
    assert!(text("{{ 0 - big }} ").unwrap_err().contains("no number"));
}

#[test]
fn forms_headers_and_urls_take_numbers_as_they_are() {
    assert_eq!(made("v: {a: [\"{{ price }}\"]}", &Kind::Tree, EVENT).unwrap(), r#"{"a":[1.10]}"#);
    assert_eq!(
        made("v: {X-Id: \"{{ id }}\"}", &Kind::Headers, EVENT).unwrap(),
        r#"{"x-id":"123456789012345678901234567890"}"#
    );
    let url = made("v: 'https://h/{{ id }}?p={{ small }}'", &Kind::Url, EVENT).unwrap();
    assert_eq!(url, "\"https://h/123456789012345678901234567890?p=1E-5\"");
}

#[test]
fn numbers_of_the_file_stay_as_they_are_written() {
    let yaml = "v: {a: 1.10, b: 123456789012345678901234567890, c: 1e3, d: \"1.10\", e: \"123456789012345678901234567890\", f: 0.5}";
    let wanted = r#"{"a":1.10,"b":123456789012345678901234567890,"c":1e3,"d":"1.10","e":"123456789012345678901234567890","f":0.5}"#;
    assert_eq!(made(yaml, &Kind::Tree, "{}").unwrap(), wanted);
}

#[test]
fn conditions_compare_numbers_of_any_size() {
    let event = Event::new("t", Some("e".into()), EVENT, Timestamp::UNIX_EPOCH);
    for (when, wanted) in [
        ("price == 1.1", true),
        ("big > 1000000", true),
        ("id > 5", true),
        ("id == 123456789012345678901234567890", true),
        ("id == 123456789012345678901234567891", false),
        ("near < 0.4", true),
    ] {
        let source = Source::new("hook.yaml", format!("v: '{when}'\n"));
        let condition = Condition::compile(&source, &value_of(&source)).unwrap();
        assert_eq!(condition.holds(&event, "h"), Ok(wanted), "{when}");
    }
}

#[test]
fn a_member_can_be_left_out() {
    let tree = |data: &str| {
        made(
            "v: {id: 7, custom: \"{{ customId | default(omit) }}\", list: [a, \"{{ x | default(omit) }}\"]}",
            &Kind::Tree,
            data,
        )
    };
    assert_eq!(tree("{}").unwrap(), r#"{"id":7,"list":["a"]}"#);
    assert_eq!(tree(r#"{"customId":"c","x":1}"#).unwrap(), r#"{"id":7,"custom":"c","list":["a",1]}"#);
    assert_eq!(tree(r#"{"customId":null,"x":1.10}"#).unwrap(), r#"{"id":7,"custom":null,"list":["a",1.10]}"#);
    assert_eq!(tree(r#"{"omit":"x"}"#).unwrap(), r#"{"id":7,"list":["a"]}"#, "the name is ours");
    let header = |data: &str| {
        made("v: {X-A: \"{{ a | default(omit) }}\", X-B: \"{{ b if c else omit }}\"}", &Kind::Headers, data)
    };
    assert_eq!(header(r#"{"c":false}"#).unwrap(), "{}");
    assert_eq!(header(r#"{"a":1.50,"b":"x","c":true}"#).unwrap(), r#"{"x-a":"1.50","x-b":"x"}"#);
    assert!(header(r#"{"a":"x\ny"}"#).is_err());
    let within = made("v: {a: \"{{ {'x': y | default(omit), 'z': [omit, 1]} }}\"}", &Kind::Tree, "{}");
    assert_eq!(within.unwrap(), r#"{"a":{"z":[1]}}"#);
    for (yaml, kind) in [
        ("v: \"a {{ x | default(omit) }}\"", &Kind::Text),
        ("v: {a: \"a {{ x | default(omit) }}\"}", &Kind::Tree),
        ("v: \"{{ x | default(omit) }}\"", &Kind::Tree),
        ("v: {X-A: \"a {{ x | default(omit) }}\"}", &Kind::Headers),
    ] {
        assert!(made(yaml, kind, "{}").unwrap_err().contains("omit"), "{yaml}");
    }
    assert!(compile("v: {a: \"{{ omit }}\"}", &Kind::Tree).unwrap().is_constant());
}

#[test]
fn a_filter_does_not_make_null_of_a_field_that_is_not_there() {
    for filter in ["urlencode", "json", "printable"] {
        let said = made(&format!("v: 'x {{{{ gone | {filter} }}}}'"), &Kind::Text, "{}").unwrap_err();
        assert!(said.contains("is not in this event"), "{filter}: {said}");
    }
}

#[test]
fn what_cannot_be_printed_can_be_taken_out() {
    assert_eq!(
        made("v: '{{ x | printable }}'", &Kind::Text, r#"{"x":"a\u0007\u0000\tb\r\n\u0085\ufffe🎮"}"#).unwrap(),
        r#""a\tb\r\n🎮""#
    );
}
