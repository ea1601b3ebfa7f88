//! Failures of this role, in the words of the contract.

use postrider_proto::{Failure, Kind};
use postrider_store::Error;

/// An engine's failure, as callers may know it.
pub(crate) fn storage(error: Error) -> Failure {
    let kind = match &error {
        Error::Unavailable(_) | Error::Full(_) => Kind::Unavailable,
        Error::Unknown(_) => Kind::Deadline,
        Error::NotFound(_) => Kind::NotFound,
        Error::Damaged(_) | Error::Invalid(_) => Kind::Internal,
    };
    Failure::new(kind, error.to_string())
}

pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Invalid, message)
}

pub(crate) fn not_found(message: impl Into<String>) -> Failure {
    Failure::new(Kind::NotFound, message)
}

pub(crate) fn no_such_folder() -> Failure {
    not_found("no such folder")
}

pub(crate) fn exists(message: impl Into<String>) -> Failure {
    Failure::new(Kind::AlreadyExists, message)
}

pub(crate) fn precondition(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Precondition, message)
}

pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Unavailable, message)
}

pub(crate) fn over_quota() -> Failure {
    Failure::new(Kind::Exhausted, "over quota")
}
