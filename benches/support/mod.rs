//! The parts of the benchmark: what is sent, who sends it, what stands between, who counts it.

pub(crate) mod aims;
pub(crate) mod board;
pub(crate) mod bounds;
pub(crate) mod cases;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod hard;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod sink;
pub(crate) mod table;

/// Whatever goes wrong ends the run with one line.
pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
