//! A local receiver that answers as the platform would, with its real error bodies and limits.
//!
//! WeCom, DingTalk and Lark answer 200 to nearly everything, refusals included, so a receiver that says `200 ok` to
//! anything proves nothing about a sender. [`Fake`] decides as they do, over a clock that is handed in; [`Sink`] puts it
//! behind a listener, keeps what came, and breaks on demand.

mod bots;
mod control;
mod dingtalk;
mod fake;
mod faults;
mod judgement;
mod lark;
mod limiter;
mod media;
mod others;
mod plain;
mod received;
mod reply;
mod server;
mod shape;
mod state;
mod strict;
mod wecom;
mod wecom_content;
mod wire;

pub use bots::{BotOptions, Scripted, State, Variants};
pub use fake::{Fake, Platform};
pub use faults::{Behaviour, Failing, Fault, Step};
pub use judgement::{Answered, Judgement, Mentions};
pub use limiter::{Limit, WindowKind};
pub use received::{Received, Record, Salt};
pub use server::{Sink, SinkHandle, SinkOptions};
pub use state::{Clock, Observer};
