//! How many units the queue holds, as gauges: `postrider_queue_units` by state, and the age of the oldest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::metrics::Gauge;
use opentelemetry::{KeyValue, global};
use postrider_queue::Queue;
use postrider_queue::engine::Counts;

/// How often they are read. The embedded queue keeps the numbers, and reads one row for the age.
const EVERY: Duration = Duration::from_secs(2);

struct Gauges {
    units: Gauge<u64>,
    oldest: Gauge<u64>,
}

/// Keeps the gauges up to date. Never ends.
pub async fn watch(queue: &Queue) {
    let meter = global::meter("postrider");
    let gauges = Gauges {
        units: meter
            .u64_gauge("postrider_queue_units")
            .with_description("Units in the outbound queue, by state")
            .build(),
        oldest: meter
            .u64_gauge("postrider_queue_oldest_age")
            .with_description("Age of the oldest unit in the outbound queue")
            .with_unit("s")
            .build(),
    };
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        match queue.statistics().await {
            Ok(counts) => gauges.record(&counts),
            Err(error) => tracing::debug!(%error, "the queue cannot be counted"),
        }
    }
}

impl Gauges {
    fn record(&self, counts: &Counts) {
        for (state, number) in [
            ("queued", counts.queued),
            ("sending", counts.sending),
            ("held", counts.held),
        ] {
            self.units.record(number, &[KeyValue::new("state", state)]);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let put_in = match counts.oldest {
            0 => now,
            millis => Duration::from_millis(millis),
        };
        self.oldest.record(now.saturating_sub(put_in).as_secs(), &[]);
    }
}
