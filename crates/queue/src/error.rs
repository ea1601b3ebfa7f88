//! What can go wrong in the queue.

use postrider_types::UnitId;

/// A failure of the queue or of its engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Temporary: nothing was done, and the same call may succeed later.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// Temporary: whether it was done is not known. Every call of the queue may be repeated safely.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Permanent: a stored row is damaged; the text says which.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// Permanent: no such unit; it never was, or it is final and its row is gone.
    #[error("unit {0} not found")]
    NotFound(UnitId),
    /// Permanent: the unit's state does not allow it; the text says why.
    #[error("{0}")]
    Refused(String),
    /// Permanent: the caller broke a rule of the call.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Unknown(_))
    }
}

/// A result of the queue.
pub type Result<T> = std::result::Result<T, Error>;
