//! Small looks into a JSON body that the platforms share.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// A text that is there and not empty.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The texts of a list; other kinds of members are passed over.
pub(super) fn texts<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Notes every member that is not known at this place, as `path.member`.
pub(super) fn unknown_members(value: &Value, path: &str, known: &[&str], ignored: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return };
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        ignored.push(if path.is_empty() { name.clone() } else { format!("{path}.{name}") });
    }
}

/// What the platforms' address lists hold: an address, a range with `/bits`, or `123.12.1.*`.
pub(super) fn address_allowed(list: &[String], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    list.iter().any(|entry| {
        if let Some(prefix) = entry.strip_suffix('*') {
            return ip.to_string().starts_with(prefix);
        }
        match entry.parse::<IpNet>() {
            Ok(net) => net.contains(&ip),
            Err(_) => entry.parse() == Ok(ip),
        }
    })
}

/// At most so many bytes, cut between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_lists() {
        let list = ["10.1.2.3", "192.168.0.0/16", "123.12.1.*"].map(str::to_owned);
        for (ip, allowed) in [
            ("10.1.2.3", true),
            ("10.1.2.30", false),
            ("192.168.9.9", true),
            ("123.12.1.200", true),
            ("123.12.10.1", false),
            ("::ffff:10.1.2.3", true),
        ] {
            assert_eq!(address_allowed(&list, ip.parse().unwrap()), allowed, "{ip}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("应用", 4), "应");
        assert_eq!(cut("应用", 6), "应用");
    }
}
