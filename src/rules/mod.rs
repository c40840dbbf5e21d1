//! Decisions: values in, values out. No clock, file, environment variable or random number is read here; `now` and the
//! jitter are arguments.

pub mod answer;
pub mod apprise;
pub mod backoff;
pub mod breaker;
pub mod cases;
pub mod cloudevents;
pub mod config;
pub mod diagnostic;
pub mod digest;
pub mod explain;
pub mod exposition;
pub mod fragile;
pub mod hook;
pub mod host;
pub mod manifest;
pub mod pace;
pub mod parts;
pub mod platform;
pub mod proof;
pub mod repeats;
pub mod rota;
pub mod schema;
pub mod script;
pub mod settings;
pub mod signature;
pub mod source;
pub mod template;
pub mod text;
pub mod traces;
pub mod waiting;
pub(crate) mod xml;
pub mod yaml;
