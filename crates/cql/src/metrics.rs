//! Figures: statements by kind, how long they took, how they failed.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use crate::{Error, Kind};

static STATEMENTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("cql");
    meter
        .u64_counter("cql.statements")
        .with_description(
            "Requests to the database by kind and table; a batch is one, of its first statement's table",
        )
        .build()
});
static ERRORS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("cql");
    meter
        .u64_counter("cql.errors")
        .with_description("Requests that failed, by kind and whether their outcome is known")
        .build()
});
static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let meter = global::meter("cql");
    meter
        .f64_histogram("cql.duration")
        .with_unit("s")
        .with_description("How long requests took, by kind")
        .build()
});

/// What a session did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Reads of a majority.
    pub reads: Counts,
    /// Linearizable reads.
    pub serial_reads: Counts,
    /// Unconditional writes.
    pub writes: Counts,
    /// Conditional writes.
    pub conditional: Counts,
}

/// Requests of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// Those that were not done.
    pub failed: u64,
    /// Those whose outcome is unknown.
    pub unknown: u64,
    /// How long all of them took together.
    pub time: Duration,
}

/// How a request ended.
enum Outcome<'a> {
    Done,
    Failed(&'a Error),
    /// Nobody waits for it any more.
    Abandoned,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    metrics: &'a Metrics,
    kind: Kind,
    table: &'static str,
    began: Instant,
    ended: bool,
}

impl Running<'_> {
    /// It has ended; how long it took.
    pub fn end(mut self, error: Option<&Error>) -> Duration {
        self.ended = true;
        let took = self.began.elapsed();
        let outcome = error.map_or(Outcome::Done, Outcome::Failed);
        self.metrics.record(self.kind, self.table, took, outcome);
        took
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let took = self.began.elapsed();
            self.metrics
                .record(self.kind, self.table, took, Outcome::Abandoned);
        }
    }
}

/// Counters of a session.
#[derive(Debug, Default)]
pub(crate) struct Metrics([Slot; 4]);

#[derive(Debug, Default)]
struct Slot {
    requests: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// A request begins. If its caller goes away before it has ended, it counts as abandoned.
    pub fn begin(&self, kind: Kind, table: &'static str) -> Running<'_> {
        Running {
            metrics: self,
            kind,
            table,
            began: Instant::now(),
            ended: false,
        }
    }

    fn record(&self, kind: Kind, table: &'static str, took: Duration, outcome: Outcome<'_>) {
        let slot = &self.0[kind as usize];
        let name = KeyValue::new("kind", kind.as_str());
        slot.requests.fetch_add(1, Ordering::Relaxed);
        slot.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        STATEMENTS.add(1, &[name.clone(), KeyValue::new("table", table)]);
        DURATION.record(took.as_secs_f64(), std::slice::from_ref(&name));
        let (counter, outcome) = match outcome {
            Outcome::Done => return,
            Outcome::Failed(Error::Unknown(_)) => (&slot.unknown, "unknown"),
            Outcome::Failed(Error::Unavailable(_)) => (&slot.failed, "unavailable"),
            Outcome::Failed(Error::Damaged(_) | Error::Refused(_)) => (&slot.failed, "refused"),
            Outcome::Abandoned if kind.writes() => (&slot.unknown, "abandoned"),
            Outcome::Abandoned => (&slot.failed, "abandoned"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        ERRORS.add(1, &[name, KeyValue::new("outcome", outcome)]);
    }

    /// As of now.
    pub fn statistics(&self) -> Statistics {
        let counts = |kind: Kind| {
            let slot = &self.0[kind as usize];
            Counts {
                requests: slot.requests.load(Ordering::Relaxed),
                failed: slot.failed.load(Ordering::Relaxed),
                unknown: slot.unknown.load(Ordering::Relaxed),
                time: Duration::from_micros(slot.micros.load(Ordering::Relaxed)),
            }
        };
        Statistics {
            reads: counts(Kind::Read),
            serial_reads: counts(Kind::SerialRead),
            writes: counts(Kind::Write),
            conditional: counts(Kind::Conditional),
        }
    }
}
