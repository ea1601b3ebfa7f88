//! What is counted.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The role's metrics.
pub(crate) struct Metrics {
    logins: Counter<u64>,
    pub(crate) retrieved: Counter<u64>,
    pub(crate) bytes: Counter<u64>,
    pub(crate) deleted: Counter<u64>,
    pub(crate) unlocked: Counter<u64>,
}

impl Metrics {
    fn new() -> Self {
        let meter = opentelemetry::global::meter("postrider");
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            logins: counter("postrider_pop3_logins", "Logins by outcome"),
            retrieved: counter("postrider_pop3_retrieved", "Messages sent with RETR and TOP"),
            bytes: counter(
                "postrider_pop3_bytes",
                "Octets of messages sent with RETR and TOP",
            ),
            deleted: counter("postrider_pop3_deleted", "Messages deleted at QUIT"),
            unlocked: counter(
                "postrider_pop3_unlocked",
                "Sessions without a lock: coordination was away",
            ),
        }
    }

    /// A login ended: `ok`, `refused`, `limited`, `in-use` or `failed`.
    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}
