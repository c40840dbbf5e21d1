//! Which addresses may be dialled: a pure decision over one address, after DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::rules::settings::Network;

/// Refused unless `network.allow` names something narrower or equal: nobody's webhook is there, and a machine's cloud
/// credentials are.
const REFUSED: &[(IpNet, &str)] = &[
    (v4(0, 0, 0, 0, 8), "it means this machine itself; write 127.0.0.1 if that is meant"),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(255, 255, 255, 255, 32), "it is the broadcast address"),
    // Alibaba Cloud, Azure and the older Oracle Cloud keep theirs outside the link-local network.
    (v4(100, 100, 100, 200, 32), METADATA),
    (v4(168, 63, 129, 16, 32), METADATA),
    (v4(192, 0, 0, 192, 32), METADATA),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "it means this machine itself; write [::1] if that is meant"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128), METADATA),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
];

/// Refused besides under `public-only`.
const NOT_PUBLIC: &[(IpNet, &str)] = &[
    (v4(127, 0, 0, 0, 8), LOOPBACK),
    (v4(10, 0, 0, 0, 8), PRIVATE),
    (v4(172, 16, 0, 0, 12), PRIVATE),
    (v4(192, 168, 0, 0, 16), PRIVATE),
    (v4(100, 64, 0, 0, 10), PRIVATE),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), RESERVED),
    (v4(192, 88, 99, 0, 24), RESERVED),
    (v4(198, 18, 0, 0, 15), RESERVED),
    (v4(198, 51, 100, 0, 24), RESERVED),
    (v4(203, 0, 113, 0, 24), RESERVED),
    (v4(240, 0, 0, 0, 4), RESERVED),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), PRIVATE),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), PRIVATE),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), PRIVATE),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), RESERVED),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), RESERVED),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), RESERVED),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), RESERVED),
];

const LINK_LOCAL: &str = "link-local addresses, where clouds keep credentials, need an entry in network.allow";
const METADATA: &str = "a cloud keeps credentials there; it needs an entry in network.allow";
const MULTICAST: &str = "it is a multicast address";
const LOOPBACK: &str = "it is this machine, and the network is public-only";
const PRIVATE: &str = "it is a private network, and the network is public-only";
const RESERVED: &str = "it is a reserved network, and the network is public-only";

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(s: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix))
}

/// Whether an address may be dialled. Of all rules that match it, the narrowest wins; where two are as narrow, `deny`
/// wins over `allow`, and `allow` over the built-in ones.
///
/// # Errors
/// Why not, in words for a person.
pub fn verdict(ip: IpAddr, network: &Network) -> Result<(), String> {
    // An IPv6 address may be a way to an IPv4 one. Each address that it reaches must be allowed.
    let mut reached = vec![ip];
    if let IpAddr::V6(v6) = ip {
        reached.extend(embedded(v6).into_iter().map(IpAddr::V4));
    }
    for address in &reached {
        decide(*address, network).map_err(|why| match *address == ip {
            true => why,
            false => format!("it is a way to {address}: {why}"),
        })?;
    }
    Ok(())
}

fn decide(ip: IpAddr, network: &Network) -> Result<(), String> {
    let not_public: &[_] = if network.public_only { NOT_PUBLIC } else { &[] };
    let built_in = REFUSED.iter().chain(not_public).filter(|(net, _)| net.contains(&ip));
    let built_in = built_in.min_by_key(|(net, _)| width(net));
    let allow = network.allow.iter().filter(|net| net.contains(&ip)).min_by_key(|net| width(net));
    let deny = network.deny.iter().filter(|net| net.contains(&ip)).min_by_key(|net| width(net));

    let allowed = allow.map_or(u8::MAX, width);
    if let Some(net) = deny
        && width(net) <= allowed
    {
        return Err(format!("network.deny names {net}"));
    }
    match built_in {
        Some((net, why)) if width(net) < allowed => Err((*why).to_owned()),
        _ => Ok(()),
    }
}

/// Bits that the network leaves open: comparable between IPv4 and IPv6.
fn width(net: &IpNet) -> u8 {
    net.max_prefix_len() - net.prefix_len()
}

/// The IPv4 addresses that an IPv6 address stands for.
fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let s = ip.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        // `::` and `::1` are addresses of their own; the rest of ::/96 are IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => vec![],
        // IPv4-compatible, IPv4-mapped, IPv4-translated (SIIT), NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![from(high, low)],
        // Local NAT64 networks put the address where their prefix length says: try the two usual places. A zero in the
        // first octet says that the address is not in the second one.
        [0x64, 0xff9b, 1, first, ..] if first > 0xff => vec![from(s[6], s[7]), local_nat64(ip)],
        [0x64, 0xff9b, 1, ..] => vec![from(s[6], s[7])],
        // 6to4.
        [0x2002, high, low, ..] => vec![from(high, low)],
        // Teredo: its server, and the client written with every bit turned.
        [0x2001, 0, high, low, ..] => vec![from(high, low), from(!s[6], !s[7])],
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![from(high, low)],
        _ => vec![],
    }
}

/// RFC 6052 with a /48: bits 48 to 63 and 72 to 87.
fn local_nat64(ip: Ipv6Addr) -> Ipv4Addr {
    let o = ip.octets();
    Ipv4Addr::new(o[6], o[7], o[9], o[10])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address, allowed by default, allowed under public-only.
    const TABLE: &[(&str, bool, bool)] = &[
        ("8.8.8.8", true, true),
        ("1.1.1.1", true, true),
        ("223.5.5.5", true, true),
        ("93.184.216.34", true, true),
        ("127.0.0.1", true, false),
        ("127.255.255.254", true, false),
        ("10.0.0.1", true, false),
        ("10.255.255.255", true, false),
        ("11.0.0.0", true, true),
        ("172.15.255.255", true, true),
        ("172.16.0.1", true, false),
        ("172.31.255.255", true, false),
        ("172.32.0.1", true, true),
        ("192.168.1.1", true, false),
        ("192.167.255.255", true, true),
        ("100.63.255.255", true, true),
        ("100.64.0.1", true, false),
        ("100.127.255.255", true, false),
        ("100.128.0.1", true, true),
        ("100.100.100.200", false, false),
        ("100.100.100.201", true, false),
        ("168.63.129.16", false, false),
        ("168.63.129.17", true, true),
        ("192.0.0.192", false, false),
        ("192.0.0.8", true, false),
        ("192.0.2.1", true, false),
        ("198.18.0.1", true, false),
        ("198.20.0.1", true, true),
        ("198.51.100.7", true, false),
        ("203.0.113.9", true, false),
        ("240.0.0.1", true, false),
        ("255.255.255.255", false, false),
        ("0.0.0.0", false, false),
        ("0.1.2.3", false, false),
        ("169.253.255.255", true, true),
        ("169.254.0.0", false, false),
        ("169.254.169.254", false, false),
        ("169.254.170.2", false, false),
        ("169.254.255.255", false, false),
        ("169.255.0.0", true, true),
        ("224.0.0.1", false, false),
        ("239.255.255.250", false, false),
        ("2606:4700:4700::1111", true, true),
        ("2001:4860:4860::8888", true, true),
        ("::", false, false),
        ("::1", true, false),
        ("fe80::1", false, false),
        ("febf::1", false, false),
        ("fec0::1", true, false),
        ("fc00::1", true, false),
        ("fd12:3456::1", true, false),
        ("fd00:ec2::254", false, false),
        ("fd00:ec2::23", false, false),
        ("fd00:ec2::253", true, false),
        ("fd20:ce::254", false, false),
        ("ff02::1", false, false),
        ("ff0e::1", false, false),
        ("2001:db8::1", true, false),
        ("3fff::1", true, false),
        ("100::1", true, false),
        // The same addresses, dressed up.
        ("::ffff:169.254.169.254", false, false),
        ("::ffff:a9fe:a9fe", false, false),
        ("::ffff:0.0.0.0", false, false),
        ("::ffff:127.0.0.1", true, false),
        ("::ffff:8.8.8.8", true, true),
        ("::ffff:100.100.100.200", false, false),
        ("::169.254.169.254", false, false),
        ("::127.0.0.1", true, false),
        ("::ffff:0:169.254.169.254", false, false),
        ("64:ff9b::169.254.169.254", false, false),
        ("64:ff9b::a9fe:a9fe", false, false),
        ("64:ff9b::10.0.0.1", true, false),
        ("64:ff9b::8.8.8.8", true, true),
        ("64:ff9b:1::169.254.169.254", false, false),
        ("64:ff9b:1:a9fe:a9:fe00::", false, false),
        ("64:ff9b:1::8.8.8.8", true, false),
        ("2002:a9fe:a9fe::1", false, false),
        ("2002:a9fe:a9fe:1:2:3:4:5", false, false),
        ("2002:0a00:0001::1", true, false),
        ("2002:0808:0808::1", true, true),
        ("2001:0:a9fe:a9fe::1", false, false),
        ("2001:0:808:808:0:0:5601:5601", false, false),
        ("2001:0:808:808:0:0:f7f7:f7f7", true, true),
        ("2606:4700::5efe:169.254.169.254", false, false),
        ("2606:4700::200:5efe:a9fe:a9fe", false, false),
    ];

    #[test]
    fn every_address_of_the_table() {
        let public = Network { public_only: true, ..Network::default() };
        let mut wrong = vec![];
        for (address, by_default, public_only) in TABLE {
            let ip = address.parse().expect(address);
            for (network, expected) in [(&Network::default(), *by_default), (&public, *public_only)] {
                let got = verdict(ip, network);
                if got.is_ok() != expected {
                    wrong.push(format!("{address} public_only={}: {got:?}", network.public_only));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(TABLE.len() >= 60);
    }

    #[test]
    fn the_narrower_of_two_matches_wins() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let ok = |ip: &str, allow: &[&str], deny: &[&str], public_only: bool| {
            let allow = allow.iter().map(|text| net(text)).collect();
            let deny = deny.iter().map(|text| net(text)).collect();
            verdict(ip.parse().unwrap(), &Network { deny, allow, public_only }).is_ok()
        };
        assert!(!ok("10.1.2.3", &[], &["10.0.0.0/8"], false));
        assert!(ok("10.1.2.3", &["10.1.0.0/16"], &["10.0.0.0/8"], false));
        assert!(!ok("10.1.2.3", &["10.0.0.0/8"], &["10.1.0.0/16"], false));
        assert!(!ok("10.1.2.3", &["10.0.0.0/8"], &["10.0.0.0/8"], false), "deny wins where both are as narrow");
        assert!(ok("169.254.169.254", &["169.254.169.254/32"], &[], false));
        assert!(ok("169.254.169.254", &["169.254.0.0/16"], &[], false), "named as it stands");
        assert!(!ok("169.254.169.254", &["0.0.0.0/0"], &[], false), "a careless wide entry opens nothing");
        assert!(ok("::ffff:169.254.169.254", &["169.254.169.254/32"], &[], false));
        assert!(!ok("64:ff9b::10.1.2.3", &[], &["10.0.0.0/8"], false));
        assert!(ok("192.168.1.5", &["192.168.1.0/24"], &[], true));
        assert!(!ok("192.168.2.5", &["192.168.1.0/24"], &[], true));
        assert!(!ok("8.8.8.8", &[], &["0.0.0.0/0"], false));
        assert!(ok("8.8.8.8", &["8.8.8.0/24"], &["0.0.0.0/0"], false));
        assert!(!ok("2606:4700::1", &[], &["::/0"], false));
    }

    #[test]
    fn the_reason_names_the_rule() {
        let network = Network { deny: vec!["10.0.0.0/8".parse().unwrap()], ..Network::default() };
        assert_eq!(verdict("10.1.1.1".parse().unwrap(), &network).unwrap_err(), "network.deny names 10.0.0.0/8");
        let why = verdict("64:ff9b::169.254.169.254".parse().unwrap(), &network).unwrap_err();
        assert_eq!(why, format!("it is a way to 169.254.169.254: {LINK_LOCAL}"));
    }
}
