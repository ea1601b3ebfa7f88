//! What is counted.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

pub(crate) static METRICS: LazyLock<Metrics> =
    LazyLock::new(|| Metrics::new(&opentelemetry::global::meter("postrider")));

/// The role's metrics.
pub(crate) struct Metrics {
    commands: Counter<u64>,
    logins: Counter<u64>,
    fetched: Counter<u64>,
    appended: Counter<u64>,
}

impl Metrics {
    fn new(meter: &Meter) -> Self {
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            commands: counter("postrider_imap_commands", "Commands by name and outcome"),
            logins: counter("postrider_imap_logins", "Logins by outcome"),
            fetched: counter("postrider_imap_fetch_bytes", "Octets of messages sent to clients"),
            appended: counter(
                "postrider_imap_append_bytes",
                "Octets of messages appended by clients",
            ),
        }
    }

    /// A command was answered.
    pub(crate) fn command(&self, verb: &'static str, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.commands.add(
            1,
            &[KeyValue::new("command", verb), KeyValue::new("outcome", outcome)],
        );
    }

    /// `outcome`: accepted, refused, throttled or unavailable.
    pub(crate) fn login(&self, outcome: &'static str) {
        self.logins.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    /// Octets of message data were sent.
    pub(crate) fn fetched(&self, octets: u64) {
        self.fetched.add(octets, &[]);
    }

    /// Octets of messages are stored.
    pub(crate) fn appended(&self, octets: u64) {
        self.appended.add(octets, &[]);
    }
}
