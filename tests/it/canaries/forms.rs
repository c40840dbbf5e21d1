//! The ways in which a secret may be written, and a search for all of them at once. Made another way than the program
//! takes them out, so that both do not share a mistake.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Each way to write it, by name.
pub(super) fn of(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", secret.as_bytes().to_vec())];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("hex", hex.clone().into_bytes()));
    forms.push(("hex in capitals", hex.to_uppercase().into_bytes()));
    let percent = |all: bool, upper: bool| {
        let one = |byte: u8| match (all || !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)), upper) {
            (false, _) => char::from(byte).to_string(),
            (true, true) => format!("%{byte:02X}"),
            (true, false) => format!("%{byte:02x}"),
        };
        secret.bytes().map(one).collect::<String>().into_bytes()
    };
    forms.push(("percent-encoded where it must be", percent(false, true)));
    forms.push(("the same in small letters", percent(false, false)));
    forms.push(("percent-encoded throughout", percent(true, true)));
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let ascii: String =
        json.chars().map(|c| if c.is_ascii() { c.into() } else { format!("\\u{:04x}", c as u32) }).collect();
    forms.push(("as PHP writes JSON", ascii.replace('/', "\\/").into_bytes()));
    forms.push(("JSON in JSON", serde_json::to_string(&json).unwrap().trim_matches('"').as_bytes().to_vec()));
    forms.push(("in ASCII JSON", ascii.into_bytes()));
    forms.push(("in JSON", json.into_bytes()));
    for (before, name) in [("", "base64"), ("a", "base64, one byte on"), ("ab", "base64, two bytes on")] {
        let whole = format!("{before}{secret}");
        for text in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
            // What depends on the neighbours is left out: the first letters, and the last one.
            let first = (before.len() * 8).div_ceil(6);
            forms.push((name, text.as_bytes()[first..text.len() - 1].to_vec()));
        }
    }
    forms
}

/// In which way it stands there.
pub(super) fn search(place: &[u8], secret: &str) -> Option<&'static str> {
    of(secret).into_iter().find_map(|(name, form)| contains(place, &form).then_some(name))
}

pub(super) fn contains(place: &[u8], sought: &[u8]) -> bool {
    assert!(sought.len() >= 5, "{sought:?} is no needle");
    place.windows(sought.len()).any(|window| window == sought)
}

#[test]
fn every_form_is_found_where_it_stands() {
    let secret = "k4n00ArY \"q/é";
    let forms = of(secret);
    assert_eq!(forms.len(), 16);
    for (name, form) in forms {
        let place = [&b"before "[..], &form, b" behind"].concat();
        assert!(search(&place, secret).is_some(), "{name}");
    }
    for before in ["", "a", "ab", "abc"] {
        let place = STANDARD_NO_PAD.encode(format!("{before}{secret} behind"));
        assert!(search(place.as_bytes(), secret).is_some(), "{place}");
    }
    assert_eq!(search(b"k4n00ArX and others", secret), None);
}
