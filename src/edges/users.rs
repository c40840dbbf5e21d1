//! Who a user id is, and what number a group has.

/// The name of a local user; one that only a directory service knows is told by number.
pub fn name_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    found(&passwd, uid).unwrap_or_else(|| format!("user {uid}"))
}

/// The number of a local group, if there is one.
pub fn group_named(name: &str) -> Option<u32> {
    numbered(&std::fs::read_to_string("/etc/group").unwrap_or_default(), name)
}

fn numbered(group: &str, wanted: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (name == wanted).then(|| number.parse().ok()).flatten()
    })
}

fn found(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_number() {
        let group = "root:x:0:\npostrider:x:998:kim\npostrider-admin:x:997:\nodd:x:many:\n";
        assert_eq!(numbered(group, "postrider-admin"), Some(997));
        assert_eq!(numbered(group, "postrider-"), None);
        assert_eq!(numbered(group, "odd"), None);
    }

    #[test]
    fn a_user_is_called_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# no user\nkim:x:1000:1000::/home/kim:/bin/sh\n";
        assert_eq!(found(passwd, 0).as_deref(), Some("root"));
        assert_eq!(found(passwd, 1000).as_deref(), Some("kim"));
        assert_eq!(found(passwd, 1001), None);
    }
}
