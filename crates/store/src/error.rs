//! What can go wrong in an engine.

/// An engine's failure. A conflict of versions is not one: it is an outcome, see [`crate::account::Outcome`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Temporary: the engine did not do it, and may do it later.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// Temporary: whether it was done is not known. For a commit, read the head back and compare `last_commit`.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Temporary: no space left. Nothing was done.
    #[error("storage is full: {0}")]
    Full(String),
    /// Permanent: stored bytes or rows are damaged; the text says which.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// Permanent: what was asked for is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// Permanent: the caller broke a rule of the trait.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Unknown(_) | Error::Full(_))
    }
}

/// A result of an engine.
pub type Result<T> = std::result::Result<T, Error>;
