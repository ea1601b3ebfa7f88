//! What is counted.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, UpDownCounter};

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The engine's metrics.
pub(super) struct Metrics {
    commands: Counter<u64>,
    unavailable: Counter<u64>,
    /// Connections that are up: 0 or 1 for each engine.
    pub up: UpDownCounter<i64>,
    /// Times Redis was lost.
    pub lost: Counter<u64>,
    /// Times Redis came back.
    pub recovered: Counter<u64>,
    /// Hints that were not sent.
    pub hints_dropped: Counter<u64>,
}

impl Metrics {
    fn new() -> Self {
        let meter = opentelemetry::global::meter("postrider");
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            commands: counter("postrider_redis_commands", "Commands sent to Redis, by kind"),
            unavailable: counter(
                "postrider_redis_unavailable",
                "Calls that went on without Redis, by kind",
            ),
            up: meter
                .i64_up_down_counter("postrider_redis_up")
                .with_description("1 while Redis answers")
                .build(),
            lost: counter("postrider_redis_lost", "Times Redis was lost"),
            recovered: counter("postrider_redis_recovered", "Times Redis came back"),
            hints_dropped: counter(
                "postrider_redis_hints_dropped",
                "Hints of account changes that could not be sent; watchers notice by polling",
            ),
        }
    }

    /// A command was sent.
    pub fn command(&self, kind: &'static str) {
        self.commands.add(1, &[KeyValue::new("command", kind)]);
    }

    /// A call had to go on without Redis.
    pub fn unavailable(&self, kind: &'static str) {
        self.unavailable.add(1, &[KeyValue::new("command", kind)]);
    }
}
