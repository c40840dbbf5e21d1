//! Everything that `/metrics` says, gathered when it is asked for.
//!
//! Labels are names of hooks and words of closed sets: never a URL, never what an event says. Hooks beyond
//! `limits::METRIC_HOOKS` are one, `other`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::edges::journal::LaneCount;
use crate::edges::process::Process;
use crate::engine::accept::closed;
use crate::engine::desk::Desk;
use crate::engine::status;
use crate::engine::tally::{CLASSES, ENDS, Tally, VERDICTS};
use crate::rules::config::Config;
use crate::rules::exposition::{Family, Kind, Value};
use crate::words::limits;
use crate::words::tally::Spread;

/// The label of hooks that have none of their own.
const OTHER: &str = "other";

/// All of it.
pub async fn gather(desk: &Desk, config: &Config, stop: &CancellationToken) -> Vec<Family> {
    // What waits is read from the journal, which may be what is in trouble.
    let lanes = timeout(limits::METRICS_WAIT, desk.journal.lanes()).await.ok().and_then(Result::ok);
    let hooks = hooks(desk, config, lanes);
    let mut families = intake(desk, config, stop);
    families.extend(deliveries(desk, &hooks));
    families.extend(attempts(&hooks));
    families.extend(queue(&hooks));
    families.extend(journal(desk));
    families.extend(configuration(desk, config));
    families.push(spans(desk));
    families.extend(process(desk));
    families
}

/// What is said of one label.
#[derive(Default)]
struct Said {
    ends: [u64; ENDS.len()],
    attempts: [[u64; CLASSES.len()]; VERDICTS.len()],
    took: Option<Spread>,
    /// Unless the journal could not be read.
    waiting: Option<u64>,
    oldest: f64,
    /// How many hooks are in which state.
    states: BTreeMap<String, u64>,
}

impl Said {
    fn add(&mut self, tally: &Tally) {
        for (sum, count) in self.ends.iter_mut().zip(&tally.ends) {
            *sum += count.load(Ordering::Relaxed);
        }
        for (sum, count) in self.attempts.iter_mut().flatten().zip(tally.attempts.iter().flatten()) {
            *sum += count.load(Ordering::Relaxed);
        }
        let took = tally.took.read();
        match &mut self.took {
            None => self.took = Some(took),
            Some(sum) => sum.add(&took),
        }
    }
}

type Hooks = BTreeMap<Arc<str>, Said>;

/// What there is to say of every hook, by label. The first hooks that there were have labels of their own, so that no
/// label ever changes its meaning.
fn hooks(desk: &Desk, config: &Config, lanes: Option<Vec<(Arc<str>, LaneCount)>>) -> Hooks {
    let mut counts: Option<BTreeMap<_, _>> = lanes.map(|lanes| lanes.into_iter().collect());
    config.hooks.keys().for_each(|name| drop(desk.pulse(name)));
    let now = desk.clock.steady();
    let mut hooks = Hooks::new();
    for (name, pulse) in desk.pulses() {
        let hook = config.hooks.get(&name);
        let count = counts.as_mut().map(|counts| counts.remove(&name).unwrap_or_default());
        let waiting = count.as_ref().map_or(0, |count| count.waiting);
        if hook.is_none() && waiting == 0 && pulse.tally_so_far().is_none() {
            continue;
        }
        let label = if pulse.number < limits::METRIC_HOOKS { name.clone() } else { OTHER.into() };
        let said = hooks.entry(label).or_default();
        if let Some(tally) = pulse.tally_so_far() {
            said.add(tally);
        }
        if let Some(count) = count {
            said.waiting = Some(said.waiting.unwrap_or_default() + count.waiting);
            let age = count.oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64());
            said.oldest = said.oldest.max(age);
        }
        let in_flight = pulse.flying.load(Ordering::Relaxed) as u64;
        let state = hook.map_or("removed", |hook| status::state(desk, config, hook, waiting > in_flight).0);
        *said.states.entry(state.replace(' ', "_")).or_default() += 1;
    }
    hooks
}

fn of_hook(name: &Arc<str>) -> Vec<(&'static str, String)> {
    vec![("hook", name.to_string())]
}

fn intake(desk: &Desk, config: &Config, stop: &CancellationToken) -> Vec<Family> {
    let accepted = Family::new(Kind::Counter, "postrider_events_accepted", "Events that are on disk and acknowledged.")
        .with(Value::Whole(desk.accepted.load(Ordering::Relaxed)));
    let mut refused = Family::new(
        Kind::Counter,
        "postrider_events_refused",
        "Refusals that senders heard, each of an event or of a whole request, by reason.",
    );
    refused.rows =
        desk.totals.refusals().map(|(word, count)| (vec![("reason", word.to_owned())], Value::Whole(count))).collect();
    let ready = u64::from(closed(desk, config, stop).is_none());
    let ready = Family::new(Kind::Gauge, "postrider_ready", "Whether events are taken.").with(Value::Whole(ready));
    vec![accepted, refused, ready]
}

fn deliveries(desk: &Desk, hooks: &Hooks) -> Vec<Family> {
    let mut ended = Family::new(Kind::Counter, "postrider_deliveries", "Deliveries that came to an end, by outcome.");
    for (name, said) in hooks {
        for (outcome, count) in ENDS.iter().zip(said.ends) {
            let labels = vec![("hook", name.to_string()), ("outcome", (*outcome).to_owned())];
            ended.rows.push((labels, Value::Whole(count)));
        }
    }
    let help = "Seconds from the acceptance of an event to its arrival at a receiver.";
    let ages = Family::new(Kind::Histogram, "postrider_delivery_age_seconds", help);
    vec![ended, ages.with(Value::Times(desk.totals.ages.read()))]
}

fn attempts(hooks: &Hooks) -> Vec<Family> {
    let help = "Requests to receivers, by what their answers meant and the class of their status.";
    let mut attempts = Family::new(Kind::Counter, "postrider_attempts", help);
    let help = "Seconds from the first byte of a request to the last of its answer.";
    let mut took = Family::new(Kind::Histogram, "postrider_attempt_duration_seconds", help);
    for (name, said) in hooks {
        for (verdict, counts) in VERDICTS.iter().zip(said.attempts) {
            for (class, count) in CLASSES.iter().zip(counts).filter(|(_, count)| *count > 0) {
                let labels = vec![
                    ("hook", name.to_string()),
                    ("verdict", (*verdict).to_owned()),
                    ("status_class", (*class).to_owned()),
                ];
                attempts.rows.push((labels, Value::Whole(count)));
            }
        }
        took.rows.extend(said.took.clone().map(|spread| (of_hook(name), Value::Times(spread))));
    }
    vec![attempts, took]
}

fn queue(hooks: &Hooks) -> Vec<Family> {
    let mut waiting = Family::new(Kind::Gauge, "postrider_queue_waiting", "Deliveries that wait.");
    let help = "Age of the oldest delivery that waits, in seconds; 0 when none does.";
    let mut oldest = Family::new(Kind::Gauge, "postrider_queue_oldest_seconds", help);
    let help = "Hooks in this state: 1 for the one that a hook is in.";
    let mut states = Family::new(Kind::Gauge, "postrider_hook_state", help);
    for (name, said) in hooks {
        if let Some(count) = said.waiting {
            waiting.rows.push((of_hook(name), Value::Whole(count)));
            oldest.rows.push((of_hook(name), Value::Real(said.oldest.max(0.0))));
        }
        for (state, count) in &said.states {
            let labels = vec![("hook", name.to_string()), ("state", state.clone())];
            states.rows.push((labels, Value::Whole(*count)));
        }
    }
    vec![waiting, oldest, states]
}

fn journal(desk: &Desk) -> Vec<Family> {
    let usage = desk.journal.usage();
    let gauge = |name, help, level: u64| Family::new(Kind::Gauge, name, help).with(Value::Whole(level));
    let trouble = u64::from(desk.journal.trouble().is_some());
    let help = "Seconds that writing to the journal took, until it was on disk.";
    let commits = Family::new(Kind::Histogram, "postrider_journal_commit_duration_seconds", help);
    vec![
        gauge("postrider_journal_bytes", "Size of the journal and its log.", usage.size + usage.log),
        gauge("postrider_journal_free_bytes", "Free space on the journal's disk.", usage.free),
        gauge("postrider_journal_trouble", "Whether the journal cannot be written.", trouble),
        commits.with(Value::Times(desk.journal.commit_times())),
    ]
}

fn configuration(desk: &Desk, config: &Config) -> Vec<Family> {
    let errors = config.problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = config.problems.len() - errors;
    let mut problems =
        Family::new(Kind::Gauge, "postrider_config_problems", "What is wrong with the files, by severity.");
    problems.rows = [("error", errors), ("warning", warnings)]
        .map(|(word, count)| (vec![("severity", word.to_owned())], Value::Whole(count as u64)))
        .into();
    let help = "When the configuration in use was read, in seconds since 1970.";
    let reloaded = Family::new(Kind::Gauge, "postrider_config_last_reload_timestamp_seconds", help);
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let mut build = Family::new(Kind::Gauge, "postrider_build_info", "Which postrider this is; always 1.");
    build.rows.push((version, Value::Whole(1)));
    vec![problems, reloaded.with(Value::Real(desk.totals.reloaded_at() as f64)), build]
}

fn spans(desk: &Desk) -> Family {
    let help = "Spans of traces: handed over to the collector, or dropped because it did not take them.";
    let mut spans = Family::new(Kind::Counter, "postrider_spans", help);
    let counts = [("sent", desk.traces.sent()), ("dropped", desk.traces.dropped())];
    spans.rows = counts.map(|(word, count)| (vec![("outcome", word.to_owned())], Value::Whole(count))).into();
    spans
}

/// The names that every Prometheus client uses.
fn process(desk: &Desk) -> Vec<Family> {
    let process = Process::look();
    let since = desk.since.as_millisecond() as f64 / 1000.0;
    let help = "Start of the process, in seconds since 1970.";
    let start = Family::new(Kind::Gauge, "process_start_time_seconds", help).with(Value::Real(since));
    let cpu = process.cpu.map(|cpu| {
        let family = Family::new(Kind::Counter, "process_cpu_seconds", "Processor time, of the user and the system.");
        family.with(Value::Real(cpu.as_secs_f64()))
    });
    let gauges = [
        ("process_resident_memory_bytes", "Memory in use.", process.resident),
        ("process_virtual_memory_bytes", "Address space in use.", process.virtual_memory),
        ("process_open_fds", "Open file descriptors.", process.open_files),
        ("process_max_fds", "File descriptors that may be open.", process.most_files),
    ];
    let known = gauges.into_iter().filter_map(|(name, help, level)| Some((name, help, level?)));
    let gauges = known.map(|(name, help, level)| Family::new(Kind::Gauge, name, help).with(Value::Whole(level)));
    [start].into_iter().chain(cpu).chain(gauges).collect()
}
