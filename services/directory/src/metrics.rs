//! What the directory counts.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

static METER: LazyLock<Meter> = LazyLock::new(|| opentelemetry::global::meter("postrider"));

static AUTHENTICATIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("postrider_directory_authentications")
        .with_description("Passwords checked, by service and outcome")
        .build()
});

static RESOLUTIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("postrider_directory_resolutions")
        .with_description("Addresses resolved: cached, read, stale (storage was away), failed")
        .build()
});

static HASH_DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    METER
        .f64_histogram("postrider_directory_hash")
        .with_unit("s")
        .with_description("Time of a run of a password hash, with the time it waited for its turn")
        .build()
});

static HASH_REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    METER
        .u64_counter("postrider_directory_hash_refused")
        .with_description("Runs of a password hash refused because the queue was full")
        .build()
});

pub(crate) fn authenticated(service: &str, outcome: &'static str) {
    // Only known names become labels: the caller's text must not be able to make series without bound.
    let known = ["smtp", "imap", "pop3", "http"];
    let service = known.into_iter().find(|name| *name == service).unwrap_or("other");
    AUTHENTICATIONS.add(
        1,
        &[
            KeyValue::new("service", service),
            KeyValue::new("outcome", outcome),
        ],
    );
}

pub(crate) fn resolved(outcome: &'static str) {
    RESOLUTIONS.add(1, &[KeyValue::new("outcome", outcome)]);
}

pub(crate) fn hashed(time: Duration) {
    HASH_DURATION.record(time.as_secs_f64(), &[]);
}

pub(crate) fn hash_refused() {
    HASH_REFUSED.add(1, &[]);
}
