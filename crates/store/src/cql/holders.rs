//! Who holds a content, and which contents may have no holder.

use std::time::Duration;

use bytes::Bytes;
use postrider_cql::Statement;
use postrider_types::{AccountId, ContentId};

use super::rows::blob;
use super::{Cql, int};
use crate::{Error, Result, unix_millis};

/// Static columns of a content: `length`, `put`, `doomed`.
pub(super) type Header = (Option<i64>, Option<i64>, Option<i64>);

pub(super) const HEADER: Statement =
    Statement::read("SELECT length, put, doomed FROM content WHERE content = ? LIMIT 1");
pub(super) const PUT_HOLDER: Statement =
    Statement::write("INSERT INTO content_holder (content, holder, since) VALUES (?, ?, ?)");
const DELETE_HOLDER: Statement =
    Statement::write("DELETE FROM content_holder WHERE content = ? AND holder = ?");
const HOLDERS: Statement = Statement::read("SELECT holder, since FROM content_holder WHERE content = ?");
const PUT_CANDIDATE: Statement =
    Statement::write("INSERT INTO content_candidate (hour, shard, content, since) VALUES (?, ?, ?, ?)");

/// Partitions of an hour's candidates.
pub(super) const SHARDS: i8 = 16;
/// Milliseconds of an hour.
pub(super) const HOUR: u64 = 3_600_000;

/// How long to wait for a sweeper to see that a content is wanted, and how often to look.
const LOOKS: u32 = 60;
const LOOK: Duration = Duration::from_millis(50);

/// Who holds.
pub(super) enum Holder {
    /// An account, if it has the description.
    Account(AccountId),
    /// A unit of the queue.
    Unit,
}

impl Cql {
    /// Makes `holder` a holder of a content that is there. `NotFound` if it is gone.
    pub(super) async fn hold_as(&self, id: ContentId, holder: Bytes) -> Result<()> {
        let content = blob(id.as_bytes());
        let values = (content.clone(), holder.clone(), int(unix_millis()));
        self.session.write(PUT_HOLDER, values).await?;
        if self.is_there(id) {
            return Ok(());
        }
        for _ in 0..LOOKS {
            let header: Option<Header> = self.first(HEADER, (content.clone(),)).await?;
            match header {
                Some((Some(_), _, None)) => {
                    self.saw(id);
                    return Ok(());
                }
                // The sweeper looks for holders after it has doomed a content, so that it will see ours. Taking the row back instead could
                // take it from somebody who was told that it holds.
                Some((Some(_), _, Some(_))) => tokio::time::sleep(LOOK).await,
                _ => {
                    self.drop_holder(id, &holder).await?;
                    return Err(Error::NotFound(format!("content {id}")));
                }
            }
        }
        Err(Error::Unavailable(format!(
            "content {id} waits for the sweeper's second look"
        )))
    }

    /// Deletes a holder row.
    pub(super) async fn drop_holder(&self, id: ContentId, holder: &[u8]) -> Result<()> {
        Ok(self
            .session
            .write(DELETE_HOLDER, (blob(id.as_bytes()), holder))
            .await?)
    }

    /// Holder rows of a content, with when they were written.
    pub(super) async fn holders(&self, id: ContentId) -> Result<Vec<(Vec<u8>, u64)>> {
        let rows: Vec<(Vec<u8>, i64)> = self.range(HOLDERS, (blob(id.as_bytes()),), usize::MAX).await?;
        Ok(rows
            .into_iter()
            .map(|(holder, since)| (holder, since as u64))
            .collect())
    }

    /// Says that a content may be without a holder from now on.
    pub(super) async fn candidate(&self, id: ContentId) -> Result<()> {
        let now = unix_millis();
        let values = (hour_of(now), shard_of(id), blob(id.as_bytes()), int(now));
        Ok(self.session.write(PUT_CANDIDATE, values).await?)
    }
}

/// What a holder row names.
pub(super) fn holder(bytes: &[u8]) -> Holder {
    match <[u8; 8]>::try_from(bytes) {
        Ok(account) => Holder::Account(AccountId::new(u64::from_be_bytes(account))),
        Err(_) => Holder::Unit,
    }
}

/// The hour a time is in.
pub(super) fn hour_of(millis: u64) -> i32 {
    i32::try_from(millis / HOUR).unwrap_or(i32::MAX)
}

/// Ids end in random bits.
pub(super) fn shard_of(id: ContentId) -> i8 {
    (id.as_bytes()[15] & 15) as i8
}
