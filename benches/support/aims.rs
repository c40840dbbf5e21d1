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

/// What must be, and what would be splendid.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) must: f64,
    pub(crate) moonshot: f64,
}

/// An aim of at least or at most so much.
pub(crate) const fn aim(must: f64, moonshot: f64) -> Aim {
    Aim { must, moonshot }
}

/// The aims of a case; nothing for the yardsticks.
pub(crate) struct Aims {
    /// At least this share of bare or of the relay.
    pub(crate) rate: (Aim, Of),
    /// At most so many CPU seconds per 10,000 deliveries.
    pub(crate) cpu: Aim,
}

/// At most so many milliseconds at 50 events per second on a calm machine.
pub(crate) const LATENCY_P50: Aim = aim(1.5, 1.0);
/// The same, of the slowest in a hundred.
pub(crate) const LATENCY_P99: Aim = aim(4.0, 2.5);
/// At most so many MiB of the idle daemon.
pub(crate) const IDLE_MEMORY: Aim = aim(15.0, 10.0);

/// The aims of a case. A signed robot has those of a plain webhook: what a platform asks for is no excuse.
pub(crate) fn of(case: &Case) -> Option<Aims> {
    let rate = match (case.way, case.hooks) {
        (Way::Bare | Way::Relay, _) => return None,
        (Way::Socket, 1) => (aim(0.35, 0.50), Of::Bare),
        (Way::Socket, _) => (aim(0.42, 0.60), Of::Bare),
        (Way::Http, _) => (aim(0.42, 0.55), Of::Relay),
        (Way::Batch, _) => (aim(0.30, 0.45), Of::Bare),
    };
    let cpu = if case.way == Way::Socket { aim(0.45, 0.3) } else { aim(0.7, 0.5) };
    Some(Aims { rate, cpu })
}
