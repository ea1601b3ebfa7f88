//! What a failure of a contract means to a POP3 client.

use std::future::Future;
use std::time::Duration;

use postrider_pop3::server::Refusal;
use postrider_proto::{Failure, Kind};
use tonic::{Response, Status};

/// The directory does not answer.
pub(crate) const NO_DIRECTORY: Refusal = Refusal::Temporary("logins cannot be checked now, try again later");
/// The mail store does not answer.
pub(crate) const NO_STORE: Refusal = Refusal::Temporary("the mail store is not available, try again later");
/// A message that was there at login is not any more.
pub(crate) const GONE: Refusal = Refusal::Permanent("this message was deleted meanwhile");

/// Awaits an answer of a contract for a limited time.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(Failure::new(Kind::Deadline, "no answer in time")),
    }
}

/// What a failure of the mail store is called; anything unexpected is said to be temporary and logged.
pub(crate) fn store_refusal(failure: &Failure) -> Refusal {
    tracing::warn!(%failure, "the mail store failed");
    NO_STORE
}
