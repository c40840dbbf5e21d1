//! Stories and tables: each module is named for what it shows.

mod bombs;
mod broken_hooks;
mod commands;
mod config_folders;
mod crash_loops;
mod delivering;
mod evil_receivers;
mod examples;
mod fake_platforms;
mod few_files;
mod good_hooks;
mod hostile;
mod intake;
mod journal;
mod kill;
mod layers;
mod platform_cases;
mod process;
mod readme;
mod seeds;
mod sending;
mod signatures;
mod stopping;
mod support;
mod wrong_answers;
