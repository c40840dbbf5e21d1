//! The result: medians over the rounds beside the aims, as a table for people and as JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::aims::{self, Aim, Of};
use super::board::Latency;
use super::cases::{Case, Measured, Way};
use super::hard::Figure;

/// Every round of every case.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) throughput: Vec<(Case, Vec<Measured>)>,
    pub(crate) latency: Vec<(Case, Vec<Latency>)>,
    /// What the hard circumstances came to; one list per round.
    pub(crate) hard: Vec<Vec<Figure>>,
}

/// The medians of one case.
struct Row {
    case: Case,
    deliveries: f64,
    spread: (f64, f64),
    answered: f64,
    cpu: f64,
    memory: Option<(f64, f64)>,
    start: Option<f64>,
}

/// A figure beside its aim.
pub(crate) struct Judged {
    pub(crate) what: String,
    pub(crate) is: f64,
    pub(crate) aim: Aim,
    /// Whether more is better.
    more: bool,
}

impl Judged {
    fn word(&self) -> &'static str {
        let share = self.share();
        match share {
            share if share >= 1.0 => "PASS",
            share if share >= 0.5 => "below",
            _ => "BELOW HALF",
        }
    }

    /// Whether the aim is a least or a most.
    pub(crate) fn sign(&self) -> &'static str {
        if self.more { "≥" } else { "≤" }
    }

    /// How much of what must be is reached: 1 and more is all of it.
    pub(crate) fn share(&self) -> f64 {
        if self.more { self.is / self.aim.must } else { self.aim.must / self.is }
    }

    /// The same of the moonshot: what it is in the measure of `share`.
    pub(crate) fn moonshot_share(&self) -> f64 {
        if self.more { self.aim.moonshot / self.aim.must } else { self.aim.must / self.aim.moonshot }
    }

    fn half(&self) -> f64 {
        if self.more { self.aim.must / 2.0 } else { self.aim.must * 2.0 }
    }
}

impl Results {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let rows = self.rows();
        let (bare, relay) = (rate(&rows, Way::Bare), rate(&rows, Way::Relay));
        let mut out = format!(
            "{:<28}{:>10}{:>10}{:>9}{:>9}{:>14}{:>9}{:>8}{:>8}{:>10}\n",
            "case", "events/s", "deliv./s", "of bare", "of relay", "min…max", "CPU/10k", "idle", "peak", "start ms"
        );
        for row in &rows {
            let (idle, peak) = row.memory.map_or(("-".to_owned(), "-".to_owned()), |(idle, peak)| {
                (format!("{idle:.0} M"), format!("{peak:.0} M"))
            });
            let start = row.start.map_or("-".to_owned(), |start| format!("{start:.0}"));
            let spread = format!("{:.1}k…{:.1}k", row.spread.0 / 1000.0, row.spread.1 / 1000.0);
            let _ = writeln!(
                out,
                "{:<28}{:>10.0}{:>10.0}{:>9.2}{:>9.2}{:>14}{:>8.2}s{:>8}{:>8}{:>10}",
                row.case.name,
                row.answered,
                row.deliveries,
                row.deliveries / bare,
                row.deliveries / relay,
                spread,
                row.cpu,
                idle,
                peak,
                start
            );
        }
        for (case, latency) in self.latencies() {
            let _ = writeln!(out, "{:<28}at 50/s: p50 {:.2} ms, p99 {:.2} ms", case.name, latency.p50, latency.p99);
        }
        let _ = writeln!(out, "\n{:<50}{:>9}{:>9}{:>9}{:>10}", "aim", "is", "half", "must", "moonshot");
        for judged in self.judged() {
            let (Judged { what, is, aim, .. }, half) = (&judged, judged.half());
            let (must, moonshot, word) = (aim.must, aim.moonshot, judged.word());
            let _ = writeln!(out, "{what:<50}{is:>9.2}{half:>9.2}{must:>9.2}{moonshot:>10.2}  {word}");
        }
        out
    }

    /// The same, with every round.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows();
        let throughput: Vec<Value> = self
            .throughput
            .iter()
            .zip(&rows)
            .map(|((case, rounds), row)| {
                json!({
                    "case": case.name, "hooks": case.hooks, "deliveries_per_s": row.deliveries,
                    "answered_per_s": row.answered, "cpu_s_per_10k": row.cpu, "start_ms": row.start,
                    "idle_mib": row.memory.map(|memory| memory.0), "peak_mib": row.memory.map(|memory| memory.1),
                    "rounds": rounds.iter().map(|round| round.deliveries).collect::<Vec<_>>(),
                })
            })
            .collect();
        let latency: Vec<Value> = self
            .latencies()
            .map(|(case, latency)| json!({"case": case.name, "p50_ms": latency.p50, "p99_ms": latency.p99}))
            .collect();
        let aims: Vec<Value> = self
            .judged()
            .iter()
            .map(|judged| {
                let Aim { must, moonshot } = judged.aim;
                json!({"aim": judged.what, "is": judged.is, "must": must, "moonshot": moonshot, "result": judged.word()})
            })
            .collect();
        json!({"throughput": throughput, "latency": latency, "aims": aims})
    }

    /// CPU seconds for 10,000 deliveries of a case.
    pub(crate) fn cpu(&self, case: &str) -> Option<f64> {
        self.rows().iter().find(|row| row.case.name == case).map(|row| row.cpu)
    }

    /// What the others are compared with, in words.
    pub(crate) fn yardsticks(&self) -> String {
        let rows = self.rows();
        let (bare, relay) = (rate(&rows, Way::Bare) / 1000.0, rate(&rows, Way::Relay) / 1000.0);
        let rounds = self.throughput.first().map_or(0, |(_, rounds)| rounds.len());
        let cpu = self.cpu("bare").unwrap_or(f64::NAN);
        format!(
            "Medians of {rounds} rounds. In them bare did {bare:.0} thousand a second ({cpu:.3} CPU seconds for 10,000), \
             and relay {relay:.0} thousand."
        )
    }

    /// Every figure that has an aim.
    pub(crate) fn judged(&self) -> Vec<Judged> {
        let (rows, mut all) = (self.rows(), Vec::new());
        for row in &rows {
            let Some(aims) = aims::of(&row.case) else { continue };
            let name = row.case.name;
            let (aim, of) = aims.rate;
            let (way, word) = if of == Of::Bare { (Way::Bare, "bare") } else { (Way::Relay, "relay") };
            let is = row.deliveries / rate(&rows, way);
            all.push(Judged { what: format!("{name}: share of {word}"), is, aim, more: true });
            all.push(Judged { what: format!("{name}: CPU s per 10k"), is: row.cpu, aim: aims.cpu, more: false });
            if let Some((idle, _)) = row.memory
                && row.case.hooks == 10
            {
                all.push(Judged { what: format!("{name}: idle MiB"), is: idle, aim: aims::IDLE_MEMORY, more: false });
            }
        }
        for (case, latency) in self.latencies().filter(|(case, _)| aims::of(case).is_some()) {
            let (p50, p99) = (aims::LATENCY_P50, aims::LATENCY_P99);
            all.push(Judged { what: format!("{}: p50 ms", case.name), is: latency.p50, aim: p50, more: false });
            all.push(Judged { what: format!("{}: p99 ms", case.name), is: latency.p99, aim: p99, more: false });
        }
        for (number, figure) in self.hard.first().into_iter().flatten().enumerate() {
            let is = median(self.hard.iter().filter_map(|round| round.get(number)).map(|figure| figure.is));
            all.push(Judged { what: figure.what.to_owned(), is, aim: figure.aim, more: figure.more });
        }
        all
    }

    fn rows(&self) -> Vec<Row> {
        self.throughput
            .iter()
            .filter(|(_, rounds)| !rounds.is_empty())
            .map(|(case, rounds)| row(*case, rounds))
            .collect()
    }

    fn latencies(&self) -> impl Iterator<Item = (Case, Latency)> {
        self.latency.iter().filter(|(_, rounds)| !rounds.is_empty()).map(|(case, rounds)| {
            let p50 = median(rounds.iter().map(|round| round.p50));
            (*case, Latency { p50, p99: median(rounds.iter().map(|round| round.p99)) })
        })
    }
}

fn row(case: Case, rounds: &[Measured]) -> Row {
    let rates = || rounds.iter().map(|round| round.deliveries);
    let memories: Vec<_> = rounds.iter().filter_map(|round| round.memory).collect();
    let starts: Vec<_> = rounds.iter().filter_map(|round| round.start).collect();
    Row {
        case,
        deliveries: median(rates()),
        spread: (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max)),
        answered: median(rounds.iter().map(|round| round.answered)),
        cpu: median(rounds.iter().map(|round| round.cpu)),
        memory: (!memories.is_empty())
            .then(|| (median(memories.iter().map(|memory| memory.0)), median(memories.iter().map(|memory| memory.1)))),
        start: (!starts.is_empty()).then(|| median(starts.iter().copied())),
    }
}

/// The rate of a yardstick; a run without it has no ratios.
fn rate(rows: &[Row], way: Way) -> f64 {
    let yardstick = rows.iter().find(|row| row.case.way == way && row.case.hooks == 1);
    yardstick.map_or(f64::NAN, |row| row.deliveries)
}

/// The one in the middle.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}
