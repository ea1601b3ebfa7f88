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
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

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

/// The filter. Holds one small entry for each place that ever warned.
#[derive(Debug, Default)]
pub(super) struct Flood(Mutex<HashMap<Identifier, Bucket>>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled: Instant,
}

impl<S: Subscriber> Filter<S> for Flood {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    // Without it every span and event of every library would be looked at.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN {
            return true;
        }
        let passes = {
            let mut places = self.0.lock();
            let place = places.entry(metadata.callsite()).or_insert_with(Bucket::new);
            place.take(Instant::now())
        };
        if !passes {
            LEFT_OUT.add(1, &[KeyValue::new("module", metadata.target())]);
        }
        passes
    }
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
    use super::*;

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
