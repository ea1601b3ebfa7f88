//! The plots whose x is not time: latency by quantile, and the knee.

use super::axis::{Axis, Scale, Unit};
use super::plot::{Guide, Plot, Series, Shape};
use super::words::{COLOURS, FAMILIES, Family};
use crate::report::amount;
use crate::report::data::{Knee, KneeStep, Report};
use crate::report::histogram;

/// Points of a percentile curve per nine.
const PER_NINE: u32 = 16;

/// Percentile curves, one plot for each family that has any. Each curve ends where fewer than one result is left.
pub fn distribution(report: &Report) -> Vec<Plot> {
    FAMILIES
        .iter()
        .filter_map(|family| curves(report, family))
        .collect()
}

fn curves(report: &Report, family: &Family) -> Option<Plot> {
    let mut series = Vec::new();
    for (operation, colour) in family.operations.iter().zip(COLOURS) {
        let measured = report.operations.get(operation);
        let Some(all) = measured.and_then(|measured| histogram::decode(&measured.histogram)) else {
            continue;
        };
        if all.is_empty() {
            continue;
        }
        let nines = (all.len() as f64).log10().clamp(1.0, 5.0);
        let points = (0..=(nines * f64::from(PER_NINE)).floor() as u32)
            .map(|step| f64::from(step) / f64::from(PER_NINE))
            .map(|x| (x, all.value_at_quantile(1.0 - 10_f64.powf(-x)) as f64))
            .collect();
        series.push(Series::line(operation.name(), colour, points));
    }
    let values = || series.iter().flat_map(|line: &Series| &line.points);
    let last = values().map(|(x, _)| *x).fold(2.0, f64::max);
    let y = Axis::decades(Unit::Micros, values().map(|(_, value)| *value));
    (!series.is_empty()).then(|| Plot {
        title: family.name.to_owned(),
        note: "this share was at least as quick".to_owned(),
        x: Axis::exact(Unit::Nines, 0.0, last),
        y,
        series,
        marks: Vec::new(),
        guides: Vec::new(),
        wide: false,
    })
}

/// Achieved against offered, and p99 against offered with its bound.
pub fn knee(knee: &Knee) -> Vec<Plot> {
    if knee.steps.is_empty() {
        return Vec::new();
    }
    let mut steps = knee.steps.clone();
    steps.sort_by(|a, b| a.offered.total_cmp(&b.offered));
    let x = Axis::from_zero(Unit::Number, steps.iter().map(|step| step.offered));
    let rates = steps.iter().flat_map(|step| [step.offered, step.achieved]);
    let mut achieved = lines(&steps, |step| step.achieved);
    let most = steps.iter().map(|step| step.offered).fold(0.0, f64::max);
    achieved.push(Series::line(
        "as offered",
        "offered",
        vec![(0.0, 0.0), (most, most)],
    ));
    let p99 = |step: &KneeStep| step.p99.max(1) as f64;
    let bound = knee.p99_bound.max(1) as f64;
    let mut latencies = Axis::decades(Unit::Micros, steps.iter().map(p99).chain([bound]));
    latencies.scale = Scale::Log;
    let plot = |title: &str, note: String, y: Axis, series: Vec<Series>, guides: Vec<Guide>| Plot {
        title: title.to_owned(),
        note,
        x,
        y,
        series,
        marks: Vec::new(),
        guides,
        wide: false,
    };
    vec![
        plot(
            "Achieved against offered",
            "operations per second".to_owned(),
            Axis::from_zero(Unit::Number, rates),
            achieved,
            Vec::new(),
        ),
        plot(
            "p99 of acceptance",
            "against operations per second offered".to_owned(),
            latencies,
            lines(&steps, p99),
            vec![Guide {
                at: bound,
                text: format!("bound {}", amount::micros(bound)),
            }],
        ),
    ]
}

/// A line through all steps, and on it which held and which did not.
fn lines(steps: &[KneeStep], value: impl Fn(&KneeStep) -> f64) -> Vec<Series> {
    let points = |of: &dyn Fn(&KneeStep) -> bool| {
        let chosen = steps.iter().filter(|step| of(step));
        chosen.map(|step| (step.offered, value(step))).collect::<Vec<_>>()
    };
    vec![
        Series::line("all steps", "through", points(&|_| true)),
        Series::drawn(Shape::Dots, "bounds held", COLOURS[0], points(&|step| step.held)),
        Series::drawn(
            Shape::Rings,
            "a bound broke",
            COLOURS[1],
            points(&|step| !step.held),
        ),
    ]
}
