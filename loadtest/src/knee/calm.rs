//! Waiting until a server has nothing left to do.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::process::Sampler;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// CPU of an idle server, in processors: its timers, not its work.
const IDLE: f64 = 0.15;

/// When neither processes nor a queue are known.
const BLIND: Duration = Duration::from_secs(3);

/// It is not waited for longer than this: the next step shows what the last one left behind.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until the server's queue is empty and its processes idle, as far as they are known.
pub(super) async fn wait(watch: &Sampler, interrupt: &CancellationToken) {
    let _ = interrupt.run_until_cancelled(wait_all(watch)).await;
}

async fn wait_all(watch: &Sampler) {
    let begin = Instant::now();
    let mut before = watch.server_cpu();
    if before.is_none() && watch.queued().is_none() {
        return sleep(BLIND).await;
    }
    while begin.elapsed() < PATIENCE {
        let looked = Instant::now();
        sleep(LOOK_EVERY).await;
        let now = watch.server_cpu();
        let used = now
            .zip(before)
            .map(|(now, before)| (now - before) / looked.elapsed().as_secs_f64());
        before = now;
        if used.is_none_or(|cpu| cpu < IDLE) && watch.queued().is_none_or(|queued| queued < 1.0) {
            return;
        }
    }
}
