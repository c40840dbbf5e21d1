//! postrider: sendmail for webhooks.
//!
//! The folder is the layer: a file uses only its own folder and the folders below it in this list. ARCHITECTURE.md has
//! the picture, and `tests/it/layers.rs` holds the code to it.

pub mod cli;
pub mod edges;
pub mod engine;
pub mod rules;
pub mod words;
