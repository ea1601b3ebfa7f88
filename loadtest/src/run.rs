//! A run: plays a profile against a target, and says what happened and whether anything was lost.
//!
//! 1. Looks whether it can work at all (addresses, open files), opens the ledger, and the sink when there is one here.
//! 2. Plays every actor until arrivals end: after the profile's duration, or when it is interrupted.
//! 3. Waits until what has begun has ended, at most [`Options::patience`]; then, when mail goes out to a sink here, until all
//!    of it has come or nothing has come for a while.
//! 4. Reconciles the ledger with what the server and the sink show.
//! 5. Writes `report.json` and `report.html` beside the ledger.
//!
//! [`execute`] is all of it. Whoever does things to the server meanwhile (stops it, kills it) uses [`Run`] piece by piece.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::actor::{self, Recent, World};
use crate::ledger::Ledger;
use crate::process::Sampler;
use crate::profile::Profile;
use crate::progress::{Progress, Style};
use crate::recorder::Recorder;
use crate::report::command::{write_json, write_page};
use crate::report::data::{Report, Run as About};
use crate::sink::{Rules, Sink};
use crate::target::Target;
use crate::traffic::Letters;

pub mod command;
mod environment;
mod outbound;
mod preflight;
mod target;
#[cfg(test)]
mod tests;
mod verdict;

pub use environment::environment;
pub use outbound::record as sink_record;
pub use target::load_target;
pub use verdict::together as reconcile_together;

/// The report's name beside the ledger.
pub const REPORT: &str = "report.json";
/// The page's name beside it.
pub const PAGE: &str = "report.html";

/// What is due in the last instant still begins, also where the processor is busy elsewhere.
const LAST_ARRIVALS: Duration = Duration::from_millis(250);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who does what, scaled as wanted.
    pub profile: Profile,
    /// Where to.
    pub target: Target,
    /// Seed of everything random.
    pub seed: u64,
    /// Which part of how many, from (1, 1): all of it.
    pub part: (u32, u32),
    /// Where ledger and report are written; made when it is not there.
    pub out: PathBuf,
    /// Where to be the rest of the Internet, and how; a sink elsewhere is known by its record (see [`Options::sink_records`]).
    pub sink: Option<SinkHere>,
    /// Records of sinks that run elsewhere, to reconcile with.
    pub sink_records: Vec<PathBuf>,
    /// Whether to reconcile in the end.
    pub verify: bool,
    /// Keep gauges that begin with one of these; without any, queue depths and the like.
    pub gauges: Vec<String>,
    /// How long clients may take to end what has begun, and outbound mail to come, when arrivals have ended.
    pub patience: Duration,
    /// How progress is shown.
    pub progress: Style,
    /// The command line, without secrets.
    pub command: String,
}

/// A sink in this process.
#[derive(Debug, Clone)]
pub struct SinkHere {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// How it answers.
    pub rules: Rules,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Run {
    options: Options,
    world: Arc<World>,
    sampler: Sampler,
    actors: JoinSet<()>,
    sink: Option<Sink>,
    started: Timestamp,
    number: u32,
    /// How long arrivals went on, once they have ended.
    lasted: Option<Duration>,
}

/// Plays it from beginning to end. `interrupt` ends arrivals early; the rest is done all the same.
pub async fn execute(options: Options, interrupt: &CancellationToken) -> Result<Report> {
    let mut run = Run::start(options).await?;
    let progress = run.show();
    run.play(interrupt, &progress).await;
    progress.finish();
    run.finish().await
}

impl Options {
    /// A run of `profile` against `target` into `out`, as the command does it when nothing else is said.
    pub fn new(profile: Profile, target: Target, out: impl Into<PathBuf>) -> Self {
        Self {
            profile,
            target,
            seed: 1,
            part: (1, 1),
            out: out.into(),
            sink: None,
            sink_records: Vec::new(),
            verify: true,
            gauges: Vec::new(),
            patience: Duration::from_mins(1),
            progress: Style::Auto,
            command: String::new(),
        }
    }
}

impl Run {
    /// Begins: arrivals are due from now on.
    pub async fn start(mut options: Options) -> Result<Self> {
        let warnings = preflight::check(&mut options.profile, &options.target, options.part).await?;
        for warning in &warnings {
            if options.progress != Style::Silent {
                eprintln!("{warning}");
            }
        }
        fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
        let started = Timestamp::now();
        let run = number(&options, started);
        let directory = ledger_directory(&options.out);
        let ledger = Ledger::open(&directory, run).with_context(|| {
            format!(
                "cannot open the ledger in {} (every run needs an --out of its own)",
                directory.display()
            )
        })?;
        // Takes a moment: before the clock runs.
        let letters = Letters::new(
            options.seed,
            run,
            options.profile.traffic.clone(),
            options.target.accounts.clone(),
        );
        let begin = Instant::now();
        let recorder = Recorder::new(begin, options.profile.duration);
        let sampler = Sampler::start(begin, &options.target, &options.gauges)?;
        let world = Arc::new(World {
            target: options.target.clone(),
            profile: options.profile.clone(),
            part: options.part,
            seed: options.seed,
            letters,
            recorder,
            ledger,
            recent: Recent::default(),
            stop: CancellationToken::new(),
        });
        let sink = match &options.sink {
            Some(here) => Some(outbound::start(here, &options.out, &world).await?),
            None => None,
        };
        let mut actors = JoinSet::new();
        for index in 0..world.profile.actors.len() {
            actors.spawn(act(Arc::clone(&world), index));
        }
        Ok(Self {
            options,
            world,
            sampler,
            actors,
            sink,
            started,
            number: run,
            lasted: None,
        })
    }

    /// Where results go; also takes marks in time.
    pub fn recorder(&self) -> &Recorder {
        &self.world.recorder
    }

    /// Who looks at processes; is told when the server was started again.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// What its messages' ids begin with; see [`MessageId::run`](crate::ledger::MessageId::run).
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Cancelling it ends arrivals.
    pub fn stop(&self) -> &CancellationToken {
        &self.world.stop
    }

    /// Begins to show how it goes, as the options say.
    pub fn show(&self) -> Progress {
        Progress::start(
            &self.options.profile.name,
            &self.world.recorder,
            &self.sampler,
            self.options.progress,
        )
    }

    /// Waits until arrivals have ended and, within the options' patience, what they began.
    pub async fn play(&mut self, interrupt: &CancellationToken, progress: &Progress) {
        let begin = self.world.recorder.begin();
        let end = begin + self.options.profile.duration + LAST_ARRIVALS;
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => {}
            () = interrupt.cancelled() => {
                self.world.recorder.mark("interrupted: no more arrivals");
                progress.say("interrupted: no more arrivals; what has begun ends, then the ledger is reconciled");
            }
            // The ledger cannot be written, or somebody has enough.
            () = self.world.stop.cancelled() => {}
        }
        self.lasted = Some(begin.elapsed().min(self.options.profile.duration));
        self.world.stop.cancel();
        let recorder = &self.world.recorder;
        let all = ended(&mut self.actors, recorder);
        if timeout(self.options.patience, all).await.is_err() {
            recorder.mark(format!(
                "{} actors did not end and were stopped",
                self.actors.len()
            ));
            self.actors.shutdown().await;
        }
        if let Some(sink) = &self.sink {
            outbound::settle(sink, &self.sampler, self.options.patience).await;
        }
    }

    /// Reconciles and writes the report.
    pub async fn finish(mut self) -> Result<Report> {
        self.world.stop.cancel();
        self.actors.shutdown().await;
        let sampled = self.sampler.stop().await;
        if let Some(sink) = self.sink.take() {
            sink.stop().await;
        }
        let recorder = &self.world.recorder;
        let mut report = Report {
            format: 1,
            run: self.about(),
            environment: environment(),
            profile: self.options.profile.clone(),
            operations: recorder.measured(),
            processes: sampled.processes,
            gauges: sampled.gauges,
            marks: recorder.marks(),
            ledger: None,
            knee: None,
        };
        // Before the ledger is looked at: should that fail, what was measured is not lost.
        write(&report, &self.options.out)?;
        if self.options.verify && self.stands_alone() {
            if self.options.progress != Style::Silent {
                eprintln!("looking for everything that was promised");
            }
            let verdict = verdict::verdict(&self.world.ledger, &self.options).await?;
            if let Some(hint) = verdict::hint(&verdict, &self.world.ledger, &self.options) {
                eprintln!("{hint}");
            }
            report.ledger = Some(verdict);
            write(&report, &self.options.out)?;
        }
        Ok(report)
    }

    /// Whether its ledger can be reconciled without those of other parts; when not, that is told.
    fn stands_alone(&self) -> bool {
        let Options {
            profile,
            target,
            part,
            progress,
            ..
        } = &self.options;
        let alone = verdict::stands_alone(profile, target, *part);
        if !alone && *progress != Style::Silent {
            eprintln!(
                "other parts may have received or deleted this part's mail: `merge --target` reconciles them together"
            );
        }
        alone
    }

    fn about(&self) -> About {
        let lasted = self
            .lasted
            .unwrap_or_else(|| self.world.recorder.begin().elapsed());
        About {
            system: self.options.target.name.clone(),
            command: self.options.command.clone(),
            started: self.started.to_string(),
            seconds: lasted.as_secs_f64(),
            seed: self.options.seed,
            part: self.options.part,
            generator: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Writes a report as JSON and as a page into `out`.
pub fn write(report: &Report, out: &Path) -> Result<()> {
    write_json(report, &out.join(REPORT))?;
    write_page(report, &out.join(PAGE))
}

/// Where a run's ledger is, below what it writes.
pub fn ledger_directory(out: &Path) -> PathBuf {
    out.join("ledger")
}

async fn act(world: Arc<World>, index: usize) {
    if let Some(actor) = world.profile.actors.get(index) {
        actor::play(Arc::clone(&world), actor, index).await;
    }
}

async fn ended(actors: &mut JoinSet<()>, recorder: &Recorder) {
    while let Some(actor) = actors.join_next().await {
        if let Err(error) = actor {
            tracing::error!(%error, "an actor has failed; the report lacks the rest of what it does");
            recorder.mark("an actor has failed: the generator is at fault, not the server");
        }
    }
}

/// A number that other runs against the same server do not have: parts of one run differ, too, for each reconciles its own.
fn number(options: &Options, started: Timestamp) -> u32 {
    let text = format!("{} {:?} {}", options.seed, options.part, started.as_nanosecond());
    xxh3_64_with_seed(text.as_bytes(), u64::from(std::process::id())) as u32
}
