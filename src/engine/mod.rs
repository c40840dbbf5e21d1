//! Brings things together: `accept` is the upper half of the picture in ARCHITECTURE.md, `lane` the lower half.

pub mod accept;
pub mod admin;
pub mod attempt;
pub mod care;
pub mod clock;
pub mod daemon;
pub mod desk;
pub mod explain;
pub mod gate;
pub mod health;
pub mod kept;
pub mod lane;
pub mod metrics;
pub mod orders;
pub mod probe;
pub mod pulse;
pub mod queue;
pub mod recall;
pub mod robots;
pub mod standing;
pub mod status;
pub mod tally;
pub mod traces;
pub mod troubles;
pub mod turns;
pub mod wire;
