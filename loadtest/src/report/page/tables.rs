//! The tables: operations, failures by kind, steps of the knee, what ran where.

use std::fmt::{self, Formatter};

use super::escape::Escaped;
use super::words::{FAMILIES, meaning};
use crate::operation::Operation;
use crate::report::amount;
use crate::report::data::{Knee, Measured, Report};

/// All operations with their counts and percentiles.
pub fn operations(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    write!(out, "<div class=scroll><table><thead><tr><th>operation")?;
    for head in [
        "offered", "done", "per s", "deferred", "refused", "broken", "p50", "p90", "p99", "p99.9", "max",
        "mean",
    ] {
        write!(out, "<th class=n>{head}")?;
    }
    write!(out, "</thead>")?;
    for family in &FAMILIES {
        let rows: Vec<(Operation, &Measured)> = family
            .operations
            .iter()
            .filter_map(|operation| Some((*operation, report.operations.get(operation)?)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        write!(out, "<tbody><tr class=family><th colspan=13>{}", family.name)?;
        for (operation, measured) in rows {
            operation_row(out, operation, measured, report.run.seconds)?;
        }
        write!(out, "</tbody>")?;
    }
    writeln!(out, "</table></div>")
}

fn operation_row(
    out: &mut Formatter<'_>,
    operation: Operation,
    measured: &Measured,
    seconds: f64,
) -> fmt::Result {
    write!(
        out,
        "<tr><td>{} <small>{}</small><td class=n>{}<td class=n>{}<td class=n>{}",
        operation.name(),
        meaning(operation),
        amount::count(measured.offered),
        amount::count(measured.done),
        amount::number(measured.done as f64 / seconds.max(1.0))
    )?;
    for failed in [measured.deferred, measured.refused, measured.broken] {
        let class = if failed > 0 { "n bad" } else { "n none" };
        write!(out, "<td class=\"{class}\">{}", amount::count(failed))?;
    }
    let latency = &measured.latency;
    let percentiles = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
    for value in percentiles
        .into_iter()
        .map(|value| value as f64)
        .chain([latency.mean])
    {
        match measured.done {
            0 => write!(out, "<td class=\"n none\">–")?,
            _ => write!(out, "<td class=n>{}", amount::micros(value))?,
        }
    }
    Ok(())
}

/// Failures by operation and kind as bars with numbers.
pub fn failures(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let failing: Vec<(&Operation, &Measured)> = report
        .operations
        .iter()
        .filter(|(_, measured)| measured.failed() > 0)
        .collect();
    let most = failing.iter().map(|(_, measured)| measured.failed()).max();
    let Some(most) = most else {
        return writeln!(out, "<p>Every operation ended as asked.</p>");
    };
    write!(
        out,
        "<p class=legend><span><i class=\"bar k0\"></i>deferred: refused for now</span><span><i class=\"bar k1\"></i>refused for good</span><span><i class=\"bar k2\"></i>broken: no answer</span></p><div class=scroll><table class=bars>"
    )?;
    for (operation, measured) in failing {
        write!(out, "<tr><td>{}<td class=w><div class=stack>", operation.name())?;
        let kinds = [
            ("deferred", measured.deferred),
            ("refused", measured.refused),
            ("broken", measured.broken),
        ];
        for (index, (_, number)) in kinds.iter().enumerate().filter(|(_, (_, number))| *number > 0) {
            let width = 100.0 * *number as f64 / most as f64;
            write!(out, "<i class=\"bar k{index}\" style=\"width:{width:.2}%\"></i>")?;
        }
        let words: Vec<String> = kinds
            .iter()
            .filter(|(_, number)| *number > 0)
            .map(|(name, number)| format!("{} {name}", amount::count(*number)))
            .collect();
        let ended = measured.done + measured.failed();
        let share = measured.failed() as f64 / ended.max(1) as f64;
        write!(
            out,
            "</div><td>{} <small>of {} ({})</small>",
            words.join(", "),
            amount::count(ended),
            amount::share(share)
        )?;
    }
    writeln!(out, "</table></div>")
}

/// The steps of the knee in the order they ran.
pub fn steps(out: &mut Formatter<'_>, knee: &Knee) -> fmt::Result {
    write!(out, "<div class=scroll><table class=narrow><thead><tr>")?;
    for head in [
        "rates ×",
        "offered/s",
        "achieved/s",
        "p99",
        "failed",
        "processors",
    ] {
        write!(out, "<th class=n>{head}")?;
    }
    write!(out, "<th>bounds</thead>")?;
    for step in &knee.steps {
        write!(
            out,
            "<tr><td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td{}",
            amount::number(step.factor),
            amount::number(step.offered),
            amount::number(step.achieved),
            amount::micros(step.p99 as f64),
            amount::share(step.errors),
            amount::number(step.cpu),
            if step.held { ">held" } else { " class=bad>broke" }
        )?;
    }
    writeln!(out, "</table></div>")
}

/// What ran, where, with what.
pub fn environment(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let (run, machine) = (&report.run, &report.environment);
    let part = match run.part {
        (1, 1) => "the whole run".to_owned(),
        (part, of) => format!("part {part} of {of}: merge it with the others"),
    };
    let pairs = [
        ("System", run.system.clone()),
        ("Started", run.started.clone()),
        ("Arrivals for", amount::duration(run.seconds)),
        ("Seed", run.seed.to_string()),
        ("This is", part),
        ("Generator", format!("postrider-loadtest {}", run.generator)),
        ("Command", run.command.clone()),
        ("Machine", machine.system.clone()),
        (
            "Processor",
            format!("{} ({} usable)", machine.processor, machine.cores),
        ),
        ("Memory", amount::bytes(machine.memory as f64)),
        (
            "File system of the data",
            machine
                .file_system
                .clone()
                .unwrap_or_else(|| "not known".to_owned()),
        ),
    ];
    write!(out, "<dl>")?;
    for (name, value) in &pairs {
        write!(out, "<dt>{name}<dd>{}", Escaped(value))?;
    }
    write!(out, "</dl>")?;
    let profile =
        toml::to_string(&report.profile).unwrap_or_else(|error| format!("cannot be shown: {error}"));
    writeln!(
        out,
        "<details><summary>Profile <b>{}</b>: {}</summary><pre>{}</pre></details>",
        Escaped(&report.profile.name),
        Escaped(&report.profile.about),
        Escaped(&profile)
    )
}
