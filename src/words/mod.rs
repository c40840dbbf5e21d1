//! Plain values that every other layer speaks in. Nothing here decides or touches the world.

pub mod conceal;
pub mod delivery;
pub mod event;
pub mod exchange;
pub mod json;
pub mod keeping;
pub mod keys;
pub mod limits;
pub mod plural;
pub mod redact;
pub mod rows;
pub mod secret;
pub mod tally;
pub mod trace;
pub mod verdict;
