//! One trace per message, from its first byte to the last delivery attempt.
//!
//! Whether a message is traced is decided once, before any span is made: an unsampled message costs a random number, and its
//! trace id still stands in the journal. Between processes a trace travels as a W3C `traceparent`, in gRPC metadata and in
//! the queue.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The key in gRPC metadata and Kafka headers.
pub const TRACEPARENT: &str = "traceparent";

/// Traces whose id's low half is below this are sampled. 0: none.
static SAMPLED_BELOW: AtomicU64 = AtomicU64::new(0);

/// Where a message is in its trace (W3C Trace Context, level 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    parent: u64,
    sampled: bool,
}

/// Not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct TraceError;

impl Trace {
    /// A new trace, sampled as the configuration says.
    pub fn begin() -> Self {
        let id = rand::random::<u128>().max(1);
        let sampled = (id as u64) < SAMPLED_BELOW.load(Ordering::Relaxed);
        Self {
            id,
            parent: rand::random::<u64>().max(1),
            sampled,
        }
    }

    /// 32 hexadecimal digits, for the journal and for logs.
    pub fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// Whether spans are made.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace that came with a call.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
    }

    /// Sends it along with a call, when there is anybody who looks at it.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if self.sampled
            && let Ok(value) = self.to_string().parse()
        {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// A span below this place in the trace, and the trace as it goes on from there. Unsampled, `make` is not called and the
    /// span is [`Span::none`].
    pub fn span(&self, make: impl FnOnce() -> Span) -> (Span, Self) {
        if !self.sampled {
            return (Span::none(), *self);
        }
        let span = make();
        let parent = SpanContext::new(
            TraceId::from(self.id),
            SpanId::from(self.parent),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        // Without a collector there is no layer that could take it.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
        let own = span.context().span().span_context().span_id();
        let parent = if own == SpanId::INVALID {
            self.parent
        } else {
            u64::from_be_bytes(own.to_bytes())
        };
        (span, Self { parent, ..*self })
    }
}

/// Sets the fraction of new traces that are sampled.
pub(crate) fn set_sample_ratio(ratio: f64) {
    // The conversion saturates; a ratio of 1 loses one id in 2^64.
    SAMPLED_BELOW.store(
        (ratio.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
        Ordering::Relaxed,
    );
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.id,
            self.parent,
            u8::from(self.sampled)
        )
    }
}

impl FromStr for Trace {
    type Err = TraceError;

    /// `version "-" trace-id "-" parent-id "-" trace-flags`, lower-case hexadecimal; later versions may go on after that.
    fn from_str(text: &str) -> Result<Self, TraceError> {
        fn hex(text: Option<&str>, digits: usize) -> Result<u128, TraceError> {
            let text = text.filter(|text| text.len() == digits).ok_or(TraceError)?;
            let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if is_hex {
                u128::from_str_radix(text, 16).map_err(|_| TraceError)
            } else {
                Err(TraceError)
            }
        }
        let mut parts = text.split('-');
        let version = hex(parts.next(), 2)?;
        let id = hex(parts.next(), 32)?;
        let parent = hex(parts.next(), 16)? as u64;
        let flags = hex(parts.next(), 2)?;
        let fits = version != 0xff && (version > 0 || parts.next().is_none());
        if id == 0 || parent == 0 || !fits {
            return Err(TraceError);
        }
        Ok(Self {
            id,
            parent,
            sampled: flags & 1 == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_standard_survives() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace: Trace = text.parse().unwrap();
        assert!(trace.is_sampled());
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.to_string(), text);
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(wrong.parse::<Trace>(), Err(TraceError), "{wrong}");
        }
        assert!(
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"
                .parse::<Trace>()
                .is_ok()
        );
    }

    #[test]
    fn a_new_trace_is_unsampled_unless_configured_and_can_travel() {
        let trace = Trace::begin();
        assert!(!trace.is_sampled());
        assert_eq!(trace.to_string().parse(), Ok(trace));
        let (span, same) = trace.span(|| unreachable!("no span for an unsampled trace"));
        assert!(span.is_none() && same == trace);
    }

    #[test]
    fn a_call_carries_it_when_anybody_looks_at_it() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace: Trace = text.parse().unwrap();
        let mut headers = HeaderMap::new();
        trace.tell(&mut headers);
        assert_eq!(Trace::of(&headers), Some(trace));
        headers.clear();
        Trace::begin().tell(&mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-0-9a-f+]{0,60}") {
            let _ = text.parse::<Trace>();
        }
    }
}
