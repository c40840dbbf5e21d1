//! Stories and tables: each module is named for what it shows.

mod broken_hooks;
mod config_folders;
mod fake_platforms;
mod good_hooks;
mod intake;
mod journal;
mod kill;
mod layers;
mod platform_cases;
mod sending;
mod wrong_answers;
