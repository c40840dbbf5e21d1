//! Counting things in words.

/// `1 hook`, `2 hooks`, `2 deliveries`.
pub fn count(number: u64, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_not_one() {
        assert_eq!(count(1, "hook"), "1 hook");
        assert_eq!(count(0, "hook"), "0 hooks");
        assert_eq!(count(2, "delivery"), "2 deliveries");
    }
}
