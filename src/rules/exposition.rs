//! Metrics as text, in the two forms that scrapers ask for.
//!
//! The OpenMetrics text is written by `prometheus_client`; the classic one differs from it in the names that counters
//! have in their headings, and in how it ends.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::words::tally::Spread;

/// One metric with all its rows.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name; of a counter, without `_total`.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// Labels and values.
    pub rows: Vec<(Labels, Value)>,
}

/// How a metric is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

/// Names and values.
pub type Labels = Vec<(&'static str, String)>;

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// Times.
    Times(Spread),
}

impl Family {
    /// A metric without rows.
    pub fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, rows: Vec::new() }
    }

    /// With one row that has no labels.
    pub fn with(mut self, value: Value) -> Self {
        self.rows.push((Labels::new(), value));
        self
    }

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (labels, value) in &self.rows {
            if labels.is_empty() {
                self.write_row(&mut encoder, value)?;
            } else {
                self.write_row(&mut encoder.encode_family(labels)?, value)?;
            }
        }
        Ok(())
    }

    fn write_row(&self, encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Whole(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
            (Kind::Counter, Value::Real(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
            (Kind::Gauge, Value::Whole(level)) => encoder.encode_gauge(level),
            (Kind::Gauge, Value::Real(level)) => encoder.encode_gauge(level),
            (Kind::Histogram, Value::Times(spread)) => {
                let bounds = spread.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(spread.counts.iter().copied()).collect();
                encoder.encode_histogram::<NoLabelSet>(spread.sum.as_secs_f64(), spread.count(), &buckets, None)
            }
            (Kind::Histogram, _) | (_, Value::Times(_)) => Err(fmt::Error),
        }
    }
}

/// The form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What every scraper reads.
    Classic,
    /// What a scraper gets that asks for it.
    OpenMetrics,
}

impl Form {
    /// What this `Accept` header asks for.
    pub fn accepted(accept: &str) -> Self {
        let open = |part: &str| part.trim_start().starts_with("application/openmetrics-text");
        if accept.split(',').any(open) { Self::OpenMetrics } else { Self::Classic }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All of it as text.
pub fn write(families: Vec<Family>, form: Form) -> String {
    let counters: Vec<&'static str> =
        families.iter().filter(|family| family.kind == Kind::Counter).map(|family| family.name).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All(families)));
    let mut open = String::new();
    // A text takes everything, and a value that does not fit its metric is left out with what follows it.
    let _whole = text::encode_registry(&mut open, &registry);
    match form {
        Form::OpenMetrics => {
            open.push_str("# EOF\n");
            open
        }
        Form::Classic => {
            open.lines().fold(String::with_capacity(open.len()), |text, line| classic(text, line, &counters))
        }
    }
}

/// Adds a line as it is in the classic form: there a counter's heading has the name of its rows.
fn classic(mut text: String, line: &str, counters: &[&str]) -> String {
    let heading =
        ["# HELP ", "# TYPE "].iter().find_map(|word| Some((*word, line.strip_prefix(word)?.split_once(' ')?)));
    match heading {
        Some((word, (name, rest))) if counters.contains(&name) => {
            text.extend([word, name, "_total ", rest]);
        }
        _ => text.push_str(line),
    }
    text.push('\n');
    text
}

#[derive(Debug)]
struct All(Vec<Family>);

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.write(&mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[Duration] = &[Duration::from_millis(5), Duration::from_secs(1)];

    fn families() -> Vec<Family> {
        let mut sent = Family::new(Kind::Counter, "sent", "What was sent.");
        sent.rows = vec![
            (vec![("hook", "a".to_owned())], Value::Whole(3)),
            (vec![("hook", "b\"\\\n".to_owned())], Value::Real(0.5)),
        ];
        let spread = Spread { bounds: BOUNDS, counts: vec![1, 2, 3], sum: Duration::from_millis(1500) };
        let took = Family::new(Kind::Histogram, "took_seconds", "How long it took.").with(Value::Times(spread));
        vec![sent, took, Family::new(Kind::Gauge, "level", "How much there is.").with(Value::Whole(7))]
    }

    const ROWS: &str = "sent_total{hook=\"a\"} 3\nsent_total{hook=\"b\\\"\\\\\\n\"} 0.5\n";
    const REST: &str = "# HELP took_seconds How long it took.\n# TYPE took_seconds histogram\n\
        took_seconds_sum 1.5\ntook_seconds_count 6\ntook_seconds_bucket{le=\"0.005\"} 1\n\
        took_seconds_bucket{le=\"1.0\"} 3\ntook_seconds_bucket{le=\"+Inf\"} 6\n\
        # HELP level How much there is.\n# TYPE level gauge\nlevel 7\n";

    #[test]
    fn both_forms_say_the_same() {
        let classic = write(families(), Form::Classic);
        assert_eq!(classic, format!("# HELP sent_total What was sent.\n# TYPE sent_total counter\n{ROWS}{REST}"));
        let open = write(families(), Form::OpenMetrics);
        assert_eq!(open, format!("# HELP sent What was sent.\n# TYPE sent counter\n{ROWS}{REST}# EOF\n"));
    }

    #[test]
    fn the_form_is_what_the_scraper_asks_for() {
        for accept in ["", "*/*", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/html,application/xml;q=0.9"] {
            assert_eq!(Form::accepted(accept), Form::Classic, "{accept}");
        }
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain",
            "text/plain;q=0.5, application/openmetrics-text; version=1.0.0",
        ] {
            assert_eq!(Form::accepted(accept), Form::OpenMetrics, "{accept}");
        }
    }
}
