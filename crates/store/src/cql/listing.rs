//! All accounts, in order.

use futures::future::try_join_all;
use postrider_types::AccountId;

use super::statements as cql;
use super::{Cql, int};
use crate::account::AccountEngine;
use crate::{Error, Result};

/// Bits of an id (of 63) that do not name its bucket.
const BUCKET_BITS: u32 = 63 - 8;
/// Buckets there are.
const BUCKETS: i16 = 1 << 8;
/// Buckets, or heads, read at once.
const AT_ONCE: usize = 16;

impl Cql {
    /// Says that an account may have a head.
    pub(super) async fn list(&self, account: AccountId) -> Result<()> {
        let key = (bucket(account), int(account.get()));
        Ok(self.session.write(cql::PUT_LISTED, key).await?)
    }

    /// Takes it back.
    pub(super) async fn unlist(&self, account: AccountId) -> Result<()> {
        let key = (bucket(account), int(account.get()));
        Ok(self.session.write(cql::DELETE_LISTED, key).await?)
    }

    /// Accounts with a head, ascending.
    pub(super) async fn listed(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        let (first, after) = after.map_or((0, -1), |after| (bucket(after), int(after.get())));
        let mut found = Vec::new();
        let buckets: Vec<i16> = (first..BUCKETS).collect();
        for some in buckets.chunks(AT_ONCE) {
            let read = async |bucket: &i16| {
                self.range::<(i64,)>(cql::LIST, (*bucket, after), limit - found.len())
                    .await
            };
            let ids = try_join_all(some.iter().map(read)).await?.into_iter().flatten();
            let ids: Vec<AccountId> = ids.map(|(id,)| AccountId::new(id as u64)).collect();
            for some in ids.chunks(AT_ONCE) {
                let has_head = async |id: &AccountId| {
                    let head = self.head(*id).await?;
                    Ok::<_, Error>(head.map(|_| *id))
                };
                found.extend(
                    try_join_all(some.iter().map(has_head))
                        .await?
                        .into_iter()
                        .flatten(),
                );
            }
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }
}

/// Ids are random, so that buckets grow alike; the order of buckets is that of ids.
fn bucket(account: AccountId) -> i16 {
    (account.get() >> BUCKET_BITS) as i16
}
