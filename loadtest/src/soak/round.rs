//! A round: load with the ledger, a fault and its end in the middle, a probe of every service, the reconciliation.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fault::{BUDGET, Fault, Seen};
use super::scene::{Control, Scene};
use super::site::Site;
use super::table::Row;
use super::{probe, seconds};
use crate::process::SERVER;
use crate::profile::Profile;
use crate::progress::Style;
use crate::report::amount;
use crate::report::data::Report;
use crate::report::summary;
use crate::run::{Options, Run, SinkHere};
use crate::sink::Rules;

/// Load goes on for so long after a fault, in seconds: clients come back while it lasts.
const AFTER: u64 = 10;

/// A fault that takes longer than usual by so many seconds has failed: a start may take two minutes, and there may be two.
const SLACK: u64 = 300;

/// What a round is made of.
#[derive(Debug)]
pub struct Plan {
    /// The load; its duration is made to fit the fault.
    pub profile: Profile,
    /// Load alone before the fault, in seconds.
    pub before: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Where report and ledger are written.
    pub out: PathBuf,
}

/// Plays one round. What does not hold is in the row; an error means that it could not even begin.
pub async fn play(fault: &dyn Fault, site: &Site, plan: Plan, interrupt: &CancellationToken) -> Result<Row> {
    let Plan {
        mut profile,
        before,
        seed,
        out,
    } = plan;
    profile.duration = seconds(before + fault.length() + AFTER);
    let target = site.target()?;
    let options = Options {
        seed,
        sink: Some(SinkHere {
            listen: vec![site.sink()],
            rules: Rules::load("perfect")?,
        }),
        progress: Style::Silent,
        command: "postrider-loadtest soak".to_owned(),
        ..Options::new(profile, target.clone(), out)
    };
    let mut run = Run::start(options).await?;
    let progress = run.show();
    let control = Control::new(run.recorder().clone(), run.sampler().clone());
    let scene = Scene::new(Arc::clone(site.node()), target, site.dress(), control);
    let inflicted = async {
        sleep(seconds(before)).await;
        inflict(fault, &scene).await
    };
    let (inflicted, ()) = tokio::join!(inflicted, run.play(interrupt, &progress));
    let mut row = Row::new(fault.name());
    inflicted.into_row(&mut row);
    match run.finish().await {
        Ok(report) => judge(fault, &report, &mut row),
        Err(error) => row
            .violations
            .push(format!("the ledger could not be reconciled: {error:#}")),
    }
    if let Some(status) = site.ended()? {
        row.violations
            .push(format!("the server ended by itself ({status})"));
    }
    Ok(row)
}

/// What came of the fault itself.
struct Inflicted {
    seen: Result<Seen>,
    recovery: Result<Duration>,
}

async fn inflict(fault: &dyn Fault, scene: &Scene) -> Inflicted {
    let limit = seconds(fault.length() + SLACK);
    let seen = match timeout(limit, fault.inflict(scene)).await {
        Ok(seen) => seen,
        Err(_) => Err(anyhow::anyhow!("it took longer than {limit:?}")),
    };
    let bound = seconds(fault.recovery());
    let recovery = probe::recovery(&scene.target(), bound).await;
    if recovery.is_ok() {
        scene.mark("every service answers");
    }
    Inflicted { seen, recovery }
}

impl Inflicted {
    fn into_row(self, row: &mut Row) {
        match self.seen {
            Ok(Seen::Done(words)) => row.seen = words,
            Ok(Seen::Impossible(why)) => {
                row.seen = why;
                row.skipped = true;
            }
            Err(error) => row.violations.push(format!("{error:#}")),
        }
        match self.recovery {
            Ok(time) => row.recovery = Some(time),
            Err(error) => row.violations.push(format!("{error:#}")),
        }
    }
}

/// What must hold after every fault.
fn judge(fault: &dyn Fault, report: &Report, row: &mut Row) {
    match &report.ledger {
        Some(verdict) if verdict.is_clean() && verdict.promised > 0 => {}
        Some(verdict) if verdict.is_clean() => row.violations.push("no message was accepted".to_owned()),
        verdict => row
            .violations
            .push(format!("the ledger: {}", summary::sentence(verdict.as_ref()))),
    }
    row.verdict.clone_from(&report.ledger);
    let samples = report.processes.iter().filter(|process| process.name == SERVER);
    let resident: Vec<u64> = samples
        .flat_map(|process| &process.samples)
        .map(|sample| sample.resident)
        .collect();
    row.resident = resident.iter().copied().max().unwrap_or(0);
    if row.resident > fault.budget() {
        row.violations.push(format!(
            "it had {} of memory; its budget is {}",
            amount::bytes(row.resident as f64),
            amount::bytes(fault.budget() as f64)
        ));
    }
    let last = resident.last().copied().unwrap_or(0);
    if last > BUDGET {
        row.violations.push(format!(
            "it still had {} of memory at the end; without the fault its budget is {}",
            amount::bytes(last as f64),
            amount::bytes(BUDGET as f64)
        ));
    }
}
