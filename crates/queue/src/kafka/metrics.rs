//! Figures: records by kind of topic.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};

use super::topics::Topic;

static PRODUCED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider.queue.kafka.produced",
        "Records acknowledged, by kind of topic",
    )
});
static LOST: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider.queue.kafka.lost",
        "Records that no broker took in time, by kind of topic",
    )
});
static CONSUMED: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("postrider.queue.kafka.consumed", "Records read, by kind of topic"));
static FOUND: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider.queue.kafka.found",
        "Units whose wake-up was lost, woken by the reconciler",
    )
});

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    let meter = global::meter("queue");
    meter.u64_counter(name).with_description(description).build()
}

/// What an engine did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Records of due wake-ups that brokers took.
    pub ready: u64,
    /// Records put on a delay topic.
    pub delay: u64,
    /// Records nobody could read, put away.
    pub dead: u64,
    /// Records about suspensions.
    pub control: u64,
    /// Records that no broker took in time.
    pub lost: u64,
    /// Records read.
    pub consumed: u64,
    /// Overdue units found by the reconciler.
    pub found: u64,
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    ready: AtomicU64,
    delay: AtomicU64,
    dead: AtomicU64,
    control: AtomicU64,
    lost: AtomicU64,
    consumed: AtomicU64,
    found: AtomicU64,
}

impl Metrics {
    pub fn produced(&self, topic: Topic) {
        let slot = match topic {
            Topic::Ready(_) => &self.ready,
            Topic::Delay(_) => &self.delay,
            Topic::Dead => &self.dead,
            Topic::Control => &self.control,
        };
        slot.fetch_add(1, Ordering::Relaxed);
        PRODUCED.add(1, &[KeyValue::new("topic", topic.kind())]);
    }

    pub fn lost(&self, topic: Topic) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        LOST.add(1, &[KeyValue::new("topic", topic.kind())]);
    }

    pub fn consumed(&self, topic: Topic) {
        self.consumed.fetch_add(1, Ordering::Relaxed);
        CONSUMED.add(1, &[KeyValue::new("topic", topic.kind())]);
    }

    pub fn found(&self, number: u64) {
        self.found.fetch_add(number, Ordering::Relaxed);
        FOUND.add(number, &[]);
    }

    pub fn statistics(&self) -> Statistics {
        let read = |slot: &AtomicU64| slot.load(Ordering::Relaxed);
        Statistics {
            ready: read(&self.ready),
            delay: read(&self.delay),
            dead: read(&self.dead),
            control: read(&self.control),
            lost: read(&self.lost),
            consumed: read(&self.consumed),
            found: read(&self.found),
        }
    }
}
