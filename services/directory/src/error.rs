//! What can go wrong in the directory.

use postrider_proto::{Failure, Kind};
use postrider_store::Error as StoreError;

/// A failure; its text is one line for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Temporary: storage is away.
    #[error("the directory's storage is unavailable: {0}")]
    Storage(String),
    /// Temporary: more logins than the node can check.
    #[error("too many logins at once, try again")]
    Busy,
    /// Temporary: others changed the same row again and again.
    #[error("{0} is being changed by others, try again")]
    Contended(String),
    /// A defect, or damaged rows. Treated as temporary by callers.
    #[error("internal error: {0}")]
    Internal(String),
    /// Permanent: what was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Permanent: it exists already.
    #[error("{0}")]
    AlreadyExists(String),
    /// Permanent: the request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Permanent: the state does not allow it.
    #[error("{0}")]
    Precondition(String),
    /// Permanent: a limit is reached.
    #[error("{0}")]
    Exhausted(String),
    /// Permanent: unknown user, wrong password or disabled account; nobody is told which.
    #[error("wrong user name or password")]
    Credentials,
}

/// A result of the directory.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Error::Storage(_) | Error::Busy | Error::Contended(_) | Error::Internal(_)
        )
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_temporary() {
            Error::Storage(error.to_string())
        } else {
            Error::Internal(error.to_string())
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let kind = match error {
            Error::Storage(_) | Error::Busy | Error::Contended(_) => Kind::Unavailable,
            Error::Internal(_) => Kind::Internal,
            Error::NotFound(_) => Kind::NotFound,
            Error::AlreadyExists(_) => Kind::AlreadyExists,
            Error::Invalid(_) => Kind::Invalid,
            Error::Precondition(_) => Kind::Precondition,
            Error::Exhausted(_) => Kind::Exhausted,
            Error::Credentials => Kind::Unauthenticated,
        };
        Failure::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_agree_on_what_is_temporary() {
        let errors = [
            Error::Storage("x".into()),
            Error::Busy,
            Error::Contended("x".into()),
            Error::Internal("x".into()),
            Error::NotFound("x".into()),
            Error::Exhausted("x".into()),
            Error::Credentials,
        ];
        for error in errors {
            assert_eq!(
                error.is_temporary(),
                Failure::from(error.clone()).is_temporary(),
                "{error}"
            );
        }
    }
}
