//! No floods in the log: a warning that repeats itself with every message says nothing new.
//!
//! Each place in the program that warns may do so [`BURST`] times, and then once every [`REFILL`]; what is left out is counted in the
//! metric `postrider_log_left_out`, by the module it comes from. Other levels pass.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that one place may write at once.
const BURST: u32 = 5;
/// After this long it may write another one.
const REFILL: Duration = Duration::from_secs(60);

static LEFT_OUT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("postrider");
    meter
        .u64_counter("postrider_log_left_out")
        .with_description("Warnings that were not logged because they repeat themselves, by module")
        .build()
});

/// A layer of log lines, spared what repeats itself. Holds one small entry for each place that ever warned.
pub(super) struct Flood<L> {
    lines: L,
    places: Mutex<HashMap<Identifier, Bucket>>,
}

impl<L> Flood<L> {
    /// In front of a layer.
    pub fn before(lines: L) -> Self {
        Self {
            lines,
            places: Mutex::default(),
        }
    }

    /// Whether a line is to be written.
    fn passes(&self, metadata: &'static Metadata<'static>) -> bool {
        if *metadata.level() > Level::WARN {
            return true;
        }
        let passes = {
            let mut places = self.places.lock();
            let place = places.entry(metadata.callsite()).or_insert_with(Bucket::new);
            place.take(Instant::now())
        };
        if !passes {
            LEFT_OUT.add(1, &[KeyValue::new("module", metadata.target())]);
        }
        passes
    }
}

// Not a filter: where an event's level is enough to let it in, filters are not asked again, and one that refuses an event then shuts out
// what comes next on its thread.
impl<S: Subscriber, L: Layer<S>> Layer<S> for Flood<L> {
    fn on_layer(&mut self, subscriber: &mut S) {
        self.lines.on_layer(subscriber);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.passes(event.metadata()) {
            self.lines.on_event(event, context);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.lines.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.lines.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.lines.on_close(id, context);
    }
}

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn new() -> Self {
        Self {
            left: BURST,
            filled: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.saturating_duration_since(self.filled) >= REFILL {
            self.left += 1;
            self.filled += REFILL;
        }
        if self.left == BURST {
            self.filled = now;
        }
        let passes = self.left > 0;
        self.left -= u32::from(passes);
        passes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tracing_subscriber::filter::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Count(Arc<AtomicU32>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_left_out_takes_nothing_else_with_it() {
        let written = Arc::new(AtomicU32::new(0));
        let lines = Flood::before(Count(written.clone())).with_filter(EnvFilter::new("info"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(vec![lines]), || {
            for _ in 0..8 {
                tracing::warn!("again");
            }
            assert_eq!(written.load(Ordering::Relaxed), 5);
            tracing::info!("news");
            tracing::warn!("other news");
            assert_eq!(written.load(Ordering::Relaxed), 7);
        });
    }

    #[test]
    fn a_burst_passes_then_one_line_a_minute() {
        let mut place = Bucket::new();
        let begin = place.filled;
        let mut passed = |seconds| {
            let tries = 0..100;
            tries
                .filter(|_| place.take(begin + Duration::from_secs(seconds)))
                .count()
        };
        assert_eq!(passed(0), 5);
        assert_eq!(passed(59), 0);
        assert_eq!(passed(60), 1);
        assert_eq!(passed(119), 0);
        assert_eq!(passed(180), 2);
        assert_eq!(passed(100_000), 5);
        assert_eq!(passed(100_059), 0);
    }
}
