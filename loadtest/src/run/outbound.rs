//! Mail that goes out: the sink in this process, and waiting until all has come.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::SinkHere;
use crate::actor::World;
use crate::operation::{Operation, Outcome};
use crate::process::Sampler;
use crate::sink::{self, Received, Sink};

/// Between two looks at what has come.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Nothing has come for so long, and nothing is known to wait: then it was all.
const QUIET: Duration = Duration::from_secs(3);

/// Where the sink in this process writes down what it received.
pub fn record(out: &Path) -> PathBuf {
    out.join("sink-record")
}

/// Starts the sink; what it receives ends the `outbound` of the run's own messages.
pub(super) async fn start(here: &SinkHere, out: &Path, world: &Arc<World>) -> Result<Sink> {
    let watching = Arc::clone(world);
    let options = sink::Options {
        listen: here.listen.clone(),
        rules: here.rules.clone(),
        record: Some(record(out)),
        watch: Some(Arc::new(move |received| arrived(&watching, received))),
    };
    Sink::start(options).await.with_context(|| {
        let addresses: Vec<String> = here.listen.iter().map(ToString::to_string).collect();
        format!("the sink cannot listen on {}", addresses.join(", "))
    })
}

/// Waits until nothing comes any more: quiet for a while and no queue that its gauge shows to be filled.
pub(super) async fn settle(sink: &Sink, sampler: &Sampler, patience: Duration) {
    let begin = Instant::now();
    let mut seen = sink.counts();
    let mut changed = begin;
    while begin.elapsed() < patience {
        sleep(LOOK_EVERY).await;
        let now = sink.counts();
        if now != seen {
            (seen, changed) = (now, Instant::now());
        }
        let queued = sampler.queued().unwrap_or(0.0);
        if changed.elapsed() >= QUIET && queued < 1.0 {
            return;
        }
    }
}

/// A message has come out. It was due when the server had answered for it; the few that come before the answer was read,
/// and those of a run with a longer memory than ours, have no latency.
fn arrived(world: &World, received: &Received) {
    let answered = received
        .id
        .filter(|_| received.answered)
        .and_then(|id| world.recent.when_answered(id));
    if let Some(answered) = answered {
        world.recorder.offered(Operation::Outbound, answered);
        world
            .recorder
            .ended_at(Operation::Outbound, answered, received.at, Outcome::Done);
    }
}
