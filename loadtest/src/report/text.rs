//! What a terminal shows when a run has ended: a table of operations, what was used, the verdict last.

use std::fmt::{self, Display, Formatter};

use super::amount;
use super::data::{Measured, Report};
use super::summary::{self, Judgement, Summary, Usage};
use crate::ledger::{Findings, Verdict};
use crate::operation::Operation;

/// How many examples of each kind of broken promise are shown; the report holds more.
const EXAMPLES: usize = 5;

/// A report for a terminal, at most 110 columns wide; ends in a line end.
#[derive(Debug)]
pub struct Text<'a>(pub &'a Report);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let summary = Summary::of(report);
        writeln!(
            out,
            "{} · profile {} · {} · seed {}",
            report.run.system,
            report.profile.name,
            amount::duration(report.run.seconds),
            report.run.seed
        )?;
        writeln!(out)?;
        operations(out, report)?;
        writeln!(out)?;
        used(out, &summary)?;
        knee(out, report)?;
        for mark in &report.marks {
            writeln!(out, "at {:>7}  {}", amount::clock(mark.at), mark.what)?;
        }
        verdict(out, report)
    }
}

fn operations(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(
        out,
        "{:<15} {:>9} {:>9} {:>8} {:>8} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "operation", "offered", "done", "deferred", "refused", "broken", "p50", "p90", "p99", "max"
    )?;
    for operation in Operation::ALL {
        if let Some(measured) = report.operations.get(&operation) {
            row(out, operation, measured)?;
        }
    }
    Ok(())
}

fn row(out: &mut Formatter<'_>, operation: Operation, measured: &Measured) -> fmt::Result {
    write!(
        out,
        "{:<15} {:>9} {:>9} {:>8} {:>8} {:>7}",
        operation.name(),
        amount::count(measured.offered),
        amount::count(measured.done),
        amount::count(measured.deferred),
        amount::count(measured.refused),
        amount::count(measured.broken),
    )?;
    let latency = &measured.latency;
    for value in [latency.p50, latency.p90, latency.p99, latency.max] {
        let text = match measured.done {
            0 => "–".to_owned(),
            _ => amount::micros(value as f64),
        };
        write!(out, " {text:>9}")?;
    }
    writeln!(out)
}

fn used(out: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    writeln!(
        out,
        "accepted  {} messages, {}/s{}",
        amount::count(summary.accepted),
        amount::number(summary.accepted_per_second),
        summary.acceptance.map_or_else(String::new, |latency| format!(
            ", p50 {}, p99 {}",
            amount::micros(latency.p50 as f64),
            amount::micros(latency.p99 as f64)
        ))
    )?;
    writeln!(
        out,
        "failed    {} of {} operations ({})",
        amount::count(summary.failed),
        amount::count(summary.done + summary.failed),
        amount::share(summary.failed_share())
    )?;
    usage(out, "server", summary.server)?;
    usage(out, "generator", summary.generator)
}

fn usage(out: &mut Formatter<'_>, name: &str, usage: Option<Usage>) -> fmt::Result {
    let Some(usage) = usage else { return Ok(()) };
    writeln!(
        out,
        "{name:<9} {} processors on average, {} at most",
        amount::number(usage.cpu),
        amount::bytes(usage.resident as f64)
    )
}

fn knee(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let Some(knee) = &report.knee else { return Ok(()) };
    // Without users the profile says nothing of people.
    let users = match knee.users {
        0 => String::new(),
        users => format!(" {} users,", amount::count(users)),
    };
    writeln!(
        out,
        "knee      {} messages/s,{users} with p99 of acceptance within {} and failures within {}",
        amount::number(knee.messages_per_second),
        amount::micros(knee.p99_bound as f64),
        amount::share(knee.error_bound)
    )
}

fn verdict(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(out)?;
    if let Some(verdict) = &report.ledger {
        examples(out, verdict)?;
        let counts: Vec<String> = summary::counts(verdict)
            .into_iter()
            .map(|(name, number)| format!("{name} {}", amount::count(number)))
            .collect();
        writeln!(out, "{}", counts.join(" · "))?;
        for aside in summary::asides(verdict) {
            writeln!(out, "{aside}")?;
        }
    }
    let word = match Judgement::of(report) {
        Judgement::Kept => "OK: ",
        Judgement::Broken => "FAILED: ",
        Judgement::Unknown => "",
    };
    writeln!(out, "{word}{}", summary::sentence(report.ledger.as_ref()))
}

fn examples(out: &mut Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let kinds: [(&str, &Findings); 4] = [
        ("lost", &verdict.lost),
        ("duplicated", &verdict.duplicated),
        ("altered", &verdict.altered),
        ("out of order", &verdict.out_of_order),
    ];
    for (name, findings) in kinds {
        for example in findings.examples.iter().take(EXAMPLES) {
            writeln!(out, "  {name}: {}", visible(example))?;
        }
        let hidden = findings.count.saturating_sub(EXAMPLES as u64);
        if hidden > 0 {
            writeln!(
                out,
                "  {name}: and {} more, see the report",
                amount::count(hidden)
            )?;
        }
    }
    Ok(())
}

/// Names come from servers: nothing in them may steer the terminal.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
