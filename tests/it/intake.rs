//! Senders that err, hurry, dawdle and leave: each event is taken or refused on its own, and nobody waits for them.

mod client;
mod house;
mod http;
mod lines;
