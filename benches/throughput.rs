//! How fast events get through, beside the limit of the machine (`bare`) and of any relay (`relay`), all in one run.
//!
//! `cargo bench --bench throughput -- --help` shows the options. Without `--bench` on the command line (that is what
//! `cargo test --benches` does) it runs quickly. `POSTRIDER_DAEMON` names another binary to measure.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use support::bounds::{BOUNDS, Bound, ROOM};
use support::cases::{Case, Ground, LATENCY, THROUGHPUT, Way};
use support::table::Results;
use support::{Fallible, bounds, hard, page, relay};

/// Events of a case whose cost is watched: enough for the kernel's ticks to tell.
const WATCHED: usize = 8_000;
/// Events per second of the calm measurement.
const CALM: u32 = 50;

/// Measures the release build of postrider as a child process; every case fails unless each delivery arrives exactly
/// once.
#[derive(Parser)]
struct Options {
    /// One round of few events: shows that everything arrives, measures nothing worth keeping. Then what a delivery
    /// costs is compared with its bound.
    #[arg(long)]
    quick: bool,
    /// Rounds; the medians over them are printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Events of a throughput case with one hook; a case with ten sends a fifth of it.
    #[arg(long, default_value_t = 30_000)]
    events: usize,
    /// Seconds of a calm measurement, per case and round.
    #[arg(long, default_value_t = 5)]
    calm: usize,
    /// Only cases (and, with --hard, circumstances) whose name contains this; bare and relay always run.
    #[arg(long)]
    only: Option<String>,
    /// Only bare and relay.
    #[arg(long)]
    yardsticks: bool,
    /// Also the hard circumstances: busy cores, bad neighbours, 10,000 hooks, 1,000,000 waiting.
    #[arg(long)]
    hard: bool,
    /// Also writes the result to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also writes the figures into performance.md of this folder, and the plot beside it.
    #[arg(long, value_name = "FOLDER")]
    page: Option<PathBuf>,
    /// What cargo says.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        let yardstick = matches!(case.way, Way::Bare | Way::Relay);
        yardstick || !self.yardsticks && self.only.as_ref().is_none_or(|part| case.name.contains(part.as_str()))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Fallible<()> {
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, sink, paths] = words.as_slice()
        && word == relay::WORD
    {
        return relay::run(sink.parse()?, paths.parse()?);
    }
    if words.get(1).is_some_and(|word| word == hard::BURN) {
        hard::burn();
        return Ok(());
    }
    let mut options = Options::parse();
    // What `cargo test` builds is not optimised: it has no bounds.
    let bounded = options.quick && options.bench;
    if options.quick || !options.bench {
        options = Options { rounds: 1, events: 500, calm: 1, ..options };
    }
    let results = measure(&options)?;
    println!("{}", results.table());
    if bounded {
        watch_bounds()?;
    }
    if let Some(folder) = &options.page {
        page::write(folder, &results)?;
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_vec_pretty(&results.json())?)?;
    }
    Ok(())
}

/// What a delivery costs is within its bounds.
fn watch_bounds() -> Fallible<()> {
    let ground = Ground::new()?;
    let wanted = |case: &&Case| case.way == Way::Bare || BOUNDS.iter().any(|bound| bound.case == case.name);
    let mut results = Results::default();
    for case in THROUGHPUT.iter().filter(wanted) {
        let rounds = (0..3).map(|_| ground.throughput(case, WATCHED)).collect::<Fallible<_>>()?;
        results.throughput.push((*case, rounds));
    }
    let bare = results.cpu("bare").unwrap_or_default();
    let beyond = bounds::beyond(bare, |case| results.cpu(case));
    for Bound { case, measured } in BOUNDS {
        let is = results.cpu(case).unwrap_or(f64::NAN) / bare;
        println!("{case}: CPU of a delivery in that of bare: {is:.1}, at most {:.1}", measured * ROOM);
    }
    if beyond.is_empty() { Ok(()) } else { Err(beyond.join("\n").into()) }
}

/// All cases in every round, each round beginning with another one: whatever else the machine does meets them all.
fn measure(options: &Options) -> Fallible<Results> {
    let ground = Ground::new()?;
    let pick = |cases: &[Case]| -> Vec<Case> { cases.iter().filter(|case| options.wants(case)).copied().collect() };
    let (throughput, latency) = (pick(&THROUGHPUT), pick(&LATENCY));
    let mut results = Results {
        throughput: throughput.iter().map(|case| (*case, Vec::new())).collect(),
        latency: latency.iter().map(|case| (*case, Vec::new())).collect(),
        hard: Vec::new(),
    };
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for step in 0..throughput.len() {
            let (case, rounds) = &mut results.throughput[(round + step) % throughput.len()];
            let events = if case.hooks == 1 { options.events } else { options.events.div_ceil(5) };
            rounds.push(ground.throughput(case, events)?);
        }
        for step in 0..latency.len() {
            let (case, rounds) = &mut results.latency[(round + step) % latency.len()];
            rounds.push(ground.latency(case, options.calm * CALM as usize, CALM)?);
        }
        if options.hard {
            let load = if options.events < hard::FULL.events { hard::SMALL } else { hard::FULL };
            results.hard.push(ground.hard(&load, options.only.as_deref())?);
        }
    }
    Ok(results)
}
