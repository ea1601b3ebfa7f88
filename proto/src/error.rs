//! Errors to gRPC status and back: the one place where the two meet.

use tonic::{Code, Status};

/// What sort of failure it is, as far as a caller in another role can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for does not exist.
    NotFound,
    /// It exists already.
    AlreadyExists,
    /// The request makes no sense, whatever the state.
    Invalid,
    /// The state does not allow it.
    Precondition,
    /// Credentials are wrong.
    Unauthenticated,
    /// Known, but not allowed.
    Denied,
    /// A quota or a rate is used up.
    Exhausted,
    /// Not now: the same request may succeed later.
    Unavailable,
    /// No answer in time; whether it happened is not known.
    Deadline,
    /// A defect on our side. Treated as temporary, so that no mail is refused for it.
    Internal,
}

/// A failure that crosses a contract: its kind, and one line for people (lower case, no full stop).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What callers act on.
    pub kind: Kind,
    /// What people read.
    pub message: String,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// Whether trying again later can help.
    pub fn is_temporary(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Deadline | Kind::Internal)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        let code = match failure.kind {
            Kind::NotFound => Code::NotFound,
            Kind::AlreadyExists => Code::AlreadyExists,
            Kind::Invalid => Code::InvalidArgument,
            Kind::Precondition => Code::FailedPrecondition,
            Kind::Unauthenticated => Code::Unauthenticated,
            Kind::Denied => Code::PermissionDenied,
            Kind::Exhausted => Code::ResourceExhausted,
            Kind::Unavailable => Code::Unavailable,
            Kind::Deadline => Code::DeadlineExceeded,
            Kind::Internal => Code::Internal,
        };
        Status::new(code, failure.message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        let kind = match status.code() {
            Code::NotFound => Kind::NotFound,
            Code::AlreadyExists => Kind::AlreadyExists,
            Code::InvalidArgument | Code::OutOfRange => Kind::Invalid,
            Code::FailedPrecondition => Kind::Precondition,
            Code::Unauthenticated => Kind::Unauthenticated,
            Code::PermissionDenied => Kind::Denied,
            Code::ResourceExhausted => Kind::Exhausted,
            Code::Unavailable | Code::Aborted => Kind::Unavailable,
            Code::DeadlineExceeded | Code::Cancelled => Kind::Deadline,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss | Code::Unimplemented => {
                Kind::Internal
            }
        };
        Failure::new(kind, status.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        use Kind::*;
        for kind in [
            NotFound,
            AlreadyExists,
            Invalid,
            Precondition,
            Unauthenticated,
            Denied,
            Exhausted,
            Unavailable,
            Deadline,
            Internal,
        ] {
            let failure = Failure::new(kind, "no such folder");
            assert_eq!(Failure::from(Status::from(failure.clone())), failure);
        }
    }
}
