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
            } if is_refusal(db) => Error::Refused(one_line(&error)),
            _ => Error::Unavailable(one_line(&error)),
        }
    }
}

/// Why there is no session with these nodes, with what to do: one line, for the log and `/readyz`.
pub(crate) fn not_connected(error: &NewSessionError, contact_points: &[String]) -> Error {
    let nodes = contact_points.join(", ");
    let whole = error.to_string();
    let refused = ["authentication", "Authentication", "credentials"];
    if refused.iter().any(|sign| whole.contains(sign)) {
        let text = format!(
            "{nodes} refuses the login, check storage.cql.username and storage.cql.password: {}",
            root(error)
        );
        return Error::Unavailable(text);
    }
    // Whoever expects TLS hangs up on those who speak plainly, and whoever does not has no answer to a handshake.
    let ends = [
        "reset by peer",
        "Connection closed",
        "eof",
        "InvalidContentType",
        "invalid message",
    ];
    let other = match ends.iter().any(|sign| whole.contains(sign)) {
        true => ", and whether it wants TLS (storage.cql.ca)",
        false => "",
    };
    Error::Unavailable(format!(
        "none of {nodes} can be worked with, check that it runs and storage.cql.contact_points{other}: {}",
        root(error)
    ))
}

/// The innermost reason: the driver tells the whole way to it, over several lines.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(innermost)
}

/// The driver's texts have several lines.
fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}

/// What an error of a request says about its outcome. `writes`: the request would have changed something.
pub(crate) fn classify(error: &ExecutionError, writes: bool) -> Error {
    let text = one_line(error);
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
