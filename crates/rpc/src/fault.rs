//! What went wrong with a call, as far as it decides whether another instance may be asked.

use std::error::Error;

use http::Response;
use tonic::Code;
use tonic::body::Body;
use tower::BoxError;

/// Where a server that has too much to do says when to come back, in milliseconds (gRPC proposal A6).
pub(crate) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Set in the answers of a server that is about to end: it is to be asked nothing more.
pub(crate) const LEAVING: &str = "postrider-leaving";

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotConnected(pub String);

/// How far a call that failed had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No server has seen it.
    Unsent,
    /// A server may have acted on it.
    Unclear,
}

impl Fault {
    /// Reads it off the chain of errors below the transport.
    pub(crate) fn of(error: &BoxError) -> Self {
        let unsent = chain(error).any(|error| {
            error.is::<NotConnected>()
                || error
                    .downcast_ref::<hyper::Error>()
                    .is_some_and(hyper::Error::is_canceled)
                || error.downcast_ref::<h2::Error>().is_some_and(refused)
        });
        if unsent { Fault::Unsent } else { Fault::Unclear }
    }
}

/// Whether the call's time is over: the channel sees that as well as we do, and a little sooner, since `grpc-timeout` is rounded.
pub(crate) fn is_late(error: &BoxError) -> bool {
    chain(error).any(|error| error.is::<tonic::TimeoutExpired>())
}

/// An error and those below it.
fn chain(error: &BoxError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let top: &(dyn Error + 'static) = error.as_ref();
    std::iter::successors(Some(top), |&error| error.source())
}

/// The stream was refused, or comes after the last one that a server which is going away has looked at (RFC 9113 §6.8, §8.7).
fn refused(error: &h2::Error) -> bool {
    error.reason() == Some(h2::Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}

/// Whether an answer says that the server had too much to do and has not begun.
pub(crate) fn is_shed(response: &Response<Body>) -> bool {
    response.headers().contains_key(PUSHBACK) && is_unavailable(response)
}

/// Whether an answer says that the server is about to end.
pub(crate) fn is_leaving(response: &Response<Body>) -> bool {
    response.headers().contains_key(LEAVING)
}

/// Whether an answer is a failure, for now.
pub(crate) fn is_unavailable(response: &Response<Body>) -> bool {
    code(response) == Some(Code::Unavailable)
}

/// Whether a server gave up because the call's time was over: it reads that off `grpc-timeout`, and calls it so.
pub(crate) fn is_given_up(response: &Response<Body>) -> bool {
    code(response) == Some(Code::Cancelled)
}

fn code(response: &Response<Body>) -> Option<Code> {
    let code = response.headers().get("grpc-status")?;
    Some(Code::from_bytes(code.as_bytes()))
}

/// The innermost reason, in one line: what stands above it only says that something failed.
pub(crate) fn reason(error: &BoxError) -> String {
    let mut innermost: &(dyn Error + 'static) = error.as_ref();
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
