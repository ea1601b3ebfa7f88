//! Logs, traces and metrics.
//!
//! Metrics are OpenTelemetry instruments of the global meter, shown in Prometheus' text form on the `ops` listener and pushed
//! to a collector when one is configured. Traces go to the collector only; see [`crate::trace`] for what is sampled.

use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use prometheus::{Encoder, Registry, TextEncoder};
use tracing::Subscriber;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, Telemetry as Config};
use crate::trace::set_sample_ratio;

mod flood;
mod process;

/// How often metrics are pushed.
const PUSH_EVERY: Duration = Duration::from_secs(30);

/// How long the last spans and metrics may take to leave when the process ends.
const LAST_PUSH: Duration = Duration::from_secs(5);

/// Where the buckets of a histogram of seconds end: from a database's answer to an attempt at a slow host.
const SECONDS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The process's telemetry; there is one.
pub struct Telemetry {
    registry: Registry,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// `hostname` and `roles` (separated by commas) say at a collector which process something comes from.
    ///
    /// Begins logging to standard error, counting, and (with a collector) pushing. Needs a tokio runtime when a collector is
    /// configured.
    ///
    /// # Errors
    /// A level or endpoint that makes no sense, or when telemetry has begun already.
    pub fn start(config: &Config, hostname: &str, roles: &str) -> Result<Self> {
        let resource = Resource::builder()
            .with_service_name("postrider")
            .with_attribute(KeyValue::new("host.name", hostname.to_owned()))
            .with_attribute(KeyValue::new("postrider.roles", roles.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let registry = Registry::new();
        let prometheus = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .build()
            .context("cannot make the Prometheus exporter")?;
        let mut meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_view(in_seconds)
            .with_reader(prometheus);
        let mut tracers = None;
        if !config.otlp_endpoint.is_empty() {
            let metrics = MetricExporter::builder()
                .with_tonic()
                .with_endpoint(&config.otlp_endpoint)
                .build();
            let metrics = metrics.context("telemetry.otlp_endpoint")?;
            meters = meters.with_reader(PeriodicReader::builder(metrics).with_interval(PUSH_EVERY).build());
            let spans = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(&config.otlp_endpoint)
                .build();
            let spans = spans.context("telemetry.otlp_endpoint")?;
            // Spans exist only for sampled messages, so every one that exists is exported.
            let provider = SdkTracerProvider::builder()
                .with_resource(resource)
                .with_sampler(Sampler::AlwaysOn)
                .with_batch_exporter(spans);
            tracers = Some(provider.build());
            set_sample_ratio(config.sample_ratio);
        }
        let telemetry = Self {
            registry,
            meters: meters.build(),
            tracers,
        };
        global::set_meter_provider(telemetry.meters.clone());
        process::observe();
        telemetry.subscribe(config)?;
        Ok(telemetry)
    }

    fn subscribe(&self, config: &Config) -> Result<()> {
        // What strangers do in a TLS handshake is no warning to an operator; what becomes of the engines' connections is
        // said by our own lines, once.
        let filter = format!(
            "rustls=error,scylla=off,rdkafka=off,librdkafka=off,{}",
            config.level
        );
        let filter = EnvFilter::try_new(filter).context("telemetry.level")?;
        // A layer that is not there must not be asked either (`Option`): it would take an interest in every span of every library.
        let mut layers = vec![lines(config.log, filter)];
        if let Some(tracers) = &self.tracers {
            let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("postrider"));
            let spans = tracing_opentelemetry::layer().with_tracer(tracers.tracer("postrider"));
            layers.push(spans.with_filter(ours).boxed());
        }
        tracing_subscriber::registry()
            .with(layers)
            .try_init()
            .context("logging has begun already")
    }

    /// All metrics in Prometheus' text form.
    pub fn metrics(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(error) => format!("# {error}\n"),
        }
    }

    /// Pushes what is left, within a few seconds.
    pub fn shutdown(&self) {
        if let Some(tracers) = &self.tracers {
            let _ = tracers.shutdown_with_timeout(LAST_PUSH);
        }
        let _ = self.meters.shutdown_with_timeout(LAST_PUSH);
    }
}

/// Histograms of seconds get buckets for seconds: the library's own are for milliseconds.
fn in_seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let buckets = Aggregation::ExplicitBucketHistogram {
        boundaries: SECONDS.to_vec(),
        record_min_max: false,
    };
    Stream::builder().with_aggregation(buckets).build().ok()
}

/// The log as a server writes it.
fn lines<S>(format: LogFormat, filter: EnvFilter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    flood::Flood::before(log_layer(format))
        .with_filter(filter)
        .boxed()
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    use std::io::IsTerminal;
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Log lines for a command that is no server: warnings as text, or what `POSTRIDER_LOG` says. Does nothing when logging
/// has begun already.
pub fn log_for_command() {
    log_unless_said("warn");
}

/// As [`log_for_command`], but errors only: the demonstration's own servers would talk in between.
pub fn log_for_demo() {
    log_unless_said("error");
}

fn log_unless_said(level: &str) {
    // These log what their callers are told as well; a command says it once.
    let usual = || EnvFilter::new(format!("{level},rustls_platform_verifier=off,scylla=off"));
    let filter = EnvFilter::try_from_env("POSTRIDER_LOG").unwrap_or_else(|_| usual());
    let _ = tracing_subscriber::registry()
        .with(log_layer(LogFormat::Text).with_filter(filter))
        .try_init();
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider;
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[test]
    fn milliseconds_can_be_told_apart() {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(registry.clone());
        let meters = SdkMeterProvider::builder()
            .with_view(in_seconds)
            .with_reader(reader.build().unwrap())
            .build();
        let meter = meters.meter("test");
        let took = meter.f64_histogram("took").with_unit("s").build();
        [0.002, 0.004]
            .into_iter()
            .for_each(|seconds| took.record(seconds, &[]));
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let found = |end: &str, count: u32| {
            let mut lines = text
                .lines()
                .filter(|line| line.starts_with("took_seconds_bucket"));
            lines.any(|line| line.contains(&format!("le=\"{end}\"")) && line.ends_with(&format!(" {count}")))
        };
        assert!(
            found("0.001", 0) && found("0.0025", 1) && found("0.005", 2),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_logged_costs_nothing() {
        let layers = vec![lines(LogFormat::Text, EnvFilter::new("info"))];
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            assert_eq!(LevelFilter::current(), LevelFilter::INFO);
            assert!(tracing::trace_span!("a library's").is_disabled());
            assert!(!tracing::info_span!("ours").is_disabled());
        });
    }
}
