use super::*;

fn source(text: &str) -> Source {
    Source::new("f.yaml", text)
}

fn entry<'n>(node: &'n Node, name: &str) -> &'n Node {
    let Value::Map(entries) = &node.value else { panic!("not a map") };
    &entries.iter().find(|(key, _)| key.name == name).unwrap_or_else(|| panic!("no key {name}")).1
}

#[test]
fn values_are_those_of_json() {
    let text = "a: [1, 1.50, 010, 1_000, yes, no, on, null, ~, .nan, true]\nb:\nc: 12345678901234567890123\n1: x\n";
    let node = parse(&source(text)).unwrap();
    assert_eq!(
        node.to_json(),
        serde_json::json!({
            "a": [1, 1.5, "010", "1_000", "yes", "no", "on", null, null, ".nan", true],
            "b": null,
            "c": "12345678901234567890123",
            "1": "x"
        })
    );
    let Value::List(entries) = &entry(&node, "a").value else { panic!() };
    assert_eq!(entries[1].written(&source(text)), "1.50");
    for empty in ["", "\n", "# only a comment\n\n  # and another\n"] {
        assert_eq!(parse(&source(empty)).unwrap().value, Value::Null, "{empty:?}");
    }
}

#[test]
fn keys_and_values_know_their_places() {
    let text = "应用: \"值\"\nb:\n  - 'it''s'\n  - plain\n";
    let file = source(text);
    let node = parse(&file).unwrap();
    let Value::Map(entries) = &node.value else { panic!() };
    assert_eq!(&text[entries[0].0.span.start..entries[0].0.span.end], "应用");
    let place = file.place(entries[0].1.span);
    assert_eq!((place.line, place.column, entries[0].1.style), (1, 5, Style::Quoted));
    let Value::List(list) = &entries[1].1.value else { panic!() };
    assert_eq!((list[0].style, list[1].style), (Style::Quoted, Style::Plain));
    assert_eq!(file.place(list[1].span).to_string(), "f.yaml:4:5");
}

#[test]
fn aliases_and_merges_unfold() {
    let node = parse(&source("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n")).unwrap();
    assert_eq!(entry(&node, "c").to_json(), serde_json::json!({"b": 1}));
    assert_eq!(entry(&node, "d").to_json(), serde_json::json!({"e": 2, "b": 1}));
}

/// Where the `X` of a value is found again in the file.
fn located(text: &str) -> String {
    let file = source(text);
    let node = parse(&file).unwrap();
    let value = entry(&node, "k");
    let Value::String(content) = &value.value else { panic!("not a text: {value:?}") };
    let place = locate(&file, value, content.find('X').unwrap(), 1);
    format!("{}:{}", place.line, place.column)
}

#[test]
fn an_offset_in_a_value_is_found_in_the_file() {
    for (text, place) in [
        ("k: aX\n", "1:5"),
        ("k: \"aX\"\n", "1:6"),
        ("k: '值X'\n", "1:6"),
        ("a: 1\nk: |\n  one\n  two X\n", "4:7"),
        ("a: 1\nk: |-\n    one\n\n      X\n", "5:7"),
        ("k: |\r\n  one\r\n  two X\r\n", "3:7"),
        ("k: | # why\n  X\n", "2:3"),
        ("k: |\n  \"X\"\n", "2:4"),
        ("k: >\n  one X\n", "2:7"),
        ("k: >-\n  one\n  two X\n  three\n", "3:7"),
        // Not what stands in the file byte for byte: the scalar's first character.
        ("k: \"\\n X\"\n", "1:4"),
        ("k: 'it''s X'\n", "1:4"),
        ("k: >\n  one\n\n  X\n", "2:3"),
    ] {
        assert_eq!(located(text), place, "{text:?}");
    }
}

#[test]
fn mistakes_are_named_where_they_are() {
    for (text, code, place) in [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", "3:1"),
        ("a: {x: 1, x: 2}\n", "duplicate-key", "1:11"),
        ("a: b\n\tc: d\n", "tab", "2:1"),
        ("a:\n\tb: c\n", "tab", "2:1"),
        ("a: \"open\nb: c\nd: e\n", "quote", "1:4"),
        ("a: 'it's'\n", "quote", "1:8"),
        ("a: \"x\\qy\"\n", "quote", "1:6"),
        ("a:\n  b: 1\n   c: 2\n", "indentation", "3:4"),
        ("a:\n    b: 1\n  c: 2\n", "indentation", "3:3"),
        ("a: - b\n", "indentation", "1:4"),
        ("title: {{ x }}\n", "unquoted", "1:8"),
        ("l: [a, {{ x }}]\n", "unquoted", "1:8"),
        ("title: {% if x %}a{% endif %}\n", "unquoted", "1:8"),
        ("a: see: this\n", "unquoted", "1:4"),
        ("events: *.build\n", "unquoted", "1:9"),
        ("a: @x\n", "unquoted", "1:4"),
        ("a: 1\n---\nb: 2\n", "second-document", "2:1"),
        ("a: [1, 2\nb: 3\n", "bracket", "1:4"),
        ("a: {b: 1\nc: 3\n", "bracket", "1:4"),
        ("a: !vault x\n", "tag", "1:4"),
        ("a 1\nb: 2\n", "no-colon", "1:1"),
        ("a:b\nc: d\n", "no-colon", "1:1"),
        ("a: >x\n  b\n", "block-text", "1:4"),
        ("? [a]\n: b\n", "odd-key", "1:3"),
        ("a: 1\u{7}\n", "control-character", "1:5"),
    ] {
        let error = parse(&source(text)).unwrap_err();
        let found = error.place.clone().unwrap();
        assert_eq!((error.code, format!("{}:{}", found.line, found.column).as_str()), (code, place), "{text:?}");
        assert!(error.help.is_some(), "{text:?}");
    }
}

#[test]
fn hostile_files_meet_a_bound() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ["b", "c", "d", "e", "f"].iter().zip(["a", "b", "c", "d", "e"]) {
        bomb += &format!("{this}: &{this} [{}]\n", [format!("*{last}").as_str(); 9].join(","));
    }
    assert_eq!(parse(&source(&bomb)).unwrap_err().code, "too-complex");
    let wide = format!("a: [{}]", "x,".repeat(limits::YAML_NODES));
    assert_eq!(parse(&source(&wide)).unwrap_err().code, "too-complex");
    let deep = format!("a: {}", "[".repeat(1000));
    assert_eq!(parse(&source(&deep)).unwrap_err().code, "too-deep");
    let large = format!("a: {}", "x".repeat(limits::HOOK_FILE));
    assert_eq!(parse(&source(&large)).unwrap_err().code, "too-large");
}

proptest::proptest! {
    /// Whatever stands in a file, there is an answer, and its place is in the file.
    #[test]
    fn any_text_has_an_answer(text in "[ \\-a:{}\\[\\]\"'|>#&*!%@\\n\\r\\t\u{7}应]{0,60}") {
        let file = source(&text);
        match parse(&file) {
            Ok(node) => visit(&file, &node),
            Err(error) => {
                proptest::prop_assert!(error.help.is_some());
                error.render(false);
            }
        }
    }
}

const HOOK: &str = "events: [a, \"b.*\"]\nwhen: data.x == \"应用\"\noptions:\n  url: {secret: u}\n  message: |\n    {{ data.a }}\n\n    b: c\n  title: >-\n    one\n    two\n  json:\n    - 'it''s'\n    - {a: &x 1, b: *x}\ntimeout: 5s # short\n";

proptest::proptest! {
    /// The same for a real hook in which something was cut out and something else came in.
    #[test]
    fn any_slip_has_an_answer(cut in 0..HOOK.chars().count(), length in 0..12_usize, slip in "[ \\-a:{}\"'|>*\\n\\t]{0,3}") {
        let before = HOOK.chars().take(cut);
        let text: String = before.chain(slip.chars()).chain(HOOK.chars().skip(cut + length)).collect();
        let file = source(&text);
        match parse(&file) {
            Ok(node) => visit(&file, &node),
            Err(error) => drop(error.render(false)),
        }
    }
}

fn visit(file: &Source, node: &Node) {
    file.place(node.span);
    match &node.value {
        Value::String(text) => (0..=text.len()).for_each(|at| drop(locate(file, node, at, 1))),
        Value::List(entries) => entries.iter().for_each(|entry| visit(file, entry)),
        Value::Map(entries) => entries.iter().for_each(|(_, entry)| visit(file, entry)),
        _ => {}
    }
}
