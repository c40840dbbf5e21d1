//! What Pgyer, AppGo, Appery.io, PatchKit and PushPushGo can send, feature by feature, sent by hooks: `pg`, `ag`, `ap`,
//! `pk` and `pp` with the number of the feature, `x` for what holds for all of them. How they are received is in
//! `seeds_receive`, the table of all of it in `docs/seeds.md`.

mod appery;
mod appgo;
mod patchkit;
mod pgyer;
mod pushpushgo;
mod round;

use postrider::edges::sink::{BotOptions, Platform, Sink, SinkHandle, SinkOptions, Step};
use postrider::rules::diagnostic::{Diagnostic, Source};
use postrider::rules::hook::{Hook, NotWanted};
use postrider::rules::platform::Platforms;
use postrider::rules::settings::Defaults;
use postrider::words::secret::Secret;
use serde_json::{Value as Json, json};

use crate::examples::{examples, render, sample};
use crate::support::{Daemon, bodies, receiver};

pub(super) fn parse(name: &str, text: &str) -> (Option<Hook>, Vec<Diagnostic>) {
    Hook::parse(&Source::new(format!("{name}.yaml"), text), &Platforms::built_in(), &Defaults::default())
}

pub(super) fn hook(text: &str) -> Hook {
    let (hook, found) = parse("hook", text);
    hook.unwrap_or_else(|| panic!("{}", found.iter().map(|one| one.render(false)).collect::<String>()))
}

pub(super) fn body(hook: &Hook, event: &str) -> Json {
    serde_json::from_slice(&render(hook, &sample(event)).body).expect("a JSON body")
}

pub(super) async fn robot(platform: Platform, default: BotOptions) -> SinkHandle {
    Sink::start(SinkOptions { platform, default, ..SinkOptions::default() }).await.expect("a robot")
}
