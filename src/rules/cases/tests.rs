use super::*;

const SCRIPT: &str = r#"
fn manifest() { #{summary: "s", options: #{url: required("url", "u"), message: optional("text", "{{ data.m }}", "m")}} }
fn request(delivery) { #{url: delivery.options.url, json: #{m: delivery.options.message, id: delivery.id}} }
fn verdict(response) { if response.status == 200 { delivered("doubt") } else { pause("slow down", 5) } }
"#;

fn results(cases: &str) -> Result<Vec<CaseResult>, Vec<Diagnostic>> {
    let platform = Platform::compile("p", Source::new("p.rhai", SCRIPT), false).unwrap();
    run(&platform, &Source::new("p.yaml", cases))
}

fn differences(case: &str) -> Vec<String> {
    results(case).unwrap_or_else(|found| panic!("{found:?}")).remove(0).differences
}

#[test]
fn a_case_passes_or_says_every_difference() {
    let case = |expect: &str| {
        differences(&format!(
            "- {{name: n, event: {{data: {{m: hi}}}}, id: a-1, options: {{url: \"https://h.example/\"}}, expect: {expect}}}"
        ))
    };
    assert_eq!(
        case(
            "{method: POST, url: \"https://h.example/\", json: {m: hi, id: a-1}, headers: {content-type: application/json}, bytes: {m: 2, body: 21}}"
        ),
        [""; 0]
    );
    let all = case("{method: PUT, json: {m: ho, x: 1}, headers: {x-a: b}, bytes: {m: 3}}");
    assert_eq!(all.len(), 6, "{all:#?}");
    for part in ["method is \"POST\"", "json.m is ", "no json.x", "json.id is there", "no header x-a", "m has 2 bytes"]
    {
        assert!(all.iter().any(|said| said.contains(part)), "{part}: {all:#?}");
    }
    assert!(case("{error: x}")[0].contains("a request was made"));
}

#[test]
fn an_error_can_be_expected() {
    let case = |expect: &str| differences(&format!("- {{options: {{url: \"https://h.example/\"}}, expect: {expect}}}"));
    assert_eq!(case("{error: \"`data.m` is not in this event\"}"), [""; 0]);
    assert!(case("{error: other}")[0].contains("expected one with"));
    assert!(case("{json: {}}")[0].contains("no request was made"));
    assert!(differences("- {options: {}, expect: {error: needs the option}}").is_empty());
}

#[test]
fn an_answer_is_judged() {
    assert!(differences("- {response: {status: 200}, verdict: delivered, warning: doubt}").is_empty());
    assert!(differences("- {response: {status: 429}, verdict: pause, wait: 5s, why: slow}").is_empty());
    assert!(differences("- {response: {status: 200}, verdict: delivered}")[0].contains("there is a warning"));
    let all = differences("- {response: {status: 429}, verdict: hold, wait: 6s, why: fast, warning: x}");
    assert_eq!(all.len(), 4, "{all:?}");
}

#[test]
fn what_is_no_case_is_said_with_its_place() {
    for (cases, said) in [
        ("a: b", "must be a list"),
        ("- {name: n, options: {}}", "needs `expect`"),
        ("- {name: n, options: {}, expect: {}}", "cannot fail"),
        ("- {name: n, options: {}, expect: {jsn: 1}}", "no key `expect.jsn`"),
        ("- {name: n, opts: {}, expect: {json: 1}}", "no key `case.opts`"),
        ("- {response: {status: 200}}", "which verdict"),
        ("- {response: {status: 200}, verdict: ok}", "which verdict"),
        ("- {name: n, time: soon, expect: {json: 1}}", "no time"),
        ("- text", "must be a map"),
    ] {
        let found = results(cases).expect_err(cases);
        assert!(found.iter().any(|found| found.what.contains(said) && found.place.is_some()), "{cases}: {found:?}");
    }
}
