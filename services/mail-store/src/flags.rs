//! Changing flags (IMAP STORE, RFC 9051 §6.4.6; UNCHANGEDSINCE, RFC 7162 §3.1.3).

use std::sync::Arc;

use async_trait::async_trait;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
use postrider_types::{AccountId, Flags, FolderId, Keyword, Uid, Version};

use crate::commit::Operation;
use crate::draft::Draft;
use crate::failure::invalid;
use crate::service::Service;
use crate::weight::Weight;

/// The most messages of one request that exist: its answer names each of them.
pub(crate) const MAX_MESSAGES: u32 = 100_000;

/// How the given flags and keywords combine with those a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
    Replace,
}

/// What is to be changed.
#[derive(Debug, Clone)]
pub(crate) struct StoreFlags {
    pub folder: FolderId,
    pub change: Change,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
    /// Messages with a higher modseq stay as they are.
    pub unchanged_since: Option<Version>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub version: Version,
    /// The messages that exist and met the condition, changed or not.
    pub messages: Vec<MessageRow>,
    /// Those that did not meet it.
    pub modified: UidSet,
    /// Those that were changed, by nobody else in the same commit before.
    pub changed: UidSet,
}

impl Service {
    /// Changes flags of messages (StoreFlags).
    pub async fn store_flags(
        self: &Arc<Self>,
        account: AccountId,
        uids: &UidSet,
        store: StoreFlags,
    ) -> Result<Stored, Failure> {
        let uids = self.candidates(account, store.folder, uids).await?;
        if uids.len() > MAX_MESSAGES {
            return Err(invalid(format!(
                "flags of at most {MAX_MESSAGES} messages are changed at a time"
            )));
        }
        let mut stored = Stored::default();
        for uids in chunks(&uids, self.most.portion(store.weight())) {
            let part = self
                .run(
                    account,
                    StoreSome {
                        uids,
                        store: store.clone(),
                    },
                )
                .await?;
            stored.version = part.version;
            stored.messages.extend(part.messages);
            stored.modified = stored.modified.union(&part.modified);
            stored.changed = stored.changed.union(&part.changed);
        }
        if uids.is_empty() {
            stored.version = self.view(account).await?.version();
        }
        Ok(stored)
    }
}

/// The UIDs in ascending portions of so many.
pub(crate) fn chunks(uids: &UidSet, portion: usize) -> impl Iterator<Item = Vec<Uid>> + '_ {
    let mut rest = uids.iter().peekable();
    std::iter::from_fn(move || {
        rest.peek()?;
        Some(rest.by_ref().take(portion).collect())
    })
}

struct StoreSome {
    uids: Vec<Uid>,
    store: StoreFlags,
}

#[async_trait]
impl Operation for StoreSome {
    type Output = Stored;

    fn weight(&self) -> Weight {
        self.store.weight().times(self.uids.len())
    }

    async fn plan(&self, draft: &mut Draft<'_>) -> Result<Stored, Failure> {
        draft.folder(self.store.folder)?;
        let mut stored = Stored::default();
        let mut changed = Vec::new();
        for row in draft.messages(self.store.folder, &self.uids).await? {
            if self.store.unchanged_since.is_some_and(|since| row.modseq > since) {
                stored.modified.insert(row.uid);
                continue;
            }
            let (flags, keywords) = self.store.of(&row);
            if keywords.len() > Keyword::MAX_PER_MESSAGE {
                return Err(invalid(format!(
                    "a message bears at most {} keywords",
                    Keyword::MAX_PER_MESSAGE
                )));
            }
            if flags != row.flags || keywords != row.keywords {
                changed.push((stored.messages.len(), flags, keywords));
            }
            stored.messages.push(row);
        }
        // Another operation of this commit may have changed what is answered with.
        let later = stored.messages.iter().any(|row| row.modseq >= draft.version());
        let any = !changed.is_empty();
        for (place, flags, keywords) in changed {
            if let Some(row) = stored.messages.get_mut(place) {
                if row.modseq < draft.version() {
                    stored.changed.insert(row.uid);
                }
                *row = draft.set_flags(row, flags, keywords)?;
            }
        }
        stored.version = draft.version_of(any || later);
        Ok(stored)
    }
}

impl StoreFlags {
    /// What a message puts into a commit: the keywords in its row and in the change row. Those it has besides are not known yet.
    fn weight(&self) -> Weight {
        let keywords = self.keywords.iter().map(|keyword| keyword.as_str().len() + 1);
        Weight::ONE.with_bytes(2 * keywords.sum::<usize>())
    }

    /// What a message's flags and keywords become.
    fn of(&self, row: &MessageRow) -> (Flags, Vec<Keyword>) {
        match self.change {
            Change::Add => {
                let mut keywords = row.keywords.clone();
                for keyword in &self.keywords {
                    if let Err(place) = keywords.binary_search(keyword) {
                        keywords.insert(place, keyword.clone());
                    }
                }
                (row.flags.union(self.flags), keywords)
            }
            Change::Remove => {
                let kept = row
                    .keywords
                    .iter()
                    .filter(|keyword| !self.keywords.contains(keyword));
                (row.flags.difference(self.flags), kept.cloned().collect())
            }
            Change::Replace => (self.flags, self.keywords.clone()),
        }
    }
}
