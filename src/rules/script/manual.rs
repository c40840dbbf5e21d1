//! What every function for scripts does: the manual page and the errors of a wrong call are made of this, and a test runs
//! every example.

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// What it does.
    pub about: &'static str,
    /// A call of it.
    pub example: &'static str,
    /// What that gives, as a script writes it; empty where it gives something that only the engine can read.
    pub gives: &'static str,
}

/// Functions of one purpose.
#[derive(Debug)]
pub struct Group {
    /// What they are for.
    pub title: &'static str,
    /// They.
    pub functions: &'static [Function],
}

const fn function(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    example: &'static str,
    gives: &'static str,
) -> Function {
    Function { name, usage, about, example, gives }
}

/// All of them. The list is a promise: nothing is taken away from it.
pub static GROUPS: [Group; 7] = [
    Group {
        title: "In a manifest",
        functions: &[
            function(
                "required",
                "required(kind, about [, where])",
                "An option that a hook must set. `where` tells a person where to click to get it: `new` asks for it.",
                r#"required("url", "where it goes").kind"#,
                r#""url""#,
            ),
            function(
                "optional",
                "optional(kind, default, about [, where])",
                "An option that a hook may set; texts in its default are templates too, () is nothing.",
                r#"optional("choice: a b", "a", "which one")["default"]"#,
                r#""a""#,
            ),
        ],
    },
    Group {
        title: "Verdicts",
        functions: &[
            function(
                "delivered",
                "delivered() or delivered(warning)",
                "It arrived; a warning is kept with the attempt.",
                "delivered()",
                "",
            ),
            function(
                "retry",
                "retry(why) or retry(why, seconds)",
                "It did not arrive, and may later: after the backoff, or after so many seconds.",
                r#"retry("busy", 30)"#,
                "",
            ),
            function(
                "pause",
                "pause(why, seconds)",
                "The receiver wants to be left alone, by every hook that uses it; no attempt is used up.",
                r#"pause("too fast", 60)"#,
                "",
            ),
            function(
                "hold",
                "hold(why)",
                "Nothing will be accepted before a person acts: the hook is held.",
                r#"hold("the token is revoked")"#,
                "",
            ),
            function(
                "reject",
                "reject(why)",
                "This delivery will never be accepted: it is dead.",
                r#"reject("the text is too long")"#,
                "",
            ),
            function(
                "plain",
                "plain(why)",
                "The markup is refused: `request` is called once more, at once, with delivery.plain true. Then it is a reject.",
                r#"plain("can't parse entities")"#,
                "",
            ),
            function(
                "rest",
                "rest(delivered(), seconds), or delivered().rest(seconds)",
                "It arrived, and the receiver is left alone for so long: it said that its window is used up.",
                "delivered().rest(2)",
                "",
            ),
            function(
                "by_status",
                "by_status(response)",
                "What the status and a Retry-After say by themselves; the verdict of a script without fn verdict.",
                "by_status(#{status: 503})",
                "",
            ),
        ],
    },
    Group {
        title: "Signatures and digests",
        functions: &[
            function(
                "hmac_sha1",
                "hmac_sha1(key, message)",
                "HMAC-SHA1, as bytes; key and message are texts or bytes.",
                r#"to_hex(hmac_sha1("key", "message")).sub_string(0, 16)"#,
                r#""2088df74d5f2146b""#,
            ),
            function(
                "hmac_sha256",
                "hmac_sha256(key, message)",
                "HMAC-SHA256, as bytes; key and message are texts or bytes.",
                r#"to_hex(hmac_sha256("key", "message")).sub_string(0, 16)"#,
                r#""6e9ef29b75fffc5b""#,
            ),
            function(
                "hmac_sha512",
                "hmac_sha512(key, message)",
                "HMAC-SHA512, as bytes; key and message are texts or bytes.",
                r#"hmac_sha512("key", "message").len"#,
                "64",
            ),
            function(
                "sha256",
                "sha256(value)",
                "SHA-256 of a text or bytes, as bytes.",
                r#"to_hex(sha256("abc")).sub_string(0, 16)"#,
                r#""ba7816bf8f01cfea""#,
            ),
            function(
                "md5",
                "md5(value)",
                "MD5 of a text or bytes, as bytes; for checksums that a platform asks for.",
                r#"to_hex(md5("abc"))"#,
                r#""900150983cd24fb0d6963f7d28e17f72""#,
            ),
            function(
                "ed25519_sign",
                "ed25519_sign(seed, message)",
                "The Ed25519 signature, 64 bytes; the key is 32 bytes, or 64 with the public key behind it.",
                r#"ed25519_sign(sha256("a seed of 32 bytes"), "message").len"#,
                "64",
            ),
            function(
                "ed25519_verify",
                "ed25519_verify(public_key, message, signature)",
                "Whether an Ed25519 signature is right.",
                r#"ed25519_verify(sha256("no key"), "message", sha256("no signature"))"#,
                "false",
            ),
            function(
                "equal",
                "equal(a, b)",
                "Whether two texts or bytes are the same, in a time that does not tell where they differ.",
                r#"equal(from_hex("61"), "a")"#,
                "true",
            ),
        ],
    },
    Group {
        title: "Encodings",
        functions: &[
            function("to_base64", "to_base64(value)", "A text or bytes in base64.", r#"to_base64("ab")"#, r#""YWI=""#),
            function(
                "from_base64",
                "from_base64(text)",
                "The bytes; with or without padding, in either alphabet.",
                r#"to_hex(from_base64("YWI"))"#,
                r#""6162""#,
            ),
            function(
                "to_hex",
                "to_hex(value)",
                "A text or bytes in hexadecimal digits.",
                r#"to_hex("ab")"#,
                r#""6162""#,
            ),
            function("from_hex", "from_hex(text)", "The bytes.", r#"to_base64(from_hex("6162"))"#, r#""YWI=""#),
            function(
                "url_encode",
                "url_encode(text)",
                "As one component of a URL: a slash too is encoded.",
                r#"url_encode("a b/c")"#,
                r#""a%20b%2Fc""#,
            ),
            function(
                "with_query",
                "with_query(url, #{name: value})",
                "The URL with these parameters behind those that it has.",
                r#"with_query("https://h.example/?a=1", #{b: "x y"})"#,
                r#""https://h.example/?a=1&b=x%20y""#,
            ),
            function(
                "form_encode",
                "form_encode(map)",
                "A form: a[b]=c for maps, a[]=c for lists, null not at all.",
                r#"form_encode(#{a: #{b: "c d"}})"#,
                r#""a%5Bb%5D=c+d""#,
            ),
        ],
    },
    Group {
        title: "JSON",
        functions: &[
            function(
                "to_json",
                "to_json(value)",
                "The value as JSON.",
                r#"to_json(#{a: [1, true, ()]})"#,
                r#""{\"a\":[1,true,null]}""#,
            ),
            function(
                "parse_json",
                "parse_json(text)",
                "The value; its maps lose the order of their members.",
                r#"parse_json("{\"a\": [1, 2]}").a[1]"#,
                "2",
            ),
            function(
                "parse_tree",
                "parse_tree(text)",
                "The value as its author wrote it, order and numbers included; it can be looked into and passed on.",
                r#"to_json(parse_tree("{\"b\": 1.10, \"a\": 2}"))"#,
                r#""{\"b\":1.10,\"a\":2}""#,
            ),
        ],
    },
    Group {
        title: "Texts",
        functions: &[
            function(
                "truncate_bytes",
                "truncate_bytes(text, at_most)",
                "The beginning of a text, so many bytes of UTF-8 at most, and no half character.",
                r#"truncate_bytes("应用", 4)"#,
                r#""应""#,
            ),
            function(
                "truncate_chars",
                "truncate_chars(text, at_most)",
                "The beginning of a text, so many characters at most.",
                r#"truncate_chars("应用发布", 2)"#,
                r#""应用""#,
            ),
            function(
                "parts",
                "parts(text, #{limit, unit?, line?, markup?, overflow?, head?, tail?, of?})",
                "The text as messages of at most so much: whole, cut (overflow \"truncate\"), in numbered parts (\"split\"), or \
                 refused (\"fail\"). unit is bytes, chars, utf16, json (bytes as JSON writes them, and `line` more for each line break) or json-html (the same where <, > and & become \\u003c and the like); markup is text, markdown, \
                 mrkdwn, html or markdownv2, and is never cut. head stands in front of each, tail at the end of the last.",
                r#"parts("one two three four", #{limit: 17, unit: "chars", overflow: "split"}).len"#,
                "3",
            ),
            function(
                "without_markup",
                "without_markup(text, markup)",
                "The words of a text in html or markdownv2.",
                r#"without_markup("<b>1 &lt; 2</b>", "html")"#,
                r#""1 < 2""#,
            ),
        ],
    },
    Group {
        title: "In a source",
        functions: &[
            function(
                "refuse",
                "refuse(status, why)",
                "Nothing is stored, and the sender hears why: a status from 400 to 599.",
                r#"refuse(400, "there is no type")"#,
                "",
            ),
            function(
                "respond",
                "respond(status, #{name: value}, body)",
                "Nothing is stored, and the sender is given what it asked for: a handshake.",
                r#"respond(200, #{"content-type": "text/plain"}, "challenge")"#,
                "",
            ),
            function(
                "cloud_events",
                "cloud_events(request)",
                "The CloudEvents of a request, structured, batched or binary, as the events of the source.",
                r#"cloud_events(#{headers: #{}, body: "x"})"#,
                "",
            ),
        ],
    },
];

/// Every function.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    GROUPS.iter().flat_map(|group| group.functions)
}
