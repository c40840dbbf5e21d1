//! Whom a request is for, by its Host header.
//!
//! A web page may have the name of its own host lead to 127.0.0.1 (DNS rebinding), and then asks a server of this machine
//! as if it were at home: a browser says of such a GET nowhere that a page sends it, but the name stands in it.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::HOST;
use http::uri::Authority;

/// The host without its port, in small letters; nothing where none is named, or what is no host.
fn named(headers: &HeaderMap) -> Option<String> {
    let authority = headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok()?;
    Some(authority.host().to_ascii_lowercase())
}

/// Whether a request is for this machine by an address, or by a name that no page can have. Programs that name no host
/// are no browsers.
pub fn is_this_machine(headers: &HeaderMap) -> bool {
    if !headers.contains_key(HOST) {
        return true;
    }
    let Some(name) = named(headers) else { return false };
    let name = name.trim_end_matches('.');
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// Whether a request is for the host of this URL.
pub fn is_of(headers: &HeaderMap, url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).map(str::to_ascii_lowercase);
    host.is_some() && host == named(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn names_of_this_machine_and_of_others() {
        for host in [
            "127.0.0.1:8470",
            "127.0.0.1",
            "[::1]:8470",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "a.localhost",
            "10.1.2.3",
        ] {
            assert!(is_this_machine(&headers(host)), "{host}");
        }
        for host in ["evil.example", "evil.example:8470", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b"] {
            assert!(!is_this_machine(&headers(host)), "{host:?}");
        }
        assert!(is_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn the_host_of_a_url() {
        assert!(is_of(&headers("Hooks.example.com:443"), "https://hooks.example.com/in"));
        assert!(!is_of(&headers("evil.example"), "https://hooks.example.com/in"));
        assert!(!is_of(&headers("evil.example"), "no URL"));
    }
}
