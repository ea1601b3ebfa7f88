//! What can go wrong, and what a driver's error says about the outcome.

use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};

/// A failure of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Temporary: it was not done, or it was only a read.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Temporary: a write that may have happened, or may still happen.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Permanent: stored rows are not what they must be; the text says which.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// Permanent: the database or we ourselves refuse it, and would do so again.
    #[error("{0}")]
    Refused(String),
}

/// A result of the database.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Unknown(_))
    }
}

impl From<PrepareError> for Error {
    fn from(error: PrepareError) -> Self {
        match &error {
            PrepareError::AllAttemptsFailed {
                first_attempt: RequestAttemptError::DbError(db, _),
            } if is_refusal(db) => Error::Refused(error.to_string()),
            _ => Error::Unavailable(error.to_string()),
        }
    }
}

impl From<NewSessionError> for Error {
    fn from(error: NewSessionError) -> Self {
        Error::Unavailable(error.to_string())
    }
}

/// What an error of a request says about its outcome. `writes`: the request would have changed something.
pub(crate) fn classify(error: &ExecutionError, writes: bool) -> Error {
    let text = error.to_string();
    match error {
        ExecutionError::BadQuery(_) => Error::Refused(text),
        ExecutionError::PrepareError(error) => Error::from(error.clone()),
        // No request has left the process.
        ExecutionError::EmptyPlan | ExecutionError::ConnectionPoolError(_) => Error::Unavailable(text),
        ExecutionError::LastAttemptError(attempt) => classify_attempt(attempt, text, writes),
        _ => doubtful(text, writes),
    }
}

fn classify_attempt(attempt: &RequestAttemptError, text: String, writes: bool) -> Error {
    match attempt {
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            Error::Refused(text)
        }
        RequestAttemptError::UnableToAllocStreamId => Error::Unavailable(text),
        RequestAttemptError::DbError(db, _) if is_refusal(db) => Error::Refused(text),
        // The coordinator says so before it asks a replica.
        RequestAttemptError::DbError(DbError::Unavailable { .. } | DbError::IsBootstrapping, _) => {
            Error::Unavailable(text)
        }
        _ => doubtful(text, writes),
    }
}

fn doubtful(text: String, writes: bool) -> Error {
    if writes {
        Error::Unknown(text)
    } else {
        Error::Unavailable(text)
    }
}

/// Whether the server will say the same again.
fn is_refusal(error: &DbError) -> bool {
    matches!(
        error,
        DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::ProtocolError
    )
}
