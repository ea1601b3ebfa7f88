//! How long whoever stands at the edge still waits: carried from call to call, so that nobody works for a caller who is gone.

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderValue;
use tokio::time::Instant;

/// Where gRPC says how long the caller waits.
const GRPC_TIMEOUT: &str = "grpc-timeout";

tokio::task_local! {
    static CURRENT: Deadline;
}

/// A moment after which nobody waits for the answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    pub fn after(time: Duration) -> Self {
        // An hour more than any call is given; keeps the addition from overflowing whatever a header says.
        Self(Instant::now() + time.min(Duration::from_secs(7200)))
    }

    /// Runs a future within this deadline: the calls it makes end by then at the latest.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// When the call at hand has to be done, if it came with a deadline.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|deadline| *deadline).ok()
    }

    /// The moment.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// What is left.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Reads `grpc-timeout` (gRPC over HTTP/2, "Request-Headers").
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        // "TimeoutValue: positive integer as ASCII string of at most 8 digits"
        if digits.is_empty() || digits.len() > 8 {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        let time = match unit {
            "H" => Duration::from_secs(value * 3600),
            "M" => Duration::from_secs(value * 60),
            "S" => Duration::from_secs(value),
            "m" => Duration::from_millis(value),
            "u" => Duration::from_micros(value),
            "n" => Duration::from_nanos(value),
            _ => return None,
        };
        Some(Self::after(time))
    }

    /// Writes `grpc-timeout`.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let left = self.left().as_millis().clamp(1, 99_999_999);
        if let Ok(value) = HeaderValue::from_str(&format!("{left}m")) {
            headers.insert(GRPC_TIMEOUT, value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_bytes(text.as_bytes()).unwrap());
        Deadline::of(&headers).map(|deadline| deadline.left().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_read_and_nonsense_is_not() {
        assert_eq!(of("10S"), Some(10));
        assert_eq!(of("2M"), Some(120));
        assert_eq!(of("5000m"), Some(5));
        assert_eq!(of("99999999H"), Some(7200));
        for nonsense in ["", "S", "10", "-1S", "123456789S", "1X", "é"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_understood_and_inherited() {
        let mut headers = HeaderMap::new();
        Deadline::after(Duration::from_secs(3)).tell(&mut headers);
        assert_eq!(headers[GRPC_TIMEOUT], "3000m");
        assert_eq!(Deadline::current(), None);
        let deadline = Deadline::after(Duration::from_secs(3));
        deadline
            .scope(async { assert_eq!(Deadline::current(), Some(deadline)) })
            .await;
    }
}
