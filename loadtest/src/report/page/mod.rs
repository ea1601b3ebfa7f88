//! One HTML page of a report: no network, no fonts or scripts from elsewhere, light and dark, printable.
//!
//! The plots are SVG that is there without a script; the script adds the read-out under the pointer and the switch between
//! light and dark. A run of ten minutes makes less than 2 MB: lines have at most some 300 points ([`buckets`]).

mod axis;
mod buckets;
mod escape;
mod head;
mod plot;
mod shape;
mod tables;
mod time;
mod words;

use std::fmt::{self, Display, Formatter};

use super::data::Report;
use super::summary::Summary;
use escape::Escaped;
use plot::Plot;
use time::Times;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing may be loaded from anywhere, whatever got into a report.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A report as a page: write it with `{}`.
#[derive(Debug)]
pub struct Page<'a>(pub &'a Report);

impl Display for Page<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        opening(out, report)?;
        head::verdict(out, report)?;
        head::figures(out, report, &Summary::of(report))?;
        head::marks(out, report)?;
        if let Some(knee) = &report.knee {
            section(
                out,
                "Where it saturates",
                "The rates of the profile were raised until a bound broke.",
                |out| {
                    plots(out, &shape::knee(knee))?;
                    tables::steps(out, knee)
                },
            )?;
        }
        let times = Times::new(report);
        section(
            out,
            "Throughput",
            "Arrivals do not wait for the server: where the line leaves the area, the server fell behind or failed.",
            |out| plots(out, &times.throughput()),
        )?;
        section(
            out,
            "Latency over time",
            "Counted from the moment an operation was due, so waiting for a free connection is in it. Logarithmic.",
            |out| plots(out, &times.latency()),
        )?;
        section(
            out,
            "Latency by share",
            "How slow it was for the unlucky: the further right, the fewer. Logarithmic.",
            |out| plots(out, &shape::distribution(report)),
        )?;
        section(out, "Failures", "", |out| {
            plots(out, times.failures().as_slice())?;
            tables::failures(out, report)
        })?;
        let processes = times.processes();
        if !processes.is_empty() {
            section(
                out,
                "Processes",
                "The server's whole process tree, and the generator itself.",
                |out| plots(out, &processes),
            )?;
        }
        let gauges = times.gauges();
        if !gauges.is_empty() {
            section(out, "The server's own gauges", "", |out| plots(out, &gauges))?;
        }
        section(out, "Operations", "", |out| tables::operations(out, report))?;
        section(out, "What ran", "", |out| tables::environment(out, report))?;
        writeln!(
            out,
            "</main><div id=readout hidden></div><script>{SCRIPT}</script></html>"
        )
    }
}

fn opening(out: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let run = &report.run;
    writeln!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=Content-Security-Policy content=\"{POLICY}\"><meta name=viewport content=\"width=device-width\"><title>{system} · {profile}</title><style>{STYLE}</style>\
         <main><header><div><h1>{system}</h1><p>Profile <b>{profile}</b>, {length}, {started}</p></div><button id=theme hidden>light / dark</button></header>",
        system = Escaped(&run.system),
        profile = Escaped(&report.profile.name),
        length = super::amount::duration(run.seconds),
        started = Escaped(&to_the_second(&run.started)),
    )
}

/// RFC 3339 without fractions of a second, with a space in it.
fn to_the_second(moment: &str) -> String {
    let (day, rest) = moment.split_once('T').unwrap_or((moment, ""));
    let whole = rest.split(['.', 'Z', '+', '-']).next().unwrap_or(rest);
    let zone = rest.find(['Z', '+', '-']).map_or("", |at| &rest[at..]);
    let zone = if zone == "Z" { " UTC" } else { zone };
    format!("{day} {whole}{zone}")
}

fn section(
    out: &mut Formatter<'_>,
    title: &str,
    about: &str,
    content: impl FnOnce(&mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    write!(out, "<section><h2>{title}</h2>")?;
    if !about.is_empty() {
        write!(out, "<p class=about>{about}</p>")?;
    }
    content(out)?;
    writeln!(out, "</section>")
}

fn plots(out: &mut Formatter<'_>, plots: &[Plot]) -> fmt::Result {
    write!(out, "<div class=plots>")?;
    for plot in plots {
        write!(out, "{plot}")?;
    }
    write!(out, "</div>")
}

#[cfg(test)]
mod tests {
    use super::to_the_second;

    #[test]
    fn moments_read_well() {
        assert_eq!(
            to_the_second("2026-11-22T12:57:40.499305069Z"),
            "2026-11-22 12:57:40 UTC"
        );
        assert_eq!(
            to_the_second("2026-05-17T07:30:00+02:00"),
            "2026-05-17 07:30:00+02:00"
        );
        assert_eq!(to_the_second("<b>"), "<b> ");
    }
}
