//! Removing an account.

use futures::future::try_join_all;
use postrider_cql::{Batch, Conditional};
use postrider_types::AccountId;

use super::rows::content_id;
use super::statements as cql;
use super::{Cql, PAGE, int};
use crate::account::AccountEngine;
use crate::{Error, Result};

/// Kinds of rows: see the schema.
const KINDS: std::ops::RangeInclusive<i8> = 1..=7;
/// How often it is tried against commits that come in between, or with an unknown outcome.
const ATTEMPTS: u32 = 20;

impl Cql {
    /// Contents become candidates first, then all rows go in one conditional batch, and the list's row last: so a removal that was
    /// interrupted is seen and can be finished.
    pub(super) async fn remove_account(&self, account: AccountId) -> Result<()> {
        let mut reason = "the account is changed by others all the time".to_owned();
        for _ in 0..ATTEMPTS {
            let Some(head) = self.head(account).await? else {
                let key = (int(account.get()),);
                self.session.write(cql::DELETE_SNAPSHOTS, key).await?;
                return self.unlist(account).await;
            };
            self.let_go(account).await?;
            let mut batch = Batch::new();
            batch.push(cql::FORGET_HEAD, (int(account.get()), int(head.version.0)));
            for kind in KINDS {
                batch.push(cql::DELETE_KIND, (int(account.get()), kind));
            }
            // Done or not: the next look at the head tells.
            if let Conditional::Unknown(text) = self.session.conditional_batch(&batch).await? {
                self.doubt(account);
                reason = text;
            }
        }
        Err(Error::Unavailable(reason))
    }

    /// Everything the account describes may have no holder afterwards.
    async fn let_go(&self, account: AccountId) -> Result<()> {
        let mut state = None;
        loop {
            let key = (int(account.get()),);
            let (rows, next) = self
                .session
                .page(cql::DESCRIBED_CONTENTS, key, PAGE, state)
                .await?;
            let mut contents = Vec::with_capacity(rows.len());
            for (id,) in rows.all::<(Vec<u8>,)>()? {
                contents.push(content_id(&id)?);
            }
            for some in contents.chunks(64) {
                try_join_all(some.iter().map(|id| self.candidate(*id))).await?;
            }
            state = next;
            if state.is_none() {
                return Ok(());
            }
        }
    }
}
