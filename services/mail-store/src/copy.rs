//! Copying and moving messages between folders of an account (RFC 9051 §6.4.7, RFC 6851).

use std::sync::Arc;

use async_trait::async_trait;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_types::{AccountId, FolderId, Uid, Version};

use crate::commit::Operation;
use crate::draft::{Draft, NewMessage};
use crate::failure::{invalid, no_such_folder, over_quota};
use crate::flags::{MAX_MESSAGES, chunks};
use crate::rows::Pages;
use crate::service::Service;
use crate::weight::Weight;

/// What is to be copied where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub from: FolderId,
    pub to: FolderId,
    /// Remove the originals in the same commit.
    pub remove: bool,
    /// In bytes; 0: none. Moving needs no room.
    pub quota: u64,
}

impl Copy {
    /// What a message puts into a commit.
    fn weight(&self) -> Weight {
        if self.remove { Weight::MOVE } else { Weight::COPY }
    }
}

/// What was copied.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub version: Version,
    pub uid_validity: u32,
    /// Old and new UID, ascending by the old one.
    pub pairs: Vec<(Uid, Uid)>,
}

impl Service {
    /// Copies or moves messages (CopyMessages): atomic as far as one commit goes, beyond that a sequence of commits.
    pub async fn copy(
        self: &Arc<Self>,
        account: AccountId,
        uids: &UidSet,
        copy: Copy,
    ) -> Result<Copied, Failure> {
        let uids = self.candidates(account, copy.from, uids).await?;
        if uids.len() > MAX_MESSAGES {
            return Err(invalid(format!(
                "at most {MAX_MESSAGES} messages are copied at a time"
            )));
        }
        let state = self.view(account).await?;
        let target = state.folder(copy.to).ok_or_else(no_such_folder)?;
        let mut copied = Copied {
            version: state.version(),
            uid_validity: target.uid_validity,
            pairs: Vec::new(),
        };
        let portion = self.most.portion(copy.weight());
        if uids.len() as usize > portion {
            self.check_room(account, &uids, copy, state.head().used).await?;
        }
        for uids in chunks(&uids, portion) {
            let part = self.run(account, CopySome { uids, copy }).await?;
            copied.version = part.version;
            copied.pairs.extend(part.pairs);
        }
        Ok(copied)
    }

    /// Refuses a copy of many messages before its first commit if it cannot end within the quota.
    async fn check_room(
        self: &Arc<Self>,
        account: AccountId,
        uids: &UidSet,
        copy: Copy,
        used: u64,
    ) -> Result<(), Failure> {
        if copy.quota == 0 || copy.remove {
            return Ok(());
        }
        let mut pages = Pages::new(self.clone(), account, copy.from, Some(uids.clone()), false);
        let mut sum = used;
        while let Some(page) = pages.next().await? {
            sum = page
                .iter()
                .fold(sum, |sum, (row, _)| sum.saturating_add(row.size));
            if sum > copy.quota {
                return Err(over_quota());
            }
        }
        Ok(())
    }
}

/// One portion: one commit.
pub(crate) struct CopySome {
    pub uids: Vec<Uid>,
    pub copy: Copy,
}

#[async_trait]
impl Operation for CopySome {
    type Output = Copied;

    fn weight(&self) -> Weight {
        self.copy.weight().times(self.uids.len())
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Copied, Failure> {
        draft.folder(self.copy.from)?;
        copy_some(draft, self.copy, &self.uids).await
    }
}

/// Copies messages within a draft.
pub(crate) async fn copy_some(draft: &mut Draft<'_>, copy: Copy, uids: &[Uid]) -> Result<Copied, Failure> {
    let uid_validity = draft.folder(copy.to)?.uid_validity;
    let rows = draft.messages(copy.from, uids).await?;
    draft.has_uids(copy.to, rows.len())?;
    let more = rows.iter().fold(0_u64, |sum, row| sum.saturating_add(row.size));
    if !copy.remove
        && copy.quota > 0
        && !rows.is_empty()
        && draft.head().used.saturating_add(more) > copy.quota
    {
        return Err(over_quota());
    }
    let mut pairs = Vec::with_capacity(rows.len());
    for row in &rows {
        if copy.remove {
            draft.remove_message(row)?;
        }
        let new = NewMessage {
            content: row.content,
            thread: row.thread,
            size: row.size,
            received: row.received,
            flags: row.flags,
            keywords: row.keywords.clone(),
        };
        pairs.push((row.uid, draft.add_message(copy.to, new)?));
    }
    Ok(Copied {
        version: draft.version_of(!pairs.is_empty()),
        uid_validity,
        pairs,
    })
}
