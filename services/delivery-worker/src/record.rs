//! The journal and the metrics of what the worker does.

use std::sync::Arc;

use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use postrider_queue::{Outcome, Report, State, Unit};
use postrider_runtime::Trace;
use postrider_runtime::journal::{Journal, Step};

/// `postrider.delivery.*`
pub struct Metrics {
    /// Attempts at a destination, by `outcome`: `sent`, `unreachable`.
    pub attempts: Counter<u64>,
    /// Recipients, by `outcome`: `delivered`, `deferred`, `failed`.
    pub recipients: Counter<u64>,
    /// Notifications put into the queue, by `kind`.
    pub notifications: Counter<u64>,
    /// Open connections to other servers.
    pub connections: UpDownCounter<i64>,
    /// Units put off because their destination has more than it can take.
    pub postponed: Counter<u64>,
    /// Seconds from MAIL to the reply to the message.
    pub duration: Histogram<f64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let meter = global::meter("postrider.delivery");
        Self {
            attempts: meter.u64_counter("postrider.delivery.attempts").build(),
            recipients: meter.u64_counter("postrider.delivery.recipients").build(),
            notifications: meter.u64_counter("postrider.delivery.notifications").build(),
            connections: meter
                .i64_up_down_counter("postrider.delivery.connections")
                .build(),
            postponed: meter.u64_counter("postrider.delivery.postponed").build(),
            duration: meter
                .f64_histogram("postrider.delivery.duration")
                .with_unit("s")
                .build(),
        }
    }
}

/// Where steps and numbers go.
pub struct Record {
    journal: Arc<dyn Journal>,
    /// The numbers.
    pub metrics: Metrics,
}

impl Record {
    /// Records into this journal.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            metrics: Metrics::default(),
        }
    }

    /// A step of a unit that is about no recipient in particular.
    pub fn step(&self, unit: &Unit, step: &str, detail: impl Into<String>) {
        self.journal.record(Step {
            detail: detail.into(),
            ..self.about(unit, step)
        });
    }

    /// An attempt begins: which host, over what connection.
    pub fn attempt(&self, unit: &Unit, detail: impl Into<String>) {
        self.step(unit, "attempt", detail);
    }

    /// What an attempt brought, recipient by recipient. `after` is the unit as it was left.
    pub fn report(&self, after: &Unit, report: &Report) {
        let named = report
            .recipients
            .iter()
            .map(|(at, outcome, reply)| (*at, *outcome, reply.as_str()));
        for (at, outcome, reply) in named {
            // Time may have been up: then what was put off has failed.
            let Some(recipient) = after.new.recipients.get(at) else {
                continue;
            };
            let failed = recipient.state == postrider_queue::RecipientState::Failed;
            let (step, outcome) = match outcome {
                Outcome::Delivered | Outcome::Relayed => ("delivered", "delivered"),
                _ if failed => ("failed", "failed"),
                _ => ("deferred", "deferred"),
            };
            self.metrics
                .recipients
                .add(1, &[KeyValue::new("outcome", outcome)]);
            let detail = if failed {
                recipient.last_reply.clone()
            } else {
                reply.to_owned()
            };
            self.journal.record(Step {
                to: recipient.address.to_string(),
                detail,
                ..self.about(after, step)
            });
        }
    }

    /// The sender is told.
    pub fn notified(&self, unit: &Unit, kind: &'static str, detail: impl Into<String>) {
        self.metrics.notifications.add(1, &[KeyValue::new("kind", kind)]);
        let to = unit
            .new
            .sender
            .0
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        self.journal.record(Step {
            to,
            detail: format!("{kind}: {}", detail.into()),
            ..self.about(unit, "notified")
        });
    }

    /// An operator's verb was done.
    pub fn acted(&self, unit: &Unit, verb: &str) {
        let step = if unit.state == State::Cancelled {
            "cancelled"
        } else {
            verb
        };
        self.step(unit, step, "by an operator");
    }

    fn about(&self, unit: &Unit, step: &str) -> Step {
        let trace = unit
            .new
            .trace
            .parse::<Trace>()
            .map(|trace| trace.id())
            .unwrap_or_default();
        Step {
            step: step.into(),
            content: unit.new.content.to_string(),
            message_id: unit.new.message_id.clone(),
            unit: unit.new.id.to_string(),
            from: unit
                .new
                .sender
                .0
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            trace,
            ..Step::default()
        }
    }
}
