//! What a comparison found: medians, spreads, ratios, and what must be said beside them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows::{Measure, Row};
use super::system::Sample;
use crate::report::data::Environment;

/// Paired ratios that are further from their median than this are too noisy to quote.
const NOISE: f64 = 0.25;

/// The kernel counts CPU in steps of 10 ms; what took less than a few of them says nothing.
const COARSE: f64 = 0.05;

/// A comparison, whole: what `compare.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The format's version; 1.
    pub format: u32,
    /// When it began: RFC 3339.
    pub started: String,
    /// The command line.
    pub command: String,
    /// Version of the generator.
    pub generator: String,
    /// On what machine.
    pub environment: Environment,
    /// Postrider, then the peer.
    pub systems: Vec<Named>,
    /// Pairs of rounds asked for.
    pub rounds: u32,
    /// How long a round goes on where that can be chosen, in seconds.
    pub seconds: u64,
    /// What the reader must know of the whole.
    pub remarks: Vec<String>,
    /// The rows that ran, in order.
    pub rows: Vec<RowResult>,
}

/// A system and its version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Named {
    /// Short.
    pub name: String,
    /// With versions.
    pub version: String,
}

/// What one row found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowResult {
    /// The row's name on the command line.
    pub key: String,
    /// For people.
    pub title: String,
    /// What is counted.
    pub unit: String,
    /// What the value is.
    pub measure: Measure,
    /// By the systems' short names.
    pub systems: BTreeMap<String, Figures>,
    /// Postrider against the peer; above 1 Postrider is better: faster, smaller, sooner.
    pub ratio: Option<Ratio>,
    /// CPU of the peer's processes per unit against Postrider's; above 1 Postrider needs less.
    pub cpu_ratio: Option<Ratio>,
    /// What must be said beside it.
    pub remarks: Vec<String>,
    /// Why it did not end well.
    pub failed: Option<String>,
}

/// One system in one row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Figures {
    /// All rounds, in order.
    pub rounds: Vec<Sample>,
    /// The median of their values.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Median of the server's CPU per unit, microseconds.
    pub server_micros: f64,
    /// Median of the CPU per unit of what the server stands on, microseconds.
    #[serde(default)]
    pub engines_micros: f64,
    /// Median of the generator's CPU per unit, microseconds.
    pub generator_micros: f64,
    /// Median of the memory afterwards, bytes.
    pub memory: f64,
}

/// Ratios of pairs of rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Their median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Whether all are within ±25 % of the median.
    pub quotable: bool,
}

impl RowResult {
    /// From the rounds of Postrider and of the peer (none when Postrider runs alone).
    pub fn new(row: &Row, names: &[String], rounds: Vec<Vec<Sample>>, failed: Option<String>) -> Self {
        let pair = |value: fn(&Sample) -> f64| match rounds.as_slice() {
            [ours, theirs] => Ratio::of(ours.iter().map(value), theirs.iter().map(value)),
            _ => None,
        };
        let ratio = pair(|sample| sample.value);
        // Short work may use less CPU than the clock of the kernel shows.
        let cpu = |sample: &Sample| per_unit(sample.server_cpu, sample);
        let cpu_ratio = pair(cpu).map(Ratio::inverted);
        let mut remarks: Vec<String> = Some(row.note.to_owned())
            .filter(|note| !note.is_empty())
            .into_iter()
            .collect();
        if row.measure != Measure::Bytes {
            remarks.extend(
                names
                    .iter()
                    .zip(&rounds)
                    .filter_map(|(name, rounds)| generator_bound(name, rounds)),
            );
        }
        let figures = rounds.into_iter().map(Figures::of);
        Self {
            key: row.key.into(),
            title: row.title.into(),
            unit: row.unit.into(),
            measure: row.measure,
            systems: names.iter().cloned().zip(figures).collect(),
            ratio: match row.measure {
                Measure::Rate => ratio,
                Measure::Bytes | Measure::Milliseconds => ratio.map(Ratio::inverted),
            },
            cpu_ratio,
            remarks,
            failed,
        }
    }
}

impl Figures {
    fn of(rounds: Vec<Sample>) -> Self {
        let all = |value: fn(&Sample) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
        let values = all(|sample| sample.value);
        Self {
            median: median(&values),
            min: values.iter().copied().reduce(f64::min).unwrap_or_default(),
            max: values.iter().copied().reduce(f64::max).unwrap_or_default(),
            server_micros: median(&all(|sample| per_unit(sample.server_cpu, sample))),
            engines_micros: median(&all(|sample| per_unit(sample.engines_cpu, sample))),
            generator_micros: median(&all(|sample| per_unit(sample.generator_cpu, sample))),
            memory: median(&all(|sample| sample.memory as f64)),
            rounds,
        }
    }
}

impl Ratio {
    /// First over second, pair by pair; none when there is no pair of positive values.
    pub fn of(first: impl Iterator<Item = f64>, second: impl Iterator<Item = f64>) -> Option<Self> {
        let ratios: Vec<f64> = first
            .zip(second)
            .filter(|(first, second)| *first > 0.0 && *second > 0.0)
            .map(|(first, second)| first / second)
            .collect();
        let min = ratios.iter().copied().reduce(f64::min)?;
        let max = ratios.iter().copied().reduce(f64::max)?;
        let median = median(&ratios);
        Some(Self {
            median,
            min,
            max,
            quotable: max <= median * (1.0 + NOISE) && min >= median * (1.0 - NOISE),
        })
    }

    /// Second over first. Whether it may be quoted is as before.
    fn inverted(self) -> Self {
        Self {
            median: 1.0 / self.median,
            min: 1.0 / self.max,
            max: 1.0 / self.min,
            quotable: self.quotable,
        }
    }
}

/// The remark on a system that was not what the work waited for.
fn generator_bound(name: &str, rounds: &[Sample]) -> Option<String> {
    let sum = |value: fn(&Sample) -> f64| rounds.iter().map(value).sum::<f64>();
    let (server, generator) = (
        sum(|sample| sample.server_cpu),
        sum(|sample| sample.generator_cpu),
    );
    (generator > server.max(COARSE))
        .then(|| format!("generator-bound: it used more CPU than {name}; CPU per unit decides"))
}

/// Microseconds per unit.
fn per_unit(seconds: f64, sample: &Sample) -> f64 {
    seconds * 1e6 / (sample.units.max(1)) as f64
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, RowResult};
    use crate::compare::rows::ROWS;
    use crate::compare::system::Sample;

    fn sample(value: f64, server_cpu: f64, generator_cpu: f64) -> Sample {
        Sample {
            value,
            units: 1000,
            seconds: 1.0,
            server_cpu,
            engines_cpu: 0.0,
            generator_cpu,
            memory: 1 << 20,
        }
    }

    #[test]
    fn ratios_are_of_pairs() {
        let ratio =
            Ratio::of([100.0, 10.0, 120.0].into_iter(), [50.0, 5.0, 50.0].into_iter()).expect("pairs");
        assert_eq!(
            (ratio.median, ratio.min, ratio.max, ratio.quotable),
            (2.0, 2.0, 2.4, true)
        );
        let noisy = Ratio::of([1.0, 2.0].into_iter(), [1.0, 1.0].into_iter()).expect("pairs");
        assert!(!noisy.quotable);
        assert_eq!(Ratio::of([1.0].into_iter(), [].into_iter()), None);
    }

    #[test]
    fn less_is_better_where_it_is_and_the_generator_is_named() {
        let names = ["Postrider".to_owned(), "peer".to_owned()];
        let result = |key: &str| {
            let row = ROWS.iter().find(|row| row.key == key).expect("a row");
            let rounds = vec![vec![sample(10.0, 0.1, 0.2)], vec![sample(40.0, 0.4, 0.2)]];
            RowResult::new(row, &names, rounds, None)
        };
        let memory = result("idle-plain");
        assert_eq!(memory.ratio.expect("a ratio").median, 4.0);
        let rate = result("inbound-4k-10");
        assert_eq!(rate.ratio.expect("a ratio").median, 0.25);
        assert!((rate.cpu_ratio.expect("a ratio").median - 4.0).abs() < 1e-9);
        let bound: Vec<_> = rate
            .remarks
            .iter()
            .filter(|remark| remark.starts_with("generator-bound"))
            .collect();
        assert!(bound.len() == 1 && bound[0].contains("Postrider"), "{bound:?}");
        assert!((rate.systems["peer"].server_micros - 400.0).abs() < 1e-9);
    }
}
