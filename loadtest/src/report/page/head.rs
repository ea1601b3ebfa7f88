//! The head of the page: the verdict in large letters, the figures that matter, what was done to the server.

use std::fmt::{self, Formatter};

use super::escape::Escaped;
use crate::ledger::{Findings, Verdict};
use crate::report::amount;
use crate::report::data::Report;
use crate::report::summary::{self, Judgement, Summary};

/// The verdict: what it says must not be missed by anybody, whatever colours they see.
pub fn verdict(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let (class, sign) = match Judgement::of(report) {
        Judgement::Kept => ("kept", "✓"),
        Judgement::Broken => ("broken", "✗"),
        Judgement::Unknown => ("unknown", "–"),
    };
    let ledger = report.ledger.as_ref();
    write!(
        out,
        "<section class=\"verdict {class}\"><div class=sign aria-hidden=true>{sign}</div><div><h2>{}</h2>",
        Escaped(&summary::sentence(ledger))
    )?;
    if let Some(verdict) = ledger {
        write!(out, "<p class=counts>")?;
        for (index, (name, number)) in summary::counts(verdict).into_iter().enumerate() {
            let class = if index >= 2 && number > 0 {
                " class=bad"
            } else {
                ""
            };
            write!(out, "<span{class}><b>{}</b> {name}</span>", amount::count(number))?;
        }
        write!(out, "</p>")?;
        for aside in summary::asides(verdict) {
            write!(out, "<p class=aside>{aside}</p>")?;
        }
    }
    writeln!(out, "</div></section>")?;
    ledger.map_or(Ok(()), |verdict| examples(out, verdict))
}

/// The headline figures.
pub fn figures(out: &mut Formatter<'_>, report: &Report, summary: &Summary) -> fmt::Result {
    write!(out, "<section class=figures>")?;
    if let Some(knee) = &report.knee {
        let rate = amount::number(knee.messages_per_second);
        match knee.users {
            // The profile says nothing of people.
            0 => figure(
                out,
                "messages fit",
                &rate,
                "per second, at the last step that held",
            )?,
            users => {
                let under = format!("{rate} messages/s at the last step that held");
                figure(out, "users fit", &amount::count(users), &under)?;
            }
        }
    }
    figure(
        out,
        "messages accepted",
        &amount::count(summary.accepted),
        &format!("{} per second", amount::number(summary.accepted_per_second)),
    )?;
    if let Some(latency) = &summary.acceptance {
        let under = format!(
            "p50 {} · max {}",
            amount::micros(latency.p50 as f64),
            amount::micros(latency.max as f64)
        );
        figure(
            out,
            "p99 of acceptance",
            &amount::micros(latency.p99 as f64),
            &under,
        )?;
    }
    let under = match summary.failed {
        0 => format!("of {} operations", amount::count(summary.done)),
        failed => format!(
            "{} of {} operations",
            amount::count(failed),
            amount::count(summary.done + failed)
        ),
    };
    figure(out, "failed", &amount::share(summary.failed_share()), &under)?;
    if let Some(server) = &summary.server {
        let under = format!("on average, of {} processors", report.environment.cores);
        figure(out, "server CPU", &amount::number(server.cpu), &under)?;
        figure(
            out,
            "server memory",
            &amount::bytes(server.resident as f64),
            "at most",
        )?;
    }
    writeln!(out, "</section>")
}

/// What was done to the server, numbered as on the plots.
pub fn marks(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    if report.marks.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<section class=marks><h2>What was done to the server</h2><ol>"
    )?;
    for mark in &report.marks {
        write!(
            out,
            "<li><time>{}</time> {}",
            amount::clock(mark.at),
            Escaped(&mark.what)
        )?;
    }
    writeln!(out, "</ol></section>")
}

fn figure(out: &mut Formatter<'_>, name: &str, value: &str, under: &str) -> fmt::Result {
    let (number, unit) = value.rsplit_once(' ').unwrap_or((value, ""));
    write!(
        out,
        "<div><span class=name>{name}</span><span class=value>{}<small> {}</small></span><span class=under>{}</span></div>",
        Escaped(number),
        Escaped(unit),
        Escaped(under)
    )
}

fn examples(out: &mut Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let kinds: [(&str, &Findings); 4] = [
        ("Lost", &verdict.lost),
        ("Duplicated", &verdict.duplicated),
        ("Altered", &verdict.altered),
        ("Out of order", &verdict.out_of_order),
    ];
    for (name, findings) in kinds.into_iter().filter(|(_, findings)| findings.count > 0) {
        write!(
            out,
            "<details class=findings><summary>{name}: {} (message and recipient)</summary><pre>",
            amount::count(findings.count)
        )?;
        for example in &findings.examples {
            writeln!(out, "{}", Escaped(example))?;
        }
        let shown = findings.examples.len() as u64;
        if findings.count > shown {
            writeln!(
                out,
                "… and {} more in the ledger's file",
                amount::count(findings.count - shown)
            )?;
        }
        writeln!(out, "</pre></details>")?;
    }
    Ok(())
}
