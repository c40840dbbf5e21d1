use http::HeaderMap;
use serde_json::json;

use super::*;
use crate::words::secret::Secret;

fn members(options: &Json) -> Members {
    let Exact::Map(members) = Exact::from(options) else { panic!("options are a map") };
    members
}

const MANIFEST: &str = "fn manifest() { #{summary: \"s\", options: #{url: required(\"url\", \"u\"), json: optional(\"tree\", (), \"j\")}} }\n";

fn platform(rest: &str) -> Platform {
    compile(&format!("{MANIFEST}{rest}")).unwrap_or_else(|found| panic!("{found:?}"))
}

fn compile(text: &str) -> Result<Platform, Vec<Diagnostic>> {
    Platform::compile("p", Source::new("p.rhai", text), false)
}

fn request(platform: &Platform, options: &Json) -> Result<Request, RenderError> {
    let event = Event::new(
        "t",
        Some("e-1".into()),
        &br#"{"b":1,"a":123456789012345678901234567890}"#[..],
        Timestamp::UNIX_EPOCH,
    );
    let mut secrets = Secrets::default();
    secrets.insert("s", Ok(Secret::new("hunter22")));
    let now = "2026-01-31T12:00:00.5Z".parse().unwrap();
    platform.request(
        &Given { id: "j-7", attempt: 2, now, hook: "h", event: &event, secrets: &secrets },
        platform.options(&members(options)),
    )
}

fn ok(body: &str, options: &Json) -> Request {
    request(&platform(&format!("fn request(delivery) {{ {body} }}")), options)
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn wrong(body: &str) -> String {
    match request(&platform(&format!("fn request(delivery) {{ {body} }}")), &json!({"url": "https://h.example/"})) {
        Err(RenderError::Wrong(found)) => found.what,
        other => panic!("{body}: {other:?}"),
    }
}

fn answer(status: u16, body: &str) -> Response {
    Response { status, headers: HeaderMap::new(), body: body.to_owned().into(), truncated: false }
}

#[test]
fn a_delivery_is_what_the_script_sees() {
    let made = ok(
        "let d = delivery; #{url: d.options.url, json: #{id: d.id, attempt: d.attempt, time: d.time, s: d.time_s, ms: d.time_ms, hook: d.hook, event: d.event, none: d.options.json}}",
        &json!({"url": "https://h.example/x"}),
    );
    let body: Json = serde_json::from_slice(&made.body).unwrap();
    assert_eq!(body["event"]["data"]["b"], 1);
    assert_eq!(body["event"]["raw"].as_str().unwrap(), r#"{"b":1,"a":123456789012345678901234567890}"#);
    assert_eq!(
        (&body["event"]["id"], &body["event"]["type"], &body["event"]["content_type"]),
        (&json!("e-1"), &json!("t"), &json!("application/json"))
    );
    assert_eq!(body["id"], "j-7");
    assert_eq!(
        (&body["attempt"], &body["time"], &body["s"], &body["ms"]),
        (&json!(2), &json!("2026-01-31T12:00:00.5Z"), &json!(1_769_860_800), &json!(1_769_860_800_500_i64))
    );
    assert_eq!((&body["hook"], &body["none"]), (&json!("h"), &Json::Null));
}

#[test]
fn without_a_body_the_event_goes_out_as_it_came() {
    let made = ok("#{url: delivery.options.url}", &json!({"url": "https://h.example/x"}));
    assert_eq!(made.body, br#"{"b":1,"a":123456789012345678901234567890}"#[..]);
    assert_eq!((made.method, made.headers["content-type"].to_str().unwrap()), (http::Method::POST, "application/json"));
    assert_eq!(made.headers["user-agent"].to_str().unwrap(), concat!("postrider/", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bytes_that_are_no_text_can_be_passed_on() {
    let event = Event::new("t", None, &b"\xff\x00"[..], Timestamp::UNIX_EPOCH);
    let platform = platform("fn request(delivery) { #{url: delivery.options.url, body: delivery.event.raw} }");
    let (now, secrets) = (Timestamp::UNIX_EPOCH, Secrets::default());
    let given = Given { id: "j-7", attempt: 1, now, hook: "h", event: &event, secrets: &secrets };
    let made = platform.request(&given, platform.options(&members(&json!({"url": "https://h.example/x"}))));
    assert_eq!(made.unwrap().body, event.raw);
}

#[test]
fn bodies_and_their_media_types() {
    let options = json!({"url": "https://h.example/x", "json": {"z": 1, "a": u64::MAX}});
    let content_type = |made: &Request| made.headers["content-type"].to_str().unwrap().to_owned();
    let made = ok("#{url: delivery.options.url, json: delivery.options.json}", &options);
    assert_eq!(
        (&made.body[..], content_type(&made)),
        (&br#"{"z":1,"a":18446744073709551615}"#[..], "application/json".into())
    );
    let made = ok("#{url: delivery.options.url, form: #{a: #{b: [1]}}}", &options);
    assert_eq!(
        (&made.body[..], content_type(&made)),
        (&b"a%5Bb%5D%5B%5D=1"[..], "application/x-www-form-urlencoded".into())
    );
    let made = ok("#{url: delivery.options.url, text: \"é\"}", &options);
    assert_eq!((&made.body[..], content_type(&made)), ("é".as_bytes(), "text/plain; charset=utf-8".into()));
    let made = ok(
        "#{url: delivery.options.url, body: from_hex(\"00ff\"), headers: #{\"Content-Type\": \"image/png\", \"X-N\": 5}}",
        &options,
    );
    assert_eq!(
        (&made.body[..], content_type(&made), made.headers["x-n"].to_str().unwrap()),
        (&b"\x00\xff"[..], "image/png".into(), "5")
    );
    for method in ["GET", "HEAD"] {
        let made = ok(&format!("#{{url: delivery.options.url, method: \"{method}\", json: #{{a: 1}}}}"), &options);
        assert!(made.body.is_empty() && !made.headers.contains_key("content-type"), "{method}");
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let made = ok(&format!("#{{url: delivery.options.url, method: \"{method}\", json: #{{a: 1}}}}"), &options);
        assert_eq!((made.method.as_str(), &made.body[..]), (method, &br#"{"a":1}"#[..]));
    }
}

#[test]
fn a_login_in_the_url_becomes_a_header() {
    let made = ok("#{url: delivery.options.url}", &json!({"url": "https://user:p%40ss@h.example/x#frag"}));
    assert_eq!(
        (made.url.as_str(), made.headers["authorization"].to_str().unwrap()),
        ("https://h.example/x", "Basic dXNlcjpwQHNz")
    );
    let made = ok("#{url: delivery.options.url}", &json!({"url": "https://bücher.example/ä b"}));
    assert_eq!(made.url, "https://xn--bcher-kva.example/%C3%A4%20b");
}

#[test]
fn what_is_no_request_is_said() {
    for (body, said) in [
        ("1", "instead of a map"),
        ("#{}", "no url"),
        ("#{url: \"ftp://h\"}", "https://"),
        ("#{url: \"no url\"}", "no URL"),
        ("#{url: \"https://h\", bdoy: 1}", "did you mean `body`"),
        ("#{url: \"https://h\", json: 1, text: \"x\"}", "one body, not json and text"),
        ("#{url: \"https://h\", text: 1}", "must be a text"),
        ("#{url: \"https://h\", body: \"x\"}", "must be bytes"),
        ("#{url: \"https://h\", form: \"x\"}", "form is a map"),
        ("#{url: \"https://h\", json: #{a: from_hex(\"00\")}}", "to_base64"),
        ("#{url: \"https://h\", json: #{a: 0.0 / 0.0}}", "cannot write"),
        ("#{url: \"https://h\", method: \"GE T\"}", "no HTTP method"),
        ("#{url: \"https://h\", headers: \"x\"}", "must be a map"),
        ("#{url: \"https://h\", headers: #{\"a b\": \"x\"}}", "name of a header"),
        ("#{url: \"https://h\", headers: #{a: \"x\\r\\ny: z\"}}", "line break"),
        ("#{url: \"https://h\", headers: #{a: \"é\"}}", "ASCII"),
        ("throw \"no picture\"", "no picture"),
        ("throw \"hunter22 is wrong\"", "*** is wrong"),
        ("loop {}", "steps"),
    ] {
        assert!(wrong(body).contains(said), "{body}: {}", wrong(body));
    }
}

#[test]
fn scripts_are_checked_when_they_are_compiled() {
    let first = |text: &str| {
        let found = compile(text).expect_err(text);
        assert!(found.iter().all(|found| found.place.is_some()), "{text}: {found:?}");
        format!("{} {}", found[0].what, found[0].help.clone().unwrap_or_default())
    };
    let request = "fn request(delivery) { 1 }";
    for (text, said) in [
        (String::new(), "no `manifest`"),
        (MANIFEST.to_owned(), "no `request`"),
        (format!("{MANIFEST}fn request() {{ 1 }}"), "takes 0 arguments"),
        (format!("{MANIFEST}{request}\nfn verdict() {{ 1 }}"), "verdict(response)"),
        (format!("{MANIFEST}{request}\nfn check(a, b) {{ 1 }}"), "check(options)"),
        (format!("fn manifest() {{ 1 }} {request}"), "must return a map"),
        (format!("fn manifest() {{ #{{summary: \"s\"}} }} {request}"), "needs `options`"),
        (format!("fn manifest() {{ #{{options: #{{}}}} }} {request}"), "needs `summary`"),
        (
            format!("fn manifest() {{ #{{summary: \"s\", options: #{{}}, ratelimit: 1}} }} {request}"),
            "did you mean `rate_limit`",
        ),
        (
            format!("fn manifest() {{ #{{summary: \"s\", options: #{{a: required(\"txt\", \"\")}}}} }} {request}"),
            "did you mean `text`",
        ),
        (format!("fn manifest() {{ #{{summary: \"s\", options: #{{a: 1}}}} }} {request}"), "required(kind, about)"),
        (
            format!("fn manifest() {{ #{{summary: \"s\", options: #{{}}, receiver: [\"url\"]}} }} {request}"),
            "none of the options",
        ),
        (
            format!("fn manifest() {{ #{{summary: \"s\", options: #{{}}, rate_limit: \"20\"}} }} {request}"),
            "rate_limit",
        ),
        (format!("fn manifest() {{ #{{summary: \"s\", options: #{{}}, concurrency: 0}} }} {request}"), "concurrency"),
        (format!("fn manifest() {{ requird(1) }} {request}"), "did you mean `required`"),
    ] {
        assert!(first(&text).contains(said), "{text}: {}", first(&text));
    }
    let choices = compile(&format!("fn manifest() {{ #{{summary: \"s\", options: #{{b: optional([\"x\", \"y\"], \"x\", \"\"), a: optional(\"choice: u v\", \"u\", \"\"), z: required(\"bool\", \"\")}}}} }} {request}")).unwrap();
    let options: Vec<_> =
        choices.manifest.options.iter().map(|option| (option.name.as_str(), option.kind.word())).collect();
    assert_eq!(options, [("z", "bool".into()), ("a", "choice: u v".into()), ("b", "choice: x y".into())]);
}

#[test]
fn a_check_speaks_before_the_request() {
    let checked = platform(
        "fn check(options) { if options.json != () { \"no json please\" } }\nfn request(delivery) { #{url: delivery.options.url} }",
    );
    assert_eq!(
        checked.check(&members(&json!({"url": "https://h", "json": {"a": 1}}))).as_deref(),
        Some("no json please")
    );
    assert_eq!(checked.check(&members(&json!({"url": "https://h", "json": null}))), None);
    assert_eq!(checked.check(&members(&json!({}))), None);
    assert!(
        request(&checked, &json!({"url": "https://h", "json": {"a": 1}}))
            .unwrap_err()
            .to_string()
            .contains("no json please")
    );
    assert!(request(&checked, &json!({"url": "https://h"})).is_ok());
}

#[test]
fn verdicts() {
    let judge = |verdict: &str, status, body: &str| {
        let rest = format!("fn request(delivery) {{ 1 }}\nfn verdict(response) {{ {verdict} }}");
        platform(&rest).verdict(&answer(status, body), Timestamp::UNIX_EPOCH)
    };
    let word = |verdict: &str| judge(verdict, 200, "{}").verdict.word();
    assert_eq!(
        ["delivered()", "retry(\"x\")", "hold(\"x\")", "reject(\"x\")", "pause(\"x\", 1.5)", "by_status(response)"]
            .map(word),
        ["delivered", "retry", "hold", "reject", "pause", "delivered"]
    );
    assert_eq!(judge("delivered(\"doubt\")", 200, "").warning.as_deref(), Some("doubt"));
    assert_eq!(
        judge("pause(\"x\", 1e9)", 200, "").verdict,
        Verdict::Pause { why: "x".into(), wait: crate::words::limits::RETRY_AFTER_MAX }
    );
    for broken in ["1", "throw \"x\"", "response.jsn", "()", "loop {}", "pause(\"x\", \"y\")"] {
        let judged = judge(broken, 200, "{\"errcode\":0}");
        assert_eq!(judged.verdict.word(), "retry", "{broken}");
        assert!(judged.verdict.why().unwrap().contains("could not be judged"), "{broken}");
    }
    assert_eq!(
        judge(
            "if type_of(response.json) == \"()\" && response.text == \"<html>\" { hold(\"x\") } else { delivered() }",
            200,
            "<html>"
        )
        .verdict
        .word(),
        "hold"
    );
    let default = platform("fn request(delivery) { 1 }");
    assert_eq!(default.verdict(&answer(204, ""), Timestamp::UNIX_EPOCH).verdict, Verdict::Delivered);
    let mut busy = answer(429, "");
    busy.headers.insert("retry-after", "3".parse().unwrap());
    let wait = std::time::Duration::from_secs(3);
    assert_eq!(
        default.verdict(&busy, Timestamp::UNIX_EPOCH).verdict,
        Verdict::Pause { why: "429 Too Many Requests".into(), wait }
    );
    let by_status = platform(
        "fn request(delivery) { 1 }\nfn verdict(response) { if response.headers[\"retry-after\"] != \"3\" { throw \"x\" } by_status(response) }",
    );
    assert_eq!(
        by_status.verdict(&busy, Timestamp::UNIX_EPOCH).verdict,
        Verdict::Pause { why: "429 Too Many Requests".into(), wait }
    );
}

#[test]
fn own_scripts_replace_built_in_ones_unless_they_are_broken() {
    let script = |text: String| Source::new("x.rhai", text);
    let mine = format!("{MANIFEST}fn request(delivery) {{ #{{url: delivery.options.url}} }}");
    let scripts = [
        ("webhook".to_owned(), script(mine.clone())),
        ("mine".to_owned(), script(mine)),
        ("wecom".to_owned(), script("fn".into())),
    ];
    let (platforms, found) = Platforms::with_scripts(scripts);
    assert_eq!(found.len(), 1);
    let built_in: Vec<_> = platforms.0.iter().map(|(name, platform)| (name.as_str(), platform.built_in)).collect();
    for expected in [("dingtalk", true), ("lark", true), ("mine", false), ("webhook", false), ("wecom", true)] {
        assert!(built_in.contains(&expected), "{expected:?}");
    }
}

#[test]
fn any_script_signs_what_leaves() {
    const SIGNS: &str = "fn manifest() { #{summary: \"s\", options: #{url: required(\"url\", \"u\"), key: required(\"secret\", \"k\")}} }\n";
    let signed = |sign: &str| {
        let text = format!(
            "{SIGNS}fn request(delivery) {{ let o = delivery.options; #{{url: o.url, json: #{{b: 1}}, sign: {sign}}} }}"
        );
        request(&compile(&text).unwrap(), &json!({"url": "https://h.example/ä#x", "key": "It's a Secret"}))
    };
    let made = signed("#{preset: \"github\", key: o.key, header: (), encoding: []}").unwrap();
    assert_eq!(
        made.headers["x-hub-signature-256"],
        "sha256=ea34462efc2730a73dff4a1c39a2a0b54f13a83d551c04ce320b6133f8193a2d"
    );
    let made = signed("#{preset: \"standard-webhooks\", key: to_base64(o.key)}").unwrap();
    assert_eq!(
        (&made.headers["webhook-id"], &made.headers["webhook-timestamp"]),
        (&"j-7".parse().unwrap(), &"1769860800".parse().unwrap())
    );
    let wrong = |sign: &str| match signed(sign) {
        Err(RenderError::Wrong(found)) => found.what,
        other => panic!("{sign}: {other:?}"),
    };
    assert!(wrong("#{preset: \"guthub\", key: o.key}").contains("did you mean `github`?"));
    assert!(wrong("#{preset: \"github\", key: ()}").contains("a signature needs a key"));
    assert!(wrong("\"github\"").contains("a signature is a map"));
    assert!(wrong("#{preset: \"standard-webhooks\", key: o.key}").contains("not base64"));
}

#[test]
fn who_looks_at_options_only_need_not_be_asked_again() {
    let repeats = |name: &str| Platforms::built_in().get(name).unwrap().repeats();
    assert_eq!(["webhook", "dingtalk", "lark", "wecom"].map(repeats), [true, false, false, true]);
}

#[test]
fn a_header_may_carry_the_id_of_the_delivery() {
    let url = json!({"url": "https://h.example/x"});
    let made = ok("#{url: delivery.options.url, id_header: \"Idempotency-Key\"}", &url);
    assert_eq!(made.headers["idempotency-key"], "j-7");
    let made = ok("#{url: delivery.options.url, id_header: \"x-id\", headers: #{\"X-Id\": \"own\"}}", &url);
    assert_eq!(made.headers["x-id"], "own");
    assert_eq!(wrong("#{url: \"https://h.example/\", id_header: \"a b\"}"), "`a b` cannot be the name of a header");
}
