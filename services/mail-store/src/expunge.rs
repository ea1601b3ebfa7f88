//! Removing messages for good (IMAP EXPUNGE, RFC 9051 §6.4.3; POP3's update state, RFC 1939 §6).

use std::sync::Arc;

use async_trait::async_trait;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_types::{AccountId, FolderId, SystemFlag, Uid, Version};

use crate::commit::Operation;
use crate::draft::Draft;
use crate::flags::chunks;
use crate::service::Service;
use crate::weight::Weight;

impl Service {
    /// Removes messages (ExpungeMessages): those of `uids` (`None`: of all) that bear `\Deleted`, or, with `force`, every
    /// one of them. The UIDs that were removed; more than a commit takes are a sequence of commits.
    pub async fn expunge(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        uids: Option<&UidSet>,
        force: bool,
    ) -> Result<(Version, UidSet), Failure> {
        let (state, index) = self.view_indexed(account, folder).await?;
        let able = if force {
            index.uids()
        } else {
            index.with_flag(SystemFlag::Deleted)
        };
        let uids = uids.map_or_else(|| able.clone(), |uids| able.intersection(uids));
        let (mut version, mut gone) = (state.version(), UidSet::new());
        for uids in chunks(&uids, self.most.portion(Weight::REMOVE)) {
            let (now, some) = self.run(account, ExpungeSome { folder, uids, force }).await?;
            version = now;
            gone = gone.union(&some);
        }
        Ok((version, gone))
    }
}

struct ExpungeSome {
    folder: FolderId,
    uids: Vec<Uid>,
    force: bool,
}

#[async_trait]
impl Operation for ExpungeSome {
    type Output = (Version, UidSet);

    fn weight(&self) -> Weight {
        Weight::REMOVE.times(self.uids.len())
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Self::Output, Failure> {
        draft.folder(self.folder)?;
        let mut gone = UidSet::new();
        for row in draft.messages(self.folder, &self.uids).await? {
            // The flag may have been taken away since the index was looked at.
            if self.force || row.flags.contains(SystemFlag::Deleted) {
                draft.remove_message(&row)?;
                gone.insert(row.uid);
            }
        }
        Ok((draft.version_of(!gone.is_empty()), gone))
    }
}
