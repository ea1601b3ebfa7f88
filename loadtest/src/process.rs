//! CPU and memory of the server's processes and of the generator's own, every second; and gauges from the server's metrics
//! page.
//!
//! A process tree is told as one: children that have ended count through their parents (the kernel adds their time when
//! they are waited for). The generator's own CPU is in every report, because on one machine it is taken from the server.
//!
//! Costs, per second: a read of every `/proc/PID/stat`, and at most a hundredth of the time for proportional memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::report::data::{Point, ProcessSeries, Sample};
use crate::target::Target;

mod gauges;
mod proc;
mod series;
mod tree;

use gauges::Page;
use series::Series;
use tree::{Look, Trees};

/// The series of the target's processes.
pub const SERVER: &str = "server";
/// The series of this process, without what it may have started: that is most likely the server.
pub const GENERATOR: &str = "generator";

const EVERY: Duration = Duration::from_secs(1);

/// CPU seconds, user and system, that the process and everything below it have used since they started, with children
/// that have ended and were waited for. A difference of two calls is what was used in between; 0 when there is no such
/// process. Resolution: 10 ms.
pub fn tree_cpu(pid: u32) -> f64 {
    let mut tree = Trees::default();
    tree.follow(pid);
    tree.look().cpu
}

/// Resident bytes of these processes and everything below them, shared pages counted once where the kernel tells (PSS). Costs
/// milliseconds per process.
pub fn tree_memory(pids: &[u32]) -> u64 {
    let mut trees = Trees::default();
    pids.iter().for_each(|pid| trees.follow(*pid));
    trees.look().resident
}

/// Samples until it is stopped or all its clones are dropped. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sampler {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Ends the task when the last clone is dropped.
    _last: Arc<DropGuard>,
}

/// What was sampled.
#[derive(Debug, Clone, Default)]
pub struct Sampled {
    /// The server (when its processes are known) and the generator.
    pub processes: Vec<ProcessSeries>,
    /// Gauges by name.
    pub gauges: BTreeMap<String, Vec<Point>>,
}

#[derive(Debug)]
struct Shared {
    begin: Instant,
    trees: Mutex<BTreeMap<&'static str, Watched>>,
    gauges: Mutex<BTreeMap<String, Series<Point>>>,
}

/// Trees with a name, and what was seen of them.
#[derive(Debug, Default)]
struct Watched {
    trees: Trees,
    /// CPU seconds before the run.
    before: f64,
    last: Option<(Instant, Look)>,
    samples: Series<Sample>,
}

impl Sampler {
    /// Begins to sample the target's processes, this process and the target's metrics page, of which gauges beginning
    /// with one of `prefixes` are kept (queue depths and the like when there are none). Fails when the page's address is
    /// not one.
    pub fn start(begin: Instant, target: &Target, prefixes: &[String]) -> Result<Self> {
        let page = target.metrics.as_deref().map(|url| Page::new(url, prefixes));
        let page = page.transpose()?;
        let mut trees = BTreeMap::from([(GENERATOR, Watched::new(Trees::alone(), &[std::process::id()]))]);
        if !target.processes.is_empty() {
            trees.insert(SERVER, Watched::new(Trees::default(), &target.processes));
        }
        let shared = Arc::new(Shared {
            begin,
            trees: Mutex::new(trees),
            gauges: Mutex::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn({
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            async move {
                let _ = stop.run_until_cancelled(sample(shared, page)).await;
            }
        });
        Ok(Self {
            shared,
            _last: Arc::new(stop.clone().drop_guard()),
            stop,
        })
    }

    /// The server was started again as these processes: their CPU counts from their start.
    pub fn follow(&self, pids: &[u32]) {
        let mut trees = self.shared.trees.lock();
        let server = trees.entry(SERVER).or_default();
        pids.iter().for_each(|pid| server.trees.follow(*pid));
    }

    /// CPU seconds of the server since sampling began, now; `None` when its processes are not known.
    pub fn server_cpu(&self) -> Option<f64> {
        let mut trees = self.shared.trees.lock();
        let server = trees.get_mut(SERVER)?;
        Some(server.trees.look_well().cpu - server.before)
    }

    /// How many things wait in the server's queues: the sum of the gauges with "queue" in their names, when last read;
    /// `None` when there are none.
    pub fn queued(&self) -> Option<f64> {
        let gauges = self.shared.gauges.lock();
        let mut depths = gauges
            .iter()
            .filter(|(name, _)| name.contains("queue"))
            .filter_map(|(_, series)| Some(series.last()?.value))
            .peekable();
        depths.peek()?;
        Some(depths.sum())
    }

    /// The last sample of a series: [`SERVER`] or [`GENERATOR`].
    pub fn last(&self, name: &str) -> Option<Sample> {
        self.shared.trees.lock().get(name)?.samples.last().copied()
    }

    /// Samples once more and ends.
    pub async fn stop(&self) -> Sampled {
        self.stop.cancel();
        let shared = Arc::clone(&self.shared);
        let told = spawn_blocking(move || {
            shared.look(true);
            shared.told()
        });
        told.await.unwrap_or_default()
    }
}

async fn sample(shared: Arc<Shared>, page: Option<Page>) {
    let mut ticks = interval_at((Instant::now() + EVERY).into(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut complained = false;
    loop {
        ticks.tick().await;
        let looking = Arc::clone(&shared);
        let looked = spawn_blocking(move || looking.look(false));
        if let Some(page) = &page {
            match page.read().await {
                Ok(values) => shared.gauges(values),
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(%error, "the metrics page cannot be read; said once");
                }
                Err(_) => {}
            }
        }
        let _ = looked.await;
    }
}

impl Shared {
    fn look(&self, well: bool) {
        for watched in self.trees.lock().values_mut() {
            watched.look(self.begin, well);
        }
    }

    fn gauges(&self, values: BTreeMap<String, f64>) {
        let at = self.begin.elapsed().as_secs_f64();
        let mut gauges = self.gauges.lock();
        for (name, value) in values {
            gauges.entry(name).or_default().push(Point { at, value });
        }
    }

    fn told(&self) -> Sampled {
        let trees = self.trees.lock();
        // The server first: it is what the reader asks for.
        let names = [SERVER, GENERATOR];
        let processes = names
            .into_iter()
            .filter_map(|name| Some((name, trees.get(name)?)));
        let gauges = self.gauges.lock();
        Sampled {
            processes: processes.map(|(name, watched)| watched.told(name)).collect(),
            gauges: gauges
                .iter()
                .map(|(name, series)| (name.clone(), series.to_vec()))
                .collect(),
        }
    }
}

impl Watched {
    fn new(mut trees: Trees, pids: &[u32]) -> Self {
        pids.iter().for_each(|pid| trees.follow(*pid));
        let look = trees.look();
        Self {
            trees,
            before: look.cpu,
            last: Some((Instant::now(), look)),
            samples: Series::default(),
        }
    }

    fn look(&mut self, begin: Instant, well: bool) {
        let now = Instant::now();
        let look = match well {
            true => self.trees.look_well(),
            false => self.trees.look(),
        };
        let cpu = self.last.map_or(0.0, |(at, last)| {
            (look.cpu - last.cpu) / (now - at).as_secs_f64().max(0.001)
        });
        self.last = Some((now, look));
        self.samples.push(Sample {
            at: now.saturating_duration_since(begin).as_secs_f64(),
            cpu,
            resident: look.resident,
            threads: look.threads,
            files: look.files,
        });
    }

    fn told(&self, name: &str) -> ProcessSeries {
        ProcessSeries {
            name: name.to_owned(),
            cpu_seconds: self.last.map_or(0.0, |(_, look)| look.cpu - self.before),
            samples: self.samples.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        toml::from_str(&format!(
            "name = \"this\"\nprocesses = [{}]\n[accounts]\ndomain = \"a.test\"\npattern = \"u{{}}\"\ncount = 1\n\
             password = \"x\"\n",
            std::process::id()
        ))
        .expect("a target")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_burned_is_seen() {
        let sampler = Sampler::start(Instant::now(), &target(), &[]).expect("started");
        let before = tree_cpu(std::process::id());
        let burned = spawn_blocking(|| {
            let until = Instant::now() + Duration::from_millis(1300);
            let mut number = 0_u64;
            while Instant::now() < until {
                number = std::hint::black_box(number + 1);
            }
        });
        burned.await.expect("burned");
        let used = tree_cpu(std::process::id()) - before;
        let sampled = sampler.stop().await;
        let names: Vec<&str> = sampled
            .processes
            .iter()
            .map(|series| series.name.as_str())
            .collect();
        assert_eq!(names, [SERVER, GENERATOR]);
        let server = &sampled.processes[0];
        // Not 1.3: the machine may be busy.
        assert!(
            used > 0.1 && server.cpu_seconds >= used - 0.05,
            "{used} {server:?}"
        );
        assert!(server.samples.len() >= 2);
        assert!(server.samples[0].resident > 1 << 20 && server.samples[0].threads >= 3);
    }
}
