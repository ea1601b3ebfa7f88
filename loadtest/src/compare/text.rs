//! A comparison as Markdown, ready for a page of documentation.

use std::fmt::{Display, Formatter, Result};

use super::figures::{Comparison, Figures, Ratio, RowResult};
use super::rows::Measure;
use crate::report::amount;

/// Shows as Markdown: what ran where, the table, remarks below it.
pub struct Markdown<'a>(pub &'a Comparison);

impl Display for Markdown<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let comparison = self.0;
        self.head(out)?;
        let [ours, theirs] = [0, 1].map(|index| {
            let named = comparison.systems.get(index);
            named.map_or("", |named| named.name.as_str())
        });
        writeln!(
            out,
            "| Work | {ours} | {theirs} | Ratio (min–max) | CPU per unit: {ours} | {theirs} | their ratio (min–max) | below {theirs} | generator | Memory: {ours} | {theirs} |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        let mut remarks: Vec<&str> = Vec::new();
        for row in &comparison.rows {
            table_row(out, row, [ours, theirs], &mut remarks)?;
        }
        writeln!(out)?;
        for (number, remark) in remarks.iter().enumerate() {
            writeln!(out, "{}. {remark}", number + 1)?;
        }
        Ok(())
    }
}

impl Markdown<'_> {
    fn head(&self, out: &mut Formatter<'_>) -> Result {
        let comparison = self.0;
        for system in &comparison.systems {
            writeln!(out, "* {}: {}", system.name, system.version)?;
        }
        let machine = &comparison.environment;
        writeln!(
            out,
            "* Machine: {} × {}, {} of memory, {}; generator {} on the same machine",
            machine.cores,
            machine.processor,
            amount::bytes(machine.memory as f64),
            machine.system,
            comparison.generator,
        )?;
        writeln!(out, "* {}, `{}`", comparison.started, comparison.command)?;
        writeln!(
            out,
            "* {} rounds of {} s, interleaved; a ratio is the median of paired rounds, above 1 Postrider is better",
            comparison.rounds, comparison.seconds
        )?;
        for remark in &comparison.remarks {
            writeln!(out, "* {remark}")?;
        }
        writeln!(out)
    }
}

fn table_row<'a>(
    out: &mut Formatter<'_>,
    row: &'a RowResult,
    names: [&str; 2],
    remarks: &mut Vec<&'a str>,
) -> Result {
    let said = row.remarks.iter().chain(&row.failed);
    let numbers: Vec<String> = said
        .map(|remark| {
            let known = remarks.iter().position(|known| known == remark);
            let place = known.unwrap_or_else(|| {
                remarks.push(remark);
                remarks.len() - 1
            });
            (place + 1).to_string()
        })
        .collect();
    let marks = match numbers.len() {
        0 => String::new(),
        _ => format!(" ({})", numbers.join(", ")),
    };
    let figures = names.map(|name| row.systems.get(name).filter(|figures| !figures.rounds.is_empty()));
    let cell = |figures: Option<&Figures>, text: fn(&Figures) -> String| figures.map_or("–".into(), text);
    let [ours, theirs] = figures.map(|figures| figures.map_or("–".into(), |figures| value(row, figures)));
    let [our_cpu, their_cpu] =
        figures.map(|figures| cell(figures, |figures| amount::micros(figures.server_micros)));
    let generator = figures.map(|figures| cell(figures, |figures| amount::micros(figures.generator_micros)));
    let below = cell(figures[1], |figures| match figures.engines_micros {
        none if none <= 0.0 => "–".into(),
        micros => amount::micros(micros),
    });
    let [our_memory, their_memory] =
        figures.map(|figures| cell(figures, |figures| amount::bytes(figures.memory)));
    let failed = if row.failed.is_some() { "**failed**: " } else { "" };
    writeln!(
        out,
        "| {failed}{}{marks} | {ours} | {theirs} | {} | {our_cpu} | {their_cpu} | {} | {below} | {} | {our_memory} | {their_memory} |",
        row.title,
        row.ratio.map_or("–".into(), ratio),
        row.cpu_ratio.map_or("–".into(), ratio),
        generator.join(", "),
    )
}

/// The median and, of several rounds, how far they lie apart.
fn value(row: &RowResult, figures: &Figures) -> String {
    let one = |number: f64| match row.measure {
        Measure::Rate => rate(number),
        Measure::Bytes => amount::bytes(number),
        Measure::Milliseconds => amount::micros(number * 1e3),
    };
    let unit = match row.measure {
        Measure::Rate => "/s",
        Measure::Bytes | Measure::Milliseconds => "",
    };
    match figures.rounds.len() {
        1 => format!("{}{unit}", one(figures.median)),
        _ => format!(
            "{}{unit} ({}–{})",
            one(figures.median),
            one(figures.min),
            one(figures.max)
        ),
    }
}

/// Three significant digits, with thousands apart.
fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => {
            let step = 10_f64.powf(rate.log10().floor() - 2.0);
            amount::count(((rate / step).round() * step) as u64)
        }
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.2}"),
    }
}

fn ratio(ratio: Ratio) -> String {
    let digits = |number: f64| {
        if number >= 10.0 {
            format!("{number:.0}")
        } else {
            format!("{number:.2}")
        }
    };
    let text = format!(
        "{}× ({}–{})",
        digits(ratio.median),
        digits(ratio.min),
        digits(ratio.max)
    );
    if ratio.quotable {
        text
    } else {
        format!("{text}, too noisy to quote")
    }
}

#[cfg(test)]
mod tests {
    use super::{Markdown, rate};
    use crate::compare::figures::{Comparison, Named, RowResult};
    use crate::compare::rows::ROWS;
    use crate::compare::system::Sample;

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(rate(123_456.0), "123,000");
        assert_eq!(rate(3421.0), "3,420");
        assert_eq!(rate(101.4), "101");
        assert_eq!(rate(12.345), "12.3");
        assert_eq!(rate(0.5), "0.50");
    }

    #[test]
    fn the_table_says_what_is_noisy_and_what_failed() {
        let names = ["Postrider".to_owned(), "peer".to_owned()];
        let sample = |value: f64| Sample {
            value,
            units: 10,
            seconds: 1.0,
            server_cpu: 0.5,
            engines_cpu: 0.0,
            generator_cpu: 0.1,
            memory: 1 << 20,
        };
        let row = |key: &str, rounds, failed| {
            RowResult::new(
                ROWS.iter().find(|row| row.key == key).expect("a row"),
                &names,
                rounds,
                failed,
            )
        };
        let comparison = Comparison {
            format: 1,
            started: "2026-11-22T12:00:00Z".into(),
            command: "postrider-loadtest compare".into(),
            generator: "0.1.0".into(),
            environment: crate::report::data::Environment::default(),
            systems: names
                .iter()
                .map(|name| Named {
                    name: name.clone(),
                    version: "1".into(),
                })
                .collect(),
            rounds: 2,
            seconds: 8,
            remarks: vec![],
            rows: vec![
                row(
                    "copy-10000",
                    vec![vec![sample(9.0), sample(3.0)], vec![sample(3.0), sample(3.0)]],
                    None,
                ),
                row("pop3-drain", vec![vec![], vec![]], Some("no pop3".into())),
            ],
        };
        let text = Markdown(&comparison).to_string();
        let line = |start: &str| {
            text.lines()
                .find(|line| line.starts_with(start))
                .map(str::to_owned)
        };
        let copy = line("| COPY").expect("a row");
        assert!(
            copy.contains(
                "| 6.00/s (3.00–9.00) | 3.00/s (3.00–3.00) | 2.00× (1.00–3.00), too noisy to quote |"
            ),
            "{copy}"
        );
        assert!(
            line("| **failed**: POP3").is_some() && line("1. no pop3").is_some(),
            "{text}"
        );
    }
}
