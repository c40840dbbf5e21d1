//! The functions that scripts are given. The list is a promise: nothing is taken away from it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rhai::{Array, Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::manual::functions;
use super::map;
use super::value::{self, bytes, from_exact, to_json, type_word};
use crate::rules::answer::{self, Judged};
use crate::rules::parts::{self, Fit, Markup, Overflow, Unit};
use crate::rules::text::{component, truncate_bytes, truncate_chars};
use crate::words::json::Exact;
use crate::words::limits;
use crate::words::secret::equal;
use crate::words::verdict::Verdict;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How one of them is called, for a call with the wrong arguments; `None` for a function that is not ours.
pub(super) fn usage(name: &str) -> Option<String> {
    functions().find(|known| known.name == name).map(|known| format!("it is called as {}", known.usage))
}

/// Makes them known to the engine.
pub(super) fn register(engine: &mut Engine) {
    manifest_words(engine);
    verdicts(engine);
    signatures(engine);
    encodings(engine);
    texts(engine);
    shadows(engine);
}

fn manifest_words(engine: &mut Engine) {
    engine
        .register_fn("required", |kind: Dynamic, about: &str| option(true, kind, Dynamic::UNIT, about, None))
        .register_fn("required", |kind: Dynamic, about: &str, origin: &str| {
            option(true, kind, Dynamic::UNIT, about, Some(origin))
        })
        .register_fn("optional", |kind: Dynamic, default: Dynamic, about: &str| {
            option(false, kind, default, about, None)
        })
        .register_fn("optional", |kind: Dynamic, default: Dynamic, about: &str, origin: &str| {
            option(false, kind, default, about, Some(origin))
        });
}

fn option(required: bool, kind: Dynamic, default: Dynamic, about: &str, origin: Option<&str>) -> Map {
    let mut declared =
        map([("required", required.into()), ("kind", kind), ("default", default), ("about", about.into())]);
    declared.extend(origin.map(|origin| ("where".into(), origin.into())));
    declared
}

fn verdicts(engine: &mut Engine) {
    engine
        .register_type_with_name::<Judged>("verdict")
        .register_fn("delivered", || Judged::from(Verdict::Delivered))
        .register_fn("delivered", |warning: &str| Judged {
            warning: Some(warning.to_owned()),
            ..Judged::from(Verdict::Delivered)
        })
        .register_fn("rest", |judged: Judged, seconds: Dynamic| -> Result<Judged> {
            Ok(Judged { rest: Some(wait(&seconds)?), ..judged })
        })
        .register_fn("plain", |why: &str| Judged {
            plain: true,
            ..Judged::from(Verdict::Reject { why: why.to_owned() })
        })
        .register_fn("retry", |why: &str| Judged::from(Verdict::retry(why)))
        .register_fn("retry", |why: &str, seconds: Dynamic| -> Result<Judged> {
            Ok(Verdict::Retry { why: why.to_owned(), after: Some(wait(&seconds)?) }.into())
        })
        .register_fn("pause", |why: &str, seconds: Dynamic| -> Result<Judged> {
            Ok(Verdict::Pause { why: why.to_owned(), wait: wait(&seconds)? }.into())
        })
        .register_fn("hold", |why: &str| Judged::from(Verdict::Hold { why: why.to_owned() }))
        .register_fn("reject", |why: &str| Judged::from(Verdict::Reject { why: why.to_owned() }))
        .register_fn("by_status", |response: Map| -> Result<Judged> {
            let status = response.get("status").and_then(|status| status.as_int().ok());
            let status = status.ok_or("by_status takes the response that verdict was given")?;
            let wait = response.get("retry_after").and_then(|wait| wait.as_int().ok()).map(|wait| wait as f64);
            Ok(answer::by_status(u16::try_from(status).unwrap_or(0), wait.and_then(answer::whole)).into())
        });
}

fn wait(seconds: &Dynamic) -> Result<std::time::Duration> {
    let number = seconds.as_int().map(|seconds| seconds as f64).or_else(|_| seconds.as_float());
    let wait = number.ok().and_then(answer::whole);
    wait.ok_or_else(|| format!("a wait is a number of seconds, not {}", type_word(seconds)).into())
}

fn signatures(engine: &mut Engine) {
    engine
        .register_fn("hmac_sha1", |key: Dynamic, message: Dynamic| hmac::<Hmac<Sha1>>(&key, &message))
        .register_fn("hmac_sha256", |key: Dynamic, message: Dynamic| hmac::<Hmac<Sha256>>(&key, &message))
        .register_fn("hmac_sha512", |key: Dynamic, message: Dynamic| hmac::<Hmac<Sha512>>(&key, &message))
        .register_fn("sha256", |value: Dynamic| -> Result<Blob> { Ok(Sha256::digest(bytes(&value)?).to_vec()) })
        .register_fn("md5", |value: Dynamic| -> Result<Blob> { Ok(Md5::digest(bytes(&value)?).to_vec()) })
        .register_fn("ed25519_sign", |seed: Dynamic, message: Dynamic| -> Result<Blob> {
            let seed = bytes(&seed)?;
            // Standard Webhooks keys are the seed with the public key behind it.
            let pair = seed.get(..32).filter(|_| seed.len() == 32 || seed.len() == 64);
            let pair = pair.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(seed).ok());
            let pair = pair.ok_or("an Ed25519 key is 32 bytes, or 64 with the public key behind it")?;
            Ok(pair.sign(&bytes(&message)?).as_ref().to_vec())
        })
        .register_fn("ed25519_verify", |key: Dynamic, message: Dynamic, signature: Dynamic| -> Result<bool> {
            let (key, message, signature) = (bytes(&key)?, bytes(&message)?, bytes(&signature)?);
            Ok(UnparsedPublicKey::new(&ED25519, key).verify(&message, &signature).is_ok())
        })
        .register_fn("equal", |left: Dynamic, right: Dynamic| -> Result<bool> {
            Ok(equal(&bytes(&left)?, &bytes(&right)?))
        });
}

fn hmac<M: Mac + KeyInit>(key: &Dynamic, message: &Dynamic) -> Result<Blob> {
    let mut mac = <M as KeyInit>::new_from_slice(&bytes(key)?).map_err(|_| "the key cannot be used")?;
    mac.update(&bytes(message)?);
    Ok(mac.finalize().into_bytes().to_vec())
}

fn encodings(engine: &mut Engine) {
    engine
        .register_fn("to_base64", |value: Dynamic| -> Result<String> { Ok(STANDARD.encode(bytes(&value)?)) })
        .register_fn("from_base64", |text: &str| from_base64(text))
        .register_fn("to_hex", |value: Dynamic| -> Result<String> {
            Ok(bytes(&value)?.iter().map(|byte| format!("{byte:02x}")).collect())
        })
        .register_fn("from_hex", |text: &str| -> Result<Blob> {
            let pair = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let decoded: Option<Blob> = (0..text.len()).step_by(2).map(pair).collect();
            decoded.ok_or_else(|| "this text is not hexadecimal".into())
        })
        .register_fn("url_encode", |text: &str| component(text))
        .register_fn("with_query", with_query)
        .register_fn("to_json", |value: Dynamic| json_text(&value))
        // The language has one of its own for maps, which writes bytes as numbers.
        .register_fn("to_json", |value: Map| json_text(&value.into()))
        .register_fn("parse_json", |text: &str| -> Result<Dynamic> {
            if let Some(exact) = Exact::parse(text.as_bytes()) {
                return Ok(from_exact(&exact));
            }
            let why = serde_json::from_str::<serde_json::Value>(text).err();
            let why = why.map_or_else(|| "it is nested too deep".to_owned(), |error| error.to_string());
            Err(format!("this text is not JSON: {why}").into())
        })
        .register_fn("form_encode", |map: Map| -> Result<String> {
            let json = to_json(&map.into()).map_err(|why| format!("the form {why}"))?;
            form(&json).map_err(Into::into)
        });
}

fn json_text(value: &Dynamic) -> Result<String> {
    value::json_text(value).map_err(|why| format!("the value {why}").into())
}

/// With or without padding, and in the alphabet for URLs too: senders mix them.
fn from_base64(text: &str) -> Result<Blob> {
    let text = text.trim();
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let decoded = engines.iter().find_map(|engine| engine.decode(text).ok());
    decoded.ok_or_else(|| "this text is not base64".into())
}

/// Adds parameters to a URL in the order of their names, in front of a fragment. What stands there stays.
fn with_query(url: &str, parameters: Map) -> Result<String> {
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let mut out = url.to_owned();
    for (name, value) in &parameters {
        let text = to_json(value).unwrap_or_default().scalar();
        let text = text.ok_or_else(|| format!("the parameter `{name}` is no text"))?;
        let joint = match out.find('?') {
            None => "?",
            Some(_) if out.ends_with(['?', '&']) => "",
            Some(_) => "&",
        };
        out = format!("{out}{joint}{}={}", component(name), component(&text));
    }
    Ok(fragment.map_or(out.clone(), |fragment| format!("{out}#{fragment}")))
}

/// `application/x-www-form-urlencoded`: nested maps as `a[b]=c`, lists as `a[]=c`. What is null is left out.
pub(crate) fn form(value: &Exact) -> std::result::Result<String, String> {
    let Exact::Map(map) = value else { return Err("a form is a map".to_owned()) };
    let mut pairs = Vec::new();
    for (name, value) in map {
        form_pairs(name.clone(), value, &mut pairs);
    }
    let encode = |text: &str| component(text).replace("%20", "+");
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Ok(pairs.join("&"))
}

fn form_pairs(name: String, value: &Exact, pairs: &mut Vec<(String, String)>) {
    match value {
        Exact::List(values) => values.iter().for_each(|value| form_pairs(format!("{name}[]"), value, pairs)),
        Exact::Map(map) => map.iter().for_each(|(key, value)| form_pairs(format!("{name}[{key}]"), value, pairs)),
        plain => pairs.extend(plain.scalar().map(|text| (name, text))),
    }
}

fn texts(engine: &mut Engine) {
    let size = |most: i64| usize::try_from(most).unwrap_or(0);
    engine
        .register_fn("truncate_bytes", move |text: &str, most: i64| truncate_bytes(text, size(most)).to_owned())
        .register_fn("truncate_chars", move |text: &str, most: i64| truncate_chars(text, size(most)).to_owned())
        .register_fn("parts", |text: &str, how: Map| parts_of(text, &how))
        .register_fn("without_markup", |text: &str, markup: &str| -> Result<String> {
            Ok(parts::plain(text, markup.parse::<Markup>()?))
        });
}

/// A text as messages of at most so much.
fn parts_of(text: &str, how: &Map) -> Result<Array> {
    const KEYS: [&str; 8] = ["limit", "unit", "line", "markup", "overflow", "head", "tail", "of"];
    if let Some(key) = how.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("parts does not know `{key}`: it takes {}", KEYS.join(", ")).into());
    }
    let word = |key: &str, usual: &'static str| -> Result<ImmutableString> {
        match how.get(key).filter(|value| !value.is_unit()) {
            None => Ok(usual.into()),
            Some(value) => {
                let wrong = |word| format!("`{key}` of parts must be a text, not {word}");
                value.clone().into_immutable_string().map_err(|word| wrong(word).into())
            }
        }
    };
    let number = |key: &str| how.get(key).and_then(|value| usize::try_from(value.as_int().ok()?).ok());
    let unit = match word("unit", "bytes")?.parse::<Unit>()? {
        Unit::Json(_) => Unit::Json(number("line").unwrap_or(0)),
        unit => unit,
    };
    let (head, tail, of) = (word("head", "")?, word("tail", "")?, word("of", "a message")?);
    let fit = Fit {
        limit: number("limit").ok_or("what stands around the text leaves no room for it")?,
        unit,
        markup: word("markup", "text")?.parse::<Markup>()?,
        overflow: word("overflow", "truncate")?.parse::<Overflow>()?,
        head: &head,
        tail: &tail,
        of: &of,
    };
    Ok(parts::parts(text, &fit)?.into_iter().map(Dynamic::from).collect())
}

/// Functions of the language that must not do what they do there: `sleep` holds up a thread past every deadline, and
/// `replace` allocates its result before any bound is looked at.
fn shadows(engine: &mut Engine) {
    let no_sleep = "scripts cannot sleep: return retry(why, seconds) or pause(why, seconds)";
    engine
        .register_fn("sleep", move |_: i64| -> Result<()> { Err(no_sleep.into()) })
        .register_fn("sleep", move |_: f64| -> Result<()> { Err(no_sleep.into()) })
        .register_fn("replace", |text: &mut ImmutableString, from: &str, to: &str| replace(text, from, to))
        .register_fn("replace", |text: &mut ImmutableString, from: char, to: &str| {
            replace(text, from.encode_utf8(&mut [0; 4]), to)
        })
        .register_fn("replace", |text: &mut ImmutableString, from: &str, to: char| {
            replace(text, from, to.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |text: &mut ImmutableString, from: char, to: char| {
            replace(text, from.encode_utf8(&mut [0; 4]), to.encode_utf8(&mut [0; 4]))
        });
}

fn replace(text: &mut ImmutableString, from: &str, to: &str) -> Result<()> {
    let hits = text.matches(from).count();
    if hits.saturating_mul(to.len()).saturating_add(text.len()) > limits::SCRIPT_STRING {
        return Err(format!("replace would make a text of more than {} bytes", limits::SCRIPT_STRING).into());
    }
    *text = text.replace(from, to).into();
    Ok(())
}
