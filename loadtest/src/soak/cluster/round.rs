//! A round: load with the ledger, a fault and its end in the middle, probes until all works, the reconciliation.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::flight::{Moment, on_their_way};
use super::probe;
use super::site::Site;
use super::table::Row;
use crate::ledger::Verdict;
use crate::ledger::reconcile::{self, reconcile};
use crate::operation::Operation;
use crate::profile::Profile;
use crate::progress::Style;
use crate::recorder::Recorder;
use crate::report::data::Report;
use crate::run::{self, Options, Run, ledger_directory};
use crate::soak::seconds;

/// The load of all rounds.
const CHAOS: &str = include_str!("chaos.toml");
/// Load alone before a fault, and after service is back, in seconds.
const BEFORE: u64 = 6;
const AFTER: u64 = 4;
/// How long doing or undoing a fault may take: engines start within it.
const DOING: Duration = Duration::from_secs(300);
/// How long clients may take to end what they have begun.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a sender waits for an answer to.
const SENDING: [Operation; 4] = [
    Operation::MxConnect,
    Operation::MxMessage,
    Operation::SubmitConnect,
    Operation::SubmitMessage,
];

/// What a fault did, as the round saw it.
struct Done {
    /// From its beginning to its end, the time of doing and undoing included.
    held: Duration,
    /// When it could hit what was on its way.
    from: Moment,
    to: Moment,
    recovery: Result<Duration>,
}

/// Plays one round in `out`. What does not hold is in the row; an error means that it could not be played.
pub async fn play(
    fault: &Fault,
    site: &Site,
    seed: u64,
    out: PathBuf,
    interrupt: &CancellationToken,
) -> Result<Row> {
    let mut profile = Profile::parse(CHAOS).context("the load of a soak")?;
    profile.duration = seconds(BEFORE + fault.hold + fault.back + AFTER + 30);
    let options = Options {
        seed,
        verify: false,
        progress: Style::Silent,
        patience: PATIENCE,
        sink_records: vec![site.record().to_owned()],
        command: "postrider-loadtest soak --cluster".to_owned(),
        ..Options::new(profile, site.target(), &out)
    };
    let mut run = Run::start(options).await?;
    let (progress, recorder, stop) = (run.show(), run.recorder().clone(), run.stop().clone());
    let torment = async {
        let done = torment(fault, site, &recorder).await;
        sleep(seconds(AFTER)).await;
        stop.cancel();
        done
    };
    let (done, ()) = tokio::join!(torment, run.play(interrupt, &progress));
    let number = run.number();
    let report = run.finish().await?;
    let mut row = Row::new(fault);
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            row.violations.push(format!("{error:#}"));
            return Ok(row);
        }
    };
    row.held = done.held;
    match done.recovery {
        Ok(time) => row.back_after = Some(time),
        Err(error) => row.violations.push(format!("{error:#}")),
    }
    row.sending(&report, SENDING);
    let ledger = ledger_directory(&out);
    row.on_their_way = on_their_way(&ledger, site.record(), number, done.from, done.to)
        .context("what was on its way cannot be read")?;
    let begin = Instant::now();
    let verdict = look(site, vec![ledger], seconds(fault.late)).await;
    row.kept_after = Some(begin.elapsed());
    match verdict {
        Ok(verdict) => row.judge(verdict, &site.target()),
        Err(error) => row.violations.push(format!("{error:#}")),
    }
    row.violations.extend(site.ended().await?);
    let mut report: Report = report;
    report.ledger.clone_from(&row.verdict);
    run::write(&report, &out)?;
    Ok(row)
}

async fn torment(fault: &Fault, site: &Site, recorder: &Recorder) -> Result<Done> {
    sleep(seconds(BEFORE)).await;
    let began = Instant::now();
    let from = Moment::now(recorder.begin());
    recorder.mark(fault.about());
    timeout(DOING, fault.begin(site))
        .await
        .context("it could not be done in time")??;
    let struck = Moment::now(recorder.begin());
    sleep(fault.hold()).await;
    timeout(DOING, fault.end(site))
        .await
        .context("it could not be undone in time")??;
    let held = began.elapsed();
    recorder.mark("over");
    let recovery = probe::recovery(site, seconds(fault.back)).await;
    let to = match fault.is_a_moment() {
        true => struck,
        false => Moment::now(recorder.begin()),
    };
    if recovery.is_ok() {
        recorder.mark("everything works");
    }
    Ok(Done {
        held,
        from,
        to,
        recovery,
    })
}

/// Looks for everything promised in these ledgers, for so long at most.
pub async fn look(site: &Site, ledgers: Vec<PathBuf>, wait: Duration) -> Result<Verdict> {
    let first = ledgers.first().cloned().unwrap_or_default();
    let options = reconcile::Options {
        ledgers,
        sink_record: Some(site.record().to_owned()),
        wait,
        quiet: wait,
        connections: 2,
        ..reconcile::Options::new(first, site.target())
    };
    reconcile(&options)
        .await
        .context("whether anything was lost cannot be told")
}
