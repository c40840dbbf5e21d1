//! The ways in which a secret may be written, and a search for all of them at once. Made another way than the program
//! takes them out, so that both do not share a mistake.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Each way to write it, by name.
pub(super) fn of(secret: &str) -> Vec<(&'static str, String)> {
    let mut forms = vec![("as it is", secret.to_owned())];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("hex", hex.clone()));
    forms.push(("hex in capitals", hex.to_uppercase()));
    let percent = |all: bool, upper: bool| {
        let one = |byte: u8| match (all || !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)), upper) {
            (false, _) => char::from(byte).to_string(),
            (true, true) => format!("%{byte:02X}"),
            (true, false) => format!("%{byte:02x}"),
        };
        secret.bytes().map(one).collect::<String>()
    };
    forms.push(("percent-encoded where it must be", percent(false, true)));
    forms.push(("the same in small letters", percent(false, false)));
    forms.push(("percent-encoded throughout", percent(true, true)));
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let ascii: String =
        json.chars().map(|c| if c.is_ascii() { c.into() } else { format!("\\u{:04x}", c as u32) }).collect();
    forms.push(("as PHP writes JSON", ascii.replace('/', "\\/")));
    forms.push(("JSON in JSON", serde_json::to_string(&json).unwrap().trim_matches('"').to_owned()));
    forms.push(("in ASCII JSON", ascii));
    forms.push(("in JSON", json));
    for (before, name) in [("", "base64"), ("a", "base64, one byte on"), ("ab", "base64, two bytes on")] {
        let whole = format!("{before}{secret}");
        for text in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
            // What depends on the neighbours is left out: the first letters, and the last one.
            let first = (before.len() * 8).div_ceil(6);
            forms.push((name, text[first..text.len() - 1].to_owned()));
        }
    }
    forms
}

/// In which way it stands there.
pub(super) fn search(place: &str, secret: &str) -> Option<&'static str> {
    of(secret).into_iter().find_map(|(name, form)| {
        assert!(form.len() >= 5, "{form:?} is no needle");
        place.contains(&form).then_some(name)
    })
}

#[test]
fn every_form_is_found_where_it_stands() {
    let secret = "k4n00ArY \"q/é";
    let forms = of(secret);
    assert_eq!(forms.len(), 16);
    for (name, form) in forms {
        let place = format!("before {form} behind");
        assert!(search(&place, secret).is_some(), "{name}");
    }
    for before in ["", "a", "ab", "abc"] {
        let place = STANDARD_NO_PAD.encode(format!("{before}{secret} behind"));
        assert!(search(&place, secret).is_some(), "{place}");
    }
    assert_eq!(search("k4n00ArX and others", secret), None);
}
