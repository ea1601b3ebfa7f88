//! The histograms inside a report: HDR, V2, deflated, base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::data::{Latency, Measured};

/// Reads one. `None` when the text is empty (nothing ended well) or not a histogram.
pub fn decode(text: &str) -> Option<Histogram<u64>> {
    if text.is_empty() {
        return None;
    }
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

/// Adds up those that can be read; `None` when there are none.
pub fn merged<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Histogram<u64>> {
    let mut all = texts.into_iter().filter_map(decode);
    let mut sum = all.next()?;
    sum.auto(true);
    for histogram in all {
        sum.add(&histogram).ok()?;
    }
    (!sum.is_empty()).then_some(sum)
}

/// All latencies of several operations as one.
pub fn of_operations<'a>(operations: impl IntoIterator<Item = &'a Measured>) -> Option<Histogram<u64>> {
    merged(operations.into_iter().map(|measured| measured.histogram.as_str()))
}

/// The percentiles that a report tells.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    Latency {
        min: histogram.min(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p999: histogram.value_at_quantile(0.999),
        max: histogram.max(),
        mean: histogram.mean(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

    fn encoded(values: &[u64]) -> String {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        for value in values {
            histogram.record(*value).expect("it resizes");
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&histogram, &mut bytes)
            .expect("a vector takes it");
        STANDARD.encode(bytes)
    }

    #[test]
    fn what_was_written_is_read_and_adds_up() {
        let parts = [encoded(&[1, 2, 3]), String::new(), encoded(&[1_000_000])];
        let sum = merged(parts.iter().map(String::as_str)).expect("two of three");
        assert_eq!((sum.len(), sum.min()), (4, 1));
        assert!(sum.max() >= 1_000_000);
    }

    #[test]
    fn nonsense_is_no_histogram() {
        assert!(decode("").is_none());
        assert!(decode("not base64 at all").is_none());
        assert!(decode("AAAA").is_none());
        assert!(merged(["", "!"]).is_none());
    }
}
