//! Reports of the parts of one run, as one.
//!
//! Histograms, counts and seconds are added, after every part was moved to the moment the first one began. The server's
//! processes and gauges are taken from the first part that saw them (all parts see the same ones), the generators' CPU
//! and memory are added.
//!
//! With the target, all ledgers are reconciled together: a message of one part may have been deleted by another part's
//! poller or received by its sink. Without it the parts' own verdicts add up; a part without one makes the whole unknown,
//! unless something is known to be lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use jiff::Timestamp;
use postrider_runtime::config::parse_duration;

use crate::ledger::{Findings, Verdict};
use crate::process::GENERATOR;
use crate::recorder::encode;
use crate::report::data::{Latency, Mark, Measured, ProcessSeries, Report, Sample, Second};
use crate::report::histogram::{decode, latency};
use crate::report::text::Text;
use crate::run;
use crate::target::Target;

/// How the mark of parts without a verdict ends.
const NOT_RECONCILED: &str = "parts were not reconciled";

/// Examples kept of each kind of broken promise, as in a single report.
const MOST_EXAMPLES: usize = 1000;

/// Make one report of the parts of a run.
///
/// For several generators that played `--part 1/3`, `2/3` and `3/3` of one profile with one seed. Copy what they wrote to one
/// machine first: beside each report.json its ledger and, when it was a sink, its sink-record. Exit status as `run`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  postrider-loadtest merge one/report.json two/report.json --target mx.toml --out both
      One report, and one verdict on both ledgers.")]
pub struct Command {
    /// The parts' report.json, in any order.
    #[arg(required = true, num_args = 2.., value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Reconcile the ledgers beside the reports together, against this server: the file that was given to `run`.
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// The record of a sink that ran by itself.
    #[arg(long, value_name = "FILE", requires = "target", num_args = 1..)]
    sink_record: Vec<PathBuf>,
    /// How long to wait for mail that is still queued.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    patience: Duration,
    /// Where report.json and report.html are written.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Command {
    /// Runs it.
    #[allow(clippy::print_stdout, reason = "a command talks to a person")]
    pub async fn run(self) -> Result<ExitCode> {
        let reports = self.reports.iter().map(|path| crate::report::read(path));
        let mut report = merge(reports.collect::<Result<_>>()?)?;
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        if let Some(target) = &self.target {
            let target = run::load_target(target)?;
            report.ledger = Some(self.reconcile(&target).await?);
            report.marks.retain(|mark| !mark.what.ends_with(NOT_RECONCILED));
        }
        run::write(&report, &self.out)?;
        println!("{}", Text(&report));
        Ok(run::command::status(&report))
    }

    async fn reconcile(&self, target: &Target) -> Result<Verdict> {
        let beside = || {
            self.reports
                .iter()
                .map(|report| report.parent().unwrap_or(Path::new("")))
        };
        let ledgers = beside().map(run::ledger_directory).collect();
        let here = beside().map(run::sink_record).filter(|record| record.exists());
        let records: Vec<PathBuf> = here.chain(self.sink_record.iter().cloned()).collect();
        run::reconcile_together(ledgers, target, &records, &self.out, self.patience).await
    }
}

/// Merges the parts of one run. Errors say which parts do not belong together.
pub fn merge(mut parts: Vec<Report>) -> Result<Report> {
    parts.sort_by_key(|part| part.run.part);
    belong_together(&parts)?;
    let first = parts.iter().map(started).collect::<Result<Vec<_>>>()?;
    let Some(begin) = first.iter().min().copied() else {
        bail!("there is nothing to merge");
    };
    for (part, started) in parts.iter_mut().zip(first) {
        delay(part, started.duration_since(begin).as_secs_f64());
    }
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else {
        bail!("there is nothing to merge");
    };
    let mut verdicts = vec![whole.ledger.take()];
    for part in parts {
        verdicts.push(part.ledger.clone());
        add(&mut whole, part)?;
    }
    whole.marks.sort_by(|left, right| left.at.total_cmp(&right.at));
    whole.ledger = combined(verdicts, &mut whole.marks);
    whole.run.part = (1, 1);
    whole.run.started = begin.to_string();
    Ok(whole)
}

fn belong_together(parts: &[Report]) -> Result<()> {
    let Some(first) = parts.first() else { return Ok(()) };
    let (_, of) = first.run.part;
    for (place, part) in (1..).zip(parts) {
        ensure!(
            part.profile.name == first.profile.name && part.run.seed == first.run.seed,
            "not parts of one run: profile {} with seed {}, and profile {} with seed {}",
            first.profile.name,
            first.run.seed,
            part.profile.name,
            part.run.seed
        );
        ensure!(
            part.run.part == (place, of),
            "the parts are not 1/{of} to {of}/{of}, each once: in place {place} there is {}/{}",
            part.run.part.0,
            part.run.part.1
        );
        ensure!(part.knee.is_none(), "a search for the knee cannot be merged");
    }
    ensure!(
        parts.len() == of as usize,
        "there are {} parts of {of}",
        parts.len()
    );
    Ok(())
}

fn started(report: &Report) -> Result<Timestamp> {
    let text = &report.run.started;
    text.parse()
        .with_context(|| format!("the report's beginning {text} is not a time"))
}

/// Moves everything in a report later by so many seconds: what is told by full seconds, by full seconds.
fn delay(report: &mut Report, seconds: f64) {
    let whole = seconds.round() as u32;
    for measured in report.operations.values_mut() {
        measured.seconds.iter_mut().for_each(|second| second.at += whole);
    }
    for series in &mut report.processes {
        series.samples.iter_mut().for_each(|sample| sample.at += seconds);
    }
    for points in report.gauges.values_mut() {
        points.iter_mut().for_each(|point| point.at += seconds);
    }
    report.marks.iter_mut().for_each(|mark| mark.at += seconds);
    report.run.seconds += seconds;
}

fn add(whole: &mut Report, part: Report) -> Result<()> {
    whole.run.seconds = whole.run.seconds.max(part.run.seconds);
    for (operation, measured) in part.operations {
        let entry = whole.operations.entry(operation).or_default();
        add_measured(entry, measured).with_context(|| format!("the histograms of {}", operation.name()))?;
    }
    for series in part.processes {
        match whole.processes.iter_mut().find(|known| known.name == series.name) {
            Some(known) if known.name == GENERATOR => add_series(known, &series),
            Some(_) => {}
            None => whole.processes.push(series),
        }
    }
    for (name, points) in part.gauges {
        whole.gauges.entry(name).or_insert(points);
    }
    whole.marks.extend(part.marks);
    Ok(())
}

fn add_measured(whole: &mut Measured, part: Measured) -> Result<()> {
    whole.offered += part.offered;
    whole.done += part.done;
    whole.deferred += part.deferred;
    whole.refused += part.refused;
    whole.broken += part.broken;
    (whole.latency, whole.histogram) = together([&whole.histogram, &part.histogram])?;
    let mut seconds: BTreeMap<u32, Second> = std::mem::take(&mut whole.seconds)
        .into_iter()
        .map(|second| (second.at, second))
        .collect();
    for second in part.seconds {
        let at = second.at;
        let entry = seconds.entry(at).or_insert_with(|| Second {
            at,
            ..Second::default()
        });
        add_second(entry, second)?;
    }
    whole.seconds = seconds.into_values().collect();
    Ok(())
}

fn add_second(whole: &mut Second, part: Second) -> Result<()> {
    let sealed = |second: &Second| second.done > 0 && second.histogram.is_empty();
    if sealed(whole) || sealed(&part) {
        // A late second of a long run has only percentiles left; the worse ones are told, for two cannot be added.
        whole.latency = worse(whole.latency, part.latency);
        whole.histogram.clear();
    } else {
        (whole.latency, whole.histogram) = together([&whole.histogram, &part.histogram])?;
    }
    whole.offered += part.offered;
    whole.done += part.done;
    whole.failed += part.failed;
    Ok(())
}

fn together(texts: [&String; 2]) -> Result<(Latency, String)> {
    let mut sum: Option<Histogram<u64>> = None;
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        let mut histogram = decode(text).context("a histogram cannot be read")?;
        match &mut sum {
            Some(sum) => sum.add(&histogram).context("histograms do not add up")?,
            None => {
                histogram.auto(true);
                sum = Some(histogram);
            }
        }
    }
    Ok(sum.map_or_else(Default::default, |sum| (latency(&sum), encode(&sum))))
}

fn worse(left: Latency, right: Latency) -> Latency {
    if left.p99 >= right.p99 { left } else { right }
}

/// Adds samples to those nearest in time.
fn add_series(whole: &mut ProcessSeries, part: &ProcessSeries) {
    whole.cpu_seconds += part.cpu_seconds;
    let mut by_second: BTreeMap<u64, Sample> = BTreeMap::new();
    for sample in whole.samples.iter().chain(&part.samples) {
        let entry = by_second.entry(sample.at.round() as u64).or_default();
        entry.at = sample.at.round();
        entry.cpu += sample.cpu;
        entry.resident += sample.resident;
        entry.threads += sample.threads;
        entry.files += sample.files;
    }
    whole.samples = by_second.into_values().collect();
}

fn combined(verdicts: Vec<Option<Verdict>>, marks: &mut Vec<Mark>) -> Option<Verdict> {
    let parts = verdicts.len();
    let known: Vec<Verdict> = verdicts.into_iter().flatten().collect();
    let missing = parts - known.len();
    let mut sum: Option<Verdict> = None;
    for verdict in known {
        match &mut sum {
            None => sum = Some(verdict),
            Some(sum) => add_verdict(sum, verdict),
        }
    }
    if missing == 0 {
        return sum;
    }
    marks.push(Mark {
        at: 0.0,
        what: format!("{missing} of {parts} {NOT_RECONCILED}"),
    });
    sum.filter(|verdict| !verdict.is_clean())
}

fn add_verdict(whole: &mut Verdict, part: Verdict) {
    whole.promised += part.promised;
    whole.found += part.found;
    whole.unpromised += part.unpromised;
    whole.returned += part.returned;
    let kinds = [
        (&mut whole.lost, part.lost),
        (&mut whole.duplicated, part.duplicated),
        (&mut whole.altered, part.altered),
        (&mut whole.out_of_order, part.out_of_order),
    ];
    for (whole, part) in kinds {
        add_findings(whole, part);
    }
}

fn add_findings(whole: &mut Findings, part: Findings) {
    whole.count += part.count;
    whole.examples.extend(part.examples);
    whole.examples.truncate(MOST_EXAMPLES);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::operation::{Operation, Outcome};
    use crate::profile::Profile;
    use crate::recorder::Recorder;
    use crate::report::data::{Environment, Run};

    const OPERATION: Operation = Operation::MxMessage;

    fn part(k: u32, started: &str, latency: u64) -> Report {
        let recorder = Recorder::new(Instant::now(), Duration::from_secs(10));
        for second in 0..5 {
            let due = recorder.begin() + Duration::from_secs(second);
            recorder.offered(OPERATION, due);
            let end = due + Duration::from_millis(latency);
            recorder.ended_at(OPERATION, due, end, Outcome::Done);
        }
        Report {
            format: 1,
            run: Run {
                system: "a".to_owned(),
                command: String::new(),
                started: started.to_owned(),
                seconds: 10.0,
                seed: 1,
                part: (k, 2),
                generator: "0".to_owned(),
            },
            environment: Environment::default(),
            profile: Profile::load("smoke").expect("shipped"),
            operations: recorder.measured(),
            processes: [("server", 4.0), (GENERATOR, 1.0)]
                .map(|(name, cpu_seconds)| ProcessSeries {
                    name: name.to_owned(),
                    cpu_seconds,
                    samples: vec![Sample {
                        at: 1.01,
                        cpu: 0.5,
                        ..Sample::default()
                    }],
                })
                .into(),
            gauges: BTreeMap::new(),
            marks: Vec::new(),
            ledger: Some(Verdict {
                promised: 5,
                found: 5,
                ..Verdict::default()
            }),
            knee: None,
        }
    }

    fn parts() -> Vec<Report> {
        vec![
            part(2, "2026-01-01T00:00:02Z", 30),
            part(1, "2026-01-01T00:00:00Z", 10),
        ]
    }

    #[test]
    fn two_parts_are_one_run() {
        let whole = merge(parts()).expect("they belong together");
        let measured = &whole.operations[&OPERATION];
        assert_eq!((measured.offered, measured.done), (10, 10));
        assert_eq!(decode(&measured.histogram).expect("one").len(), 10);
        assert!(measured.latency.max >= 30_000 && measured.latency.min <= 10_010);
        let done: Vec<u64> = measured.seconds.iter().map(|second| second.done).collect();
        assert_eq!(done, [1, 1, 2, 2, 2, 1, 1]);
        assert_eq!(decode(&measured.seconds[2].histogram).expect("one").len(), 2);
        assert_eq!((whole.run.part, whole.run.seconds), ((1, 1), 12.0));
        let cpu: Vec<f64> = whole.processes.iter().map(|series| series.cpu_seconds).collect();
        assert_eq!(cpu, [4.0, 2.0]);
        assert_eq!(whole.ledger.expect("a verdict").promised, 10);
    }

    #[test]
    fn a_part_without_verdict_leaves_the_whole_unknown() {
        let mut reports = parts();
        reports[0].ledger = None;
        let whole = merge(reports).expect("they belong together");
        assert!(whole.ledger.is_none() && whole.marks.len() == 1);
    }

    #[test]
    fn a_loss_is_a_loss_whoever_is_missing() {
        let mut reports = parts();
        reports[0].ledger = None;
        if let Some(verdict) = &mut reports[1].ledger {
            verdict.lost.count = 1;
        }
        let whole = merge(reports).expect("they belong together");
        assert_eq!(whole.ledger.expect("a loss").lost.count, 1);
    }

    #[test]
    fn strangers_and_missing_parts_are_refused() {
        let mut seeds = parts();
        seeds[1].run.seed = 9;
        assert!(merge(seeds).is_err());
        let mut twice = parts();
        twice[0].run.part = (1, 2);
        assert!(merge(twice).is_err());
        let mut one = parts();
        one.pop();
        assert!(merge(one).is_err());
        assert!(merge(Vec::new()).is_err());
    }

    #[test]
    fn a_damaged_histogram_is_told() {
        let mut reports = parts();
        if let Some(measured) = reports[0].operations.get_mut(&OPERATION) {
            measured.histogram = "AAAA".to_owned();
        }
        // One that cannot be read would silently halve the counts.
        assert!(merge(reports).is_err());
    }
}
