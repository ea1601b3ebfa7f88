//! What a job sees: the write connection inside a transaction, and who holds which content.

use std::ops::Deref;

use postrider_types::{AccountId, ContentId, UnitId};
use rusqlite::{Connection, params};

use crate::{Error, Result};

/// Who keeps a content from being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// An account whose rows refer to it.
    Account(AccountId),
    /// A unit of the outbound queue.
    Unit(UnitId),
}

impl Holder {
    /// Its form in `content_holder.holder`: 8 bytes for an account, 16 for a unit.
    fn with_key<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Holder::Account(account) => then(&account.get().to_be_bytes()),
            Holder::Unit(unit) => then(unit.as_bytes()),
        }
    }
}

/// The write connection inside the batch's transaction.
///
/// It dereferences to [`Connection`]; use `prepare_cached` so that a statement is compiled once. A job must not begin, end or
/// nest transactions, change the schema (that is what [`crate::Database::migrate`] is for) or pragmas, or block.
pub struct Transaction<'a> {
    connection: &'a Connection,
    /// Contents that this job brings, and whether it holds them by now.
    fresh: &'a mut Vec<(ContentId, bool)>,
    now: u64,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(connection: &'a Connection, fresh: &'a mut Vec<(ContentId, bool)>, now: u64) -> Self {
        Self {
            connection,
            fresh,
            now,
        }
    }

    /// Makes `holder` a holder of the content; `NotFound` (and nothing done) if there is no such content. Idempotent.
    pub fn hold(&mut self, content: ContentId, holder: Holder) -> Result<()> {
        if let Some((_, held)) = self.fresh.iter_mut().find(|(id, _)| *id == content) {
            *held = true;
        } else if !self.has_content(content)? {
            return Err(Error::NotFound(format!("content {content}")));
        }
        let mut insert = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO content_holder (content, holder) VALUES (?1, ?2)")?;
        holder.with_key(|key| insert.execute(params![content.as_bytes(), key]))?;
        Ok(())
    }

    /// `holder` is a holder of the content no longer. A content that nobody holds any more is deleted by a later
    /// [`crate::Database::sweep`]. Idempotent.
    pub fn release(&mut self, content: ContentId, holder: Holder) -> Result<()> {
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM content_holder WHERE content = ?1 AND holder = ?2")?;
        if holder.with_key(|key| delete.execute(params![content.as_bytes(), key]))? > 0 {
            // The sweeper looks only at this list, never at all contents; it checks for other holders itself.
            self.connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO content_candidate (put, content) SELECT put, id FROM content WHERE id = ?1",
                )?
                .execute([content.as_bytes()])?;
        }
        Ok(())
    }

    /// Whether the content exists (those this job brings do).
    pub fn has_content(&self, content: ContentId) -> Result<bool> {
        let mut select = self
            .connection
            .prepare_cached("SELECT 1 FROM content WHERE id = ?1")?;
        Ok(select.exists([content.as_bytes()])?)
    }

    /// The batch's time, milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.now
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
