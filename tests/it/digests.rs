//! What waits goes out in one message that lists it: each event once, within the robot's quota, whatever the robot says.
//!
//! The stories are played in a time that passes only when nothing else happens.

pub(crate) mod stage;
mod stories;
mod whole;
