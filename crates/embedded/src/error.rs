//! What can go wrong in the substrate.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// A failure of the substrate or of a job.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Temporary: not done, and may be done later.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// Temporary: whether it was done is not known; read back.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Temporary: no space left. Nothing was done.
    #[error("storage is full: {0}")]
    Full(String),
    /// Permanent: another process has the data directory open.
    #[error("the data directory {} is in use by another process; stop it first, or use another directory", .0.display())]
    InUse(PathBuf),
    /// Permanent: a newer program wrote the tables.
    #[error(
        "the tables of `{component}` have version {found}, this program knows up to {known}; use the newer program"
    )]
    TooNew {
        /// Whose tables.
        component: String,
        /// Their version.
        found: u64,
        /// The newest this program knows.
        known: u64,
    },
    /// Permanent: stored bytes or rows are damaged; the text says which.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// Permanent: what was asked for is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// Permanent: the caller broke a rule.
    #[error("{0}")]
    Invalid(String),
}

/// A result of the substrate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Error::Unavailable(_) | Error::Unknown(_) | Error::Full(_))
    }

    /// An I/O error, with the file it is about.
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        let text = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::Full(text)
            }
            _ => Error::Unavailable(text),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        let text = error.to_string();
        match error {
            Sql::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Error::Full(text),
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Damaged(text),
                ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::ApiMisuse
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::TooBig
                | ErrorCode::Unknown => Error::Invalid(text),
                _ => Error::Unavailable(text),
            },
            Sql::FromSqlConversionFailure(..)
            | Sql::InvalidColumnType(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::Utf8Error(..) => Error::Damaged(text),
            Sql::QueryReturnedNoRows => Error::NotFound("row".into()),
            _ => Error::Invalid(text),
        }
    }
}
