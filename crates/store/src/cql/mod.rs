//! The engine of accounts and content over ScyllaDB or Cassandra.
//!
//! # Accounts
//! ```text
//! account           account → version, last_commit, used, messages, next_folder     the head, static
//!                   account, kind, id, number, uid → …                              every other row of a commit
//! account_snapshot  account, folder, piece → version, length, data                  64 KiB a piece
//! account_list      bucket, account                                                 bucket = the highest 8 bits
//! ```
//! One account is one partition of one table, so that a commit is one conditional batch: `UPDATE … IF version = ?` of the head, and for
//! receipts and references, which are written once, `INSERT … IF NOT EXISTS`. All conditions hold or nothing is done; so a delivery
//! reads nothing. Which of them failed is found by a serial read of the head. The kinds of rows are listed in the schema
//! (`crates/cql/migrations`). Change rows and receipts have a time to live.
//!
//! A commit of unknown outcome is looked for by a serial read: the head names its last commit, and each change row the commit that
//! wrote it. One that is not there may still be on its way, so the same batch is sent again: whichever comes first moves the version, and the
//! other one fails.
//!
//! All rows of a batch bear one timestamp, and of a put and a delete with the same timestamp the delete wins; so a commit is folded first:
//! what it deletes it does not put, and what it puts twice it puts as it is at last.
//!
//! Where contents are in the account (kind *place*) is written and never updated: a place counts if the message row there has the content.
//!
//! # Content
//! ```text
//! content            content → length, put, doomed                static; there once `length` is set
//!                    content, piece → crc, data                   64 KiB a piece
//! content_holder     content, holder → since                      account (8 bytes) or queue unit (16 bytes)
//! content_candidate  hour, shard, content → since                 may have no holder
//! ```
//! Who begins to hold a content writes the holder row, then looks whether the content is doomed; the sweeper dooms it, then looks for
//! holders. Both read and write a majority, so at least one of them sees the other. What has just been made is not swept, and is not looked
//! at by whoever has made or read it: a message to fifty is not read fifty times. Holder rows of accounts are written before the commit that needs
//! them, in the same request as a small content: they mean "may hold", and the description in the account's partition decides. Contents
//! that lose a holder, never had one, or whose commit failed are candidates; these are swept. A process that dies between
//! content and commit leaves one content without a candidate behind: a slow walk over all contents finds it.
//!
//! # Reads
//! A majority answers each read, so that it sees every acknowledged write. An account whose last commit is in doubt is read serially.

mod account;
mod commit;
mod content;
mod holders;
mod listing;
mod removal;
mod rows;
mod snapshot;
mod statements;
mod sweep;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::Mutex;
use postrider_cql::{FromRow, SerializeRow, Session, Statement};
use postrider_types::{AccountId, ContentId};
use uuid::Uuid;

use crate::{Error, Result, unix_millis};

/// Bytes of a piece of content, and of a snapshot.
const PIECE: usize = 64 << 10;
/// Keys in one `IN`: ScyllaDB refuses more than this by default.
const KEYS: usize = 100;
/// Rows in one page of a range.
const PAGE: usize = 1000;
/// How long an account is read serially after a commit in doubt: longer than a request can be on its way.
const DOUBT: Duration = Duration::from_secs(600);
/// Accounts in doubt that are remembered; more than a process can have commits under way.
const MOST_DOUBTS: usize = 100_000;

/// A content whose id is younger than this, in milliseconds, is not swept, whatever holds it: half the shortest grace, so that clocks may differ
/// by the other half.
const YOUNG: u64 = 300_000;
/// Young contents that are remembered to be there.
const MOST_SEEN: u64 = 10_000;

/// What can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long change rows live. Default: 7 days.
    pub change_retention: Duration,
    /// Pieces of one content that are written or read at once. Default: 8, so half a MiB.
    pub pieces_at_once: usize,
    /// Contents that one call of `sweep` looks at, at most 160 a second, beside those known to have lost a holder. With a call every ten minutes
    /// the default goes round 300,000 contents a day. Default: 2048.
    pub walk_step: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            change_retention: Duration::from_secs(7 * 24 * 3600),
            pieces_at_once: 8,
            walk_step: 2048,
        }
    }
}

/// Accounts and content in a keyspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cql {
    session: Session,
    options: Options,
    /// Accounts with a commit of unknown outcome, and since when.
    doubts: Arc<Mutex<HashMap<AccountId, Instant>>>,
    /// The name under which this process takes the lease to sweep.
    sweeper: Uuid,
    /// Young contents that this process has stored or read.
    seen: Cache<ContentId, ()>,
}

impl Cql {
    /// Over a session; does no I/O.
    pub fn new(session: Session, options: Options) -> Self {
        Self {
            session,
            options,
            doubts: Arc::default(),
            sweeper: Uuid::new_v4(),
            seen: Cache::builder()
                .max_capacity(MOST_SEEN)
                .time_to_live(Duration::from_millis(YOUNG))
                .build(),
        }
    }

    /// The session it uses.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Reads up to `limit` rows of a range.
    async fn range<T: FromRow>(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
        limit: usize,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut state = None;
        while found.len() < limit {
            let size = (limit - found.len()).min(PAGE);
            let (rows, next) = self.session.page(statement, &values, size, state).await?;
            found.extend(rows.all::<T>()?);
            state = next;
            if state.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Reads all rows of one answer.
    async fn all<T: FromRow>(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
    ) -> Result<Vec<T>> {
        Ok(self.session.read(statement, values).await?.all()?)
    }

    /// Reads the first row.
    async fn first<T: FromRow>(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
    ) -> Result<Option<T>> {
        Ok(self.session.read(statement, values).await?.first()?)
    }

    /// Takes note that a content is there.
    fn saw(&self, id: ContentId) {
        if is_young(id) {
            self.seen.insert(id, ());
        }
    }

    /// Whether a content is there, and will be for a while, as far as is known without a look.
    fn is_there(&self, id: ContentId) -> bool {
        is_young(id) && self.seen.contains_key(&id)
    }

    fn doubt(&self, account: AccountId) {
        let now = Instant::now();
        let mut doubts = self.doubts.lock();
        if doubts.len() >= MOST_DOUBTS {
            doubts.retain(|_, since| now - *since < DOUBT);
        }
        doubts.insert(account, now);
    }

    fn is_in_doubt(&self, account: AccountId) -> bool {
        let mut doubts = self.doubts.lock();
        match doubts.get(&account) {
            Some(since) if since.elapsed() < DOUBT => true,
            Some(_) => {
                doubts.remove(&account);
                false
            }
            None => false,
        }
    }
}

impl From<postrider_cql::Error> for Error {
    fn from(error: postrider_cql::Error) -> Self {
        use postrider_cql::Error as Database;
        match error {
            Database::Unavailable(text) => Error::Unavailable(text),
            Database::Unknown(text) => Error::Unknown(text),
            Database::Damaged(text) => Error::Damaged(text),
            Database::Refused(text) => Error::Invalid(text),
        }
    }
}

fn is_young(id: ContentId) -> bool {
    unix_millis().saturating_sub(id.unix_millis()) < YOUNG
}

/// As a `bigint`: numbers of 64 bits keep their bits.
fn int(number: u64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests;
