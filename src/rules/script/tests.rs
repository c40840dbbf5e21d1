use serde_json::json;

use super::*;

fn script(text: &str) -> Script {
    Script::compile(&Source::new("p.rhai", text)).unwrap_or_else(|found| panic!("{found:?}"))
}

fn eval(expression: &str) -> Result<serde_json::Value, Box<Diagnostic>> {
    let made = script(&format!("fn f() {{\n    {expression}\n}}")).call("f", [])?;
    Ok(to_json(&made).unwrap_or_else(|why| panic!("{expression} {why}")).plain())
}

fn text(expression: &str) -> String {
    eval(expression).unwrap_or_else(|found| panic!("{expression}: {found:?}")).as_str().unwrap_or_default().to_owned()
}

fn said(expression: &str) -> String {
    eval(expression).expect_err(expression).what
}

#[test]
fn signatures_and_digests() {
    assert_eq!(
        text(r#"to_hex(hmac_sha256("It's a Secret to Everybody", "Hello, World!"))"#),
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    );
    assert_eq!(
        text(r#"to_hex(hmac_sha1("It's a Secret to Everybody", "Hello, World!"))"#),
        "01dc10d0c83e72ed246219cdd91669667fe2ca59"
    );
    assert_eq!(
        text(r#"to_hex(hmac_sha256("Jefe", "what do ya want for nothing?"))"#),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        text(r#"to_hex(hmac_sha512("Jefe", "what do ya want for nothing?")).sub_string(0, 16)"#),
        "164b7a7bfcf819e2"
    );
    assert_eq!(
        text(r#"to_hex(md5("abc")) + to_hex(sha256("")).sub_string(0, 8)"#),
        "900150983cd24fb0d6963f7d28e17f72e3b0c442"
    );
    // The key of Standard Webhooks is the decoded secret.
    let signed = r#"to_base64(hmac_sha256(from_base64("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}"))"#;
    assert_eq!(text(signed), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let ed25519 = r#"
        let key = from_base64("6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==");
        let message = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let signature = ed25519_sign(key, message);
        let known = from_base64("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
        if !ed25519_verify(known, message, signature) || ed25519_verify(known, message + "x", signature) { throw "wrong"; }
        to_base64(signature)"#;
    assert_eq!(
        text(ed25519),
        "hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    );
    assert_eq!(
        eval(r#"[equal("a", "a"), equal("a", "b"), equal("a", "ab"), equal(from_hex("61"), "a")]"#).unwrap(),
        json!([true, false, false, true])
    );
}

#[test]
fn encodings() {
    assert_eq!(text(r#"url_encode("a/b c?&#é+~")"#), "a%2Fb%20c%3F%26%23%C3%A9%2B~");
    assert_eq!(
        text(r#"with_query("https://h/p?a=1#f", #{sign: "x+/=", b: 2})"#),
        "https://h/p?a=1&b=2&sign=x%2B%2F%3D#f"
    );
    assert_eq!(text(r#"with_query("https://h/p", #{})"#), "https://h/p");
    assert_eq!(text(r#"with_query("https://h/p?", #{a: true})"#), "https://h/p?a=true");
    assert_eq!(
        text(r#"form_encode(#{b: "x y&", a: #{c: [1, 2], d: ()}, e: 1.5})"#),
        "a%5Bc%5D%5B%5D=1&a%5Bc%5D%5B%5D=2&b=x+y%26&e=1.5"
    );
    assert_eq!(text(r#"to_json(#{b: [1, 2.5, (), true], a: "é\n"})"#), "{\"a\":\"é\\n\",\"b\":[1,2.5,null,true]}");
    assert_eq!(eval(r#"parse_json("{\"a\": [1, null]}")"#).unwrap(), json!({"a": [1, null]}));
    assert_eq!(text(r#"to_hex(from_hex("00ffAb"))"#), "00ffab");
    assert_eq!(text(r#"to_base64(from_base64("-_8"))"#), "+/8=");
    assert_eq!(text(r#"truncate_bytes("应用", 4) + truncate_chars("应用更新", 2)"#), "应应用");
    for wrong in [
        r#"from_hex("0")"#,
        r#"from_hex("zz")"#,
        r#"from_hex("é")"#,
        r#"from_base64("*")"#,
        r#"parse_json("{")"#,
        r#"with_query("x", #{a: []})"#,
        r#"to_json(#{a: from_hex("00")})"#,
    ] {
        assert!(eval(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_tree_passes_through_as_it_was_written() {
    let tree: serde_json::Value =
        serde_json::from_str(r#"{"z":1,"a":{"y":18446744073709551615,"b":[{"n":1.0}]}}"#).unwrap();
    let opaque = || Opaque::dynamic((&tree).into());
    let looks = script(
        "fn f(t) { #{json: t, y: t.a.b[0].n, keys: t.keys(), gone: t.get(\"q\"), len: t.len(), has: \"z\" in t, z: t[\"z\"], inner: t.a} }",
    );
    let made = to_json(&looks.call("f", [opaque()]).unwrap()).unwrap().plain();
    assert_eq!(made["json"].to_string(), tree.to_string());
    assert_eq!(made["inner"].to_string(), tree["a"].to_string());
    assert_eq!(
        (&made["y"], &made["keys"], &made["gone"], &made["len"], &made["has"], &made["z"]),
        (&json!(1.0), &json!(["z", "a"]), &json!(null), &json!(2), &json!(true), &json!(1))
    );
    assert!(script("fn f(t) { t.q }").call("f", [opaque()]).is_err());
    assert!(script("fn f(t) { t.a.b[7] }").call("f", [opaque()]).is_err());
}

#[test]
fn errors_have_a_place_and_words() {
    let found = *script("fn f() {\n    let options = #{url: 1};\n    options.ulr\n}").call("f", []).unwrap_err();
    assert_eq!(
        (found.what.as_str(), found.place.as_ref().map(|place| (place.file.as_str(), place.line, place.column))),
        ("the map has no member `ulr`", Some(("p.rhai", 3, 13)))
    );
    let found = *script("fn f() {\n    hmac_sha265(\"a\", \"b\")\n}").call("f", []).unwrap_err();
    assert_eq!(
        (found.help.as_deref(), found.place.as_ref().map(|place| (place.line, place.column, place.length))),
        (Some("did you mean `hmac_sha256`?"), Some((2, 5, 11)))
    );
    let found = *script("fn f() { g() }\nfn helper() { 1 }\nfn h() { helpr() }").call("h", []).unwrap_err();
    assert_eq!(found.help.as_deref(), Some("did you mean `helper`?"));
    let found = *script("fn f() {\n    pause(\"x\")\n}").call("f", []).unwrap_err();
    assert!(found.help.unwrap().contains("pause(why, seconds)"));
    assert_eq!(said("throw \"no picture\""), "no picture");
    let found = Script::compile(&Source::new("p.rhai", "fn f(delivery) {\n    deliveri.id\n}")).unwrap_err();
    assert_eq!(
        (found.what.as_str(), found.help.as_deref()),
        ("there is no variable `deliveri`", Some("did you mean `delivery`?"))
    );
    assert_eq!(found.place.unwrap().line, 2);
    assert!(Script::compile(&Source::new("p.rhai", "fn f() {")).is_err());
}

#[test]
fn a_script_reaches_nothing() {
    for word in ["eval(\"1\")", "print(1)", "debug(1)", "import \"/etc/passwd\" as p"] {
        let found = Script::compile(&Source::new("p.rhai", format!("fn f() {{ {word}; }}"))).expect_err(word);
        assert!(found.what.contains("not offered"), "{word}: {}", found.what);
    }
    assert!(said("timestamp()").contains("no function"));
    for sleep in ["sleep(10)", "sleep(10.0)"] {
        let started = std::time::Instant::now();
        assert!(said(sleep).contains("cannot sleep"));
        assert!(started.elapsed().as_secs() < 5);
    }
}

#[test]
fn a_script_is_bounded() {
    assert!(said("loop {}").contains("steps"));
    assert!(said("let s = \"x\"; loop { s += s; }").contains("too large"));
    assert!(said("let a = [1]; loop { a += a; }").contains("too large"));
    assert!(said("let s = \"x\"; for i in 0..20 { s += s; } s.replace(\"x\", s); s").contains("replace"));
    assert!(
        said("\"x\".pad(100000000, \"y\")").len() > 3 || eval("let s = \"x\"; s.pad(100000000, \"y\"); s").is_err()
    );
    assert!(script("fn g(n) { g(n + 1) }\nfn f() { g(0) }").call("f", []).unwrap_err().what.contains("deep"));
    assert!(eval("let s = \"a\"; for i in 0..18 { s += s; } s.split(\"\")").is_err());
    assert!(eval("blob(1000000000)").is_err());
    assert_eq!(text("let s = \"aXa\"; s.replace(\"X\", \"--\"); s.replace('a', \"b\"); s"), "b--b");
}

#[test]
fn calls_share_nothing() {
    let counter = script("fn f() { let n = 0; n += 1; n }");
    for _ in 0..3 {
        assert_eq!(counter.call("f", []).unwrap().as_int().unwrap(), 1);
    }
    let constants = script("const LIMIT = 2048;\nfn f() { global::LIMIT }");
    assert_eq!(constants.call("f", []).unwrap().as_int().unwrap(), 2048);
}

#[test]
fn functions_are_checked_before_they_are_called() {
    let one = script("fn request(a, b) { 1 }");
    let found = one.expect("request", &["delivery"]).unwrap_err();
    assert_eq!(
        (found.what.as_str(), found.help.as_deref()),
        ("`request` takes 2 arguments instead of 1", Some("write fn request(delivery) { … }"))
    );
    assert_eq!(one.expect("manifest", &[]).unwrap_err().what, "the script has no `manifest`");
}

#[test]
fn what_a_script_mentions() {
    let one = script("// the event\nfn f(d) { d.options }");
    assert!(!one.reads("event"));
    assert!(script("fn f(d) { d.event }").reads("event"));
    assert!(!script("fn f(d) { d.events }").reads("event"));
    assert!(script("fn f(d) { d[\"event\"] }").reads("event"));
    assert!(script("fn f(d) { #{event: d} }").reads("event"));
}

#[test]
fn every_function_is_in_the_manual_and_does_what_that_says() {
    // What is made known to the engine, in the two files that do so; those that only shadow the language's are no offer.
    let code = concat!(include_str!("functions.rs"), include_str!("replies.rs"));
    let registered = code.split("register_fn(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let registered: std::collections::BTreeSet<_> =
        registered.filter(|name| !["sleep", "replace"].contains(name)).collect();
    let described: std::collections::BTreeSet<_> = manual::functions().map(|function| function.name).collect();
    assert_eq!(registered, described);
    assert!(described.len() > 25);
    for function in manual::functions() {
        assert!(
            function.usage.starts_with(function.name) && function.example.contains(function.name),
            "{}",
            function.name
        );
        let made = script(&format!("fn f() {{\n    {}\n}}", function.example)).call("f", []);
        let made = made.unwrap_or_else(|found| panic!("{}: {found:?}", function.example));
        if function.gives.is_empty() {
            assert!(to_json(&made).is_err(), "{}: this can be shown: {made:?}", function.example);
        } else {
            assert_eq!(
                eval(&format!("{} == {}", function.example, function.gives)).unwrap(),
                json!(true),
                "{}",
                function.example
            );
        }
    }
}

#[test]
fn what_else_a_function_does_with_its_argument_is_seen() {
    let reads_only = |body: &str| {
        script(&format!("fn other(x) {{ 1 }}\nfn f(given) {{ {body} }}")).reads_only("f", &[".options", ".take(\"a\")"])
    };
    for body in [
        "1",
        "given.options",
        "given.options.a + given.take(\"a\")",
        "let givens = 1; givens",
        "let y = given.options; y",
    ] {
        assert!(reads_only(body), "{body}");
    }
    for body in [
        "given",
        "given.id",
        "given.optional",
        "given.options2",
        "given[\"options\"]",
        "given.take(\"b\")",
        "other(given)",
        "let y = given; y.id",
        "given . options",
        "given.other()",
        "`${given.id}`",
        "for x in given { return x; }",
        "/* given */ 1",
        "[1].map(|x| given)",
    ] {
        assert!(!reads_only(body), "{body}");
    }
    assert!(!script("fn g() { 1 }").reads_only("g", &[]) && !script("fn g() { 1 }").reads_only("none", &[]));
}
