//! What a report adds up to: the figures that stand at the head of the page and at the end of the terminal's output.

use super::data::{Latency, Measured, ProcessSeries, Report};
use super::histogram;
use crate::ledger::Verdict;

/// The headline figures of a run.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Operations that were due.
    pub offered: u64,
    /// Those that ended well.
    pub done: u64,
    /// Those that ended otherwise: deferred, refused, broken.
    pub failed: u64,
    /// Messages that the server answered for.
    pub accepted: u64,
    /// Those per second of the run.
    pub accepted_per_second: f64,
    /// How long acceptance took; `None` when no message was accepted.
    pub acceptance: Option<Latency>,
    /// The server's processes, when they were sampled.
    pub server: Option<Usage>,
    /// The generator's own.
    pub generator: Option<Usage>,
}

/// What a process tree used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processors in use, mean over the run.
    pub cpu: f64,
    /// Most resident bytes in any sample.
    pub resident: u64,
}

/// What the ledger says of a run, in the one word that decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Every promise was kept, once, unaltered and in order.
    Kept,
    /// A promise was broken.
    Broken,
    /// No ledger was reconciled: nothing can be said.
    Unknown,
}

impl Summary {
    /// Adds up a report.
    pub fn of(report: &Report) -> Self {
        let all = || report.operations.values();
        let acceptances = || {
            report
                .operations
                .iter()
                .filter(|(operation, _)| operation.is_acceptance())
                .map(|(_, measured)| measured)
        };
        let accepted = acceptances().map(|measured| measured.done).sum();
        Self {
            offered: all().map(|measured| measured.offered).sum(),
            done: all().map(|measured| measured.done).sum(),
            failed: all().map(Measured::failed).sum(),
            accepted,
            accepted_per_second: per_second(accepted, report.run.seconds),
            acceptance: histogram::of_operations(acceptances()).map(|sum| histogram::latency(&sum)),
            server: Usage::of(report, "server"),
            generator: Usage::of(report, "generator"),
        }
    }

    /// Share of what ended that ended otherwise than asked; 0 when nothing ended.
    pub fn failed_share(&self) -> f64 {
        match self.done + self.failed {
            0 => 0.0,
            ended => self.failed as f64 / ended as f64,
        }
    }
}

impl Measured {
    /// How many ended otherwise than asked.
    pub fn failed(&self) -> u64 {
        self.deferred + self.refused + self.broken
    }
}

impl Usage {
    fn of(report: &Report, name: &str) -> Option<Self> {
        let series = report.processes.iter().find(|series| series.name == name)?;
        series.usage(report.run.seconds)
    }
}

impl ProcessSeries {
    /// What it used in a run of so many seconds; `None` when it was never sampled.
    pub fn usage(&self, seconds: f64) -> Option<Usage> {
        let resident = self.samples.iter().map(|sample| sample.resident).max()?;
        Some(Usage {
            cpu: self.cpu_seconds / seconds.max(1.0),
            resident,
        })
    }
}

impl Judgement {
    /// The judgement on a report.
    pub fn of(report: &Report) -> Self {
        match &report.ledger {
            None => Self::Unknown,
            Some(verdict) if verdict.is_clean() => Self::Kept,
            Some(_) => Self::Broken,
        }
    }
}

/// The verdict in one sentence that can stand alone.
pub fn sentence(verdict: Option<&Verdict>) -> String {
    let Some(verdict) = verdict else {
        return "No ledger was kept: this run says nothing about loss.".to_owned();
    };
    if verdict.is_clean() {
        return match verdict.promised {
            0 => "Nothing was promised, so nothing could be lost.".to_owned(),
            _ => "Every promise was kept.".to_owned(),
        };
    }
    let broken: Vec<String> = counts(verdict)[2..]
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(name, number)| format!("{} {name}", super::amount::count(*number)))
        .collect();
    format!("Promises were broken: {}.", broken.join(", "))
}

/// The verdict's numbers in the order they are told: promised, found, then what must be 0.
pub fn counts(verdict: &Verdict) -> [(&'static str, u64); 6] {
    [
        ("promised", verdict.promised),
        ("found", verdict.found),
        ("lost", verdict.lost.count),
        ("duplicated", verdict.duplicated.count),
        ("altered", verdict.altered.count),
        ("out of order", verdict.out_of_order.count),
    ]
}

/// What else there is to say of it: copies that are there or not there, and rightly so.
pub fn asides(verdict: &Verdict) -> Vec<String> {
    let mut asides = Vec::new();
    if verdict.returned > 0 {
        asides.push(format!(
            "{} were refused for good by the sink: their senders were owed a notification, not a delivery.",
            super::amount::count(verdict.returned)
        ));
    }
    if verdict.unpromised > 0 {
        asides.push(format!(
            "{} that got no answer are there as well: allowed, since nothing was promised.",
            super::amount::count(verdict.unpromised)
        ));
    }
    asides
}

fn per_second(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        number as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Findings;

    #[test]
    fn the_sentence_names_only_what_broke() {
        let mut verdict = Verdict {
            promised: 10,
            found: 10,
            ..Verdict::default()
        };
        assert_eq!(sentence(Some(&verdict)), "Every promise was kept.");
        verdict.lost = Findings {
            count: 1_200,
            examples: Vec::new(),
        };
        assert_eq!(sentence(Some(&verdict)), "Promises were broken: 1,200 lost.");
        assert!(sentence(None).starts_with("No ledger"));
    }
}
