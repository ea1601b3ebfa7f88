//! What is counted.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

pub(crate) static METRICS: LazyLock<Metrics> =
    LazyLock::new(|| Metrics::new(&opentelemetry::global::meter("postrider")));

/// The role's metrics.
pub(crate) struct Metrics {
    messages: Counter<u64>,
    recipients: Counter<u64>,
    bytes: Counter<u64>,
    acceptance: Histogram<f64>,
    authentications: Counter<u64>,
}

impl Metrics {
    fn new(meter: &Meter) -> Self {
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        Self {
            messages: counter("postrider_smtp_messages", "Messages by listener and outcome"),
            recipients: counter("postrider_smtp_recipients", "Recipients by listener and outcome"),
            bytes: counter("postrider_smtp_bytes", "Octets of accepted messages"),
            acceptance: meter
                .f64_histogram("postrider_smtp_acceptance")
                .with_unit("s")
                .with_description("From the end of a message to its reply")
                .build(),
            authentications: counter("postrider_smtp_authentications", "Authentications by outcome"),
        }
    }

    /// A message was answered. `outcome`: accepted, refused or deferred.
    pub(crate) fn message(&self, listener: &'static str, outcome: &'static str, size: u64, seconds: f64) {
        let labels = [
            KeyValue::new("listener", listener),
            KeyValue::new("outcome", outcome),
        ];
        self.messages.add(1, &labels);
        self.acceptance.record(seconds, &labels[..1]);
        if outcome == "accepted" {
            self.bytes.add(size, &labels[..1]);
        }
    }

    /// A recipient was answered with this code.
    pub(crate) fn recipient(&self, listener: &'static str, code: u16) {
        let labels = [
            KeyValue::new("listener", listener),
            KeyValue::new("outcome", outcome(code)),
        ];
        self.recipients.add(1, &labels);
    }

    /// An authentication ended.
    pub(crate) fn authentication(&self, outcome: &'static str) {
        self.authentications.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}

/// A reply code as an outcome.
pub(crate) fn outcome(code: u16) -> &'static str {
    match code / 100 {
        2 => "accepted",
        4 => "deferred",
        _ => "refused",
    }
}
