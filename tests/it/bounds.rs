//! The bounds of what a delivery may cost, which the benchmark watches, can be gone beyond.

#[path = "../../benches/support/bounds.rs"]
mod watched;

use watched::{BOUNDS, ROOM, beyond};

/// Everything as it was measured, times so much, on a machine whose bare client needs so long.
fn found(bare: f64, times: f64) -> Vec<String> {
    beyond(bare, |case| BOUNDS.iter().find(|bound| bound.case == case).map(|bound| bound.measured * bare * times))
}

#[test]
fn a_slower_machine_is_no_step_backwards() {
    assert!(!BOUNDS.is_empty());
    for bare in [0.01, 0.08, 1.3] {
        assert_eq!(found(bare, 1.0), Vec::<String>::new(), "{bare}");
        assert_eq!(found(bare, ROOM * 0.99), Vec::<String>::new(), "{bare}");
    }
}

#[test]
fn a_step_backwards_is_named() {
    let all = found(0.08, ROOM * 1.01);
    assert_eq!(all.len(), BOUNDS.len(), "{all:?}");
    for (said, bound) in all.iter().zip(&BOUNDS) {
        assert!(said.starts_with(bound.case) && said.contains("the bound is"), "{said}");
    }
    let one = beyond(0.1, |case| Some(if case == BOUNDS[0].case { 100.0 } else { 0.1 }));
    assert_eq!(one.len(), 1, "{one:?}");
}

#[test]
fn what_was_not_measured_does_not_pass() {
    assert_eq!(beyond(0.1, |_| None).len(), BOUNDS.len());
    assert_eq!(beyond(0.1, |_| Some(0.0)).len(), BOUNDS.len());
    for bare in [0.0, -1.0, f64::NAN] {
        assert_eq!(beyond(bare, |_| Some(0.1)).len(), 1);
    }
}
