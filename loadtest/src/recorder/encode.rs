//! Histograms as a report holds them; [`crate::report::histogram`] reads them again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

/// V2, deflated, base64; the empty text for an empty histogram.
pub fn encode(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return String::new();
    }
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        Err(error) => {
            // Only counts beyond 2^63 and a writer that fails can bring us here.
            tracing::warn!(%error, "a histogram cannot be written");
            String::new()
        }
    }
}
