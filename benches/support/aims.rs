//! What the daemon should reach, as ratios inside one run: absolute figures differ from machine to machine and from
//! hour to hour. Half of an aim is the line below which something is broken.

use super::cases::{Case, Way};

/// What a figure is compared with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Of {
    /// Deliveries per second of bare.
    Bare,
    /// Deliveries per second of the relay with one endpoint.
    Relay,
}

/// The aims of a case; nothing for the yardsticks.
pub(crate) struct Aims {
    /// At least this share of bare or of the relay.
    pub(crate) rate: (f64, Of),
    /// At most so many CPU seconds per 10,000 deliveries.
    pub(crate) cpu: f64,
}

/// At most so many milliseconds at 50 events per second on a calm machine.
pub(crate) const LATENCY_P50: f64 = 1.5;
/// The same, of the slowest in a hundred.
pub(crate) const LATENCY_P99: f64 = 4.0;
/// At most so many MiB of the idle daemon.
pub(crate) const IDLE_MEMORY: f64 = 15.0;

/// The aims of a case. A signed robot has those of a plain webhook: what a platform asks for is no excuse.
pub(crate) fn of(case: &Case) -> Option<Aims> {
    let rate = match (case.way, case.hooks) {
        (Way::Bare | Way::Relay, _) => return None,
        (Way::Socket, 1) => (0.35, Of::Bare),
        (Way::Socket, _) => (0.42, Of::Bare),
        (Way::Http, _) => (0.42, Of::Relay),
        (Way::Batch, _) => (0.30, Of::Bare),
    };
    let cpu = if case.way == Way::Socket { 0.45 } else { 0.7 };
    Some(Aims { rate, cpu })
}
