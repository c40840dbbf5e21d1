//! Which request of a delivery is next: a message may go out in several parts, and a part once more without its markup.
//!
//! ```text
//! a part is delivered       its attempt says "part 2 of 3"; the delivery waits on, due since its old time (a younger one that
//!                           is at hand already may come between; with `order_by` none does)
//! the next one is made      the journal is asked for the last part that was delivered: of as many parts → the one behind it,
//!                           else (the text was cut otherwise since) → the first
//! the last part is          the delivery is
//! ```
//!
//! So a crash between two parts goes on with the one that is not proven yet, and a part that fails is tried again alone.

use crate::engine::desk::Desk;
use crate::rules::hook::pool;
use crate::words::delivery::Delivery;

/// Which of how many, as the attempt of a part says it.
pub fn words(part: u32, parts: u32) -> String {
    format!("part {} of {parts}", part + 1)
}

/// The part that comes next.
pub async fn next(desk: &Desk, delivery: &Delivery, parts: u32) -> u32 {
    // A journal that cannot be read sends a part twice rather than never.
    let shown = desk.journal.show(&delivery.id).await.ok().flatten();
    let attempts = shown.map(|shown| shown.attempts).unwrap_or_default();
    let latest = attempts.iter().rev().find(|(attempt, _)| attempt.verdict == "delivered");
    latest
        .and_then(|(attempt, _)| read(&attempt.why))
        .map_or(0, |(part, of)| if of == parts { part % parts } else { 0 })
}

/// Whether a part of it has arrived, and others have not.
pub async fn begun(desk: &Desk, delivery: &Delivery) -> bool {
    let shown = desk.journal.show(&delivery.id).await.ok().flatten();
    let attempts = shown.map(|shown| shown.attempts).unwrap_or_default();
    attempts.iter().any(|(attempt, _)| attempt.verdict == "delivered" && read(&attempt.why).is_some())
}

/// The robot, of several, that sent the part before the one that comes next, if there is one.
pub async fn robot_of_the_part_before(desk: &Desk, delivery: &Delivery) -> Option<usize> {
    let shown = desk.journal.show(&delivery.id).await.ok().flatten()?;
    let (latest, _) = shown.attempts.iter().rev().find(|(attempt, _)| attempt.verdict == "delivered")?;
    let (part, of) = read(&latest.why)?;
    (part < of).then(|| pool::signed(&latest.why)).flatten().map(|(number, _)| number)
}

/// The reverse of `words`, also with more behind it; the part counts from 1.
fn read(why: &str) -> Option<(u32, u32)> {
    let (part, rest) = why.strip_prefix("part ")?.split_once(" of ")?;
    let of = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((part.parse().ok()?, of.parse().ok()?)).filter(|(part, of)| (1..=*of).contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_said_and_read() {
        assert_eq!(read(&words(0, 3)), Some((1, 3)));
        assert_eq!(read("part 2 of 3; sent as plain text: x"), Some((2, 3)));
        for other in ["", "part", "part 2", "part 4 of 3", "part 0 of 3", "a part 1 of 2", "part x of 3"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
