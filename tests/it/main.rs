//! Stories and tables: each module is named for what it shows.

mod broken_hooks;
mod commands;
mod config_folders;
mod delivering;
mod examples;
mod fake_platforms;
mod good_hooks;
mod intake;
mod journal;
mod kill;
mod layers;
mod platform_cases;
mod readme;
mod seeds;
mod seeds_receive;
mod sending;
mod source_cases;
mod sources;
mod support;
mod wrong_answers;
