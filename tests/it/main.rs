//! Stories and tables: each module is named for what it shows.

mod bombs;
mod broken_hooks;
mod commands;
mod config_folders;
mod delivering;
mod examples;
mod fake_platforms;
mod good_hooks;
mod hostile;
mod intake;
mod journal;
mod kill;
mod layers;
mod pages;
mod platform_cases;
mod process;
mod readme;
mod seeds;
mod sending;
mod support;
mod wrong_answers;
