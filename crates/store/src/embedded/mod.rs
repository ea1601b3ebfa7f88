//! The embedded engine of accounts and content: rows in SQLite, message bytes in segments.
//!
//! # Tables
//! A family keyed by account, one table per kind of row, columns named as the fields of [`crate::account`]. Keys begin with the account,
//! so an account's rows of one kind lie together, except receipts, whose keys begin with the delivery: every page that a commit touches is
//! written twice, and receipts of all accounts fill one page after the other. Descriptions, the large rows, have a table of their own: a change of flags does not write
//! them again. Keywords are text with a space between; `changes` is as [`crate::encode`] has it; numbers above `i64::MAX`
//! (hashes) keep their bits.
//!
//! Content and its holders are the substrate's ([`postrider_embedded`]).

mod account;
mod commit;
mod content;
mod rows;

use postrider_embedded::Database;

use crate::{Error, Result};

/// Tables, version by version.
const STEPS: &[&str] = &[include_str!("schema_1.sql")];

/// Accounts and content in one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    db: Database,
    expiry: std::sync::Arc<account::Expiry>,
}

impl Embedded {
    /// Over an open data directory; brings the tables forward.
    pub async fn open(db: Database) -> Result<Self> {
        db.migrate("account", STEPS).await?;
        Ok(Self {
            db,
            expiry: std::sync::Arc::default(),
        })
    }

    /// The data directory it is in.
    pub fn database(&self) -> &Database {
        &self.db
    }
}

impl From<postrider_embedded::Error> for Error {
    fn from(error: postrider_embedded::Error) -> Self {
        use postrider_embedded::Error as Substrate;
        match error {
            Substrate::Unavailable(text) => Error::Unavailable(text),
            Substrate::Unknown(text) => Error::Unknown(text),
            Substrate::Full(text) => Error::Full(text),
            Substrate::Damaged(text) => Error::Damaged(text),
            Substrate::NotFound(what) => Error::NotFound(what),
            Substrate::Invalid(text) => Error::Invalid(text),
            Substrate::InUse(_) | Substrate::TooNew { .. } => Error::Invalid(error.to_string()),
        }
    }
}

/// The way of our own failures through a job of the substrate.
impl From<Error> for postrider_embedded::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Unknown(text) => Self::Unknown(text),
            Error::Full(text) => Self::Full(text),
            Error::Damaged(text) => Self::Damaged(text),
            Error::NotFound(what) => Self::NotFound(what),
            Error::Invalid(text) => Self::Invalid(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Deref;

    use postrider_embedded::Options;

    use super::*;

    /// An engine whose directory goes with it.
    struct Opened {
        engine: Embedded,
        _dir: tempfile::TempDir,
    }

    impl Deref for Opened {
        type Target = Embedded;
        fn deref(&self) -> &Embedded {
            &self.engine
        }
    }

    async fn open() -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(dir.path(), Options::default()).unwrap();
        Opened {
            engine: Embedded::open(db).await.unwrap(),
            _dir: dir,
        }
    }

    crate::engine_suite!(open);
}
