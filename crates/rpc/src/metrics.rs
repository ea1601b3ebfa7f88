//! What is counted of calls.

use std::sync::LazyLock;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, global};
use tonic::Code;

fn counter(name: &'static str, description: &'static str) -> Counter<u64> {
    let meter = global::meter("postrider");
    meter.u64_counter(name).with_description(description).build()
}

static CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider_rpc_calls",
        "Calls of other processes, by method and gRPC status",
    )
});
static REPEATS: LazyLock<Counter<u64>> =
    LazyLock::new(|| counter("postrider_rpc_repeats", "Calls that were sent again, by method"));
static SERVED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider_rpc_served",
        "Calls of other processes that were served, by method",
    )
});
static SHED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        "postrider_rpc_shed",
        "Calls that were turned away because too many were running",
    )
});

/// A call has ended. Streams count when they begin.
pub(crate) fn called(path: &'static str, code: Code) {
    CALLS.add(1, &[method(path), KeyValue::new("code", name(code))]);
}

/// A call was sent again.
pub(crate) fn repeated(path: &'static str) {
    REPEATS.add(1, &[method(path)]);
}

/// A call was served.
pub(crate) fn served(path: &'static str) {
    SERVED.add(1, &[method(path)]);
}

/// A call was turned away.
pub(crate) fn shed() {
    SHED.add(1, &[]);
}

fn name(code: Code) -> opentelemetry::Value {
    match code {
        Code::Ok => "Ok".into(),
        other => format!("{other:?}").into(),
    }
}

/// `MailStore/Deliver`: what stands behind the package.
fn method(path: &'static str) -> KeyValue {
    KeyValue::new(
        "method",
        path.rsplit_once('.').map_or("other", |(_, method)| method),
    )
}
