//! The plots whose x is the time of the run.

use super::axis::{Axis, Unit};
use super::buckets::{Bucket, Buckets};
use super::plot::{Guide, Plot, Series, Shape};
use super::words::{COLOURS, FAMILIES, meaning};
use crate::operation::Operation;
use crate::report::amount;
use crate::report::data::{Latency, Measured, Report, Sample};

/// At most so many gauges are drawn; the JSON has all.
const GAUGES: usize = 24;

/// At most so many lines in a plot of processes.
const PROCESSES: usize = 5;

/// Makes the plots of one report over one x axis, all with the same marks.
#[derive(Debug)]
pub struct Times<'a> {
    report: &'a Report,
    end: f64,
    marks: Vec<Guide>,
}

impl<'a> Times<'a> {
    /// For a report. Its x axis ends when the last operation did.
    pub fn new(report: &'a Report) -> Self {
        let last = report
            .operations
            .values()
            .filter_map(|measured| measured.seconds.last())
            .map(|second| f64::from(second.at) + 1.0);
        let marks = report.marks.iter().enumerate().map(|(index, mark)| Guide {
            at: mark.at,
            text: (index + 1).to_string(),
        });
        Self {
            report,
            end: last.fold(report.run.seconds.max(1.0), f64::max),
            marks: marks.collect(),
        }
    }

    /// Offered and achieved: messages, and all operations.
    pub fn throughput(&self) -> Vec<Plot> {
        let every: Vec<&Measured> = self.report.operations.values().collect();
        let messages: Vec<&Measured> = self
            .report
            .operations
            .iter()
            .filter(|(operation, _)| operation.is_acceptance())
            .map(|(_, measured)| measured)
            .collect();
        [
            ("Messages per second", messages),
            ("All operations per second", every),
        ]
        .into_iter()
        .filter(|(_, operations)| operations.iter().any(|measured| measured.offered > 0))
        .map(|(title, operations)| self.offered_and_done(title, &operations))
        .collect()
    }

    /// Percentiles of every operation that has any, with a logarithmic y.
    pub fn latency(&self) -> Vec<Plot> {
        FAMILIES
            .iter()
            .flat_map(|family| family.operations)
            .filter_map(|operation| Some((*operation, self.report.operations.get(operation)?)))
            .filter(|(_, measured)| measured.done > 0)
            .map(|(operation, measured)| self.percentiles(operation, measured))
            .collect()
    }

    /// What ended otherwise than asked, by family. Empty when nothing did.
    pub fn failures(&self) -> Option<Plot> {
        let mut series = Vec::new();
        let mut note = String::new();
        for (family, colour) in FAMILIES.iter().zip(COLOURS) {
            let operations: Vec<&Measured> = family
                .operations
                .iter()
                .filter_map(|operation| self.report.operations.get(operation))
                .filter(|measured| measured.failed() > 0)
                .collect();
            if !operations.is_empty() {
                let buckets = Buckets::sum(&operations, self.end);
                note = buckets.note();
                series.push(Series::line(
                    family.name,
                    colour,
                    buckets.line(|bucket| bucket.failed as f64 / bucket.length),
                ));
            }
        }
        (!series.is_empty()).then(|| {
            let y = Axis::from_zero(Unit::Number, values(&series));
            self.plot("Failures per second", note, y, series, true)
        })
    }

    /// CPU, memory, threads and open files of the server and of the generator.
    pub fn processes(&self) -> Vec<Plot> {
        type Kind = (&'static str, Unit, fn(&Sample) -> f64);
        const KINDS: [Kind; 4] = [
            ("Processors in use", Unit::Number, |sample| sample.cpu),
            ("Resident memory", Unit::Bytes, |sample| sample.resident as f64),
            ("Processes and threads", Unit::Number, |sample| {
                f64::from(sample.threads)
            }),
            ("Open files", Unit::Number, |sample| f64::from(sample.files)),
        ];
        if self
            .report
            .processes
            .iter()
            .all(|process| process.samples.is_empty())
        {
            return Vec::new();
        }
        KINDS
            .into_iter()
            .map(|(title, unit, value)| {
                let lines = self.report.processes.iter().zip(COLOURS).take(PROCESSES);
                let series: Vec<Series> = lines
                    .map(|(process, colour)| {
                        let points = process.samples.iter().map(|sample| (sample.at, value(sample)));
                        Series::line(&*process.name, colour, thinned(points.collect()))
                    })
                    .collect();
                let y = Axis::from_zero(unit, values(&series));
                self.plot(title, String::new(), y, series, false)
            })
            .collect()
    }

    /// What the server's metrics page said.
    pub fn gauges(&self) -> Vec<Plot> {
        let gauges = self.report.gauges.iter().filter(|(_, points)| !points.is_empty());
        gauges
            .take(GAUGES)
            .map(|(name, points)| {
                let points = thinned(points.iter().map(|point| (point.at, point.value)).collect());
                let series = vec![Series::line(&**name, COLOURS[0], points)];
                let y = Axis::from_zero(Unit::Number, values(&series));
                self.plot(name, String::new(), y, series, false)
            })
            .collect()
    }

    fn offered_and_done(&self, title: &str, operations: &[&Measured]) -> Plot {
        let buckets = Buckets::sum(operations, self.end);
        let series = vec![
            Series::drawn(
                Shape::Area,
                "ended well",
                COLOURS[0],
                buckets.line(|bucket| bucket.done as f64 / bucket.length),
            ),
            Series::line(
                "offered",
                "offered",
                buckets.line(|bucket| bucket.offered as f64 / bucket.length),
            ),
        ];
        let y = Axis::from_zero(Unit::Number, values(&series));
        self.plot(title, buckets.note(), y, series, false)
    }

    fn percentiles(&self, operation: Operation, measured: &Measured) -> Plot {
        type Line = (&'static str, &'static str, fn(&Latency) -> u64);
        const LINES: [Line; 4] = [
            ("max", "qmax", |latency| latency.max),
            ("p99", "q99", |latency| latency.p99),
            ("p90", "q90", |latency| latency.p90),
            ("p50", "q50", |latency| latency.p50),
        ];
        let buckets = Buckets::of(measured, self.end);
        let line = |value: fn(&Latency) -> u64| {
            move |bucket: &Bucket| {
                bucket
                    .latency
                    .as_ref()
                    .map_or(f64::NAN, |latency| value(latency) as f64)
            }
        };
        let series: Vec<Series> = LINES
            .into_iter()
            .map(|(name, class, value)| Series::line(name, class, buckets.line(line(value))))
            .collect();
        let y = Axis::decades(Unit::Micros, values(&series));
        let note = format!(
            "{} · {} · {}",
            meaning(operation),
            amount::count(measured.done),
            buckets.note()
        );
        self.plot(operation.name(), note, y, series, false)
    }

    fn plot(&self, title: &str, note: String, y: Axis, series: Vec<Series>, wide: bool) -> Plot {
        Plot {
            title: title.to_owned(),
            note,
            x: Axis::exact(Unit::Moment, 0.0, self.end),
            y,
            series,
            marks: self.marks.clone(),
            guides: Vec::new(),
            wide,
        }
    }
}

fn values(series: &[Series]) -> impl Iterator<Item = f64> {
    series
        .iter()
        .flat_map(|line| &line.points)
        .map(|(_, value)| *value)
}

/// At most about 600 points: of each stretch the largest is kept, since peaks are what one looks for.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(600).max(1);
    let largest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(stretch).filter_map(largest).collect()
}

#[cfg(test)]
mod tests {
    use super::thinned;

    #[test]
    fn thinning_keeps_peaks() {
        let mut points: Vec<(f64, f64)> = (0..36_000).map(|at| (f64::from(at), 1.0)).collect();
        points[17_777].1 = 9.0;
        let thin = thinned(points);
        assert!(thin.len() <= 600);
        assert!(thin.contains(&(17_777.0, 9.0)));
    }
}
